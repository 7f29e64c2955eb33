//! TCP sockets and host-wide TCP events.

use profiler_common::tcp;

use crate::batch::{SocketRow, Timestamp};
use crate::model::time::Recent;

/// Host-wide TCP events, in the order of [`tcp::EVENT_NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(pub [u64; tcp::EVENTS]);

/// One socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// Its latest row.
    pub row: SocketRow,
    /// What moved.
    pub usage: Recent<SocketUse>,
    /// End of the interval in which it ended.
    pub ended: Option<Timestamp>,
}

/// What moved on one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketUse {
    /// Bytes sent, repeats included.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Segments sent.
    pub segments_out: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Packets or connections dropped.
    pub drops: u64,
}
