//! Claims about bottlenecks, each with evidence, a witness and advice. Pure functions over the model.

use std::collections::BTreeMap;

use crate::batch::ProcessKey;
use crate::field::{Subject, Value};
use crate::model::Model;
use crate::model::bound::OTHER_PROCESS;
use crate::model::host::busy_ratio;
use crate::model::process::Process;

mod accept;
mod connect;
mod disk;
mod dns;
mod drop;
mod exchange;
mod file;
mod limit;
mod memory;
mod nagle;
mod operation;
mod pressure;
mod stolen;
mod syscall;
mod task;
mod tcp;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Hurts somebody.
    Medium,
    /// Dominates somebody's time.
    High,
}

impl Severity {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A claim that can be checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Catalog number, such as `S9`: the key of `profiler explain`.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Name of whom it is about.
    pub subject: String,
    /// Row to drill down to.
    pub at: Subject,
    /// What is wrong, one sentence without a full stop.
    pub claim: String,
    /// Who suffers, by name, with the share of wall time lost where known.
    pub victims: Vec<String>,
    /// Share of the victim's (or host's) wall time lost, 0 to 1: findings are sorted by it.
    pub impact: f64,
    /// The numbers behind it.
    pub evidence: Vec<String>,
    /// An independent kernel counter that agrees, with its value; `None` where none exists.
    pub witness: Option<String>,
    /// Other explanations that were checked and rejected.
    pub rejected: Vec<String>,
    /// What to change.
    pub advice: &'static str,
}

/// A rule that may find something.
#[derive(Clone, Copy, Debug)]
pub struct Detector {
    /// Catalog number.
    pub id: &'static str,
    /// What it looks for.
    pub title: &'static str,
    /// When it claims something, and why then.
    pub doc: &'static str,
    /// The rule.
    pub check: fn(&Model) -> Vec<Finding>,
    /// Probes without which it cannot tell.
    pub needs: &'static [&'static str],
    /// Resources of PSI whose pressure its findings explain.
    pub explains: &'static [&'static str],
    /// Why it cannot tell from what the kernel counted, if so: silence then means nothing.
    pub blind: fn(&Model) -> Option<&'static str>,
}

impl Detector {
    /// Why it cannot tell on this host, if so.
    fn ignorance(&self, model: &Model) -> Option<String> {
        if model.time.batches == 0 {
            return Some("nothing was observed yet".into());
        }
        let missing = self.needs.iter().find(|probe| model.quality.is_missing(probe));
        let missing = missing.map(|probe| format!("the probe {probe} is missing"));
        missing.or_else(|| (self.blind)(model).map(str::to_owned))
    }
}

/// All rules. Reports, screens and `explain` walk this list.
pub const DETECTORS: &[Detector] = &[
    file::FSYNC_STORM,
    disk::SLOW_FLUSH,
    memory::DIRTY,
    disk::SATURATED,
    disk::QUEUEING,
    disk::ONE_BY_ONE,
    memory::RECLAIM,
    memory::FAULTS,
    tcp::LOSS,
    limit::SLOW_RECEIVER,
    limit::SMALL_SEND_BUFFER,
    limit::FULL_WAY,
    nagle::STALLS,
    tcp::OVERFLOW,
    accept::SLOW,
    connect::NO_PORT_LEFT,
    pressure::TCP_MEMORY,
    exchange::THINKING,
    drop::FULL,
    dns::NAMES,
    task::RUN_QUEUE,
    task::THROTTLED,
    task::SATURATED,
    stolen::STOLEN,
    syscall::LOOKUP_STORM,
    operation::PASSED_ON,
];

/// With fewer operations in the window, a percentile or a share is a few unlucky cases.
const VOLUME_MIN: u64 = 50;
/// A victim lost at least this share of its time: less is not worth waking anybody for.
const VICTIM_SHARE_MIN: f64 = 0.05;
/// Nor is a process that lived for a moment, whatever its share: nobody notices less.
const LOST_MIN_NS: u64 = 20_000_000;
/// Victims to name.
const VICTIMS_MAX: usize = 3;
/// With so few CPUs idle, whoever becomes ready most likely has to queue for one.
const CPUS_BUSY_MIN: f64 = 0.9;
/// Pressure that somebody must notice, as in [`severity`]: nobody may call such a host fine.
const PRESSURE_HIGH: f64 = 0.2;

