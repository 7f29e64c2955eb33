//! What covers the screen: the keys, everything about a row, and the sort menu.

use ratatui::layout::{Rect, Size};
use ratatui::widgets::{Clear, Widget};

use crate::finding::Finding;
use crate::view::tui::app::list::List;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::app::{App, Overlay};
use crate::view::tui::keymap::{self, Scope, Stroke};
use crate::view::tui::theme::Role;
use crate::view::tui::widget::pen::{Pen, cells, wrap};
use crate::view::tui::widget::table;

/// Widest text.
const WIDTH_MAX: u16 = 96;
/// Cells of the names at the left of a text.
const NAME: u16 = 18;

/// A line: what stands at its left, and the text.
struct Line {
    name: (String, Role),
    text: (String, Role),
}

impl Line {
    fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: (name.into(), Role::Key), text: (text.into(), Role::Text) }
    }

    fn title(name: impl Into<String>) -> Self {
        Self { name: (name.into(), Role::Title), text: (String::new(), Role::Text) }
    }

    fn muted(text: impl Into<String>) -> Self {
        Self { name: (String::new(), Role::Text), text: (text.into(), Role::Muted) }
    }
}

/// Draws what is open, if anything.
pub fn draw(pen: &mut Pen<'_>, screen: Rect, view: &View, app: &App) {
    match app.overlay {
        Overlay::None | Overlay::Filter => {}
        Overlay::Help(scroll) => text(pen, area(screen.as_size()), "Keys", &lines(app, view), scroll),
        Overlay::Explain(scroll) => text(pen, area(screen.as_size()), &name(app), &lines(app, view), scroll),
        Overlay::Sort(choice) => menu(pen, screen, view, app, choice),
    }
}

/// Lines of an overlay that are in sight at once.
#[must_use]
pub fn page(size: Size) -> u16 {
    area(size).height.saturating_sub(2)
}

/// How far what is open can be scrolled.
#[must_use]
pub fn scroll_max(app: &App, view: &View) -> usize {
    lines(app, view).len().saturating_sub(page(app.size).into())
}

fn area(size: Size) -> Rect {
    let width = size.width.saturating_sub(4).min(WIDTH_MAX);
    let height = size.height.saturating_sub(2);
    Rect::new((size.width - width) / 2, 1, width, height)
}

fn name(app: &App) -> String {
    match app.active() {
        List::Findings => "Finding".into(),
        list @ List::Rows(_) => format!("{}: the selected row", list.name()),
    }
}

fn lines(app: &App, view: &View) -> Vec<Line> {
    let width = area(app.size).width.saturating_sub(NAME + 4);
    match (app.overlay, app.active()) {
        (Overlay::Help(_), _) => help(),
        (Overlay::Explain(_), List::Findings) => {
            let finding = view.finding.and_then(|index| view.findings.get(index));
            finding.map_or_else(Vec::new, |finding| explain_finding(finding, width))
        }
        (Overlay::Explain(_), List::Rows(_)) => explain_row(app, view, width),
        _ => Vec::new(),
    }
}

fn help() -> Vec<Line> {
    let mut lines = Vec::new();
    for scope in Scope::ALL {
        if !lines.is_empty() {
            lines.push(Line::muted(""));
        }
        lines.push(Line::title(scope.title()));
        lines.extend(keymap::of(&[scope]).map(|binding| {
            let keys: Vec<_> = binding.keys.iter().map(|stroke: &Stroke| stroke.label()).collect();
            Line::new(keys.join(" "), binding.help)
        }));
    }
    lines
}

fn explain_row(app: &App, view: &View, width: u16) -> Vec<Line> {
    let List::Rows(table) = app.active() else { return Vec::new() };
    let Some(grid) = view.grid(table) else { return Vec::new() };
    let Some(row) = grid.selected.and_then(|index| grid.sheet.rows.get(index)) else { return Vec::new() };
    let mut lines = Vec::new();
    for (column, cell) in grid.sheet.columns.iter().zip(&row.cells) {
        let mut parts = wrap(&format!("{cell:#}"), width).into_iter();
        lines.push(Line::new(column.label, parts.next().unwrap_or_default()));
        lines.extend(parts.map(|part| Line::new("", part)));
        lines.extend(wrap(column.doc, width).into_iter().map(Line::muted));
    }
    lines
}

