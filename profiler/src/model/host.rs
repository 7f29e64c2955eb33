//! The kernel's own counters.

use std::collections::BTreeMap;

use crate::batch::{DiskStat, HostRow, Pressure};
use crate::model::task::add_known;
use crate::model::time::{Recent, Reset, Tally};

/// The kernel's own counters over the last interval and the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Counters; the fields that are states hold the latest.
    pub row: Recent<HostRow>,
}

impl Host {
    /// A counter of `nstat` over the window; `None` where the kernel did not tell it.
    #[must_use]
    pub fn net(&self, name: &str) -> Option<u64> {
        self.row.sum.net.get(name).copied()
    }

    /// Share of the window in which some task stalled on `resource`; `None` without PSI.
    #[must_use]
    pub fn pressure_ratio(&self, resource: &str, window_ns: u64) -> Option<f64> {
        let pressure = self.row.sum.pressure.get(resource)?.as_ref()?;
        (window_ns > 0).then(|| pressure.some_ns as f64 / window_ns as f64)
    }
}

/// Share of CPU time that was spent neither idle nor waiting for I/O; `None` when nothing was counted.
#[must_use]
pub fn busy_ratio(cpu_ns: &[u64; 6]) -> Option<f64> {
    let all = cpu_ns.iter().sum::<u64>();
    let [_, _, idle, iowait, ..] = cpu_ns;
    (all > 0).then(|| (all - idle - iowait) as f64 / all as f64)
}

impl Reset for HostRow {}

impl Tally<HostRow> for HostRow {
    fn absorb(&mut self, row: &HostRow) {
        add_each(&mut self.cpu_ns, &row.cpu_ns);
        self.runnable = row.runnable;
        self.uninterruptible = row.uninterruptible;
        self.memory_available_bytes = row.memory_available_bytes;
        self.dirty_bytes = row.dirty_bytes;
        self.local_ports = row.local_ports.or(self.local_ports);
        self.tcp_memory = row.tcp_memory.or(self.tcp_memory);
        add_known(&mut self.refaulted_pages, row.refaulted_pages);
        for (name, pressure) in &row.pressure {
            with(&mut self.pressure, name, |sum| {
                if let Some(Pressure { some_ns, full_ns }) = pressure {
                    let sum = sum.get_or_insert_default();
                    sum.some_ns += some_ns;
                    sum.full_ns += full_ns;
                }
            });
        }
        for (name, count) in &row.net {
            with(&mut self.net, name, |sum| *sum += count);
        }
        for (device, stat) in &row.disks {
            self.disks.entry(*device).or_default().absorb(stat);
        }
    }
}

impl Reset for DiskStat {}

impl Tally<DiskStat> for DiskStat {
    fn absorb(&mut self, row: &DiskStat) {
        add_each(&mut self.requests, &row.requests);
        add_each(&mut self.bytes, &row.bytes);
        if let Some(merges) = &row.merges {
            add_each(self.merges.get_or_insert_default(), merges);
        }
        if let Some(request_ns) = &row.request_ns {
            add_each(self.request_ns.get_or_insert_default(), request_ns);
        }
        self.busy_ns += row.busy_ns;
        self.in_flight = row.in_flight;
    }
}

/// Adds two arrays element by element.
pub(super) fn add_each<const N: usize>(sum: &mut [u64; N], row: &[u64; N]) {
    for (sum, count) in sum.iter_mut().zip(row) {
        *sum += count;
    }
}

/// Changes the value under a name, without copying the name when it is known already.
fn with<V: Default>(map: &mut BTreeMap<String, V>, name: &str, change: impl FnOnce(&mut V)) {
    match map.get_mut(name) {
        Some(value) => change(value),
        None => change(map.entry(name.to_owned()).or_default()),
    }
}
