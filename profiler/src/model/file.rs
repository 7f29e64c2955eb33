//! File operations per process and kind of file, derived from calls.

use std::collections::BTreeMap;

use profiler_common::file::{kind, page};
use profiler_common::syscall::class;

use crate::batch::Hist;
use crate::batch::call::is_operation;
use crate::model::Window;
use crate::model::process::Process;
use crate::model::syscall::{CallTable, CallUse, kind_of};
use crate::model::time::{Recent, Reset};

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

impl FileUse {
    /// Blocked time in reads, writes and syncs.
    #[must_use]
    pub fn blocked_ns(&self) -> u64 {
        self.read_blocked_ns + self.write_blocked_ns + self.sync_blocked_ns
    }

    fn absorb(&mut self, class: u8, call: &CallUse) {
        match class {
            class::READ => {
                self.reads += call.count;
                self.read_bytes += call.bytes;
                self.read_blocked_ns += call.blocked_ns;
                self.read_latency.add(&call.latency);
            }
            class::WRITE => {
                self.writes += call.count;
                self.written_bytes += call.bytes;
                self.write_blocked_ns += call.blocked_ns;
                self.write_latency.add(&call.latency);
            }
            class::SYNC => {
                self.syncs += call.count;
                self.sync_blocked_ns += call.blocked_ns;
                self.sync_blocked.add(&call.blocked);
            }
            _ => {}
        }
    }
}

impl Reset for FileUse {}

/// What a process did to files, by kind ([`kind`]). Kinds that it did not touch in the window are absent.
#[must_use]
pub fn files(process: &Process, table: &CallTable) -> BTreeMap<u32, Recent<FileUse>> {
    let mut files = BTreeMap::<u32, Recent<FileUse>>::new();
    for (key, call) in &process.calls {
        let class = table.class(*key);
        if matches!(class, class::READ | class::WRITE | class::SYNC) {
            let file = files.entry(kind_of(*key)).or_default();
            file.now.absorb(class, &call.now);
            file.sum.absorb(class, &call.sum);
        }
    }
    // What is mapped is read without a call, and metadata by calls on something else.
    for kind in [kind::REGULAR, kind::BLOCK] {
        if moved(process.usage.sum.pages, kind) {
            files.entry(kind).or_default();
        }
    }
    files
}

/// What processes did to files of all kinds that live on storage, over the window.
#[must_use]
pub fn storage<'a>(processes: impl IntoIterator<Item = &'a Process>, table: &CallTable) -> FileUse {
    let mut sum = FileUse::default();
    let calls = processes.into_iter().flat_map(|process| &process.calls);
    for (key, call) in calls.filter(|(key, _)| table.is_storage(**key)) {
        sum.absorb(table.class(*key), &call.sum);
    }
    sum
}

/// Bytes that calls of a process read through the page cache of files, and bytes that they read of something unknown.
#[must_use]
pub fn cached_reads(process: &Process, table: &CallTable, window: Window) -> (u64, u64) {
    let (mut cached, mut unknown) = (0, 0);
    // Pages that operations fetch do not count as fetched by a call.
    for (key, call) in process.calls.iter().filter(|(key, _)| !is_operation(&table.name(**key))) {
        let bytes = call.of(window).bytes;
        match (table.class(*key), kind_of(*key)) {
            (class::READ, kind::REGULAR) => cached += bytes,
            (class::READ, kind::UNKNOWN) => unknown += bytes,
            // Its first argument is what it writes to.
            (class::WRITE, _) if table.name(*key) == "sendfile" => cached += bytes,
            _ => {}
        }
    }
    (cached, unknown)
}

/// Whether pages of a kind of file moved into the page cache or out of it.
fn moved(pages: Option<[u64; page::WAYS]>, kind: u32) -> bool {
    let of_device = |way| matches!(way, page::DEVICE | page::DEVICE_DROPPED);
    let mut ways = pages.into_iter().flatten().enumerate();
    ways.any(|(way, count)| count > 0 && of_device(way) == (kind == kind::BLOCK))
}

/// A kind's name.
#[must_use]
pub fn kind_name(kind: u32) -> &'static str {
    match kind {
        kind::NONE => "none",
        kind::REGULAR => "file",
        kind::DIRECT => "file, direct",
        kind::MEMORY => "memory file",
        kind::DIRECTORY => "directory",
        kind::BLOCK => "block device",
        kind::CHARACTER => "character device",
        kind::PIPE => "pipe",
        kind::SOCKET => "socket",
        kind::TCP => "TCP socket",
        kind::ANONYMOUS => "event fd",
        _ => "unknown",
    }
}
