//! Row `task`: where each thread's wall time goes, by the scheduler's own books.
//!
//! One hook, at the switch away from a thread: since the last one, run-queue time is the growth of
//! `sched_info.run_delay`, on-CPU time the growth of `se.sum_exec_runtime`, and blocked time is what remains of the wall.
//! The call in which it blocks is still in its registers.
//!
//! SAFETY: a thread's record is written by the thread itself, at its own calls and switches, and only read by the iterator.

use aya_ebpf::helpers::generated as helpers;
use profiler_common::hist::{LOG2_SLOTS, log2_slot};
use profiler_common::lost::Lost;
use profiler_common::syscall::{CallRecord, SLOTS};
use profiler_common::task::{CLOCK_SLACK_NS, NO_CALL, TaskRecord, state};
use profiler_common::tcp;

use crate::emit::{self, lost};
use crate::kernel::{
    Counter, Hook, Object, TYPED, config, current, follow_current, hook, now, offset, probe, read_current,
};
use crate::syscall::{class_of, shared_record, slot_of};

/// [`Thread::wait_key`]: the call that waits has not returned, so its key is not known.
pub const UNRESOLVED: u32 = u32::MAX;
/// [`Thread::wait_key`]: the wait was outside of any call.
const OUTSIDE: u32 = u32::MAX - 1;

/// `PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER`: no system calls, and nothing meaningful in their registers.
const NO_CALLS_FLAGS: u32 = 0x0020_0000 | 0x10 | 0x4000;
/// `PF_KTHREAD`
const KERNEL_THREAD: u32 = 0x0020_0000;
/// `TASK_DEAD`
const DEAD: u32 = 0x80;
/// `TASK_NOLOAD`: an uninterruptible sleep that means idleness.
const NOLOAD: u32 = 0x400;

/// What is kept of a thread between its edges.
#[repr(C)]
pub struct Thread {
    /// Time of the last switch away from it, or 0.
    switch_ns: u64,
    /// `se.sum_exec_runtime` then.
    exec_mark_ns: u64,
    /// `sched_info.run_delay` then.
    delay_mark_ns: u64,
    /// See [`TaskRecord`].
    preempted_ns: u64,
    blocked_ns: u64,
    pending_ns: u64,
    /// Entry of a call whose latency is sampled, or 0.
    pub entered_ns: u64,
    /// Calls that returned, of any kind.
    pub returns: u64,
    /// [`Self::returns`] plus waits credited, as of the export before the one that is running.
    exported: u64,
    /// Iterator session that saw it last.
    session: u64,
    /// Number of the call in which it waits, or [`NO_CALL`].
    wait_call: u32,
    /// Key of the call in which it waited, [`UNRESOLVED`] until it returns, or [`OUTSIDE`].
    pub wait_key: u32,
    /// The call that it is in, where the entry hook has to tell (before 5.15).
    pub entered_call: u32,
    /// The last switch was a preemption.
    preempted: u32,
    /// Something changed since the session before.
    changed: u32,
    reserved: u32,
    /// Its calls.
    pub slots: [CallRecord; SLOTS],
}

#[cfg(not(feature = "hash-tasks"))]
mod storage {
    //! Records in task storage (5.11, 4cf1bc1f1045): found without hashing, gone with the task.

    use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE};
    use aya_ebpf::helpers::generated as helpers;

    use super::Thread;
    use crate::kernel::Object;

    /// The definition that the loader reads out of BTF; aya-ebpf has no type for this kind of map.
    #[repr(C)]
    pub struct TaskStorage {
        r#type: *const [i32; 29],
        key: *const i32,
        value: *const Thread,
        max_entries: *const [i32; 0],
        map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
    }

    // SAFETY: a placeholder that is never dereferenced.
    unsafe impl Sync for TaskStorage {}

    #[unsafe(no_mangle)]
    #[unsafe(link_section = ".maps")]
    static TASKS: TaskStorage = TaskStorage {
        r#type: core::ptr::null(),
        key: core::ptr::null(),
        value: core::ptr::null(),
        max_entries: core::ptr::null(),
        map_flags: core::ptr::null(),
    };

    #[inline(always)]
    pub fn get_or_create(task: Object) -> *mut Thread {
        let map = (&raw const TASKS).cast_mut().cast();
        unsafe {
            helpers::bpf_task_storage_get(
                map,
                task as *mut _,
                core::ptr::null_mut(),
                BPF_LOCAL_STORAGE_GET_F_CREATE.into(),
            )
            .cast()
        }
    }

    #[inline(always)]
    pub fn forget(_task: Object) {}
}

