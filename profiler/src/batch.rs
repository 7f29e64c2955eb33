//! All that was learnt in one interval. Whatever the model knows came in a [`Batch`], names included.
//!
//! Rows carry what happened *in* the interval (differences of the kernel's counters) and the state at its end.
//! Unknown is `None`, never zero. Rows are in a fixed order, so that equal intervals are equal bytes.

use std::collections::BTreeMap;

use profiler_common::file::page::WAYS;
use profiler_common::limit::LIMITS;
use profiler_common::wait::WAITS;
use profiler_common::{syscall, tcp};
use serde::{Deserialize, Serialize};

pub mod call;
mod disk;
mod drop;
mod endpoint;
mod exchange;
mod fact;
pub mod hist;
mod journal;

pub use disk::{DiskError, DiskKey, DiskOwnerRow, DiskRow, DiskSizeRow, PartitionRow};
pub use drop::{DropKey, DropRow};
pub use endpoint::{Address, Endpoint};
pub use exchange::{ExchangeKey, ExchangeRow, Slowest, Spent, SpentParts};
pub use fact::{Fact, ProcessFact};
pub use hist::Hist;
pub use journal::JournalRow;

/// Nanoseconds of `CLOCK_MONOTONIC` of the observed host. Only differences mean something; [`Machine`] has the anchor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Nanoseconds from `earlier` to here, 0 if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A process across reuse of its id: `task_struct.start_boottime` of the thread group's leader makes it unique.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Process id.
    pub pid: u32,
    /// Start, nanoseconds since boot.
    pub start_ns: u64,
}

/// The observed host and how it is observed: the header of a capture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Version of the program that observed.
    pub version: String,
    /// Host name.
    pub host: String,
    /// Kernel release, as `uname -r` says it.
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// CPUs online.
    pub cpus: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// A moment of `CLOCK_MONOTONIC` …
    pub anchor: Timestamp,
    /// … and the same moment in nanoseconds since 1970 UTC.
    pub anchor_unix_ns: u64,
    /// Asked-for length of an interval, nanoseconds.
    pub tick_ns: u64,
    /// Share of calls whose latency is sampled, 0 to 1.
    pub call_sampling: f64,
    /// System-call names by number, of the host's architecture.
    pub call_names: BTreeMap<u32, String>,
    /// Every probe and whether it works here.
    pub probes: Vec<ProbeStatus>,
}

/// One line of `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Name of the probe.
    pub name: String,
    /// How it is attached (`tp_btf`, `raw_tp`, `iter`, `run`), or `None`: it is missing.
    pub form: Option<String>,
    /// Why it is missing or a fallback, else empty.
    pub reason: String,
    /// What cannot be known without it.
    pub without: String,
}

/// All that was learnt between two moments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Start of the interval: the end of the one before.
    pub from: Timestamp,
    /// End of the interval.
    pub until: Timestamp,
    /// Threads that exist or ended in it, by process, then thread.
    pub tasks: Vec<TaskRow>,
    /// Calls that returned or waited in it, by process, then key.
    pub calls: Vec<CallRow>,
    /// Files that processes used in it, by file, process, kind; not all, if there are many.
    pub paths: Vec<PathRow>,
    /// Devices and operations with any history, by device, then operation.
    pub disks: Vec<DiskRow>,
    /// Sizes of requests that completed in it, by device, operation, size.
    pub disk_sizes: Vec<DiskSizeRow>,
    /// For whom requests were that completed in it, by device, operation, process.
    pub disk_owners: Vec<DiskOwnerRow>,
    /// Partitions on which requests completed in it, by device, operation.
    pub partitions: Vec<PartitionRow>,
    /// Journals with any history, by device.
    pub journals: Vec<JournalRow>,
    /// TCP sockets that ended in it, in the order of their ends; those on which something happened or that wait for something, by
    /// cookie; some of the others. Each that exists is in one of 9 batches at least, so that nobody has to look farther back.
    /// Where many end, the kernel may leave out others: what moved on them is in the next batch that has them. Where ends are not
    /// told, all that exist, and for up to 2 batches those that have ended.
    pub sockets: Vec<SocketRow>,
    /// Connections in TIME-WAIT that this host had opened, by namespace and destination, as they were when all sockets were last
    /// looked at. Without some kernels' socket storage (5.11) none.
    pub time_waits: Vec<TimeWaitRow>,
    /// Requests over TCP that were answered in it, by role, namespace, service or peer, process.
    pub exchanges: Vec<ExchangeRow>,
    /// Packets that were dropped in it, by reason and socket.
    pub drops: Vec<DropRow>,
    /// Host-wide TCP events in it, by name ([`tcp::EVENT_NAMES`]).
    pub tcp_events: [u64; tcp::EVENTS],
    /// The kernel's own counters over the same interval.
    pub host: HostRow,
    /// Names that were not known before.
    pub facts: Vec<Fact>,
    /// What is missing from all of the above, and what we cost.
    pub quality: QualityRow,
}

