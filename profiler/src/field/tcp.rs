//! Tables of connections and listeners.

use std::cmp::Reverse;
use std::collections::HashMap;

use profiler_common::limit::{
    APPLICATION, CONGESTION_WINDOW, FLIGHT, HANDSHAKE, PACING, QUEUE, RECEIVE_WINDOW, RECOVERY, SEND_BUFFER,
};

use profiler_common::tcp::failure::{FAILURES, kind};

use super::grid::{
    CALLS, Ctx, ENDS, Field, Grid, HOLDERS, Need, OPENS, RECOVERIES, SOCKETS, THREADS, field, heaviest_first, needs,
};
use super::limit::{self, Limited};
use super::{Scope, Subject, Value};
use crate::batch::{Hist, SocketRow};
use crate::model::limit::Limits;
use crate::model::tcp::{Socket, SocketUse, state_name};

/// One row per connection.
pub(super) struct Connections;

/// One row per listening socket.
pub(super) struct Listeners;

/// A socket.
pub(super) struct SocketView<'a> {
    socket: &'a Socket,
    usage: &'a SocketUse,
    /// The other end, if that is on this host as well.
    other: Option<&'a Socket>,
    /// Of a listener, how long connections waited for it over the window.
    wait: Hist,
}

impl Limited for SocketView<'_> {
    fn limits(&self) -> Option<Limits> {
        self.socket.row.limits.map(|_| self.usage.limits)
    }

    fn zero_window_ns(&self) -> Option<u64> {
        self.socket.row.zero_window_ns.map(|_| self.usage.zero_window_ns)
    }
}

/// Old ones, those of other network namespaces, those that came and went, those that have ended.
pub(super) const ROWS: &[Need] = &[SOCKETS, THREADS, OPENS, ENDS];

/// In captures from before it was recorded.
pub(super) const UNTOLD: Value = Value::Unknown("not recorded");

