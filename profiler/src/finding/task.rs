//! Findings about threads: too few CPUs, a quota that is used up, and CPU trouble that poses as I/O.

use std::collections::BTreeMap;

use super::{
    CPUS_BUSY_MIN, Detector, Finding, LOST_MIN_NS, Member, VICTIM_SHARE_MIN, VOLUME_MIN, by_name, label, listed,
    losers, named, nanos, percent, pressure, ratio, real, severity, stalls, stolen, users, victims,
};
use crate::batch::ProcessKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::host::busy_ratio;
use crate::model::process::Process;
use crate::model::state::THROTTLED as THROTTLED_STATE;

/// A quarter of what looks like waiting for I/O is waiting for a CPU: fixing the I/O cannot help more than the rest.
pub(super) const RUNQ_SHARE_MIN: f64 = 0.25;
/// With more idle CPUs than that the run queue is a matter of placement or quota, which this rule cannot explain.
const HOST_BUSY_MIN: f64 = 0.8;
/// PSI must have seen somebody wait for a CPU for at least this share of time.
const PRESSURE_MIN: f64 = 0.01;
/// Processes to name as the ones that have the CPUs.
const HOGS_MAX: usize = 3;

/// Probes that tell where the time of threads went.
pub(super) const SCHEDULER: &[&str] = &["iter_task", "sched_switch"];

pub(super) const RUN_QUEUE: Detector = Detector {
    id: "C1",
    title: "run-queue latency that poses as I/O",
    doc: "On a host whose CPUs are 80 % busy, more than 25 % of the time that a process waits is on the run queue \
          after a wake-up, and at least 5 % of its time: the I/O was done, the thread was not running.",
    check: run_queue,
    needs: SCHEDULER,
    explains: &["cpu"],
    blind: no_cpu_time,
};

pub(super) const SATURATED: Detector = Detector {
    id: "C7",
    title: "CPUs saturated",
    doc: "The CPUs are at least 90 % busy, and a process is on the run queue for 5 % of its time, after wake-ups or \
          preemptions. Where the worst of them only seems to wait for I/O, C1 says so instead.",
    check: saturated,
    needs: SCHEDULER,
    explains: &["cpu"],
    blind: no_cpu_time,
};

pub(super) const THROTTLED: Detector = Detector {
    id: "C2",
    title: "CPU quota used up",
    doc: "Processes of a control group want a CPU for 5 % of their time and get none, because the group, or one above \
          it, has used up its quota. The host may be idle.",
    check: throttled,
    needs: SCHEDULER,
    explains: &["cpu"],
    blind: |_| None,
};

pub(super) fn no_cpu_time(model: &Model) -> Option<&'static str> {
    busy_ratio(&model.host.row.sum.cpu_ns).is_none().then_some("/proc/stat told nothing")
}

/// One finding for the host, since the CPUs are shared: its victims are listed.
fn run_queue(model: &Model) -> Vec<Finding> {
    run_queue_of_host(model).into_iter().collect()
}

fn run_queue_of_host(model: &Model) -> Option<Finding> {
    let busy = busy_ratio(&model.host.row.sum.cpu_ns).filter(|busy| *busy >= HOST_BUSY_MIN)?;
    let losers = victims(model, |_, process| if poses(process) { process.usage.sum.runq_wakeup_ns } else { 0 });
    let (worst, impact) = *losers.first()?;
    if !stalls(model, "cpu", PRESSURE_MIN) || !short_of_cpus(model).is_empty() {
        return None;
    }
    let usage = &model.processes.get(&worst)?.usage.sum;
    let (name, wait) = (model.label(worst), ratio(usage.runq_wakeup_ns, usage.blocked_ns + usage.runq_ns()));
    let mut rejected = vec![
        format!("slow I/O: it is blocked for {} only, the rest of its waiting is for a CPU", nanos(usage.blocked_ns)),
        format!("preemption: {} on the run queue after one", nanos(usage.runq_preempted_ns)),
    ];
    reject_hypervisor(model, &mut rejected);
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
            format!("CPUs are {} busy; most of it: {}", percent(busy), hogs(model, Some(worst))),
        ],
        witness: pressure(model, "cpu"),
        rejected,
        advice: FEWER_OR_MORE,
    })
}

