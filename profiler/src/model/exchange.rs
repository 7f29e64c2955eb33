//! Exchanges: requests over TCP and their answers.

use crate::batch::{ExchangeKey, ExchangeRow, Hist, Slowest};
use crate::model::time::{Reset, Tally};

/// What one process exchanged with one service or peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeUse {
    /// Exchanges.
    pub count: u64,
    /// Sum of their times, nanoseconds.
    pub time_ns: u64,
    /// Exchanges by their time.
    pub time: Hist,
    /// Those whose least round-trip time is known, of a client.
    pub timed: u64,
    /// Sum of these round-trip times, nanoseconds.
    pub rtt_ns: u64,
    /// Those that took less than that.
    pub shorter: u64,
    /// The slowest.
    pub slowest: Option<Slowest>,
}

impl ExchangeUse {
    /// Mean time of an exchange, nanoseconds; `None` without any.
    #[must_use]
    pub const fn mean_ns(&self) -> Option<u64> {
        self.time_ns.checked_div(self.count)
    }

    /// Time in which peers thought, all exchanges together: what is left of the waits without a round trip each. `None` where no
    /// round-trip time is known; negative where peers answered before the calls that sent had returned.
    #[must_use]
    pub fn think_ns(&self) -> Option<i64> {
        let rtt_ns = u128::from(self.rtt_ns) * u128::from(self.count);
        // As if those that are not known were like the others.
        let rtt_ns = u64::try_from(rtt_ns.checked_div(self.timed.into())?).ok()?;
        Some(self.time_ns.cast_signed().saturating_sub_unsigned(rtt_ns))
    }
}

impl Reset for ExchangeUse {}

impl Tally<ExchangeRow> for ExchangeUse {
    fn absorb(&mut self, row: &ExchangeRow) {
        self.count += row.count;
        self.time_ns += row.time_ns;
        self.time.add(&row.time);
        self.timed += row.timed;
        self.rtt_ns += row.rtt_ns;
        self.shorter += row.shorter;
        let slower = |slowest: &Slowest| self.slowest.is_none_or(|known| known.time_ns < slowest.time_ns);
        self.slowest = row.slowest.filter(slower).or(self.slowest);
    }
}

impl Tally<ExchangeUse> for ExchangeUse {
    fn absorb(&mut self, other: &ExchangeUse) {
        let ExchangeUse { count, time_ns, time, timed, rtt_ns, shorter, slowest } = other.clone();
        self.absorb(&ExchangeRow {
            key: ExchangeKey::default(),
            count,
            time_ns,
            time,
            timed,
            rtt_ns,
            shorter,
            slowest,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_thinks_as_long_as_the_wait_without_the_way_there_and_back() {
        let usage = |count, timed, rtt_ns| ExchangeUse { count, time_ns: 100, timed, rtt_ns, ..ExchangeUse::default() };
        assert_eq!(usage(4, 4, 60).think_ns(), Some(40));
        assert_eq!(usage(4, 2, 30).think_ns(), Some(40));
        assert_eq!(usage(4, 4, 120).think_ns(), Some(-20));
        assert_eq!(usage(4, 0, 0).think_ns(), None);
    }

    #[test]
    fn the_slowest_of_all_intervals_is_kept() {
        let mut usage = ExchangeUse::default();
        for time_ns in [3, 9, 5] {
            let slowest = Some(Slowest { time_ns, ..Slowest::default() });
            usage.absorb(&ExchangeRow { count: 1, slowest, ..ExchangeRow::default() });
        }
        usage.absorb(&ExchangeRow::default());
        assert_eq!((usage.count, usage.slowest.map(|slowest| slowest.time_ns)), (3, Some(9)));
    }
}
