//! Tables of the product. Each metric is declared once, in a `FIELDS` table: screens, sort keys, reports, exports and
//! documentation walk it.

use crate::batch::ProcessKey;
use crate::model::Model;
use crate::model::process::{Process, UNNAMED};
use crate::model::time::{Recent, Reset};

mod disk;
mod file;
mod process;
mod syscall;
mod tcp;
#[cfg(test)]
mod tests;
mod thread;
mod value;

pub use value::Value;

/// The tables that screens and reports show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row per process.
    Processes,
    /// One row per thread (of one process, when scoped).
    Threads,
    /// One row per device and operation.
    Disks,
    /// One row per process and kind of file.
    Files,
    /// One row per connection.
    Connections,
    /// One row per listening socket.
    Listeners,
    /// One row per process and system call.
    Syscalls,
}

impl Table {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 7] =
        [Self::Processes, Self::Threads, Self::Disks, Self::Files, Self::Connections, Self::Listeners, Self::Syscalls];

    /// Stable identifier: a key of the JSON report.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Threads => "threads",
            Self::Disks => "disks",
            Self::Files => "files",
            Self::Connections => "connections",
            Self::Listeners => "listeners",
            Self::Syscalls => "syscalls",
        }
    }

    /// Heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Threads => "Threads",
            Self::Disks => "Disks",
            Self::Files => "Files",
            Self::Connections => "Connections",
            Self::Listeners => "Listeners",
            Self::Syscalls => "System calls",
        }
    }
}

/// What a table is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this process.
    pub process: Option<ProcessKey>,
}

impl Scope {
    /// The processes in it.
    fn processes<'a>(&self, model: &'a Model) -> Box<dyn Iterator<Item = (ProcessKey, &'a Process)> + 'a> {
        match self.process {
            Some(key) => Box::new(model.processes.get_key_value(&key).into_iter().map(|(key, of)| (*key, of))),
            None => Box::new(model.processes.iter().map(|(key, of)| (*key, of))),
        }
    }
}

/// Whom a row is about. It keeps its identity over time, so that a selection survives a refresh.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A process.
    Process(ProcessKey),
    /// A thread: process and thread id.
    Thread(ProcessKey, u32),
    /// A device and operation.
    Disk(u32, u32),
    /// A process and kind of file.
    File(ProcessKey, u32),
    /// A socket by cookie.
    Socket(u64),
    /// A process and [`profiler_common::syscall::call_key`]: the call and the kind of file that it is made on.
    Syscall(ProcessKey, u32),
}

impl Subject {
    /// The process that this row belongs to, for drilling down.
    #[must_use]
    pub fn process(&self, model: &Model) -> Option<ProcessKey> {
        match self {
            Self::Process(key) | Self::Thread(key, _) | Self::File(key, _) | Self::Syscall(key, _) => Some(*key),
            Self::Socket(cookie) => model.sockets.get(cookie).and_then(|socket| socket.row.owner),
            Self::Disk(..) => None,
        }
    }
}

/// A column, as declared in a `FIELDS` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Stable identifier, `row.metric_unit`, as in the glossary.
    pub id: &'static str,
    /// Heading.
    pub label: &'static str,
    /// What it means, from where to where, in which unit.
    pub doc: &'static str,
    /// Cells wide; 0 for the one flexible column of a table.
    pub width: u16,
    /// Dropped where the terminal is narrower than this.
    pub hide_below: u16,
}

/// A table filled from the model: cells are values, nothing is formatted before it is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// Which table.
    pub table: Table,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Its rows, in the table's natural order: most important first.
    pub rows: Vec<Row>,
}

/// A row of a [`Sheet`]: one cell per column.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Whom it is about.
    pub subject: Subject,
    /// Its cells.
    pub cells: Vec<Value>,
}

/// What a cell is computed from, beside its row.
struct Ctx<'a> {
    model: &'a Model,
    /// The time that rates are over: the last interval live, the whole window in a report.
    span_ns: u64,
}

impl Ctx<'_> {
    /// The numbers that belong to [`Self::span_ns`].
    fn of<'r, T: Reset>(&self, recent: &'r Recent<T>) -> &'r T {
        recent.of(self.model.window)
    }

    fn seconds(&self) -> Option<f64> {
        (self.span_ns > 0).then(|| self.span_ns as f64 / 1e9)
    }

    /// Things per second.
    fn per_second(&self, count: u64) -> Value {
        self.seconds().map_or(Value::None, |seconds| Value::PerSecond(count as f64 / seconds))
    }

    /// Bytes per second.
    fn bytes_per_second(&self, bytes: u64) -> Value {
        self.seconds().map_or(Value::None, |seconds| Value::BytesPerSecond(bytes as f64 / seconds))
    }

    /// Share of the time of one CPU, or of one thread.
    fn share(&self, ns: u64) -> Value {
        Value::ratio(ns, self.span_ns)
    }

    /// Name of a process.
    fn comm(&self, key: ProcessKey) -> Value {
        let comm = self.model.processes.get(&key).and_then(|process| process.comm(key));
        comm.map_or(Value::Unknown(UNNAMED), |comm| Value::Text(comm.to_owned()))
    }
}

