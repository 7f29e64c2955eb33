//! Our numbers against clocks that we did not write: the kernel's delay accounting (taskstats), `strace`, `/proc/stat`
//! and `/proc/schedstat`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicU32;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use profiler::batch::{Batch, CallRow, TaskRow};
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

/// Runs a workload in a process of its own. It is still there when the observation ends: its last sum is of the same
/// moment.
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

/// Waits for I/O on one CPU, and before all others there. Of a thread that is woken for another CPU, delay accounting ends
/// the wait here and the scheduler there, once that CPU has been woken: under a busy hypervisor much later.
fn wait_at_one_place() {
    pin(0);
    be_first();
}

/// Makes the caller a real-time thread. Since 6.12 another that sleeps may stay on its run queue for a while. The
/// kernel then takes whoever runs at the end of that for who begins to wait for I/O, and the true one's wait as one
/// since its last, or since the machine was started.
pub fn be_first() {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: `first` lives until the call returns.
    assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) }, 0);
}

#[track_caller]
pub fn compare(what: &str, ours: u64, truth: u64) {
    compare_within(SHARE, what, ours, truth);
}

#[track_caller]
pub fn compare_within(share: f64, what: &str, ours: u64, truth: u64) {
    let off = (ours as f64 - truth as f64) / truth.max(1) as f64 * 100.0;
    figure_of_test(what, format!("{} = {}, off by {off:+.3} %", ms(ours), ms(truth)));
    assert!(truth >= 100 * MS, "too little of it to compare: {truth} ns");
    assert_close(what, ours, truth, share);
}

/// Waits for I/O. Whoever is woken while its CPU is another guest's comes back late: the kernel's clocks do not agree on whose
/// time that is.
#[track_caller]
fn compare_io(what: &str, seen: &Seen<Told>, value: fn(&TaskRow) -> u64) {
    let truth = seen.said.stats.number(IO);
    compare_within(SHARE + seen.stolen_ns() as f64 / truth.max(1) as f64, what, sum(seen, value), truth);
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
    const LENGTH: usize = 4 << 20;
    let disk = LoopDevice::uncached(64);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
    let seen = observe(&every(50), || {
        told(|_| {
            wait_at_one_place();
            let mut memory = vec![0; LENGTH + 4096];
            let begin = memory.as_ptr().align_offset(4096);
            let buffer = &mut memory[begin..begin + LENGTH];
            let until = clock(libc::CLOCK_MONOTONIC) + 1_000 * MS;
            for place in (0..64 << 20).step_by(LENGTH).cycle() {
                file.read_exact_at(buffer, place).unwrap();
                if clock(libc::CLOCK_MONOTONIC) > until {
                    break;
                }
            }
        })
    });
    compare_io("disks", &seen, disks);
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
            wait_at_one_place();
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
    compare_io("page faults", &seen, |row| row.waits[wait::FAULT as usize]);
}