const CONNECTIONS: &[Field<Connections>] = &[
    field("net.local", "LOCAL", 21, 100, "Local address and port.", |row, _| {
        Value::Text(row.socket.row.local.to_string())
    }),
    field("net.peer", "PEER", 0, 0, "Peer's address and port.", |row, _| Value::Text(row.socket.row.peer.to_string())),
    field("net.state", "STATE", 10, 130, "TCP state at the end of the interval, as in ss.", |row, _| {
        Value::Text(state_name(row.socket.row.state).into())
    }),
    field("net.owner", "OWNER", 16, 0, "Process that holds it.", |row, ctx| owner(row.socket, ctx)),
    field(
        "net.peer_owner",
        "AT PEER",
        16,
        150,
        "Process that holds the other end, where that is on this host. Such a connection has one row on the screen, that of the \
         end which loses segments, or else had something to send for longer; of a process, its own end.",
        |row, ctx| row.other.map_or(Value::None, |other| beyond(row.socket, other, ctx)),
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
    field("net.srtt_ns", "SRTT", 8, 60, "Smoothed round-trip time, as the kernel keeps it.", |row, _| {
        micros(row.socket.row.srtt_us)
    }),
    field(
        "net.min_rtt_ns",
        "MIN RTT",
        8,
        110,
        "Least round-trip time in the kernel's own window (5 min by default).",
        |row, _| micros(row.socket.row.min_rtt_us),
    ),
    needs(
        OPENS,
        field("net.retransmits_s", "RETR/s", 6, 60, "Segments sent again per second.", |row, ctx| {
            ctx.per_second(row.usage.retransmits)
        }),
    ),
    field("net.retransmits", "RETR", 6, 120, "Segments sent again since the socket's birth.", |row, _| {
        Value::Count(row.socket.row.total.retransmits)
    }),
    needs(
        RECOVERIES,
        field(
            "net.timeouts",
            "RTO",
            4,
            140,
            "Segments that were not acknowledged in time, over the window: each a pause of 200 ms and more.",
            |row, _| row.socket.row.timeouts.map_or(UNTOLD, |_| Value::Count(row.socket.usage.sum.timeouts)),
        ),
    ),
    needs(
        RECOVERIES,
        field(
            "net.recoveries",
            "FAST",
            4,
            140,
            "Fast recoveries over the window: losses that acknowledgements told of.",
            |row, _| row.socket.row.recoveries.map_or(UNTOLD, |_| Value::Count(row.socket.usage.sum.recoveries)),
        ),
    ),
    field("net.cwnd", "CWND", 5, 110, "Congestion window, segments.", |row, _| {
        Value::Count(row.socket.row.cwnd.into())
    }),
    field("net.packets_out", "INFL", 5, 120, "Segments sent and not yet acknowledged.", |row, _| {
        Value::Count(row.socket.row.packets_out.into())
    }),
    field("net.send_queue_bytes", "SEND-Q", 6, 80, "Bytes written and not yet acknowledged.", |row, _| {
        Value::Bytes(row.socket.row.send_queue_bytes.into())
    }),
    field(
        "net.receive_queue_bytes",
        "RECV-Q",
        6,
        80,
        "Bytes received and not yet read by the application.",
        |row, _| Value::Bytes(row.socket.row.receive_queue_bytes.into()),
    ),
    needs(
        OPENS,
        field(
            "net.accept_ns",
            "ACCEPT",
            8,
            145,
            "Time in its listener's queue: established to accepted, of connections that we watched from the start. Not of those \
             that operations of io_uring accept.",
            |row, ctx| accepted(row.socket, ctx),
        ),
    ),
    needs(
        OPENS,
        field(
            "net.connect_ns",
            "CONNECT",
            8,
            140,
            "SYN sent to established or given up; of connections that we opened and watched from the start.",
            |row, _| row.socket.row.connect_ns.map_or(Value::None, Value::Nanos),
        ),
    ),
    needs(
        OPENS,
        field(
            "net.connect_error",
            "FAILED",
            11,
            160,
            "Why its connect failed: refused, timed out, unreachable, no port (none was left here), given up (by its process).",
            |row, _| {
                row.socket.row.connect_errno.map_or(Value::None, |errno| Value::Text(FAILURES[kind(errno)].0.into()))
            },
        ),
    ),
    needs(
        OPENS,
        field(
            "net.age_ns",
            "AGE",
            7,
            140,
            "Since it was opened; unknown if that was before we watched.",
            |row, ctx| age(row.socket, ctx),
        ),
    ),
    field("net.netns", "NETNS", 12, 160, "Network namespace.", |row, ctx| {
        Value::Text(ctx.model.namespace(row.socket.row.netns))
    }),
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

impl Grid for Connections {
    type Row<'a> = SocketView<'a>;

    const FIELDS: &'static [Field<Self>] = CONNECTIONS;

    const ROWS: &'static [Need] = ROWS;

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, SocketView<'a>)> {
        let mut rows = sockets(ctx, scope, false);
        join(ctx, &mut rows, scope.once);
        // Whoever loses segments first, then whoever moves bytes.
        rows.sort_by_cached_key(|(subject, row)| {
            let SocketUse { retransmits, sent_bytes, received_bytes, .. } = *row.usage;
            (Reverse((retransmits, sent_bytes + received_bytes, row.socket.row.send_queue_bytes)), subject.clone())
        });
        rows
    }
}

const LISTENERS: &[Field<Listeners>] = &[
    field("net.local", "LOCAL", 0, 0, "Local address and port.", |row, _| {
        Value::Text(row.socket.row.local.to_string())
    }),
    field("net.owner", "OWNER", 16, 0, "Process that holds it.", |row, ctx| owner(row.socket, ctx)),
    field(
        "net.accept_queue",
        "QUEUE",
        6,
        0,
        "Connections that wait for accept at the end of the interval.",
        |row, _| Value::Count(row.socket.row.accept_queue.into()),
    ),
    field(
        "net.accept_limit",
        "LIMIT",
        6,
        0,
        "Connections that may wait: the least of listen's backlog and somaxconn. One more is let in.",
        |row, _| Value::Count(row.socket.row.accept_limit.into()),
    ),
    needs(
        OPENS,
        field("net.drops_s", "DROPS/s", 7, 0, "SYNs and handshakes refused per second.", |row, ctx| {
            ctx.per_second(row.usage.drops)
        }),
    ),
    needs(
        OPENS,
        field("net.drops", "DROPS", 6, 0, "SYNs and handshakes refused over the window.", |row, _| {
            Value::Count(row.socket.usage.sum.drops)
        }),
    ),
    needs(
        CALLS,
        field(
            "net.accepts_s",
            "ACC/s",
            7,
            100,
            "Connections accepted at its address per second. Not those that operations of io_uring accept.",
            |row, ctx| match row.wait.count() {
                // Under lockdown none is known.
                0 => Value::None,
                _ => ctx.per_second(ctx.model.accept_wait(&row.socket.row, |accepts| ctx.of(accepts)).count()),
            },
        ),
    ),
    needs(
        CALLS,
        field(
            "net.accept_p50_ns",
            "WAIT P50",
            8,
            100,
            "Median time that they were in the queue: established to accepted; over the window, within 1.6 %.",
            |row, _| Value::quantile(&row.wait, 0.5),
        ),
    ),
    needs(
        CALLS,
        field("net.accept_p99_ns", "WAIT P99", 8, 70, "99th percentile of the same.", |row, _| {
            Value::quantile(&row.wait, 0.99)
        }),
    ),
    field("net.netns", "NETNS", 12, 80, "Network namespace.", |row, ctx| {
        Value::Text(ctx.model.namespace(row.socket.row.netns))
    }),
];

impl Grid for Listeners {
    type Row<'a> = SocketView<'a>;

    const FIELDS: &'static [Field<Self>] = LISTENERS;

    const ROWS: &'static [Need] = ROWS;

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, SocketView<'a>)> {
        let mut rows = sockets(ctx, scope, true);
        for (_, row) in &mut rows {
            row.wait = ctx.model.accept_wait(&row.socket.row, |accepts| &accepts.sum);
        }
        heaviest_first(&mut rows, |row| row.socket.usage.sum.drops * 1_000 + u64::from(row.socket.row.accept_queue));
        rows
    }
}