#[cfg(feature = "hash-tasks")]
mod storage {
    //! Records in a hash map by thread id, removed when the thread ends.

    use aya_ebpf::bindings::BPF_NOEXIST;
    use aya_ebpf::macros::map;
    use aya_ebpf::maps::{HashMap, PerCpuArray};

    use super::Thread;
    use crate::kernel::{Object, offset, read_current};

    /// 16 384 threads.
    #[map]
    static TASKS: HashMap<u32, Thread> = HashMap::with_max_entries(16_384, 1);

    /// A record of zeros: too large for the stack.
    #[map]
    static FRESH: PerCpuArray<Thread> = PerCpuArray::with_max_entries(1, 0);

    #[inline(always)]
    pub fn get_or_create(task: Object) -> *mut Thread {
        let tid: u32 = read_current(task, offset!(task_pid));
        if let Some(thread) = TASKS.get_ptr_mut(tid) {
            return thread;
        }
        if let Some(fresh) = FRESH.get(0) {
            let _ = TASKS.insert(tid, fresh, BPF_NOEXIST.into());
        }
        TASKS.get_ptr_mut(tid).unwrap_or(core::ptr::null_mut())
    }

    #[inline(always)]
    pub fn forget(task: Object) {
        let tid: u32 = read_current(task, offset!(task_pid));
        let _ = TASKS.remove(tid);
    }
}

/// The record of a task, made if need be; `None`, counted, when there is no room.
#[inline(always)]
pub fn thread_of(task: Object) -> Option<*mut Thread> {
    let thread = storage::get_or_create(task);
    if thread.is_null() {
        lost(Lost::TaskRecord);
        return None;
    }
    Some(thread)
}

hook!("sched_switch", sched_switch, sched_switch_raw, switch);

#[inline(always)]
fn switch<H: Hook>(hook: H) {
    let task = current();
    // Idle is not a thread that waits for anything.
    if read_current::<u32>(task, offset!(task_pid)) == 0 {
        return;
    }
    let Some(thread) = thread_of(task) else { return };
    let state = previous_state(hook, task);
    let preempted = hook.arg::<0>() & 1 != 0 || state == 0;
    let now = now();
    close_wait(thread, task, now);
    if preempted {
        unsafe {
            (*thread).preempted = 1;
            if (*thread).wait_key != UNRESOLVED {
                (*thread).wait_key = OUTSIDE;
            }
        }
    } else {
        open_wait(thread, task);
    }
    if state & DEAD != 0 {
        last_record(thread, task, now);
        storage::forget(task);
    }
}

/// `prev->__state` may be changed by a waker before we read it; the argument cannot (fa2c3254d7cf).
#[inline(always)]
fn previous_state<H: Hook>(hook: H, task: Object) -> u32 {
    if config!(switch_prev_state) != 0 { hook.arg::<3>() as u32 } else { read_current(task, offset!(task_state)) }
}

/// Books everything since the last switch away.
#[inline(always)]
fn close_wait(thread: *mut Thread, task: Object, now: u64) {
    let exec: u64 = read_current(task, offset!(task_exec_ns));
    let delay: u64 = read_current(task, offset!(task_run_delay_ns));
    unsafe {
        let since = (*thread).switch_ns;
        if since != 0 {
            let delayed = delay.wrapping_sub((*thread).delay_mark_ns);
            let ran = exec.wrapping_sub((*thread).exec_mark_ns);
            let blocked = now.wrapping_sub(since).wrapping_sub(delayed).wrapping_sub(ran) as i64;
            if (*thread).preempted != 0 {
                (*thread).preempted_ns += delayed;
            } else if blocked > 0 {
                (*thread).blocked_ns += blocked as u64;
                (*thread).pending_ns += blocked as u64;
            }
            if blocked < -CLOCK_SLACK_NS {
                lost(Lost::ClockSkew);
            }
        }
        (*thread).switch_ns = now;
        (*thread).exec_mark_ns = exec;
        (*thread).delay_mark_ns = delay;
    }
    credit(thread, task);
}

/// Books a finished wait to the call that it was in, once that has returned and told its key.
#[inline(always)]
fn credit(thread: *mut Thread, task: Object) {
    let (key, waited) = unsafe { ((*thread).wait_key, (*thread).pending_ns) };
    if key == UNRESOLVED || waited == 0 {
        return;
    }
    unsafe {
        (*thread).pending_ns = 0;
        (*thread).exported = (*thread).exported.wrapping_sub(1);
    }
    if key == OUTSIDE {
        return;
    }
    let bucket = log2_slot(waited);
    if bucket >= LOG2_SLOTS {
        return;
    }
    if let Some(slot) = slot_of(thread, key, class_of(key & 0xffff)) {
        unsafe {
            (*slot).blocked_ns += waited;
            *(&raw mut (*slot).blocked).cast::<u32>().add(bucket) += 1;
        }
    } else if let Some(record) = shared_record(task, key) {
        unsafe {
            u64::add(&raw mut (*record).blocked_ns, waited);
            u32::add((&raw mut (*record).blocked).cast::<u32>().add(bucket), 1);
        }
    }
}

