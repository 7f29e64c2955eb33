//! What is kept of a thread's calls beyond its time on one CPU: the slots in its record, and the overflow map.
//!
//! SAFETY: a thread's slots are written by the thread itself, at its own calls and switches. Slot indexes are masked to
//! the size of the array. Counters in the overflow map are shared by the threads of a process, and added to atomically.

use profiler_common::hist::{LINEAR8_SLOTS, LOG2_SLOTS, linear8_slot, log2_slot};
use profiler_common::lost::Lost;
use profiler_common::syscall::{
    CallCount, CallOwner, CallRecord, CpuCall, IO_SLOTS, OTHER_SLOTS, has_io_slot, moves_bytes,
};

use crate::emit::lost;
use crate::kernel::{Counter, Object, current, process_of};
use crate::maps::{CALLS, LATENCIES, Made as _};
use crate::syscall::class_of;
use crate::task::export::stamp;
use crate::task::thread::Thread;

/// Adds what the running thread did on a CPU to its total.
///
/// Global, so that the verifier looks at it once, and not for each slot of a CPU; but in the object for kernels on which
/// programs that call any are looked at in every state.
#[cfg_attr(not(feature = "hash-tasks"), unsafe(no_mangle), inline(never))]
#[cfg_attr(feature = "hash-tasks", inline(always))]
pub extern "C" fn call_add(thread: *mut Thread, from: *mut CpuCall) -> u32 {
    if thread.is_null() || from.is_null() {
        return 0;
    }
    let key = unsafe { (*from).key };
    let class = class_of(key);
    if has_io_slot(class) {
        if let Some(to) = io_slot(thread, key) {
            add_count(to.cast(), from);
            if moves_bytes(class) {
                unsafe { (*to).bytes += (*from).bytes };
            }
            return 0;
        }
    } else if let Some(to) = other_slot(thread, key) {
        add_count(to, from);
        return 0;
    }
    add_shared(current(), key, from);
    0
}

#[inline(always)]
fn add_count(to: *mut CallCount, from: *mut CpuCall) {
    unsafe {
        (*to).count += (*from).count;
        if (*from).failed != 0 {
            for class in 0..8 {
                (*to).errors[class] += (*from).errors[class];
            }
        }
        (*to).stamp = stamp();
    }
}

/// The same for a thread that uses more calls than it has slots.
#[inline(always)]
fn add_shared(task: Object, key: u32, from: *mut CpuCall) {
    let Some(to) = shared_record(&owner_of(task, key)) else { return };
    unsafe {
        u64::add(&raw mut (*to).count, (*from).count);
        u64::add(&raw mut (*to).bytes, (*from).bytes);
        if (*from).failed != 0 {
            for class in 0..8 {
                u32::add((&raw mut (*to).errors).cast::<u32>().add(class), (*from).errors[class]);
            }
        }
    }
}

/// Adds a finished wait to the call that it was in.
#[inline(always)]
pub fn add_wait(thread: *mut Thread, task: Object, key: u32, waited: u64) {
    let bucket = log2_slot(waited);
    if bucket >= LOG2_SLOTS {
        return;
    }
    let slot = if has_io_slot(class_of(key)) { io_slot(thread, key) } else { None };
    if let Some(slot) = slot {
        unsafe {
            (*slot).blocked_ns += waited;
            *(&raw mut (*slot).blocked).cast::<u32>().add(bucket) += 1;
            (*slot).stamp = stamp();
        }
    } else if let Some(record) = shared_record(&owner_of(task, key)) {
        unsafe {
            u64::add(&raw mut (*record).blocked_ns, waited);
            u32::add((&raw mut (*record).blocked).cast::<u32>().add(bucket), 1);
        }
    }
}

/// The slot of a thread for a call that moves data or waits, claimed if one of those that it may use is free. They are
/// apart, so that the many calls of a program's start cannot take them.
#[inline(always)]
fn io_slot(thread: *mut Thread, key: u32) -> Option<*mut CallRecord> {
    let slots = unsafe { (&raw mut (*thread).io).cast::<CallRecord>() };
    for probe in 0..4 {
        let slot = unsafe { slots.add((home(key) + probe) & (IO_SLOTS - 1)) };
        if takes(slot.cast(), key) {
            return Some(slot);
        }
    }
    None
}

/// The same for all other calls.
#[inline(always)]
fn other_slot(thread: *mut Thread, key: u32) -> Option<*mut CallCount> {
    let slots = unsafe { (&raw mut (*thread).other).cast::<CallCount>() };
    for probe in 0..4 {
        let slot = unsafe { slots.add((home(key) + probe) & (OTHER_SLOTS - 1)) };
        if takes(slot, key) {
            return Some(slot);
        }
    }
    None
}

/// Where the search for a key begins, to be masked: numbers differ in their low bits, kinds in the next ones.
#[inline(always)]
fn home(key: u32) -> usize {
    (key ^ key >> 14) as usize
}

/// Whether a slot is that of a call, or becomes it.
#[inline(always)]
fn takes(slot: *mut CallCount, key: u32) -> bool {
    unsafe {
        if (*slot).stamp == 0 {
            (*slot).key = key;
            (*slot).stamp = stamp();
            return true;
        }
        (*slot).key == key
    }
}

/// The record of a process's call in the overflow map, made if need be; `None`, counted, when the map is full.
#[inline(always)]
pub fn shared_record(owner: &CallOwner) -> Option<*mut CallRecord> {
    if let Some(record) = CALLS.get_ptr_mut(owner) {
        return Some(record);
    }
    let Some(record) = CALLS.get_or_make(owner, &EMPTY) else {
        lost(Lost::CallOverflow);
        return None;
    };
    unsafe {
        (*record).key = owner.key;
        (*record).stamp = 1;
    }
    Some(record)
}

/// Too large for the stack: a fresh record is copied from read-only memory.
static EMPTY: CallRecord =
    CallRecord { key: 0, stamp: 0, errors: [0; 8], count: 0, bytes: 0, blocked_ns: 0, blocked: [0; 24] };

/// Adds to the distribution of latencies of a call.
#[inline(always)]
pub fn add_latency(owner: &CallOwner, ns: u64) {
    let slot = linear8_slot(ns);
    match LATENCIES.get_or_make(owner, &NO_LATENCIES) {
        Some(slots) if slot < LINEAR8_SLOTS => unsafe { u32::add(slots.cast::<u32>().add(slot), 1) },
        _ => lost(Lost::CallLatency),
    }
}

/// Too large for the stack: a fresh histogram is copied from read-only memory.
static NO_LATENCIES: [u32; LINEAR8_SLOTS] = [0; LINEAR8_SLOTS];

/// The process of the running task, and a call.
#[inline(always)]
pub fn owner_of(task: Object, key: u32) -> CallOwner {
    let (process_start_ns, pid) = process_of(task);
    CallOwner { process_start_ns, pid, key }
}
