//! Table of block devices and operations.

mod journal;
mod owner;
mod partition;
mod size;

use profiler_common::disk::ERRORS;

pub(super) use self::journal::Journals;
pub(super) use self::owner::Owners;
pub(super) use self::partition::Partitions;
pub(super) use self::size::Sizes;
use super::grid::{BIOS, Ctx, Field, Grid, ISSUES, Need, REQUESTS, REQUEUES, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::{DiskError, DiskStat, Hist};
use crate::model::disk::{Disk, DiskUse, Latency, op_name};

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
        BIOS,
        field(
            "disk.wait_mean_ns",
            "WAIT",
            7,
            130,
            "Before the queue: time per request that whoever asked was kept waiting for one, over the window. For a tag, or for a \
             limit of the device (writeback throttling, io.latency, io.cost).",
            |row, _| row.traced(waited),
        ),
    ),
    needs(
        BIOS,
        field("disk.wait_p99_ns", "WAIT99", 7, 150, "99th percentile of the same.", |row, _| {
            row.traced(|row| Value::quantile(&row.sum.wait, 0.99))
        }),
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
        REQUESTS,
        field(
            "disk.error",
            "LAST ERROR",
            28,
            160,
            "What the kernel made of the last request that failed, its first sector of 512 bytes, and how long ago that was.",
            |row, ctx| row.traced(|row| failed(row, ctx)),
        ),
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

/// Of requests of which somebody saw the beginning.
fn waited(row: &DiskOp<'_>) -> Value {
    mean(Latency { requests: row.sum.waits, total_ns: row.sum.wait_ns })
}

fn failed(row: &DiskOp<'_>, ctx: &Ctx<'_>) -> Value {
    let Some(DiskError { at, sector, errno }) = row.disk.error[row.operation as usize] else { return Value::None };
    let what = ERRORS.iter().find(|(known, _)| Some(*known) == errno).map_or("unknown", |(_, what)| what);
    Value::Text(format!("{what} error at sector {sector}, {} ago", Value::Nanos(ctx.model.time.until.since(at))))
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
