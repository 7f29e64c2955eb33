//! Findings about threads: CPU trouble that poses as I/O.

use super::{Detector, Finding, VOLUME_MIN, named, nanos, percent, ratio, severity, victims};
use crate::batch::ProcessKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::bound::OTHER_PROCESS;
use crate::model::host::busy_ratio;
use crate::model::process::Process;

/// A quarter of what looks like waiting for I/O is waiting for a CPU: fixing the I/O cannot help more than the rest.
pub(super) const RUNQ_SHARE_MIN: f64 = 0.25;
/// With more idle CPUs than that the run queue is a matter of placement or quota, which this rule cannot explain.
const HOST_BUSY_MIN: f64 = 0.8;
/// PSI must have seen somebody wait for a CPU for at least this share of time.
const PRESSURE_MIN: f64 = 0.01;
/// Processes to name as the ones that have the CPUs.
const HOGS_MAX: usize = 3;

pub(super) const RUN_QUEUE: Detector = Detector {
    id: "C1",
    title: "run-queue latency that poses as I/O",
    doc: "On a host whose CPUs are 80 % busy, more than 25 % of the time that a process waits is on the run queue \
          after a wake-up, and at least 5 % of its time: the I/O was done, the thread was not running.",
    check: run_queue,
    needs: &["iter_task", "sched_switch"],
    blind: |model| busy_ratio(&model.host.row.sum.cpu_ns).is_none().then_some("/proc/stat told nothing"),
};

/// One finding for the host, since the CPUs are shared: its victims are listed.
fn run_queue(model: &Model) -> Vec<Finding> {
    run_queue_of_host(model).into_iter().collect()
}

fn run_queue_of_host(model: &Model) -> Option<Finding> {
    let cpu_ns = &model.host.row.sum.cpu_ns;
    let busy = busy_ratio(cpu_ns).filter(|busy| *busy >= HOST_BUSY_MIN)?;
    let pressure = model.host.pressure_ratio("cpu", model.time.window_ns);
    if pressure.is_some_and(|pressure| pressure < PRESSURE_MIN) {
        return None;
    }
    let losers = victims(model, lost_ns);
    let (worst, impact) = *losers.first()?;
    let usage = &model.processes.get(&worst)?.usage.sum;
    let (name, wait) = (model.label(worst), ratio(usage.runq_wakeup_ns, usage.blocked_ns + usage.runq_ns()));
    let [.., steal] = cpu_ns;
    let stolen = ratio(*steal, cpu_ns.iter().sum());
    Some(Finding {
        id: RUN_QUEUE.id,
        severity: severity(impact),
        subject: name.clone(),
        at: Subject::Process(worst),
        claim: format!("{name} waits for a CPU after its I/O is done"),
        victims: named(model, &losers, "on the run queue after a wake-up"),
        impact,
        evidence: vec![
            format!(
                "{} on the run queue after a wake-up, {} of all its waiting",
                nanos(usage.runq_wakeup_ns),
                percent(wait)
            ),
            format!("CPUs are {} busy; most of it: {}", percent(busy), hogs(model, worst)),
        ],
        witness: pressure.map(|pressure| format!("PSI cpu: some task waited {} of the time", percent(pressure))),
        rejected: vec![
            format!(
                "slow I/O: it is blocked for {} only, the rest of its waiting is for a CPU",
                nanos(usage.blocked_ns)
            ),
            format!("preemption: {} on the run queue after one", nanos(usage.runq_preempted_ns)),
            format!("CPUs taken by the hypervisor: {} stolen", percent(stolen)),
        ],
        advice: "fewer runnable threads, more CPUs, or a lower priority (nice, cpu.weight) for the processes that have \
                 them",
    })
}

/// Run-queue time after wake-ups of processes whose waiting is a good part of that.
fn lost_ns(process: &Process) -> u64 {
    let usage = &process.usage.sum;
    let enough = usage.switches_voluntary + usage.switches_involuntary >= VOLUME_MIN;
    let poses = ratio(usage.runq_wakeup_ns, usage.blocked_ns + usage.runq_ns()) > RUNQ_SHARE_MIN;
    if enough && poses { usage.runq_wakeup_ns } else { 0 }
}

/// Who has the CPUs.
fn hogs(model: &Model, victim: ProcessKey) -> String {
    let others = model.processes.iter().filter(|(key, _)| **key != victim && **key != OTHER_PROCESS);
    let mut hogs: Vec<_> =
        others.map(|(key, process)| (process.usage.sum.cpu_ns, *key)).filter(|hog| hog.0 > 0).collect();
    hogs.sort_unstable_by(|a, b| b.cmp(a));
    let name =
        |(ns, key): &(u64, ProcessKey)| format!("{} {}", model.label(*key), percent(ratio(*ns, model.time.window_ns)));
    let names: Vec<String> = hogs.iter().take(HOGS_MAX).map(name).collect();
    if names.is_empty() { "itself".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Machine, Pressure, ProbeStatus, TaskRow};
    use crate::model::Window;
    use crate::model::fixture::{MS, batch, machine, model, named, process, thread};

    fn busy(runq_ns: u64, blocked_ns: u64, idle_ns: u64, stalled_ns: u64) -> Batch {
        let victim = TaskRow { runq_wakeup_ns: runq_ns, blocked_ns, ..thread(process(7), 7, 100 * MS) };
        let mut told = Batch {
            facts: vec![named(process(7), "web"), named(process(8), "burn")],
            tasks: vec![victim, thread(process(8), 8, 1_000 * MS)],
            ..batch(0)
        };
        told.host.cpu_ns = [1_900 * MS, 0, idle_ns, 0, 0, 0];
        told.host.pressure.insert("cpu".into(), Some(Pressure { some_ns: stalled_ns, full_ns: 0 }));
        told
    }

    fn told(runq_ns: u64, blocked_ns: u64, idle_ns: u64, stalled_ns: u64) -> Vec<Finding> {
        super::super::all(&model(Window::Recent, &[busy(runq_ns, blocked_ns, idle_ns, stalled_ns)]))
    }

    #[test]
    fn where_blocked_time_is_not_known_there_is_no_claim() {
        let probe = ProbeStatus { name: "sched_switch".into(), ..ProbeStatus::default() };
        let mut model = Model::new(Machine { probes: vec![probe], ..machine() }, Window::Recent);
        model.apply(&busy(600 * MS, 0, 100 * MS, 700 * MS));
        assert_eq!(super::super::all(&model), []);
    }

    #[test]
    fn a_woken_thread_without_a_cpu_is_found() {
        let findings = told(600 * MS, 300 * MS, 100 * MS, 700 * MS);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.id, finding.subject.as_str()), ("C1", "web (7)"));
        assert_eq!(finding.victims, ["web (7): 60 % of its time on the run queue after a wake-up"]);
        assert!(finding.evidence[1].contains("burn (8) 100 %"), "{finding:?}");
    }

    #[test]
    fn without_a_busy_host_long_waits_or_a_witness_there_is_no_claim() {
        assert!(told(600 * MS, 300 * MS, 1_900 * MS, 700 * MS).is_empty(), "idle host");
        assert!(told(100 * MS, 800 * MS, 100 * MS, 700 * MS).is_empty(), "mostly blocked");
        assert!(told(20 * MS, 20 * MS, 100 * MS, 700 * MS).is_empty(), "little time");
        assert!(told(600 * MS, 300 * MS, 100 * MS, 0).is_empty(), "no pressure");
    }
}
