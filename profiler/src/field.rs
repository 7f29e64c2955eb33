//! Tables of the product. Each metric is declared once, in a `FIELDS` table: screens, sort keys, reports, exports and
//! documentation walk it.

use crate::batch::{Address, DropKey, ExchangeKey, FileKey, ProcessKey};
use crate::model::Model;
use crate::model::process::Process;
use crate::model::wait::Object;

mod disk;
mod drop;
mod exchange;
mod file;
mod grid;
mod limit;
mod path;
mod peer;
mod process;
mod state;
mod syscall;
mod tcp;
#[cfg(test)]
mod tests;
mod thread;
mod value;
mod wait;

pub(crate) use exchange::spent_on;
use grid::{Ctx, Field, Grid};
pub use value::Value;

/// The tables that screens and reports show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row per process.
    Processes,
    /// One row per thread (of one process, when scoped).
    Threads,
    /// One row per process and state.
    States,
    /// One row per process, kind of wait, and what it waits on.
    Waits,
    /// One row per control group and state.
    Groups,
    /// One row per device and operation.
    Disks,
    /// One row per device, operation and process.
    DiskOwners,
    /// One row per device, operation and size of requests.
    DiskSizes,
    /// One row per partition and operation.
    Partitions,
    /// One row per journal of a file system.
    Journals,
    /// One row per process and kind of file.
    Files,
    /// One row per file and process.
    Paths,
    /// One row per connection.
    Connections,
    /// One row per network namespace and address that connections lead to.
    Peers,
    /// One row per listening socket.
    Listeners,
    /// One row per role, service or peer, and process.
    Exchanges,
    /// One row per reason and socket for which packets were dropped.
    Drops,
    /// One row per process and system call.
    Syscalls,
}

impl Table {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 18] = [
        Self::Processes,
        Self::Threads,
        Self::States,
        Self::Waits,
        Self::Groups,
        Self::Disks,
        Self::DiskOwners,
        Self::DiskSizes,
        Self::Partitions,
        Self::Journals,
        Self::Files,
        Self::Paths,
        Self::Connections,
        Self::Peers,
        Self::Listeners,
        Self::Exchanges,
        Self::Drops,
        Self::Syscalls,
    ];

    /// Stable identifier: a key of the JSON report.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Threads => "threads",
            Self::States => "states",
            Self::Waits => "waits",
            Self::Groups => "groups",
            Self::Disks => "disks",
            Self::DiskOwners => "disk_owners",
            Self::DiskSizes => "disk_sizes",
            Self::Partitions => "partitions",
            Self::Journals => "journals",
            Self::Files => "files",
            Self::Paths => "paths",
            Self::Connections => "connections",
            Self::Peers => "peers",
            Self::Listeners => "listeners",
            Self::Exchanges => "exchanges",
            Self::Drops => "drops",
            Self::Syscalls => "syscalls",
        }
    }

    /// Heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Threads => "Threads",
            Self::States => "Where the time went",
            Self::Waits => "What holds them up",
            Self::Groups => "Where the time went, by control group",
            Self::Disks => "Disks",
            Self::DiskOwners => "Whom disks work for",
            Self::DiskSizes => "Requests by size",
            Self::Partitions => "Partitions",
            Self::Journals => "Journal commits",
            Self::Files => "Files",
            Self::Paths => "Files one by one",
            Self::Connections => "Connections",
            Self::Peers => "Connections by peer",
            Self::Listeners => "Listeners",
            Self::Exchanges => "Requests",
            Self::Drops => "Packets dropped",
            Self::Syscalls => "System calls",
        }
    }
}

/// What a table is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this process.
    pub process: Option<ProcessKey>,
    /// A connection both ends of which are on this host has one row, not one for each.
    pub once: bool,
}

impl Scope {
    /// The whole host, for people.
    #[must_use]
    pub const fn once() -> Self {
        Self { process: None, once: true }
    }
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
    /// A process and number of a state.
    State(ProcessKey, u32),
    /// A process, a kind of wait ([`profiler_common::wait`]), and what it waits on.
    Wait(ProcessKey, u32, Object),
    /// A control group and number of a state.
    Group(String, u32),
    /// A device and operation.
    Disk(u32, u32),
    /// A device, operation and process.
    DiskOwner(u32, u32, ProcessKey),
    /// A device, operation and size of requests.
    DiskSize(u32, u32, u32),
    /// A partition and operation.
    Partition(u32, u32),
    /// A journal, by the device of its file system.
    Journal(u32),
    /// A process and kind of file.
    File(ProcessKey, u32),
    /// A file, a process that uses it, and the kind of file that it is to it.
    Path(FileKey, ProcessKey, u32),
    /// A socket by cookie.
    Socket(u64),
    /// Exchanges of a process with a service or peer.
    Exchange(ExchangeKey),
    /// A network namespace and an address that connections lead to.
    Peer(u32, Address),
    /// Packets that were dropped.
    Drop(DropKey),
    /// A process and [`profiler_common::syscall::call_key`]: the call and the kind of file that it is made on.
    Syscall(ProcessKey, u32),
}

