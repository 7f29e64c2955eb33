//! Who wakes a thread, and when.
//!
//! SAFETY: of a record, others than its thread write these words alone, one at a time: whoever wakes a thread holds its lock.

use super::call_of;
use super::thread::get;
use crate::kernel::{Hook, current, hook, now, offset, read_current};

hook!("sched_waking", sched_waking, sched_waking_raw, wake);

/// `sched_waking(task)`, in the context of whoever wakes it, be that an interrupt. Only the first time since its switch counts:
/// what has run since may be woken again before it has slept.
#[inline(always)]
fn wake<H: Hook>(hook: H) {
    let thread = get(hook.object::<0>());
    if thread.is_null() {
        return;
    }
    unsafe {
        if (*thread).woke_ns > (*thread).switch_ns {
            return;
        }
        let waker = current();
        (*thread).woke_ns = now();
        (*thread).woke_wait = (*thread).wait;
        (*thread).waker_pid = read_current(waker, offset!(task_tgid));
        (*thread).waker_tid = read_current(waker, offset!(task_pid));
        (*thread).waker_call = call_of(waker);
    }
}
