//! Table of the sizes of requests to block devices.

use profiler_common::disk::SIZES;

use crate::batch::Hist;
use crate::field::grid::{Ctx, Field, Grid, ISSUES, Need, REQUESTS, field, heaviest_first};
use crate::field::{Scope, Subject, Value};
use crate::model::disk::{Disk, op_name};

/// One row per device, operation and size of requests.
pub(in crate::field) struct Sizes;

/// Requests of one size over the window.
pub(in crate::field) struct DiskSize<'a> {
    device: u32,
    operation: u32,
    size: u32,
    disk: &'a Disk,
    latency: &'a Hist,
}

const SIZE_FIELDS: &[Field<Sizes>] = &[
    field("disk_size.device", "DEVICE", 0, 0, "Whole device, partitions included.", |row, _| {
        Value::Text(row.disk.name(row.device))
    }),
    field("disk_size.op", "OP", 7, 0, "Operation.", |row, _| Value::Text(op_name(row.operation).into())),
    field("disk_size.size_bytes", "UP TO", 7, 0, "Greatest size of these requests.", |row, _| {
        match row.size as usize {
            size if size + 1 < SIZES => Value::Bytes(4096 << size),
            _ => Value::Text("more".into()),
        }
    }),
    field("disk_size.requests", "REQUESTS", 9, 0, "Requests completed, over the window.", |row, _| {
        Value::Count(row.latency.count())
    }),
    field("disk_size.requests_ratio", "OF ALL", 7, 0, "Share of the requests of that operation.", |row, _| {
        Value::ratio(row.latency.count(), row.disk.done(row.operation).map_or(0, |done| done.latency.count()))
    }),
    field("disk_size.latency_p50_ns", "P50", 9, 0, "Median of queue plus device time.", |row, _| {
        Value::quantile(row.latency, 0.5)
    }),
    field("disk_size.latency_p99_ns", "P99", 9, 0, "99th percentile of both.", |row, _| {
        Value::quantile(row.latency, 0.99)
    }),
];

impl Grid for Sizes {
    type Row<'a> = DiskSize<'a>;

    const FIELDS: &'static [Field<Self>] = SIZE_FIELDS;

    const ROWS: &'static [Need] = &[REQUESTS, ISSUES];

    fn rows<'a>(ctx: &Ctx<'a>, _scope: &Scope) -> Vec<(Subject, DiskSize<'a>)> {
        let mut rows = Vec::new();
        for (device, disk) in &ctx.model.disks {
            for ((operation, size), recent) in &disk.sizes {
                let (operation, size, latency) = (*operation, *size, &recent.sum.latency);
                let row = DiskSize { device: *device, operation, size, disk, latency };
                rows.push((Subject::DiskSize(*device, operation, size), row));
            }
        }
        heaviest_first(&mut rows, |row| row.latency.count());
        rows
    }
}
