//! Where wall time goes, per thread and summed per process.

use crate::model::time::Recent;

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
    /// Blocked time.
    pub blocked_ns: u64,
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
}

impl Usage {
    /// Wall time that no state explains: rounding of the scheduler's clocks, and slices not yet closed.
    #[must_use]
    pub fn unexplained_ns(&self) -> u64 {
        self.wall_ns.saturating_sub(self.cpu_ns + self.runq_wakeup_ns + self.runq_preempted_ns + self.blocked_ns)
    }
}

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Name.
    pub comm: String,
    /// One of [`profiler_common::task::state`].
    pub state: u32,
    /// System call in which it waits.
    pub wait_call: Option<u32>,
    /// How long it has waited.
    pub waiting_ns: u64,
    /// Where its time went.
    pub usage: Recent<Usage>,
}
