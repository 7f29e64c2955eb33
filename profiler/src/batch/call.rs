//! What a system call does, by name: the one table that the kernel programs, the model and the screens share.

use profiler_common::syscall::{class, operation};
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
            "recv",
            "pread",
            "read_fixed",
            "readv_fixed",
            "read_multishot",
            "recv_zc",
        ],
    ),
    (
        class::WRITE,
        &[
            "write",
            "pwrite64",
            "writev",
            "pwritev",
            "pwritev2",
            "sendto",
            "sendmsg",
            "sendfile",
            "vmsplice",
            "tee",
            "send",
            "pwrite",
            "write_fixed",
            "writev_fixed",
            "send_zc",
            "sendmsg_zc",
        ],
    ),
    (class::ACCEPT, &["accept", "accept4"]),
    (class::SYNC, &["fsync", "fdatasync", "sync_file_range", "syncfs", "fdsync"]),
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
            "connect",
            "flock",
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
    (class::SUBMIT, &["io_submit"]),
    (class::REAP, &["io_getevents", "io_pgetevents"]),
];

/// What the name of an operation begins with: `io_uring`, one of its worker threads, which are called so, or libaio.
const OWNERS: [&str; 3] = ["uring ", "iou-wrk ", "aio "];

/// Names of operations of `io_uring`: as such, and as done by a worker thread.
macro_rules! uring {
    ($($name:literal)*) => {
        /// In the order of `enum io_uring_op`.
        const URING_NAMES: &[[&str; 2]] = &[$([concat!("uring ", $name), concat!("iou-wrk ", $name)]),*];
    };
}

uring! {
    "nop" "readv" "writev" "fsync" "read_fixed" "write_fixed" "poll_add" "poll_remove" "sync_file_range" "sendmsg"
    "recvmsg" "timeout" "timeout_remove" "accept" "async_cancel" "link_timeout" "connect" "fallocate" "openat" "close"
    "files_update" "statx" "read" "write" "fadvise" "madvise" "send" "recv" "openat2" "epoll_ctl" "splice"
    "provide_buffers" "remove_buffers" "tee" "shutdown" "renameat" "unlinkat" "mkdirat" "symlinkat" "linkat" "msg_ring"
    "fsetxattr" "setxattr" "fgetxattr" "getxattr" "socket" "uring_cmd" "send_zc" "sendmsg_zc" "read_multishot" "waitid"
    "futex_wait" "futex_wake" "futex_waitv" "fixed_fd_install" "ftruncate" "bind" "listen" "recv_zc" "epoll_wait"
    "readv_fixed" "writev_fixed" "pipe"
}

/// By `IOCB_CMD_*`; two were never made.
const AIO_NAMES: &[&str] = &[
    "aio pread",
    "aio pwrite",
    "aio fsync",
    "aio fdsync",
    "aio #4",
    "aio poll",
    "aio noop",
    "aio preadv",
    "aio pwritev",
];

/// Name of an operation by its number, one of [`operation`].
#[must_use]
pub fn operation_name(number: usize) -> Option<&'static str> {
    let code = |begin: u32| number.checked_sub(begin as usize);
    let uring = |begin, form: usize| URING_NAMES.get(code(begin)?).map(|names| names[form]);
    let aio = || AIO_NAMES.get(code(operation::AIO)?).copied();
    aio().or_else(|| uring(operation::WORKER, 1)).or_else(|| uring(operation::URING, 0))
}

/// Whether this is the name of an operation, and not of a call.
#[must_use]
pub fn is_operation(name: &str) -> bool {
    OWNERS.iter().any(|owner| name.starts_with(owner))
}

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
    let name = OWNERS.iter().find_map(|owner| name.strip_prefix(owner)).unwrap_or(name);
    CLASSES.iter().find(|(_, names)| names.contains(&name)).map_or(class::OTHER, |(class, _)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_named_and_do_what_calls_of_that_name_do() {
        let named = |begin: u32, code: usize| operation_name(begin as usize + code);
        assert_eq!(named(operation::URING, 22), Some("uring read"));
        assert_eq!(named(operation::WORKER, 3), Some("iou-wrk fsync"));
        assert_eq!(named(operation::AIO, 8), Some("aio pwritev"));
        assert_eq!([named(operation::URING, 127), named(operation::AIO, 9)], [None; 2]);
        let classes = ["uring read", "iou-wrk fsync", "aio pwritev", "uring close", "uring nop"].map(class_of);
        assert_eq!(classes, [class::READ, class::SYNC, class::WRITE, class::CLOSE, class::OTHER]);
        assert!(is_operation("aio pread") && !is_operation("read"));
    }
}
