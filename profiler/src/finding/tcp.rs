//! Findings about TCP.

use std::collections::BTreeMap;

use profiler_common::tcp::event;

use super::{Detector, Finding, VOLUME_MIN, nanos, owner, percent, ratio, severity};
use crate::batch::Address;
use crate::field::Subject;
use crate::model::Model;
use crate::model::bound::OTHER_SOCKET;
use crate::model::tcp::{Socket, SocketUse};

/// Throughput falls as one over the root of the loss: at 1 % a long path is down to a fraction.
const LOSS_MIN: f64 = 0.01;
/// Fewer are one burst.
const RETRANSMITS_MIN: u64 = 20;
/// With a greater share of repeats that the peer had already, it is reordering, not loss.
const SPURIOUS_MAX: f64 = 0.5;
/// Linux's first timeout for a SYN: what a refused client waits at least.
const SYN_TIMEOUT_NS: u64 = 1_000_000_000;

/// Without one of these, connections or their segments are missing. Without the last, those of other network namespaces
/// have no witness.
const LOSS_NEEDS: &[&str] = &["iter_tcp", "iter_task", "inet_sock_set_state", "tcp_destroy_sock", "tcp_retransmit_skb"];
/// Without one of these, sockets are missing, or what became of them.
pub(super) const SOCKET_NEEDS: &[&str] = &["iter_tcp", "iter_task", "inet_sock_set_state", "tcp_destroy_sock"];

pub(super) const LOSS: Detector = Detector {
    id: "N1",
    title: "loss on the path to a peer",
    doc: "More than 1 % of the segments to a peer, and more than 20, were sent again. Throughput falls as one over the \
          root of the loss.",
    check: loss,
    needs: LOSS_NEEDS,
    explains: &[],
    blind: |_| None,
};

pub(super) const OVERFLOW: Detector = Detector {
    id: "N8",
    title: "accept queue overflow",
    doc: "A listener refused connections, or its accept queue is full: the client's SYN goes unanswered and is tried \
          again after 1 s, 3 s, 7 s.",
    check: overflow,
    needs: SOCKET_NEEDS,
    explains: &[],
    blind: |_| None,
};

/// Connections to one peer.
#[derive(Default)]
struct Peer<'a> {
    sockets: Vec<(u64, &'a Socket)>,
    segments_out: u64,
    retransmits: u64,
}

impl Peer<'_> {
    /// Pauses of 200 ms and more, if they are known.
    fn timeouts(&self, model: &Model) -> String {
        let is_told = self.sockets.iter().all(|(_, socket)| socket.row.timeouts.is_some());
        if !is_told || model.quality.is_missing("tcp_cong_state_set") {
            return "?".into();
        }
        self.sockets.iter().map(|(_, socket)| socket.usage.sum.timeouts).sum::<u64>().to_string()
    }
}

fn loss(model: &Model) -> Vec<Finding> {
    let mut peers = BTreeMap::<(u32, Address), Peer<'_>>::new();
    let connections = model.sockets.iter().filter(|(cookie, socket)| **cookie != OTHER_SOCKET && !socket.is_listener());
    for (cookie, socket) in connections {
        let peer = peers.entry((socket.row.netns, socket.row.peer.address)).or_default();
        let SocketUse { segments_out, retransmits, .. } = socket.usage.sum;
        peer.segments_out += segments_out;
        peer.retransmits += retransmits;
        peer.sockets.push((*cookie, socket));
    }
    peers.iter().filter_map(|((_, host), peer)| loss_to(model, *host, peer)).collect()
}

