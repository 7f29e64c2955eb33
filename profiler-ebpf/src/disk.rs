//! Row `disk`: block requests from allocation over issue to completion, counted as `/proc/diskstats` counts them.
//!
//! SAFETY: records of devices are shared between CPUs and only added to; slot indexes are below the number of slots.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use profiler_common::disk::{DiskKey, DiskRecord, device, op};
use profiler_common::hist::{LINEAR8_SLOTS, linear8_slot};
use profiler_common::lost::Lost;

use crate::emit::lost;
use crate::kernel::{Counter, Hook, Object, config, disk_of, hook, now, offset};
use crate::maps::{DISKS, REQUESTS};

/// `REQ_OP_MASK`
const OP_MASK: u32 = 0xff;
/// Below this, `enum req_op` is I/O; `REQ_OP_DRV_IN` and `REQ_OP_DRV_OUT` carry driver commands that diskstats ignores.
const OP_DRIVER: u32 = 34;

hook!("block_rq_issue", block_rq_issue, block_rq_issue_raw, issue);
hook!("block_rq_complete", block_rq_complete, block_rq_complete_raw, complete);

#[inline(always)]
fn issue<H: Hook>(hook: H) {
    let request = if config!(request_arg) == 0 { hook.object::<0>() } else { hook.object::<1>() };
    let Some(record) = record_of(hook, request) else { return };
    let (key, now) = (request as u64, now());
    // A request that was put back on its queue is issued again: it is still one request in flight.
    if REQUESTS.insert(key, now, BPF_NOEXIST.into()).is_ok() {
        unsafe { u64::add(&raw mut (*record).issued, 1) };
    } else if REQUESTS.get_ptr(key).is_some() {
        let _ = REQUESTS.insert(key, now, BPF_ANY.into());
    } else {
        lost(Lost::Request);
    }
}

#[inline(always)]
fn complete<H: Hook>(hook: H) {
    let request = hook.object::<0>();
    let Some(record) = record_of(hook, request) else { return };
    let (error, bytes) = (hook.arg::<1>() as i32, hook.arg::<2>() as u32);
    let flush_sequence = hook.read::<u32>(request, offset!(request_rq_flags)) & config!(flush_seq_mask) != 0;
    let internal_flush = operation(hook.read(request, offset!(request_cmd_flags))) == Some(op::FLUSH);
    unsafe {
        u64::add(&raw mut (*record).bytes, u64::from(bytes));
        if error != 0 {
            u64::add(&raw mut (*record).errors, 1);
        }
    }
    // A part of a request completes with less than what is left of it.
    if bytes < hook.read::<u32>(request, offset!(request_data_len)) {
        return;
    }
    // The data of a write that also flushes completes inside the flush sequence first, and then once more, empty.
    if !flush_sequence || internal_flush {
        unsafe { u64::add(&raw mut (*record).requests, 1) };
    }
    time(hook, request, record);
}

/// Books queue time and device time of a request that was issued while we watched.
#[inline(always)]
fn time<H: Hook>(hook: H, request: Object, record: *mut DiskRecord) {
    let key = request as u64;
    let Some(issued) = REQUESTS.get_ptr(key).map(|at| unsafe { *at }) else { return };
    let _ = REQUESTS.remove(key);
    let started: u64 = hook.read(request, offset!(request_start_ns));
    let service = now().wrapping_sub(issued);
    unsafe {
        u64::add(&raw mut (*record).finished, 1);
        u64::add(&raw mut (*record).device_ns, service);
        count((&raw mut (*record).service).cast(), service);
        if started == 0 || started > issued {
            u64::add(&raw mut (*record).queue_unknown, 1);
            return;
        }
        u64::add(&raw mut (*record).queue_ns, issued - started);
        count((&raw mut (*record).queue).cast(), issued - started);
    }
}

#[inline(always)]
fn count(slots: *mut u32, ns: u64) {
    let slot = linear8_slot(ns);
    if slot < LINEAR8_SLOTS {
        u32::add(unsafe { slots.add(slot) }, 1);
    }
}

/// The record of a request's device and operation; `None` if diskstats would not count it either.
#[inline(always)]
fn record_of<H: Hook>(hook: H, request: Object) -> Option<*mut DiskRecord> {
    let op = operation(hook.read(request, offset!(request_cmd_flags)))?;
    let disk = disk_of(hook, request);
    if disk.is_null() {
        return None;
    }
    let device = device(hook.read(disk, offset!(disk_major)), hook.read(disk, offset!(disk_minor)));
    let key = DiskKey { device, op };
    if DISKS.get_ptr_mut(key).is_none() {
        let empty: &DiskRecord = &EMPTY;
        let _ = DISKS.insert(key, empty, BPF_NOEXIST.into());
    }
    let record = DISKS.get_ptr_mut(key);
    if record.is_none() {
        lost(Lost::Disk);
    }
    record
}

/// Too large for the stack.
static EMPTY: DiskRecord = DiskRecord::EMPTY;

/// [`op`] of `cmd_flags`, grouped as `op_stat_group` does.
#[inline(always)]
fn operation(flags: u32) -> Option<u32> {
    match flags & OP_MASK {
        0 => Some(op::READ),
        1 => Some(op::WRITE),
        2 => Some(op::FLUSH),
        3 => Some(op::DISCARD),
        other if other < OP_DRIVER => Some(op::OTHER),
        _ => None,
    }
}
