//! Dropped packets as differences, and who holds the sockets that they were for.

use std::collections::HashSet;

use profiler_common::drop::{DropKey, DropRecord, reason};
use profiler_common::tcp::HolderRecord;

use crate::batch::{self, DropRow, Endpoint, ProcessKey};
use crate::kernel::drain::patience::Patience;
use crate::kernel::drain::{Map, growth};

/// Reasons that are none: it is not told why, or nobody waits for the packet any more (what a socket has left when it is closed,
/// one buffer per TCP connection).
const NO_REASON: [&str; 2] = ["NOT_SPECIFIED", "QUEUE_PURGE"];

/// What all reasons are called that have no name, which modules have.
const OTHER: &str = "other";

/// Looks for what is gone that an entry lasts in which nothing happens.
const IDLE_MAX: u32 = 6;

/// With so many entries, half of the kernel's map, those go that have not grown since the last look.
const CROWD: usize = 2_048;

/// The last readings.
pub struct Drops {
    /// Why, by number.
    names: Map<u32, String>,
    last: Map<DropKey, Last>,
    holders: Map<u64, Holder>,
    /// By reason: of all packets, of those with a socket, and of those without that were told.
    sums: Map<u32, [u64; 3]>,
    pass: u64,
    /// Rows of sockets in this pass, whose owner may be found yet.
    rows: Vec<DropRow>,
}

/// The last reading of a socket and reason.
#[derive(Default)]
struct Last {
    count: u64,
    /// Looks for what is gone since it grew.
    idle: u32,
}

/// Who holds a socket.
#[derive(Default)]
struct Holder {
    process: Option<ProcessKey>,
    /// It has ended: somebody else may hold the socket now.
    left: bool,
    /// When it is looked for, if packets are dropped.
    patience: Patience,
}

impl Holder {
    fn is_wanted(&self) -> bool {
        self.left || self.process.is_none()
    }
}

impl Drops {
    /// By the names that the kernel has for its reasons.
    pub fn new(names: Vec<(u32, String)>) -> Self {
        let ours = reason::NAMES.into_iter().map(|(number, name)| (number, name.to_owned()));
        Self {
            names: ours.chain(names).collect(),
            last: Map::default(),
            holders: Map::default(),
            sums: Map::default(),
            pass: 0,
            rows: Vec::new(),
        }
    }

    /// Books what all CPUs have counted of all packets. It is read before [`Self::observe`]: what is dropped in between is told
    /// without its socket in no pass.
    pub fn count(&mut self, cpus: &[[u64; reason::REASONS]]) {
        self.pass += 1;
        for (index, number) in (0..reason::REASONS).zip(0..) {
            let all: u64 = cpus.iter().map(|cpu| cpu[index]).sum();
            if all > 0 {
                self.sums.entry(number).or_default()[0] = all;
            }
        }
    }

    /// Books one record.
    pub fn observe(&mut self, key: &DropKey, now: &DropRecord) {
        let last = self.last.entry(*key).or_default();
        let count = growth(&mut last.count, now.count());
        if count == 0 {
            return;
        }
        last.idle = 0;
        self.sums.entry(key.reason).or_default()[1] += count;
        if let Some(reason) = name(&self.names, key.reason) {
            self.holders.entry(key.cookie).or_default();
            let local = Endpoint::new(key.local, u16::try_from(key.port).unwrap_or_default());
            let DropKey { cookie, netns, protocol, .. } = *key;
            let key = batch::DropKey { reason, cookie: Some(cookie), netns, protocol, local };
            self.rows.push(DropRow { key, owner: None, count });
        }
    }

    /// Whether somebody should look who holds what: sockets that lose packets now.
    pub fn wants_holders(&self) -> bool {
        let mut holders = self.rows.iter().filter_map(|row| self.holders.get(&row.key.cookie?));
        holders.any(|holder| holder.is_wanted() && holder.patience.is_over(self.pass))
    }

