//! The kernel's own books: how often each of our programs ran during a workload, and how long it took.
//!
//! A pass of its own, because keeping these books makes every program slower.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

use super::beside::Beside;
use super::bpf::{Program, Statistics};
use super::contender::{Contender, How};
use super::load::Load;
use super::procfs;
use super::rounds::{self, Plan};

/// One program during one workload.
#[derive(Debug, PartialEq, Serialize)]
pub struct Cost {
    pub contender: String,
    pub load: Load,
    pub program: String,
    pub runs: u64,
    /// Includes the two clock reads that measure it.
    pub ns_per_run: f64,
}

/// With fewer runs than this, the time of one run is chance.
const RUNS_MIN: u64 = 10;

/// Runs each kind of workload beside the contender.
pub fn measure(contender: &Contender, plan: Plan) -> Result<Vec<Cost>> {
    let How::Beside { program, args, ready } = &contender.how else {
        return Ok(Vec::new());
    };
    let mut beside = Beside::start(program, args, *ready, plan.folder)?;
    let _on = Statistics::enable().context("failed to turn on the kernel's statistics of programs")?;
    let mut costs = Vec::new();
    for load in [Load::Read, Load::Ring, Load::Exchange, Load::Switch, Load::Miss, Load::Request, Load::Contend] {
        let before = snapshot(beside.pid());
        rounds::run_load(load, plan)?;
        beside.check()?;
        costs.extend(growth(&contender.label, load, &before, &snapshot(beside.pid())));
    }
    Ok(costs)
}

fn snapshot(pid: u32) -> BTreeMap<u32, Program> {
    let programs = procfs::programs(pid).into_iter();
    programs.filter_map(|id| Some((id, Program::find(id).ok()?))).collect()
}

/// What ran in between, the most expensive first.
fn growth(contender: &str, load: Load, before: &BTreeMap<u32, Program>, after: &BTreeMap<u32, Program>) -> Vec<Cost> {
    let mut grown: Vec<(u64, Cost)> = Vec::new();
    for (id, program) in after {
        let (ns, runs) = before.get(id).map_or((0, 0), |program| (program.run_time_ns, program.runs));
        let (ns, runs) = (program.run_time_ns.saturating_sub(ns), program.runs.saturating_sub(runs));
        if runs >= RUNS_MIN {
            let (contender, program, ns_per_run) =
                (contender.to_owned(), program.name.clone(), ns as f64 / runs as f64);
            grown.push((ns, Cost { contender, load, program, runs, ns_per_run }));
        }
    }
    grown.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    grown.into_iter().map(|(_, cost)| cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grew_counts() {
        let program = |id, run_time_ns, runs| (id, Program { id, kind: 26, name: format!("p{id}"), run_time_ns, runs });
        let before = BTreeMap::from([program(1, 1000, 100), program(2, 500, 50)]);
        let after = BTreeMap::from([program(1, 3000, 200), program(2, 500, 50), program(3, 9000, 300)]);
        let costs = growth("us", Load::Read, &before, &after);
        let shown: Vec<_> = costs.iter().map(|cost| (cost.program.as_str(), cost.runs, cost.ns_per_run)).collect();
        assert_eq!(shown, [("p3", 300, 30.0), ("p1", 100, 20.0)]);
    }
}
