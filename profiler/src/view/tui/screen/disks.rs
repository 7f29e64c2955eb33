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

/// Rows of the lower table, at least: less tells little.
const BELOW_MIN: u16 = 4;

fn place(body: Rect, view: &View, app: &App) -> Placement {
    let (tables, panel) = split_bottom(body, panel_height(body, view));
    let rows = |table| view.grid(table).map_or(0, |grid| u16::try_from(grid.total).unwrap_or(u16::MAX));
    let wanted = rows(Table::Disks).saturating_add(TABLE_HEAD + 1);
    let room = tables.height.saturating_sub(TABLE_HEAD + BELOW_MIN);
    if room < TABLE_HEAD + 1 {
        return (vec![(app.active(), tables)], panel);
    }
    let (top, rest) = split_top(tables, wanted.min(room));
    let sizes = app.active() == List::Rows(Table::DiskSizes);
    let below = if sizes { Table::DiskSizes } else { Table::DiskOwners };
    (vec![(List::Rows(Table::Disks), top), (List::Rows(below), rest)], panel)
}
