//! Loss, refusal and reset: ours against the counters of the namespaces in which they happen.

use std::collections::HashMap;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use profiler_common::limit::HANDSHAKE;
use profiler_common::tcp::event;

use crate::kernel::child::fork;
use crate::kernel::network::{Cable, SERVER, own_counters};
use crate::kernel::observe::{Seen, every, figure_of_test, observe, once, until};
use crate::kernel::tcp::{ask, listen, quiet, same_as_ss, send, serve};
use crate::kernel::tcp_limit::sees_recovery;
use crate::kernel::trace::Trace;

const PORT: u16 = 7002;

/// Counters of the three namespaces in which something may happen: the server's, the client's, and our own.
struct Counters([HashMap<String, u64>; 3]);

impl Counters {
    fn now(cable: &Cable) -> Self {
        Self([cable.server.counters(), cable.client.counters(), own_counters()])
    }

    /// How much a counter grew since, all namespaces together.
    fn grown(&self, before: &Self, name: &str) -> u64 {
        self.0.iter().zip(&before.0).map(|(now, before)| now[name] - before[name]).sum()
    }
}

fn events<T>(seen: &Seen<T>, event: u32) -> u64 {
    seen.batches.iter().map(|batch| batch.tcp_events[event as usize]).sum()
}

/// How often something happened in threads that this kernel hides.
fn hidden_count<T>(seen: &Seen<T>, trace: Option<&Trace>, event: &str) -> u64 {
    trace.map_or(0, |trace| trace.hidden_count(&seen.batches, event))
}

/// What was sent again, segments and SYN-ACKs, is what the kernel has counted, but for what some threads hide: at most so many
/// segments each time.
#[track_caller]
fn same_retransmits<T>(seen: &Seen<T>, trace: Option<&Trace>, segments_max: u64, truth: u64) -> [u64; 2] {
    let again = [event::RETRANSMIT, event::RETRANSMIT_SYNACK].map(|event| events(seen, event));
    let hidden = [("tcp_retransmit_skb", segments_max), ("tcp_retransmit_synack", 1)]
        .map(|(event, each)| hidden_count(seen, trace, event) * each);
    let [segments, syn_acks] = again;
    figure_of_test("segments, SYN-ACKs = TcpRetransSegs", format!("{segments} + {syn_acks} = {truth}"));
    let (seen, hidden_too) = (segments + syn_acks, segments + syn_acks + hidden.iter().sum::<u64>());
    assert!((seen..=hidden_too).contains(&truth), "{again:?} seen, {hidden:?} hidden, but {truth}");
    [0, 1].map(|kind| again[kind] + hidden[kind])
}

#[test]
fn a_lost_segment_is_counted_like_nstat_and_ss() {
    lose(1_000);
}

/// What one timeout or one acknowledgement sends again are whole buffers.
#[test]
fn lost_buffers_are_counted_like_nstat_and_ss() {
    lose(60_000);
}

/// Loses so many bytes, less than the peer has room for.
fn lose(bytes: u64) {
    let (cable, trace) = (Cable::new(), Trace::of_tcp());
    let seen = observe(&every(200), || {
        let before = Counters::now(&cable);
        let server = serve(&cable.server, PORT);
        let mut client = ask(&cable.client, PORT, |parent, mut connection| {
            send(&mut connection, bytes);
            parent.hear();
        });
        Cable::cut(&cable.client);
        client.say(0);
        until("it was sent three times again", || {
            let told = cable.client.connection_to(PORT).pair("retrans").1;
            if told.parse::<u64>().unwrap() >= 3 { Ok(()) } else { Err(told) }
        });
        cable.mend();
        let told = quiet(&cable, PORT);
        let after = Counters::now(&cable);
        let timeouts = cable.client.counters()["TcpExtTCPTimeouts"];
        (server, client, told, [after.grown(&before, "TcpRetransSegs"), timeouts])
    });
    let (_, _, [at_server, at_client], [truth, timeouts]) = &seen.said;
    let row = same_as_ss(&seen, cable.client.inode(), at_client);
    assert!(row.total.retransmits >= 3, "{row:?}");
    if sees_recovery() {
        let rows = seen.batches.iter().flat_map(|batch| &batch.sockets).filter(|other| other.netns == row.netns);
        let ours: u64 = rows.map(|row| row.timeouts.unwrap()).sum();
        let hidden = hidden_count(&seen, trace.as_ref(), "tcp_cong_state_set");
        figure_of_test("timeouts, hidden = TCPTimeouts", format!("{ours}, {hidden} = {timeouts}"));
        assert!((ours..=ours + hidden).contains(timeouts), "{ours} seen, {hidden} hidden, but {timeouts}");
    }
    same_as_ss(&seen, cable.server.inode(), at_server);
    same_retransmits(&seen, trace.as_ref(), bytes.div_ceil(at_client.number("mss")), *truth);
    seen.assert_counts_whole();
}

