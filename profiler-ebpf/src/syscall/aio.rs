//! Operations of libaio, by the calls that hand them over and collect their ends: the kernel has no tracepoint for them.
//!
//! They count when they were handed over, because some programs collect their ends without a call. Failures and times (from
//! the return of `io_submit`) are of those that a call has collected. Of all others, the bytes that were asked for count as
//! moved, once their owner uses the same `iocb` again; those of operations on several buffers are not known.
//!
//! SAFETY: what a process has told the kernel is copied before it is looked at; entries under way are those of the process.

use profiler_common::file::is_followed;
use profiler_common::lost::Lost;
use profiler_common::syscall::operation::{AIO, CODES};
use profiler_common::syscall::{AIO_BATCH_MAX, CallOwner, Operation, OperationKey, call_key, class};

use crate::emit::lost_all;
use crate::file::{kind_of, path};
use crate::kernel::{current, read_user};
use crate::maps::{CPU_CALLS, OPERATIONS};
use crate::syscall::{class_of, operation, total};

/// `IOCB_CMD_PREADV`: from here on, operations are on several buffers.
const VECTORS: u32 = 7;

/// The beginning of `struct iocb`, which is for good.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    data: u64,
    key: u32,
    flags: u32,
    code: u16,
    priority: u16,
    descriptor: u32,
    buffer: u64,
    length: u64,
}

/// `struct io_event`
#[repr(C)]
#[derive(Clone, Copy)]
struct Event {
    data: u64,
    control: u64,
    result: i64,
    result_2: i64,
}

/// Looks at the operations of a call that handed over or collected so many; `list` is what it was given for them.
#[inline(always)]
pub fn follow(class: u8, list: u64, count: u64) {
    if class == class::SUBMIT {
        aio_submitted_all(list, count)
    } else {
        aio_reaped_all(list, count)
    };
}

/// Global, as the others below: the verifier looks at each once, whatever came before.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn aio_submitted_all(list: u64, count: u64) -> u32 {
    all(count, |index| aio_submitted(list + index * size_of::<u64>() as u64))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn aio_reaped_all(list: u64, count: u64) -> u32 {
    all(count, |index| aio_reaped(list + index * size_of::<Event>() as u64))
}

/// Tells so many operations; those of which nothing can be told, or which are too many, are lost.
#[inline(always)]
fn all(count: u64, tell: impl Fn(u64) -> u32) -> u32 {
    let mut told = 0;
    for index in 0..AIO_BATCH_MAX {
        if index >= count {
            break;
        }
        told += u64::from(tell(index));
    }
    if told < count {
        lost_all(Lost::Operation, count - told);
    }
    0
}

/// Books an operation, by the place of its address; 0 if that cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn aio_submitted(place: u64) -> u32 {
    submitted(place).is_some().into()
}

/// Books the end of an operation, by the place of its event; 0 if that cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn aio_reaped(place: u64) -> u32 {
    reaped(place).is_some().into()
}

/// The running process, and no call.
#[inline(always)]
fn owner() -> CallOwner {
    total::owner_of(current(), 0)
}

#[inline(always)]
fn submitted(place: u64) -> Option<()> {
    let (owner, cpu) = (owner(), CPU_CALLS.get_ptr_mut(0)?);
    let address: u64 = read_user(place)?;
    let control: Control = read_user(address)?;
    let code = u32::from(control.code) & (CODES - 1);
    let (kind, entry) = kind_of(cpu, unsafe { (*cpu).files }, owner.pid, control.descriptor);
    let owner = CallOwner { key: call_key(AIO + code, kind), ..owner };
    let _ = operation::count(&owner);
    let key = key_of(&owner, address);
    if let Some(open) = OPERATIONS.get_ptr_mut(key) {
        let Operation { key, asked_bytes, .. } = unsafe { *open };
        add_result(CallOwner { key, ..owner }, asked_bytes.into());
    }
    let asked = if code < VECTORS { control.length.min(u32::MAX.into()) as u32 } else { 0 };
    operation::begin(&key, &owner, asked);
    if is_followed(kind) {
        path::path_count(entry as u32, class_of(owner.key).into(), asked.into(), 0);
    }
    Some(())
}

#[inline(always)]
fn reaped(place: u64) -> Option<()> {
    let (owner, event) = (owner(), read_user::<Event>(place)?);
    let key = key_of(&owner, event.control);
    // Handed over before we watched, or not yet seen to be.
    let Some(open) = OPERATIONS.get_ptr_mut(key) else { return Some(()) };
    let owner = CallOwner { key: unsafe { (*open).key }, ..owner };
    add_result(owner, event.result);
    operation::time(&owner, open);
    let _ = OPERATIONS.remove(key);
    Some(())
}

#[inline(always)]
fn add_result(owner: CallOwner, result: i64) {
    if let Some(record) = total::shared_record(&owner) {
        operation::add_result(owner.key, record, result);
    }
}

/// An operation of a process, by the address of its `iocb`.
#[inline(always)]
fn key_of(owner: &CallOwner, control: u64) -> OperationKey {
    OperationKey { at: owner.process_start_ns ^ u64::from(owner.pid) << 40, tag: control }
}
