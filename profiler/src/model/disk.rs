//! Block devices.

use profiler_common::disk::OPS;

use crate::batch::{DiskStat, Hist};
use crate::model::time::Recent;

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
