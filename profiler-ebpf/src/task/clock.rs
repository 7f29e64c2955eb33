//! The scheduler's own books of a task, and what they have more than at its last switch away.
//!
//! SAFETY: typed loads of the kernel's own structs; a thread's record is written by the thread itself, or before anybody
//! else knows it.

use profiler_common::offset::ABSENT;
use profiler_common::task::{CLOCK_RATE_SHIFT, CLOCK_SLACK_NS, state};
use profiler_common::wait;

use super::thread::Thread;
use crate::kernel::{Object, address_of, config, follow_task, offset, probe, read_current};

/// Readings at one moment.
pub struct Clocks {
    task: Object,
    /// `se.sum_exec_runtime`
    exec_ns: u64,
    /// `sched_info.run_delay`
    delay_ns: u64,
    /// The queue that it is on, and how long that has been without quota in all; 0 where groups have none.
    queue: u64,
    throttled_ns: u64,
}

/// Where the time since a thread's last switch away went. It adds up to the wall time and what is explained only now, unless
/// clocks disagree.
#[derive(Default)]
pub struct Since {
    /// Waited.
    pub wait_ns: u64,
    /// Wanted a CPU, [`Self::throttled_ns`] left out.
    pub queued_ns: u64,
    /// What of [`Self::queued_ns`] the kernel has booked already, of a thread that is queued: it was moved to another CPU.
    pub booked_ns: u64,
    /// Wanted a CPU while its group had no quota.
    pub throttled_ns: u64,
    /// On a CPU, and not in the scheduler's book yet.
    pub cpu_ns: u64,
    /// Taken from its time on the CPU, by interrupts or the hypervisor.
    pub stolen_ns: u64,
    /// Of what was stolen before, what turns out to be time on the run queue; it is in [`Self::queued_ns`].
    pub explained_ns: u64,
    /// On the run queue by the kernel's book, but not in truth. Since 6.12 a thread that sleeps may stay on its run queue for a
    /// while; if it is moved to another CPU meanwhile, or woken before it has left its own, it is booked as queued from then on.
    pub excess_ns: u64,
    /// The clocks disagree by more than they may.
    pub skewed: bool,
}

impl Since {
    /// Books time on a CPU in which the thread freed memory, until now: since it began to, or since it has a CPU again.
    #[inline(always)]
    pub fn book_reclaim(&self, thread: *mut Thread, now: u64) {
        unsafe {
            let (began, switched) = ((*thread).reclaim_since_ns, (*thread).switch_ns);
            if began != 0 {
                let off = self.wait_ns + self.queued_ns + self.throttled_ns + self.stolen_ns;
                (*thread).reclaim_cpu_ns +=
                    if began > switched { now.saturating_sub(began) } else { now.saturating_sub(switched + off) };
            }
        }
    }
}

impl Clocks {
    #[inline(always)]
    pub fn of(task: Object) -> Self {
        let (queue, throttled_ns) = quota_of(task);
        Self {
            task,
            exec_ns: read_current(task, offset!(task_exec_ns)),
            delay_ns: read_current(task, offset!(task_run_delay_ns)),
            queue,
            throttled_ns,
        }
    }

    /// What they have more than at the last switch away, of a thread that is in a [`state`].
    #[inline(always)]
    pub fn since(&self, thread: *mut Thread, now: u64, state: u32) -> Since {
        let preempted = unsafe { (*thread).preempted != 0 };
        // It may have switched since the iterator looked at the clock.
        let wall = now.saturating_sub(unsafe { (*thread).switch_ns });
        let waited = waited(thread);
        let mut since = Since::default();
        match state {
            state::QUEUED => {
                since.wait_ns = if preempted || waited != 0 { waited } else { wall };
                since.queued_ns = wall.saturating_sub(since.wait_ns);
                let booked = self.delay_ns.wrapping_sub(unsafe { (*thread).delay_mark_ns });
                since.booked_ns = if booked < since.queued_ns { booked } else { since.queued_ns };
            }
            state::RUNNING => {
                let rest = self.settle(&mut since, thread, wall);
                since.wait_ns = if preempted || waited != 0 && waited < rest { waited } else { rest };
                since.cpu_ns = rest.wrapping_sub(since.wait_ns);
            }
            _ => since.wait_ns = wall,
        }
        since
    }

    /// The same of a thread that is about to leave its CPU, which it had for so long, or 0 if that is not known.
    #[inline(always)]
    pub fn since_last(&self, thread: *mut Thread, now: u64, had_ns: u64) -> Since {
        let mut since = Since::default();
        let rest = self.settle(&mut since, thread, now.saturating_sub(unsafe { (*thread).switch_ns }));
        let stolen = had_ns.saturating_sub(self.ran(thread));
        since.stolen_ns = if unsafe { (*thread).preempted != 0 } || stolen > rest { rest } else { stolen };
        since.wait_ns = rest.wrapping_sub(since.stolen_ns);
        since
    }

