//! Threads: their books as differences, and the calls that they made.

use profiler_common::syscall::CallRecord;
use profiler_common::task::{NO_CALL, TaskRecord, state};
use profiler_common::wait::WAITS;

use crate::batch::{ProcessKey, TaskRow, Timestamp};
use crate::kernel::decode::text;
use crate::kernel::drain::syscall::{Calls, Reported};
use crate::kernel::drain::{Interval, Map, growth};

/// A thread across reuse of its id.
type ThreadKey = (u32, u64);

/// All threads that live.
#[derive(Default)]
pub struct Threads {
    known: Map<ThreadKey, Known>,
    /// Passes over all threads so far.
    pass: u64,
}

/// The last readings of a thread.
struct Known {
    process: ProcessKey,
    pass: u64,
    /// Up to when its wall time is told.
    at: Timestamp,
    states: States,
    user_ns: u64,
    system_ns: u64,
    switches_voluntary: u64,
    switches_involuntary: u64,
    minor_faults: u64,
    major_faults: u64,
    storage_read_bytes: u64,
    storage_write_bytes: u64,
    calls: Reported,
}

impl Threads {
    /// Begins a pass over all threads.
    pub fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// Forgets threads that were in neither of the last two passes: they ended, and their last record was lost. One
    /// that ends during a pass may be missing in it and have its last record read only after it.
    pub fn end_pass(&mut self) {
        let pass = self.pass;
        self.known.retain(|_, known| known.pass + 1 >= pass);
    }

    /// The process of each thread that lives.
    pub fn processes(&self) -> impl Iterator<Item = ProcessKey> + '_ {
        self.known.values().map(|known| known.process)
    }

    /// Books one record: with the calls of the thread that may have changed since the last pass, and with what its
    /// CPU has counted for it and not yet handed over.
    pub fn observe(
        &mut self,
        record: &TaskRecord,
        waits: &[u64; WAITS],
        stored: &[CallRecord],
        partial: &[CallRecord],
        interval: &Interval,
        calls: &mut Calls,
    ) -> TaskRow {
        let process = ProcessKey { pid: record.pid, start_ns: record.process_start_ns };
        let key = (record.tid, record.start_ns);
        let start = interval.monotonic(record.start_ns);
        let pass = self.pass;
        let known = self.known.entry(key).or_insert_with(|| Known::new(process, record, waits, start, interval));
        known.pass = pass;
        known.process = process;
        let row = known.row(record, waits);
        known.calls.observe(process, record, stored, partial, calls);
        if record.state == state::ENDED {
            self.known.remove(&key);
        }
        row
    }
}

impl Known {
    /// Before its first reading: nothing, if it was born while we watched; else what it had by then does not count.
    fn new(
        process: ProcessKey,
        record: &TaskRecord,
        waits: &[u64; WAITS],
        start: Timestamp,
        interval: &Interval,
    ) -> Self {
        let before = if start > interval.watched_since { TaskRecord::default() } else { *record };
        Self {
            process,
            pass: 0,
            at: start.max(interval.watched_since).max(interval.from.min(Timestamp(record.at_ns))),
            states: States::new(&before, if start > interval.watched_since { &[0; WAITS] } else { waits }),
            user_ns: before.user_ns,
            system_ns: before.system_ns,
            switches_voluntary: before.switches_voluntary,
            switches_involuntary: before.switches_involuntary,
            minor_faults: before.minor_faults,
            major_faults: before.major_faults,
            storage_read_bytes: before.storage_read_bytes,
            storage_write_bytes: before.storage_write_bytes,
            calls: Reported::default(),
        }
    }

    fn row(&mut self, record: &TaskRecord, waits: &[u64; WAITS]) -> TaskRow {
        let waiting_ns = waiting_ns(record);
        let grown = self.states.grow(&States::new(record, waits));
        TaskRow {
            process: self.process,
            tid: record.tid,
            start_ns: record.start_ns,
            state: record.state,
            wait_call: (record.wait_call != NO_CALL && waiting_ns > 0).then_some(record.wait_call),
            waiting_ns,
            wait: (waiting_ns > 0).then_some(record.wait),
            wall_ns: growth(&mut self.at.0, record.at_ns),
            cpu_ns: grown.cpu_ns,
            user_ns: growth(&mut self.user_ns, record.user_ns),
            system_ns: growth(&mut self.system_ns, record.system_ns),
            // A preemption that we saw is part of the kernel's run-queue time; the rest followed wake-ups.
            runq_wakeup_ns: grown.run_delay_ns.saturating_sub(grown.preempted_ns),
            runq_preempted_ns: grown.preempted_ns.min(grown.run_delay_ns),
            blocked_ns: grown.blocked_ns,
            waits: grown.waits,
            switches_voluntary: growth(&mut self.switches_voluntary, record.switches_voluntary),
            switches_involuntary: growth(&mut self.switches_involuntary, record.switches_involuntary),
            minor_faults: growth(&mut self.minor_faults, record.minor_faults),
            major_faults: growth(&mut self.major_faults, record.major_faults),
            storage_read_bytes: optional(&mut self.storage_read_bytes, record.storage_read_bytes),
            storage_write_bytes: optional(&mut self.storage_write_bytes, record.storage_write_bytes),
            comm: text(&record.comm),
        }
    }
}

