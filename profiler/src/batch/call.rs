//! What a system call does, by name: the one table that the kernel programs, the model and the screens share.

use profiler_common::syscall::class;

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

/// The [`class`] of a call.
#[must_use]
pub fn class_of(name: &str) -> u8 {
    CLASSES.iter().find(|(_, names)| names.contains(&name)).map_or(class::OTHER, |(class, _)| *class)
}
