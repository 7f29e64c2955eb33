//! What limits a connection, against the clocks that `ss` shows, on limits that were planted.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use profiler::model::tcp::Socket;
use profiler_common::limit::{
    APPLICATION, CONGESTION_WINDOW, HANDSHAKE, LIMIT_NAMES, LIMITS, PACING, QUEUE, RECEIVE_WINDOW, RECOVERY,
    SEND_BUFFER,
};

use crate::kernel::child::{Child, clock, fork};
use crate::kernel::network::{Cable, Namespace, SERVER, Told};
use crate::kernel::observe::{Seen, absent, assert_close, every, figure_of_test, is_guest, observe};
use crate::kernel::tcp::quiet;
use crate::kernel::trace::Trace;

const PORT: u16 = 7004;
const MS: u64 = 1_000_000;

/// What is told by a dozen samples: by most of them on the host, by few if an emulator is late, by none if it is not there.
const SAMPLED_MIN: f64 = 0.15;

/// Sets a number of a socket.
pub fn set(socket: &impl AsRawFd, level: i32, name: i32, value: u32) {
    // SAFETY: the number lives until the call returns, and its size is told.
    let result = unsafe {
        let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap();
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size)
    };
    assert_eq!(result, 0, "setsockopt: {}", std::io::Error::last_os_error());
}

/// The congestion control that every kernel has: what it does is known, and it does not pace.
pub fn be_plain(socket: &TcpStream) {
    let name = b"reno";
    // SAFETY: the name lives until the call returns, and its size is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            name.as_ptr().cast(),
            name.len().try_into().unwrap(),
        )
    };
    assert_eq!(result, 0);
}

/// Reads one connection to its end: at most `step` bytes, then it rests. `room` bytes are its receive buffer, if not 0.
pub fn reader(namespace: &Namespace, port: u16, room: u32, step: usize, rest: Duration) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        let listener = TcpListener::bind((SERVER, port)).unwrap();
        if room > 0 {
            set(&listener, libc::SOL_SOCKET, libc::SO_RCVBUF, room);
        }
        parent.say([1]);
        read_slowly(&mut listener.accept().unwrap().0, step, rest);
        parent.hear();
    });
    child.hear::<1>();
    child
}

/// Reads to the end: at most `step` bytes, then it rests.
pub fn read_slowly(connection: &mut TcpStream, step: usize, rest: Duration) {
    let mut bytes = vec![0; step];
    while connection.read(&mut bytes).unwrap() > 0 {
        if !rest.is_zero() {
            thread::sleep(rest);
        }
    }
}

/// Connects, does something, and stays connected. How long it took from before it connected, nanoseconds.
pub fn writer(namespace: &Namespace, port: u16, write: impl FnOnce(&mut TcpStream)) -> (Child, u64) {
    let mut child = fork(|parent| {
        namespace.enter();
        let begin = clock(libc::CLOCK_MONOTONIC);
        let mut connection = TcpStream::connect((SERVER, port)).unwrap();
        be_plain(&connection);
        write(&mut connection);
        parent.say([clock(libc::CLOCK_MONOTONIC) - begin]);
        parent.hear();
    });
    let [took_ns] = child.hear();
    (child, took_ns)
}

/// Writes so many bytes.
pub fn write(connection: &mut TcpStream, bytes: usize) {
    let some = vec![7; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let step = left.min(some.len());
        connection.write_all(&some[..step]).unwrap();
        left -= step;
    }
}

/// Whether this kernel tells of recovery.
pub fn sees_recovery() -> bool {
    absent().iter().all(|probe| probe != "tcp_cong_state_set")
}

/// Time of the client's connection by limit, over all intervals: what `ss` has of it, it has as well.
#[track_caller]
fn limits_of(cable: &Cable, workload: impl FnOnce() -> (Child, (Child, u64))) -> [u64; LIMITS] {
    traced(cable, workload).0
}

/// The same, for how many edges of its congestion state the kernel ran no program, and all edges, where tracefs tells.
#[track_caller]
fn traced(cable: &Cable, workload: impl FnOnce() -> (Child, (Child, u64))) -> ([u64; LIMITS], u64, Option<Trace>) {
    let trace = Trace::of_congestion(PORT);
    let seen = observe(&every(100), || {
        let (server, (client, took_ns)) = workload();
        let [_, told] = quiet(cable, PORT);
        (server, client, took_ns, told, cable.client.recoveries())
    });
    seen.assert_counts_whole();
    let (_, _, took_ns, told, recoveries) = &seen.said;
    let hidden = trace.as_ref().map_or(0, |trace| trace.hidden_count(&seen.batches, "tcp_cong_state_set"));
    if sees_recovery() {
        let rows = seen.batches.iter().flat_map(|batch| &batch.sockets).filter(|row| row.netns == cable.client.inode());
        let ours: u64 = rows.map(|row| row.recoveries.unwrap()).sum();
        figure_of_test("fast recoveries, hidden edges = nstat", format!("{ours}, {hidden} = {recoveries}"));
        assert!((ours..=ours + hidden).contains(recoveries), "{ours} seen, {hidden} hidden, but {recoveries}");
    }
    let limits = same_as_ss(&seen, cable.client.inode(), told);
    assert!(limits.iter().sum::<u64>() >= *took_ns, "{limits:?} {took_ns}");
    (limits, hidden, trace)
}

