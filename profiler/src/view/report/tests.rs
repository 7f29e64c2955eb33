//! Golden reports of small models by hand.

use profiler_common::disk::op;
use profiler_common::file::kind;

use super::{json, text};
use crate::batch::{Batch, DiskStat, Fact, ProbeStatus, SocketRow, SocketTotal, TaskRow};
use crate::finding;
use crate::model::fixture::{
    EPOLL_WAIT, FSYNC, MS, READ, SDA, SECOND, WRITE, batch, calls, connection, linear8, listener, machine, model,
    named, process, requests, sda, thread,
};
use crate::model::{Model, Window};

/// A database that syncs too often, a peer that loses, and a process that nobody knows.
fn troubled(number: u64) -> Batch {
    let total = SocketTotal { retransmits: 40 * (number + 1), ..SocketTotal::default() };
    let mut told = Batch {
        facts: vec![named(process(7), "db"), named(process(8), "web"), sda()],
        tasks: vec![
            thread(process(7), 7, 60 * MS),
            TaskRow { wait_call: Some(EPOLL_WAIT), waiting_ns: 40 * SECOND, ..thread(process(8), 8, 10 * MS) },
            thread(process(9), 90, MS),
        ],
        calls: vec![
            crate::batch::CallRow {
                latency: linear8(MS / 10, 4),
                ..calls(process(7), READ, kind::REGULAR, 400, 1_638_400, 0)
            },
            calls(process(7), WRITE, kind::REGULAR, 200, 1_638_400, 0),
            calls(process(7), FSYNC, kind::REGULAR, 200, 0, 4 * MS),
            calls(process(8), EPOLL_WAIT, kind::ANONYMOUS, 20, 0, 45 * MS),
        ],
        disks: vec![requests(op::WRITE, 220, 1_802_240, MS / 10, MS), requests(op::FLUSH, 200, 0, 0, 3 * MS)],
        sockets: vec![SocketRow { total, ..connection(1, process(8), 1_000, 40) }, listener(2, process(8), 0, 128, 0)],
        ..batch(number)
    };
    let requests = [0, 220, 200, 0];
    told.host.disks.insert(SDA, DiskStat { requests, busy_ns: SECOND * 7 / 10, ..DiskStat::default() });
    told.host.net.insert("RetransSegs".into(), 40);
    told.quality.lost.insert("exit_ring".into(), 1);
    told.quality.notes.push("sockets of 1 other network namespace are not counted by nstat".into());
    told
}

fn healthy(number: u64) -> Batch {
    let tasks = vec![thread(process(7), 7, 60 * MS)];
    let disks = vec![requests(op::READ, 100, 1_638_400, MS / 5, 2 * MS)];
    Batch {
        facts: vec![named(process(7), "db"), Fact::NetNamespace { netns: 1, name: "init".into() }],
        tasks,
        disks,
        ..batch(number)
    }
}

fn report(model: &Model) -> String {
    text(model, &finding::all(model))
}

#[test]
fn a_troubled_host() {
    let mut machine = machine();
    machine.probes.push(ProbeStatus {
        name: "block_rq_issue".into(),
        form: None,
        reason: "this kernel has no such tracepoint".into(),
        without: "device time, queue time and requests in flight".into(),
    });
    let mut model = Model::new(machine, Window::Whole);
    for number in 0..3 {
        model.apply(&troubled(number));
    }
    insta::assert_snapshot!(report(&model));
}

#[test]
fn a_healthy_host() {
    insta::assert_snapshot!(report(&model(Window::Whole, &[healthy(0), healthy(5)])));
}

#[test]
fn before_the_first_batch() {
    insta::assert_snapshot!(report(&model(Window::Recent, &[])));
}

#[test]
fn the_same_batches_make_the_same_bytes() {
    let make = || {
        let model = model(Window::Whole, &[troubled(0), troubled(1)]);
        let findings = finding::all(&model);
        (text(&model, &findings), json(&model, &findings))
    };
    assert_eq!(make(), make());
}

#[test]
fn json_has_raw_numbers_and_reasons() {
    let model = model(Window::Whole, &[troubled(0)]);
    let report: serde_json::Value = serde_json::from_str(&json(&model, &finding::all(&model))).expect("JSON");
    assert_eq!(report["schema"], 1);
    assert_eq!(report["interval"]["until"], "2026-01-01T00:00:01.000Z");
    assert_eq!(report["findings"][0]["id"], "S1");
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(finding::DETECTORS.len()));
    let process = &report["tables"]["processes"]["rows"][0];
    assert_eq!((&process["process.pid"], &process["cpu.on_ratio"]), (&7.into(), &0.06.into()));
    assert!(process["process.storage_read_bytes_s"].is_null());
    assert!(process["notes"]["process.storage_read_bytes_s"].is_string());
    assert_eq!(report["tables"]["processes"]["omitted"], 0);
}

#[test]
fn long_tables_say_what_they_leave_out() {
    let tasks = (1..=40).map(|pid| thread(process(pid), pid, u64::from(pid) * MS)).collect();
    let model = model(Window::Whole, &[Batch { tasks, ..batch(0) }]);
    assert!(report(&model).contains("… and 25 more"));
}
