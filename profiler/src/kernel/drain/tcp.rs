//! TCP sockets: their state, what moved, and who holds them.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use profiler_common::tcp::{HolderRecord, QUIET_PASSES, SocketOwner, SocketRecord, identity, state};

use crate::batch::{ProcessKey, SocketRow, SocketTotal, Timestamp};
use crate::kernel::drain::limit::Limits;
use crate::kernel::drain::{Interval, growth, growth_wrapping};

/// Passes after which a socket whose holder was not found is looked for again, at most: twice as many after each look, since
/// a connection is accepted soon or not at all.
const RETRY_PASSES: u64 = 10;

/// Passes for which a socket is remembered that shows up no more. It does so each [`QUIET_PASSES`], but that the kernel's walk
/// over the list leaves some out while others end.
const KEPT_PASSES: u64 = 2 * QUIET_PASSES as u64;

/// `TCP_CLOSE_WAIT`: its peer has closed, its own process has not.
const CLOSE_WAIT: u32 = 8;

/// All sockets that live.
#[derive(Default)]
pub struct Sockets {
    known: BTreeMap<u64, Known>,
    pass: u64,
}

/// The last readings of a socket.
struct Known {
    pass: u64,
    last: SocketRecord,
    /// Who connected or listens, if that was seen.
    opener: Option<ProcessKey>,
    /// Who was found holding it, as nobody was seen opening it, or whoever did has ended.
    holder: Option<ProcessKey>,
    /// Whoever opened or held it has ended: somebody else may hold it now.
    left: bool,
    /// Pass at which its holder was last looked for.
    looked: u64,
    /// Passes after which it is looked for again.
    patience: u64,
    limits: Limits,
    local: String,
    peer: String,
}

impl Sockets {
    /// Begins a pass over all sockets.
    pub fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// Forgets sockets that were in none of the last passes: they ended, and their last record was lost.
    pub fn end_pass(&mut self) {
        let pass = self.pass;
        self.known.retain(|_, known| known.pass + KEPT_PASSES >= pass);
    }

    /// Whether somebody should look who holds what.
    pub fn wants_holders(&self) -> bool {
        self.known.values().any(|known| self.is_orphan(known))
    }

    fn is_orphan(&self, known: &Known) -> bool {
        let may_be_held = match known.last.state {
            // Who is left with an end that its last holder has closed, is nobody.
            state::ESTABLISHED | CLOSE_WAIT | state::LISTEN if known.left => true,
            state => state != state::CLOSE && known.owner().is_none(),
        };
        may_be_held && self.pass - known.looked >= known.patience
    }

    /// Processes have ended. What they had open lives on if others have it as well: inherited, or passed on.
    pub fn leave(&mut self, ended: &HashSet<ProcessKey>) {
        for known in self.known.values_mut() {
            if known.owner().is_some_and(|owner| ended.contains(&owner)) {
                (known.left, known.patience) = (true, 1);
            }
        }
    }

    /// Learns who holds what; sockets that nobody holds are not asked for again at once.
    pub fn learn_holders(&mut self, holders: &[HolderRecord]) {
        for holder in holders {
            if let Some(known) = self.known.get_mut(&identity(holder.cookie, holder.opened_ns))
                && (known.left || known.owner().is_none())
            {
                known.holder = Some(ProcessKey { pid: holder.pid, start_ns: holder.process_start_ns });
                known.left = false;
            }
        }
        for known in self.known.values_mut() {
            known.looked = self.pass;
            known.patience = RETRY_PASSES.min(known.patience * 2);
        }
    }

    /// Books one record.
    pub fn observe(&mut self, record: &SocketRecord, interval: &Interval) {
        let pass = self.pass;
        let known = self.known.entry(record.cookie).or_insert_with(|| Known::new(record, interval, pass));
        known.pass = pass;
        known.opener = opener(&record.owner).or(known.opener);
    }

    /// The rows of all sockets of this pass, by cookie, from the records of it, by cookie as well: on those of which there is none
    /// nothing has happened up to now.
    pub fn rows(&mut self, records: &[SocketRecord], now_ns: u64, tick_ns: u32, rows: &mut Vec<SocketRow>) {
        rows.reserve(self.known.len());
        let mut records = records.iter().peekable();
        for (cookie, known) in &mut self.known {
            let record = match records.next_if(|record| record.cookie == *cookie) {
                Some(record) => *record,
                None => SocketRecord { at_ns: now_ns, ..known.last },
            };
            rows.extend(known.row(&record, tick_ns));
        }
    }

