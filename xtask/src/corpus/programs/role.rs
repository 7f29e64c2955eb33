//! Where the time of some processes went, by a report, and where it should have gone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

/// Processes that do the same.
pub struct Role {
    pub label: &'static str,
    /// The name of each.
    pub name: &'static str,
    /// A part of the command line; `None` for processes that live too shortly to be asked for it.
    pub line: Option<&'static str>,
    pub expected: &'static [Expected],
}

/// Together these states have at least so much of their time.
pub struct Expected {
    pub states: &'static [&'static str],
    pub share_min: f64,
}

/// What the profiler said.
pub struct Report {
    json: Value,
    /// Processes of the scenario by id, with their command lines.
    processes: BTreeMap<u64, String>,
}

/// The time of a role by state.
pub struct Time {
    role: &'static Role,
    processes: usize,
    /// As shares of all, the largest first.
    shares: Vec<(String, f64)>,
}

/// A report has at most so many rows of a table, and idle states come last: they may be missing.
pub const NOT_LISTED: &str = "not listed";

impl Report {
    pub fn parse(json: &str, processes: BTreeMap<u64, String>) -> Result<Self> {
        let json = serde_json::from_str(json).context("failed to read the report")?;
        Ok(Self { json, processes })
    }

    /// The rows of a table.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = &Value> {
        self.json["tables"][table]["rows"].as_array().into_iter().flatten()
    }

    /// The findings in a line each.
    pub fn findings(&self) -> Vec<String> {
        let findings = self.json["findings"].as_array().into_iter().flatten();
        let told = findings.map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or("?");
            format!("finding {} {}: {}", text("id"), text("severity"), text("claim"))
        });
        let told: Vec<_> = told.collect();
        if told.is_empty() { vec!["no findings".to_owned()] } else { told }
    }

    /// Where the time of a role went.
    pub fn time_of(&self, role: &'static Role) -> Time {
        let is_of = |row: &&Value| {
            let line = row["process.pid"].as_u64().and_then(|pid| self.processes.get(&pid));
            let is_ours = role.line.is_none_or(|part| line.is_some_and(|line| line.contains(part)));
            is_ours && row["process.comm"] == role.name
        };
        let (mut ratios, mut pids) = (BTreeMap::<&str, f64>::new(), BTreeSet::new());
        for row in self.rows("states").filter(is_of) {
            let ratio = row["state.threads_ratio"].as_f64().unwrap_or(0.0);
            *ratios.entry(row["state.name"].as_str().unwrap_or("?")).or_default() += ratio;
            pids.insert(row["process.pid"].as_u64());
        }
        let listed: f64 = ratios.values().sum();
        let all: f64 = self.rows("processes").filter(is_of).map(whole).sum();
        if all > listed * 1.01 {
            ratios.insert(NOT_LISTED, all - listed);
        }
        let all = all.max(listed);
        let mut shares: Vec<_> = ratios.into_iter().map(|(state, ratio)| (state.to_owned(), ratio / all)).collect();
        shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        Time { role, processes: pids.len(), shares }
    }
}

/// The wall time of all threads of a process, as a share of the time of one.
fn whole(row: &Value) -> f64 {
    let parts = ["on", "runq_wakeup", "runq_preempted", "blocked", "unexplained"];
    parts.iter().filter_map(|part| row[format!("cpu.{part}_ratio")].as_f64()).sum()
}

impl Time {
    /// For people.
    pub fn text(&self) -> String {
        let shares = self.shares.iter().filter(|(_, share)| *share >= 0.001);
        let shares: Vec<_> = shares.map(|(state, share)| format!("{state} {:.1} %", share * 100.0)).collect();
        format!("  {} ({} processes): {}\n", self.role.label, self.processes, shares.join(", "))
    }

    /// What is not as expected.
    pub fn wrong(&self) -> Vec<String> {
        let wrong = self.role.expected.iter().filter_map(|expected| {
            let is_meant = |(state, _): &&(String, f64)| expected.states.contains(&state.as_str());
            let share = self.shares.iter().filter(is_meant).fold(0.0, |sum, (_, share)| sum + share);
            let (states, min, share_percent) = (expected.states.join(" + "), expected.share_min * 100.0, share * 100.0);
            let told = format!("{}: {states} should be {min:.0} % at least, not {share_percent:.1} %", self.role.label);
            (share < expected.share_min).then_some(told)
        });
        wrong.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ROLE: Role = Role {
        label: "workers",
        name: "w",
        line: Some("-x"),
        expected: &[Expected { states: &["a", "b"], share_min: 0.8 }, Expected { states: &["c"], share_min: 0.1 }],
    };

    #[test]
    fn time_of_a_role_is_that_of_its_processes() {
        let json = r#"{"tables":{"states":{"rows":[
            {"process.pid":1,"process.comm":"w","state.name":"a","state.threads_ratio":0.5},
            {"process.pid":2,"process.comm":"w","state.name":"b","state.threads_ratio":1.0},
            {"process.pid":3,"process.comm":"w","state.name":"c","state.threads_ratio":9.0}]},
            "processes":{"rows":[{"process.pid":1,"process.comm":"w","cpu.blocked_ratio":1.0},
            {"process.pid":2,"process.comm":"w","cpu.on_ratio":1.0}]}},"findings":[]}"#;
        let lines = [(1, "w -x"), (2, "w -x"), (3, "w -y")].map(|(pid, line)| (pid, line.to_owned()));
        let time = Report::parse(json, BTreeMap::from(lines)).unwrap().time_of(&ROLE);
        assert_eq!(time.text(), "  workers (2 processes): b 50.0 %, a 25.0 %, not listed 25.0 %\n");
        let wrong =
            ["workers: a + b should be 80 % at least, not 75.0 %", "workers: c should be 10 % at least, not 0.0 %"];
        assert_eq!(time.wrong(), wrong);
    }
}
