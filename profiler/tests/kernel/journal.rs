//! Commits of an ext4 journal, against what those who sync measure themselves, what jbd2 counts and what tracefs tells.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use profiler::batch::JournalRow;
use profiler::field::{Scope, Subject, Table, Value, sheet};
use profiler_common::wait;

use crate::kernel::child::{Child, Clock, fork};
use crate::kernel::device::{FileSystem, Mount, device};
use crate::kernel::observe::{Seen, absent, assert_close, every, figure_of_test, ms, observe, until};
use crate::kernel::trace::Trace;

/// Of each process.
const SYNCS: u64 = 100;

/// The kernel's clock has no fewer than 250 ticks a second where these tests run.
const TICK_NS: u64 = 4_000_000;

/// What a commit costs its thread before it begins and after it has ended: of no account but on a fast disk.
const AROUND_NS: u64 = 20_000;

/// What is synced each time.
#[derive(Clone, Copy)]
pub enum Change {
    /// The mode of a file.
    Mode,
    /// A page more, which is on the disk before the sync begins.
    Data,
}

/// Changes a file and syncs it, again and again. It says when each sync began and ended, and how long all were blocked.
fn syncer(path: String, change: Change) -> Child {
    fork(move |parent| {
        let mut file = File::create(path).unwrap();
        let clock = Clock::new();
        let mut blocked_ns = 0;
        for turn in 0..SYNCS {
            match change {
                Change::Mode => chmod(&file, turn),
                Change::Data => append(&mut file, turn),
            }
            let begin = clock.now();
            sync(&file);
            let end = clock.now();
            blocked_ns += end.blocked_since(&begin);
            parent.say([begin.wall_ns, end.wall_ns]);
        }
        parent.say([blocked_ns]);
        parent.hear();
    })
}

/// Commits so many times.
pub fn commit(path: &str, times: u64) {
    let file = File::create(path).unwrap();
    for turn in 0..times {
        chmod(&file, turn);
        sync(&file);
    }
}

fn sync(file: &File) {
    // SAFETY: a plain number.
    assert_eq!(unsafe { libc::fsync(file.as_raw_fd()) }, 0);
}

fn chmod(file: &File, turn: u64) {
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::fchmod(file.as_raw_fd(), if turn.is_multiple_of(2) { 0o600 } else { 0o640 }) }, 0);
}

fn append(file: &mut File, turn: u64) {
    const WHOLE: u32 =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    file.write_all(&[1; 4096]).unwrap();
    let from = (turn * 4096).cast_signed();
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::sync_file_range(file.as_raw_fd(), from, 4096, WHOLE) }, 0);
}

/// What one who syncs says.
struct Syncs {
    pid: u32,
    spans: Vec<(u64, u64)>,
    blocked_ns: u64,
}

impl Syncs {
    fn of(child: &mut Child) -> Self {
        let spans = (0..SYNCS).map(|_| child.hear::<2>().into()).collect();
        let [blocked_ns] = child.hear();
        Self { pid: child.pid, spans, blocked_ns }
    }

    fn took_ns(&self) -> u64 {
        self.spans.iter().map(|(begin, end)| end - begin).sum()
    }
}

/// A file system on a disk, by its name in `/proc/diskstats`.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub disk: &'a str,
    pub files: &'a FileSystem,
}

impl<'a> Place<'a> {
    fn of(mount: &'a Mount) -> Self {
        Self { disk: mount.device.name(), files: &mount.files }
    }

    /// The thread of the journal in `/proc`.
    fn thread(self) -> PathBuf {
        let name = format!("jbd2/{}-8", self.disk);
        let mut paths = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let is_it = |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
        paths.find(is_it).unwrap_or_else(|| panic!("no thread {name}"))
    }

    /// What the kernel has counted, once the journal rests: it wakes who waits before it counts.
    fn counted(self) -> Counted {
        let thread = self.thread();
        until("the journal rests", || {
            let text = fs::read_to_string(thread.join("stat")).unwrap();
            if text.contains(") S ") { Ok(()) } else { Err(text) }
        });
        let info = fs::read_to_string(format!("/proc/fs/jbd2/{}-8/info", self.disk)).unwrap();
        let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap();
        let number = |text: &str, place| text.split_whitespace().nth(place).unwrap().parse().unwrap();
        Counted { transactions: number(&info, 0), delayed_ns: number(&schedstat, 1) }
    }
}

