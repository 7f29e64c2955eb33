//! For whom block requests are.
//!
//! SAFETY: records of owners are shared between CPUs and only added to; slot indexes are below the number of slots.

use profiler_common::disk::{DiskKey, OwnerKey, OwnerRecord, Request};
use profiler_common::hist::{LOG2_SLOTS, log2_slot};
use profiler_common::lost::Lost;

use super::Times;
use crate::emit::lost;
use crate::kernel::Counter;
use crate::maps::{DISK_OWNERS, Made as _, REQUESTS};

/// Notes a process, by its start and id, as the owner of a request, by its address, and how long it waited for it.
#[inline(always)]
pub fn note(request: u64, (process_start_ns, pid): (u64, u32), wait_ns: u64, flags: u32) {
    let entry = Request { issued_ns: 0, wait_ns, process_start_ns, pid, padding: 0 };
    let _ = REQUESTS.insert(request, entry, flags.into());
}

/// Adds what completed to its owner. What finds no room is the difference to the whole device.
#[inline(always)]
pub fn book(entry: &Request, disk: DiskKey, bytes: u32, times: &Times) {
    let DiskKey { device, op } = disk;
    let key = OwnerKey { process_start_ns: entry.process_start_ns, pid: entry.pid, device, op, padding: 0 };
    let Some(record) = DISK_OWNERS.get_or_make(&key, &EMPTY) else { return lost(Lost::DiskOwner) };
    unsafe {
        u64::add(&raw mut (*record).bytes, u64::from(bytes));
        if times.known != 0 {
            u64::add(&raw mut (*record).requests, 1);
            u64::add(&raw mut (*record).queue_ns, times.queue_ns);
            u64::add(&raw mut (*record).device_ns, times.device_ns);
            let slot = log2_slot(times.queue_ns + times.device_ns);
            if slot < LOG2_SLOTS {
                u32::add((&raw mut (*record).latency).cast::<u32>().add(slot), 1);
            }
        }
    }
}

static EMPTY: OwnerRecord = OwnerRecord { requests: 0, bytes: 0, queue_ns: 0, device_ns: 0, latency: [0; LOG2_SLOTS] };
