//! Findings about disks: is the device slow, or is it asked for too much at once?
//!
//! A claim compares two measured numbers; if either is missing there is no claim. Who waits for which device is not
//! recorded, so victims are processes that wait for storage at all.

use profiler_common::disk::op;

use super::{Detector, Finding, VOLUME_MIN, named, nanos, per_second, percent, ratio, severity, victims};
use crate::batch::ProcessKey;
use crate::field::{Subject, Value};
use crate::model::Model;
use crate::model::disk::{Disk, DiskUse, op_name};
use crate::model::file::storage;
use crate::model::process::Process;

/// Waiting this many times longer than being served means that the queue is the problem.
const QUEUE_TO_DEVICE_MIN: u64 = 2;
/// Shorter waits are the price of a full queue, and no user sees them.
const QUEUE_P99_MIN_NS: u64 = 1_000_000;
/// Below this the device had time to spare.
const BUSY_MIN: f64 = 0.95;
/// A busy device with fewer requests at once may be one sequential reader, which is no saturation.
const DEPTH_MIN: f64 = 4.0;
/// Our count of requests and that of `/proc/diskstats` may differ by those under way at either end of the window.
const COUNT_SLACK: f64 = 0.2;

/// For both times of a request, and for those who wait.
const PROBES: &[&str] = &["block_rq_issue", "block_rq_complete", "sched_switch", "sys_exit"];

pub(super) const QUEUEING: Detector = Detector {
    id: "S9",
    title: "requests queue in front of a fast device",
    doc: "The 99th percentile of the queue time of reads or writes is above 1 ms and above twice that of the device \
          time, with at least 50 requests and a process that waits for them for 5 % of its time.",
    check: queueing,
    needs: PROBES,
    blind: queue_unknown,
};

pub(super) const SATURATED: Detector = Detector {
    id: "S8",
    title: "device saturated",
    doc: "The device is busy for 95 % of the time by /proc/diskstats, has more than 4 requests at once on average, and \
          most of their time passes in the device. Utilization alone says nothing about a parallel device.",
    check: saturated,
    needs: PROBES,
    blind: no_diskstats,
};

fn queue_unknown(model: &Model) -> Option<&'static str> {
    let ops = || model.disks.values().flat_map(|disk| &disk.ops).map(|usage| &usage.sum);
    let (requests, unknown): (u64, u64) = (ops().map(|op| op.requests).sum(), ops().map(|op| op.queue_unknown).sum());
    (requests > 0 && requests == unknown).then_some("the devices keep no start times, so queue times are unknown")
}

fn no_diskstats(model: &Model) -> Option<&'static str> {
    (!model.disks.values().any(|disk| disk.stat_known)).then_some("/proc/diskstats told nothing")
}

fn queueing(model: &Model) -> Vec<Finding> {
    let pairs = model.disks.iter().flat_map(|(device, disk)| [op::READ, op::WRITE].map(|op| (*device, disk, op)));
    pairs.filter_map(|(device, disk, op)| queueing_op(model, device, disk, op)).collect()
}

fn queueing_op(model: &Model, device: u32, disk: &Disk, operation: u32) -> Option<Finding> {
    let usage = &disk.ops.get(operation as usize)?.sum;
    let (queue_ns, device_ns) = (usage.queue.quantile(0.99)?, usage.service.quantile(0.99)?);
    let slow = queue_ns > QUEUE_TO_DEVICE_MIN * device_ns && queue_ns > QUEUE_P99_MIN_NS;
    if usage.queue.count() < VOLUME_MIN || !slow || !counts_agree(disk, operation) {
        return None;
    }
    let losers = victims(model, |process| waits_ns(model, process, operation));
    let share = ratio(usage.queue_ns, usage.queue_ns + usage.device_ns);
    let impact = losers.first()?.1 * share;
    let name = disk.name(device);
    let busy = disk.stat_known.then(|| Disk::busy_ratio(&disk.stat.sum, model.time.window_ns)).flatten();
    let mut rejected = vec![format!("slow device: 99 % of requests are served within {}", nanos(device_ns))];
    if let Some(busy) = busy.filter(|busy| *busy < BUSY_MIN) {
        rejected.push(format!("saturated device: it is idle for {} of the time", percent(1.0 - busy)));
    }
    reject_run_queue(model, losers[0].0, &mut rejected);
    Some(Finding {
        id: QUEUEING.id,
        severity: severity(impact),
        claim: format!("{} requests to {name} wait in the queue, not for the device", op_name(operation)),
        at: Subject::Disk(device, operation),
        subject: name,
        victims: named(model, &losers, "waiting for storage"),
        impact,
        evidence: evidence(
            model,
            [
                format!("queue time p99 ≤ {}, device time p99 ≤ {}", nanos(queue_ns), nanos(device_ns)),
                format!("{} of all request time passed in the queue", percent(share)),
                format!("{} requests, {:.0}/s", usage.requests, per_second(usage.requests, model.time.window_ns)),
            ],
        ),
        witness: witness(disk, operation),
        rejected,
        advice: "lower the concurrency of the busiest writer or give it a lower I/O weight; use scheduler `none` on \
                 NVMe; raise `nr_requests` only if the device has room",
    })
}

