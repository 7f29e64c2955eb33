//! Row `task`: what a thread waits for while it is neither on a CPU nor queued for one. Codes are for
//! good: captures have them as indexes.

/// Room for codes: a power of two.
pub const WAITS: usize = 32;

/// What a state means for whoever wants the thread to get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It ran.
    Cpu,
    /// It wanted to run.
    Queue,
    /// It was held up by something.
    Wait,
    /// It waited for work to come or time to pass, as it had asked for: nobody is held up.
    Idle,
}

impl Class {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Queue => "queue",
            Self::Wait => "wait",
            Self::Idle => "idle",
        }
    }
}

/// A kind of wait in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Stable identifier.
    pub id: &'static str,
    /// What it waits for.
    pub label: &'static str,
    /// What it means.
    pub class: Class,
}

const fn held(id: &'static str, label: &'static str) -> Wait {
    Wait { id, label, class: Class::Wait }
}

const fn idle(id: &'static str, label: &'static str) -> Wait {
    Wait { id, label, class: Class::Idle }
}

const fn queued(id: &'static str, label: &'static str) -> Wait {
    Wait { id, label, class: Class::Queue }
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
    /// It had a CPU, but was not run: interrupts, or the hypervisor, which gave that CPU to another guest.
    STOLEN = queued("stolen", "interrupts or hypervisor"),
}

const _: () = assert!(NAMES.len() <= WAITS);
