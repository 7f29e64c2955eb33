//! Writes text by role. Whatever lies outside of the screen is cut, never a panic, so that no terminal is too small.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::view::tui::theme::{Role, Theme};

/// A buffer and the theme to write to it with.
pub struct Pen<'a> {
    /// Where cells go.
    pub buffer: &'a mut Buffer,
    /// What roles look like.
    pub theme: Theme,
}

impl Pen<'_> {
    /// Writes text from a cell on, at most `width` cells of it, and tells how many it took. What is cut ends in `…`.
    pub fn put(&mut self, x: u16, y: u16, width: u16, text: &str, role: Role) -> u16 {
        let width = width.min(self.room(x, y));
        if width == 0 {
            return 0;
        }
        let text = self.theme.glyphs.plain(text);
        let style = self.theme.style(role);
        if cells(&text) <= width {
            return self.buffer.set_stringn(x, y, &text, width.into(), style).0 - x;
        }
        let (end, _) = self.buffer.set_stringn(x, y, &text, usize::from(width) - 1, style);
        self.buffer.set_stringn(end, y, self.theme.glyphs.plain("…"), 1, style).0 - x
    }

    /// Writes text so that it ends at the end of `width` cells.
    pub fn put_right(&mut self, x: u16, y: u16, width: u16, text: &str, role: Role) {
        let skip = width.saturating_sub(cells(text));
        self.put(x.saturating_add(skip), y, width - skip, text, role);
    }

    /// Writes a piece of text after another: `x` moves on.
    pub fn then(&mut self, x: &mut u16, y: u16, end: u16, text: &str, role: Role) {
        *x += self.put(*x, y, end.saturating_sub(*x), text, role);
    }

    /// Fills a row of cells with a glyph.
    pub fn fill(&mut self, x: u16, y: u16, width: u16, glyph: &str, role: Role) {
        let width = width.min(self.room(x, y));
        let style = self.theme.style(role);
        for x in x..x + width {
            self.buffer[(x, y)].set_symbol(glyph).set_style(style);
        }
    }

    /// Gives cells a role and leaves their text.
    pub fn paint(&mut self, area: Rect, role: Role) {
        self.buffer.set_style(area, self.theme.style(role));
    }

    /// Title of a section: a rule across the area with a name, and a remark at its end.
    pub fn title(&mut self, area: Rect, name: &str, remark: &str) {
        let rule = if self.theme.glyphs.plain("─") == "─" { "─" } else { "-" };
        self.fill(area.x, area.y, area.width, rule, Role::Muted);
        let end = area.right();
        let mut x = area.x.saturating_add(1);
        self.then(&mut x, area.y, end, " ", Role::Muted);
        self.then(&mut x, area.y, end, name, Role::Title);
        self.then(&mut x, area.y, end, " ", Role::Muted);
        let left = end.saturating_sub(x);
        let remark = format!(" {remark} ");
        let width = cells(&remark);
        if width > 2 && width < left {
            self.put(end - width - 1, area.y, width, &remark, Role::Muted);
        }
    }

    fn room(&self, x: u16, y: u16) -> u16 {
        let area = self.buffer.area;
        if y < area.y || y >= area.bottom() || x < area.x { 0 } else { area.right().saturating_sub(x) }
    }
}

/// Cells that a text takes.
#[must_use]
pub fn cells(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

/// Breaks a text at spaces into lines of at most `width` cells; words that are longer are cut when they are written.
#[must_use]
pub fn wrap(text: &str, width: u16) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if cells(line) + 1 + cells(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

/// Splits a number of lines off the top of an area: the top, and the rest.
#[must_use]
pub fn split_top(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    (Rect { height, ..area }, Rect { y: area.y + height, height: area.height - height, ..area })
}

/// Splits a number of lines off the bottom of an area: the rest, and the bottom.
#[must_use]
pub fn split_bottom(area: Rect, height: u16) -> (Rect, Rect) {
    split_top(area, area.height.saturating_sub(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 1));
        let mut pen = Pen { buffer: &mut buffer, theme: Theme::default() };
        assert_eq!(pen.put(0, 0, 4, "abcdef", Role::Text), 4);
        assert_eq!(buffer, Buffer::with_lines(["abc…  "]));
    }

    #[test]
    fn nothing_is_written_outside() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 1));
        let mut pen = Pen { buffer: &mut buffer, theme: Theme::default() };
        assert_eq!(pen.put(9, 0, 4, "abc", Role::Text), 0);
        assert_eq!(pen.put(0, 7, 4, "abc", Role::Text), 0);
        pen.fill(2, 0, 90, "x", Role::Text);
        pen.put_right(0, 0, 2, "abc", Role::Text);
        assert_eq!(buffer, Buffer::with_lines(["a…xx"]));
    }

    #[test]
    fn text_breaks_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    }
}
