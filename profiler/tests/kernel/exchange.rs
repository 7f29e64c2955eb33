//! Requests and their answers, against the clocks of those who ask and answer.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use profiler::batch::{Endpoint, ExchangeRow, Slowest};
use profiler::field::{Row, Scope, Subject, Table, Value, sheet};
use profiler::finding::{Finding, all};
use profiler_common::exchange::role;

use crate::kernel::child::{Child, Parent, clock, fork, pin, signal};
use crate::kernel::device::Scratch;
use crate::kernel::network::{Cable, Namespace, SERVER};
use crate::kernel::observe::{Seen, absent, every, figure_of_test, is_guest, ms, observe, until};
use crate::kernel::operation::hand_over;
use crate::kernel::page::temporary;

const PORT: u16 = 7003;

/// How requests are made and answered, by both ends.
#[derive(Clone, Copy)]
struct Talk {
    rounds: u64,
    /// Requests that are sent ahead, each of which the server answers by itself.
    ahead: u64,
    request: usize,
    answer: usize,
    /// The client looks at an answer for so many microseconds before it takes it, if any.
    peeks_us: u64,
    /// The server takes so many times as long.
    slowness: u64,
    server: Way,
}

/// How a server takes requests and answers them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Calls,
    /// Operations of `io_uring`.
    Ring,
    /// It answers out of a file.
    Sendfile,
}

const SMALL: Talk =
    Talk { rounds: 600, ahead: 1, request: 100, answer: 300, peeks_us: 300, slowness: 1, server: Way::Calls };
const PIPELINED: Talk = Talk { rounds: 200, ahead: 3, peeks_us: 0, ..SMALL };
const LARGE: Talk = Talk { rounds: 150, request: 1 << 20, answer: 1 << 16, peeks_us: 0, ..SMALL };

/// Bytes that a server takes at once.
const PIECE: usize = 1 << 16;

/// What one end has measured.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    pub pid: u32,
    pub count: u64,
    pub sum_ns: u64,
    pub p50_ns: u64,
    p99_ns: u64,
    pub max_ns: u64,
}

impl Own {
    /// Tells the test of times.
    pub fn say(parent: &mut Parent, mut times: Vec<u64>) {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() * share).div_ceil(100) - 1];
        parent.say([times.len() as u64, times.iter().sum(), at(50), at(99), at(100)]);
        parent.hear();
    }

    pub fn hear(child: &mut Child) -> Self {
        let [count, sum_ns, p50_ns, p99_ns, max_ns] = child.hear();
        Self { pid: child.pid, count, sum_ns, p50_ns, p99_ns, max_ns }
    }
}

