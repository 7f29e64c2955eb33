//! Datagrams that are lost on this host: ours against the counters of the namespace in which they are.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use profiler::batch::DropRow;
use profiler::finding::all;
use profiler::kernel::btf::Btf;

use crate::kernel::child::{Child, fork};
use crate::kernel::network::{Cable, Namespace, SERVER, own_counters};
use crate::kernel::observe::{Seen, absent, every, figure_of_test, observe, until};

/// Where nobody listens.
const NOBODY: u16 = 7098;
/// Many more than the smallest buffer has room for.
const PELTED: u64 = 400;
const REFUSED: u64 = 10;

/// A process in a namespace with a socket at an address that it does not read, with the smallest buffer that there is.
pub fn deaf(namespace: &Namespace, address: IpAddr) -> (Child, SocketAddr) {
    listener(namespace, address, |socket| {
        set_buffer(socket, 1);
        socket.set_nonblocking(true).unwrap();
        |socket: &UdpSocket, _| while socket.recv(&mut [0; 64]).is_ok() {}
    })
}

/// A process in a namespace with a socket at an address, and what it does with that for each number that it hears.
fn listener<Answer: Fn(&UdpSocket, u64)>(
    namespace: &Namespace,
    address: IpAddr,
    begin: impl FnOnce(&UdpSocket) -> Answer,
) -> (Child, SocketAddr) {
    let mut child = fork(|parent| {
        namespace.enter();
        let socket = UdpSocket::bind((address, 0)).unwrap();
        let answer = begin(&socket);
        parent.say([socket.local_addr().unwrap().port().into()]);
        loop {
            let number = parent.hear();
            answer(&socket, number);
            parent.say([number]);
        }
    });
    let [port] = child.hear();
    (child, SocketAddr::new(address, port.try_into().unwrap()))
}

const DATAGRAM: [u8; 40] = [7; 40];

fn set_buffer(socket: &UdpSocket, bytes: libc::c_int) {
    // SAFETY: the number lives until the call returns, and its size is told.
    let result = unsafe {
        let size = libc::socklen_t::try_from(size_of_val(&bytes)).unwrap();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const bytes).cast(), size)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Sends so many datagrams from a namespace. Some may still be on their way when it returns.
pub fn pelt(from: &Namespace, to: SocketAddr, count: u64) {
    fork(|_| {
        from.enter();
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).unwrap();
        (0..count).for_each(|_| assert_eq!(socket.send_to(&DATAGRAM, to).unwrap(), DATAGRAM.len()));
    })
    .end();
}

fn rows<T>(seen: &Seen<T>, wanted: impl Fn(&DropRow) -> bool) -> Vec<&DropRow> {
    seen.batches.iter().flat_map(|batch| &batch.drops).filter(|row| wanted(row)).collect()
}

fn sum(rows: &[&DropRow]) -> u64 {
    rows.iter().map(|row| row.count).sum()
}

/// Whether packets are freed with a reason: 5.17. With the socket that they were for: 6.11.
fn arguments() -> usize {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    Btf::parse(&types).unwrap().tracepoint_arity("kfree_skb").unwrap()
}

/// Lets somebody who is deaf read at last what found room, until each datagram that was sent is accounted for; how many were lost.
pub fn settle(deaf: &mut Child, at: &Namespace, before: &HashMap<String, u64>, ip: &str, sent: u64) -> u64 {
    until("each datagram was read or lost", || {
        deaf.say(0);
        deaf.hear::<1>();
        let now = at.counters();
        let [read, lost] =
            ["InDatagrams", "RcvbufErrors"].map(|name| format!("{ip}{name}")).map(|name| now[&name] - before[&name]);
        if read + lost == sent { Ok(lost) } else { Err(format!("{read} read, {lost} lost of {sent}")) }
    })
}

/// Sends so many to a port that nobody has, and waits until they have come.
pub fn pelt_nobody(from: &Namespace, at: &Namespace, to: SocketAddr, ip: &str, count: u64) {
    let name = format!("{ip}NoPorts");
    let before = at.counters()[&name];
    pelt(from, to, count);
    until("they have come", || {
        let come = at.counters()[&name] - before;
        if come == count { Ok(()) } else { Err(come.to_string()) }
    });
}

