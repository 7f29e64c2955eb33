//! As much of bpf(2) as the benchmark needs: which programs there are, how often they ran and how long that took.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const PROG_GET_NEXT_ID: i32 = 11;
const PROG_GET_FD_BY_ID: i32 = 13;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const TASK_FD_QUERY: i32 = 20;
const ENABLE_STATS: i32 = 32;

/// Program types that a tracer uses: kprobe, tracepoint, perf event, raw tracepoint (and writable), tracing.
const TRACING: [u32; 6] = [2, 5, 7, 17, 24, 26];

/// A loaded program, as `struct bpf_prog_info` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    pub id: u32,
    pub kind: u32,
    /// Cut to 15 characters by the kernel.
    pub name: String,
    /// Time spent and number of runs, counted only while statistics are on.
    pub run_time_ns: u64,
    pub runs: u64,
}

/// While this lives the kernel counts runs and time of all programs.
pub struct Statistics {
    _on: OwnedFd,
}

impl Statistics {
    /// Since 5.8 (d46edd671a147, `BPF_ENABLE_STATS`).
    pub fn enable() -> io::Result<Self> {
        let mut attr = Attr::default();
        Ok(Self { _on: attr.descriptor(ENABLE_STATS)? })
    }
}

impl Program {
    /// Asks the kernel about the program with this number.
    pub fn find(id: u32) -> io::Result<Self> {
        let mut attr = Attr::default();
        attr.put_u32(0, id);
        let program = attr.descriptor(PROG_GET_FD_BY_ID)?;
        let mut info = Block::<256>::default();
        let mut attr = Attr::default();
        attr.put_u32(0, program.as_raw_fd().cast_unsigned());
        attr.put_u32(4, 256);
        attr.put_u64(8, info.0.as_mut_ptr().expose_provenance() as u64);
        // SAFETY: the kernel writes at most the given 256 bytes to `info`, which outlives the call.
        unsafe { attr.call(OBJ_GET_INFO_BY_FD) }?;
        Ok(Self::from_info(&info))
    }

    fn from_info(info: &Block<256>) -> Self {
        let name = &info.0[64..80];
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        Self {
            id: info.u32_at(4),
            kind: info.u32_at(0),
            name: String::from_utf8_lossy(&name[..length]).into_owned(),
            run_time_ns: info.u64_at(192),
            runs: info.u64_at(200),
        }
    }
}

/// All tracing programs that are loaded; empty where we may not ask.
pub fn tracing_programs() -> Vec<Program> {
    let mut programs = Vec::new();
    let mut attr = Attr::default();
    // SAFETY: the command has no pointers; it writes the next number into the block itself.
    while unsafe { attr.call(PROG_GET_NEXT_ID) }.is_ok() {
        let id = attr.u32_at(4);
        // A program may be gone before it is looked at.
        programs.extend(Program::find(id).ok().filter(|program| TRACING.contains(&program.kind)));
        attr = Attr::default();
        attr.put_u32(0, id);
    }
    programs
}

/// The program behind a perf event of another process; `None` for an event without one.
pub fn program_of_event(pid: u32, descriptor: u32) -> Option<u32> {
    let mut attr = Attr::default();
    attr.put_u32(0, pid);
    attr.put_u32(4, descriptor);
    // SAFETY: the name's buffer is left null with length 0, so the kernel writes into the block only.
    unsafe { attr.call(TASK_FD_QUERY) }.ok()?;
    Some(attr.u32_at(24))
}

/// `union bpf_attr`: a block whose layout depends on the command.
type Attr = Block<128>;

#[repr(C, align(8))]
struct Block<const N: usize>([u8; N]);

impl<const N: usize> Default for Block<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Block<N> {
    fn put_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }

    fn u32_at(&self, at: usize) -> u32 {
        self.0[at..at + 4].try_into().map_or(0, u32::from_ne_bytes)
    }

    fn u64_at(&self, at: usize) -> u64 {
        self.0[at..at + 8].try_into().map_or(0, u64::from_ne_bytes)
    }

    /// For commands without pointers that answer with a new descriptor.
    fn descriptor(&mut self, command: i32) -> io::Result<OwnedFd> {
        debug_assert!(command == PROG_GET_FD_BY_ID || command == ENABLE_STATS, "answers with a descriptor");
        // SAFETY: these two commands have no pointers.
        let descriptor = unsafe { self.call(command) }?;
        // SAFETY: the kernel has just opened it for us, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }

    /// # Safety
    ///
    /// What the command takes for a pointer must be one, to memory of the size that the command is told.
    unsafe fn call(&mut self, command: i32) -> io::Result<i32> {
        // SAFETY: the block has the size that is passed; the caller answers for the pointers in it.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), N) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        i32::try_from(result).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_read_from_the_kernels_layout() {
        let mut info = Block::<256>::default();
        info.put_u32(0, 26);
        info.put_u32(4, 42);
        info.0[64..73].copy_from_slice(b"sys_exit\0");
        info.put_u64(192, 1000);
        info.put_u64(200, 10);
        let wanted = Program { id: 42, kind: 26, name: "sys_exit".to_owned(), run_time_ns: 1000, runs: 10 };
        assert_eq!(Program::from_info(&info), wanted);
    }
}
