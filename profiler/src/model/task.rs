//! Where wall time goes, per thread and summed per process.

use profiler_common::file::page::WAYS;
use profiler_common::wait::{self, WAITS};

use crate::batch::TaskRow;
use crate::model::host::add_each;
use crate::model::time::{Recent, Reset, Tally};

/// A split of wall time, and what rides along. Sums over threads add up likewise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wall time of all threads.
    pub wall_ns: u64,
    /// On-CPU time.
    pub cpu_ns: u64,
    /// Run-queue time after a wake-up.
    pub runq_wakeup_ns: u64,
    /// Run-queue time after a preemption.
    pub runq_preempted_ns: u64,
    /// Run-queue time without CPU quota; in neither of the two above.
    pub throttled_ns: u64,
    /// Blocked time.
    pub blocked_ns: u64,
    /// CPU time in user mode by timer ticks, of which only the share is meant.
    pub user_ns: u64,
    /// The same in the kernel.
    pub system_ns: u64,
    /// Part of the on-CPU time in which threads freed memory for themselves.
    pub reclaim_cpu_ns: u64,
    /// Blocked time by [`profiler_common::wait`], and what interrupts took.
    pub waits: [u64; WAITS],
    /// Intervals that threads slept through in a wait that had lasted for [`PARKED_NS`]; not in [`Self::waits`].
    pub parked_ns: u64,
    /// Voluntary context switches.
    pub switches_voluntary: u64,
    /// Involuntary context switches.
    pub switches_involuntary: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Bytes fetched from storage.
    pub storage_read_bytes: Option<u64>,
    /// Bytes made dirty or written directly.
    pub storage_write_bytes: Option<u64>,
    /// Pages moved into the page cache or out of it, by [`profiler_common::file::page`].
    pub pages: Option<[u64; WAYS]>,
}

impl Usage {
    /// Wall time that no state explains: rounding of the scheduler's clocks, and slices not yet closed.
    #[must_use]
    pub fn unexplained_ns(&self) -> u64 {
        let told_ns = self.cpu_ns + self.runq_ns() + self.throttled_ns + self.stolen_ns() + self.blocked_ns;
        self.wall_ns.saturating_sub(told_ns)
    }

    /// Time in which it had a CPU and was not run: what interrupts and the hypervisor took.
    #[must_use]
    pub fn stolen_ns(&self) -> u64 {
        self.waits[wait::STOLEN as usize]
    }

    /// Run-queue time of both kinds, for want of a CPU.
    #[must_use]
    pub fn runq_ns(&self) -> u64 {
        self.runq_wakeup_ns + self.runq_preempted_ns
    }
}

impl Reset for Usage {}

/// Who has waited so long for data or for a futex is taken for idle: a shell for its user, a worker for its next task. Who
/// answers at last has held somebody up, but no table of the last seconds can tell both apart.
pub const PARKED_NS: u64 = 10_000_000_000;

/// The part of a thread's interval that it was parked, and in which kind of wait.
pub(super) fn parked(row: &TaskRow) -> Option<(usize, u64)> {
    let wait = row.wait.filter(|wait| matches!(*wait, wait::PIPE | wait::RECEIVE | wait::FUTEX))?;
    let kind = wait as usize;
    (row.waiting_ns >= PARKED_NS.max(row.wall_ns)).then(|| (kind, row.waits[kind]))
}

impl Tally<TaskRow> for Usage {
    fn absorb(&mut self, row: &TaskRow) {
        self.wall_ns += row.wall_ns;
        self.cpu_ns += row.cpu_ns;
        self.runq_wakeup_ns += row.runq_wakeup_ns;
        self.runq_preempted_ns += row.runq_preempted_ns;
        self.throttled_ns += row.throttled_ns;
        self.blocked_ns += row.blocked_ns;
        self.user_ns += row.user_ns;
        self.system_ns += row.system_ns;
        self.reclaim_cpu_ns += row.reclaim_cpu_ns;
        add_each(&mut self.waits, &row.waits);
        if let Some((kind, ns)) = parked(row) {
            self.waits[kind] -= ns;
            self.parked_ns += ns;
        }
        self.switches_voluntary += row.switches_voluntary;
        self.switches_involuntary += row.switches_involuntary;
        self.minor_faults += row.minor_faults;
        self.major_faults += row.major_faults;
        add_known(&mut self.storage_read_bytes, row.storage_read_bytes);
        add_known(&mut self.storage_write_bytes, row.storage_write_bytes);
        add_known_each(&mut self.pages, row.pages);
    }
}

impl Tally<Usage> for Usage {
    fn absorb(&mut self, other: &Usage) {
        self.wall_ns += other.wall_ns;
        self.cpu_ns += other.cpu_ns;
        self.runq_wakeup_ns += other.runq_wakeup_ns;
        self.runq_preempted_ns += other.runq_preempted_ns;
        self.throttled_ns += other.throttled_ns;
        self.blocked_ns += other.blocked_ns;
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.reclaim_cpu_ns += other.reclaim_cpu_ns;
        add_each(&mut self.waits, &other.waits);
        self.parked_ns += other.parked_ns;
        self.switches_voluntary += other.switches_voluntary;
        self.switches_involuntary += other.switches_involuntary;
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        add_known(&mut self.storage_read_bytes, other.storage_read_bytes);
        add_known(&mut self.storage_write_bytes, other.storage_write_bytes);
        add_known_each(&mut self.pages, other.pages);
    }
}

/// Adds what is known. Whether it is known depends on the kernel, not on the thread, so a sum never mixes the two.
pub(super) fn add_known(sum: &mut Option<u64>, row: Option<u64>) {
    if let Some(count) = row {
        *sum = Some(sum.unwrap_or(0) + count);
    }
}

/// The same element by element.
fn add_known_each(sum: &mut Option<[u64; WAYS]>, row: Option<[u64; WAYS]>) {
    if let Some(row) = row {
        add_each(sum.get_or_insert_default(), &row);
    }
}

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its start, nanoseconds since boot: tells a reused thread id.
    pub start_ns: u64,
    /// Name.
    pub comm: String,
    /// One of [`profiler_common::task::state`].
    pub state: u32,
    /// System call in which it waits.
    pub wait_call: Option<u32>,
    /// What it waits for, one of [`profiler_common::wait`].
    pub wait: Option<u32>,
    /// How long it has waited.
    pub waiting_ns: u64,
    /// Where its time went.
    pub usage: Recent<Usage>,
    /// Number of the batch that it was last in.
    pub seen: u64,
}

impl Thread {
    /// Takes over the state at the end of the interval.
    pub(super) fn update(&mut self, row: &TaskRow, batch: u64) {
        if self.start_ns != row.start_ns {
            *self = Self { start_ns: row.start_ns, ..Self::default() };
        }
        if self.comm != row.comm {
            self.comm.clone_from(&row.comm);
        }
        self.state = row.state;
        self.wait_call = row.wait_call;
        self.wait = row.wait;
        self.waiting_ns = row.waiting_ns;
        self.seen = batch;
    }
}
