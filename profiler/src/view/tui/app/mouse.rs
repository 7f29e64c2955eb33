//! The mouse mirrors keys: the wheel moves, a click selects, sorts or switches.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use crate::view::tui::app::list::List;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::app::{App, Overlay, act};
use crate::view::tui::screen;
use crate::view::tui::widget::{table, tabs};

/// Entries that a notch of the wheel moves.
const NOTCH: isize = 3;

/// Changes the state by what was done with the mouse.
pub(super) fn update(app: &mut App, view: &View, event: MouseEvent) {
    match event.kind {
        MouseEventKind::ScrollUp => act::step(app, view, -NOTCH),
        MouseEventKind::ScrollDown => act::step(app, view, NOTCH),
        MouseEventKind::Down(MouseButton::Left) => click(app, view, Position::new(event.column, event.row)),
        _ => {}
    }
}

fn click(app: &mut App, view: &View, at: Position) {
    if matches!(app.overlay, Overlay::Help(_) | Overlay::Explain(_) | Overlay::Sort(_)) {
        app.overlay = Overlay::None;
        return;
    }
    let places = screen::places(app, view);
    if places.tabs.contains(at) {
        if let Some(screen) = tabs::at(places.tabs, app, at.x) {
            act::show(app, screen);
        }
        return;
    }
    let Some((list, area)) = places.lists.into_iter().find(|(_, area)| area.contains(at)) else { return };
    app.focus = app.lists().iter().position(|other| *other == list).unwrap_or_default();
    match list {
        List::Findings => {
            if let Some(index) = screen::overview::at(app, view, area, at.y) {
                act::select(app, view, list, index);
            }
        }
        List::Rows(_) => click_table(app, view, list, area, at),
    }
}

fn click_table(app: &mut App, view: &View, list: List, area: Rect, at: Position) {
    let List::Rows(table) = list else { return };
    let Some(grid) = view.grid(table) else { return };
    let line = at.y - area.y;
    if line == screen::TABLE_HEAD - 1 {
        if let Some(id) = table::column_at(&grid.sheet.columns, view.bars_of(grid), area, at.x) {
            app.pane_mut(list).sort.choose(Some(id));
        }
    } else if line >= screen::TABLE_HEAD {
        let index = app.pane(list).scroll + usize::from(line - screen::TABLE_HEAD);
        if index < view.count(list) {
            act::select(app, view, list, index);
        }
    }
}
