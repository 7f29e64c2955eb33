//! Text of a fixed width, with or without colors, which never are all that tells something.

use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Effects, Style};

/// Columns that every terminal of today has.
const WIDTH: usize = 100;

/// Whether there are colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Colors,
    None,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    Muted,
    Good,
    Lesser,
    Bad,
}

/// What is printed.
pub(super) struct Page {
    out: String,
    paint: Paint,
}

impl Page {
    pub(super) fn new(paint: Paint) -> Self {
        Self { out: String::new(), paint }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn gap(&mut self) {
        self.out.push('\n');
    }

    /// A label, and text that keeps clear of it on further lines.
    pub(super) fn paragraph(&mut self, label: (&str, Tone), text: (&str, Tone)) {
        let indent = label.0.chars().count();
        let mut label = self.painted(label);
        for line in wrap(text.0, WIDTH - indent) {
            let line = self.painted((&line, text.1));
            let _ = writeln!(self.out, "{label}{line}");
            label = " ".repeat(indent);
        }
    }

    /// A command that a shell takes as it stands, on as many lines as it needs.
    pub(super) fn command(&mut self, indent: usize, command: &str) {
        let label = " ".repeat(indent);
        // Room for the backslash.
        let lines = wrap(command, WIDTH - indent - 4);
        for (index, line) in lines.iter().enumerate() {
            let (label, end) = (
                if index == 0 { &label } else { &format!("{label}  ") },
                if index + 1 < lines.len() { " \\" } else { "" },
            );
            let line = self.painted((&format!("{line}{end}"), Tone::Title));
            let _ = writeln!(self.out, "{label}{line}");
        }
    }

    fn painted(&self, (text, tone): (&str, Tone)) -> String {
        match (self.paint, style(tone)) {
            (Paint::Colors, Some(style)) => format!("{style}{text}{style:#}"),
            _ => text.to_owned(),
        }
    }
}

fn style(tone: Tone) -> Option<Style> {
    let color = |color: AnsiColor| Some(color.on_default());
    match tone {
        Tone::Plain => None,
        Tone::Title => Some(Style::new().effects(Effects::BOLD)),
        Tone::Muted => Some(Style::new().effects(Effects::DIMMED)),
        Tone::Good => color(AnsiColor::Green),
        Tone::Lesser => color(AnsiColor::Yellow),
        Tone::Bad => color(AnsiColor::Red),
    }
}

/// Breaks a text at spaces; a word that is longer than a line has one of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &[&str]) {
        assert_eq!(wrap(text, 8), wanted, "{text}");
    }

    #[test]
    fn lines_break_at_spaces() {
        check("", &[""]);
        check("one two", &["one two"]);
        check("one two three", &["one two", "three"]);
        check("a longer-than-a-line b", &["a", "longer-than-a-line", "b"]);
    }

    #[test]
    fn a_long_command_stays_a_command() {
        let mut page = Page::new(Paint::None);
        page.command(2, &format!("sudo {} path", "x".repeat(90)));
        assert_eq!(page.finish(), format!("  sudo \\\n    {} \\\n    path\n", "x".repeat(90)));
    }
}
