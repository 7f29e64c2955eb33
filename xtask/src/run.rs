//! `cargo xtask run`: one command from a fresh checkout to a running profiler.

use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow};

use crate::child;
use crate::layout::Layout;
use crate::setup::{self, is_root};
use crate::{build, build::Warnings};

#[derive(clap::Args)]
pub struct Args {
    /// What the program is given; without any: `live` on a terminal, else `report --for 10s`
    #[arg(last = true)]
    program: Vec<String>,
}

/// Returns only when the program could not be started: it takes the place of this process, exit code and all.
pub fn main(layout: &Layout, args: Args) -> Result<ExitCode> {
    let decision = setup::ensure(layout)?;
    build::objects(layout, &decision, Warnings::Show)?;
    build::program(layout)?;
    let program = layout.program()?;
    let mut command = if is_root() {
        Command::new(&program)
    } else {
        let sudo = child::find_program("sudo");
        let mut sudo = Command::new(sudo.context("the profiler needs root and there is no sudo: run this as root")?);
        sudo.arg("--").arg(&program);
        sudo
    };
    command.args(or_default(args.program, io::stdout().is_terminal()));
    let error = command.exec();
    Err(anyhow!(error).context(format!("failed to start `{}`", program.display())))
}

fn or_default(args: Vec<String>, on_terminal: bool) -> Vec<String> {
    let default: &[&str] = if on_terminal { &["live"] } else { &["report", "--for", "10s"] };
    if args.is_empty() { default.iter().map(ToString::to_string).collect() } else { args }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_win_over_the_default_of_the_place() {
        let given = vec!["doctor".to_owned()];
        assert_eq!(or_default(given.clone(), true), given);
        assert_eq!(or_default(Vec::new(), true), ["live"]);
        assert_eq!(or_default(Vec::new(), false), ["report", "--for", "10s"]);
    }
}
