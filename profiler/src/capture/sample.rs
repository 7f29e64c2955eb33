//! Made-up batches for tests: any value of any field, or what a busy host would say. The same seed makes the same batch.
//!
//! No literal here ends in `..Default::default()`: a new field does not compile until it has values, and then the round
//! trip fails until it has a column.

use std::collections::BTreeMap;

use profiler_common::exchange::spent;

use crate::batch::hist::Scale;
use crate::batch::{
    Batch, CallRow, DiskError, DiskKey, DiskOwnerRow, DiskRow, DiskSizeRow, DiskStat, DropKey, DropRow, Endpoint,
    ExchangeKey, ExchangeRow, Fact, FileKey, Hist, HostRow, JournalRow, Machine, PartitionRow, PathRow, Pressure,
    ProbeStatus, ProcessFact, ProcessKey, QualityRow, Slowest, SocketRow, SocketTotal, Spent, SpentParts, TaskRow,
    TcpMemory, TimeWaitRow, Timestamp,
};

/// xorshift64*.
pub(crate) struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Zero, small, of any magnitude, or the greatest.
    fn int(&mut self) -> u64 {
        match self.below(5) {
            0 => 0,
            1 => self.below(200),
            2 => u64::MAX,
            _ => self.next() >> self.below(64),
        }
    }

    fn int32(&mut self) -> u32 {
        u32::try_from(self.int() & u64::from(u32::MAX)).unwrap()
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn some<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(5)).map(|_| make(self)).collect()
    }

    fn ints<const N: usize>(&mut self) -> [u64; N] {
        std::array::from_fn(|_| self.int())
    }

    fn text(&mut self) -> String {
        ["", "postgres", "a\nb\0", "naïve ☃", "nginx", "\u{10ffff}"][usize::try_from(self.below(6)).unwrap()].to_owned()
    }

    fn endpoint(&mut self) -> Endpoint {
        let texts = ["*", "(other)", "10.0.0.1:80", "[fe80::1]:65535", "[::]:0"];
        texts[usize::try_from(self.below(5)).unwrap()].parse().unwrap()
    }

    fn process(&mut self) -> ProcessKey {
        ProcessKey { pid: self.int32(), start_ns: self.int() }
    }

    fn hist(&mut self) -> Hist {
        let (scale, slots) = match self.below(3) {
            0 => (Scale::Log2, 24),
            1 => (Scale::Linear8, 224),
            _ => (Scale::Linear32, 896),
        };
        let slots = (0..slots).filter(|_| self.below(8) == 0).collect::<Vec<_>>();
        Hist { scale, slots: slots.into_iter().map(|slot| (slot, self.int())).collect() }
    }
}

/// A host with every field set.
pub(crate) fn machine() -> Machine {
    Machine {
        version: "0.1.0".to_owned(),
        host: "db1".to_owned(),
        kernel: "6.12.0".to_owned(),
        boot_id: "5f1c".to_owned(),
        cpus: 8,
        memory_bytes: 1 << 34,
        anchor: Timestamp(12_345),
        anchor_unix_ns: 1_700_000_000_000_000_000,
        tick_ns: 1_000_000_000,
        call_sampling: 0.1 + 0.2,
        call_names: BTreeMap::from([(0, "read".to_owned()), (1, "write".to_owned())]),
        probes: vec![ProbeStatus {
            name: "disk_issue".to_owned(),
            form: Some("tp_btf".to_owned()),
            reason: String::new(),
            without: "service time".to_owned(),
        }],
    }
}

/// Any batch.
pub(crate) fn any(random: &mut Random) -> Batch {
    Batch {
        from: Timestamp(random.int()),
        until: Timestamp(random.int()),
        tasks: random.some(any_task),
        calls: random.some(any_call),
        disks: random.some(any_disk),
        disk_sizes: random.some(any_disk_size),
        paths: random.some(any_path),
        disk_owners: random.some(any_disk_owner),
        partitions: random.some(any_partition),
        journals: random.some(any_journal),
        sockets: random.some(any_socket),
        time_waits: random.some(|random| TimeWaitRow {
            netns: random.int32(),
            peer: random.endpoint(),
            count: random.int(),
        }),
        exchanges: random.some(any_exchange),
        drops: random.some(any_drop),
        tcp_events: random.ints(),
        host: any_host(random),
        facts: random.some(any_fact),
        quality: QualityRow {
            lost: random.some(|random| (random.text(), random.int())).into_iter().collect(),
            missed_ticks: random.int(),
            self_cpu_ns: random.int(),
            self_memory_bytes: random.int(),
            map_memory_bytes: random.int(),
            programs_ns: random.maybe(Random::int),
            drain_ns: random.int(),
            notes: random.some(Random::text),
        },
    }
}

