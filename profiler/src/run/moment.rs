//! From a moment that somebody typed to an interval of a capture.

use std::time::Duration;

use crate::batch::{Machine, Timestamp};
use crate::cli::At;
use crate::view::report::{unix_ns, utc};

const DAY_NS: u64 = 86_400_000_000_000;

/// The interval in which a moment lies, by the intervals' starts and the end of the last; the nearest one if none does.
pub(super) fn index_at(at: &At, machine: &Machine, starts: &[Timestamp], end: Timestamp) -> usize {
    let Some(&begin) = starts.first() else { return 0 };
    let last_before =
        |is_later: &dyn Fn(Timestamp) -> bool| starts.partition_point(|start| !is_later(*start)).saturating_sub(1);
    match at {
        At::After(after) => {
            let moment = begin.0.saturating_add(ns(*after));
            last_before(&|start| start.0 > moment)
        }
        At::TimeOfDay(time) => {
            let moment = begin.0.saturating_add(until_time_of_day(*time, unix_ns(machine, begin), end.since(begin)));
            last_before(&|start| start.0 > moment)
        }
        // Written like this, moments sort like their text.
        At::Date(date) => {
            last_before(&|start| utc::rfc3339(unix_ns(machine, start)).trim_end_matches('Z') > date.as_str())
        }
    }
}

/// How long after its begin a recording of this length comes to a time of day. A time at which it did not run leads to
/// the nearer end: seconds are rarely typed to the fraction at which it began.
fn until_time_of_day(time: Duration, begin_unix_ns: u64, len_ns: u64) -> u64 {
    let after = (ns(time) + DAY_NS - begin_unix_ns % DAY_NS) % DAY_NS;
    let before = DAY_NS - after;
    if after > len_ns && before < after - len_ns { 0 } else { after }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Ten intervals of a second, from 2026-01-31 23:59:55.250 UTC on, a minute after boot.
    fn check(at: &str, index: usize) {
        let begin = 60 * SECOND;
        let machine = Machine {
            anchor: Timestamp(begin),
            anchor_unix_ns: 1_769_903_995 * SECOND + SECOND / 4,
            ..Machine::default()
        };
        let starts: Vec<_> = (0..10).map(|second| Timestamp(begin + second * SECOND)).collect();
        let found = index_at(&at.parse().unwrap(), &machine, &starts, Timestamp(begin + 10 * SECOND));
        assert_eq!(found, index, "{at}");
    }

    #[test]
    fn after_the_beginning() {
        check("+500ms", 0);
        check("+3s", 3);
        check("+1h", 9);
    }

    #[test]
    fn at_a_time_of_day() {
        check("23:59:55", 0);
        check("23:59:56", 0);
        check("23:59:57", 1);
        check("00:00:00", 4);
        check("00:00:05", 9);
        check("00:10", 9);
        check("12:00", 9);
        check("23:50", 0);
    }

    #[test]
    fn at_a_date() {
        check("2025", 0);
        check("2026-01-31T23:59:57", 1);
        check("2026-01-31T23:59:57.250", 2);
        check("2026-02", 4);
        check("2026-02-01T00:00:02", 6);
        check("2027", 9);
    }

    #[test]
    fn nothing_was_recorded() {
        assert_eq!(index_at(&At::After(Duration::ZERO), &Machine::default(), &[], Timestamp(0)), 0);
    }
}
