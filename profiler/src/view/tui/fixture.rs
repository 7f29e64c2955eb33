//! A small host by hand, for tests of the screen.

use std::collections::BTreeMap;

use profiler_common::disk::op;
use profiler_common::file::kind;
use profiler_common::wait;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::batch::{
    Batch, DiskKey, DiskOwnerRow, DiskSizeRow, DiskStat, Fact, FileKey, PartitionRow, PathRow, Pressure, ProbeStatus,
    TaskRow,
};
use crate::field::Subject;
use crate::finding::{Finding, Severity};
use crate::model::fixture::{
    EPOLL_WAIT, FSYNC, FUTEX, MS, READ, SDA, SECOND, WRITE, answers, batch, calls, commits, connection, linear8,
    linear32, listener, log2, machine, named, process, requests, requests_to, sda, thread,
};
use crate::model::{Model, Window};
use crate::view::tui::app::App;
use crate::view::tui::app::session::Session;
use crate::view::tui::app::{Mode, Msg};
use crate::view::tui::screen;
use crate::view::tui::theme::Theme;

/// For whom the disk works in [`second`], and how large the requests are, and what its journal does.
fn owned(batch: &mut Batch) {
    let (postgres, backup) = (process(812), process(9_001));
    let owner = |process, op, requests, bytes, queue_ns, device_ns| DiskOwnerRow {
        key: DiskKey { device: SDA, op },
        process,
        requests,
        bytes,
        queue_ns,
        device_ns,
        latency: log2((queue_ns + device_ns) / requests, requests),
    };
    batch.disk_owners = vec![
        owner(backup, op::READ, 800, 104_857_600, 40 * MS, 800 * MS),
        owner(postgres, op::WRITE, 320, 2_600_000, 3_200 * MS, 700 * MS),
    ];
    let size = |op, size, count| DiskSizeRow { key: DiskKey { device: SDA, op }, size, latency: log2(MS, count) };
    batch.disk_sizes = vec![size(op::READ, 5, 800), size(op::WRITE, 0, 300), size(op::WRITE, 1, 80)];
    let part = |number: u32, requests, bytes, queue_ns, device_ns| PartitionRow {
        key: DiskKey { device: SDA | number, op: op::WRITE },
        requests,
        bytes,
        queue_ns,
        device_ns,
        latency: log2((queue_ns + device_ns) / requests, requests),
    };
    batch.partitions = vec![part(1, 40, 163_840, 10 * MS, 60 * MS), part(2, 340, 2_436_160, 3_190 * MS, 640 * MS)];
    for (number, name) in [(1, "sda1"), (2, "sda2")] {
        batch.facts.push(Fact::Disk { device: SDA | number, name: name.into(), backing: None, below: Vec::new() });
    }
    batch.journals = vec![commits(36, 17 * MS)];
}

/// Which files of [`second`] are used most.
fn used(batch: &mut Batch) {
    let (log, table) =
        (FileKey { number: 12, device: SDA, generation: 1 }, FileKey { number: 40, device: SDA, generation: 1 });
    let postgres = process(812);
    let row = |file| PathRow { file, process: postgres, kind: kind::REGULAR, ..PathRow::default() };
    batch.paths = vec![
        PathRow {
            writes: 370,
            written_bytes: 3_031_040,
            syncs: 36,
            sync_blocked_ns: 560 * MS,
            sync_blocked: log2(15 * MS, 36),
            ..row(log)
        },
        PathRow {
            reads: 2_900,
            read_bytes: 23_756_800,
            read_blocked_ns: 180 * MS,
            missed_pages: 180,
            read_missed_pages: Some(120),
            misaligned: Some(0),
            ..row(table)
        },
    ];
    let path = |file, path: &str| Fact::Path { file, path: path.to_owned() };
    batch.facts.push(path(log, "/var/lib/postgresql/17/main/pg_wal/000000010000000000000012"));
    batch.facts.push(path(table, "…/16384/24601"));
}

