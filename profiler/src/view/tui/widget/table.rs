//! The one table: a title, headings, and rows of which only the visible ones are formatted.

use std::borrow::Cow;

use ratatui::layout::Rect;

use crate::field::{Column, Row, Value};
use crate::view::tui::app::arrange::Grid;
use crate::view::tui::app::list::{Direction, Pane};
use crate::view::tui::app::panel::Parts;
use crate::view::tui::theme::Role;
use crate::view::tui::widget::bar;
use crate::view::tui::widget::pen::{Pen, cells, split_top};

/// The flexible column is never narrower: it names the row. A tiny terminal has less of it.
const FLEXIBLE_MIN: u16 = 16;
/// The same on a terminal of less than [`TINY`] columns.
const FLEXIBLE_TINY: u16 = 10;
/// Narrower than this is tiny.
const TINY: u16 = 60;
/// What the flexible column has beyond that, before columns stand further apart.
const FLEXIBLE_GOOD: u16 = 8;
/// From this width on, rows have bars.
const BARS_MIN: u16 = 110;
/// Cells of the bar of a row, at most.
const BAR_MAX: u16 = 40;

/// A table to draw.
pub struct Table<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its rows.
    pub grid: &'a Grid,
    /// How it is scrolled, sorted and filtered.
    pub pane: &'a Pane,
    /// A bar per row, or none at all.
    pub bars: &'a [Parts],
    /// Whether keys act on it.
    pub focus: Focus,
    /// What to say when it is empty.
    pub empty: &'a str,
}

/// Whether keys act on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// They do.
    Here,
    /// They act on another one.
    Elsewhere,
}

/// Where a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    index: usize,
    x: u16,
    width: u16,
}

/// Identifiers of all columns.
#[must_use]
pub fn ids(columns: &[Column]) -> Vec<&'static str> {
    columns.iter().map(|column| column.id).collect()
}

/// Identifiers of the columns that a terminal of some width shows.
#[must_use]
pub fn shown_ids(columns: &[Column], width: u16) -> Vec<&'static str> {
    place(columns, Rect::new(0, 0, width, 1)).iter().map(|placed| columns[placed.index].id).collect()
}

/// The column under a cell of the headings.
#[must_use]
pub fn column_at(columns: &[Column], bars: &[Parts], area: Rect, x: u16) -> Option<&'static str> {
    let (placed, bar) = layout(columns, bars, area);
    if bar.is_some_and(|bar| bar.x <= x) {
        return None;
    }
    placed.iter().rev().find(|placed| placed.x <= x).map(|placed| columns[placed.index].id)
}

/// Draws it.
pub fn draw(pen: &mut Pen<'_>, area: Rect, table: &Table<'_>) {
    let (title, rest) = split_top(area, 1);
    pen.title(title, table.name, &remark(table));
    let (head, body) = split_top(rest, 1);
    let columns = &table.grid.sheet.columns;
    let (placed, bar) = layout(columns, table.bars, area);
    headings(pen, head, table, &placed);
    if let Some(bar) = bar {
        pen.put(bar.x, head.y, bar.width, "where time went", Role::Heading);
    }
    if table.grid.sheet.rows.is_empty() {
        pen.put(area.x + 2, body.y, area.width.saturating_sub(2), table.empty, Role::Muted);
    }
    let cells: Vec<_> = placed.iter().map(|placed| (*placed, is_left(table, placed.index))).collect();
    let shown = table.grid.sheet.rows.iter().enumerate().skip(table.pane.scroll);
    for (y, (index, row)) in (body.y..body.bottom()).zip(shown) {
        let line = Rect { y, height: 1, ..area };
        draw_row(pen, line, row, &cells);
        if let (Some(bar), Some(parts)) = (bar, table.bars.get(index)) {
            bar::draw(pen, Rect { y, ..bar }, parts);
        }
        if table.grid.selected == Some(index) {
            let end = bar.map_or(area.right(), |bar| bar.x);
            mark(pen, Rect { width: end - area.x, ..line }, table.focus);
        }
    }
    scrollbar(pen, body, table.grid.sheet.rows.len(), table.pane.scroll);
}

/// Shows how much of a list is in sight, at the right edge of its body.
pub fn scrollbar(pen: &mut Pen<'_>, body: Rect, count: usize, scroll: usize) {
    let height = usize::from(body.height);
    if count <= height || height == 0 || body.width == 0 {
        return;
    }
    let length = (height * height / count).max(1);
    let start = (scroll * (height - length)).div_ceil(count - height).min(height - length);
    for line in start..start + length {
        let y = body.y + u16::try_from(line).unwrap_or_default();
        pen.fill(body.right() - 1, y, 1, pen.theme.glyphs.thumb(), Role::Muted);
    }
}

/// Marks the selected line.
pub fn mark(pen: &mut Pen<'_>, line: Rect, focus: Focus) {
    if focus == Focus::Here {
        pen.paint(line, Role::Selected);
    }
    pen.put(line.x, line.y, 1, pen.theme.glyphs.mark(), Role::Key);
}

/// Places columns, and bars if there are any and room for them: they say more than the columns that they push out.
fn layout(columns: &[Column], bars: &[Parts], area: Rect) -> (Vec<Placed>, Option<Rect>) {
    if bars.is_empty() || area.width < BARS_MIN {
        return (place(columns, area), None);
    }
    let width = (area.width / 4).min(BAR_MAX);
    let placed = place(columns, Rect { width: area.width - width - 1, ..area });
    (placed, Some(Rect { x: area.right() - 1 - width, width, height: 1, ..area }))
}

