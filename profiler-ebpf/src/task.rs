//! Row `task`: where each thread's wall time goes, by the scheduler's own books.
//!
//! One hook, at the switch away from a thread: since the last one, run-queue time is the growth of
//! `sched_info.run_delay`, on-CPU time the growth of `se.sum_exec_runtime`, stolen time what the clock has more than that
//! since the switch to it, and blocked time is what remains of the wall ([`clock`]). When it was woken, and by whom, another
//! one notes ([`wake`]): the books alone do not tell where the wait ended of a thread that is in one, and since 6.12 not
//! always of others. The call in which it blocks is still in its registers; the kind of file that it blocks on is told by
//! the first call that returns after it came back.
//!
//! SAFETY: a thread's record is written by the thread itself, at its own calls and switches, and only read by the iterator.

mod clock;
mod describe;
pub mod export;
mod notice;
mod object;
mod reason;
#[cfg(not(feature = "hash-tasks"))]
pub mod spent;
pub mod thread;
mod wake;

use profiler_common::file::is_followed;
use profiler_common::lost::Lost;
use profiler_common::syscall::{CpuCalls, NO_KEY};
use profiler_common::task::{NO_CALL, state};
use profiler_common::wait::{self, WAITS};

use self::clock::Clocks;
use self::thread::{OUTSIDE, Thread, UNRESOLVED, thread_of};
use crate::emit::lost;
use crate::file::path::{path_waited, paths_flush};
use crate::kernel::{Hook, Object, config, current, hook, now, offset, read_current, registers_of, since_boot};
use crate::maps::CPU_CALLS;
use crate::syscall::{class_of, cpu, total};

/// `PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER`: no system calls, and nothing meaningful in their registers.
const NO_CALLS_FLAGS: u32 = 0x0020_0000 | 0x10 | 0x4000;
/// `TASK_DEAD`: it has left its CPU for the last time.
const DEAD: u32 = 0x80;

hook!("sched_process_fork", sched_process_fork, sched_process_fork_raw, fork);
hook!("sched_switch", sched_switch, sched_switch_raw, switch);

/// `sched_process_fork(parent, child)`: makes the child's record while the allocator can still refill its few spare
/// elements. At a switch it cannot, and when many threads start at once, the last ones go without. The child waits for its
/// first CPU from here on, as if it had been preempted.
#[inline(always)]
fn fork<H: Hook>(hook: H) {
    let child = hook.object::<1>();
    let thread = thread::get_or_create(child);
    // If it fails, the child's first switch tries again, and counts.
    if thread.is_null() {
        return;
    }
    unsafe {
        (*thread).switch_ns = now();
        (*thread).preempted = 1;
        (*thread).wait_key = OUTSIDE;
        let made = since_boot().wrapping_sub(hook.read(child, offset!(task_start_ns)));
        add_to_wait(thread, wait::BIRTH, made);
    }
}

#[inline(always)]
fn switch<H: Hook>(hook: H) {
    let task = current();
    let Some(cpu) = CPU_CALLS.get_ptr_mut(0) else { return };
    let now = now();
    // Who came here before may be one that the kernel hides.
    let (came_tid, came_ns) = unsafe { ((*cpu).came_tid, (*cpu).came_ns) };
    unsafe {
        (*cpu).came_tid = hook.read(hook.object::<2>(), offset!(task_pid));
        (*cpu).came_ns = now;
    }
    // Idle is not a thread that waits for anything.
    let tid = read_current::<u32>(task, offset!(task_pid));
    if tid == 0 {
        return;
    }
    unsafe { (*cpu).entered_ns = 0 };
    let Some(thread) = thread_of(task) else { return };
    if unsafe { (*cpu).owner } != 0 {
        if unsafe { (*cpu).tid } == tid {
            resolve_wait(thread, cpu);
            cpu::leave(cpu, thread);
            if unsafe { (*cpu).dirty_paths } != 0 {
                paths_flush();
            }
        } else {
            // Another thread's, from before this hook was attached; or `execve` is changing the thread's id.
            cpu::abandon(cpu);
            lost(Lost::CallOverflow);
        }
    }
    let state = previous_state(hook, task);
    let preempted = hook.arg::<0>() & 1 != 0 || state == 0;
    let had_ns = if came_tid == tid { now.saturating_sub(came_ns) } else { 0 };
    close_wait(thread, task, now, had_ns);
    if preempted {
        unsafe {
            (*thread).preempted = 1;
            if (*thread).wait_key != UNRESOLVED {
                (*thread).wait_key = OUTSIDE;
            }
        }
    } else {
        open_wait(thread, task, state, Some(cpu));
    }
    if state & DEAD != 0 {
        export::last_record(thread, task, now);
        thread::forget(task);
    }
}