    /// The last row of a socket whose end was observed.
    pub fn last_row(&mut self, record: &SocketRecord, tick_ns: u32) -> Option<SocketRow> {
        self.known.remove(&record.cookie)?.row(record, tick_ns)
    }
}

impl Known {
    /// Before its first reading: nothing, if we saw its birth; else what moved by then does not count.
    fn new(record: &SocketRecord, interval: &Interval, pass: u64) -> Self {
        let born_before = record.owner.opened_ns == 0 || record.owner.opened_ns < interval.watched_since.0;
        let before = if born_before { *record } else { SocketRecord { cookie: record.cookie, ..Default::default() } };
        let limits = if born_before { Limits::at(record) } else { Limits::born(record) };
        let local = endpoint(&record.local, record.local_port);
        let listens = record.state == state::LISTEN;
        let peer = if listens { "*".into() } else { endpoint(&record.peer, record.peer_port) };
        Self {
            pass: 0,
            last: before,
            opener: None,
            holder: None,
            left: false,
            // Who accepts one whose birth we saw will be seen; only of others, or if that does not come, somebody has to look.
            looked: if born_before { 0 } else { pass },
            patience: 1,
            limits,
            local,
            peer,
        }
    }

    /// What is new of it. A socket without a connection, which its process has yet to close, has a row when it comes to that and
    /// one when it ends.
    fn row(&mut self, record: &SocketRecord, tick_ns: u32) -> Option<SocketRow> {
        let last = &mut self.last;
        if record.state == state::CLOSE && last.state == state::CLOSE {
            // Nothing limits a connection that there is no more.
            self.limits = Limits::at(record);
            if record.ended == 0 {
                return None;
            }
        }
        // A connect finds its port only after its socket shows up.
        if last.local_port == 0 && record.local_port != 0 {
            last.local_port = record.local_port;
            self.local = endpoint(&record.local, record.local_port);
        }
        let mut row = SocketRow {
            sent_bytes: growth(&mut last.bytes_sent, record.bytes_sent),
            acked_bytes: growth(&mut last.bytes_acked, record.bytes_acked),
            received_bytes: growth(&mut last.bytes_received, record.bytes_received),
            segments_out: growth_wrapping(&mut last.segments_out, record.segments_out).into(),
            retransmits: growth_wrapping(&mut last.retransmits, record.retransmits).into(),
            drops: growth_wrapping(&mut last.drops, record.drops).into(),
            limits: self.limits.grown(record, tick_ns),
            timeouts: Some(growth_wrapping(&mut last.owner.timeouts, record.owner.timeouts).into()),
            recoveries: Some(growth_wrapping(&mut last.owner.recoveries, record.owner.recoveries).into()),
            local: self.local.clone(),
            peer: self.peer.clone(),
            ..state_of(record)
        };
        *last = *record;
        row.owner = self.owner();
        Some(row)
    }

    fn owner(&self) -> Option<ProcessKey> {
        self.holder.or(self.opener)
    }
}

fn opener(owner: &SocketOwner) -> Option<ProcessKey> {
    (owner.pid != 0).then_some(ProcessKey { pid: owner.pid, start_ns: owner.process_start_ns })
}

/// What a record says about the moment.
fn state_of(record: &SocketRecord) -> SocketRow {
    let owner = &record.owner;
    SocketRow {
        cookie: record.cookie,
        netns: record.netns,
        state: record.state,
        ended: record.ended != 0,
        owner: opener(owner),
        uid: record.uid,
        opened: (owner.opened_ns != 0).then_some(Timestamp(owner.opened_ns)),
        // Of one whose SYN we have not seen, it is since boot.
        connect_ns: (owner.connect_ns != 0 && owner.opened_ns != 0).then_some(owner.connect_ns),
        accept_ns: (owner.accept_ns != 0).then_some(owner.accept_ns),
        connect_errno: (owner.connect_errno != 0).then_some(owner.connect_errno),
        total: SocketTotal {
            sent_bytes: record.bytes_sent,
            acked_bytes: record.bytes_acked,
            received_bytes: record.bytes_received,
            retransmits: record.retransmits.into(),
        },
        srtt_us: (record.srtt_us != 0).then_some(record.srtt_us),
        rttvar_us: (record.srtt_us != 0).then_some(record.rttvar_us),
        min_rtt_us: (record.min_rtt_us != u32::MAX && record.srtt_us != 0).then_some(record.min_rtt_us),
        cwnd: record.cwnd,
        ssthresh: record.ssthresh,
        mss: record.mss,
        send_window_bytes: record.send_window,
        packets_out: record.packets_out,
        receive_queue_bytes: if record.state == state::LISTEN { 0 } else { record.receive_queue },
        send_queue_bytes: if record.state == state::LISTEN { 0 } else { record.send_queue },
        accept_queue: record.accept_queue,
        accept_limit: record.accept_limit,
        send_buffer_bytes: Some(record.send_buffer),
        unsent_bytes: Some(if record.state == state::LISTEN { 0 } else { record.unsent }),
        ..SocketRow::default()
    }
}

