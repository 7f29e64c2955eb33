//! Files one by one, as differences. A record that the kernel has given to others is gone with what it had: the calls of the
//! process have it nevertheless.

use std::cmp::Reverse;

use profiler_common::file::{InodeKey, KindEntry, PathKey, PathRecord};
use profiler_common::syscall::CpuCalls;

use crate::batch::hist::Scale;
use crate::batch::{FileKey, Hist, PathRow, ProcessKey};
use crate::kernel::drain::{Map, growth};

/// Files of processes that are told of an interval; of more, those that were used most.
const ROWS_MAX: usize = 1_024;

/// The last reading of each file as each process uses it.
#[derive(Default)]
pub struct Paths {
    last: Map<PathKey, (PathRecord, u64)>,
    pass: u64,
    /// What CPUs have counted and not handed over, of this reading.
    partial: Map<PathKey, Vec<KindEntry>>,
}

/// A file that was used, and what tells its name.
pub struct Used {
    /// What a process did to it.
    pub row: PathRow,
    /// Its record.
    pub record: PathRecord,
}

impl Paths {
    /// Begins a reading with what a CPU has counted for the process that is on it.
    pub fn partial(&mut self, cpu: &CpuCalls, process_start_ns: u64) {
        let whole = cpu.owner != 0 && cpu.tenure == cpu.tenure_begun;
        let entries = (0..).zip(&cpu.kinds).filter(|(index, _)| whole && cpu.dirty_paths >> index & 1 != 0);
        for (_, entry) in entries {
            let key = PathKey { inode: entry.inode, process_start_ns, pid: cpu.pid, kind: entry.kind };
            self.partial.entry(key).or_default().push(*entry);
        }
    }

    /// The files that were used since the last reading, those that were used most if they are many, in order.
    pub fn observe(&mut self, keys: &[PathKey], records: &[PathRecord]) -> Vec<Used> {
        self.pass += 1;
        let mut used = Vec::new();
        for (key, record) in keys.iter().zip(records) {
            let (last, seen) = self.last.entry(*key).or_insert((PathRecord::EMPTY, 0));
            *seen = self.pass;
            if last.born != record.born {
                *last = PathRecord { born: record.born, ..PathRecord::EMPTY };
            }
            let mut now = *record;
            for entry in self.partial.remove(key).unwrap_or_default() {
                add(&mut now, &entry);
            }
            let row = row(*key, last, &now);
            if weight(&row) > 0 {
                used.push(Used { row, record: *record });
            }
        }
        // Of files that have no record any more, or none yet, the next reading tells.
        self.partial.clear();
        self.last.retain(|_, (_, seen)| *seen == self.pass);
        if used.len() > ROWS_MAX {
            used.select_nth_unstable_by_key(ROWS_MAX, |used| Reverse(weight(&used.row)));
            used.truncate(ROWS_MAX);
        }
        used.sort_unstable_by_key(|used| (used.row.file, used.row.process, used.row.kind));
        used
    }
}

fn add(sum: &mut PathRecord, entry: &KindEntry) {
    for (sum, calls) in sum.calls.iter_mut().zip(entry.calls) {
        *sum += u64::from(calls);
    }
    for (sum, bytes) in sum.bytes.iter_mut().zip(entry.bytes) {
        *sum += bytes;
    }
    sum.misaligned += u64::from(entry.misaligned);
}

/// What grew since the last reading, which this becomes.
fn row(key: PathKey, last: &mut PathRecord, now: &PathRecord) -> PathRow {
    let sync_blocked = Hist::between(Scale::Log2, &now.sync_blocked, &last.sync_blocked);
    last.sync_blocked = now.sync_blocked;
    let [reads, writes, syncs] = std::array::from_fn(|act| growth(&mut last.calls[act], now.calls[act]));
    let [read_bytes, written_bytes] = std::array::from_fn(|act| growth(&mut last.bytes[act], now.bytes[act]));
    let [read_blocked_ns, write_blocked_ns, sync_blocked_ns] =
        std::array::from_fn(|act| growth(&mut last.blocked_ns[act], now.blocked_ns[act]));
    let InodeKey { number, device, generation } = key.inode;
    PathRow {
        file: FileKey { device, number, generation },
        process: ProcessKey { pid: key.pid, start_ns: key.process_start_ns },
        kind: key.kind,
        reads,
        read_bytes,
        read_blocked_ns,
        writes,
        written_bytes,
        write_blocked_ns,
        syncs,
        sync_blocked_ns,
        sync_blocked,
        missed_pages: growth(&mut last.missed_pages, now.missed_pages),
        read_missed_pages: Some(growth(&mut last.read_missed_pages, now.read_missed_pages)),
        misaligned: Some(growth(&mut last.misaligned, now.misaligned)),
    }
}

/// How much a file was used; 0 if not at all.
fn weight(row: &PathRow) -> u64 {
    let calls = row.reads + row.writes + row.syncs + row.missed_pages;
    calls + row.read_bytes + row.written_bytes + row.read_blocked_ns + row.write_blocked_ns + row.sync_blocked_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PathKey =
        PathKey { inode: InodeKey { number: 5, device: 8 << 20, generation: 1 }, process_start_ns: 3, pid: 7, kind: 1 };

    fn reads(born: u32, reads: u64) -> PathRecord {
        PathRecord { born, calls: [reads, 0, 0], bytes: [reads * 10, 0], ..PathRecord::EMPTY }
    }

    fn told(paths: &mut Paths, record: &PathRecord) -> Vec<(u64, u64)> {
        paths
            .observe(&[KEY], std::slice::from_ref(record))
            .iter()
            .map(|used| (used.row.reads, used.row.read_bytes))
            .collect()
    }

    #[test]
    fn a_file_is_told_as_far_as_it_was_used() {
        let mut paths = Paths::default();
        assert_eq!(told(&mut paths, &reads(1, 4)), [(4, 40)]);
        assert_eq!(told(&mut paths, &reads(1, 4)), []);
        assert_eq!(told(&mut paths, &reads(1, 6)), [(2, 20)]);
        assert_eq!(told(&mut paths, &reads(2, 3)), [(3, 30)], "another record, which began with nothing");
    }

    #[test]
    fn what_a_cpu_has_not_handed_over_counts_once() {
        let mut paths = Paths::default();
        let entry = KindEntry { inode: KEY.inode, kind: 1, calls: [5, 0, 0], bytes: [50, 0], ..KindEntry::default() };
        let mut cpu = CpuCalls { owner: 1, pid: 7, dirty_paths: 4, ..CpuCalls::default() };
        cpu.kinds[2] = entry;
        paths.partial(&cpu, 3);
        assert_eq!(told(&mut paths, &reads(1, 1)), [(6, 60)]);
        assert_eq!(told(&mut paths, &reads(1, 6)), [], "handed over");
    }

    #[test]
    fn of_many_files_those_are_told_that_were_used_most() {
        let keys: Vec<_> =
            (1..=2_000).map(|number| PathKey { inode: InodeKey { number, ..KEY.inode }, ..KEY }).collect();
        let records: Vec<_> = (1..=2_000).map(|count| reads(1, count)).collect();
        let used = Paths::default().observe(&keys, &records);
        assert_eq!((used.len(), used[0].row.file.number), (ROWS_MAX, 2_001 - ROWS_MAX as u64));
    }
}
