//! Threads: their books as differences, and the calls that they made.

use profiler_common::file::page::WAYS;
use profiler_common::syscall::CallRecord;
use profiler_common::task::{NO_CALL, TaskRecord, TaskSums, state};
use profiler_common::wait::WAITS;

use crate::batch::{ProcessKey, TaskRow, Timestamp};
use crate::kernel::decode::{take, text};
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
    told: Times,
    blocked_ns: u64,
    user_ns: u64,
    system_ns: u64,
    reclaim_cpu_ns: u64,
    switches_voluntary: u64,
    switches_involuntary: u64,
    minor_faults: u64,
    major_faults: u64,
    storage_read_bytes: u64,
    storage_write_bytes: u64,
    pages: [u64; WAYS],
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
        sums: &TaskSums,
        stored: &[CallRecord],
        partial: &[CallRecord],
        interval: &Interval,
        calls: &mut Calls,
    ) -> TaskRow {
        let process = ProcessKey { pid: record.pid, start_ns: record.process_start_ns };
        let key = (record.tid, record.start_ns);
        let start = interval.monotonic(record.start_ns);
        let pass = self.pass;
        let known = self.known.entry(key).or_insert_with(|| Known::new(process, record, sums, start, interval));
        known.pass = pass;
        known.process = process;
        let row = known.row(record, sums);
        known.calls.observe(process, record, stored, partial, calls);
        if record.state == state::ENDED {
            self.known.remove(&key);
        }
        row
    }
}

impl Known {
    /// Before its first reading: nothing, if it was born while we watched; else what it had by then does not count.
    fn new(process: ProcessKey, record: &TaskRecord, sums: &TaskSums, start: Timestamp, interval: &Interval) -> Self {
        let born = start > interval.watched_since;
        let (before, sums) = if born { (TaskRecord::default(), TaskSums::EMPTY) } else { (*record, *sums) };
        Self {
            process,
            pass: 0,
            at: start.max(interval.watched_since).max(interval.from.min(Timestamp(record.at_ns))),
            told: times(&before, &sums.waits),
            blocked_ns: before.blocked_ns + before.open_wait_ns,
            user_ns: before.user_ns,
            system_ns: before.system_ns,
            reclaim_cpu_ns: before.reclaim_cpu_ns,
            switches_voluntary: before.switches_voluntary,
            switches_involuntary: before.switches_involuntary,
            minor_faults: before.minor_faults,
            major_faults: before.major_faults,
            storage_read_bytes: before.storage_read_bytes,
            storage_write_bytes: before.storage_write_bytes,
            pages: sums.pages,
            calls: Reported::default(),
        }
    }

    fn row(&mut self, record: &TaskRecord, sums: &TaskSums) -> TaskRow {
        let waiting_ns = waiting_ns(record);
        let grown = tell(&mut self.told, &times(record, &sums.waits));
        let waits = *grown.last_chunk::<WAITS>().unwrap_or(&[0; WAITS]);
        TaskRow {
            process: self.process,
            tid: record.tid,
            start_ns: record.start_ns,
            state: record.state,
            wait_call: (record.wait_call != NO_CALL && waiting_ns > 0).then_some(record.wait_call),
            waiting_ns,
            wait: (waiting_ns > 0).then_some(record.wait),
            wait_socket: (record.wait_socket != 0).then_some(record.wait_socket),
            wall_ns: growth(&mut self.at.0, record.at_ns),
            cpu_ns: grown[CPU],
            user_ns: growth(&mut self.user_ns, record.user_ns),
            system_ns: growth(&mut self.system_ns, record.system_ns),
            runq_wakeup_ns: grown[WOKEN],
            runq_preempted_ns: grown[PREEMPTED],
            throttled_ns: grown[THROTTLED],
            reclaim_cpu_ns: growth(&mut self.reclaim_cpu_ns, record.reclaim_cpu_ns),
            blocked_ns: growth(&mut self.blocked_ns, record.blocked_ns + record.open_wait_ns),
            waits,
            switches_voluntary: growth(&mut self.switches_voluntary, record.switches_voluntary),
            switches_involuntary: growth(&mut self.switches_involuntary, record.switches_involuntary),
            minor_faults: growth(&mut self.minor_faults, record.minor_faults),
            major_faults: growth(&mut self.major_faults, record.major_faults),
            storage_read_bytes: optional(&mut self.storage_read_bytes, record.storage_read_bytes),
            storage_write_bytes: optional(&mut self.storage_write_bytes, record.storage_write_bytes),
            pages: Some(std::array::from_fn(|way| growth(&mut self.pages[way], sums.pages[way]))),
            comm: text(&record.comm),
            // Named once all threads are known.
            ..TaskRow::default()
        }
    }
}

/// Where all of a thread's time went up to a moment: [`CPU`], the three kinds of queueing, then each kind of wait.
type Times = [u64; WAIT + WAITS];

const CPU: usize = 0;
const WOKEN: usize = 1;
const PREEMPTED: usize = 2;
const THROTTLED: usize = 3;
/// The first kind of wait.
const WAIT: usize = 4;

