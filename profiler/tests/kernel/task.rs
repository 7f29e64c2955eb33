//! Threads: their time and their switches against the scheduler's own books and their own clocks.

use std::thread::available_parallelism;
use std::time::Duration;

use profiler::source::live::Options;
use profiler_common::file::kind;
use profiler_common::task::state;

use crate::kernel::child::{Books, Clock, Parent, clock, fork, pin};
use crate::kernel::observe::{STALE_NS, Seen, every, figure, may_overbook, ms, observe, once};

/// What a child knows of itself.
struct Life {
    pid: u32,
    books: Books,
    /// Blocked time of all sleeps.
    slept_ns: u64,
    /// From its first instruction to its last report: a little less than its life.
    least_wall_ns: u64,
    /// From before its birth to after its end.
    most_wall_ns: u64,
}

#[test]
fn the_time_of_a_thread_is_what_the_scheduler_says_in_one_interval() {
    let seen = observe(&once(), live);
    compare(&seen);
}

#[test]
fn the_time_of_a_thread_is_what_the_scheduler_says_over_many_intervals() {
    let seen = observe(&every(50), live);
    assert!(seen.tasks(seen.said.pid).count() > 10);
    compare(&seen);
}

fn compare(seen: &Seen<Life>) {
    let Life { pid, books, slept_ns, least_wall_ns, most_wall_ns } = &seen.said;
    let sum = |value: fn(&profiler::batch::TaskRow) -> u64| seen.sum(*pid, value);
    let (cpu, blocked) = (sum(|row| row.cpu_ns), sum(|row| row.blocked_ns));
    let (woken, preempted) = (sum(|row| row.runq_wakeup_ns), sum(|row| row.runq_preempted_ns));
    let wall = sum(|row| row.wall_ns);
    println!("cpu {cpu} woken {woken} preempted {preempted} blocked {blocked} wall {wall} {books:?} {slept_ns}");
    let [ours, truth] = [woken + preempted, books.run_delay_ns].map(ms);
    figure("run queue = schedstat", format!("{ours} = {truth}"));
    assert_eq!(cpu, books.cpu_ns, "the last switch closes the scheduler's books and ours");
    let (queued, truth) = (woken + preempted, books.run_delay_ns);
    let low = if may_overbook() { truth - truth / 50 - seen.slack_ns() } else { truth };
    assert!((low..=truth + STALE_NS + seen.slack_ns()).contains(&queued), "{queued}, but in truth {truth}");
    // Whether it has to queue after a wake-up as well, is up to the scheduler: a sleeper that comes soon enough goes first.
    assert!(preempted > 0, "it had a competitor: {woken} {preempted}");
    assert_eq!(sum(|row| row.switches_voluntary), books.switches_voluntary);
    assert_eq!(sum(|row| row.switches_involuntary), books.switches_involuntary);
    seen.assert_adds_up(cpu + woken + preempted + blocked, wall);
    assert!((*least_wall_ns..=*most_wall_ns).contains(&wall), "{least_wall_ns} <= {wall} <= {most_wall_ns}");
    let sleeps = seen.call(*pid, "clock_nanosleep", kind::NONE);
    assert_eq!((sleeps.count, sleeps.blocked.count()), (SLEEPS, SLEEPS));
    seen.assert_adds_up(sleeps.blocked_ns, *slept_ns);
    let last = seen.tasks(*pid).last().unwrap();
    assert_eq!(last.state, state::ENDED);
    assert_eq!(seen.tasks(*pid).filter(|row| row.state == state::ENDED).count(), 1);
    seen.assert_counts_whole();
}

const SLEEPS: u64 = 40;

/// A child that spins and sleeps in turn, beside another that only spins on the same CPU.
fn live() -> Life {
    let cpu = available_parallelism().unwrap().get() - 1;
    let spinner = fork(|parent| {
        pin(cpu);
        parent.say([1]);
        loop {
            std::hint::spin_loop();
        }
    });
    let mut spinner = spinner;
    spinner.hear::<1>();
    let begin = clock(libc::CLOCK_MONOTONIC);
    let mut child = fork(|parent| spin_and_sleep(parent, cpu));
    let pid = child.pid;
    let [slept_ns, least_wall_ns] = child.hear();
    let books = child.end();
    let most_wall_ns = clock(libc::CLOCK_MONOTONIC) - begin;
    spinner.kill();
    Life { pid, books, slept_ns, least_wall_ns, most_wall_ns }
}

fn spin_and_sleep(parent: &mut Parent, cpu: usize) {
    let born_ns = clock(libc::CLOCK_MONOTONIC);
    pin(cpu);
    let clocks = Clock::new();
    let mut slept_ns = 0;
    for _ in 0..SLEEPS {
        let until = clock(libc::CLOCK_MONOTONIC) + 17_000_000;
        while clock(libc::CLOCK_MONOTONIC) < until {}
        let begin = clocks.now();
        std::thread::sleep(Duration::from_millis(19));
        slept_ns += clocks.now().blocked_since(&begin);
    }
    parent.say([slept_ns, clock(libc::CLOCK_MONOTONIC) - born_ns]);
}

#[test]
fn a_process_that_nobody_reaps_is_counted_once() {
    let options = Options { tick: Duration::from_millis(50), ..once() };
    let seen = observe(&options, || {
        let child = fork(|parent| {
            let until = clock(libc::CLOCK_MONOTONIC) + 30_000_000;
            while clock(libc::CLOCK_MONOTONIC) < until {}
            // Made when it is about to end.
            parent.say([1]);
        });
        // Other children come and go for some intervals; this one stays a zombie, unless it is in a hurry.
        let until = clock(libc::CLOCK_MONOTONIC) + 300_000_000;
        while clock(libc::CLOCK_MONOTONIC) < until {
            fork(|_| {}).end();
        }
        (child.pid, child.end())
    });
    let (pid, books) = &seen.said;
    let rows: Vec<_> = seen.tasks(*pid).map(|row| (row.state, row.cpu_ns, row.wall_ns, row.blocked_ns)).collect();
    assert_eq!(seen.sum(*pid, |row| row.cpu_ns), books.cpu_ns, "rows: {rows:?}");
    assert_eq!(seen.call(*pid, "write", kind::PIPE).count, 1);
    assert_eq!(seen.tasks(*pid).last().map(|row| row.state), Some(state::ENDED), "rows: {rows:?}");
}
