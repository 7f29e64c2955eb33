//! Connections against `ss`: bytes, times, windows, owners; listeners and their queues; short lives and failures.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use profiler::batch::{Endpoint, SocketRow};
use profiler::field::{Row, Scope, Table, sheet};
use profiler::finding::all;
use profiler_common::limit::HANDSHAKE;
use profiler_common::tcp::state;

use crate::kernel::child::{Child, Parent, clock, fork};
use crate::kernel::network::{Cable, Namespace, SERVER, Told};
use crate::kernel::observe::{Seen, every, figure_of_test, ms, observe, once, until};

const PORT: u16 = 7001;
const REQUEST: u64 = 123_456;
const ANSWER: u64 = 2_345_678;

/// Serves one connection: takes a request, answers, and hangs up when told.
pub fn serve(namespace: &Namespace, port: u16) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        let listener = TcpListener::bind((SERVER, port)).unwrap();
        parent.say([1]);
        let (mut connection, _) = listener.accept().unwrap();
        receive(&mut connection, REQUEST);
        send(&mut connection, ANSWER);
        parent.say([2]);
        parent.hear();
        drop(connection);
        parent.say([3]);
        parent.hear();
    });
    child.hear::<1>();
    child
}

/// Listens, and accepts nobody.
pub fn listen(namespace: &Namespace, port: u16, backlog: i32) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        let listener = TcpListener::bind((SERVER, port)).unwrap();
        // SAFETY: plain numbers; listening again only changes the limit.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), backlog) }, 0);
        parent.say([1]);
        parent.hear();
    });
    child.hear::<1>();
    child
}

/// Asks once, and then does what the test wants.
pub fn ask(namespace: &Namespace, port: u16, then: impl FnOnce(&mut Parent, TcpStream)) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        let mut connection = TcpStream::connect((SERVER, port)).unwrap();
        send(&mut connection, REQUEST);
        receive(&mut connection, ANSWER);
        parent.say([2]);
        parent.hear();
        then(parent, connection);
    });
    child.hear::<1>();
    child
}

pub fn send(connection: &mut TcpStream, bytes: u64) {
    connection.write_all(&vec![7; usize::try_from(bytes).unwrap()]).unwrap();
}

pub fn receive(connection: &mut TcpStream, bytes: u64) {
    connection.read_exact(&mut vec![0; usize::try_from(bytes).unwrap()]).unwrap();
}

/// What both ends say once everything is acknowledged, so that nothing will be sent any more.
pub fn quiet(cable: &Cable, port: u16) -> [Told; 2] {
    until("all is acknowledged", || {
        let client = cable.client.connection_to(port);
        let at = |told: &&Told| told.peer == client.local;
        let server = cable.server.connections().iter().find(at).cloned().ok_or("no server's end")?;
        let acked = |from: &Told, to: &Told| {
            from.send_queue == 0
                && from.number("unacked") == 0
                && from.number("bytes_acked") >= to.number("bytes_received")
        };
        let same = client == cable.client.connection_to(port);
        if same && acked(&client, &server) && acked(&server, &client) {
            return Ok([server, client]);
        }
        Err(format!("{server:?} {client:?}"))
    })
}

/// Waits until no connection is left at either end.
fn closed(cable: &Cable) {
    until("both ends are closed", || {
        let open = |end: &Namespace| end.connections().iter().filter(|told| told.state != "TIME-WAIT").count();
        if open(&cable.client) + open(&cable.server) == 0 { Ok(()) } else { Err("they are not".to_owned()) }
    });
}

