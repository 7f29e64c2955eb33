//! Row `disk`: block requests per device and operation, as `/proc/diskstats` counts them.

use crate::hist::LINEAR8_SLOTS;

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

/// One device and operation. Everything only grows; in flight = issued − finished.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRecord {
    /// Requests that completed, counted like `/proc/diskstats`.
    pub requests: u64,
    /// Bytes that completed.
    pub bytes: u64,
    /// Completions with an error.
    pub errors: u64,
    /// Requests handed to the driver since we watch.
    pub issued: u64,
    /// Requests among them that came back.
    pub finished: u64,
    /// Requests without a start time, because the device keeps no statistics: their queue time is unknown.
    pub queue_unknown: u64,
    /// Sum of queue times: request allocated → issued to the driver.
    pub queue_ns: u64,
    /// Sum of device times: issued → completed.
    pub device_ns: u64,
    /// Queue times, fine scale.
    pub queue: [u32; LINEAR8_SLOTS],
    /// Device times, fine scale.
    pub service: [u32; LINEAR8_SLOTS],
}

impl DiskRecord {
    /// Nothing happened yet. Too large for a program's stack: copy it from a static.
    pub const EMPTY: Self = Self {
        requests: 0,
        bytes: 0,
        errors: 0,
        issued: 0,
        finished: 0,
        queue_unknown: 0,
        queue_ns: 0,
        device_ns: 0,
        queue: [0; LINEAR8_SLOTS],
        service: [0; LINEAR8_SLOTS],
    };
}

const _: () = assert!(size_of::<DiskRecord>() == 64 + 8 * LINEAR8_SLOTS);
