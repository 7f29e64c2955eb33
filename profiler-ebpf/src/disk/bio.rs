//! How long whoever asks for I/O waits until there is a request for it: for a tag, or for a limit of the device.
//!
//! SAFETY: the record of a thread is written by itself, or by an interrupt of it.

use profiler_common::disk::UNKNOWN_NS;

use super::SECTOR_SHIFT;
use crate::kernel::{Hook, Object, config, current, hook, now, offset, read_current, unpreempted};
use crate::task::thread::get;

/// `PF_WQ_WORKER`
const WORKER: u32 = 0x20;

hook!("block_bio_queue", block_bio_queue, block_bio_queue_raw, queued);

/// `block_bio_queue(bio)`: past the limits of control groups on bytes and operations (io.max), in the context of whoever asks.
#[inline(always)]
fn queued<H: Hook>(hook: H) {
    unpreempted(|| {
        let (thread, bio) = (get(current()), hook.object::<0>());
        if !thread.is_null() {
            unsafe {
                (*thread).bio_at_ns = now();
                (*thread).bio_sector = hook.read(bio, offset!(bio_sector));
                (*thread).bio_bytes = hook.read::<u32>(bio, offset!(bio_bytes)).into();
            }
        }
    });
}

/// How long the running thread has waited for a request that it begins now, or [`UNKNOWN_NS`] if that is not for what it asked
/// last, or for a part of it.
///
/// The request's own time will not do: some kernels note it a moment later, and it is still that of its last use.
#[inline(always)]
pub fn wait_ns<H: Hook>(hook: H, request: Object) -> u64 {
    let thread = get(current());
    if thread.is_null() {
        return UNKNOWN_NS;
    }
    let (asked, first, bytes) = unsafe { ((*thread).bio_at_ns, (*thread).bio_sector, (*thread).bio_bytes) };
    let into = hook.read::<u64>(request, offset!(request_sector)).wrapping_sub(first);
    let is_part = into == 0 || into < bytes >> SECTOR_SHIFT;
    if asked != 0 && is_part { now().wrapping_sub(asked) } else { UNKNOWN_NS }
}

/// Whether a worker of the kernel begins a request for something that a limit of a control group applies to.
#[inline(always)]
pub fn is_released<H: Hook>(hook: H, request: Object) -> bool {
    if config!(throttled_mask) == 0 || read_current::<u32>(current(), offset!(task_flags)) & WORKER == 0 {
        return false;
    }
    let bio = hook.follow(request, offset!(request_bio));
    !bio.is_null() && u32::from(hook.read::<u16>(bio, offset!(bio_flags))) & config!(throttled_mask) != 0
}
