//! Findings about requests over TCP.

use std::collections::BTreeMap;

use profiler_common::exchange::role;
use profiler_common::file::kind;
use profiler_common::wait;

use super::{Detector, Finding, Member, losers, named, nanos, percent, ratio, severity, users};
use crate::batch::{ExchangeKey, ProcessKey};
use crate::field::{Subject, Value, spent_on};
use crate::model::Model;
use crate::model::exchange::ExchangeUse;
use crate::model::syscall::{CallUse, kind_of};
use crate::model::task::PARKED_NS;
use crate::model::time::Recent;

/// Below, the way to the peer, or room to send, is a good part of it.
const THINK_SHARE_MIN: f64 = 0.8;
/// Who waits for the network less is hardly held up by it.
const WAIT_SHARE_MIN: f64 = 0.2;
/// A mean of fewer is chance.
const EXCHANGES_MIN: u64 = 10;

pub(super) const THINKING: Detector = Detector {
    id: "N20",
    title: "peer that thinks",
    doc: "A process waits for the network for more than 20 % of its time, and more than 80 % of that is the time that one \
          peer takes to answer, without the way there and back. At least 10 answers, of less than 10 s each: who waits \
          longer, most likely waits for events.",
    check: thinking,
    needs: &["iter_task", "sched_switch", "iter_tcp", "inet_sock_set_state", "sock_send_length", "sock_recv_length"],
    explains: &[],
    blind: unknown_kinds,
};

/// Under lockdown nobody knows of a call that it waits for a TCP peer.
fn unknown_kinds(model: &Model) -> Option<&'static str> {
    let asks = |key: ProcessKey| model.exchanges.keys().any(|known| known.role == role::CLIENT && known.process == key);
    let waits = |(call, usage): (&u32, &Recent<CallUse>)| kind_of(*call) == kind::UNKNOWN && usage.sum.blocked_ns > 0;
    users(model)
        .any(|(key, process)| asks(key) && process.calls.iter().any(waits))
        .then_some("which waits are for TCP is not known of all who ask, since the kinds of files are not")
}

fn thinking(model: &Model) -> Vec<Finding> {
    let mut peers = BTreeMap::<ProcessKey, Vec<(&ExchangeKey, &ExchangeUse)>>::new();
    for (key, usage) in model.exchanges.iter().filter(|(key, _)| key.role == role::CLIENT) {
        peers.entry(key.process).or_default().push((key, &usage.sum));
    }
    users(model).filter_map(|member| thinking_of(model, member, peers.get(&member.0)?)).collect()
}

/// The peer that takes most of a process's time.
fn thinking_of(model: &Model, member: Member<'_>, peers: &[(&ExchangeKey, &ExchangeUse)]) -> Option<Finding> {
    let (key, process) = member;
    let think_ns = |usage: &ExchangeUse| usage.think_ns().and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0);
    let (peer, usage) = peers.iter().max_by_key(|(key, usage)| (think_ns(usage), *key))?;
    let mean_ns = usage.mean_ns()?;
    if usage.count < EXCHANGES_MIN || mean_ns >= PARKED_NS {
        return None;
    }
    let waits = &process.usage.sum.waits;
    let waited_ns: u64 = [wait::RECEIVE, wait::SEND, wait::CONNECT].iter().map(|kind| waits[*kind as usize]).sum();
    // Who asks over several connections at once does not wait for each.
    let lost_ns = think_ns(usage).min(waits[wait::RECEIVE as usize]);
    if ratio(lost_ns, waited_ns) <= THINK_SHARE_MIN {
        return None;
    }
    let victims = losers(model, [member], WAIT_SHARE_MIN, |_, _| lost_ns);
    let (_, impact) = *victims.first()?;
    Some(Finding {
        id: THINKING.id,
        severity: severity(impact),
        subject: peer.endpoint.clone(),
        at: Subject::Exchange((*peer).clone()),
        claim: format!(
            "{} waits for {}, {}: {} of what it waits for the network is the peer's time to answer",
            model.label(key),
            peer.endpoint,
            whose(model, peer),
            percent(ratio(lost_ns, waited_ns))
        ),
        victims: named(model, &victims, "while the peer thinks"),
        impact,
        evidence: evidence(model, peer, usage, think_ns(usage), waits),
        witness: None,
        rejected: vec![
            format!("the way: a round trip is {} of the wait", percent(ratio(usage.rtt_ns, usage.time_ns))),
            format!(
                "room to send: {} of its time on the network",
                percent(ratio(waits[wait::SEND as usize], waited_ns))
            ),
        ],
        advice: "look at the peer: where do its threads wait? Here, only ask less often, for several things at once, or ahead \
                 of time",
    })
}

