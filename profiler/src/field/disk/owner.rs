//! Table of the processes that block devices work for.

use std::borrow::Cow;

use super::mean;
use crate::batch::ProcessKey;
use crate::field::grid::{Ctx, DIRTIERS, Field, Grid, ISSUES, Need, REQUESTS, field, heaviest_first};
use crate::field::{Scope, Subject, Value};
use crate::model::bound::{OTHER, OTHER_PROCESS};
use crate::model::disk::{Disk, DiskShare, Latency, op_name};

/// One row per device, operation and process: those that asked for what completed.
pub(in crate::field) struct Owners;

/// What a device does for a process: in the span of rates, and over the window.
pub(in crate::field) struct DiskOwner<'a> {
    device: u32,
    operation: u32,
    /// `None` for what was given to the driver before anybody watched, or found no room.
    process: Option<ProcessKey>,
    disk: &'a Disk,
    usage: Cow<'a, DiskShare>,
    sum: Cow<'a, DiskShare>,
}

const OWNER_FIELDS: &[Field<Owners>] = &[
    field("disk_owner.device", "DEVICE", 10, 0, "Whole device, partitions included.", |row, _| {
        Value::Text(row.disk.name(row.device))
    }),
    field("disk_owner.op", "OP", 7, 0, "Operation.", |row, _| Value::Text(op_name(row.operation).into())),
    field(
        "process.pid",
        "PID",
        8,
        0,
        "Who asked for it; of pages that were written back, who made them dirty.",
        |row, _| row.process.map_or(Value::None, |process| Value::Id(process.pid.into())),
    ),
    field("process.comm", "NAME", 0, 0, "Its name.", |row, ctx| match row.process {
        None => Value::Text("(not known)".into()),
        Some(OTHER_PROCESS) => Value::Text(OTHER.into()),
        Some(process) => ctx.comm(process),
    }),
    field("disk_owner.ops_s", "OPS/s", 7, 0, "Requests completed per second.", |row, ctx| {
        row.timed(|_| ctx.per_second(row.usage.requests))
    }),
    field("disk_owner.bytes_s", "BYTES/s", 8, 0, "Bytes completed per second.", |row, ctx| {
        ctx.bytes_per_second(row.usage.bytes)
    }),
    field(
        "disk_owner.bytes_ratio",
        "OF ALL",
        7,
        0,
        "Share of the bytes of that operation of the device, over the window.",
        |row, _| Value::ratio(row.sum.bytes, row.disk.done(row.operation).map_or(0, |done| done.bytes)),
    ),
    field(
        "disk_owner.latency_mean_ns",
        "MEAN",
        8,
        0,
        "Queue plus device time per request, over the window.",
        |row, _| row.timed(|sum| mean(Latency { requests: sum.requests, total_ns: sum.request_ns() })),
    ),
    field("disk_owner.queue_ratio", "Q-SHARE", 8, 100, "Queue time as a share of both.", |row, _| {
        row.timed(|sum| Value::ratio(sum.queue_ns, sum.request_ns()))
    }),
    field("disk_owner.latency_p99_ns", "P99", 9, 80, "99th percentile of both.", |row, _| {
        row.timed(|sum| Value::quantile(&sum.latency, 0.99))
    }),
];

impl DiskOwner<'_> {
    fn timed(&self, value: impl FnOnce(&DiskShare) -> Value) -> Value {
        if self.process.is_some() { value(&self.sum) } else { Value::Unknown("nobody saw them start") }
    }
}

impl Grid for Owners {
    type Row<'a> = DiskOwner<'a>;

    const FIELDS: &'static [Field<Self>] = OWNER_FIELDS;

    const ROWS: &'static [Need] = &[REQUESTS, ISSUES, DIRTIERS];

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, DiskOwner<'a>)> {
        let mut rows = Vec::new();
        for (device, disk) in &ctx.model.disks {
            let mut put = |operation, process: Option<ProcessKey>, usage, sum| {
                let subject = Subject::DiskOwner(*device, operation, process.unwrap_or(UNOWNED));
                rows.push((subject, DiskOwner { device: *device, operation, process, disk, usage, sum }));
            };
            for ((operation, process), recent) in &disk.owners {
                if scope.process.is_none_or(|of| of == *process) {
                    put(*operation, Some(*process), Cow::Borrowed(ctx.of(recent)), Cow::Borrowed(&recent.sum));
                }
            }
            let unowned = (0..).zip(&disk.ops).filter(|_| scope.process.is_none());
            for (operation, _) in unowned {
                let bytes = disk.unowned_bytes(operation);
                if bytes > 0 {
                    let sum = DiskShare { bytes, ..DiskShare::default() };
                    put(operation, None, Cow::Owned(DiskShare::default()), Cow::Owned(sum));
                }
            }
        }
        heaviest_first(&mut rows, |row| row.sum.request_ns());
        rows
    }
}

/// Stands for nobody in a [`Subject`]: no process begins at that time.
const UNOWNED: ProcessKey = ProcessKey { pid: 0, start_ns: u64::MAX };
