//! Tables over small models.

use profiler_common::disk::op;
use profiler_common::file::{PAGE_BYTES, kind, page};
use profiler_common::{limit, wait};

use super::{Column, Scope, Sheet, Subject, Table, Value, columns, sheet, top};
use crate::batch::{
    Batch, CallRow, DiskError, DiskKey, DiskOwnerRow, DiskSizeRow, DiskStat, Fact, JournalRow, Machine, PartitionRow,
    ProbeStatus, ProcessKey, SocketRow, TaskRow, Timestamp,
};
use crate::model::fixture::{
    EPOLL_WAIT, FSYNC, FUTEX, MS, READ, SDA, SECOND, WRITE, answers, batch, calls, commits, connection, limits,
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
fn an_error_of_a_disk_is_told_until_it_is_long_ago() {
    let mut told = busy();
    let error = DiskError { at: Timestamp(told.until.0 - 20 * MS), sector: 640, errno: Some(61) };
    (told.disks[0].errors, told.disks[0].error) = (1, Some(error));
    let model = model(Window::Recent, &[told, batch(1)]);
    let sheet = sheet(&model, Table::Disks, &Scope::default());
    let row = sheet.rows.iter().position(|row| row.subject == Subject::Disk(SDA, op::WRITE)).unwrap();
    let text = cell(&sheet, row, "disk.error").to_string();
    assert_eq!(text, "critical medium error at sector 640, 1.0 s ago");
}

#[test]
fn waits_for_a_request_are_unknown_where_nobody_saw_them() {
    let mut told = busy();
    (told.disks[0].waits, told.disks[0].wait_ns) = (50, 50 * MS);
    let sheet = sheet(&model(Window::Recent, &[told]), Table::Disks, &Scope::default());
    let wait = |operation| {
        let row = sheet.rows.iter().position(|row| row.subject == Subject::Disk(SDA, operation)).unwrap();
        cell(&sheet, row, "disk.wait_mean_ns")
    };
    assert_eq!((wait(op::WRITE), wait(op::FLUSH)), (&Value::Nanos(MS), &Value::None));
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
fn who_has_a_disk_is_told_by_time_and_the_rest_is_nobodys() {
    let sheet = sheet(&model(Window::Recent, &[busy()]), Table::DiskOwners, &Scope::default());
    let told = |id| sheet.rows.iter().map(|row| row.cells[at(&sheet, id)].to_string()).collect::<Vec<_>>();
    assert_eq!(told("process.comm"), ["db", "idle", "(not known)"]);
    assert_eq!(told("disk_owner.bytes_ratio"), ["73 %", "2.3 %", "24 %"]);
    assert_eq!(told("disk_owner.latency_mean_ns"), ["3.0 ms", "3.0 ms", "?"]);
}

#[test]
fn phases_of_a_journal_add_up_to_its_commits() {
    let told = |model: &Model| sheet(model, Table::Journals, &Scope::default());
    let sheet = told(&model(Window::Recent, &[busy()]));
    let ns = |id| cell(&sheet, 0, id).number().unwrap_or_default();
    let phases = ["starting", "locked", "flushing", "logging"].map(|phase| format!("journal.{phase}_mean_ns"));
    let sum: f64 = phases.iter().map(|id| ns(id)).sum();
    assert!((sum - ns("journal.commit_mean_ns")).abs() < 4.0 && sum > 4.9e6, "{sum}");
    assert_eq!(cell(&sheet, 0, "journal.device"), &Value::Text("sda".into()));
    assert_eq!(cell(&sheet, 0, "journal.commits_s"), &Value::PerSecond(100.0));
    assert_eq!(cell(&sheet, 0, "journal.busy_ratio"), &Value::Ratio(0.5));
    assert_eq!(cell(&sheet, 0, "journal.request_mean_ns"), &Value::Nanos(5 * MS / 2));
    // Without the probe, nobody knows of any, and the table says so.
    assert_eq!(told(&without("jbd2_start_commit")).incomplete, Some("the probe jbd2_start_commit is missing"));
}

#[test]
fn requests_for_commits_are_unknown_where_one_interval_does_not_tell() {
    let told = Batch { journals: vec![JournalRow { requested: None, ..commits(5, MS) }], ..batch(1) };
    let sheet = sheet(&model(Window::Whole, &[busy(), told]), Table::Journals, &Scope::default());
    assert!(matches!(cell(&sheet, 0, "journal.request_mean_ns"), Value::Unknown(_)));
    assert_eq!(cell(&sheet, 0, "journal.commits_s"), &Value::PerSecond(52.5));
}

#[test]
fn what_a_peer_thinks_is_the_wait_without_the_way() {
    let told = |model: &Model| sheet(model, Table::Exchanges, &Scope::default());
    let sheet = told(&model(Window::Recent, &[busy()]));
    let of = |id: &str| [0, 1].map(|row| cell(&sheet, row, id).to_string());
    assert_eq!(of("exchange.role"), ["client", "server"], "the most time first");
    assert_eq!(of("exchange.endpoint"), ["10.0.0.9:5432", "10.0.0.1:80"]);
    assert_eq!(of("exchange.count_s"), ["100", "10"]);
    assert_eq!(of("exchange.think_mean_ns"), ["4.5 ms", "–"]);
    assert_eq!(of("exchange.slowest_connection"), ["10.0.0.9:5432", "10.0.0.9:5432"]);
    // Answers that are there before the call that sent returns leave nothing to say of the peer.
    let quick = Batch { exchanges: vec![requests_to(process(7), "::1:1", 10, MS, 2 * MS)], ..batch(0) };
    assert!(matches!(cell(&told(&model(Window::Recent, &[quick])), 0, "exchange.think_mean_ns"), Value::Unknown(_)));
    assert_eq!(told(&without("sock_send_length")).incomplete, Some("the probe sock_send_length is missing"));
}

#[test]
fn a_disk_row_keeps_queue_and_device_apart() {
    let model = model(Window::Recent, &[busy()]);
    let sheet = sheet(&model, Table::Disks, &Scope::default());
    assert_eq!(sheet.rows[0].subject, Subject::Disk(SDA, op::WRITE));
    assert_eq!(cell(&sheet, 0, "disk.size_bytes"), &Value::Bytes(4_096));
    assert_eq!(cell(&sheet, 0, "disk.queue_ratio"), &Value::Ratio(1.0 / 3.0));
    assert!(matches!(cell(&sheet, 0, "disk.queue_p99_ns"), Value::Nanos(ns) if ns.abs_diff(MS) <= MS / 60));
    assert_eq!(cell(&sheet, 1, "disk.op"), &Value::Text("flush".into()));
    assert_eq!(cell(&sheet, 1, "disk.size_bytes"), &Value::None);
}

/// 40 reads of a mapped device on [`SDA`], of 36 ms each, and what of them is known below.
fn stacked(below: &[Batch]) -> Model {
    let mut told = Batch {
        facts: vec![
            sda(),
            Fact::Disk { device: DM, name: "dm-0".into(), backing: Some("data".into()), below: vec![SDA] },
        ],
        ..batch(0)
    };
    let (requests, bytes, request_ns) = ([40, 0, 0, 0], [163_840, 0, 0, 0], Some([40 * 36 * MS, 0, 0, 0]));
    told.host.disks.insert(DM, DiskStat { requests, bytes, request_ns, ..DiskStat::default() });
    model(Window::Whole, &[&[told], below].concat())
}

const DM: u32 = profiler_common::disk::device(253, 0);

#[test]
fn a_stacked_disk_has_a_row_by_diskstats_and_tells_what_it_adds() {
    let below = Batch { disks: vec![requests(op::READ, 40, 163_840, MS, 20 * MS)], ..batch(1) };
    let sheet = sheet(&stacked(&[below]), Table::Disks, &Scope::default());
    let subjects: Vec<_> = sheet.rows.iter().map(|row| row.subject.clone()).collect();
    assert_eq!(subjects, [Subject::Disk(DM, op::READ), Subject::Disk(SDA, op::READ)]);
    assert_eq!(cell(&sheet, 0, "disk.backing"), &Value::Text("data on sda".into()));
    assert_eq!(cell(&sheet, 0, "disk.ops_s"), &Value::PerSecond(20.0));
    assert_eq!(cell(&sheet, 0, "disk.size_bytes"), &Value::Bytes(4_096));
    assert_eq!(cell(&sheet, 0, "disk.latency_mean_ns"), &Value::Nanos(36 * MS));
    assert_eq!(cell(&sheet, 0, "disk.above_mean_ns"), &Value::Nanos(15 * MS));
    assert_eq!(cell(&sheet, 1, "disk.latency_mean_ns"), &Value::Nanos(21 * MS));
    assert_eq!(cell(&sheet, 1, "disk.above_mean_ns"), &Value::None);
    for unknown in ["disk.queue_p99_ns", "disk.service_p99_ns", "disk.inflight", "disk.errors"] {
        assert_eq!(cell(&sheet, 0, unknown), &Value::Unknown("only /proc/diskstats has its requests"));
    }
}

#[test]
fn what_a_stacked_disk_adds_is_unknown_without_the_times_below() {
    let silent = sheet(&stacked(&[]), Table::Disks, &Scope::default());
    assert!(matches!(cell(&silent, 0, "disk.above_mean_ns"), Value::Unknown(_)));
    let mut untimed = requests(op::READ, 40, 163_840, 0, 20 * MS);
    untimed.queue_unknown = 40;
    let sheet = sheet(&stacked(&[Batch { disks: vec![untimed], ..batch(1) }]), Table::Disks, &Scope::default());
    assert!(matches!(cell(&sheet, 0, "disk.above_mean_ns"), Value::Unknown(_)));
    assert!(matches!(cell(&sheet, 1, "disk.latency_mean_ns"), Value::Unknown(_)));
}

#[test]
fn a_disk_that_we_trace_has_no_second_row_by_diskstats() {
    let mut told = busy();
    told.host.disks.insert(SDA, DiskStat { requests: [9, 200, 100, 0], ..DiskStat::default() });
    let sheet = sheet(&model(Window::Recent, &[told]), Table::Disks, &Scope::default());
    let subjects: Vec<_> = sheet.rows.iter().map(|row| row.subject.clone()).collect();
    assert_eq!(subjects, [Subject::Disk(SDA, op::WRITE), Subject::Disk(SDA, op::FLUSH)]);
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
    let scope = Scope { process: Some(process(8)) };
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

#[test]
fn what_limits_connections_is_told_of_each_and_by_peer() {
    let held = SocketRow {
        limits: Some(limits(&[(limit::RECEIVE_WINDOW, 900), (limit::APPLICATION, 100)])),
        ..connection(1, process(7), 1_000, 0)
    };
    let untold = SocketRow { limits: None, peer: "10.0.0.8:80".into(), ..connection(3, process(7), 10, 0) };
    let told = Batch { sockets: vec![held, connection(2, process(8), 500, 0), untold], ..batch(0) };
    let model = model(Window::Recent, &[told]);
    let each = sheet(&model, Table::Connections, &Scope::default());
    assert_eq!(cell(&each, 0, "net.limit"), &Value::Text("rwnd 90 %".into()));
    assert_eq!(cell(&each, 0, "net.limit_app_ratio"), &Value::Ratio(0.1));
    let peers = sheet(&model, Table::Peers, &Scope::default());
    let hosts: Vec<_> = peers.rows.iter().map(|row| row.subject.clone()).collect();
    assert_eq!(hosts, ["10.0.0.9", "10.0.0.8"].map(|host| Subject::Peer(1, host.into())));
    assert_eq!(cell(&peers, 0, "net.connections"), &Value::Count(2));
    assert_eq!(cell(&peers, 0, "net.limit"), &Value::Text("rwnd 45 %".into()));
    let shares =
        peers.columns.iter().zip(&peers.rows[0].cells).filter(|(column, _)| column.id.starts_with("net.limit_"));
    let sum: f64 = shares.filter_map(|(_, cell)| cell.number()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    assert!(matches!(cell(&peers, 1, "net.limit"), Value::Unknown(_)));
    let mine = sheet(&model, Table::Peers, &Scope { process: Some(process(8)) });
    assert_eq!((mine.rows.len(), cell(&mine, 0, "net.connections")), (1, &Value::Count(1)));
}
