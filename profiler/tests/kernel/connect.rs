//! Connects that fail: what the process is told is what we tell.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use profiler::batch::TimeWaitRow;
use profiler::finding::all;
use profiler_common::tcp::{event, failure};

use crate::kernel::child::{Child, fork};
use crate::kernel::network::{Cable, Namespace, SERVER};
use crate::kernel::observe::{every, figure_of_test, observe, until};
use crate::kernel::tcp::listen;

const PORT: u16 = 7006;

/// Connects once in the client's namespace; the error that it is told is its exit.
fn try_to(cable: &Cable, address: Ipv4Addr, port: u16) -> Child {
    fork(|parent| {
        cable.client.enter();
        let error = TcpStream::connect((address, port)).unwrap_err();
        parent.say([error.raw_os_error().unwrap().unsigned_abs().into()]);
    })
}

/// Begins to connect, and closes before there is an answer.
fn give_up(cable: &Cable) -> Child {
    fork(|parent| {
        cable.client.enter();
        // SAFETY: plain numbers.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) };
        assert!(socket >= 0);
        // SAFETY: it is open, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let address = SocketAddrV4::new(SERVER, PORT);
        let raw = libc::sockaddr_in {
            sin_family: libc::AF_INET.try_into().unwrap(),
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
            sin_zero: [0; 8],
        };
        // SAFETY: the address lives until the call returns, and its size is told.
        let result = unsafe {
            let size = libc::socklen_t::try_from(size_of_val(&raw)).unwrap();
            libc::connect(socket.as_raw_fd(), (&raw const raw).cast(), size)
        };
        assert_eq!((result, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EINPROGRESS)));
        parent.say([failure::GIVEN_UP.into()]);
    })
}

/// What remains of connections that were closed here first: as many as `ss` says. Those that a listener has closed are not of
/// ports that others want.
#[test]
fn connections_in_time_wait_are_counted_by_destination_like_ss() {
    const CONNECTIONS: u64 = 40;
    let cable = Cable::new();
    let serve = |port: u16, closes_first: bool| {
        let mut child = fork(|parent| {
            cable.server.enter();
            let listener = TcpListener::bind((SERVER, port)).unwrap();
            parent.say([1]);
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                if !closes_first {
                    // Until the other end has closed.
                    assert_eq!(connection.read(&mut [0]).unwrap(), 0);
                }
            }
        });
        child.hear::<1>();
        child
    };
    let seen = observe(&every(100), || {
        let servers = [serve(PORT, false), serve(PORT + 1, false), serve(PORT + 2, true)];
        let mut client = fork(|parent| {
            cable.client.enter();
            for number in 0..CONNECTIONS {
                let port = PORT + u16::try_from(number % 4 % 3).unwrap();
                let mut connection = TcpStream::connect((SERVER, port)).unwrap();
                if port == PORT + 2 {
                    assert_eq!(connection.read(&mut [0]).unwrap(), 0);
                }
            }
            parent.say([1]);
        });
        client.hear::<1>();
        client.end();
        // The servers read and close one connection after another.
        let remains = |end: &Namespace, filter: &[&str]| {
            end.run(&[&["ss", "-tanH", "state", "time-wait"], filter].concat()).lines().count() as u64
        };
        until("all are closed", || {
            let left = [remains(&cable.client, &[]), remains(&cable.server, &[])];
            if left == [CONNECTIONS / 4 * 3, CONNECTIONS / 4] { Ok(()) } else { Err(format!("{left:?}")) }
        });
        let to = |port: u16| (port, remains(&cable.client, &["dst", &format!("{SERVER}:{port}")]));
        let told = [PORT, PORT + 1, PORT + 2].map(to);
        (servers, told)
    });
    let last = &seen.batches.last().unwrap().time_waits;
    let of = |end: &Namespace| last.iter().filter(|waits| waits.netns == end.inode()).collect::<Vec<_>>();
    let ours: Vec<_> = of(&cable.client).iter().map(|waits| (waits.peer.port, waits.count)).collect();
    figure_of_test("by port = ss", format!("{ours:?} = {:?}", seen.said.1));
    assert_eq!(ours, [(PORT, CONNECTIONS / 2), (PORT + 1, CONNECTIONS / 4)]);
    assert_eq!(seen.said.1, [(PORT, CONNECTIONS / 2), (PORT + 1, CONNECTIONS / 4), (PORT + 2, 0)]);
    assert_eq!(of(&cable.server), Vec::<&TimeWaitRow>::new(), "ports of a listener");
}

