//! Block devices by operation on top, whom they work for, how large the requests are, where they go or what journals do below, and how
//! long requests of the selected device queue and are served.

use ratatui::layout::Rect;

use crate::field::Table;
use crate::view::tui::app::App;
use crate::view::tui::app::list::List;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::screen::{Page, Placement, draw_stack, pair};

/// The screen.
pub const PAGE: Page = Page { name: "Disks", place, draw: draw_stack };

fn place(body: Rect, view: &View, app: &App) -> Placement {
    let below = match app.active() {
        List::Rows(table @ (Table::DiskSizes | Table::Partitions | Table::Journals)) => table,
        _ => Table::DiskOwners,
    };
    pair(body, view, app, Table::Disks, below)
}
