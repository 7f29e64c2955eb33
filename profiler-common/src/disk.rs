//! Row `disk`: block requests per device and operation, as `/proc/diskstats` counts them.

use crate::hist::{LINEAR32_SLOTS, LOG2_SLOTS};

/// Operations, told apart as `/proc/diskstats` does.
pub mod op {
    /// Reads.
    pub const READ: u32 = 0;
    /// Writes.
    pub const WRITE: u32 = 1;
    /// Cache flushes that reached the device.
    pub const FLUSH: u32 = 2;
    /// Discards.
    pub const DISCARD: u32 = 3;
    /// Everything else that carries no user data (zone management, secure erase, write zeroes).
    pub const OTHER: u32 = 4;
}

/// Number of operations.
pub const OPS: usize = 5;

/// A device and an operation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskKey {
    /// `gendisk.major << 20 | gendisk.first_minor`: the whole device, partitions included.
    pub device: u32,
    /// One of [`op`].
    pub op: u32,
}

/// The device number as the kernel writes it in one word.
#[inline(always)]
#[must_use]
pub const fn device(major: u32, minor: u32) -> u32 {
    major << 20 | (minor & 0xf_ffff)
}

/// Sizes of requests that are told apart: up to 4 KiB, then powers of two, the last above 1 MiB.
pub const SIZES: usize = 10;

/// The index of a size in bytes, below [`SIZES`].
#[inline(always)]
#[must_use]
pub fn size_class(bytes: u32) -> usize {
    let class = (bytes.saturating_sub(1) >> 12).checked_ilog2().map_or(0, |exponent| exponent as usize + 1);
    if class < SIZES { class } else { SIZES - 1 }
}

/// Ends of requests that are remembered, so that so many streams at once are still seen as sequential.
pub const STREAMS: usize = 4;

/// One device and operation. Everything only grows but [`Self::ends`]; in flight = issued − finished.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRecord {
    /// Requests that completed, counted like `/proc/diskstats`.
    pub requests: u64,
    /// Bytes that completed.
    pub bytes: u64,
    /// Completions with an error.
    pub errors: u64,
    /// Requests that came back, of those that were issued. Records are copied from their begin: of what happens meanwhile, no
    /// request is seen to come back that was not seen to go.
    pub finished: u64,
    /// Requests handed to the driver since we watch.
    pub issued: u64,
    /// Requests that were put back on their queue, to be issued again.
    pub requeues: u64,
    /// Requests issued that begin where one of the last ones ended.
    pub sequential: u64,
    /// Writes that were not to be left in the device's cache (`REQ_FUA`), of those issued.
    pub fua: u64,
    /// Requests without a start time, because the device keeps no statistics: their queue time is unknown.
    pub queue_unknown: u64,
    /// Requests of which the wait before they were allocated is known.
    pub waits: u64,
    /// Sum of these waits: asked for → allocated. For a tag, for the device's limits (writeback throttling, io.latency, io.cost).
    pub wait_ns: u64,
    /// Sum of queue times: request allocated → issued to the driver.
    pub queue_ns: u64,
    /// Sum of device times: issued → completed.
    pub device_ns: u64,
    /// `CLOCK_MONOTONIC` of the last completion with an error, 0 before the first.
    pub error_at_ns: u64,
    /// First sector of what failed then.
    pub error_sector: u64,
    /// What the kernel said of it: a `blk_status_t`, before 5.16 (8a7d267b4a2c) a negative errno.
    pub error_status: i64,
    /// Sector behind each of the last requests.
    pub ends: [u64; STREAMS],
    /// Waits before requests were allocated.
    pub wait: [u32; LINEAR32_SLOTS],
    /// Queue times.
    pub queue: [u32; LINEAR32_SLOTS],
    /// Device times.
    pub service: [u32; LINEAR32_SLOTS],
    /// Queue plus device time.
    pub latency: [u32; LINEAR32_SLOTS],
    /// The same by [`size_class`], on the coarse scale.
    pub sizes: [[u32; LOG2_SLOTS]; SIZES],
}

