//! Block devices: requests and their times as differences.

use profiler_common::disk::{DiskKey, DiskRecord, ERRORS, OwnerKey, OwnerRecord, PartitionRecord};

use crate::batch::hist::Scale;
use crate::batch::{
    self, DiskError, DiskOwnerRow, DiskRow, DiskSizeRow, Hist, HostRow, PartitionRow, ProcessKey, Timestamp,
};
use crate::kernel::drain::{Map, growth};

/// The last reading of each device and operation, of each owner and partition.
#[derive(Default)]
pub struct Disks {
    known: Map<DiskKey, Box<Known>>,
    owners: Map<OwnerKey, Owner>,
    partitions: Map<DiskKey, PartitionRecord>,
    /// What `/proc/diskstats` has counted since we watch.
    witness: Map<DiskKey, u64>,
    /// Requests that it has and we have not, as told so far.
    unseen: u64,
}

/// The last reading of a device and operation.
struct Known {
    last: DiskRecord,
    /// Requests that the witness had counted and we, who were read later, had not.
    hidden: u64,
    /// The fewest requests that were in flight by our counts, 0 at most: below it there are as many whose issue was hidden, too.
    least: i64,
}

impl Default for Known {
    fn default() -> Self {
        Self { last: DiskRecord::EMPTY, hidden: 0, least: 0 }
    }
}

/// The last reading of an owner.
#[derive(Default)]
struct Owner {
    last: OwnerRecord,
    /// It has grown since the last search for those that are gone.
    grows: bool,
}

impl Disks {
    /// What a device had before the first reading counts: its record is made with its first request.
    pub fn observe(&mut self, key: DiskKey, now: &DiskRecord, sizes: &mut Vec<DiskSizeRow>) -> DiskRow {
        let Known { last, hidden, least } = &mut **self.known.entry(key).or_default();
        *hidden = self.witness.get(&key).map_or(0, |told| told.saturating_sub(now.requests));
        let balance = now.issued.wrapping_sub(now.finished).wrapping_sub(*hidden).cast_signed();
        *least = balance.min(*least);
        let row = DiskRow {
            key: batch::DiskKey::from(key),
            requests: now.requests.wrapping_sub(last.requests),
            bytes: now.bytes.wrapping_sub(last.bytes),
            errors: now.errors.wrapping_sub(last.errors),
            error: (now.errors != last.errors).then(|| error_of(now)),
            in_flight: balance.abs_diff(*least),
            requeues: now.requeues.wrapping_sub(last.requeues),
            sequential: now.sequential.wrapping_sub(last.sequential),
            issued: now.issued.wrapping_sub(last.issued),
            fua: now.fua.wrapping_sub(last.fua),
            queue_unknown: now.queue_unknown.wrapping_sub(last.queue_unknown),
            waits: now.waits.wrapping_sub(last.waits),
            wait_ns: now.wait_ns.wrapping_sub(last.wait_ns),
            queue_ns: now.queue_ns.wrapping_sub(last.queue_ns),
            device_ns: now.device_ns.wrapping_sub(last.device_ns),
            wait: Hist::between(Scale::Linear32, &now.wait, &last.wait),
            queue: Hist::between(Scale::Linear32, &now.queue, &last.queue),
            service: Hist::between(Scale::Linear32, &now.service, &last.service),
            latency: Hist::between(Scale::Linear32, &now.latency, &last.latency),
        };
        let by_size = (0..).zip(now.sizes.iter().zip(&last.sizes));
        let by_size = by_size.map(|(size, (now, last))| (size, Hist::between(Scale::Log2, now, last)));
        let some = by_size.filter(|(_, latency)| !latency.slots.is_empty());
        sizes.extend(some.map(|(size, latency)| DiskSizeRow { key: row.key, size, latency }));
        *last = *now;
        row
    }

    /// What is new of an owner, if anything.
    pub fn observe_owner(&mut self, key: OwnerKey, now: &OwnerRecord) -> Option<DiskOwnerRow> {
        let Owner { last, grows } = self.owners.entry(key).or_default();
        if last == now {
            return None;
        }
        *grows = true;
        let row = DiskOwnerRow {
            key: batch::DiskKey { device: key.device, op: key.op },
            process: process_of(&key),
            requests: now.requests.wrapping_sub(last.requests),
            bytes: now.bytes.wrapping_sub(last.bytes),
            queue_ns: now.queue_ns.wrapping_sub(last.queue_ns),
            device_ns: now.device_ns.wrapping_sub(last.device_ns),
            latency: Hist::between(Scale::Log2, &now.latency, &last.latency),
        };
        *last = *now;
        Some(row)
    }

    /// What is new of a partition, if anything.
    pub fn observe_partition(&mut self, key: DiskKey, now: &PartitionRecord) -> Option<PartitionRow> {
        let last = self.partitions.entry(key).or_default();
        if last == now {
            return None;
        }
        let row = PartitionRow {
            key: batch::DiskKey::from(key),
            requests: now.requests.wrapping_sub(last.requests),
            bytes: now.bytes.wrapping_sub(last.bytes),
            queue_ns: now.queue_ns.wrapping_sub(last.queue_ns),
            device_ns: now.device_ns.wrapping_sub(last.device_ns),
            latency: Hist::between(Scale::Log2, &now.latency, &last.latency),
        };
        *last = *now;
        Some(row)
    }