fn any_drop(random: &mut Random) -> DropRow {
    DropRow {
        key: DropKey {
            reason: random.text(),
            cookie: random.maybe(Random::int),
            netns: random.int32(),
            protocol: random.int32(),
            local: random.endpoint(),
        },
        owner: random.maybe(Random::process),
        count: random.int(),
    }
}

fn any_task(random: &mut Random) -> TaskRow {
    TaskRow {
        process: random.process(),
        tid: random.int32(),
        start_ns: random.int(),
        state: random.int32(),
        wait_call: random.maybe(Random::int32),
        waiting_ns: random.int(),
        wait: random.maybe(Random::int32),
        wait_object: random.maybe(Random::text),
        wait_socket: random.maybe(Random::int),
        woke_wait: random.maybe(Random::int32),
        waker_pid: random.maybe(Random::int32),
        waker_start_ns: random.maybe(Random::int),
        wall_ns: random.int(),
        cpu_ns: random.int(),
        user_ns: random.int(),
        system_ns: random.int(),
        waits: std::array::from_fn(|_| random.int()),
        runq_wakeup_ns: random.int(),
        runq_preempted_ns: random.int(),
        throttled_ns: random.int(),
        reclaim_cpu_ns: random.int(),
        blocked_ns: random.int(),
        switches_voluntary: random.int(),
        switches_involuntary: random.int(),
        minor_faults: random.int(),
        major_faults: random.int(),
        storage_read_bytes: random.maybe(Random::int),
        storage_write_bytes: random.maybe(Random::int),
        pages: random.maybe(Random::ints),
        comm: random.text(),
    }
}

fn any_call(random: &mut Random) -> CallRow {
    CallRow {
        process: random.process(),
        key: random.int32(),
        count: random.int(),
        bytes: random.int(),
        errors: random.ints(),
        blocked_ns: random.int(),
        blocked: random.hist(),
        latency: random.hist(),
    }
}

fn any_disk(random: &mut Random) -> DiskRow {
    DiskRow {
        key: DiskKey { device: random.int32(), op: random.int32() },
        requests: random.int(),
        bytes: random.int(),
        errors: random.int(),
        error: random.maybe(any_disk_error),
        in_flight: random.int(),
        queue_unknown: random.int(),
        waits: random.int(),
        wait_ns: random.int(),
        wait: random.hist(),
        queue_ns: random.int(),
        device_ns: random.int(),
        queue: random.hist(),
        service: random.hist(),
        requeues: random.int(),
        sequential: random.int(),
        issued: random.int(),
        fua: random.int(),
        latency: random.hist(),
    }
}

fn any_disk_error(random: &mut Random) -> DiskError {
    DiskError { at: Timestamp(random.int()), sector: random.int(), errno: random.maybe(Random::int32) }
}

fn any_partition(random: &mut Random) -> PartitionRow {
    PartitionRow {
        key: DiskKey { device: random.int32(), op: random.int32() },
        requests: random.int(),
        bytes: random.int(),
        queue_ns: random.int(),
        device_ns: random.int(),
        latency: random.hist(),
    }
}

fn any_disk_size(random: &mut Random) -> DiskSizeRow {
    DiskSizeRow {
        key: DiskKey { device: random.int32(), op: random.int32() },
        size: random.int32(),
        latency: random.hist(),
    }
}

fn any_file(random: &mut Random) -> FileKey {
    FileKey { device: random.int32(), number: random.int(), generation: random.int32() }
}

fn any_path(random: &mut Random) -> PathRow {
    PathRow {
        file: any_file(random),
        process: random.process(),
        kind: random.int32(),
        reads: random.int(),
        read_bytes: random.int(),
        read_blocked_ns: random.int(),
        writes: random.int(),
        written_bytes: random.int(),
        write_blocked_ns: random.int(),
        syncs: random.int(),
        sync_blocked_ns: random.int(),
        sync_blocked: random.hist(),
        missed_pages: random.int(),
        read_missed_pages: random.maybe(Random::int),
        misaligned: random.maybe(Random::int),
    }
}

fn any_disk_owner(random: &mut Random) -> DiskOwnerRow {
    DiskOwnerRow {
        key: DiskKey { device: random.int32(), op: random.int32() },
        process: random.process(),
        requests: random.int(),
        bytes: random.int(),
        queue_ns: random.int(),
        device_ns: random.int(),
        latency: random.hist(),
    }
}

fn any_journal(random: &mut Random) -> JournalRow {
    JournalRow {
        device: random.int32(),
        commits: random.int(),
        requested: random.maybe(Random::int),
        request_ns: random.int(),
        starting_ns: random.int(),
        locked_ns: random.int(),
        flushing_ns: random.int(),
        logging_ns: random.int(),
        busy_ns: random.int(),
        under_way_ns: random.maybe(Random::int),
        commit: random.hist(),
    }
}

