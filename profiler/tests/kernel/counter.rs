//! The kernel's own counters, as reports have them, against `nstat`, on troubles that were planted.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use profiler_common::tcp::event;

use crate::kernel::child::{Child, fork};
use crate::kernel::nagle::{Way, answer, ask};
use crate::kernel::network::{Cable, own_counters};
use crate::kernel::observe::{Seen, every, figure_of_test, observe, until};
use crate::kernel::tcp_limit::{read_slowly, write};

/// Counters by our name and that of `nstat`.
const COUNTERS: [(&str, &str); 8] = [
    ("TCPToZeroWindowAdv", "TcpExtTCPToZeroWindowAdv"),
    ("TCPFromZeroWindowAdv", "TcpExtTCPFromZeroWindowAdv"),
    ("TCPWantZeroWindowAdv", "TcpExtTCPWantZeroWindowAdv"),
    ("DelayedACKs", "TcpExtDelayedACKs"),
    ("TCPSynRetrans", "TcpExtTCPSynRetrans"),
    ("ListenOverflows", "TcpExtListenOverflows"),
    ("ListenDrops", "TcpExtListenDrops"),
    ("UdpNoPorts", "UdpNoPorts"),
];

/// What was counted while something happened in a network namespace of its own, where the observer lives as well: ours, which is
/// what `nstat` says, in the order of [`COUNTERS`]; and what the work and the observation say.
#[track_caller]
fn counted(work: fn() -> u64, tell: fn(&Seen<u64>) -> u64) -> ([u64; COUNTERS.len()], [u64; 2]) {
    let cable = Cable::new();
    let mut child = fork(|parent| {
        cable.server.enter();
        let mut truth = HashMap::new();
        let seen = observe(&every(100), || {
            let before = own_counters();
            let said = work();
            truth = own_counters();
            for (name, now) in &mut truth {
                *now -= before.get(name).unwrap_or(&0);
            }
            said
        });
        let ours = COUNTERS.map(|(name, _)| seen.batches.iter().map(|batch| batch.host.net[name]).sum::<u64>());
        parent.say(ours);
        parent.say(COUNTERS.map(|(_, name)| truth[name]));
        parent.say([seen.said, tell(&seen)]);
    });
    let (ours, truth) = (child.hear::<{ COUNTERS.len() }>(), child.hear());
    let said = child.hear();
    child.end();
    let pairs = COUNTERS.iter().zip(ours.iter().zip(truth)).filter(|(_, (ours, truth))| **ours + truth > 0);
    let words: Vec<_> = pairs.map(|((name, _), (ours, truth))| format!("{name} {ours} = {truth}")).collect();
    figure_of_test("ours = nstat", words.join(", "));
    assert_eq!(ours, truth);
    (ours, said)
}

/// A listener of this namespace, and somebody who connects to it and does something.
fn pair(serve: impl FnOnce(TcpStream), ask: impl FnOnce(TcpStream)) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let client = fork(|_| ask(TcpStream::connect(address).unwrap()));
    serve(listener.accept().unwrap().0);
    client.end();
}

#[test]
fn windows_without_room_are_counted_like_nstat() {
    let work = || {
        pair(
            |mut connection| {
                // Who sends fills the last of it only when it probes.
                until("the window is closed", || {
                    let closed = own_counters()["TcpExtTCPToZeroWindowAdv"];
                    if closed > 0 { Ok(()) } else { Err(closed.to_string()) }
                });
                read_slowly(&mut connection, 128 << 10, Duration::ZERO);
            },
            |mut connection| write(&mut connection, 16 << 20),
        );
        0
    };
    let ([to, from, ..], _) = counted(work, |_| 0);
    assert!(to > 0 && from > 0, "{to} {from}");
}

/// The second of two small writes waits for the acknowledgement of the first (Nagle), and that waits for an answer.
#[test]
fn delayed_acknowledgements_are_counted_like_nstat_and_cost_forty_milliseconds() {
    const ROUNDS: u64 = 20;
    let work = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = fork(|_| {
            answer(&mut listener.accept().unwrap().0, Way::Whole, ROUNDS);
        });
        let mut connection = TcpStream::connect(address).unwrap();
        let stalls = ask(&mut connection, Way::Halves, ROUNDS).slow;
        drop(connection);
        server.end();
        stalls
    };
    let ([_, _, _, delayed, ..], [stalls, _]) = counted(work, |_| 0);
    figure_of_test("stalls of 36 ms and more = DelayedACKs", format!("{stalls} = {delayed}"));
    // That of the end of the stream may be delayed as well.
    assert!(stalls > 0 && (stalls..=stalls + 1).contains(&delayed), "{stalls} {delayed}");
}

#[test]
fn handshakes_that_a_full_queue_refuses_are_counted_like_nstat() {
    let work = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // SAFETY: plain numbers; listening again only changes the limit.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 1) }, 0);
        let address = listener.local_addr().unwrap();
        let ask = |_| {
            fork(|parent| {
                // Those that are let in stay, so that others are refused.
                let connection = TcpStream::connect(address);
                parent.hear();
                drop(connection);
            })
        };
        let clients: Vec<Child> = (0..5).map(ask).collect();
        until("refused clients have tried again", || {
            let counters = own_counters();
            let again = counters["TcpExtTCPSynRetrans"];
            if again >= 3 { Ok(()) } else { Err(again.to_string()) }
        });
        clients.into_iter().for_each(Child::kill);
        drop(listener);
        own_counters()["TcpRetransSegs"]
    };
    let tell = |seen: &Seen<u64>| {
        let mine = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let rows = seen.batches.iter().flat_map(|batch| &batch.sockets).filter(|row| u64::from(row.netns) == mine);
        let drops = rows.map(|row| row.drops).sum::<u64>();
        let again = [event::RETRANSMIT, event::RETRANSMIT_SYNACK];
        let again = again.map(|event| seen.batches.iter().map(|batch| batch.tcp_events[event as usize]).sum::<u64>());
        drops << 32 | again.iter().sum::<u64>()
    };
    let sent_again = || own_counters()["TcpRetransSegs"];
    let before = sent_again();
    let ([.., again, overflows, drops, _], [truth, told]) = counted(work, tell);
    // Events are those of the host.
    let of_others = sent_again() - before;
    figure_of_test("drops of the listener = ListenDrops", format!("{} = {drops}", told >> 32));
    assert!(again >= 3 && overflows >= 3, "{again} {overflows}");
    assert_eq!(told >> 32, drops);
    let told = told & u64::from(u32::MAX);
    assert!((truth..=truth + of_others).contains(&told), "{told}, but in truth {truth}, and {of_others} of others");
}

#[test]
fn datagrams_for_nobody_are_counted_like_nstat() {
    let work = || {
        let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        (0..10).for_each(|_| drop(sender.send_to(&[1], nobody)));
        0
    };
    let ([.., refused], _) = counted(work, |_| 0);
    assert_eq!(refused, 10);
}
