//! All TCP sockets: which have a row in a pass, and who holds them.

mod known;

use std::collections::{HashSet, VecDeque};
use std::mem;

use profiler_common::tcp::{HolderRecord, SocketRecord, identity};

use self::known::Known;
use crate::batch::{ProcessKey, SocketRow, Timestamp};
use crate::kernel::drain::patience::Patience;
use crate::kernel::drain::{Interval, Map};

/// Passes after which a connection on which nothing happens has a row again: whoever looks back on ten batches knows all.
const QUIET_PASSES: usize = 8;

/// Passes over all sockets that may leave one out, before it counts as one that ended: the kernel's walk may.
const MISSES_MAX: u32 = 2;

/// All sockets that live.
#[derive(Default)]
pub struct Sockets {
    /// Boxed: with them inside, a table of tens of thousands takes as long to grow as everything else of a pass.
    known: Map<u64, Box<Known>>,
    passes: Passes,
    /// How many each process owns.
    owned: Map<ProcessKey, u64>,
    /// Those whose holder may have to be looked for.
    orphans: HashSet<u64>,
    /// Those whose holder was found in this pass.
    found: Vec<u64>,
    /// Those that have a row in a pass to come if nothing happens until then, by its number.
    resting: [Vec<u64>; QUIET_PASSES + 1],
    /// Nobody has heard of any yet.
    are_untold: bool,
    /// Passes that have to look at all, since ends were lost.
    doubts: u32,
}

/// Passes over sockets. What ends between two of them is told in the same batch as the second.
#[derive(Default)]
struct Passes {
    /// Number of the one under way.
    number: u64,
    /// When it began, and those before it, as far back as rows may lie apart.
    begins: VecDeque<u64>,
}

impl Passes {
    /// The one under way has ended, and the next begins.
    fn next(&mut self, begin: Timestamp) {
        self.number += 1;
        self.begins.push_front(begin.0);
        self.begins.truncate(QUIET_PASSES + 2);
    }

    /// Time from the begin of a pass to that of this one.
    fn since(&self, number: u64) -> u64 {
        let back = usize::try_from(self.number - number).unwrap_or(usize::MAX);
        let before = self.begins.get(back).or(self.begins.back());
        self.begins.front().zip(before).map_or(0, |(now, before)| now - before)
    }
}

impl Sockets {
    /// Some sockets have ended, and their last record was lost.
    pub fn doubt(&mut self) {
        self.doubts = MISSES_MAX + 1;
    }

    /// Whether the next pass over all sockets has to show each.
    pub fn is_in_doubt(&self) -> bool {
        self.doubts > 0
    }

    /// In this pass and so many before it, all were looked at and shown: forgets those that were not for a while.
    pub fn seen_all(&mut self, passes: u64) {
        let since = self.passes.number.saturating_sub(passes);
        self.doubts = self.doubts.saturating_sub(1);
        self.known.retain(|_, known| {
            known.misses = if known.pass >= since { 0 } else { known.misses + 1 };
            let stays = known.misses <= MISSES_MAX;
            if !stays {
                count(&mut self.owned, known.owner(), None);
            }
            stays
        });
    }

    /// Nobody hears of the first pass: all that it has seen are told in the next.
    pub fn tell_again(&mut self) {
        let number = self.passes.number;
        self.known.values_mut().for_each(|known| known.rests_until = number);
        let resting = &mut self.resting[slot(number)];
        *resting = self.known.keys().copied().collect();
        resting.sort_unstable();
        self.are_untold = true;
    }

    /// The next pass begins.
    pub fn end_pass(&mut self, until: Timestamp) {
        self.passes.next(until);
    }

    /// Whether somebody should look who holds what.
    pub fn wants_holders(&mut self) -> bool {
        self.orphans.retain(|cookie| self.known.get(cookie).is_some_and(|known| known.is_orphan()));
        let number = self.passes.number;
        self.orphans
            .iter()
            .any(|cookie| self.known[cookie].may_be_held() && self.known[cookie].patience.is_over(number))
    }

    /// Looks for all holders in the next pass.
    pub fn lose_patience(&mut self) {
        for cookie in &self.orphans {
            if let Some(known) = self.known.get_mut(cookie) {
                known.patience.lose(self.passes.number);
            }
        }
    }

    /// Processes have ended. What they had open lives on if others have it as well: inherited, or passed on.
    pub fn leave(&mut self, ended: &HashSet<ProcessKey>) {
        if !ended.iter().any(|process| self.owned.contains_key(process)) {
            return;
        }
        for (cookie, known) in &mut self.known {
            if known.owner().is_some_and(|owner| ended.contains(&owner)) {
                (known.left, known.patience) = (true, Patience::until(self.passes.number));
                self.orphans.insert(*cookie);
            }
        }
    }

