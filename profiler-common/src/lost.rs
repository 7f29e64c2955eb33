//! What the programs could not record, counted where it happens and shown beside the numbers.

/// Why something is missing from the aggregates. The code is the index into the kernel's counter array.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A thread had no room for its record: its next edges try again, what happened meanwhile is missing.
    TaskRecord = 0,
    /// A thread or socket ended while the exit ring was full: its last interval is missing.
    ExitRing = 1,
    /// A call had no slot in its thread and no room in the overflow map.
    CallOverflow = 2,
    /// A sampled latency had no room in the latency map.
    CallLatency = 3,
    /// A block request had no room in the in-flight map: its device time is missing, it is counted.
    Request = 4,
    /// A device and operation had no room: its requests are missing.
    Disk = 5,
    /// A connection had no room for its owner and times.
    Socket = 6,
    /// The scheduler's clocks disagreed by more than [`crate::task::CLOCK_SLACK_NS`]: the wait is not counted.
    ClockSkew = 7,
    /// A program could not read kernel memory that it needed.
    Read = 8,
    /// A process that uses a device had no room: its requests count for nobody.
    DiskOwner = 9,
    /// An operation of `io_uring` or libaio had no room, or could not be read.
    Operation = 10,
    /// A journal had no room: its commits are missing.
    Journal = 11,
    /// A partition had no room: its requests are those of its device alone.
    Partition = 12,
    /// A service or peer had no room: exchanges with it are missing.
    Exchange = 13,
    /// A destination of connections in TIME-WAIT had no room: they are not counted.
    TimeWait = 14,
    /// A socket that loses packets had no room: they count by reason alone.
    Drop = 15,
}

/// Begins the name of a loss that the kernel counts: a program did not run, since it was interrupted on that CPU. The
/// name of the program follows.
pub const MISSED: &str = "missed_";

/// Requests that `/proc/diskstats` has and our programs have not seen.
pub const UNSEEN_REQUESTS: &str = "block_request";

/// Number of reasons.
pub const LOST_COUNT: usize = 16;

/// Every reason in order of its code, with its name in reports and what is missing because of it.
pub const LOST: [(Lost, &str, &str); LOST_COUNT] = [
    (Lost::TaskRecord, "task_record", "time and calls of threads that found no room"),
    (Lost::ExitRing, "exit_ring", "last interval of threads and connections that ended"),
    (Lost::CallOverflow, "call_overflow", "rare calls of threads that use many"),
    (Lost::CallLatency, "call_latency", "sampled latencies"),
    (Lost::Request, "request", "device time of some block requests"),
    (Lost::Disk, "disk", "requests of some devices"),
    (Lost::Socket, "socket", "owner, connect latency and recovery of some connections"),
    (Lost::ClockSkew, "clock_skew", "waits for which the scheduler's clocks disagreed"),
    (Lost::Read, "read", "records whose kernel memory could not be read"),
    (Lost::DiskOwner, "disk_owner", "who some block requests are for"),
    (Lost::Operation, "operation", "some operations of io_uring or libaio"),
    (Lost::Journal, "journal", "commits of some journals"),
    (Lost::Partition, "partition", "requests of some partitions"),
    (Lost::Exchange, "exchange", "requests to some services and peers"),
    (Lost::TimeWait, "time_wait", "connections in TIME-WAIT to some destinations"),
    (Lost::Drop, "drop", "for which sockets some dropped packets were"),
];