    /// The books of a thread that has a CPU again; what of the wall time is in none of them.
    #[inline(always)]
    fn settle(&self, since: &mut Since, thread: *mut Thread, wall: u64) -> u64 {
        let ran = self.ran(thread);
        let delayed = self.delay_ns.wrapping_sub(unsafe { (*thread).delay_mark_ns });
        let slack = CLOCK_SLACK_NS + (wall >> CLOCK_RATE_SHIFT);
        let off = wall.saturating_sub(ran);
        let room = off.saturating_sub(waited(thread));
        // The kernel looked at its clock before we did: where a hypervisor came in between, the time before has that as
        // stolen, and the books now have as much too much.
        let bank = unsafe { (*thread).sums.waits[wait::STOLEN as usize] };
        // Where the kernel may be wrong. The clocks of an emulator differ by more than the slack, but by a small part.
        let wrong = offset!(task_sched_delayed) != ABSENT
            && delayed > room + (room >> 2) + slack
            && delayed > room.wrapping_add(bank);
        let queued = if wrong { room } else { delayed };
        let over = queued.saturating_sub(off);
        since.explained_ns = if over > bank { bank } else { over };
        since.excess_ns = delayed.wrapping_sub(queued);
        since.skewed = ran.wrapping_add(queued) > wall + slack + since.explained_ns;
        since.throttled_ns = self.throttled(thread, queued);
        since.queued_ns = queued.wrapping_sub(since.throttled_ns);
        off.saturating_sub(queued)
    }

    /// Time on a CPU by the scheduler's book.
    #[inline(always)]
    fn ran(&self, thread: *mut Thread) -> u64 {
        self.exec_ns.wrapping_sub(unsafe { (*thread).exec_mark_ns })
    }

    /// The part of a time on the run queue in which that had no quota. The kernel books this when there is quota again, before
    /// the thread runs. Who has been moved since was most likely so after that.
    #[inline(always)]
    fn throttled(&self, thread: *mut Thread, queued: u64) -> u64 {
        let (queue, mark) = unsafe { ((*thread).queue, (*thread).throttled_mark_ns) };
        let throttled_ns = match self.queue == queue {
            true => self.throttled_ns,
            false if queued > 0 && queue != 0 => self.left(queue, mark),
            // Its first switch away is yet to come, or it did not wait.
            false => mark,
        };
        let grown = throttled_ns.wrapping_sub(mark);
        if grown < queued { grown } else { queued }
    }

    /// How long a queue that the task has left has been without quota; `unknown` if it may be gone: it lives as long as its
    /// group, which is certain of the task's own.
    #[inline(always)]
    fn left(&self, queue: u64, unknown: u64) -> u64 {
        if config!(kernel_reads) == 0 || offset!(cfs_group) == ABSENT || offset!(task_sched_group) == ABSENT {
            return unknown;
        }
        // The same pointer, once as it is, tells what the numbers of queues are relative to.
        let base = probe::<u64>(self.task, offset!(task_cfs_rq)).wrapping_sub(self.queue);
        let left = queue.wrapping_add(base) as Object;
        let (group, own): (u64, u64) = (probe(left, offset!(cfs_group)), probe(self.task, offset!(task_sched_group)));
        if group == own { probe(left, offset!(cfs_throttled_ns)) } else { unknown }
    }

    /// A switch away begins here.
    #[inline(always)]
    pub fn mark(&self, thread: *mut Thread, now: u64) {
        unsafe {
            (*thread).switch_ns = now;
            (*thread).exec_mark_ns = self.exec_ns;
            (*thread).delay_mark_ns = self.delay_ns;
            (*thread).queue = self.queue;
            (*thread).throttled_mark_ns = self.throttled_ns;
        }
    }
}

/// How long a thread waited before it was woken; 0 if that is not known.
#[inline(always)]
fn waited(thread: *mut Thread) -> u64 {
    unsafe { if (*thread).preempted != 0 { 0 } else { (*thread).woke_ns.saturating_sub((*thread).switch_ns) } }
}

/// A task's queue as a number, and how long that has been without quota.
#[inline(always)]
fn quota_of(task: Object) -> (u64, u64) {
    if offset!(cfs_throttled_ns) == ABSENT || offset!(task_cfs_rq) == ABSENT {
        return (0, 0);
    }
    let queue = follow_task(task, offset!(task_cfs_rq));
    (address_of(queue), read_current(queue, offset!(cfs_throttled_ns)))
}

/// Whether a task's queue has no quota now.
#[inline(always)]
pub fn is_throttled(task: Object) -> bool {
    offset!(cfs_throttle_count) != ABSENT
        && offset!(task_cfs_rq) != ABSENT
        && read_current::<u32>(follow_task(task, offset!(task_cfs_rq)), offset!(cfs_throttle_count)) != 0
}
