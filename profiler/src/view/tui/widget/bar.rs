//! A bar that splits time into bands, and its legend.

use ratatui::layout::Rect;

use crate::field::Value;
use crate::view::tui::theme::{Band, Role};
use crate::view::tui::widget::pen::{Pen, cells};

/// A share of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it looks like.
    pub band: Band,
    /// What it is.
    pub name: &'static str,
    /// How much of it, in any unit.
    pub amount: u64,
}

/// Draws the bar into the first line of an area. Its parts fill it to the last cell.
pub fn draw(pen: &mut Pen<'_>, area: Rect, parts: &[Part]) {
    let mut x = area.x;
    for (part, width) in parts.iter().zip(allot(parts, area.width)) {
        let glyph = pen.theme.glyphs.band(part.band);
        pen.fill(x, area.y, width, glyph, Role::Band(part.band));
        x = x.saturating_add(width);
    }
}

/// Draws the legend, as many lines as it takes and the area has. Parts of nothing are left out.
pub fn legend(pen: &mut Pen<'_>, area: Rect, parts: &[Part]) {
    let entries = entries(parts);
    let gap = gap(&entries, area.width);
    let (mut x, mut y) = (area.x, area.y);
    for (band, text) in &entries {
        let width = cells(text) + 2;
        if x > area.x && x + width > area.right() {
            (x, y) = (area.x, y + 1);
        }
        if y >= area.bottom() {
            return;
        }
        pen.put(x, y, 1, pen.theme.glyphs.band(*band), Role::Band(*band));
        pen.put(x + 2, y, area.right().saturating_sub(x + 2), text, Role::Text);
        x = x.saturating_add(width + gap);
    }
}

/// Lines that the legend takes.
#[must_use]
pub fn legend_height(parts: &[Part], width: u16) -> u16 {
    let entries = entries(parts);
    let gap = gap(&entries, width);
    let (mut x, mut lines) = (0, 1);
    for (_, text) in &entries {
        let cells = cells(text) + 2;
        if x > 0 && x + cells > width {
            (x, lines) = (0, lines + 1);
        }
        x += cells + gap;
    }
    lines
}

fn entries(parts: &[Part]) -> Vec<(Band, String)> {
    let total: u64 = parts.iter().map(|part| part.amount).sum();
    let entry = |part: &Part| (part.band, format!("{} {}", part.name, Value::ratio(part.amount, total)));
    parts.iter().filter(|part| part.amount > 0).map(entry).collect()
}

/// Cells between entries: fewer where that saves a line.
fn gap(entries: &[(Band, String)], width: u16) -> u16 {
    let all: u16 = entries.iter().map(|(_, text)| cells(text) + 4).sum();
    if all <= width + 2 { 2 } else { 1 }
}

/// Cells of each part, the largest remainders rounded up, so that they add up to the width.
fn allot(parts: &[Part], width: u16) -> Vec<u16> {
    let total: u128 = parts.iter().map(|part| u128::from(part.amount)).sum();
    if total == 0 {
        return vec![0; parts.len()];
    }
    let exact = |part: &Part| u128::from(part.amount) * u128::from(width);
    let mut cells: Vec<u16> = parts.iter().map(|part| u16::try_from(exact(part) / total).unwrap_or(width)).collect();
    let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
    by_remainder.sort_by_key(|index| std::cmp::Reverse(exact(&parts[*index]) % total));
    let missing = width.saturating_sub(cells.iter().sum());
    for index in by_remainder.into_iter().take(missing.into()) {
        cells[index] += 1;
    }
    cells
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::view::tui::theme::{Glyphs, Theme};

    fn parts(amounts: [u64; 3]) -> [Part; 3] {
        let [run, queue, blocked] = amounts;
        [(Band::Run, "cpu", run), (Band::Queue, "run queue", queue), (Band::Blocked, "blocked", blocked)]
            .map(|(band, name, amount)| Part { band, name, amount })
    }

    #[test]
    fn parts_fill_the_bar() {
        for amounts in [[1, 1, 1], [0, 0, 7], [u64::MAX / 3; 3], [1, 1_000_000, 1]] {
            assert_eq!(allot(&parts(amounts), 10).iter().sum::<u16>(), 10, "{amounts:?}");
        }
        assert_eq!(allot(&parts([0; 3]), 10), [0; 3]);
    }

    #[test]
    fn the_bar_is_readable_without_color() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 10, 1));
        let theme = Theme { glyphs: Glyphs::Ascii, ..Theme::default() };
        draw(&mut Pen { buffer: &mut buffer, theme }, Rect::new(0, 0, 10, 1), &parts([5, 2, 3]));
        let text: String = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(text, "#####QQBBB");
    }
}
