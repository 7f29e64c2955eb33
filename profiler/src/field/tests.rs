//! Tables over small models.

mod disk;
mod tcp;

use profiler_common::disk::op;
use profiler_common::file::{PAGE_BYTES, kind, page};
use profiler_common::{limit, wait};

use super::{Column, Scope, Sheet, Subject, Table, Value, columns, sheet, top};
use crate::batch::{
    Address, Batch, CallRow, DiskError, DiskKey, DiskOwnerRow, DiskSizeRow, DiskStat, DropKey, DropRow, ExchangeRow,
    Fact, JournalRow, Machine, PartitionRow, ProbeStatus, ProcessKey, SocketRow, TaskRow, Timestamp,
};
use crate::model::fixture::{
    EPOLL_WAIT, FSYNC, FUTEX, MS, READ, SDA, SECOND, WRITE, answers, batch, calls, commits, connection, drops, limits,
    listener, log2, machine, model, named, process, requests, requests_to, sda, thread,
};
use crate::model::{Model, Window};

/// A thread that waits for a commit of the journal half of the time.
fn syncing() -> TaskRow {
    let mut row = TaskRow { blocked_ns: 0, ..thread(process(7), 9, 0) };
    (row.waits[wait::POLL as usize], row.waits[wait::JOURNAL as usize]) = (SECOND / 2, SECOND / 2);
    TaskRow { wait: Some(wait::JOURNAL), wait_object: Some("/db/log".into()), woke_wait: Some(wait::JOURNAL), ..row }
}

const WRITES: DiskKey = DiskKey { device: SDA, op: op::WRITE };

fn owner(process: ProcessKey, requests: u64, bytes: u64) -> DiskOwnerRow {
    let (queue_ns, device_ns) = (requests * MS, requests * 2 * MS);
    DiskOwnerRow { key: WRITES, process, requests, bytes, queue_ns, device_ns, latency: log2(3 * MS, requests) }
}

fn partition(requests: u64, bytes: u64) -> PartitionRow {
    let key = DiskKey { device: SDA | 1, op: op::WRITE };
    let (queue_ns, device_ns) = (requests * MS, requests * 2 * MS);
    PartitionRow { key, requests, bytes, queue_ns, device_ns, latency: log2(3 * MS, requests) }
}

/// Datagrams to a port that nobody has.
fn nobodys(count: u64) -> DropRow {
    let key = DropKey { reason: "NO_SOCKET".into(), ..DropKey::default() };
    DropRow { key, owner: None, count }
}

fn busy() -> Batch {
    Batch {
        facts: vec![named(process(7), "db"), named(process(8), "idle"), sda()],
        tasks: vec![thread(process(7), 7, 300 * MS), syncing(), thread(process(8), 8, 0)],
        calls: vec![
            calls(process(7), WRITE, kind::REGULAR, 100, 409_600, 0),
            calls(process(7), FSYNC, kind::REGULAR, 100, 0, 5 * MS),
            calls(process(8), READ, kind::PIPE, 10, 10, 50 * MS),
            calls(process(8), FUTEX, kind::NONE, 10, 0, 100 * MS),
            calls(process(8), EPOLL_WAIT, kind::ANONYMOUS, 10, 0, 100 * MS),
        ],
        disks: vec![requests(op::WRITE, 200, 819_200, MS, 2 * MS), requests(op::FLUSH, 100, 0, 0, 3 * MS)],
        disk_owners: vec![owner(process(7), 50, 600_000), owner(process(8), 10, 19_200)],
        disk_sizes: vec![DiskSizeRow { key: WRITES, size: 0, latency: log2(3 * MS, 200) }],
        partitions: vec![partition(150, 614_400)],
        journals: vec![commits(100, 5 * MS)],
        sockets: vec![
            connection(1, process(7), 1_000, 0),
            connection(2, process(7), 1_000, 30),
            listener(3, process(7), 2, 128, 0),
        ],
        exchanges: vec![
            answers(process(8), "10.0.0.1:80", 10, MS),
            requests_to(process(7), "10.0.0.9:5432", 100, 5 * MS, MS / 2),
        ],
        drops: vec![drops(Some(process(7)), 1, 20), drops(None, 2, 30), nobodys(40)],
        ..batch(0)
    }
}

