//! What a system call does, by name: the one table that the kernel programs, the model and the screens share.

use profiler_common::syscall::class;
use profiler_common::wait;

/// Calls that move data, make it durable, wait or fork; all others are [`class::OTHER`].
///
/// `sendfile` counts at the descriptor that it writes to and `splice` at the one that it reads from, because that is
/// their first argument.
const CLASSES: &[(u8, &[&str])] = &[
    (
        class::READ,
        &[
            "read",
            "pread64",
            "readv",
            "preadv",
            "preadv2",
            "recvfrom",
            "recvmsg",
            "splice",
            "getdents",
            "getdents64",
            "copy_file_range",
        ],
    ),
    (
        class::WRITE,
        &["write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendfile", "vmsplice", "tee"],
    ),
    (class::SYNC, &["fsync", "fdatasync", "sync_file_range", "syncfs"]),
    (
        class::WAIT,
        &[
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
            "connect",
            "flock",
            "io_getevents",
            "io_pgetevents",
            "io_uring_enter",
            "sync",
            "msync",
            "rt_sigtimedwait",
            "sched_yield",
            "pause",
            "recvmmsg",
            "sendmmsg",
            "openat",
        ],
    ),
    (class::CLOSE, &["close", "dup2", "dup3", "close_range", "execve", "execveat", "unshare"]),
    (class::FORK, &["fork", "vfork", "clone", "clone3"]),
];

/// What being blocked in a call means, where its class does not tell.
const WAITS: &[(u32, &[&str])] = &[
    (wait::FUTEX, &["futex", "futex_wait", "futex_waitv"]),
    (wait::POLL, &["poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"]),
    (wait::SLEEP, &["nanosleep", "clock_nanosleep"]),
    (wait::CHILD, &["wait4", "waitid"]),
    (wait::ACCEPT, &["accept", "accept4"]),
    (wait::CONNECT, &["connect"]),
    (wait::RECEIVE, &["recvmmsg"]),
    (wait::SEND, &["sendmmsg"]),
    (wait::LOCK, &["flock", "fcntl"]),
    (wait::ASYNC, &["io_getevents", "io_pgetevents", "io_uring_enter"]),
    (wait::JOURNAL, &["sync", "msync"]),
    (wait::SIGNAL, &["pause", "rt_sigsuspend", "rt_sigtimedwait"]),
    (wait::PIPE, &["msgrcv", "msgsnd", "semop", "semtimedop", "mq_timedreceive", "mq_timedsend"]),
];

/// What being blocked in a call means, one of [`wait`]. Where data goes through a descriptor, it is as if that were of TCP.
#[must_use]
pub fn wait_of(name: &str) -> u8 {
    let listed = WAITS.iter().find(|(_, names)| names.contains(&name)).map(|(wait, _)| *wait);
    let wait = listed.unwrap_or_else(|| match class_of(name) {
        class::READ => wait::RECEIVE,
        class::WRITE => wait::SEND,
        class::SYNC => wait::JOURNAL,
        class::FORK => wait::CHILD,
        _ => wait::OTHER,
    });
    u8::try_from(wait).unwrap_or(0)
}

/// Whether the first argument of a call that waits is the descriptor that it waits for.
#[must_use]
pub fn takes_descriptor(name: &str) -> bool {
    matches!(class_of(name), class::READ | class::WRITE | class::SYNC)
        || matches!(name, "connect" | "flock" | "fcntl" | "recvmmsg" | "sendmmsg")
}

/// Whether a wait can have been ended by a process in this call, or in none. Interrupts end waits in the name of whoever ran.
#[must_use]
pub fn wakes(wait: u32, call: Option<&str>, kernel_thread: bool) -> bool {
    let Some(call) = call else {
        let of_kernel = [wait::DISK_READ, wait::DISK_WRITE, wait::JOURNAL, wait::FAULT, wait::ASYNC, wait::LOCK];
        return kernel_thread && of_kernel.contains(&wait);
    };
    let moves = matches!(class_of(call), class::READ | class::WRITE | class::CLOSE) || call == "shutdown";
    match wait {
        wait::FUTEX => call.starts_with("futex"),
        wait::LOCK => true,
        wait::CHILD => matches!(call, "exit" | "exit_group"),
        wait::SIGNAL | wait::STOPPED => matches!(call, "kill" | "tkill" | "tgkill" | "rt_sigqueueinfo" | "ptrace"),
        wait::PIPE => moves || u32::from(wait_of(call)) == wait::PIPE,
        wait::RECEIVE | wait::SEND | wait::CONNECT | wait::ACCEPT | wait::POLL => {
            moves || matches!(call, "connect" | "accept" | "accept4" | "sendmmsg" | "recvmmsg")
        }
        _ => false,
    }
}

/// The [`class`] of a call.
#[must_use]
pub fn class_of(name: &str) -> u8 {
    CLASSES.iter().find(|(_, names)| names.contains(&name)).map_or(class::OTHER, |(class, _)| *class)
}
