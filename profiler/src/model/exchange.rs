//! Exchanges: requests over TCP and their answers.

use profiler_common::exchange::spent;

use crate::batch::{ExchangeKey, ExchangeRow, Hist, Slowest, Spent};
use crate::model::state::{self, State};
use crate::model::task::{Usage, add_known};
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
    /// Writes that Nagle's algorithm held back for long, if recorded.
    pub stalls: Option<u64>,
    /// Sum of how long, nanoseconds.
    pub stall_ns: u64,
    /// Sum of the least round-trip times of their connections, nanoseconds.
    pub stall_rtt_ns: u64,
    /// Cookie of the socket of the last of them.
    pub stall_socket: Option<u64>,
    /// Datagrams sent to a name server, if recorded.
    pub asked: Option<u64>,
    /// Datagrams received from it.
    pub answered: u64,
}

impl ExchangeUse {
    /// Mean time of an exchange, nanoseconds; `None` without any.
    #[must_use]
    pub const fn mean_ns(&self) -> Option<u64> {
        self.time_ns.checked_div(self.count)
    }

    /// Queries over datagrams without an answer; those of the last moment may still get one. `None` if not recorded.
    #[must_use]
    pub fn unanswered(&self) -> Option<u64> {
        self.asked.map(|asked| asked.saturating_sub(self.answered))
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

/// The states that a thread was in during an exchange, the longest first: they add up to its time. Or why they are not known.
pub fn states(slowest: &Slowest) -> Result<Vec<(State, u64)>, &'static str> {
    let parts = match slowest.spent {
        Spent::Told(parts) => parts,
        Spent::Unknown(why) => {
            return Err(spent::WHY
                .get(why as usize)
                .copied()
                .unwrap_or("for a reason that is newer than this program"));
        }
    };
    let mut states: Vec<_> = state::spent(&Usage {
        wall_ns: slowest.time_ns,
        cpu_ns: parts.cpu_ns,
        runq_wakeup_ns: parts.runq_wakeup_ns,
        runq_preempted_ns: parts.runq_preempted_ns,
        throttled_ns: parts.throttled_ns,
        waits: parts.waits,
        ..Usage::default()
    })
    .map(|(_, state, ns)| (state, ns))
    .collect();
    states.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    Ok(states)
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
        add_known(&mut self.stalls, row.stalls);
        self.stall_ns += row.stall_ns;
        self.stall_rtt_ns += row.stall_rtt_ns;
        self.stall_socket = row.stall_socket.or(self.stall_socket);
        add_known(&mut self.asked, row.asked);
        self.answered += row.answered;
    }
}

impl Tally<ExchangeUse> for ExchangeUse {
    fn absorb(&mut self, other: &ExchangeUse) {
        let other = other.clone();
        self.absorb(&ExchangeRow {
            key: ExchangeKey::default(),
            count: other.count,
            time_ns: other.time_ns,
            time: other.time,
            timed: other.timed,
            rtt_ns: other.rtt_ns,
            shorter: other.shorter,
            slowest: other.slowest,
            stalls: other.stalls,
            stall_ns: other.stall_ns,
            stall_rtt_ns: other.stall_rtt_ns,
            stall_socket: other.stall_socket,
            asked: other.asked,
            answered: other.answered,
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
    fn what_was_not_recorded_is_not_known() {
        let mut usage = ExchangeUse::default();
        usage.absorb(&ExchangeRow::default());
        assert_eq!((usage.stalls, usage.unanswered()), (None, None));
        for (asked, answered) in [(3, 1), (0, 4), (6, 2)] {
            usage.absorb(&ExchangeRow { asked: Some(asked), answered, stalls: Some(1), ..ExchangeRow::default() });
        }
        assert_eq!((usage.stalls, usage.unanswered()), (Some(3), Some(2)));
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
