//! Time of connections by what limited them.

use profiler_common::limit::{APPLICATION, HANDSHAKE, LIMITS};

use crate::model::host::add_each;

/// Nanoseconds by [`profiler_common::limit`]. Nothing where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits(pub [u64; LIMITS]);

impl Limits {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        add_each(&mut self.0, &other.0);
    }

    /// All of it: how long the connections lived.
    #[must_use]
    pub fn wall_ns(&self) -> u64 {
        self.0.iter().sum()
    }

    /// With something to send, or to have acknowledged.
    #[must_use]
    pub fn busy_ns(&self) -> u64 {
        self.wall_ns() - self.0[HANDSHAKE] - self.0[APPLICATION]
    }

    /// What limited them longest: the application only if nothing else did at all.
    #[must_use]
    pub fn greatest(&self) -> usize {
        let others = (0..LIMITS).filter(|limit| *limit != APPLICATION);
        let greatest = others.max_by_key(|limit| (self.0[*limit], LIMITS - limit)).unwrap_or(APPLICATION);
        if self.0[greatest] == 0 { APPLICATION } else { greatest }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::limit::{FLIGHT, RECEIVE_WINDOW};

    use super::*;

    #[test]
    fn the_application_limits_who_is_never_busy() {
        let mut limits = Limits::default();
        limits.0[APPLICATION] = 100;
        assert_eq!((limits.greatest(), limits.busy_ns()), (APPLICATION, 0));
        (limits.0[RECEIVE_WINDOW], limits.0[FLIGHT]) = (2, 1);
        assert_eq!((limits.greatest(), limits.busy_ns(), limits.wall_ns()), (RECEIVE_WINDOW, 3, 103));
    }
}