/// How a metric is taken out of a row.
type Get<G> = for<'a, 'r> fn(&'r <G as Grid>::Row<'a>, &'r Ctx<'a>) -> Value;

/// A metric: declared once, here, for every screen, sort key, report and export.
struct Field<G: Grid> {
    column: Column,
    get: Get<G>,
    needs: Option<Need>,
}

impl<G: Grid> Field<G> {
    /// Why the metric is unknown on this host, if it is.
    fn missing(&self, model: &Model) -> Option<Value> {
        let need = self.needs.filter(|need| model.quality.is_missing(need.probe))?;
        Some(Value::Unknown(need.why))
    }
}

/// A probe that a metric needs.
#[derive(Clone, Copy)]
struct Need {
    probe: &'static str,
    why: &'static str,
}

const SWITCHES: Need = Need { probe: "sched_switch", why: "the probe sched_switch is missing" };
const CALLS: Need = Need { probe: "sys_exit", why: "the probe sys_exit is missing" };
const LATENCIES: Need = Need { probe: "sys_enter", why: "the probe sys_enter is missing" };
const ISSUES: Need = Need { probe: "block_rq_issue", why: "the probe block_rq_issue is missing" };
const OPENS: Need = Need { probe: "inet_sock_set_state", why: "the probe inet_sock_set_state is missing" };

/// A table: its metrics, and how its rows are found.
trait Grid: Sized + 'static {
    /// What its getters look at.
    type Row<'a>;

    const FIELDS: &'static [Field<Self>];

    /// Its rows, the most important first.
    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, Self::Row<'a>)>;
}

/// Declares a metric. Width 0 marks the flexible column of a table.
const fn field<G: Grid>(
    id: &'static str,
    label: &'static str,
    width: u16,
    hide_below: u16,
    doc: &'static str,
    get: Get<G>,
) -> Field<G> {
    Field { column: Column { id, label, doc, width, hide_below }, get, needs: None }
}

/// Marks a metric that is unknown, not zero, without a probe.
const fn needs<G: Grid>(need: Need, mut field: Field<G>) -> Field<G> {
    field.needs = Some(need);
    field
}

/// Orders rows by weight, the greatest first; equal ones by subject, so that they hold still.
fn heaviest_first<R>(rows: &mut [(Subject, R)], weight: impl Fn(&R) -> u64) {
    rows.sort_by_cached_key(|(subject, row)| (std::cmp::Reverse(weight(row)), subject.clone()));
}

/// The columns of a table, which need no model.
#[must_use]
pub fn columns(table: Table) -> Vec<Column> {
    fn of<G: Grid>() -> Vec<Column> {
        G::FIELDS.iter().map(|field| field.column).collect()
    }
    match table {
        Table::Processes => of::<process::Processes>(),
        Table::Threads => of::<thread::Threads>(),
        Table::Disks => of::<disk::Disks>(),
        Table::Files => of::<file::Files>(),
        Table::Connections => of::<tcp::Connections>(),
        Table::Listeners => of::<tcp::Listeners>(),
        Table::Syscalls => of::<syscall::Syscalls>(),
    }
}

/// Fills a table from the model. Rates are of the last interval live and over everything in a report
/// ([`crate::model::Window`]); percentiles are over the window in both.
#[must_use]
pub fn sheet(model: &Model, table: Table, scope: &Scope) -> Sheet {
    fn rows<G: Grid>(ctx: &Ctx<'_>, scope: &Scope) -> Vec<Row> {
        let missing: Vec<Option<Value>> = G::FIELDS.iter().map(|field| field.missing(ctx.model)).collect();
        let fill = |(subject, row)| {
            let cell = |(field, missing): (&Field<G>, &Option<Value>)| {
                missing.clone().unwrap_or_else(|| (field.get)(&row, ctx))
            };
            let cells = G::FIELDS.iter().zip(&missing).map(cell).collect();
            Row { subject, cells }
        };
        G::rows(ctx, scope).into_iter().map(fill).collect()
    }
    let ctx = Ctx { model, span_ns: model.span_ns() };
    let rows = match table {
        Table::Processes => rows::<process::Processes>(&ctx, scope),
        Table::Threads => rows::<thread::Threads>(&ctx, scope),
        Table::Disks => rows::<disk::Disks>(&ctx, scope),
        Table::Files => rows::<file::Files>(&ctx, scope),
        Table::Connections => rows::<tcp::Connections>(&ctx, scope),
        Table::Listeners => rows::<tcp::Listeners>(&ctx, scope),
        Table::Syscalls => rows::<syscall::Syscalls>(&ctx, scope),
    };
    Sheet { table, columns: columns(table), rows }
}