fn any_exchange(random: &mut Random) -> ExchangeRow {
    ExchangeRow {
        key: ExchangeKey {
            role: random.int32(),
            netns: random.int32(),
            endpoint: random.text(),
            process: random.process(),
        },
        count: random.int(),
        time_ns: random.int(),
        time: random.hist(),
        timed: random.int(),
        rtt_ns: random.int(),
        shorter: random.int(),
        slowest: random.maybe(|random| Slowest {
            time_ns: random.int(),
            at: Timestamp(random.int()),
            socket: random.int(),
            tid: random.int32(),
            spent: any_spent(random),
        }),
        stalls: random.maybe(Random::int),
        stall_ns: random.int(),
        stall_rtt_ns: random.int(),
        stall_socket: random.maybe(Random::int),
        asked: random.maybe(Random::int),
        answered: random.int(),
    }
}

fn any_spent(random: &mut Random) -> Spent {
    let parts = random.maybe(|random| SpentParts {
        cpu_ns: random.int(),
        runq_wakeup_ns: random.int(),
        runq_preempted_ns: random.int(),
        throttled_ns: random.int(),
        waits: random.ints(),
    });
    parts.map_or(Spent::Unknown(spent::OTHER_THREAD), Spent::Told)
}

fn any_socket(random: &mut Random) -> SocketRow {
    SocketRow {
        cookie: random.int(),
        netns: random.int32(),
        local: random.endpoint(),
        peer: random.endpoint(),
        state: random.int32(),
        ended: random.flag(),
        quiet_ns: random.int(),
        owner: random.maybe(Random::process),
        uid: random.int32(),
        opened: random.maybe(|random| Timestamp(random.int())),
        connect_ns: random.maybe(Random::int),
        accept_ns: random.maybe(Random::int),
        connect_errno: random.maybe(Random::int32),
        sent_bytes: random.int(),
        acked_bytes: random.int(),
        received_bytes: random.int(),
        segments_out: random.int(),
        retransmits: random.int(),
        drops: random.int(),
        total: SocketTotal {
            sent_bytes: random.int(),
            acked_bytes: random.int(),
            received_bytes: random.int(),
            retransmits: random.int(),
        },
        srtt_us: random.maybe(Random::int32),
        rttvar_us: random.maybe(Random::int32),
        min_rtt_us: random.maybe(Random::int32),
        cwnd: random.int32(),
        ssthresh: random.int32(),
        mss: random.int32(),
        send_window_bytes: random.int32(),
        packets_out: random.int32(),
        receive_queue_bytes: random.int32(),
        send_queue_bytes: random.int32(),
        accept_queue: random.int32(),
        accept_limit: random.int32(),
        limits: random.maybe(Random::ints),
        send_buffer_bytes: random.maybe(Random::int32),
        unsent_bytes: random.maybe(Random::int32),
        timeouts: random.maybe(Random::int),
        recoveries: random.maybe(Random::int),
        zero_window_ns: random.maybe(Random::int),
    }
}

fn any_host(random: &mut Random) -> HostRow {
    let pressure = |random: &mut Random| Pressure { some_ns: random.int(), full_ns: random.int() };
    let disk = |random: &mut Random| DiskStat {
        requests: random.ints(),
        bytes: random.ints(),
        merges: random.maybe(Random::ints),
        request_ns: random.maybe(Random::ints),
        busy_ns: random.int(),
        in_flight: random.int(),
    };
    HostRow {
        cpu_ns: random.ints(),
        runnable: random.int(),
        uninterruptible: random.int(),
        pressure: random.some(|random| (random.text(), random.maybe(pressure))).into_iter().collect(),
        net: random.some(|random| (random.text(), random.int())).into_iter().collect(),
        disks: random.some(|random| (random.int32(), disk(random))).into_iter().collect(),
        memory_available_bytes: random.int(),
        dirty_bytes: random.int(),
        local_ports: random.maybe(Random::int32),
        tcp_memory: random.maybe(|random| TcpMemory {
            used_bytes: random.int(),
            pressure_bytes: random.int(),
            most_bytes: random.int(),
        }),
        refaulted_pages: random.maybe(Random::int),
    }
}

fn any_fact(random: &mut Random) -> Fact {
    match random.below(4) {
        0 => Fact::Process(ProcessFact {
            process: random.process(),
            parent_pid: random.int32(),
            comm: random.text(),
            command: random.maybe(Random::text),
            uid: random.int32(),
            user: random.maybe(Random::text),
            cgroup: random.maybe(Random::text),
            kernel_thread: random.flag(),
            netns: random.int32(),
        }),
        1 => Fact::Disk {
            device: random.int32(),
            name: random.text(),
            backing: random.maybe(Random::text),
            below: random.some(Random::int32),
        },
        2 => Fact::Path { file: any_file(random), path: random.text() },
        _ => Fact::NetNamespace { netns: random.int32(), name: random.text() },
    }
}
