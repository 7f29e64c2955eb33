//! Table of requests over TCP: how fast a service answers, how long one waits for a peer.

use profiler_common::exchange::role;

use super::grid::{
    Ctx, Field, Grid, Need, OPENS, RECEIVES, SENDS, SOCKETS, SWITCHES, WAKERS, field, heaviest_first, needs,
};
use super::tcp::UNTOLD;
use super::{Scope, Subject, Value};
use crate::batch::{ExchangeKey, Slowest};
use crate::model::exchange::{ExchangeUse, states};

/// One row per role, service or peer, and process.
pub(super) struct Exchanges;

/// What a process exchanged with one service or peer: in the span of rates, and over the window.
pub(super) struct Exchange<'a> {
    key: &'a ExchangeKey,
    usage: &'a ExchangeUse,
    sum: &'a ExchangeUse,
}

const FIELDS: &[Field<Exchanges>] = &[
    field(
        "exchange.role",
        "ROLE",
        6,
        0,
        "server: a peer opened the connection and asks. client: the process did. Connections from before we watched have been \
         accepted if somebody listens on their port.",
        |row, _| Value::Text(role_name(row.key.role).into()),
    ),
    field(
        "exchange.endpoint",
        "SERVICE/PEER",
        0,
        0,
        "Address and port: of a server its own, of a client that of its peer.",
        |row, _| Value::Text(row.key.endpoint.clone()),
    ),
    field("exchange.owner", "OWNER", 16, 0, "Process that sends and receives.", |row, ctx| ctx.comm(row.key.process)),
    field(
        "exchange.count_s",
        "REQ/s",
        7,
        0,
        "Exchanges that ended per second: a turn to ask and a turn to answer. Requests that are sent ahead are one.",
        |row, ctx| ctx.per_second(row.usage.count),
    ),
    field(
        "exchange.time_mean_ns",
        "MEAN",
        8,
        100,
        "Time of an exchange. Of a server, its last receive before a send, to that send; of a client, its last send before a \
         receive, to that receive; each when the call returns. Over the window, as all that follows.",
        |row, _| row.sum.mean_ns().map_or(Value::None, Value::Nanos),
    ),
    field("exchange.time_p50_ns", "P50", 8, 60, "Median of the same, within 1.6 %.", |row, _| {
        Value::quantile(&row.sum.time, 0.5)
    }),
    field("exchange.time_p99_ns", "P99", 8, 0, "99th percentile of the same, within 1.6 %.", |row, _| {
        Value::quantile(&row.sum.time, 0.99)
    }),
    field("exchange.time_max_ns", "MAX", 8, 80, "The slowest.", |row, _| {
        row.sum.slowest.map_or(Value::None, |slowest| Value::Nanos(slowest.time_ns))
    }),
    field(
        "exchange.think_mean_ns",
        "THINK",
        8,
        70,
        "Of a client, what the peer makes of the mean: without the least round-trip time of each connection. What queues on the \
         way counts as the peer's.",
        |row, _| think(row),
    ),
    field(
        "exchange.rtt_mean_ns",
        "RTT",
        8,
        110,
        "Of a client, the least round-trip time of its connections, weighed by exchanges.",
        |row, _| row.sum.rtt_ns.checked_div(row.sum.timed).map_or(Value::None, Value::Nanos),
    ),
    field(
        "exchange.shorter",
        "<RTT",
        6,
        150,
        "Of a client, exchanges that took less than that: the answer came before the call that sent returned.",
        |row, _| if row.sum.timed == 0 { Value::None } else { Value::Count(row.sum.shorter) },
    ),
    field(
        "exchange.nagle_stalls",
        "STALLS",
        6,
        210,
        "Writes that were held back for 10 ms and more by Nagle's algorithm: they are small, and the peer had not yet \
         acknowledged a small one before them. Known once something is sent or received after that.",
        |row, _| row.sum.stalls.map_or(UNTOLD, Value::Count),
    ),
    field("exchange.nagle_stall_mean_ns", "STALL", 8, 210, "For how long each of them was held back.", |row, _| {
        row.sum.stall_ns.checked_div(row.sum.stalls.unwrap_or(0)).map_or(Value::None, Value::Nanos)
    }),
    field(
        "exchange.unanswered",
        "UNANSW",
        6,
        210,
        "Of queries to a name server over UDP, those that got no answer: datagrams that were sent and not received. Those of \
         the last moment may still get one.",
        |row, _| match (row.sum.asked, row.sum.unanswered()) {
            (Some(0), _) => Value::None,
            (_, unanswered) => unanswered.map_or(UNTOLD, Value::Count),
        },
    ),
    field(
        "exchange.slowest_connection",
        "SLOWEST ON",
        21,
        180,
        "The other end of the slowest's connection.",
        |row, ctx| {
            let Some(slowest) = row.sum.slowest else { return Value::None };
            match ctx.model.sockets.get(&slowest.socket) {
                Some(socket) => Value::Text(socket.row.peer.to_string()),
                None => ctx.unknown(SOCKETS, "the connection is no longer kept"),
            }
        },
    ),
    field("exchange.slowest_tid", "BY", 7, 180, "Thread that ended the slowest.", |row, _| {
        row.sum.slowest.map_or(Value::None, |slowest| Value::Id(slowest.tid.into()))
    }),
    needs(
        SWITCHES,
        field(
            "exchange.slowest_spent",
            "SLOWEST SPENT",
            44,
            240,
            "Where that thread was during the slowest, the longest first: on a CPU, on the run queue, in kinds of waits. Known \
             if one thread began and ended it; what takes less than 1 % is left out.",
            |row, ctx| {
                let Some(slowest) = &row.sum.slowest else { return Value::None };
                spent_on(slowest).map_or_else(|why| ctx.unknown(WAKERS, why), Value::Text)
            },
        ),
    ),
    field("exchange.slowest_age_ns", "AGO", 7, 180, "Since the slowest ended.", |row, ctx| {
        row.sum.slowest.map_or(Value::None, |slowest| Value::Nanos(ctx.model.time.until.since(slowest.at)))
    }),
    field("exchange.netns", "NETNS", 12, 140, "Network namespace.", |row, ctx| {
        Value::Text(ctx.model.namespace(row.key.netns))
    }),
];

