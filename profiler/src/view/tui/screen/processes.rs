//! Where the wall time of processes and threads goes, with a bar per row where there is room.

use crate::view::tui::screen::{Page, draw_stack, stack};

/// The screen.
pub const PAGE: Page = Page { name: "Processes", place: stack, draw: draw_stack };
