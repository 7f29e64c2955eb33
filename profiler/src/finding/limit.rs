//! Findings about what limits connections: the peer's application, the send buffer, or the way between them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::limit::{
    APPLICATION, CONGESTION_WINDOW, HANDSHAKE, LIMIT_NAMES, LIMITS, QUEUE, RECEIVE_WINDOW, SEND_BUFFER,
};

use super::tcp::SOCKET_NEEDS;
use super::{Detector, Finding, LOST_MIN_NS, VICTIM_SHARE_MIN, VOLUME_MIN, bytes, nanos, percent, ratio, severity};
use crate::batch::{Address, ProcessKey};
use crate::field::{Subject, Value};
use crate::model::Model;
use crate::model::bound::OTHER_SOCKET;
use crate::model::limit::Limits;
use crate::model::tcp::Socket;

/// A fifth of the time with something to send is what the sender's users notice.
const SHARE_MIN: f64 = 0.2;
/// Whoever sends all that it can is limited by the way for most of the time.
const WAY_SHARE_MIN: f64 = 0.5;
/// Whoever reads at once never closes its window; who does not, may have opened it a little when somebody looks.
const OPEN_SHARE_MIN: f64 = 0.9;
/// With a round trip this many times longer than the least, most of it is spent in queues.
const QUEUED_MIN: u32 = 2;

pub(super) const SLOW_RECEIVER: Detector = Detector {
    id: "N4",
    title: "slow receiver",
    doc: "For more than 20 % of the time in which a connection had something to send, the peer's receive window had no \
          room: its application does not read as fast, or its receive buffer holds less than the path.",
    check: |model| found(model, &RECEIVER),
    needs: SOCKET_NEEDS,
    explains: &[],
    blind: untold,
};

pub(super) const SMALL_SEND_BUFFER: Detector = Detector {
    id: "N5",
    title: "send buffer too small",
    doc: "For more than 20 % of the time in which a connection had something to send, all of it was sent and the \
          application waited for room to write more: the path holds more than the send buffer.",
    check: |model| found(model, &BUFFER),
    needs: SOCKET_NEEDS,
    explains: &[],
    blind: untold,
};

pub(super) const FULL_WAY: Detector = Detector {
    id: "N6",
    title: "full link or long path",
    doc: "For more than 50 % of the time in which a connection had something to send, the congestion window or queues of \
          this host held it back, and neither the peer nor the send buffer did for 20 %.",
    check: |model| found(model, &WAY),
    needs: SOCKET_NEEDS,
    explains: &[],
    blind: untold,
};

/// Without it, nobody knows who limits whom, however well the probes work.
fn untold(model: &Model) -> Option<&'static str> {
    let mut connections = connections(model).peekable();
    let none = connections.peek().is_some() && connections.all(|(_, socket)| socket.row.limits.is_none());
    none.then_some("what limits connections is not recorded, or the length of the kernel's clock tick is not known")
}

fn connections(model: &Model) -> impl Iterator<Item = (u64, &Socket)> {
    let all = model.sockets.iter().map(|(cookie, socket)| (*cookie, socket));
    all.filter(|(cookie, socket)| *cookie != OTHER_SOCKET && !socket.is_listener())
}

/// A rule: which limits, for which share of the busy time, and what to say of them.
struct Rule {
    id: &'static str,
    limits: &'static [usize],
    share_min: f64,
    /// Others that must not be as great.
    without: &'static [usize],
    say: fn(&Model, &Held<'_>) -> (String, &'static str),
    losing: &'static str,
}

const RECEIVER: Rule = Rule {
    id: SLOW_RECEIVER.id,
    limits: &[RECEIVE_WINDOW],
    share_min: SHARE_MIN,
    without: &[],
    say: |model, held| {
        let reader = reader(model, held.worst().1).unwrap_or_else(|| held.host.to_string());
        if held.open_share().is_some_and(|share| share > OPEN_SHARE_MIN) {
            let advice = "let the receive buffer of the peer grow: no SO_RCVBUF, and the greatest of net.ipv4.tcp_rmem \
                          there above the rate that is wanted times the round-trip time";
            return (format!("{reader} reads at once, but its receive window is less than the path holds"), advice);
        }
        let advice = "find out why the application of the peer does not read (where do its threads wait, on that host?); \
                      only if it reads at once is its receive buffer too small: net.ipv4.tcp_rmem, and no SO_RCVBUF";
        (format!("{reader} reads more slowly than {} sends", held.owner(model)), advice)
    },
    losing: "waiting for room at the peer",
};

