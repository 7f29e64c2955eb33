//! Table of files, one by one.

use std::borrow::Cow;

use profiler_common::file::{PAGE_BYTES, kind};

use super::disk::average;
use super::file::{UNRECORDED, hit_ratio};
use super::grid::{CALLS, Ctx, Field, Grid, Need, OPERATIONS, PAGES, SWITCHES, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::{FileKey, ProcessKey};
use crate::model::bound::OTHER;
use crate::model::file::kind_name;
use crate::model::path::PathUse;
use crate::model::time::Recent;

/// One row per file and process that uses it, and one for all that are not told one by one.
pub(super) struct Paths;

/// What a process does to a file; the file and the process are missing in the last row.
pub(super) struct PathRow<'a> {
    of: Option<(FileKey, ProcessKey)>,
    kind: u32,
    usage: Cow<'a, Recent<PathUse>>,
}

const FIELDS: &[Field<Paths>] = &[
    field("process.pid", "PID", 7, 0, "Process id.", |row, _| {
        row.of.map_or(Value::None, |(_, process)| Value::Id(process.pid.into()))
    }),
    field("process.comm", "NAME", 15, 0, "Name of the process.", |row, ctx| {
        row.of.map_or(Value::None, |(_, process)| ctx.comm(process))
    }),
    field(
        "path.name",
        "FILE",
        0,
        0,
        "Where the file is, as its user sees it; with an ellipsis, its last two names. (other): files that are not told one by \
         one, because they are many; their number of calls is exact.",
        |row, ctx| Value::Text(row.of.map_or_else(|| OTHER.into(), |(file, _)| ctx.model.paths.name(file))),
    ),
    field("path.kind", "KIND", 12, 130, "How it is open: as a file, for direct I/O, as a block device.", |row, _| {
        if row.of.is_some() { Value::Text(kind_name(row.kind).into()) } else { Value::None }
    }),
    field("path.reads_s", "READS/s", 7, 130, "Reads per second, calls and operations.", |row, ctx| {
        ctx.per_second(ctx.of(&row.usage).reads)
    }),
    field("path.read_bytes_s", "READ B/s", 8, 0, "Bytes read per second.", |row, ctx| {
        ctx.bytes_per_second(ctx.of(&row.usage).read_bytes)
    }),
    needs(
        PAGES,
        field(
            "path.missed_bytes_s",
            "MISS B/s",
            8,
            120,
            "Bytes per second that were not in the page cache and were fetched for it, those ahead of reads included.",
            |row, ctx| match row.of {
                Some(_) => ctx.bytes_per_second(ctx.of(&row.usage).missed_pages * PAGE_BYTES),
                None => Value::Unknown("pages are not counted of files that are not told one by one"),
            },
        ),
    ),
    needs(
        PAGES,
        field(
            "path.hit_ratio",
            "HIT",
            6,
            110,
            "Share of the bytes that calls read of it through the page cache that they found there.",
            |row, ctx| match row.kind {
                kind::REGULAR => row.recorded(ctx, |usage| hit_ratio(usage.read_bytes, usage.read_missed_pages)),
                _ => Value::None,
            },
        ),
    ),
    field("path.writes_s", "WRITES/s", 8, 130, "Writes per second, calls and operations.", |row, ctx| {
        ctx.per_second(ctx.of(&row.usage).writes)
    }),
    field("path.written_bytes_s", "WRIT B/s", 8, 0, "Bytes written per second.", |row, ctx| {
        ctx.bytes_per_second(ctx.of(&row.usage).written_bytes)
    }),
    field("path.syncs_s", "SYNCS/s", 7, 70, "fsync, fdatasync and their kin per second.", |row, ctx| {
        ctx.per_second(ctx.of(&row.usage).syncs)
    }),
    field("path.sync_bytes", "B/SYNC", 7, 120, "Bytes written between two syncs, over the window.", |row, _| {
        average(row.usage.sum.written_bytes, row.usage.sum.syncs)
    }),
    field(
        "path.misaligned",
        "MISALIGN",
        8,
        150,
        "Calls with O_DIRECT that begin or end inside a block of the file system, or were refused (EINVAL), over the window. \
         Not looked at: operations of io_uring and libaio, and where calls with several buffers end.",
        |row, ctx| match row.kind {
            kind::DIRECT => row.recorded(ctx, |_| Value::Count(row.usage.sum.misaligned)),
            _ => Value::None,
        },
    ),
    needs(
        SWITCHES,
        field(
            "path.sync_blocked_p99_ns",
            "SYNC99",
            9,
            120,
            "99th percentile of the blocked time of a sync that blocked, over the window. Exact counts in powers of two.",
            |row, _| Value::quantile(&row.usage.sum.sync_blocked, 0.99),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "path.blocked_ratio",
            "BLOCKED",
            7,
            80,
            "Blocked time in reads, writes and syncs that have returned as a share of the time of one thread.",
            |row, ctx| ctx.share(ctx.of(&row.usage).blocked_ns),
        ),
    ),
];

impl PathRow<'_> {
    /// What captures from before do not have.
    fn recorded(&self, ctx: &Ctx<'_>, value: impl FnOnce(&PathUse) -> Value) -> Value {
        if self.usage.sum.unrecorded > 0 { UNRECORDED } else { value(ctx.of(&self.usage)) }
    }
}

impl Grid for Paths {
    type Row<'a> = PathRow<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[CALLS, OPERATIONS];

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, PathRow<'a>)> {
        let model = ctx.model;
        let told = model.paths.uses.iter().filter(|((_, process, _), _)| scope.process.is_none_or(|of| of == *process));
        let mut rows: Vec<_> = told
            .map(|((file, process, kind), usage)| {
                let row = PathRow { of: Some((*file, *process)), kind: *kind, usage: Cow::Borrowed(usage) };
                (Subject::Path(*file, *process, *kind), row)
            })
            .collect();
        let rest = model.paths.rest(scope.processes(model), &model.calls, scope.process);
        if rest.sum.calls() > 0 {
            let nobody = Subject::Path(FileKey::default(), ProcessKey::default(), 0);
            rows.push((nobody, PathRow { of: None, kind: 0, usage: Cow::Owned(rest) }));
        }
        heaviest_first(&mut rows, |row| weight_ns(ctx.of(&row.usage)));
        rows
    }
}

/// Blocked time, bytes at 1 ns each, and calls at 1 µs.
const fn weight_ns(usage: &PathUse) -> u64 {
    let fetched = usage.missed_pages * PAGE_BYTES;
    usage.blocked_ns + usage.read_bytes + usage.written_bytes + fetched + usage.calls() * 1_000
}
