//! `profiler doctor`: what this kernel and these privileges allow, probe by probe, and what to do about the rest.
//!
//! Everything below is a function of a [`Diagnosis`]; only [`main`] looks around.

use std::io::{self, IsTerminal};

use self::ladder::{Verdict, verdict};
use self::page::Paint;
use crate::cli::DoctorArgs;
use crate::error::Error;
use crate::kernel::doctor::diagnose;
use crate::run::attach::prepare;
use crate::run::{Exit, print};

#[cfg(test)]
mod hosts;
mod json;
mod ladder;
mod page;
mod step;
#[cfg(test)]
mod tests;
mod text;

pub(super) fn main(args: &DoctorArgs) -> Result<Exit, Error> {
    let diagnosis = diagnose(&prepare(&args.observe)?)?;
    if args.json {
        print(&format!("{}\n", json::json(&diagnosis)))?;
    } else {
        let plain = !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        print(&text::text(&diagnosis, if plain { Paint::None } else { Paint::Colors }))?;
    }
    Ok(match verdict(&diagnosis) {
        Verdict::Everything => Exit::Fine,
        Verdict::Part => Exit::Findings,
        Verdict::Nothing => Exit::Failed,
    })
}
