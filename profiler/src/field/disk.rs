//! Table of block devices and operations.

use profiler_common::disk::SIZES;

use super::grid::{Ctx, DIRTIERS, Field, Grid, ISSUES, Need, REQUESTS, REQUEUES, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::{DiskStat, Hist, ProcessKey};
use crate::model::bound::{OTHER, OTHER_PROCESS};
use crate::model::disk::{Disk, DiskUse, Latency, OwnerUse, op_name};

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
    /// Otherwise only [`Self::stat`] has its requests.
    traced: bool,
}

const NO_QUEUE: &str = "the device keeps no start times";
const UNTIMED: &str = "nobody has timed its requests";
const UNTRACED: &str = "only /proc/diskstats has its requests";

const FIELDS: &[Field<Disks>] = &[
    field("disk.name", "DEVICE", 0, 0, "Whole device, partitions included.", |row, _| {
        Value::Text(row.disk.name(row.device))
    }),
    field("disk.op", "OP", 7, 0, "Operation. Flushes and discards stand apart from writes.", |row, _| {
        Value::Text(op_name(row.operation).into())
    }),
    field("disk.ops_s", "OPS/s", 6, 0, "Requests completed per second.", |row, ctx| ctx.per_second(row.requests())),
    field("disk.bytes_s", "BYTES/s", 7, 0, "Bytes completed per second.", |row, ctx| ctx.bytes_per_second(row.bytes())),
    field("disk.size_bytes", "SIZE", 6, 80, "Bytes per request, on average.", |row, _| {
        average(row.bytes(), row.requests())
    }),
    needs(
        ISSUES,
        field(
            "disk.latency_mean_ns",
            "MEAN",
            7,
            100,
            "Queue plus device time per request, over the window. By /proc/diskstats for devices that only it knows, stacked \
         ones (dm, md); there each request counts in clock ticks of 1 to 10 ms.",
            |row, _| row.disk.latency(row.operation).map_or(Value::Unknown(UNTIMED), mean),
        ),
    ),
    needs(
        ISSUES,
        field(
            "disk.latency_p99_ns",
            "P99",
            7,
            140,
            "99th percentile of queue plus device time, over the window; percentiles of disks are within 1.6 %.",
            |row, _| row.traced(|row| queue(row.sum, &row.sum.latency, 0.99)),
        ),
    ),
    needs(
        ISSUES,
        field(
            "disk.queue_p50_ns",
            "QUEUE50",
            9,
            120,
            "Median queue time, request allocated to issued, over the window.",
            |row, _| row.traced(|row| queue(row.sum, &row.sum.queue, 0.5)),
        ),
    ),
    needs(
        ISSUES,
        field("disk.queue_p99_ns", "QUEUE99", 9, 0, "99th percentile of the queue time, over the window.", |row, _| {
            row.traced(|row| queue(row.sum, &row.sum.queue, 0.99))
        }),
    ),
    needs(
        ISSUES,
        field(
            "disk.service_p50_ns",
            "DEVICE50",
            9,
            120,
            "Median device time, issued to completed, over the window.",
            |row, _| row.traced(|row| Value::quantile(&row.sum.service, 0.5)),
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
            |row, _| row.traced(|row| Value::quantile(&row.sum.service, 0.99)),
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
            |row, _| row.traced(|row| Value::Count(row.in_flight)),
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
        REQUESTS,
        field("disk.errors", "ERRORS", 6, 90, "Requests that failed, over the window.", |row, _| {
            row.traced(|row| Value::Count(row.sum.errors))
        }),
    ),
    needs(
        ISSUES,
        field(
            "disk.sequential_ratio",
            "SEQ",
            6,
            130,
            "Share of requests that begin where one of the four before ended, over the window.",
            |row, _| row.traced(|row| Value::ratio(row.sum.sequential, row.sum.issued)),
        ),
    ),
    field(
        "disk.merged_ratio",
        "MERGED",
        7,
        150,
        "Share of what was asked for that was merged into a request for its neighbor, by /proc/diskstats.",
        |row, _| merged(row),
    ),
    needs(
        ISSUES,
        field(
            "disk.depth_mean",
            "DEPTH",
            6,
            130,
            "Requests of this operation that are on their way at once, on average: their time over all time.",
            |row, ctx| row.traced(|row| depth(row, ctx)),
        ),
    ),
    needs(
        ISSUES,
        field(
            "disk.fua_s",
            "FUA/s",
            6,
            150,
            "Writes per second that were not to be left in the device's cache.",
            |row, ctx| row.traced(|row| ctx.per_second(row.usage.fua)),
        ),
    ),
    needs(
        REQUEUES,
        field(
            "disk.requeues",
            "REQUEUED",
            8,
            150,
            "Requests that the driver gave back, to be issued again, over the window.",
            |row, _| row.traced(|row| Value::Count(row.sum.requeues)),
        ),
    ),
    needs(
        ISSUES,
        field(
            "disk.above_mean_ns",
            "ABOVE",
            7,
            120,
            "Time per request that a stacked device takes above those that it lies on: its mean less theirs, over the window.",
            |row, ctx| above(row, ctx),
        ),
    ),
    needs(
        ISSUES,
        field("disk.queue_ratio", "Q-SHARE", 7, 120, "Queue time as a share of queue plus device time.", |row, _| {
            row.traced(|row| Value::ratio(row.usage.queue_ns, row.usage.queue_ns + row.usage.device_ns))
        }),
    ),
    field(
        "disk.backing",
        "BACKING",
        16,
        120,
        "File behind a loop device, name of a mapped one, and the devices that it is stacked on.",
        |row, ctx| backing(row, ctx),
    ),
];

impl Grid for Disks {
    type Row<'a> = DiskOp<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[];

    fn rows<'a>(ctx: &Ctx<'a>, _scope: &Scope) -> Vec<(Subject, DiskOp<'a>)> {
        let window = ctx.model.window;
        let mut rows = Vec::new();
        for (device, disk) in &ctx.model.disks {
            let traced = disk.is_traced();
            for (operation, (recent, in_flight)) in (0..).zip(disk.ops.iter().zip(disk.in_flight)) {
                let told = !traced && at(&disk.stat.sum.requests, operation) > 0;
                if recent.sum.requests > 0 || in_flight > 0 || told {
                    let (stat, usage, sum) = (disk.stat.of(window), recent.of(window), &recent.sum);
                    let row = DiskOp { device: *device, operation, disk, stat, in_flight, usage, sum, traced };
                    rows.push((Subject::Disk(*device, operation), row));
                }
            }
        }
        heaviest_first(&mut rows, DiskOp::time_ns);
        rows
    }
}

