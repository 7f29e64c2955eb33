//! The verdict in one line, findings by impact, and the host as a whole: CPU time, pressure, the past.

use ratatui::layout::Rect;

use crate::field::Value;
use crate::finding::{Finding, Severity};
use crate::view::tui::app::App;
use crate::view::tui::app::list::List;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::screen::{Page, Placement, Places};
use crate::view::tui::theme::Role;
use crate::view::tui::widget::pen::{Pen, split_bottom, split_top, wrap};
use crate::view::tui::widget::table::{self, Focus};

mod host;

/// The screen.
pub const PAGE: Page = Page { name: "Overview", place, draw };

/// From this width on, the host stands beside the findings instead of below.
const SIDE_MIN: u16 = 110;
/// Below this height of the body, only findings are shown.
const HOST_MIN: u16 = 12;
/// Title of the findings.
const HEAD: u16 = 1;
/// Cells in front of a claim: mark, severity, impact.
const LEAD: u16 = 14;

fn place(body: Rect, view: &View, _: &App) -> Placement {
    let (_, body) = split_top(body, 1);
    let (findings, host) = if body.height < HOST_MIN {
        (body, Rect::default())
    } else if body.width >= SIDE_MIN {
        let width = body.width / 9 * 5;
        (Rect { width, ..body }, Rect { x: body.x + width + 1, width: body.width - width - 1, ..body })
    } else {
        let (least, all) = host::heights(view, body.width);
        let spare = body.height.saturating_sub(HEAD + needed(&view.findings, body.width));
        split_bottom(body, spare.clamp(least.min(all), all).min(body.height / 3 * 2))
    };
    (vec![(List::Findings, findings)], host)
}

/// Lines of all findings with the longest of them selected, so that the layout holds still as the selection moves.
fn needed(findings: &[Finding], width: u16) -> u16 {
    let longest = findings.iter().map(|finding| lines(finding, width, true).len()).max().unwrap_or(1);
    u16::try_from(longest + findings.len().saturating_sub(1)).unwrap_or(u16::MAX - HEAD)
}

fn draw(pen: &mut Pen<'_>, places: &Places, view: &View, app: &App) {
    verdict(pen, split_top(places.body, 1).0, view);
    for (_, area) in &places.lists {
        findings(pen, *area, view, app);
    }
    host::draw(pen, places.panel, view);
}

fn verdict(pen: &mut Pen<'_>, line: Rect, view: &View) {
    let mut x = line.x + 1;
    let window = Value::Nanos(view.header.window_ns);
    match (view.header.batches, view.findings.first()) {
        (0, _) => pen.then(&mut x, line.y, line.right(), "waiting for the first interval", Role::Muted),
        (_, None) => {
            let fine = format!("No bottleneck found in the last {window}");
            let open = view.unexplained.as_ref().map(|signs| format!("{signs}, but no rule explains it"));
            let role = if open.is_some() { Role::Severity(Severity::Medium) } else { Role::Good };
            pen.then(&mut x, line.y, line.right(), &open.unwrap_or(fine), role);
            if !view.undecided.is_empty() {
                let text = format!(", but {} could not be told", view.undecided.len());
                pen.then(&mut x, line.y, line.right(), &text, Role::Severity(Severity::Medium));
            }
        }
        (_, Some(finding)) => {
            pen.then(&mut x, line.y, line.right(), word(finding.severity), Role::Severity(finding.severity));
            pen.then(&mut x, line.y, line.right(), "  ", Role::Text);
            pen.then(&mut x, line.y, line.right(), &finding.claim, Role::Strong);
        }
    }
}

fn findings(pen: &mut Pen<'_>, area: Rect, view: &View, app: &App) {
    let (title, body) = split_top(area, HEAD);
    pen.title(title, "Findings", &view.findings.len().to_string());
    if view.findings.is_empty() && view.header.batches > 0 {
        pen.put(body.x + 2, body.y, body.width.saturating_sub(3), "none", Role::Muted);
    }
    let mut y = body.y + u16::from(view.findings.is_empty());
    let pane = app.pane(List::Findings);
    for (index, finding) in view.findings.iter().enumerate().skip(pane.scroll) {
        let selected = view.finding == Some(index);
        for (line, (name, text)) in lines(finding, area.width, selected).iter().enumerate() {
            if y >= body.bottom() {
                return;
            }
            let row = Rect { y, height: 1, ..body };
            if line == 0 {
                first(pen, row, finding, text);
            } else {
                pen.put(row.x + 3, y, LEAD - 4, name, Role::Muted);
                pen.put(row.x + LEAD, y, row.width.saturating_sub(LEAD + 1), text, Role::Text);
            }
            if selected {
                mark(pen, row, line);
            }
            y += 1;
        }
    }
    let rest = Rect { y, height: body.bottom().saturating_sub(y), ..body };
    not_found(pen, rest, view);
}

