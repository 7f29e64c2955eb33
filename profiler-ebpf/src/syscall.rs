//! Row `syscall`: an exact counter at the return of every call, and a clock at a sampled share of them.
//!
//! The hot path counts in the record of the CPU ([`cpu`]), which takes no lookup that costs anything; the switch away
//! from the thread moves it on ([`crate::task`]). The entry hook is attached only for a small announced share of each
//! second, for calls that do not leave the CPU. What blocks is timed by the scheduler's edges, exactly and for all calls.
//!
//! SAFETY: slot indexes are masked to the size of the array that they index.

mod aio;
pub mod cpu;
pub mod operation;
pub mod total;
mod uring;

use profiler_common::file::{KIND_ENTRIES, is_followed, kind};
use profiler_common::offset::ABSENT;
use profiler_common::syscall::{CALLS_MAX, COMPAT_CALL, CpuCalls, ERRNOS_MAX, NO_KEY, call_key, class, moves_bytes};
use profiler_common::task::NO_CALL;

use crate::file::{forget, kind_of, path};
use crate::kernel::{Hook, Object, config, current, hook, now, offset, read_current, unpreempted};
use crate::maps::CPU_CALLS;
use crate::tcp::tcp_accepted;

/// [`class`] by call number, set at load time.
#[unsafe(no_mangle)]
static CALL_CLASS: [u8; CALLS_MAX] = [0; CALLS_MAX];

/// Class of an errno, set at load time.
#[unsafe(no_mangle)]
static ERRNO_CLASS: [u8; ERRNOS_MAX] = [0; ERRNOS_MAX];

/// `TS_COMPAT` in `thread_info.status` (x86).
const TS_COMPAT: u32 = 2;
/// Distance of `pt_regs.cx` from `orig_ax`: the layout is part of the ABI.
const CX_BEFORE_CALL: u32 = 32;
/// The same of `pt_regs.dx`, the third argument, and of `pt_regs.r10`, the fourth.
const DX_BEFORE_CALL: u32 = 24;
const R10_BEFORE_CALL: u32 = 64;
/// Distance of `pt_regs.ip` from `orig_ax`.
const IP_AFTER_CALL: u32 = 8;

/// `rt_sigreturn` on x86-64: it alone returns with its number gone from the registers.
const RT_SIGRETURN: u32 = 15;

hook!("sys_enter", sys_enter, sys_enter_raw, enter);
hook!("sys_exit", sys_exit, sys_exit_raw, exit);

#[inline(always)]
fn enter<H: Hook>(_: H) {
    if let Some(cpu) = CPU_CALLS.get_ptr_mut(0) {
        unsafe { (*cpu).entered_ns = now() };
    }
}

#[inline(always)]
fn exit<H: Hook>(hook: H) {
    unpreempted(|| account(hook));
}

/// Calls no helper as long as it finds what it needs in the CPU's record: each costs as much as all the rest.
#[inline(always)]
fn account<H: Hook>(hook: H) {
    let Some(cpu) = CPU_CALLS.get_ptr_mut(0) else { return };
    let registers = hook.object::<0>();
    let result = hook.arg::<1>().cast_signed();
    let call = call_of(hook, registers);
    let class = class_of(call);
    if class == class::FORK && result == 0 {
        // A child, which made no call. Its table of descriptors is new, or its parent's.
        forget(current());
        return;
    }
    cpu::own(cpu, registers);
    let (kind, entry) = match class {
        class::READ | class::WRITE | class::SYNC => {
            let (files, pid) = unsafe { ((*cpu).files, (*cpu).pid) };
            kind_of(cpu, files, pid, hook.read::<u64>(registers, offset!(regs_arg0)) as u32)
        }
        _ => (kind::NONE, KIND_ENTRIES),
    };
    let key = call | call_key(0, kind);
    unsafe {
        let first = (*cpu).first_key == NO_KEY;
        if first {
            (*cpu).first_key = key;
        }
        if is_followed(kind) {
            path::path_count(entry as u32, class.into(), result, first.into());
            if kind == kind::DIRECT && class != class::SYNC {
                path::path_direct(entry as u32, call, result);
            }
        }
    }
    count(cpu, key, class, result);
    if class == class::CLOSE {
        let task = current();
        forget(task);
        cpu::identify(cpu, task);
    }
    sample(cpu, key);
    if class == class::ACCEPT && result >= 0 {
        tcp_accepted(result.cast_unsigned() as u32);
    }
    // Where programs may read nothing of the kernel's, the loader takes user space for the same.
    if matches!(class, class::SUBMIT | class::REAP) && result > 0 && config!(kernel_reads) != 0 {
        let list = if class == class::SUBMIT { DX_BEFORE_CALL } else { R10_BEFORE_CALL };
        aio::follow(class, hook.read(registers, offset!(regs_call) - list), result.cast_unsigned());
    }
    cpu::still_owned(cpu, registers);
}

