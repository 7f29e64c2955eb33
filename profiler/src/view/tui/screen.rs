//! Screens are siblings: each says where its parts go, and draws them. A new one is one file and one line in
//! [`Screen::ALL`].
//!
//! ```text
//! header   state · host · interval                lost · own cost
//! tabs     1 Overview 2 Processes …               › postgres[812]
//! body     lists from the top, the panel of the selected row last
//! footer   keys, a filter being typed, or something to tell
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::field::{self, Value};
use crate::view::tui::app::App;
use crate::view::tui::app::list::List;
use crate::view::tui::app::panel::{Body, Panel};
use crate::view::tui::app::snapshot::View;
use crate::view::tui::theme::Role;
use crate::view::tui::widget::pen::{Pen, split_bottom, split_top};
use crate::view::tui::widget::table::{self, Focus, Table};
use crate::view::tui::widget::{bar, footer, header, hist, overlay, tabs};

mod disks;
mod files;
pub mod overview;
mod processes;
mod syscalls;
mod tcp;
#[cfg(test)]
mod tests;

/// Smallest terminal that shows anything useful, columns and rows.
pub const SIZE_MIN: (u16, u16) = (40, 10);
/// Lines of a table above its rows: title and headings.
pub const TABLE_HEAD: u16 = 2;
/// Lines that a table keeps when it shares the body with a panel.
const TABLE_KEPT: u16 = 9;

/// Narrower than this, the legend of a bar takes two lines.
const LEGEND_MIN: u16 = 80;
/// Lines of the tallest pair of histograms: two thirds of all octaves there are.
const HISTS_MAX: u16 = 20;

/// Which screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Verdict, findings, the host as a whole.
    Overview,
    /// Where the time of processes and threads goes.
    Processes,
    /// Queue and device time of block devices.
    Disks,
    /// Who reads and writes what.
    Files,
    /// Listeners and connections.
    Tcp,
    /// Calls per process.
    Syscalls,
}

impl Screen {
    /// All of them, in the order of the keys.
    pub const ALL: [Self; 6] = [Self::Overview, Self::Processes, Self::Disks, Self::Files, Self::Tcp, Self::Syscalls];

    /// What it consists of.
    #[must_use]
    pub const fn page(self) -> Page {
        match self {
            Self::Overview => overview::PAGE,
            Self::Processes => processes::PAGE,
            Self::Disks => disks::PAGE,
            Self::Files => files::PAGE,
            Self::Tcp => tcp::PAGE,
            Self::Syscalls => syscalls::PAGE,
        }
    }

    /// The one to the right, round about.
    #[must_use]
    pub fn next(self) -> Self {
        self.aside(1)
    }

    /// The one to the left, round about.
    #[must_use]
    pub fn previous(self) -> Self {
        self.aside(Self::ALL.len() - 1)
    }

