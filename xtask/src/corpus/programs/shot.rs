//! Screens of the live UI, taken under load, for the guide.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::rig::Rig;
use crate::bench::screen::Terminal;
use crate::layout::Layout;
use crate::section;

const PAGE: &str = "docs/GUIDE.md";
/// Columns and rows.
const SIZE: (u16, u16) = (120, 35);
/// So that rates and percentiles are of several intervals.
const GATHER: Duration = Duration::from_secs(6);
/// One interval, and drawing.
const SETTLE: Duration = Duration::from_millis(1_500);

/// A screen of the guide.
pub struct Shot {
    /// The name of its section.
    pub section: &'static str,
    /// What is typed to get there from the screen before, in the words of tmux.
    pub keys: &'static [&'static str],
}

/// Takes screens in one session.
pub fn take(layout: &Layout, program: &Path, shots: &[Shot], rig: &mut Rig) -> Result<()> {
    let terminal = Terminal::start(&rig.folder)?;
    terminal.open(program, SIZE)?;
    rig.pause(GATHER)?;
    for shot in shots {
        for key in shot.keys {
            terminal.press(key)?;
        }
        rig.pause(SETTLE)?;
        let screen = terminal.screen().context("the UI has ended")?;
        let lines: Vec<_> = screen.lines().map(str::trim_end).collect();
        let text = format!("```text\n{}\n```\n", lines.join("\n").trim_end());
        section::write(layout, PAGE, &[(shot.section, &text)])?;
    }
    Ok(())
}
