//! Block devices: requests and their times as differences.

use std::collections::HashMap;

use profiler_common::disk::{DiskKey, DiskRecord};

use crate::batch::hist::Scale;
use crate::batch::{self, DiskRow, Hist};

/// The last reading of each device and operation.
#[derive(Default)]
pub struct Disks {
    last: HashMap<DiskKey, Box<DiskRecord>>,
}

impl Disks {
    /// What a device had before the first reading counts: its record is made with its first request.
    pub fn observe(&mut self, key: DiskKey, now: &DiskRecord) -> DiskRow {
        let last = self.last.entry(key).or_insert_with(|| Box::new(EMPTY));
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

const EMPTY: DiskRecord = DiskRecord {
    requests: 0,
    bytes: 0,
    errors: 0,
    issued: 0,
    finished: 0,
    queue_unknown: 0,
    queue_ns: 0,
    device_ns: 0,
    queue: [0; profiler_common::hist::LINEAR8_SLOTS],
    service: [0; profiler_common::hist::LINEAR8_SLOTS],
};
