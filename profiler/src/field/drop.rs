//! Table of packets that the kernel dropped: why, and whose they were.

use super::grid::{Ctx, FREED, Field, Grid, HOLDERS, Need, UNQUEUED, field, heaviest_first};
use super::{Scope, Subject, Value};
use crate::batch::DropKey;
use crate::model::drop::Drops;

/// One row per reason and socket, and one per reason for all packets without one.
pub(super) struct Dropped;

/// Packets of one socket: in the span of rates, and over the window.
pub(super) struct Packets<'a> {
    key: &'a DropKey,
    usage: &'a Drops,
    sum: &'a Drops,
}

const FIELDS: &[Field<Dropped>] = &[
    field(
        "drop.reason",
        "REASON",
        24,
        0,
        "Why, in the kernel's words (enum skb_drop_reason, 5.17). SOCKET_RCVBUFF: the receive buffer of the socket was full; \
         PROTO_MEM: all sockets of its protocol together have too much; NO_SOCKET: nobody has the port. What is left in a socket \
         that is closed is not counted, nor what the kernel frees without a reason.",
        |row, _| Value::Text(row.key.reason.clone()),
    ),
    field(
        "drop.socket",
        "SOCKET",
        0,
        0,
        "Protocol, local address and port of the socket that they were for, where the kernel tells it: UDP sockets without room, \
         and since 6.11 most.",
        |row, _| row.key.cookie.map_or(Value::None, |_| Value::Text(row.key.socket())),
    ),
    field("drop.owner", "OWNER", 16, 0, "Process that holds the socket.", |row, ctx| owner(row, ctx)),
    field("drop.count_s", "DROPS/s", 8, 0, "Packets dropped per second.", |row, ctx| ctx.per_second(row.usage.count)),
    field("drop.count", "DROPS", 8, 60, "Packets dropped over the window.", |row, _| Value::Count(row.sum.count)),
    field("drop.netns", "NETNS", 12, 80, "Network namespace of the socket.", |row, ctx| {
        row.key.cookie.map_or(Value::None, |_| Value::Text(ctx.model.namespace(row.key.netns)))
    }),
];

fn owner(row: &Packets<'_>, ctx: &Ctx<'_>) -> Value {
    match (row.key.cookie, row.sum.owner) {
        (None, _) => Value::None,
        (_, Some(key)) => ctx.comm(key),
        (_, None) => ctx.unknown(HOLDERS, "nobody was found holding it"),
    }
}

impl Grid for Dropped {
    type Row<'a> = Packets<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[FREED, UNQUEUED];

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, Packets<'a>)> {
        let wanted = |drops: &Drops| scope.process.is_none_or(|process| drops.owner == Some(process));
        let all = ctx.model.drops.iter().filter(|(_, drops)| wanted(&drops.sum));
        let mut rows: Vec<_> = all
            .map(|(key, drops)| (Subject::Drop(key.clone()), Packets { key, usage: ctx.of(drops), sum: &drops.sum }))
            .collect();
        heaviest_first(&mut rows, |row| row.sum.count);
        rows
    }
}
