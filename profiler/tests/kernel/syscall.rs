//! Calls: the exact numbers that a process was told to make, and those that `dd` and `strace` say.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};

use profiler_common::file::kind;
use profiler_common::syscall::ERRNO_CLASSES;

use crate::kernel::child::{self, fork, open, read_once, write_once};
use crate::kernel::device::Scratch;
use crate::kernel::observe::{Seen, every, observe, once};

#[test]
fn every_call_of_a_process_is_counted_in_one_interval() {
    exact_calls(&once());
}

#[test]
fn every_call_of_a_process_is_counted_over_many_intervals() {
    exact_calls(&every(20));
}

fn exact_calls(options: &profiler::source::live::Options) {
    let scratch = Scratch::new();
    let regular = scratch.file("regular", 4096);
    let seen = observe(options, || {
        let child = fork(|_| make_calls(&regular));
        let pid = child.pid;
        child.end();
        pid
    });
    let (pid, errors) = (seen.said, [0; 8]);
    let call = |name: &str, kind: u32| {
        let row = seen.call(pid, name, kind);
        (row.count, row.bytes, row.errors)
    };
    assert_eq!(call("getppid", kind::NONE), (10_000, 0, errors));
    assert_eq!(call("read", kind::CHARACTER), (5_000, 5_000, errors));
    assert_eq!(call("write", kind::PIPE), (3_001, 300_060, errors));
    assert_eq!(call("read", kind::PIPE), (3_000 + 50 + 20, 300_060, failed("again", 50)));
    assert_eq!(call("read", kind::REGULAR), (10, 70, errors));
    assert_eq!(call("read", kind::UNKNOWN), (5, 0, failed("invalid", 5)));
    assert_eq!(call("openat", kind::NONE), (202, 0, failed("not_found", 200)));
    assert_eq!(seen.kinds(pid, "read"), [kind::REGULAR, kind::CHARACTER, kind::PIPE, kind::UNKNOWN]);
    assert_eq!(seen.kinds(pid, "write"), [kind::PIPE]);
    seen.assert_counts_whole();
}

/// The calls that [`exact_calls`] expects; the descriptors are closed before more are made.
fn make_calls(regular: &str) {
    for _ in 0..10_000 {
        // SAFETY: no arguments. The wrapper of the C library may remember the answer.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    let zero = open("/dev/zero");
    for _ in 0..5_000 {
        assert_eq!(read_once(zero.as_raw_fd(), 1), 1);
    }
    let (from, to) = io::pipe().unwrap();
    for _ in 0..3_000 {
        assert_eq!(write_once(to.as_raw_fd(), 100), 100);
        assert_eq!(read_once(from.as_raw_fd(), 100), 100);
    }
    for _ in 0..200 {
        // SAFETY: a constant string.
        assert_eq!(unsafe { libc::open(c"/nowhere/to/be/found".as_ptr(), libc::O_RDONLY) }, -1);
    }
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(from.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    for _ in 0..50 {
        assert_eq!(read_once(from.as_raw_fd(), 1), -1);
    }
    // One number, first of a regular file, then of the pipe.
    let file = open(regular);
    let number = file.as_raw_fd();
    for _ in 0..10 {
        assert_eq!(read_once(number, 7), 7);
    }
    // SAFETY: closes what the number names, which nobody uses, and makes it name the pipe.
    assert_eq!(unsafe { libc::dup2(from.as_raw_fd(), number) }, number);
    assert_eq!(write_once(to.as_raw_fd(), 60), 60);
    for _ in 0..20 {
        assert_eq!(read_once(number, 3), 3);
    }
    for _ in 0..5 {
        assert_eq!(read_once(1_000, 1), -1);
    }
}

fn failed(class: &str, count: u64) -> [u64; 8] {
    let mut errors = [0; 8];
    errors[ERRNO_CLASSES.iter().position(|name| *name == class).unwrap()] = count;
    errors
}

#[test]
fn dd_reads_and_writes_as_often_as_its_arguments_say() {
    let dd = ["if=/dev/zero", "of=/dev/null", "bs=512", "count=12345", "status=none"];
    let seen = observe(&once(), || run(Command::new("dd").args(dd)));
    for name in ["read", "write"] {
        let row = seen.call(seen.said, name, kind::CHARACTER);
        assert_eq!((row.count, row.bytes), (12_345, 12_345 * 512), "{name}");
    }
}

#[test]
fn strace_counts_the_same_calls() {
    let (scratch, folder) = (Scratch::new(), Scratch::new());
    let report = scratch.path("strace");
    for name in 0..500 {
        fs::write(folder.path(&name.to_string()), "").unwrap();
    }
    let seen = observe(&once(), || {
        run(Command::new("strace").args([
            "-f",
            "-c",
            "-U",
            "calls,errors,name",
            "-o",
            &report,
            "ls",
            "-lR",
            &folder.path(""),
        ]))
    });
    let pid = traced(&seen, "ls");
    let report = fs::read_to_string(&report).unwrap();
    let mut compared = 0;
    for (name, calls, failures) in counts(&report) {
        // It ends in the first, begins with the second, and makes the rest before it becomes `ls`, too.
        if ["exit_group", "execve", "rt_sigaction", "rt_sigprocmask", "set_robust_list", "close", "total"]
            .contains(&name)
        {
            continue;
        }
        let rows = seen.calls(pid).filter(|row| seen.machine.call_names[&(row.key & 0xffff)] == name);
        let ours = rows.fold((0, 0), |sum, row| (sum.0 + row.count, sum.1 + row.errors.iter().sum::<u64>()));
        assert_eq!(ours, (calls, failures), "{name}");
        compared += calls;
    }
    assert!(compared > 1_000, "strace says little:\n{report}");
}

/// The process of a name, of which there is one.
fn traced<T>(seen: &Seen<T>, comm: &str) -> u32 {
    let rows = seen.batches.iter().flat_map(|batch| &batch.tasks).filter(|row| row.comm == comm);
    let mut pids: Vec<_> = rows.map(|row| row.process.pid).collect();
    pids.dedup();
    assert_eq!(pids.len(), 1, "processes named {comm}: {pids:?}");
    pids[0]
}

/// Lines of `strace -c`: name, calls, failures.
fn counts(report: &str) -> impl Iterator<Item = (&str, u64, u64)> {
    report.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [calls, errors, name] => Some((name, calls.parse().ok()?, errors.parse().ok()?)),
            [calls, name] => Some((name, calls.parse().ok()?, 0)),
            _ => None,
        }
    })
}

/// Runs a program to its last switch; its process id.
#[expect(clippy::zombie_processes, reason = "`child::end` looks at the zombie, and reaps it")]
fn run(command: &mut Command) -> u32 {
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let (_, status) = child::end(process.id());
    assert_eq!(status, 0);
    process.id()
}
