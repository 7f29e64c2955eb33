//! Table of waits: what each process is held up by, on which object, and who ends the wait.

use profiler_common::wait::{Class, NAMES, Wait};

use super::grid::{Ctx, Field, Grid, Need, SWITCHES, THREADS, WAKERS, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::ProcessKey;
use crate::model::wait::Object;

/// One row per process, kind of wait, and object.
pub(super) struct Waits;

/// Waits of one kind on one object, of all threads of a process.
pub(super) struct WaitRow {
    process: ProcessKey,
    code: u32,
    kind: Wait,
    object: Object,
    /// Its part of the exact time of its kind, by looks.
    ns: u64,
    wall_ns: u64,
}

impl WaitRow {
    /// Who ends most of these waits, and which share.
    fn waker(&self, ctx: &Ctx<'_>) -> Option<(ProcessKey, f64)> {
        ctx.model.processes.get(&self.process)?.looks.sum.waker(self.code)
    }
}

const FIELDS: &[Field<Waits>] = &[
    field("process.pid", "PID", 7, 0, "Process id.", |row, _| Value::Id(row.process.pid.into())),
    field("process.comm", "NAME", 15, 0, "Name of the process.", |row, ctx| ctx.comm(row.process)),
    field("wait.name", "WAITS FOR", 20, 0, "What holds its threads up.", |row, _| Value::Text(row.kind.label.into())),
    field(
        "wait.object",
        "ON",
        0,
        0,
        "The file, connection, futex or kernel lock that this is about, as far as it was seen: at the end of each interval in \
         the window it is looked which one each thread waits on.",
        |row, ctx| match &row.object {
            Object::Unknown => Value::Unknown("not seen, or it has no name"),
            Object::Named(name) => Value::Text(name.clone()),
            Object::Socket(cookie) => match ctx.model.sockets.get(cookie) {
                Some(socket) => Value::Text(format!("{} > {}", socket.row.local, socket.row.peer)),
                None => Value::Unknown("the connection is gone"),
            },
        },
    ),
    needs(
        SWITCHES,
        field(
            "wait.wall_ratio",
            "OF WALL",
            8,
            0,
            "Share of the wall time of all its threads. Exact for each kind of wait; between the objects of a kind, by looks.",
            |row, _| Value::ratio(row.ns, row.wall_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "wait.threads_ratio",
            "THREADS",
            8,
            60,
            "The same as a share of the time of one thread: 200 % are two threads in it all the time.",
            |row, ctx| ctx.share(row.ns),
        ),
    ),
    needs(
        WAKERS,
        field(
            "wait.waker",
            "WOKEN BY",
            24,
            80,
            "Who ends most waits of this kind. None if that is an interrupt, or could not have been who ran at that moment.",
            |row, ctx| row.waker(ctx).map_or(Value::None, |(waker, _)| Value::Text(ctx.model.label(waker))),
        ),
    ),
    needs(
        WAKERS,
        field(
            "wait.waker_ratio",
            "OF WAKES",
            8,
            100,
            "Its share of the waits of this kind that were seen to end: of each thread the last one of each interval.",
            |row, ctx| row.waker(ctx).map_or(Value::None, |(_, share)| Value::Ratio(share)),
        ),
    ),
];

impl Grid for Waits {
    type Row<'a> = WaitRow;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[THREADS, SWITCHES];

    fn rows(ctx: &Ctx<'_>, scope: &Scope) -> Vec<(Subject, WaitRow)> {
        let mut rows = Vec::new();
        for (process, of) in scope.processes(ctx.model) {
            let (usage, looks) = (ctx.of(&of.usage), &of.looks.sum);
            let held =
                (0u32..).zip(&NAMES).zip(usage.waits).filter(|((_, kind), ns)| kind.class == Class::Wait && *ns > 0);
            for ((code, kind), ns) in held {
                let all = looks.count(code);
                let mut row = |object: Object, looks: u64| {
                    let part = u128::from(ns) * u128::from(looks) / u128::from(all.max(1));
                    let ns = u64::try_from(part).unwrap_or(ns);
                    let subject = Subject::Wait(process, code, object.clone());
                    rows.push((subject, WaitRow { process, code, kind: *kind, object, ns, wall_ns: usage.wall_ns }));
                };
                if all == 0 {
                    row(Object::Unknown, 1);
                }
                looks.of(code).for_each(|(object, looks)| row(object.clone(), looks));
            }
        }
        heaviest_first(&mut rows, |row| row.ns);
        rows
    }
}
