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
use crate::model::connect::Failures;
use crate::model::limit::Limits;
use crate::model::tcp::SocketUse;
use crate::model::time::Tally as _;

/// One row per network namespace and peer address.
pub(super) struct Peers;

/// All connections to one host.
#[derive(Default)]
pub(super) struct Peer<'a> {
    netns: u32,
    host: &'a str,
    connections: u64,
    usage: SocketUse,
    failures: Failures,
    /// What limited at least one of them is known.
    is_told: bool,
}

impl Limited for Peer<'_> {
    fn limits(&self) -> Option<Limits> {
        self.is_told.then_some(self.usage.limits)
    }
}

const FIELDS: &[Field<Peers>] = &[
    field("net.peer", "PEER", 0, 0, "Peer's address.", |row, _| Value::Text(row.host.to_owned())),
    field("net.connections", "CONNS", 6, 0, "Connections that exist, or ended in the window.", |row, _| {
        Value::Count(row.connections)
    }),
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
    field("net.netns", "NETNS", 12, 80, "Network namespace.", |row, ctx| Value::Text(ctx.model.namespace(row.netns))),
    limit::share::<_, HANDSHAKE>(),
    limit::share::<_, APPLICATION>(),
    limit::share::<_, RECEIVE_WINDOW>(),
    limit::share::<_, SEND_BUFFER>(),
    limit::share::<_, RECOVERY>(),
    limit::share::<_, CONGESTION_WINDOW>(),
    limit::share::<_, PACING>(),
    limit::share::<_, QUEUE>(),
    limit::share::<_, FLIGHT>(),
];

impl Grid for Peers {
    type Row<'a> = Peer<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = ROWS;

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, Peer<'a>)> {
        let mut peers = BTreeMap::<(u32, &str), Peer<'a>>::new();
        let wanted = scope.process;
        for socket in ctx.model.sockets.values().filter(|socket| !socket.is_listener()) {
            if wanted.is_some() && socket.row.owner != wanted {
                continue;
            }
            let (netns, host) = (socket.row.netns, socket.peer_host());
            let none = || Peer { netns, host, ..Peer::default() };
            let peer = peers.entry((netns, host)).or_insert_with(none);
            peer.connections += 1;
            peer.usage.absorb(ctx.of(&socket.usage));
            peer.failures.add(&socket.usage.sum.failures);
            peer.is_told |= socket.row.limits.is_some();
        }
        let subject = |((netns, host), row): ((u32, &str), _)| (Subject::Peer(netns, host.to_owned()), row);
        let mut rows: Vec<_> = peers.into_iter().map(subject).collect();
        rows.sort_by_cached_key(|(subject, row)| {
            (Reverse((row.usage.retransmits, row.usage.sent_bytes + row.usage.received_bytes)), subject.clone())
        });
        rows
    }
}