fn at(sheet: &Sheet, id: &str) -> usize {
    sheet.columns.iter().position(|column| column.id == id).expect("a column of this table")
}

fn cell<'a>(sheet: &'a Sheet, row: usize, id: &str) -> &'a Value {
    &sheet.rows[row].cells[at(sheet, id)]
}

fn subjects(table: Table) -> Vec<Subject> {
    let model = model(Window::Recent, &[busy()]);
    sheet(&model, table, &Scope::default()).rows.into_iter().map(|row| row.subject).collect()
}

#[test]
fn columns_are_well_declared() {
    for table in Table::ALL {
        let columns = columns(table);
        let of = |get: fn(&Column) -> &'static str| columns.iter().map(get).collect::<Vec<_>>();
        let (mut ids, mut labels) = (of(|column| column.id), of(|column| column.label));
        ids.sort_unstable();
        labels.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{table:?}: {ids:?}");
        assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{table:?}: {labels:?}");
        assert_eq!(columns.iter().filter(|column| column.width == 0).count(), 1, "{table:?}: one flexible column");
        for Column { id, label, doc, width, .. } in columns {
            assert!(doc.ends_with('.') && id.contains('.'), "{id}");
            assert!(width == 0 || label.len() <= width.into(), "{id}: {label} is wider than {width}");
        }
    }
}

#[test]
fn every_row_has_a_cell_per_column() {
    let model = model(Window::Whole, &[busy()]);
    for table in Table::ALL {
        let sheet = sheet(&model, table, &Scope::default());
        assert!(!sheet.rows.is_empty(), "{table:?}");
        assert!(sheet.rows.iter().all(|row| row.cells.len() == sheet.columns.len()));
        assert!(sheet.rows.iter().all(|row| row.cells.iter().all(|cell| !cell.to_string().is_empty())));
    }
}

#[test]
fn idle_waits_do_not_come_first() {
    assert_eq!(subjects(Table::Processes)[0], Subject::Process(process(7)));
    assert_eq!(subjects(Table::Files)[0], Subject::File(process(7), kind::REGULAR));
    let fsync = profiler_common::syscall::call_key(FSYNC, kind::REGULAR);
    assert_eq!(subjects(Table::Syscalls)[0], Subject::Syscall(process(7), fsync));
    assert_eq!(subjects(Table::Connections)[0], Subject::Socket(2));
}

#[test]
fn live_rates_are_of_the_last_interval_and_reported_ones_of_all() {
    let quiet = Batch { tasks: vec![thread(process(7), 7, 100 * MS)], ..batch(1) };
    let told = [busy(), quiet];
    let cpu = |window| {
        let sheet = sheet(&model(window, &told), Table::Processes, &Scope::default());
        cell(&sheet, 0, "cpu.on_ratio").clone()
    };
    assert_eq!((cpu(Window::Recent), cpu(Window::Whole)), (Value::Ratio(0.1), Value::Ratio(0.2)));
}

#[test]
fn a_process_row_says_where_it_waits() {
    let sheet = sheet(&model(Window::Recent, &[busy()]), Table::Processes, &Scope::default());
    assert_eq!(cell(&sheet, 0, "process.top_wait"), &Value::Text("fsync".into()));
    assert_eq!(cell(&sheet, 0, "syscall.calls_s"), &Value::PerSecond(200.0));
    assert_eq!(cell(&sheet, 0, "file.written_bytes_s"), &Value::BytesPerSecond(409_600.0));
    assert!(matches!(cell(&sheet, 0, "process.storage_read_bytes_s"), Value::Unknown(_)));
    assert_eq!(cell(&sheet, 1, "process.comm"), &Value::Text("idle".into()));
}