/// What has no finding, or could not be told, is a result, too, as far as there is room for it.
fn not_found(pen: &mut Pen<'_>, area: Rect, view: &View) {
    let look =
        view.unexplained.iter().map(|signs| ("unexplained", format!("{signs}: see where the time went (2 t t)")));
    let undecided = view.undecided.iter().map(|text| ("cannot tell", text.clone()));
    for (y, (name, text)) in (area.y + 1..area.bottom()).zip(look.chain(undecided)) {
        pen.put(area.x + 2, y, LEAD - 3, name, Role::Muted);
        pen.put(area.x + LEAD, y, area.width.saturating_sub(LEAD + 1), &text, Role::Muted);
    }
}

fn mark(pen: &mut Pen<'_>, row: Rect, line: usize) {
    if line == 0 {
        table::mark(pen, Rect { width: LEAD - 1, ..row }, Focus::Elsewhere);
    } else {
        pen.put(row.x, row.y, 1, pen.theme.glyphs.mark(), Role::Key);
    }
}

fn first(pen: &mut Pen<'_>, row: Rect, finding: &Finding, text: &str) {
    pen.put(row.x + 2, row.y, 4, word(finding.severity), Role::Severity(finding.severity));
    let impact = Value::Ratio(finding.impact).to_string();
    pen.put_right(row.x + 6, row.y, LEAD - 7, &impact, Role::Strong);
    pen.put(row.x + LEAD, row.y, row.width.saturating_sub(LEAD + 1), text, Role::Strong);
}

/// A severity in a word, since colors may be missing.
const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "HIGH",
        Severity::Medium => "MED",
        Severity::Low => "LOW",
    }
}

/// Lines of a finding: a name and a text each. The selected one says everything.
fn lines(finding: &Finding, width: u16, selected: bool) -> Vec<(&'static str, String)> {
    let room = width.saturating_sub(LEAD + 1);
    if !selected {
        return vec![("", finding.claim.clone())];
    }
    let mut lines = Vec::new();
    let mut add = |name: &'static str, text: &str| {
        let parts = wrap(text, room).into_iter().enumerate();
        lines.extend(parts.map(|(index, part)| (if index == 0 { name } else { "" }, part)));
    };
    add("", &finding.claim);
    add("evidence", &finding.evidence.join("; "));
    if let Some(witness) = &finding.witness {
        add("witness", witness);
    }
    if !finding.rejected.is_empty() {
        add("rejected", &finding.rejected.join("; "));
    }
    if !finding.victims.is_empty() {
        add("victims", &finding.victims.join(", "));
    }
    add("advice", finding.advice);
    lines
}

/// Scrolls so that the selected finding is in sight as far as it fits.
pub fn reveal(app: &mut App, view: &View, area: Rect) {
    let room = usize::from(area.height.saturating_sub(HEAD));
    let pane = app.pane_mut(List::Findings);
    let at = pane.at;
    pane.scroll = pane.scroll.min(at);
    let tall = |from: usize| -> usize {
        let height = |index: usize| lines(&view.findings[index], area.width, index == at).len();
        (from..=at.min(view.findings.len().saturating_sub(1))).map(height).sum()
    };
    while pane.scroll < at && tall(pane.scroll) > room {
        pane.scroll += 1;
    }
}

/// The finding at a line of the terminal.
#[must_use]
pub fn at(app: &App, view: &View, area: Rect, y: u16) -> Option<usize> {
    let mut line = usize::from(y.checked_sub(area.y + HEAD)?);
    for (index, finding) in view.findings.iter().enumerate().skip(app.pane(List::Findings).scroll) {
        let height = lines(finding, area.width, view.finding == Some(index)).len();
        match line.checked_sub(height) {
            Some(rest) => line = rest,
            None => return Some(index),
        }
    }
    None
}