fn saturated(model: &Model) -> Vec<Finding> {
    model.disks.iter().filter_map(|(device, disk)| saturated_disk(model, *device, disk)).collect()
}

fn saturated_disk(model: &Model, device: u32, disk: &Disk) -> Option<Finding> {
    let window_ns = model.time.window_ns;
    let busy = Disk::busy_ratio(&disk.stat.sum, window_ns).filter(|busy| *busy >= BUSY_MIN)?;
    let sum = |get: fn(&DiskUse) -> u64| disk.ops.iter().map(|usage| get(&usage.sum)).sum::<u64>();
    let (queue_ns, device_ns) = (sum(|usage| usage.queue_ns), sum(|usage| usage.device_ns));
    let depth = ratio(queue_ns + device_ns, window_ns);
    let requests = sum(|usage| usage.requests);
    if requests < VOLUME_MIN || depth <= DEPTH_MIN || device_ns <= queue_ns {
        return None;
    }
    let worst = (0..).zip(&disk.ops).max_by_key(|(_, usage)| usage.sum.device_ns).map(|(op, _)| op)?;
    if !counts_agree(disk, worst) {
        return None;
    }
    let losers = victims(model, |process| storage(process, &model.calls).blocked_ns());
    let impact = losers.first()?.1 * ratio(device_ns, queue_ns + device_ns);
    let name = disk.name(device);
    let service = disk.ops.get(worst as usize)?.sum.service.quantile(0.99)?;
    let queued = percent(ratio(queue_ns, queue_ns + device_ns));
    let mut rejected = vec![format!("queueing before the device: only {queued} of request time")];
    reject_run_queue(model, losers[0].0, &mut rejected);
    Some(Finding {
        id: SATURATED.id,
        severity: severity(impact),
        claim: format!("{name} is never idle and has {depth:.1} requests at once"),
        at: Subject::Disk(device, worst),
        subject: name,
        victims: named(model, &losers, "waiting for storage"),
        impact,
        evidence: evidence(
            model,
            [
                format!("{depth:.1} requests queued or in flight on average"),
                format!("device time p99 ≤ {} ({})", nanos(service), op_name(worst)),
                format!(
                    "{:.0} requests/s, {:#}",
                    per_second(requests, window_ns),
                    Value::BytesPerSecond(per_second(sum(|usage| usage.bytes), window_ns)),
                ),
            ],
        ),
        witness: Some(format!("/proc/diskstats: busy {} of the time", percent(busy))),
        rejected,
        advice: "cut or spread the demand of the processes at the top of the file table, move one of them to another \
                 device, or use a faster one",
    })
}

/// Evidence, with what it cannot tell where several devices are in use.
fn evidence<const N: usize>(model: &Model, lines: [String; N]) -> Vec<String> {
    let used = |disk: &&Disk| disk.ops.iter().any(|usage| usage.sum.requests > 0);
    let used = model.disks.values().filter(used).count();
    let unclear = || format!("{used} devices had requests; who waits for which is not recorded");
    lines.into_iter().chain((used > 1).then(unclear)).collect()
}

/// Blocked time in calls that an operation can hold up.
fn waits_ns(model: &Model, process: &Process, operation: u32) -> u64 {
    let usage = storage(process, &model.calls);
    match operation {
        op::READ => usage.read_blocked_ns,
        _ => usage.write_blocked_ns + usage.sync_blocked_ns,
    }
}