/// All findings, the greatest impact first. None on a healthy host, nor of a rule that cannot tell.
#[must_use]
pub fn all(model: &Model) -> Vec<Finding> {
    let able = DETECTORS.iter().filter(|detector| detector.ignorance(model).is_none());
    let mut findings: Vec<Finding> = able.flat_map(|detector| (detector.check)(model)).collect();
    findings.sort_by(|a, b| b.impact.total_cmp(&a.impact).then_with(|| (a.id, &a.at).cmp(&(b.id, &b.at))));
    findings
}

/// The rules that cannot tell on this host, and why.
#[must_use]
pub fn undecided(model: &Model) -> Vec<(&'static Detector, String)> {
    DETECTORS.iter().filter_map(|detector| Some((detector, detector.ignorance(model)?))).collect()
}

/// Signs of trouble that no finding explains: to say that nothing is wrong would be wrong.
#[must_use]
pub fn unexplained(model: &Model, findings: &[Finding]) -> Option<String> {
    let of = |finding: &Finding| DETECTORS.iter().find(|detector| detector.id == finding.id);
    let is_open = |resource| !findings.iter().filter_map(of).any(|detector| detector.explains.contains(&resource));
    let mut signs = Vec::new();
    let busy = busy_ratio(&model.host.row.sum.cpu_ns).filter(|busy| *busy >= CPUS_BUSY_MIN && is_open("cpu"));
    signs.extend(busy.map(|busy| format!("CPUs {} busy", percent(busy))));
    for resource in ["cpu", "io", "memory"].into_iter().filter(|resource| is_open(resource)) {
        let high = model.host.pressure_ratio(resource, model.time.window_ns).filter(|ratio| *ratio >= PRESSURE_HIGH);
        signs.extend(high.map(|ratio| format!("PSI {resource} some {}", percent(ratio))));
    }
    (!signs.is_empty()).then(|| signs.join(", "))
}

/// Half of somebody's time is an outage for them; a fifth is what users notice.
fn severity(impact: f64) -> Severity {
    match impact {
        _ if impact >= 0.5 => Severity::High,
        _ if impact >= 0.2 => Severity::Medium,
        _ => Severity::Low,
    }
}

/// A process and its key.
type Member<'a> = (ProcessKey, &'a Process);

/// Processes that are some, without the sum of those that are no longer kept.
fn real(model: &Model) -> impl Iterator<Item = Member<'_>> {
    model.processes.iter().filter(|(key, _)| **key != OTHER_PROCESS).map(|(key, process)| (*key, process))
}

/// Kernel threads wait on behalf of others and are no victims.
fn users(model: &Model) -> impl Iterator<Item = Member<'_>> {
    real(model).filter(|(_, process)| !process.is_kernel())
}

/// Processes of the same name, which mostly share their work: backends of a database, jobs of a build.
fn by_name<'a>(members: impl Iterator<Item = Member<'a>>) -> Vec<Vec<Member<'a>>> {
    let mut groups = BTreeMap::<_, Vec<Member<'a>>>::new();
    for (key, process) in members {
        let name = process.comm(key);
        groups.entry((name, name.is_none().then_some(key))).or_default().push((key, process));
    }
    groups.into_values().collect()
}

/// Name of whoever owns a socket.
fn owner(model: &Model, key: Option<ProcessKey>) -> String {
    key.map_or_else(|| "an unknown process".into(), |key| model.label(key))
}

/// Name of such a group.
fn label(group: &[Member<'_>]) -> String {
    match group {
        [] => String::new(),
        [(key, process)] => process.label(*key),
        [(key, process), ..] => format!("{} ({} processes)", process.comm(*key).unwrap_or_default(), group.len()),
    }
}

/// Processes by the share of their time that `lost_ns` says, the greatest first.
fn victims(model: &Model, lost_ns: impl Fn(ProcessKey, &Process) -> u64) -> Vec<(ProcessKey, f64)> {
    losers(model, users(model), VICTIM_SHARE_MIN, lost_ns)
}

/// The same of some processes, and from some share on.
fn losers<'a>(
    model: &Model,
    members: impl IntoIterator<Item = Member<'a>>,
    share_min: f64,
    lost_ns: impl Fn(ProcessKey, &Process) -> u64,
) -> Vec<(ProcessKey, f64)> {
    let loser = |(key, process): Member<'a>| {
        let lost_ns = lost_ns(key, process);
        // Several threads can lose more than one lifetime.
        let share = ratio(lost_ns, process.lifetime_ns(model.time.window_ns)).min(1.0);
        (lost_ns >= LOST_MIN_NS && share >= share_min).then_some((key, share))
    };
    let mut losers: Vec<_> = members.into_iter().filter_map(loser).collect();
    losers.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    losers
}

