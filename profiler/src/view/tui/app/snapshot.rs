//! A snapshot of the model for one screen: all that drawing needs, so that drawing never asks the model.

use crate::batch::{Pressure, Timestamp};
use crate::field::{self, Subject, Table};
use crate::finding::{self, Finding};
use crate::model::Model;
use crate::model::task::Usage;
use crate::model::time::{Point, Tally as _};
use crate::view::tui::app::App;
use crate::view::tui::app::arrange::{Grid, position};
use crate::view::tui::app::list::{List, Mark};
use crate::view::tui::app::panel::{self, Panel, Parts};
use crate::view::tui::theme::Band;
use crate::view::tui::widget::bar::Part;

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The line on top.
    pub header: Header,
    /// What is wrong, the greatest impact first.
    pub findings: Vec<Finding>,
    /// Signs of trouble that no finding explains.
    pub unexplained: Option<String>,
    /// What could not be told, and why.
    pub undecided: Vec<String>,
    /// The finding that keys act on.
    pub finding: Option<usize>,
    /// The host as a whole.
    pub host: Host,
    /// Tables of the screen, from the top.
    pub grids: Vec<Grid>,
    /// Time of each row of the first table, where it has a bar.
    pub bars: Vec<Parts>,
    /// More about the selected row.
    pub panel: Option<Panel>,
}

/// What the header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Batches so far; with none, there is nothing to show.
    pub batches: u64,
    /// Length of the last interval, nanoseconds.
    pub interval_ns: u64,
    /// Length of the window, nanoseconds.
    pub window_ns: u64,
    /// How much older this is than the latest that is known, nanoseconds.
    pub age_ns: u64,
    /// Start of the first interval.
    pub begin: Timestamp,
    /// End of the interval that is shown.
    pub until: Timestamp,
    /// The same moment, nanoseconds since 1970 UTC.
    pub until_unix_ns: u64,
    /// Losses by name.
    pub lost: Vec<(String, u64)>,
    /// Intervals that were merged because we could not keep up.
    pub missed_ticks: u64,
    /// Names of the probes that are missing.
    pub missing_probes: Vec<String>,
    /// Our CPU time as a share of one CPU, and that of our kernel programs where it is known.
    pub self_cpu: (f64, Option<f64>),
    /// Our memory, kernel maps included, bytes.
    pub self_memory_bytes: u64,
}

/// The host as a whole, over the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// CPU time: user, system, idle, waiting for I/O, interrupts, stolen, nanoseconds.
    pub cpu_ns: [u64; 6],
    /// The wall time of all threads without what they were idle; empty where it is not known.
    pub threads: Vec<Part>,
    /// Stall time by resource; `None` where the kernel does not tell.
    pub pressure: Vec<(String, Option<Pressure>)>,
    /// The past, the newest last.
    pub history: Vec<Point>,
}

impl View {
    /// Takes a snapshot. `newest` is the end of the latest interval that is known, if this is not it.
    #[must_use]
    pub fn new(model: &Model, app: &App, newest: Timestamp) -> Self {
        let findings = finding::all(model);
        let pane = app.pane(List::Findings);
        let finding = position(pane, findings.len(), |index| pane.selected == Some(mark(&findings[index])));
        let tables = app.lists().into_iter().filter_map(|list| match list {
            List::Rows(table) => Some(table),
            List::Findings => None,
        });
        let grids: Vec<_> = tables.map(|table| grid(model, app, table)).collect();
        let bars = grids.first().map_or_else(Vec::new, |grid| bars(model, grid));
        let panel = selected(app, &grids).and_then(|subject| panel::of(model, subject));
        let undecided = if model.time.batches == 0 { Vec::new() } else { undecided(model) };
        Self {
            header: header(model, newest),
            unexplained: finding::unexplained(model, &findings),
            findings,
            undecided,
            finding,
            host: host(model),
            grids,
            bars,
            panel,
        }
    }

    /// The table among those of the screen.
    #[must_use]
    pub fn grid(&self, table: Table) -> Option<&Grid> {
        self.grids.iter().find(|grid| grid.sheet.table == table)
    }

