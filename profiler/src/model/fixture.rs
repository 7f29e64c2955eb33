//! Small batches by hand, for tests of everything that reads the model.

use std::collections::BTreeMap;

use profiler_common::exchange::role;
use profiler_common::hist::{LINEAR8_SLOTS, LINEAR32_SLOTS, LOG2_SLOTS, linear8_slot, linear32_slot, log2_slot};
use profiler_common::limit::{self, LIMITS};
use profiler_common::syscall::{call_key, operation};
use profiler_common::wait;
use profiler_common::{disk, task, tcp};

use crate::batch::hist::Scale;
use crate::batch::{
    Batch, CallRow, DiskKey, DiskRow, DiskStat, DropKey, DropRow, Endpoint, ExchangeKey, ExchangeRow, Fact, Hist,
    JournalRow, Machine, Pressure, ProcessFact, ProcessKey, Slowest, SocketRow, Spent, SpentParts, TaskRow, TcpMemory,
    Timestamp,
};
use crate::model::{Model, Window};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MS: u64 = 1_000_000;

pub(crate) const READ: u32 = 0;
pub(crate) const WRITE: u32 = 1;
pub(crate) const FUTEX: u32 = 202;
pub(crate) const EPOLL_WAIT: u32 = 232;
pub(crate) const FSYNC: u32 = 74;
pub(crate) const OPENAT: u32 = 257;
pub(crate) const URING_WRITE: u32 = operation::URING + 23;
pub(crate) const WORKER_WRITE: u32 = operation::WORKER + 23;

/// The one device of most tests.
pub(crate) const SDA: u32 = disk::device(8, 0);

/// Two CPUs, and the calls that tests use.
pub(crate) fn machine() -> Machine {
    let calls = [
        (READ, "read"),
        (WRITE, "write"),
        (FUTEX, "futex"),
        (EPOLL_WAIT, "epoll_wait"),
        (FSYNC, "fsync"),
        (OPENAT, "openat"),
        (URING_WRITE, "uring write"),
        (WORKER_WRITE, "iou-wrk write"),
    ];
    Machine {
        version: "0.1.0".into(),
        host: "web-3".into(),
        kernel: "6.18.5".into(),
        cpus: 2,
        memory_bytes: 4 << 30,
        anchor: Timestamp(100 * SECOND),
        anchor_unix_ns: 1_767_225_600 * SECOND,
        tick_ns: SECOND,
        call_sampling: 0.01,
        call_names: calls.into_iter().map(|(number, name)| (number, name.to_owned())).collect(),
        ..Machine::default()
    }
}

/// A process that started at its id in seconds.
pub(crate) fn process(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_ns: u64::from(pid) * SECOND }
}

/// A one-second interval with a host that is mostly idle; the first is number 0.
pub(crate) fn batch(number: u64) -> Batch {
    let mut batch = Batch {
        from: Timestamp((100 + number) * SECOND),
        until: Timestamp((101 + number) * SECOND),
        ..Batch::default()
    };
    batch.host.cpu_ns = [100 * MS, 100 * MS, 1_800 * MS, 0, 0, 0];
    let idle = Some(Pressure::default());
    batch.host.pressure = [("cpu", idle), ("io", idle), ("memory", idle)].map(|(name, p)| (name.into(), p)).into();
    batch.host.net = BTreeMap::from([("RetransSegs".into(), 0), ("ListenOverflows".into(), 0)]);
    batch.host.tcp_memory = Some(TcpMemory { used_bytes: 1 << 20, pressure_bytes: 1 << 30, most_bytes: 2 << 30 });
    batch.host.refaulted_pages = Some(0);
    batch.host.disks = BTreeMap::from([(SDA, DiskStat::default())]);
    batch.quality.self_cpu_ns = 5 * MS;
    batch.quality.programs_ns = Some(2 * MS);
    batch.quality.self_memory_bytes = 20 << 20;
    batch.quality.map_memory_bytes = 8 << 20;
    batch
}

