//! Table of peers: connections by the host at their other end.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::limit::{
    APPLICATION, CONGESTION_WINDOW, FLIGHT, HANDSHAKE, PACING, QUEUE, RECEIVE_WINDOW, RECOVERY, SEND_BUFFER,
};

use super::grid::{Ctx, Field, Grid, Need, OPENS, field, needs};
use super::limit::{self, Limited};
use super::tcp::ROWS;
use super::{Scope, Subject, Value};
use crate::batch::Address;
use crate::model::connect::Failures;
use crate::model::limit::Limits;
use crate::model::tcp::SocketUse;
use crate::model::time::Tally as _;

/// One row per network namespace and peer address.
pub(super) struct Peers;

/// All connections to one host.
#[derive(Default)]
pub(super) struct Peer {
    netns: u32,
    host: Address,
    connections: u64,
    time_waits: u64,
    usage: SocketUse,
    failures: Failures,
    /// What limited at least one of them is known.
    is_told: bool,
    /// So is for how long a window was closed.
    is_closing_told: bool,
}

impl Limited for Peer {
    fn limits(&self) -> Option<Limits> {
        self.is_told.then_some(self.usage.limits)
    }

    fn zero_window_ns(&self) -> Option<u64> {
        self.is_closing_told.then_some(self.usage.zero_window_ns)
    }
}

const FIELDS: &[Field<Peers>] = &[
    field("net.peer", "PEER", 0, 0, "Peer's address.", |row, _| Value::Text(row.host.to_string())),
    field("net.connections", "CONNS", 6, 0, "Connections that exist, or ended in the window.", |row, _| {
        Value::Count(row.connections)
    }),
    needs(
        OPENS,
        field("net.opened_s", "NEW/s", 6, 60, "Connections opened per second, by either side.", |row, ctx| {
            ctx.per_second(row.usage.opened)
        }),
    ),
    needs(
        OPENS,
        field("net.sent_bytes_s", "SENT/s", 7, 0, "Bytes sent per second, repeats included.", |row, ctx| {
            ctx.bytes_per_second(row.usage.sent_bytes)
        }),
    ),
    needs(
        OPENS,
        field("net.received_bytes_s", "RECV/s", 7, 0, "Bytes received per second.", |row, ctx| {
            ctx.bytes_per_second(row.usage.received_bytes)
        }),
    ),
    limit::verdict(),
    needs(
        OPENS,
        field("net.retransmits_s", "RETR/s", 6, 60, "Segments sent again per second.", |row, ctx| {
            ctx.per_second(row.usage.retransmits)
        }),
    ),
    needs(
        OPENS,
        field("net.connect_failures", "FAILED", 6, 60, "Connects that failed, over the window.", |row, _| {
            Value::Count(row.failures.total())
        }),
    ),
    needs(
        OPENS,
        field(
            "net.connect_failure",
            "MOSTLY",
            16,
            100,
            "Why most of them did, and how many: refused, timed out, unreachable, no port (none was left here), given up (by \
             their process).",
            |row, _| match row.failures.by_kind().first() {
                Some((name, count)) => Value::Text(format!("{name} {count}")),
                None => Value::None,
            },
        ),
    ),
    field(
        "net.time_waits",
        "TIME-WAIT",
        9,
        120,
        "Connections that this host had opened and closed, whose local ports are not free for others to the same port there yet.",
        |row, _| if row.time_waits > 0 { Value::Count(row.time_waits) } else { Value::None },
    ),
    field("net.netns", "NETNS", 12, 80, "Network namespace.", |row, ctx| Value::Text(ctx.model.namespace(row.netns))),
    limit::share::<_, HANDSHAKE>(),
    limit::share::<_, APPLICATION>(),
    limit::share::<_, RECEIVE_WINDOW>(),
    limit::zero_window(),
    limit::share::<_, SEND_BUFFER>(),
    limit::share::<_, RECOVERY>(),
    limit::share::<_, CONGESTION_WINDOW>(),
    limit::share::<_, PACING>(),
    limit::share::<_, QUEUE>(),
    limit::share::<_, FLIGHT>(),
];

impl Grid for Peers {
    type Row<'a> = Peer;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = ROWS;

    fn rows(ctx: &Ctx<'_>, scope: &Scope) -> Vec<(Subject, Peer)> {
        let mut peers = BTreeMap::<(u32, Address), Peer>::new();
        let wanted = scope.process;
        for socket in ctx.model.sockets.values().filter(|socket| !socket.is_listener()) {
            if wanted.is_some() && socket.row.owner != wanted {
                continue;
            }
            let (netns, host) = (socket.row.netns, socket.row.peer.address);
            let peer = peers.entry((netns, host)).or_default();
            peer.connections += 1;
            peer.usage.absorb(ctx.of(&socket.usage));
            peer.failures.add(&socket.usage.sum.failures);
            peer.is_told |= socket.row.limits.is_some();
            peer.is_closing_told |= socket.row.zero_window_ns.is_some();
        }
        for waits in ctx.model.time_waits.iter().filter(|_| wanted.is_none()) {
            let (netns, host) = (waits.netns, waits.peer.address);
            peers.entry((netns, host)).or_default().time_waits += waits.count;
        }
        let subject = |((netns, host), row)| (Subject::Peer(netns, host), Peer { netns, host, ..row });
        let mut rows: Vec<_> = peers.into_iter().map(subject).collect();
        rows.sort_by_cached_key(|(subject, row)| {
            (Reverse((row.usage.retransmits, row.usage.sent_bytes + row.usage.received_bytes)), subject.clone())
        });
        rows
    }
}
