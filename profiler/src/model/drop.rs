//! Packets that the kernel dropped.

use crate::batch::{DropRow, ProcessKey};
use crate::model::time::{Reset, Tally};

/// What was dropped for one reason and socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets.
    pub count: u64,
    /// Intervals in which there were any.
    pub intervals: u64,
    /// Who holds the socket, as far as that is known.
    pub owner: Option<ProcessKey>,
}

impl Reset for Drops {}

impl Tally<DropRow> for Drops {
    fn absorb(&mut self, row: &DropRow) {
        self.count += row.count;
        self.intervals += 1;
        self.owner = row.owner.or(self.owner);
    }
}

impl Tally<Drops> for Drops {
    fn absorb(&mut self, other: &Drops) {
        self.count += other.count;
        self.intervals = self.intervals.max(other.intervals);
    }
}
