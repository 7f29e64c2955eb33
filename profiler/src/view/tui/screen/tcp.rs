//! Listeners on top, as long as there are any, and connections below, one by one or by peer, or requests, or what was
//! dropped.

use ratatui::layout::Rect;

use crate::field::Table;
use crate::view::tui::app::App;
use crate::view::tui::app::list::List;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::screen::{Page, Placement, TABLE_HEAD, draw_stack};
use crate::view::tui::widget::pen::split_top;

/// The screen.
pub const PAGE: Page = Page { name: "TCP", place, draw: draw_stack };

/// A third at most, so that connections keep most of the screen.
const LISTENERS_SHARE: u16 = 3;

fn place(body: Rect, view: &View, app: &App) -> Placement {
    let listeners = view.grid(Table::Listeners).map_or(0, |grid| grid.total);
    let wanted = u16::try_from(listeners).unwrap_or(u16::MAX).saturating_add(TABLE_HEAD);
    let height = if listeners == 0 { 0 } else { wanted.min((body.height / LISTENERS_SHARE).max(TABLE_HEAD + 1)) };
    let (top, rest) = split_top(body, height);
    let below = match app.active() {
        List::Rows(table @ (Table::Peers | Table::Exchanges | Table::Drops)) => table,
        _ => Table::Connections,
    };
    let mut lists = vec![(List::Rows(below), rest)];
    if height > 0 {
        lists.push((List::Rows(Table::Listeners), top));
    }
    (lists, Rect::default())
}
