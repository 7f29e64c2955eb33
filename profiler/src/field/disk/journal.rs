//! Table of the journals of file systems.

use crate::field::grid::{Ctx, Field, Grid, JOURNALS, Need, field, heaviest_first};
use crate::field::{Scope, Subject, Value};
use crate::model::disk::Disk;
use crate::model::journal::{Journal, JournalUse};

/// One row per journal with a commit in the window.
pub(in crate::field) struct Journals;

/// A journal: in the span of rates, and over the window.
pub(in crate::field) struct OneJournal<'a> {
    device: u32,
    journal: &'a Journal,
    usage: &'a JournalUse,
    sum: &'a JournalUse,
}

const FIELDS: &[Field<Journals>] = &[
    field("journal.device", "DEVICE", 0, 0, "Device of the file system, a partition if it is on one.", |row, ctx| {
        Value::Text(ctx.model.disks.get(&row.device).unwrap_or(&Disk::default()).name(row.device))
    }),
    field("journal.commits_s", "COMMITS/s", 9, 0, "Commits that ended per second.", |row, ctx| {
        ctx.per_second(row.usage.commits)
    }),
    field("journal.busy_ratio", "BUSY", 6, 0, "Share of time with a commit under way.", |row, ctx| {
        ctx.share(row.usage.busy_ns)
    }),
    field(
        "journal.commit_mean_ns",
        "MEAN",
        8,
        0,
        "Time per commit, from its beginning to its end: the four phases together. Over the window, as all that follows.",
        |row, _| row.mean(row.sum.commit_ns()),
    ),
    field("journal.commit_p99_ns", "P99", 8, 80, "99th percentile of the same, within 1.6 %.", |row, _| {
        Value::quantile(&row.sum.commit, 0.99)
    }),
    field(
        "journal.request_mean_ns",
        "REQUEST",
        8,
        90,
        "Time between the first request for a commit and its beginning, per commit that was asked for: another one was \
         under way. In clock ticks of 1 to 10 ms, so that only the mean of many means something.",
        |row, _| requests(row.sum),
    ),
    field(
        "journal.starting_mean_ns",
        "STARTING",
        8,
        130,
        "First phase, per commit: waits for a fast commit to end.",
        |row, _| row.mean(row.sum.starting_ns),
    ),
    field(
        "journal.locked_mean_ns",
        "LOCKED",
        8,
        70,
        "Second phase, per commit: takes no new changes and waits for those under way.",
        |row, _| row.mean(row.sum.locked_ns),
    ),
    field(
        "journal.flushing_mean_ns",
        "FLUSHING",
        8,
        70,
        "Third phase, per commit: hands over data of files that must not come later than the transaction.",
        |row, _| row.mean(row.sum.flushing_ns),
    ),
    field(
        "journal.logging_mean_ns",
        "LOGGING",
        8,
        60,
        "Last phase, per commit: waits for that data, writes the transaction, flushes the device.",
        |row, _| row.mean(row.sum.logging_ns),
    ),
    field(
        "journal.under_way_ns",
        "UNDER WAY",
        9,
        100,
        "How long the commit had lasted that was under way at the end of the interval.",
        |row, _| row.journal.under_way_ns.map_or(Value::None, Value::Nanos),
    ),
];

impl OneJournal<'_> {
    /// Per commit; nothing to say without any.
    fn mean(&self, total_ns: u64) -> Value {
        total_ns.checked_div(self.sum.commits).map_or(Value::None, Value::Nanos)
    }
}

fn requests(sum: &JournalUse) -> Value {
    if sum.unknown_requests > 0 {
        return Value::Unknown("the length of the kernel's clock tick is not known");
    }
    sum.request_ns.checked_div(sum.requested).map_or(Value::None, Value::Nanos)
}

impl Grid for Journals {
    type Row<'a> = OneJournal<'a>;

    const FIELDS: &'static [Field<Self>] = FIELDS;

    const ROWS: &'static [Need] = &[JOURNALS];

    fn rows<'a>(ctx: &Ctx<'a>, _scope: &Scope) -> Vec<(Subject, OneJournal<'a>)> {
        let journals = ctx.model.journals.iter();
        let row = |(device, journal): (&u32, &'a Journal)| {
            let row = OneJournal { device: *device, journal, usage: ctx.of(&journal.usage), sum: &journal.usage.sum };
            (Subject::Journal(*device), row)
        };
        let mut rows: Vec<_> = journals.map(row).collect();
        heaviest_first(&mut rows, |row| row.sum.busy_ns);
        rows
    }
}
