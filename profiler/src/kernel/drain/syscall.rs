//! Calls: what threads counted in their own slots, what overflowed, and the sampled latencies, summed per process.

use profiler_common::hist::{LINEAR8_SLOTS, LOG2_SLOTS};
use profiler_common::syscall::{CallOwner, CallRecord, CpuCalls, call_key, class};
use profiler_common::task::{KIND_UNKNOWN, NO_CALL, TaskRecord};

use crate::batch::call::class_of;
use crate::batch::hist::Scale;
use crate::batch::{CallRow, Hist, ProcessKey};
use crate::kernel::drain::task::waiting_ns;
use crate::kernel::drain::{Map, growth, growth_wrapping};
use crate::kernel::load::call_name;

/// What happened in one interval, by process and call.
#[derive(Default)]
pub struct Calls {
    sums: Map<(ProcessKey, u32), Sum>,
}

/// One call of one process.
#[derive(Clone, Default)]
struct Sum {
    count: u64,
    bytes: u64,
    errors: [u64; 8],
    blocked_ns: u64,
    blocked: [u64; LOG2_SLOTS],
    latency: Hist,
}

impl Calls {
    /// The rows of the interval, in order. Nothing is left.
    pub fn take(&mut self) -> Vec<CallRow> {
        let mut rows: Vec<_> = self.sums.drain().map(|((process, key), sum)| sum.row(process, key)).collect();
        rows.sort_unstable_by_key(|row| (row.process, row.key));
        rows
    }

    fn add(&mut self, process: ProcessKey, key: u32, change: &Change) {
        if *change == Change::default() {
            return;
        }
        let sum = self.sums.entry((process, key)).or_default();
        sum.count += change.count;
        sum.bytes += change.bytes;
        sum.blocked_ns += change.blocked_ns;
        for (sum, errors) in sum.errors.iter_mut().zip(change.errors) {
            *sum += u64::from(errors);
        }
        for (sum, calls) in sum.blocked.iter_mut().zip(change.blocked) {
            *sum += u64::from(calls);
        }
    }

    fn add_latency(&mut self, process: ProcessKey, key: u32, latency: &Hist) {
        self.sums.entry((process, key)).or_default().latency.add(latency);
    }
}

impl Sum {
    fn row(self, process: ProcessKey, key: u32) -> CallRow {
        let slots = (0..).zip(self.blocked).filter(|(_, calls)| *calls > 0).collect();
        CallRow {
            process,
            key,
            count: self.count,
            bytes: self.bytes,
            errors: self.errors,
            blocked_ns: self.blocked_ns,
            blocked: Hist { scale: Scale::Log2, slots },
            latency: self.latency,
        }
    }
}

/// Growth of one record.
#[derive(Clone, Default, PartialEq, Eq)]
struct Change {
    count: u64,
    bytes: u64,
    errors: [u32; 8],
    blocked_ns: u64,
    blocked: [u32; LOG2_SLOTS],
}

/// What was reported of a thread's calls.
#[derive(Default)]
pub struct Reported {
    /// What the thread had in its slots, by key, as of the last pass that saw them change.
    stored: Vec<CallRecord>,
    /// What was reported, by key.
    last: Vec<CallRecord>,
    /// A wait in progress: the number of its call, and how much of it was reported before the call returned.
    advance: Option<(u32, u64)>,
}

impl Reported {
    /// Reports what is new.
    pub fn observe(
        &mut self,
        process: ProcessKey,
        record: &TaskRecord,
        stored: &[CallRecord],
        partial: &[CallRecord],
        calls: &mut Calls,
    ) {
        for now in stored {
            match self.stored.iter_mut().find(|known| known.key == now.key) {
                Some(known) => *known = *now,
                None => self.stored.push(*now),
            }
            if !partial.iter().any(|part| part.key == now.key) {
                self.report(process, now, calls);
            }
        }
        for part in partial {
            let stored = self.stored.iter().find(|stored| stored.key == part.key);
            let now = stored.map_or(*part, |stored| sum_of(stored, part));
            self.report(process, &now, calls);
        }
        self.report_wait(process, record, calls);
    }

    fn report(&mut self, process: ProcessKey, now: &CallRecord, calls: &mut Calls) {
        let mut change = self.change(now);
        self.deduct(now.key, &mut change);
        calls.add(process, now.key, &change);
    }

