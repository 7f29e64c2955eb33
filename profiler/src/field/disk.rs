//! Table of block devices and operations.

use super::grid::{Ctx, Field, Grid, ISSUES, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::DiskStat;
use crate::model::disk::{Disk, DiskUse, op_name};

/// One row per device and operation that was ever seen.
pub(super) struct Disks;

/// An operation of a device: in the span of rates, and over the window.
pub(super) struct DiskOp<'a> {
    device: u32,
    operation: u32,
    disk: &'a Disk,
    stat: &'a DiskStat,
    in_flight: u64,
    usage: &'a DiskUse,
    sum: &'a DiskUse,
}

const NO_QUEUE: &str = "the device keeps no start times";

const FIELDS: &[Field<Disks>] = &[
    field("disk.name", "DEVICE", 0, 0, "Whole device, partitions included.", |row, _| {
        Value::Text(row.disk.name(row.device))
    }),
    field("disk.backing", "BACKING", 16, 140, "File behind a loop device.", |row, _| {
        row.disk.backing.clone().map_or(Value::None, Value::Text)
    }),
    field("disk.op", "OP", 7, 0, "Operation. Flushes and discards stand apart from writes.", |row, _| {
        Value::Text(op_name(row.operation).into())
    }),
    field("disk.ops_s", "OPS/s", 6, 0, "Requests completed per second.", |row, ctx| ctx.per_second(row.usage.requests)),
    field("disk.bytes_s", "BYTES/s", 7, 0, "Bytes completed per second.", |row, ctx| {
        ctx.bytes_per_second(row.usage.bytes)
    }),
    field("disk.size_bytes", "SIZE", 6, 80, "Bytes per request, on average.", |row, _| {
        average(row.usage.bytes, row.usage.requests)
    }),
    needs(
        ISSUES,
        field(
            "disk.queue_p50_ns",
            "QUEUE50",
            9,
            100,
            "Median queue time, request allocated to issued, over the window; at most 12.5 % too high.",
            |row, _| queue(row.sum, 0.5),
        ),
    ),
    needs(
        ISSUES,
        field("disk.queue_p99_ns", "QUEUE99", 9, 0, "99th percentile of the queue time, over the window.", |row, _| {
            queue(row.sum, 0.99)
        }),
    ),
    needs(
        ISSUES,
        field(
            "disk.service_p50_ns",
            "DEVICE50",
            9,
            100,
            "Median device time, issued to completed, over the window.",
            |row, _| Value::quantile(&row.sum.service, 0.5),
        ),
    ),
    needs(
        ISSUES,
        field(
            "disk.service_p99_ns",
            "DEVICE99",
            9,
            0,
            "99th percentile of the device time, over the window.",
            |row, _| Value::quantile(&row.sum.service, 0.99),
        ),
    ),
    needs(
        ISSUES,
        field(
            "disk.inflight",
            "INFL",
            5,
            60,
            "Requests issued and not complete at the end of the interval.",
            |row, _| Value::Count(row.in_flight),
        ),
    ),
    field(
        "disk.busy_ratio",
        "UTIL",
        6,
        70,
        "Share of time with at least one request of any operation in flight, by /proc/diskstats. \
         A parallel device at 100 % may have room.",
        |row, ctx| busy(row, ctx),
    ),
    needs(
        ISSUES,
        field("disk.queue_ratio", "Q-SHARE", 7, 110, "Queue time as a share of queue plus device time.", |row, _| {
            Value::ratio(row.usage.queue_ns, row.usage.queue_ns + row.usage.device_ns)
        }),
    ),
    field("disk.errors", "ERRORS", 6, 90, "Requests that failed, over the window.", |row, _| {
        Value::Count(row.sum.errors)
    }),
];

impl Grid for Disks {
    type Row<'a> = DiskOp<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    fn rows<'a>(ctx: &Ctx<'a>, _scope: &Scope) -> Vec<(Subject, DiskOp<'a>)> {
        let window = ctx.model.window;
        let mut rows = Vec::new();
        for (device, disk) in &ctx.model.disks {
            for (operation, (recent, in_flight)) in (0..).zip(disk.ops.iter().zip(disk.in_flight)) {
                if recent.sum.requests > 0 || in_flight > 0 {
                    let (stat, usage, sum) = (disk.stat.of(window), recent.of(window), &recent.sum);
                    let row = DiskOp { device: *device, operation, disk, stat, in_flight, usage, sum };
                    rows.push((Subject::Disk(*device, operation), row));
                }
            }
        }
        heaviest_first(&mut rows, |row| row.usage.queue_ns + row.usage.device_ns);
        rows
    }
}

pub(super) fn average(bytes: u64, count: u64) -> Value {
    bytes.checked_div(count).filter(|_| bytes > 0).map_or(Value::None, Value::Bytes)
}

fn queue(usage: &DiskUse, quantile: f64) -> Value {
    if usage.requests > 0 && usage.queue_unknown >= usage.requests {
        return Value::Unknown(NO_QUEUE);
    }
    Value::quantile(&usage.queue, quantile)
}

fn busy(row: &DiskOp<'_>, ctx: &Ctx<'_>) -> Value {
    if !row.disk.stat_known {
        return Value::Unknown("not in /proc/diskstats");
    }
    Disk::busy_ratio(row.stat, ctx.span_ns).map_or(Value::None, Value::Ratio)
}
