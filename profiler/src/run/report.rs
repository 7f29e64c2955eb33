//! `profiler report`: everything that was found in a capture, or on this host in a few seconds.

use std::fmt::Display;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use crate::batch::{Batch, Machine};
use crate::cli::{FailOn, Format, ReportArgs};
use crate::error::Error;
use crate::finding::{self, Finding, Severity};
use crate::model::{Model, Window};
use crate::run::attach::attach;
use crate::run::file::{self, DASH};
use crate::run::signals::Signals;
use crate::run::{Exit, View, Wish, block_on, print, run, say};
use crate::source::Source;
use crate::source::replay::Replay;
use crate::view::report;

/// How long a host is observed if nobody says.
const DURATION: Duration = Duration::from_secs(10);

pub(super) fn main(args: &ReportArgs) -> Result<Exit, Error> {
    let model = block_on(async {
        match &args.file {
            Some(path) if path.as_os_str() == DASH => stored(io::stdin(), Path::new("standard input")).await,
            Some(path) => stored(file::open(path)?, path).await,
            None => live(args).await,
        }
    })?;
    let findings = finding::all(&model);
    print(&match args.format {
        Format::Text => report::text(&model, &findings),
        Format::Json => report::json(&model, &findings),
    })?;
    Ok(verdict(args.fail_on, &findings, finding::undecided(&model).is_empty()))
}

async fn stored(input: impl Read + Send, path: &Path) -> Result<Model, Error> {
    let mut source = Replay::new(input, path)?;
    let mut whole = Whole::new(source.machine(), None);
    run(&mut source, &mut whole, std::future::pending::<()>()).await?;
    if let Some(damage) = source.damage() {
        warn_of_damage(path, damage);
    }
    Ok(whole.model)
}

async fn live(args: &ReportArgs) -> Result<Model, Error> {
    let duration = args.duration.unwrap_or(DURATION);
    let mut source = attach(&args.observe)?;
    let mut signals = Signals::listen()?;
    if io::stderr().is_terminal() {
        say(&format!("observing {} for {duration:?}; Ctrl-C reports at once", source.machine().host));
    }
    let mut whole = Whole::new(source.machine(), Some(duration));
    run(&mut source, &mut whole, signals.next()).await?;
    Ok(whole.model)
}

/// Says once what of a capture could not be read.
pub(super) fn warn_of_damage(path: &Path, damage: &impl Display) {
    say(&format!("warning: `{}`: {damage}", path.display()));
}

/// Learns everything, up to a length of time that was observed.
struct Whole {
    model: Model,
    wanted: Option<Duration>,
}

impl Whole {
    fn new(machine: &Machine, wanted: Option<Duration>) -> Self {
        Self { model: Model::new(machine.clone(), Window::Whole), wanted }
    }
}

impl View for Whole {
    async fn show(&mut self, batch: Batch) -> Wish {
        self.model.apply(&batch);
        match self.wanted {
            Some(wanted) if Duration::from_nanos(self.model.time.window_ns) >= wanted => Wish::Enough,
            _ => Wish::More,
        }
    }
}

/// What the report means for a script. `complete`: every rule could tell. A rule that could not may have hidden what
/// the script asks for, so silence is then no answer.
fn verdict(fail_on: Option<FailOn>, findings: &[Finding], complete: bool) -> Exit {
    let least = match fail_on {
        None => return Exit::Fine,
        Some(FailOn::Low) => Severity::Low,
        Some(FailOn::Medium) => Severity::Medium,
        Some(FailOn::High) => Severity::High,
    };
    match findings.iter().any(|finding| finding.severity >= least) {
        true => Exit::Findings,
        false if complete => Exit::Fine,
        false => Exit::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Subject;

    fn found(severity: Severity) -> Finding {
        Finding {
            id: "S9",
            severity,
            subject: String::new(),
            at: Subject::Disk(0, 0),
            claim: String::new(),
            victims: Vec::new(),
            impact: 0.0,
            evidence: Vec::new(),
            witness: None,
            rejected: Vec::new(),
            advice: "",
        }
    }

    fn check(fail_on: Option<FailOn>, severities: &[Severity], complete: bool, exit: Exit) {
        let findings: Vec<_> = severities.iter().copied().map(found).collect();
        assert_eq!(verdict(fail_on, &findings, complete), exit, "{fail_on:?} {severities:?} {complete}");
    }

    #[test]
    fn only_a_gate_fails() {
        check(None, &[Severity::High], true, Exit::Fine);
        check(None, &[], false, Exit::Fine);
        check(Some(FailOn::Low), &[], true, Exit::Fine);
    }

    #[test]
    fn a_gate_fails_from_its_severity_on() {
        check(Some(FailOn::Medium), &[Severity::Low], true, Exit::Fine);
        check(Some(FailOn::Medium), &[Severity::Low, Severity::Medium], true, Exit::Findings);
        check(Some(FailOn::Medium), &[Severity::High], false, Exit::Findings);
    }

    #[test]
    fn silence_of_a_blind_rule_is_no_answer() {
        check(Some(FailOn::High), &[], false, Exit::Inconclusive);
        check(Some(FailOn::High), &[Severity::Low], false, Exit::Inconclusive);
    }
}
