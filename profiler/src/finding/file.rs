//! Findings about file operations.

use profiler_common::disk::op;

use super::disk::reject_run_queue;
use super::{Detector, Finding, VOLUME_MIN, bytes, named, nanos, per_second, percent, ratio, severity};
use crate::batch::ProcessKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::bound::OTHER_PROCESS;
use crate::model::file::{files, storage};
use crate::model::process::Process;

/// A flush costs milliseconds on flash without power-loss protection: 50 of them are a good part of a second.
const SYNCS_S_MIN: f64 = 50.0;
/// The cost is per flush, not per byte: with more data between them the flush is worth it.
const SYNC_BYTES_MAX: u64 = 64 << 10;
/// Below this the process has other troubles.
const SYNC_SHARE_MIN: f64 = 0.2;

pub(super) const FSYNC_STORM: Detector = Detector {
    id: "S1",
    title: "fsync storm",
    doc: "A process makes data durable more than 50 times per second with less than 64 KiB written between two times, \
          and is blocked in that for more than 20 % of its time. The cost is per flush, not per byte.",
    check: fsync_storm,
    needs: &["sched_switch", "sys_exit"],
    blind: |_| None,
};

fn fsync_storm(model: &Model) -> Vec<Finding> {
    let real = model.processes.iter().filter(|(key, _)| **key != OTHER_PROCESS);
    real.filter_map(|(key, process)| storm_of(model, *key, process)).collect()
}

fn storm_of(model: &Model, key: ProcessKey, process: &Process) -> Option<Finding> {
    let usage = storage(process, &model.calls);
    let lifetime_ns = process.lifetime_ns(model.time.window_ns);
    let syncs_s = per_second(usage.syncs, lifetime_ns);
    let between = usage.written_bytes.checked_div(usage.syncs)?;
    let share = ratio(usage.sync_blocked_ns, lifetime_ns).min(1.0);
    let storm = syncs_s > SYNCS_S_MIN && between < SYNC_BYTES_MAX && share > SYNC_SHARE_MIN;
    if usage.syncs < VOLUME_MIN || !storm {
        return None;
    }
    let written = writes(model);
    if written == Some((0, 0)) {
        // The syncs reached no disk: something else blocks in there.
        return None;
    }
    let kind = files(process, &model.calls).into_iter().max_by_key(|(_, file)| file.sum.syncs).map(|(kind, _)| kind)?;
    let p99 = usage.sync_blocked.quantile(0.99).map_or_else(String::new, |ns| format!(", p99 ≤ {}", nanos(ns)));
    let mut rejected = vec![format!("bulk data: only {} are written between two syncs", bytes(between))];
    reject_run_queue(model, key, &mut rejected);
    Some(Finding {
        id: FSYNC_STORM.id,
        severity: severity(share),
        subject: process.label(key),
        at: Subject::File(key, kind),
        claim: format!("{} syncs {syncs_s:.0} times per second with little data each time", process.label(key)),
        victims: named(model, &[(key, share)], "blocked in fsync and its kin"),
        impact: share,
        evidence: vec![
            format!("{} syncs, {syncs_s:.0}/s, {} written between two of them", usage.syncs, bytes(between)),
            format!("blocked in them for {} in all, {} of its time{p99}", nanos(usage.sync_blocked_ns), percent(share)),
        ],
        witness: written
            .map(|(writes, flushes)| format!("/proc/diskstats: {writes} writes and {flushes} flushes completed")),
        rejected,
        advice: "batch: commit in groups; put the log on its own device with power-loss protection; prefer fdatasync \
                 to fsync where the size does not change",
    })
}

/// Writes and flushes by `/proc/diskstats`; `None` where it says nothing. What a stacked device was asked for, those below
/// it were asked for too.
fn writes(model: &Model) -> Option<(u64, u64)> {
    let known = || model.disks.values().filter(|disk| disk.stat_known && disk.below.is_empty());
    let sum = |op: u32| known().filter_map(|disk| disk.stat.sum.requests.get(op as usize)).sum();
    known().next().map(|_| (sum(op::WRITE), sum(op::FLUSH)))
}

#[cfg(test)]
mod tests {
    use profiler_common::file::kind;

    use super::*;
    use crate::batch::{Batch, DiskStat, Fact};
    use crate::model::Window;
    use crate::model::fixture::{FSYNC, MS, SDA, WRITE, batch, calls, model, named, process, sda, thread};

    fn told(syncs: u64, bytes: u64, blocked_ns: u64, writes: u64) -> Vec<Finding> {
        let mut told = Batch {
            facts: vec![named(process(7), "db"), sda()],
            tasks: vec![thread(process(7), 7, 50 * MS)],
            calls: vec![
                calls(process(7), WRITE, kind::REGULAR, syncs, bytes * syncs, 0),
                calls(process(7), FSYNC, kind::REGULAR, syncs, 0, blocked_ns),
            ],
            ..batch(0)
        };
        told.host.disks.insert(SDA, DiskStat { requests: [0, writes, writes, 0], ..DiskStat::default() });
        fsync_storm(&model(Window::Recent, &[told]))
    }

    #[test]
    fn many_small_syncs_are_a_storm() {
        let findings = told(200, 8_192, 4 * MS, 200);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.subject, "db (7)");
        assert_eq!(finding.at, Subject::File(process(7), kind::REGULAR));
        assert_eq!(finding.evidence[0], "200 syncs, 200/s, 8.0 KiB written between two of them");
        assert_eq!(finding.victims[0], "db (7): 80 % of its time blocked in fsync and its kin");
    }

    #[test]
    fn what_a_stacked_disk_writes_is_counted_once() {
        let dm = Fact::Disk { device: 1, name: "dm-0".into(), backing: None, below: vec![SDA] };
        let mut told = Batch { facts: vec![sda(), dm], ..batch(0) };
        let stat = DiskStat { requests: [0, 5, 3, 0], ..DiskStat::default() };
        told.host.disks.extend([(SDA, stat), (1, stat)]);
        assert_eq!(writes(&model(Window::Recent, &[told])), Some((5, 3)));
    }

    #[test]
    fn few_large_or_cheap_syncs_are_none() {
        assert!(told(40, 8_192, 20 * MS, 40).is_empty(), "few");
        assert!(told(200, 1 << 20, 4 * MS, 200).is_empty(), "large");
        assert!(told(200, 8_192, MS / 10, 200).is_empty(), "cheap");
        assert!(told(200, 8_192, 4 * MS, 0).is_empty(), "not on a disk");
    }
}
