//! Findings about small writes that wait for an acknowledgement of the one before them.

use profiler_common::exchange::{STALL_MIN_NS, role};

use super::tcp::in_host_namespace;
use super::{Detector, Finding, VICTIM_SHARE_MIN, losers, named, nanos, percent, ratio, severity};
use crate::batch::ExchangeKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::exchange::ExchangeUse;

/// Fewer are chance.
const STALLS_MIN: u64 = 5;
/// Linux delays an acknowledgement by 40 ms (`TCP_DELACK_MIN`), others by more: what lasts so much longer than the way.
const DELAY_MIN_NS: u64 = 30_000_000;

pub(super) const STALLS: Detector = Detector {
    id: "N7",
    title: "small writes held back",
    doc: "At least 5 small writes of a process to a peer were held back for 10 ms and more by Nagle's algorithm, since the peer \
          had not yet acknowledged a small one before them: it delays that by 40 ms, or is far away. All of them for more than \
          5 % of the process's time, in which it was to be answered, or others by it.",
    check: stalls,
    needs: &["iter_task", "iter_tcp", "inet_sock_set_state", "sock_send_length", "sock_recv_length"],
    explains: &[],
    blind: unrecorded,
};

fn unrecorded(model: &Model) -> Option<&'static str> {
    let is_unrecorded = model.exchanges.values().any(|usage| usage.sum.stalls.is_none());
    is_unrecorded.then_some("writes that were held back were not recorded")
}

fn stalls(model: &Model) -> Vec<Finding> {
    model.exchanges.iter().filter_map(|(key, usage)| stalls_of(model, key, &usage.sum)).collect()
}

fn stalls_of(model: &Model, key: &ExchangeKey, usage: &ExchangeUse) -> Option<Finding> {
    let stalls = usage.stalls.filter(|stalls| *stalls >= STALLS_MIN)?;
    // Nobody waits for a client's writes that are not answered.
    let lost_ns = if key.role == role::CLIENT { usage.stall_ns.min(usage.time_ns) } else { usage.stall_ns };
    let process = model.processes.get(&key.process)?;
    let victims = losers(model, [(key.process, process)], VICTIM_SHARE_MIN, |_, _| lost_ns);
    let (_, impact) = *victims.first()?;
    let [mean_ns, rtt_ns] = [usage.stall_ns, usage.stall_rtt_ns].map(|ns| ns / stalls);
    let is_delayed = mean_ns.saturating_sub(rtt_ns) >= DELAY_MIN_NS;
    let to = if key.role == role::CLIENT { key.endpoint.clone() } else { format!("clients of {}", key.endpoint) };
    let why = if is_delayed { "which the peer delays" } else { "from far away" };
    Some(Finding {
        id: STALLS.id,
        severity: severity(impact),
        subject: key.endpoint.clone(),
        at: Subject::Exchange(key.clone()),
        claim: format!(
            "small writes of {} to {to} wait for acknowledgements, {why}: {} each",
            model.label(key.process),
            nanos(mean_ns)
        ),
        victims: named(model, &victims, "with a write held back"),
        impact,
        evidence: vec![
            format!(
                "{stalls} writes were held back for {} and more by Nagle's algorithm, {} in all; the last on the connection {}",
                nanos(STALL_MIN_NS),
                nanos(usage.stall_ns),
                connection(model, usage.stall_socket)
            ),
            format!("least round-trip time of their connections {}; exchanges: {}", nanos(rtt_ns), usage.count),
        ],
        witness: witness(model, key, stalls),
        rejected: is_delayed
            .then(|| format!("the way: a round trip is {} of the wait", percent(ratio(rtt_ns, mean_ns))))
            .into_iter()
            .collect(),
        advice: "write a message at once (one writev, MSG_MORE or TCP_CORK until its end); where that is not possible, set \
                 TCP_NODELAY on the socket",
    })
}

/// Whoever acknowledges counts what it delays: where our `nstat` looks if it is on this host, and in no container.
fn witness(model: &Model, key: &ExchangeKey, stalls: u64) -> Option<String> {
    let is_peer = |other: &&ExchangeKey| other.role != key.role && other.endpoint == key.endpoint;
    let peer = model.exchanges.keys().find(is_peer).filter(|peer| in_host_namespace(model, peer.netns));
    let delayed = peer.and_then(|_| model.host.net("DelayedACKs")).filter(|delayed| *delayed >= stalls);
    delayed.map(|delayed| format!("nstat DelayedACKs: {delayed} (this network namespace)"))
}