/// Remembers in which call a thread blocks.
#[inline(always)]
fn open_wait(thread: *mut Thread, task: Object) {
    let call = call_of(thread, task);
    unsafe {
        (*thread).preempted = 0;
        (*thread).wait_call = call;
        (*thread).wait_key = if call == NO_CALL { OUTSIDE } else { UNRESOLVED };
    }
}

/// The call that a task is in, or [`NO_CALL`].
#[inline(always)]
fn call_of(thread: *mut Thread, task: Object) -> u32 {
    if read_current::<u32>(task, offset!(task_flags)) & NO_CALLS_FLAGS != 0 {
        return NO_CALL;
    }
    if config!(task_pt_regs) == 0 {
        return unsafe { (*thread).entered_call };
    }
    let registers = unsafe { helpers::bpf_task_pt_regs(task as *mut _) } as Object;
    if registers.is_null() {
        return NO_CALL;
    }
    read_current::<u64>(registers, offset!(regs_call)) as u32
}

/// The record of a thread that ends, with room for `N` calls.
#[repr(C)]
struct LastRecord<const N: usize> {
    tag: u64,
    task: TaskRecord,
    calls: [CallRecord; N],
}

/// Most threads that come and go use few calls.
const FEW: usize = 8;

#[inline(always)]
fn last_record(thread: *mut Thread, task: Object, now: u64) {
    let mut record = TaskRecord::default();
    describe(&mut record, task, now);
    books(&mut record, thread);
    record.state = state::ENDED;
    record.calls = 0;
    for index in 0..SLOTS {
        record.calls += unsafe { (*slot(thread, index)).used };
    }
    if record.calls as usize <= FEW { fill::<FEW>(thread, &record) } else { fill::<SLOTS>(thread, &record) }
}

#[inline(always)]
fn fill<const N: usize>(thread: *mut Thread, record: &TaskRecord) {
    let Some(mut exit) = emit::reserve::<LastRecord<N>>() else { return };
    let to = exit.as_ptr();
    unsafe {
        (*to).tag = tcp::exit::TASK;
        (*to).task = *record;
        let mut filled = 0;
        for index in 0..SLOTS {
            let from = slot(thread, index);
            if (*from).used != 0 && filled < N {
                (&raw mut (*to).calls).cast::<CallRecord>().add(filled).write(*from);
                filled += 1;
            }
        }
    }
    exit.submit();
}

#[inline(always)]
fn slot(thread: *mut Thread, index: usize) -> *mut CallRecord {
    unsafe { (&raw mut (*thread).slots).cast::<CallRecord>().add(index) }
}

/// Everything that the kernel itself keeps about a task.
#[inline(always)]
fn describe(record: &mut TaskRecord, task: Object, now: u64) {
    let leader = follow_current(task, offset!(task_group_leader));
    record.at_ns = now;
    record.start_ns = read_current(task, offset!(task_start_ns));
    record.process_start_ns = read_current(leader, offset!(task_start_ns));
    record.cpu_ns = read_current(task, offset!(task_exec_ns));
    record.run_delay_ns = read_current(task, offset!(task_run_delay_ns));
    record.switches_voluntary = read_current(task, offset!(task_nvcsw));
    record.switches_involuntary = read_current(task, offset!(task_nivcsw));
    record.minor_faults = read_current(task, offset!(task_min_flt));
    record.major_faults = read_current(task, offset!(task_maj_flt));
    record.storage_read_bytes = optional(task, offset!(task_read_bytes));
    record.storage_write_bytes = optional(task, offset!(task_write_bytes));
    record.pid = read_current(task, offset!(task_tgid));
    record.tid = read_current(task, offset!(task_pid));
    record.parent_pid = read_current(follow_current(task, offset!(task_parent)), offset!(task_tgid));
    record.uid = read_current(follow_current(task, offset!(task_cred)), offset!(cred_uid));
    record.netns = netns_of(task);
    record.cgroup_id = cgroup_of(task);
    record.kernel_thread = u32::from(read_current::<u32>(task, offset!(task_flags)) & KERNEL_THREAD != 0);
    record.comm = probe(task, offset!(task_comm));
}

