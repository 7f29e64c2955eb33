//! What a thread waits for, told at the switch away from it: by what the kernel has said just before ([`super::notice`]), by
//! what it says of itself (waits for I/O, reclaims memory, is stopped), else by the call that it is in and the file that
//! this is about.
//!
//! SAFETY: typed loads of the kernel's own structs. The table is indexed by masked numbers.

use profiler_common::file::kind;
use profiler_common::offset::ABSENT;
use profiler_common::syscall::{CALLS_MAX, COMPAT_CALL, CpuCalls};
use profiler_common::task::{KIND_UNKNOWN, NO_CALL};
use profiler_common::wait;

use super::NO_CALLS_FLAGS;
use super::thread::Thread;
use crate::file::{self, table_of};
use crate::kernel::{Object, offset, read_current, registers_of};

/// `PF_MEMALLOC`: it frees memory so that it can have some.
const RECLAIMS: u32 = 0x800;
/// `PF_MEMSTALL`, until 5.12 (1066d1b6974e) made it `in_memstall`.
const STALLS: u32 = 0x0100_0000;
/// `TASK_STOPPED | TASK_TRACED`.
const STOPPED: u32 = 4 | 8;
/// `TASK_INTERRUPTIBLE | TASK_NOLOAD`: in a kernel thread both mean that it has nothing to do.
const UNHURRIED: u32 = 1 | 0x400;
/// `TASK_UNINTERRUPTIBLE`
const UNINTERRUPTIBLE: u32 = 2;
/// `TASK_KILLABLE`
const KILLABLE: u32 = 0x102;

/// What being blocked in a call means, by its number, set at load time: [`wait::RECEIVE`], [`wait::SEND`] and
/// [`wait::CONNECT`] depend on the kind of file, [`wait::JOURNAL`] stands for making data durable.
#[unsafe(no_mangle)]
static CALL_WAIT: [u8; CALLS_MAX] = [0; CALLS_MAX];

/// What a task that leaves its CPU in a sleeping state waits for. Without a record of the CPU, nothing is remembered.
#[inline(always)]
pub fn reason(thread: *mut Thread, task: Object, call: u32, state: u32, cpu: Option<*mut CpuCalls>) -> u32 {
    let pauses = unsafe {
        (*thread).wait_kind = KIND_UNKNOWN;
        core::mem::replace(&mut (*thread).pauses, 0) != 0
    };
    if state & STOPPED != 0 {
        return wait::STOPPED;
    }
    if unsafe { (*thread).lock } != 0 {
        return wait::LOCK;
    }
    let flags: u32 = read_current(task, offset!(task_flags));
    let waits_for_io = bit(task, offset!(task_in_iowait));
    if flags & NO_CALLS_FLAGS != 0 {
        return match (waits_for_io, state & UNHURRIED) {
            (true, _) => disk(thread, task),
            (false, 0) => wait::OTHER,
            (false, _) => wait::KERNEL,
        };
    }
    let stalls =
        if offset!(task_in_memstall) == ABSENT { flags & STALLS != 0 } else { bit(task, offset!(task_in_memstall)) };
    let reclaims = flags & RECLAIMS != 0 || unsafe { (*thread).reclaim_since_ns } != 0;
    if reclaims || stalls && !waits_for_io {
        return wait::RECLAIM;
    }
    if pauses && waits_for_io && state & KILLABLE == KILLABLE {
        return wait::DIRTY;
    }
    if call == NO_CALL {
        return if waits_for_io { wait::FAULT } else { wait::UNEXPLAINED };
    }
    let meaning = meaning_of(call);
    let kind = match meaning {
        wait::RECEIVE | wait::SEND | wait::CONNECT | wait::JOURNAL => kind_of(task, cpu),
        _ => kind::NONE,
    };
    unsafe { (*thread).wait_kind = kind };
    if waits_for_io { in_io(thread, task, meaning, kind) } else { in_call(meaning, kind, state) }
}

/// In a wait that the task itself calls one for I/O.
#[inline(always)]
fn in_io(thread: *mut Thread, task: Object, meaning: u32, kind: u32) -> u32 {
    match meaning {
        wait::ASYNC => wait::ASYNC,
        wait::JOURNAL => wait::DISK_WRITE,
        wait::RECEIVE if is_storage(kind) => {
            disk(thread, task);
            wait::DISK_READ
        }
        wait::SEND if is_storage(kind) => disk(thread, task),
        wait::OTHER => disk(thread, task),
        // Only the memory that the call is given can be on a disk.
        _ => wait::FAULT,
    }
}

#[inline(always)]
fn in_call(meaning: u32, kind: u32, state: u32) -> u32 {
    match (meaning, kind) {
        (wait::RECEIVE | wait::SEND | wait::CONNECT, kind::TCP) => meaning,
        (wait::SEND, kind::REGULAR | kind::DIRECT | kind::MEMORY | kind::DIRECTORY) if state & UNINTERRUPTIBLE != 0 => {
            wait::JOURNAL
        }
        (wait::RECEIVE | wait::SEND | wait::CONNECT, kind) if is_storage(kind) || kind == kind::UNKNOWN => wait::OTHER,
        (wait::RECEIVE | wait::SEND | wait::CONNECT, _) => wait::PIPE,
        _ => meaning,
    }
}

#[inline(always)]
fn is_storage(kind: u32) -> bool {
    matches!(kind, kind::REGULAR | kind::DIRECT | kind::MEMORY | kind::DIRECTORY | kind::BLOCK)
}

/// A read, if it has asked storage for something since its last wait for I/O.
#[inline(always)]
fn disk(thread: *mut Thread, task: Object) -> u32 {
    if offset!(task_read_bytes) == ABSENT {
        return wait::DISK_READ;
    }
    let read: u64 = read_current(task, offset!(task_read_bytes));
    unsafe {
        let reads = read != (*thread).read_mark;
        (*thread).read_mark = read;
        if reads { wait::DISK_READ } else { wait::DISK_WRITE }
    }
}

#[inline(always)]
fn meaning_of(call: u32) -> u32 {
    if call & COMPAT_CALL != 0 {
        return wait::OTHER;
    }
    let index = call as usize & (CALLS_MAX - 1);
    unsafe { core::ptr::read_volatile((&raw const CALL_WAIT).cast::<u8>().add(index)) }.into()
}

/// The kind of file that the first argument of a task's call names.
#[inline(always)]
fn kind_of(task: Object, cpu: Option<*mut CpuCalls>) -> u32 {
    let registers = registers_of(task);
    if registers.is_null() {
        return kind::UNKNOWN;
    }
    let descriptor = read_current::<u64>(registers, offset!(regs_arg0)) as u32;
    match cpu {
        Some(cpu) => file::kind_of(cpu, table_of(task), read_current(task, offset!(task_tgid)), descriptor).0,
        None => file::walk(task, descriptor),
    }
}

/// A member that is one bit; its offset is in bits.
#[inline(always)]
fn bit(task: Object, offset: u32) -> bool {
    read_current::<u8>(task, offset / 8) >> (offset % 8) & 1 != 0
}