/// One thread in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Its process.
    pub process: ProcessKey,
    /// Thread id.
    pub tid: u32,
    /// Its start, nanoseconds since boot.
    pub start_ns: u64,
    /// One of [`profiler_common::task::state`] at the end.
    pub state: u32,
    /// System call in which it waits at the end.
    pub wait_call: Option<u32>,
    /// How long this wait had lasted at the end, nanoseconds (the part before the interval included).
    pub waiting_ns: u64,
    /// What it waits for at the end, one of [`profiler_common::wait`], if it waits.
    pub wait: Option<u32>,
    /// What it waits on at the end, if it is held up by that and it has a name: a file, pipe or socket as `/proc/PID/fd` has it,
    /// the address of a futex, a lock of the kernel.
    pub wait_object: Option<String>,
    /// Cookie of the TCP socket that it waits on.
    pub wait_socket: Option<u64>,
    /// Of its last wait that ended in the interval, what it was for; `None` if nobody saw its end.
    pub woke_wait: Option<u32>,
    /// Process id of whoever ended it; `None` if that was an interrupt, or is not known.
    pub waker_pid: Option<u32>,
    /// Start of that process, nanoseconds since boot.
    pub waker_start_ns: Option<u64>,
    /// Part of the interval in which it existed, nanoseconds.
    pub wall_ns: u64,
    /// On-CPU time.
    pub cpu_ns: u64,
    /// CPU time in user mode by the kernel's timer ticks: only its share of both is meant.
    pub user_ns: u64,
    /// The same in the kernel.
    pub system_ns: u64,
    /// Part of the on-CPU time in which it freed memory for itself (direct reclaim, of the host or of its control group).
    pub reclaim_cpu_ns: u64,
    /// Blocked time by [`profiler_common::wait`]: of what it waited for; and what was stolen from it.
    pub waits: [u64; WAITS],
    /// Run-queue time after a wake-up.
    pub runq_wakeup_ns: u64,
    /// Run-queue time after a preemption.
    pub runq_preempted_ns: u64,
    /// Run-queue time while its group had used up its CPU quota; in neither of the two above.
    pub throttled_ns: u64,
    /// Blocked time: switch-out to wake-up. The wait in progress counts up to the end of the interval.
    pub blocked_ns: u64,
    /// Voluntary context switches.
    pub switches_voluntary: u64,
    /// Involuntary context switches.
    pub switches_involuntary: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Bytes fetched from storage for it; `None` where the kernel does not keep them.
    pub storage_read_bytes: Option<u64>,
    /// Bytes that it made dirty or wrote directly; `None` where the kernel does not keep them.
    pub storage_write_bytes: Option<u64>,
    /// Pages that it moved into the page cache or out of it, by [`profiler_common::file::page`]; `None` in captures from before
    /// it was recorded.
    pub pages: Option<[u64; WAYS]>,
    /// Name of the thread at the end.
    pub comm: String,
}

impl TaskRow {
    /// Who ended its last wait.
    #[must_use]
    pub fn waker(&self) -> Option<ProcessKey> {
        Some(ProcessKey { pid: self.waker_pid?, start_ns: self.waker_start_ns? })
    }
}

/// One call of one process on one kind of file in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRow {
    /// Its process.
    pub process: ProcessKey,
    /// Number, kind of file and 32-bit mark: [`syscall::call_key`].
    pub key: u32,
    /// Calls that returned.
    pub count: u64,
    /// Bytes read or written.
    pub bytes: u64,
    /// Failed calls by [`syscall::ERRNO_CLASSES`].
    pub errors: [u64; syscall::ERRNO_CLASSES.len()],
    /// Blocked time inside the call, the waits in progress included.
    pub blocked_ns: u64,
    /// Calls that blocked and returned, by blocked time (coarse scale). Exact.
    pub blocked: Hist,
    /// Sampled calls by latency, entry to return (fine scale). A sample: see [`Machine::call_sampling`].
    pub latency: Hist,
}

/// A file, by its inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileKey {
    /// Its file system's, `major << 20 | minor`.
    pub device: u32,
    /// Inode number.
    pub number: u64,
    /// Tells it from earlier ones of that number.
    pub generation: u32,
}