/// Time of a connection that lives on until the last interval ends, by limit, over all intervals: what `ss` has of it, it has as
/// well.
#[track_caller]
pub fn same_as_ss<T>(seen: &Seen<T>, namespace: u32, told: &Told) -> [u64; LIMITS] {
    let socket = known(seen, namespace, told);
    let limits = socket.usage.sum.limits.0;
    let wall_ns: u64 = limits.iter().sum();
    let compared =
        [("busy", busy_ns(&limits)), ("rwnd_limited", limits[RECEIVE_WINDOW]), ("sndbuf_limited", limits[SEND_BUFFER])];
    let words = compared.map(|(name, ns)| format!("{name} {} = {} ms", ns / MS, told.milliseconds(name)));
    figure_of_test("ours = ss", words.join(", "));
    let share = |at: usize| format!("{} {:.1} %", LIMIT_NAMES[at], limits[at] as f64 * 100.0 / wall_ns as f64);
    figure_of_test("of its life", (0..LIMITS).filter(|at| limits[*at] > 0).map(share).collect::<Vec<_>>().join(", "));
    for (name, ns) in compared {
        assert_eq!(ns / MS, told.milliseconds(name), "{name}: {limits:?} {told:?}");
    }
    let opened = socket.row.opened.unwrap();
    assert_close("lifetime", wall_ns, seen.batches.last().unwrap().until.since(opened), 0.02);
    limits
}

pub fn busy_ns(limits: &[u64; LIMITS]) -> u64 {
    limits.iter().sum::<u64>() - limits[APPLICATION] - limits[HANDSHAKE]
}

/// A limit's share of the time in which the connection was busy.
fn of_busy(limits: &[u64; LIMITS], limit: usize) -> f64 {
    limits[limit] as f64 / busy_ns(limits) as f64
}

/// What the model knows of a connection that `ss` has told.
fn known<T>(seen: &Seen<T>, namespace: u32, told: &Told) -> Socket {
    let is_it =
        |socket: &&Socket| (socket.row.netns, socket.row.local, socket.row.peer) == (namespace, told.local, told.peer);
    seen.model().sockets.values().find(is_it).unwrap().clone()
}

/// Who does not read closes its window; who reads at once does not, however small it is. `ss` tells how long either limits.
#[test]
fn a_window_that_is_closed_is_told_from_one_that_is_small() {
    let share = |what: &str, cable: &Cable, bytes: usize, rest_ms: u64| {
        let seen = observe(&every(100), || {
            let server = reader(&cable.server, PORT, 32 << 10, 1 << 20, Duration::from_millis(rest_ms));
            let client = writer(&cable.client, PORT, |connection| write(connection, bytes));
            let [_, told] = quiet(cable, PORT);
            (server, client, told)
        });
        let (_, _, told) = &seen.said;
        let usage = known(&seen, cable.client.inode(), told).usage.sum;
        let (closed_ms, limited_ms) = (usage.zero_window_ns / MS, told.milliseconds("rwnd_limited"));
        figure_of_test(what, format!("{closed_ms} of {limited_ms} ms"));
        closed_ms as f64 / limited_ms as f64
    };
    let (cable, _router) = Cable::routed(&["rate", "20mbit", "burst", "4kb", "limit", "1mb"]);
    assert!(share("window closed, reads at once", &cable, 3 << 20, 0) < 0.1);
    // Of each rest of 400 ms, the peer of a slow emulator may put off for 200 to acknowledge the last that fits: as long, the
    // window that it told before counts.
    let least = if is_guest() { 0.25 } else { 0.5 };
    assert!(share("window closed, rests", &Cable::new(), 512 << 10, 400) > least);
}

#[test]
fn a_slow_reader_limits_its_writer() {
    let cable = Cable::new();
    let limits = limits_of(&cable, || {
        let server = reader(&cable.server, PORT, 32 << 10, 16 << 10, Duration::from_millis(10));
        (server, writer(&cable.client, PORT, |connection| write(connection, 2 << 20)))
    });
    assert!(of_busy(&limits, RECEIVE_WINDOW) > 0.5, "{limits:?}");
}

