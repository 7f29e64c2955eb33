//! What a guest said: which probes its kernel took, and how the tests went.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::matrix::Guest;
use crate::test::Panics;

/// A guest's answers.
#[derive(Debug)]
pub struct Outcome {
    /// What the profiler says of its host.
    pub host: Host,
    /// Whether each test passed.
    pub tests: BTreeMap<String, bool>,
    /// What the tests have measured, in words, by what it is.
    pub figures: BTreeMap<String, String>,
    /// What those that failed said.
    pub panics: Panics,
    pub took: Duration,
    /// What the profiler cost under a small load, where that was asked for.
    pub cost: Option<Cost>,
}

/// What reports cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How long the shortest report takes, beyond its one interval, to start and to end: the least of some, as whatever else the
    /// emulator's host does only adds to it.
    pub start: Duration,
    /// Its own CPU time as a share of the time of one CPU, nearly all of it for reading the kernel once per tick.
    pub cpu_ratio: f64,
}

/// The interval of the shortest report; init.sh says the same.
const INTERVAL: Duration = Duration::from_millis(100);

impl Cost {
    fn parse(section: &str) -> Option<Self> {
        let took = section.lines().filter_map(|line| line.strip_prefix("took ")?.strip_suffix(" centiseconds"));
        let took = took.map(|took| took.parse::<u64>().ok()).min()??;
        let took = Duration::from_millis(took * 10);
        let cpu_ratio = section.lines().find_map(|line| line.strip_prefix("\"self_cpu_ratio\":")?.parse().ok())?;
        Some(Self { start: took.checked_sub(INTERVAL)?, cpu_ratio })
    }
}

/// What `profiler doctor --json` says.
#[derive(Debug, Deserialize)]
pub struct Host {
    pub kernel: String,
    pub probes: Vec<Probe>,
}

/// A probe, as that kernel took it.
#[derive(Debug, Deserialize)]
pub struct Probe {
    pub name: String,
    /// `None` if it is missing.
    pub form: Option<String>,
    /// Why it is not in its best form.
    pub reason: String,
}

impl Outcome {
    /// Reads what a guest wrote; it must have come to its end.
    pub fn parse(said: &str, took: Duration) -> Result<Self> {
        let section = |name: &str| {
            let (_, rest) = said.split_once(&format!("@@ {name}\n"))?;
            Some(rest.split_once("@@ ").map_or(rest, |(section, _)| section))
        };
        let Some((_, status)) = said.split_once("@@ ended ") else { bail!("it did not come to its end:\n{said}") };
        let doctor = section("doctor").context("it said nothing of its probes")?;
        let json = doctor.lines().find(|line| line.starts_with('{'));
        let json = json.with_context(|| format!("`profiler doctor` failed: {doctor}"))?;
        let host = serde_json::from_str(json).context("failed to read what `profiler doctor` said")?;
        let tested = section("tests").unwrap_or_default();
        let tests: BTreeMap<_, _> = tested.lines().filter_map(test).collect();
        let figures = tested.lines().filter_map(figure).collect();
        let mut panics = Panics::default();
        tested.lines().for_each(|line| panics.add(line));
        if tests.is_empty() || (status.trim() == "0") != tests.values().all(|passed| *passed) {
            bail!("its tests did not come to their end:\n{said}");
        }
        let cost = section("cost").map(|cost| Cost::parse(cost).with_context(|| format!("its report failed: {cost}")));
        Ok(Self { host, tests, figures, panics, took, cost: cost.transpose()? })
    }

    pub fn passed(&self) -> u64 {
        self.tests.values().filter(|passed| **passed).count() as u64
    }

    pub fn failed(&self) -> u64 {
        self.tests.len() as u64 - self.passed()
    }

    /// Tests that failed, and probes that are not as expected: in another form, or for another reason.
    pub fn faults(&self, guest: &Guest) -> Vec<String> {
        let failed = self.tests.iter().filter(|(_, passed)| !**passed).map(|(name, _)| format!("{name} failed"));
        let strange = self.host.probes.iter().filter(|probe| {
            let expected = guest.short.iter().find(|short| short.probe == probe.name);
            match expected {
                Some(short) => probe.form.as_deref() != short.form || !probe.reason.contains(short.why),
                None => probe.form.is_none() || !probe.reason.is_empty(),
            }
        });
        let strange = strange.map(|probe| {
            let form = probe.form.as_deref().unwrap_or("missing");
            format!("{} is {form}, not as expected: {}", probe.name, probe.reason)
        });
        failed.chain(strange).collect()
    }
}

/// A line such as `test a::b ... ok`. The guest's binary has the tests of the host's in a module of their own.
fn test(line: &str) -> Option<(String, bool)> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.strip_prefix("all::").unwrap_or(name).to_owned(), verdict == "ok"))
}

/// A line such as `figure what it is: 5 ms`.
fn figure(line: &str) -> Option<(String, String)> {
    let (what, value) = line.strip_prefix("figure ")?.rsplit_once(": ")?;
    Some((what.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::matrix::{GUESTS, Short};
    use super::*;

    const SAID: &str = "noise\n@@ doctor\n{\"kernel\":\"6.1\",\"probes\":[\
        {\"name\":\"a\",\"form\":\"iter\",\"reason\":\"\"},{\"name\":\"b\",\"form\":null,\"reason\":\"too old\"}]}\n\
        @@ cost\ntook 75 centiseconds\ntook 60 centiseconds\n\"self_cpu_ratio\":0.5\n\
        @@ tests\nrunning 2 tests\ntest all::kernel::x ... ok\ntest guest::y ... FAILED\n\
        figure delay: min: 5 ms\n@@ ended 101\n";

    #[test]
    fn what_was_not_expected_is_a_fault() {
        let outcome = Outcome::parse(SAID, Duration::ZERO).unwrap();
        assert_eq!(outcome.figures["delay: min"], "5 ms");
        let guest = |short| Guest { short, ..GUESTS[0] };
        let faults = outcome.faults(&guest(&[]));
        assert_eq!(faults, ["guest::y failed", "b is missing, not as expected: too old"]);
        assert_eq!(outcome.faults(&guest(&[Short { probe: "b", form: None, why: "old" }])), ["guest::y failed"]);
        assert_eq!(outcome.faults(&guest(&[Short { probe: "b", form: None, why: "new" }])).len(), 2);
    }

    #[test]
    fn the_cost_is_what_is_beyond_the_seconds_asked_for() {
        let cost = Outcome::parse(SAID, Duration::ZERO).unwrap().cost.unwrap();
        assert_eq!((cost.start, cost.cpu_ratio.to_string()), (Duration::from_millis(500), "0.5".to_owned()));
        assert!(Outcome::parse(&SAID.replace("took", "take"), Duration::ZERO).is_err());
    }

    #[test]
    fn a_guest_that_does_not_end_is_an_error() {
        assert!(Outcome::parse(SAID.split_once("@@ ended").unwrap().0, Duration::ZERO).is_err());
        assert!(Outcome::parse(&SAID.replace("ended 101", "ended 0"), Duration::ZERO).is_err());
    }
}
