//! Table of threads.

use profiler_common::task::state;
use profiler_common::wait::NAMES;

use super::grid::{Ctx, Field, Grid, Need, SWITCHES, THREADS, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::ProcessKey;
use crate::model::task::{Thread, Usage};

/// One row per thread.
pub(super) struct Threads;

/// A thread of a process.
pub(super) struct ThreadRow<'a> {
    process: ProcessKey,
    tid: u32,
    thread: &'a Thread,
    usage: &'a Usage,
}

const FIELDS: &[Field<Threads>] = &[
    field("thread.tid", "TID", 7, 0, "Thread id.", |row, _| Value::Id(row.tid.into())),
    field("thread.comm", "NAME", 0, 0, "Name of the thread.", |row, _| Value::Text(row.thread.comm.clone())),
    field("process.comm", "PROCESS", 16, 80, "Name of its process.", |row, ctx| ctx.comm(row.process)),
    field(
        "thread.state",
        "STATE",
        8,
        0,
        "At the end of the interval: running, queued (wants a CPU), sleeping, unint. (uninterruptible: \
         usually block I/O or a kernel lock), stopped, ended.",
        |row, _| Value::Text(state_name(row.thread.state).into()),
    ),
    needs(
        SWITCHES,
        field(
            "thread.wait_call",
            "WAITS IN",
            14,
            60,
            "System call in which it waits at the end of the interval.",
            |row, ctx| wait_call(row.thread, ctx),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "thread.wait",
            "WAITS FOR",
            20,
            110,
            "What it waits for at the end of the interval: one of the states of its process.",
            |row, _| row.thread.wait.map_or(Value::None, |wait| Value::Text(wait_label(wait).into())),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "thread.waiting_ns",
            "SINCE",
            8,
            60,
            "How long that wait has lasted, from before the interval if it began there.",
            |row, _| waiting(row.thread),
        ),
    ),
    field("cpu.on_ratio", "CPU", 6, 0, "On-CPU time, switch-in to switch-out, as a share of wall time.", |row, ctx| {
        ctx.share(row.usage.cpu_ns)
    }),
    field(
        "cpu.runq_ratio",
        "RUNQ",
        6,
        0,
        "Run-queue time, wake-up or preemption to switch-in, as a share of wall time.",
        |row, ctx| ctx.share(row.usage.runq_ns()),
    ),
    needs(
        SWITCHES,
        field(
            "cpu.blocked_ratio",
            "BLOCKED",
            7,
            0,
            "Blocked time, switch-out to wake-up, as a share of wall time.",
            |row, ctx| ctx.share(row.usage.blocked_ns),
        ),
    ),
];

impl Grid for Threads {
    type Row<'a> = ThreadRow<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[THREADS, SWITCHES];

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, ThreadRow<'a>)> {
        let window = ctx.model.window;
        let mut rows: Vec<_> = scope
            .processes(ctx.model)
            .flat_map(|(process, of)| of.threads.iter().map(move |(tid, thread)| (process, *tid, thread)))
            .map(|(process, tid, thread)| {
                let row = ThreadRow { process, tid, thread, usage: thread.usage.of(window) };
                (Subject::Thread(process, tid), row)
            })
            .collect();
        heaviest_first(&mut rows, weight_ns);
        rows
    }
}

/// Time that it got or wanted, and blocked time if that is how the kernel marks waiting for I/O.
fn weight_ns(row: &ThreadRow<'_>) -> u64 {
    let stuck = row.thread.state == state::UNINTERRUPTIBLE;
    row.usage.cpu_ns + row.usage.runq_ns() + if stuck { row.usage.blocked_ns } else { 0 }
}

fn wait_call(thread: &Thread, ctx: &Ctx<'_>) -> Value {
    thread.wait_call.map_or(Value::None, |number| Value::Text(ctx.model.calls.name(number).into_owned()))
}

fn wait_label(wait: u32) -> &'static str {
    NAMES.get(wait as usize).map_or("?", |wait| wait.label)
}

fn waiting(thread: &Thread) -> Value {
    let waits = matches!(thread.state, state::SLEEPING | state::UNINTERRUPTIBLE | state::STOPPED);
    if waits && thread.waiting_ns > 0 { Value::Nanos(thread.waiting_ns) } else { Value::None }
}

fn state_name(state: u32) -> &'static str {
    match state {
        state::RUNNING => "running",
        state::QUEUED => "queued",
        state::SLEEPING => "sleeping",
        state::UNINTERRUPTIBLE => "unint.",
        state::STOPPED => "stopped",
        state::ENDED => "ended",
        _ => "?",
    }
}