/// Compares the last row of a socket with what `ss` says of it.
#[track_caller]
pub fn same_as_ss<T>(seen: &Seen<T>, namespace: u32, told: &Told) -> SocketRow {
    let sockets = seen.sockets();
    let mine = |row: &&&SocketRow| row.netns == namespace && row.local == told.local && row.peer == told.peer;
    let row = *sockets.iter().find(mine).unwrap_or_else(|| panic!("no {told:?} in {sockets:?}"));
    let total = row.total;
    assert_eq!(total.sent_bytes, told.number("bytes_sent"), "bytes_sent");
    assert_eq!(total.acked_bytes, told.number("bytes_acked"), "bytes_acked");
    assert_eq!(total.received_bytes, told.number("bytes_received"), "bytes_received");
    assert_eq!(total.retransmits.to_string(), told.pair("retrans").1, "retrans");
    let (rtt, deviation) = told.pair("rtt");
    assert_eq!(row.srtt_us, Some(Told::microseconds(&rtt)), "rtt");
    assert_eq!(row.rttvar_us, Some(Told::microseconds(&deviation)), "rttvar");
    assert_eq!(row.min_rtt_us, Some(told.time("minrtt")), "minrtt");
    assert_eq!(u64::from(row.cwnd), told.number("cwnd"), "cwnd");
    assert_eq!(u64::from(row.mss), told.number("mss"), "mss");
    assert_eq!(u64::from(row.packets_out), told.number("unacked"), "unacked");
    assert_eq!(u64::from(row.receive_queue_bytes), told.receive_queue, "Recv-Q");
    assert_eq!(u64::from(row.send_queue_bytes), told.send_queue, "Send-Q");
    assert_eq!(u64::from(row.send_window_bytes), told.number("snd_wnd"), "snd_wnd");
    assert_eq!(row.unsent_bytes.map(u64::from), Some(told.number("notsent")), "notsent");
    assert_eq!(row.send_buffer_bytes.map(u64::from), Some(told.memory("tb")), "tb");
    if told.number("ssthresh") != 0 {
        assert_eq!(u64::from(row.ssthresh), told.number("ssthresh"), "ssthresh");
    }
    let sum = |value: fn(&SocketRow) -> u64| -> u64 {
        let rows = seen.batches.iter().flat_map(|batch| &batch.sockets).filter(|other| other.cookie == row.cookie);
        rows.map(value).sum()
    };
    // It was born while we watched: what moved in all intervals is all that ever moved.
    assert_eq!(sum(|row| row.sent_bytes), total.sent_bytes);
    assert_eq!(sum(|row| row.acked_bytes), total.acked_bytes);
    assert_eq!(sum(|row| row.received_bytes), total.received_bytes);
    assert_eq!(sum(|row| row.retransmits), total.retransmits);
    assert_eq!(sum(|row| row.segments_out), told.number("segs_out"), "segs_out");
    row.clone()
}

#[test]
fn an_open_connection_is_what_ss_says() {
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let server = serve(&cable.server, PORT);
        let client = ask(&cable.client, PORT, |_, _| {});
        let told = quiet(&cable, PORT);
        // Still open when the last batch is made.
        (server, client, told)
    });
    let (server, client, [at_server, at_client]) = &seen.said;
    let row = same_as_ss(&seen, cable.client.inode(), at_client);
    assert!(row.total.sent_bytes >= REQUEST && row.total.received_bytes == ANSWER, "{:?}", row.total);
    assert_eq!(row.owner.map(|owner| owner.pid), Some(client.pid), "who connected");
    assert!(row.connect_ns.is_some_and(|ns| ns > 0) && row.connect_errno.is_none(), "{row:?}");
    assert_eq!((row.state, row.ended), (state::ESTABLISHED, false));
    let row = same_as_ss(&seen, cable.server.inode(), at_server);
    // A tail-loss probe may send something twice, and it counts.
    assert!(row.total.sent_bytes >= ANSWER && row.total.received_bytes == REQUEST, "{:?}", row.total);
    assert_eq!(row.owner.map(|owner| owner.pid), Some(server.pid), "who accepted");
    assert_eq!(row.connect_ns, None);
    seen.assert_counts_whole();
}

