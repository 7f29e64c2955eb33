//! Table of partitions.

use super::mean;
use crate::field::grid::{Ctx, Field, Grid, ISSUES, Need, REQUESTS, field, heaviest_first, needs};
use crate::field::{Scope, Subject, Value};
use crate::model::disk::{Disk, DiskShare, Latency, op_name};

/// One row per partition and operation. Each request is one of its device, too.
pub(in crate::field) struct Partitions;

/// An operation on a partition: in the span of rates, and over the window.
pub(in crate::field) struct Partition<'a> {
    device: u32,
    operation: u32,
    usage: &'a DiskShare,
    sum: &'a DiskShare,
}

const FIELDS: &[Field<Partitions>] = &[
    field("partition.name", "PARTITION", 0, 0, "A part of a device, in which it is counted, too.", |row, ctx| {
        Value::Text(ctx.model.disks.get(&row.device).unwrap_or(&Disk::default()).name(row.device))
    }),
    field("partition.op", "OP", 7, 0, "Operation.", |row, _| Value::Text(op_name(row.operation).into())),
    field("partition.ops_s", "OPS/s", 7, 0, "Requests completed per second.", |row, ctx| {
        ctx.per_second(row.usage.requests)
    }),
    field("partition.bytes_s", "BYTES/s", 8, 0, "Bytes completed per second.", |row, ctx| {
        ctx.bytes_per_second(row.usage.bytes)
    }),
    needs(
        ISSUES,
        field(
            "partition.latency_mean_ns",
            "MEAN",
            8,
            0,
            "Queue plus device time per request, over the window.",
            |row, _| mean(Latency { requests: row.sum.latency.count(), total_ns: row.sum.request_ns() }),
        ),
    ),
    needs(
        ISSUES,
        field("partition.queue_ratio", "Q-SHARE", 8, 80, "Queue time as a share of both.", |row, _| {
            Value::ratio(row.sum.queue_ns, row.sum.request_ns())
        }),
    ),
    needs(
        ISSUES,
        field("partition.latency_p99_ns", "P99", 9, 80, "99th percentile of both.", |row, _| {
            Value::quantile(&row.sum.latency, 0.99)
        }),
    ),
];

impl Grid for Partitions {
    type Row<'a> = Partition<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[REQUESTS];

    fn rows<'a>(ctx: &Ctx<'a>, _scope: &Scope) -> Vec<(Subject, Partition<'a>)> {
        let row = |(&(device, operation), recent)| {
            let row = Partition { device, operation, usage: ctx.of(recent), sum: &recent.sum };
            (Subject::Partition(device, operation), row)
        };
        let mut rows: Vec<_> = ctx.model.partitions.iter().map(row).collect();
        heaviest_first(&mut rows, |row| row.sum.request_ns());
        rows
    }
}
