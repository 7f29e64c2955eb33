//! Row `syscall`: an exact counter at the return of every call, and a clock at a sampled share of them.
//!
//! The entry hook is attached only for a small announced share of each second. What blocks is timed by the scheduler's
//! edges (`task.rs`), exactly and for all calls.
//!
//! SAFETY: slot indexes are masked to the size of the array that they index.

use aya_ebpf::bindings::BPF_NOEXIST;
use profiler_common::hist::{LINEAR8_SLOTS, linear8_slot};
use profiler_common::lost::Lost;
use profiler_common::syscall::{
    CALLS_MAX, COMPAT_CALL, CallOwner, CallRecord, ERRNOS_MAX, IO_SLOTS, OTHER_SLOTS, call_key, class,
};
use profiler_common::task::NO_CALL;

use crate::emit::lost;
use crate::file::kind_of;
use crate::kernel::{Counter, Hook, Object, config, current, follow_current, hook, now, offset, read_current};
use crate::maps::{CALLS, LATENCIES};
use crate::task::{Thread, UNRESOLVED, thread_of};

/// [`class`] by call number, set at load time.
#[unsafe(no_mangle)]
static CALL_CLASS: [u8; CALLS_MAX] = [0; CALLS_MAX];

/// Class of an errno, set at load time.
#[unsafe(no_mangle)]
static ERRNO_CLASS: [u8; ERRNOS_MAX] = [0; ERRNOS_MAX];

/// `TS_COMPAT` in `thread_info.status` (x86).
const TS_COMPAT: u32 = 2;

/// `rt_sigreturn` on x86-64: it alone returns with its number gone from the registers.
const RT_SIGRETURN: u32 = 15;

hook!("sys_enter", sys_enter, sys_enter_raw, enter);
hook!("sys_exit", sys_exit, sys_exit_raw, exit);

#[inline(always)]
fn enter<H: Hook>(hook: H) {
    let Some(thread) = thread_of(current()) else { return };
    unsafe {
        if config!(task_pt_regs) == 0 {
            (*thread).entered_call = hook.arg::<1>() as u32;
        }
        if config!(sample_calls) != 0 {
            (*thread).entered_ns = now();
        }
    }
}

#[inline(always)]
fn exit<H: Hook>(hook: H) {
    let task = current();
    let Some(thread) = thread_of(task) else { return };
    let registers = hook.object::<0>();
    let result = hook.arg::<1>() as i64;
    let number: u64 = hook.read(registers, offset!(regs_call));
    let number = if number as u32 == NO_CALL { RT_SIGRETURN } else { number as u32 };
    let class = class_of(number);
    if class == class::FORK && result == 0 {
        return;
    }
    let kind = match class {
        class::READ | class::WRITE | class::SYNC => {
            kind_of(task, hook.read::<u64>(registers, offset!(regs_arg0)) as u32)
        }
        _ => 0,
    };
    let key = call_key(number, kind) | compat_mark(task);
    unsafe {
        (*thread).returns += 1;
        (*thread).entered_call = NO_CALL;
        if (*thread).wait_key == UNRESOLVED {
            (*thread).wait_key = key;
        }
    }
    match slot_of(thread, key, class) {
        Some(slot) => count_own(slot, class, result),
        None => count_shared(task, key, class, result),
    }
    sample(thread, task, key);
}

/// A call of a thread that has a slot for it: nobody else writes there.
#[inline(always)]
fn count_own(slot: *mut CallRecord, class: u8, result: i64) {
    unsafe {
        (*slot).count += 1;
        if let Some(errno) = errno_of(result) {
            (*slot).errors[errno_class(errno)] += 1;
        } else if matches!(class, class::READ | class::WRITE) {
            (*slot).bytes += result as u64;
        }
    }
}

/// A call of a thread that uses more calls than it has slots.
#[inline(always)]
fn count_shared(task: Object, key: u32, class: u8, result: i64) {
    let Some(record) = shared_record(task, key) else { return };
    unsafe {
        u64::add(&raw mut (*record).count, 1);
        if let Some(errno) = errno_of(result) {
            u32::add((&raw mut (*record).errors).cast::<u32>().add(errno_class(errno)), 1);
        } else if matches!(class, class::READ | class::WRITE) {
            u64::add(&raw mut (*record).bytes, result as u64);
        }
    }
}

