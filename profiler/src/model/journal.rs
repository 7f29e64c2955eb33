//! Journals of file systems.

use crate::batch::{Hist, JournalRow};
use crate::model::time::{Recent, Reset, Tally};

/// The journal of one file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// Its commits.
    pub usage: Recent<JournalUse>,
    /// How long the commit that was under way at the end of the last interval had lasted, nanoseconds.
    pub under_way_ns: Option<u64>,
}

impl Journal {
    /// Starts an interval in which nothing has happened yet.
    pub(super) fn begin(&mut self) {
        self.usage.begin();
        self.under_way_ns = None;
    }

    /// Learns what one interval tells.
    pub(super) fn add(&mut self, row: &JournalRow, window: super::Window) {
        self.usage.add(row, window);
        self.under_way_ns = row.under_way_ns;
    }

    /// It did something within the window.
    pub(super) fn is_used(&self) -> bool {
        self.usage.sum.busy_ns > 0 || self.usage.sum.commits > 0
    }
}

/// What a journal did. Phases are of commits that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalUse {
    /// Commits that ended.
    pub commits: u64,
    /// Those among them that somebody asked for, where that is known.
    pub requested: u64,
    /// Rows that did not tell.
    pub unknown_requests: u64,
    /// Sum of their times from the request to the beginning, nanoseconds.
    pub request_ns: u64,
    /// Time before the transaction was locked, nanoseconds.
    pub starting_ns: u64,
    /// Time in which changes under way were waited for.
    pub locked_ns: u64,
    /// Time in which data of files was written.
    pub flushing_ns: u64,
    /// Time in which the transaction was written.
    pub logging_ns: u64,
    /// Time with a commit under way.
    pub busy_ns: u64,
    /// Commits by their time.
    pub commit: Hist,
}

impl JournalUse {
    /// Time of all commits that ended, nanoseconds: the sum of their phases.
    #[must_use]
    pub const fn commit_ns(&self) -> u64 {
        self.starting_ns + self.locked_ns + self.flushing_ns + self.logging_ns
    }
}

impl Reset for JournalUse {}

impl Tally<JournalRow> for JournalUse {
    fn absorb(&mut self, row: &JournalRow) {
        self.commits += row.commits;
        self.requested += row.requested.unwrap_or(0);
        self.unknown_requests += u64::from(row.requested.is_none());
        self.request_ns += row.request_ns;
        self.starting_ns += row.starting_ns;
        self.locked_ns += row.locked_ns;
        self.flushing_ns += row.flushing_ns;
        self.logging_ns += row.logging_ns;
        self.busy_ns += row.busy_ns;
        self.commit.add(&row.commit);
    }
}
