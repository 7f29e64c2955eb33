//! File operations per process and kind of file, derived from calls.

use crate::batch::Hist;

/// What a process did to one kind of file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileUse {
    /// Calls that read.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Sampled latency of reads.
    pub read_latency: Hist,
    /// Blocked time in reads.
    pub read_blocked_ns: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Sampled latency of writes.
    pub write_latency: Hist,
    /// Blocked time in writes.
    pub write_blocked_ns: u64,
    /// Calls that made data durable (`fsync` and its kin).
    pub syncs: u64,
    /// Blocked time of each of them. Exact, coarse scale.
    pub sync_blocked: Hist,
    /// Their blocked time in all.
    pub sync_blocked_ns: u64,
}
