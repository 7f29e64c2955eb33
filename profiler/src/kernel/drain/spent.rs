//! Where the thread of a slow exchange was: what it spent off its CPU by its books, and on a CPU what remains.

use profiler_common::exchange::{SPENT_SHIFT, SlowExchange, spent};
use profiler_common::task::{CLOCK_RATE_SHIFT, CLOCK_SLACK_NS};
use profiler_common::wait::{self, WAITS};

use crate::batch::{Spent, SpentParts};

/// The parts add up to the time of the exchange; unknown if the books have more than that, but for rounding.
pub(super) fn spent_of(told: &SlowExchange) -> Spent {
    if told.told != spent::TOLD {
        return Spent::Unknown(told.told);
    }
    let slack_ns = i64::try_from(CLOCK_SLACK_NS + (told.time_ns >> CLOCK_RATE_SHIFT)).unwrap_or(i64::MAX);
    let signed = told.spent.map(|units| i64::from(units.cast_signed()) << SPENT_SHIFT);
    // What was stolen may turn out to be time on the run queue, which has it then.
    let stolen = 3 + wait::STOLEN as usize;
    if signed.iter().enumerate().any(|(part, ns)| *ns < -slack_ns && part != stolen) {
        return Spent::Unknown(spent::SKEWED);
    }
    let mut parts = signed.map(|ns| u64::try_from(ns).unwrap_or(0));
    let sum: u64 = parts.iter().sum();
    let mut excess = sum.saturating_sub(told.time_ns);
    let over = signed[stolen].min(0).unsigned_abs() + slack_ns.unsigned_abs();
    if excess > over {
        return Spent::Unknown(spent::SKEWED);
    }
    // Rounding, of which the run queue gives first.
    for part in &mut parts {
        let taken = excess.min(*part);
        *part -= taken;
        excess -= taken;
    }
    let cpu_ns = told.time_ns - parts.iter().sum::<u64>();
    let [runq_wakeup_ns, runq_preempted_ns, throttled_ns, rest @ ..] = parts;
    let mut waits = [0; WAITS];
    waits[..rest.len()].copy_from_slice(&rest);
    Spent::Told(SpentParts { cpu_ns, runq_wakeup_ns, runq_preempted_ns, throttled_ns, waits })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_NS: u64 = 40_000_000;

    fn told(parts: &[(usize, i64)]) -> Spent {
        let mut told = SlowExchange { time_ns: TIME_NS, told: spent::TOLD, ..SlowExchange::default() };
        for (part, ns) in parts {
            told.spent[*part] = u32::try_from((ns >> SPENT_SHIFT) & i64::from(u32::MAX)).unwrap();
        }
        spent_of(&told)
    }

    fn parts(told: &Spent) -> [u64; 5] {
        let Spent::Told(parts) = told else { panic!("{told:?}") };
        let waits: u64 = parts.waits.iter().sum();
        let known = [parts.cpu_ns, parts.runq_wakeup_ns, parts.runq_preempted_ns, parts.throttled_ns, waits];
        assert_eq!(known.iter().sum::<u64>(), TIME_NS);
        known
    }

    const SLEEP: usize = 3 + wait::SLEEP as usize;
    const STOLEN: usize = 3 + wait::STOLEN as usize;

    #[test]
    fn what_remains_was_on_a_cpu() {
        assert_eq!(parts(&told(&[(SLEEP, 25_600_000), (0, 2_560_000)])), [11_840_000, 2_560_000, 0, 0, 25_600_000]);
    }

    #[test]
    fn rounding_is_taken_off_the_run_queue_and_more_than_that_is_a_fault() {
        let over = parts(&told(&[(SLEEP, 39_936_000), (0, 128_000)]));
        assert_eq!(over, [0, 64_000, 0, 0, 39_936_000]);
        assert_eq!(told(&[(SLEEP, 41_000_000)]), Spent::Unknown(spent::SKEWED));
        assert_eq!(told(&[(SLEEP, -1_000_000)]), Spent::Unknown(spent::SKEWED));
    }

    #[test]
    fn what_was_stolen_may_turn_out_to_be_time_on_the_run_queue() {
        let explained = parts(&told(&[(STOLEN, -10_240_000), (0, 45_056_000)]));
        assert_eq!(explained, [0, TIME_NS, 0, 0, 0]);
    }
}