/// What the kernel counts of a journal.
struct Counted {
    transactions: u64,
    /// How long its thread has waited for a CPU.
    delayed_ns: u64,
}

/// What some have waited, and what the kernel has counted meanwhile.
struct Said {
    syncs: Vec<Syncs>,
    transactions: u64,
    delayed_ns: u64,
}

impl Said {
    /// By which share of all waits the phases of so many commits may differ from these: 5 %, and what the thread of the
    /// journal does and waits for between two commits, be it for a CPU that was given away.
    fn allowed(seen: &Seen<Self>, commits: u64, waits_ns: u64) -> f64 {
        0.05 + (seen.said.delayed_ns + seen.stolen_ns() + commits * AROUND_NS) as f64 / waits_ns as f64
    }
}

/// Some processes that change and sync files of their own.
fn run(place: Place<'_>, changes: &[Change]) -> Seen<Said> {
    observe(&every(100), || {
        let before = place.counted();
        let names = changes.iter().zip(0..);
        let mut children: Vec<_> =
            names.map(|(change, name)| syncer(place.files.path(&format!("{name}")), *change)).collect();
        let syncs = children.iter_mut().map(Syncs::of).collect();
        let after = place.counted();
        let transactions = after.transactions - before.transactions;
        Said { syncs, transactions, delayed_ns: after.delayed_ns - before.delayed_ns }
    })
}

/// Rows of a journal, summed.
fn sum<T>(seen: &Seen<T>, disk: &str) -> JournalRow {
    let mut sum = JournalRow { device: device(disk), requested: Some(0), ..JournalRow::default() };
    for row in seen.batches.iter().flat_map(|batch| &batch.journals).filter(|row| row.device == sum.device) {
        sum.commits += row.commits;
        sum.requested = sum.requested.zip(row.requested).map(|(sum, more)| sum + more);
        sum.request_ns += row.request_ns;
        sum.starting_ns += row.starting_ns;
        sum.locked_ns += row.locked_ns;
        sum.flushing_ns += row.flushing_ns;
        sum.logging_ns += row.logging_ns;
        sum.busy_ns += row.busy_ns;
        sum.under_way_ns = row.under_way_ns;
        sum.commit.add(&row.commit);
    }
    sum
}

const fn phases(row: &JournalRow) -> [u64; 4] {
    [row.starting_ns, row.locked_ns, row.flushing_ns, row.logging_ns]
}

fn whole_ns(row: &JournalRow) -> u64 {
    phases(row).iter().sum()
}

/// Each commit is counted, once, in all that is told of it.
fn counted(seen: &Seen<Said>, disk: &str) -> JournalRow {
    let row = sum(seen, disk);
    seen.assert_counts_whole();
    assert_eq!(row.commits, seen.said.transactions, "{row:?}");
    assert_eq!((row.commit.count(), row.requested), (row.commits, Some(row.commits)), "{row:?}");
    // Nothing but commits that have ended.
    assert_eq!((row.busy_ns, row.under_way_ns), (whole_ns(&row), None));
    let each = phases(&row).map(|ns| ms(ns / row.commits));
    figure_of_test("starting + locked + flushing + logging", each.join(" + "));
    row
}

/// Whether this kernel does not tell of commits.
pub fn is_untold() -> bool {
    absent().iter().any(|probe| probe == "jbd2_start_commit")
}

#[test]
fn without_the_tracepoints_nobody_says_that_there_are_no_commits() {
    if !is_untold() {
        return;
    }
    let mount = Mount::ext4(64);
    let seen = run(Place::of(&mount), &[Change::Mode]);
    let sheet = sheet(&seen.model(), Table::Journals, &Scope::default());
    assert_eq!((sheet.rows.len(), sheet.incomplete), (0, Some("the probe jbd2_start_commit is missing")));
}

