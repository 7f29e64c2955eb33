//! What a task's record says, apart from its calls.
//!
//! SAFETY: typed loads of the kernel's own structs; a thread's record is only read.

use profiler_common::offset::ABSENT;
use profiler_common::task::{NO_CALL, TaskRecord, state};

use super::clock::{Clocks, is_throttled};
use super::thread::{Thread, UNRESOLVED};
use crate::kernel::{Object, comm_of, follow_current, follow_task, offset, read_current};

/// `PF_KTHREAD`
const KERNEL_THREAD: u32 = 0x0020_0000;
/// `TASK_NOLOAD`: an uninterruptible sleep that means idleness.
const NOLOAD: u32 = 0x400;

/// Everything that the kernel itself keeps about a task.
#[inline(always)]
pub fn describe(record: &mut TaskRecord, task: Object, now: u64) {
    let leader = follow_task(task, offset!(task_group_leader));
    record.at_ns = now;
    record.start_ns = read_current(task, offset!(task_start_ns));
    record.process_start_ns = read_current(leader, offset!(task_start_ns));
    record.cpu_ns = read_current(task, offset!(task_exec_ns));
    record.run_delay_ns = read_current(task, offset!(task_run_delay_ns));
    record.user_ns = read_current(task, offset!(task_utime));
    record.system_ns = read_current(task, offset!(task_stime));
    record.switches_voluntary = read_current(task, offset!(task_nvcsw));
    record.switches_involuntary = read_current(task, offset!(task_nivcsw));
    record.minor_faults = read_current(task, offset!(task_min_flt));
    record.major_faults = read_current(task, offset!(task_maj_flt));
    record.storage_read_bytes = optional(task, offset!(task_read_bytes));
    record.storage_write_bytes = optional(task, offset!(task_write_bytes));
    record.pid = read_current(task, offset!(task_tgid));
    record.tid = read_current(task, offset!(task_pid));
    record.parent_pid = read_current(follow_task(task, offset!(task_parent)), offset!(task_tgid));
    record.uid = read_current(follow_task(task, offset!(task_cred)), offset!(cred_uid));
    record.netns = netns_of(task);
    record.kernel_thread = u32::from(read_current::<u32>(task, offset!(task_flags)) & KERNEL_THREAD != 0);
    record.comm = comm_of(task);
}

/// A counter that kernels may be built without.
#[inline(always)]
fn optional(task: Object, offset: u32) -> u64 {
    if offset == ABSENT { u64::MAX } else { read_current(task, offset) }
}

#[inline(always)]
fn netns_of(task: Object) -> u32 {
    let proxy = follow_task(task, offset!(task_nsproxy));
    if proxy.is_null() {
        return 0;
    }
    read_current(follow_current(proxy, offset!(nsproxy_net)), offset!(net_inum))
}

/// What we keep about a thread.
#[inline(always)]
pub fn books(record: &mut TaskRecord, thread: *mut Thread, task: Object) {
    unsafe {
        record.preempted = (*thread).preempted;
        record.preempted_ns = (*thread).preempted_ns;
        record.throttled_ns = (*thread).throttled_ns;
        record.excess_ns = (*thread).excess_ns;
        record.reclaim_cpu_ns = (*thread).reclaim_cpu_ns;
        if (*thread).switch_ns != 0 {
            let since = Clocks::of(task).since(thread, record.at_ns, record.state);
            record.open_wait_ns = since.wait_ns;
            record.open_cpu_ns = since.cpu_ns;
            record.throttled_ns += since.throttled_ns;
            record.excess_ns += since.excess_ns;
            let mut queued = since.queued_ns;
            if record.state == state::QUEUED {
                queued = since.booked_ns;
                record.open_queued_ns = since.queued_ns.wrapping_sub(queued);
                record.throttled = u32::from(is_throttled(task));
            }
            record.preempted_ns += if record.preempted == 0 { 0 } else { queued };
        }
        record.woke_ns = (*thread).woke_ns;
        record.woke_wait = (*thread).woke_wait;
        record.waker_pid = (*thread).waker_pid;
        record.waker_tid = (*thread).waker_tid;
        record.waker_call = (*thread).waker_call;
        record.blocked_ns = (*thread).blocked_ns;
        record.pending_ns = (*thread).pending_ns;
        record.off_since_ns = (*thread).switch_ns;
        // What a running thread waited in, only the record of its CPU knows.
        let waits = (*thread).wait_key == UNRESOLVED && record.state != state::RUNNING;
        record.wait = (*thread).wait;
        record.wait_kind = (*thread).wait_kind;
        record.wait_call = if waits { (*thread).wait_call } else { NO_CALL };
    }
}

/// Whether a task sleeps that is still on its run queue (6.12).
#[inline(always)]
fn is_delayed(task: Object) -> bool {
    offset!(task_sched_delayed) != ABSENT && read_current::<u8>(task, offset!(task_sched_delayed)) != 0
}

/// One of [`state`].
#[inline(always)]
pub fn state_of(task: Object) -> u32 {
    let word: u32 = read_current(task, offset!(task_state));
    // Their first bytes: 7.2 has no more of them.
    if read_current::<u8>(task, offset!(task_on_cpu)) != 0 {
        state::RUNNING
    } else if word == 0 || read_current::<u8>(task, offset!(task_on_rq)) != 0 && !is_delayed(task) {
        state::QUEUED
    } else if word & 2 != 0 && word & NOLOAD == 0 {
        state::UNINTERRUPTIBLE
    } else if word & (4 | 8) != 0 {
        state::STOPPED
    } else {
        state::SLEEPING
    }
}