/// Nobody accepts it for a while: by the clock of who connects and of who accepts.
#[test]
fn a_connection_waits_to_be_accepted() {
    const WAIT: Duration = Duration::from_millis(200);
    let cable = Cable::new();
    let seen = observe(&once(), || {
        let mut server = fork(|parent| {
            cable.server.enter();
            let listener = TcpListener::bind((SERVER, PORT)).unwrap();
            parent.say([1]);
            parent.hear();
            thread::sleep(WAIT);
            let accepted = listener.accept().unwrap();
            parent.say([clock(libc::CLOCK_MONOTONIC)]);
            drop(accepted);
        });
        server.hear::<1>();
        let mut client = fork(|parent| {
            cable.client.enter();
            let connection = TcpStream::connect((SERVER, PORT)).unwrap();
            parent.say([clock(libc::CLOCK_MONOTONIC)]);
            parent.hear();
            drop(connection);
        });
        let [connected_ns] = client.hear();
        server.say(0);
        let [accepted_ns] = server.hear();
        let pid = server.pid;
        server.end();
        client.say(0);
        client.end();
        closed(&cable);
        (pid, accepted_ns - connected_ns)
    });
    let (pid, truth_ns) = seen.said;
    let rows = || seen.batches.iter().flat_map(|batch| &batch.sockets);
    let accepted: Vec<_> = rows().filter(|row| row.accept_ns.is_some() && row.netns == cable.server.inode()).collect();
    let [row] = &accepted[..] else { panic!("{accepted:?}") };
    assert_eq!(row.owner.map(|owner| owner.pid), Some(pid));
    let accept_ns = row.accept_ns.unwrap();
    figure_of_test("in the queue = by the clocks of both", format!("{} = {}", ms(accept_ns), ms(truth_ns)));
    assert!(accept_ns.abs_diff(truth_ns) < truth_ns / 20, "{accept_ns} {truth_ns}");
    let listeners = sheet(&seen.model(), Table::Listeners, &Scope::default());
    let cell = |row: &Row, id: &str| {
        listeners.columns.iter().zip(&row.cells).find(|(column, _)| column.id == id).unwrap().1.clone()
    };
    let local = format!("{SERVER}:{PORT}");
    let mut rows = listeners.rows.iter().filter(|row| cell(row, "net.local").to_string() == local);
    let wait_ns = cell(rows.next().unwrap(), "net.accept_p99_ns").number().unwrap();
    assert!((wait_ns / accept_ns as f64 - 1.0).abs() < 0.02, "of its listener: {wait_ns} {accept_ns}");
}

/// Each waits for those before it.
#[test]
fn a_server_that_accepts_slowly_is_named() {
    const CONNECTIONS: u64 = 60;
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let mut server = fork(|parent| {
            cable.server.enter();
            let listener = TcpListener::bind((SERVER, PORT)).unwrap();
            parent.say([1]);
            for _ in 0..CONNECTIONS {
                thread::sleep(Duration::from_millis(15));
                listener.accept().unwrap();
            }
            parent.say([1]);
            parent.hear();
        });
        server.hear::<1>();
        let mut client = fork(|parent| {
            cable.client.enter();
            let open: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect((SERVER, PORT)).unwrap()).collect();
            parent.say([open.len() as u64]);
            parent.hear();
        });
        client.hear::<1>();
        server.hear::<1>();
        (server, client)
    });
    let findings = all(&seen.model());
    let found: Vec<_> = findings.iter().filter(|finding| finding.id == "N9").map(|found| &found.subject).collect();
    let (server, _client) = &seen.said;
    let comm = fs::read_to_string(format!("/proc/{}/comm", server.pid)).unwrap();
    assert_eq!(found, [&format!("{SERVER}:{PORT} of {} ({})", comm.trim(), server.pid)], "{findings:?}");
}

#[test]
fn a_connection_between_two_namespaces_of_this_host_is_shown_once() {
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let server = serve(&cable.server, PORT);
        let client = ask(&cable.client, PORT, |parent, connection| {
            parent.hear();
            drop(connection);
        });
        (server, client, quiet(&cable, PORT))
    });
    let (server, client, [at_server, at_client]) = &seen.said;
    let model = seen.model();
    let ends = [at_server, at_client].map(|told| (told.local, told.peer));
    let rows = |scope| {
        let sheet = sheet(&model, Table::Connections, &scope);
        let at = |id: &str| sheet.columns.iter().position(|column| column.id == id).unwrap();
        let of = |row: &Row, id: &str| row.cells[at(id)].to_string();
        let mine = |row: &&Row| ends.iter().any(|(local, _)| of(row, "net.local") == local.to_string());
        let named = |row: &Row| [of(row, "net.local"), of(row, "net.peer"), of(row, "net.peer_owner")];
        sheet.rows.iter().filter(mine).map(named).collect::<Vec<_>>()
    };
    let once = rows(Scope::once());
    assert_eq!((once.len(), rows(Scope::default()).len()), (1, 2), "{once:?}");
    let shown = ends.iter().position(|(local, _)| once[0][0] == local.to_string()).unwrap();
    let (there, inode) = [(client, cable.client.inode()), (server, cable.server.inode())][shown];
    let comm = fs::read_to_string(format!("/proc/{}/comm", there.pid)).unwrap();
    assert_eq!(once[0][2], format!("{} in {}", comm.trim(), model.namespace(inode)), "who is at the other end");
}