/// The facts of a process.
pub(crate) fn named(key: ProcessKey, comm: &str) -> Fact {
    let (command, user) = (Some(format!("/usr/bin/{comm}")), Some("app".into()));
    Fact::Process(ProcessFact { process: key, comm: comm.into(), command, user, ..ProcessFact::default() })
}

/// The facts of [`SDA`].
pub(crate) fn sda() -> Fact {
    Fact::Disk { device: SDA, name: "sda".into(), backing: None, below: Vec::new() }
}

/// A thread that slept for the whole second, but for `cpu_ns`.
pub(crate) fn thread(key: ProcessKey, tid: u32, cpu_ns: u64) -> TaskRow {
    TaskRow {
        process: key,
        tid,
        start_ns: u64::from(tid) * SECOND,
        state: task::state::SLEEPING,
        wall_ns: SECOND,
        cpu_ns,
        user_ns: 3 * cpu_ns,
        system_ns: cpu_ns,
        blocked_ns: SECOND - cpu_ns,
        wait: Some(wait::POLL),
        waits: std::array::from_fn(|kind| if kind == wait::POLL as usize { SECOND - cpu_ns } else { 0 }),
        switches_voluntary: 100,
        pages: Some([0; 8]),
        comm: format!("thread-{tid}"),
        ..TaskRow::default()
    }
}

/// Calls of a process on a kind of file, blocked for `blocked_ns` each.
pub(crate) fn calls(key: ProcessKey, number: u32, kind: u32, count: u64, bytes: u64, blocked_ns: u64) -> CallRow {
    let blocked = if blocked_ns == 0 { Hist::new(Scale::Log2) } else { log2(blocked_ns, count) };
    CallRow {
        process: key,
        key: call_key(number, kind),
        count,
        bytes,
        blocked_ns: blocked_ns * count,
        blocked,
        ..CallRow::default()
    }
}

/// Requests to [`SDA`], all alike.
pub(crate) fn requests(op: u32, count: u64, bytes: u64, queue_ns: u64, device_ns: u64) -> DiskRow {
    DiskRow {
        key: DiskKey { device: SDA, op },
        requests: count,
        bytes,
        queue_ns: queue_ns * count,
        device_ns: device_ns * count,
        issued: count,
        queue: linear32(queue_ns, count),
        service: linear32(device_ns, count),
        latency: linear32(queue_ns + device_ns, count),
        ..DiskRow::default()
    }
}

/// An established connection of a process to 10.0.0.9.
pub(crate) fn connection(cookie: u64, owner: ProcessKey, segments_out: u64, retransmits: u64) -> SocketRow {
    SocketRow {
        cookie,
        netns: 1,
        local: format!("10.0.0.1:{}", 40_000 + cookie).parse().unwrap(),
        peer: "10.0.0.9:5432".parse().unwrap(),
        state: tcp::state::ESTABLISHED,
        owner: Some(owner),
        sent_bytes: segments_out * 1_000,
        received_bytes: segments_out * 100,
        segments_out,
        retransmits,
        srtt_us: Some(900),
        min_rtt_us: Some(400),
        cwnd: 10,
        mss: 1_448,
        limits: Some(limits(&[(limit::APPLICATION, 940), (limit::FLIGHT, 60)])),
        send_buffer_bytes: Some(87_040),
        ..SocketRow::default()
    }
}

/// Milliseconds by limit.
pub(crate) fn limits(ms: &[(usize, u64)]) -> [u64; LIMITS] {
    let mut limits = [0; LIMITS];
    for (limit, ms) in ms {
        limits[*limit] = ms * MS;
    }
    limits
}

/// A listener of a process.
pub(crate) fn listener(cookie: u64, owner: ProcessKey, queue: u32, limit: u32, drops: u64) -> SocketRow {
    SocketRow {
        cookie,
        netns: 1,
        local: "0.0.0.0:80".parse().unwrap(),
        peer: Endpoint::ANY,
        state: tcp::state::LISTEN,
        owner: Some(owner),
        drops,
        accept_queue: queue,
        accept_limit: limit,
        ..SocketRow::default()
    }
}