/// Address and port as `ss` prints them; an IPv4 address inside an IPv6 one is printed as what it is.
pub(super) fn endpoint(address: &[u8; 16], port: u16) -> String {
    match Ipv6Addr::from(*address).to_canonical() {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::limit::APPLICATION;

    use super::*;

    /// The row of a record that was observed.
    fn row(sockets: &mut Sockets, record: &SocketRecord) -> Option<SocketRow> {
        if record.ended != 0 {
            return sockets.last_row(record, 1);
        }
        let mut rows = Vec::new();
        sockets.rows(&[*record], record.at_ns, 1, &mut rows);
        rows.into_iter().find(|row| row.cookie == record.cookie)
    }

    #[test]
    fn what_nothing_happens_on_has_a_row_as_well() {
        let mut sockets = Sockets::default();
        let [quiet, busy] =
            [1, 2].map(|cookie| SocketRecord { cookie, bytes_sent: 50, state: 1, ..SocketRecord::default() });
        let mut pass = |records: &[SocketRecord], now_ns| {
            sockets.begin_pass();
            for record in records {
                sockets.observe(record, &Interval::default());
            }
            let mut rows = Vec::new();
            sockets.rows(records, now_ns, 1, &mut rows);
            sockets.end_pass();
            rows.iter()
                .map(|row| (row.cookie, row.total.sent_bytes, row.limits.unwrap()[APPLICATION]))
                .collect::<Vec<_>>()
        };
        assert_eq!(pass(&[quiet, busy], 0), [(1, 50, 0), (2, 50, 0)]);
        let busy = SocketRecord { at_ns: 900, bytes_sent: 70, ..busy };
        assert_eq!(pass(&[busy], 1_000), [(1, 50, 1_000), (2, 70, 900)]);
    }

    #[test]
    fn endpoints_look_like_those_of_ss() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
        assert_eq!(endpoint(&mapped, 80), "10.0.0.1:80");
        assert_eq!(endpoint(&[0; 16], 22), "[::]:22");
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
        sockets.observe(&young, &interval);
        assert_eq!(row(&mut sockets, &young).map(|row| row.sent_bytes), Some(50));
        assert_eq!(row(&mut sockets, &young), None);
    }

    #[test]
    fn what_a_walk_left_out_is_not_counted_twice() {
        let mut sockets = Sockets::default();
        let mut record = SocketRecord { cookie: 1, bytes_sent: 50, ..SocketRecord::default() };
        record.owner.opened_ns = 2_000;
        let mut sent = || {
            sockets.begin_pass();
            sockets.observe(&record, &Interval::default());
            let row = row(&mut sockets, &record).map(|row| row.sent_bytes);
            sockets.end_pass();
            // Without it.
            for _ in 1..KEPT_PASSES {
                sockets.begin_pass();
                sockets.end_pass();
            }
            row
        };
        assert_eq!([(); 2].map(|()| sent()), [Some(50), Some(0)]);
    }

    #[test]
    fn what_outlives_its_process_belongs_to_who_else_holds_it() {
        let mut sockets = Sockets::default();
        let mut record = SocketRecord { cookie: 1, state: state::ESTABLISHED, ..SocketRecord::default() };
        (record.owner.pid, record.owner.opened_ns) = (7, 2_000);
        let [parent, child] = [7, 8].map(|pid| ProcessKey { pid, start_ns: 0 });
        let mut pass = |ended: &[ProcessKey], holders: &[u32]| {
            sockets.begin_pass();
            sockets.observe(&record, &Interval::default());
            sockets.leave(&ended.iter().copied().collect());
            let looks = sockets.wants_holders();
            let holders: Vec<_> =
                holders.iter().map(|pid| HolderRecord { cookie: 1, pid: *pid, ..HolderRecord::default() }).collect();
            if looks {
                sockets.learn_holders(&holders);
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
            sockets.begin_pass();
            sockets.observe(record, &Interval { watched_since: Timestamp(1_000), ..Interval::default() });
            let row = row(&mut sockets, record).map(|row| row.sent_bytes);
            sockets.end_pass();
            row
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
