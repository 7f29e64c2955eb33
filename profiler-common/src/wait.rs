//! Row `task`: what a thread waits for while it is neither on a CPU nor queued for one. Codes are for
//! good: captures have them as indexes.

/// Outside of all calls, and nothing else tells why.
pub const UNEXPLAINED: u32 = 0;
/// In a call that none of the others stands for.
pub const OTHER: u32 = 1;
/// Data to come from a disk.
pub const DISK_READ: u32 = 2;
/// Data to be on a disk: direct writes, write-back that somebody waits for, flushes.
pub const DISK_WRITE: u32 = 3;
/// The file system's journal or log: a commit, or room in it.
pub const JOURNAL: u32 = 4;
/// Dirty throttling.
pub const DIRTY: u32 = 5;
/// Reclaim or compaction of memory, or a memory limit's penalty.
pub const RECLAIM: u32 = 6;
/// A page fault with I/O.
pub const FAULT: u32 = 7;
/// A lock on a file, or one inside the kernel.
pub const LOCK: u32 = 8;
/// A futex: a lock or a condition of user space.
pub const FUTEX: u32 = 9;
/// A TCP handshake.
pub const CONNECT: u32 = 10;
/// Room in a TCP send buffer.
pub const SEND: u32 = 11;
/// Data of a TCP peer.
pub const RECEIVE: u32 = 12;
/// A connection to accept.
pub const ACCEPT: u32 = 13;
/// One of several descriptors.
pub const POLL: u32 = 14;
/// The other end of a pipe, terminal, event descriptor, queue of messages or socket that is not TCP.
pub const PIPE: u32 = 15;
/// A sleep that was asked for.
pub const SLEEP: u32 = 16;
/// A child.
pub const CHILD: u32 = 17;
/// To be continued: stopped by a signal or a tracer.
pub const STOPPED: u32 = 18;
/// Completions of `io_uring` or libaio.
pub const ASYNC: u32 = 19;
/// Work for a kernel thread.
pub const KERNEL: u32 = 20;
/// A signal.
pub const SIGNAL: u32 = 21;
/// Its parent, which is still in the call that makes it.
pub const BIRTH: u32 = 22;

/// Room for codes: a power of two.
pub const WAITS: usize = 32;

/// A kind of wait in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Stable identifier.
    pub id: &'static str,
    /// What it waits for.
    pub label: &'static str,
    /// Nobody is held up by it: the thread has asked to be told when there is work, or asked for time to pass.
    pub idle: bool,
}

const fn held(id: &'static str, label: &'static str) -> Wait {
    Wait { id, label, idle: false }
}

const fn idle(id: &'static str, label: &'static str) -> Wait {
    Wait { id, label, idle: true }
}

/// All kinds, by code.
pub const NAMES: [Wait; 23] = [
    held("unexplained", "unexplained"),
    held("other", "other calls"),
    held("disk_read", "disk read"),
    held("disk_write", "disk write or flush"),
    held("journal", "journal commit"),
    held("dirty", "dirty throttling"),
    held("reclaim", "memory reclaim"),
    held("fault", "page fault"),
    held("lock", "file or kernel lock"),
    held("futex", "futex"),
    held("connect", "TCP connect"),
    held("send", "TCP send buffer"),
    held("receive", "TCP receive"),
    idle("accept", "accept"),
    idle("poll", "poll, select, epoll"),
    held("pipe", "pipe or other socket"),
    idle("sleep", "sleep asked for"),
    idle("child", "child process"),
    idle("stopped", "stopped or traced"),
    held("async", "io_uring or libaio"),
    idle("kernel", "work for a kernel thread"),
    idle("signal", "signal"),
    held("birth", "being made by its parent"),
];

const _: () = assert!(NAMES.len() <= WAITS);
