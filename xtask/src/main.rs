//! `cargo xtask`: set-up, builds, checks. Everything that is not the product.
//!
//! One file per subcommand. Progress goes to standard error, so that whatever a started program writes to standard
//! output stays clean. `layout` says where things lie, `child` starts other programs.
#![expect(clippy::disallowed_methods, reason = "a build tool is I/O from end to end")]

mod bench;
mod build;
mod child;
mod corpus;
mod layout;
mod run;
mod section;
mod setup;
mod table;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::layout::Layout;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find out how this machine can build the kernel programs, and install what is missing
    Setup(setup::Args),
    /// Build the kernel objects, then the program
    Build(build::Args),
    /// Set up, build, and start the program (as root, or through sudo)
    Run(run::Args),
    /// Everything that must hold before a commit: format, lints, tidy, tests, kernel tests
    Test,
    /// Check the invariants of the architecture and of the style
    Tidy,
    /// Measure what the profiler costs, against its peers
    Bench(bench::Args),
    /// Workloads whose cause is known: does the profiler name it?
    Corpus(corpus::Args),
    /// Boot other kernels, and run the kernel tests there
    Vm(vm::Args),
    /// A workload of `bench`
    #[command(hide = true)]
    BenchLoad(bench::load::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let layout = Layout::find()?;
    match command {
        Command::Setup(args) => setup::main(&layout, &args),
        Command::Build(args) => build::main(&layout, &args),
        Command::Run(args) => run::main(&layout, args),
        Command::Test => test::main(&layout),
        Command::Tidy => tidy::main(&layout),
        Command::Bench(args) => bench::main(&layout, &args),
        Command::Corpus(args) => corpus::main(&layout, &args),
        Command::Vm(args) => vm::main(&layout, &args),
        Command::BenchLoad(args) => bench::load::main(&args),
    }
}
