//! Block devices: requests and their times as differences.

use profiler_common::disk::{DiskKey, DiskRecord};

use crate::batch::hist::Scale;
use crate::batch::{self, DiskRow, Hist, HostRow};
use crate::kernel::drain::{Map, growth};

/// The last reading of each device and operation.
#[derive(Default)]
pub struct Disks {
    last: Map<DiskKey, Box<DiskRecord>>,
    /// What `/proc/diskstats` has counted since we watch.
    witness: Map<DiskKey, u64>,
    /// Requests that it has and we have not, as told so far.
    unseen: u64,
}

impl Disks {
    /// What a device had before the first reading counts: its record is made with its first request.
    pub fn observe(&mut self, key: DiskKey, now: &DiskRecord) -> DiskRow {
        let last = self.last.entry(key).or_insert_with(|| Box::new(DiskRecord::EMPTY));
        let row = DiskRow {
            key: batch::DiskKey::from(key),
            requests: now.requests.wrapping_sub(last.requests),
            bytes: now.bytes.wrapping_sub(last.bytes),
            errors: now.errors.wrapping_sub(last.errors),
            in_flight: now.issued.saturating_sub(now.finished),
            queue_unknown: now.queue_unknown.wrapping_sub(last.queue_unknown),
            queue_ns: now.queue_ns.wrapping_sub(last.queue_ns),
            device_ns: now.device_ns.wrapping_sub(last.device_ns),
            queue: Hist::between(Scale::Linear8, &now.queue, &last.queue),
            service: Hist::between(Scale::Linear8, &now.service, &last.service),
        };
        **last = *now;
        row
    }
}

impl Disks {
    /// Requests that `/proc/diskstats` had counted by its last reading and we, who read later, had not: those that are
    /// new since this was last asked. Devices of which we never saw a request are no business of the request layer.
    pub fn unseen(&mut self, host: &HostRow) -> u64 {
        for (device, stat) in &host.disks {
            for (op, requests) in (0..).zip(stat.requests) {
                *self.witness.entry(DiskKey { device: *device, op }).or_default() += requests;
            }
        }
        let known = self.witness.iter().filter_map(|(key, told)| Some((told, self.last.get(key)?)));
        let missing: u64 = known.map(|(told, last)| told.saturating_sub(last.requests)).sum();
        growth(&mut self.unseen, missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::DiskStat;

    #[test]
    fn what_only_diskstats_has_is_told_once() {
        let mut disks = Disks::default();
        let host = |reads| HostRow {
            disks: [(8, DiskStat { requests: [reads, 0, 0, 0], ..DiskStat::default() })].into(),
            ..HostRow::default()
        };
        assert_eq!(disks.unseen(&host(5)), 0, "a device without requests of ours, such as dm");
        disks.observe(DiskKey { device: 8, op: 0 }, &DiskRecord { requests: 12, ..DiskRecord::EMPTY });
        assert_eq!(disks.unseen(&host(10)), 3);
        assert_eq!(disks.unseen(&host(0)), 0);
        disks.observe(DiskKey { device: 8, op: 0 }, &DiskRecord { requests: 20, ..DiskRecord::EMPTY });
        assert_eq!(disks.unseen(&host(8)), 0, "we may be ahead of it");
    }
}