/// A counter that kernels may be built without.
#[inline(always)]
fn optional(task: Object, offset: u32) -> u64 {
    if offset == profiler_common::offset::ABSENT { u64::MAX } else { read_current(task, offset) }
}

#[inline(always)]
fn netns_of(task: Object) -> u32 {
    let proxy = follow_current(task, offset!(task_nsproxy));
    if proxy.is_null() {
        return 0;
    }
    read_current(follow_current(proxy, offset!(nsproxy_net)), offset!(net_inum))
}

#[inline(always)]
fn cgroup_of(task: Object) -> u64 {
    let set = follow_current(task, offset!(task_cgroups));
    if set.is_null() {
        return 0;
    }
    let group = follow_current(set, offset!(css_set_cgroup));
    read_current(follow_current(group, offset!(cgroup_kn)), offset!(kn_id))
}

/// What we keep about a thread.
#[inline(always)]
fn books(record: &mut TaskRecord, thread: *mut Thread) {
    unsafe {
        record.preempted_ns = (*thread).preempted_ns;
        record.blocked_ns = (*thread).blocked_ns;
        record.pending_ns = (*thread).pending_ns;
        record.off_since_ns = (*thread).switch_ns;
        record.wait_call = if (*thread).wait_key == UNRESOLVED { (*thread).wait_call } else { NO_CALL };
    }
}

/// What `iter/task` hands over: a `bpf_iter_meta`, and a task, null at the end.
#[repr(C)]
struct TaskContext {
    meta: Object,
    task: Object,
}

/// Exports every thread: its books always, its calls if any changed. Seeds those that existed before we came.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn iter_task(context: *mut TaskContext) -> i32 {
    let (meta, task) = unsafe { ((*context).meta, (*context).task) };
    if task.is_null() || TYPED.read::<u32>(task, offset!(task_pid)) == 0 {
        return 0;
    }
    let mut record = TaskRecord::default();
    let now = now();
    describe(&mut record, task, now);
    record.state = state_of(task);
    record.wait_call = NO_CALL;
    let Some(thread) = thread_of(task) else {
        emit::write(meta, &raw const record);
        return 0;
    };
    seed(thread, task, record.state, now);
    books(&mut record, thread);
    let changed = changed(thread, session_of(meta));
    if changed {
        for index in 0..SLOTS {
            record.calls += unsafe { (*slot(thread, index)).used };
        }
    }
    emit::write(meta, &raw const record);
    if changed {
        let mut left = record.calls;
        for index in 0..SLOTS {
            let slot = slot(thread, index);
            // A slot that was claimed since we counted waits for the next tick.
            if unsafe { (*slot).used } != 0 && left > 0 {
                left -= 1;
                emit::write(meta, slot);
            }
        }
    }
    0
}

/// `bpf_iter_meta.session_id`: one pass over all tasks.
#[inline(always)]
fn session_of(meta: Object) -> u64 {
    TYPED.read(meta, 8)
}

/// Whether the calls of a thread changed since the session before. Asked twice in one session, it answers the same.
#[inline(always)]
fn changed(thread: *mut Thread, session: u64) -> bool {
    unsafe {
        if (*thread).session != session {
            let returns = (*thread).returns;
            (*thread).changed = u32::from((*thread).exported != returns);
            (*thread).exported = returns;
            (*thread).session = session;
        }
        (*thread).changed != 0
    }
}

/// A thread that we never saw switch and that is not running waits since before we came.
#[inline(always)]
fn seed(thread: *mut Thread, task: Object, state: u32, now: u64) {
    unsafe {
        if (*thread).switch_ns != 0 || state == state::RUNNING {
            return;
        }
        (*thread).exec_mark_ns = read_current(task, offset!(task_exec_ns));
        (*thread).delay_mark_ns = read_current(task, offset!(task_run_delay_ns));
        if state == state::QUEUED {
            (*thread).preempted = 1;
            (*thread).wait_key = OUTSIDE;
        } else {
            open_wait(thread, task);
        }
        (*thread).switch_ns = now;
    }
}

/// One of [`state`].
#[inline(always)]
fn state_of(task: Object) -> u32 {
    let word: u32 = read_current(task, offset!(task_state));
    if read_current::<u32>(task, offset!(task_on_cpu)) != 0 {
        state::RUNNING
    } else if word == 0 || read_current::<u32>(task, offset!(task_on_rq)) != 0 {
        state::QUEUED
    } else if word & 2 != 0 && word & NOLOAD == 0 {
        state::UNINTERRUPTIBLE
    } else if word & (4 | 8) != 0 {
        state::STOPPED
    } else {
        state::SLEEPING
    }
}
