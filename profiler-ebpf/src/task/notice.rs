//! What a thread is about to sleep for, or to do, where the kernel says so just before: neither the call nor the file tells.
//!
//! SAFETY: a thread's record is written by the thread itself.

use profiler_common::task::state;

use super::clock::Clocks;
use super::thread::{Thread, get};
use crate::kernel::{Hook, config, current, hook, now};

/// `LCB_F_SPIN` (5.19, 16edd9b511a1): whoever waits for this lock spins.
const SPINS: u32 = 1;

hook!("balance_dirty_pages", balance_dirty_pages, balance_dirty_pages_raw, pause);
hook!("contention_begin", contention_begin, contention_begin_raw, contend);
hook!("contention_end", contention_end, contention_end_raw, acquire);

hook!("mm_vmscan_direct_reclaim_begin", mm_vmscan_direct_reclaim_begin, mm_vmscan_direct_reclaim_begin_raw, reclaim);
hook!("mm_vmscan_direct_reclaim_end", mm_vmscan_direct_reclaim_end, mm_vmscan_direct_reclaim_end_raw, reclaimed);
hook!("mm_vmscan_memcg_reclaim_begin", mm_vmscan_memcg_reclaim_begin, mm_vmscan_memcg_reclaim_begin_raw, reclaim);
hook!("mm_vmscan_memcg_reclaim_end", mm_vmscan_memcg_reclaim_end, mm_vmscan_memcg_reclaim_end_raw, reclaimed);

/// The record of the running thread, if it has one: nobody waits in idle.
#[inline(always)]
fn mine() -> Option<*mut Thread> {
    let thread = get(current());
    if thread.is_null() { None } else { Some(thread) }
}

/// `balance_dirty_pages(…, pause, start_time)`: the last thing before a pause of so many ticks, if any.
#[inline(always)]
fn pause<H: Hook>(hook: H) {
    const LONG: u32 = 10;
    let ticks = if config!(dirty_pause_arg) == LONG { hook.arg::<10>() } else { hook.arg::<6>() };
    if ticks.cast_signed() > 0
        && let Some(thread) = mine()
    {
        unsafe { (*thread).pauses = 1 };
    }
}

/// `contention_begin(lock, flags)`: sleeps for the lock, maybe more than once, until it is told that it has it.
#[inline(always)]
fn contend<H: Hook>(hook: H) {
    if hook.arg::<1>() as u32 & SPINS == 0
        && let Some(thread) = mine()
    {
        unsafe { (*thread).lock = hook.arg::<0>() };
    }
}

/// `contention_end(lock, result)`: that of another lock may come in between.
#[inline(always)]
fn acquire<H: Hook>(hook: H) {
    if let Some(thread) = mine()
        && unsafe { (*thread).lock } == hook.arg::<0>()
    {
        unsafe { (*thread).lock = 0 };
    }
}

/// `mm_vmscan_…_begin(order, gfp)`: frees memory, so that it can have some. What it waits meanwhile is told at its switches.
#[inline(always)]
fn reclaim<H: Hook>(_: H) {
    if let Some(thread) = mine() {
        unsafe { (*thread).reclaim_since_ns = now() };
    }
}

/// `mm_vmscan_…_end(pages)`
#[inline(always)]
fn reclaimed<H: Hook>(_: H) {
    if let Some(thread) = mine() {
        let now = now();
        Clocks::of(current()).since(thread, now, state::RUNNING).book_reclaim(thread, now);
        unsafe { (*thread).reclaim_since_ns = 0 };
    }
}