#[test]
fn a_connection_within_one_interval_has_all_its_bytes() {
    let cable = Cable::new();
    let seen = observe(&once(), || {
        let mut server = serve(&cable.server, PORT);
        let mut client = ask(&cable.client, PORT, |_, connection| drop(connection));
        let (pids, local) = ([server.pid, client.pid], cable.client.connection_to(PORT).local);
        client.say(0);
        client.end();
        server.say(0);
        server.hear::<1>();
        server.say(0);
        server.end();
        closed(&cable);
        (pids, local)
    });
    let ([server, client], local) = &seen.said;
    let rows = || seen.batches.iter().flat_map(|batch| &batch.sockets);
    let asked: Vec<_> = rows().filter(|row| row.local == *local).collect();
    let answered: Vec<_> = rows().filter(|row| row.peer == *local).collect();
    assert_eq!((asked.len(), answered.len()), (1, 1), "{asked:?} {answered:?}");
    assert!(asked[0].ended && answered[0].ended);
    let owners = [asked[0], answered[0]].map(|row| row.owner.map(|owner| owner.pid));
    assert_eq!(owners, [Some(*client), Some(*server)], "who connected, and who accepted");
    // The kernel counts the end of a stream as a byte received and acknowledged, and the start as one acknowledged by
    // whoever accepts.
    assert_eq!((asked[0].received_bytes, answered[0].received_bytes), (ANSWER + 1, REQUEST + 1));
    for (row, bytes) in [(asked[0], REQUEST), (answered[0], ANSWER)] {
        // A tail-loss probe may send something twice.
        let is_right = if row.retransmits == 0 { row.sent_bytes == bytes } else { row.sent_bytes > bytes };
        assert!(is_right, "{row:?}");
    }
    assert!(asked[0].acked_bytes >= REQUEST && answered[0].acked_bytes >= ANSWER);
    // All of its life is told, too.
    assert_eq!(asked[0].limits.map(|limits| limits[HANDSHAKE]), asked[0].connect_ns);
    assert!(asked[0].limits.unwrap().iter().sum::<u64>() > asked[0].connect_ns.unwrap());
    assert_eq!(answered[0].limits.map(|limits| limits[HANDSHAKE]), Some(0));
}

#[test]
fn a_listener_is_what_ss_says() {
    const BACKLOG: i32 = 5;
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let server = listen(&cable.server, PORT, BACKLOG);
        let mut client = fork(|parent| {
            cable.client.enter();
            let connections: Vec<_> = (0..3).map(|_| TcpStream::connect((SERVER, PORT)).unwrap()).collect();
            parent.say([connections.len() as u64]);
            parent.hear();
        });
        client.hear::<1>();
        let ss = || cable.server.run(&["ss", "-ltnH"]);
        let told = until("nobody accepts three", || if ss().contains(" 3 ") { Ok(ss()) } else { Err(ss()) });
        (server, client, told)
    });
    let (server, _client, told) = &seen.said;
    let words: Vec<_> = told.split_whitespace().collect();
    let listens = |row: &&SocketRow| row.netns == cable.server.inode() && row.state == state::LISTEN;
    let row = seen.sockets().into_iter().find(listens).unwrap();
    assert_eq!([row.accept_queue.to_string(), row.accept_limit.to_string()], [words[1], words[2]]);
    assert_eq!((row.accept_queue, row.accept_limit), (3, BACKLOG.unsigned_abs()));
    assert_eq!((row.local.to_string().as_str(), row.peer), (words[3], Endpoint::ANY));
    assert_eq!(row.owner.map(|owner| owner.pid), Some(server.pid));
}