    fn aside(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|screen| *screen == self).unwrap_or_default();
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// Where lists go, titles included, and the panel.
type Placement = (Vec<(List, Rect)>, Rect);

/// What a screen consists of.
#[derive(Clone, Copy)]
pub struct Page {
    /// Name of its tab.
    pub name: &'static str,
    /// Where its lists and its panel go within the body.
    place: fn(Rect, &View, &App) -> Placement,
    /// Draws them.
    draw: fn(&mut Pen<'_>, &Places, &View, &App),
}

/// Where everything is, for drawing and for the mouse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The first line.
    pub header: Rect,
    /// The line of screens.
    pub tabs: Rect,
    /// All between the tabs and the footer.
    pub body: Rect,
    /// Lists, titles included.
    pub lists: Vec<(List, Rect)>,
    /// More about the selected row, or about the host; empty where there is no room.
    pub panel: Rect,
    /// The last line.
    pub footer: Rect,
}

/// Where everything is.
#[must_use]
pub fn places(app: &App, view: &View) -> Places {
    let (header, rest) = split_top(Rect::new(0, 0, app.size.width, app.size.height), 1);
    let (tabs, rest) = split_top(rest, 1);
    let (body, footer) = split_bottom(rest, 1);
    let (lists, panel) = (app.screen.page().place)(body, view, app);
    Places { header, tabs, body, lists, panel, footer }
}

/// Draws everything. Sizes are those of the last `Resized`; the buffer may be smaller for a moment, never an error.
pub fn draw(buffer: &mut Buffer, view: &View, app: &App) {
    let screen = buffer.area;
    let mut pen = Pen { buffer, theme: app.theme };
    if screen.width < SIZE_MIN.0 || screen.height < SIZE_MIN.1 {
        too_small(&mut pen, screen);
        return;
    }
    let places = places(app, view);
    header::draw(&mut pen, places.header, &view.header, app);
    tabs::draw(&mut pen, places.tabs, app);
    (app.screen.page().draw)(&mut pen, &places, view, app);
    overlay::draw(&mut pen, screen, view, app);
    footer::draw(&mut pen, places.footer, app);
}

fn too_small(pen: &mut Pen<'_>, screen: Rect) {
    let (width, height) = SIZE_MIN;
    pen.put(0, 0, screen.width, "terminal too small", Role::Bad);
    let sizes = format!("{}×{}, needs {width}×{height}", screen.width, screen.height);
    pen.put(0, 1, screen.width, &sizes, Role::Text);
    pen.put(0, 2, screen.width, "q quits", Role::Muted);
}

/// One list, and below it the panel of the selected row if there is room for both.
fn stack(body: Rect, view: &View, app: &App) -> Placement {
    let (top, panel) = split_bottom(body, panel_height(body, view));
    (vec![(app.active(), top)], panel)
}

/// Rows of each of two tables, at least, where there are as many: fewer tell little.
const ROWS_MIN: u16 = 4;

/// Two tables where there is room for them, else the one that has the focus.
fn pair(body: Rect, view: &View, app: &App, above: field::Table, below: field::Table) -> Placement {
    let (tables, panel) = split_bottom(body, panel_height(body, view));
    let rows = view.grid(above).map_or(0, |grid| u16::try_from(grid.total).unwrap_or(u16::MAX));
    // With an empty line below.
    let height = |rows: u16| rows.saturating_add(TABLE_HEAD + 1);
    let top = height(rows).min(tables.height / 2);
    if top < height(rows.min(ROWS_MIN)) || tables.height - top < height(ROWS_MIN) {
        return (vec![(app.active(), tables)], panel);
    }
    let (top, rest) = split_top(tables, top);
    (vec![(List::Rows(above), top), (List::Rows(below), rest)], panel)
}

fn panel_height(body: Rect, view: &View) -> u16 {
    let wanted = match view.panel.as_ref().map(|panel| &panel.body) {
        None => return 0,
        // Title, bar, a legend of one or two lines, and the kinds of waits.
        Some(Body::Bar(..)) => {
            if body.width < LEGEND_MIN {
                5
            } else {
                4
            }
        }
        // What the rows leave, and a fair share in any case; never by what is selected, or the table would jump.
        Some(Body::Hists(_)) => {
            let rows = view.grids.first().map_or(0, |grid| grid.sheet.rows.len());
            let table = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(TABLE_HEAD + 1).max(TABLE_KEPT);
            body.height.saturating_sub(table).max(body.height / 5 * 2).min(HISTS_MAX)
        }
    };
    if body.height < wanted + TABLE_KEPT { 0 } else { wanted }
}

/// Draws every table of a screen.
fn draw_tables(pen: &mut Pen<'_>, places: &Places, view: &View, app: &App) {
    for (list, area) in &places.lists {
        let List::Rows(table) = list else { continue };
        let Some(grid) = view.grid(*table) else { continue };
        let focus = if app.active() == *list { Focus::Here } else { Focus::Elsewhere };
        let pane = app.pane(*list);
        let bars = view.bars_of(grid);
        let empty = nothing(view, grid.sheet.incomplete, &pane.filter);
        table::draw(pen, *area, &Table { name: list.name(), grid, pane, bars, focus, empty });
    }
}

fn nothing(view: &View, incomplete: Option<&'static str>, filter: &str) -> &'static str {
    match (view.header.batches, filter) {
        (0, _) => "waiting for the first interval",
        (_, "") => incomplete.unwrap_or("nothing in the window"),
        _ => "no row contains this text; Esc clears the filter",
    }
}

/// Draws more about the selected row.
fn draw_panel(pen: &mut Pen<'_>, area: Rect, panel: Option<&Panel>) {
    let Some(panel) = panel else { return };
    if area.is_empty() {
        return;
    }
    let (title, body) = split_top(area, 1);
    pen.title(title, &panel.title, &format!("last {}", Value::Nanos(panel.span_ns)));
    let body = inset(body);
    match &panel.body {
        Body::Bar(parts, waits) => {
            let (body, last) = split_bottom(body, 1);
            bar::draw(pen, body, &**parts);
            bar::legend(pen, split_top(body, 1).1, &**parts);
            let wall = parts.iter().map(|part| part.amount).sum();
            let kinds = waits.iter().map(|(name, ns)| format!("{name} {}", Value::ratio(*ns, wall)));
            pen.put(last.x, last.y, last.width, &kinds.collect::<Vec<_>>().join(", "), Role::Muted);
        }
        Body::Hists(pair) => hist::draw(pen, body, pair),
    }
}

/// A cell free at both sides.
const fn inset(area: Rect) -> Rect {
    Rect { x: area.x.saturating_add(1), width: area.width.saturating_sub(2), ..area }
}

/// Tables, and the panel of the selected row.
fn draw_stack(pen: &mut Pen<'_>, places: &Places, view: &View, app: &App) {
    draw_tables(pen, places, view, app);
    draw_panel(pen, places.panel, view.panel.as_ref());
}
