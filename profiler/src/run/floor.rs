//! `profiler floor`: empty programs on hooks, to measure what any tracer pays there.

use crate::cli::FloorArgs;
use crate::error::Error;
use crate::kernel::floor;
use crate::run::signals::Signals;
use crate::run::{Exit, block_on, say};

pub(super) fn main(args: &FloorArgs) -> Result<Exit, Error> {
    block_on(async {
        let hooks: Vec<&str> = args.hooks.iter().map(String::as_str).collect();
        let _attached = floor(&hooks)?;
        let mut signals = Signals::listen()?;
        say(&format!("empty programs on {}; Ctrl-C detaches them", hooks.join(", ")));
        signals.next().await;
        Ok(Exit::Fine)
    })
}
