//! Whole maps in few system calls: aya asks for one entry at a time, which is too slow for thousands per second. And what else it
//! has no call for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::kernel::decode::Plain;

/// `BPF_MAP_LOOKUP_BATCH` (5.6, cb4d03ab499d).
const LOOKUP_BATCH: libc::c_int = 24;

/// `BPF_MAP_LOOKUP_ELEM`
const LOOKUP: libc::c_int = 1;

/// `BPF_MAP_DELETE_ELEM`
const DELETE: libc::c_int = 3;

/// `BPF_PROG_TEST_RUN` of `raw_tp` programs (5.10, 1b4d60ec162f)
const RUN: libc::c_int = 10;

/// The part of `union bpf_attr` of `BPF_PROG_TEST_RUN` that it uses.
#[repr(C)]
#[derive(Default)]
struct Run {
    program: u32,
    returned: u32,
    /// Data, in and out, which such programs have none of, and their context, for whoever reads it.
    rest: [u64; 8],
}

/// Runs a program that is attached nowhere; what it returns.
pub fn run(program: BorrowedFd<'_>) -> io::Result<u32> {
    let mut run = Run { program: number(program.as_raw_fd()), ..Run::default() };
    // SAFETY: the kernel reads and writes the attributes alone.
    let result = unsafe { libc::syscall(libc::SYS_bpf, RUN, &raw mut run, size_of::<Run>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(run.returned) }
}

/// `BPF_OBJ_GET_INFO_BY_FD`
const INFO: libc::c_int = 15;

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct Info {
    object: u32,
    length: u32,
    into: u64,
}

/// Counters at the end of `struct bpf_prog_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProgramCounts {
    before: [u64; 24],
    /// Time in it, nanoseconds; only grows while the kernel keeps statistics.
    pub run_ns: u64,
    /// Runs, likewise.
    pub runs: u64,
    /// Events for which it did not run, because it was running on that CPU already. 0 before 5.12 (9ed9e9ba2337).
    pub recursion_misses: u64,
}

/// What the kernel counts of a program.
pub fn program_counts(program: BorrowedFd<'_>) -> io::Result<ProgramCounts> {
    let mut counts = ProgramCounts::default();
    let mut info = Info {
        object: number(program.as_raw_fd()),
        length: u32::try_from(size_of_val(&counts)).unwrap_or(0),
        into: (&raw mut counts) as u64,
    };
    // SAFETY: the kernel writes at most `length` bytes of integers. All lists that it would fill besides have length 0.
    let result = unsafe { libc::syscall(libc::SYS_bpf, INFO, &raw mut info, size_of::<Info>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(counts) }
}

/// `union bpf_attr` of the batch commands.
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    elem_flags: u64,
    flags: u64,
}

/// `union bpf_attr` of the commands on one entry.
#[repr(C)]
struct Entry {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn number(fd: RawFd) -> u32 {
    u32::try_from(fd).unwrap_or(u32::MAX)
}

/// The only entry of a per-CPU array, one value per CPU that there may ever be.
pub fn per_cpu<V: Plain>(map: BorrowedFd<'_>, cpus: usize, values: &mut Vec<V>) -> io::Result<()> {
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel pads values to eight bytes") };
    values.clear();
    values.reserve(cpus);
    let key = 0u32;
    let mut entry = Entry {
        map: number(map.as_raw_fd()),
        reserved: 0,
        key: (&raw const key) as u64,
        value: values.spare_capacity_mut().as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads one key and writes a value for each possible CPU, for which there is room.
    unsafe {
        let size = u32::try_from(size_of::<Entry>()).unwrap_or(0);
        if libc::syscall(libc::SYS_bpf, LOOKUP, &raw mut entry, size) < 0 {
            return Err(io::Error::last_os_error());
        }
        values.set_len(cpus);
    }
    Ok(())
}

/// Removes an entry; that it is gone already is fine.
pub fn remove<K: Plain>(map: BorrowedFd<'_>, key: &K) {
    let mut entry =
        Entry { map: number(map.as_raw_fd()), reserved: 0, key: std::ptr::from_ref(key) as u64, value: 0, flags: 0 };
    // SAFETY: the kernel reads one key.
    unsafe {
        let size = u32::try_from(size_of::<Entry>()).unwrap_or(0);
        libc::syscall(libc::SYS_bpf, DELETE, &raw mut entry, size);
    }
}

/// Fills `keys` and `values` with every entry of a hash map. Entries that come or go meanwhile may be missed; they are
/// there, or gone, the next time.
pub fn all<K: Plain + Default, V: Plain>(
    map: BorrowedFd<'_>,
    step: usize,
    keys: &mut Vec<K>,
    values: &mut Vec<V>,
) -> io::Result<()> {
    keys.clear();
    values.clear();
    let (mut step, mut batch, mut started) = (step.max(64), 0u64, false);
    loop {
        let at = keys.len();
        keys.reserve(step);
        values.reserve(step);
        let mut next = 0u64;
        let mut attributes = Attributes {
            in_batch: if started { (&raw const batch) as u64 } else { 0 },
            out_batch: (&raw mut next) as u64,
            keys: keys.spare_capacity_mut().as_mut_ptr() as u64,
            values: values.spare_capacity_mut().as_mut_ptr() as u64,
            count: u32::try_from(step).unwrap_or(u32::MAX),
            map: number(map.as_raw_fd()),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes at most `count` keys and values, for which there is room, and then says how many.
        let result = unsafe {
            let size = u32::try_from(size_of::<Attributes>()).unwrap_or(0);
            libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attributes, size)
        };
        let error = (result < 0).then(io::Error::last_os_error);
        let code = error.as_ref().and_then(io::Error::raw_os_error);
        if code == Some(libc::ENOSPC) {
            // One bucket holds more than we have room for.
            step *= 2;
            continue;
        }
        if matches!(code, None | Some(libc::ENOENT)) {
            // SAFETY: that many entries were written.
            unsafe {
                keys.set_len(at + attributes.count as usize);
                values.set_len(at + attributes.count as usize);
            }
        }
        match (code, error) {
            (None, _) => (batch, started) = (next, true),
            (Some(code), Some(error)) if code != libc::ENOENT => return Err(error),
            _ => return Ok(()),
        }
    }
}
