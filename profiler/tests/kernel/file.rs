//! Files: what is written and synced on a file system of our own.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use profiler_common::disk::op;
use profiler_common::file::kind;

use crate::kernel::child::{Clock, Parent, fork, write_once};
use crate::kernel::device::Mount;
use crate::kernel::observe::{assert_close, every, observe};

const SYNCS: u64 = 100;
const WRITES_PER_SYNC: u64 = 16;

#[test]
fn fsyncs_and_what_they_wait_are_counted() {
    let mount = Mount::ext4(16);
    let path = mount.path("file");
    let seen = observe(&every(100), || {
        let mut child = fork(|parent| write_and_sync(parent, &path));
        let (pid, said) = (child.pid, child.hear());
        child.end();
        (pid, said)
    });
    let (pid, [blocked_calls, blocked_ns]) = seen.said;
    let (writes, syncs) = (seen.call(pid, "write", kind::REGULAR), seen.call(pid, "fsync", kind::REGULAR));
    println!(
        "{blocked_calls} of {SYNCS} calls blocked {blocked_ns} ns; ours {} {}",
        syncs.blocked.count(),
        syncs.blocked_ns
    );
    // Where programs can be preempted, some calls are not seen, or the switch by which those before it become the thread's.
    let missed = seen.missed("sys_exit") + seen.missed("sched_switch") * WRITES_PER_SYNC;
    let seen_of = |whole: u64, count: u64| (whole.saturating_sub(missed)..=whole).contains(&count);
    assert!(seen_of(SYNCS * WRITES_PER_SYNC, writes.count), "{writes:?}, missed {missed}");
    assert_eq!(writes.bytes, writes.count * 256);
    assert!(seen_of(SYNCS, syncs.count) && syncs.errors == [0; 8], "{syncs:?}, missed {missed}");
    assert!(seen_of(blocked_calls, syncs.blocked.count()), "calls that blocked: {syncs:?}, missed {missed}");
    assert_close("blocked in fsync", syncs.blocked_ns, blocked_ns, 0.02 + missed as f64 / SYNCS as f64);
    let device = mount.device.device();
    let disks = seen.batches.iter().flat_map(|batch| &batch.disks).filter(|row| row.key.device == device);
    let flushes: u64 = disks.filter(|row| row.key.op == op::FLUSH).map(|row| row.requests).sum();
    assert!(flushes >= SYNCS, "{flushes} flushes, and each fsync of a file that grew needs one");
    seen.assert_counts_whole();
}

fn write_and_sync(parent: &mut Parent, path: &str) {
    let file = File::create(path).unwrap();
    let clock = Clock::new();
    let (mut calls, mut blocked_ns) = (0, 0);
    for _ in 0..SYNCS {
        for _ in 0..WRITES_PER_SYNC {
            assert_eq!(write_once(file.as_raw_fd(), 256), 256);
        }
        let (begin, switches) = (clock.now(), voluntary_switches());
        // SAFETY: a plain number.
        assert_eq!(unsafe { libc::fsync(file.as_raw_fd()) }, 0);
        calls += u64::from(voluntary_switches() > switches);
        blocked_ns += clock.now().blocked_since(&begin);
    }
    parent.say([calls, blocked_ns]);
}

/// How often the calling thread gave its CPU away.
fn voluntary_switches() -> i64 {
    // SAFETY: all zeros is a valid value of this plain struct, which lives.
    let (result, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), usage)
    };
    assert_eq!(result, 0);
    usage.ru_nvcsw
}
