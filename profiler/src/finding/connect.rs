//! Findings about connects that fail.

use std::collections::BTreeMap;

use profiler_common::tcp::failure::{NO_PORT, kind};

use super::tcp::SOCKET_NEEDS;
use super::{Detector, Finding, listed, owner, percent, ratio, severity};
use crate::batch::{Address, ProcessKey, TimeWaitRow};
use crate::field::Subject;
use crate::model::Model;
use crate::model::bound::OTHER_SOCKET;
use crate::model::tcp::Socket;

pub(super) const NO_PORT_LEFT: Detector = Detector {
    id: "N12",
    title: "no local port left",
    doc: "A connect failed since no local port was left for its peer: those of the range are in use, or in TIME-WAIT for \
          60 s after connections that this host has closed. Or more than 80 % of them are.",
    check: no_port_left,
    needs: SOCKET_NEEDS,
    explains: &[],
    blind: |_| None,
};

/// Share of the local ports that may be taken for one destination.
const PORTS_MAX: f64 = 0.8;

const ADVICE: &str = "reuse connections first (a pool, keep-alive); then more addresses on either side, a larger \
                      net.ipv4.ip_local_port_range, or net.ipv4.tcp_tw_reuse";

/// What processes of one network namespace wanted of one peer.
#[derive(Default)]
struct Wanted {
    connections: u64,
    /// Connects without a port, by process.
    failed: BTreeMap<Option<ProcessKey>, u64>,
}

fn no_port_left(model: &Model) -> Vec<Finding> {
    let mut peers = BTreeMap::<(u32, Address), Wanted>::new();
    let real = model.sockets.iter().filter(|(cookie, socket)| **cookie != OTHER_SOCKET && !socket.is_listener());
    for (_, socket) in real {
        let wanted = peers.entry((socket.row.netns, socket.row.peer.address)).or_default();
        let failures = &socket.usage.sum.failures;
        wanted.connections += 1;
        let failed = failures.0[kind(NO_PORT)];
        if failed > 0 {
            *wanted.failed.entry(socket.row.owner).or_default() += failed;
        }
    }
    let failing: Vec<_> =
        peers.iter().filter_map(|((netns, host), wanted)| finding(model, *netns, *host, wanted)).collect();
    let fails = |at: &Subject| failing.iter().any(|finding| finding.at == *at);
    let scarce: Vec<_> =
        model.time_waits.iter().filter_map(|waits| scarcity(model, waits)).filter(|found| !fails(&found.at)).collect();
    failing.into_iter().chain(scarce).collect()
}

/// No connect has failed yet.
fn scarcity(model: &Model, waits: &TimeWaitRow) -> Option<Finding> {
    let TimeWaitRow { netns, peer, count } = *waits;
    let to_peer = |socket: &&Socket| socket.row.netns == netns && socket.row.peer == peer && socket.ended.is_none();
    let open = model.sockets.values().filter(to_peer).count() as u64;
    let ports = model.host.row.sum.local_ports?;
    let used = ratio(count + open, ports.into());
    if used <= PORTS_MAX {
        return None;
    }
    let impact = used - PORTS_MAX;
    Some(Finding {
        id: NO_PORT_LEFT.id,
        severity: severity(impact),
        subject: peer.to_string(),
        at: Subject::Peer(netns, peer.address),
        claim: format!("{} of the local ports for connections to {peer} are taken", percent(used)),
        victims: vec![format!("whoever connects to {peer} next: connects will fail with EADDRNOTAVAIL")],
        impact,
        evidence: vec![format!("of {ports} ports, {count} are in TIME-WAIT and {open} in use")],
        witness: None,
        rejected: Vec::new(),
        advice: ADVICE,
    })
}

fn finding(model: &Model, netns: u32, host: Address, wanted: &Wanted) -> Option<Finding> {
    let failed: u64 = wanted.failed.values().sum();
    if failed == 0 {
        return None;
    }
    let impact = ratio(failed, failed.max(wanted.connections));
    let mut owners: Vec<_> = wanted.failed.iter().collect();
    owners.sort_by_key(|(owner, failed)| (std::cmp::Reverse(**failed), **owner));
    Some(Finding {
        id: NO_PORT_LEFT.id,
        severity: severity(impact),
        subject: host.to_string(),
        at: Subject::Peer(netns, host),
        claim: format!("no local port is left for connections to {host}"),
        victims: listed(
            owners.iter().map(|(key, failed)| format!("{}: {failed} connects failed", owner(model, **key))),
        ),
        impact,
        evidence: vec![format!(
            "{failed} connects failed with EADDRNOTAVAIL; connections to it that exist, ended in the window, or failed: {}",
            wanted.connections
        )],
        witness: None,
        rejected: Vec::new(),
        advice: ADVICE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, SocketRow};
    use crate::model::Window;
    use crate::model::fixture::{batch, connection, model, named, process};

    fn told(errno: u32) -> Vec<Finding> {
        let failed = |cookie| SocketRow { connect_errno: Some(errno), ..connection(cookie, process(7), 0, 0) };
        let sockets = vec![connection(1, process(7), 100, 0), connection(2, process(8), 100, 0), failed(3), failed(4)];
        super::super::all(&model(
            Window::Recent,
            &[Batch { sockets, facts: vec![named(process(7), "web")], ..batch(0) }],
        ))
    }

    #[test]
    fn who_finds_no_port_is_named() {
        let findings = told(NO_PORT);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        let peer = Subject::Peer(1, Address::At("10.0.0.9".parse().unwrap()));
        assert_eq!((finding.id, finding.at.clone(), finding.impact), ("N12", peer, 0.5));
        assert_eq!(finding.victims, ["web (7): 2 connects failed"]);
    }

    #[test]
    fn refused_connects_are_another_matter() {
        assert_eq!(told(111), []);
    }

    #[test]
    fn ports_that_run_out_are_named_before_a_connect_fails() {
        let told = |count| {
            let waits = TimeWaitRow { netns: 1, peer: "10.0.0.9:5432".parse().unwrap(), count };
            let mut told =
                Batch { time_waits: vec![waits], sockets: vec![connection(1, process(7), 100, 0)], ..batch(0) };
            told.host.local_ports = Some(1_000);
            super::super::all(&model(Window::Recent, &[told]))
        };
        assert_eq!(told(799), []);
        let finding = told(900).remove(0);
        assert_eq!(
            (finding.id, finding.claim.as_str()),
            ("N12", "90 % of the local ports for connections to 10.0.0.9:5432 are taken")
        );
        assert_eq!(finding.evidence, ["of 1000 ports, 900 are in TIME-WAIT and 1 in use"]);
    }
}
