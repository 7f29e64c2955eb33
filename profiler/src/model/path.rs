//! Files one by one, as each process uses them.

use std::collections::{BTreeMap, BTreeSet};

use profiler_common::file::is_followed;
use profiler_common::syscall::class;

use crate::batch::{FileKey, Hist, PathRow, ProcessKey};
use crate::model::process::Process;
use crate::model::syscall::{CallTable, CallUse, kind_of};
use crate::model::time::{Recent, Reset, Tally};

/// A file, a process that uses it, and the kind that it is to it ([`profiler_common::file::kind`]).
pub type PathKey = (FileKey, ProcessKey, u32);

/// Files and their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Those that were used in the window. Not all: what is missing is the difference to the calls of the processes.
    pub uses: BTreeMap<PathKey, Recent<PathUse>>,
    names: BTreeMap<FileKey, String>,
}

/// What a process did to a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathUse {
    /// Reads, calls and operations.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Calls and operations that made data durable.
    pub syncs: u64,
    /// Blocked time in syncs.
    pub sync_blocked_ns: u64,
    /// Syncs that blocked, by blocked time. Exact, coarse scale.
    pub sync_blocked: Hist,
    /// Blocked time in all of these.
    pub blocked_ns: u64,
    /// Pages that were fetched for it.
    pub missed_pages: u64,
    /// Those among them that calls fetched that read.
    pub read_missed_pages: u64,
    /// Calls with `O_DIRECT` that begin or end inside a block of the file system, or were refused.
    pub misaligned: u64,
    /// Rows that told neither of the last two: of a capture from before.
    pub unrecorded: u64,
}

impl Reset for PathUse {}

impl Tally<PathRow> for PathUse {
    fn absorb(&mut self, row: &PathRow) {
        self.reads += row.reads;
        self.read_bytes += row.read_bytes;
        self.writes += row.writes;
        self.written_bytes += row.written_bytes;
        self.syncs += row.syncs;
        self.sync_blocked_ns += row.sync_blocked_ns;
        self.sync_blocked.add(&row.sync_blocked);
        self.blocked_ns += row.read_blocked_ns + row.write_blocked_ns + row.sync_blocked_ns;
        self.missed_pages += row.missed_pages;
        self.read_missed_pages += row.read_missed_pages.unwrap_or(0);
        self.misaligned += row.misaligned.unwrap_or(0);
        self.unrecorded += u64::from(row.read_missed_pages.is_none());
    }
}

impl PathUse {
    /// Calls and operations of all three kinds.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.reads + self.writes + self.syncs
    }

    /// Takes calls away that are told elsewhere. What moved between two readings may stand there an interval later.
    fn deduct(&mut self, told: &Self) {
        for (all, told) in [
            (&mut self.reads, told.reads),
            (&mut self.read_bytes, told.read_bytes),
            (&mut self.writes, told.writes),
            (&mut self.written_bytes, told.written_bytes),
            (&mut self.syncs, told.syncs),
            (&mut self.sync_blocked_ns, told.sync_blocked_ns),
            (&mut self.blocked_ns, told.blocked_ns),
        ] {
            *all = all.saturating_sub(told);
        }
    }

    fn absorb_call(&mut self, class: u8, call: &CallUse) {
        match class {
            class::READ => {
                self.reads += call.count;
                self.read_bytes += call.bytes;
            }
            class::WRITE => {
                self.writes += call.count;
                self.written_bytes += call.bytes;
            }
            class::SYNC => {
                self.syncs += call.count;
                self.sync_blocked_ns += call.blocked_ns;
            }
            _ => return,
        }
        self.blocked_ns += call.blocked_ns;
    }
}

impl Paths {
    pub(super) fn begin(&mut self) {
        self.uses.values_mut().for_each(Recent::begin);
    }

    pub(super) fn rotate(&mut self) {
        self.uses.values_mut().for_each(Recent::rotate);
        self.uses.retain(|_, usage| usage.sum != PathUse::default());
    }

    pub(super) fn learn(&mut self, file: FileKey, path: &str) {
        self.names.insert(file, path.to_owned());
    }

    /// Keeps at most `max` files of processes, those that were used most, and their names.
    pub(super) fn bound(&mut self, max: usize) {
        if self.uses.len() > max {
            let weight = |usage: &PathUse| usage.read_bytes + usage.written_bytes + usage.calls();
            let mut ranked: Vec<_> = self.uses.iter().map(|(key, usage)| (weight(&usage.sum), *key)).collect();
            ranked.sort_unstable();
            for (_, key) in &ranked[..ranked.len() - max / 2] {
                self.uses.remove(key);
            }
        }
        if self.names.len() > 2 * max {
            let used: BTreeSet<_> = self.uses.keys().map(|(file, ..)| *file).collect();
            self.names.retain(|file, _| used.contains(file));
        }
    }

    /// Where a file is, else its number.
    #[must_use]
    pub fn name(&self, file: FileKey) -> String {
        let number = || format!("inode {} of {}:{}", file.number, file.device >> 20, file.device & 0xf_ffff);
        self.names.get(&file).cloned().unwrap_or_else(number)
    }

    /// What processes did to files that are not told one by one: the rest of their calls. `only` narrows it to one of them.
    #[must_use]
    pub fn rest<'a>(
        &self,
        processes: impl IntoIterator<Item = (ProcessKey, &'a Process)>,
        table: &CallTable,
        only: Option<ProcessKey>,
    ) -> Recent<PathUse> {
        let (mut now, mut sum) = (PathUse::default(), PathUse::default());
        let calls = processes.into_iter().flat_map(|(_, process)| &process.calls);
        for (call, usage) in calls.filter(|(call, _)| is_followed(kind_of(**call))) {
            now.absorb_call(table.class(*call), &usage.now);
            sum.absorb_call(table.class(*call), &usage.sum);
        }
        let told = self.uses.iter().filter(|((_, process, _), _)| only.is_none_or(|only| only == *process));
        for (_, usage) in told {
            now.deduct(&usage.now);
            sum.deduct(&usage.sum);
        }
        Recent::new(now, sum)
    }
}
