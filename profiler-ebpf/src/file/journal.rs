//! Commits of journals (jbd2), by phase. All edges of a commit are passed by one thread, that of the journal, so nobody else
//! writes its record. Sums grow when a commit ends: what they say is of whole commits.
//!
//! SAFETY: phases and slots are below the sizes of their arrays.

use aya_ebpf::helpers::generated as helpers;
use profiler_common::hist::{LINEAR32_SLOTS, linear32_slot};
use profiler_common::journal::{JournalRecord, phase};
use profiler_common::lost::Lost;

use crate::emit::lost;
use crate::kernel::{Counter, Hook, config, hook, now, offset, unpreempted};
use crate::maps::{JOURNALS, Made as _};

hook!("jbd2_start_commit", jbd2_start_commit, jbd2_start_commit_raw, start);
hook!("jbd2_commit_locking", jbd2_commit_locking, jbd2_commit_locking_raw, locking);
hook!("jbd2_commit_flushing", jbd2_commit_flushing, jbd2_commit_flushing_raw, flushing);
hook!("jbd2_commit_logging", jbd2_commit_logging, jbd2_commit_logging_raw, logging);
hook!("jbd2_end_commit", jbd2_end_commit, jbd2_end_commit_raw, end);

/// `jbd2_start_commit(journal, transaction)`
#[inline(always)]
fn start<H: Hook>(hook: H) {
    unpreempted(|| begin(hook));
}

/// `jbd2_commit_locking(journal, transaction)`
#[inline(always)]
fn locking<H: Hook>(hook: H) {
    unpreempted(|| edge(hook, phase::LOCKED));
}

/// `jbd2_commit_flushing(journal, transaction)`
#[inline(always)]
fn flushing<H: Hook>(hook: H) {
    unpreempted(|| edge(hook, phase::FLUSHING));
}

/// `jbd2_commit_logging(journal, transaction)`
#[inline(always)]
fn logging<H: Hook>(hook: H) {
    unpreempted(|| edge(hook, phase::LOGGING));
}

/// `jbd2_end_commit(journal, transaction)`: those who wait are woken next.
#[inline(always)]
fn end<H: Hook>(hook: H) {
    unpreempted(|| finish(hook));
}

#[inline(always)]
fn begin<H: Hook>(hook: H) {
    let device = device_of(hook);
    let Some(record) = JOURNALS.get_or_make(&device, &EMPTY) else { return lost(Lost::Journal) };
    let requested: u64 = hook.read(hook.object::<1>(), offset!(transaction_requested));
    let now = now();
    unsafe {
        // At 0 nobody has asked, to the kernel as well.
        (*record).request_ticks = if config!(tick_ns) == 0 || requested == 0 {
            0
        } else {
            helpers::bpf_jiffies64().wrapping_sub(requested) + 1
        };
        (*record).phase = phase::STARTING as u64;
        (*record).edge_ns = now;
        (*record).begun_ns = now;
    }
}

/// The commit under way reaches a phase. One of which an edge was missed, since the program could not run, does not count;
/// that it could not is counted.
#[inline(always)]
fn edge<H: Hook>(hook: H, phase: usize) {
    let Some(record) = JOURNALS.get_ptr_mut(device_of(hook)) else { return };
    let now = now();
    unsafe {
        if (*record).begun_ns == 0 || (*record).phase + 1 != phase as u64 {
            (*record).begun_ns = 0;
            return;
        }
        (*record).passed[phase - 1] = now.wrapping_sub((*record).edge_ns);
        (*record).phase = phase as u64;
        (*record).edge_ns = now;
    }
}

#[inline(always)]
fn finish<H: Hook>(hook: H) {
    let Some(record) = JOURNALS.get_ptr_mut(device_of(hook)) else { return };
    let now = now();
    unsafe {
        let begun = (*record).begun_ns;
        (*record).begun_ns = 0;
        if begun == 0 || (*record).phase != phase::LOGGING as u64 {
            return;
        }
        (*record).passed[phase::LOGGING] = now.wrapping_sub((*record).edge_ns);
        for phase in 0..phase::PHASES {
            (*record).phases[phase] += (*record).passed[phase];
        }
        let ticks = (*record).request_ticks;
        if ticks > 0 {
            (*record).requested += 1;
            (*record).request_ns += (ticks - 1) * u64::from(config!(tick_ns));
        }
        let slot = linear32_slot(now.wrapping_sub(begun));
        if slot < LINEAR32_SLOTS {
            u32::add((&raw mut (*record).commit).cast::<u32>().add(slot), 1);
        }
        (*record).commits += 1;
    }
}

/// The device of the file system: its journal may be on another one.
#[inline(always)]
fn device_of<H: Hook>(hook: H) -> u32 {
    hook.read(hook.follow(hook.object::<0>(), offset!(journal_device)), offset!(device_number))
}

/// Too large for the stack.
static EMPTY: JournalRecord = JournalRecord::EMPTY;