/// What holds the threads of [`second`] up.
fn held_up(tasks: &mut [TaskRow], number: u64) {
    let postgres = process(812);
    tasks[3].blocked_ns -= 90 * MS;
    tasks[3].waits[wait::POLL as usize] -= 90 * MS;
    tasks[3].runq_wakeup_ns = 60 * MS;
    tasks[3].runq_preempted_ns = 20 * MS;
    for (task, kind, ns) in [
        (0, wait::JOURNAL, 560 * MS),
        (0, wait::DISK_READ, 180 * MS),
        (1, wait::LOCK, 70 * MS),
        (3, wait::SEND, 240 * MS),
    ] {
        tasks[task].waits[wait::POLL as usize] -= ns;
        tasks[task].waits[kind as usize] += ns;
        tasks[task].wait = Some(kind);
        tasks[task].woke_wait = Some(kind);
    }
    tasks[0].wait = Some(if number.is_multiple_of(3) { wait::DISK_READ } else { wait::JOURNAL });
    tasks[0].wait_object = Some(
        if number.is_multiple_of(2) {
            "/var/lib/postgresql/15/main/pg_wal/000000010000000000000003"
        } else {
            "/data/2619"
        }
        .into(),
    );
    tasks[1].wait_object = Some("kernel lock 3fa2".into());
    (tasks[1].waker_pid, tasks[1].waker_start_ns) = (Some(postgres.pid), Some(postgres.start_ns));
    tasks[3].wait_socket = Some(2);
}

/// A second of a host with a database that waits for its disk.
pub fn second(number: u64) -> Batch {
    let (postgres, nginx, backup) = (process(812), process(640), process(9_001));
    let wave = number % 5;
    let mut batch = batch(number);
    batch.tasks = vec![
        thread(postgres, 812, 120 * MS),
        thread(postgres, 815, (40 + 10 * wave) * MS),
        thread(postgres, 816, 5 * MS),
        thread(nginx, 640, 310 * MS),
        thread(backup, 9_001, 640 * MS),
    ];
    held_up(&mut batch.tasks, number);
    for (task, comm) in batch.tasks.iter_mut().zip(["postgres", "walwriter", "checkpointer", "nginx", "restic"]) {
        task.comm = comm.into();
    }
    batch.tasks[0].pages = Some([630, 40, 0, 760, 12, 900, 0, 0]);
    batch.tasks[4].pages = Some([25_600, 0, 0, 0, 90, 20_000, 0, 0]);
    let mut read = calls(postgres, READ, kind::REGULAR, 4_200, 34_406_400, 0);
    read.latency = linear8(9_000, 42);
    batch.calls = vec![
        read,
        calls(postgres, WRITE, kind::REGULAR, 380, 3_112_960, 0),
        calls(postgres, FSYNC, kind::REGULAR, 36, 0, 18 * MS),
        calls(postgres, EPOLL_WAIT, kind::ANONYMOUS, 90, 0, 9 * MS),
        calls(nginx, READ, kind::SOCKET, 12_500, 9_000_000, 0),
        calls(nginx, EPOLL_WAIT, kind::ANONYMOUS, 2_000, 0, MS / 3),
        calls(backup, READ, kind::REGULAR, 800, 104_857_600, MS / 4),
        calls(backup, FUTEX, kind::NONE, 12, 0, 2 * MS),
    ];
    let mut write = requests(op::WRITE, 380, 3_112_960, 9 * MS, 2 * MS);
    write.queue.add(&linear32(41 * MS, 30));
    write.queue.add(&linear32(MS, 120));
    write.service.add(&linear32(MS / 2, 90));
    write.in_flight = 14;
    batch.disks = vec![requests(op::READ, 800, 104_857_600, MS / 20, MS), write, requests(op::FLUSH, 36, 0, 0, 6 * MS)];
    owned(&mut batch);
    used(&mut batch);
    batch.sockets = vec![
        connection(1, nginx, 900, 0),
        connection(2, nginx, 4_000 + 100 * wave, 37),
        connection(3, postgres, 30, 0),
        listener(4, nginx, 3, 511, 0),
        listener(5, postgres, 129, 128, 12),
    ];
    batch.exchanges =
        vec![answers(nginx, "10.0.0.1:80", 6_200, 3 * MS), requests_to(nginx, "10.0.0.9:5432", 1_100, 9 * MS, MS / 2)];
    batch.host.cpu_ns = [620 * MS, 210 * MS, 700 * MS, 400 * MS, 50 * MS, 20 * MS];
    batch.host.pressure = BTreeMap::from([
        ("cpu".into(), Some(Pressure { some_ns: 130 * MS, full_ns: 0 })),
        ("io".into(), Some(Pressure { some_ns: 620 * MS, full_ns: 410 * MS })),
        ("memory".into(), None),
    ]);
    let stat = DiskStat {
        requests: [800, 530, 36, 0],
        bytes: [104_857_600, 3_112_960, 0, 0],
        merges: Some([0, 90, 0, 0]),
        request_ns: Some([840 * MS, 4_180 * MS, 216 * MS, 0]),
        busy_ns: 970 * MS,
        in_flight: 14,
    };
    batch.host.disks = BTreeMap::from([(SDA, stat)]);
    if number == 0 {
        batch.facts = vec![named(postgres, "postgres"), named(nginx, "nginx"), named(backup, "restic"), sda()];
    }
    batch
}