/// The kernel counts the same requests; unless it does, something is wrong with our numbers. True where it cannot say.
fn counts_agree(disk: &Disk, operation: u32) -> bool {
    let (Some(ours), Some(theirs)) = counts(disk, operation) else { return true };
    let (ours, theirs) = (ours as f64, theirs as f64);
    !disk.stat_known || (ours - theirs).abs() <= COUNT_SLACK * ours.max(theirs)
}

fn counts(disk: &Disk, operation: u32) -> (Option<u64>, Option<u64>) {
    let ours = disk.ops.get(operation as usize).map(|usage| usage.sum.requests);
    (ours, disk.stat.sum.requests.get(operation as usize).copied())
}

fn witness(disk: &Disk, operation: u32) -> Option<String> {
    let (ours, theirs) = counts(disk, operation);
    let (ours, theirs) = (ours?, theirs.filter(|_| disk.stat_known)?);
    Some(format!("/proc/diskstats: {theirs} {} requests, we counted {ours}", op_name(operation)))
}

/// The victim gets a CPU soon after it is woken, so it is not the run queue that makes storage look slow.
pub(super) fn reject_run_queue(model: &Model, victim: ProcessKey, rejected: &mut Vec<String>) {
    let Some(process) = model.processes.get(&victim) else { return };
    let usage = &process.usage.sum;
    let share = ratio(usage.runq_wakeup_ns, usage.blocked_ns + usage.runq_ns());
    if share < super::task::RUNQ_SHARE_MIN {
        rejected.push(format!("waiting for a CPU: {} of what {} waits", percent(share), model.label(victim)));
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::file::kind;

    use super::*;
    use crate::batch::{Batch, DiskStat};
    use crate::model::Window;
    use crate::model::fixture::{MS, READ, SDA, SECOND, batch, calls, model, named, process, requests, sda, thread};

    /// A reader that waits for half of its time, and what the device did.
    fn told(queue_ns: u64, device_ns: u64, counted: u64, busy_ns: u64) -> Batch {
        let mut told = Batch {
            facts: vec![named(process(7), "db"), sda()],
            tasks: vec![thread(process(7), 7, 100 * MS)],
            calls: vec![calls(process(7), READ, kind::REGULAR, 100, 409_600, 5 * MS)],
            disks: vec![requests(op::READ, 1_000, 4_096_000, queue_ns, device_ns)],
            ..batch(0)
        };
        told.host.disks.insert(SDA, DiskStat { requests: [counted, 0, 0, 0], busy_ns, ..DiskStat::default() });
        told
    }

    fn found(told: Batch) -> Vec<&'static str> {
        super::super::all(&model(Window::Recent, &[told])).into_iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn long_queues_in_front_of_a_fast_device_are_found() {
        let model = model(Window::Recent, &[told(4 * MS, MS / 2, 1_000, SECOND / 2)]);
        let findings = queueing(&model);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.subject.as_str(), finding.victims.len()), ("sda", 1));
        assert_eq!(finding.victims[0], "db (7): 50 % of its time waiting for storage");
        assert_eq!(finding.witness.as_deref(), Some("/proc/diskstats: 1000 read requests, we counted 1000"));
        assert!(finding.impact > 0.4 && finding.rejected.len() == 3, "{finding:?}");
    }

    #[test]
    fn a_slow_device_or_a_short_queue_is_no_queueing() {
        assert_eq!(found(told(4 * MS, 3 * MS, 1_000, SECOND / 2)), [] as [&str; 0]);
        assert_eq!(found(told(MS / 2, MS / 10, 1_000, SECOND / 2)), [] as [&str; 0]);
    }

    #[test]
    fn queueing_that_nobody_waits_for_is_silent() {
        let nobody = Batch { calls: Vec::new(), ..told(4 * MS, MS / 2, 1_000, SECOND / 2) };
        assert_eq!(found(nobody), [] as [&str; 0]);
    }

    #[test]
    fn a_witness_that_disagrees_silences() {
        assert_eq!(found(told(4 * MS, MS / 2, 10, SECOND / 2)), [] as [&str; 0]);
    }

    #[test]
    fn a_busy_and_deep_device_is_saturated() {
        assert_eq!(found(told(MS, 20 * MS, 1_000, SECOND)), ["S8"]);
    }

    #[test]
    fn utilization_alone_is_no_saturation() {
        assert_eq!(found(told(MS / 10, MS, 1_000, SECOND)), [] as [&str; 0]);
        assert_eq!(found(told(MS, 20 * MS, 1_000, SECOND / 2)), [] as [&str; 0]);
    }
}
