//! A bit of everything that we observe, with what is true of it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use io_uring::{IoUring, opcode};
use profiler::field::Table;

use crate::kernel::child::{Child, Clock, Parent, fork, open, read_once, write_once};
use crate::kernel::device::{LoopDevice, Mount};
use crate::kernel::drop::{deaf, pelt, pelt_nobody, settle};
use crate::kernel::journal::commit;
use crate::kernel::network::{Cable, Namespace, SERVER, Told};
use crate::kernel::observe::until;
use crate::kernel::operation::hand_over;
use crate::kernel::page::{forget, temporary};
use crate::kernel::tcp::{ask, listen, quiet, send, serve};

/// Port on which nobody listens.
const NOBODY: u16 = 7099;
/// Read with direct I/O, in requests of 64 KiB.
const REQUESTS: u64 = 32;
const BYTES: u64 = REQUESTS << 16;
const GETPPIDS: u64 = 1_000;
const SLEEPS: u64 = 10;
const SLEEP_MS: u64 = 6;
const NOPS: u64 = 300;
const COMMITS: u64 = 20;
const READS: u64 = 200;
/// By a process and over a connection that both end.
const SHORT: usize = 500;

/// Datagrams, more than the smallest buffer has room for.
const PELTED: u64 = 100;

/// From the disk, by way of the page cache.
const FETCHED: usize = 256 << 10;

/// No run takes longer, even where CPUs are emulated.
const WHILE_NS: f64 = 120e9;

/// Where the workload runs, again and again.
pub struct World {
    disk: LoopDevice,
    mount: Mount,
    old: Child,
    cable: Cable,
    /// Of the listener that was there before us; each run takes the next one. No other run of these tests has the same.
    old_port: u16,
    runs: u16,
}

/// What lives until the last interval is over, and what is true.
pub struct Said {
    _alive: [Child; 8],
    pub claims: Vec<Claim>,
}

/// What a cell of the product has to say, if it says anything.
#[derive(Debug)]
pub struct Claim {
    pub table: Table,
    /// Cells that tell the row.
    pub row: Vec<(&'static str, String)>,
    pub column: &'static str,
    pub truth: Truth,
}

/// What is true.
#[derive(Debug)]
pub enum Truth {
    /// A number between two, in whole: things, bytes or nanoseconds, where the cell has a rate.
    Between(f64, f64),
    /// A sum over requests, and the most that it is of each: a kernel may have hidden some from programs.
    Requests {
        sum: u64,
        each: u64,
    },
    /// Nanoseconds between two, as far as the clocks of an emulator agree.
    Waited(f64, f64),
    /// Nanoseconds in the scheduler's books, and as much more as [`crate::kernel::observe::STALE_NS`] says.
    Booked(u64),
    Text(String),
}

impl World {
    pub fn new() -> Self {
        let cable = Cable::new();
        let old_port = 8_000 + u16::try_from(std::process::id() % 800 * 64).unwrap();
        let (disk, mount) = (LoopDevice::new(4), Mount::ext4(64));
        Self { disk, mount, old: listen(&cable.server, old_port, 5), cable, old_port, runs: 0 }
    }

    /// Runs it. Ports are those of no run before.
    pub fn run(&mut self) -> Said {
        self.runs += 1;
        let mut claims = Vec::new();
        let clock = tick(&mut claims);
        let worker = work(&mut claims);
        let [waker, woken] = wake(&mut claims);
        let reader = fetch(&mut claims);
        end_soon(&self.cable, &mut claims);
        self.read_disk(&mut claims);
        self.write_disk(&mut claims);
        self.commit(&mut claims);
        let [server, client] = self.talk(self.old_port + self.runs, &mut claims);
        let deaf = self.drop(&mut claims);
        // It sleeps since long ago.
        rest(worker.pid, &mut claims);
        Said { _alive: [clock, worker, waker, woken, reader, server, client, deaf], claims }
    }