/// So many exchanges of a process with a service of its own, of so long each.
pub(crate) fn answers(owner: ProcessKey, endpoint: &str, count: u64, time_ns: u64) -> ExchangeRow {
    let key = ExchangeKey { role: role::SERVER, netns: 1, endpoint: endpoint.into(), process: owner };
    let mut spent = SpentParts { cpu_ns: time_ns / 4, ..SpentParts::default() };
    spent.waits[wait::DISK_READ as usize] = time_ns - spent.cpu_ns;
    let slowest = Slowest { time_ns, at: Timestamp(0), socket: 1, tid: owner.pid, spent: Spent::Told(spent) };
    ExchangeRow {
        key,
        count,
        time_ns: count * time_ns,
        time: linear32(time_ns, count),
        slowest: Some(slowest),
        stalls: Some(0),
        asked: Some(0),
        ..ExchangeRow::default()
    }
}

/// So many datagrams that a socket of its own had no room for.
pub(crate) fn drops(owner: Option<ProcessKey>, cookie: u64, count: u64) -> DropRow {
    let local = "0.0.0.0:8125".parse().unwrap_or_default();
    let key = DropKey { reason: "SOCKET_RCVBUFF".into(), cookie: Some(cookie), netns: 1, protocol: 17, local };
    DropRow { key, owner, count }
}

/// The same with a peer that is some round trip away.
pub(crate) fn requests_to(owner: ProcessKey, peer: &str, count: u64, time_ns: u64, rtt_ns: u64) -> ExchangeRow {
    let row = answers(owner, peer, count, time_ns);
    let key = ExchangeKey { role: role::CLIENT, ..row.key };
    ExchangeRow { key, timed: count, rtt_ns: count * rtt_ns, ..row }
}

/// A model that was told these batches.
pub(crate) fn model(window: Window, batches: &[Batch]) -> Model {
    let mut model = Model::new(machine(), window);
    for batch in batches {
        model.apply(batch);
    }
    model
}

/// A histogram of one value on the coarse scale.
pub(crate) fn log2(ns: u64, count: u64) -> Hist {
    const { assert!(LOG2_SLOTS < u16::MAX as usize) }
    Hist { scale: Scale::Log2, slots: slots(log2_slot(ns), count) }
}

/// So many commits of a journal on [`SDA`], of so long each, nearly all of it to write the transaction.
pub(crate) fn commits(commits: u64, commit_ns: u64) -> JournalRow {
    let (locked_ns, flushing_ns) = (commit_ns / 20, commit_ns / 100);
    JournalRow {
        device: SDA,
        commits,
        requested: Some(commits),
        request_ns: commits * commit_ns / 2,
        starting_ns: 0,
        locked_ns: commits * locked_ns,
        flushing_ns: commits * flushing_ns,
        logging_ns: commits * (commit_ns - locked_ns - flushing_ns),
        busy_ns: commits * commit_ns,
        under_way_ns: Some(commit_ns / 2),
        commit: linear32(commit_ns, commits),
    }
}

/// A histogram of one value on the finest scale.
pub(crate) fn linear32(ns: u64, count: u64) -> Hist {
    const { assert!(LINEAR32_SLOTS < u16::MAX as usize) }
    Hist { scale: Scale::Linear32, slots: slots(linear32_slot(ns), count) }
}

/// A histogram of one value on the fine scale.
pub(crate) fn linear8(ns: u64, count: u64) -> Hist {
    const { assert!(LINEAR8_SLOTS < u16::MAX as usize) }
    Hist { scale: Scale::Linear8, slots: slots(linear8_slot(ns), count) }
}

fn slots(slot: usize, count: u64) -> Vec<(u16, u64)> {
    if count == 0 { Vec::new() } else { vec![(u16::try_from(slot).unwrap_or(u16::MAX), count)] }
}
