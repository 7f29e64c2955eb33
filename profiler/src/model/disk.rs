//! Block devices.

use profiler_common::disk::{OPS, op};

use crate::batch::{DiskRow, DiskStat, Hist};
use crate::model::time::{Recent, Reset, Tally};

/// One block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name; `None` until its fact arrives.
    pub name: Option<String>,
    /// The file behind a loop device.
    pub backing: Option<String>,
    /// By operation ([`profiler_common::disk::op`]).
    pub ops: [Recent<DiskUse>; OPS],
    /// Requests in flight at the end of the last interval, by operation.
    pub in_flight: [u64; OPS],
    /// `/proc/diskstats` says.
    pub stat: Recent<DiskStat>,
    /// `/proc/diskstats` has told something of this device, so that zeros in [`Self::stat`] are zeros.
    pub stat_known: bool,
}

impl Disk {
    /// Name, else `major:minor`.
    #[must_use]
    pub fn name(&self, device: u32) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}:{}", device >> 20, device & 0xf_ffff))
    }

    /// Share of `span_ns` with at least one request in flight, by `/proc/diskstats`.
    #[must_use]
    pub fn busy_ratio(stat: &DiskStat, span_ns: u64) -> Option<f64> {
        // The kernel counts in ticks, so a busy interval may exceed its length by one.
        (span_ns > 0).then(|| (stat.busy_ns as f64 / span_ns as f64).min(1.0))
    }
}

/// What one operation of one device did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Requests completed.
    pub requests: u64,
    /// Bytes completed.
    pub bytes: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests whose queue time is unknown.
    pub queue_unknown: u64,
    /// Sum of queue times.
    pub queue_ns: u64,
    /// Sum of device times.
    pub device_ns: u64,
    /// Requests by queue time.
    pub queue: Hist,
    /// Requests by device time.
    pub service: Hist,
}

impl Reset for DiskUse {
    fn reset(&mut self) {
        let (mut queue, mut service) = (std::mem::take(&mut self.queue), std::mem::take(&mut self.service));
        queue.slots.clear();
        service.slots.clear();
        *self = Self { queue, service, ..Self::default() };
    }
}

impl Tally<DiskRow> for DiskUse {
    fn absorb(&mut self, row: &DiskRow) {
        self.requests += row.requests;
        self.bytes += row.bytes;
        self.errors += row.errors;
        self.queue_unknown += row.queue_unknown;
        self.queue_ns += row.queue_ns;
        self.device_ns += row.device_ns;
        self.queue.add(&row.queue);
        self.service.add(&row.service);
    }
}

/// An operation's name.
#[must_use]
pub fn op_name(operation: u32) -> &'static str {
    match operation {
        op::READ => "read",
        op::WRITE => "write",
        op::FLUSH => "flush",
        op::DISCARD => "discard",
        _ => "other",
    }
}