/// What one process did to one file in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRow {
    /// The file.
    pub file: FileKey,
    /// The process.
    pub process: ProcessKey,
    /// One of [`profiler_common::file::kind`].
    pub kind: u32,
    /// Reads that returned, operations included.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Blocked time in reads.
    pub read_blocked_ns: u64,
    /// Writes that returned, operations included.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Blocked time in writes.
    pub write_blocked_ns: u64,
    /// Calls and operations that made data durable.
    pub syncs: u64,
    /// Blocked time in them.
    pub sync_blocked_ns: u64,
    /// Those that blocked, by blocked time (coarse scale).
    pub sync_blocked: Hist,
    /// Pages that were fetched for it.
    pub missed_pages: u64,
    /// Those among them that calls fetched that read; `None` in captures from before it was recorded.
    pub read_missed_pages: Option<u64>,
    /// Calls with `O_DIRECT` that begin or end inside a block of the file system, or were refused; `None` as above.
    pub misaligned: Option<u64>,
}

/// One TCP socket: its state at the end of the interval, and what moved in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRow {
    /// Socket cookie: unique while the host is up.
    pub cookie: u64,
    /// Network namespace, inode number.
    pub netns: u32,
    /// Local address and port.
    pub local: Endpoint,
    /// Peer's address and port; of a listener [`Endpoint::ANY`].
    pub peer: Endpoint,
    /// `skc_state`, as numbered in [`profiler_common::tcp::state`] and `include/net/tcp_states.h`.
    pub state: u32,
    /// It was destroyed in this interval; the state is its last.
    pub ended: bool,
    /// Length of the intervals before this one that it had no row in, nanoseconds: nothing happened on it, and [`Self::limits`]
    /// has that time as well. 0 in captures from before such rows were left out.
    pub quiet_ns: u64,
    /// Who connected or listens, or else was found holding it; once that process has ended, who else was. That somebody hands it
    /// over and lives on is not seen. `None`: nobody was found, as of one that nobody has accepted.
    pub owner: Option<ProcessKey>,
    /// User that made it.
    pub uid: u32,
    /// When it left `CLOSE`; `None` if that was before we watched.
    pub opened: Option<Timestamp>,
    /// SYN sent → established or given up, nanoseconds.
    pub connect_ns: Option<u64>,
    /// Established → accepted, nanoseconds; `None` unless it was seen. In the operations of a ring it is not.
    pub accept_ns: Option<u64>,
    /// Error with which its connect failed; [`profiler_common::tcp::failure`] has those that the socket does not keep.
    pub connect_errno: Option<u32>,
    /// Bytes sent in the interval, repeats included.
    pub sent_bytes: u64,
    /// Bytes acknowledged by the peer in the interval.
    pub acked_bytes: u64,
    /// Bytes received in the interval.
    pub received_bytes: u64,
    /// Segments sent in the interval.
    pub segments_out: u64,
    /// Segments sent again in the interval.
    pub retransmits: u64,
    /// Packets, or for a listener connections, dropped in the interval.
    pub drops: u64,
    /// Totals since the socket's birth: bytes sent, acknowledged, received, retransmitted segments.
    pub total: SocketTotal,
    /// Smoothed round-trip time, µs; `None` before the first sample.
    pub srtt_us: Option<u32>,
    /// Its deviation, µs.
    pub rttvar_us: Option<u32>,
    /// Least round-trip time, µs.
    pub min_rtt_us: Option<u32>,
    /// Congestion window, segments.
    pub cwnd: u32,
    /// Slow-start threshold, segments.
    pub ssthresh: u32,
    /// Segment size, bytes.
    pub mss: u32,
    /// Peer's receive window, bytes.
    pub send_window_bytes: u32,
    /// Segments in flight.
    pub packets_out: u32,
    /// Bytes received and not yet read.
    pub receive_queue_bytes: u32,
    /// Bytes written and not yet acknowledged.
    pub send_queue_bytes: u32,
    /// Listener: connections waiting for `accept`.
    pub accept_queue: u32,
    /// Listener: limit of the former.
    pub accept_limit: u32,
    /// Time that passed since its last row, nanoseconds, by what limited it ([`profiler_common::limit`]). `None` of a listener,
    /// where it is not known, and in captures from before it was recorded.
    pub limits: Option<[u64; LIMITS]>,
    /// Limit of the bytes in its send queue and what the kernel needs for them; `None` in captures from before it was recorded.
    pub send_buffer_bytes: Option<u32>,
    /// Timeouts (RTO) in the interval; `None` in captures from before it was recorded.
    pub timeouts: Option<u64>,
    /// Fast recoveries that began in the interval; `None` in captures from before it was recorded.
    pub recoveries: Option<u64>,
    /// Bytes written and not yet sent: a part of its send queue; `None` in captures from before it was recorded.
    pub unsent_bytes: Option<u32>,
    /// Of the time in which the peer's receive window limited it, that of intervals at whose end there was no room for a segment,
    /// and of those after it in which nothing happened, nanoseconds; `None` in captures from before it was recorded, and where the former is not known.
    pub zero_window_ns: Option<u64>,
}

