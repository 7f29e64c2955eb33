//! Findings about connects that fail.

use std::collections::BTreeMap;

use profiler_common::tcp::failure::{NO_PORT, kind};

use super::tcp::SOCKET_NEEDS;
use super::{Detector, Finding, listed, ratio, severity};
use crate::batch::ProcessKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::bound::OTHER_SOCKET;

pub(super) const NO_PORT_LEFT: Detector = Detector {
    id: "N12",
    title: "no local port left",
    doc: "A connect failed since no local port was left for its peer: those of the range are in use, or in TIME-WAIT for \
          60 s after connections that this host has closed.",
    check: no_port_left,
    needs: SOCKET_NEEDS,
    explains: &[],
    blind: |_| None,
};

/// What processes of one network namespace wanted of one peer.
#[derive(Default)]
struct Wanted {
    connections: u64,
    /// Connects without a port, by process.
    failed: BTreeMap<Option<ProcessKey>, u64>,
}

fn no_port_left(model: &Model) -> Vec<Finding> {
    let mut peers = BTreeMap::<(u32, &str), Wanted>::new();
    let real = model.sockets.iter().filter(|(cookie, socket)| **cookie != OTHER_SOCKET && !socket.is_listener());
    for (_, socket) in real {
        let wanted = peers.entry((socket.row.netns, socket.peer_host())).or_default();
        let failures = &socket.usage.sum.failures;
        wanted.connections += 1;
        let failed = failures.0[kind(NO_PORT)];
        if failed > 0 {
            *wanted.failed.entry(socket.row.owner).or_default() += failed;
        }
    }
    peers.iter().filter_map(|((netns, host), wanted)| finding(model, *netns, host, wanted)).collect()
}

fn finding(model: &Model, netns: u32, host: &str, wanted: &Wanted) -> Option<Finding> {
    let failed: u64 = wanted.failed.values().sum();
    if failed == 0 {
        return None;
    }
    let impact = ratio(failed, failed.max(wanted.connections));
    let owner = |owner: &Option<_>| owner.map_or_else(|| "an unknown process".into(), |key| model.label(key));
    let mut owners: Vec<_> = wanted.failed.iter().collect();
    owners.sort_by_key(|(owner, failed)| (std::cmp::Reverse(**failed), **owner));
    Some(Finding {
        id: NO_PORT_LEFT.id,
        severity: severity(impact),
        subject: host.to_owned(),
        at: Subject::Peer(netns, host.to_owned()),
        claim: format!("no local port is left for connections to {host}"),
        victims: listed(owners.iter().map(|(key, failed)| format!("{}: {failed} connects failed", owner(key)))),
        impact,
        evidence: vec![format!(
            "{failed} connects failed with EADDRNOTAVAIL; connections to it that exist, ended in the window, or failed: {}",
            wanted.connections
        )],
        witness: None,
        rejected: Vec::new(),
        advice: "reuse connections first (a pool, keep-alive); then more addresses on either side, a larger \
                 net.ipv4.ip_local_port_range, or net.ipv4.tcp_tw_reuse",
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
        assert_eq!((finding.id, finding.at.clone(), finding.impact), ("N12", Subject::Peer(1, "10.0.0.9".into()), 0.5));
        assert_eq!(finding.victims, ["web (7): 2 connects failed"]);
    }

    #[test]
    fn refused_connects_are_another_matter() {
        assert_eq!(told(111), []);
    }
}
