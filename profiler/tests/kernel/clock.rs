//! Our numbers against clocks that we did not write: the kernel's delay accounting (taskstats).

use std::fs::OpenOptions;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::thread::available_parallelism;

use profiler::batch::TaskRow;
use profiler_common::wait;

use crate::kernel::child::{Child, Parent, clock, fork, pin};
use crate::kernel::device::LoopDevice;
use crate::kernel::observe::{Seen, assert_close, every, figure_of_test, ms, observe, until};
use crate::kernel::taskstats::{Accounting, Delays, delays};

const MS: u64 = 1_000_000;
/// By how much another clock may differ.
const SHARE: f64 = 0.02;

/// A child that has done its work and sleeps since, and what the kernel says of it.
struct Told {
    child: Child,
    delays: Delays,
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
    Told { delays: delays(child.pid), child }
}

/// Waits until a child has left its CPU.
fn sleeps(child: &Child) {
    let path = format!("/proc/{}/syscall", child.pid);
    until("the child sleeps", || match std::fs::read_to_string(&path).unwrap() {
        state if state.starts_with("running") => Err(state),
        _ => Ok(()),
    });
}

/// Makes the caller a real-time thread. Since 6.12 another that sleeps may stay on its run queue for a while. The kernel then
/// takes whoever runs at the end of that for who begins to wait for I/O, and the true one's wait as one since its last, or since
/// the machine was started.
fn be_first() {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: `first` lives until the call returns.
    assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) }, 0);
}

#[track_caller]
fn compare(what: &str, ours: u64, truth: u64) {
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
    let Delays { cpu_ns, queued_ns, .. } = seen.said.delays;
    compare("CPU", sum(&seen, |row| row.cpu_ns), cpu_ns);
    let queued = sum(&seen, |row| row.runq_wakeup_ns + row.runq_preempted_ns + row.throttled_ns);
    compare("run queue", queued, queued_ns);
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
    compare("disks", sum(&seen, disks), seen.said.delays.io_ns);
}

/// All waits for disks.
fn disks(row: &TaskRow) -> u64 {
    [wait::DISK_READ, wait::DISK_WRITE, wait::FAULT].map(|wait| row.waits[wait as usize]).iter().sum()
}

#[test]
fn cold_pages_of_a_mapped_file_as_in_taskstats() {
    const LENGTH: usize = 64 << 20;
    let disk = LoopDevice::uncached(LENGTH >> 20);
    let file = std::fs::File::open(&disk.path).unwrap();
    let seen = observe(&every(50), || {
        told(|_| {
            be_first();
            let until = clock(libc::CLOCK_MONOTONIC) + 1_000 * MS;
            while clock(libc::CLOCK_MONOTONIC) < until {
                // SAFETY: a mapping of a device as long as it is, only read.
                unsafe {
                    libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
                    let fd = file.as_raw_fd();
                    let map = libc::mmap(std::ptr::null_mut(), LENGTH, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0)
                        .cast::<u8>();
                    for place in (0..LENGTH).step_by(1 << 20) {
                        std::ptr::read_volatile(map.add(place));
                    }
                    libc::munmap(map.cast(), LENGTH);
                }
            }
        })
    });
    compare("page faults", sum(&seen, |row| row.waits[wait::FAULT as usize]), seen.said.delays.io_ns);
}