    /// Growth of one record since it was last reported.
    fn change(&mut self, now: &CallRecord) -> Change {
        let at = self.last.iter().position(|last| last.key == now.key).unwrap_or_else(|| {
            self.last.push(CallRecord { key: now.key, ..CallRecord::default() });
            self.last.len() - 1
        });
        change(&mut self.last[at], now)
    }

    /// What was reported of a wait in advance is not reported again when the call returns.
    fn deduct(&mut self, key: u32, change: &mut Change) {
        if let Some((call, ahead)) = &mut self.advance
            && *call == key & 0xffff
        {
            let known = change.blocked_ns.min(*ahead);
            change.blocked_ns -= known;
            *ahead -= known;
        }
    }

    /// A wait in progress counts up to now. Where nobody has looked at its file, it is of the kind of most such calls.
    fn report_wait(&mut self, process: ProcessKey, record: &TaskRecord, calls: &mut Calls) {
        let waiting = waiting_ns(record);
        if record.wait_call == NO_CALL || waiting == 0 {
            return;
        }
        let total = waiting + record.pending_ns;
        let ahead = self.advance.filter(|(call, _)| *call == record.wait_call).map_or(0, |(_, ahead)| ahead);
        self.advance = Some((record.wait_call, total.max(ahead)));
        let key = key_of_wait(record).unwrap_or_else(|| {
            let same = self.last.iter().filter(|last| last.key & 0xffff == record.wait_call);
            same.max_by_key(|last| last.count).map_or(record.wait_call, |last| last.key)
        });
        calls.add(process, key, &Change { blocked_ns: total.saturating_sub(ahead), ..Change::default() });
    }
}

/// The key that the call in which a thread waits will have when it returns.
fn key_of_wait(record: &TaskRecord) -> Option<u32> {
    let has_kind = matches!(class_of(call_name(record.wait_call as usize)?), class::READ | class::WRITE | class::SYNC);
    (has_kind && record.wait_kind != KIND_UNKNOWN).then(|| call_key(record.wait_call, record.wait_kind))
}

/// What the CPUs have counted for the threads that are on them, by thread id.
#[must_use]
pub fn partials(cpus: &[CpuCalls]) -> Map<u32, Vec<CallRecord>> {
    // A copy that was made while the owner changed is of two threads: both tell everything at the next reading.
    let whole = cpus.iter().filter(|cpu| cpu.owner != 0 && cpu.tenure == cpu.tenure_begun);
    whole.map(|cpu| (cpu.tid, records_of(cpu))).collect()
}

fn records_of(cpu: &CpuCalls) -> Vec<CallRecord> {
    let slots = (0..).zip(&cpu.slots).filter(|(slot, _)| cpu.dirty >> slot & 1 != 0);
    slots
        .map(|(_, call)| CallRecord {
            key: call.key,
            stamp: 1,
            errors: if call.failed != 0 { call.errors } else { Default::default() },
            count: call.count,
            bytes: call.bytes,
            ..CallRecord::default()
        })
        .collect()
}

/// What is in a slot plus what the CPU has not handed over.
fn sum_of(stored: &CallRecord, part: &CallRecord) -> CallRecord {
    let mut sum = *stored;
    sum.count += part.count;
    sum.bytes += part.bytes;
    for (sum, errors) in sum.errors.iter_mut().zip(part.errors) {
        *sum = sum.wrapping_add(errors);
    }
    sum
}

/// Growth of a record since the last reading, which it becomes.
fn change(last: &mut CallRecord, now: &CallRecord) -> Change {
    let mut change = Change {
        count: growth(&mut last.count, now.count),
        bytes: growth(&mut last.bytes, now.bytes),
        blocked_ns: growth(&mut last.blocked_ns, now.blocked_ns),
        ..Change::default()
    };
    for (grown, (last, now)) in change.errors.iter_mut().zip(last.errors.iter_mut().zip(now.errors)) {
        *grown = growth_wrapping(last, now);
    }
    for (grown, (last, now)) in change.blocked.iter_mut().zip(last.blocked.iter_mut().zip(now.blocked)) {
        *grown = growth_wrapping(last, now);
    }
    change
}

/// Calls that found no slot in their thread, and sampled latencies: maps by process and call.
#[derive(Default)]
pub struct Shared {
    calls: Map<CallOwner, CallRecord>,
    latencies: Map<CallOwner, Box<[u32; LINEAR8_SLOTS]>>,
}