fn explain_finding(finding: &Finding, width: u16) -> Vec<Line> {
    let mut lines = vec![Line::title(finding.claim.clone()), Line::muted("")];
    let mut add = |name: &str, text: &str| {
        for (index, part) in wrap(text, width).into_iter().enumerate() {
            lines.push(Line::new(if index == 0 { name } else { "" }, part));
        }
    };
    for evidence in &finding.evidence {
        add("evidence", evidence);
    }
    add("witness", finding.witness.as_deref().unwrap_or("none: no independent counter exists"));
    for rejected in &finding.rejected {
        add("rejected", rejected);
    }
    for victim in &finding.victims {
        add("victim", victim);
    }
    add("advice", finding.advice);
    add("more", &format!("profiler explain {}", finding.id));
    lines
}

fn text(pen: &mut Pen<'_>, area: Rect, title: &str, lines: &[Line], scroll: usize) {
    let page = usize::from(area.height.saturating_sub(2));
    let shown = (scroll + page).min(lines.len());
    frame(pen, area, title, &format!("{shown} of {}", lines.len()));
    let end = area.right().saturating_sub(2);
    for (y, line) in (area.y + 1..area.bottom().saturating_sub(1)).zip(lines.iter().skip(scroll)) {
        let x = area.x + 2;
        let whole = line.text.0.is_empty();
        let width = if whole { end.saturating_sub(x) } else { NAME - 1 };
        pen.put(x, y, width, &line.name.0, line.name.1);
        pen.put(x + NAME, y, end.saturating_sub(x + NAME), &line.text.0, line.text.1);
    }
}

fn menu(pen: &mut Pen<'_>, screen: Rect, view: &View, app: &App, choice: usize) {
    let List::Rows(table) = app.active() else { return };
    let Some(grid) = view.grid(table) else { return };
    let entries: Vec<_> =
        std::iter::once("most important first").chain(grid.sheet.columns.iter().map(|column| column.label)).collect();
    let width = entries.iter().map(|entry| cells(entry)).max().unwrap_or_default() + 6;
    let room = screen.height.saturating_sub(4);
    let height = u16::try_from(entries.len()).unwrap_or(room).saturating_add(2).min(room);
    let area = Rect::new(screen.x + 2, screen.y + 3, width.min(screen.width.saturating_sub(2)), height);
    frame(pen, area, "Sort by", "");
    let lines = usize::from(area.height.saturating_sub(2));
    let skip = (choice + 1).saturating_sub(lines);
    for (y, (index, entry)) in (area.y + 1..).zip(entries.iter().enumerate().skip(skip).take(lines)) {
        pen.put(area.x + 3, y, area.width.saturating_sub(4), entry, Role::Text);
        if index == choice {
            let line = Rect { x: area.x + 1, y, width: area.width.saturating_sub(2), height: 1 };
            table::mark(pen, line, table::Focus::Here);
        }
    }
}

/// An empty box: a title on top, a remark at the bottom.
fn frame(pen: &mut Pen<'_>, area: Rect, title: &str, remark: &str) {
    let area = area.intersection(pen.buffer.area);
    Clear.render(area, pen.buffer);
    if area.is_empty() {
        return;
    }
    pen.title(Rect { height: 1, ..area }, title, "");
    pen.title(Rect { y: area.bottom() - 1, height: 1, ..area }, "Esc closes", remark);
    for y in area.y + 1..area.bottom() - 1 {
        pen.put(area.x, y, 1, "│", Role::Muted);
        pen.put(area.right() - 1, y, 1, "│", Role::Muted);
    }
    for (x, top, bottom) in [(area.x, "┌", "└"), (area.right() - 1, "┐", "┘")] {
        pen.put(x, area.y, 1, top, Role::Muted);
        pen.put(x, area.bottom() - 1, 1, bottom, Role::Muted);
    }
}