pub fn now() -> u64 {
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

fn whole(buffer: &[u8]) -> u32 {
    u32::try_from(buffer.len()).unwrap()
}

fn send_file(file: &File, connection: &TcpStream, bytes: usize) -> usize {
    let mut begin = 0;
    // SAFETY: the offset lives until the call returns.
    let sent = unsafe { libc::sendfile(connection.as_raw_fd(), file.as_raw_fd(), &raw mut begin, bytes) };
    usize::try_from(sent).unwrap()
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
        let (answer, mut buffer, mut times) = (vec![1; talk.answer], vec![0; talk.request], Vec::new());
        let file = temporary(talk.answer);
        let mut ring = (talk.server == Way::Ring).then(|| IoUring::new(1).unwrap());
        for number in 0..talk.rounds * talk.ahead {
            let asked_ns = match &mut ring {
                None => take(&mut connection, talk.request),
                Some(ring) => {
                    let receive = opcode::Recv::new(Fd(connection.as_raw_fd()), buffer.as_mut_ptr(), whole(&buffer));
                    let receive = receive.flags(libc::MSG_WAITALL).build();
                    assert_eq!(hand_over(ring, &[receive]), [i32::try_from(talk.request).unwrap()]);
                    now()
                }
            };
            // From a tenth of a millisecond to two, and the slowest far longer than what may interrupt another.
            let slowest = number == talk.rounds * talk.ahead / 2;
            let slow_us = if slowest { 40_000 * talk.slowness.min(1) } else { 0 };
            thread::sleep(Duration::from_micros(slow_us.max((100 + number * 37 % 100 * 19) * talk.slowness)));
            let sent = match (&mut ring, talk.server) {
                (Some(ring), _) => {
                    let send = opcode::Send::new(Fd(connection.as_raw_fd()), answer.as_ptr(), whole(&answer)).build();
                    usize::try_from(hand_over(ring, &[send])[0]).unwrap()
                }
                (None, Way::Sendfile) => send_file(&file, &connection, talk.answer),
                (None, _) => connection.write(&answer).unwrap(),
            };
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
                // Of a large write the kernel still delivers a good part after it has told of it: the last one is small.
                let (most, last) = request.split_at(talk.request.saturating_sub(1_000));
                connection.write_all(most).unwrap();
                connection.write_all(last).unwrap();
            }
            let asked_ns = now();
            if talk.peeks_us > 0 {
                assert_ne!(connection.peek(&mut buffer).unwrap(), 0);
                thread::sleep(Duration::from_micros(talk.peeks_us));
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
    local: Endpoint,
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
pub fn is_untold() -> bool {
    absent().iter().any(|probe| probe == "sock_send_length")
}

/// All that was told of a process, in one row.
pub fn told<T>(seen: &Seen<T>, pid: u32) -> ExchangeRow {
    let rows = seen.batches.iter().flat_map(|batch| &batch.exchanges).filter(|row| row.key.process.pid == pid);
    let mut sum = ExchangeRow { stalls: Some(0), asked: Some(0), ..ExchangeRow::default() };
    for row in rows {
        assert!(sum.key.role == role::UNKNOWN || sum.key == row.key, "one peer: {:?} and {:?}", sum.key, row.key);
        sum.key = row.key.clone();
        sum.count += row.count;
        sum.time_ns += row.time_ns;
        sum.time.add(&row.time);
        sum.timed += row.timed;
        sum.rtt_ns += row.rtt_ns;
        sum.shorter += row.shorter;
        let slower = |slowest: &Slowest| sum.slowest.is_none_or(|known| known.time_ns < slowest.time_ns);
        sum.slowest = row.slowest.filter(slower).or(sum.slowest);
        sum.stalls = sum.stalls.zip(row.stalls).map(|(sum, stalls)| sum + stalls);
        sum.stall_ns += row.stall_ns;
        sum.asked = sum.asked.zip(row.asked).map(|(sum, asked)| sum + asked);
        sum.answered += row.answered;
    }
    sum
}

/// What a figure is of, and how far an emulator may be off: it may stop between a call and the look at the clock.
#[derive(Clone, Copy)]
pub enum Of {
    Middle,
    Sum,
    /// A few of all, for which it may well have stopped.
    Tail,
    /// One of all: whatever interrupted it between a call and the look at the clock is in one of the two.
    One,
}

/// Within 3 % and 5 µs.
#[track_caller]
pub fn assert_near(what: &str, of: Of, ours_ns: u64, truth_ns: u64) {
    let us = |ns| ns as f64 / 1e3;
    figure_of_test(what, format!("{:.1} µs = {:.1} µs", us(ours_ns), us(truth_ns)));
    let allowed_ns = match (is_guest(), of) {
        (false, Of::One) => truth_ns / 10 + 5_000,
        (false, _) => truth_ns * 3 / 100 + 5_000,
        (true, Of::Middle | Of::Sum) => truth_ns / 10 + 100_000,
        (true, Of::Tail | Of::One) => return,
    };
    assert!(ours_ns.abs_diff(truth_ns) <= allowed_ns, "{what}: {ours_ns}, in truth {truth_ns}");
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
    assert_near(&format!("{what}, mean"), Of::Sum, row.time_ns / row.count, own.sum_ns / own.count);
    assert_near(&format!("{what}, p50"), Of::Middle, quantile(0.5), own.p50_ns);
    assert_near(&format!("{what}, p99"), Of::Tail, quantile(0.99), own.p99_ns);
    let slowest = row.slowest.unwrap();
    assert_near(&format!("{what}, slowest"), Of::One, slowest.time_ns, own.max_ns);
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
    for (row, local) in [(&answered, format!("{SERVER}:{PORT}").parse().unwrap()), (&waited, *local)] {
        let cookie = row.slowest.unwrap().socket;
        let socket = sockets().find(|socket| socket.cookie == cookie).unwrap();
        assert_eq!(socket.local, local, "whose connection");
    }
}

fn observed(cable: &Cable, how: Talk) -> Seen<Said> {
    observe(&every(100), || {
        let server = server(&cable.server, how);
        let client = client(&cable.client, how);
        talk(cable, server, client)
    })
}

fn check(how: Talk) {
    if !is_untold() {
        let cable = Cable::new();
        compare(&cable, &observed(&cable, how));
    }
}

#[test]
fn requests_take_as_long_as_both_ends_say() {
    check(SMALL);
}

#[test]
fn requests_that_are_sent_ahead_are_one_to_who_asks_and_several_to_who_answers() {
    check(PIPELINED);
}

#[test]
fn large_requests_begin_when_all_is_there() {
    check(LARGE);
}

#[test]
fn operations_of_a_ring_are_requests_too() {
    check(Talk { server: Way::Ring, ..SMALL });
}

#[test]
fn files_are_answers_too() {
    check(Talk { server: Way::Sendfile, ..SMALL });
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

/// What a peer thinks, as told, and as it says; how long whoever asks it has waited.
pub struct Thinking {
    pub rtt_ns: u64,
    pub think_ns: u64,
    pub truth_ns: u64,
    pub waited_ns: u64,
    pub findings: Vec<Finding>,
}

/// What is left of the wait without the way there and back.
pub fn a_peer_thinks(cable: &Cable, slowness: u64, rounds: u64) -> Thinking {
    let seen = observed(cable, Talk { rounds, peeks_us: 0, slowness, ..SMALL });
    compare(cable, &seen);
    let Said { server, client, .. } = &seen.said;
    let model = seen.model();
    let sheet = sheet(&model, Table::Exchanges, &Scope::default());
    let asked = |row: &&Row| matches!(&row.subject, Subject::Exchange(key) if key.process.pid == client.pid);
    let row = sheet.rows.iter().find(asked).unwrap();
    let cell = |id| &row.cells[sheet.columns.iter().position(|column| column.id == id).unwrap()];
    let [Value::Nanos(think_ns), Value::Nanos(rtt_ns), Value::Nanos(wait_ns)] =
        ["exchange.think_mean_ns", "exchange.rtt_mean_ns", "exchange.time_mean_ns"].map(cell)
    else {
        panic!("{row:?}")
    };
    let [truth_ns, waited_ns] = [server, client].map(|end| end.sum_ns / end.count);
    let [wait, rtt, think, truth] = [*wait_ns, *rtt_ns, *think_ns, truth_ns].map(ms);
    figure_of_test("wait - RTT = think = server", format!("{wait} - {rtt} = {think} = {truth}"));
    // Each is rounded down.
    assert!(wait_ns.abs_diff(rtt_ns + think_ns) <= 1, "{wait} - {rtt} = {think}");
    let findings = all(&model).into_iter().filter(|finding| finding.at == row.subject).collect();
    Thinking { rtt_ns: *rtt_ns, think_ns: *think_ns, truth_ns, waited_ns, findings }
}

#[test]
fn a_peer_thinks_as_long_as_it_says() {
    if is_untold() {
        return;
    }
    let told = a_peer_thinks(&Cable::new(), 1, 600);
    let [finding] = &told.findings[..] else { panic!("{:?}", told.findings) };
    assert_eq!((finding.id, finding.subject.clone()), ("N20", format!("{SERVER}:{PORT}")));
    assert!(finding.impact > 0.5 && finding.claim.contains("on this host"), "{finding:?}");
    assert!(told.rtt_ns < told.think_ns, "a short way: {}", ms(told.rtt_ns));
    // Who is asked, and who is answered, has to be woken: on a short way that takes longer than the way, and the client waits
    // for it. An emulator may be late with each sample of the round-trip time.
    let late_ns = if is_guest() { 3_000_000 } else { 0 };
    let (least_ns, most_ns) = ((told.truth_ns * 97 / 100).saturating_sub(late_ns), told.waited_ns * 103 / 100);
    assert!((least_ns..=most_ns).contains(&told.think_ns), "{} of {}", ms(told.think_ns), ms(told.truth_ns));
}

/// Who is held up by something else, has no slow peer.
#[test]
fn a_peer_that_answers_at_once_does_not_think() {
    if is_untold() {
        return;
    }
    let seen = observed(&Cable::new(), Talk { rounds: 200, slowness: 0, peeks_us: 5_000, ..SMALL });
    assert!(all(&seen.model()).iter().all(|finding| finding.id != "N20"));
}

/// Requests of `wrk` for a page of `nginx`, by what it says itself.
#[test]
fn nginx_answers_as_often_as_wrk_says() {
    let (cable, scratch) = (Cable::new(), Scratch::new());
    let folder = scratch.path("");
    let write = |name: &str, text: &str| std::fs::write(scratch.path(name), text).unwrap();
    write("page", "so be it");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {folder}/{name};")).concat();
    write(
        "nginx.conf",
        &format!(
            "daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n\
             http {{ access_log off; keepalive_requests 1000000; {temporary}\n\
             server {{ listen {SERVER}:{PORT}; root {folder}; }} }}\n"
        ),
    );
    let seen = observe(&every(500), || {
        let nginx = fork(|_| {
            cable.server.enter();
            let error = Command::new("nginx").args(["-p", &folder, "-c", &scratch.path("nginx.conf")]).exec();
            panic!("these tests need `nginx`: {error}");
        });
        let listens = || cable.server.run(&["ss", "-ltnH"]);
        until("nginx listens", || if listens().contains(":7003") { Ok(()) } else { Err("it does not".to_owned()) });
        let page = format!("http://{SERVER}:{PORT}/page");
        let told = cable.client.run(&["wrk", "-t1", "-c16", "-d5s", &page]);
        // Its workers end with it.
        signal(nginx.pid, libc::SIGTERM);
        nginx.end();
        told
    });
    let netns = |role| if role == role::SERVER { cable.server.inode() } else { cable.client.inode() };
    let answered = |role| -> u64 {
        let rows = seen.batches.iter().flat_map(|batch| &batch.exchanges);
        let ours = rows.filter(|row| row.key.role == role && row.key.netns == netns(role));
        ours.map(|row| row.count).sum()
    };
    seen.assert_counts_whole();
    let told = seen.said.lines().find_map(|line| line.trim().split_once(" requests in ")).unwrap();
    let truth: u64 = told.0.parse().unwrap();
    for (what, role) in [("nginx", role::SERVER), ("wrk", role::CLIENT)] {
        let ours = answered(role);
        let off = ours.abs_diff(truth) as f64 / truth as f64 * 100.0;
        figure_of_test(&format!("{what}, requests"), format!("{ours} = {truth} ({off:.3} %)"));
        // Those that are under way when wrk stops, it does not count.
        assert!((truth..=truth + 16).contains(&ours) && off < 0.5, "{what}: {ours}, by wrk {truth}");
    }
}