/// A socket that nobody reads, and a port that nobody has.
fn lose(address: IpAddr, ip: &str) {
    let nobody = format!("{ip}NoPorts");
    let cable = Cable::new();
    let seen = observe(&every(50), || {
        let (mut child, local) = deaf(&cable.server, address);
        let before = cable.server.counters();
        let (begun, mut sent) = (Instant::now(), 0);
        // In many intervals.
        while begun.elapsed() < Duration::from_secs(1) {
            pelt(&cable.server, local, PELTED);
            sent += PELTED;
        }
        let lost = settle(&mut child, &cable.server, &before, ip, sent);
        let before = own_counters()[&nobody];
        pelt_nobody(&cable.server, &cable.server, SocketAddr::new(address, NOBODY), ip, REFUSED);
        (child, local, lost, own_counters()[&nobody] - before)
    });
    let (child, local, lost, refused_elsewhere) = &seen.said;
    let ours = rows(&seen, |row| row.key.netns == cable.server.inode() && row.key.cookie.is_some());
    figure_of_test("lost = RcvbufErrors", format!("{} = {lost}", sum(&ours)));
    assert_eq!(sum(&ours), *lost, "{ours:?}");
    for row in &ours {
        assert_eq!(row.key.reason, "SOCKET_RCVBUFF");
        assert_eq!(row.key.socket(), format!("udp {local}"));
        assert_eq!(row.owner.map(|owner| owner.pid), Some(child.pid), "{ours:?}");
    }
    if arguments() >= 3 {
        let of = |reason: &str| rows(&seen, |row| row.key.reason == reason && row.key.cookie.is_none());
        let refused = sum(&of("NO_SOCKET"));
        figure_of_test("of nobody = NoPorts", format!("{refused} = {REFUSED}"));
        assert!((REFUSED..=REFUSED + refused_elsewhere).contains(&refused), "{refused}, elsewhere {refused_elsewhere}");
        assert_eq!(of("SOCKET_RCVBUFF"), Vec::<&DropRow>::new(), "all have their socket");
    }
    seen.assert_counts_whole();
    let findings = all(&seen.model());
    let [finding] = &findings.iter().filter(|finding| finding.id == "N14").collect::<Vec<_>>()[..] else {
        panic!("{findings:?}")
    };
    assert!(finding.subject.starts_with(&format!("udp {local} of ")), "{finding:?}");
    assert!(finding.subject.ends_with(&format!("({})", child.pid)), "{finding:?}");
}

#[test]
fn datagrams_without_room_are_counted_like_nstat_and_their_owner_is_named() {
    lose(SERVER.into(), "Udp");
}

/// Before 6.5 the kernel does not tell of these with their socket.
#[test]
fn so_are_those_of_ipv6() {
    if arguments() >= 4 || absent().is_empty() {
        lose(Ipv6Addr::LOCALHOST.into(), "Udp6");
    }
}

/// As many to somebody who reads them.
#[test]
fn a_socket_that_is_read_loses_nothing() {
    const AT_ONCE: u64 = 50;
    let cable = Cable::new();
    let seen = observe(&every(50), || {
        let (mut child, local) = listener(&cable.server, SERVER.into(), |_| {
            |socket: &UdpSocket, count| {
                (0..count).for_each(|_| assert_eq!(socket.recv(&mut [0; 64]).unwrap(), DATAGRAM.len()));
            }
        });
        let before = cable.server.counters();
        for _ in 0..PELTED / AT_ONCE {
            child.say(AT_ONCE);
            pelt(&cable.client, local, AT_ONCE);
            child.hear::<1>();
        }
        let now = cable.server.counters();
        ["UdpRcvbufErrors", "UdpInDatagrams"].map(|name| now[name] - before[name])
    });
    assert_eq!(seen.said, [0, PELTED]);
    let namespaces = [cable.server.inode(), cable.client.inode()];
    let ours = rows(&seen, |row| row.key.cookie.is_some() && namespaces.contains(&row.key.netns));
    assert_eq!(ours, Vec::<&DropRow>::new());
    assert!(all(&seen.model()).iter().all(|finding| finding.id != "N14"));
    seen.assert_counts_whole();
}
