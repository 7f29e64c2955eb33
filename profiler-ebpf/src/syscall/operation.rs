//! Operations that a process hands over and that end later: counted when they end, as if they were calls.
//!
//! SAFETY: entries of operations under way are written by whoever hands them over or sees them end, one at a time for each
//! tag; how many are pending is added to atomically.

use aya_ebpf::bindings::BPF_ANY;
use profiler_common::lost::Lost;
use profiler_common::syscall::{CallOwner, CallRecord, Operation, OperationKey, call_key, moves_bytes};

use crate::emit::lost;
use crate::kernel::{Counter, now};
use crate::maps::OPERATIONS;
use crate::syscall::{class_of, errno_class, errno_of, total};

/// Notes an operation that was handed over just now.
#[inline(always)]
pub fn begin(at: &OperationKey, owner: &CallOwner, asked_bytes: u32) {
    let &CallOwner { process_start_ns, pid, key } = owner;
    let operation = Operation { submitted_ns: now(), process_start_ns, pid, key, pending: 1, asked_bytes };
    if OPERATIONS.insert(at, operation, BPF_ANY.into()).is_err() {
        lost(Lost::Operation);
    }
}

/// The same, where others of the same tag may be under way: their owner will not tell them apart, and neither can we.
#[inline(always)]
pub fn begin_another(at: &OperationKey, owner: &CallOwner) {
    let Some(open) = OPERATIONS.get_ptr_mut(at) else { return begin(at, owner, 0) };
    unsafe {
        u32::add(&raw mut (*open).pending, 1);
        (*open).submitted_ns = 0;
        (*open).key = owner.key;
    }
}

/// One of the operations of an entry has ended with a result, and there will be `more` of it or not.
#[inline(always)]
pub fn end(at: &OperationKey, open: *mut Operation, kind: u32, result: i64, more: bool) {
    let Operation { process_start_ns, pid, key, pending, .. } = unsafe { *open };
    let owner = CallOwner { process_start_ns, pid, key: call_key(key, kind) };
    if let Some(record) = count(&owner) {
        add_result(key, record, result);
    }
    time(&owner, open);
    unsafe {
        if more {
            // What comes next is no answer to when it was handed over.
            (*open).submitted_ns = 0;
        } else if pending > 1 {
            u32::add(&raw mut (*open).pending, u32::MAX);
        } else {
            let _ = OPERATIONS.remove(at);
        }
    }
}

/// Adds an operation to those of a process, what came of it apart.
#[inline(always)]
pub fn count(owner: &CallOwner) -> Option<*mut CallRecord> {
    let record = total::shared_record(owner)?;
    unsafe { u64::add(&raw mut (*record).count, 1) };
    Some(record)
}

/// Adds what came of an operation.
#[inline(always)]
pub fn add_result(key: u32, record: *mut CallRecord, result: i64) {
    unsafe {
        if let Some(errno) = errno_of(result) {
            u32::add((&raw mut (*record).errors).cast::<u32>().add(errno_class(errno)), 1);
        } else if moves_bytes(class_of(key)) {
            u64::add(&raw mut (*record).bytes, result.cast_unsigned());
        }
    }
}

/// Adds how long an operation took, if that is known.
#[inline(always)]
pub fn time(owner: &CallOwner, open: *const Operation) {
    let submitted = unsafe { (*open).submitted_ns };
    if submitted != 0 {
        total::add_latency(owner, now().wrapping_sub(submitted));
    }
}
