//! Partitions, as `/proc/diskstats` counts them beside their device.
//!
//! SAFETY: records are shared between CPUs and only added to; slot indexes are below the number of slots.

use profiler_common::disk::{DiskKey, PartitionRecord};
use profiler_common::hist::{LOG2_SLOTS, log2_slot};
use profiler_common::lost::Lost;
use profiler_common::offset::ABSENT;

use super::Times;
use crate::emit::lost;
use crate::kernel::{Counter, Hook, Object, offset};
use crate::maps::{Made as _, PARTITIONS};

/// Counts what completes on a partition; its record, if it is one.
#[inline(always)]
pub fn count<H: Hook>(
    hook: H,
    request: Object,
    disk: DiskKey,
    bytes: u32,
    is_done: bool,
) -> Option<*mut PartitionRecord> {
    let part = hook.follow(request, offset!(request_part));
    // Without statistics there is none.
    if part.is_null() {
        return None;
    }
    let number: u32 = if offset!(part_number) == ABSENT {
        hook.read(part, offset!(device_number))
    } else {
        hook.read(part, offset!(part_number))
    };
    if number == disk.device {
        return None;
    }
    let key = DiskKey { device: number, op: disk.op };
    let Some(record) = PARTITIONS.get_or_make(&key, &EMPTY) else {
        lost(Lost::Partition);
        return None;
    };
    unsafe {
        u64::add(&raw mut (*record).requests, is_done.into());
        u64::add(&raw mut (*record).bytes, bytes.into());
    }
    Some(record)
}

/// Adds the times of a request.
#[inline(always)]
pub fn time(record: *mut PartitionRecord, times: &Times) {
    if times.known == 0 {
        return;
    }
    unsafe {
        u64::add(&raw mut (*record).queue_ns, times.queue_ns);
        u64::add(&raw mut (*record).device_ns, times.device_ns);
        let slot = log2_slot(times.queue_ns + times.device_ns);
        if slot < LOG2_SLOTS {
            u32::add((&raw mut (*record).latency).cast::<u32>().add(slot), 1);
        }
    }
}

static EMPTY: PartitionRecord =
    PartitionRecord { requests: 0, bytes: 0, queue_ns: 0, device_ns: 0, latency: [0; LOG2_SLOTS] };
