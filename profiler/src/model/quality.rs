//! What is missing from the numbers, and what observing costs.

use std::collections::BTreeMap;

use crate::batch::{Machine, QualityRow};
use crate::model::Window;

/// Distinct remarks that a report keeps; more of them repeat themselves.
const NOTES_MAX: usize = 32;

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
    /// CPU time of our process since the beginning, nanoseconds.
    pub self_cpu_ns: u64,
    /// Time in our kernel programs since the beginning, nanoseconds; `None` where not kept.
    pub programs_ns: Option<u64>,
    /// Our resident memory, bytes.
    pub self_memory_bytes: u64,
    /// Our kernel maps, bytes.
    pub map_memory_bytes: u64,
    /// Wall time of the last drain, nanoseconds.
    pub drain_ns: u64,
    /// What could not be looked at, in words: of the last interval, or in a report of all of them.
    pub notes: Vec<String>,
    /// Names of probes that are missing, with what is not known without them.
    pub missing_probes: Vec<(String, String)>,
}

impl Quality {
    pub(super) fn new(machine: &Machine) -> Self {
        let missing = machine.probes.iter().filter(|probe| probe.form.is_none());
        let missing_probes = missing.map(|probe| (probe.name.clone(), probe.without.clone())).collect();
        Self { missing_probes, ..Self::default() }
    }

    /// Whether a probe that we know of does not work here.
    #[must_use]
    pub fn is_missing(&self, probe: &str) -> bool {
        self.missing_probes.iter().any(|(name, _)| name == probe)
    }

    pub(super) fn apply(&mut self, row: &QualityRow, interval_ns: u64, window: Window) {
        for (name, count) in row.lost.iter().filter(|(_, count)| **count > 0) {
            match self.lost.get_mut(name) {
                Some(sum) => *sum += count,
                None => drop(self.lost.insert(name.clone(), *count)),
            }
        }
        let ratio = |ns: u64| if interval_ns == 0 { 0.0 } else { ns as f64 / interval_ns as f64 };
        self.missed_ticks += row.missed_ticks;
        self.self_cpu_ratio = ratio(row.self_cpu_ns);
        self.programs_cpu_ratio = row.programs_ns.map(ratio);
        self.self_cpu_ns += row.self_cpu_ns;
        if let Some(ns) = row.programs_ns {
            self.programs_ns = Some(self.programs_ns.unwrap_or(0) + ns);
        }
        self.self_memory_bytes = row.self_memory_bytes;
        self.map_memory_bytes = row.map_memory_bytes;
        self.drain_ns = row.drain_ns;
        self.note(&row.notes, window);
    }

    fn note(&mut self, notes: &[String], window: Window) {
        if window == Window::Recent {
            if self.notes != notes {
                self.notes = notes.to_vec();
            }
            return;
        }
        for note in notes {
            if self.notes.len() < NOTES_MAX && !self.notes.contains(note) {
                self.notes.push(note.clone());
            }
        }
    }
}
