//! Block devices by operation on top, whom they work for or how large the requests are below, and how long requests of the
//! selected device queue and are served.

use ratatui::layout::Rect;

use crate::field::Table;
use crate::view::tui::app::App;
use crate::view::tui::app::list::List;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::screen::{Page, Placement, draw_stack, pair};

/// The screen.
pub const PAGE: Page = Page { name: "Disks", place, draw: draw_stack };

/// Devices, and whom they work for or how large the requests are.
fn place(body: Rect, view: &View, app: &App) -> Placement {
    let sizes = app.active() == List::Rows(Table::DiskSizes);
    pair(body, view, app, Table::Disks, if sizes { Table::DiskSizes } else { Table::DiskOwners })
}
