//! How much a capture takes, on a busy host: 2 000 threads, 10 000 calls with small histograms, 500 sockets.

use super::*;
use crate::batch::hist::Scale;
use crate::batch::{CallRow, Fact, Hist, HostRow, ProcessFact, ProcessKey, SocketRow, SocketTotal, TaskRow};

/// What a recording of such a host may take for a second. It is 130 kB, and 3.4 MB as JSON.
const BATCH_LEN_MAX: usize = 150_000;

#[test]
fn a_second_of_a_busy_host_is_small() {
    let batch = busy_batch(&mut Random(41));
    let bytes = capture(std::slice::from_ref(&batch));
    assert!(bytes.len() < BATCH_LEN_MAX, "a batch takes {} bytes", bytes.len());
    assert!(read(&bytes).unwrap().batches[0] == batch);
}

const PROCESSES: u32 = 300;

fn process(index: u32) -> ProcessKey {
    ProcessKey { pid: 1_000 + index * 13, start_ns: 5_000_000_000 + u64::from(index) * 7_919_171_003 }
}

/// Small numbers often, great ones seldom, as latencies and counts are.
fn skewed(random: &mut Random, bits: u64) -> u64 {
    let shift = random.below(bits);
    random.below(1 << (bits - shift))
}

fn small(random: &mut Random, end: u64) -> u32 {
    u32::try_from(random.below(end)).unwrap()
}

fn busy_batch(random: &mut Random) -> Batch {
    Batch {
        from: Timestamp(1_000_000_000_000),
        until: Timestamp(1_001_000_003_141),
        tasks: (0..2_000).map(|index| task(random, index)).collect(),
        calls: (0..10_000).map(|index| call(random, index)).collect(),
        sockets: (0..500).map(|index| socket(random, index)).collect(),
        host: HostRow {
            net: (0..120).map(|index| (format!("TcpExtCounter{index}"), skewed(random, 16))).collect(),
            ..HostRow::default()
        },
        facts: (0..20).map(fact).collect(),
        ..Batch::default()
    }
}

/// Two of three threads sleep all the time.
fn task(random: &mut Random, index: u32) -> TaskRow {
    let process = process(index * PROCESSES / 2_000);
    let tid = process.pid + index % 7;
    let waits = TaskRow {
        process,
        tid,
        start_ns: process.start_ns + u64::from(index % 7) * 1_234_567,
        state: 1,
        wait_call: Some([202, 232, 0][index as usize % 3]),
        waiting_ns: random.below(1 << 42),
        wall_ns: 1_000_003_141,
        blocked_ns: 1_000_003_141,
        storage_read_bytes: Some(0),
        storage_write_bytes: Some(0),
        pages: Some([0; 8]),
        comm: format!("worker-{}", index % 200),
        ..TaskRow::default()
    };
    if !index.is_multiple_of(3) {
        return waits;
    }
    let cpu_ns = skewed(random, 30);
    TaskRow {
        waiting_ns: skewed(random, 30),
        cpu_ns,
        runq_wakeup_ns: skewed(random, 24),
        runq_preempted_ns: skewed(random, 20),
        blocked_ns: 1_000_003_141u64.saturating_sub(cpu_ns),
        switches_voluntary: skewed(random, 12),
        switches_involuntary: skewed(random, 8),
        minor_faults: skewed(random, 8),
        storage_write_bytes: Some(random.below(64) * 4_096),
        ..waits
    }
}

fn call(random: &mut Random, index: u32) -> CallRow {
    let hist = |random: &mut Random, scale, first| {
        let slots = (first..).zip(0..random.below(6));
        Hist { scale, slots: slots.map(|(slot, _)| (slot, 1 + skewed(random, 10))).collect() }
    };
    let blocks = random.below(3) == 0;
    CallRow {
        process: process(index * PROCESSES / 10_000),
        key: (index % 33) * 37,
        count: skewed(random, 14),
        bytes: if index.is_multiple_of(2) { random.below(1_000) * 512 } else { 0 },
        errors: [if index.is_multiple_of(9) { skewed(random, 8) } else { 0 }, 0, 0, 0, 0, 0, 0, 0],
        blocked_ns: if blocks { skewed(random, 30) } else { 0 },
        blocked: if blocks { hist(random, Scale::Log2, 6) } else { Hist::new(Scale::Log2) },
        latency: hist(random, Scale::Linear8, 40),
    }
}

fn socket(random: &mut Random, index: u32) -> SocketRow {
    let sent_bytes = skewed(random, 24);
    SocketRow {
        cookie: 70_000 + u64::from(index) * 3,
        netns: 4_026_531_840,
        local: "10.1.2.3:5432".parse().unwrap(),
        peer: format!("10.1.{}.{}:{}", index % 4, index % 250, 32_768 + small(random, 28_000)).parse().unwrap(),
        state: 1,
        owner: Some(process(index % 5)),
        uid: 999,
        sent_bytes,
        acked_bytes: sent_bytes,
        received_bytes: skewed(random, 20),
        segments_out: sent_bytes / 1_448,
        total: SocketTotal {
            sent_bytes: random.below(1 << 36),
            acked_bytes: random.below(1 << 36),
            ..Default::default()
        },
        srtt_us: Some(80 + small(random, 4_000)),
        rttvar_us: Some(small(random, 900)),
        min_rtt_us: Some(60 + small(random, 40)),
        cwnd: 10 + small(random, 90),
        ssthresh: i32::MAX.unsigned_abs(),
        mss: 1_448,
        send_window_bytes: 65_536 * (1 + small(random, 8)),
        ..SocketRow::default()
    }
}

fn fact(index: u32) -> Fact {
    Fact::Process(ProcessFact {
        process: process(index),
        parent_pid: 1,
        comm: format!("worker-{index}"),
        command: Some(format!("/usr/bin/worker --shard {index} --config /etc/worker/{index}.toml")),
        uid: 999,
        user: Some("worker".to_owned()),
        cgroup: Some(format!("/system.slice/worker@{index}.service")),
        kernel_thread: false,
        netns: 4_026_531_840,
    })
}
