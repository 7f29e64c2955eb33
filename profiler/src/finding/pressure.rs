//! Findings about memory that all sockets share.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::tcp::SOCKET_NEEDS;
use super::{Detector, Finding, bytes, listed, nanos, owner, ratio, severity};
use crate::batch::{ProcessKey, TcpMemory};
use crate::field::Subject;
use crate::model::Model;
use crate::model::bound::OTHER_SOCKET;
use crate::model::tcp::Socket;

/// The kernel may be under pressure for a moment, and nobody notices.
const SHARE_MIN: f64 = 0.05;
const MS: u64 = 1_000_000;

pub(super) const TCP_MEMORY: Detector = Detector {
    id: "N21",
    title: "TCP out of memory",
    doc: "Queues of all TCP sockets together hold more than the kernel lets them have without pressure (net.ipv4.tcp_mem), or \
          did so for more than 5 % of the time: buffers of no connection grow any more, and segments are dropped in the end.",
    check: |model| pressed(model).into_iter().collect(),
    needs: SOCKET_NEEDS,
    explains: &[],
    blind: |model| {
        let is_told = model.host.row.sum.tcp_memory.is_some();
        (!is_told)
            .then_some("the memory of TCP is told only in the network namespace of the host, and not in old captures")
    },
};

fn pressed(model: &Model) -> Option<Finding> {
    let memory: TcpMemory = model.host.row.sum.tcp_memory?;
    // Told when it is over.
    let pressed_ns = model.host.net("TCPMemoryPressuresChrono").unwrap_or_default() * MS;
    let is_pressed = memory.used_bytes > memory.pressure_bytes;
    let share = ratio(pressed_ns, model.time.window_ns).min(1.0);
    if !is_pressed && share < SHARE_MIN {
        return None;
    }
    let mut holders = BTreeMap::<Option<ProcessKey>, [u64; 2]>::new();
    for (_, socket) in connections(model) {
        let [received, sent] = holders.entry(socket.row.owner).or_default();
        *received += u64::from(socket.row.receive_queue_bytes);
        *sent += u64::from(socket.row.send_queue_bytes);
    }
    let mut holders: Vec<_> = holders.into_iter().collect();
    holders.sort_by_key(|(key, queued)| (Reverse(queued.iter().sum::<u64>()), *key));
    let (worst, _) = connections(model).max_by_key(|(cookie, socket)| (queued(socket), Reverse(*cookie)))?;
    let impact = if is_pressed { ratio(memory.used_bytes, memory.most_bytes).min(1.0).max(share) } else { share };
    let count = |name| model.host.net(name).unwrap_or_default();
    Some(Finding {
        id: TCP_MEMORY.id,
        severity: severity(impact),
        subject: owner(model, holders.first()?.0),
        at: Subject::Socket(worst),
        claim: format!(
            "queues of TCP hold {}; from {} on no buffer grows any more, from {} on segments are dropped",
            bytes(memory.used_bytes),
            bytes(memory.pressure_bytes),
            bytes(memory.most_bytes)
        ),
        victims: vec!["all connections of this host: their windows and send buffers stay small".into()],
        impact,
        evidence: listed(holders.iter().map(|(key, [received, sent])| {
            format!("{}: {} not read, {} not acknowledged", owner(model, *key), bytes(*received), bytes(*sent))
        })),
        witness: Some(format!(
            "nstat TCPMemoryPressures: {}, over after {}; PruneCalled: {}, TCPRcvQDrop: {} (this network namespace)",
            count("TCPMemoryPressures"),
            nanos(pressed_ns),
            count("PruneCalled"),
            count("TCPRcvQDrop")
        )),
        rejected: Vec::new(),
        advice: "find out why the first of these does not read, or its peers do not; smaller buffers for it (SO_RCVBUF, \
                 SO_SNDBUF, tcp_notsent_lowat); only then a larger net.ipv4.tcp_mem, in pages",
    })
}

fn connections(model: &Model) -> impl Iterator<Item = (u64, &Socket)> {
    let all = model.sockets.iter().map(|(cookie, socket)| (*cookie, socket));
    all.filter(|(cookie, socket)| *cookie != OTHER_SOCKET && socket.ended.is_none() && !socket.is_listener())
}

fn queued(socket: &Socket) -> u64 {
    u64::from(socket.row.receive_queue_bytes) + u64::from(socket.row.send_queue_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, SocketRow};
    use crate::model::Window;
    use crate::model::fixture::{batch, connection, model, named, process};

    fn told(used_bytes: u64, pressed_ms: u64) -> Vec<Finding> {
        let queues = |cookie, pid, receive_queue_bytes| SocketRow {
            receive_queue_bytes,
            send_queue_bytes: 1_000,
            ..connection(cookie, process(pid), 0, 0)
        };
        let mut told = Batch {
            sockets: vec![queues(1, 7, 0), queues(2, 8, 5_000_000), queues(3, 8, 4_000_000)],
            facts: vec![named(process(7), "web"), named(process(8), "sink")],
            ..batch(0)
        };
        told.host.tcp_memory = Some(TcpMemory { used_bytes, pressure_bytes: 8_000_000, most_bytes: 16_000_000 });
        told.host.net.insert("TCPMemoryPressuresChrono".into(), pressed_ms);
        super::super::all(&model(Window::Recent, &[told]))
    }

    #[test]
    fn whoever_holds_most_is_named() {
        let findings = told(9_000_000, 0);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.id, finding.subject.as_str(), &finding.at), ("N21", "sink (8)", &Subject::Socket(2)));
        assert_eq!(finding.evidence.len(), 2);
        assert!(finding.evidence[0].starts_with("sink (8): 8.6 MiB not read"), "{finding:?}");
    }

    #[test]
    fn what_is_over_counts_if_it_lasted() {
        assert_eq!(told(7_000_000, 40), []);
        let impact = told(7_000_000, 600)[0].impact;
        assert!((0.59..0.61).contains(&impact), "{impact}");
    }
}
