//! Row `task`: where a thread's wall time goes, by the scheduler's own books.

use crate::COMM_LEN;
use crate::file::page::WAYS;
use crate::wait::WAITS;

/// Disagreement of the scheduler's clocks that is rounding, not a fault: `rq_clock` is read up to a tick before ours.
pub const CLOCK_SLACK_NS: u64 = 100_000;

/// The scheduler's clock runs at its own rate, the monotonic one is steered: up to 1/1024 apart.
pub const CLOCK_RATE_SHIFT: u32 = 10;

/// The thread is not in a system call.
pub const NO_CALL: u32 = u32::MAX;

/// Nobody has looked at the file that a call is about.
pub const KIND_UNKNOWN: u32 = u32::MAX;

/// What a thread was doing when it was exported.
pub mod state {
    /// On a CPU, or its latest switch is not known yet.
    pub const RUNNING: u32 = 0;
    /// Wants a CPU: preempted, or woken and not yet running.
    pub const QUEUED: u32 = 1;
    /// Sleeps interruptibly.
    pub const SLEEPING: u32 = 2;
    /// Sleeps uninterruptibly: usually block I/O or a kernel lock.
    pub const UNINTERRUPTIBLE: u32 = 3;
    /// Stopped by a signal or a tracer.
    pub const STOPPED: u32 = 4;
    /// Ended; this is its last record.
    pub const ENDED: u32 = 5;
}

/// One thread as exported by the iterator once per tick, and once more when it ends. [`TaskSums`] follow it, and
/// [`TaskRecord::calls`] records of [`crate::syscall::CallRecord`]: the calls that changed since the export before, and some that did not; in the
/// last record all of them. What returned since it came to the CPU that it is on is not in them yet, see
/// [`crate::syscall::CpuCalls`]. All `*_ns` sums only grow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskRecord {
    /// `CLOCK_MONOTONIC` of this export.
    pub at_ns: u64,
    /// `task_struct.start_boottime`: with the thread id, a key that survives reuse.
    pub start_ns: u64,
    /// The same of the thread group's leader.
    pub process_start_ns: u64,
    /// On-CPU time, `se.sum_exec_runtime`, as in `/proc/PID/task/TID/schedstat`. Up to one tick old while running.
    pub cpu_ns: u64,
    /// Run-queue time, `sched_info.run_delay`, as in `schedstat`.
    pub run_delay_ns: u64,
    /// Part of the run-queue time that followed a preemption, since we watch.
    pub preempted_ns: u64,
    /// Part of it in which its group had used up its quota, `cpu.max`, since we watch. The rest followed a wake-up.
    pub throttled_ns: u64,
    /// Part of it in which it was on a CPU: the book is wrong.
    pub excess_ns: u64,
    /// Part of the on-CPU time in which it freed memory for itself, up to the last switch or the end of that, since we watch.
    pub reclaim_cpu_ns: u64,
    /// Blocked time of all finished waits, since we watch.
    pub blocked_ns: u64,
    /// When the thread left its CPU last, or when we first saw it; 0 if neither.
    pub off_since_ns: u64,
    /// Of the time since [`Self::off_since_ns`], the wait.
    pub open_wait_ns: u64,
    /// Of the same, its time on the run queue, of a thread that is queued; else that is in the books.
    pub open_queued_ns: u64,
    /// Of the same, its time on a CPU that [`Self::cpu_ns`] does not have yet.
    pub open_cpu_ns: u64,
    /// Blocked time of the waits in the call that it is in, and that [`Self::blocked_ns`] has but no call has yet.
    pub pending_ns: u64,
    /// CPU time in user mode by the timer tick, `task_struct.utime`: its share of [`Self::cpu_ns`] is what `/proc` says.
    pub user_ns: u64,
    /// The same in the kernel, `task_struct.stime`.
    pub system_ns: u64,
    /// Voluntary context switches, `task_struct.nvcsw`.
    pub switches_voluntary: u64,
    /// Involuntary context switches, `task_struct.nivcsw`.
    pub switches_involuntary: u64,
    /// Page faults without I/O, `task_struct.min_flt`.
    pub minor_faults: u64,
    /// Page faults with I/O, `task_struct.maj_flt`.
    pub major_faults: u64,
    /// When it was woken last, since we watch; 0 if never.
    pub woke_ns: u64,
    /// First argument of the call in which it sleeps: a descriptor, or the address of a futex.
    pub wait_argument: u64,
    /// Cookie of the TCP socket that it waits on, or 0.
    pub wait_socket: u64,
    /// Address of the kernel lock that it sleeps for, or 0.
    pub wait_lock: u64,
    /// Bytes that this thread caused to be fetched from storage, `ioac.read_bytes`; `u64::MAX` where not kept.
    pub storage_read_bytes: u64,
    /// Bytes that it caused to be sent to storage, `ioac.write_bytes`, charged when dirtied; `u64::MAX` where not kept.
    pub storage_write_bytes: u64,
    /// Process id (the kernel's `tgid`).
    pub pid: u32,
    /// Thread id (the kernel's `pid`).
    pub tid: u32,
    /// Process id of the parent.
    pub parent_pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Inode number of its network namespace, 0 if it has none any more.
    pub netns: u32,
    /// One of [`state`].
    pub state: u32,
    /// Number of the system call in which it waits, or [`NO_CALL`]; of a thread that runs, always the latter.
    pub wait_call: u32,
    /// 1 for a kernel thread.
    pub kernel_thread: u32,
    /// 1 if it was preempted when it left its CPU last.
    pub preempted: u32,
    /// 1 if it is queued, and its group has used up its quota.
    pub throttled: u32,
    /// Call records that follow.
    pub calls: u32,
    /// What it waits for, one of [`crate::wait`].
    pub wait: u32,
    /// Kind of the file that its wait is about, one of [`crate::file::kind`], or [`KIND_UNKNOWN`].
    pub wait_kind: u32,
    /// Explicit padding, always zero.
    pub reserved: u32,
    /// What it waited for when it was woken last.
    pub woke_wait: u32,
    /// Process id of whoever woke it then, or was interrupted by what did; 0 on an idle CPU.
    pub waker_pid: u32,
    /// Thread id of the same.
    pub waker_tid: u32,
    /// The system call that the waker was in, or [`NO_CALL`].
    pub waker_call: u32,
    /// Name of the thread, NUL padded.
    pub comm: [u8; COMM_LEN],
}

const _: () = assert!(size_of::<TaskRecord>() == 304);

/// What a thread has summed up since we watch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskSums {
    /// Blocked time of finished waits by [`crate::wait`].
    pub waits: [u64; WAITS],
    /// Pages of files by [`crate::file::page`].
    pub pages: [u64; WAYS],
}

impl TaskSums {
    /// Nothing happened yet.
    pub const EMPTY: Self = Self { waits: [0; WAITS], pages: [0; WAYS] };
}

const _: () = assert!(size_of::<TaskSums>() == 8 * (WAITS + WAYS));