    /// Looks for all holders in the next pass.
    pub fn lose_patience(&mut self) {
        self.holders.values_mut().for_each(|holder| holder.patience.lose(0));
    }

    /// Processes have ended.
    pub fn leave(&mut self, ended: &HashSet<ProcessKey>) {
        let of = |holder: &&mut Holder| holder.process.is_some_and(|process| ended.contains(&process));
        for holder in self.holders.values_mut().filter(of) {
            *holder = Holder { left: true, patience: Patience::default(), ..*holder };
        }
    }

    /// Learns who holds what.
    pub fn learn_holders(&mut self, holders: &[HolderRecord]) {
        for record in holders {
            if let Some(holder) = self.holders.get_mut(&record.cookie).filter(|holder| holder.is_wanted()) {
                let process = ProcessKey { pid: record.pid, start_ns: record.process_start_ns };
                *holder = Holder { process: Some(process), ..Holder::default() };
            }
        }
    }

    /// All open files have been looked at since so many passes: sockets that nobody held are not asked for again at once.
    pub fn searched(&mut self, passes: u64) {
        let begun = self.pass.saturating_sub(passes);
        for holder in self.holders.values_mut().filter(|holder| holder.is_wanted()) {
            holder.patience.searched(begun, self.pass);
        }
    }

    /// The rows of this pass: of sockets, and of packets without one.
    pub fn rows(&mut self) -> Vec<DropRow> {
        let mut rows = std::mem::take(&mut self.rows);
        for row in &mut rows {
            let holder = row.key.cookie.and_then(|cookie| self.holders.get(&cookie));
            row.owner = holder.and_then(|holder| holder.process);
        }
        let mut without = Map::<String, u64>::default();
        for (number, [all, with, told]) in &mut self.sums {
            let count = growth(told, all.saturating_sub(*with));
            if let Some(reason) = name(&self.names, *number).filter(|_| count > 0) {
                *without.entry(reason).or_default() += count;
            }
        }
        rows.extend(without.into_iter().map(|(reason, count)| DropRow {
            key: batch::DropKey { reason, ..batch::DropKey::default() },
            owner: None,
            count,
        }));
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        rows
    }

    /// Entries that the map can let go, for nothing has happened in them for long: what happens in that very moment is missing.
    pub fn forget(&mut self) -> Vec<DropKey> {
        let idle_max = if self.last.len() >= CROWD { 1 } else { IDLE_MAX };
        let mut gone = Vec::new();
        self.last.retain(|key, last| {
            last.idle += 1;
            let stays = last.idle <= idle_max;
            gone.extend((!stays).then_some(*key));
            stays
        });
        if !gone.is_empty() {
            let left: HashSet<_> = self.last.keys().map(|key| key.cookie).collect();
            self.holders.retain(|cookie, _| left.contains(cookie));
        }
        gone
    }
}