/// Connections to one destination that this host has closed, whose local ports are not free yet (`ss -tan state time-wait`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeWaitRow {
    /// Network namespace, inode number.
    pub netns: u32,
    /// The peer's address and port.
    pub peer: Endpoint,
    /// How many.
    pub count: u64,
}

/// Counts since a socket's birth, as `ss -tin` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketTotal {
    /// `bytes_sent`.
    pub sent_bytes: u64,
    /// `bytes_acked`.
    pub acked_bytes: u64,
    /// `bytes_received`.
    pub received_bytes: u64,
    /// Right side of `retrans:a/b`.
    pub retransmits: u64,
}

/// The kernel's own counters in the interval: context, and the independent witness of our numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostRow {
    /// CPU time by `/proc/stat`, nanoseconds, all CPUs: user (nice included), system, idle, iowait, irq (soft included), steal.
    pub cpu_ns: [u64; 6],
    /// Runnable threads now (`procs_running`).
    pub runnable: u64,
    /// Threads in uninterruptible sleep now (`procs_blocked`).
    pub uninterruptible: u64,
    /// Stall time in the interval, nanoseconds, by resource: `cpu`, `io`, `memory`; `None` without PSI.
    pub pressure: BTreeMap<String, Option<Pressure>>,
    /// SNMP and `TcpExt` counters in the interval, our network namespace: `RetransSegs`, `OutSegs`, `ListenOverflows`, …
    pub net: BTreeMap<String, u64>,
    /// `/proc/diskstats` in the interval, by device number.
    pub disks: BTreeMap<u32, DiskStat>,
    /// Memory available, bytes (`MemAvailable`).
    pub memory_available_bytes: u64,
    /// Dirty and under writeback, bytes.
    pub dirty_bytes: u64,
    /// Pages of files that were fetched again so soon after they had been evicted that the kernel remembered
    /// (`workingset_refault_file`); `None` where it does not tell, and in captures from before it was recorded.
    pub refaulted_pages: Option<u64>,
    /// Local ports that connects choose from (`ip_local_port_range`), our network namespace; `None` where the kernel does not tell,
    /// and in captures from before it was recorded.
    pub local_ports: Option<u32>,
    /// Memory of all TCP sockets; `None` where the kernel does not tell, and in captures from before it was recorded.
    pub tcp_memory: Option<TcpMemory>,
}

/// Memory of the queues of all TCP sockets of the host, in all network namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpMemory {
    /// In use now (`mem` of `/proc/net/sockstat`), bytes.
    pub used_bytes: u64,
    /// From here on buffers grow no more, until less than a lower limit is in use (second of `net.ipv4.tcp_mem`), bytes.
    pub pressure_bytes: u64,
    /// From here on segments are dropped (third of `net.ipv4.tcp_mem`), bytes.
    pub most_bytes: u64,
}

/// Stall time of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// Some task waited, nanoseconds.
    pub some_ns: u64,
    /// All non-idle tasks waited, nanoseconds.
    pub full_ns: u64,
}

/// One line of `/proc/diskstats`, differences except [`Self::in_flight`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStat {
    /// Requests by [`profiler_common::disk::op`] (read, write, flush, discard).
    pub requests: [u64; 4],
    /// Bytes by operation; flushes have none.
    pub bytes: [u64; 4],
    /// What was merged into a request for its neighbor, by operation; `None` in captures from before it was recorded.
    pub merges: Option<[u64; 4]>,
    /// Time of requests by operation, summed up; `None` in captures from before it was recorded. The kernel tells whole
    /// milliseconds of the sum; of stacked devices (dm, md) it counts each request in clock ticks, of 1 to 10 ms.
    pub request_ns: Option<[u64; 4]>,
    /// Time with at least one request in flight, nanoseconds (`io_ticks`).
    pub busy_ns: u64,
    /// Requests in flight now.
    pub in_flight: u64,
}

/// What is missing from a batch, and what observing cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityRow {
    /// Losses in the interval by name ([`profiler_common::lost::LOST`]); absent means none.
    pub lost: BTreeMap<String, u64>,
    /// Ticks that were skipped, because the reader could not keep up: the interval is longer instead.
    pub missed_ticks: u64,
    /// CPU time of our process, nanoseconds.
    pub self_cpu_ns: u64,
    /// Our resident memory, bytes.
    pub self_memory_bytes: u64,
    /// Memory of our kernel maps, bytes.
    pub map_memory_bytes: u64,
    /// Time that the kernel spent in our programs, where it keeps statistics.
    pub programs_ns: Option<u64>,
    /// Wall time of reading the kernel for this batch, nanoseconds.
    pub drain_ns: u64,
    /// Things that could not be looked at, in words, such as other network namespaces.
    pub notes: Vec<String>,
}
