//! Who reads and writes which kind of file.

use crate::view::tui::screen::{Page, draw_stack, stack};

/// The screen.
pub const PAGE: Page = Page { name: "Files", place: stack, draw: draw_stack };