/// `prev->__state` may be changed by a waker before we read it; the argument cannot (fa2c3254d7cf).
#[inline(always)]
fn previous_state<H: Hook>(hook: H, task: Object) -> u32 {
    if config!(switch_prev_state) != 0 { hook.arg::<3>() as u32 } else { read_current(task, offset!(task_state)) }
}

/// Tells the key of the call in which a thread waited: of the calls, that is the first to return after it came back. A
/// thread that was preempted before that is still in it, and still unresolved.
#[inline(always)]
fn resolve_wait(thread: *mut Thread, cpu: *mut CpuCalls) {
    unsafe {
        let key = (*cpu).first_key;
        if (*thread).wait_key == UNRESOLVED && key != NO_KEY {
            // They differ only if the return of that call was missed.
            let same = key as u16 == (*thread).wait_call as u16;
            (*thread).wait_key = if same { key } else { OUTSIDE };
        }
    }
}

/// Books everything since the last switch away, of which the thread had a CPU for so long, or 0 if that is not known.
#[inline(always)]
fn close_wait(thread: *mut Thread, task: Object, now: u64, had_ns: u64) {
    let clocks = Clocks::of(task);
    unsafe {
        if (*thread).switch_ns != 0 {
            let since = clocks.since_last(thread, now, had_ns);
            since.book_reclaim(thread, now);
            (*thread).throttled_ns += since.throttled_ns;
            (*thread).excess_ns += since.excess_ns;
            if (*thread).preempted != 0 {
                (*thread).preempted_ns += since.queued_ns;
            }
            (*thread).blocked_ns += since.wait_ns;
            (*thread).pending_ns += since.wait_ns;
            add_to_wait(thread, (*thread).wait, since.wait_ns);
            add_to_wait(thread, wait::STOLEN, since.stolen_ns.wrapping_sub(since.explained_ns));
            if since.skewed {
                lost(Lost::ClockSkew);
            }
        }
    }
    clocks.mark(thread, now);
    credit(thread, task);
}

#[inline(always)]
unsafe fn add_to_wait(thread: *mut Thread, wait: u32, ns: u64) {
    unsafe { *(&raw mut (*thread).sums.waits).cast::<u64>().add(wait as usize & (WAITS - 1)) += ns };
}

/// Books a finished wait to the call that it was in, once that has returned and told its key.
#[inline(always)]
fn credit(thread: *mut Thread, task: Object) {
    let (key, waited) = unsafe { ((*thread).wait_key, (*thread).pending_ns) };
    if key == UNRESOLVED || waited == 0 {
        return;
    }
    unsafe { (*thread).pending_ns = 0 };
    if key != OUTSIDE {
        total::add_wait(thread, task, key, waited);
        let kind = key >> 16 & 0xf;
        if is_followed(kind) {
            path_waited(waited, class_of(key).into(), kind);
        }
    }
}

/// Remembers in which call a thread blocks.
#[inline(always)]
fn open_wait(thread: *mut Thread, task: Object, state: u32, cpu: Option<*mut CpuCalls>) {
    let call = call_of(task);
    unsafe {
        (*thread).preempted = 0;
        (*thread).wait_call = call;
        (*thread).wait = reason::reason(thread, task, call, state, cpu);
        (*thread).wait_key = if call == NO_CALL { OUTSIDE } else { UNRESOLVED };
    }
}

/// The call that a task is in, or [`NO_CALL`].
#[inline(always)]
pub fn call_of(task: Object) -> u32 {
    if has_no_calls(task) {
        return NO_CALL;
    }
    let registers = registers_of(task);
    if registers.is_null() {
        return NO_CALL;
    }
    read_current::<u64>(registers, offset!(regs_call)) as u32
}

/// Whether a task is one of the kernel's own, or works for `io_uring`.
#[inline(always)]
pub fn has_no_calls(task: Object) -> bool {
    read_current::<u32>(task, offset!(task_flags)) & NO_CALLS_FLAGS != 0
}

/// Begins the books of a thread that we never saw switch. If it sleeps, it does so since before we came; if it runs or wants
/// to, it is as if it had been preempted now.
#[inline(always)]
fn seed(thread: *mut Thread, task: Object, state: u32, now: u64) {
    unsafe {
        if (*thread).switch_ns != 0 {
            return;
        }
        if matches!(state, state::RUNNING | state::QUEUED) {
            (*thread).preempted = 1;
            (*thread).wait_key = OUTSIDE;
        } else {
            open_wait(thread, task, read_current(task, offset!(task_state)), None);
        }
    }
    Clocks::of(task).mark(thread, now);
}
