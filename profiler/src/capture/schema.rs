//! What is stored of a [`Batch`]. Ids are for good: a field that goes leaves its id unused, a new one takes the next.
//!
//! A new field needs one line here and one in `docs/CAPTURE.md`; the tests say so if either is missing.

use std::collections::BTreeMap;

use crate::batch::{
    Batch, CallRow, DiskError, DiskOwnerRow, DiskRow, DiskSizeRow, DiskStat, DropRow, Endpoint, ExchangeRow, FileKey,
    Hist, JournalRow, PartitionRow, PathRow, ProcessFact, ProcessKey, Slowest, SocketRow, TaskRow, TcpMemory,
    TimeWaitRow, Timestamp,
};
use crate::capture::codec::{Codec, Delta, HistCounts, HistLength, HistScale, HistSlots, Plain, SlowestSpent};
use crate::capture::table::columns;

/// Kind of a fact, in the order of [`Batch::facts`]. The facts themselves are in a table for each kind.
#[derive(Clone, Default)]
pub(super) struct FactKind {
    pub kind: u32,
}

/// [`crate::batch::Fact::Disk`].
#[derive(Clone, Default)]
pub(super) struct DiskFact {
    pub device: u32,
    pub name: String,
    pub backing: Option<String>,
    pub below: Vec<u32>,
}

/// [`crate::batch::Fact::Path`].
#[derive(Clone, Default)]
pub(super) struct PathFact {
    pub file: FileKey,
    pub path: String,
}

/// [`crate::batch::Fact::NetNamespace`].
#[derive(Clone, Default)]
pub(super) struct NetNamespaceFact {
    pub netns: u32,
    pub name: String,
}

/// An entry of [`crate::batch::HostRow::pressure`].
#[derive(Clone, Default)]
pub(super) struct PressureRow {
    pub resource: String,
    /// Whether the kernel keeps it.
    pub known: bool,
    pub some_ns: u64,
    pub full_ns: u64,
}

/// An entry of [`crate::batch::HostRow::disks`].
#[derive(Clone, Default)]
pub(super) struct DiskStatRow {
    pub device: u32,
    pub stat: DiskStat,
}