/// The kernel notices that there is no room when it sends the last of what was written, not when the application finds none. What
/// is paced is sent later than it is written.
#[test]
fn a_small_send_buffer_limits_who_writes_more() {
    let (cable, _router) = Cable::routed(&["rate", "20mbit", "burst", "4kb", "limit", "1mb"]);
    let limits = limits_of(&cable, || {
        let server = reader(&cable.server, PORT, 0, 64 << 10, Duration::ZERO);
        let client = writer(&cable.client, PORT, |connection| {
            set(connection, libc::SOL_SOCKET, libc::SO_SNDBUF, 128 << 10);
            set(connection, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, 10 << 20);
            write(connection, 3 << 20);
        });
        (server, client)
    });
    assert!(of_busy(&limits, SEND_BUFFER) > 0.2, "{limits:?}");
}

#[test]
fn a_full_path_limits_by_congestion_window_and_recovery() {
    let (cable, _router) = Cable::routed(&["rate", "20mbit", "burst", "4kb", "limit", "48kb"]);
    let (limits, hidden, trace) = traced(&cable, || {
        let server = reader(&cable.server, PORT, 0, 64 << 10, Duration::ZERO);
        (server, writer(&cable.client, PORT, |connection| write(connection, 3 << 20)))
    });
    assert!(of_busy(&limits, CONGESTION_WINDOW) + of_busy(&limits, RECOVERY) > 0.5, "{limits:?}");
    assert_eq!(limits[RECOVERY] > 0, sees_recovery(), "{limits:?}");
    if let Some(trace) = trace {
        let (episodes, truth_ns) = recoveries(&trace);
        figure_of_test(
            "recovery, in truth",
            format!("{} = {} ms, {episodes} times", limits[RECOVERY] / MS, truth_ns / MS),
        );
        // Either edge of each is told by the last tick. One that is hidden begins or ends a recovery that lasts until the next.
        assert!(hidden > 0 || limits[RECOVERY].abs_diff(truth_ns) <= episodes * TICK_MAX_NS, "{limits:?} {truth_ns}");
    }
}

/// Jiffies are not longer than this.
const TICK_MAX_NS: u64 = 10 * MS;

/// Episodes of recovery, and how long all took, by edges of the congestion state.
fn recoveries(trace: &Trace) -> (u64, u64) {
    let (mut since, mut episodes, mut ns) = (None, 0, 0);
    for (at_us, words) in trace.words() {
        let state: u32 = words.rsplit_once("cong_state=").unwrap().1.trim().parse().unwrap();
        match since {
            None if state >= 3 => since = Some(at_us),
            Some(begin) if state < 3 => {
                (since, episodes, ns) = (None, episodes + 1, ns + (at_us - begin) * 1_000);
            }
            _ => {}
        }
    }
    (episodes, ns)
}

#[test]
fn a_full_link_of_the_host_holds_what_it_sends_in_its_queue() {
    let cable = Cable::new();
    cable.client.run(&[
        "tc", "qdisc", "replace", "dev", "cable", "root", "tbf", "rate", "20mbit", "burst", "4kb", "limit", "1mb",
    ]);
    let limits = limits_of(&cable, || {
        let server = reader(&cable.server, PORT, 0, 64 << 10, Duration::ZERO);
        (server, writer(&cable.client, PORT, |connection| write(connection, 3 << 20)))
    });
    assert!(of_busy(&limits, QUEUE) + of_busy(&limits, CONGESTION_WINDOW) > SAMPLED_MIN, "{limits:?}");
}

#[test]
fn an_application_that_paces_itself_or_is_idle_is_told() {
    let cable = Cable::new();
    let limits = limits_of(&cable, || {
        let server = reader(&cable.server, PORT, 0, 64 << 10, Duration::ZERO);
        let client = writer(&cable.client, PORT, |connection| {
            set(connection, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, 512 << 10);
            write(connection, 512 << 10);
        });
        (server, client)
    });
    assert!(of_busy(&limits, PACING) > SAMPLED_MIN, "{limits:?}");
    let limits = limits_of(&cable, || {
        let server = reader(&cable.server, PORT, 0, 64 << 10, Duration::ZERO);
        let client = writer(&cable.client, PORT, |connection| {
            for _ in 0..10 {
                write(connection, 1_000);
                thread::sleep(Duration::from_millis(50));
            }
        });
        (server, client)
    });
    assert!(limits[APPLICATION] > busy_ns(&limits) * 5, "{limits:?}");
}
