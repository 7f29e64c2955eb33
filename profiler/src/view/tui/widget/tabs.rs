//! The line of screens, and where we are within them.

use std::ops::Range;

use ratatui::layout::Rect;

use crate::view::tui::app::App;
use crate::view::tui::screen::Screen;
use crate::view::tui::theme::Role;
use crate::view::tui::widget::pen::{Pen, cells};

/// Narrower than this, only the screen that is shown has a name.
const NAMES_MIN: u16 = 64;

/// Draws the tabs, and at the end what the tables are narrowed to.
pub fn draw(pen: &mut Pen<'_>, area: Rect, app: &App) {
    let tabs = layout(area, app);
    for (screen, label, range) in &tabs {
        let role = if *screen == app.screen { Role::Tab } else { Role::Text };
        pen.put(range.start, area.y, range.end - range.start, label, role);
    }
    let Some(crumb) = app.trail.last() else { return };
    let start = tabs.last().map_or(area.x, |(_, _, range)| range.end) + 1;
    let text = format!("› {}", crumb.name);
    pen.put_right(start, area.y, area.right().saturating_sub(start + 1), &text, Role::Title);
}

/// The screen whose tab is at a column.
#[must_use]
pub fn at(area: Rect, app: &App, x: u16) -> Option<Screen> {
    layout(area, app).into_iter().find(|(_, _, range)| range.contains(&x)).map(|(screen, _, _)| screen)
}

fn layout(area: Rect, app: &App) -> Vec<(Screen, String, Range<u16>)> {
    let mut x = area.x;
    Screen::ALL
        .into_iter()
        .zip(1..)
        .map(|(screen, number)| {
            let named = area.width >= NAMES_MIN || screen == app.screen;
            let label = if named { format!(" {number} {} ", screen.page().name) } else { format!(" {number} ") };
            let range = x..x + cells(&label);
            x = range.end;
            (screen, label, range)
        })
        .collect()
}
