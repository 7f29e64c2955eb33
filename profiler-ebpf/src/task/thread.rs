//! What is kept of a thread, and where.
//!
//! SAFETY: the record of a task comes from the helper called just before, and is null only where that is checked.

use profiler_common::lost::Lost;
use profiler_common::syscall::{CallCount, CallRecord, IO_SLOTS, OTHER_SLOTS};
use profiler_common::task::TaskSums;

use crate::emit::lost;
use crate::kernel::Object;

/// [`Thread::wait_key`]: the call that waits has not returned, so its key is not known.
pub const UNRESOLVED: u32 = u32::MAX;
/// [`Thread::wait_key`]: the wait was outside of any call.
pub const OUTSIDE: u32 = u32::MAX - 1;

/// What is kept of a thread between its edges.
#[repr(C)]
pub struct Thread {
    /// Time of the last switch away from it, or 0.
    pub switch_ns: u64,
    /// When it was woken first since then; if not later than that, nobody has seen it be woken.
    pub woke_ns: u64,
    /// `se.sum_exec_runtime` then.
    pub exec_mark_ns: u64,
    /// `sched_info.run_delay` then.
    pub delay_mark_ns: u64,
    /// See [`profiler_common::task::TaskRecord`].
    pub preempted_ns: u64,
    /// See there.
    pub throttled_ns: u64,
    /// See there.
    pub excess_ns: u64,
    /// See there.
    pub blocked_ns: u64,
    /// See there.
    pub pending_ns: u64,
    /// Address of the queue, `se.cfs_rq`, on which it was at its last switch, see [`crate::kernel::address_of`].
    pub queue: u64,
    /// How long that queue had been without quota then.
    pub throttled_mark_ns: u64,
    /// `ioac.read_bytes` at its last wait for I/O.
    pub read_mark: u64,
    /// When it began to free memory for itself, or 0.
    pub reclaim_since_ns: u64,
    /// See [`profiler_common::task::TaskRecord`].
    pub reclaim_cpu_ns: u64,
    /// Address of the kernel lock that it is about to sleep for, or 0.
    pub lock: u64,
    /// When it last asked a device for something, or 0.
    pub bio_at_ns: u64,
    /// First sector of that.
    pub bio_sector: u64,
    /// Its length, bytes.
    pub bio_bytes: u64,
    /// Number of the call in which it waits, or [`profiler_common::task::NO_CALL`].
    pub wait_call: u32,
    /// Key of the call in which it waited, [`UNRESOLVED`] until it returns, or [`OUTSIDE`].
    pub wait_key: u32,
    /// The last switch was a preemption.
    pub preempted: u32,
    /// What it waits for, or waited for last: one of [`profiler_common::wait`].
    pub wait: u32,
    /// Kind of the file that this is about, or [`profiler_common::task::KIND_UNKNOWN`].
    pub wait_kind: u32,
    /// [`Self::wait`] when it was woken last.
    pub woke_wait: u32,
    /// Who woke it last; 0 on an idle CPU. In an interrupt that is whom it interrupted.
    pub waker_pid: u32,
    /// Its thread id.
    pub waker_tid: u32,
    /// The call that the waker was in, or [`profiler_common::task::NO_CALL`].
    pub waker_call: u32,
    /// 1 if its next sleep is a pause for having dirtied too much.
    pub pauses: u32,
    /// Slots that the iterator is about to write, a bit for each: the verifier must not know them.
    pub changed: u32,
    /// See there.
    pub sums: TaskSums,
    /// Its calls that move data or wait.
    pub io: [CallRecord; IO_SLOTS],
    /// Its other calls.
    pub other: [CallCount; OTHER_SLOTS],
}

// The kernel's allocator for task storage ends at 4096 bytes, its own header included.
const _: () = assert!(size_of::<Thread>() <= 3900);

#[cfg(not(feature = "hash-tasks"))]
mod storage {
    //! Records in task storage (5.11, 4cf1bc1f1045): found without hashing, gone with the task.

    use aya_ebpf::bindings::BPF_LOCAL_STORAGE_GET_F_CREATE;
    use aya_ebpf::helpers::generated as helpers;

    use super::Thread;
    use crate::kernel::Object;
    use crate::maps::{LocalStorage, TASK_STORAGE};

    #[unsafe(no_mangle)]
    #[unsafe(link_section = ".maps")]
    static TASKS: LocalStorage<TASK_STORAGE, Thread> = LocalStorage::new();

    #[inline(always)]
    fn look_up(task: Object, flags: u32) -> *mut Thread {
        let map = (&raw const TASKS).cast_mut().cast();
        unsafe { helpers::bpf_task_storage_get(map, task as *mut _, core::ptr::null_mut(), flags.into()).cast() }
    }

    #[inline(always)]
    pub fn get(task: Object) -> *mut Thread {
        look_up(task, 0)
    }

    #[inline(always)]
    pub fn get_or_create(task: Object) -> *mut Thread {
        look_up(task, BPF_LOCAL_STORAGE_GET_F_CREATE)
    }

    #[inline(always)]
    pub fn forget(_task: Object) {}
}

#[cfg(feature = "hash-tasks")]
mod storage {
    //! Records in a hash map by thread id, removed when the thread ends.

    use core::ptr::null_mut;

    use aya_ebpf::macros::map;
    use aya_ebpf::maps::{HashMap, PerCpuArray};

    use super::Thread;
    use crate::kernel::{Object, offset, read_current};
    use crate::maps::Made as _;

    /// 16 384 threads.
    #[map]
    static TASKS: HashMap<u32, Thread> = HashMap::with_max_entries(16_384, 1);

    /// A record of zeros: too large for the stack.
    #[map]
    static FRESH: PerCpuArray<Thread> = PerCpuArray::with_max_entries(1, 0);

    #[inline(always)]
    pub fn get(task: Object) -> *mut Thread {
        TASKS.get_ptr_mut(read_current::<u32>(task, offset!(task_pid))).unwrap_or(null_mut())
    }

    #[inline(always)]
    pub fn get_or_create(task: Object) -> *mut Thread {
        let tid: u32 = read_current(task, offset!(task_pid));
        if let Some(thread) = TASKS.get_ptr_mut(tid) {
            return thread;
        }
        FRESH.get(0).and_then(|fresh| TASKS.get_or_make(&tid, fresh)).unwrap_or(null_mut())
    }

    #[inline(always)]
    pub fn forget(task: Object) {
        let tid: u32 = read_current(task, offset!(task_pid));
        let _ = TASKS.remove(tid);
    }
}

pub use storage::{forget, get, get_or_create};

/// The record of a task, made if need be; `None`, counted, when there is no room.
#[inline(always)]
pub fn thread_of(task: Object) -> Option<*mut Thread> {
    let thread = get_or_create(task);
    if thread.is_null() {
        lost(Lost::TaskRecord);
        return None;
    }
    Some(thread)
}