/// Whether PSI saw somebody stall for at least this share of time. True without PSI: nothing contradicts.
fn stalls(model: &Model, resource: &str, least: f64) -> bool {
    model.host.pressure_ratio(resource, model.time.window_ns).is_none_or(|ratio| ratio >= least)
}

/// What PSI says of a resource, as a witness.
fn pressure(model: &Model, resource: &str) -> Option<String> {
    let ratio = model.host.pressure_ratio(resource, model.time.window_ns)?;
    Some(format!("PSI {resource}: some task waited {} of the time", percent(ratio)))
}

/// The first of them by name.
fn named(model: &Model, victims: &[(ProcessKey, f64)], losing: &str) -> Vec<String> {
    listed(
        victims.iter().map(|(key, share)| format!("{}: {} of its time {losing}", model.label(*key), percent(*share))),
    )
}

/// The first of them, and how many more there are.
fn listed(mut victims: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = victims.by_ref().take(VICTIMS_MAX).collect();
    if victims.len() > 0 {
        names.push(format!("and {} more", victims.len()));
    }
    names
}

fn percent(ratio: f64) -> String {
    Value::Ratio(ratio).to_string()
}

fn nanos(ns: u64) -> String {
    Value::Nanos(ns).to_string()
}

fn bytes(n: u64) -> String {
    format!("{:#}", Value::Bytes(n))
}

/// Share of a whole, 0 of nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Events per second.
fn per_second(count: u64, ns: u64) -> f64 {
    if ns == 0 { 0.0 } else { count as f64 * 1e9 / ns as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Machine, Pressure, ProbeStatus};
    use crate::model::Window;
    use crate::model::fixture::{MS, batch, machine, model};

    #[test]
    fn rules_have_their_own_numbers_and_sentences() {
        let ids: std::collections::BTreeSet<_> = DETECTORS.iter().map(|detector| detector.id).collect();
        assert_eq!(ids.len(), DETECTORS.len());
        assert!(DETECTORS.iter().all(|detector| detector.doc.ends_with('.') && !detector.title.ends_with('.')));
    }

    #[test]
    fn an_idle_host_has_no_findings_and_every_rule_can_tell() {
        let model = model(Window::Recent, &[batch(0)]);
        assert_eq!((all(&model), undecided(&model).len()), (Vec::new(), 0));
    }

    #[test]
    fn pressure_that_no_finding_explains_is_told() {
        let mut told = batch(0);
        told.host.cpu_ns = [1_960 * MS, 0, 40 * MS, 0, 0, 0];
        told.host.pressure.insert("io".into(), Some(Pressure { some_ns: 620 * MS, full_ns: 0 }));
        let model = model(Window::Recent, &[told]);
        assert_eq!(unexplained(&model, &all(&model)).as_deref(), Some("CPUs 98 % busy, PSI io some 62 %"));
        let of = |id| Finding {
            id,
            severity: Severity::Low,
            subject: String::new(),
            at: Subject::Socket(0),
            claim: String::new(),
            victims: Vec::new(),
            impact: 0.1,
            evidence: Vec::new(),
            witness: None,
            rejected: Vec::new(),
            advice: "",
        };
        assert_eq!(unexplained(&model, &[of("S8")]).as_deref(), Some("CPUs 98 % busy"));
        assert_eq!(unexplained(&model, &[of("S8"), of("C7")]), None);
        assert_eq!(unexplained(&model, &[of("N1")]), unexplained(&model, &[]), "loss on a path stalls no task");
    }

    #[test]
    fn a_missing_probe_makes_rules_undecided() {
        let probe = ProbeStatus { name: "iter_tcp".into(), ..ProbeStatus::default() };
        let mut model = Model::new(Machine { probes: vec![probe], ..machine() }, Window::Recent);
        model.apply(&batch(0));
        let ids: Vec<_> = undecided(&model).into_iter().map(|(detector, why)| (detector.id, why)).collect();
        assert_eq!(
            ids,
            ["N1", "N4", "N5", "N6", "N7", "N8", "N9", "N12", "N21", "N20"]
                .map(|id| (id, "the probe iter_tcp is missing".into()))
        );
    }
}