/// What is still open belongs to the state that the thread is in, as far as is known.
fn times(record: &TaskRecord, waits: &[u64; WAITS]) -> Times {
    let mut times = [0; WAIT + WAITS];
    times[CPU] = record.cpu_ns + record.open_cpu_ns;
    let known = record.preempted_ns + record.throttled_ns + record.excess_ns;
    times[WOKEN] = record.run_delay_ns.saturating_sub(known);
    times[PREEMPTED] = record.preempted_ns;
    times[THROTTLED] = record.throttled_ns;
    let queue = match (record.throttled, record.preempted) {
        (0, 0) => WOKEN,
        (0, _) => PREEMPTED,
        _ => THROTTLED,
    };
    times[queue] += record.open_queued_ns;
    times[WAIT..].copy_from_slice(waits);
    if let Some(wait) = times[WAIT..].get_mut(record.wait as usize) {
        *wait += record.open_wait_ns;
    }
    times
}

/// How far each time has come since it was told, and tells it. What was open, and turns out to belong elsewhere, cannot be
/// taken back: of waits, as much less is told, until it has come about where it was told. So the sum is right, and CPU and
/// queues stay those of the scheduler's books.
fn tell(told: &mut Times, now: &Times) -> Times {
    let mut grown = [0; WAIT + WAITS];
    let mut ahead = 0;
    for ((grown, now), told) in grown.iter_mut().zip(now).zip(&*told) {
        *grown = now.saturating_sub(*told);
        ahead += told.saturating_sub(*now);
    }
    while ahead > 0
        && let Some(most) = grown[WAIT..].iter_mut().max().filter(|most| **most > 0)
    {
        let less = ahead.min(*most);
        *most -= less;
        ahead -= less;
    }
    for (told, grown) in told.iter_mut().zip(grown) {
        *told += grown;
    }
    grown
}

/// The next record of a thread with what follows it: its sums, and its calls.
pub fn take_thread(bytes: &mut &[u8], calls: &mut Vec<CallRecord>) -> Option<(TaskRecord, TaskSums)> {
    let (record, sums) = (take::<TaskRecord>(bytes)?, take(bytes)?);
    calls.clear();
    calls.extend((0..record.calls).map_while(|_| take::<CallRecord>(bytes)));
    Some((record, sums))
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

    const NO_SUMS: TaskSums = TaskSums::EMPTY;

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
        assert_eq!(threads.observe(&old, &NO_SUMS, &[], &[], &interval(100, 200), &mut calls).cpu_ns, 0);
        let new = TaskRecord { cpu_ns: 50, ..record(200, 150) };
        let row = threads.observe(&new, &NO_SUMS, &[], &[], &interval(100, 200), &mut calls);
        assert_eq!((row.cpu_ns, row.wall_ns), (50, 50));
    }

    #[test]
    fn a_wait_in_progress_counts_once() {
        let (mut threads, mut calls) = (Threads::default(), Calls::default());
        let sleeping =
            |at| TaskRecord { state: state::SLEEPING, off_since_ns: 120, open_wait_ns: at - 120, ..record(at, 110) };
        assert_eq!(threads.observe(&sleeping(200), &NO_SUMS, &[], &[], &interval(100, 200), &mut calls).blocked_ns, 80);
        assert_eq!(
            threads.observe(&sleeping(300), &NO_SUMS, &[], &[], &interval(200, 300), &mut calls).blocked_ns,
            100
        );
        let awake = TaskRecord { state: state::RUNNING, blocked_ns: 190, ..record(400, 110) };
        assert_eq!(threads.observe(&awake, &NO_SUMS, &[], &[], &interval(300, 400), &mut calls).blocked_ns, 10);
    }

    #[test]
    fn what_was_told_too_early_comes_off_the_wait_that_grows_most() {
        let state = |queued, waited| {
            let mut times: Times = [0; WAIT + WAITS];
            (times[CPU], times[WOKEN], times[WAIT + 2]) = (5, queued, waited);
            times
        };
        let mut told = state(30, 100);
        let grown = tell(&mut told, &state(12, 158));
        assert_eq!((grown[WOKEN], grown[WAIT + 2], grown.iter().sum::<u64>()), (0, 40, 40));
        let grown = tell(&mut told, &state(42, 158));
        assert_eq!((grown[WOKEN], grown[WAIT + 2]), (12, 18));
        assert_eq!(told, state(42, 158));
    }

    #[test]
    fn a_reused_id_is_another_thread() {
        let (mut threads, mut calls) = (Threads::default(), Calls::default());
        let first = TaskRecord { cpu_ns: 90, state: state::ENDED, ..record(200, 110) };
        threads.observe(&first, &NO_SUMS, &[], &[], &interval(100, 200), &mut calls);
        let second = TaskRecord { cpu_ns: 5, ..record(300, 210) };
        assert_eq!(threads.observe(&second, &NO_SUMS, &[], &[], &interval(200, 300), &mut calls).cpu_ns, 5);
    }
}
