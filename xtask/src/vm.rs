//! `cargo xtask vm`: boots other kernels under emulation, and runs the kernel tests in each.

mod boot;
mod btf;
mod fetch;
mod image;
mod matrix;
mod outcome;
mod page;
mod scale;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};

use self::boot::Choice;
use self::matrix::{GUESTS, Guest};
use self::outcome::Outcome;
use self::scale::Scale;
use crate::build::{self, Warnings};
use crate::child;
use crate::layout::Layout;
use crate::setup::{self, tools};
use crate::test;

#[derive(clap::Args)]
pub struct Args {
    /// Which guests
    #[arg(required_unless_present_any = ["all", "types"])]
    names: Vec<String>,
    /// All of them, with the tests that tell most of each row; if all is well, docs/KERNELS.md tells so
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Cut the types of all kernels anew, for the tests of the offset resolver
    #[arg(long, conflicts_with_all = ["names", "all"])]
    types: bool,
    /// Only tests whose name contains this; may be repeated
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// How many run at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// Profile of the guests' tests: the emulator makes everything slow enough.
const OPTIMIZED: &str = "release";

/// How guests went.
type Outcomes = [(&'static Guest, Outcome)];

pub fn main(layout: &Layout, args: &Args) -> Result<ExitCode> {
    if args.types {
        tools::require()?;
        return btf::refresh(layout).map(|()| ExitCode::SUCCESS);
    }
    let guests = chosen(args)?;
    let choice = match (&args.test[..], args.all) {
        ([], true) => Choice::Core,
        ([], false) => Choice::Usual,
        (tests, _) => Choice::Named(tests),
    };
    let outcomes = run(layout, &guests, choice, args.jobs)?;
    print!("{}", page::text(&outcomes));
    let scale = Scale::of(&outcomes);
    if let Some(scale) = &scale {
        print!("\n{}", scale.text());
    }
    let ran =
        outcomes.len() == guests.len() && outcomes.iter().all(|(guest, outcome)| outcome.faults(guest).is_empty());
    let sound = ran && scale.is_none_or(|scale| !scale.is_fault());
    if sound && matches!(choice, Choice::Core) {
        page::write(layout, &outcomes)?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the guest whose turn it is: 5.10 every second commit, else one of the others.
pub fn one(layout: &Layout) -> Result<Outcome> {
    let mut git = Command::new("git");
    let commits = child::answer(git.args(["rev-list", "--count", "HEAD"]).current_dir(&layout.root));
    let commits: usize = commits.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    let guest = matrix::turn(commits);
    let (_, outcome) = run(layout, &[guest], Choice::Usual, 1)?.pop().context("it did not come to its end")?;
    ensure!(outcome.faults(guest).len() as u64 == outcome.failed(), "its probes are not as expected");
    Ok(outcome)
}

fn chosen(args: &Args) -> Result<Vec<&'static Guest>> {
    if args.all {
        return Ok(GUESTS.iter().collect());
    }
    let known = |name: &String| {
        let names: Vec<_> = GUESTS.iter().map(|guest| guest.name).collect();
        let guest = GUESTS.iter().find(|guest| guest.name == *name);
        guest.with_context(|| format!("there is no guest `{name}`, but {}", names.join(", ")))
    };
    args.names.iter().map(known).collect()
}

/// Boots guests, a few at a time, and says how each went. Those that did not come to their end are missing.
fn run(
    layout: &Layout,
    guests: &[&'static Guest],
    choice: Choice<'_>,
    jobs: usize,
) -> Result<Vec<(&'static Guest, Outcome)>> {
    let bench = Bench::new(layout, guests)?;
    let (waiting, ended) = (Mutex::new(VecDeque::from_iter(guests)), Mutex::new(Vec::new()));
    let poisoned = || anyhow!("another guest's thread panicked");
    thread::scope(|scope| {
        let work = || -> Result<()> {
            loop {
                let Some(guest) = waiting.lock().map_err(|_| poisoned())?.pop_front() else { return Ok(()) };
                match bench.run(guest, choice) {
                    Ok(outcome) => {
                        println!("{}: {} tests in {} s", guest.name, outcome.tests.len(), outcome.took.as_secs());
                        ended.lock().map_err(|_| poisoned())?.push((*guest, outcome));
                    }
                    Err(error) => println!("{}: error: {error:#}", guest.name),
                }
            }
        };
        let workers: Vec<_> = (0..jobs.clamp(1, guests.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| poisoned())?)
    })?;
    let mut outcomes = ended.into_inner().map_err(|_| poisoned())?;
    outcomes.sort_by_key(|(guest, _)| GUESTS.iter().position(|known| known.name == guest.name));
    for (guest, outcome) in &outcomes {
        for fault in outcome.faults(guest) {
            println!("{}: {fault}; see `{}`", guest.name, folder(layout, guest).display());
        }
        for line in &outcome.panics.said {
            println!("{}: {line}", guest.name);
        }
    }
    Ok(outcomes)
}

/// Everything that guests have in common, and where each has its own.
struct Bench<'a> {
    layout: &'a Layout,
    disk: PathBuf,
    kernels: Vec<(&'static str, fetch::Fetched)>,
    /// Held, so that nobody else changes the disk under a guest.
    _lock: File,
}

impl<'a> Bench<'a> {
    fn new(layout: &'a Layout, guests: &[&Guest]) -> Result<Self> {
        tools::require()?;
        let decision = setup::ensure(layout)?;
        build::objects(layout, &decision, Warnings::Show)?;
        build::program(layout)?;
        let tests = test::executable(layout, test::GUEST_TESTS, OPTIMIZED)?;
        let lock = lock(&layout.vm())?;
        let kernels = matrix::KERNELS.iter().filter(|kernel| guests.iter().any(|guest| guest.kernel == kernel.name));
        let kernels = kernels.map(|kernel| Ok((kernel.name, fetch::fetch(layout, kernel)?))).collect::<Result<_>>()?;
        let disk = image::disk(&layout.vm(), &tests, &layout.program()?)?;
        Ok(Self { layout, disk, kernels, _lock: lock })
    }

    fn run(&self, guest: &Guest, choice: Choice<'_>) -> Result<Outcome> {
        let kernel = self.kernels.iter().find(|(name, _)| *name == guest.kernel);
        let Some((_, kernel)) = kernel else { bail!("there is no kernel `{}`", guest.kernel) };
        let folder = folder(self.layout, guest);
        create(&folder)?;
        let initial = image::initial(&folder, kernel)?;
        let (said, took) = boot::boot(&folder, guest, choice, &kernel.image, &initial, &self.disk)?.end()?;
        Outcome::parse(&said, took)
    }
}

/// Where a guest's images and logs are.
fn folder(layout: &Layout, guest: &Guest) -> PathBuf {
    layout.vm().join("guests").join(guest.name)
}

/// Waits until no other `cargo xtask vm` runs here.
fn lock(folder: &Path) -> Result<File> {
    create(folder)?;
    let path = folder.join("lock");
    let lock = File::create(&path).and_then(|file| file.lock().map(|()| file));
    lock.with_context(|| format!("failed to lock `{}`", path.display()))
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))
}
