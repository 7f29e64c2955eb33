//! Table of what processes do to kinds of files.

use profiler_common::file::{PAGE_BYTES, kind, page};

use super::disk::average;
use super::grid::{
    CALLS, Ctx, DROPS, Field, Grid, LATENCIES, Need, OPERATIONS, PAGES, SWITCHES, field, heaviest_first, needs,
};
use super::syscall::sampled;
use super::{Scope, Subject, Value};
use crate::batch::ProcessKey;
use crate::model::file::{FileUse, cached_reads, files, kind_name};
use crate::model::process::Process;
use crate::model::task::Usage;
use crate::model::time::Recent;

/// One row per process and kind of file.
pub(super) struct Files;

/// What a process did to a kind of file.
pub(super) struct FileRow<'a> {
    process: ProcessKey,
    of: &'a Process,
    kind: u32,
    usage: Recent<FileUse>,
}

const FIELDS: &[Field<Files>] = &[
    field("process.pid", "PID", 7, 0, "Process id.", |row, _| Value::Id(row.process.pid.into())),
    field("process.comm", "NAME", 0, 0, "Name of the process.", |row, ctx| ctx.comm(row.process)),
    field(
        "file.kind",
        "KIND",
        12,
        0,
        "What is behind the descriptor: file, file opened for direct I/O, file in memory (tmpfs, /proc), directory, block device, character device, \
         pipe, socket, event fd.",
        |row, _| Value::Text(kind_name(row.kind).into()),
    ),
    field(
        "file.reads_s",
        "READS/s",
        7,
        70,
        "Reading calls that returned per second, and operations that ended.",
        |row, ctx| ctx.per_second(ctx.of(&row.usage).reads),
    ),
    field("file.read_bytes_s", "READ B/s", 8, 0, "Bytes read per second.", |row, ctx| {
        ctx.bytes_per_second(ctx.of(&row.usage).read_bytes)
    }),
    field("file.read_size_bytes", "RD SIZE", 7, 120, "Bytes per reading call, on average.", |row, ctx| {
        read_size(row, ctx)
    }),
    needs(
        CALLS,
        field(
            "file.hit_ratio",
            "HIT",
            6,
            130,
            "Share of the bytes that calls read through the page cache that they found there.",
            |row, ctx| if row.kind == kind::REGULAR { hits(row.of, ctx) } else { Value::None },
        ),
    ),
    needs(
        PAGES,
        field(
            "file.missed_bytes_s",
            "MISS B/s",
            8,
            130,
            "Bytes per second that were missed in the page cache and fetched, those ahead of reads included. Of block \
             devices, with metadata of file systems.",
            |row, ctx| moved(row, MISSED, &[page::DEVICE], ctx),
        ),
    ),
    needs(
        PAGES,
        field(
            "file.faulted_bytes_s",
            "FLT B/s",
            8,
            140,
            "Part of the missed bytes that page faults of user space on mapped files fetched.",
            |row, ctx| moved(row, &[page::FAULT], &[], ctx),
        ),
    ),
    field("file.writes_s", "WRITES/s", 8, 70, "The same that write.", |row, ctx| {
        ctx.per_second(ctx.of(&row.usage).writes)
    }),
    field("file.written_bytes_s", "WRIT B/s", 8, 0, "Bytes written per second.", |row, ctx| {
        ctx.bytes_per_second(ctx.of(&row.usage).written_bytes)
    }),
    field(
        "file.syncs_s",
        "SYNCS/s",
        7,
        60,
        "Calls per second that make data durable: fsync, fdatasync, sync_file_range, syncfs.",
        |row, ctx| ctx.per_second(ctx.of(&row.usage).syncs),
    ),
    needs(
        PAGES,
        field(
            "file.made_bytes_s",
            "MADE B/s",
            8,
            150,
            "Bytes per second of pages that came into the page cache because it wrote them, not by a read.",
            |row, ctx| moved(row, &[page::WRITTEN], &[], ctx),
        ),
    ),
    needs(
        DROPS,
        field(
            "file.dropped_bytes_s",
            "DROP B/s",
            8,
            150,
            "Bytes per second that it took out of the page cache: it needed memory, cut or deleted a file, or said that \
             it does not need it.",
            |row, ctx| moved(row, &[page::DROPPED], &[page::DEVICE_DROPPED], ctx),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "file.sync_blocked_p50_ns",
            "SYNC50",
            9,
            110,
            "Median blocked time of a sync that blocked, over the window. Exact counts in powers of two.",
            |row, _| Value::quantile(&row.usage.sum.sync_blocked, 0.5),
        ),
    ),
    needs(
        SWITCHES,
        field("file.sync_blocked_p99_ns", "SYNC99", 9, 80, "99th percentile of the same.", |row, _| {
            Value::quantile(&row.usage.sum.sync_blocked, 0.99)
        }),
    ),
    needs(
        LATENCIES,
        field(
            "file.read_p99_ns",
            "READ99",
            9,
            100,
            "99th percentile of the latency of reading calls, entry to return, over the window. Of a \
             sample of all calls.",
            |row, _| sampled(&row.usage.sum.read_latency, row.usage.sum.reads, 0.99),
        ),
    ),
    needs(
        LATENCIES,
        field("file.write_p99_ns", "WRITE99", 9, 100, "The same of writing calls.", |row, _| {
            sampled(&row.usage.sum.write_latency, row.usage.sum.writes, 0.99)
        }),
    ),
    needs(
        SWITCHES,
        field(
            "file.read_blocked_ratio",
            "RD BLK",
            6,
            90,
            "Blocked time in reading calls as a share of the time of one thread.",
            |row, ctx| ctx.share(ctx.of(&row.usage).read_blocked_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "file.write_blocked_ratio",
            "WR BLK",
            6,
            90,
            "Blocked time in writing calls as a share of the time of one thread.",
            |row, ctx| ctx.share(ctx.of(&row.usage).write_blocked_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "file.sync_blocked_ratio",
            "SYNC BLK",
            8,
            90,
            "Blocked time in syncs as a share of the time of one thread.",
            |row, ctx| ctx.share(ctx.of(&row.usage).sync_blocked_ns),
        ),
    ),
];

impl Grid for Files {
    type Row<'a> = FileRow<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[CALLS, OPERATIONS];

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, FileRow<'a>)> {
        let mut rows = Vec::new();
        for (process, of) in scope.processes(ctx.model) {
            for (kind, usage) in files(of, &ctx.model.calls) {
                rows.push((Subject::File(process, kind), FileRow { process, of, kind, usage }));
            }
        }
        heaviest_first(&mut rows, |row| weight_ns(row, ctx));
        rows
    }
}

/// Blocked time that is no waiting for a peer, and bytes at 1 ns each (a copy runs at about 1 GB/s and more).
fn weight_ns(row: &FileRow<'_>, ctx: &Ctx<'_>) -> u64 {
    let usage = ctx.of(&row.usage);
    let storage = matches!(row.kind, kind::REGULAR | kind::DIRECT | kind::MEMORY | kind::DIRECTORY | kind::BLOCK);
    let read_ns = if storage { usage.read_blocked_ns } else { 0 };
    read_ns + usage.write_blocked_ns + usage.sync_blocked_ns + usage.read_bytes + usage.written_bytes
}

fn read_size(row: &FileRow<'_>, ctx: &Ctx<'_>) -> Value {
    let usage = ctx.of(&row.usage);
    average(usage.read_bytes, usage.reads)
}

/// Ways in which pages of files are fetched.
pub(super) const MISSED: &[usize] = &[page::READ, page::FAULT, page::OTHER];

/// Bytes of pages that came or went in some ways, of files and of block devices: nothing else is in the page cache.
fn moved(row: &FileRow<'_>, of_file: &[usize], of_device: &[usize], ctx: &Ctx<'_>) -> Value {
    let usage = ctx.of(&row.of.usage);
    match (row.kind, of_device) {
        (kind::REGULAR, _) => page_bytes(usage, of_file, ctx),
        (kind::BLOCK, [_, ..]) => page_bytes(usage, of_device, ctx),
        _ => Value::None,
    }
}

/// Bytes of pages that came or went in some ways.
pub(super) fn page_bytes(usage: &Usage, ways: &[usize], ctx: &Ctx<'_>) -> Value {
    match usage.pages {
        Some(pages) => ctx.bytes_per_second(ways.iter().map(|way| pages[*way] * PAGE_BYTES).sum()),
        None if usage.wall_ns == 0 => Value::None,
        None => UNRECORDED,
    }
}

pub(super) const UNRECORDED: Value = Value::Unknown("the capture is from before it was recorded");

/// Share of what was read through the page cache of files that was there. What nobody knows the kind of does not matter as
/// long as it is little.
pub(super) fn hits(process: &Process, ctx: &Ctx<'_>) -> Value {
    const LITTLE: u64 = 200;
    let (model, usage) = (ctx.model, ctx.of(&process.usage));
    let (read, unknown) = cached_reads(process, &model.calls, model.window);
    if model.quality.is_missing(PAGES.probe) {
        return Value::Unknown(PAGES.why);
    }
    match usage.pages {
        None if read == 0 => Value::None,
        None => UNRECORDED,
        Some(_) if unknown * LITTLE > read => Value::Unknown("the kind of what it read is not known"),
        Some(pages) => hit_ratio(read, pages[page::READ]),
    }
}

/// Of bytes that were read, the share of which no page had to be fetched.
pub(super) fn hit_ratio(read_bytes: u64, missed_pages: u64) -> Value {
    match read_bytes.checked_sub(missed_pages * PAGE_BYTES) {
        _ if read_bytes == 0 => Value::None,
        Some(found) => Value::ratio(found, read_bytes),
        None => Value::Unknown("more was fetched than was read, ahead of reads that did not come"),
    }
}
