//! The two ways in which a thread's record leaves the kernel: once per tick by the iterator, and once when it ends.
//!
//! On the way out, all calls look alike: the short slots are the beginning of a long one whose rest is zero.
//!
//! SAFETY: a thread's slots are only read here, by index below the size of their array. Room in the ring is written
//! within the size that was reserved.

use core::ptr::{read_volatile, write_volatile};

use profiler_common::syscall::{CallCount, CallRecord, IO_SLOTS, OTHER_SLOTS, SLOTS};
use profiler_common::task::{NO_CALL, TaskRecord, TaskSums, state};
use profiler_common::tcp;

use super::describe::{books, describe, state_of};
use super::thread::{Thread, get_or_create};
use super::{DEAD, object, seed};
use crate::emit;
use crate::kernel::{Hook, Object, TYPED, now, offset};
use crate::maps::LAST_TASK;

/// What a [`CallRecord`] has more than a [`CallCount`].
type Rest = [u64; (size_of::<CallRecord>() - size_of::<CallCount>()) / 8];

static NO_SUMS: TaskSums = TaskSums::EMPTY;
static NO_REST: Rest = [0; size_of::<Rest>() / 8];

/// The record of a thread that ends, with room for `N` calls.
#[repr(C)]
struct LastRecord<const N: usize> {
    tag: u64,
    task: TaskRecord,
    sums: TaskSums,
    calls: [CallRecord; N],
}

/// Most threads that come and go use few calls.
const FEW: usize = 8;

/// Sends the record of a thread at its last switch.
#[inline(always)]
pub fn last_record(thread: *mut Thread, task: Object, now: u64) {
    let Some(record) = LAST_TASK.get_ptr_mut(0) else { return };
    let record = unsafe { &mut *record };
    *record = TaskRecord::default();
    describe(record, task, now);
    record.state = state::ENDED;
    books(record, thread, task);
    if select(thread, 1) as usize <= FEW { fill::<FEW>(thread, record) } else { fill::<SLOTS>(thread, record) }
}

#[inline(always)]
fn fill<const N: usize>(thread: *mut Thread, record: &TaskRecord) {
    let Some(mut exit) = emit::reserve::<LastRecord<N>>() else { return };
    let to = exit.as_ptr();
    unsafe {
        (*to).tag = tcp::exit::TASK;
        (*to).task = *record;
        for word in 0..size_of::<TaskSums>() / 8 {
            write_volatile((&raw mut (*to).sums).cast::<u64>().add(word), *sums(thread).cast::<u64>().add(word));
        }
        for index in 0..IO_SLOTS {
            let from = io(thread, index);
            if let Some(call) = next_call(to, from.cast()) {
                rest(call).copy_from_nonoverlapping(rest(from), 1);
            }
        }
        for index in 0..OTHER_SLOTS {
            if let Some(call) = next_call(to, other(thread, index)) {
                for word in 0..size_of::<Rest>() / 8 {
                    rest(call).cast::<u64>().add(word).write_volatile(0);
                }
            }
        }
    }
    exit.submit();
}

/// Copies the beginning of a slot in use to the next free place.
///
/// The number of calls is counted in the ring itself: in a register, the verifier would walk every value of it.
#[inline(always)]
unsafe fn next_call<const N: usize>(to: *mut LastRecord<N>, from: *mut CallCount) -> Option<*mut CallRecord> {
    unsafe {
        let filled = read_volatile(&raw const (*to).task.calls) as usize;
        if (*from).stamp == 0 || filled >= N {
            return None;
        }
        write_volatile(&raw mut (*to).task.calls, filled as u32 + 1);
        let call = (&raw mut (*to).calls).cast::<CallRecord>().add(filled);
        call.cast::<CallCount>().copy_from_nonoverlapping(from, 1);
        Some(call)
    }
}

#[inline(always)]
fn rest(record: *mut CallRecord) -> *mut Rest {
    unsafe { record.cast::<CallCount>().add(1).cast() }
}

/// What `iter/task` hands over: a `bpf_iter_meta`, and a task, null at the end.
#[repr(C)]
struct TaskContext {
    meta: Object,
    task: Object,
}

