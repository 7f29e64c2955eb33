//! Findings about connections that wait to be accepted.

use std::collections::BTreeSet;

use super::{Detector, Finding, VOLUME_MIN, nanos, owner, ratio, severity};
use crate::field::{Subject, Value};
use crate::model::Model;
use crate::model::tcp::Socket;

/// A good part of what a request may take.
const WAIT_P99_MAX_NS: u64 = 10_000_000;

pub(super) const SLOW: Detector = Detector {
    id: "N9",
    title: "slow accept",
    doc: "Of at least 50 connections that were accepted, 1 % had waited for more than 10 ms in the queue of their listener.",
    check: slow,
    needs: &["sys_exit", "iter_tcp", "iter_task", "inet_sock_set_state", "tcp_destroy_sock"],
    explains: &[],
    blind: |_| None,
};

fn slow(model: &Model) -> Vec<Finding> {
    // Several may share an address.
    let mut seen = BTreeSet::new();
    let listeners = model.sockets.iter().filter(|(_, socket)| socket.is_listener());
    let listeners = listeners.filter(|(_, socket)| seen.insert((socket.row.netns, socket.row.local)));
    listeners.filter_map(|(cookie, socket)| slow_at(model, *cookie, socket)).collect()
}

fn slow_at(model: &Model, cookie: u64, socket: &Socket) -> Option<Finding> {
    let row = &socket.row;
    let wait = model.accept_wait(row, |accepts| &accepts.sum);
    let count = wait.count();
    if count < VOLUME_MIN || wait.quantile(0.99)? <= WAIT_P99_MAX_NS {
        return None;
    }
    let waited = wait.count_from(WAIT_P99_MAX_NS);
    let impact = ratio(waited, count);
    let owner = owner(model, row.owner);
    Some(Finding {
        id: SLOW.id,
        severity: severity(impact),
        subject: format!("{} of {owner}", row.local),
        at: Subject::Socket(cookie),
        claim: format!("{owner} lets connections to {} wait before it accepts them", row.local),
        victims: vec![format!(
            "clients of {}: {waited} of {count} connections waited for more than {}",
            row.local,
            nanos(WAIT_P99_MAX_NS)
        )],
        impact,
        evidence: vec![
            format!(
                "established to accepted: p50 {}, p99 {}",
                Value::quantile(&wait, 0.5),
                Value::quantile(&wait, 0.99)
            ),
            format!("accept queue now {} of {}", row.accept_queue, row.accept_limit),
        ],
        witness: None,
        rejected: Vec::new(),
        advice: "find out where the thread that accepts waits, and take that work out of it; then more acceptors, or several \
                 listeners with SO_REUSEPORT",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, SocketRow, Timestamp};
    use crate::model::Window;
    use crate::model::fixture::{MS, batch, connection, listener, model, named, process};

    /// So many connections that are accepted after as many milliseconds.
    fn told(count: u64, accept_ms: u64) -> Vec<Finding> {
        let told = batch(0);
        let opened = Some(Timestamp(told.from.0 + MS));
        let accepted = |cookie| SocketRow {
            local: "10.0.0.1:80".parse().unwrap(),
            opened,
            accept_ns: Some(accept_ms * MS),
            ..connection(cookie, process(7), 1, 0)
        };
        // Two at one address.
        let listeners = [1, 2].map(|cookie| listener(cookie, process(7), 0, 128, 0));
        let sockets = listeners.into_iter().chain((3..3 + count).map(accepted)).collect();
        super::super::all(&model(Window::Recent, &[Batch { sockets, facts: vec![named(process(7), "web")], ..told }]))
    }

    #[test]
    fn a_listener_that_lets_wait_is_named_once() {
        let findings = told(50, 20);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].id, findings[0].impact), ("N9", 1.0));
        assert_eq!(findings[0].claim, "web (7) lets connections to 0.0.0.0:80 wait before it accepts them");
    }

    #[test]
    fn quick_ones_and_few_are_silent() {
        assert_eq!((told(50, 9), told(49, 20)), (vec![], vec![]));
    }
}
