//! Findings about datagrams that are lost on this host.

use super::{Detector, Finding, VOLUME_MIN, owner, per_second, ratio, severity};
use crate::batch::DropKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::drop::Drops;
use crate::model::time::Recent;

/// `IPPROTO_UDP`: TCP sends again what finds no room.
const UDP: u32 = 17;
/// The socket has no room, or its protocol has no memory.
const NO_ROOM: [&str; 2] = ["SOCKET_RCVBUFF", "PROTO_MEM"];
/// Who loses datagrams once has met a burst; who keeps on losing them cannot keep up.
const INTERVALS_MIN: u64 = 3;

pub(super) const FULL: Detector = Detector {
    id: "N14",
    title: "datagrams without room",
    doc: "A UDP socket lost at least 50 datagrams, in at least 3 intervals, as its receive buffer was full or UDP had no memory \
          left. How many it has received is not known: nobody counts them by socket.",
    check: full,
    needs: &["udp_fail_queue_rcv_skb"],
    explains: &[],
    blind: |_| None,
};

fn full(model: &Model) -> Vec<Finding> {
    let sockets = model
        .drops
        .iter()
        .filter(|(key, _)| key.cookie.is_some() && key.protocol == UDP && NO_ROOM.contains(&key.reason.as_str()));
    sockets.filter_map(|(key, drops)| full_at(model, key, drops)).collect()
}

fn full_at(model: &Model, key: &DropKey, drops: &Recent<Drops>) -> Option<Finding> {
    let Drops { count, intervals, owner: holder } = drops.sum;
    if count < VOLUME_MIN || intervals < INTERVALS_MIN {
        return None;
    }
    let owner = owner(model, holder);
    // Of the time, by intervals in which it lost some.
    let impact = ratio(intervals * model.machine.tick_ns, model.time.window_ns).min(1.0);
    Some(Finding {
        id: FULL.id,
        severity: severity(impact),
        subject: format!("{} of {owner}", key.socket()),
        at: Subject::Drop(key.clone()),
        claim: format!("{owner} loses datagrams to {}: it does not read them in time", key.local),
        victims: vec![format!("{owner}: {count} datagrams, in {intervals} intervals")],
        impact,
        evidence: vec![format!(
            "{:.1} drops/s for {}, network namespace {}",
            per_second(count, model.time.window_ns),
            key.reason,
            model.namespace(key.netns)
        )],
        witness: witness(model),
        rejected: Vec::new(),
        advice: "a larger receive buffer (SO_RCVBUF, up to net.core.rmem_max) if it comes in bursts; else a reader that does \
                 nothing else, several with SO_REUSEPORT, recvmmsg or UDP_GRO. For PROTO_MEM net.ipv4.udp_mem",
    })
}

/// Only where somebody of our namespace loses them.
fn witness(model: &Model) -> Option<String> {
    let errors = model.host.net("UdpRcvbufErrors").filter(|errors| *errors > 0)?;
    Some(format!("UdpRcvbufErrors of our network namespace: {errors}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, DropRow};
    use crate::model::Window;
    use crate::model::fixture::{batch, drops, model, named, process};

    fn told(window: Window, number: u64, row: impl Fn(u64) -> DropRow) -> Vec<Finding> {
        let facts = || vec![named(process(7), "statsd")];
        let interval = |number| Batch { drops: vec![row(number)], facts: facts(), ..batch(number) };
        let batches: Vec<_> = (0..number).map(interval).chain((number..6).map(batch)).collect();
        super::super::all(&model(window, &batches))
    }

    #[test]
    fn a_socket_that_keeps_on_losing_datagrams_is_named_with_its_owner() {
        let findings = told(Window::Whole, 3, |_| drops(Some(process(7)), 1, 20));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].id, findings[0].impact), ("N14", 0.5));
        assert_eq!(findings[0].subject, "udp 0.0.0.0:8125 of statsd (7)");
        assert_eq!(findings[0].claim, "statsd (7) loses datagrams to 0.0.0.0:8125: it does not read them in time");
        assert_eq!(findings[0].evidence, ["10.0 drops/s for SOCKET_RCVBUFF, network namespace 1"]);
    }

    #[test]
    fn an_owner_that_is_not_known_is_said_to_be_unknown() {
        let findings = told(Window::Recent, 3, |_| drops(None, 1, 20));
        assert_eq!(findings[0].subject, "udp 0.0.0.0:8125 of an unknown process");
    }

    #[test]
    fn bursts_few_and_other_reasons_are_silent() {
        assert_eq!(told(Window::Whole, 2, |_| drops(None, 1, 1_000)), [], "two bursts");
        assert_eq!(told(Window::Whole, 6, |_| drops(None, 1, 8)), [], "few");
        assert_eq!(told(Window::Whole, 6, |number| drops(None, number, 1_000)), [], "each another socket");
        let other = |reason: &str, protocol| {
            let row = drops(None, 1, 1_000);
            DropRow { key: DropKey { reason: reason.into(), protocol, ..row.key }, ..row }
        };
        assert_eq!(told(Window::Whole, 6, |_| other("UDP_CSUM", 17)), []);
        assert_eq!(told(Window::Whole, 6, |_| other("SOCKET_RCVBUFF", 6)), []);
    }
}
