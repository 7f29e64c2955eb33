//! A series of a timeline: a name, its past as columns, and its latest value.

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
    /// What a full column stands for at least, so that little does not look like much; else the greatest shown.
    pub floor: f64,
    /// The latest value in words.
    pub latest: String,
}

/// Draws a series over the lines of an area, the newest value at the right.
pub fn draw(pen: &mut Pen<'_>, area: Rect, series: &Series<'_>) {
    let bottom = area.bottom().saturating_sub(1);
    pen.put(area.x, bottom, NAME.min(area.width), series.name, Role::Text);
    let width = area.width.saturating_sub(NAME + LATEST + 1);
    columns(pen, Rect { x: area.x + NAME.min(area.width), width, ..area }, series);
    if area.width > NAME + LATEST {
        pen.put_right(area.right() - LATEST, bottom, LATEST, &series.latest, Role::Strong);
    }
}

fn columns(pen: &mut Pen<'_>, area: Rect, series: &Series<'_>) {
    let shown = &series.values[series.values.len().saturating_sub(area.width.into())..];
    let full = shown.iter().copied().fold(series.floor, f64::max);
    let start = area.right().saturating_sub(u16::try_from(shown.len()).unwrap_or(area.width));
    let rule = pen.theme.glyphs.plain("·").into_owned();
    pen.fill(area.x, area.bottom().saturating_sub(1), start.saturating_sub(area.x), &rule, Role::Muted);
    for (x, value) in (start..area.right()).zip(shown) {
        let levels = pen.theme.glyphs.levels();
        let mut steps = steps(*value, full, usize::from(area.height) * (levels.len() - 1));
        for y in (area.y..area.bottom()).rev() {
            let step = steps.min(levels.len() - 1);
            pen.fill(x, y, 1, levels[step], Role::Chart);
            steps -= step;
        }
    }
}

/// How many steps of a column a value fills; whatever is above zero shows.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share between 0 and 1")]
fn steps(value: f64, full: f64, all: usize) -> usize {
    if value <= 0.0 || full <= 0.0 || value.is_nan() {
        return 0;
    }
    ((value / full).min(1.0) * all as f64).ceil() as usize
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::view::tui::theme::Theme;

    #[test]
    fn the_newest_is_at_the_right_and_little_is_not_nothing() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 1));
        let series = Series { name: "cpu", values: &[0.0, 0.001, 0.5, 1.0], floor: 1.0, latest: "100 %".into() };
        draw(&mut Pen { buffer: &mut buffer, theme: Theme::default() }, Rect::new(0, 0, 30, 1), &series);
        assert_eq!(buffer_text(&buffer), "cpu         ··· ▁▄█      100 %");
    }

    #[test]
    fn tall_columns_fill_from_below() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 25, 2));
        let series = Series { name: "x", values: &[0.5, 0.75], floor: 1.0, latest: "1".into() };
        draw(&mut Pen { buffer: &mut buffer, theme: Theme::default() }, Rect::new(0, 0, 25, 2), &series);
        let column = |x| [buffer[(x, 0)].symbol().to_owned(), buffer[(x, 1)].symbol().to_owned()];
        assert_eq!([column(12), column(13)], [[" ", "█"], ["▄", "█"]]);
    }

    fn buffer_text(buffer: &Buffer) -> String {
        buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect()
    }
}
