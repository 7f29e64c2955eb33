//! Row `disk`: block requests from allocation over issue to completion, counted as `/proc/diskstats` counts them, and for
//! whom.
//!
//! SAFETY: records of devices and owners are shared between CPUs and only added to; slot indexes are below the number of
//! slots. The ends of the last requests are overwritten by whoever comes: they are hints. Of two errors at once, what is told
//! may be of both.

mod bio;
mod dirty;
mod owner;
mod partition;

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use profiler_common::disk::{DiskKey, DiskRecord, Request, SIZES, STREAMS, UNKNOWN_NS, device, op, size_class};
use profiler_common::hist::{LINEAR32_SLOTS, LOG2_SLOTS, linear32_slot, log2_slot};
use profiler_common::lost::Lost;

use crate::emit::lost;
use crate::kernel::{Counter, Hook, Object, config, current, disk_of, hook, now, offset, process_of, unpreempted};
use crate::maps::{DISKS, Made as _, REQUESTS};

/// Start and id of the process for which a request is of which it is not known.
const NOBODY: (u64, u32) = (0, 0);
/// `REQ_OP_MASK`
const OP_MASK: u32 = 0xff;
/// Below this, `enum req_op` is I/O; `REQ_OP_DRV_IN` and `REQ_OP_DRV_OUT` carry driver commands that diskstats ignores.
const OP_DRIVER: u32 = 34;
/// Sectors have 512 bytes, whatever the device says.
const SECTOR_SHIFT: u32 = 9;

hook!("block_io_start", block_io_start, block_io_start_raw, started);
hook!("block_rq_issue", block_rq_issue, block_rq_issue_raw, issued);
hook!("block_rq_requeue", block_rq_requeue, block_rq_requeue_raw, requeue);
hook!("block_rq_complete", block_rq_complete, block_rq_complete_raw, completed);

/// `block_io_start(request)` (6.5, 5a80bd075f3b): in the context of whoever asks for the first part of it, unless a limit of a
/// control group (io.max) has held that back: then a worker goes on with it, who is not to blame. Before, `block_rq_insert`: the
/// same of what waits in a scheduler, which somebody else may take out.
#[inline(always)]
fn started<H: Hook>(hook: H) {
    unpreempted(|| start(hook));
}

#[inline(always)]
fn start<H: Hook>(hook: H) {
    let request = request_of(hook);
    if operation(hook.read(request, offset!(request_cmd_flags))).is_none() {
        return;
    }
    if config!(request_inserted) != 0 && is_issued(request as u64) {
        return;
    }
    let process = if bio::is_released(hook, request) { NOBODY } else { process_of(current()) };
    owner::note(request as u64, process, bio::wait_ns(hook, request), BPF_ANY);
}

/// Whether it was given to the driver, which has put it back.
#[inline(always)]
fn is_issued(request: u64) -> bool {
    REQUESTS.get_ptr(request).is_some_and(|entry| unsafe { (*entry).issued_ns != 0 })
}

#[inline(always)]
fn issued<H: Hook>(hook: H) {
    unpreempted(|| issue(hook));
}

#[inline(always)]
fn issue<H: Hook>(hook: H) {
    let request = request_of(hook);
    let Some(record) = key_of(hook, request).and_then(record_of) else { return };
    let (key, now) = (request as u64, now());
    // Nobody saw it start: whoever issues it is the best that we know.
    if REQUESTS.get_ptr(key).is_none() {
        owner::note(key, process_of(current()), UNKNOWN_NS, BPF_NOEXIST);
    }
    let Some(entry) = REQUESTS.get_ptr_mut(key) else { return lost(Lost::Request) };
    unsafe {
        // A request that was put back on its queue is issued again: it is still one request in flight.
        let first = (*entry).issued_ns == 0;
        (*entry).issued_ns = now;
        if first {
            u64::add(&raw mut (*record).issued, 1);
            place(hook, request, record);
        }
    }
}

/// Where it lies, and how durable it is to be.
#[inline(always)]
fn place<H: Hook>(hook: H, request: Object, record: *mut DiskRecord) {
    let (sector, length): (u64, u32) =
        (hook.read(request, offset!(request_sector)), hook.read(request, offset!(request_data_len)));
    if length == 0 {
        return;
    }
    let end = sector + u64::from(length >> SECTOR_SHIFT);
    unsafe {
        let ends = (&raw mut (*record).ends).cast::<u64>();
        let mut known = STREAMS;
        for stream in 0..STREAMS {
            if *ends.add(stream) == sector {
                known = stream;
            }
        }
        if known < STREAMS {
            u64::add(&raw mut (*record).sequential, 1);
            *ends.add(known) = end;
        } else {
            *ends.add((*record).issued as usize & (STREAMS - 1)) = end;
        }
        if hook.read::<u32>(request, offset!(request_cmd_flags)) & config!(fua_mask) != 0 {
            u64::add(&raw mut (*record).fua, 1);
        }
    }
}

/// The request of a hook whose first argument was its queue, until 5.11.
#[inline(always)]
fn request_of<H: Hook>(hook: H) -> Object {
    let request = if config!(request_arg) == 0 { hook.object::<0>() } else { hook.object::<1>() };
    hook.plain(request, config!(request_type))
}

