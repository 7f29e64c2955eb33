//! Commits of journals as differences.

use std::collections::HashMap;

use profiler_common::journal::{JournalRecord, phase};

use crate::batch::hist::Scale;
use crate::batch::{Hist, JournalRow, Timestamp};
use crate::kernel::drain::growth;

/// The last reading of each journal, by the device of its file system.
#[derive(Default)]
pub struct Journals(HashMap<u32, Last>);

/// The last reading of a journal. Its records begin with the first commit that we see begin.
struct Last {
    record: Box<JournalRecord>,
    /// Time with a commit under way, as told so far.
    busy_ns: u64,
}

impl Journals {
    /// What is new of a journal at a moment. Requests are unknown where the clock's tick is.
    pub fn observe(&mut self, device: u32, now: &JournalRecord, at: Timestamp, tick_ns: u32) -> JournalRow {
        let last = Last { record: Box::new(JournalRecord::EMPTY), busy_ns: 0 };
        let Last { record: last, busy_ns } = self.0.entry(device).or_insert(last);
        let under_way_ns = (now.begun_ns > 0).then(|| at.since(Timestamp(now.begun_ns)));
        let whole_ns: u64 = now.phases.iter().sum();
        let grown = |phase: usize| now.phases[phase].wrapping_sub(last.phases[phase]);
        let row = JournalRow {
            device,
            commits: now.commits.wrapping_sub(last.commits),
            requested: (tick_ns > 0).then(|| now.requested.wrapping_sub(last.requested)),
            request_ns: now.request_ns.wrapping_sub(last.request_ns),
            starting_ns: grown(phase::STARTING),
            locked_ns: grown(phase::LOCKED),
            flushing_ns: grown(phase::FLUSHING),
            logging_ns: grown(phase::LOGGING),
            busy_ns: growth(busy_ns, whole_ns + under_way_ns.unwrap_or(0)),
            under_way_ns,
            commit: Hist::between(Scale::Linear32, &now.commit, &last.commit),
        };
        **last = *now;
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(commits: u64, phases: [u64; phase::PHASES], begun_ns: u64) -> JournalRecord {
        JournalRecord { commits, phases, begun_ns, ..JournalRecord::EMPTY }
    }

    #[test]
    fn a_commit_over_several_intervals_is_busy_in_each_and_counts_once() {
        let mut journals = Journals::default();
        let mut told = |record, at| {
            let row = journals.observe(7, &record, Timestamp(at), 0);
            (row.commits, row.logging_ns, row.busy_ns, row.under_way_ns)
        };
        assert_eq!(told(record(0, [0; 4], 90), 100), (0, 0, 10, Some(10)));
        assert_eq!(told(record(0, [0; 4], 90), 200), (0, 0, 100, Some(110)));
        assert_eq!(told(record(1, [1, 2, 3, 124], 0), 300), (1, 124, 20, None));
        assert_eq!(told(record(1, [1, 2, 3, 124], 0), 400), (0, 0, 0, None));
    }

    #[test]
    fn without_the_length_of_a_tick_requests_are_unknown() {
        let row = |tick_ns| Journals::default().observe(7, &JournalRecord::EMPTY, Timestamp(1), tick_ns);
        assert_eq!((row(0).requested, row(4_000_000).requested), (None, Some(0)));
    }
}