#[test]
fn lost_handshakes_are_counted_like_nstat() {
    let (cable, trace) = (Cable::new(), Trace::of_tcp());
    let seen = observe(&every(200), || {
        let before = Counters::now(&cable);
        let server = listen(&cable.server, PORT, 5);
        Cable::cut(&cable.server);
        let client = fork(|_| {
            cable.client.enter();
            drop(TcpStream::connect((SERVER, PORT)).unwrap());
        });
        until("a SYN and a SYN-ACK were sent again", || {
            let again = |counters: HashMap<String, u64>| counters["TcpRetransSegs"];
            let (syn_acks, syns) = (again(cable.server.counters()), again(cable.client.counters()));
            if syn_acks > 0 && syns > 0 { Ok(()) } else { Err(format!("{syn_acks} {syns}")) }
        });
        cable.mend();
        let pid = client.pid;
        client.end();
        server.kill();
        (pid, Counters::now(&cable).grown(&before, "TcpRetransSegs"))
    });
    let (pid, truth) = seen.said;
    let [segments, syn_acks] = same_retransmits(&seen, trace.as_ref(), 1, truth);
    assert!(segments >= 1 && syn_acks >= 1, "{segments} {syn_acks}");
    let rows = seen.batches.iter().flat_map(|batch| &batch.sockets);
    let mine: Vec<_> = rows.filter(|row| row.owner.is_some_and(|owner| owner.pid == pid)).collect();
    let connect_ns = mine.iter().filter_map(|row| row.connect_ns).max();
    assert!(connect_ns.is_some_and(|ns| ns >= 1_000_000_000), "the first SYN waits a second: {mine:?}");
    let handshake_ns: u64 = mine.iter().map(|row| row.limits.unwrap()[HANDSHAKE]).sum();
    assert_eq!(Some(handshake_ns), connect_ns, "over all intervals");
}

#[test]
fn refused_and_reset_connections_are_counted() {
    let (cable, trace) = (Cable::new(), Trace::of_tcp());
    let seen = observe(&once(), || {
        let before = Counters::now(&cable);
        let refused = fork(|_| {
            cable.client.enter();
            let error = TcpStream::connect((SERVER, 1)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        });
        let refused_pid = refused.pid;
        refused.end();
        let mut server = serve(&cable.server, PORT);
        let mut reset = ask(&cable.client, PORT, |_, connection| reset(&connection));
        let reset_pid = reset.pid;
        reset.say(0);
        reset.end();
        until("both ends are gone", || {
            let left = cable.server.connections().len() + cable.client.connections().len();
            if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
        });
        server.say(0);
        server.hear::<1>();
        server.say(0);
        server.end();
        let after = Counters::now(&cable);
        let elsewhere = after.0[2]["TcpEstabResets"] + after.0[2]["TcpAttemptFails"]
            - before.0[2]["TcpEstabResets"]
            - before.0[2]["TcpAttemptFails"];
        ([refused_pid, reset_pid], after.grown(&before, "TcpOutRsts"), elsewhere)
    });
    let ([refused, reset], sent, elsewhere) = seen.said;
    assert!(sent >= 2, "one refuses, one resets");
    // Before 6.10 nobody is told of a reset that no socket sends; then the probe says so.
    let probe = seen.machine.probes.iter().find(|probe| probe.name == "tcp_send_reset").unwrap();
    let unseen = u64::from(!probe.reason.is_empty());
    let hidden = |event| hidden_count(&seen, trace.as_ref(), event);
    let told = events(&seen, event::RESET_SENT) + unseen;
    assert!((told..=told + hidden("tcp_send_reset")).contains(&sent), "{told}, in truth {sent}: {probe:?}");
    let received = events(&seen, event::RESET_RECEIVED) + hidden("tcp_receive_reset");
    assert!((2..=2 + elsewhere).contains(&received), "{received} received");
    let of = |pid: u32| {
        let rows = seen.batches.iter().flat_map(|batch| &batch.sockets);
        let mut rows = rows.filter(move |row| row.owner.is_some_and(|owner| owner.pid == pid));
        let row = rows.next().unwrap_or_else(|| panic!("no socket of {pid}"));
        assert!(rows.next().is_none() && row.ended);
        (row.connect_errno, row.connect_ns)
    };
    let (errno, took_ns) = of(refused);
    assert_eq!(errno, Some(libc::ECONNREFUSED.unsigned_abs()));
    assert!(took_ns.is_some_and(|ns| ns > 0));
    let (errno, took_ns) = of(reset);
    assert!(errno.is_none() && took_ns.is_some_and(|ns| ns > 0));
    assert!(events(&seen, event::CONNECT_FAILED) >= 1 && events(&seen, event::CONNECTED) >= 1);
    seen.assert_counts_whole();
}

/// Closes without a word: the peer is told by a reset.
fn reset(connection: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: `linger` lives until the call returns, and its size is told.
    let result = unsafe {
        let size = libc::socklen_t::try_from(size_of_val(&linger)).unwrap();
        libc::setsockopt(connection.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
    assert_eq!(result, 0);
}