/// Places the columns that there is room for. Those with the least claim are declared (`hide_below`); should the rest
/// still be too wide, the last ones go.
fn place(columns: &[Column], area: Rect) -> Vec<Placed> {
    let room = area.width.saturating_sub(2);
    let mut shown: Vec<usize> = (0..columns.len()).filter(|index| columns[*index].hide_below <= area.width).collect();
    let flexible = if area.width < TINY { FLEXIBLE_TINY } else { FLEXIBLE_MIN };
    let need = |shown: &[usize], gap: u16| -> u16 {
        let least = |width: u16| if width == 0 { flexible } else { width };
        shown.iter().map(|index| least(columns[*index].width) + gap).sum::<u16>().saturating_sub(gap)
    };
    while shown.len() > 1 && need(&shown, 1) > room {
        let Some(last) = shown.iter().rposition(|index| columns[*index].width > 0) else { break };
        shown.remove(last);
    }
    let gap = if need(&shown, 2) + FLEXIBLE_GOOD <= room { 2 } else { 1 };
    let spare = room.saturating_sub(need(&shown, gap));
    let mut x = area.x + 1;
    shown
        .into_iter()
        .map(|index| {
            let width = if columns[index].width == 0 { flexible + spare } else { columns[index].width };
            let placed = Placed { index, x, width };
            x += width + gap;
            placed
        })
        .collect()
}

fn headings(pen: &mut Pen<'_>, head: Rect, table: &Table<'_>, placed: &[Placed]) {
    pen.paint(head, Role::Heading);
    for placed in placed {
        let column = &table.grid.sheet.columns[placed.index];
        let sorted = table.pane.sort.by == Some(column.id);
        let label =
            if sorted { format!("{}{}", column.label, arrow(pen, table, placed.index)) } else { column.label.into() };
        let role = if sorted { Role::Sorted } else { Role::Heading };
        if is_left(table, placed.index) {
            pen.put(placed.x, head.y, placed.width, &label, role);
        } else {
            pen.put_right(placed.x, head.y, placed.width, &label, role);
        }
    }
}

fn arrow(pen: &Pen<'_>, table: &Table<'_>, index: usize) -> &'static str {
    // Names start with A, numbers with the greatest.
    match (is_left(table, index), table.pane.sort.direction) {
        (true, Direction::Usual) | (false, Direction::Reversed) => pen.theme.glyphs.ascending(),
        (true, Direction::Reversed) | (false, Direction::Usual) => pen.theme.glyphs.descending(),
    }
}

fn is_left(table: &Table<'_>, index: usize) -> bool {
    let mut cells = table.grid.sheet.rows.iter().filter_map(|row| row.cells.get(index));
    let first = cells.find(|cell| !matches!(cell, Value::None | Value::Unknown(_)));
    first.map_or(table.grid.sheet.columns[index].width == 0, |cell| matches!(cell, Value::Text(_)))
}

fn draw_row(pen: &mut Pen<'_>, line: Rect, row: &Row, placed: &[(Placed, bool)]) {
    for (placed, left) in placed {
        let Some(cell) = row.cells.get(placed.index) else { continue };
        let role = if matches!(cell, Value::None | Value::Unknown(_)) { Role::Muted } else { Role::Text };
        let text = cell.to_string();
        if *left {
            pen.put(placed.x, line.y, placed.width, &ending(&text, placed.width), role);
        } else {
            pen.put_right(placed.x, line.y, placed.width, &text, role);
        }
    }
}

/// A path that is too long without its beginning: its end tells it from others. Anything else as it is.
fn ending(text: &str, width: u16) -> Cow<'_, str> {
    let mut rest = text;
    if !text.contains('/') || cells(text) <= width {
        return Cow::Borrowed(text);
    }
    while cells(rest) >= width && !rest.is_empty() {
        let mut letters = rest.chars();
        letters.next();
        rest = letters.as_str();
    }
    Cow::Owned(format!("…{rest}"))
}

fn remark(table: &Table<'_>) -> String {
    let shown = table.grid.sheet.rows.len();
    let filter = &table.pane.filter;
    if filter.is_empty() { shown.to_string() } else { format!("“{filter}”: {shown} of {}", table.grid.total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn column(id: &'static str, width: u16, hide_below: u16) -> Column {
        Column { id, label: id, doc: "", width, hide_below }
    }

    const COLUMNS: [Column; 4] =
        [column("pid", 7, 0), column("name", 0, 0), column("cpu", 6, 0), column("rare", 9, 100)];

    #[test]
    fn columns_are_dropped_as_declared_and_the_flexible_one_takes_the_rest() {
        assert_eq!(shown_ids(&COLUMNS, 80), ["pid", "name", "cpu"]);
        assert_eq!(shown_ids(&COLUMNS, 100), ["pid", "name", "cpu", "rare"]);
        let placed = place(&COLUMNS, Rect::new(0, 0, 80, 1));
        assert_eq!(placed[1].width, 80 - 2 - 7 - 6 - 4);
        assert_eq!(placed[2].x + placed[2].width, 79);
    }

    #[test]
    fn no_width_is_too_small() {
        for width in 0..30 {
            let area = Rect::new(0, 0, width, 1);
            assert!(!place(&COLUMNS, area).is_empty());
        }
    }

    #[test]
    fn a_click_finds_its_column() {
        let area = Rect::new(0, 0, 80, 1);
        assert_eq!(column_at(&COLUMNS, &[], area, 2), Some("pid"));
        assert_eq!(column_at(&COLUMNS, &[], area, 12), Some("name"));
        assert_eq!(column_at(&COLUMNS, &[], area, 78), Some("cpu"));
        assert_eq!(column_at(&COLUMNS, &[], area, 0), None);
    }
}