const BUFFER: Rule = Rule {
    id: SMALL_SEND_BUFFER.id,
    limits: &[SEND_BUFFER],
    share_min: SHARE_MIN,
    without: &[],
    say: |model, held| {
        let advice = "let the buffer grow: no SO_SNDBUF, and the greatest of net.ipv4.tcp_wmem above the rate that is \
                      wanted times the round-trip time";
        (format!("the send buffer of {} holds less than the path to {} does", held.owner(model), held.host), advice)
    },
    losing: "waiting for room in the send buffer",
};

const WAY: Rule = Rule {
    id: FULL_WAY.id,
    limits: &[CONGESTION_WINDOW, QUEUE],
    share_min: WAY_SHARE_MIN,
    without: &[RECEIVE_WINDOW, SEND_BUFFER],
    say: |_, held| {
        let row = &held.worst().1.row;
        let is_queued =
            row.srtt_us.zip(row.min_rtt_us).is_some_and(|(srtt, min)| srtt >= min.saturating_mul(QUEUED_MIN));
        if held.limits.0[QUEUE] > held.limits.0[CONGESTION_WINDOW] {
            let advice = "raise the limit of the shaper or of the link (`tc -s qdisc`, `ip -s link`), or send less: \
                          compression, smaller answers, caches near the peer";
            (format!("the link of this host towards {} is full", held.host), advice)
        } else if is_queued {
            let advice = "raise the limit of the link or shaper on the path, or send less: compression, smaller answers, \
                          caches near the peer; short queues (fq_codel, cake) or BBR keep the round trip short meanwhile";
            (format!("the path to {} is full: most of the round trip is spent in queues", held.host), advice)
        } else {
            let advice = "keep connections open and in use, so that their windows grow \
                          (net.ipv4.tcp_slow_start_after_idle=0); where loss keeps them small, BBR";
            (format!("the path to {} is long for the window that is sent in a round trip", held.host), advice)
        }
    },
    losing: "waiting for the way to the peer",
};

/// Connections of one process to one host that the same limits.
struct Held<'a> {
    host: Address,
    owner: Option<ProcessKey>,
    /// By how long they were held, the longest first.
    sockets: Vec<(u64, &'a Socket)>,
    limits: Limits,
}

impl<'a> Held<'a> {
    fn worst(&self) -> (u64, &'a Socket) {
        self.sockets[0]
    }

    fn owner(&self, model: &Model) -> String {
        super::owner(model, self.owner)
    }

    /// Share of the time limited by the receive window in which there was room for a segment nonetheless: all that fits is under
    /// way. `None` if that is not known.
    fn open_share(&self) -> Option<f64> {
        let zero_window_ns =
            |(_, socket): &(u64, &Socket)| socket.row.zero_window_ns.map(|_| socket.usage.sum.zero_window_ns);
        let closed_ns: u64 = self.sockets.iter().map(zero_window_ns).sum::<Option<u64>>()?;
        Some(1.0 - ratio(closed_ns, self.limits.0[RECEIVE_WINDOW]))
    }
}

fn found(model: &Model, rule: &Rule) -> Vec<Finding> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (cookie, socket) in connections(model).filter(|(_, socket)| rule.holds(socket)) {
        let key = (socket.row.netns, socket.row.peer.address, socket.row.owner);
        groups.entry(key).or_default().push((cookie, socket));
    }
    let held = groups.into_iter().map(|((_, host, owner), mut sockets)| {
        sockets.sort_by_key(|(cookie, socket)| (Reverse(rule.held_ns(&socket.usage.sum.limits)), *cookie));
        let mut limits = Limits::default();
        for (_, socket) in &sockets {
            limits.add(&socket.usage.sum.limits);
        }
        Held { host, owner, sockets, limits }
    });
    held.map(|held| rule.finding(model, &held)).collect()
}

impl Rule {
    fn held_ns(&self, limits: &Limits) -> u64 {
        self.limits.iter().map(|limit| limits.0[*limit]).sum()
    }

    fn holds(&self, socket: &Socket) -> bool {
        let limits = &socket.usage.sum.limits;
        let (held_ns, busy_ns) = (self.held_ns(limits), limits.busy_ns());
        let others = self.without.iter().map(|limit| ratio(limits.0[*limit], busy_ns));
        socket.usage.sum.segments_out >= VOLUME_MIN
            && held_ns >= LOST_MIN_NS
            && ratio(held_ns, busy_ns) > self.share_min
            && ratio(held_ns, limits.wall_ns()) >= VICTIM_SHARE_MIN
            && others.into_iter().all(|share| share <= SHARE_MIN)
    }

