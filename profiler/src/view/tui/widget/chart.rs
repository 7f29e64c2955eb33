//! A line of a timeline: a name, its past, and its latest value.

use ratatui::layout::Rect;

use crate::view::tui::theme::Role;
use crate::view::tui::widget::pen::Pen;

/// Cells of the name.
const NAME: u16 = 12;
/// Cells of the latest value.
const LATEST: u16 = 10;

/// One line of a timeline.
pub struct Series<'a> {
    /// What it shows.
    pub name: &'static str,
    /// Values, the newest last.
    pub values: &'a [f64],
    /// What a full column stands for; the greatest value that is shown when `None`.
    pub full: Option<f64>,
    /// The latest value in words.
    pub latest: String,
}

/// Draws a series into the first line of an area, the newest value at the right.
pub fn draw(pen: &mut Pen<'_>, area: Rect, series: &Series<'_>) {
    pen.put(area.x, area.y, NAME.min(area.width), series.name, Role::Text);
    let width = area.width.saturating_sub(NAME + LATEST + 1);
    line(pen, Rect { x: area.x + NAME.min(area.width), width, height: 1, ..area }, series);
    if area.width > NAME + LATEST {
        pen.put_right(area.right() - LATEST, area.y, LATEST, series.latest.trim(), Role::Strong);
    }
}

fn line(pen: &mut Pen<'_>, area: Rect, series: &Series<'_>) {
    let shown = &series.values[series.values.len().saturating_sub(area.width.into())..];
    let full = series.full.unwrap_or_else(|| shown.iter().copied().fold(0.0, f64::max));
    let start = area.right().saturating_sub(u16::try_from(shown.len()).unwrap_or(area.width));
    let rule = pen.theme.glyphs.plain("·").into_owned();
    pen.fill(area.x, area.y, start.saturating_sub(area.x), &rule, Role::Muted);
    for (x, value) in (start..area.right()).zip(shown) {
        let level = level(*value, full, pen.theme.glyphs.levels());
        pen.fill(x, area.y, 1, level, Role::Chart);
    }
}

/// The step of a value; whatever is above zero shows.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share between 0 and 1")]
fn level(value: f64, full: f64, levels: &'static [&'static str]) -> &'static str {
    if value <= 0.0 || full <= 0.0 || value.is_nan() {
        return levels[0];
    }
    let top = levels.len() - 1;
    levels[((value / full).min(1.0) * top as f64).ceil() as usize]
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::view::tui::theme::Theme;

    #[test]
    fn the_newest_is_at_the_right_and_little_is_not_nothing() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 1));
        let series = Series { name: "cpu", values: &[0.0, 0.001, 0.5, 1.0], full: Some(1.0), latest: "100 %".into() };
        draw(&mut Pen { buffer: &mut buffer, theme: Theme::default() }, Rect::new(0, 0, 30, 1), &series);
        assert_eq!(buffer_text(&buffer), "cpu         ··· ▁▄█      100 %");
    }

    fn buffer_text(buffer: &Buffer) -> String {
        buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect()
    }
}
