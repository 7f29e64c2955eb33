//! What a thread that runs has spent off its CPU so far: two readings tell where it was in between.
//!
//! Its record has that up to its last switch away. The wait that followed ended when it was woken, and what it spent on the run
//! queue is in the kernel's books since it came to its CPU; time on the CPU is what remains of the time in between.
//!
//! SAFETY: a thread's record is written by the thread itself, which runs.

use profiler_common::exchange::{SPENT_SHIFT, Spent};
use profiler_common::task::state;
use profiler_common::wait::{self, NAMES};

use super::clock::Clocks;
use super::thread::get;
use crate::kernel::{current, offset, read_current};
use crate::maps::SPENT;

/// [`read`] tells nothing.
pub const UNKNOWN: u32 = u32::MAX;
/// The same, as the clocks disagree.
pub const SKEWED: u32 = u32::MAX - 1;

/// Reads it of the running thread; how much of the last wait is in doubt, in the same units, or [`UNKNOWN`] or [`SKEWED`].
/// Whoever is woken in the very moment in which it leaves its CPU is not seen to be: what it spent since then, on a CPU or
/// waiting, is left out.
#[inline(always)]
pub unsafe fn read(to: *mut Spent, now: u64) -> u32 {
    let doubt = spent_so_far(now);
    if let Some(spent) = SPENT.get_ptr(0) {
        unsafe { *to = *spent };
    }
    doubt
}

/// Reads what it has spent since another reading of the same thread; how much of that is in doubt, as [`read`] says.
#[inline(always)]
pub unsafe fn since(to: *mut Spent, then: *const Spent, now: u64) -> u32 {
    let doubt = spent_so_far(now);
    if let Some(spent) = SPENT.get_ptr(0) {
        for part in 0..size_of::<Spent>() / size_of::<u32>() {
            unsafe {
                let so_far = *spent.cast::<u32>().add(part);
                *to.cast::<u32>().add(part) = so_far.wrapping_sub(*then.cast::<u32>().add(part));
            }
        }
    }
    doubt
}

/// The same into [`SPENT`]. A function of its own: the verifier follows it once for all who call it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn spent_so_far(now: u64) -> u32 {
    let task = current();
    let thread = get(task);
    let Some(to) = SPENT.get_ptr_mut(0) else { return UNKNOWN };
    if thread.is_null() {
        return UNKNOWN;
    }
    let to = to.cast::<u32>();
    unsafe {
        let preempted = (*thread).preempted != 0;
        if (*thread).switch_ns == 0 {
            return UNKNOWN;
        }
        let clocks = Clocks::of(task);
        let since = clocks.since(thread, now, state::RUNNING);
        if since.skewed {
            return SKEWED;
        }
        let throttled_ns = (*thread).throttled_ns + since.throttled_ns;
        let preempted_ns = (*thread).preempted_ns + if preempted { since.queued_ns } else { 0 };
        let known_ns = throttled_ns + preempted_ns + (*thread).excess_ns + since.excess_ns;
        let delay_ns: u64 = read_current(task, offset!(task_run_delay_ns));
        *to = unit(delay_ns.wrapping_sub(known_ns));
        *to.add(1) = unit(preempted_ns);
        *to.add(2) = unit(throttled_ns);
        let to = to.add(3);
        for kind in 0..NAMES.len() {
            *to.add(kind) = unit((*thread).sums.waits[kind]);
        }
        let woken = preempted || (*thread).woke_ns > (*thread).switch_ns;
        let open = (*thread).wait as usize;
        if woken && open < NAMES.len() {
            *to.add(open) = (*to.add(open)).wrapping_add(unit(since.wait_ns));
        }
        let stolen = to.add(wait::STOLEN as usize);
        *stolen = (*stolen).wrapping_sub(unit(since.explained_ns));
        if woken { 0 } else { unit(since.wait_ns) }
    }
}

#[inline(always)]
fn unit(ns: u64) -> u32 {
    (ns >> SPENT_SHIFT) as u32
}
