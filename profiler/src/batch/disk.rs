//! Requests to block devices.

use serde::{Deserialize, Serialize};

use super::{Hist, ProcessKey, Timestamp};

/// One device and operation in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRow {
    /// Device and operation.
    pub key: DiskKey,
    /// Requests completed.
    pub requests: u64,
    /// Bytes completed.
    pub bytes: u64,
    /// Requests that failed.
    pub errors: u64,
    /// The last of them, if any failed in the interval.
    pub error: Option<DiskError>,
    /// Requests in flight at the end.
    pub in_flight: u64,
    /// Requests put back on their queue, to be issued again.
    pub requeues: u64,
    /// Requests issued that begin where one of the last ones ended.
    pub sequential: u64,
    /// Requests issued.
    pub issued: u64,
    /// Writes issued that were not to be left in the device's cache.
    pub fua: u64,
    /// Requests whose queue time is unknown, because the device keeps no start times.
    pub queue_unknown: u64,
    /// Requests of which the wait before they were allocated is known.
    pub waits: u64,
    /// Sum of these waits.
    pub wait_ns: u64,
    /// Sum of queue times.
    pub queue_ns: u64,
    /// Sum of device times.
    pub device_ns: u64,
    /// Requests by the wait before they were allocated, finest scale.
    pub wait: Hist,
    /// Requests by queue time, finest scale.
    pub queue: Hist,
    /// Requests by device time, finest scale.
    pub service: Hist,
    /// Requests by queue plus device time, finest scale.
    pub latency: Hist,
}

/// Requests of one size to one device in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSizeRow {
    /// Device and operation.
    pub key: DiskKey,
    /// [`profiler_common::disk::size_class`]
    pub size: u32,
    /// Requests by queue plus device time, coarse scale.
    pub latency: Hist,
}

/// What one device did for one process in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskOwnerRow {
    /// Device and operation.
    pub key: DiskKey,
    /// Who asked, or made a page dirty that was written.
    pub process: ProcessKey,
    /// Requests whose times are known.
    pub requests: u64,
    /// Bytes completed.
    pub bytes: u64,
    /// Sum of queue times.
    pub queue_ns: u64,
    /// Sum of device times.
    pub device_ns: u64,
    /// Requests by queue plus device time, coarse scale.
    pub latency: Hist,
}

/// One partition and operation in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRow {
    /// Number of the partition, and operation.
    pub key: DiskKey,
    /// Requests completed.
    pub requests: u64,
    /// Bytes completed.
    pub bytes: u64,
    /// Sum of queue times, of requests whose times are known.
    pub queue_ns: u64,
    /// Sum of their device times.
    pub device_ns: u64,
    /// The same requests by queue plus device time, coarse scale.
    pub latency: Hist,
}

/// A request that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskError {
    /// When it completed.
    pub at: Timestamp,
    /// Its first sector, of 512 bytes, on the whole device.
    pub sector: u64,
    /// What the kernel made of it, as an errno; `None` if it has none that we know.
    pub errno: Option<u32>,
}

/// A device and an operation, ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskKey {
    /// `major << 20 | minor`.
    pub device: u32,
    /// One of [`profiler_common::disk::op`].
    pub op: u32,
}

impl From<profiler_common::disk::DiskKey> for DiskKey {
    fn from(key: profiler_common::disk::DiskKey) -> Self {
        Self { device: key.device, op: key.op }
    }
}
