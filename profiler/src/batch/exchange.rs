//! Exchanges: requests and their answers, whatever the protocol.

use serde::{Deserialize, Serialize};

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
}
