//! Whose connections are: inherited, passed on, there before us; numbers of processes, files and ports that are used again.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::os::unix::net::UnixStream;

use profiler::batch::{ProcessKey, SocketRow};
use profiler_common::tcp::state;

use crate::kernel::child::{Child, fork};
use crate::kernel::network::{Cable, Namespace, SERVER};
use crate::kernel::observe::{Seen, every, observe, once, until};
use crate::kernel::tcp::listen;

const PORT: u16 = 7102;
/// What a process sends first, and what the next one does.
const BYTES: [usize; 2] = [1_000, 2_000];

/// Serves connections one after another: takes what the next one sends, and closes first.
fn serve(namespace: &Namespace) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        let server = TcpListener::bind((SERVER, PORT)).unwrap();
        parent.say([1]);
        for bytes in BYTES {
            let (mut connection, _) = server.accept().unwrap();
            connection.read_exact(&mut vec![0; bytes]).unwrap();
        }
    });
    child.hear::<1>();
    child
}

/// Keeps one connection open, and says so.
fn keep(namespace: &Namespace) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        let server = TcpListener::bind((SERVER, PORT)).unwrap();
        parent.say([1]);
        let _connection = server.accept().unwrap();
        parent.say([2]);
        parent.hear();
    });
    child.hear::<1>();
    child
}

/// Sends until the server closes; the number of its file.
fn send(mut connection: TcpStream, bytes: usize) -> RawFd {
    connection.write_all(&vec![7; bytes]).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap(), 0);
    connection.as_raw_fd()
}

/// Runs `work` in a new process with a given id, or any, and reaps it.
fn run_as(pid: Option<i32>, work: impl FnOnce()) -> i32 {
    // SAFETY: all zeros is a valid value of this plain struct.
    let mut how: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    how.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    if let Some(pid) = &pid {
        (how.set_tid, how.set_tid_size) = ((&raw const *pid) as u64, 1);
    }
    // SAFETY: a fork by another name: the child runs only `work`, and exits without running any destructor.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &raw const how, size_of_val(&how)) };
    assert!(child >= 0, "clone3: {}", io::Error::last_os_error());
    if child == 0 {
        work();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let (child, mut status) = (i32::try_from(child).unwrap(), 0);
    // SAFETY: `status` lives.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    child
}

/// Rows of the client's ends of connections to the port.
fn rows<'a, T>(seen: &'a Seen<T>, cable: &Cable) -> Vec<&'a SocketRow> {
    let netns = cable.client.inode();
    let all = seen.batches.iter().flat_map(|batch| &batch.sockets);
    all.filter(|row| row.netns == netns && row.peer.port == PORT).collect()
}

/// Who is told last to own a connection that is still there.
fn owner<T>(seen: &Seen<T>, which: impl Fn(&SocketRow) -> bool) -> Option<u32> {
    let mut found = seen.sockets();
    found.retain(|row| row.state == state::ESTABLISHED && which(row));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].owner.map(|owner| owner.pid)
}

#[test]
fn processes_with_one_id_are_told_apart() {
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let server = serve(&cable.server);
        let mut client = fork(|parent| {
            cable.client.enter();
            let connect = |bytes| _ = send(TcpStream::connect((SERVER, PORT)).unwrap(), bytes);
            let pid = run_as(None, || connect(BYTES[0]));
            assert_eq!(run_as(Some(pid), || connect(BYTES[1])), pid);
            parent.say([pid.unsigned_abs().into()]);
        });
        let [pid] = client.hear();
        client.end();
        server.end();
        u32::try_from(pid).unwrap()
    });
    let sent = |owner: ProcessKey| {
        let rows = rows(&seen, &cable);
        rows.iter().filter(|row| row.owner == Some(owner)).map(|row| row.sent_bytes).sum::<u64>()
    };
    let mut owners: Vec<_> = seen.tasks(seen.said).map(|row| row.process).collect();
    owners.sort();
    owners.dedup();
    assert_eq!(owners.iter().map(|owner| sent(*owner)).collect::<Vec<_>>(), BYTES.map(|bytes| bytes as u64));
}

#[test]
fn connections_over_one_file_number_and_one_port_are_told_apart() {
    let cable = Cable::new();
    cable.client.run(&["sh", "-c", "echo 6001 6001 > /proc/sys/net/ipv4/ip_local_port_range"]);
    let seen = observe(&once(), || {
        let server = serve(&cable.server);
        let client = fork(|_| {
            cable.client.enter();
            let files = BYTES.map(|bytes| {
                let file = send(TcpStream::connect((SERVER, PORT)).unwrap(), bytes);
                until("the port is free", || {
                    let all = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
                    if all.lines().count() == 1 { Ok(()) } else { Err(all) }
                });
                file
            });
            assert_eq!(files[0], files[1]);
        });
        let pid = client.ended();
        server.end();
        pid
    });
    let rows = rows(&seen, &cable);
    let mut told: Vec<_> = rows.iter().map(|row| (row.sent_bytes, row.owner.map(|owner| owner.pid))).collect();
    told.sort_unstable();
    assert_eq!(told, BYTES.map(|bytes| (bytes as u64, Some(seen.said))));
    assert!(rows.iter().all(|row| row.ended) && rows[0].cookie != rows[1].cookie, "{rows:?}");
    assert_eq!((&rows[0].local, &rows[0].peer), (&rows[1].local, &rows[1].peer), "one port");
}

