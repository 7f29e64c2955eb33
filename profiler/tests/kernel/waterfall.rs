//! Where a thread's time goes: workloads with one cause each, of which we have to name that one.

mod cpu;
pub mod disk;
mod net;
mod wait;

use std::thread;
use std::time::Duration;

use profiler::batch::TaskRow;
use profiler::model::state::{Class, STATES, State, named, split};
use profiler::model::task::Usage;
use profiler::model::time::Tally as _;

use crate::kernel::child::fork;
use crate::kernel::observe::{Seen, every, figure_of_test, name_of_test, observe};

const MS: u64 = 1_000_000;
/// How long a workload holds somebody up.
const HELD: Duration = Duration::from_millis(300);

/// Runs a workload in a process of its own; most of its time has to be in one state, or in one of several: `a|b`.
#[track_caller]
pub fn spends(wanted: &str, workload: impl FnOnce()) {
    process_spends(wanted, || fork(|_| workload()).ended());
}

/// The same of a process that the workload names.
///
/// It has one thread, but for those that the kernel gives it for requests of `io_uring`, which wait for the next.
///
/// Its time on a CPU is looked at by itself, and so is its time blocked; that in which it wants a CPU, together with the latter.
#[track_caller]
pub fn process_spends(wanted: &str, workload: impl FnOnce() -> u32) {
    let seen = observe(&every(50), workload);
    let mut usage = Usage::default();
    seen.tasks(seen.said).filter(|row| row.tid == seen.said).for_each(|row| usage.absorb(row));
    let times = split(&usage);
    // Being born is its parent's doing, and what is stolen the hypervisor's.
    let times: Vec<(State, u64)> = (0..STATES).map(|number| (named(number).unwrap(), times[number])).collect();
    let times: Vec<_> =
        times.into_iter().filter(|(state, ns)| *ns > 0 && !["birth", "stolen"].contains(&state.id)).collect();
    let is_wanted = |state: State| wanted.split('|').any(|id| id == state.id);
    let like = |class: Class| match times.iter().find(|(state, _)| is_wanted(*state)).map(|(state, _)| state.class) {
        Some(Class::Cpu) => class == Class::Cpu,
        Some(Class::Queue) => class != Class::Cpu,
        _ => matches!(class, Class::Wait | Class::Idle),
    };
    let sum = |wanted: &dyn Fn(State) -> bool| -> u64 {
        times.iter().filter(|(state, _)| wanted(*state)).map(|(_, ns)| ns).sum()
    };
    let (all, meant, unexplained) =
        (sum(&|state| like(state.class)), sum(&is_wanted), sum(&|state| state.id == "unexplained"));
    let told: Vec<_> = times.iter().map(|(state, ns)| (state.id, ns)).collect();
    println!("{told:?}");
    assert_eq!(split(&usage).iter().sum::<u64>(), usage.wall_ns);
    states_of_test(wanted, &usage);
    let share = meant as f64 / all as f64;
    figure_of_test(wanted, format!("{:.1} %", share * 100.0));
    assert!(all > 5 * MS, "it hardly was in such a state: {told:?}");
    assert!(share >= 0.95, "{wanted} should be most of {told:?}");
    assert!(unexplained as f64 <= 0.02 * usage.wall_ns as f64, "{told:?}");
    adds_up(&seen);
}

/// Says which share of the wall time was in which state; `cargo xtask corpus waterfall` makes a table of it.
fn states_of_test(wanted: &str, usage: &Usage) {
    let times = (0..STATES).zip(split(usage)).filter(|(_, ns)| *ns > 0);
    let shares = times.map(|(number, ns)| {
        let share = ns as f64 / usage.wall_ns as f64 * 100.0;
        format!("{} {share:.2} %", named(number).unwrap().id)
    });
    println!("states {} ({wanted}): {}", name_of_test(), shares.collect::<Vec<_>>().join(", "));
}

/// What is booked of a process that was born while we watched is its wall time.
#[track_caller]
fn adds_up(seen: &Seen<u32>) {
    let sum = |value: fn(&TaskRow) -> u64| seen.sum(seen.said, value);
    let queued = sum(|row| row.runq_wakeup_ns + row.runq_preempted_ns + row.throttled_ns);
    let told = sum(|row| row.cpu_ns + row.waits.iter().sum::<u64>()) + queued;
    seen.assert_adds_up(told, sum(|row| row.wall_ns));
}

/// Does something after a while, in another process.
fn late(work: impl FnOnce()) {
    // SAFETY: the child sleeps, works and exits.
    unsafe {
        if libc::fork() == 0 {
            thread::sleep(HELD);
            work();
            libc::_exit(0);
        }
    }
}