const FEWER_OR_MORE: &str =
    "fewer runnable threads, more CPUs, or a lower priority (nice, cpu.weight) for the processes that have them";

/// Most of its waiting seems to be for I/O, and a good part of it is not.
fn poses(process: &Process) -> bool {
    let usage = &process.usage.sum;
    let enough = usage.switches_voluntary + usage.switches_involuntary >= VOLUME_MIN;
    enough && ratio(usage.runq_wakeup_ns, usage.blocked_ns + usage.runq_ns()) > RUNQ_SHARE_MIN
}

/// One finding for the host.
fn saturated(model: &Model) -> Vec<Finding> {
    saturated_host(model).into_iter().collect()
}

fn saturated_host(model: &Model) -> Option<Finding> {
    let losers = short_of_cpus(model);
    let worst = losers.first()?;
    let busy = busy_ratio(&model.host.row.sum.cpu_ns)?;
    let mut rejected = Vec::new();
    reject_hypervisor(model, &mut rejected);
    let has = if worst.processes == 1 { "has" } else { "have" };
    Some(Finding {
        id: SATURATED.id,
        severity: severity(worst.share),
        subject: worst.name.clone(),
        at: Subject::Process(worst.most),
        claim: format!("CPUs are {} busy, and {} {has} to wait for one", percent(busy), worst.name),
        victims: listed(losers.iter().map(Loser::victim)),
        impact: worst.share,
        evidence: vec![
            format!("most of the CPU time: {}", hogs(model, None)),
            format!(
                "the worst: {} on the run queue after preemptions, {} after wake-ups",
                nanos(worst.preempted_ns),
                nanos(worst.woken_ns)
            ),
        ],
        witness: pressure(model, "cpu"),
        rejected,
        advice: FEWER_OR_MORE,
    })
}

/// Processes of one name that want CPUs.
struct Loser {
    name: String,
    processes: usize,
    /// The one that lost most.
    most: ProcessKey,
    preempted_ns: u64,
    woken_ns: u64,
    /// Share of the time that they existed.
    share: f64,
}

