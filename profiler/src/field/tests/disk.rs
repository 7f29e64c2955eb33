//! Tables of disks and journals.

use super::*;

const DM: u32 = profiler_common::disk::device(253, 0);

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