fn loss_to(model: &Model, host: Address, peer: &Peer<'_>) -> Option<Finding> {
    let lost = ratio(peer.retransmits, peer.segments_out);
    if peer.segments_out < VOLUME_MIN || peer.retransmits <= RETRANSMITS_MIN || lost <= LOSS_MIN {
        return None;
    }
    // SNMP counts our network namespace, the tracepoint all of them: one must have seen at least half of ours.
    let (snmp, traced) = (model.host.net("RetransSegs"), model.tcp_events.sum.0[event::RETRANSMIT as usize]);
    if snmp.is_some_and(|snmp| snmp.max(traced) < peer.retransmits / 2) {
        return None;
    }
    let duplicates = model.host.net("TCPDSACKRecv");
    if duplicates.is_some_and(|seen| ratio(seen, snmp.unwrap_or(traced).max(peer.retransmits)) > SPURIOUS_MAX) {
        return None;
    }
    let (cookie, worst) = peer.sockets.iter().max_by_key(|(cookie, socket)| (socket.usage.sum.retransmits, *cookie))?;
    let srtt =
        worst.row.srtt_us.map_or_else(String::new, |us| format!(", smoothed RTT {}", nanos(u64::from(us) * 1_000)));
    Some(Finding {
        id: LOSS.id,
        severity: severity(lost * 10.0),
        subject: host.to_string(),
        at: Subject::Socket(*cookie),
        claim: format!("{} of the segments to {host} are lost", percent(lost)),
        victims: owners(model, peer),
        impact: lost,
        evidence: vec![
            format!(
                "{} of {} segments were sent again, {} timeouts, connections: {}",
                peer.retransmits,
                peer.segments_out,
                peer.timeouts(model),
                peer.sockets.len()
            ),
            format!(
                "worst: {} → {}, {} sent again, congestion window {}{srtt}",
                worst.row.local, worst.row.peer, worst.usage.sum.retransmits, worst.row.cwnd
            ),
        ],
        witness: snmp
            .map(|snmp| format!("nstat RetransSegs: {snmp} (this network namespace), tcp_retransmit_skb: {traced}")),
        rejected: duplicates
            .map(|seen| {
                format!("needless repeats: the peers reported only {seen} segments that they had (TCPDSACKRecv)")
            })
            .into_iter()
            .collect(),
        advice: "compare with other peers: one bad peer is its path or host, all of them are our link, driver or a \
                 policer; look at interface drops and errors (`ip -s link`)",
    })
}

/// Who holds the connections that lose, with how many segments.
fn owners(model: &Model, peer: &Peer<'_>) -> Vec<String> {
    let mut owners = BTreeMap::<_, u64>::new();
    for (_, socket) in &peer.sockets {
        if socket.usage.sum.retransmits > 0 {
            *owners.entry(socket.row.owner).or_default() += socket.usage.sum.retransmits;
        }
    }
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by_key(|(owner, lost)| (std::cmp::Reverse(*lost), *owner));
    let name = |(owner, lost): &(Option<_>, u64)| {
        let name = owner.map_or_else(|| "an unknown owner".into(), |key| model.label(key));
        format!("{name}: {lost} segments sent again")
    };
    owners.iter().take(super::VICTIMS_MAX).map(name).collect()
}

fn overflow(model: &Model) -> Vec<Finding> {
    let listeners = model.sockets.iter().filter(|(_, socket)| socket.is_listener());
    listeners.filter_map(|(cookie, socket)| overflow_of(model, *cookie, socket)).collect()
}

fn overflow_of(model: &Model, cookie: u64, socket: &Socket) -> Option<Finding> {
    let (row, drops) = (&socket.row, socket.usage.sum.drops);
    // `sk_acceptq_is_full` lets one more in than the limit, so a queue at the limit refuses nobody yet.
    let full = row.accept_queue > row.accept_limit && socket.ended.is_none();
    let overflows = model.host.net("ListenOverflows").filter(|_| in_host_namespace(model, row.netns));
    // Listeners drop for other reasons too, and a full queue refuses nobody until somebody comes: if the kernel counted
    // no overflow, there was none.
    if overflows == Some(0) || drops == 0 && !full {
        return None;
    }
    let accepted = model.tcp_events.sum.0[event::ACCEPTED as usize];
    let refused = ratio(drops, drops + accepted);
    let impact = if drops == 0 { super::VICTIM_SHARE_MIN } else { refused };
    let owner = owner(model, row.owner);
    let mut rejected = Vec::new();
    if model.host.net("TCPReqQFullDrop") == Some(0) {
        rejected.push("SYN backlog: no request was dropped there (TCPReqQFullDrop 0)".into());
    }
    Some(Finding {
        id: OVERFLOW.id,
        severity: severity(impact),
        subject: format!("{} of {owner}", row.local),
        at: Subject::Socket(cookie),
        claim: format!("{owner} does not accept connections to {} fast enough", row.local),
        victims: vec![format!(
            "clients of {}: each refused SYN waits {} and more before it is tried again",
            row.local,
            nanos(SYN_TIMEOUT_NS)
        )],
        impact,
        evidence: vec![
            format!("{drops} connections refused in the window; {accepted} accepted on the whole host"),
            format!("accept queue {} of {}", row.accept_queue, row.accept_limit),
        ],
        witness: overflows.map(|count| format!("nstat ListenOverflows: {count}")),
        rejected,
        advice: "find out why accept is slow first (threads of the owner: where do they wait?); then more acceptors or \
                 SO_REUSEPORT; raise the backlog and net.core.somaxconn last",
    })
}

