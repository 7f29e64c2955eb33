//! The calls of the thread that is on this CPU, from its first return there to its switch away.
//!
//! Programs on `sys_exit` run with preemption off: by the tracepoint, and since 6.13 (4aadde89d81f) by BPF itself. Some
//! later kernel (7.2 is said to) makes them preemptible, but still bound to their CPU. There a switch may come in the
//! middle of one: it moves what it finds and ends the tenure. Meanwhile the kernel skips other runs of that program on
//! the CPU (and counts them in its `recursion_misses`), so the interrupted one goes on in a record without an owner.
//! Whatever it still writes there is void, because the next owner starts without a slot in use; the call may be missing,
//! and is counted as lost ([`still_owned`]), but it is never given to another thread. The order of the stores below
//! matters for that, hence the volatile ones.
//!
//! SAFETY: the record is the CPU's own. Slot indexes are masked to the size of the array.

use core::ptr::{read_volatile, write_volatile};

use profiler_common::lost::Lost;
use profiler_common::syscall::{CPU_SLOTS, CpuCall, CpuCalls, NO_KEY};

use crate::emit::lost;
use crate::file::table_of;
use crate::kernel::{Object, current, offset, read_current};
use crate::syscall::total;
use crate::task::thread::{Thread, thread_of};

/// Makes the running task the owner of the record. It is known by the address of its registers, at the top of its stack.
#[inline(always)]
pub fn own(cpu: *mut CpuCalls, registers: Object) {
    unsafe {
        if (*cpu).owner == registers as u64 {
            return;
        }
        if (*cpu).owner != 0 {
            // Its owner left without our noticing: the switch hook is not attached yet.
            lost(Lost::CallOverflow);
        }
        let tenure = (*cpu).tenure + 1;
        write_volatile(&raw mut (*cpu).tenure_begun, tenure);
        write_volatile(&raw mut (*cpu).dirty, 0);
        write_volatile(&raw mut (*cpu).dirty_paths, 0);
        write_volatile(&raw mut (*cpu).first_key, NO_KEY);
        identify(cpu, current());
        write_volatile(&raw mut (*cpu).owner, registers as u64);
        write_volatile(&raw mut (*cpu).tenure, tenure);
    }
}

/// Notes who the owner is, again when that may have changed: `execve` may give a thread another table of descriptors,
/// and the thread id of its process's leader.
#[inline(always)]
pub fn identify(cpu: *mut CpuCalls, task: Object) {
    unsafe {
        write_volatile(&raw mut (*cpu).tid, read_current(task, offset!(task_pid)));
        write_volatile(&raw mut (*cpu).pid, read_current(task, offset!(task_tgid)));
        write_volatile(&raw mut (*cpu).files, table_of(task));
    }
}

/// Counts a call as lost if a switch came in the middle of its counting.
#[inline(always)]
pub fn still_owned(cpu: *mut CpuCalls, registers: Object) {
    if unsafe { read_volatile(&raw const (*cpu).owner) } != registers as u64 {
        lost(Lost::CallOverflow);
    }
}

/// The slot of a call; if none of those that it may use is free, one is emptied into the thread's record.
///
/// No slot becomes free during a tenure, so a key is never in two.
#[inline(always)]
pub fn slot(cpu: *mut CpuCalls, key: u32) -> *mut CpuCall {
    let home = (key ^ key >> 14) as usize;
    for probe in 0..4 {
        let index = (home + probe) & (CPU_SLOTS - 1);
        let slot = at(cpu, index);
        unsafe {
            if (*cpu).dirty & 1 << index == 0 {
                begin(slot, key);
                (*cpu).dirty |= 1 << index;
                return slot;
            }
            if (*slot).key == key {
                return slot;
            }
        }
    }
    evict(cpu, key, home & (CPU_SLOTS - 1))
}

#[inline(always)]
fn evict(cpu: *mut CpuCalls, key: u32, index: usize) -> *mut CpuCall {
    let slot = at(cpu, index);
    unsafe {
        // A switch in between must not find it again.
        write_volatile(&raw mut (*cpu).dirty, (*cpu).dirty & !(1 << index));
        let task = current();
        if let Some(thread) = thread_of(task) {
            total::call_add(thread, slot);
        }
        begin(slot, key);
        (*cpu).dirty |= 1 << index;
    }
    slot
}

#[inline(always)]
fn begin(slot: *mut CpuCall, key: u32) {
    unsafe { slot.write(CpuCall { key, failed: 0, errors: [0; 8], count: 0, bytes: 0 }) };
}

/// Moves everything to the thread's record and leaves the CPU to nobody: the owner is switched away from.
#[inline(always)]
pub fn leave(cpu: *mut CpuCalls, thread: *mut Thread) {
    unsafe {
        for index in 0..CPU_SLOTS {
            // Read anew, so that a verifier need not tell apart which of the slots before were in use.
            if read_volatile(&raw const (*cpu).dirty) & 1 << index != 0 {
                total::call_add(thread, at(cpu, index));
            }
        }
        abandon(cpu);
    }
}

/// Leaves the CPU to nobody.
#[inline(always)]
pub fn abandon(cpu: *mut CpuCalls) {
    unsafe {
        write_volatile(&raw mut (*cpu).dirty, 0);
        write_volatile(&raw mut (*cpu).owner, 0);
    }
}

#[inline(always)]
fn at(cpu: *mut CpuCalls, index: usize) -> *mut CpuCall {
    unsafe { (&raw mut (*cpu).slots).cast::<CpuCall>().add(index) }
}