impl DiskRecord {
    /// Nothing happened yet. Too large for a program's stack: copy it from a static.
    pub const EMPTY: Self = Self {
        requests: 0,
        bytes: 0,
        errors: 0,
        finished: 0,
        issued: 0,
        requeues: 0,
        sequential: 0,
        fua: 0,
        queue_unknown: 0,
        waits: 0,
        wait_ns: 0,
        queue_ns: 0,
        device_ns: 0,
        error_at_ns: 0,
        error_sector: 0,
        error_status: 0,
        ends: [0; STREAMS],
        wait: [0; LINEAR32_SLOTS],
        queue: [0; LINEAR32_SLOTS],
        service: [0; LINEAR32_SLOTS],
        latency: [0; LINEAR32_SLOTS],
        sizes: [[0; LOG2_SLOTS]; SIZES],
    };
}

const _: () = assert!(size_of::<DiskRecord>() == 128 + 8 * STREAMS + 16 * LINEAR32_SLOTS + 4 * LOG2_SLOTS * SIZES);

/// What a request can fail with: errno and the kernel's word for it, by `blk_status_t` (`blk_errors` in block/blk-core.c), up to
/// those whose numbers have moved.
pub const ERRORS: [(u32, &str); 13] = [
    (0, "no"),
    (95, "operation not supported"),
    (110, "timeout"),
    (28, "critical space allocation"),
    (67, "recoverable transport"),
    (121, "critical target"),
    (52, "reservation conflict"),
    (61, "critical medium"),
    (84, "protection"),
    (12, "kernel resource"),
    (5, "I/O"),
    (78, "dm internal retry"),
    (11, "nonblocking retry"),
];

/// A request on its way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// When it was given to the driver, or 0.
    pub issued_ns: u64,
    /// How long whoever asked for it waited until it was allocated, or [`UNKNOWN_NS`].
    pub wait_ns: u64,
    /// Start of the process that asked for it.
    pub process_start_ns: u64,
    /// Its process id.
    pub pid: u32,
    /// 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<Request>() == 32);

/// A time that is not known.
pub const UNKNOWN_NS: u64 = u64::MAX;

/// Processes that are told apart as those who make pages of one file dirty: another takes the place of who is owed least.
pub const DIRTIERS_MAX: usize = 8;

/// A process that makes pages of a file dirty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dirtier {
    /// Start of the process.
    pub process_start_ns: u64,
    /// Bytes that it made dirty, less those that were written for it. A request is for whoever has most, so that may be less
    /// than none; in all it comes out even.
    pub credit_bytes: i64,
    /// Process id, 0 if the place was never taken.
    pub pid: u32,
    /// 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<Dirtier>() == 24);

/// Who asks a device for an operation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnerKey {
    /// Start of the process.
    pub process_start_ns: u64,
    /// Process id.
    pub pid: u32,
    /// See [`DiskKey`].
    pub device: u32,
    /// See there.
    pub op: u32,
    /// 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<OwnerKey>() == 24);

/// What was done for an [`OwnerKey`]. Everything only grows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerRecord {
    /// Requests whose times are known.
    pub requests: u64,
    /// Bytes that completed.
    pub bytes: u64,
    /// Sum of their queue times.
    pub queue_ns: u64,
    /// Sum of their device times.
    pub device_ns: u64,
    /// Requests by queue plus device time, on the coarse scale.
    pub latency: [u32; LOG2_SLOTS],
}

const _: () = assert!(size_of::<OwnerRecord>() == 32 + 4 * LOG2_SLOTS);

/// What was done on a partition. Everything only grows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Requests that completed, counted like `/proc/diskstats`.
    pub requests: u64,
    /// Bytes that completed.
    pub bytes: u64,
    /// Sum of queue times of requests whose times are known.
    pub queue_ns: u64,
    /// Sum of their device times.
    pub device_ns: u64,
    /// The same requests by both, on the coarse scale.
    pub latency: [u32; LOG2_SLOTS],
}

const _: () = assert!(size_of::<PartitionRecord>() == 32 + 4 * LOG2_SLOTS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_classes() {
        let classes = [0, 1, 4096, 4097, 8192, 8193, 1 << 20, (1 << 20) + 1, u32::MAX].map(size_class);
        assert_eq!(classes, [0, 0, 0, 1, 1, 2, 8, 9, 9]);
    }
}
