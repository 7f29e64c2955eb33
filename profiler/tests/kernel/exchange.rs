//! Requests and their answers, against the clocks of those who ask and answer.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use profiler::batch::{ExchangeRow, Slowest};
use profiler_common::exchange::role;

use crate::kernel::child::{Child, Parent, clock, fork, pin};
use crate::kernel::network::{Cable, Namespace, SERVER};
use crate::kernel::observe::{Seen, absent, every, figure_of_test, observe};

const PORT: u16 = 7003;

/// How requests are made and answered, by both ends.
#[derive(Clone, Copy)]
struct Talk {
    rounds: u64,
    /// Requests that are sent ahead, each of which the server answers by itself.
    ahead: u64,
    request: usize,
    answer: usize,
    /// The client looks at an answer a while before it takes it.
    peeks: bool,
}

const SMALL: Talk = Talk { rounds: 600, ahead: 1, request: 100, answer: 300, peeks: true };
const PIPELINED: Talk = Talk { rounds: 200, ahead: 3, peeks: false, ..SMALL };
const LARGE: Talk = Talk { rounds: 150, ahead: 1, request: 1 << 20, answer: 1 << 16, peeks: false };

/// Bytes that a server takes at once.
const PIECE: usize = 1 << 16;

/// What one end has measured.
#[derive(Clone, Copy, Debug)]
struct Own {
    pid: u32,
    count: u64,
    sum_ns: u64,
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

impl Own {
    /// Tells the test of times.
    fn say(parent: &mut Parent, mut times: Vec<u64>) {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() * share).div_ceil(100) - 1];
        parent.say([times.len() as u64, times.iter().sum(), at(50), at(99), at(100)]);
        parent.hear();
    }

    fn hear(child: &mut Child) -> Self {
        let [count, sum_ns, p50_ns, p99_ns, max_ns] = child.hear();
        Self { pid: child.pid, count, sum_ns, p50_ns, p99_ns, max_ns }
    }
}

fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Has a CPU for itself whenever it wants: what it measures is no wait for one, between a call and the look at the clock.
fn hurry(cpu: usize) {
    pin(cpu);
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters live until the call returns.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Takes a request, in pieces; when the last of them was there.
fn take(connection: &mut TcpStream, bytes: usize) -> u64 {
    let (mut buffer, mut left) = (vec![0; PIECE], bytes);
    while left > 0 {
        let most = left.min(PIECE);
        let taken = connection.read(&mut buffer[..most]).unwrap();
        assert_ne!(taken, 0, "the other end hung up");
        left -= taken;
    }
    now()
}

/// Answers one connection.
fn server(namespace: &Namespace, talk: Talk) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        hurry(0);
        let listener = TcpListener::bind((SERVER, PORT)).unwrap();
        parent.say([1]);
        let (mut connection, _) = listener.accept().unwrap();
        connection.set_nodelay(true).unwrap();
        let (answer, mut times) = (vec![1; talk.answer], Vec::new());
        for number in 0..talk.rounds * talk.ahead {
            let asked_ns = take(&mut connection, talk.request);
            // From a tenth of a millisecond to two.
            thread::sleep(Duration::from_micros(100 + number * 37 % 100 * 19));
            let sent = connection.write(&answer).unwrap();
            times.push(now() - asked_ns);
            connection.write_all(&answer[sent..]).unwrap();
        }
        Own::say(parent, times);
    });
    child.hear::<1>();
    child
}

/// Asks, when told.
fn client(namespace: &Namespace, talk: Talk) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        hurry(1);
        let mut connection = TcpStream::connect((SERVER, PORT)).unwrap();
        connection.set_nodelay(true).unwrap();
        parent.say([1]);
        parent.hear();
        let (request, mut buffer, mut times) = (vec![2; talk.request], vec![0; PIECE], Vec::new());
        for _ in 0..talk.rounds {
            for _ in 0..talk.ahead {
                connection.write_all(&request).unwrap();
            }
            let asked_ns = now();
            if talk.peeks {
                assert_ne!(connection.peek(&mut buffer).unwrap(), 0);
                thread::sleep(Duration::from_micros(300));
            }
            let taken = connection.read(&mut buffer).unwrap();
            times.push(now() - asked_ns);
            take(&mut connection, talk.answer * usize::try_from(talk.ahead).unwrap() - taken);
        }
        Own::say(parent, times);
    });
    child.hear::<1>();
    child
}

/// What both ends have measured, and the address of the client's.
struct Said {
    server: Own,
    client: Own,
    local: String,
    /// They live until all is read.
    _ends: [Child; 2],
}

