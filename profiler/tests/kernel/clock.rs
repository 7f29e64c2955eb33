//! Our numbers against clocks that we did not write: the kernel's delay accounting (taskstats), `strace`, `/proc/stat` and
//! `/proc/schedstat`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicU32;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use profiler::batch::{CallRow, TaskRow};
use profiler_common::wait;

use crate::kernel::child::{Child, Parent, clock, fork, pin};
use crate::kernel::device::{LoopDevice, Scratch};
use crate::kernel::observe::{Seen, assert_close, every, figure_of_test, ms, observe, until};
use crate::kernel::taskstats::{Accounting, CPU, IO, QUEUED, Stats};

const MS: u64 = 1_000_000;
/// By how much another clock may differ.
const SHARE: f64 = 0.02;

/// A child that has done its work and sleeps since, and what the kernel says of it.
struct Told {
    child: Child,
    stats: Stats,
}

/// Runs a workload in a process of its own. It is still there when the observation ends: its last sum is of the same moment.
fn told(work: impl FnOnce(&mut Parent)) -> Told {
    let _accounting = Accounting::on();
    let mut child = fork(|parent| {
        work(parent);
        parent.say([1]);
        parent.hear();
    });
    child.hear::<1>();
    sleeps(&child);
    Told { stats: Stats::of(child.pid), child }
}

/// Waits until a child has left its CPU.
pub fn sleeps(child: &Child) {
    let path = format!("/proc/{}/syscall", child.pid);
    until("the child sleeps", || match fs::read_to_string(&path).unwrap() {
        state if state.starts_with("running") => Err(state),
        _ => Ok(()),
    });
}

/// Makes the caller a real-time thread. Since 6.12 another that sleeps may stay on its run queue for a while. The kernel then
/// takes whoever runs at the end of that for who begins to wait for I/O, and the true one's wait as one since its last, or since
/// the machine was started.
pub fn be_first() {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: `first` lives until the call returns.
    assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) }, 0);
}

#[track_caller]
pub fn compare(what: &str, ours: u64, truth: u64) {
    let off = (ours as f64 - truth as f64) / truth.max(1) as f64 * 100.0;
    figure_of_test(what, format!("{} = {}, off by {off:+.3} %", ms(ours), ms(truth)));
    assert!(truth >= 200 * MS, "too little of it to compare: {truth} ns");
    assert_close(what, ours, truth, SHARE);
}

fn sum(seen: &Seen<Told>, value: fn(&TaskRow) -> u64) -> u64 {
    seen.sum(seen.said.child.pid, value)
}

#[test]
fn cpu_and_run_queue_time_as_in_taskstats() {
    let cpu = available_parallelism().unwrap().get() - 1;
    let seen = observe(&every(50), || {
        let mut rival = fork(|parent| {
            pin(cpu);
            parent.say([1]);
            loop {
                std::hint::spin_loop();
            }
        });
        rival.hear::<1>();
        told(|_| {
            pin(cpu);
            while clock(libc::CLOCK_THREAD_CPUTIME_ID) < 500 * MS {}
        })
    });
    let stats = &seen.said.stats;
    compare("CPU", sum(&seen, |row| row.cpu_ns), stats.number(CPU));
    let queued = sum(&seen, |row| row.runq_wakeup_ns + row.runq_preempted_ns + row.throttled_ns);
    compare("run queue", queued, stats.number(QUEUED));
}

#[test]
fn direct_reads_as_in_taskstats() {
    let disk = LoopDevice::uncached(64);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
    let seen = observe(&every(50), || {
        told(|_| {
            be_first();
            let mut memory = vec![0; (1 << 20) + 4096];
            let begin = memory.as_ptr().align_offset(4096);
            let buffer = &mut memory[begin..begin + (1 << 20)];
            let until = clock(libc::CLOCK_MONOTONIC) + 1_000 * MS;
            for place in (0..64 << 20).step_by(1 << 20).cycle() {
                file.read_exact_at(buffer, place).unwrap();
                if clock(libc::CLOCK_MONOTONIC) > until {
                    break;
                }
            }
        })
    });
    compare("disks", sum(&seen, disks), seen.said.stats.number(IO));
}

/// All waits for disks.
fn disks(row: &TaskRow) -> u64 {
    [wait::DISK_READ, wait::DISK_WRITE, wait::FAULT].map(|wait| row.waits[wait as usize]).iter().sum()
}

