//! Processes of our own: what they do is known, they measure themselves, and their end is awaited to the last switch.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::kernel::observe::until;

/// A child process, killed and reaped when dropped.
pub struct Child {
    pub pid: u32,
    reaped: bool,
    answers: PipeReader,
    orders: PipeWriter,
}

/// The child's end of the line.
pub struct Parent {
    from_test: PipeReader,
    to_test: PipeWriter,
}

/// The kernel's last word on a thread that has ended.
#[derive(Debug)]
pub struct Books {
    pub cpu_ns: u64,
    pub run_delay_ns: u64,
    pub switches_voluntary: u64,
    pub switches_involuntary: u64,
}

/// Runs `work` in a new process, which then exits.
pub fn fork(work: impl FnOnce(&mut Parent)) -> Child {
    let (answers, to_test) = io::pipe().unwrap();
    let (from_test, orders) = io::pipe().unwrap();
    // SAFETY: the child runs only `work`, whose panics do not leave it, and exits without running any destructor.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    if pid > 0 {
        return Child { pid: pid.unsigned_abs(), reaped: false, answers, orders };
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        // Killed with us: `Drop` does not run when the test program is.
        // SAFETY: plain numbers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        work(&mut Parent { from_test, to_test });
    }));
    // SAFETY: ends the child.
    unsafe { libc::_exit(i32::from(result.is_err())) }
}

impl Parent {
    /// Sends numbers to the test, in one call.
    pub fn say<const N: usize>(&mut self, numbers: [u64; N]) {
        let mut bytes = [[0; 8]; N];
        for (bytes, number) in bytes.iter_mut().zip(numbers) {
            *bytes = number.to_ne_bytes();
        }
        self.to_test.write_all(bytes.as_flattened()).unwrap();
    }

    /// Waits for a number from the test.
    pub fn hear(&mut self) -> u64 {
        number(&mut self.from_test)
    }
}

impl Child {
    /// The next numbers that the child says.
    #[track_caller]
    pub fn hear<const N: usize>(&mut self) -> [u64; N] {
        std::array::from_fn(|_| number(&mut self.answers))
    }

    /// Sends a number to the child.
    pub fn say(&mut self, number: u64) {
        self.orders.write_all(&number.to_ne_bytes()).unwrap();
    }

    /// Waits for its end, and until it has left its CPU for good. It must have done well.
    #[track_caller]
    pub fn end(mut self) -> Books {
        let (books, status) = end(self.pid);
        self.reaped = true;
        assert_eq!(status, 0, "the child failed");
        books
    }

    /// The same; its process id.
    #[track_caller]
    pub fn ended(self) -> u32 {
        let pid = self.pid;
        self.end();
        pid
    }

    /// Kills it, and awaits its end.
    pub fn kill(mut self) {
        self.kill_and_reap();
    }

    fn kill_and_reap(&mut self) {
        if !self.reaped {
            signal(self.pid, libc::SIGKILL);
            end(self.pid);
            self.reaped = true;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

fn number(from: &mut PipeReader) -> u64 {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: plain numbers; the process is our child, so its id is not reused before we reap it.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

/// Awaits the last switch of a child, reads its books, and reaps it. Its wait status is the second value.
pub fn end(pid: u32) -> (Books, i32) {
    // SAFETY: all zeros is a valid value of this plain struct.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` lives; WNOWAIT leaves the child to be looked at.
    while unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, libc::WEXITED | libc::WNOWAIT) } != 0 {
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EINTR), "process {pid} is no child of ours");
    }
    // A zombie still runs its last instructions. The kernel says "running" here until it has left the CPU.
    let left = || match read(pid, "syscall").as_str() {
        "running" => Err("running".to_owned()),
        _ => Ok(()),
    };
    until("a zombie has left its CPU", left);
    let books = books(pid);
    let mut status = 0;
    // SAFETY: the child is a zombie, so this returns at once.
    assert_eq!(unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) }, pid.cast_signed());
    (books, status)
}

/// `schedstat` and the context switches of a process's main thread.
fn books(pid: u32) -> Books {
    let schedstat = read(pid, &format!("task/{pid}/schedstat"));
    let times: Vec<u64> = schedstat.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let status = read(pid, &format!("task/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {status}"))
    };
    Books {
        cpu_ns: times[0],
        run_delay_ns: times[1],
        switches_voluntary: field("voluntary_ctxt_switches:"),
        switches_involuntary: field("nonvoluntary_ctxt_switches:"),
    }
}

fn read(pid: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap().trim().to_owned()
}

/// Reads its own clocks: what lies between two stamps and is neither CPU nor run-queue time was spent blocked.
pub struct Clock(File);

/// A moment of the calling thread.
#[expect(clippy::struct_field_names, reason = "the unit of each number is part of its name")]
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub wall_ns: u64,
    pub cpu_ns: u64,
    pub run_delay_ns: u64,
}

impl Clock {
    /// Of the thread that calls.
    pub fn new() -> Self {
        Self(File::open("/proc/thread-self/schedstat").unwrap())
    }

    /// The thread's clocks, read while it was on its CPU all the time.
    pub fn now(&self) -> Stamp {
        loop {
            let run_delay_ns = self.run_delay_ns();
            let cpu_ns = clock(libc::CLOCK_THREAD_CPUTIME_ID);
            let wall_ns = clock(libc::CLOCK_MONOTONIC);
            if self.run_delay_ns() == run_delay_ns {
                return Stamp { wall_ns, cpu_ns, run_delay_ns };
            }
        }
    }

    fn run_delay_ns(&self) -> u64 {
        let mut text = [0; 96];
        let length = self.0.read_at(&mut text, 0).unwrap();
        let text = std::str::from_utf8(&text[..length]).unwrap();
        text.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Stamp {
    /// Time between two moments in which the thread neither ran nor wanted to.
    pub const fn blocked_since(&self, begin: &Self) -> u64 {
        let (ran, delayed) = (self.cpu_ns - begin.cpu_ns, self.run_delay_ns - begin.run_delay_ns);
        (self.wall_ns - begin.wall_ns).saturating_sub(ran + delayed)
    }
}

/// A clock of the kernel, nanoseconds.
pub fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives.
    assert_eq!(unsafe { libc::clock_gettime(id, &raw mut time) }, 0);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The calling thread runs on this CPU only.
pub fn pin(cpu: usize) {
    // SAFETY: all zeros is an empty set, which lives until the call returns.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Reads into a small buffer with one call and nothing around it.
pub fn read_once(fd: RawFd, length: usize) -> isize {
    let mut buffer = [0u8; 256];
    // SAFETY: the buffer is longer than any length that tests ask for.
    unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), length.min(buffer.len())) }
}

/// Writes from a small buffer with one call and nothing around it.
pub fn write_once(fd: RawFd, length: usize) -> isize {
    let buffer = [0u8; 256];
    // SAFETY: the buffer is longer than any length that tests ask for.
    unsafe { libc::write(fd, buffer.as_ptr().cast(), length.min(buffer.len())) }
}

/// A file that is closed when dropped, opened without any other call.
pub fn open(path: &str) -> File {
    let file = File::open(path).unwrap();
    assert!(file.as_raw_fd() > 2);
    file
}
