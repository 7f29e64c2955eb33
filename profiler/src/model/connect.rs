//! Connects that failed, by why.

use profiler_common::tcp::failure::{FAILURES, kind};

use crate::model::host::add_each;

/// Connects that failed, by [`profiler_common::tcp::failure::FAILURES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures(pub [u64; FAILURES.len()]);

impl Failures {
    /// One more.
    pub fn count(&mut self, errno: u32) {
        self.0[kind(errno)] += 1;
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        add_each(&mut self.0, &other.0);
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How often each happened that did, the most frequent first.
    #[must_use]
    pub fn by_kind(&self) -> Vec<(&'static str, u64)> {
        let mut kinds: Vec<_> = FAILURES.iter().zip(self.0).map(|((name, _), count)| (*name, count)).collect();
        kinds.retain(|(_, count)| *count > 0);
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_by_kind() {
        let mut failures = Failures::default();
        for errno in [111, 110, 113, 111, 101, 7] {
            failures.count(errno);
        }
        assert_eq!(failures.total(), 6);
        assert_eq!(failures.by_kind(), [("refused", 2), ("unreachable", 2), ("timed out", 1), ("other", 1)]);
    }
}