impl Loser {
    fn of(model: &Model, group: &[Member<'_>]) -> Option<Self> {
        let sum = |value: &dyn Fn(&Process) -> u64| group.iter().map(|(_, process)| value(process)).sum::<u64>();
        let preempted_ns = sum(&|process| process.usage.sum.runq_preempted_ns);
        let woken_ns = sum(&|process| process.usage.sum.runq_wakeup_ns);
        let lost_ns = preempted_ns + woken_ns;
        let share = ratio(lost_ns, sum(&|process| process.lifetime_ns(model.time.window_ns))).min(1.0);
        let (most, _) = *group.iter().max_by_key(|(_, process)| process.usage.sum.runq_ns())?;
        let (name, processes) = (label(group), group.len());
        let suffers = lost_ns >= LOST_MIN_NS && share >= VICTIM_SHARE_MIN;
        suffers.then_some(Self { name, processes, most, preempted_ns, woken_ns, share })
    }

    fn victim(&self) -> String {
        let its = if self.processes == 1 { "its" } else { "their" };
        format!("{}: {} of {its} time on the run queue", self.name, percent(self.share))
    }
}

/// Who loses time on the run queues of a host that has no CPU to spare, who loses most first. Nobody if that one poses as
/// waiting for I/O, which is another claim about the same.
fn short_of_cpus(model: &Model) -> Vec<Loser> {
    let busy = busy_ratio(&model.host.row.sum.cpu_ns).is_some_and(|busy| busy >= CPUS_BUSY_MIN);
    if !busy || !stalls(model, "cpu", VICTIM_SHARE_MIN) {
        return Vec::new();
    }
    let mut losers: Vec<_> = by_name(users(model)).iter().filter_map(|group| Loser::of(model, group)).collect();
    losers.sort_by_key(|loser| (std::cmp::Reverse(loser.preempted_ns + loser.woken_ns), loser.most));
    let posing = losers.first().and_then(|worst| model.processes.get(&worst.most)).is_some_and(poses);
    if posing { Vec::new() } else { losers }
}

fn reject_hypervisor(model: &Model, rejected: &mut Vec<String>) {
    let [steal, _] = stolen::taken(model);
    if steal < stolen::SHARE_MIN {
        rejected.push(format!("CPUs taken by the hypervisor: {} stolen", percent(steal)));
    }
}

/// Who has the CPUs.
fn hogs(model: &Model, victim: Option<ProcessKey>) -> String {
    let cpu_ns = |group: &[Member<'_>]| group.iter().map(|(_, process)| process.usage.sum.cpu_ns).sum::<u64>();
    let groups = by_name(real(model).filter(|(key, _)| Some(*key) != victim));
    let mut hogs: Vec<_> = groups.iter().map(|group| (cpu_ns(group), label(group))).filter(|hog| hog.0 > 0).collect();
    hogs.sort_unstable_by(|a, b| b.cmp(a));
    let name = |(ns, name): &(u64, String)| format!("{name} {}", percent(ratio(*ns, model.time.window_ns)));
    let names: Vec<String> = hogs.iter().take(HOGS_MAX).map(name).collect();
    if names.is_empty() { "itself".into() } else { names.join(", ") }
}

/// One finding for each control group, since it is the group that has the quota.
fn throttled(model: &Model) -> Vec<Finding> {
    let mut groups = BTreeMap::<&str, Vec<Member<'_>>>::new();
    for (key, process) in users(model) {
        let group = process.fact.as_ref().and_then(|fact| fact.cgroup.as_deref()).unwrap_or("?");
        groups.entry(group).or_default().push((key, process));
    }
    groups.iter().filter_map(|(group, members)| throttled_group(model, group, members)).collect()
}

fn throttled_group(model: &Model, group: &str, members: &[Member<'_>]) -> Option<Finding> {
    let throttled_ns = |process: &Process| process.usage.sum.throttled_ns;
    let losers = losers(model, members.iter().copied(), VICTIM_SHARE_MIN, |_, process| throttled_ns(process));
    let (_, impact) = *losers.first()?;
    let sum = |value: fn(&Process) -> u64| members.iter().map(|(_, process)| value(process)).sum::<u64>();
    let cpu = ratio(sum(|process| process.usage.sum.cpu_ns), model.time.window_ns);
    let queued_ns = sum(|process| process.usage.sum.runq_ns());
    let mut rejected = Vec::new();
    if queued_ns < sum(throttled_ns) {
        rejected.push(format!("other processes on the CPUs: {} on the run queue for that", nanos(queued_ns)));
    }
    Some(Finding {
        id: THROTTLED.id,
        severity: severity(impact),
        subject: group.to_owned(),
        at: Subject::Group(group.to_owned(), THROTTLED_STATE),
        claim: format!("control group {group} has used up its CPU quota"),
        victims: named(model, &losers, "without CPU quota"),
        impact,
        evidence: vec![format!(
            "its threads wanted a CPU for {} without quota; they had one for {} of the time",
            nanos(sum(throttled_ns)),
            percent(cpu)
        )],
        // `cpu.stat` of the group is not read, and PSI counts a throttled task or not, depending on the kernel.
        witness: None,
        rejected,
        advice: "raise the quota (`cpu.max`, a limit of the container); use no more threads than it pays for, since \
                 many use it up at once; allow a burst (`cpu.max.burst`)",
    })
}

/// The victim gets a CPU soon after it is woken, so it is not the run queue that makes storage look slow.
pub(super) fn reject_run_queue(model: &Model, victim: ProcessKey, rejected: &mut Vec<String>) {
    let Some(process) = model.processes.get(&victim) else { return };
    let usage = &process.usage.sum;
    let share = ratio(usage.runq_wakeup_ns, usage.blocked_ns + usage.runq_ns());
    if share < RUNQ_SHARE_MIN {
        rejected.push(format!("waiting for a CPU: {} of what {} waits", percent(share), model.label(victim)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Machine, Pressure, ProbeStatus, TaskRow};
    use crate::model::Window;
    use crate::model::fixture::{MS, SECOND, batch, machine, model, named, process, thread};

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

    /// The same, but it loses its time after preemptions.
    fn preempted(runq_ns: u64, idle_ns: u64, stalled_ns: u64) -> Vec<Finding> {
        let mut told = busy(0, SECOND - 100 * MS - runq_ns, idle_ns, stalled_ns);
        told.tasks[0].runq_preempted_ns = runq_ns;
        super::super::all(&model(Window::Recent, &[told]))
    }

    #[test]
    fn cpus_that_are_used_up_are_found() {
        let findings = preempted(400 * MS, 100 * MS, 700 * MS);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.id, finding.claim.as_str()), ("C7", "CPUs are 95 % busy, and web (7) has to wait for one"));
        assert_eq!(finding.victims, ["web (7): 40 % of its time on the run queue"]);
        assert_eq!(finding.evidence[0], "most of the CPU time: burn (8) 100 %, web (7) 10 %");
        assert_eq!(finding.witness.as_deref(), Some("PSI cpu: some task waited 70 % of the time"));
    }

    #[test]
    fn jobs_of_one_name_are_one_victim() {
        let mut told = busy(0, 900 * MS, 100 * MS, 700 * MS);
        for pid in 20..40 {
            let job = TaskRow { wall_ns: 50 * MS, runq_preempted_ns: 25 * MS, ..thread(process(pid), pid, 25 * MS) };
            told.facts.push(named(process(pid), "cc1plus"));
            told.tasks.push(job);
        }
        let findings = saturated(&model(Window::Recent, &[told]));
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.claim, "CPUs are 95 % busy, and cc1plus (20 processes) have to wait for one");
        assert_eq!(finding.victims, ["cc1plus (20 processes): 50 % of their time on the run queue"]);
    }

    #[test]
    fn cpus_that_nobody_has_to_wait_for_are_not_saturated() {
        assert!(preempted(400 * MS, 300 * MS, 700 * MS).is_empty(), "spare CPUs");
        assert!(preempted(40 * MS, 100 * MS, 700 * MS).is_empty(), "no queue");
        assert!(preempted(400 * MS, 100 * MS, 20 * MS).is_empty(), "no pressure");
    }

    #[test]
    fn a_group_without_quota_is_found() {
        let mut told = busy(0, 600 * MS, 1_500 * MS, 0);
        told.tasks[0].throttled_ns = 300 * MS;
        let findings = |told: &Batch| super::super::all(&model(Window::Recent, std::slice::from_ref(told)));
        let found = findings(&told);
        let [finding] = &found[..] else { panic!("{found:?}") };
        assert_eq!((finding.id, finding.at.clone()), ("C2", Subject::Group("?".into(), THROTTLED_STATE)));
        assert_eq!(finding.victims, ["web (7): 30 % of its time without CPU quota"]);
        told.tasks[0].throttled_ns = 30 * MS;
        assert_eq!(findings(&told), []);
    }

    #[test]
    fn without_a_busy_host_long_waits_or_a_witness_there_is_no_claim() {
        assert!(told(600 * MS, 300 * MS, 1_900 * MS, 700 * MS).is_empty(), "idle host");
        assert!(told(100 * MS, 800 * MS, 300 * MS, 700 * MS).is_empty(), "mostly blocked");
        assert!(told(20 * MS, 20 * MS, 100 * MS, 700 * MS).is_empty(), "little time");
        assert!(told(600 * MS, 300 * MS, 100 * MS, 0).is_empty(), "no pressure");
    }
}