/// One who syncs waits for its commits, from their beginning to their end, and for nothing else but that the thread of the
/// journal gets a CPU.
pub fn one_waits_for_its_commits(place: Place<'_>, change: Change) {
    let seen = run(place, &[change]);
    let row = counted(&seen, place.disk);
    let [syncs] = &seen.said.syncs[..] else { panic!("one child") };
    assert_eq!(row.commits, SYNCS, "each sync is a commit");
    // In lockdown the kind of the file is not known, but all calls have the same.
    let [kind] = seen.kinds(syncs.pid, "fsync")[..] else { panic!("several kinds of file") };
    let (ours, call) = (whole_ns(&row), seen.call(syncs.pid, "fsync", kind));
    let waited = seen.sum(syncs.pid, |row| row.waits[wait::JOURNAL as usize]);
    let off = ours as f64 / syncs.blocked_ns as f64 * 100.0 - 100.0;
    let each = [ours, syncs.blocked_ns, call.blocked_ns, waited, syncs.took_ns(), seen.said.delayed_ns];
    let [phases, blocked, told, journal, took, delayed] = each.map(|ns| ms(ns / SYNCS));
    figure_of_test("phases = blocked in fsync", format!("{phases} = {blocked} ({off:+.1} %)"));
    figure_of_test(
        "blocked by our table of calls, by waits for the journal; fsync took; the journal's thread waited for a CPU",
        format!("{told}, {journal}; {took}; {delayed}"),
    );
    for (what, truth) in [
        ("the process saw", syncs.blocked_ns),
        ("the table of calls has", call.blocked_ns),
        ("the journal was", waited),
    ] {
        assert!(truth > 0, "{what}");
        let share = Said::allowed(&seen, row.commits, truth);
        assert_close(&format!("phases, of the wait that {what}"), ours, truth, share);
    }
    table(&seen, place.disk, &row);
}

#[test]
fn phases_of_commits_are_what_one_who_syncs_metadata_waits() {
    if !is_untold() {
        one_waits_for_its_commits(Place::of(&Mount::slow_ext4(64, c"")), Change::Mode);
    }
}

#[test]
fn phases_of_commits_are_what_one_who_syncs_data_waits() {
    if !is_untold() {
        one_waits_for_its_commits(Place::of(&Mount::slow_ext4(64, c"")), Change::Data);
    }
}

/// What a user sees.
fn table(seen: &Seen<Said>, disk: &str, row: &JournalRow) {
    let sheet = sheet(&seen.model(), Table::Journals, &Scope::default());
    let told = sheet.rows.iter().find(|told| told.subject == Subject::Journal(row.device)).unwrap();
    let cell = |id| &told.cells[sheet.columns.iter().position(|column| column.id == id).unwrap()];
    assert_eq!(cell("journal.device"), &Value::Text(disk.to_owned()));
    assert_eq!(cell("journal.commit_mean_ns"), &Value::Nanos(whole_ns(row) / row.commits));
    assert_eq!(cell("journal.logging_mean_ns"), &Value::Nanos(row.logging_ns / row.commits));
    let span_ns: u64 = seen.batches.iter().map(|batch| batch.until.since(batch.from)).sum();
    assert_eq!(cell("journal.busy_ratio"), &Value::ratio(row.busy_ns, span_ns));
}

/// The time that is in any of these spans.
fn union_ns(spans: &mut [(u64, u64)]) -> u64 {
    spans.sort_unstable();
    let (mut covered_ns, mut until) = (0, 0);
    for (begin, end) in spans {
        covered_ns += end.saturating_sub(until.max(*begin));
        until = until.max(*end);
    }
    covered_ns
}

/// Of syncs that end with the same commit, the one that began first is the one that asked for it. All in all, how long these
/// took; `None` where it cannot be told which end together, because who syncs gets its CPU too late.
fn first_ns(spans: &mut [(u64, u64)], row: &JournalRow) -> Option<u64> {
    let least_ns = row.commit.slots.first().map_or(0, |(slot, _)| row.commit.bounds(*slot).0);
    spans.sort_unstable_by_key(|(_, end)| *end);
    let together = || spans.chunk_by(|(_, one), (_, next)| next - one < least_ns / 2);
    let first = |spans: &[(u64, u64)]| spans.iter().map(|(begin, _)| spans[0].1 - begin).max();
    let is_told = (together().count() as u64).abs_diff(row.commits) <= row.commits / 50;
    is_told.then(|| together().filter_map(first).sum())
}

#[test]
fn a_commit_is_under_way_while_any_of_several_waits() {
    if !is_untold() {
        several_wait(Place::of(&Mount::slow_ext4(64, c"")));
    }
}

