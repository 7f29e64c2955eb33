//! TCP sockets and host-wide TCP events.

use profiler_common::limit::APPLICATION;
use profiler_common::tcp;

use crate::batch::{Address, Endpoint, Hist, SocketRow, Timestamp};
use crate::model::connect::Failures;
use crate::model::host::add_each;
use crate::model::limit::Limits;
use crate::model::quality::Quality;
use crate::model::time::{Recent, Reset, Tally};

/// Host-wide TCP events, in the order of [`tcp::EVENT_NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(pub [u64; tcp::EVENTS]);

/// Probes that count the events, in the same order.
const COUNTED_BY: [&str; tcp::EVENTS] = [
    "tcp_retransmit_skb",
    "tcp_retransmit_synack",
    "tcp_send_reset",
    "tcp_receive_reset",
    "inet_sock_set_state",
    "inet_sock_set_state",
    "inet_sock_set_state",
];

impl Reset for Events {}

impl Tally<[u64; tcp::EVENTS]> for Events {
    fn absorb(&mut self, row: &[u64; tcp::EVENTS]) {
        add_each(&mut self.0, row);
    }
}

impl Events {
    /// Name and count of each event; `None` where the probe that counts it is missing.
    pub fn known<'a>(&'a self, quality: &'a Quality) -> impl Iterator<Item = (&'static str, Option<u64>)> + 'a {
        let events = tcp::EVENT_NAMES.into_iter().zip(COUNTED_BY).zip(self.0);
        events.map(|((name, probe), count)| (name, (!quality.is_missing(probe)).then_some(count)))
    }
}

/// One socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// Its latest row.
    pub row: SocketRow,
    /// What moved.
    pub usage: Recent<SocketUse>,
    /// End of the interval in which it ended.
    pub ended: Option<Timestamp>,
    /// Number of the batch that it was last in.
    pub seen: u64,
}

impl Socket {
    /// Whether it lives, and is not in the batch of a number since nothing happened on it: its application limits it.
    pub(super) fn is_quiet(&self, batch: u64) -> bool {
        self.seen != batch && self.ended.is_none() && self.row.limits.is_some() && self.row.state != tcp::state::CLOSE
    }

    /// Whether it waits for connections, or did before it was closed.
    #[must_use]
    pub fn is_listener(&self) -> bool {
        self.row.state == tcp::state::LISTEN || self.row.peer == Endpoint::ANY
    }
}

/// Whether a listener at one address accepts connections to another.
#[must_use]
pub fn accepts(listener: Endpoint, local: Endpoint) -> bool {
    let is_there = match (listener.address, local.address) {
        (Address::At(any), Address::At(at)) if any.is_unspecified() => any.is_ipv6() || at.is_ipv4(),
        (one, other) => one == other,
    };
    is_there && listener.port == local.port
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
    /// Time by what limited it.
    pub limits: Limits,
    /// Of the time limited by the receive window, that in which it had no room for a segment, as far as it is known.
    pub zero_window_ns: u64,
    /// Connects that failed.
    pub failures: Failures,
    /// Connections that were opened: 1 of one.
    pub opened: u64,
    /// Timeouts (RTO), as far as they are known.
    pub timeouts: u64,
    /// Fast recoveries, as far as they are known.
    pub recoveries: u64,
}

/// A connect failed with an error.
#[derive(Clone, Copy, Debug)]
pub struct ConnectFailed(pub u32);

impl Tally<ConnectFailed> for SocketUse {
    fn absorb(&mut self, failed: &ConnectFailed) {
        self.failures.count(failed.0);
    }
}

/// Connections that were accepted at one local address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// Connections by how long they had waited in the queue.
    pub wait: Hist,
}

impl Reset for Accepts {}

/// A connection was accepted after so many nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Accepted(pub u64);

impl Tally<Accepted> for Accepts {
    fn absorb(&mut self, accepted: &Accepted) {
        self.wait.add(&Hist::one(accepted.0));
    }
}

impl Tally<Accepts> for Accepts {
    fn absorb(&mut self, other: &Accepts) {
        self.wait.add(&other.wait);
    }
}

/// A connection was opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened;

impl Tally<Opened> for SocketUse {
    fn absorb(&mut self, _: &Opened) {
        self.opened += 1;
    }
}

/// So many nanoseconds in which nothing happened.
#[derive(Clone, Copy, Debug)]
pub struct Quiet(pub u64);

impl Tally<Quiet> for SocketUse {
    fn absorb(&mut self, quiet: &Quiet) {
        self.limits.0[APPLICATION] += quiet.0;
    }
}

impl Reset for SocketUse {}

impl Tally<SocketRow> for SocketUse {
    fn absorb(&mut self, row: &SocketRow) {
        self.sent_bytes += row.sent_bytes;
        self.received_bytes += row.received_bytes;
        self.segments_out += row.segments_out;
        self.retransmits += row.retransmits;
        self.drops += row.drops;
        self.limits.add(&Limits(row.limits.unwrap_or_default()));
        self.zero_window_ns += row.zero_window_ns.unwrap_or_default();
        self.timeouts += row.timeouts.unwrap_or_default();
        self.recoveries += row.recoveries.unwrap_or_default();
    }
}

impl Tally<SocketUse> for SocketUse {
    fn absorb(&mut self, other: &SocketUse) {
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.segments_out += other.segments_out;
        self.retransmits += other.retransmits;
        self.drops += other.drops;
        self.limits.add(&other.limits);
        self.zero_window_ns += other.zero_window_ns;
        self.failures.add(&other.failures);
        self.opened += other.opened;
        self.timeouts += other.timeouts;
        self.recoveries += other.recoveries;
    }
}

/// A state of `include/net/tcp_states.h`, as `ss` names it.
#[must_use]
pub fn state_name(state: u32) -> &'static str {
    const NAMES: [&str; 13] = [
        "?",
        "ESTAB",
        "SYN-SENT",
        "SYN-RECV",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "TIME-WAIT",
        "CLOSED",
        "CLOSE-WAIT",
        "LAST-ACK",
        "LISTEN",
        "CLOSING",
        "NEW-SYN-RECV",
    ];
    NAMES.get(state as usize).copied().unwrap_or("?")
}
