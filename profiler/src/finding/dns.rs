//! Findings about name servers.

use profiler_common::exchange::role;

use super::{Detector, Finding, nanos, percent, ratio, severity};
use crate::batch::ExchangeKey;
use crate::field::{Subject, Value};
use crate::model::Model;
use crate::model::exchange::ExchangeUse;
use crate::model::time::Recent;

/// Port of name servers.
const PORT: &str = ":53";
/// A percentile of fewer is chance.
const QUERIES_MIN: u64 = 20;
/// What takes longer is felt, as each new connection waits for it.
const SLOW_NS: u64 = 100_000_000;
/// As many without an answer are no datagram that was lost by chance.
const UNANSWERED_MIN: u64 = 3;
/// Each of them costs seconds.
const UNANSWERED_SHARE_MIN: f64 = 0.05;
/// Resolvers ask again after 5 s: an answer that took longer was lost at first.
const RETRY_NS: u64 = 5_000_000_000;

pub(super) const NAMES: Detector = Detector {
    id: "N16",
    title: "slow or silent name server",
    doc: "Of at least 20 queries of a process to a name server, over TCP or a connected UDP socket, more than 5 % took more than \
          100 ms to be answered; or one took 5 s, after which resolvers ask again. Or at least 3 over UDP, and 5 %, were not \
          answered at all; those of the last interval do not count.",
    check: names,
    needs: &["sock_send_length", "sock_recv_length"],
    explains: &[],
    blind: |_| None,
};

fn names(model: &Model) -> Vec<Finding> {
    let servers = model.exchanges.iter().filter(|(key, _)| key.role == role::CLIENT && key.endpoint.ends_with(PORT));
    servers
        .filter_map(|(key, usage)| silent_name(model, key, usage).or_else(|| slow_name(model, key, &usage.sum)))
        .collect()
}

fn silent_name(model: &Model, key: &ExchangeKey, usage: &Recent<ExchangeUse>) -> Option<Finding> {
    let asked = usage.sum.asked?;
    // What was asked last may still be answered.
    let unanswered = usage.sum.unanswered()?.saturating_sub(usage.now.asked.unwrap_or(0));
    let impact = ratio(unanswered, asked);
    if unanswered < UNANSWERED_MIN || impact < UNANSWERED_SHARE_MIN {
        return None;
    }
    let owner = model.label(key.process);
    Some(Finding {
        claim: format!(
            "{owner} asks for names in vain: {} does not answer {} of its queries",
            key.endpoint,
            percent(impact)
        ),
        victims: vec![format!("{owner}: waits some seconds for each of them, and asks again")],
        advice: "ask the server by hand, from here: is it up, and do datagrams to it and from it arrive (firewalls, full queues, \
                 answers that are too large)? Take a dead server out of resolv.conf: resolvers ask the first one first",
        ..finding(
            key,
            impact,
            vec![
                format!("{asked} queries over UDP, {} answers; {unanswered} were not answered", usage.sum.answered),
                times(&usage.sum),
            ],
        )
    })
}

fn slow_name(model: &Model, key: &ExchangeKey, usage: &ExchangeUse) -> Option<Finding> {
    let [slow, retried] = [SLOW_NS, RETRY_NS].map(|ns| usage.time.count_from(ns));
    let impact = ratio(slow, usage.count);
    if (usage.count < QUERIES_MIN || impact <= 0.05) && retried == 0 {
        return None;
    }
    let owner = model.label(key.process);
    Some(Finding {
        claim: format!("{owner} waits for names: {} is slow to answer", key.endpoint),
        victims: vec![format!("{owner}: {slow} of {} queries took more than {}", usage.count, nanos(SLOW_NS))],
        advice: "a local cache (nscd, systemd-resolved, dnsmasq) first; fewer queries per name (ndots, search domains in \
                 resolv.conf); then the server, and whether datagrams to it are lost",
        ..finding(key, impact, vec![format!("{}; {retried} took {} and more", times(usage), nanos(RETRY_NS))])
    })
}