#[inline(always)]
fn count(cpu: *mut CpuCalls, key: u32, class: u8, result: i64) {
    let slot = cpu::slot(cpu, key);
    unsafe {
        (*slot).count += 1;
        if let Some(errno) = errno_of(result) {
            (*slot).failed = 1;
            (*slot).errors[errno_class(errno)] += 1;
        } else if moves_bytes(class) {
            (*slot).bytes += result.cast_unsigned();
        }
    }
}

/// Number of the call that returns, as a key without a kind.
#[inline(always)]
fn call_of<H: Hook>(hook: H, registers: Object) -> u32 {
    let number: u64 = hook.read(registers, offset!(regs_call));
    let number = if number as u32 == NO_CALL { RT_SIGRETURN } else { number as u32 };
    call_key(number, 0) | compat_mark(hook, registers)
}

/// [`COMPAT_CALL`] if the call is of the 32-bit kind.
///
/// `TS_COMPAT` tells, but the task is a helper away. The instruction `syscall` leaves its return address in `cx`, so
/// where that is so, there is nothing to ask.
#[inline(always)]
fn compat_mark<H: Hook>(hook: H, registers: Object) -> u32 {
    let call = offset!(regs_call);
    let (back, cx): (u64, u64) =
        (hook.read(registers, call + IP_AFTER_CALL), hook.read(registers, call - CX_BEFORE_CALL));
    if back == cx {
        return 0;
    }
    let status = offset!(task_status);
    let compat = status != ABSENT && read_current::<u32>(current(), status) & TS_COMPAT != 0;
    if compat { COMPAT_CALL } else { 0 }
}

/// Times a call whose entry was seen in a sampling window and that has not left the CPU since.
#[inline(always)]
fn sample(cpu: *mut CpuCalls, key: u32) {
    if config!(sample_calls) == 0 {
        return;
    }
    let entered = unsafe { (*cpu).entered_ns };
    if entered == 0 {
        return;
    }
    unsafe { (*cpu).entered_ns = 0 };
    total::add_latency(&total::owner_of(current(), key), now().wrapping_sub(entered));
}

/// The [`class`] of a key. The table has native numbers, 32-bit calls have others.
#[inline(always)]
pub fn class_of(key: u32) -> u8 {
    if key & COMPAT_CALL != 0 {
        return class::OTHER;
    }
    let index = key as usize & (CALLS_MAX - 1);
    unsafe { core::ptr::read_volatile((&raw const CALL_CLASS).cast::<u8>().add(index)) }
}

#[inline(always)]
pub fn errno_class(errno: usize) -> usize {
    let class =
        unsafe { core::ptr::read_volatile((&raw const ERRNO_CLASS).cast::<u8>().add(errno & (ERRNOS_MAX - 1))) };
    class as usize & 7
}

/// `-result` where that is an errno.
#[inline(always)]
pub fn errno_of(result: i64) -> Option<usize> {
    (-4095..0).contains(&result).then_some(result.unsigned_abs() as usize)
}