    fn finding(&self, model: &Model, held: &Held<'_>) -> Finding {
        let (claim, advice) = (self.say)(model, held);
        let (held_ns, busy_ns) = (self.held_ns(&held.limits), held.limits.busy_ns());
        let impact = ratio(held_ns, held.limits.wall_ns());
        let (cookie, worst) = held.worst();
        let owner = held.owner(model);
        Finding {
            id: self.id,
            severity: severity(impact),
            subject: format!("{owner} to {}", held.host),
            at: Subject::Socket(cookie),
            claim,
            victims: vec![format!("{owner}: {} of the time of its connections {}", percent(impact), self.losing)],
            impact,
            evidence: vec![
                format!(
                    "{} of {} with something to send, connections: {}",
                    nanos(held_ns),
                    nanos(busy_ns),
                    held.sockets.len()
                ),
                describe(model, worst),
            ],
            witness: witness(model, self.id),
            rejected: self.rejected(held, busy_ns),
            advice,
        }
    }

    /// What else could have held them back, and did so for less of the time than would be claimed.
    fn rejected(&self, held: &Held<'_>, busy_ns: u64) -> Vec<String> {
        let rivals =
            (0..LIMITS).filter(|limit| ![HANDSHAKE, APPLICATION].contains(limit) && !self.limits.contains(limit));
        let share = |limit: usize| (ratio(held.limits.0[limit], busy_ns), LIMIT_NAMES[limit]);
        let low = rivals.map(share).filter(|(share, _)| *share <= SHARE_MIN);
        let low: Vec<_> = low.map(|(share, name)| format!("{name} {}", percent(share))).collect();
        if low.is_empty() {
            Vec::new()
        } else {
            vec![format!("of the time with something to send: {}", low.join(", "))]
        }
    }
}

/// The connection that was held longest.
fn describe(model: &Model, socket: &Socket) -> String {
    let (row, usage) = (&socket.row, &socket.usage.sum);
    let seconds = model.time.window_ns as f64 / 1e9;
    let rate = format!("{:#}", Value::BytesPerSecond(usage.sent_bytes as f64 / seconds));
    let times = match (row.srtt_us, row.min_rtt_us) {
        (Some(srtt), Some(min)) => {
            format!(", smoothed RTT {} (least {})", nanos(u64::from(srtt) * 1_000), nanos(u64::from(min) * 1_000))
        }
        _ => String::new(),
    };
    let part = |name, part: Option<u32>| part.map_or_else(String::new, |size| format!("{name} {}", bytes(size.into())));
    let (buffer, unsent) = (part(", send buffer", row.send_buffer_bytes), part(" of which unsent", row.unsent_bytes));
    format!(
        "worst: {} → {}, {rate}, {} segments of {} sent again, congestion window {} of {}, receive window {}{buffer}, send queue \
         {}{unsent}{times}",
        row.local,
        row.peer,
        usage.retransmits,
        usage.segments_out,
        row.cwnd,
        bytes(row.mss.into()),
        bytes(row.send_window_bytes.into()),
        bytes(row.send_queue_bytes.into()),
    )
}

/// Who holds the other end, if that is on this host.
fn reader(model: &Model, socket: &Socket) -> Option<String> {
    let is_other = |other: &&Socket| other.row.local == socket.row.peer && other.row.peer == socket.row.local;
    let mut ends = model.sockets.values().filter(is_other);
    let (end, None) = (ends.next()?, ends.next()) else { return None };
    Some(model.label(end.row.owner?))
}

/// The kernel's own count, where it has one: probes into a window without room are sent after 200 ms at the earliest.
fn witness(model: &Model, id: &str) -> Option<String> {
    let probes = model.host.net("TCPWinProbe").filter(|probes| id == SLOW_RECEIVER.id && *probes > 0)?;
    Some(format!("nstat TCPWinProbe: {probes} probes into windows without room (this network namespace)"))
}

#[cfg(test)]
mod tests {
    use profiler_common::limit::{FLIGHT, RECOVERY};

    use super::*;
    use crate::batch::{Batch, SocketRow};
    use crate::model::Window;
    use crate::model::fixture::{batch, connection, limits, model, named, process};

    fn held(ms: &[(usize, u64)]) -> SocketRow {
        SocketRow { limits: Some(limits(ms)), ..connection(1, process(7), 1_000, 0) }
    }