/// Waits until its one connection is closed, and ends.
fn hold(mut connection: TcpStream) -> ! {
    let _ = connection.read(&mut [0]);
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

#[test]
fn who_inherits_a_connection_owns_it_when_its_parent_has_ended() {
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let mut server = keep(&cable.server);
        let mut parent = fork(|test| {
            cable.client.enter();
            let connection = TcpStream::connect((SERVER, PORT)).unwrap();
            // SAFETY: the child only waits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                hold(connection);
            }
            test.say([child.unsigned_abs().into()]);
            test.hear();
        });
        server.hear::<1>();
        let [child] = parent.hear();
        some_intervals();
        parent.say(0);
        let parent = parent.ended();
        some_intervals();
        (server, parent, u32::try_from(child).unwrap())
    });
    let (_, parent, child) = &seen.said;
    let mut owners: Vec<_> = rows(&seen, &cable).iter().map(|row| row.owner.map(|owner| owner.pid)).collect();
    owners.dedup();
    assert_eq!(owners, [Some(*parent), Some(*child)]);
}

/// Something that takes some intervals of 100 ms.
fn some_intervals() {
    for _ in 0..300 {
        fork(|_| {}).end();
    }
}

/// Hands a file over, with one byte.
fn pass(over: &UnixStream, file: RawFd) {
    let mut room = [0_u64; 4];
    let data = IoSlice::new(&[7]);
    // SAFETY: everything that the message points to lives until the call returns; the room is aligned, and is enough.
    unsafe {
        let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
        (message.msg_iov, message.msg_iovlen) = ((&raw const data).cast_mut().cast(), 1);
        (message.msg_control, message.msg_controllen) = (room.as_mut_ptr().cast(), libc::CMSG_SPACE(4) as _);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(file);
        assert_eq!(libc::sendmsg(over.as_raw_fd(), &raw const message, 0), 1);
    }
}

/// Takes a connection that is handed over.
fn take(over: &UnixStream) -> TcpStream {
    let (mut byte, mut room) = ([0_u8], [0_u64; 4]);
    let mut data = IoSliceMut::new(&mut byte);
    // SAFETY: as above; what is taken is open, and nobody else has it.
    unsafe {
        let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
        (message.msg_iov, message.msg_iovlen) = ((&raw mut data).cast(), 1);
        (message.msg_control, message.msg_controllen) = (room.as_mut_ptr().cast(), size_of_val(&room) as _);
        assert_eq!(libc::recvmsg(over.as_raw_fd(), &raw mut message, 0), 1);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        TcpStream::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned())
    }
}

#[test]
fn who_takes_a_connection_over_owns_it() {
    let cable = Cable::new();
    let (from, to) = UnixStream::pair().unwrap();
    let seen = observe(&every(100), || {
        let mut server = keep(&cable.server);
        let mut giver = fork(|test| {
            cable.client.enter();
            let connection = TcpStream::connect((SERVER, PORT)).unwrap();
            test.say([1]);
            pass(&from, connection.as_raw_fd());
        });
        let mut taker = fork(|test| {
            test.hear();
            let _connection = take(&to);
            test.say([1]);
            test.hear();
        });
        server.hear::<1>();
        giver.hear::<1>();
        let giver = giver.ended();
        // On its way: nobody has it.
        some_intervals();
        taker.say(0);
        taker.hear::<1>();
        // The look after that: they become rare while nobody is found.
        (0..4).for_each(|_| some_intervals());
        (server, giver, taker)
    });
    let (_, giver, taker) = &seen.said;
    let mut owners: Vec<_> = rows(&seen, &cable).iter().map(|row| row.owner.map(|owner| owner.pid)).collect();
    owners.dedup();
    assert_eq!(owners, [Some(*giver), Some(taker.pid)]);
}

#[test]
fn what_was_there_before_us_belongs_to_who_holds_it() {
    let cable = Cable::new();
    let mut server = keep(&cable.server);
    let connects = |port| {
        let mut child = fork(|test| {
            cable.client.enter();
            let _connection = TcpStream::connect((SERVER, port)).unwrap();
            test.say([1]);
            test.hear();
        });
        child.hear::<1>();
        child
    };
    let client = connects(PORT);
    server.hear::<1>();
    // Nobody accepts the second one.
    let deaf = listen(&cable.server, PORT + 1, 5);
    let waits = connects(PORT + 1);
    let seen = observe(&every(100), some_intervals);
    let asks = |port| owner(&seen, |row| row.netns == cable.client.inode() && row.peer.port == port);
    let answers = |port| owner(&seen, |row| row.netns == cable.server.inode() && row.local.port == port);
    assert_eq!([asks(PORT), answers(PORT)], [Some(client.pid), Some(server.pid)]);
    assert_eq!([asks(PORT + 1), answers(PORT + 1)], [Some(waits.pid), None], "in a queue");
    drop(deaf);
}
