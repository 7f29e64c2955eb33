//! What limits a connection: the time of its life so far, divided, and what of that is new.

use std::mem;

use profiler_common::limit::chrono::{self, CHRONOS};
use profiler_common::limit::{
    APPLICATION, CONGESTION_WINDOW, FLIGHT, HANDSHAKE, LIMITS, PACING, QUEUE, RECEIVE_WINDOW, RECOVERY, SEND_BUFFER,
};
use profiler_common::tcp::{SocketRecord, state};

use crate::kernel::drain::{growth, growth_wrapping};

/// The last reading of a connection.
#[derive(Debug, Default)]
pub struct Limits {
    at_ns: u64,
    handshake_ns: u64,
    chrono: [u32; CHRONOS],
    recovery: u32,
    /// What held it back then, by [`held_by`].
    held: usize,
    /// What was told of the time after the reading: the kernel's clock ticks before its nanoseconds have passed.
    ahead_ns: u64,
}

impl Limits {
    /// Of a connection whose birth we saw.
    pub fn born(record: &SocketRecord) -> Self {
        Self { at_ns: record.owner.opened_ns, held: held_by(record), ..Self::default() }
    }

    /// As of a record.
    pub fn at(record: &SocketRecord) -> Self {
        Self {
            at_ns: record.at_ns,
            handshake_ns: handshake_ns(record),
            chrono: record.chrono,
            recovery: record.owner.recovery,
            held: held_by(record),
            ahead_ns: 0,
        }
    }

    /// Time since the last reading by [`profiler_common::limit`], in whose first `quiet_ns` nothing happened on it; `None` of a
    /// listener, and if nobody knows how long a tick of the kernel's clock is.
    pub fn grown(&mut self, record: &SocketRecord, quiet_ns: u64, tick_ns: u32) -> Option<[u64; LIMITS]> {
        if tick_ns == 0 || record.state == state::LISTEN {
            return None;
        }
        let wall_ns = growth(&mut self.at_ns, record.at_ns);
        let ns = |last: &mut u32, now: u32| u64::from(growth_wrapping(last, now)) * u64::from(tick_ns);
        let mut limits = [0; LIMITS];
        limits[HANDSHAKE] = growth(&mut self.handshake_ns, handshake_ns(record));
        limits[RECEIVE_WINDOW] = ns(&mut self.chrono[chrono::RECEIVE_WINDOW], record.chrono[chrono::RECEIVE_WINDOW]);
        limits[SEND_BUFFER] = ns(&mut self.chrono[chrono::SEND_BUFFER], record.chrono[chrono::SEND_BUFFER]);
        let busy_ns = ns(&mut self.chrono[chrono::BUSY], record.chrono[chrono::BUSY]);
        limits[RECOVERY] = ns(&mut self.recovery, record.owner.recovery).min(busy_ns);
        let rest_ns = busy_ns - limits[RECOVERY];
        let (held, still_ns) = (mem::replace(&mut self.held, held_by(record)), rest_ns.min(quiet_ns));
        limits[held] = still_ns;
        limits[self.held] += rest_ns - still_ns;
        let told_ns = self.ahead_ns + limits.iter().sum::<u64>();
        limits[APPLICATION] = wall_ns.saturating_sub(told_ns);
        self.ahead_ns = told_ns.saturating_sub(wall_ns);
        Some(limits)
    }
}

/// From the SYN to its answer, as far as it has come.
fn handshake_ns(record: &SocketRecord) -> u64 {
    if record.state == state::SYN_SENT {
        return record.at_ns.saturating_sub(record.owner.opened_ns);
    }
    record.owner.connect_ns
}

/// What holds a busy connection back at this moment, of all that the kernel has no clock for: a sample, which holds as long as
/// nothing happens.
fn held_by(record: &SocketRecord) -> usize {
    match record {
        SocketRecord { cwnd_limited: 1, .. } => CONGESTION_WINDOW,
        SocketRecord { paced: 1, .. } | SocketRecord { throttled: 1, queue_paces: 1, .. } => PACING,
        SocketRecord { throttled: 1, .. } => QUEUE,
        _ => FLIGHT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u32 = 4_000_000;
    const MS: u64 = 1_000_000;

    /// A connection of so many milliseconds and ticks.
    fn record(ms: u64, chrono: [u32; CHRONOS], recovery: u32) -> SocketRecord {
        let mut record = SocketRecord { at_ns: 1_000 * MS + ms * MS, chrono, state: 1, ..SocketRecord::default() };
        (record.owner.opened_ns, record.owner.recovery) = (1_000 * MS, recovery);
        record
    }

    fn told(limits: &mut Limits, record: &SocketRecord) -> [u64; LIMITS] {
        limits.grown(record, 0, TICK).unwrap().map(|ns| ns / MS)
    }

    #[test]
    fn the_parts_are_the_whole() {
        let mut first = record(100, [10, 5, 2], 4);
        first.owner.connect_ns = 7 * MS;
        let mut limits = Limits::born(&first);
        assert_eq!(told(&mut limits, &first), [7, 25, 20, 8, 16, 0, 0, 0, 24]);
        let second = SocketRecord { cwnd_limited: 1, owner: first.owner, ..record(200, [30, 5, 2], 4) };
        assert_eq!(told(&mut limits, &second), [0, 20, 0, 0, 0, 80, 0, 0, 0]);
    }

    #[test]
    fn a_tick_that_begins_early_is_paid_back() {
        let first = record(10, [3, 0, 0], 0);
        let mut limits = Limits::born(&first);
        assert_eq!(told(&mut limits, &first)[FLIGHT], 12);
        assert_eq!(told(&mut limits, &record(20, [3, 0, 0], 0))[APPLICATION], 8);
    }

    #[test]
    fn a_sample_tells_what_has_no_clock() {
        let held = |record: &SocketRecord| held_by(record);
        let mut record = record(1, [1, 0, 0], 0);
        assert_eq!(held(&record), FLIGHT);
        record.throttled = 1;
        assert_eq!(held(&record), QUEUE);
        record.queue_paces = 1;
        assert_eq!(held(&record), PACING, "what waits in the queue that paces");
        (record.throttled, record.paced) = (0, 1);
        assert_eq!(held(&record), PACING);
        record.cwnd_limited = 1;
        assert_eq!(held(&record), CONGESTION_WINDOW);
    }

    #[test]
    fn what_rests_is_held_back_as_it_was_seen_last() {
        let first = SocketRecord { cwnd_limited: 1, ..record(0, [0; CHRONOS], 0) };
        let mut limits = Limits::at(&first);
        let second = record(500, [100, 0, 0], 0);
        let told = limits.grown(&second, 300 * MS, TICK).unwrap().map(|ns| ns / MS);
        assert_eq!((told[CONGESTION_WINDOW], told[FLIGHT], told[APPLICATION]), (300, 100, 100));
    }

    #[test]
    fn a_handshake_under_way_counts() {
        let mut first = SocketRecord { state: state::SYN_SENT, ..record(30, [0; CHRONOS], 0) };
        let mut limits = Limits::born(&first);
        assert_eq!(told(&mut limits, &first)[HANDSHAKE], 30);
        first = record(50, [0; CHRONOS], 0);
        first.owner.connect_ns = 35 * MS;
        assert_eq!(told(&mut limits, &first)[..2], [5, 15]);
    }

    #[test]
    fn without_the_length_of_a_tick_nothing_is_known() {
        let first = record(1, [1, 0, 0], 0);
        assert_eq!(Limits::born(&first).grown(&first, 0, 0), None);
    }
}