    fn told(sockets: Vec<SocketRow>) -> Model {
        let facts = vec![named(process(7), "web"), named(process(8), "sink")];
        model(Window::Recent, &[Batch { sockets, facts, ..batch(0) }])
    }

    /// The only finding of one connection.
    #[track_caller]
    fn only(row: SocketRow) -> Finding {
        let mut findings = super::super::all(&told(vec![row]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    }

    #[test]
    fn each_limit_is_named() {
        let row = held(&[(APPLICATION, 100), (RECEIVE_WINDOW, 800), (FLIGHT, 100)]);
        let finding = only(row.clone());
        assert_eq!((finding.id, finding.subject.as_str(), finding.impact), ("N4", "web (7) to 10.0.0.9", 0.8));
        assert_eq!(finding.claim, "10.0.0.9 reads more slowly than web (7) sends");
        assert_eq!(finding.victims, ["web (7): 80 % of the time of its connections waiting for room at the peer"]);
        let finding = only(held(&[(SEND_BUFFER, 500), (FLIGHT, 500)]));
        assert_eq!((finding.id, finding.impact), ("N5", 0.5));
        let finding = only(held(&[(QUEUE, 600), (FLIGHT, 400)]));
        assert_eq!((finding.id, finding.claim.as_str()), ("N6", "the link of this host towards 10.0.0.9 is full"));
        let finding = only(held(&[(CONGESTION_WINDOW, 600), (RECOVERY, 100), (FLIGHT, 300)]));
        assert!(finding.claim.contains("spent in queues"), "{finding:?}");
        assert_eq!(
            finding.rejected,
            ["of the time with something to send: rwnd 0 %, sndbuf 0 %, recovery 10 %, pacing 0 %"]
        );
        let mut row = held(&[(CONGESTION_WINDOW, 600), (FLIGHT, 400)]);
        row.min_rtt_us = Some(800);
        assert!(only(row).claim.contains("is long"));
    }

    #[test]
    fn a_window_that_is_never_closed_is_small() {
        let claim = |zero_window_ns| only(SocketRow { zero_window_ns, ..held(&[(RECEIVE_WINDOW, 1_000)]) }).claim;
        assert!(claim(Some(99_000_000)).contains("reads at once"));
        assert!([Some(100_000_000), None].map(claim).iter().all(|claim| claim.contains("reads more slowly")));
    }

    #[test]
    fn who_is_at_the_other_end_of_this_host_is_named() {
        let row = held(&[(RECEIVE_WINDOW, 1_000)]);
        let (local, peer) = (row.peer, row.local);
        let other = SocketRow { local, peer, ..connection(2, process(8), 100, 0) };
        let findings = super::super::all(&told(vec![row, other]));
        assert_eq!(findings[0].claim, "sink (8) reads more slowly than web (7) sends");
    }

    #[test]
    fn connections_to_one_host_are_one_finding() {
        let row = |cookie, ms| SocketRow { cookie, ..held(&[(SEND_BUFFER, ms), (FLIGHT, 1_000 - ms)]) };
        let findings = super::super::all(&told(vec![row(1, 400), row(2, 600), row(3, 100)]));
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.at.clone(), finding.impact), (Subject::Socket(2), 0.5));
    }

    #[test]
    fn idle_short_small_or_otherwise_limited_connections_are_no_claim() {
        let silent = |row| super::super::all(&told(vec![row])).is_empty();
        assert!(silent(held(&[(APPLICATION, 1_000)])), "idle");
        assert!(silent(held(&[(APPLICATION, 960), (RECEIVE_WINDOW, 40)])), "hardly ever busy");
        assert!(silent(held(&[(RECEIVE_WINDOW, 19)])), "short");
        assert!(silent(held(&[(FLIGHT, 810), (RECEIVE_WINDOW, 190)])), "a little");
        assert!(silent(SocketRow { segments_out: 49, ..held(&[(RECEIVE_WINDOW, 1_000)]) }), "few segments");
        assert!(silent(held(&[(FLIGHT, 510), (CONGESTION_WINDOW, 490)])), "half of the time by something else");
    }

    #[test]
    fn what_was_not_recorded_is_not_told() {
        let row = SocketRow { limits: None, ..connection(1, process(7), 1_000, 0) };
        let model = told(vec![row]);
        let undecided: Vec<_> = super::super::undecided(&model).iter().map(|(detector, _)| detector.id).collect();
        assert_eq!(undecided, ["N4", "N5", "N6"]);
    }
}
