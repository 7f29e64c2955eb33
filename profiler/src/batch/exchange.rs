//! Exchanges: requests and their answers, whatever the protocol.

use serde::{Deserialize, Serialize};

use profiler_common::wait::WAITS;

use super::{Hist, ProcessKey, Timestamp};

/// Whose exchanges, and with whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExchangeKey {
    /// One of [`profiler_common::exchange::role`].
    pub role: u32,
    /// Network namespace, inode number.
    pub netns: u32,
    /// Address and port, printed: of a server its own, of a client that of its peer.
    pub endpoint: String,
    /// The process that sends and receives.
    pub process: ProcessKey,
}

/// The exchanges of one process with one service or peer that ended in one interval: as a server from the last receive before
/// a send to that send, as a client from the last send before a receive to that receive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRow {
    /// Whose, and with whom.
    pub key: ExchangeKey,
    /// Exchanges.
    pub count: u64,
    /// Sum of their times.
    pub time_ns: u64,
    /// Exchanges by their time, finest scale.
    pub time: Hist,
    /// Of a client, those at whose end the least round-trip time of the connection was known.
    pub timed: u64,
    /// Sum of these round-trip times.
    pub rtt_ns: u64,
    /// Those that took less than that.
    pub shorter: u64,
    /// The slowest, if one was told.
    pub slowest: Option<Slowest>,
    /// Writes that Nagle's algorithm held back for at least [`profiler_common::exchange::STALL_MIN_NS`], told with the next send
    /// or receive; `None` in captures from before they were recorded.
    pub stalls: Option<u64>,
    /// Sum of how long.
    pub stall_ns: u64,
    /// Sum of the least round-trip times of their connections.
    pub stall_rtt_ns: u64,
    /// Cookie of the socket of the last of them.
    pub stall_socket: Option<u64>,
    /// Datagrams sent to a name server; `None` in captures from before they were recorded.
    pub asked: Option<u64>,
    /// Datagrams received from it.
    pub answered: u64,
}

/// An exchange by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowest {
    /// How long it took, nanoseconds.
    pub time_ns: u64,
    /// When it ended.
    pub at: Timestamp,
    /// Cookie of its socket.
    pub socket: u64,
    /// Thread that ended it.
    pub tid: u32,
    /// Where that thread was meanwhile.
    pub spent: Spent,
}

/// Where a thread was during an exchange.
#[expect(clippy::large_enum_variant, reason = "of most exchanges it is told, and rows are few")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spent {
    /// It is not known, for one of the reasons in [`profiler_common::exchange::spent`].
    Unknown(u32),
    /// These add up to the time of the exchange.
    Told(SpentParts),
}

impl Default for Spent {
    fn default() -> Self {
        Self::Unknown(profiler_common::exchange::spent::UNRECORDED)
    }
}

/// Nanoseconds, as in [`super::TaskRow`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentParts {
    /// On a CPU: what the others leave.
    pub cpu_ns: u64,
    /// On the run queue after a wake-up.
    pub runq_wakeup_ns: u64,
    /// On the run queue after a preemption.
    pub runq_preempted_ns: u64,
    /// On the run queue without CPU quota.
    pub throttled_ns: u64,
    /// In waits by [`profiler_common::wait`].
    pub waits: [u64; WAITS],
}