/// What both have in common.
fn finding(key: &ExchangeKey, impact: f64, evidence: Vec<String>) -> Finding {
    Finding {
        id: NAMES.id,
        severity: severity(impact),
        subject: key.endpoint.clone(),
        at: Subject::Exchange(key.clone()),
        claim: String::new(),
        victims: Vec::new(),
        impact,
        evidence,
        witness: None,
        rejected: Vec::new(),
        advice: "",
    }
}

fn times(usage: &ExchangeUse) -> String {
    format!(
        "{} queries, mean {}, p50 {}, p99 {}",
        usage.count,
        usage.mean_ns().map_or_else(|| "?".to_owned(), nanos),
        Value::quantile(&usage.time, 0.5),
        Value::quantile(&usage.time, 0.99)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, ExchangeRow};
    use crate::model::Window;
    use crate::model::fixture::{MS, batch, model, named, process, requests_to};

    fn told(queries: Vec<ExchangeRow>) -> Vec<Finding> {
        let facts = vec![named(process(7), "app")];
        super::super::all(&model(Window::Recent, &[Batch { exchanges: queries, facts, ..batch(0) }]))
    }

    #[test]
    fn a_slow_name_server_is_named() {
        let findings = told(vec![requests_to(process(7), "10.0.0.2:53", 50, 150 * MS, 0)]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].id, findings[0].impact), ("N16", 1.0));
        assert_eq!(findings[0].claim, "app (7) waits for names: 10.0.0.2:53 is slow to answer");
        assert_eq!(findings[0].victims, ["app (7): 50 of 50 queries took more than 100 ms"]);
    }

    #[test]
    fn who_has_to_ask_again_is_told_of_one_query() {
        assert_eq!(told(vec![requests_to(process(7), "[::1]:53", 1, 5_200 * MS, 0)]).len(), 1);
    }

    /// So many datagrams each way before the last interval, and in it.
    fn asked(before: [u64; 2], last: [u64; 2]) -> Vec<Finding> {
        let row = |[asked, answered]: [u64; 2]| {
            let row = requests_to(process(7), "10.0.0.2:53", answered, 20 * MS, 0);
            vec![ExchangeRow { asked: Some(asked), answered, ..row }]
        };
        let facts = vec![named(process(7), "app")];
        let before = Batch { exchanges: row(before), facts, ..batch(0) };
        let last = Batch { exchanges: row(last), ..batch(1) };
        super::super::all(&model(Window::Recent, &[before, last]))
            .into_iter()
            .filter(|found| found.id == "N16")
            .collect()
    }

    #[test]
    fn a_silent_name_server_is_named() {
        let findings = asked([12, 4], [1, 1]);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.claim, "app (7) asks for names in vain: 10.0.0.2:53 does not answer 54 % of its queries");
        assert_eq!(finding.evidence[0], "13 queries over UDP, 5 answers; 7 were not answered");
        assert_eq!(asked([4, 0], [1, 0]).len(), 1, "it is dead");
    }

    #[test]
    fn few_without_an_answer_and_those_under_way_are_silent() {
        assert_eq!(asked([100, 100], [50, 0]), [], "under way");
        assert_eq!(asked([50, 0], [0, 50]), [], "answered later");
        assert_eq!(asked([12, 10], [0, 0]), [], "few");
        assert_eq!(asked([500, 480], [0, 0]), [], "rare");
    }

    #[test]
    fn quick_answers_and_other_servers_are_silent() {
        let quick = requests_to(process(7), "10.0.0.2:53", 500, 20 * MS, 0);
        let few = requests_to(process(7), "10.0.0.3:53", 19, 300 * MS, 0);
        let other = requests_to(process(7), "10.0.0.2:5353", 50, 300 * MS, 0);
        assert_eq!(told(vec![quick, few, other]), []);
    }
}
