//! System calls per process, and how long the selected one blocks.

use crate::view::tui::screen::{Page, draw_stack, stack};

/// The screen.
pub const PAGE: Page = Page { name: "Syscalls", place: stack, draw: draw_stack };