/// While several sync, one commit follows another, and whoever comes late waits for two. Whether it could be told how long
/// those waited who came first.
pub fn several_wait(place: Place<'_>) -> bool {
    let seen = run(place, &[Change::Mode; 4]);
    let row = counted(&seen, place.disk);
    let mut spans: Vec<_> = seen.said.syncs.iter().flat_map(|syncs| syncs.spans.iter().copied()).collect();
    let waited_ns = union_ns(&mut spans);
    assert!(row.commits < 4 * SYNCS, "some commits are for several, or nobody waits for others");
    figure_of_test("commits for syncs", format!("{} for {}", row.commits, 4 * SYNCS));
    let awake_ns: u64 = seen.said.syncs.iter().map(|syncs| syncs.took_ns() - syncs.blocked_ns).sum();
    let first_ns = first_ns(&mut spans, &row);
    if let Some(first_ns) = first_ns {
        let each = [row.request_ns, whole_ns(&row), first_ns, seen.said.delayed_ns];
        let [request_ns, commit_ns, first_ns, delayed_ns] = each.map(|ns| ns / row.commits);
        let [request, commit, first] = [request_ns, commit_ns, first_ns].map(ms);
        figure_of_test("request + phases = who came first took", format!("{request} + {commit} = {first}"));
        // Requests are told in ticks, and what happens may keep step with these. Who syncs needs a CPU before and after.
        let allowed_ns = first_ns / 20 + TICK_NS + delayed_ns + awake_ns / (4 * SYNCS);
        assert!(first_ns.abs_diff(request_ns + commit_ns) <= allowed_ns, "{request} + {commit}, in truth {first}");
    }
    figure_of_test("busy = somebody waits", format!("{} = {}", ms(row.busy_ns), ms(waited_ns)));
    let share = Said::allowed(&seen, row.commits, waited_ns) + awake_ns as f64 / waited_ns as f64;
    assert_close("time with a commit under way", row.busy_ns, waited_ns, share);
    first_ns.is_some()
}

/// Makes a file of some MiB, again and again, and syncs nothing.
fn writer(path: String) -> Child {
    fork(move |_| {
        let (mut file, much) = (File::create(path).unwrap(), vec![1; 8 << 20]);
        loop {
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(&much).unwrap();
        }
    })
}

/// Times of phases by what tracefs says of the first commits, microseconds.
fn traced_us(moments: &[(u64, String)], commits: u64) -> [u64; 4] {
    const EDGES: [&str; 5] =
        ["jbd2_start_commit", "jbd2_commit_locking", "jbd2_commit_flushing", "jbd2_commit_logging", "jbd2_end_commit"];
    let mut sums = [0; 4];
    for commit in moments.chunks_exact(EDGES.len()).take(usize::try_from(commits).unwrap()) {
        assert!(commit.iter().map(|(_, edge)| edge.as_str()).eq(EDGES), "{commit:?}");
        for (sum, edges) in sums.iter_mut().zip(commit.windows(2)) {
            *sum += edges[1].0 - edges[0].0;
        }
    }
    sums
}

/// With blocks that are allocated when they are written to, a commit waits for who writes and hands over what was written.
#[test]
fn each_phase_takes_as_long_as_tracefs_says() {
    let mount = Mount::slow_ext4(64, c"nodelalloc");
    let Some(trace) = Trace::of_journal(mount.device.device()) else { return };
    let seen = observe(&every(100), || {
        let _writer = writer(mount.path("written"));
        let mut child = syncer(mount.path("synced"), Change::Mode);
        Syncs::of(&mut child);
    });
    let row = sum(&seen, mount.device.name());
    seen.assert_counts_whole();
    assert!(row.commits >= SYNCS, "{row:?}");
    let truth = traced_us(&trace.moments(), row.commits);
    for ((what, ours_ns), truth_us) in ["starting", "locked", "flushing", "logging"].iter().zip(phases(&row)).zip(truth)
    {
        let (ours, of_trace) = (ms(ours_ns), ms(truth_us * 1_000));
        figure_of_test(what, format!("{ours} = {of_trace} of {} commits", row.commits));
        // Both are told in the same place, one after the other.
        let off_ns = ours_ns.abs_diff(truth_us * 1_000);
        assert!(off_ns <= truth_us * 20 + row.commits * 3_000, "{what}: {ours}, by tracefs {of_trace}");
    }
}
