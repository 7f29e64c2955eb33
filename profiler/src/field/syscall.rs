//! Table of system calls.

use profiler_common::file::kind;
use profiler_common::syscall::{ERRNO_CLASSES, class};

use super::grid::{CALLS, Ctx, Field, Grid, LATENCIES, Need, OPERATIONS, SWITCHES, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::{Hist, ProcessKey};
use crate::model::file::kind_name;
use crate::model::syscall::{CallUse, kind_of};

/// One row per process, call and kind of file.
pub(super) struct Syscalls;

/// A call of a process: in the span of rates, and over the window.
pub(super) struct Call<'a> {
    process: ProcessKey,
    key: u32,
    usage: &'a CallUse,
    sum: &'a CallUse,
}

const FIELDS: &[Field<Syscalls>] = &[
    field("process.pid", "PID", 7, 0, "Process id.", |row, _| Value::Id(row.process.pid.into())),
    field("process.comm", "NAME", 0, 0, "Name of the process.", |row, ctx| ctx.comm(row.process)),
    field(
        "syscall.name",
        "CALL",
        16,
        0,
        "System call; or operation of io_uring (uring, iou-wrk where a worker thread did it) or of libaio (aio), which counts \
         when it has ended.",
        |row, ctx| Value::Text(ctx.model.calls.name(row.key).into_owned()),
    ),
    field(
        "syscall.kind",
        "ON",
        12,
        90,
        "Kind of the file in its first argument, or of an operation, where it has one and we look.",
        |row, _| on(row.key),
    ),
    field("syscall.calls_s", "CALLS/s", 7, 0, "Calls that returned per second.", |row, ctx| {
        ctx.per_second(row.usage.count)
    }),
    field("syscall.errors_s", "ERR/s", 6, 60, "Calls that failed per second.", |row, ctx| {
        ctx.per_second(row.usage.failed())
    }),
    field(
        "syscall.top_error",
        "TOP ERROR",
        9,
        100,
        "Most frequent class of error over the window: again, not_found, access, invalid, peer, resource, io, other.",
        |row, _| top_error(row.sum),
    ),
    field("syscall.bytes_s", "BYTES/s", 7, 70, "Bytes per second that it moved.", |row, ctx| moved(row, ctx)),
    needs(
        SWITCHES,
        field(
            "syscall.blocked_ratio",
            "BLOCKED",
            7,
            0,
            "Blocked time inside the call as a share of the time of one thread.",
            |row, ctx| ctx.share(row.usage.blocked_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "syscall.blocked_p99_ns",
            "BLOCK99",
            9,
            80,
            "99th percentile of the blocked time of calls that blocked, over the window. Exact \
             counts in powers of two.",
            |row, _| Value::quantile(&row.sum.blocked, 0.99),
        ),
    ),
    needs(
        LATENCIES,
        field(
            "syscall.latency_p50_ns",
            "LAT50",
            9,
            110,
            "Median latency, entry to return, over the window. Of a sample of all calls; of all operations, from their \
             handing over to their end.",
            |row, _| sampled(&row.sum.latency, row.sum.count, 0.5),
        ),
    ),
    needs(
        LATENCIES,
        field(
            "syscall.latency_p99_ns",
            "LAT99",
            9,
            80,
            "99th percentile of the latency. Of a sample of all calls.",
            |row, _| sampled(&row.sum.latency, row.sum.count, 0.99),
        ),
    ),
];

impl Grid for Syscalls {
    type Row<'a> = Call<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[CALLS, OPERATIONS];

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, Call<'a>)> {
        let mut rows = Vec::new();
        for (process, of) in scope.processes(ctx.model) {
            for (key, call) in &of.calls {
                let row = Call { process, key: *key, usage: ctx.of(call), sum: &call.sum };
                rows.push((Subject::Syscall(process, *key), row));
            }
        }
        heaviest_first(&mut rows, |row| weight_ns(row, ctx));
        rows
    }
}

/// Blocked time unless it is idle, and the cost of entering the kernel, taken as 1 µs per call.
fn weight_ns(row: &Call<'_>, ctx: &Ctx<'_>) -> u64 {
    let idle = ctx.model.calls.is_idle(row.key);
    row.usage.count * 1_000 + if idle { 0 } else { row.usage.blocked_ns }
}

/// A percentile of a sample: of calls that were made but never sampled, nothing is known.
pub(super) fn sampled(hist: &Hist, calls: u64, quantile: f64) -> Value {
    if calls > 0 && hist.slots.is_empty() {
        return Value::Unknown("none of the calls was sampled");
    }
    Value::quantile(hist, quantile)
}

fn on(key: u32) -> Value {
    match kind_of(key) {
        kind::NONE => Value::None,
        kind => Value::Text(kind_name(kind).into()),
    }
}

fn top_error(usage: &CallUse) -> Value {
    let top = usage.errors.iter().zip(ERRNO_CLASSES).max_by_key(|(count, _)| **count);
    top.filter(|(count, _)| **count > 0).map_or(Value::None, |(_, name)| Value::Text(name.into()))
}

fn moved(row: &Call<'_>, ctx: &Ctx<'_>) -> Value {
    match ctx.model.calls.class(row.key) {
        class::READ | class::WRITE => ctx.bytes_per_second(row.usage.bytes),
        _ => Value::None,
    }
}