/// Lets both ends talk, and hears what they say.
fn talk(cable: &Cable, mut server: Child, mut client: Child) -> Said {
    client.say(1);
    let local = cable.client.connection_to(PORT).local;
    let (at_client, at_server) = (Own::hear(&mut client), Own::hear(&mut server));
    Said { server: at_server, client: at_client, local, _ends: [server, client] }
}

/// Whether this kernel has no such tracepoints (6.3).
fn is_untold() -> bool {
    absent().iter().any(|probe| probe == "sock_send_length")
}

/// All that was told of a process, in one row.
fn told<T>(seen: &Seen<T>, pid: u32) -> ExchangeRow {
    let rows = seen.batches.iter().flat_map(|batch| &batch.exchanges).filter(|row| row.key.process.pid == pid);
    let mut sum = ExchangeRow::default();
    for row in rows {
        assert!(sum.count == 0 || sum.key == row.key, "one peer: {:?} and {:?}", sum.key, row.key);
        sum.key = row.key.clone();
        sum.count += row.count;
        sum.time_ns += row.time_ns;
        sum.time.add(&row.time);
        sum.timed += row.timed;
        sum.rtt_ns += row.rtt_ns;
        sum.shorter += row.shorter;
        let slower = |slowest: &Slowest| sum.slowest.is_none_or(|known| known.time_ns < slowest.time_ns);
        sum.slowest = row.slowest.filter(slower).or(sum.slowest);
    }
    sum
}

/// Within 3 % and 5 µs.
#[track_caller]
fn assert_near(what: &str, ours_ns: u64, truth_ns: u64) {
    let us = |ns| ns as f64 / 1e3;
    let off = ours_ns.abs_diff(truth_ns);
    figure_of_test(what, format!("{:.1} µs = {:.1} µs", us(ours_ns), us(truth_ns)));
    assert!(off <= truth_ns * 3 / 100 + 5_000, "{what}: {ours_ns}, in truth {truth_ns}");
}

/// Compares one end.
fn same_as<T>(seen: &Seen<T>, own: &Own, role: u32, netns: u32) -> ExchangeRow {
    let row = told(seen, own.pid);
    let what = if role == role::SERVER { "server" } else { "client" };
    figure_of_test(&format!("{what}, exchanges"), format!("{} = {}", row.count, own.count));
    assert_eq!((row.key.role, row.key.netns), (role, netns));
    assert_eq!(row.key.endpoint, format!("{SERVER}:{PORT}"));
    assert_eq!((row.count, row.time.count()), (own.count, own.count));
    let quantile = |share| row.time.quantile(share).unwrap();
    assert_near(&format!("{what}, mean"), row.time_ns / row.count, own.sum_ns / own.count);
    assert_near(&format!("{what}, p50"), quantile(0.5), own.p50_ns);
    assert_near(&format!("{what}, p99"), quantile(0.99), own.p99_ns);
    let slowest = row.slowest.unwrap();
    assert_near(&format!("{what}, slowest"), slowest.time_ns, own.max_ns);
    assert_eq!(slowest.tid, own.pid, "one thread");
    row
}

/// Compares both ends.
fn compare(cable: &Cable, seen: &Seen<Said>) {
    seen.assert_counts_whole();
    let Said { server, client, local, .. } = &seen.said;
    let answered = same_as(seen, server, role::SERVER, cable.server.inode());
    let waited = same_as(seen, client, role::CLIENT, cable.client.inode());
    assert_eq!(waited.timed, waited.count, "the handshake has told a round-trip time");
    let sockets = || seen.batches.iter().flat_map(|batch| &batch.sockets);
    for (row, local) in [(&answered, format!("{SERVER}:{PORT}")), (&waited, local.clone())] {
        let cookie = row.slowest.unwrap().socket;
        let socket = sockets().find(|socket| socket.cookie == cookie).unwrap();
        assert_eq!(socket.local, local, "whose connection");
    }
}

fn observed(talk_of: Talk) {
    if is_untold() {
        return;
    }
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let server = server(&cable.server, talk_of);
        let client = client(&cable.client, talk_of);
        talk(&cable, server, client)
    });
    compare(&cable, &seen);
}

#[test]
fn requests_take_as_long_as_both_ends_say() {
    observed(SMALL);
}

#[test]
fn requests_that_are_sent_ahead_are_one_to_who_asks_and_several_to_who_answers() {
    observed(PIPELINED);
}

#[test]
fn large_requests_begin_when_all_is_there() {
    observed(LARGE);
}

/// Which end is which, is told by the listener.
#[test]
fn connections_from_before_we_watched_count_too() {
    if is_untold() {
        return;
    }
    let cable = Cable::new();
    let server = server(&cable.server, SMALL);
    let client = client(&cable.client, SMALL);
    let seen = observe(&every(100), || talk(&cable, server, client));
    compare(&cable, &seen);
}