#[test]
fn a_wait_has_the_time_of_its_kind_and_the_object_that_was_seen() {
    let sheet = sheet(&model(Window::Recent, &[busy()]), Table::Waits, &Scope::default());
    assert_eq!(sheet.rows.len(), 1, "idleness holds nobody up");
    assert_eq!(cell(&sheet, 0, "wait.name"), &Value::Text("journal commit".into()));
    assert_eq!(cell(&sheet, 0, "wait.object"), &Value::Text("/db/log".into()));
    assert_eq!(cell(&sheet, 0, "wait.threads_ratio"), &Value::Ratio(0.5));
    assert_eq!(cell(&sheet, 0, "wait.waker"), &Value::None);
}

#[test]
fn groups_add_up_to_the_host_which_stands_first() {
    let sheet = sheet(&model(Window::Recent, &[busy()]), Table::Groups, &Scope::default());
    let sum = |wanted: &str| -> f64 {
        let rows = sheet.rows.iter().enumerate().filter(|(_, row)| row.cells[0].to_string() == wanted);
        rows.filter_map(|(row, _)| cell(&sheet, row, "state.threads_ratio").number()).sum()
    };
    assert_eq!(cell(&sheet, 0, "group.path"), &Value::Text("(host)".into()));
    let groups: std::collections::BTreeSet<_> = sheet.rows.iter().map(|row| row.cells[0].to_string()).collect();
    let parts: f64 = groups.iter().filter(|group| *group != "(host)").map(|group| sum(group)).sum();
    assert!((sum("(host)") - parts).abs() < 1e-9 && (parts - 3.0).abs() < 1e-9, "{parts}");
}

#[test]
fn unsampled_latency_is_unknown_not_zero() {
    let sheet = sheet(&model(Window::Recent, &[busy()]), Table::Syscalls, &Scope::default());
    assert_eq!(cell(&sheet, 0, "syscall.latency_p99_ns"), &Value::Unknown("none of the calls was sampled"));
    assert!(matches!(cell(&sheet, 0, "syscall.blocked_p99_ns"), Value::NanosAtMost(_)));
}

#[test]
fn a_scope_narrows_to_one_process() {
    let model = model(Window::Recent, &[busy()]);
    let scope = Scope { process: Some(process(8)), ..Scope::default() };
    let rows = |table| sheet(&model, table, &scope).rows;
    assert!(rows(Table::Connections).is_empty() && rows(Table::Listeners).is_empty());
    for table in [Table::Threads, Table::Files, Table::Syscalls] {
        assert!(rows(table).iter().all(|row| row.subject.process(&model) == scope.process), "{table:?}");
    }
    assert!(rows(Table::Syscalls).len() == 3);
}

#[test]
fn a_wait_that_began_long_ago_shows_its_length() {
    let waits = TaskRow { wait_call: Some(FUTEX), waiting_ns: 90 * SECOND, ..thread(process(7), 7, 0) };
    let told = Batch { tasks: vec![waits], ..batch(0) };
    let sheet = sheet(&model(Window::Recent, &[told]), Table::Threads, &Scope::default());
    assert_eq!(cell(&sheet, 0, "thread.waiting_ns"), &Value::Nanos(90 * SECOND));
    assert_eq!(cell(&sheet, 0, "thread.wait_call"), &Value::Text("futex".into()));
}

#[test]
fn the_top_of_a_table_says_how_much_more_there_is() {
    let model = model(Window::Recent, &[busy()]);
    let (first, more) = top(&model, Table::Syscalls, &Scope::default(), 2);
    let all = sheet(&model, Table::Syscalls, &Scope::default());
    assert_eq!((&first.rows[..], more), (&all.rows[..2], 3));
}

#[test]
fn a_missing_probe_makes_its_metrics_unknown() {
    let sheet = |table| sheet(&without("sched_switch"), table, &Scope::default());
    let (processes, threads, why) =
        (sheet(Table::Processes), sheet(Table::Threads), "the probe sched_switch is missing");
    assert_eq!(cell(&threads, 0, "cpu.blocked_ratio"), &Value::Unknown(why));
    assert_eq!(cell(&threads, 0, "cpu.on_ratio"), &Value::Ratio(0.3));
    // Of threads that have ended, nobody knows.
    assert_eq!(cell(&processes, 0, "cpu.on_ratio"), &Value::Unknown(why));
    assert_eq!((processes.incomplete, sheet(Table::Disks).incomplete), (Some(why), None));
}

