//! What the model makes of batches.

use profiler_common::disk::op;
use profiler_common::file::kind;
use profiler_common::limit::APPLICATION;
use profiler_common::task::state;

use super::fixture::{
    FSYNC, MS, READ, SDA, SECOND, answers, batch, calls, connection, limits, machine, model, named, process, requests,
    sda, thread,
};
use super::tcp::Socket;
use super::{Model, Window, bound, file};
use crate::batch::{Batch, DiskStat, ExchangeKey, Machine, ProbeStatus, ProcessKey, SocketRow, TaskRow};

const KEY: ProcessKey = ProcessKey { pid: 7, start_ns: 7 * SECOND };

fn with_tasks(number: u64, tasks: Vec<TaskRow>) -> Batch {
    Batch { tasks, ..batch(number) }
}

#[test]
fn a_reused_process_id_is_another_process() {
    let heir = ProcessKey { start_ns: 900 * SECOND, ..KEY };
    let told = [with_tasks(0, vec![thread(KEY, 7, 300 * MS)]), with_tasks(1, vec![thread(heir, 7, 100 * MS)])];
    let model = model(Window::Whole, &told);
    assert_eq!(model.processes[&KEY].usage.sum.cpu_ns, 300 * MS);
    assert_eq!(model.processes[&heir].usage.sum.cpu_ns, 100 * MS);
}

#[test]
fn whoever_ends_untold_is_forgotten() {
    let probes =
        ["sched_switch", "tcp_destroy_sock"].map(|name| ProbeStatus { name: name.into(), ..Default::default() });
    let mut model = Model::new(Machine { probes: probes.into(), ..machine() }, Window::Whole);
    let tasks = vec![thread(KEY, 7, MS), thread(KEY, 8, MS), thread(process(9), 9, MS)];
    model.apply(&Batch { sockets: vec![connection(1, KEY, 9, 0), connection(2, KEY, 9, 0)], ..with_tasks(0, tasks) });
    model.apply(&Batch { sockets: vec![connection(2, KEY, 9, 0)], ..with_tasks(1, vec![thread(KEY, 7, MS)]) });
    assert_eq!(model.processes.keys().collect::<Vec<_>>(), [&KEY]);
    assert_eq!(model.processes[&KEY].threads.keys().collect::<Vec<_>>(), [&7]);
    assert_eq!(model.sockets.keys().collect::<Vec<_>>(), [&2]);
}

/// Connections rest for some intervals, and say so when they are told again.
#[test]
fn a_connection_on_which_nothing_happens_is_limited_by_its_application() {
    let told = |number: u64, rows: &[(u64, u64)]| {
        let row = |(cookie, quiet_s): &(u64, u64)| SocketRow {
            quiet_ns: quiet_s * SECOND,
            limits: Some(limits(&[(APPLICATION, 1_000 * (quiet_s + 1))])),
            ..connection(*cookie, KEY, 9, 0)
        };
        Batch { sockets: rows.iter().map(row).collect(), ..batch(number) }
    };
    let batches: Vec<_> = (0..30)
        .map(|number| match number {
            0 => told(0, &[(1, 0), (2, 0)]),
            number if number % 8 == 0 => told(number, &[(1, 7)]),
            number if number % 9 == 0 => told(number, &[(2, 8)]),
            number => told(number, &[]),
        })
        .collect();
    let of = |model: &Model| {
        let limits = |socket: &Socket| [socket.usage.now.limits.0, socket.usage.sum.limits.0].map(|ns| ns[APPLICATION]);
        model.sockets.iter().map(|(cookie, socket)| (*cookie, limits(socket))).collect::<Vec<_>>()
    };
    let whole = model(Window::Whole, &batches);
    assert_eq!(of(&whole), [1, 2].map(|cookie| (cookie, [SECOND, 30 * SECOND])));
    let recent = model(Window::Recent, &batches);
    assert_eq!(of(&recent), [1, 2].map(|cookie| (cookie, [SECOND, 20 * SECOND])));
    let jumped = model(Window::Recent, &batches[10..]);
    assert_eq!(of(&jumped), of(&recent), "as when it is replayed from the begin");
}

#[test]
fn a_reused_thread_id_is_another_thread_of_the_same_process() {
    let heir = TaskRow { start_ns: 900 * SECOND, ..thread(KEY, 8, 100 * MS) };
    let model = model(Window::Whole, &[with_tasks(0, vec![thread(KEY, 8, 300 * MS)]), with_tasks(1, vec![heir])]);
    assert_eq!(model.processes[&KEY].threads[&8].usage.sum.cpu_ns, 100 * MS);
    assert_eq!(model.processes[&KEY].usage.sum.cpu_ns, 400 * MS);
}

