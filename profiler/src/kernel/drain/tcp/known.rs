//! What is known of one socket, and what is new of it.

use profiler_common::limit::RECEIVE_WINDOW;
use profiler_common::tcp::{SocketOwner, SocketRecord, state};

use super::Passes;
use crate::batch::{Endpoint, ProcessKey, SocketRow, SocketTotal, Timestamp};
use crate::kernel::drain::limit::Limits;
use crate::kernel::drain::patience::Patience;
use crate::kernel::drain::{Interval, growth, growth_wrapping};

/// The last readings of a socket.
pub struct Known {
    /// Pass that it was last seen in.
    pub pass: u64,
    /// Passes over all sockets that have not seen it since.
    pub misses: u32,
    last: SocketRecord,
    /// Who connected or listens, if that was seen.
    pub opener: Option<ProcessKey>,
    /// Who was found holding it, as nobody was seen opening it, or whoever did has ended.
    pub holder: Option<ProcessKey>,
    /// Whoever opened or held it has ended: somebody else may hold it now.
    pub left: bool,
    /// When its holder is looked for.
    pub patience: Patience,
    limits: Limits,
    local: Endpoint,
    peer: Endpoint,
    /// Pass after that of its last row.
    pub due: u64,
    /// Pass in which it has a row if nothing happens until then.
    pub rests_until: u64,
}

impl Known {
    /// Before its first reading: nothing, if we saw its birth; else what moved by then does not count.
    pub fn new(record: &SocketRecord, interval: &Interval, pass: u64) -> Self {
        let born_before = record.owner.opened_ns == 0 || record.owner.opened_ns < interval.watched_since.0;
        let before = if born_before { *record } else { SocketRecord { cookie: record.cookie, ..Default::default() } };
        let limits = if born_before { Limits::at(record) } else { Limits::born(record) };
        Self {
            pass,
            misses: 0,
            last: before,
            opener: None,
            holder: None,
            left: false,
            // Who accepts one whose birth we saw will be seen; only of others, or if that does not come, somebody has to look.
            patience: Patience::until(if born_before { pass } else { pass + 1 }),
            limits,
            local: Endpoint::new(record.local, record.local_port),
            // A listener has none, even when it is closed by the time that we hear of it.
            peer: Endpoint::peer(record.peer, record.peer_port),
            due: pass,
            rests_until: 0,
        }
    }

    /// What is new of it. A socket without a connection, which its process has yet to close, has a row when it comes to that and
    /// one when it ends.
    pub fn row(&mut self, record: &SocketRecord, passes: &Passes, tick_ns: u32) -> Option<SocketRow> {
        let quiet_ns = passes.since(self.due);
        self.due = passes.number + 1;
        let last = &mut self.last;
        if record.state == state::CLOSE && last.state == state::CLOSE {
            // Nothing limits a connection that there is no more.
            self.limits = Limits::at(record);
            if record.ended == 0 {
                return None;
            }
        }
        // A connect finds its port only after its socket shows up.
        if self.local.port == 0 {
            self.local = Endpoint::new(record.local, record.local_port);
        }
        let limits = self.limits.grown(record, quiet_ns, tick_ns);
        let closed = [&*last, record].map(|record| record.send_window < record.mss);
        let mut row = SocketRow {
            quiet_ns,
            sent_bytes: growth(&mut last.bytes_sent, record.bytes_sent),
            acked_bytes: growth(&mut last.bytes_acked, record.bytes_acked),
            received_bytes: growth(&mut last.bytes_received, record.bytes_received),
            segments_out: growth_wrapping(&mut last.segments_out, record.segments_out).into(),
            retransmits: growth_wrapping(&mut last.retransmits, record.retransmits).into(),
            drops: growth_wrapping(&mut last.drops, record.drops).into(),
            limits,
            zero_window_ns: limits.map(|limits| {
                let still_ns = limits[RECEIVE_WINDOW].min(quiet_ns);
                let parts = [still_ns, limits[RECEIVE_WINDOW] - still_ns];
                parts.into_iter().zip(closed).map(|(ns, is_closed)| if is_closed { ns } else { 0 }).sum()
            }),
            timeouts: Some(growth_wrapping(&mut last.owner.timeouts, record.owner.timeouts).into()),
            recoveries: Some(growth_wrapping(&mut last.owner.recoveries, record.owner.recoveries).into()),
            local: self.local,
            peer: self.peer,
            ..state_of(record)
        };
        *last = *record;
        row.owner = self.owner();
        Some(row)
    }

    /// The same if nothing has happened on it up to now.
    pub fn quiet_row(&mut self, now_ns: u64, passes: &Passes, tick_ns: u32) -> Option<SocketRow> {
        self.row(&SocketRecord { at_ns: now_ns, ..self.last }, passes, tick_ns)
    }

    /// Who has it, as a record of it says.
    pub fn see(&mut self, record: &SocketRecord) {
        self.opener = opener(&record.owner).or(self.opener);
    }

    /// Whether it is not known who holds it.
    pub fn is_orphan(&self) -> bool {
        self.left || self.owner().is_none()
    }

    /// Whether that may be anybody.
    pub fn may_be_held(&self) -> bool {
        match self.last.state {
            // Who is left with an end that its last holder has closed, is nobody.
            state::ESTABLISHED | state::CLOSE_WAIT | state::LISTEN => self.is_orphan(),
            state => state != state::CLOSE && self.owner().is_none(),
        }
    }

    pub fn owner(&self) -> Option<ProcessKey> {
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
