//! `cargo xtask test`: everything that must hold, in order of cost, with the counts of all test runs at the end.
//!
//! A stage that fails does not stop the later ones: one run tells all that is wrong.

mod kernel;
mod tally;

use std::env;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

pub use self::kernel::{command, executable};
pub use self::tally::{Panics, Tally};
use crate::build::{self, Warnings};
use crate::child;
use crate::layout::Layout;
use crate::setup::{self, Decision};
use crate::tidy;
use crate::vm;

/// The kernel programs build for another target, with another compiler.
const USER_SPACE: [&str; 3] = ["--workspace", "--exclude", "profiler-ebpf"];
/// The test target that needs root and a real kernel.
const KERNEL_TESTS: &str = "kernel";
/// The same tests and those that need a virtual machine.
pub const GUEST_TESTS: &str = "guest";

pub fn main(layout: &Layout) -> Result<ExitCode> {
    let decision = setup::ensure(layout)?;
    let mut run = Run { layout, tally: Tally::default(), failed: Vec::new() };
    run.stage("test tools", |_| need_tools(&decision));
    run.stage("kernel programs, free of warnings", |run| build::objects(run.layout, &decision, Warnings::Deny));
    run.stage("program", |run| build::program(run.layout));
    run.stage("format", |run| child::run(&mut run.cargo(&["fmt", "--all", "--check"])));
    run.stage("lints", |run| {
        let lints = ["--all-targets", "--", "-D", "warnings"];
        child::run(run.cargo(&["clippy", "--quiet"]).args(USER_SPACE).args(lints))
    });
    run.stage("lints of the kernel programs", |run| ebpf_lints(run.layout, &decision));
    run.stage("tidy", |run| tidy::check(run.layout));
    run.stage("tests", Run::tests);
    run.stage("doc tests", |run| {
        let mut tests = run.cargo(&["test", "--quiet", "--doc"]);
        run.tally.count(tests.args(USER_SPACE))
    });
    run.stage("kernel tests", |run| kernel::run(run.layout, &mut run.tally));
    run.stage("kernel tests on another kernel", Run::another_kernel);
    Ok(run.finish())
}

/// One pass over all stages.
struct Run<'a> {
    layout: &'a Layout,
    tally: Tally,
    failed: Vec<&'static str>,
}

impl Run<'_> {
    fn stage(&mut self, name: &'static str, work: impl FnOnce(&mut Self) -> Result<()>) {
        println!("=== {name}");
        if let Err(error) = work(self) {
            println!("error: {error:#}");
            self.failed.push(name);
        }
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = child::cargo();
        command.args(args).current_dir(&self.layout.root);
        command
    }

    /// Unit, golden-file and screen tests: all targets but the one that needs root.
    fn tests(&mut self) -> Result<()> {
        let mut tests = self.cargo(&["test", "--no-fail-fast", "--lib", "--bins"]);
        for target in integration_tests(self.layout)? {
            tests.args(["--test", &target]);
        }
        self.tally.count(tests.args(USER_SPACE))
    }

    /// One guest of the matrix; they take turns.
    fn another_kernel(&mut self) -> Result<()> {
        match vm::one(self.layout) {
            Ok(outcome) => {
                self.tally.passed += outcome.passed();
                self.tally.failed += outcome.failed();
                if outcome.failed() > 0 {
                    bail!("tests failed on {}", outcome.host.kernel)
                }
                Ok(())
            }
            Err(error) if is_ci() => Err(error.context("kernel tests on another kernel NOT run")),
            Err(error) => {
                println!("warning: kernel tests on another kernel NOT run: {error:#}");
                Ok(())
            }
        }
    }

    fn finish(&self) -> ExitCode {
        let sound = self.failed.is_empty() && self.tally.failed == 0;
        if !self.failed.is_empty() {
            println!("failed stages: {}", self.failed.join(", "));
        }
        // Again, where it is read first.
        for line in &self.tally.panics.said {
            println!("{line}");
        }
        println!("{}", self.tally);
        if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Whether nobody is watching, so that a test which cannot run has to fail.
fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn need_tools(decision: &Decision) -> Result<()> {
    match setup::require_for_tests(decision) {
        Err(error) if !is_ci() => println!("warning: {error:#}"),
        result => return result,
    }
    Ok(())
}

/// Clippy where the compiler of the kernel programs has one; their build above denies rustc's warnings everywhere.
fn ebpf_lints(layout: &Layout, decision: &Decision) -> Result<()> {
    build::lint_objects(layout, decision).unwrap_or_else(|| {
        println!("no clippy beside {}: compiler warnings only", decision.rustc.display());
        Ok(())
    })
}

/// Names of the integration tests of all packages, without the kernel's.
fn integration_tests(layout: &Layout) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in ["profiler", "profiler-common", "xtask"] {
        let folder = layout.root.join(package).join("tests");
        if !folder.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("failed to list `{}`", folder.display()))?.path();
            let Some(name) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else {
                continue;
            };
            if path.extension().is_some_and(|end| end == "rs") && name != KERNEL_TESTS && name != GUEST_TESTS {
                names.push(name);
            }
        }
    }
    if names.iter().any(|name| name.contains('*')) {
        bail!("a test target's name holds a wildcard");
    }
    names.sort();
    Ok(names)
}
