//! Block devices by operation, and how long requests of the selected one queue and are served.

use crate::view::tui::screen::{Page, draw_stack, stack};

/// The screen.
pub const PAGE: Page = Page { name: "Disks", place: stack, draw: draw_stack };