/// Where all of a thread's time went up to a moment.
struct States {
    cpu_ns: u64,
    run_delay_ns: u64,
    preempted_ns: u64,
    blocked_ns: u64,
    waits: [u64; WAITS],
}

impl States {
    /// What is still open belongs to the state that the thread is in, as far as is known.
    fn new(record: &TaskRecord, waits: &[u64; WAITS]) -> Self {
        let mut states = Self {
            cpu_ns: record.cpu_ns,
            run_delay_ns: record.run_delay_ns,
            preempted_ns: record.preempted_ns,
            blocked_ns: record.blocked_ns,
            waits: *waits,
        };
        if record.preempted == 0 {
            states.blocked_ns += record.open_ns;
            if let Some(wait) = states.waits.get_mut(record.wait as usize) {
                *wait += record.open_ns;
            }
        } else if record.state == state::RUNNING {
            states.cpu_ns += record.open_ns;
        } else {
            states.run_delay_ns += record.open_ns;
            states.preempted_ns += record.open_ns;
        }
        states
    }

    /// What was added; takes over what is now. What was open, and turns out to belong elsewhere, is not taken back: the state
    /// that it was told of grows only when it has come that far.
    fn grow(&mut self, now: &Self) -> Self {
        let grow = |mark: &mut u64, now: u64| {
            let grown = now.saturating_sub(*mark);
            *mark += grown;
            grown
        };
        let mut waits = now.waits;
        for (mark, wait) in self.waits.iter_mut().zip(&mut waits) {
            *wait = grow(mark, *wait);
        }
        Self {
            cpu_ns: grow(&mut self.cpu_ns, now.cpu_ns),
            run_delay_ns: grow(&mut self.run_delay_ns, now.run_delay_ns),
            preempted_ns: grow(&mut self.preempted_ns, now.preempted_ns),
            blocked_ns: grow(&mut self.blocked_ns, now.blocked_ns),
            waits,
        }
    }
}

/// How long the wait has lasted that the thread is in.
pub fn waiting_ns(record: &TaskRecord) -> u64 {
    let waits = matches!(record.state, state::SLEEPING | state::UNINTERRUPTIBLE | state::STOPPED);
    if waits && record.off_since_ns != 0 { record.at_ns.saturating_sub(record.off_since_ns) } else { 0 }
}

/// A counter that the kernel may not keep.
fn optional(last: &mut u64, now: u64) -> Option<u64> {
    (now != u64::MAX).then(|| growth(last, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAITS: [u64; WAITS] = [0; WAITS];

    fn interval(from: u64, until: u64) -> Interval {
        Interval { from: Timestamp(from), until: Timestamp(until), boot_offset_ns: 0, watched_since: Timestamp(100) }
    }

    fn record(at: u64, start: u64) -> TaskRecord {
        TaskRecord { at_ns: at, start_ns: start, pid: 7, tid: 7, wait_call: NO_CALL, ..TaskRecord::default() }
    }

    #[test]
    fn a_thread_from_before_starts_at_its_first_reading_and_a_new_one_at_zero() {
        let (mut threads, mut calls) = (Threads::default(), Calls::default());
        let old = TaskRecord { cpu_ns: 50, ..record(200, 10) };
        assert_eq!(threads.observe(&old, &NO_WAITS, &[], &[], &interval(100, 200), &mut calls).cpu_ns, 0);
        let new = TaskRecord { cpu_ns: 50, ..record(200, 150) };
        let row = threads.observe(&new, &NO_WAITS, &[], &[], &interval(100, 200), &mut calls);
        assert_eq!((row.cpu_ns, row.wall_ns), (50, 50));
    }

    #[test]
    fn a_wait_in_progress_counts_once() {
        let (mut threads, mut calls) = (Threads::default(), Calls::default());
        let sleeping =
            |at| TaskRecord { state: state::SLEEPING, off_since_ns: 120, open_ns: at - 120, ..record(at, 110) };
        assert_eq!(
            threads.observe(&sleeping(200), &NO_WAITS, &[], &[], &interval(100, 200), &mut calls).blocked_ns,
            80
        );
        assert_eq!(
            threads.observe(&sleeping(300), &NO_WAITS, &[], &[], &interval(200, 300), &mut calls).blocked_ns,
            100
        );
        let awake = TaskRecord { state: state::RUNNING, blocked_ns: 190, ..record(400, 110) };
        assert_eq!(threads.observe(&awake, &NO_WAITS, &[], &[], &interval(300, 400), &mut calls).blocked_ns, 10);
    }

    #[test]
    fn a_reused_id_is_another_thread() {
        let (mut threads, mut calls) = (Threads::default(), Calls::default());
        let first = TaskRecord { cpu_ns: 90, state: state::ENDED, ..record(200, 110) };
        threads.observe(&first, &NO_WAITS, &[], &[], &interval(100, 200), &mut calls);
        let second = TaskRecord { cpu_ns: 5, ..record(300, 210) };
        assert_eq!(threads.observe(&second, &NO_WAITS, &[], &[], &interval(200, 300), &mut calls).cpu_ns, 5);
    }
}
