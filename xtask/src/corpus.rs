//! `cargo xtask corpus`: workloads whose cause is known, and what the profiler says of them.

mod programs;
mod waterfall;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::layout::Layout;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Workloads with one cause each: the share of each state, written into docs/WATERFALL.md
    Waterfall,
    /// Well-known programs under load, each held up by something that an expert would name
    Programs(programs::Args),
}

pub fn main(layout: &Layout, args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Waterfall => waterfall::main(layout),
        What::Programs(args) => programs::main(layout, args),
    }
}