fn sockets<'a>(ctx: &Ctx<'a>, scope: &Scope, listeners: bool) -> Vec<(Subject, SocketView<'a>)> {
    let window = ctx.model.window;
    let wanted = |socket: &Socket| {
        socket.is_listener() == listeners && scope.process.is_none_or(|process| socket.row.owner == Some(process))
    };
    let all = ctx.model.sockets.iter().filter(|(_, socket)| wanted(socket));
    let view =
        |socket: &'a Socket| SocketView { socket, usage: socket.usage.of(window), other: None, wait: Hist::default() };
    all.map(|(cookie, socket)| (Subject::Socket(*cookie), view(socket))).collect()
}

/// Finds the other ends, where those are on this host, and leaves one row of two.
fn join<'a>(ctx: &Ctx<'a>, rows: &mut Vec<(Subject, SocketView<'a>)>, once: bool) {
    let mut ends = HashMap::<_, Vec<&Socket>>::new();
    for socket in ctx.model.sockets.values() {
        ends.entry((socket.row.local, socket.row.peer)).or_default().push(socket);
    }
    // The same addresses may be used in several namespaces: who is meant is known only if there is but one.
    let only = |from, to| ends.get(&(from, to)).filter(|found| found.len() == 1).map(|found| found[0]);
    for (_, row) in rows.iter_mut() {
        let SocketRow { local, peer, netns, .. } = row.socket.row;
        let is_near = |other: &&Socket| other.row.netns == netns || !local.is_loopback();
        row.other = only(local, peer).and_then(|_| only(peer, local)).filter(is_near);
    }
    let weight = |socket: &Socket| {
        let SocketUse { retransmits, limits, .. } = &socket.usage.sum;
        (*retransmits, limits.busy_ns(), socket.row.local.port, socket.row.cookie)
    };
    if once {
        rows.retain(|(_, row)| row.other.is_none_or(|other| weight(row.socket) >= weight(other)));
    }
}

fn owner(socket: &Socket, ctx: &Ctx<'_>) -> Value {
    match socket.row.owner {
        Some(key) => ctx.comm(key),
        None => ctx.unknown(HOLDERS, "nobody was seen holding it"),
    }
}

/// Who is at the other end, and in which namespace if that is another one.
fn beyond(socket: &Socket, other: &Socket, ctx: &Ctx<'_>) -> Value {
    let there = other.row.netns;
    match owner(other, ctx) {
        Value::Text(comm) if there != socket.row.netns => {
            Value::Text(format!("{comm} in {}", ctx.model.namespace(there)))
        }
        near => near,
    }
}

fn accepted(socket: &Socket, ctx: &Ctx<'_>) -> Value {
    match socket.row.accept_ns {
        Some(ns) => Value::Nanos(ns),
        None if ctx.model.quality.is_missing(CALLS.probe) => Value::Unknown(CALLS.why),
        None => Value::None,
    }
}

fn micros(us: Option<u32>) -> Value {
    us.map_or(Value::None, |us| Value::Nanos(u64::from(us) * 1_000))
}

fn age(socket: &Socket, ctx: &Ctx<'_>) -> Value {
    match socket.row.opened {
        Some(opened) => Value::Nanos(socket.ended.unwrap_or(ctx.model.time.until).since(opened)),
        None => Value::Unknown("opened before we watched"),
    }
}