#[test]
fn the_hit_ratio_is_a_share_or_unknown_with_a_reason() {
    const SENDFILE: u32 = 40;
    let hits = |pages: Option<[u64; 8]>, calls: Vec<CallRow>| {
        let told = Batch { tasks: vec![TaskRow { pages, ..thread(process(7), 7, 0) }], calls, ..batch(0) };
        let mut machine = machine();
        machine.call_names.insert(SENDFILE, "sendfile".into());
        let mut model = Model::new(machine, Window::Recent);
        model.apply(&told);
        cell(&sheet(&model, Table::Processes, &Scope::default()), 0, "file.hit_ratio").clone()
    };
    let read = |kind, bytes| calls(process(7), READ, kind, 1, bytes, 0);
    let missed = |pages| Some(std::array::from_fn(|way| if way == page::READ { pages } else { 9 }));
    assert_eq!(hits(missed(1), vec![read(kind::REGULAR, 4 * PAGE_BYTES)]), Value::Ratio(0.75));
    let sent = calls(process(7), SENDFILE, kind::TCP, 1, 4 * PAGE_BYTES, 0);
    assert_eq!(hits(missed(1), vec![read(kind::REGULAR, 4 * PAGE_BYTES), sent]), Value::Ratio(0.875));
    assert_eq!(hits(missed(1), vec![read(kind::DIRECT, 4 * PAGE_BYTES)]), Value::None);
    for (pages, kind) in [(missed(5), kind::REGULAR), (missed(1), kind::UNKNOWN), (None, kind::REGULAR)] {
        assert!(matches!(hits(pages, vec![read(kind, 4 * PAGE_BYTES)]), Value::Unknown(_)), "{pages:?} {kind}");
    }
    let without = sheet(&without("mm_filemap_add_to_page_cache"), Table::Processes, &Scope::default());
    assert_eq!(
        cell(&without, 0, "file.hit_ratio"),
        &Value::Unknown("the probe mm_filemap_add_to_page_cache is missing")
    );
}

#[test]
fn what_is_mapped_has_a_row_of_files_without_a_call() {
    let pages = Some([0, 3, 0, 0, 2, 0, 0, 0]);
    let told = Batch { tasks: vec![TaskRow { pages, ..thread(process(7), 7, 0) }], ..batch(0) };
    let sheet = sheet(&model(Window::Recent, &[told]), Table::Files, &Scope::default());
    let bytes = |row, id| cell(&sheet, row, id).clone();
    assert_eq!(bytes(0, "file.faulted_bytes_s"), Value::BytesPerSecond(3.0 * 4096.0));
    assert_eq!(
        [0, 1].map(|row| bytes(row, "file.missed_bytes_s")),
        [3.0, 2.0].map(|n| Value::BytesPerSecond(n * 4096.0))
    );
    assert_eq!([0, 1].map(|row| bytes(row, "file.kind").to_string()), ["file", "block device"]);
}

#[test]
fn a_name_is_unknown_for_want_of_a_probe_or_because_it_came_too_late() {
    let owner = |mut model: Model| {
        model.processes.clear();
        cell(&sheet(&model, Table::Connections, &Scope::default()), 0, "net.owner").clone()
    };
    assert_eq!(owner(without("iter_task")), Value::Unknown("the probe iter_task is missing"));
    assert_eq!(owner(without("sys_enter")), Value::Unknown("exited before lookup"));
}

/// A busy host where a probe is missing.
fn without(probe: &str) -> Model {
    let probe = ProbeStatus { name: probe.into(), ..ProbeStatus::default() };
    let mut model = Model::new(Machine { probes: vec![probe], ..machine() }, Window::Recent);
    model.apply(&busy());
    model
}
