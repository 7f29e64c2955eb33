//! Lists with a cursor: what is selected, how far it is scrolled, how it is sorted and filtered.

use crate::field::{Subject, Table};

/// A list of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The findings.
    Findings,
    /// A table.
    Rows(Table),
}

impl List {
    /// How many there are.
    pub const COUNT: usize = 19;

    /// Where its [`Pane`] is kept.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Findings => 0,
            Self::Rows(Table::Processes) => 1,
            Self::Rows(Table::Threads) => 2,
            Self::Rows(Table::Disks) => 3,
            Self::Rows(Table::Files) => 4,
            Self::Rows(Table::Connections) => 5,
            Self::Rows(Table::Listeners) => 6,
            Self::Rows(Table::Syscalls) => 7,
            Self::Rows(Table::States) => 8,
            Self::Rows(Table::Waits) => 9,
            Self::Rows(Table::Groups) => 10,
            Self::Rows(Table::DiskOwners) => 11,
            Self::Rows(Table::DiskSizes) => 12,
            Self::Rows(Table::Paths) => 13,
            Self::Rows(Table::Journals) => 14,
            Self::Rows(Table::Partitions) => 15,
            Self::Rows(Table::Exchanges) => 16,
            Self::Rows(Table::Peers) => 17,
            Self::Rows(Table::Drops) => 18,
        }
    }

    /// What its entries are called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Findings => "Findings",
            Self::Rows(table) => table.title(),
        }
    }
}

/// An entry across refreshes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A finding: its number and whom it is about.
    Finding(&'static str, Subject),
    /// A row.
    Row(Subject),
}

/// Which way an order runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Numbers from the greatest, names from A.
    #[default]
    Usual,
    /// The other way.
    Reversed,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn turned(self) -> Self {
        match self {
            Self::Usual => Self::Reversed,
            Self::Reversed => Self::Usual,
        }
    }
}

/// What a table is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// Identifier of a column; `None` is the table's own order, most important first.
    pub by: Option<&'static str>,
    /// Which way.
    pub direction: Direction,
}

impl Sort {
    /// Sorts by a column; by the same one again, the other way.
    pub fn choose(&mut self, by: Option<&'static str>) {
        let direction = if self.by == by { self.direction.turned() } else { Direction::Usual };
        *self = Self { by, direction };
    }
}

/// The state of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pane {
    /// The selected entry; `None` follows whatever is on top.
    pub selected: Option<Mark>,
    /// Where the selected entry was last seen, to stay near when it is gone.
    pub at: usize,
    /// First entry that is shown.
    pub scroll: usize,
    /// Order.
    pub sort: Sort,
    /// Text of the filter; empty shows everything.
    pub filter: String,
}

impl Pane {
    /// Scrolls as little as it takes to show the selected one of `count` entries in `height` lines.
    pub fn reveal(&mut self, count: usize, height: usize) {
        let height = height.max(1);
        let at = self.at.min(count.saturating_sub(1));
        let lowest = (at + 1).saturating_sub(height);
        self.scroll = self.scroll.clamp(lowest, at).min(count.saturating_sub(height)).max(lowest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revealing_scrolls_as_little_as_possible() {
        let mut pane = Pane { at: 12, ..Pane::default() };
        pane.reveal(40, 10);
        assert_eq!(pane.scroll, 3);
        pane.at = 5;
        pane.reveal(40, 10);
        assert_eq!(pane.scroll, 3);
        pane.at = 2;
        pane.reveal(40, 10);
        assert_eq!(pane.scroll, 2);
        pane.reveal(0, 0);
        assert_eq!(pane.scroll, 0);
    }

    #[test]
    fn choosing_a_column_again_turns_it_around() {
        let mut sort = Sort::default();
        sort.choose(Some("a"));
        assert_eq!(sort.direction, Direction::Usual);
        sort.choose(Some("a"));
        assert_eq!(sort.direction, Direction::Reversed);
    }
}
