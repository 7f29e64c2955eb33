//! Findings about disks: is the device slow, or is it asked for too much at once?
//!
//! A claim compares two measured numbers; if either is missing there is no claim. Victims are processes that wait for storage,
//! but no longer than the device worked: for reads, on requests of their own. A write may wait for those of others. Who waits for
//! completions of `io_uring` or libaio, waits for its own.

mod place;

use profiler_common::disk::op;
use profiler_common::wait;

use self::place::{Place, of_each};
use super::{Detector, Finding, VOLUME_MIN, losers, nanos, per_second, percent, ratio, users, victims};
use crate::field::Value;
use crate::model::Model;
use crate::model::disk::{Disk, DiskUse, op_name};
use crate::model::file::{FileUse, storage};
use crate::model::process::Process;

/// Waiting this many times longer than being served means that the queue is the problem.
const QUEUE_TO_DEVICE_MIN: u64 = 2;
/// Shorter waits are the price of a full queue, and no user sees them.
const QUEUE_P99_MIN_NS: u64 = 1_000_000;
/// Below this the device had time to spare.
const BUSY_MIN: f64 = 0.95;
/// A busy device with fewer requests at once may be one sequential reader, which is no saturation.
const DEPTH_MIN: f64 = 4.0;
/// With more requests at once while the device is busy, somebody asks ahead.
const DEPTH_ONE_MAX: f64 = 1.5;
/// Below this, whoever asks one by one has as much else to do.
const ONE_BY_ONE_SHARE_MIN: f64 = 0.6;
/// A flush that takes that many times longer than a write means that the device has a cache to empty.
const FLUSH_TO_WRITE_MIN: u64 = 5;
/// A device with power-loss protection has answered by then.
const FLUSH_P50_MIN_NS: u64 = 1_000_000;
/// No flash takes longer, whatever its writes take.
const FLUSH_P50_MAX_NS: u64 = 10_000_000;

/// For both times of a request, and for those who wait.
const PROBES: &[&str] = &["block_rq_issue", "block_rq_complete", "sched_switch", "sys_exit"];

pub(super) const QUEUEING: Detector = Detector {
    id: "S9",
    title: "requests queue in front of a fast device",
    doc: "The 99th percentile of the queue time of reads or writes is above 1 ms and above twice that of the device \
          time, with at least 50 requests and a process that waits for them for 5 % of its time.",
    check: queueing,
    needs: PROBES,
    explains: &["io"],
    blind: queue_unknown,
};

pub(super) const SATURATED: Detector = Detector {
    id: "S8",
    title: "device saturated",
    doc: "The device is busy for 95 % of the time by /proc/diskstats, has more than 4 requests at once on average, and \
          most of their time passes in the device. Utilization alone says nothing about a parallel device.",
    check: saturated,
    needs: PROBES,
    explains: &["io"],
    blind: no_diskstats,
};

pub(super) const ONE_BY_ONE: Detector = Detector {
    id: "S11",
    title: "one request at a time",
    doc: "A process spends more than 60 % of its time in reads or in writes of a device that has about one request at \
          a time while it is busy: no more can be done per second than one over the latency, and a device that serves \
          many at once is hardly used.",
    check: one_by_one,
    needs: PROBES,
    explains: &["io"],
    blind: |model| no_diskstats(model).or_else(|| queue_unknown(model)),
};

pub(super) const SLOW_FLUSH: Detector = Detector {
    id: "S2",
    title: "slow flush",
    doc: "The median of the device time of flushes is above 10 ms, or above 1 ms and above five times that of writes, \
          with at least 50 flushes and a process that waits for them for 5 % of its time: the device has a cache that \
          it must empty.",
    check: slow_flush,
    needs: PROBES,
    explains: &["io"],
    blind: |_| None,
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
    of_each(model, &[op::READ, op::WRITE], queueing_op)
}

