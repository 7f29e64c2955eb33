//! Who reads and writes which kind of file on top, and which files below.

use ratatui::layout::Rect;

use crate::field::Table;
use crate::view::tui::app::App;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::screen::{Page, Placement, draw_stack, pair};

/// The screen.
pub const PAGE: Page = Page { name: "Files", place, draw: draw_stack };

fn place(body: Rect, view: &View, app: &App) -> Placement {
    pair(body, view, app, Table::Files, Table::Paths)
}