/// A model that has seen some seconds.
pub fn model(seconds: u64) -> Model {
    let mut machine = machine();
    machine.probes = vec![ProbeStatus {
        name: "tcp_send_reset".into(),
        without: "resets that we sent".into(),
        ..ProbeStatus::default()
    }];
    let mut model = Model::new(machine, Window::Recent);
    (0..seconds).for_each(|number| model.apply(&second(number)));
    model
}

/// A model that has lost something.
pub fn lossy() -> Model {
    let mut model = model(13);
    let mut batch = second(13);
    batch.quality.lost = BTreeMap::from([("exit_ring".into(), 12), ("request".into(), 3)]);
    batch.quality.missed_ticks = 2;
    model.apply(&batch);
    model
}

/// What a doctor would say about [`model`].
pub fn findings() -> Vec<Finding> {
    vec![
        Finding {
            id: "D3",
            severity: Severity::High,
            subject: "sda".into(),
            at: Subject::Disk(SDA, op::WRITE),
            claim: "write requests to sda wait in the queue, not for the device".into(),
            victims: vec!["postgres (812) 62 %".into(), "restic (9001) 8 %".into()],
            impact: 0.62,
            evidence: vec!["queue p99 ≤ 44.0 ms".into(), "device p99 ≤ 2.2 ms".into(), "14 requests in flight".into()],
            witness: Some("/proc/diskstats: busy 97 % of the time".into()),
            rejected: vec!["slow device: its p99 is 2.2 ms".into(), "few CPUs: run queue 0.1 threads".into()],
            advice: "lower the concurrency of the busiest writer, or raise the queue depth",
        },
        Finding {
            id: "T4",
            severity: Severity::Medium,
            subject: "0.0.0.0:80".into(),
            at: Subject::Socket(5),
            claim: "postgres (812) does not accept connections to 0.0.0.0:80 fast enough".into(),
            victims: vec!["clients of postgres (812)".into()],
            impact: 0.021,
            evidence: vec!["129 of 128 waiting, 12 dropped per second".into()],
            witness: None,
            rejected: Vec::new(),
            advice: "accept faster, or raise the backlog",
        },
    ]
}

/// A session in front of a model, on a terminal of some size.
pub fn session(model: Model, mode: Mode, (width, height): (u16, u16)) -> Session {
    let mut session = Session::new(model, App::new(mode, Theme::default()));
    session.handle(Msg::Resized(width, height));
    session
}

/// Another second passes.
pub fn learn(session: &mut Session, number: u64) {
    session.learn(&second(number));
    session.refresh();
}

/// Presses keys, one letter each; `\n` is Enter, `\t` is Tab, `\u{1b}` is Esc.
pub fn press(session: &mut Session, keys: &str) {
    for letter in keys.chars() {
        let code = match letter {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            letter => KeyCode::Char(letter),
        };
        session.handle(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
}

/// What the terminal shows.
pub fn drawn(session: &Session) -> Terminal<TestBackend> {
    let size = session.app.size;
    let mut terminal = Terminal::new(TestBackend::new(size.width, size.height)).expect("a backend in memory");
    let draw = |buffer: &mut Buffer| screen::draw(buffer, &session.view, &session.app);
    terminal.draw(|frame| draw(frame.buffer_mut())).expect("a backend in memory");
    terminal
}

/// The same with findings, which need more than this model to be found.
pub fn diagnosed(size: (u16, u16), seconds: u64) -> Session {
    let mut session = session(model(seconds), Mode::Live, size);
    session.view.findings = findings();
    session.view.finding = Some(0);
    session.app.settle(&session.view);
    session
}

/// The end of a capture of 60 seconds.
pub fn end() -> crate::batch::Timestamp {
    crate::batch::Timestamp(160 * SECOND)
}
