//! Block devices by operation on top, whom they work for or how large the requests are below, and how long requests of the
//! selected device queue and are served.

use ratatui::layout::Rect;

use crate::field::Table;
use crate::view::tui::app::App;
use crate::view::tui::app::list::List;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::screen::{Page, Placement, TABLE_HEAD, draw_stack, panel_height};
use crate::view::tui::widget::pen::{split_bottom, split_top};

/// The screen.
pub const PAGE: Page = Page { name: "Disks", place, draw: draw_stack };

/// Rows of each table, at least, where there are as many: fewer tell little.
const ROWS_MIN: u16 = 4;

/// Both tables where there is room for them, else the one that has the focus.
fn place(body: Rect, view: &View, app: &App) -> Placement {
    let (tables, panel) = split_bottom(body, panel_height(body, view));
    let rows = view.grid(Table::Disks).map_or(0, |grid| u16::try_from(grid.total).unwrap_or(u16::MAX));
    // With an empty line below.
    let height = |rows: u16| rows.saturating_add(TABLE_HEAD + 1);
    let top = height(rows).min(tables.height / 2);
    if top < height(rows.min(ROWS_MIN)) || tables.height - top < height(ROWS_MIN) {
        return (vec![(app.active(), tables)], panel);
    }
    let (top, rest) = split_top(tables, top);
    let sizes = app.active() == List::Rows(Table::DiskSizes);
    let below = if sizes { Table::DiskSizes } else { Table::DiskOwners };
    (vec![(List::Rows(Table::Disks), top), (List::Rows(below), rest)], panel)
}
