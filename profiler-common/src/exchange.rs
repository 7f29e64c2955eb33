//! Row `tcp`: exchanges, a request and the first byte of its answer, whatever the protocol.
//!
//! A connection speaks in turns. Who accepted it is asked and answers: an exchange lasts from the last receive before a send
//! to that send. Who opened it asks and is answered: from the last send before a receive to that receive. What else is sent or
//! received in the same turn begins no exchange and ends none, so several requests that are sent ahead (pipelining) are one.

use crate::hist::LINEAR32_SLOTS;
use crate::wait::NAMES;

/// Which end of a connection it is. Codes are for good: captures have them.
pub mod role {
    /// It is not known.
    pub const UNKNOWN: u32 = 0;
    /// A peer opened the connection: it asks, we answer.
    pub const SERVER: u32 = 1;
    /// We opened the connection: we ask, the peer answers.
    pub const CLIENT: u32 = 2;
}

/// Whose exchanges, and with whom.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExchangeKey {
    /// Start of the process that sends and receives.
    pub process_start_ns: u64,
    /// Its id.
    pub pid: u32,
    /// Inode number of the socket's network namespace.
    pub netns: u32,
    /// Of a server its own address, of a client that of its peer; IPv4 mapped into IPv6.
    pub address: [u8; 16],
    /// The port there, host order.
    pub port: u32,
    /// One of [`role`], not [`role::UNKNOWN`].
    pub role: u32,
}

const _: () = assert!(size_of::<ExchangeKey>() == 40);

/// Exchanges of one key. All but the mark and the cookie only grows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeRecord {
    /// Exchanges that have ended.
    pub count: u64,
    /// Sum of their times.
    pub time_ns: u64,
    /// Of a client, those at whose end the least round-trip time of the connection was known.
    pub timed: u64,
    /// Sum of these round-trip times (`tcp_sock.rtt_min`).
    pub rtt_ns: u64,
    /// Those that took less than that: the answer was there before the call that sent had returned.
    pub shorter: u64,
    /// The slowest of late, see [`slow_mark`].
    pub slowest: u64,
    /// Writes that Nagle's algorithm held back for [`STALL_MIN_NS`] and more.
    pub stalls: u64,
    /// Sum of how long.
    pub stall_ns: u64,
    /// Sum of the least round-trip times of their connections.
    pub stall_rtt_ns: u64,
    /// Cookie of the socket of the last of them.
    pub stall_socket: u64,
    /// Datagrams sent to a name server.
    pub asked: u64,
    /// Datagrams received from it.
    pub answered: u64,
    /// Exchanges by their time.
    pub time: [u32; LINEAR32_SLOTS],
}

impl ExchangeRecord {
    /// Nothing happened yet. Too large for a program's stack: copy it from a static.
    pub const EMPTY: Self = Self {
        count: 0,
        time_ns: 0,
        timed: 0,
        rtt_ns: 0,
        shorter: 0,
        slowest: 0,
        stalls: 0,
        stall_ns: 0,
        stall_rtt_ns: 0,
        stall_socket: 0,
        asked: 0,
        answered: 0,
        time: [0; LINEAR32_SLOTS],
    };
}

const _: () = assert!(size_of::<ExchangeRecord>() == 96 + 4 * LINEAR32_SLOTS);

/// A write that is held back for less is nobody's trouble: nearby, an acknowledgement that is not delayed is there before.
pub const STALL_MIN_NS: u64 = 10_000_000;

/// An exchange that was slower than all before it of its key, of late.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlowExchange {
    /// Whose.
    pub key: ExchangeKey,
    /// Cookie of the socket.
    pub cookie: u64,
    /// `CLOCK_MONOTONIC` of its end.
    pub at_ns: u64,
    /// How long it took.
    pub time_ns: u64,
    /// Thread that ended it.
    pub tid: u32,
    /// Whether [`Self::spent`] tells anything, one of [`spent`].
    pub told: u32,
    /// What that thread spent off its CPU meanwhile.
    pub spent: Spent,
}

const _: () = assert!(size_of::<SlowExchange>() == 72 + size_of::<Spent>());

/// What a thread has spent off its CPU by now, or between two moments, in units of [`SPENT_SHIFT`]: time on the run queue after a
/// wake-up, after a preemption, and without quota, then waits by [`crate::wait`], up to a whole number of 8 bytes. Sums wrap, so
/// differences are signed.
pub type Spent = [u32; (3 + NAMES.len()).next_multiple_of(2)];

/// Nanoseconds to a unit of [`Spent`], 256 ns, so that 32 bits are enough: every connection has one.
pub const SPENT_SHIFT: u32 = 8;

/// So much of an exchange, 3 %, may be in doubt: what its thread did before it, or on a CPU in it, may count as a wait in it, or the
/// other way round.
pub const SPENT_DOUBT_SHIFT: u32 = 5;

/// Longer than this, 9 min, differences are not known.
pub const SPENT_MAX_NS: u64 = (1 << (31 + SPENT_SHIFT)) - 1;

/// Whether it is known where the time of an exchange went. Codes are for good: captures have them.
pub mod spent {
    /// Nobody has recorded it.
    pub const UNRECORDED: u32 = 0;
    /// It is.
    pub const TOLD: u32 = 1;
    /// One thread began the exchange, and another one ended it.
    pub const OTHER_THREAD: u32 = 2;
    /// Nobody has seen the end of the wait that came before it, or of the last one in it, and that may be more than
    /// [`super::SPENT_DOUBT_SHIFT`] allows.
    pub const UNSETTLED: u32 = 3;
    /// The clocks disagree.
    pub const SKEWED: u32 = 4;
    /// It took longer than [`super::SPENT_MAX_NS`].
    pub const TOO_LONG: u32 = 5;

    /// Why it is not known, by code.
    pub const WHY: [&str; 6] = [
        "it was not recorded",
        "it is known",
        "one thread began it and another one ended it",
        "the wait before it, or the last one in it, was not seen to end",
        "the clocks disagree",
        "it took more than 9 min",
    ];
}

/// Bits of [`slow_mark`] that tell how long.
const SLOW_BITS: u32 = 30;

/// An exchange in one number, greater than that of any that was quicker, and of any before about a second ago: time in units
/// of 1.024 µs (up to 18 min) below, when it ended in units of 1.07 s above.
#[inline(always)]
#[must_use]
pub const fn slow_mark(at_ns: u64, time_ns: u64) -> u64 {
    const MASK: u64 = (1 << SLOW_BITS) - 1;
    let time = time_ns >> 10;
    (at_ns & !MASK) | if time < MASK { time } else { MASK }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_second_leaves_no_mark_on_the_next() {
        const SECOND: u64 = 1 << SLOW_BITS;
        assert!(slow_mark(SECOND, 5_000_000) > slow_mark(SECOND + 7, 4_000_000));
        assert!(slow_mark(2 * SECOND, 0) > slow_mark(SECOND, u64::MAX));
        assert_eq!(slow_mark(SECOND, 1_023), SECOND);
    }
}