impl Subject {
    /// The process that this row belongs to, for drilling down.
    #[must_use]
    pub fn process(&self, model: &Model) -> Option<ProcessKey> {
        match self {
            Self::Process(key)
            | Self::Thread(key, _)
            | Self::State(key, _)
            | Self::Wait(key, ..)
            | Self::DiskOwner(_, _, key)
            | Self::File(key, _)
            | Self::Path(_, key, _)
            | Self::Syscall(key, _) => Some(*key),
            Self::Exchange(key) => Some(key.process),
            Self::Socket(cookie) => model.sockets.get(cookie).and_then(|socket| socket.row.owner),
            Self::Disk(..)
            | Self::DiskSize(..)
            | Self::Partition(..)
            | Self::Journal(_)
            | Self::Group(..)
            | Self::Peer(..) => None,
            Self::Drop(key) => model.drops.get(key).and_then(|drops| drops.sum.owner),
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
    /// Why there may be more that nobody knows of, if so.
    pub incomplete: Option<&'static str>,
}

/// A row of a [`Sheet`]: one cell per column.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Whom it is about.
    pub subject: Subject,
    /// Its cells.
    pub cells: Vec<Value>,
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
        Table::States => of::<state::States>(),
        Table::Waits => of::<wait::Waits>(),
        Table::Groups => of::<state::Groups>(),
        Table::Disks => of::<disk::Disks>(),
        Table::DiskOwners => of::<disk::Owners>(),
        Table::DiskSizes => of::<disk::Sizes>(),
        Table::Partitions => of::<disk::Partitions>(),
        Table::Journals => of::<disk::Journals>(),
        Table::Files => of::<file::Files>(),
        Table::Paths => of::<path::Paths>(),
        Table::Connections => of::<tcp::Connections>(),
        Table::Peers => of::<peer::Peers>(),
        Table::Listeners => of::<tcp::Listeners>(),
        Table::Exchanges => of::<exchange::Exchanges>(),
        Table::Drops => of::<drop::Dropped>(),
        Table::Syscalls => of::<syscall::Syscalls>(),
    }
}

/// Fills a table from the model. Rates are of the last interval live and over everything in a report
/// ([`crate::model::Window`]); percentiles are over the window in both.
#[must_use]
pub fn sheet(model: &Model, table: Table, scope: &Scope) -> Sheet {
    top(model, table, scope, usize::MAX).0
}

/// The first rows of a table, at most `max`, and how many more there are. Rows that nobody sees cost next to nothing.
#[must_use]
pub fn top(model: &Model, table: Table, scope: &Scope, max: usize) -> (Sheet, usize) {
    let ctx = Ctx { model, span_ns: model.span_ns() };
    match table {
        Table::Processes => fill::<process::Processes>(&ctx, table, scope, max),
        Table::Threads => fill::<thread::Threads>(&ctx, table, scope, max),
        Table::States => fill::<state::States>(&ctx, table, scope, max),
        Table::Waits => fill::<wait::Waits>(&ctx, table, scope, max),
        Table::Groups => fill::<state::Groups>(&ctx, table, scope, max),
        Table::Disks => fill::<disk::Disks>(&ctx, table, scope, max),
        Table::DiskOwners => fill::<disk::Owners>(&ctx, table, scope, max),
        Table::DiskSizes => fill::<disk::Sizes>(&ctx, table, scope, max),
        Table::Partitions => fill::<disk::Partitions>(&ctx, table, scope, max),
        Table::Journals => fill::<disk::Journals>(&ctx, table, scope, max),
        Table::Files => fill::<file::Files>(&ctx, table, scope, max),
        Table::Paths => fill::<path::Paths>(&ctx, table, scope, max),
        Table::Connections => fill::<tcp::Connections>(&ctx, table, scope, max),
        Table::Peers => fill::<peer::Peers>(&ctx, table, scope, max),
        Table::Listeners => fill::<tcp::Listeners>(&ctx, table, scope, max),
        Table::Exchanges => fill::<exchange::Exchanges>(&ctx, table, scope, max),
        Table::Drops => fill::<drop::Dropped>(&ctx, table, scope, max),
        Table::Syscalls => fill::<syscall::Syscalls>(&ctx, table, scope, max),
    }
}

fn fill<G: Grid>(ctx: &Ctx<'_>, table: Table, scope: &Scope, max: usize) -> (Sheet, usize) {
    let missing: Vec<Option<Value>> = G::FIELDS.iter().map(|field| field.missing(ctx.model)).collect();
    let fill = |(subject, row)| {
        let cell =
            |(field, missing): (&Field<G>, &Option<Value>)| missing.clone().unwrap_or_else(|| (field.get)(&row, ctx));
        Row { subject, cells: G::FIELDS.iter().zip(&missing).map(cell).collect() }
    };
    let rows = G::rows(ctx, scope);
    let more = rows.len().saturating_sub(max);
    let lacking = G::ROWS.iter().find(|need| ctx.model.quality.is_missing(need.probe));
    let rows = rows.into_iter().take(max).map(fill).collect();
    (Sheet { table, columns: columns(table), rows, incomplete: lacking.map(|need| need.why) }, more)
}