    /// Learns who holds what.
    pub fn learn_holders(&mut self, holders: &[HolderRecord]) {
        for holder in holders {
            let cookie = identity(holder.cookie, holder.opened_ns);
            if self.orphans.remove(&cookie)
                && let Some(known) = self.known.get_mut(&cookie)
            {
                let before = known.owner();
                known.holder = Some(ProcessKey { pid: holder.pid, start_ns: holder.process_start_ns });
                known.left = false;
                count(&mut self.owned, before, known.owner());
                self.found.push(cookie);
            }
        }
    }

    /// All open files have been looked at since so many passes: sockets that nobody held are not asked for again at once.
    pub fn searched(&mut self, passes: u64) {
        let begun = self.passes.number.saturating_sub(passes);
        for cookie in &self.orphans {
            if let Some(known) = self.known.get_mut(cookie) {
                known.patience.searched(begun, self.passes.number);
            }
        }
    }

    /// Books one record of a socket that lives.
    pub fn observe(&mut self, record: &SocketRecord, interval: &Interval) {
        let pass = self.passes.number;
        let known = self.known.entry(record.cookie).or_insert_with(|| Box::new(Known::new(record, interval, pass)));
        let before = known.owner();
        known.pass = pass;
        known.see(record);
        count(&mut self.owned, before, known.owner());
        if known.is_orphan() {
            self.orphans.insert(record.cookie);
        }
    }

    /// The rows of this pass: of its records, which were observed, then of sockets whose holder was found, and of those on which
    /// nothing has happened for long, or of all.
    pub fn rows(
        &mut self,
        records: &[&SocketRecord],
        tells_all: bool,
        now_ns: u64,
        tick_ns: u32,
        rows: &mut Vec<SocketRow>,
    ) {
        let number = self.passes.number;
        let mut quiet = mem::take(&mut self.found);
        let rested = mem::take(&mut self.resting[slot(number)]);
        if tells_all {
            quiet.extend(self.known.keys());
            quiet.sort_unstable();
        } else {
            let rests = |cookie: &u64| self.known.get(cookie).is_some_and(|known| known.rests_until == number);
            quiet.extend(rested.into_iter().filter(rests));
        }
        rows.reserve(records.len() + quiet.len());
        for (place, record) in records.iter().enumerate() {
            let rest = spread(place, records.len());
            rows.extend(self.row(record.cookie, rest, |known, passes| known.row(record, passes, tick_ns)));
        }
        let are_all = mem::take(&mut self.are_untold);
        let all = quiet.len();
        for (place, cookie) in quiet.into_iter().enumerate() {
            let rest = if are_all { spread(place, all) } else { QUIET_PASSES as u64 };
            rows.extend(self.row(cookie, rest, |known, passes| {
                // It may have had one in this pass.
                if known.due > number { None } else { known.quiet_row(now_ns, passes, tick_ns) }
            }));
        }
    }

    /// The row of a socket that lives. If nothing happens, it has another one after so many passes.
    fn row(
        &mut self,
        cookie: u64,
        rest: u64,
        row: impl FnOnce(&mut Known, &Passes) -> Option<SocketRow>,
    ) -> Option<SocketRow> {
        let known = self.known.get_mut(&cookie)?;
        let row = row(known, &self.passes)?;
        known.rests_until = self.passes.number + rest;
        self.resting[slot(known.rests_until)].push(cookie);
        Some(row)
    }

    /// The last row of a socket, by the record of its end. Most are not known: they have lived within one interval.
    pub fn last_row(&mut self, record: &SocketRecord, interval: &Interval, tick_ns: u32) -> Option<SocketRow> {
        let mut known = match self.known.remove(&record.cookie) {
            Some(known) => *known,
            None => Known::new(record, interval, self.passes.number),
        };
        count(&mut self.owned, known.owner(), None);
        known.see(record);
        known.row(record, &self.passes, tick_ns)
    }
}

/// Passes that one of many rests for: not all that were seen at once have a row at once, and neighbors have it together, as they are
/// together in memory.
fn spread(place: usize, many: usize) -> u64 {
    (QUIET_PASSES - place * QUIET_PASSES / many) as u64
}

/// Where those are that rest until a pass.
fn slot(pass: u64) -> usize {
    usize::try_from(pass % (QUIET_PASSES as u64 + 1)).unwrap_or_default()
}