fn evidence(model: &Model, peer: &ExchangeKey, usage: &ExchangeUse, think_ns: u64, waits: &[u64]) -> Vec<String> {
    let each = |total_ns: u64, count: u64| nanos(total_ns.checked_div(count).unwrap_or(0));
    let [receive, send, connect] = [wait::RECEIVE, wait::SEND, wait::CONNECT].map(|kind| nanos(waits[kind as usize]));
    let slowest = usage.slowest.map(|slowest| {
        let on =
            model.sockets.get(&slowest.socket).map_or_else(|| "?".to_owned(), |socket| socket.row.local.to_string());
        format!("slowest {}, on the connection of {on}, by thread {}", nanos(slowest.time_ns), slowest.tid)
    });
    let there = answering(model, peer).and_then(|here| Some((here, model.exchanges[here].sum.slowest?)));
    let there = there.map(|(here, slowest)| {
        let spent = spent_on(&slowest).unwrap_or_else(|why| format!("? ({why})"));
        let (owner, time) = (model.label(here.process), nanos(slowest.time_ns));
        format!("slowest answer of {owner} {time}, by thread {}: {spent}", slowest.tid)
    });
    let mut evidence = vec![
        format!(
            "{} answers, mean {} (p99 {}), {} of it the peer's; least round-trip time {}",
            usage.count,
            each(usage.time_ns, usage.count),
            Value::quantile(&usage.time, 0.99),
            each(think_ns, usage.count),
            each(usage.rtt_ns, usage.timed)
        ),
        format!("blocked in TCP receive {receive}, send {send}, connect {connect}"),
    ];
    evidence.extend(slowest.into_iter().chain(there));
    evidence
}

/// Where the peer is, as far as we see. Hosts have many a local address of the same name, one in each namespace.
fn whose(model: &Model, peer: &ExchangeKey) -> String {
    match answering(model, peer) {
        Some(here) => format!("which is {} on this host", model.label(here.process)),
        None => "not on our host".to_owned(),
    }
}

/// The exchanges of who answers for a peer, if that is on this host.
fn answering<'a>(model: &'a Model, peer: &ExchangeKey) -> Option<&'a ExchangeKey> {
    let is_local = ["127.", "[::1]"].iter().any(|begin| peer.endpoint.starts_with(begin));
    let answers = |key: &&ExchangeKey| {
        let reachable = !is_local || key.netns == peer.netns;
        key.role == role::SERVER && key.endpoint == peer.endpoint && reachable
    };
    model.exchanges.keys().find(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, ExchangeRow};
    use crate::model::Window;
    use crate::model::fixture::{MS, READ, answers, batch, calls, model, named, process, requests_to, thread};

    const DATABASE: &str = "10.0.0.9:5432";

    /// A process that waits for its peers all of the time but 100 ms.
    fn told(exchanges: Vec<ExchangeRow>) -> Vec<Finding> {
        let mut app = thread(process(7), 7, 100 * MS);
        app.waits = [0; wait::WAITS];
        app.waits[wait::RECEIVE as usize] = app.blocked_ns;
        let facts = vec![named(process(7), "app"), named(process(9), "postgres")];
        thinking(&model(Window::Recent, &[Batch { facts, tasks: vec![app], exchanges, ..batch(0) }]))
    }

    #[test]
    fn a_slow_peer_is_named_with_its_share() {
        let findings = told(vec![requests_to(process(7), DATABASE, 90, 10 * MS, MS / 2)]);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(
            finding.claim,
            "app (7) waits for 10.0.0.9:5432, not on our host: 95 % of what it waits for the network is the peer's time to answer"
        );
        assert_eq!(
            finding.evidence[0],
            "90 answers, mean 10.0 ms (p99 10.1 ms), 9.5 ms of it the peer's; least round-trip time 500 µs"
        );
        assert_eq!(finding.rejected[0], "the way: a round trip is 5.0 % of the wait");
    }

    #[test]
    fn without_kinds_of_files_it_cannot_tell() {
        let undecided = |kind| {
            let waits = vec![calls(process(7), READ, kind, 90, 900, MS)];
            let exchanges = vec![requests_to(process(7), DATABASE, 90, 10 * MS, MS / 2)];
            let told = Batch { tasks: vec![thread(process(7), 7, MS)], calls: waits, exchanges, ..batch(0) };
            unknown_kinds(&model(Window::Recent, &[told])).is_some()
        };
        assert_eq!([kind::UNKNOWN, kind::TCP].map(undecided), [true, false]);
    }

    #[test]
    fn a_peer_on_this_host_is_named_by_its_process() {
        let asks = requests_to(process(7), DATABASE, 90, 10 * MS, MS / 2);
        let findings = told(vec![answers(process(9), DATABASE, 90, 9 * MS), asks]);
        assert!(findings[0].claim.contains("which is postgres (9) on this host"), "{findings:?}");
        let slowest =
            "slowest answer of postgres (9) 9.0 ms, by thread 9: disk read 6.8 ms, CPU, user or kernel 2.2 ms";
        assert_eq!(findings[0].evidence[3], slowest);
    }

    #[test]
    fn a_long_way_or_somebody_else_is_not_the_peers_fault() {
        let silent = |exchanges| told(exchanges).is_empty();
        assert!(silent(vec![requests_to(process(7), DATABASE, 90, 10 * MS, 9 * MS)]), "a long way");
        assert!(silent(vec![requests_to(process(7), DATABASE, 5, 100 * MS, MS)]), "few");
        assert!(silent(vec![requests_to(process(7), DATABASE, 90, MS, 0)]), "it waits for somebody else");
        assert!(silent(vec![answers(process(7), DATABASE, 90, 10 * MS)]), "who answers");
        let half = |peer| requests_to(process(7), peer, 45, 10 * MS, 0);
        assert!(silent(vec![half(DATABASE), half("10.0.0.8:80")]), "two peers, half of the time each");
    }
}
