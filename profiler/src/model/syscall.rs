//! System calls per process, and what a wait in each of them means.

use std::borrow::Cow;

use profiler_common::file::kind;
use profiler_common::syscall::{CALLS_MAX, COMPAT_CALL, ERRNO_CLASSES, class};

use crate::batch::call::class_of;
use crate::batch::{CallRow, Hist, Machine};
use crate::model::host::add_each;
use crate::model::time::{Reset, Tally};

/// Waits that somebody asked for or that wait for work: long ones are no sign of trouble. `futex` is among them,
/// because an idle worker and a contended lock look alike from here.
const IDLE: &[&str] = &[
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "futex",
    "futex_wait",
    "futex_waitv",
    "nanosleep",
    "clock_nanosleep",
    "wait4",
    "waitid",
    "accept",
    "accept4",
    "io_getevents",
    "io_pgetevents",
    "io_uring_enter",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "pause",
    "recvmmsg",
    "restart_syscall",
    "msgrcv",
    "semop",
    "semtimedop",
    "mq_timedreceive",
    "ptrace",
    "exit",
    "exit_group",
    // A parent in `vfork` waits for its child to start the new program.
    "vfork",
];

/// What one call of one process did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallUse {
    /// Calls that returned.
    pub count: u64,
    /// Bytes read or written.
    pub bytes: u64,
    /// Failed calls by [`ERRNO_CLASSES`].
    pub errors: [u64; ERRNO_CLASSES.len()],
    /// Blocked time.
    pub blocked_ns: u64,
    /// Calls that blocked, by blocked time. Exact, coarse scale.
    pub blocked: Hist,
    /// Sampled latencies, fine scale.
    pub latency: Hist,
}

impl CallUse {
    /// Failed calls of all classes.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.iter().sum()
    }

    fn absorb_parts(&mut self, count: u64, bytes: u64, errors: &[u64; ERRNO_CLASSES.len()], blocked_ns: u64) {
        self.count += count;
        self.bytes += bytes;
        self.blocked_ns += blocked_ns;
        add_each(&mut self.errors, errors);
    }
}

impl Reset for CallUse {
    fn reset(&mut self) {
        self.count = 0;
        self.bytes = 0;
        self.errors = [0; ERRNO_CLASSES.len()];
        self.blocked_ns = 0;
        self.blocked.slots.clear();
        self.latency.slots.clear();
    }
}

impl Tally<CallRow> for CallUse {
    fn absorb(&mut self, row: &CallRow) {
        self.absorb_parts(row.count, row.bytes, &row.errors, row.blocked_ns);
        self.blocked.add(&row.blocked);
        self.latency.add(&row.latency);
    }
}

impl Tally<CallUse> for CallUse {
    fn absorb(&mut self, other: &CallUse) {
        self.absorb_parts(other.count, other.bytes, &other.errors, other.blocked_ns);
        self.blocked.add(&other.blocked);
        self.latency.add(&other.latency);
    }
}

/// The host's calls by number: names, and what each does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTable {
    calls: Vec<Option<CallInfo>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CallInfo {
    name: String,
    class: u8,
    idle: bool,
}

impl CallTable {
    pub(super) fn new(machine: &Machine) -> Self {
        let mut calls = vec![None; CALLS_MAX];
        for (number, name) in &machine.call_names {
            if let Some(call) = calls.get_mut(*number as usize) {
                let (name, class, idle) = (name.clone(), class_of(name), IDLE.contains(&name.as_str()));
                *call = Some(CallInfo { name, class, idle });
            }
        }
        Self { calls }
    }

    fn info(&self, key: u32) -> Option<&CallInfo> {
        // Numbers of 32-bit calls mean something else, and no table of ours names them.
        if key & COMPAT_CALL != 0 {
            return None;
        }
        self.calls.get((key & 0xffff) as usize)?.as_ref()
    }

    /// Name of the call of a [`profiler_common::syscall::call_key`], else its number.
    #[must_use]
    pub fn name(&self, key: u32) -> Cow<'_, str> {
        match self.info(key) {
            Some(info) => Cow::Borrowed(&info.name),
            None if key & COMPAT_CALL != 0 => Cow::Owned(format!("32-bit #{}", key & 0xffff)),
            None => Cow::Owned(format!("#{}", key & 0xffff)),
        }
    }

    /// What the call does ([`class`]); [`class::OTHER`] if nobody knows.
    #[must_use]
    pub fn class(&self, key: u32) -> u8 {
        self.info(key).map_or(class::OTHER, |info| info.class)
    }

    /// Whether being blocked in the call is waiting for work rather than for the system to do some.
    #[must_use]
    pub fn is_idle(&self, key: u32) -> bool {
        let Some(info) = self.info(key) else { return true };
        let waits_for_peer = matches!(
            kind_of(key),
            kind::PIPE | kind::SOCKET | kind::TCP | kind::CHARACTER | kind::ANONYMOUS | kind::UNKNOWN | kind::NONE
        );
        info.idle || info.class == class::READ && waits_for_peer
    }

    /// Whether being blocked in the call is waiting for storage: a file, a device, or data made durable.
    #[must_use]
    pub fn is_storage(&self, key: u32) -> bool {
        let on_storage =
            matches!(kind_of(key), kind::REGULAR | kind::DIRECT | kind::MEMORY | kind::DIRECTORY | kind::BLOCK);
        match self.class(key) {
            class::SYNC => true,
            class::READ | class::WRITE => on_storage,
            _ => self.info(key).is_some_and(|info| matches!(info.name.as_str(), "sync" | "msync" | "openat")),
        }
    }
}

/// The kind of file in a [`profiler_common::syscall::call_key`].
#[must_use]
pub const fn kind_of(key: u32) -> u32 {
    (key & !COMPAT_CALL) >> 16
}
