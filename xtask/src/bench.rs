//! `cargo xtask bench`: what the profiler costs, against doing nothing, against empty programs, against its peers.
//!
//! It judges no figure: the exit code says only whether something could be measured. `load` is the hidden other half,
//! the workloads; each measurement starts one as a fresh process.

pub mod beside;
mod bpf;
mod compare;
mod contender;
mod cost;
mod crowd;
pub mod load;
pub mod os;
mod procfs;
mod programs;
mod report;
mod rounds;
pub mod screen;
mod storage;
mod summary;
mod verdict;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use self::contender::{Contender, How, Id};
use self::report::Report;
use self::rounds::{Measured, Plan};
use crate::build::{self, Warnings};
use crate::layout::Layout;
use crate::setup::{self, is_root};

/// The process must be watched for at least this long: its CPU time comes in steps of 10 ms.
const WATCH: Duration = Duration::from_secs(10);
const WATCH_FULL: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub struct Args {
    /// How often each contender is measured; 6 without this, 2 with `--quick`
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// About a minute instead of several
    #[arg(long)]
    quick: bool,
    /// Also write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure this program instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub fn main(layout: &Layout, args: &Args) -> Result<ExitCode> {
    let ours = program(layout, args);
    let folder = Folder::create()?;
    let (rounds, repetitions) = if args.quick { (2, 40) } else { (6, 60) };
    let plan =
        Plan { rounds: args.rounds.unwrap_or(rounds), repetitions, cpu: os::workload_cpu()?, folder: &folder.path };
    let contenders = contender::all(&ours, plan.folder);
    let measured = Measured::run(&contenders, plan);
    let report = report(&contenders, &measured, plan, if args.quick { WATCH } else { WATCH_FULL })?;
    print!("{}", report.text());
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&report).context("failed to write the report")?;
        fs::write(file, json + "\n").with_context(|| format!("failed to write `{}`", file.display()))?;
    }
    Ok(if report.comparisons.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The path of this program, for workloads.
fn own_program() -> Result<PathBuf> {
    env::current_exe().context("failed to find the path of xtask")
}

/// The profiler to measure, or why there is none: peers can be compared without it.
fn program(layout: &Layout, args: &Args) -> Result<PathBuf, String> {
    if !is_root() {
        return Err("needs root: run this as root".to_owned());
    }
    let build = || -> Result<PathBuf> {
        if let Some(program) = &args.program {
            return std::path::absolute(program).context("failed to resolve the program's path");
        }
        let decision = setup::ensure(layout)?;
        build::objects(layout, &decision, Warnings::Show)?;
        build::program(layout)?;
        layout.program()
    };
    build().map_err(|error| format!("{error:#}"))
}

/// The passes that follow the comparison, and all figures in one.
fn report(contenders: &[Contender], measured: &Measured, plan: Plan, watch: Duration) -> Result<Report> {
    let by_id = |id: Id| contenders.iter().find(|contender| contender.id == id);
    let runs = |contender: &&Contender| !measured.failures.contains_key(&contender.id);
    let mut failures = Vec::new();
    let mut programs = Vec::new();
    for contender in [Id::Floor, Id::Us].into_iter().filter_map(by_id).filter(runs) {
        programs.extend(note(programs::measure(contender, plan), "statistics of programs", &mut failures));
    }
    let us = by_id(Id::Us).filter(runs);
    let process = us.and_then(|us| note(cost::measure(us, plan, watch), "cost of the process", &mut failures));
    let first_screen_ms = us.and_then(|us| match &us.how {
        How::Beside { program, .. } => {
            note(screen::first_screen_ms(program, plan.folder), "first screen", &mut failures)
        }
        _ => None,
    });
    let process = process.unwrap_or_default();
    let comparisons = compare::all(contenders, measured);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("failed to read the kernel's release")?;
    Ok(Report {
        kernel: kernel.trim().to_owned(),
        cpus: thread::available_parallelism().map_or(1, usize::from),
        workload_cpu: plan.cpu,
        rounds: plan.rounds,
        peers: contender::peer_versions(),
        foreign_programs: measured.foreign.iter().cloned().collect(),
        verdicts: verdict::all(&comparisons, &process, first_screen_ms),
        programs: programs.into_iter().flatten().collect(),
        comparisons,
        process,
        first_screen_ms,
        failures,
    })
}

/// A pass that fails takes nothing else with it.
fn note<T>(result: Result<T>, what: &str, failures: &mut Vec<String>) -> Option<T> {
    result.map_err(|error| failures.push(format!("{what}: {error:#}"))).ok()
}

/// A folder for what contenders write, gone at the end.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn create() -> Result<Self> {
        let path = env::temp_dir().join(format!("profiler-bench-{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