#[test]
fn names_may_come_before_or_after_the_rows() {
    let early = Batch { facts: vec![named(KEY, "early")], ..batch(0) };
    let late = Batch { facts: vec![named(process(9), "late")], ..batch(1) };
    let mut model = model(Window::Whole, &[early, with_tasks(1, vec![thread(KEY, 7, 0), thread(process(9), 99, 0)])]);
    assert_eq!(model.label(KEY), "early (7)");
    assert_eq!(model.label(process(9)), "? (exited before lookup) (9)");
    model.apply(&late);
    assert_eq!(model.label(process(9)), "late (9)");
}

#[test]
fn the_first_thread_lends_its_name() {
    let model = model(Window::Whole, &[with_tasks(0, vec![thread(KEY, 7, 0)])]);
    assert_eq!(model.label(KEY), "thread-7 (7)");
}

#[test]
fn who_is_not_in_a_batch_did_nothing_in_it() {
    let told = [with_tasks(0, vec![thread(KEY, 7, 300 * MS)]), batch(1)];
    let process = &model(Window::Recent, &told).processes[&KEY];
    assert_eq!(process.usage.now.cpu_ns, 0);
    assert_eq!(process.threads[&7].usage.now.wall_ns, 0);
    assert_eq!(process.usage.sum.cpu_ns, 300 * MS);
    assert_eq!(process.ended, None);
}

#[test]
fn a_process_ends_with_its_last_thread() {
    let end = |tid| TaskRow { state: state::ENDED, ..thread(KEY, tid, 0) };
    let mut model = model(Window::Whole, &[with_tasks(0, vec![end(7), thread(KEY, 8, 0)])]);
    assert_eq!(model.processes[&KEY].ended, None);
    model.apply(&with_tasks(1, vec![end(8)]));
    assert_eq!(model.processes[&KEY].ended, Some(model.time.until));
}

#[test]
fn recent_sums_cover_ten_to_twenty_intervals_and_say_which() {
    let mut model = model(Window::Recent, &[]);
    for number in 0..45 {
        let disks = vec![requests(op::READ, 3, 4_096, MS, MS)];
        model.apply(&Batch { tasks: vec![thread(KEY, 7, MS)], disks, ..batch(number) });
        let intervals = model.time.window_ns / SECOND;
        assert!(number < 10 || (10..=20).contains(&intervals), "{intervals} intervals after {number}");
        assert_eq!(model.processes[&KEY].usage.sum.cpu_ns, intervals * MS);
        assert_eq!(model.disks[&SDA].ops[0].sum.queue.count(), intervals * 3);
        assert_eq!(model.time.last_ns, SECOND);
    }
    assert_eq!(model.time.history.len(), 45);
}

#[test]
fn a_report_sums_everything() {
    let told: Vec<Batch> = (0..45).map(|number| with_tasks(number, vec![thread(KEY, 7, MS)])).collect();
    let model = model(Window::Whole, &told);
    assert_eq!(model.processes[&KEY].usage.sum.cpu_ns, 45 * MS);
    assert_eq!(model.time.window_ns, 45 * SECOND);
}

#[test]
fn a_gap_between_batches_is_in_no_sum() {
    let model = model(Window::Whole, &[batch(0), batch(7)]);
    assert_eq!(model.time.window_ns, 2 * SECOND);
    assert_eq!(model.time.until.since(model.time.begin), 8 * SECOND);
}

#[test]
fn who_ended_leaves_after_the_window() {
    let end = TaskRow { state: state::ENDED, ..thread(KEY, 7, 0) };
    let closed = crate::batch::SocketRow { ended: true, ..connection(5, KEY, 10, 0) };
    let mut model = model(Window::Recent, &[Batch { tasks: vec![end], sockets: vec![closed], ..batch(0) }]);
    (1..20).for_each(|number| model.apply(&batch(number)));
    assert!(model.processes.contains_key(&KEY) || model.time.window_ns < 20 * SECOND);
    (20..31).for_each(|number| model.apply(&batch(number)));
    assert!(model.processes.is_empty() && model.sockets.is_empty());
}