/// Exports every thread: its books always, of its calls those that changed. Seeds those that existed before we came.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn iter_task(context: *mut TaskContext) -> i32 {
    let (meta, task) = unsafe { ((*context).meta, (*context).task) };
    if task.is_null() || TYPED.read::<u32>(task, offset!(task_pid)) == 0 {
        return 0;
    }
    // A zombie has sent its last record already.
    if TYPED.read::<u32>(task, offset!(task_state)) & DEAD != 0 {
        return 0;
    }
    let mut record = TaskRecord::default();
    let now = now();
    describe(&mut record, task, now);
    record.state = state_of(task);
    record.wait_call = NO_CALL;
    let thread = get_or_create(task);
    // Its next edge tries again, and counts.
    if thread.is_null() {
        emit::write(meta, &raw const record);
        emit::write(meta, &raw const NO_SUMS);
        return 0;
    }
    seed(thread, task, record.state, now);
    books(&mut record, thread, task);
    if matches!(record.state, state::SLEEPING | state::UNINTERRUPTIBLE) {
        object::describe(&mut record, thread, task);
    }
    record.calls = select(thread, begin_pass(meta).saturating_sub(1));
    emit::write(meta, &raw const record);
    emit::write(meta, sums(thread));
    write_calls(meta, thread);
    0
}

/// Writes the calls that were selected.
#[inline(always)]
fn write_calls(meta: Object, thread: *mut Thread) {
    for index in 0..IO_SLOTS {
        if selected(thread) >> index & 1 != 0 {
            emit::write(meta, io(thread, index));
        }
    }
    for index in 0..OTHER_SLOTS {
        if selected(thread) >> (IO_SLOTS + index) & 1 != 0 {
            emit::write(meta, other(thread, index));
            emit::write(meta, &raw const NO_REST);
        }
    }
}

/// Selects the slots whose stamp is at least `oldest`; how many these are. What changes from here on has a newer stamp.
#[inline(always)]
fn select(thread: *mut Thread, oldest: u32) -> u32 {
    let oldest = if oldest == 0 { 1 } else { oldest };
    let changed = unsafe { &raw mut (*thread).changed };
    unsafe { write_volatile(changed, 0) };
    for index in 0..IO_SLOTS {
        if unsafe { (*io(thread, index)).stamp } >= oldest {
            unsafe { write_volatile(changed, read_volatile(changed) | 1 << index) };
        }
    }
    for index in 0..OTHER_SLOTS {
        if unsafe { (*other(thread, index)).stamp } >= oldest {
            unsafe { write_volatile(changed, read_volatile(changed) | 1 << (IO_SLOTS + index)) };
        }
    }
    selected(thread).count_ones()
}

#[inline(always)]
fn selected(thread: *mut Thread) -> u32 {
    unsafe { read_volatile(&raw const (*thread).changed) }
}

#[inline(always)]
fn sums(thread: *mut Thread) -> *mut TaskSums {
    unsafe { &raw mut (*thread).sums }
}

#[inline(always)]
fn io(thread: *mut Thread, index: usize) -> *mut CallRecord {
    unsafe { (&raw mut (*thread).io).cast::<CallRecord>().add(index) }
}

#[inline(always)]
fn other(thread: *mut Thread, index: usize) -> *mut CallCount {
    unsafe { (&raw mut (*thread).other).cast::<CallCount>().add(index) }
}

/// Passes over all threads so far, and the session of the last one.
static mut PASS: u32 = 0;
static mut SESSION: u64 = 0;

/// What a slot that changes now is stamped with. The export goes back one pass further than it would have to: a stamp may
/// be old by the time that it is written.
#[inline(always)]
pub fn stamp() -> u32 {
    unsafe { read_volatile(&raw const PASS) + 1 }
}

/// Number of the pass that this belongs to.
#[inline(always)]
fn begin_pass(meta: Object) -> u32 {
    // `bpf_iter_meta.session_id`
    let session: u64 = TYPED.read(meta, 8);
    unsafe {
        if read_volatile(&raw const SESSION) != session {
            write_volatile(&raw mut SESSION, session);
            write_volatile(&raw mut PASS, read_volatile(&raw const PASS) + 1);
        }
        read_volatile(&raw const PASS)
    }
}