/// The record of a process's call in the overflow map, made if need be; `None`, counted, when the map is full.
#[inline(always)]
pub fn shared_record(task: Object, key: u32) -> Option<*mut CallRecord> {
    let owner = owner_of(task, key);
    if let Some(record) = CALLS.get_ptr_mut(owner) {
        return Some(record);
    }
    let fresh = CallRecord { key, used: 1, ..EMPTY };
    // Another thread may have been faster: whoever lost the race finds the winner's record.
    let _ = CALLS.insert(owner, fresh, BPF_NOEXIST.into());
    let record = CALLS.get_ptr_mut(owner);
    if record.is_none() {
        lost(Lost::CallOverflow);
    }
    record
}

const EMPTY: CallRecord =
    CallRecord { key: 0, used: 0, errors: [0; 8], count: 0, bytes: 0, blocked_ns: 0, blocked: [0; 24] };

/// The slot of a thread for a call, claimed if one of those that it may use is free.
///
/// Calls that move data or wait have slots of their own, so that the many calls of a program's start cannot take them.
#[inline(always)]
pub fn slot_of(thread: *mut Thread, key: u32, class: u8) -> Option<*mut CallRecord> {
    let (base, mask) = if class == class::OTHER { (IO_SLOTS, OTHER_SLOTS - 1) } else { (0, IO_SLOTS - 1) };
    let hash = (key ^ key >> 14) as usize;
    for probe in 0..4 {
        let slot = unsafe { (&raw mut (*thread).slots).cast::<CallRecord>().add(base + (hash + probe & mask)) };
        unsafe {
            if (*slot).key == key && (*slot).used != 0 {
                return Some(slot);
            }
            if (*slot).used == 0 {
                (*slot).key = key;
                (*slot).used = 1;
                return Some(slot);
            }
        }
    }
    None
}

/// Times a call whose entry was seen in a sampling window, however long ago that was.
#[inline(always)]
fn sample(thread: *mut Thread, task: Object, key: u32) {
    if config!(sample_calls) == 0 {
        return;
    }
    let entered = unsafe { (*thread).entered_ns };
    if entered == 0 {
        return;
    }
    unsafe { (*thread).entered_ns = 0 };
    let slot = linear8_slot(now().wrapping_sub(entered));
    let owner = owner_of(task, key);
    if LATENCIES.get_ptr_mut(owner).is_none() {
        let _ = LATENCIES.insert(owner, &NO_LATENCIES, BPF_NOEXIST.into());
    }
    match LATENCIES.get_ptr_mut(owner) {
        Some(slots) if slot < LINEAR8_SLOTS => unsafe { u32::add(slots.cast::<u32>().add(slot), 1) },
        _ => lost(Lost::CallLatency),
    }
}

/// Too large for the stack: a fresh histogram is copied from read-only memory.
static NO_LATENCIES: [u32; LINEAR8_SLOTS] = [0; LINEAR8_SLOTS];

#[inline(always)]
fn owner_of(task: Object, key: u32) -> CallOwner {
    let leader = follow_current(task, offset!(task_group_leader));
    CallOwner {
        process_start_ns: read_current(leader, offset!(task_start_ns)),
        pid: read_current(task, offset!(task_tgid)),
        key,
    }
}

/// [`COMPAT_CALL`] if the call is of the 32-bit kind.
#[inline(always)]
fn compat_mark(task: Object) -> u32 {
    let status = offset!(task_status);
    let compat = status != profiler_common::offset::ABSENT && read_current::<u32>(task, status) & TS_COMPAT != 0;
    if compat { COMPAT_CALL } else { 0 }
}

#[inline(always)]
pub fn class_of(number: u32) -> u8 {
    let index = number as usize & (CALLS_MAX - 1);
    unsafe { core::ptr::read_volatile((&raw const CALL_CLASS).cast::<u8>().add(index)) }
}

#[inline(always)]
fn errno_class(errno: usize) -> usize {
    let class =
        unsafe { core::ptr::read_volatile((&raw const ERRNO_CLASS).cast::<u8>().add(errno & (ERRNOS_MAX - 1))) };
    class as usize & 7
}

/// `-result` where that is an errno.
#[inline(always)]
fn errno_of(result: i64) -> Option<usize> {
    (-4095..0).contains(&result).then_some(result.unsigned_abs() as usize)
}
