//! `cargo xtask corpus programs`: well-known programs, each held up by one thing that an expert would name.
//!
//! A scenario is set up in a scratch folder and in network namespaces of its own, watched under load, and torn down, also
//! when something fails. What the profiler said stays in `target/corpus`.

mod compile;
mod nginx;
mod postgres;
mod rig;
mod role;
mod shot;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::rig::Rig;
use self::role::{Report, Role};
use self::shot::Shot;
use crate::bench::os;
use crate::build::{self, Warnings};
use crate::child;
use crate::layout::Layout;
use crate::setup::{self, is_root};

#[derive(clap::Args)]
pub struct Args {
    /// Which ones: postgres, nginx, compile; without any, all. Debian packages that are missing are installed
    names: Vec<String>,
    /// Also take the screens of docs/GUIDE.md, and write them there
    #[arg(long)]
    guide: bool,
}

/// A program under load, and what an expert knows of it.
struct Scenario {
    name: &'static str,
    what: &'static str,
    /// Sets it up and puts it under load.
    start: fn(&mut Rig) -> Result<()>,
    roles: &'static [Role],
    /// What else has to be in the report; in words, if it is.
    also: Option<fn(&Report) -> Result<String>>,
    shots: &'static [Shot],
}

const SCENARIOS: [Scenario; 3] = [postgres::SCENARIO, nginx::SCENARIO, compile::SCENARIO];
/// Until the load is what it will be.
const WARM_UP: Duration = Duration::from_secs(3);
const WATCH: &str = "10s";
/// The record may take longer than it watches, on a busy host.
const WATCH_MAX: Duration = Duration::from_secs(30);

pub fn main(layout: &Layout, args: &Args) -> Result<ExitCode> {
    ensure!(is_root(), "this needs root: it makes network namespaces and loop devices");
    let chosen = chosen(&args.names)?;
    let decision = setup::ensure(layout)?;
    build::objects(layout, &decision, Warnings::Show)?;
    build::program(layout)?;
    os::note_signals();
    let mut failed = Vec::new();
    for scenario in chosen {
        println!("=== {}: {}", scenario.name, scenario.what);
        if let Err(error) = run(layout, scenario, args.guide) {
            println!("error: {error:#}");
            failed.push(scenario.name);
        }
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let known = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    let find = |name: &String| {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        scenario.with_context(|| format!("there is no scenario `{name}`, but {}", known()))
    };
    names.iter().map(find).collect()
}

fn run(layout: &Layout, scenario: &Scenario, guide: bool) -> Result<()> {
    let program = layout.program()?;
    let mut rig = Rig::new(scenario.name)?;
    let seen = watch(layout, &program, scenario, &mut rig, guide);
    // What fails first is told, but nothing stays.
    let ended = rig.end();
    let report = seen?;
    ended.context("failed to tear it down")?;
    let mut wrong = Vec::new();
    for role in scenario.roles {
        let time = report.time_of(role);
        print!("{}", time.text());
        wrong.extend(time.wrong());
    }
    if let Some(also) = scenario.also {
        match also(&report) {
            Ok(told) => println!("  {told}"),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    for finding in report.findings() {
        println!("  {finding}");
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// Sets up, and records for a while. Its reports are kept.
fn watch(layout: &Layout, program: &Path, scenario: &Scenario, rig: &mut Rig, guide: bool) -> Result<Report> {
    (scenario.start)(rig)?;
    rig.pause(WARM_UP)?;
    let mut processes = rig.processes()?;
    let folder = layout.target.join("corpus");
    fs::create_dir_all(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    let file = |end: &str| folder.join(format!("{}.{end}", scenario.name));
    let capture = file("cap");
    let _ = fs::remove_file(&capture);
    rig::run(Command::new(program).arg("record").args(["--for", WATCH, "-o"]).arg(&capture), WATCH_MAX)?;
    processes.extend(rig.processes()?);
    if guide {
        shot::take(layout, program, scenario.shots, rig)?;
    }
    let report = |format: &str, to: PathBuf| -> Result<String> {
        let mut command = Command::new(program);
        let said = child::answer(command.arg("report").args(["--format", format]).arg(&capture));
        let said = said.with_context(|| format!("failed to report from `{}`", capture.display()))?;
        fs::write(&to, &said).with_context(|| format!("failed to write `{}`", to.display()))?;
        Ok(said)
    };
    report("text", file("txt"))?;
    Report::parse(&report("json", file("json"))?, processes)
}
