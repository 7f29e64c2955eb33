//! Many connections at once and thousands per second: none is missing, by what the kernel counts in their namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::mem;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use profiler::batch::{Batch, Endpoint, SocketRow};
use profiler_common::tcp::event;

use crate::kernel::child::{Child, fork};
use crate::kernel::network::{Cable, Namespace};
use crate::kernel::observe::{every, figure_of_test, is_guest, ms, observe_each};

const PORT: u16 = 7101;
/// Processes of the crowd, each with its own server: one may not open as many files as all of them do.
const PROCESSES: usize = 4;
/// What comes and goes does so in bursts of this length.
const BURST: Duration = Duration::from_millis(10);

/// Connections of a process that stay, those that come and go, and how many of these per second; emulated CPUs do less.
fn crowd() -> (usize, usize, usize) {
    if is_guest() { (500, 250, 125) } else { (5_000, 37_500, 1_250) }
}

/// A connection over which a byte came, both ends.
fn connect(server: &TcpListener) -> [TcpStream; 2] {
    let mut asks = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let (mut answers, _) = server.accept().unwrap();
    asks.write_all(&[7]).unwrap();
    answers.read_exact(&mut [0]).unwrap();
    [asks, answers]
}

/// As many open files as it may have.
fn raise_limit() {
    let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `files` lives.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files), 0);
        files.rlim_cur = files.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files), 0);
    }
}

/// A part of the crowd: says when those that go are gone, and keeps those that stay.
fn part(namespace: &Namespace, number: usize) -> Child {
    fork(|parent| {
        namespace.enter();
        raise_limit();
        let (stay, go, per_second) = crowd();
        let server = TcpListener::bind((Ipv4Addr::new(127, 0, 1, number.try_into().unwrap()), PORT)).unwrap();
        let _stays: Vec<_> = (0..stay).map(|_| connect(&server)).collect();
        let begin = Instant::now();
        let mut gone = 0;
        while gone < go {
            thread::sleep(BURST);
            let due = begin.elapsed().as_millis() * per_second as u128 / 1_000;
            while gone < go && (gone as u128) < due {
                drop(connect(&server));
                gone += 1;
            }
        }
        parent.say([1]);
        parent.hear();
    })
}

/// What is asked of a row. With all that is in them kept, more of the cost would be that of new memory than of anything else.
struct Told {
    cookie: u64,
    netns: u32,
    local_port: u16,
    is_listener: bool,
    /// Bytes sent and received.
    moved: (u64, u64),
    ended: bool,
    /// It was opened under observation.
    is_born: bool,
    owner: Option<u32>,
}

impl Told {
    fn of(row: &SocketRow) -> Self {
        Self {
            cookie: row.cookie,
            netns: row.netns,
            local_port: row.local.port,
            is_listener: row.peer == Endpoint::ANY,
            moved: (row.sent_bytes, row.received_bytes),
            ended: row.ended,
            is_born: row.opened.is_some() && row.connect_errno.is_none() && row.peer != Endpoint::ANY,
            owner: row.owner.map(|owner| owner.pid),
        }
    }
}

/// CPU time so far of the thread that reads the kernel, by the scheduler's book.
fn reader_cpu_ns() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let read = |thread: &Path, name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default();
    let reader = threads.into_iter().find(|thread| read(thread, "comm").trim() == "profiler-read");
    // It may have ended.
    let Some(books) = reader.map(|thread| read(&thread, "schedstat")) else { return 0 };
    books.split_whitespace().next().map_or(0, |ran_ns| ran_ns.parse().unwrap())
}

#[test]
fn of_a_crowd_of_connections_none_is_missing() {
    let (stay, go) = (PROCESSES * crowd().0, PROCESSES * crowd().1);
    let cable = Cable::new();
    let (mut rows, mut of_each, mut drained_ns) = (Vec::new(), Vec::new(), 0);
    let take = |batch: &mut Batch| {
        let before_ns = mem::replace(&mut drained_ns, reader_cpu_ns());
        of_each.push((batch.sockets.len(), drained_ns - before_ns));
        rows.extend(mem::take(&mut batch.sockets).iter().map(Told::of));
    };
    let seen = observe_each(&every(1_000), &[], take, || {
        let mut parts: [Child; PROCESSES] = std::array::from_fn(|number| part(&cable.server, number + 1));
        for part in &mut parts {
            part.hear::<1>();
        }
        (parts, cable.server.counters())
    });
    let (parts, told) = &seen.said;
    seen.assert_counts_whole();
    let ours = || rows.iter().filter(|row| row.netns == cable.server.inode() && !row.is_listener);
    let [servers, clients] = [true, false].map(|serves| {
        let mut ends = BTreeMap::<u64, (u64, u64)>::new();
        for row in ours().filter(|row| (row.local_port == PORT) == serves) {
            let (sent, received) = ends.entry(row.cookie).or_default();
            (*sent, *received) = (*sent + row.moved.0, *received + row.moved.1);
        }
        ends
    });
    assert_eq!((clients.len(), servers.len()), (stay + go, stay + go));
    assert_eq!((clients.len() as u64, servers.len() as u64), (told["TcpActiveOpens"], told["TcpPassiveOpens"]));
    // Of each one, its byte; and the end of a stream, which the kernel counts as one.
    let like = |ends: &BTreeMap<u64, (u64, u64)>, bytes| ends.values().filter(|moved| **moved == bytes).count();
    assert_eq!((like(&clients, (1, 0)), like(&servers, (0, 1))), (stay, stay));
    assert_eq!((like(&clients, (1, 1)), like(&servers, (0, 2))), (go, go));
    assert_eq!(ours().filter(|row| row.ended).count(), 2 * go);
    // Events are those of the host: of whatever connection of others they count is told as well.
    let all: BTreeSet<_> = rows.iter().filter(|row| row.is_born).map(|row| row.cookie).collect();
    let events = |event: u32| seen.batches.iter().map(|batch| batch.tcp_events[event as usize]).sum::<u64>();
    assert_eq!(events(event::CONNECTED) + events(event::ACCEPTED), all.len() as u64);
    // Who connects is seen, who accepts is found as long as it lasts.
    let last: BTreeMap<_, _> = rows.iter().filter(|row| !row.is_listener).map(|row| (row.cookie, row)).collect();
    let owned = |part: &Child| last.values().filter(|row| !row.ended && row.owner == Some(part.pid)).count();
    assert_eq!(parts.each_ref().map(owned), [2 * crowd().0; PROCESSES]);
    for (batch, (rows, drain_ns)) in seen.batches.iter().zip(&of_each) {
        let quality = &batch.quality;
        let cost = format!(
            "{} of CPU to read the kernel, {} in all, {} MiB, maps {} MiB",
            ms(*drain_ns),
            ms(quality.self_cpu_ns),
            quality.self_memory_bytes >> 20,
            quality.map_memory_bytes >> 20
        );
        figure_of_test(&format!("{rows} rows"), cost);
    }
}
