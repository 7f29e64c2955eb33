//! Row `task`: what a thread waits for while it is neither on a CPU nor queued for one. Codes are for
//! good: captures have them as indexes.

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

/// Codes count from 0 in the order of the lines.
macro_rules! waits {
    ($($(#[$doc:meta])* $code:ident = $make:ident($id:literal, $label:literal),)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "it counts the constants")]
        #[repr(u32)]
        enum Code { $($code,)* }

        $($(#[$doc])* pub const $code: u32 = Code::$code as u32;)*

        /// All kinds, by code.
        pub const NAMES: [Wait; [$($code),*].len()] = [$($make($id, $label),)*];
    };
}

// New kinds come last.
waits! {
    /// Outside of all calls, and nothing else tells why.
    UNEXPLAINED = held("unexplained", "unexplained"),
    /// In a call that none of the others stands for.
    OTHER = held("other", "other calls"),
    /// Data to come from a disk.
    DISK_READ = held("disk_read", "disk read"),
    /// Data to be on a disk: direct writes, write-back that somebody waits for, flushes.
    DISK_WRITE = held("disk_write", "disk write or flush"),
    /// The file system's journal or log: a commit, or room in it.
    JOURNAL = held("journal", "journal commit"),
    /// Dirty throttling.
    DIRTY = held("dirty", "dirty throttling"),
    /// Reclaim or compaction of memory, or a memory limit's penalty.
    RECLAIM = held("reclaim", "memory reclaim"),
    /// A page fault with I/O.
    FAULT = held("fault", "page fault"),
    /// A lock on a file, or one inside the kernel.
    LOCK = held("lock", "file or kernel lock"),
    /// A futex: a lock or a condition of user space.
    FUTEX = held("futex", "futex"),
    /// A TCP handshake.
    CONNECT = held("connect", "TCP connect"),
    /// Room in a TCP send buffer.
    SEND = held("send", "TCP send buffer"),
    /// Data of a TCP peer.
    RECEIVE = held("receive", "TCP receive"),
    /// A connection to accept.
    ACCEPT = idle("accept", "accept"),
    /// One of several descriptors.
    POLL = idle("poll", "poll, select, epoll"),
    /// The other end of a pipe, terminal, event descriptor, queue of messages or socket that is not TCP.
    PIPE = held("pipe", "pipe or other socket"),
    /// A sleep that was asked for.
    SLEEP = idle("sleep", "sleep asked for"),
    /// A child.
    CHILD = idle("child", "child process"),
    /// To be continued: stopped by a signal or a tracer.
    STOPPED = idle("stopped", "stopped or traced"),
    /// Completions of `io_uring` or libaio.
    ASYNC = held("async", "io_uring or libaio"),
    /// Work for a kernel thread.
    KERNEL = idle("kernel", "work for a kernel thread"),
    /// A signal.
    SIGNAL = idle("signal", "signal"),
    /// Its parent, which is still in the call that makes it.
    BIRTH = held("birth", "being made by its parent"),
}

const _: () = assert!(NAMES.len() <= WAITS);