    fn read_disk(&self, claims: &mut Vec<Claim>) {
        let before = self.disk.diskstats();
        let reader = dd(&[&format!("if={}", self.disk.path), "of=/dev/null", "iflag=direct"]);
        assert_eq!(self.disk.diskstats()[0] - before[0], REQUESTS, "somebody else reads");
        let mut claim = |column, truth| {
            let row = vec![("disk.name", self.disk.name().to_owned()), ("disk.op", "read".to_owned())];
            claims.push(Claim { table: Table::Disks, row, column, truth });
        };
        claim("disk.ops_s", Truth::Requests { sum: REQUESTS, each: 1 });
        claim("disk.bytes_s", Truth::Requests { sum: BYTES, each: BYTES / REQUESTS });
        claim("disk.size_bytes", exactly(BYTES / REQUESTS));
        claim("disk.latency_mean_ns", Truth::Between(1e3, 1e9));
        claim("disk.wait_mean_ns", Truth::Between(1.0, 1e9));
        claim("disk.queue_p99_ns", Truth::Between(1.0, 1e9));
        claim("disk.service_p99_ns", Truth::Between(1e3, 1e9));
        claim("disk.inflight", exactly(0));
        claim("disk.errors", exactly(0));
        claim("disk.requeues", exactly(0));
        self.owned("read", reader, BYTES / REQUESTS, claims);
    }

    /// What a process leaves in memory, somebody else writes.
    fn write_disk(&self, claims: &mut Vec<Claim>) {
        // Else `dd` would write it when it closes the device.
        let held = OpenOptions::new().write(true).open(&self.disk.path).unwrap();
        let writer = dd(&["if=/dev/zero", &format!("of={}", self.disk.path)]);
        held.sync_all().unwrap();
        let largest = fs::read_to_string(format!("/sys/block/{}/queue/max_sectors_kb", self.disk.name())).unwrap();
        self.owned("write", writer, largest.trim().parse::<u64>().unwrap() << 10, claims);
    }

    /// Each sync of what has changed is a commit of the journal.
    fn commit(&self, claims: &mut Vec<Claim>) {
        commit(&self.mount.path("file"), COMMITS);
        let row = vec![("journal.device", self.mount.device.name().to_owned())];
        claims.push(Claim { table: Table::Journals, row, column: "journal.commits_s", truth: exactly(COMMITS) });
    }

    /// All of an operation was for a process.
    fn owned(&self, op: &str, pid: u32, each: u64, claims: &mut Vec<Claim>) {
        let name = self.disk.name().to_owned();
        let row = vec![("disk_owner.device", name), ("disk_owner.op", op.into()), ("process.pid", pid.to_string())];
        let truth = Truth::Requests { sum: BYTES, each };
        claims.push(Claim { table: Table::DiskOwners, row, column: "disk_owner.bytes_s", truth });
    }

    /// A process that does not read its datagrams, and datagrams that are nobody's.
    fn drop(&self, claims: &mut Vec<Claim>) -> Child {
        let (server, client) = (&self.cable.server, &self.cable.client);
        let before = server.counters();
        let (mut deaf, local) = deaf(server, SERVER.into());
        pelt(client, local, PELTED);
        let lost = settle(&mut deaf, server, &before, "Udp", PELTED);
        pelt_nobody(client, server, (SERVER, NOBODY).into(), "Udp", PELTED);
        let row = |reason: &str, socket: String| vec![("drop.reason", reason.to_owned()), ("drop.socket", socket)];
        let mut claim = |row, column, truth| claims.push(Claim { table: Table::Drops, row, column, truth });
        let full = row("SOCKET_RCVBUFF", format!("udp {local}"));
        claim(full.clone(), "drop.count_s", exactly(lost));
        claim(full, "drop.owner", Truth::Text(comm(deaf.pid)));
        // Connections are refused for the same reason.
        let refused = Truth::Between(PELTED as f64, 1e6);
        claim(row("NO_SOCKET", "–".to_owned()), "drop.count_s", refused);
        deaf
    }