fn connection(model: &Model, cookie: Option<u64>) -> String {
    let socket = cookie.and_then(|cookie| model.sockets.get(&cookie));
    socket.map_or_else(|| "?".to_owned(), |socket| format!("{} → {}", socket.row.local, socket.row.peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, ExchangeRow};
    use crate::finding::undecided;
    use crate::model::Window;
    use crate::model::fixture::{MS, answers, batch, model, named, process, requests_to, thread};

    const SERVICE: &str = "10.0.0.9:5432";

    fn stalled(row: ExchangeRow, stalls: u64, each_ns: u64, rtt_ns: u64) -> ExchangeRow {
        let [stall_ns, stall_rtt_ns] = [each_ns, rtt_ns].map(|ns| stalls * ns);
        ExchangeRow { stalls: Some(stalls), stall_ns, stall_rtt_ns, ..row }
    }

    /// With so many delayed acknowledgements by `nstat`.
    fn told(exchanges: Vec<ExchangeRow>, delayed: u64) -> Vec<Finding> {
        let facts = vec![named(process(7), "app"), named(process(9), "postgres")];
        let tasks = [7, 9].map(|pid| thread(process(pid), pid, 100 * MS)).into();
        let mut told = Batch { tasks, exchanges, facts, ..batch(0) };
        told.host.net.insert("DelayedACKs".into(), delayed);
        super::super::all(&model(Window::Recent, &[told])).into_iter().filter(|found| found.id == "N7").collect()
    }

    fn asks(stalls: u64, each_ns: u64, rtt_ns: u64) -> ExchangeRow {
        stalled(requests_to(process(7), SERVICE, 20, 44 * MS, rtt_ns), stalls, each_ns, rtt_ns)
    }

    #[test]
    fn writes_that_wait_for_delayed_acknowledgements_are_named() {
        let findings = told(vec![asks(20, 41 * MS, MS / 2)], 0);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(
            finding.claim,
            "small writes of app (7) to 10.0.0.9:5432 wait for acknowledgements, which the peer delays: 41.0 ms each"
        );
        assert_eq!(finding.rejected, ["the way: a round trip is 1.2 % of the wait"]);
        assert_eq!((finding.impact, finding.witness.as_deref()), (0.82, None), "who is elsewhere has no witness here");
    }

    #[test]
    fn a_peer_on_this_host_has_a_witness() {
        let both = || vec![stalled(answers(process(9), SERVICE, 20, MS), 0, 0, 0), asks(20, 41 * MS, MS / 2)];
        let witness = |delayed| told(both(), delayed).first().map(|finding| finding.witness.clone());
        assert_eq!(witness(21), Some(Some("nstat DelayedACKs: 21 (this network namespace)".into())));
        assert_eq!(witness(19), Some(None), "it is in a container, of which we do not know");
    }

    #[test]
    fn a_long_way_and_a_server_are_told_as_such() {
        let claim = |row| told(vec![row], 0).first().map(|finding| finding.claim.clone()).unwrap();
        assert!(claim(asks(20, 42 * MS, 40 * MS)).contains("acknowledgements, from far away: 42.0 ms each"));
        let serves = stalled(answers(process(9), SERVICE, 20, MS), 20, 41 * MS, MS / 2);
        assert!(claim(serves).starts_with("small writes of postgres (9) to clients of 10.0.0.9:5432 wait"));
    }

    #[test]
    fn few_or_those_that_nobody_waits_for_are_silent() {
        assert_eq!(told(vec![asks(4, 41 * MS, MS / 2)], 9), [], "few");
        assert_eq!(told(vec![asks(0, 0, 0)], 9), [], "none");
        let logs = stalled(requests_to(process(7), SERVICE, 0, 0, 0), 20, 41 * MS, MS / 2);
        assert_eq!(told(vec![logs], 9), [], "it is not answered");
        let rarely = stalled(requests_to(process(7), SERVICE, 20, MS, 0), 5, 11 * MS, MS);
        assert_eq!(told(vec![rarely], 9), [], "a fiftieth of its time");
    }

    #[test]
    fn old_captures_cannot_tell() {
        let row = ExchangeRow { stalls: None, ..requests_to(process(7), SERVICE, 20, MS, 0) };
        let old = Batch { exchanges: vec![row], ..batch(0) };
        let ids: Vec<_> = undecided(&model(Window::Recent, &[old])).into_iter().map(|(rule, _)| rule.id).collect();
        assert_eq!(ids, ["N7"]);
    }
}
