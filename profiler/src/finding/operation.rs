//! Findings about operations of `io_uring`.

use profiler_common::syscall::{class, operation};

use super::{
    Detector, Finding, Member, VICTIM_SHARE_MIN, VOLUME_MIN, named, nanos, per_second, percent, ratio, real, severity,
};
use crate::batch::Hist;
use crate::field::Subject;
use crate::model::Model;
use crate::model::process::Process;

/// Where fewer are passed on, that is the exception, which costs little.
const PASSED_ON_MIN: f64 = 0.2;
/// Two wake-ups with a switch each, to the worker and back: what these cost at the least on the machines that we measured.
const HOP_NS: u64 = 4_000;

pub(super) const PASSED_ON: Detector = Detector {
    id: "S23",
    title: "operations passed on to workers",
    doc: "More than 20 % of the reads and writes that a process hands to io_uring are done by worker threads, since they \
          would block, and so many that the way there and back takes more than 5 % of the time of one CPU, at 4 µs each.",
    check: passed_on,
    needs: &["io_uring_submit_req", "io_uring_queue_async_work"],
    explains: &["cpu"],
    blind: |_| None,
};

fn passed_on(model: &Model) -> Vec<Finding> {
    real(model).filter_map(|member| passed_on_of(model, member)).collect()
}

/// Reads and writes of a process in the window, by who did them.
#[derive(Default)]
struct Moves {
    /// By its own threads, and by workers.
    count: [u64; 2],
    latency: [Hist; 2],
    /// The call that workers do most often, by its key.
    most: (u64, u32),
}

fn passed_on_of(model: &Model, (key, process): Member<'_>) -> Option<Finding> {
    let moves = moves_of(model, process);
    let [kept, passed] = moves.count;
    let (share_passed, rate) = (ratio(passed, kept + passed), per_second(passed, model.time.window_ns));
    let share = rate * HOP_NS as f64 / 1e9;
    if passed < VOLUME_MIN || share_passed < PASSED_ON_MIN || share < VICTIM_SHARE_MIN {
        return None;
    }
    let took =
        moves.latency.iter().map(|latency| latency.quantile(0.5).map_or("?".into(), |ns| format!("≤ {}", nanos(ns))));
    let [by_itself, by_worker] = took.collect::<Vec<_>>().try_into().unwrap_or_default();
    let workers: Vec<_> = process.threads.values().filter(|thread| thread.comm.starts_with("iou-wrk-")).collect();
    let cpu_ns: u64 = workers.iter().map(|thread| thread.usage.sum.cpu_ns).sum();
    let label = process.label(key);
    Some(Finding {
        id: PASSED_ON.id,
        severity: severity(share.min(1.0)),
        claim: format!(
            "{} of the reads and writes that {label} hands to io_uring are done by worker threads",
            percent(share_passed)
        ),
        subject: label,
        at: Subject::Syscall(key, moves.most.1),
        victims: named(model, &[(key, share.min(1.0))], "on the way to workers and back (estimate at 4 µs each)"),
        impact: share.min(1.0),
        evidence: vec![
            format!("{passed} of {} reads and writes, {rate:.0}/s", kept + passed),
            format!("median of one by a worker {by_worker}, by itself {by_itself}"),
        ],
        witness: (cpu_ns > 0)
            .then(|| format!("the scheduler: {} threads iou-wrk were on a CPU for {}", workers.len(), nanos(cpu_ns))),
        rejected: Vec::new(),
        advice: "open with O_DIRECT, or use a file system that writes to its cache without blocking (XFS, not ext4); register \
                 files; else bound the workers (IORING_REGISTER_IOWQ_MAX_WORKERS)",
    })
}

fn moves_of(model: &Model, process: &Process) -> Moves {
    let mut moves = Moves::default();
    for (call, usage) in &process.calls {
        let number = *call & 0xffff;
        let by_worker = (operation::WORKER..operation::AIO).contains(&number);
        let is_ours = (operation::URING..operation::AIO).contains(&number);
        if !is_ours || !matches!(model.calls.class(*call), class::READ | class::WRITE) {
            continue;
        }
        let who = usize::from(by_worker);
        moves.count[who] += usage.sum.count;
        moves.latency[who].add(&usage.sum.latency);
        if by_worker {
            moves.most = moves.most.max((usage.sum.count, *call));
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use profiler_common::file::kind;

    use super::*;
    use crate::batch::{Batch, CallRow, ProcessKey};
    use crate::model::Window;
    use crate::model::fixture::{MS, URING_WRITE, WORKER_WRITE, batch, calls, linear8, model, named, process, thread};

    fn told(kept: u64, passed: u64) -> Vec<Finding> {
        let app: ProcessKey = process(7);
        let write = |number, count, ns| CallRow {
            latency: linear8(ns, count),
            ..calls(app, number, kind::REGULAR, count, count * 4_096, 0)
        };
        let mut worker = thread(app, 9, 300 * MS);
        worker.comm = "iou-wrk-7".to_owned();
        let told = Batch {
            facts: vec![named(app, "app")],
            tasks: vec![thread(app, 7, 500 * MS), worker],
            calls: vec![write(URING_WRITE, kept, 5_000), write(WORKER_WRITE, passed, 40_000)],
            ..batch(0)
        };
        passed_on(&model(Window::Recent, &[told]))
    }

    #[test]
    fn many_operations_of_workers_are_named() {
        let findings = told(10_000, 30_000);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(
            finding.claim,
            "75 % of the reads and writes that app (7) hands to io_uring are done by worker threads"
        );
        assert_eq!(finding.evidence[0], "30000 of 40000 reads and writes, 30000/s");
        assert_eq!(finding.witness.as_deref(), Some("the scheduler: 1 threads iou-wrk were on a CPU for 300 ms"));
    }

    #[test]
    fn few_are_none() {
        assert_eq!(told(10_000, 1_000), [], "a small part");
        assert_eq!(told(1_000, 2_000), [], "cheap");
    }
}
