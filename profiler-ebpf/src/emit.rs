//! The way out: counted losses, the exit ring, and the sequence files of iterators.
//!
//! SAFETY: pointers come from the helpers called just before, with the sizes that were asked for.

use core::ffi::c_void;

use aya_ebpf::helpers::generated as helpers;
use profiler_common::lost::Lost;

use crate::kernel::{Hook, TYPED, config};
use crate::maps::{EXITS, EXITS_BYTES, LOST};

/// `BPF_RB_NO_WAKEUP`
pub const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`
const FORCE_WAKEUP: u64 = 2;
/// `BPF_RB_AVAIL_DATA`
pub const AVAILABLE: u64 = 0;

/// Counts something that could not be recorded, and logs it when the count reaches or passes a power of two.
#[inline(always)]
pub fn lost(reason: Lost) {
    lost_all(reason, 1);
}

/// The same for many.
#[inline(always)]
pub fn lost_all(reason: Lost, times: u64) {
    if let Some(count) = LOST.get_ptr_mut(reason as u32) {
        let (before, count) = unsafe {
            let before = *count;
            *count += times;
            (before, *count)
        };
        if cfg!(not(feature = "hash-tasks")) && config!(log) != 0 && before ^ count > before {
            log(reason as u32, count);
        }
    }
}

/// Apart, so that the hot path carries no formatting.
#[inline(never)]
fn log(reason: u32, count: u64) {
    aya_log_ebpf::warn!(&Quiet, "lost: reason {} now {} times on this cpu", reason, count);
}

/// aya-log wants a context, and uses none.
struct Quiet;

/// Room for one last record, or `None`, counted.
#[inline(always)]
pub fn reserve<T: 'static>() -> Option<Exit<T>> {
    let entry = EXITS.reserve::<T>(0);
    if entry.is_none() {
        lost(Lost::ExitRing);
    }
    entry.map(Exit)
}

/// A record of the exit ring that is being filled.
pub struct Exit<T: 'static>(aya_ebpf::maps::ring_buf::RingBufEntry<T>);

impl<T> Exit<T> {
    /// Where to write.
    #[inline(always)]
    pub fn as_ptr(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }

    /// Hands the record over. Wakes user space only when the ring is half full: it reads once per tick anyway.
    #[inline(always)]
    pub fn submit(self) {
        let half = EXITS.query(AVAILABLE) >= u64::from(EXITS_BYTES / 2);
        self.0.submit(if half { FORCE_WAKEUP } else { NO_WAKEUP });
    }
}

/// Appends a record to the sequence file of an iterator. When its buffer is full, the kernel hands the same object to
/// the program again after a flush, so an error here loses nothing: programs are idempotent.
#[inline(always)]
pub fn write<T>(meta: *const u8, record: *const T) {
    // The first member of `bpf_iter_meta` is its `seq_file`.
    let sequence = TYPED.follow(meta, 0);
    unsafe { helpers::bpf_seq_write(sequence as *mut _, record.cast::<c_void>(), size_of::<T>() as u32) };
}