/// Where the thread of a slowest exchange was, in words.
pub(crate) fn spent_on(slowest: &Slowest) -> Result<String, &'static str> {
    let states = states(slowest)?.into_iter().filter(|(_, ns)| ns.saturating_mul(100) >= slowest.time_ns);
    let words: Vec<_> = states.map(|(state, ns)| format!("{} {}", state.label, Value::Nanos(ns))).collect();
    Ok(words.join(", "))
}

fn think(row: &Exchange<'_>) -> Value {
    let Some(think_ns) = row.sum.think_ns() else { return Value::None };
    match u64::try_from(think_ns) {
        Ok(think_ns) => think_ns.checked_div(row.sum.count).map_or(Value::None, Value::Nanos),
        Err(_) => Value::Unknown("the peer answers before the calls that send have returned"),
    }
}

/// A role in words.
fn role_name(role: u32) -> &'static str {
    match role {
        role::SERVER => "server",
        role::CLIENT => "client",
        _ => "?",
    }
}

impl Grid for Exchanges {
    type Row<'a> = Exchange<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    /// Old connections, and those that come and go.
    const ROWS: &'static [Need] = &[SENDS, RECEIVES, SOCKETS, OPENS];

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, Exchange<'a>)> {
        let wanted = |key: &ExchangeKey| scope.process.is_none_or(|process| key.process == process);
        let all = ctx.model.exchanges.iter().filter(|(key, _)| wanted(key));
        let mut rows: Vec<_> = all
            .map(|(key, usage)| {
                (Subject::Exchange(key.clone()), Exchange { key, usage: ctx.of(usage), sum: &usage.sum })
            })
            .collect();
        heaviest_first(&mut rows, |row| row.sum.time_ns);
        rows
    }
}