columns! {
    Batch = 1 {
        1 => tcp_events: [u64; 7] as Plain,
        2 => host.cpu_ns: [u64; 6] as Plain,
        3 => host.runnable: u64 as Plain,
        4 => host.uninterruptible: u64 as Plain,
        5 => host.net: BTreeMap<String, u64> as Plain,
        6 => host.memory_available_bytes: u64 as Plain,
        7 => host.dirty_bytes: u64 as Plain,
        8 => quality.lost: BTreeMap<String, u64> as Plain,
        9 => quality.missed_ticks: u64 as Plain,
        10 => quality.self_cpu_ns: u64 as Plain,
        11 => quality.self_memory_bytes: u64 as Plain,
        12 => quality.map_memory_bytes: u64 as Plain,
        13 => quality.programs_ns: Option<u64> as Plain,
        14 => quality.drain_ns: u64 as Plain,
        15 => quality.notes: Vec<String> as Plain,
        16 => host.refaulted_pages: Option<u64> as Plain,
        17 => host.local_ports: Option<u32> as Plain,
        18 => host.tcp_memory: Option<TcpMemory> as Plain,
    }

    TaskRow = 2 {
        1 => process.pid: u32 as Delta,
        2 => process.start_ns: u64 as Delta,
        3 => tid: u32 as Delta,
        4 => start_ns: u64 as Delta,
        5 => state: u32 as Plain,
        6 => wait_call: Option<u32> as Plain,
        7 => waiting_ns: u64 as Plain,
        8 => wall_ns: u64 as Delta,
        9 => cpu_ns: u64 as Plain,
        10 => runq_wakeup_ns: u64 as Plain,
        11 => runq_preempted_ns: u64 as Plain,
        12 => blocked_ns: u64 as Plain,
        13 => switches_voluntary: u64 as Plain,
        14 => switches_involuntary: u64 as Plain,
        15 => minor_faults: u64 as Plain,
        16 => major_faults: u64 as Plain,
        17 => storage_read_bytes: Option<u64> as Plain,
        18 => storage_write_bytes: Option<u64> as Plain,
        19 => comm: String as Delta,
        20 => wait: Option<u32> as Plain,
        21 => user_ns: u64 as Plain,
        22 => system_ns: u64 as Plain,
        23 => waits: [u64; 32] as Plain,
        24 => throttled_ns: u64 as Plain,
        25 => wait_object: Option<String> as Plain,
        26 => wait_socket: Option<u64> as Plain,
        27 => woke_wait: Option<u32> as Plain,
        28 => waker_pid: Option<u32> as Plain,
        29 => waker_start_ns: Option<u64> as Plain,
        30 => reclaim_cpu_ns: u64 as Plain,
        31 => pages: Option<[u64; 8]> as Plain,
    }

    CallRow = 3 {
        1 => process.pid: u32 as Delta,
        2 => process.start_ns: u64 as Delta,
        3 => key: u32 as Delta,
        4 => count: u64 as Plain,
        5 => bytes: u64 as Plain,
        6 => errors: [u64; 8] as Plain,
        7 => blocked_ns: u64 as Plain,
        8 => blocked: Hist as HistScale,
        9 => blocked: Hist as HistLength,
        10 => blocked: Hist as HistSlots,
        11 => blocked: Hist as HistCounts,
        12 => latency: Hist as HistScale,
        13 => latency: Hist as HistLength,
        14 => latency: Hist as HistSlots,
        15 => latency: Hist as HistCounts,
    }

    DiskRow = 4 {
        1 => key.device: u32 as Delta,
        2 => key.op: u32 as Plain,
        3 => requests: u64 as Plain,
        4 => bytes: u64 as Plain,
        5 => errors: u64 as Plain,
        6 => in_flight: u64 as Plain,
        7 => queue_unknown: u64 as Plain,
        8 => queue_ns: u64 as Plain,
        9 => device_ns: u64 as Plain,
        10 => queue: Hist as HistScale,
        11 => queue: Hist as HistLength,
        12 => queue: Hist as HistSlots,
        13 => queue: Hist as HistCounts,
        14 => service: Hist as HistScale,
        15 => service: Hist as HistLength,
        16 => service: Hist as HistSlots,
        17 => service: Hist as HistCounts,
        18 => requeues: u64 as Plain,
        19 => sequential: u64 as Plain,
        20 => issued: u64 as Plain,
        21 => fua: u64 as Plain,
        22 => latency: Hist as HistScale,
        23 => latency: Hist as HistLength,
        24 => latency: Hist as HistSlots,
        25 => latency: Hist as HistCounts,
        26 => error: Option<DiskError> as Plain,
        27 => waits: u64 as Plain,
        28 => wait_ns: u64 as Plain,
        29 => wait: Hist as HistScale,
        30 => wait: Hist as HistLength,
        31 => wait: Hist as HistSlots,
        32 => wait: Hist as HistCounts,
    }

    DiskSizeRow = 13 {
        1 => key.device: u32 as Delta,
        2 => key.op: u32 as Plain,
        3 => size: u32 as Plain,
        4 => latency: Hist as HistScale,
        5 => latency: Hist as HistLength,
        6 => latency: Hist as HistSlots,
        7 => latency: Hist as HistCounts,
    }

    DiskOwnerRow = 14 {
        1 => key.device: u32 as Delta,
        2 => key.op: u32 as Plain,
        3 => process.pid: u32 as Delta,
        4 => process.start_ns: u64 as Delta,
        5 => requests: u64 as Plain,
        6 => bytes: u64 as Plain,
        7 => queue_ns: u64 as Plain,
        8 => device_ns: u64 as Plain,
        9 => latency: Hist as HistScale,
        10 => latency: Hist as HistLength,
        11 => latency: Hist as HistSlots,
        12 => latency: Hist as HistCounts,
    }

    PartitionRow = 25 {
        1 => key.device: u32 as Delta,
        2 => key.op: u32 as Plain,
        3 => requests: u64 as Plain,
        4 => bytes: u64 as Plain,
        5 => queue_ns: u64 as Plain,
        6 => device_ns: u64 as Plain,
        7 => latency: Hist as HistScale,
        8 => latency: Hist as HistLength,
        9 => latency: Hist as HistSlots,
        10 => latency: Hist as HistCounts,
    }

    PathRow = 21 {
        1 => file.device: u32 as Delta,
        2 => file.number: u64 as Delta,
        3 => file.generation: u32 as Plain,
        4 => process.pid: u32 as Delta,
        5 => process.start_ns: u64 as Delta,
        6 => kind: u32 as Plain,
        7 => reads: u64 as Plain,
        8 => read_bytes: u64 as Plain,
        9 => read_blocked_ns: u64 as Plain,
        10 => writes: u64 as Plain,
        11 => written_bytes: u64 as Plain,
        12 => write_blocked_ns: u64 as Plain,
        13 => syncs: u64 as Plain,
        14 => sync_blocked_ns: u64 as Plain,
        15 => sync_blocked: Hist as HistScale,
        16 => sync_blocked: Hist as HistLength,
        17 => sync_blocked: Hist as HistSlots,
        18 => sync_blocked: Hist as HistCounts,
        19 => missed_pages: u64 as Plain,
        20 => read_missed_pages: Option<u64> as Plain,
        21 => misaligned: Option<u64> as Plain,
    }

    JournalRow = 20 {
        1 => device: u32 as Delta,
        2 => commits: u64 as Plain,
        3 => requested: Option<u64> as Plain,
        4 => request_ns: u64 as Plain,
        5 => starting_ns: u64 as Plain,
        6 => locked_ns: u64 as Plain,
        7 => flushing_ns: u64 as Plain,
        8 => logging_ns: u64 as Plain,
        9 => busy_ns: u64 as Plain,
        10 => under_way_ns: Option<u64> as Plain,
        11 => commit: Hist as HistScale,
        12 => commit: Hist as HistLength,
        13 => commit: Hist as HistSlots,
        14 => commit: Hist as HistCounts,
    }

    SocketRow = 5 {
        1 => cookie: u64 as Delta,
        2 => netns: u32 as Delta,
        3 => local: Endpoint as Delta,
        4 => peer: Endpoint as Delta,
        5 => state: u32 as Plain,
        6 => ended: bool as Plain,
        7 => owner: Option<ProcessKey> as Plain,
        8 => uid: u32 as Plain,
        9 => opened: Option<Timestamp> as Plain,
        10 => connect_ns: Option<u64> as Plain,
        11 => connect_errno: Option<u32> as Plain,
        12 => sent_bytes: u64 as Plain,
        13 => acked_bytes: u64 as Plain,
        14 => received_bytes: u64 as Plain,
        15 => segments_out: u64 as Plain,
        16 => retransmits: u64 as Plain,
        17 => drops: u64 as Plain,
        18 => total.sent_bytes: u64 as Plain,
        19 => total.acked_bytes: u64 as Plain,
        20 => total.received_bytes: u64 as Plain,
        21 => total.retransmits: u64 as Plain,
        22 => srtt_us: Option<u32> as Plain,
        23 => rttvar_us: Option<u32> as Plain,
        24 => min_rtt_us: Option<u32> as Plain,
        25 => cwnd: u32 as Plain,
        26 => ssthresh: u32 as Plain,
        27 => mss: u32 as Plain,
        28 => send_window_bytes: u32 as Plain,
        29 => packets_out: u32 as Plain,
        30 => receive_queue_bytes: u32 as Plain,
        31 => send_queue_bytes: u32 as Plain,
        32 => accept_queue: u32 as Plain,
        33 => accept_limit: u32 as Plain,
        34 => limits: Option<[u64; 9]> as Plain,
        35 => send_buffer_bytes: Option<u32> as Plain,
        36 => unsent_bytes: Option<u32> as Plain,
        37 => timeouts: Option<u64> as Plain,
        38 => recoveries: Option<u64> as Plain,
        39 => accept_ns: Option<u64> as Plain,
        40 => quiet_ns: u64 as Plain,
        41 => zero_window_ns: Option<u64> as Plain,
    }

    TimeWaitRow = 26 {
        1 => netns: u32 as Delta,
        2 => peer: Endpoint as Delta,
        3 => count: u64 as Plain,
    }

    ExchangeRow = 23 {
        1 => key.role: u32 as Plain,
        2 => key.netns: u32 as Delta,
        3 => key.endpoint: String as Delta,
        4 => key.process.pid: u32 as Delta,
        5 => key.process.start_ns: u64 as Delta,
        6 => count: u64 as Plain,
        7 => time_ns: u64 as Plain,
        8 => time: Hist as HistScale,
        9 => time: Hist as HistLength,
        10 => time: Hist as HistSlots,
        11 => time: Hist as HistCounts,
        12 => timed: u64 as Plain,
        13 => rtt_ns: u64 as Plain,
        14 => shorter: u64 as Plain,
        15 => slowest: Option<Slowest> as Plain,
        16 => stalls: Option<u64> as Plain,
        17 => stall_ns: u64 as Plain,
        18 => stall_rtt_ns: u64 as Plain,
        19 => stall_socket: Option<u64> as Plain,
        20 => asked: Option<u64> as Plain,
        21 => answered: u64 as Plain,
        22 => slowest: Option<Slowest> as SlowestSpent,
    }

    DropRow = 30 {
        1 => key.reason: String as Delta,
        2 => key.cookie: Option<u64> as Plain,
        3 => key.netns: u32 as Delta,
        4 => key.protocol: u32 as Plain,
        5 => key.local: Endpoint as Delta,
        6 => owner: Option<ProcessKey> as Plain,
        7 => count: u64 as Plain,
    }

    PressureRow = 6 {
        1 => resource: String as Plain,
        2 => known: bool as Plain,
        3 => some_ns: u64 as Plain,
        4 => full_ns: u64 as Plain,
    }

    DiskStatRow = 7 {
        1 => device: u32 as Delta,
        2 => stat.requests: [u64; 4] as Plain,
        3 => stat.bytes: [u64; 4] as Plain,
        4 => stat.busy_ns: u64 as Plain,
        5 => stat.in_flight: u64 as Plain,
        6 => stat.request_ns: Option<[u64; 4]> as Plain,
        7 => stat.merges: Option<[u64; 4]> as Plain,
    }

    FactKind = 8 {
        1 => kind: u32 as Plain,
    }

    ProcessFact = 9 {
        1 => process.pid: u32 as Delta,
        2 => process.start_ns: u64 as Delta,
        3 => parent_pid: u32 as Plain,
        4 => comm: String as Delta,
        5 => command: Option<String> as Plain,
        6 => uid: u32 as Plain,
        7 => user: Option<String> as Plain,
        8 => cgroup: Option<String> as Plain,
        9 => kernel_thread: bool as Plain,
        10 => netns: u32 as Delta,
    }

    DiskFact = 10 {
        1 => device: u32 as Delta,
        2 => name: String as Plain,
        3 => backing: Option<String> as Plain,
        4 => below: Vec<u32> as Plain,
    }

    PathFact = 22 {
        1 => file.device: u32 as Delta,
        2 => file.number: u64 as Delta,
        3 => file.generation: u32 as Plain,
        4 => path: String as Delta,
    }

    NetNamespaceFact = 11 {
        1 => netns: u32 as Delta,
        2 => name: String as Plain,
    }
}