impl Shared {
    /// Books a reading of the overflow map.
    pub fn calls(&mut self, owner: CallOwner, now: &CallRecord, calls: &mut Calls) {
        let last = self.calls.entry(owner).or_default();
        calls.add(process_of(&owner), owner.key, &change(last, now));
    }

    /// Books a reading of the latency map.
    pub fn latency(&mut self, owner: CallOwner, now: &[u32; LINEAR8_SLOTS], calls: &mut Calls) {
        let last = self.latencies.entry(owner).or_insert_with(|| Box::new([0; LINEAR8_SLOTS]));
        let grown = Hist::between(Scale::Linear8, now, &**last);
        if !grown.slots.is_empty() {
            **last = *now;
            calls.add_latency(process_of(&owner), owner.key, &grown);
        }
    }

    /// Entries of processes that are gone: their maps' entries can go, too.
    pub fn forget(&mut self, gone: impl Fn(ProcessKey) -> bool) -> (Vec<CallOwner>, Vec<CallOwner>) {
        let calls: Vec<_> = self.calls.keys().copied().filter(|owner| gone(process_of(owner))).collect();
        let latencies: Vec<_> = self.latencies.keys().copied().filter(|owner| gone(process_of(owner))).collect();
        self.calls.retain(|owner, _| !gone(process_of(owner)));
        self.latencies.retain(|owner, _| !gone(process_of(owner)));
        (calls, latencies)
    }
}

fn process_of(owner: &CallOwner) -> ProcessKey {
    ProcessKey { pid: owner.pid, start_ns: owner.process_start_ns }
}

#[cfg(test)]
mod tests {
    use profiler_common::task::state;

    use super::*;

    const PROCESS: ProcessKey = ProcessKey { pid: 1, start_ns: 1 };

    fn read(count: u64, blocked_ns: u64) -> CallRecord {
        CallRecord { key: 0, stamp: 1, count, blocked_ns, ..CallRecord::default() }
    }

    fn waiting(since: u64, now: u64) -> TaskRecord {
        TaskRecord { at_ns: now, off_since_ns: since, wait_call: 0, state: state::SLEEPING, ..TaskRecord::default() }
    }

    #[test]
    fn a_wait_is_reported_as_it_goes_and_not_again_when_it_ends() {
        let (mut reported, mut calls) = (Reported::default(), Calls::default());
        let running = TaskRecord { wait_call: NO_CALL, ..TaskRecord::default() };
        reported.observe(PROCESS, &waiting(100, 300), &[], &[], &mut calls);
        assert_eq!(calls.take()[0].blocked_ns, 200);
        reported.observe(PROCESS, &waiting(100, 500), &[], &[], &mut calls);
        assert_eq!(calls.take()[0].blocked_ns, 200);
        reported.observe(PROCESS, &running, &[read(1, 450)], &[], &mut calls);
        let row = &calls.take()[0];
        assert_eq!((row.count, row.blocked_ns), (1, 50));
    }

    /// An operation of libaio is counted when it is handed over, and its bytes when it has ended.
    #[test]
    fn bytes_that_come_after_their_call_are_told() {
        let (mut shared, mut calls) = (Shared::default(), Calls::default());
        let mut told = |bytes, errors| {
            let now = CallRecord { bytes, errors: [errors; 8], ..read(1, 0) };
            shared.calls(CallOwner::default(), &now, &mut calls);
            calls.take().iter().map(|row| (row.count, row.bytes, row.errors[0])).collect::<Vec<_>>()
        };
        assert_eq!(
            [(0, 0), (4096, 0), (4096, 1), (4096, 1)].map(|(bytes, errors)| told(bytes, errors)),
            [vec![(1, 0, 0)], vec![(0, 4096, 0)], vec![(0, 0, 1)], vec![]]
        );
    }

    #[test]
    fn what_the_cpu_holds_back_is_counted_once() {
        let (mut reported, mut calls) = (Reported::default(), Calls::default());
        let running = TaskRecord { wait_call: NO_CALL, ..TaskRecord::default() };
        reported.observe(PROCESS, &running, &[read(10, 0)], &[read(5, 0)], &mut calls);
        assert_eq!(calls.take()[0].count, 15);
        // Handed over between the two readings: the sum falls behind, and catches up.
        reported.observe(PROCESS, &running, &[], &[], &mut calls);
        reported.observe(PROCESS, &running, &[read(17, 0)], &[], &mut calls);
        assert_eq!(calls.take()[0].count, 2);
    }
}