    /// A connection that stays, and on which something has to be sent again.
    fn talk(&self, port: u16, claims: &mut Vec<Claim>) -> [Child; 2] {
        let ends = [&self.cable.server, &self.cable.client];
        let before = ends.map(Namespace::recoveries);
        let server = serve(&self.cable.server, port);
        let mut client = ask(&self.cable.client, port, |parent, mut connection| {
            send(&mut connection, 1_000);
            parent.say([1]);
            parent.hear();
        });
        Cable::cut(&self.cable.client);
        client.say(0);
        client.hear::<1>();
        until("it was sent again", || match self.cable.client.connection_to(port).pair("retrans").1.as_str() {
            "0" => Err("it was not".to_owned()),
            _ => Ok(()),
        });
        self.cable.mend();
        let [at_server, at_client] = quiet(&self.cable, port);
        for ((end, before), (told, pid)) in
            ends.into_iter().zip(before).zip([(&at_server, server.pid), (&at_client, client.pid)])
        {
            connection(told, pid, end.recoveries() - before, claims);
        }
        let row = vec![("net.local", at_client.local.to_string()), ("net.peer", at_client.peer.to_string())];
        claims.push(Claim {
            table: Table::Connections,
            row,
            column: "net.connect_ns",
            truth: Truth::Between(1e3, 1e9),
        });
        for role in ["server", "client"] {
            let row = vec![("exchange.role", role.to_owned()), ("exchange.endpoint", format!("{SERVER}:{port}"))];
            claims.push(Claim { table: Table::Exchanges, row, column: "exchange.count_s", truth: exactly(1) });
        }
        let row = vec![("net.local", format!("{SERVER}:{}", self.old_port))];
        let owner = Truth::Text(comm(self.old.pid));
        claims.push(Claim { table: Table::Listeners, row, column: "net.owner", truth: owner });
        for (port, limit) in [(self.old_port, 5), (port, 128)] {
            let row = vec![("net.local", format!("{SERVER}:{port}"))];
            claims.push(Claim { table: Table::Listeners, row, column: "net.accept_limit", truth: exactly(limit) });
        }
        [server, client]
    }
}

fn exactly(number: u64) -> Truth {
    Truth::Between(number as f64, number as f64)
}

/// As `ss` tells it.
fn connection(told: &Told, pid: u32, recoveries: u64, claims: &mut Vec<Claim>) {
    let mut claim = |column, truth| {
        let row = vec![("net.local", told.local.to_string()), ("net.peer", told.peer.to_string())];
        claims.push(Claim { table: Table::Connections, row, column, truth });
    };
    let again = told.pair("retrans").1.parse().unwrap();
    claim("net.sent_bytes_s", exactly(told.number("bytes_sent")));
    claim("net.received_bytes_s", exactly(told.number("bytes_received")));
    claim("net.retransmits_s", exactly(again));
    claim("net.retransmits", exactly(again));
    claim("net.recoveries", exactly(recoveries));
    claim("net.srtt_ns", exactly(u64::from(Told::microseconds(&told.pair("rtt").0)) * 1_000));
    claim("net.state", Truth::Text("ESTAB".to_owned()));
    claim("net.age_ns", Truth::Between(1e6, WHILE_NS));
    claim("net.owner", Truth::Text(comm(pid)));
}

fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim().to_owned()
}

/// A process that makes calls all the time: windows in which latencies are sampled meet some of them.
fn tick(claims: &mut Vec<Claim>) -> Child {
    let child = fork(|_| {
        loop {
            getppid(10);
            thread::sleep(Duration::from_millis(1));
        }
    });
    let row = vec![("process.pid", child.pid.to_string()), ("syscall.name", "getppid".to_owned())];
    let truth = Truth::Between(10.0, 1e6);
    claims.push(Claim { table: Table::Syscalls, row, column: "syscall.latency_p50_ns", truth });
    child
}