#[test]
fn failed_connects_are_told_by_the_error_of_the_process() {
    let cable = Cable::new();
    let set = |name: &str, value: &str| {
        cable.client.run(&["sh", "-c", &format!("echo {value} > /proc/sys/net/ipv4/{name}")]);
    };
    set("tcp_syn_retries", "1");
    // Three questions of so many milliseconds for the address of somebody who is not there.
    set("neigh/cable/retrans_time_ms", "100");
    let seen = observe(&every(200), || {
        let server = listen(&cable.server, PORT, 5);
        let mut told = Vec::new();
        let mut hear = |mut child: Child| {
            let [errno] = child.hear();
            told.push((child.ended(), errno));
        };
        hear(try_to(&cable, SERVER, 1));
        hear(try_to(&cable, SERVER, 1));
        // As many ports as there are connections that stay.
        set("ip_local_port_range", "50000 50001");
        let mut busy = fork(|parent| {
            cable.client.enter();
            let open: Vec<_> = (0..2).map(|_| TcpStream::connect((SERVER, PORT)).unwrap()).collect();
            parent.say([open.len() as u64]);
            parent.hear();
        });
        busy.hear::<1>();
        hear(try_to(&cable, SERVER, PORT));
        busy.kill();
        set("ip_local_port_range", "32768 60999");
        Cable::cut(&cable.client);
        let others = [try_to(&cable, SERVER, PORT), try_to(&cable, Ipv4Addr::new(10, 77, 0, 9), PORT), give_up(&cable)];
        others.into_iter().for_each(hear);
        server.kill();
        told
    });
    let mut failed = BTreeMap::new();
    for row in seen.batches.iter().flat_map(|batch| &batch.sockets) {
        if let (Some(owner), Some(errno)) = (row.owner, row.connect_errno) {
            failed.insert(owner.pid, u64::from(errno));
        }
    }
    let told: Vec<_> = seen.said.iter().map(|(_, errno)| *errno).collect();
    figure_of_test("errors of processes", format!("{told:?}"));
    for (pid, errno) in &seen.said {
        assert_eq!(failed.get(pid), Some(errno), "{pid}: {failed:?}");
    }
    let errnos = [libc::ECONNREFUSED, libc::ECONNREFUSED, libc::EADDRNOTAVAIL, libc::ETIMEDOUT, libc::EHOSTUNREACH];
    let errnos = errnos.map(|errno| u64::from(errno.unsigned_abs()));
    assert_eq!(told[..5], errnos);
    let count: u64 = seen.batches.iter().map(|batch| batch.tcp_events[event::CONNECT_FAILED as usize]).sum();
    let model = seen.model();
    let mine = model.sockets.values().filter(|socket| socket.row.netns == cable.client.inode());
    let counted: u64 = mine.map(|socket| socket.usage.sum.failures.total()).sum();
    figure_of_test("failed, of the host", format!("{counted}, {count}"));
    assert!(counted == 6 && count >= 6, "{counted} {count}");
    seen.assert_counts_whole();
    let found: Vec<_> = all(&model).into_iter().filter(|finding| finding.id == "N12").collect();
    let [finding] = &found[..] else { panic!("{found:?}") };
    let is_named = |(pid, _): &&(u32, u64)| finding.victims.iter().any(|victim| victim.contains(&format!("({pid})")));
    let named: Vec<_> = seen.said.iter().filter(is_named).map(|(_, errno)| *errno).collect();
    assert_eq!(named, [u64::from(failure::NO_PORT)], "{finding:?}");
}
