//! `cargo xtask corpus`: workloads whose cause is known, and what the profiler says of them.

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
}

pub fn main(layout: &Layout, args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Waterfall => waterfall::main(layout),
    }
}
