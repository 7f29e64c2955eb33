//! Block devices.

use std::collections::BTreeMap;

use profiler_common::disk::{OPS, op};

use crate::batch::{DiskError, DiskOwnerRow, DiskRow, DiskSizeRow, DiskStat, Hist, PartitionRow, ProcessKey};
use crate::model::bound::OTHER_PROCESS;
use crate::model::time::{Recent, Reset, Tally};

/// One block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name; `None` until its fact arrives.
    pub name: Option<String>,
    /// The file behind a loop device, the name of a mapped one.
    pub backing: Option<String>,
    /// Devices that it is stacked on.
    pub below: Vec<u32>,
    /// By operation ([`profiler_common::disk::op`]).
    pub ops: [Recent<DiskUse>; OPS],
    /// By operation and size ([`profiler_common::disk::size_class`]), those with requests in the window.
    pub sizes: BTreeMap<(u32, u32), Recent<SizeUse>>,
    /// By operation and process, those with requests in the window.
    pub owners: BTreeMap<(u32, ProcessKey), Recent<DiskShare>>,
    /// Requests in flight at the end of the last interval, by operation.
    pub in_flight: [u64; OPS],
    /// The last request that failed, by operation.
    pub error: [Option<DiskError>; OPS],
    /// `/proc/diskstats` says.
    pub stat: Recent<DiskStat>,
    /// `/proc/diskstats` has told something of this device, so that zeros in [`Self::stat`] are zeros.
    pub stat_known: bool,
}

impl Disk {
    /// Starts an interval in which nothing has happened yet.
    pub(super) fn begin(&mut self) {
        self.ops.iter_mut().for_each(Recent::begin);
        self.sizes.values_mut().for_each(Recent::begin);
        self.owners.values_mut().for_each(Recent::begin);
        self.stat.begin();
        self.in_flight = Default::default();
    }

    /// Forgets the older generation, and who has done nothing since.
    pub(super) fn rotate(&mut self) {
        self.ops.iter_mut().for_each(Recent::rotate);
        self.sizes.values_mut().for_each(Recent::rotate);
        self.sizes.retain(|_, usage| usage.sum.latency.count() > 0);
        self.owners.values_mut().for_each(Recent::rotate);
        self.owners.retain(|_, usage| usage.sum.bytes > 0 || usage.sum.requests > 0);
        self.stat.rotate();
    }

    /// What an operation did for whom over the window.
    pub fn owners_of(&self, operation: u32) -> impl Iterator<Item = (ProcessKey, &DiskShare)> {
        let of = self.owners.range((operation, OTHER_PROCESS)..).take_while(move |((op, _), _)| *op == operation);
        of.map(|((_, process), usage)| (*process, &usage.sum))
    }

    /// Bytes of an operation over the window whose owner is not known: it was given to the driver before we came, or found
    /// no room.
    #[must_use]
    pub fn unowned_bytes(&self, operation: u32) -> u64 {
        let owned: u64 = self.owners_of(operation).map(|(_, usage)| usage.bytes).sum();
        self.done(operation).map_or(0, |done| done.bytes.saturating_sub(owned))
    }

    /// What an operation did over the window.
    #[must_use]
    pub fn done(&self, operation: u32) -> Option<&DiskUse> {
        self.ops.get(operation as usize).map(|usage| &usage.sum)
    }

    /// Name, else `major:minor`.
    #[must_use]
    pub fn name(&self, device: u32) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}:{}", device >> 20, device & 0xf_ffff))
    }

    /// Our programs were run for requests of it within the window. For those of stacked devices (dm, md) they are not, since
    /// no driver is given any: `/proc/diskstats` alone has them.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.ops.iter().any(|usage| usage.sum.requests > 0) || self.in_flight.iter().any(|count| *count > 0)
    }

    /// Requests of an operation over the window and their time, by our programs, else by `/proc/diskstats`; `None` if it is
    /// unknown.
    #[must_use]
    pub fn latency(&self, operation: u32) -> Option<Latency> {
        if self.is_traced() {
            return self.done(operation)?.latency();
        }
        let operation = operation as usize;
        let stat = self.stat_known.then_some(&self.stat.sum)?;
        let (requests, total_ns) = (*stat.requests.get(operation)?, *stat.request_ns?.get(operation)?);
        Some(Latency { requests, total_ns })
    }

    /// Time per request of an operation that passes above the devices that this one is stacked on: its mean less theirs,
    /// to which others may have requests as well. `None` if it is unknown, or it lies on none.
    #[must_use]
    pub fn above_ns(&self, operation: u32, disks: &BTreeMap<u32, Self>) -> Option<u64> {
        let mut below = Latency::default();
        for device in &self.below {
            let Latency { requests, total_ns } = disks.get(device)?.latency(operation)?;
            below.requests += requests;
            below.total_ns += total_ns;
        }
        // In ticks, a fast device may seem faster than those below it.
        Some(self.latency(operation)?.mean_ns()?.saturating_sub(below.mean_ns()?))
    }

    /// Share of `span_ns` with at least one request in flight, by `/proc/diskstats`.
    #[must_use]
    pub fn busy_ratio(stat: &DiskStat, span_ns: u64) -> Option<f64> {
        // The kernel counts in ticks, so a busy interval may exceed its length by one.
        (span_ns > 0).then(|| (stat.busy_ns as f64 / span_ns as f64).min(1.0))
    }
}

