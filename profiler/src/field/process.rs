//! Table of processes.

use profiler_common::syscall::class;

use super::file::{MISSED, hits, page_bytes};
use super::grid::{CALLS, Ctx, Field, Grid, Need, PAGES, SWITCHES, THREADS, field, heaviest_first, needs};
use super::{Scope, Subject, Value};
use crate::batch::ProcessKey;
use crate::model::process::Process;
use crate::model::syscall::CallUse;
use crate::model::task::Usage;

/// One row per process.
pub(super) struct Processes;

/// A process, with what several cells need.
pub(super) struct ProcessRow<'a> {
    key: ProcessKey,
    process: &'a Process,
    usage: &'a Usage,
    calls: u64,
    failed: u64,
    read_bytes: u64,
    written_bytes: u64,
    /// Time it got, wanted, or waited for the system to do something: the weight of the row.
    weight_ns: u64,
}

const FIELDS: &[Field<Processes>] = &[
    field("process.pid", "PID", 7, 0, "Process id.", |row, _| Value::Id(row.key.pid.into())),
    field(
        "process.comm",
        "NAME",
        0,
        0,
        "Name of the process, of its first thread as long as nothing else is known.",
        |row, ctx| ctx.comm(row.key),
    ),
    field("process.user", "USER", 8, 120, "User that it runs as.", |row, _| user(row.process)),
    needs(
        SWITCHES,
        field(
            "cpu.on_ratio",
            "CPU",
            6,
            0,
            "On-CPU time of all threads, switch-in to switch-out, as a share of one CPU: \
         above 100 % with several busy threads, as in top.",
            |row, ctx| ctx.share(row.usage.cpu_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "cpu.runq_wakeup_ratio",
            "RQ-WAKE",
            7,
            70,
            "Run-queue time of all threads after a wake-up, wake-up to switch-in, as a share of the time of one \
         thread: work was ready and no CPU ran it.",
            |row, ctx| ctx.share(row.usage.runq_wakeup_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "cpu.runq_preempted_ratio",
            "RQ-PREE",
            7,
            100,
            "Run-queue time of all threads after a preemption, switch-out to switch-in, as a share of the time of \
         one thread.",
            |row, ctx| ctx.share(row.usage.runq_preempted_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "cpu.blocked_ratio",
            "BLOCKED",
            7,
            60,
            "Blocked time of all threads, switch-out to wake-up, as a share of the time of one thread: idle \
         waits included.",
            |row, ctx| ctx.share(row.usage.blocked_ns),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "cpu.stolen_ratio",
            "STOLEN",
            6,
            130,
            "Time in which threads had a CPU and were not run, because of interrupts or the hypervisor, as a share of \
         the time of one thread.",
            |row, ctx| ctx.share(row.usage.stolen_ns()),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "cpu.unexplained_ratio",
            "UNEXPL",
            6,
            140,
            "Wall time of all threads that no state explains, as a share of the time of one thread.",
            |row, ctx| ctx.share(row.usage.unexplained_ns()),
        ),
    ),
    needs(
        SWITCHES,
        field("process.threads", "THR", 5, 90, "Threads: alive, or ended and still in the window.", |row, _| {
            Value::Count(row.process.threads.len() as u64)
        }),
    ),
    needs(
        CALLS,
        field(
            "process.top_wait",
            "TOP WAIT",
            14,
            80,
            "System call in which most of the blocked time passed, idle waits included.",
            |row, ctx| top_wait(row, ctx),
        ),
    ),
    needs(
        CALLS,
        field("syscall.calls_s", "CALLS/s", 7, 100, "System calls that returned per second.", |row, ctx| {
            ctx.per_second(row.calls)
        }),
    ),
    needs(
        CALLS,
        field(
            "syscall.errors_s",
            "ERR/s",
            6,
            130,
            "System calls that failed per second, tries again included.",
            |row, ctx| ctx.per_second(row.failed),
        ),
    ),
    needs(
        CALLS,
        field(
            "file.read_bytes_s",
            "READ/s",
            7,
            60,
            "Bytes per second that reading calls returned, from files of all kinds.",
            |row, ctx| ctx.bytes_per_second(row.read_bytes),
        ),
    ),
    needs(
        CALLS,
        field(
            "file.written_bytes_s",
            "WRITE/s",
            7,
            60,
            "Bytes per second that writing calls took, to files of all kinds.",
            |row, ctx| ctx.bytes_per_second(row.written_bytes),
        ),
    ),
    needs(
        PAGES,
        field(
            "file.missed_bytes_s",
            "MISS/s",
            7,
            110,
            "Bytes per second of files that it missed in the page cache and fetched, those ahead of its reads \
             included.",
            |row, ctx| page_bytes(row.usage, MISSED, ctx),
        ),
    ),
    needs(
        CALLS,
        field(
            "file.hit_ratio",
            "HIT",
            6,
            110,
            "Share of the bytes that calls read through the page cache of files that they found there.",
            |row, ctx| hits(row.process, ctx),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "process.storage_read_bytes_s",
            "STO-RD/s",
            8,
            110,
            "Bytes per second fetched from storage for it: page-cache misses, readahead and direct reads.",
            |row, ctx| storage(row.usage, row.usage.storage_read_bytes, ctx),
        ),
    ),
    needs(
        SWITCHES,
        field(
            "process.storage_write_bytes_s",
            "STO-WR/s",
            8,
            110,
            "Bytes per second that it made dirty or wrote directly; they reach storage later.",
            |row, ctx| storage(row.usage, row.usage.storage_write_bytes, ctx),
        ),
    ),
    needs(
        SWITCHES,
        field("file.majflt_s", "MAJFLT/s", 8, 150, "Page faults with I/O per second.", |row, ctx| {
            ctx.per_second(row.usage.major_faults)
        }),
    ),
    needs(
        SWITCHES,
        field("cpu.switches_invol_s", "INVOL/s", 7, 150, "Involuntary context switches per second.", |row, ctx| {
            ctx.per_second(row.usage.switches_involuntary)
        }),
    ),
];

impl Grid for Processes {
    type Row<'a> = ProcessRow<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[THREADS, SWITCHES];

    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, ProcessRow<'a>)> {
        let mut rows: Vec<_> =
            scope.processes(ctx.model).map(|(key, process)| (Subject::Process(key), row(ctx, key, process))).collect();
        heaviest_first(&mut rows, |row| row.weight_ns);
        rows
    }
}

/// Walks the calls once for all cells that need them.
fn row<'a>(ctx: &Ctx<'a>, key: ProcessKey, process: &'a Process) -> ProcessRow<'a> {
    let model = ctx.model;
    let usage = process.usage.of(model.window);
    let busy_ns = process.busy_blocked_ns(&model.calls, model.window);
    let weight_ns = usage.cpu_ns + usage.runq_ns() + busy_ns;
    let mut row = ProcessRow { key, process, usage, calls: 0, failed: 0, read_bytes: 0, written_bytes: 0, weight_ns };
    for (key, call) in &process.calls {
        let call: &CallUse = call.of(model.window);
        row.calls += call.count;
        row.failed += call.failed();
        match model.calls.class(*key) {
            class::READ => row.read_bytes += call.bytes,
            class::WRITE => row.written_bytes += call.bytes,
            _ => {}
        }
    }
    row
}

fn user(process: &Process) -> Value {
    match &process.fact {
        Some(fact) => Value::Text(fact.user.clone().unwrap_or_else(|| fact.uid.to_string())),
        None => Value::Unknown(crate::model::process::UNNAMED),
    }
}

fn top_wait(row: &ProcessRow<'_>, ctx: &Ctx<'_>) -> Value {
    let wait = row.process.top_wait(&ctx.model.calls, ctx.model.window);
    wait.map_or(Value::None, |name| Value::Text(name.into_owned()))
}

/// Storage bytes, which some kernels do not count.
fn storage(usage: &Usage, bytes: Option<u64>, ctx: &Ctx<'_>) -> Value {
    match bytes {
        Some(bytes) => ctx.bytes_per_second(bytes),
        None if usage.wall_ns == 0 => Value::None,
        None => Value::Unknown("this kernel does not count it (CONFIG_TASK_IO_ACCOUNTING)"),
    }
}