/// Whether nstat's counters, which are of the host's namespace, include those of a namespace. Taken as such if unknown.
pub(super) fn in_host_namespace(model: &Model, netns: u32) -> bool {
    let init = model.processes.iter().find(|(key, _)| key.pid == 1).and_then(|(_, process)| process.fact.as_ref());
    init.is_none_or(|init| init.netns == 0 || init.netns == netns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Fact, ProcessFact, ProcessKey, SocketRow};
    use crate::model::Window;
    use crate::model::fixture::{batch, connection, listener, model, named, process};

    fn told(socket: SocketRow, counters: &[(&str, u64)]) -> Model {
        let mut told = Batch { facts: vec![named(process(7), "web")], sockets: vec![socket], ..batch(0) };
        told.tcp_events[event::ACCEPTED as usize] = 100;
        told.host.net.extend(counters.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        model(Window::Recent, &[told])
    }

    #[test]
    fn lost_segments_are_found_by_peer() {
        let model = told(connection(1, process(7), 1_000, 40), &[("RetransSegs", 41), ("TCPDSACKRecv", 2)]);
        let findings = super::super::all(&model);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.id, finding.subject.as_str()), ("N1", "10.0.0.9"));
        assert_eq!(finding.claim, "4.0 % of the segments to 10.0.0.9 are lost");
        assert_eq!(finding.victims, ["web (7): 40 segments sent again"]);
    }

    #[test]
    fn rare_few_unwitnessed_or_needless_repeats_are_no_loss() {
        let silent = |out, again, counters: &[(&str, u64)]| {
            loss(&told(connection(1, process(7), out, again), counters)).is_empty()
        };
        assert!(silent(100_000, 40, &[("RetransSegs", 40)]), "rare");
        assert!(silent(1_000, 20, &[("RetransSegs", 20)]), "few");
        assert!(silent(1_000, 40, &[("RetransSegs", 0)]), "unwitnessed");
        assert!(silent(1_000, 40, &[("RetransSegs", 40), ("TCPDSACKRecv", 39)]), "needless");
    }

    #[test]
    fn refused_connections_are_found_at_their_listener() {
        let model = told(listener(3, process(7), 129, 128, 100), &[("ListenOverflows", 100), ("TCPReqQFullDrop", 0)]);
        let findings = super::super::all(&model);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.id, finding.at.clone(), finding.impact), ("N8", Subject::Socket(3), 0.5));
        assert_eq!(finding.subject, "0.0.0.0:80 of web (7)");
        assert_eq!(finding.rejected.len(), 1);
    }

    #[test]
    fn a_full_queue_is_enough_unless_the_kernel_counted_no_overflow() {
        let silent = |queue, overflows| {
            overflow(&told(listener(3, process(7), queue, 1, 0), &[("ListenOverflows", overflows)])).is_empty()
        };
        assert!(!silent(2, 1), "full");
        assert!(silent(1, 1), "at its limit");
        assert!(silent(2, 0), "full, but nobody came");
    }

    #[test]
    fn drops_for_other_reasons_are_no_overflow() {
        assert!(overflow(&told(listener(3, process(7), 0, 128, 9), &[("ListenOverflows", 0)])).is_empty());
    }

    #[test]
    fn counters_of_the_host_say_nothing_of_a_container() {
        let mut model = told(listener(3, process(7), 0, 128, 9), &[("ListenOverflows", 0)]);
        let init = ProcessKey { pid: 1, start_ns: 0 };
        let fact = ProcessFact { process: init, comm: "init".into(), netns: 99, ..ProcessFact::default() };
        model.apply(&Batch { facts: vec![Fact::Process(fact)], ..batch(1) });
        let findings = overflow(&model);
        assert_eq!((findings.len(), findings[0].witness.as_deref()), (1, None));
    }
}