    /// Bars of a table's rows; none where it has no bars.
    #[must_use]
    pub fn bars_of(&self, grid: &Grid) -> &[Parts] {
        let has = matches!(grid.sheet.table, Table::Processes | Table::Threads);
        if has { &self.bars } else { &[] }
    }

    /// Entries of a list of the screen.
    #[must_use]
    pub fn count(&self, list: List) -> usize {
        match list {
            List::Findings => self.findings.len(),
            List::Rows(table) => self.grid(table).map_or(0, |grid| grid.sheet.rows.len()),
        }
    }

    /// Which entry of a list is selected.
    #[must_use]
    pub fn selected(&self, list: List) -> Option<usize> {
        match list {
            List::Findings => self.finding,
            List::Rows(table) => self.grid(table).and_then(|grid| grid.selected),
        }
    }

    /// What tells an entry of a list apart across refreshes.
    #[must_use]
    pub fn mark(&self, list: List, index: usize) -> Option<Mark> {
        match list {
            List::Findings => self.findings.get(index).map(mark),
            List::Rows(table) => self.grid(table)?.sheet.rows.get(index).map(|row| Mark::Row(row.subject.clone())),
        }
    }
}

fn undecided(model: &Model) -> Vec<String> {
    let blind = finding::undecided(model);
    blind.into_iter().map(|(detector, why)| format!("{} {}: {why}", detector.id, detector.title)).collect()
}

fn mark(finding: &Finding) -> Mark {
    Mark::Finding(finding.id, finding.at.clone())
}

fn grid(model: &Model, app: &App, table: Table) -> Grid {
    Grid::new(field::sheet(model, table, &app.scope()), app.pane(List::Rows(table)))
}

fn bars(model: &Model, grid: &Grid) -> Vec<Parts> {
    // The bar splits all of the wall time, or tells nothing.
    let told = !model.quality.is_missing("sched_switch");
    if !(told && matches!(grid.sheet.table, Table::Processes | Table::Threads)) {
        return Vec::new();
    }
    grid.sheet.rows.iter().map(|row| panel::parts(model, &row.subject)).collect()
}

fn selected<'a>(app: &App, grids: &'a [Grid]) -> Option<&'a Subject> {
    let List::Rows(table) = app.active() else { return None };
    let grid = grids.iter().find(|grid| grid.sheet.table == table)?;
    grid.sheet.rows.get(grid.selected?).map(|row| &row.subject)
}

fn header(model: &Model, newest: Timestamp) -> Header {
    let (time, quality) = (&model.time, &model.quality);
    Header {
        host: model.machine.host.clone(),
        kernel: model.machine.kernel.clone(),
        batches: time.batches,
        interval_ns: time.last_ns,
        window_ns: time.window_ns,
        age_ns: newest.since(time.until),
        begin: time.begin,
        until: time.until,
        until_unix_ns: model.machine.anchor_unix_ns + time.until.since(model.machine.anchor),
        lost: quality
            .lost
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| (name.clone(), *count))
            .collect(),
        missed_ticks: quality.missed_ticks,
        missing_probes: quality.missing_probes.iter().map(|(name, _)| name.clone()).collect(),
        self_cpu: (quality.self_cpu_ratio, quality.programs_cpu_ratio),
        self_memory_bytes: quality.self_memory_bytes + quality.map_memory_bytes,
    }
}

fn threads(model: &Model) -> Vec<Part> {
    if model.quality.is_missing("sched_switch") {
        return Vec::new();
    }
    let mut all = Usage::default();
    model.processes.values().for_each(|process| all.absorb(&process.usage.sum));
    panel::split_by_class(&all).into_iter().filter(|part| part.band != Band::Idle).collect()
}

fn host(model: &Model) -> Host {
    let row = &model.host.row.sum;
    Host {
        cpu_ns: row.cpu_ns,
        threads: threads(model),
        pressure: row.pressure.iter().map(|(name, pressure)| (name.clone(), *pressure)).collect(),
        history: model.time.history.iter().copied().collect(),
    }
}
