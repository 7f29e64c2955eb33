//! What is missing from the numbers, and what observing costs.

use std::collections::BTreeMap;

/// Losses and own cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quality {
    /// Losses since the beginning by name; empty is good.
    pub lost: BTreeMap<String, u64>,
    /// Ticks skipped since the beginning.
    pub missed_ticks: u64,
    /// CPU time of our process in the last interval, as a share of one CPU.
    pub self_cpu_ratio: f64,
    /// Time in our kernel programs in the last interval, as a share of one CPU; `None` where not kept.
    pub programs_cpu_ratio: Option<f64>,
    /// Our resident memory, bytes.
    pub self_memory_bytes: u64,
    /// Our kernel maps, bytes.
    pub map_memory_bytes: u64,
    /// Wall time of the last drain, nanoseconds.
    pub drain_ns: u64,
    /// What could not be looked at, in words.
    pub notes: Vec<String>,
    /// Names of probes that are missing, with what is not known without them.
    pub missing_probes: Vec<(String, String)>,
}