/// A socket goes from one owner to another.
fn count(owned: &mut Map<ProcessKey, u64>, from: Option<ProcessKey>, to: Option<ProcessKey>) {
    if from == to {
        return;
    }
    if let Some(to) = to {
        *owned.entry(to).or_default() += 1;
    }
    if let Some(from) = from
        && let Some(left) = owned.get_mut(&from)
    {
        *left -= 1;
        if *left == 0 {
            owned.remove(&from);
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::limit::APPLICATION;
    use profiler_common::tcp::state;

    use super::*;

    /// The row of the one record of a pass.
    fn row(sockets: &mut Sockets, record: &SocketRecord) -> Option<SocketRow> {
        if record.ended != 0 {
            return sockets.last_row(record, &Interval::default(), 1);
        }
        let mut rows = Vec::new();
        sockets.rows(&[record], false, record.at_ns, 1, &mut rows);
        sockets.end_pass(Timestamp(0));
        rows.pop()
    }

    #[test]
    fn what_nothing_happens_on_is_left_out_unless_ends_are_not_told() {
        let mut sockets = Sockets::default();
        let [quiet, busy] =
            [1, 2].map(|cookie| SocketRecord { cookie, bytes_sent: 50, state: 1, ..SocketRecord::default() });
        let mut ends_ns = 0;
        let mut pass = |records: &[SocketRecord], told_ns: Option<u64>| {
            for record in records {
                sockets.observe(record, &Interval::default());
            }
            let records: Vec<_> = records.iter().collect();
            let mut rows = Vec::new();
            sockets.rows(&records, told_ns.is_some(), told_ns.unwrap_or(0), 1, &mut rows);
            ends_ns += 1_000;
            sockets.end_pass(Timestamp(ends_ns));
            rows.iter()
                .map(|row| (row.cookie, row.total.sent_bytes, row.limits.unwrap()[APPLICATION], row.quiet_ns))
                .collect::<Vec<_>>()
        };
        let at = |at_ns, record| SocketRecord { at_ns, ..record };
        assert_eq!(pass(&[quiet, busy], None), [(1, 50, 0, 0), (2, 50, 0, 0)]);
        let busy = SocketRecord { bytes_sent: 70, ..busy };
        assert_eq!(pass(&[at(900, busy)], None), [(2, 70, 900, 0)]);
        assert_eq!(pass(&[at(1_900, busy), at(1_900, quiet)], None), [(2, 70, 1_000, 0), (1, 50, 1_900, 1_000)]);
        assert_eq!(pass(&[at(2_900, busy)], Some(3_000)), [(2, 70, 1_000, 0), (1, 50, 1_100, 0)]);
    }

    #[test]
    fn a_window_stays_closed_as_long_as_nothing_happens() {
        let mut sockets = Sockets::default();
        let mut pass = |number: u64, told: Option<(u32, u32)>| {
            let mut rows = Vec::new();
            if let Some((limited_ticks, send_window)) = told {
                let record = SocketRecord {
                    cookie: 1,
                    state: state::ESTABLISHED,
                    at_ns: number * 1_000,
                    mss: 1_000,
                    send_window,
                    chrono: [0, limited_ticks, 0],
                    ..SocketRecord::default()
                };
                sockets.observe(&record, &Interval::default());
                sockets.rows(&[&record], false, record.at_ns, 10, &mut rows);
            }
            sockets.end_pass(Timestamp(number * 1_000));
            rows.first().map(|row| row.zero_window_ns.unwrap())
        };
        assert_eq!(pass(1, Some((0, 0))), Some(0));
        assert_eq!([2, 3].map(|number| pass(number, None)), [None; 2]);
        assert_eq!(pass(4, Some((300, 64_000))), Some(2_000), "until it opened");
        assert_eq!(pass(5, None), None);
        assert_eq!(pass(6, Some((500, 0))), Some(1_000), "since it closed");
    }

    #[test]
    fn sockets_at_one_address_are_told_by_their_birth() {
        assert_eq!(identity(7, 1_000), identity(7, 2_000), "a cookie is not used again");
        assert_ne!(identity(0xffff_8880_0000_1000, 1_000), identity(0xffff_8880_0000_1000, 2_000));
    }

    #[test]
    fn what_moved_before_we_came_does_not_count() {
        let mut sockets = Sockets::default();
        let interval = Interval { watched_since: Timestamp(1_000), ..Interval::default() };
        let mut record = SocketRecord { cookie: 1, bytes_sent: 50, ..SocketRecord::default() };
        sockets.observe(&record, &interval);
        assert_eq!(row(&mut sockets, &record).map(|row| row.sent_bytes), Some(0));
        record.bytes_sent = 70;
        assert_eq!(row(&mut sockets, &record).map(|row| (row.sent_bytes, row.total.sent_bytes)), Some((20, 70)));
        let mut young = SocketRecord { cookie: 2, bytes_sent: 50, ended: 1, ..SocketRecord::default() };
        young.owner.opened_ns = 2_000;
        assert_eq!(row(&mut sockets, &young).map(|row| row.sent_bytes), Some(50));
    }

    #[test]
    fn what_two_walks_left_out_is_not_counted_twice() {
        let mut sockets = Sockets::default();
        let mut record = SocketRecord { cookie: 1, bytes_sent: 50, ..SocketRecord::default() };
        record.owner.opened_ns = 2_000;
        let sent = |walks_without: u32| {
            sockets.observe(&record, &Interval::default());
            let row = row(&mut sockets, &record).map(|row| row.sent_bytes);
            for _ in 0..walks_without {
                sockets.seen_all(0);
                sockets.end_pass(Timestamp(0));
            }
            row
        };
        assert_eq!([MISSES_MAX, MISSES_MAX + 1, 0].map(sent), [Some(50), Some(0), Some(50)]);
    }

    #[test]
    fn whoever_looks_back_on_ten_batches_knows_all() {
        let mut sockets = Sockets::default();
        let of = |cookie| SocketRecord { cookie, state: state::ESTABLISHED, ..SocketRecord::default() };
        let records: Vec<_> = (0..100).map(of).collect();
        for record in &records {
            sockets.observe(record, &Interval::default());
        }
        let told: Vec<Vec<u64>> = (0..40)
            .map(|pass| {
                let records: Vec<_> = records.iter().filter(|_| pass == 0).collect();
                let mut rows = Vec::new();
                sockets.rows(&records, false, pass, 1, &mut rows);
                sockets.end_pass(Timestamp(pass + 1));
                rows.iter().map(|row| row.cookie).collect()
            })
            .collect();
        assert!(told.iter().skip(1).all(|rows| (10..=15).contains(&rows.len())), "not all at once: {told:?}");
        for window in told.windows(QUIET_PASSES + 1) {
            let mut seen = window.concat();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 100);
        }
    }

    #[test]
    fn what_outlives_its_process_belongs_to_who_else_holds_it() {
        let mut sockets = Sockets::default();
        let mut record = SocketRecord { cookie: 1, state: state::ESTABLISHED, ..SocketRecord::default() };
        (record.owner.pid, record.owner.opened_ns) = (7, 2_000);
        let [parent, child] = [7, 8].map(|pid| ProcessKey { pid, start_ns: 0 });
        let mut pass = |ended: &[ProcessKey], holders: &[u32]| {
            sockets.observe(&record, &Interval::default());
            sockets.leave(&ended.iter().copied().collect());
            let looks = sockets.wants_holders();
            let holders: Vec<_> =
                holders.iter().map(|pid| HolderRecord { cookie: 1, pid: *pid, ..HolderRecord::default() }).collect();
            if looks {
                sockets.learn_holders(&holders);
                sockets.searched(0);
            }
            (looks, row(&mut sockets, &record).and_then(|row| row.owner))
        };
        assert_eq!(pass(&[], &[8, 7]), (false, Some(parent)), "nobody is asked while it lives");
        assert_eq!(pass(&[parent], &[8]), (true, Some(child)));
        assert_eq!(pass(&[], &[]), (false, Some(child)));
        // Nobody has it: on its way from one to another, or about to go.
        assert_eq!(pass(&[child], &[]), (true, Some(child)));
        assert_eq!(pass(&[], &[]), (false, Some(child)), "no look follows another at once");
    }

    #[test]
    fn a_connection_that_was_reset_is_counted_once() {
        let mut sockets = Sockets::default();
        let mut pass = |record: &SocketRecord| {
            sockets.observe(record, &Interval { watched_since: Timestamp(1_000), ..Interval::default() });
            row(&mut sockets, record).map(|row| row.sent_bytes)
        };
        let mut record =
            SocketRecord { cookie: 1, bytes_sent: 50, state: state::ESTABLISHED, ..SocketRecord::default() };
        record.owner.opened_ns = 2_000;
        assert_eq!(pass(&record), Some(50));
        record.state = state::CLOSE;
        assert_eq!([(); 4].map(|()| pass(&record)), [Some(0), None, None, None]);
        record.ended = 1;
        assert_eq!(pass(&record), Some(0));
    }
}
