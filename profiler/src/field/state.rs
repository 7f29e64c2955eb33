//! Tables of states: where the wall time of each process, each control group and the host went.

use std::collections::BTreeMap;

use super::grid::{Ctx, Field, Grid, Need, SWITCHES, THREADS, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::ProcessKey;
use crate::model::state::{Class, State, spent};
use crate::model::task::Usage;
use crate::model::time::Tally as _;

/// One row per process and state.
pub(super) struct States;

/// A state of all threads of a process.
pub(super) struct StateRow {
    process: ProcessKey,
    state: State,
    ns: u64,
    wall_ns: u64,
}

const FIELDS: &[Field<States>] = &[
    field("process.pid", "PID", 7, 0, "Process id.", |row, _| Value::Id(row.process.pid.into())),
    field("process.comm", "NAME", 0, 0, "Name of the process.", |row, ctx| ctx.comm(row.process)),
    field(
        "state.name",
        "STATE",
        26,
        0,
        "What its threads were doing or waiting for. Each is in exactly one state at any instant.",
        |row, _| Value::Text(row.state.label.into()),
    ),
    field(
        "state.class",
        "CLASS",
        6,
        60,
        "cpu, queue (wants a CPU), wait (held up by something), or idle: waits for work to come or time to pass, as it has \
         asked for.",
        |row, _| Value::Text(row.state.class.name().into()),
    ),
    needs(
        SWITCHES,
        field(
            "state.wall_ratio",
            "OF WALL",
            8,
            0,
            "Share of the wall time of all its threads. All states together are 100 %.",
            |row, _| Value::ratio(row.ns, row.wall_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "state.threads_ratio",
            "THREADS",
            8,
            60,
            "The same as a share of the time of one thread: 200 % are two threads in it all the time.",
            |row, ctx| ctx.share(row.ns),
        ),
    ),
];

/// One row per control group and state; the host as a whole stands first.
pub(super) struct Groups;

/// A state of all threads of a control group.
pub(super) struct GroupRow {
    group: String,
    state: State,
    ns: u64,
    wall_ns: u64,
}

/// The group that has all.
const HOST: &str = "(host)";

const GROUP_FIELDS: &[Field<Groups>] = &[
    field(
        "group.path",
        "CONTROL GROUP",
        0,
        0,
        "Path of the control group, without those below it; `(host)` are all threads, `?` those that ended before it was \
         looked up.",
        |row, _| Value::Text(row.group.clone()),
    ),
    field("state.name", "STATE", 26, 0, "What the threads in it were doing or waiting for.", |row, _| {
        Value::Text(row.state.label.into())
    }),
    field("state.class", "CLASS", 6, 60, "cpu, queue, wait (held up by something), or idle.", |row, _| {
        Value::Text(row.state.class.name().into())
    }),
    needs(
        SWITCHES,
        field("state.wall_ratio", "OF WALL", 8, 0, "Share of the wall time of all its threads.", |row, _| {
            Value::ratio(row.ns, row.wall_ns)
        }),
    ),
    needs(
        SWITCHES,
        field(
            "state.threads_ratio",
            "THREADS",
            8,
            60,
            "The same as a share of the time of one thread: 200 % are two threads in it all the time.",
            |row, ctx| ctx.share(row.ns),
        ),
    ),
];

impl Grid for Groups {
    type Row<'a> = GroupRow;

    const FIELDS: &'static [Field<Self>] = GROUP_FIELDS;

    const ROWS: &'static [Need] = &[THREADS, SWITCHES];

    fn rows(ctx: &Ctx<'_>, scope: &Scope) -> Vec<(Subject, GroupRow)> {
        let mut groups: BTreeMap<&str, Usage> = BTreeMap::new();
        for (_, of) in scope.processes(ctx.model) {
            let known = of.fact.as_ref().and_then(|fact| fact.cgroup.as_deref());
            for group in [HOST, known.unwrap_or("?")] {
                groups.entry(group).or_default().absorb(ctx.of(&of.usage));
            }
        }
        let mut rows = Vec::new();
        for (group, usage) in &groups {
            for (number, state, ns) in spent(usage) {
                let row = GroupRow { group: (*group).to_owned(), state, ns, wall_ns: usage.wall_ns };
                rows.push((Subject::Group((*group).to_owned(), number), row));
            }
        }
        let weight = |row: &GroupRow| if row.state.class == Class::Idle { 0 } else { row.ns };
        rows.sort_by_cached_key(|(subject, row)| (row.group != HOST, std::cmp::Reverse(weight(row)), subject.clone()));
        rows
    }
}

impl Grid for States {
    type Row<'a> = StateRow;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[THREADS, SWITCHES];

    fn rows(ctx: &Ctx<'_>, scope: &Scope) -> Vec<(Subject, StateRow)> {
        let mut rows = Vec::new();
        for (process, of) in scope.processes(ctx.model) {
            let usage = of.usage.of(ctx.model.window);
            for (number, state, ns) in spent(usage) {
                rows.push((Subject::State(process, number), StateRow { process, state, ns, wall_ns: usage.wall_ns }));
            }
        }
        heaviest_first(&mut rows, |row| if row.state.class == Class::Idle { 0 } else { row.ns });
        rows
    }
}
