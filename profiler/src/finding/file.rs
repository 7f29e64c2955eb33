//! Findings about file operations.

use profiler_common::disk::op;

use std::slice::from_ref;

use super::task::reject_run_queue;
use super::{
    Detector, Finding, Member, VICTIM_SHARE_MIN, VOLUME_MIN, by_name, bytes, label, losers, named, nanos, per_second,
    percent, ratio, severity, users,
};
use crate::field::Subject;
use crate::model::Model;
use crate::model::file::{files, storage};

/// A flush costs 1 to 20 ms on what has no power-loss protection: at 8 ms, so many are a fifth of a second.
const SYNCS_S_MIN: f64 = 25.0;
/// The cost is per flush, not per byte: with more data between them the flush is worth it.
const SYNC_BYTES_MAX: u64 = 64 << 10;
/// Below this the process has other troubles.
const SYNC_SHARE_MIN: f64 = 0.2;

pub(super) const FSYNC_STORM: Detector = Detector {
    id: "S1",
    title: "fsync storm",
    doc: "A process, or all of one name together, makes data durable more than 25 times per second with less than \
          64 KiB written between two times, and is blocked in that for more than 20 % of its time. The cost is per \
          flush, not per byte.",
    check: fsync_storm,
    needs: &["sched_switch", "sys_exit"],
    explains: &["io"],
    blind: |_| None,
};

fn fsync_storm(model: &Model) -> Vec<Finding> {
    let syncs = |member: &Member<'_>| storage([member.1], &model.calls).syncs > 0;
    by_name(users(model).filter(syncs)).iter().flat_map(|group| storms_of(model, group)).collect()
}

/// The storm of one process of a name, or that of all of them: backends that commit in turn are one storm, though none is.
fn storms_of(model: &Model, group: &[Member<'_>]) -> Vec<Finding> {
    let alone: Vec<_> = group.iter().filter_map(|member| storm_of(model, from_ref(member))).collect();
    let together = if alone.len() == 1 { None } else { storm_of(model, group) };
    together.map_or(alone, |finding| vec![finding])
}

fn storm_of(model: &Model, group: &[Member<'_>]) -> Option<Finding> {
    let usage = storage(group.iter().map(|(_, process)| *process), &model.calls);
    let wall_ns: u64 = group.iter().map(|(_, process)| process.usage.sum.wall_ns).sum();
    let lifetime_ns = wall_ns.min(model.time.window_ns);
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
    let blocked_ns = |_, process: &_| storage([process], &model.calls).sync_blocked_ns;
    let losers = losers(model, group.iter().copied(), VICTIM_SHARE_MIN, blocked_ns);
    let worst = losers.first()?.0;
    let files = files(model.processes.get(&worst)?, &model.calls);
    let kind = files.into_iter().max_by_key(|(_, file)| file.sum.syncs).map(|(kind, _)| kind)?;
    let p99 = usage.sync_blocked.quantile(0.99).map_or_else(String::new, |ns| format!(", p99 ≤ {}", nanos(ns)));
    let mut rejected = vec![format!("bulk data: only {} are written between two syncs", bytes(between))];
    reject_run_queue(model, worst, &mut rejected);
    let name = label(group);
    let (sync, whose) = if group.len() == 1 { ("syncs", "its time") } else { ("sync", "the time of one") };
    Some(Finding {
        id: FSYNC_STORM.id,
        severity: severity(share),
        at: Subject::File(worst, kind),
        claim: format!("{name} {sync} {syncs_s:.0} times per second with little data each time"),
        subject: name,
        victims: named(model, &losers, "blocked in fsync and its kin"),
        impact: share,
        evidence: vec![
            format!("{} syncs, {syncs_s:.0}/s, {} written between two of them", usage.syncs, bytes(between)),
            format!("blocked in them for {} in all, {} of {whose}{p99}", nanos(usage.sync_blocked_ns), percent(share)),
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
    use crate::finding::Severity;
    use crate::model::Window;
    use crate::model::fixture::{FSYNC, MS, SDA, WRITE, batch, calls, model, named, process, sda, thread};

    fn told(syncs: u64, bytes: u64, blocked_ns: u64, writes: u64) -> Vec<Finding> {
        told_by(&["db"], &[syncs], bytes, blocked_ns, writes)
    }

    /// The same of several processes, from id 7 on.
    fn told_by(names: &[&str], syncs: &[u64], bytes: u64, blocked_ns: u64, writes: u64) -> Vec<Finding> {
        let mut told = Batch { facts: vec![sda()], ..batch(0) };
        for ((pid, name), syncs) in (7..).zip(names).zip(syncs) {
            let key = process(pid);
            told.facts.push(named(key, name));
            told.tasks.push(thread(key, pid, 50 * MS));
            told.calls.push(calls(key, WRITE, kind::REGULAR, *syncs, bytes * syncs, 0));
            told.calls.push(calls(key, FSYNC, kind::REGULAR, *syncs, 0, blocked_ns));
        }
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
    fn backends_that_commit_in_turn_are_one_storm() {
        let findings = told_by(&["db"; 8], &[7; 8], 8_192, 20 * MS, 56);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.claim, "db (8 processes) sync 56 times per second with little data each time");
        assert_eq!(finding.at, Subject::File(process(7), kind::REGULAR));
        assert_eq!(finding.victims[0], "db (7): 14 % of its time blocked in fsync and its kin");
        assert_eq!((finding.victims.len(), finding.severity), (4, Severity::High), "{finding:?}");
        assert!(told_by(&["a", "b", "c", "d"], &[14; 4], 8_192, 10 * MS, 56).is_empty(), "of different programs");
        assert!(told_by(&["db"; 8], &[7; 8], 8_192, 5 * MS, 56).is_empty(), "nobody loses much");
    }

    #[test]
    fn a_storm_is_reported_once() {
        let found = |syncs: &[u64]| {
            let findings = told_by(&["db"; 2], syncs, 8_192, 4 * MS, 200);
            findings.into_iter().map(|finding| finding.subject).collect::<Vec<_>>()
        };
        assert_eq!(found(&[200, 5]), ["db (7)"]);
        assert_eq!(found(&[100, 100]), ["db (2 processes)"]);
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
        assert!(told(20, 8_192, 20 * MS, 40).is_empty(), "few");
        assert!(told(200, 1 << 20, 4 * MS, 200).is_empty(), "large");
        assert!(told(200, 8_192, MS / 10, 200).is_empty(), "cheap");
        assert!(told(200, 8_192, 4 * MS, 0).is_empty(), "not on a disk");
    }
}
