//! One interleaved run: each round measures every contender in every workload, in an order that turns by one.
//!
//! Whatever else the machine does hits all of them alike, so differences and ratios within a round can be trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::beside::{self, Beside};
use super::bpf;
use super::contender::{Contender, How, Id};
use super::load::{Load, Outcome};

/// What is compared.
pub const LOADS: [Load; 10] = [
    Load::Read,
    Load::File,
    Load::Ring,
    Load::Exchange,
    Load::Getppid,
    Load::Switch,
    Load::Yield,
    Load::Miss,
    Load::Request,
    Load::Contend,
];
/// A workload takes less than a second unless something is wrong.
const LOAD_MAX: Duration = Duration::from_secs(30);

/// Where and how long to measure.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub rounds: u32,
    pub repetitions: u32,
    pub cpu: usize,
    /// Takes what contenders write.
    pub folder: &'a Path,
}

/// All that the rounds gave.
#[derive(Debug, Default)]
pub struct Measured {
    /// By round; a round in which something failed has no entry.
    outcomes: BTreeMap<(Id, Load), BTreeMap<u32, Outcome>>,
    /// Why a contender has no figures, or fewer.
    pub failures: BTreeMap<Id, String>,
    /// Tracing programs of others that were loaded meanwhile.
    pub foreign: BTreeSet<String>,
}

impl Measured {
    pub fn run(contenders: &[Contender], plan: Plan) -> Self {
        let mut measured = Self::default();
        for round in 0..plan.rounds {
            eprintln!("bench: round {} of {}", round + 1, plan.rounds);
            measured.foreign.extend(bpf::tracing_programs().into_iter().map(|program| program.name));
            for index in 0..contenders.len() {
                let contender = &contenders[(index + round as usize) % contenders.len()];
                if !measured.failures.contains_key(&contender.id) {
                    measured.visit(contender, plan, round);
                }
            }
        }
        measured
    }

    /// For tables made by hand, and for their tests.
    pub fn put(&mut self, id: Id, load: Load, round: u32, outcome: Outcome) {
        self.outcomes.entry((id, load)).or_default().insert(round, outcome);
    }

    /// Outcomes by round; empty for a contender that was not measured in this workload.
    pub fn outcomes(&self, id: Id, load: Load) -> BTreeMap<u32, Outcome> {
        self.outcomes.get(&(id, load)).cloned().unwrap_or_default()
    }

    /// A contender that fails once is not asked again; what it gave before stays.
    fn visit(&mut self, contender: &Contender, plan: Plan, round: u32) {
        if let Err(error) = self.measure(contender, plan, round) {
            eprintln!("bench: {}: {error:#}", contender.label);
            self.failures.insert(contender.id, format!("{error:#}"));
        }
    }

    fn measure(&mut self, contender: &Contender, plan: Plan, round: u32) -> Result<()> {
        let mut beside = match &contender.how {
            How::Absent(reason) => anyhow::bail!(reason.clone()),
            How::Beside { program, args, ready } => Some(Beside::start(program, args, *ready, plan.folder)?),
            How::Alone | How::Around { .. } => None,
        };
        for load in LOADS.into_iter().filter(|load| contender.joins(*load)) {
            let outcome = match &contender.how {
                How::Around { program, args } => {
                    let mut around = Command::new(program);
                    around.args(args).arg(super::own_program()?);
                    // A call takes microseconds here.
                    run(around, load, plan.cpu, iterations(load) / 20, plan.repetitions)
                }
                _ => run(Command::new(super::own_program()?), load, plan.cpu, iterations(load), plan.repetitions),
            };
            beside.as_mut().map_or(Ok(()), Beside::check)?;
            self.put(contender.id, load, round, outcome?);
        }
        Ok(())
    }
}

/// Runs a workload once, as a process of its own.
pub fn run_load(load: Load, plan: Plan) -> Result<Outcome> {
    run(Command::new(super::own_program()?), load, plan.cpu, iterations(load), plan.repetitions)
}

/// Operations per repetition, for a few milliseconds: short enough to fall between two disturbances.
fn iterations(load: Load) -> u64 {
    match load {
        Load::Read | Load::File | Load::Ring | Load::Getppid => 20_000,
        Load::Exchange | Load::Switch | Load::Echo => 2_000,
        Load::Yield => 4_000,
        Load::Miss | Load::Request => 100,
        Load::Contend => 10_000,
        Load::Crowd => 0,
    }
}

fn run(mut command: Command, load: Load, cpu: usize, iterations: u64, repetitions: u32) -> Result<Outcome> {
    let name = format!("{load:?}").to_lowercase();
    command.args(["bench-load", &name, "--cpu", &cpu.to_string(), "--iterations", &iterations.to_string()]);
    command.args(["--repetitions", &repetitions.to_string()]);
    let printed = beside::output(&mut command, LOAD_MAX).with_context(|| format!("failed to run `{name}`"))?;
    serde_json::from_str(&printed).with_context(|| format!("`{name}` printed no outcome"))
}
