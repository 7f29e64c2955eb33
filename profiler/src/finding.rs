//! Claims about bottlenecks, each with evidence, a witness and advice. Pure functions over the model.

use crate::batch::ProcessKey;
use crate::field::{Subject, Value};
use crate::model::Model;
use crate::model::bound::OTHER_PROCESS;
use crate::model::process::Process;

mod disk;
mod file;
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
    disk::SATURATED,
    disk::QUEUEING,
    tcp::LOSS,
    tcp::OVERFLOW,
    task::RUN_QUEUE,
    syscall::LOOKUP_STORM,
];

/// With fewer operations in the window, a percentile or a share is a few unlucky cases.
const VOLUME_MIN: u64 = 50;
/// A victim lost at least this share of its time: less is not worth waking anybody for.
const VICTIM_SHARE_MIN: f64 = 0.05;
/// Victims to name.
const VICTIMS_MAX: usize = 3;

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

/// Half of somebody's time is an outage for them; a fifth is what users notice.
fn severity(impact: f64) -> Severity {
    match impact {
        _ if impact >= 0.5 => Severity::High,
        _ if impact >= 0.2 => Severity::Medium,
        _ => Severity::Low,
    }
}

/// Processes by the share of their time that `lost_ns` says, the greatest first. Kernel threads wait on behalf of
/// others and are no victims.
fn victims(model: &Model, lost_ns: impl Fn(&Process) -> u64) -> Vec<(ProcessKey, f64)> {
    let share = |process: &Process| {
        let lifetime_ns = process.lifetime_ns(model.time.window_ns);
        // Several threads can lose more than one lifetime.
        if lifetime_ns == 0 { 0.0 } else { (lost_ns(process) as f64 / lifetime_ns as f64).min(1.0) }
    };
    let users = model.processes.iter().filter(|(key, process)| !process.is_kernel() && **key != OTHER_PROCESS);
    let mut victims: Vec<_> = users.map(|(key, process)| (*key, share(process))).collect();
    victims.retain(|(_, share)| *share >= VICTIM_SHARE_MIN);
    victims.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    victims
}

/// The first of them by name.
fn named(model: &Model, victims: &[(ProcessKey, f64)], losing: &str) -> Vec<String> {
    let name =
        |(key, share): &(ProcessKey, f64)| format!("{}: {} of its time {losing}", model.label(*key), percent(*share));
    let mut names: Vec<String> = victims.iter().take(VICTIMS_MAX).map(name).collect();
    if victims.len() > VICTIMS_MAX {
        names.push(format!("and {} more", victims.len() - VICTIMS_MAX));
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
    use crate::batch::{Machine, ProbeStatus};
    use crate::model::Window;
    use crate::model::fixture::{batch, machine, model};

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
    fn a_missing_probe_makes_rules_undecided() {
        let probe = ProbeStatus { name: "iter_tcp".into(), ..ProbeStatus::default() };
        let mut model = Model::new(Machine { probes: vec![probe], ..machine() }, Window::Recent);
        model.apply(&batch(0));
        let ids: Vec<_> = undecided(&model).into_iter().map(|(detector, why)| (detector.id, why)).collect();
        assert_eq!(
            ids,
            [("N1", "the probe iter_tcp is missing".into()), ("N8", "the probe iter_tcp is missing".into())]
        );
    }
}
