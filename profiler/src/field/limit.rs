//! Columns that tell what limits connections.

use profiler_common::limit::{HANDSHAKE, LIMIT_NAMES, LIMITS, RECOVERY};

use super::grid::{Ctx, Field, Grid, OPENS, RECOVERIES, field, needs};
use super::{Value, tcp};
use crate::model::limit::Limits;

/// Narrower terminals have the verdict alone.
const WIDE: u16 = 180;

/// Why it is not known what limits a connection.
const UNTOLD: &str = "not recorded, or the length of the kernel's clock tick is not known";

/// A row of connections.
pub(super) trait Limited {
    /// What limited them; `None` if that is not known.
    fn limits(&self) -> Option<Limits>;

    /// How long their peers' receive windows had no room; `None` if that is not known.
    fn zero_window_ns(&self) -> Option<u64>;
}

/// The share of the time without any room in the receive window: a part of that of [`RECEIVE_WINDOW`].
pub(super) const fn zero_window<G: Grid>() -> Field<G>
where
    for<'a> G::Row<'a>: Limited,
{
    let doc = "Share of the time in which the peer's receive window had no room for a segment, as a sample per interval: of \
               RWND, what a larger buffer would not mend.";
    field("net.zero_window_ratio", "ZWIN", 6, WIDE, doc, get_zero_window::<G>)
}

fn get_zero_window<G: Grid>(row: &G::Row<'_>, _: &Ctx<'_>) -> Value
where
    for<'a> G::Row<'a>: Limited,
{
    row.zero_window_ns().map_or(tcp::UNTOLD, |ns| told(row, |limits| Value::ratio(ns, limits.wall_ns())))
}

/// What limited connections most while they had something to send, and for which share of the time.
pub(super) const fn verdict<G: Grid>() -> Field<G>
where
    for<'a> G::Row<'a>: Limited,
{
    let doc = "What limited it most while it had something to send, and its share of the time that passed: connect (SYN \
               unanswered), rwnd (peer's receive window), sndbuf (send buffer), recovery (from loss), cwnd (congestion \
               window), pacing, queue (of this host), flight (all sent, not acknowledged); app: it had nothing to send.";
    needs(OPENS, field("net.limit", "LIMIT", 13, 90, doc, get_verdict::<G>))
}

fn get_verdict<G: Grid>(row: &G::Row<'_>, _: &Ctx<'_>) -> Value
where
    for<'a> G::Row<'a>: Limited,
{
    told(row, |limits| {
        let greatest = limits.greatest();
        match Value::ratio(limits.0[greatest], limits.wall_ns()) {
            Value::None => Value::None,
            share => Value::Text(format!("{} {share}", LIMIT_NAMES[greatest])),
        }
    })
}

/// Identifier, heading and meaning of the share of each. What the kernel has no clock for is a sample, taken when the interval
/// ends.
const SHARES: [(&str, &str, &str); LIMITS] = [
    ("net.limit_connect_ratio", "SYN", "Share of the time in which a SYN waited for its answer."),
    ("net.limit_app_ratio", "APP", "Share of the time in which the application had nothing to send."),
    ("net.limit_rwnd_ratio", "RWND", "Share of the time in which the peer's receive window was used up."),
    (
        "net.limit_sndbuf_ratio",
        "SNDBUF",
        "Share of the time in which all was sent, and the application waited for room in the send buffer.",
    ),
    (
        "net.limit_recovery_ratio",
        "RECOV",
        "Share of the time in which lost segments were sent again (states Recovery and Loss).",
    ),
    (
        "net.limit_cwnd_ratio",
        "CWND%",
        "Share of the time in which the congestion window was used up; a sample per interval.",
    ),
    (
        "net.limit_pacing_ratio",
        "PACING",
        "Share of the time in which what was to be sent had to wait for its turn; a sample per interval.",
    ),
    (
        "net.limit_queue_ratio",
        "QUEUE",
        "Share of the time in which enough of it waited in queues of this host; a sample per interval.",
    ),
    (
        "net.limit_flight_ratio",
        "FLIGHT",
        "Share of the time in which all was sent and not yet acknowledged; a sample per interval.",
    ),
];

/// The share of one of them. All together are 100 %.
pub(super) const fn share<G: Grid, const LIMIT: usize>() -> Field<G>
where
    for<'a> G::Row<'a>: Limited,
{
    let (id, label, doc) = SHARES[LIMIT];
    let field = field(id, label, 6, WIDE, doc, get_share::<G, LIMIT>);
    match LIMIT {
        HANDSHAKE => needs(OPENS, field),
        RECOVERY => needs(RECOVERIES, field),
        _ => field,
    }
}

fn get_share<G: Grid, const LIMIT: usize>(row: &G::Row<'_>, _: &Ctx<'_>) -> Value
where
    for<'a> G::Row<'a>: Limited,
{
    told(row, |limits| Value::ratio(limits.0[LIMIT], limits.wall_ns()))
}

fn told(row: &impl Limited, tell: impl FnOnce(Limits) -> Value) -> Value {
    row.limits().map_or(Value::Unknown(UNTOLD), tell)
}