    /// Entries of processes that are gone: the map's can go, too. What they made dirty may be written long after, so only
    /// those for which nothing was done for a while.
    pub fn forget(&mut self, gone: impl Fn(ProcessKey) -> bool) -> Vec<OwnerKey> {
        let mut owners = Vec::new();
        self.owners.retain(|key, owner| {
            let stays = std::mem::take(&mut owner.grows) || !gone(process_of(key));
            owners.extend((!stays).then_some(*key));
            stays
        });
        owners
    }

    /// What `/proc/diskstats` has counted, before our own counts are read.
    pub fn witness(&mut self, host: &HostRow) {
        for (device, stat) in &host.disks {
            for (op, requests) in (0..).zip(stat.requests) {
                *self.witness.entry(DiskKey { device: *device, op }).or_default() += requests;
            }
        }
    }

    /// Hidden requests that are new since this was last asked. Devices of which we never saw a request are no business of the
    /// request layer.
    pub fn unseen(&mut self) -> u64 {
        let hidden = self.known.values().map(|known| known.hidden).sum();
        growth(&mut self.unseen, hidden)
    }
}

/// The last error of a device.
fn error_of(record: &DiskRecord) -> DiskError {
    let errno = match record.error_status {
        status if status < 0 => u32::try_from(-status).ok(),
        status => usize::try_from(status).ok().and_then(|status| ERRORS.get(status)).map(|(errno, _)| *errno),
    };
    DiskError { at: Timestamp(record.error_at_ns), sector: record.error_sector, errno }
}

fn process_of(owner: &OwnerKey) -> ProcessKey {
    ProcessKey { pid: owner.pid, start_ns: owner.process_start_ns }
}

#[cfg(test)]
mod tests {
    use profiler_common::hist::LOG2_SLOTS;

    use super::*;
    use crate::batch::DiskStat;

    #[test]
    fn what_only_diskstats_has_is_told_once() {
        let mut disks = Disks::default();
        let host = |reads| HostRow {
            disks: [(8, DiskStat { requests: [reads, 0, 0, 0], ..DiskStat::default() })].into(),
            ..HostRow::default()
        };
        disks.witness(&host(5));
        assert_eq!(disks.unseen(), 0, "a device without requests of ours, such as dm");
        let mut unseen = |more, requests| {
            disks.witness(&host(more));
            let record = DiskRecord { requests, ..DiskRecord::EMPTY };
            disks.observe(DiskKey { device: 8, op: 0 }, &record, &mut Vec::new());
            disks.unseen()
        };
        assert_eq!((unseen(10, 12), unseen(0, 12)), (3, 0));
        assert_eq!(unseen(8, 24), 0, "we may be ahead of it");
    }

    #[test]
    fn a_request_whose_end_was_hidden_is_not_in_flight() {
        let mut disks = Disks::default();
        let mut in_flight = |told, issued, finished| {
            let stat = DiskStat { requests: [told, 0, 0, 0], ..DiskStat::default() };
            disks.witness(&HostRow { disks: [(8, stat)].into(), ..HostRow::default() });
            let record = DiskRecord { requests: finished, issued, finished, ..DiskRecord::EMPTY };
            disks.observe(DiskKey { device: 8, op: 0 }, &record, &mut Vec::new()).in_flight
        };
        assert_eq!(in_flight(5, 8, 5), 3);
        assert_eq!(in_flight(2, 8, 5), 1, "two of them have ended");
        assert_eq!(in_flight(1, 8, 5), 0);
        assert_eq!(in_flight(4, 8, 5), 0, "nobody saw these four begin");
        assert_eq!(in_flight(0, 9, 5), 1);
    }

    #[test]
    fn an_error_is_told_once_by_errno() {
        let mut disks = Disks::default();
        let mut told = |errors, error_status| {
            let record = DiskRecord { errors, error_at_ns: 5, error_sector: 64, error_status, ..DiskRecord::EMPTY };
            disks.observe(DiskKey { device: 8, op: 1 }, &record, &mut Vec::new()).error.map(|error| error.errno)
        };
        assert_eq!(told(1, 10), Some(Some(5)), "BLK_STS_IOERR");
        assert_eq!(told(1, 10), None);
        assert_eq!(told(2, -28), Some(Some(28)), "a kernel before 5.16");
        assert_eq!(told(3, 99), Some(None));
    }

    #[test]
    fn sizes_and_owners_are_told_when_they_grow() {
        let (mut disks, mut sizes) = (Disks::default(), Vec::new());
        let mut record = DiskRecord::EMPTY;
        record.sizes[3][7] = 2;
        let key = DiskKey { device: 8, op: 1 };
        disks.observe(key, &record, &mut sizes);
        disks.observe(key, &record, &mut sizes);
        let [size] = &sizes[..] else { panic!("{sizes:?}") };
        assert_eq!((size.size, &size.latency.slots[..]), (3, &[(7, 2)][..]));
        let owner = OwnerKey { process_start_ns: 5, pid: 7, device: 8, op: 1, padding: 0 };
        let mut latency = [0; LOG2_SLOTS];
        latency[4] = 1;
        let record = OwnerRecord { requests: 1, bytes: 4_096, queue_ns: 1, device_ns: 2, latency };
        let row = disks.observe_owner(owner, &record).unwrap();
        assert_eq!((row.process.pid, row.requests, row.bytes, row.latency.count()), (7, 1, 4_096, 1));
        assert_eq!(disks.observe_owner(owner, &record), None);
        assert_eq!(disks.forget(|process| process.pid == 7), [], "it has just grown");
        assert_eq!(disks.forget(|process| process.pid == 7), [owner]);
    }
}