/// In the span of rates.
impl DiskOp<'_> {
    fn requests(&self) -> u64 {
        if self.traced { self.usage.requests } else { at(&self.stat.requests, self.operation) }
    }

    fn bytes(&self) -> u64 {
        if self.traced { self.usage.bytes } else { at(&self.stat.bytes, self.operation) }
    }

    fn time_ns(&self) -> u64 {
        let told = || self.stat.request_ns.map_or(0, |times| at(&times, self.operation));
        if self.traced { self.usage.queue_ns + self.usage.device_ns } else { told() }
    }

    /// What only our programs know.
    fn traced(&self, value: impl FnOnce(&Self) -> Value) -> Value {
        if self.traced { value(self) } else { Value::Unknown(UNTRACED) }
    }
}

/// One row per device, operation and process: those that asked for what completed.
pub(super) struct Owners;

/// What a device does for a process: in the span of rates, and over the window.
pub(super) struct DiskOwner<'a> {
    device: u32,
    operation: u32,
    /// `None` for what was given to the driver before anybody watched, or found no room.
    process: Option<ProcessKey>,
    disk: &'a Disk,
    usage: OwnerUse,
    sum: OwnerUse,
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
    fn timed(&self, value: impl FnOnce(&OwnerUse) -> Value) -> Value {
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
                    put(*operation, Some(*process), ctx.of(recent).clone(), recent.sum.clone());
                }
            }
            let unowned = (0..).zip(&disk.ops).filter(|_| scope.process.is_none());
            for (operation, _) in unowned {
                let bytes = disk.unowned_bytes(operation);
                if bytes > 0 {
                    let sum = OwnerUse { bytes, ..OwnerUse::default() };
                    put(operation, None, OwnerUse::default(), sum);
                }
            }
        }
        heaviest_first(&mut rows, |row| row.sum.request_ns());
        rows
    }
}

/// Stands for nobody in a [`Subject`]: no process begins at that time.
const UNOWNED: ProcessKey = ProcessKey { pid: 0, start_ns: u64::MAX };

/// One row per device, operation and size of requests.
pub(super) struct Sizes;

/// Requests of one size over the window.
pub(super) struct DiskSize<'a> {
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

/// What `/proc/diskstats` says of an operation.
fn at(told: &[u64; 4], operation: u32) -> u64 {
    told.get(operation as usize).copied().unwrap_or(0)
}

fn mean(latency: Latency) -> Value {
    latency.mean_ns().map_or(Value::None, Value::Nanos)
}

fn above(row: &DiskOp<'_>, ctx: &Ctx<'_>) -> Value {
    if row.disk.below.is_empty() {
        return Value::None;
    }
    let above_ns = row.disk.above_ns(row.operation, &ctx.model.disks);
    above_ns.map_or(Value::Unknown("the times of the devices below are unknown"), Value::Nanos)
}

fn backing(row: &DiskOp<'_>, ctx: &Ctx<'_>) -> Value {
    let name = |device: &u32| ctx.model.disks.get(device).unwrap_or(&Disk::default()).name(*device);
    let names: Vec<_> = row.disk.below.iter().map(name).collect();
    let below = (!names.is_empty()).then(|| format!("on {}", names.join(", ")));
    let words: Vec<_> = row.disk.backing.iter().chain(&below).map(String::as_str).collect();
    if words.is_empty() { Value::None } else { Value::Text(words.join(" ")) }
}

fn merged(row: &DiskOp<'_>) -> Value {
    match row.disk.stat.sum.merges {
        Some(merges) if row.disk.stat_known => {
            let (joined, requests) = (at(&merges, row.operation), at(&row.disk.stat.sum.requests, row.operation));
            Value::ratio(joined, joined + requests)
        }
        _ => Value::Unknown("not in /proc/diskstats"),
    }
}

/// By Little's law.
fn depth(row: &DiskOp<'_>, ctx: &Ctx<'_>) -> Value {
    if ctx.span_ns == 0 { Value::None } else { Value::Average(row.time_ns() as f64 / ctx.span_ns as f64) }
}

pub(super) fn average(bytes: u64, count: u64) -> Value {
    bytes.checked_div(count).filter(|_| bytes > 0).map_or(Value::None, Value::Bytes)
}

/// Of times that hold the queue time.
fn queue(usage: &DiskUse, times: &Hist, quantile: f64) -> Value {
    if usage.requests > 0 && usage.queue_unknown >= usage.requests {
        return Value::Unknown(NO_QUEUE);
    }
    Value::quantile(times, quantile)
}

fn busy(row: &DiskOp<'_>, ctx: &Ctx<'_>) -> Value {
    if !row.disk.stat_known {
        return Value::Unknown("not in /proc/diskstats");
    }
    Disk::busy_ratio(row.stat, ctx.span_ns).map_or(Value::None, Value::Ratio)
}