/// Why, in the kernel's words; `None` if it is no reason.
fn name(names: &Map<u32, String>, number: u32) -> Option<String> {
    let name = names.get(&number).map_or(OTHER, String::as_str);
    (!NO_REASON.contains(&name)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: u32 = 6;

    fn drops() -> Drops {
        Drops::new(
            [(FULL, "SOCKET_RCVBUFF"), (3, "NO_SOCKET"), (2, "NOT_SPECIFIED")].map(|(n, s)| (n, s.into())).into(),
        )
    }

    fn key(cookie: u64) -> DropKey {
        DropKey { cookie, port: 53, protocol: 17, reason: FULL, ..DropKey::default() }
    }

    fn counted(reasons: &[(u32, u64)]) -> Vec<[u64; reason::REASONS]> {
        let mut cpus = vec![[0; reason::REASONS]; 2];
        for (number, count) in reasons {
            // All but one on the second.
            cpus[0][*number as usize] = 1;
            cpus[1][*number as usize] = count - 1;
        }
        cpus
    }

    fn told(rows: &[DropRow]) -> Vec<(&str, Option<u64>, u64)> {
        rows.iter().map(|row| (row.key.reason.as_str(), row.key.cookie, row.count)).collect()
    }

    fn holder(cookie: u64, pid: u32) -> HolderRecord {
        HolderRecord { cookie, pid, ..HolderRecord::default() }
    }

    #[test]
    fn each_packet_is_in_one_row() {
        let mut drops = drops();
        drops.count(&counted(&[(FULL, 10), (3, 4), (2, 9)]));
        drops.observe(&key(1), &DropRecord { unqueued: 7, freed: 7 });
        assert_eq!(
            told(&drops.rows()),
            [("NO_SOCKET", None, 4), ("SOCKET_RCVBUFF", None, 3), ("SOCKET_RCVBUFF", Some(1), 7)]
        );
        // Some are dropped between the two readings.
        drops.count(&counted(&[(FULL, 10), (3, 4)]));
        drops.observe(&key(1), &DropRecord { unqueued: 9, freed: 8 });
        assert_eq!(told(&drops.rows()), [("SOCKET_RCVBUFF", Some(1), 2)]);
        drops.count(&counted(&[(FULL, 12), (3, 4), (255, 2)]));
        drops.observe(&key(1), &DropRecord { unqueued: 9, freed: 9 });
        assert_eq!(told(&drops.rows()), [("other", None, 2)]);
    }

    #[test]
    fn a_kernel_that_tells_no_reasons_tells_of_full_sockets() {
        let mut drops = Drops::new(Vec::new());
        drops.count(&[]);
        drops.observe(&DropKey { reason: reason::FULL, ..key(1) }, &DropRecord { unqueued: 3, freed: 0 });
        assert_eq!(told(&drops.rows()), [("SOCKET_RCVBUFF", Some(1), 3)]);
    }

    #[test]
    fn who_holds_a_socket_is_looked_for_while_it_loses_packets_and_with_patience() {
        let mut drops = drops();
        let lose = |drops: &mut Drops, count| {
            drops.count(&[]);
            drops.observe(&key(1), &DropRecord { unqueued: count, freed: 0 });
            drops.wants_holders()
        };
        assert!(lose(&mut drops, 1));
        drops.learn_holders(&[holder(2, 7)]);
        drops.searched(0);
        assert_eq!(drops.rows()[0].owner, None);
        assert!(!lose(&mut drops, 2), "just looked for");
        assert_eq!(drops.rows().len(), 1);
        assert!(!lose(&mut drops, 2), "nothing is lost");
        assert!(lose(&mut drops, 3));
        drops.learn_holders(&[holder(1, 7), holder(1, 8)]);
        let owner = ProcessKey { pid: 7, start_ns: 0 };
        assert_eq!(drops.rows()[0].owner, Some(owner));
        drops.leave(&HashSet::from([owner]));
        assert!(lose(&mut drops, 4));
        drops.learn_holders(&[holder(1, 8)]);
        assert_eq!(drops.rows()[0].owner, Some(ProcessKey { pid: 8, start_ns: 0 }));
        assert!(!lose(&mut drops, 5));
    }

    #[test]
    fn what_loses_nothing_for_long_goes() {
        let mut drops = drops();
        drops.observe(&key(1), &DropRecord { unqueued: 1, freed: 0 });
        for _ in 0..IDLE_MAX {
            assert_eq!(drops.forget(), []);
        }
        assert_eq!(drops.forget(), [key(1)]);
        assert!(drops.holders.is_empty());
        (0..CROWD as u64).for_each(|cookie| drops.observe(&key(cookie), &DropRecord { unqueued: 1, freed: 0 }));
        assert_eq!(drops.forget(), []);
        drops.observe(&key(7), &DropRecord { unqueued: 2, freed: 0 });
        assert_eq!(drops.forget().len(), CROWD - 1);
    }
}
