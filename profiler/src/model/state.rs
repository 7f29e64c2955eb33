//! The waterfall: exclusive states that a thread is in, one at any instant, which add up to its wall time.

pub use profiler_common::wait::Class;
use profiler_common::wait::{self, NAMES};

use crate::model::task::Usage;

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Stable identifier.
    pub id: &'static str,
    /// In words.
    pub label: &'static str,
    /// What it means.
    pub class: Class,
}

const fn state(id: &'static str, label: &'static str, class: Class) -> State {
    State { id, label, class }
}

/// States that are no kind of wait; kinds of waits follow them.
const AWAKE: [State; 7] = [
    state("user", "CPU, user", Class::Cpu),
    state("system", "CPU, kernel", Class::Cpu),
    state("cpu", "CPU, user or kernel", Class::Cpu),
    state("runq_wakeup", "run queue after wake-up", Class::Queue),
    state("runq_preempted", "run queue after preemption", Class::Queue),
    state("throttled", "CPU quota throttled", Class::Queue),
    state("parked", "asleep for over 10 s", Class::Idle),
];

/// The first of [`AWAKE`] that are CPU and queues.
const QUEUES: usize = 6;

/// The number of [`AWAKE`]'s time without CPU quota.
pub const THROTTLED: u32 = 5;

/// Number of states.
pub const STATES: usize = AWAKE.len() + NAMES.len();

/// A state by its number.
#[must_use]
pub fn named(number: usize) -> Option<State> {
    AWAKE.get(number).copied().or_else(|| {
        let wait = NAMES.get(number.checked_sub(AWAKE.len())?)?;
        Some(state(wait.id, wait.label, wait.class))
    })
}

/// The kind of wait ([`profiler_common::wait`]) that a state stands for, by its number, if somebody is held up by it.
#[must_use]
pub fn wait_of(number: u32) -> Option<u32> {
    let wait = number.checked_sub(u32::try_from(AWAKE.len()).ok()?)?;
    NAMES.get(wait as usize).filter(|kind| kind.class == Class::Wait).map(|_| wait)
}

/// Time in each state, by number. The sum is the wall time.
///
/// User and kernel CPU time are the exact CPU time, split by the timer ticks that met either; without a tick, it is not known
/// which it was. What of it was spent on freeing memory counts as reclaim, with the waits of that. Wall time that is in no
/// book is unexplained. Where the scheduler's books have more than there was, which its run-queue time has at times, the
/// excess is taken off that.
#[must_use]
pub fn split(usage: &Usage) -> [u64; STATES] {
    let mut times = [0; STATES];
    let reclaim_ns = usage.reclaim_cpu_ns.min(usage.cpu_ns);
    let ticks = usage.user_ns + usage.system_ns;
    if ticks == 0 {
        times[2] = usage.cpu_ns - reclaim_ns;
    } else {
        let user = u128::from(usage.cpu_ns) * u128::from(usage.user_ns) / u128::from(ticks);
        // Freeing memory is the kernel's work, however few ticks it met.
        times[0] = u64::try_from(user).unwrap_or(usage.cpu_ns).min(usage.cpu_ns - reclaim_ns);
        times[1] = usage.cpu_ns - times[0] - reclaim_ns;
    }
    times[3] = usage.runq_wakeup_ns;
    times[4] = usage.runq_preempted_ns;
    times[THROTTLED as usize] = usage.throttled_ns;
    times[6] = usage.parked_ns;
    times[AWAKE.len()..].copy_from_slice(&usage.waits[..NAMES.len()]);
    times[AWAKE.len() + wait::RECLAIM as usize] += reclaim_ns;
    let told: u64 = times.iter().sum();
    times[AWAKE.len() + wait::UNEXPLAINED as usize] += usage.wall_ns.saturating_sub(told);
    let mut excess = told.saturating_sub(usage.wall_ns);
    for time in times[..QUEUES].iter_mut().rev() {
        let taken = excess.min(*time);
        *time -= taken;
        excess -= taken;
    }
    times
}

/// The states that have any time in [`split`], with their numbers.
pub fn spent(usage: &Usage) -> impl Iterator<Item = (u32, State, u64)> {
    let times = (0u32..).zip(split(usage)).filter(|(_, ns)| *ns > 0);
    times.filter_map(|(number, ns)| Some((number, named(number as usize)?, ns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::TaskRow;
    use crate::model::time::Tally as _;

    #[test]
    fn states_add_up_to_the_wall_time() {
        let mut usage = Usage { wall_ns: 1_000, cpu_ns: 300, user_ns: 4, system_ns: 8, ..Usage::default() };
        usage.runq_wakeup_ns = 20;
        usage.waits[wait::FUTEX as usize] = 600;
        let times = split(&usage);
        assert_eq!(times.iter().sum::<u64>(), usage.wall_ns);
        let told: Vec<_> = (0..STATES).filter(|number| times[*number] > 0).collect();
        let told: Vec<_> = told.iter().map(|number| (named(*number).unwrap().id, times[*number])).collect();
        assert_eq!(told, [("user", 100), ("system", 200), ("runq_wakeup", 20), ("unexplained", 80), ("futex", 600)]);
        usage.reclaim_cpu_ns = 150;
        let times = split(&usage);
        assert_eq!((times[..2].to_vec(), times.iter().sum::<u64>()), (vec![100, 50], usage.wall_ns));
    }

    #[test]
    fn who_has_slept_for_long_is_not_held_up() {
        let row = |waiting_ns| {
            let mut row = TaskRow { wall_ns: 1_000, wait: Some(wait::PIPE), waiting_ns, ..TaskRow::default() };
            row.waits[wait::PIPE as usize] = 1_000;
            row
        };
        let mut usage = Usage::default();
        usage.absorb(&row(5_000_000_000));
        usage.absorb(&row(12_000_000_000));
        let times = split(&usage);
        let told: Vec<_> = (0..STATES).filter(|number| times[*number] > 0).collect();
        let told: Vec<_> = told.iter().map(|number| (named(*number).unwrap().id, times[*number])).collect();
        assert_eq!(told, [("parked", 1_000), ("pipe", 1_000)]);
    }

    #[test]
    fn more_than_there_was_is_taken_off_the_run_queue() {
        let usage = Usage { wall_ns: 100, cpu_ns: 90, runq_wakeup_ns: 5, runq_preempted_ns: 15, ..Usage::default() };
        assert_eq!(split(&usage)[..5], [0, 0, 90, 5, 5]);
    }

    #[test]
    fn every_number_has_a_state_and_every_state_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = (0..STATES).map(|number| named(number).unwrap().id).collect();
        assert_eq!((names.len(), named(STATES)), (STATES, None));
    }
}