/// Calls that `strace` sees last from the stop before to the stop after: the tracer's own time counts. Each is long,
/// and both are first on their CPUs.
#[test]
fn blocked_time_by_call_as_in_strace() {
    const TURNS: u64 = 2;
    const LONG: Duration = Duration::from_millis(500);
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
        // On all kinds of files, as `strace` does: what a call is about for which a thread still waits, is not known
        // for sure.
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

/// All CPUs are busy before it is watched, and until after it, half the time in the kernel. So what was used is the
/// same in any part of an interval, and the kernel's clocks tick for all of it.
#[test]
fn all_cpu_time_as_in_proc_stat_and_schedstat() {
    let cpus = available_parallelism().unwrap().get();
    let _load: Vec<_> = (0..cpus).flat_map(load).collect();
    let seen = observe(&every(50), || {
        let before = Host::now();
        thread::sleep(Duration::from_secs(8));
        (before, Host::now())
    });
    let (before, after) = &seen.said;
    let grown: Vec<u64> = after.stat.iter().zip(before.stat).map(|(after, before)| after - before).collect();
    let [user, nice, system, _, _, irq, softirq, steal] = grown[..] else { panic!("{grown:?}") };
    println!("/proc/stat: {grown:?}");
    let apart = if interrupts_are_apart() { irq + softirq } else { 0 };
    // A machine that is emulated loses ticks: it counts less than the time that has passed.
    let ticks = grown.iter().sum::<u64>() as f64 / ((after.stat_ns - before.stat_ns) * cpus as u64) as f64;
    figure_of_test("ticks that came", format!("{:.1} %", ticks * 100.0));
    if ticks > 0.99 {
        let ours = used(&seen, before.stat_ns, after.stat_ns);
        let stolen = in_window(&seen, |row| row.waits[wait::STOLEN as usize], before.stat_ns, after.stat_ns);
        figure_of_test("stolen = /proc/stat", format!("{} = {}", ms(stolen), ms(steal + apart)));
        let slack = grown.iter().sum::<u64>() / 100;
        assert!(stolen.abs_diff(steal + apart) <= slack, "{stolen} stolen, {steal} and {apart} in truth");
        compare_within(0.01, "/proc/stat", ours + apart, user + nice + system + irq + softirq);
    }
    // It counts all that keeps a thread from its next switch.
    if let (Some(before_ns), Some(after_ns)) = (before.ran_ns, after.ran_ns) {
        let ours = used(&seen, before.schedstat_ns, after.schedstat_ns);
        compare_within(0.01, "/proc/schedstat", ours + apart + steal, after_ns - before_ns);
    }
    assert!(ticks > 0.99 || before.ran_ns.is_some(), "nothing to compare with");
}

/// CPU time of all threads between two moments.
fn used(seen: &Seen<(Host, Host)>, begin_ns: u64, end_ns: u64) -> u64 {
    // Some kernel hides processes from programs.
    let known: HashSet<u32> = seen.batches.iter().flat_map(|batch| &batch.tasks).map(|row| row.process.pid).collect();
    let (before, after) = &seen.said;
    let hidden = |(tid, (pid, cpu_ns)): (&u32, &(u32, u64))| match before.threads.get(tid) {
        Some((_, before_ns)) if !known.contains(pid) => cpu_ns - before_ns,
        _ => 0,
    };
    in_window(seen, |row| row.cpu_ns, begin_ns, end_ns) + after.threads.iter().map(hidden).sum::<u64>()
}

/// A time of all threads between two moments.
fn in_window<T>(seen: &Seen<T>, value: fn(&TaskRow) -> u64, begin_ns: u64, end_ns: u64) -> u64 {
    let of = |batch: &Batch| {
        let part = batch.until.0.min(end_ns).saturating_sub(batch.from.0.max(begin_ns));
        let all: u64 = batch.tasks.iter().map(value).sum();
        all * part / (batch.until.0 - batch.from.0).max(1)
    };
    seen.batches.iter().map(of).sum()
}

/// Whether the kernel takes the time of interrupts off that of the threads that they interrupt (`IRQ_TIME_ACCOUNTING`).
fn interrupts_are_apart() -> bool {
    fs::read_to_string("/proc/kallsyms").unwrap().lines().any(|line| line.ends_with(" irqtime_account_irq"))
}

/// Two processes for one CPU: one computes, the other has the kernel clear memory.
fn load(cpu: usize) -> [Child; 2] {
    let computes = |_: &mut Parent| {
        pin(cpu);
        yield_to_all();
        loop {
            std::hint::spin_loop();
        }
    };
    let calls = |_: &mut Parent| {
        pin(cpu);
        yield_to_all();
        let (mut zeros, mut buffer) = (File::open("/dev/zero").unwrap(), vec![0; 1 << 20]);
        loop {
            zeros.read_exact(&mut buffer).unwrap();
        }
    };
    [fork(computes), fork(calls)]
}

/// Whoever else wants the caller's CPU has more of it.
fn yield_to_all() {
    // SAFETY: a plain number.
    unsafe { libc::nice(10) };
}

/// What the kernel says of all CPUs, and when.
struct Host {
    stat_ns: u64,
    /// Numbers of the first line of `/proc/stat`, in nanoseconds.
    stat: [u64; 8],
    schedstat_ns: u64,
    /// Time in which CPUs were run on by threads, where the kernel tells.
    ran_ns: Option<u64>,
    /// Process and CPU time of each thread.
    threads: HashMap<u32, (u32, u64)>,
}

impl Host {
    fn now() -> Self {
        const USER_HZ: u64 = 100;
        let number = |word: Option<&str>| -> u64 { word.unwrap().parse().unwrap() };
        let threads = threads();
        let begin_ns = clock(libc::CLOCK_MONOTONIC);
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let between_ns = clock(libc::CLOCK_MONOTONIC);
        let schedstat = fs::read_to_string("/proc/schedstat").ok();
        let end_ns = clock(libc::CLOCK_MONOTONIC);
        let mut words = stat.split_whitespace().skip(1);
        Self {
            stat_ns: begin_ns.midpoint(between_ns),
            stat: std::array::from_fn(|_| number(words.next()) * 1_000_000_000 / USER_HZ),
            schedstat_ns: between_ns.midpoint(end_ns),
            ran_ns: schedstat.map(|text| {
                let lines = text.lines().filter(|line| line.starts_with("cpu"));
                lines.map(|line| number(line.split_whitespace().nth(7))).sum()
            }),
            threads,
        }
    }
}

/// All threads of the host.
fn threads() -> HashMap<u32, (u32, u64)> {
    let numbers = |folder: &str| -> Vec<u32> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    let mut threads = HashMap::new();
    for pid in numbers("/proc") {
        for tid in numbers(&format!("/proc/{pid}/task")) {
            // It may have ended.
            let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).unwrap_or_default();
            if let Some(cpu_ns) = text.split_whitespace().next().and_then(|word| word.parse().ok()) {
                threads.insert(tid, (pid, cpu_ns));
            }
        }
    }
    threads
}