/// A process that stays, and what it does before it sleeps for good.
fn work(claims: &mut Vec<Claim>) -> Child {
    let mut worker = fork(|parent: &mut Parent| {
        let zero = open("/dev/zero");
        for _ in 0..READS {
            assert_eq!(read_once(zero.as_raw_fd(), 3), 3);
        }
        let (mut from, to) = io::pipe().unwrap();
        assert_eq!(write_once(to.as_raw_fd(), 77), 77);
        from.read_exact(&mut [0; 77]).unwrap();
        getppid(GETPPIDS);
        let clock = Clock::new();
        let begin = clock.now();
        for _ in 0..SLEEPS {
            thread::sleep(Duration::from_millis(SLEEP_MS));
        }
        let end = clock.now();
        let mut ring = IoUring::new(1).unwrap();
        for _ in 0..NOPS {
            assert_eq!(hand_over(&mut ring, &[opcode::Nop::new().build()]), [0]);
        }
        parent.say([end.wall_ns - begin.wall_ns, end.run_delay_ns - begin.run_delay_ns]);
        parent.hear();
    });
    let pid = worker.pid;
    let mut claim = |table, cells: &[(&'static str, &str)], column, truth| {
        let row = [("process.pid", pid.to_string())].into_iter();
        let row = row.chain(cells.iter().map(|(id, text)| (*id, (*text).to_owned()))).collect();
        claims.push(Claim { table, row, column, truth });
    };
    let [wall_ns, queued_ns] = worker.hear();
    // It was blocked for as long as it asked for, unless its CPU was taken from it on the way, and no longer than that took.
    let asked_ns = (SLEEPS * SLEEP_MS) as f64 * 0.99e6;
    let slept = Truth::Waited(asked_ns - queued_ns as f64, wall_ns as f64);
    let getppid = [("syscall.name", "getppid")];
    claim(Table::Syscalls, &getppid, "syscall.calls_s", exactly(GETPPIDS));
    claim(Table::Syscalls, &[("syscall.name", "uring nop")], "syscall.calls_s", exactly(NOPS));
    let sleep = [("syscall.name", "clock_nanosleep")];
    claim(Table::Syscalls, &sleep, "syscall.calls_s", exactly(SLEEPS));
    claim(Table::Syscalls, &sleep, "syscall.blocked_ratio", slept);
    // Up to the next power of two.
    claim(Table::Syscalls, &sleep, "syscall.blocked_p99_ns", Truth::Between(6e6, 1e9));
    let zero = [("file.kind", "character device")];
    claim(Table::Files, &zero, "file.reads_s", exactly(READS));
    claim(Table::Files, &zero, "file.read_bytes_s", exactly(READS * 3));
    claim(Table::Files, &[("file.kind", "pipe")], "file.written_bytes_s", exactly(77 + 16));
    claim(Table::Processes, &[], "file.written_bytes_s", exactly(77 + 16));
    claim(Table::Processes, &[], "process.comm", Truth::Text(comm(pid)));
    claim(Table::Processes, &[], "process.threads", exactly(1));
    claim(Table::Processes, &[], "process.top_wait", Truth::Text("read".to_owned()));
    worker
}

/// A process that waits for another all the time.
fn wake(claims: &mut Vec<Claim>) -> [Child; 2] {
    let (mut from, mut to) = io::pipe().unwrap();
    let waker = fork(|_| {
        loop {
            to.write_all(&[1]).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    });
    let woken = fork(|_| while from.read_exact(&mut [0]).is_ok() {});
    let file = fs::read_link(format!("/proc/{}/fd/{}", woken.pid, from.as_raw_fd())).unwrap();
    let mut claim = |column, text: String| {
        let row = vec![
            ("process.pid", woken.pid.to_string()),
            ("wait.name", "pipe or other socket".to_owned()),
            ("wait.object", file.to_str().unwrap().to_owned()),
        ];
        claims.push(Claim { table: Table::Waits, row, column, truth: Truth::Text(text) });
    };
    claim("process.comm", comm(woken.pid));
    claim("wait.waker", format!("{} ({})", comm(waker.pid), waker.pid));
    [waker, woken]
}

/// A process that reads a file that nobody has in memory, and then takes it out of there.
fn fetch(claims: &mut Vec<Claim>) -> Child {
    let file = temporary(FETCHED);
    forget(&file);
    let mut reader = fork(|parent| {
        assert_eq!((&file).read(&mut vec![0; FETCHED]).unwrap(), FETCHED);
        forget(&file);
        parent.say([1]);
        parent.hear();
    });
    reader.hear::<1>();
    let mut claim = |table, cells: &[(&'static str, &str)], column, number: usize| {
        let row = [("process.pid", reader.pid.to_string())].into_iter();
        let row = row.chain(cells.iter().map(|(id, text)| (*id, (*text).to_owned()))).collect();
        claims.push(Claim { table, row, column, truth: exactly(number as u64) });
    };
    claim(Table::Processes, &[], "file.missed_bytes_s", FETCHED);
    claim(Table::Processes, &[], "file.hit_ratio", 0);
    claim(Table::Files, &[("file.kind", "file")], "file.dropped_bytes_s", FETCHED);
    reader
}

fn getppid(times: u64) {
    for _ in 0..times {
        // SAFETY: no arguments. The wrapper of the C library may remember the answer.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
}

/// What the scheduler says of a process that sleeps.
fn rest(pid: u32, claims: &mut Vec<Claim>) {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let times: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let mut claim = |table, id, column, truth| {
        claims.push(Claim { table, row: vec![(id, pid.to_string())], column, truth });
    };
    claim(Table::Processes, "process.pid", "cpu.on_ratio", Truth::Booked(times[0]));
    claim(Table::Threads, "thread.tid", "cpu.on_ratio", Truth::Booked(times[0]));
    claim(Table::Threads, "thread.tid", "cpu.runq_ratio", Truth::Booked(times[1]));
    claim(Table::Threads, "thread.tid", "thread.state", Truth::Text("sleeping".to_owned()));
    claim(Table::Threads, "thread.tid", "thread.wait_call", Truth::Text("read".to_owned()));
    claim(Table::Threads, "thread.tid", "thread.waiting_ns", Truth::Between(2e8, WHILE_NS));
    claim(Table::Threads, "thread.tid", "cpu.blocked_ratio", Truth::Between(2e8, WHILE_NS));
}

/// A process that ends, with a connection to itself that ends, after it was refused another.
fn end_soon(cable: &Cable, claims: &mut Vec<Claim>) {
    let mut child = fork(|parent| {
        cable.client.enter();
        assert!(TcpStream::connect((SERVER, NOBODY)).is_err());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut back, _) = listener.accept().unwrap();
        out.write_all(&[7; SHORT]).unwrap();
        back.read_exact(&mut [0; SHORT]).unwrap();
        parent.say([out.local_addr().unwrap().port().into(), back.local_addr().unwrap().port().into()]);
        // Its accepted end closes second, and leaves nothing behind.
        drop(out);
        back.read_to_end(&mut Vec::new()).unwrap();
        drop(back);
        getppid(SHORT as u64);
    });
    let (pid, ports) = (child.pid, child.hear::<2>());
    let books = child.end();
    let of = |id, pid: u32| vec![(id, pid.to_string())];
    let row = [of("process.pid", pid), vec![("syscall.name", "getppid".to_owned())]].concat();
    claims.push(Claim { table: Table::Syscalls, row, column: "syscall.calls_s", truth: exactly(SHORT as u64) });
    let cpu_ns = books.cpu_ns as f64;
    // The books are closed a little after the last switch.
    let truth = || Truth::Between(cpu_ns * 0.99 - 1e5, cpu_ns);
    claims.push(Claim { table: Table::Processes, row: of("process.pid", pid), column: "cpu.on_ratio", truth: truth() });
    claims.push(Claim { table: Table::Threads, row: of("thread.tid", pid), column: "cpu.on_ratio", truth: truth() });
    let [local, peer] = ports.map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST));
    let row = vec![("net.local", local), ("net.peer", peer)];
    claims.push(Claim { table: Table::Connections, row, column: "net.sent_bytes_s", truth: exactly(SHORT as u64) });
}

/// Runs `dd` for [`REQUESTS`]; its process id.
fn dd(arguments: &[&str]) -> u32 {
    let mut dd = Command::new("dd");
    let mut dd = dd.args(arguments).args(["bs=64k", &format!("count={REQUESTS}"), "status=none"]).spawn().unwrap();
    assert!(dd.wait().unwrap().success());
    dd.id()
}