/// `block_rq_requeue(request)`
#[inline(always)]
fn requeue<H: Hook>(hook: H) {
    if let Some(record) = key_of(hook, request_of(hook)).and_then(record_of) {
        unsafe { u64::add(&raw mut (*record).requeues, 1) };
    }
}

#[inline(always)]
fn completed<H: Hook>(hook: H) {
    unpreempted(|| complete(hook));
}

#[inline(always)]
fn complete<H: Hook>(hook: H) {
    let request = hook.plain(hook.object::<0>(), config!(request_type));
    let Some(key) = key_of(hook, request) else { return };
    let Some(record) = record_of(key) else { return };
    let (error, bytes) = (hook.arg::<1>() as i32, hook.arg::<2>() as u32);
    let flush_sequence = hook.read::<u32>(request, offset!(request_rq_flags)) & config!(flush_seq_mask) != 0;
    unsafe {
        u64::add(&raw mut (*record).bytes, u64::from(bytes));
        if error != 0 {
            u64::add(&raw mut (*record).errors, 1);
            (*record).error_at_ns = now();
            (*record).error_sector = hook.read(request, offset!(request_sector));
            (*record).error_status = error.into();
        }
    }
    // A part of a request completes with less than what is left of it.
    let is_part = bytes < hook.read::<u32>(request, offset!(request_data_len));
    // The data of a write that also flushes completes inside the flush sequence first, and then once more, empty.
    let is_done = !is_part && (!flush_sequence || key.op == op::FLUSH);
    if is_done {
        unsafe { u64::add(&raw mut (*record).requests, 1) };
    }
    let partition = partition::count(hook, request, key, bytes, is_done);
    let Some(at) = REQUESTS.get_ptr(request as u64) else { return };
    let mut entry = unsafe { *at };
    let times = if is_part { Times::default() } else { time(hook, request, record, &entry, bytes) };
    if let Some(partition) = partition {
        partition::time(partition, &times);
    }
    if !is_part {
        let _ = REQUESTS.remove(request as u64);
    }
    if key.op == op::WRITE && bytes > 0 {
        dirty::settle(hook, request, bytes, &mut entry);
    }
    if entry.pid != 0 {
        owner::book(&entry, key, bytes, &times);
    }
}

/// How long a request took; all 0 of a part of one.
#[derive(Clone, Copy, Default)]
pub struct Times {
    queue_ns: u64,
    device_ns: u64,
    /// 1 if both are known.
    known: u64,
}

/// Books queue time and device time of a request that was issued while we watched.
#[inline(always)]
fn time<H: Hook>(hook: H, request: Object, record: *mut DiskRecord, entry: &Request, bytes: u32) -> Times {
    let mut times = Times::default();
    let issued = entry.issued_ns;
    if issued == 0 {
        return times;
    }
    let started: u64 = hook.read(request, offset!(request_start_ns));
    times.device_ns = now().wrapping_sub(issued);
    unsafe {
        u64::add(&raw mut (*record).finished, 1);
        if entry.wait_ns != UNKNOWN_NS {
            u64::add(&raw mut (*record).waits, 1);
            u64::add(&raw mut (*record).wait_ns, entry.wait_ns);
            count((&raw mut (*record).wait).cast(), entry.wait_ns);
        }
        u64::add(&raw mut (*record).device_ns, times.device_ns);
        count((&raw mut (*record).service).cast(), times.device_ns);
        if started == 0 || started > issued {
            u64::add(&raw mut (*record).queue_unknown, 1);
            return times;
        }
        times.queue_ns = issued - started;
        times.known = 1;
        u64::add(&raw mut (*record).queue_ns, times.queue_ns);
        count((&raw mut (*record).queue).cast(), times.queue_ns);
        let latency = times.queue_ns + times.device_ns;
        count((&raw mut (*record).latency).cast(), latency);
        let slot = size_class(bytes) * LOG2_SLOTS + log2_slot(latency);
        if slot < SIZES * LOG2_SLOTS {
            u32::add((&raw mut (*record).sizes).cast::<u32>().add(slot), 1);
        }
    }
    times
}

#[inline(always)]
fn count(slots: *mut u32, ns: u64) {
    let slot = linear32_slot(ns);
    if slot < LINEAR32_SLOTS {
        u32::add(unsafe { slots.add(slot) }, 1);
    }
}

/// The device and operation of a request; `None` if diskstats would not count it either.
#[inline(always)]
fn key_of<H: Hook>(hook: H, request: Object) -> Option<DiskKey> {
    let op = operation(hook.read(request, offset!(request_cmd_flags)))?;
    let disk = disk_of(hook, request);
    if disk.is_null() {
        return None;
    }
    let device = device(hook.read(disk, offset!(disk_major)), hook.read(disk, offset!(disk_minor)));
    Some(DiskKey { device, op })
}

/// The record of a device and operation.
#[inline(always)]
fn record_of(key: DiskKey) -> Option<*mut DiskRecord> {
    let record = DISKS.get_or_make(&key, &EMPTY);
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
