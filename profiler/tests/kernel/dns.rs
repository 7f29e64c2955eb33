//! Queries to a name server, against who asks.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use profiler::finding::{Finding, all};
use profiler_common::exchange::role;

use crate::kernel::child::{Child, fork};
use crate::kernel::exchange::{Of, Own, assert_near, is_untold, now, told};
use crate::kernel::network::{Cable, Namespace, SERVER};
use crate::kernel::observe::{Seen, every, figure_of_test, observe};

const PORT: u16 = 53;

/// Answers queries, by their number and after as long as that says, or does not.
fn server(namespace: &Namespace, after: fn(u64) -> Option<Duration>) -> Child {
    let mut server = fork(|parent| {
        namespace.enter();
        let socket = UdpSocket::bind((SERVER, PORT)).unwrap();
        parent.say([1]);
        for number in 0_u64.. {
            let (_, asks) = socket.recv_from(&mut [0; 64]).unwrap();
            if let Some(after) = after(number) {
                thread::sleep(after);
                assert_eq!(socket.send_to(&[1; 64], asks).unwrap(), 64);
            }
        }
    });
    server.hear::<1>();
    server
}

/// A socket as resolvers have it, which gives up after a while.
fn resolver(patience: Duration) -> UdpSocket {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    socket.connect((SERVER, PORT)).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket
}

fn ask(socket: &UdpSocket) {
    assert_eq!(socket.send(&[7; 40]).unwrap(), 40);
}

fn is_answered(socket: &UdpSocket) -> bool {
    socket.recv(&mut [0; 64]).is_ok()
}

fn found<T>(seen: &Seen<T>) -> Vec<Finding> {
    let mut found = all(&seen.model());
    found.retain(|finding| finding.id == "N16" && finding.subject == format!("{SERVER}:{PORT}"));
    found
}

/// One of them is lost, and its query asked again.
#[test]
fn a_slow_name_server_takes_as_long_as_who_asks_says() {
    const QUERIES: u64 = 30;
    if is_untold() {
        return;
    }
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let server =
            server(&cable.server, |number| (number != QUERIES / 2).then(|| Duration::from_millis(105 + number % 7)));
        let mut client = fork(|parent| {
            cable.client.enter();
            let socket = resolver(Duration::from_secs(1));
            let times = (0..QUERIES).map(|_| {
                let asked_ns = now();
                while {
                    ask(&socket);
                    !is_answered(&socket)
                } {}
                now() - asked_ns
            });
            Own::say(parent, times.collect());
        });
        let own = Own::hear(&mut client);
        (own, server, client)
    });
    let (own, ..) = &seen.said;
    let row = told(&seen, own.pid);
    assert_eq!((row.key.role, row.key.endpoint.as_str()), (role::CLIENT, format!("{SERVER}:{PORT}").as_str()));
    assert_eq!((row.count, row.timed), (QUERIES, 0), "no round-trip time is known");
    assert_near("mean", Of::Sum, row.time_ns / row.count, own.sum_ns / own.count);
    assert_near("p50", Of::Middle, row.time.quantile(0.5).unwrap(), own.p50_ns);
    assert_near("slowest", Of::One, row.slowest.unwrap().time_ns, own.max_ns);
    let found = found(&seen);
    assert!(matches!(&found[..], [finding] if finding.claim.contains("is slow to answer")), "{found:?}");
}

/// Asks as glibc does: for both kinds of addresses at once, and a socket that got no answer in time is closed.
fn names(patience_ms: u64, after: fn(u64) -> Option<Duration>) -> Vec<Finding> {
    const NAMES: u64 = 24;
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let server = server(&cable.server, after);
        let mut client = fork(|parent| {
            cable.client.enter();
            let [mut asked, mut answered] = [0, 0];
            let patience = Duration::from_millis(patience_ms);
            let mut socket = resolver(patience);
            for _ in 0..NAMES {
                (0..2).for_each(|_| ask(&socket));
                asked += 2;
                let answers = (0..2).take_while(|_| is_answered(&socket)).count();
                answered += answers as u64;
                if answers < 2 {
                    socket = resolver(patience);
                }
            }
            parent.say([asked, answered]);
            parent.hear();
        });
        let said = client.hear::<2>();
        (client.pid, said, server, client)
    });
    seen.assert_counts_whole();
    let (pid, said, ..) = seen.said;
    let row = told(&seen, pid);
    let ours = [row.asked.unwrap(), row.answered];
    figure_of_test("queries, answers = who asks", format!("{ours:?} = {said:?}"));
    assert_eq!(ours, said);
    found(&seen)
}

#[test]
fn queries_that_are_not_answered_are_those_of_who_asks() {
    if is_untold() {
        return;
    }
    let found = names(40, |number| (number % 3 == 0).then_some(Duration::ZERO));
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert!(finding.claim.contains("does not answer") && finding.impact > 0.5, "{finding:?}");
    assert_eq!(names(2_000, |_| Some(Duration::ZERO)), [], "it answers");
}

/// Whose record begins with a query, not with an answer.
#[test]
fn a_name_server_that_is_dead_is_named() {
    if is_untold() {
        return;
    }
    let found = names(40, |_| None);
    assert!(matches!(&found[..], [finding] if finding.impact > 0.8), "{found:?}");
}