#[test]
fn cold_pages_of_a_mapped_file_as_in_taskstats() {
    const LENGTH: usize = 64 << 20;
    let disk = LoopDevice::uncached(LENGTH >> 20);
    let file = File::open(&disk.path).unwrap();
    let seen = observe(&every(50), || {
        told(|_| {
            be_first();
            let until = clock(libc::CLOCK_MONOTONIC) + 1_000 * MS;
            while clock(libc::CLOCK_MONOTONIC) < until {
                // SAFETY: a mapping of a device as long as it is, only read.
                unsafe {
                    libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
                    let fd = file.as_raw_fd();
                    let map = libc::mmap(null_mut(), LENGTH, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0).cast::<u8>();
                    for place in (0..LENGTH).step_by(1 << 20) {
                        std::ptr::read_volatile(map.add(place));
                    }
                    libc::munmap(map.cast(), LENGTH);
                }
            }
        })
    });
    compare("page faults", sum(&seen, |row| row.waits[wait::FAULT as usize]), seen.said.stats.number(IO));
}

/// Calls that `strace` sees last from the stop before to the stop after: the tracer's own time counts. Each is long, and both are
/// first on their CPUs.
#[test]
fn blocked_time_by_call_as_in_strace() {
    const TURNS: u64 = 3;
    const LONG: Duration = Duration::from_millis(200);
    let scratch = Scratch::new();
    let report = scratch.path("report");
    let seen = observe(&every(50), || {
        let (told, mut tell) = io::pipe().unwrap();
        let mut child = fork(|parent| {
            be_first();
            readable(&told);
            for _ in 0..TURNS {
                parent.say([1]);
                parent.hear();
                make_long_calls(LONG);
            }
        });
        let pid = child.pid.to_string();
        let arguments = ["--fifo", "1", "strace", "-f", "-c", "-w", "-o", &report, "-p", &pid];
        let mut strace = Command::new("chrt").args(arguments).stderr(Stdio::null()).spawn().unwrap();
        traced(&child);
        tell.write_all(&[1]).unwrap();
        for _ in 0..TURNS {
            child.hear::<1>();
            thread::sleep(LONG);
            child.say(1);
        }
        let pid = child.ended();
        assert!(strace.wait().unwrap().success());
        pid
    });
    let report = fs::read_to_string(report).unwrap();
    let told = |name: &str| {
        let words = report.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut lines = words.filter(|words| words.last() == Some(&name));
        let seconds = lines.next().and_then(|words| words.get(1)?.parse::<f64>().ok());
        seconds.map(|seconds| Duration::from_secs_f64(seconds).as_nanos().try_into().unwrap()).expect(&report)
    };
    for name in ["read", "clock_nanosleep", "poll", "epoll_wait", "futex", "rt_sigtimedwait"] {
        // On all kinds of files, as `strace` does: what a call is about for which a thread still waits, is not known for sure.
        let is_named =
            |row: &&CallRow| seen.machine.call_names.get(&(row.key & 0xffff)).is_some_and(|known| known == name);
        let ours = seen.calls(seen.said).filter(is_named).map(|row| row.blocked_ns).sum();
        compare(name, ours, told(name));
    }
}

/// Waits until somebody else traces a child.
fn traced(child: &Child) {
    let path = format!("/proc/{}/status", child.pid);
    until("the child is traced", || match fs::read_to_string(&path).unwrap() {
        status if status.lines().any(|line| line == "TracerPid:\t0") => Err(status),
        _ => Ok(()),
    });
}

/// Waits until a pipe can be read, with a call that nobody compares.
fn readable(pipe: &PipeReader) {
    let mut descriptor = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the descriptor lives.
    assert_eq!(unsafe { libc::ppoll(&raw mut descriptor, 1, null(), null()) }, 1);
}

/// Waits of several kinds, each for as long.
fn make_long_calls(long: Duration) {
    let milliseconds = i32::try_from(long.as_millis()).unwrap();
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(milliseconds) * 1_000_000 };
    let word = AtomicU32::new(0);
    thread::sleep(long);
    // SAFETY: all that is pointed to lives until the calls return; no descriptors are given.
    unsafe {
        libc::poll(null_mut(), 0, milliseconds);
        let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(0));
        let mut event: libc::epoll_event = std::mem::zeroed();
        libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, milliseconds);
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, &raw const time);
        let set: libc::sigset_t = std::mem::zeroed();
        libc::sigtimedwait(&raw const set, null_mut(), &raw const time);
    }
}
