//! Sampled latencies: all calls when every moment is sampled, none when no moment is.

use std::os::fd::AsRawFd as _;
use std::time::Duration;

use profiler::source::live::Options;
use profiler_common::file::kind;

use crate::kernel::child::{clock, fork, open, read_once};
use crate::kernel::life::{linked, programs_of};
use crate::kernel::observe::{every, observe, once, until};

const READS: u64 = 20_000;

/// Its process id, and how long all calls took together.
fn read_zeros() -> (u32, u64) {
    let mut child = fork(|parent| {
        let zero = open("/dev/zero");
        let begun = clock(libc::CLOCK_MONOTONIC);
        for _ in 0..READS {
            read_once(zero.as_raw_fd(), 1);
        }
        parent.say([clock(libc::CLOCK_MONOTONIC) - begun]);
    });
    let (pid, [took]) = (child.pid, child.hear());
    child.end();
    (pid, took)
}

#[test]
fn every_call_has_a_latency_when_every_moment_is_sampled() {
    let options = Options { sample_permille: 1_000, ..once() };
    let seen = observe(&options, || {
        // The window opens when the reader's thread gets to it.
        until("the entry hook is attached", || {
            let there = linked(&programs_of(std::process::id()), "sys_enter");
            if there { Ok(()) } else { Err("it is not".to_owned()) }
        });
        read_zeros()
    });
    let (pid, took_ns) = seen.said;
    let row = seen.call(pid, "read", kind::CHARACTER);
    println!("{} calls, {} latencies", row.count, row.latency.count());
    assert_eq!(row.count, READS);
    // A call during which the thread left its CPU is among the blocked ones, or was preempted.
    assert!(row.latency.count() <= READS && row.latency.count() * 100 >= READS * 95);
    let least: u64 = row.latency.slots.iter().map(|(slot, count)| row.latency.bounds(*slot).0 * count).sum();
    assert!(least <= took_ns, "all calls took {took_ns} ns, and we say at least {least}");
    assert!((seen.machine.call_sampling - 1.0).abs() < f64::EPSILON);
    seen.assert_counts_whole();
}

#[test]
fn sampling_goes_on_over_intervals() {
    let options = Options { sample_permille: 1_000, tick: Duration::from_millis(500), ..once() };
    let seen = observe(&options, || {
        // Spread over several intervals: between two of them the hook is away while the kernel is read.
        let child = fork(|_| {
            let zero = open("/dev/zero");
            for _ in 0..READS {
                let until = clock(libc::CLOCK_MONOTONIC) + 100_000;
                read_once(zero.as_raw_fd(), 1);
                while clock(libc::CLOCK_MONOTONIC) < until {}
            }
        });
        let pid = child.pid;
        child.end();
        pid
    });
    let row = seen.call(seen.said, "read", kind::CHARACTER);
    println!("{} calls, {} latencies, {} batches", row.count, row.latency.count(), seen.batches.len());
    assert_eq!(row.count, READS);
    assert!(row.latency.count() <= READS);
    // How long reading takes is the machine's affair; that sampling goes on after it is ours.
    assert!(row.latency.count() * 2 >= READS, "{} of {READS} calls have a latency", row.latency.count());
}

#[test]
fn no_call_has_a_latency_when_nothing_is_sampled() {
    let seen = observe(&every(100), read_zeros);
    let row = seen.call(seen.said.0, "read", kind::CHARACTER);
    assert_eq!((row.count, row.latency.count()), (READS, 0));
    assert!(seen.batches.iter().flat_map(|batch| &batch.calls).all(|row| row.latency.count() == 0));
    assert!(seen.machine.call_sampling.abs() < f64::EPSILON);
}