/// Requests and their time, from being asked for to completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Requests of which the time is known.
    pub requests: u64,
    /// Sum of their times.
    pub total_ns: u64,
}

impl Latency {
    /// Time per request; `None` without requests.
    #[must_use]
    pub fn mean_ns(self) -> Option<u64> {
        self.total_ns.checked_div(self.requests)
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
    /// Requests issued again.
    pub requeues: u64,
    /// Requests issued that begin where one of the last ones ended.
    pub sequential: u64,
    /// Requests issued.
    pub issued: u64,
    /// Writes issued that were not to be left in the device's cache.
    pub fua: u64,
    /// Requests whose queue time is unknown.
    pub queue_unknown: u64,
    /// Requests of which the wait before they were allocated is known.
    pub waits: u64,
    /// Sum of these waits.
    pub wait_ns: u64,
    /// Sum of queue times.
    pub queue_ns: u64,
    /// Sum of device times.
    pub device_ns: u64,
    /// Requests by the wait before they were allocated.
    pub wait: Hist,
    /// Requests by queue time.
    pub queue: Hist,
    /// Requests by device time.
    pub service: Hist,
    /// Requests by both.
    pub latency: Hist,
}

/// Requests of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SizeUse {
    /// Requests by queue plus device time.
    pub latency: Hist,
}

impl Reset for SizeUse {}

impl Tally<DiskSizeRow> for SizeUse {
    fn absorb(&mut self, row: &DiskSizeRow) {
        self.latency.add(&row.latency);
    }
}

/// What a device did for one process, or one of its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskShare {
    /// Requests completed; of a process, those whose times are known.
    pub requests: u64,
    /// Bytes completed.
    pub bytes: u64,
    /// Sum of queue times.
    pub queue_ns: u64,
    /// Sum of device times.
    pub device_ns: u64,
    /// Requests by both.
    pub latency: Hist,
}

impl DiskShare {
    /// Sum of both times.
    #[must_use]
    pub const fn request_ns(&self) -> u64 {
        self.queue_ns + self.device_ns
    }

    fn add(&mut self, [requests, bytes, queue_ns, device_ns]: [u64; 4], latency: &Hist) {
        self.requests += requests;
        self.bytes += bytes;
        self.queue_ns += queue_ns;
        self.device_ns += device_ns;
        self.latency.add(latency);
    }
}

impl Reset for DiskShare {}

impl Tally<DiskOwnerRow> for DiskShare {
    fn absorb(&mut self, row: &DiskOwnerRow) {
        self.add([row.requests, row.bytes, row.queue_ns, row.device_ns], &row.latency);
    }
}

impl Tally<PartitionRow> for DiskShare {
    fn absorb(&mut self, row: &PartitionRow) {
        self.add([row.requests, row.bytes, row.queue_ns, row.device_ns], &row.latency);
    }
}

impl Tally<Self> for DiskShare {
    fn absorb(&mut self, other: &Self) {
        self.add([other.requests, other.bytes, other.queue_ns, other.device_ns], &other.latency);
    }
}

impl DiskUse {
    /// Time that requests took in all, as far as it is known.
    #[must_use]
    pub fn request_ns(&self) -> u64 {
        self.queue_ns + self.device_ns
    }

    /// Queue and device time; `None` if requests have one that is unknown.
    #[must_use]
    pub fn latency(&self) -> Option<Latency> {
        let timed = self.service.count();
        let known = self.queue_unknown == 0 && (timed > 0 || self.requests == 0);
        known.then_some(Latency { requests: timed, total_ns: self.request_ns() })
    }
}

impl Reset for DiskUse {
    fn reset(&mut self) {
        let mut hists = [&mut self.wait, &mut self.queue, &mut self.service, &mut self.latency].map(std::mem::take);
        for hist in &mut hists {
            hist.slots.clear();
        }
        let [wait, queue, service, latency] = hists;
        *self = Self { wait, queue, service, latency, ..Self::default() };
    }
}

impl Tally<DiskRow> for DiskUse {
    fn absorb(&mut self, row: &DiskRow) {
        self.requests += row.requests;
        self.bytes += row.bytes;
        self.errors += row.errors;
        self.requeues += row.requeues;
        self.sequential += row.sequential;
        self.issued += row.issued;
        self.fua += row.fua;
        self.queue_unknown += row.queue_unknown;
        self.waits += row.waits;
        self.wait_ns += row.wait_ns;
        self.wait.add(&row.wait);
        self.queue_ns += row.queue_ns;
        self.device_ns += row.device_ns;
        self.queue.add(&row.queue);
        self.service.add(&row.service);
        self.latency.add(&row.latency);
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