fn queueing_op(model: &Model, place: Place<'_>) -> Option<Finding> {
    let Place { device, disk, operation } = place;
    let usage = &disk.ops.get(operation as usize)?.sum;
    let (queue_ns, device_ns) = (usage.queue.quantile(0.99)?, usage.service.quantile(0.99)?);
    let slow = queue_ns > QUEUE_TO_DEVICE_MIN * device_ns && queue_ns > QUEUE_P99_MIN_NS;
    if usage.queue.count() < VOLUME_MIN || !slow || !place.counts_agree() {
        return None;
    }
    let losers = victims(model, |key, process| place.lost_ns(key, process, place.waits_ns(model, process)));
    let share = ratio(usage.queue_ns, usage.request_ns());
    let busy = disk.stat_known.then(|| Disk::busy_ratio(&disk.stat.sum, model.time.window_ns)).flatten();
    let mut rejected = vec![format!("slow device: 99 % of requests are served within {}", nanos(device_ns))];
    if let Some(busy) = busy.filter(|busy| *busy < BUSY_MIN) {
        rejected.push(format!("saturated device: it is idle for {} of the time", percent(1.0 - busy)));
    }
    let evidence = [
        format!(
            "queue time p99 {}, device time p99 {}",
            Value::quantile(&usage.queue, 0.99),
            Value::quantile(&usage.service, 0.99)
        ),
        format!("{} of all request time, {}, passed in the queue", percent(share), nanos(usage.request_ns())),
        format!("{} requests, {:.0}/s", usage.requests, per_second(usage.requests, model.time.window_ns)),
    ];
    let found = place.found(model, QUEUEING.id, &losers, share, evidence, rejected)?;
    Some(Finding {
        claim: format!(
            "{} requests to {} wait in the queue, not for the device",
            op_name(operation),
            disk.name(device)
        ),
        advice: "lower the concurrency of the busiest writer or give it a lower I/O weight; use scheduler `none` on \
                 NVMe; raise `nr_requests` only if the device has room",
        ..found
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
    let place = Place { device, disk, operation: worst };
    if !place.counts_agree() {
        return None;
    }
    let losers = victims(model, |key, process| {
        let own_ns = (0..).zip(&disk.ops).map(|(operation, _)| Place { operation, ..place }.own_ns(key)).sum();
        storage([process], &model.calls).blocked_ns() + process.usage.sum.waits[wait::ASYNC as usize].min(own_ns)
    });
    let share = ratio(device_ns, queue_ns + device_ns);
    let service = Value::quantile(&disk.done(worst)?.service, 0.99);
    let rejected = vec![format!("queueing before the device: only {} of request time", percent(1.0 - share))];
    let evidence = [
        format!("{depth:.1} requests queued or in flight on average"),
        format!("device time p99 {service} ({})", op_name(worst)),
        format!(
            "{:.0} requests/s, {:#}",
            per_second(requests, window_ns),
            Value::BytesPerSecond(per_second(sum(|usage| usage.bytes), window_ns)),
        ),
    ];
    let found = place.found(model, SATURATED.id, &losers, share, evidence, rejected)?;
    Some(Finding {
        claim: format!("{} is never idle and has {depth:.1} requests at once", disk.name(device)),
        witness: Some(format!("/proc/diskstats: busy {} of the time", percent(busy))),
        advice: "cut or spread the demand of the processes at the top of the file table, move one of them to another \
                 device, or use a faster one",
        ..found
    })
}

fn one_by_one(model: &Model) -> Vec<Finding> {
    of_each(model, &[op::READ, op::WRITE], one_by_one_op)
}

fn one_by_one_op(model: &Model, place: Place<'_>) -> Option<Finding> {
    let Place { device, disk, operation } = place;
    let usage = &disk.ops.get(operation as usize)?.sum;
    let (all_ns, busy_ns) = (disk.ops.iter().map(|usage| usage.sum.request_ns()).sum(), disk.stat.sum.busy_ns);
    let (depth, mean_ns) = (ratio(all_ns, busy_ns), usage.latency()?.mean_ns()?);
    let alone = busy_ns > 0 && depth <= DEPTH_ONE_MAX && usage.queue_ns <= usage.device_ns;
    if usage.requests < VOLUME_MIN || !alone || !place.counts_agree() {
        return None;
    }
    // Syncs are not meant, nor whom dirty throttling pauses in a write: others wrote that much.
    let (calls_ns, state): (fn(&FileUse) -> u64, _) = match operation {
        op::READ => (|file| file.read_blocked_ns, wait::DISK_READ),
        _ => (|file| file.write_blocked_ns, wait::DISK_WRITE),
    };
    let lost_ns = |key, process: &Process| {
        let in_calls_ns = calls_ns(&storage([process], &model.calls));
        place.lost_ns(key, process, in_calls_ns.min(process.usage.sum.waits[state as usize]))
    };
    let losers = losers(model, users(model), ONE_BY_ONE_SHARE_MIN, lost_ns);
    let queued = percent(ratio(usage.queue_ns, usage.request_ns()));
    let rejected = vec![
        format!("queueing before the device: only {queued} of request time"),
        "saturated device: one request at a time is the least that it can have".into(),
    ];
    let op = op_name(operation);
    let evidence = [
        format!("{depth:.1} requests at once while the device is busy"),
        format!(
            "{:.0} {op} requests/s of {} each on average",
            per_second(usage.requests, model.time.window_ns),
            nanos(mean_ns)
        ),
    ];
    let found = place.found(model, ONE_BY_ONE.id, &losers, 1.0, evidence, rejected)?;
    Some(Finding {
        claim: format!("{} gets one {op} at a time: who asks waits for each before the next", disk.name(device)),
        advice: "ask for more at once: more threads, io_uring or libaio with a queue, readahead or larger requests; \
                 where each has to wait for the one before, only a faster device helps",
        ..found
    })
}

fn slow_flush(model: &Model) -> Vec<Finding> {
    of_each(model, &[op::FLUSH], slow_flush_op)
}

fn slow_flush_op(model: &Model, place: Place<'_>) -> Option<Finding> {
    let Place { device, disk, operation } = place;
    let p50 = |op: u32| disk.ops.get(op as usize)?.sum.service.quantile(0.5);
    let (usage, flush_ns, write_ns) = (&disk.ops.get(operation as usize)?.sum, p50(operation)?, p50(op::WRITE));
    let slower = write_ns.is_some_and(|write_ns| flush_ns > FLUSH_TO_WRITE_MIN * write_ns);
    let slow = flush_ns > FLUSH_P50_MAX_NS || slower && flush_ns > FLUSH_P50_MIN_NS;
    if usage.service.count() < VOLUME_MIN || !slow || !place.counts_agree() {
        return None;
    }
    let losers = victims(model, |key, process| place.lost_ns(key, process, place.waits_ns(model, process)));
    let slow_writes = write_ns.filter(|_| slower);
    let slow_writes = slow_writes.map(|ns| format!("slow writes: half of them are served within {}", nanos(ns)));
    let evidence = [
        format!("device time of flushes p50 {}", Value::quantile(&usage.service, 0.5)),
        format!(
            "{} flushes, {:.0}/s, {} in all",
            usage.requests,
            per_second(usage.requests, model.time.window_ns),
            nanos(usage.request_ns())
        ),
    ];
    let found = place.found(model, SLOW_FLUSH.id, &losers, 1.0, evidence, slow_writes.into_iter().collect())?;
    Some(Finding {
        claim: format!("{} is slow to flush its cache", disk.name(device)),
        advice: "use a device with power-loss protection, which has nothing to flush, or a better tier of a cloud \
                 volume; sync less often (see S1)",
        ..found
    })
}

#[cfg(test)]
mod tests {
    use profiler_common::file::kind;

    use super::*;
    use crate::batch::{Batch, DiskKey, DiskOwnerRow, DiskStat};
    use crate::field::Subject;
    use crate::finding::Severity;
    use crate::model::Window;
    use crate::model::fixture::{
        FSYNC, MS, READ, SDA, SECOND, batch, calls, model, named, process, requests, sda, thread,
    };

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
    fn nobody_loses_more_to_a_device_than_its_requests_took() {
        // It waits for half of its time, of which another device must have the rest.
        let impact = |count, queue_ns| {
            let mut told = told(queue_ns, MS / 10, count, SECOND / 10);
            told.disks = vec![requests(op::READ, count, 4_096 * count, queue_ns, MS / 10)];
            queueing(&model(Window::Recent, &[told]))
                .first()
                .map(|finding| (finding.severity, finding.victims[0].clone()))
        };
        let low = |victim: &str| Some((Severity::Low, victim.to_owned()));
        assert_eq!(
            impact(100, 3 * MS),
            Some((Severity::Medium, "db (7): 31 % of its time waiting for storage".into()))
        );
        assert_eq!(impact(50, 2 * MS), low("db (7): 10 % of its time waiting for storage"));
        assert_eq!(impact(50, MS * 8 / 10), None, "nobody can have lost 5 %");
    }

    #[test]
    fn who_reads_from_elsewhere_is_no_victim() {
        let mut told = told(4 * MS, MS / 2, 1_000, SECOND / 2);
        told.facts.push(named(process(8), "backup"));
        told.disk_owners = vec![DiskOwnerRow {
            key: DiskKey { device: SDA, op: op::READ },
            process: process(8),
            requests: 900,
            queue_ns: 3_600 * MS,
            device_ns: 450 * MS,
            ..DiskOwnerRow::default()
        }];
        assert!(queueing(&model(Window::Recent, &[told.clone()])).is_empty(), "only the backup reads");
        told.disk_owners.push(DiskOwnerRow { process: process(7), ..told.disk_owners[0].clone() });
        let findings = queueing(&model(Window::Recent, &[told]));
        let owners = "time of read requests by owner: backup (8) 90 %, db (7) 90 %";
        assert_eq!(findings[0].evidence.last().map(String::as_str), Some(owners));
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

    /// A reader that waits for the disk for 80 % of its time.
    fn reader(count: u64, device_ns: u64, busy_ns: u64) -> Batch {
        let mut told = told(MS / 100, device_ns, count, busy_ns);
        told.calls = vec![calls(process(7), READ, kind::REGULAR, 100, 409_600, 8 * MS)];
        told.disks = vec![requests(op::READ, count, 4_096 * count, MS / 100, device_ns)];
        told.tasks[0].waits = Default::default();
        told.tasks[0].waits[wait::DISK_READ as usize] = 800 * MS;
        told
    }

    #[test]
    fn a_reader_that_waits_for_each_request_is_found() {
        let model = model(Window::Recent, &[reader(800, MS, SECOND * 8 / 10)]);
        let findings = super::super::all(&model);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.id, finding.at.clone()), ("S11", Subject::Disk(SDA, op::READ)));
        assert_eq!(finding.victims, ["db (7): 80 % of its time waiting for storage"]);
        assert_eq!(finding.evidence[0], "1.0 requests at once while the device is busy");
    }

    #[test]
    fn who_asks_ahead_or_waits_for_something_else_is_not() {
        assert_eq!(found(reader(1_600, MS, SECOND * 8 / 10)), [] as [&str; 0], "two at once");
        assert_eq!(found(reader(200, MS, SECOND / 5)), [] as [&str; 0], "of another device");
        let mut paused = reader(800, MS, SECOND * 8 / 10);
        paused.tasks[0].waits.swap(wait::DISK_READ as usize, wait::OTHER as usize);
        assert_eq!(found(paused), [] as [&str; 0], "of no device");
    }

    /// The same with libaio or `io_uring`.
    fn asks_ahead(told: Batch, own_ns: u64) -> Vec<&'static str> {
        let mut told = Batch { calls: Vec::new(), ..told };
        told.tasks[0].waits = Default::default();
        told.tasks[0].waits[wait::ASYNC as usize] = 800 * MS;
        let (requests, key) = (1_000, DiskKey { device: SDA, op: op::READ });
        told.disk_owners =
            vec![DiskOwnerRow { key, process: process(7), requests, device_ns: own_ns, ..DiskOwnerRow::default() }];
        found(told)
    }

    #[test]
    fn who_waits_for_completions_waits_for_its_own_requests() {
        assert_eq!(asks_ahead(reader(800, MS, SECOND * 8 / 10), 800 * MS), ["S11"]);
        assert_eq!(asks_ahead(told(MS, 20 * MS, 1_000, SECOND), 20 * SECOND), ["S8"]);
        assert_eq!(asks_ahead(told(4 * MS, MS / 2, 1_000, SECOND / 2), 4 * SECOND), ["S9"]);
        assert_eq!(asks_ahead(told(4 * MS, MS / 2, 1_000, SECOND / 2), MS), [] as [&str; 0], "of a network");
    }

    /// A process that waits for each of 80 flushes, beside writes of 0.3 ms.
    fn syncer(flush_ns: u64, blocked_ns: u64, counted: u64) -> Vec<Finding> {
        let mut told = told(0, 0, 0, SECOND / 2);
        told.calls = vec![calls(process(7), FSYNC, kind::REGULAR, 80, 0, blocked_ns)];
        told.disks = vec![
            requests(op::FLUSH, 80, 0, MS / 100, flush_ns),
            requests(op::WRITE, 800, 409_600, MS / 100, MS * 3 / 10),
        ];
        told.host.disks.insert(SDA, DiskStat { requests: [0, 800, counted, 0], ..DiskStat::default() });
        slow_flush(&model(Window::Recent, &[told]))
    }

    #[test]
    fn flushes_that_take_much_longer_than_writes_are_found() {
        let findings = syncer(4 * MS, 5 * MS, 80);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.at.clone(), finding.rejected.len()), (Subject::Disk(SDA, op::FLUSH), 2));
        assert_eq!(finding.victims, ["db (7): 32 % of its time waiting for storage"]);
    }

    #[test]
    fn quick_flushes_are_none_nor_those_that_nobody_waits_for() {
        assert!(syncer(MS * 8 / 10, 5 * MS, 80).is_empty(), "quick");
        assert!(syncer(4 * MS, MS / 10, 80).is_empty(), "nobody waits");
        assert!(syncer(4 * MS, 5 * MS, 8).is_empty(), "the witness disagrees");
    }
}