#[test]
fn what_exceeds_the_bounds_is_folded_and_counted() {
    let end = |pid| TaskRow { state: state::ENDED, ..thread(process(pid), pid, u64::from(pid) * MS) };
    let mut model = model(Window::Whole, &[with_tasks(0, (1..=10).map(end).collect())]);
    model.bound(8);
    assert_eq!(model.folded.processes, 6);
    let other = &model.processes[&bound::OTHER_PROCESS];
    assert_eq!((other.comm(bound::OTHER_PROCESS), other.usage.sum.cpu_ns), (Some("(other)"), 21 * MS));
    assert!(model.processes.contains_key(&process(10)), "the greatest stay");
}

#[test]
fn living_processes_are_folded_last_and_only_as_needed() {
    let tasks = (1..=10).map(|pid| thread(process(pid), pid, 0)).collect();
    let mut model = model(Window::Whole, &[with_tasks(0, tasks)]);
    model.bound(8);
    assert_eq!(model.folded.processes, 2);
}

#[test]
fn of_too_many_peers_the_least_are_one() {
    let told = (1..=10).map(|pid| answers(process(pid), "10.0.0.1:80", pid.into(), MS)).collect();
    let mut model = model(Window::Whole, &[Batch { exchanges: told, ..batch(0) }]);
    model.bound(8);
    let count = |key: &ExchangeKey| model.exchanges[key].sum.count;
    let other = |key: &&ExchangeKey| key.process == bound::OTHER_PROCESS;
    let folded = model.exchanges.keys().find(other).unwrap();
    assert_eq!((model.exchanges.len(), count(folded), folded.endpoint.as_str()), (7, 10, bound::OTHER));
    assert_eq!(model.exchanges[folded].sum.time.count(), 10);
}

#[test]
fn requests_are_forgotten_with_the_window() {
    let told = vec![answers(process(1), "10.0.0.1:80", 3, MS)];
    let mut model = model(Window::Recent, &[Batch { exchanges: told, ..batch(0) }]);
    let count = |model: &Model| model.exchanges.values().map(|usage| (usage.now.count, usage.sum.count)).next();
    assert_eq!(count(&model), Some((3, 3)));
    (1..=10).for_each(|number| model.apply(&batch(number)));
    assert_eq!(count(&model), Some((0, 3)));
    (11..=20).for_each(|number| model.apply(&batch(number)));
    assert_eq!(count(&model), None);
}

#[test]
fn files_come_from_calls() {
    let told = vec![
        calls(KEY, READ, kind::REGULAR, 10, 40_960, 0),
        calls(KEY, READ, kind::PIPE, 5, 50, MS),
        calls(KEY, FSYNC, kind::REGULAR, 2, 0, 3 * MS),
    ];
    let model = model(Window::Whole, &[Batch { calls: told, ..batch(0) }]);
    let files = file::files(&model.processes[&KEY], &model.calls);
    let regular = &files[&kind::REGULAR].sum;
    assert_eq!((regular.reads, regular.read_bytes, regular.syncs, regular.sync_blocked_ns), (10, 40_960, 2, 6 * MS));
    assert_eq!((files[&kind::PIPE].now.reads, files.len()), (5, 2));
    assert_eq!(file::storage([&model.processes[&KEY]], &model.calls).syncs, 2);
}

#[test]
fn devices_have_names_counts_and_a_second_opinion() {
    let mut told = Batch { facts: vec![sda()], disks: vec![requests(op::READ, 60, 4_096, MS, MS)], ..batch(0) };
    told.host.disks.insert(SDA, DiskStat { busy_ns: SECOND / 2, in_flight: 3, ..DiskStat::default() });
    let model = model(Window::Whole, &[told]);
    let disk = &model.disks[&SDA];
    assert_eq!((disk.name(SDA).as_str(), disk.stat.sum.busy_ns, disk.stat_known), ("sda", SECOND / 2, true));
    assert_eq!(disk.ops[op::READ as usize].now.requests, 60);
}

#[test]
fn losses_add_up_and_cost_is_a_share() {
    let mut told = batch(0);
    told.quality.lost.insert("exit_ring".into(), 3);
    let model = model(Window::Recent, &[told.clone(), told]);
    assert_eq!(model.quality.lost["exit_ring"], 6);
    assert!((model.quality.self_cpu_ratio - 0.005).abs() < 1e-9);
}

#[test]
fn the_empty_model_answers() {
    let model = Model::new(super::fixture::machine(), Window::Recent);
    assert_eq!((model.span_ns(), model.label(KEY).as_str()), (0, "process 7"));
}
