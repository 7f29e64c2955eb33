//! Tables of the product. Each metric is declared once, in a `FIELDS` table: screens, sort keys, reports, exports and
//! documentation walk it.

use std::fmt;

use crate::batch::ProcessKey;
use crate::model::Model;

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

/// What a table is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this process.
    pub process: Option<ProcessKey>,
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
    /// A process and system-call number.
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

/// A cell. Knows its unit, how to print itself in a fixed width, and how to sort.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A name.
    Text(String),
    /// A number of things.
    Count(u64),
    /// Things per second.
    PerSecond(f64),
    /// Bytes.
    Bytes(u64),
    /// Bytes per second.
    BytesPerSecond(f64),
    /// Nanoseconds, exact.
    Nanos(u64),
    /// An upper bound in nanoseconds, printed with `≤`.
    NanosAtMost(u64),
    /// A lower bound in nanoseconds, printed with `≥`.
    NanosAtLeast(u64),
    /// A share, 0 to 1, printed in percent.
    Ratio(f64),
    /// There is nothing to say: printed `–`.
    None,
    /// It cannot be known, and why: printed `?`.
    Unknown(&'static str),
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

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = self;
        f.write_str("")
    }
}

/// Fills a table from the model.
#[must_use]
pub fn sheet(_model: &Model, table: Table, _scope: &Scope) -> Sheet {
    Sheet { table, columns: Vec::new(), rows: Vec::new() }
}
