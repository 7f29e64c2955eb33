//! Modes of the screen. Each is one value, so that no two can contradict each other.

use crate::batch::Timestamp;
use crate::field::Table;

/// Whether what is shown stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// It does.
    Yes,
    /// It shows the latest.
    No,
}

/// Where batches come from, and whether they move the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// A host, the latest interval.
    Live,
    /// A host, at the moment when it was frozen.
    Frozen,
    /// A capture.
    Replay(Playback),
}

/// A capture being played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playback {
    /// End of the capture.
    pub end: Timestamp,
    /// Twice as fast per step, from real time.
    pub speed: i8,
    /// What it does.
    pub play: Play,
}

impl Playback {
    /// How many times as fast as it happened.
    #[must_use]
    pub fn factor(self) -> f64 {
        f64::from(self.speed).exp2()
    }
}

/// What a replay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// It goes on.
    Playing,
    /// It waits.
    Paused,
    /// It has reached the end of the capture.
    Ended,
}

/// What covers the screen or the footer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// The keys, scrolled.
    Help(usize),
    /// Everything about the selected row, scrolled.
    Explain(usize),
    /// The sort menu: which entry is chosen; the first is the table's own order.
    Sort(usize),
    /// The filter is being typed.
    Filter,
}

/// One row per what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grain {
    /// Process.
    #[default]
    Processes,
    /// Thread.
    Threads,
    /// Process and state that its threads were in.
    States,
    /// Process, kind of wait, and what it waits on.
    Waits,
    /// Control group and state that its threads were in.
    Groups,
}

impl Grain {
    /// All of them with their tables, in the order of the key.
    const ALL: [(Self, Table); 5] = [
        (Self::Processes, Table::Processes),
        (Self::Threads, Table::Threads),
        (Self::States, Table::States),
        (Self::Waits, Table::Waits),
        (Self::Groups, Table::Groups),
    ];

    /// The next one, round about.
    #[must_use]
    pub fn next(self) -> Self {
        let (next, _) = Self::ALL[(self as usize + 1) % Self::ALL.len()];
        next
    }

    /// The table that has such rows.
    #[must_use]
    pub const fn table(self) -> Table {
        Self::ALL[self as usize].1
    }

    /// The grain of a table, if it is one of processes.
    #[must_use]
    pub fn of(table: Table) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, of)| *of == table).map(|(grain, _)| grain)
    }
}
