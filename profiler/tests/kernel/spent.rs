//! Where a thread was during its slowest exchange, against its own clocks.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::atomic::AtomicU32;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use profiler::batch::{Slowest, Spent, SpentParts};
use profiler::field::{Row, Scope, Subject, Table, Value, sheet};
use profiler::source::live::Options;
use profiler_common::exchange::spent;
use profiler_common::wait;

use crate::kernel::child::{Child, Clock, Parent, Stamp, clock, fork, pin};
use crate::kernel::clock::be_first;
use crate::kernel::device::{LoopDevice, Page};
use crate::kernel::exchange::is_untold;
use crate::kernel::ladder::relying_on;
use crate::kernel::network::{Cable, SERVER};
use crate::kernel::observe::{Seen, every, figure_of_test, is_guest, ms, observe, observe_without};

const PORT: u16 = 7013;
const ROUNDS: u64 = 20;
const SLOW: u64 = ROUNDS / 2;
const SLOW_NS: u64 = 40_000_000;

/// Where a thread was during the slow exchange by its own clocks.
#[derive(Clone, Copy)]
struct Own {
    pid: u32,
    wall_ns: u64,
    cpu_ns: u64,
    queued_ns: u64,
}

impl Own {
    fn say(parent: &mut Parent, from: &Stamp, until: &Stamp) {
        let [wall_ns, cpu_ns] = [until.wall_ns - from.wall_ns, until.cpu_ns - from.cpu_ns];
        parent.say([wall_ns, cpu_ns, until.run_delay_ns - from.run_delay_ns]);
        parent.hear();
    }

    fn hear(child: &mut Child) -> Self {
        let [wall_ns, cpu_ns, queued_ns] = child.hear();
        Self { pid: child.pid, wall_ns, cpu_ns, queued_ns }
    }

    const fn blocked_ns(&self) -> u64 {
        self.wall_ns.saturating_sub(self.cpu_ns + self.queued_ns)
    }
}

/// What a server and its client say, and who lives until all is read.
struct Said {
    server: Own,
    client: Own,
    _ends: [Child; 2],
}

type End = fn(&Said) -> &Own;

/// Pairs of a server and its client, one after the other: where a busy host has clocks disagree, one is not told.
const PAIRS: usize = 3;

/// Servers do something for long before one of their answers. These probes are denied.
fn observed(denied: &[&'static str], slow: impl Fn()) -> Seen<Vec<Said>> {
    let cable = Cable::new();
    let deny = denied.iter().map(|&name| name.into()).collect();
    observe_without(&Options { deny, ..every(100) }, &relying_on(denied), || {
        (0..PAIRS).map(|_| pair(&cable, &slow)).collect()
    })
}

/// A server is asked so many times, and does something for long before one of its answers.
fn pair(cable: &Cable, slow: &impl Fn()) -> Said {
    let mut server = fork(|parent| {
        cable.server.enter();
        pin(0);
        be_first();
        let connection = accepted(parent);
        rounds(
            parent,
            || (&connection).read_exact(&mut [0]).unwrap(),
            |is_slow| {
                if is_slow {
                    slow();
                }
                (&connection).write_all(&[1]).unwrap();
            },
        );
    });
    server.hear::<1>();
    let mut client = fork(|parent| {
        cable.client.enter();
        pin(1);
        be_first();
        let connection = TcpStream::connect((SERVER, PORT)).unwrap();
        connection.set_nodelay(true).unwrap();
        let ask = || {
            // Both ends sleep soundly before they are woken.
            thread::sleep(Duration::from_millis(2));
            (&connection).write_all(&[1]).unwrap();
        };
        rounds(parent, ask, |_| (&connection).read_exact(&mut [0]).unwrap());
    });
    let client_said = Own::hear(&mut client);
    Said { server: Own::hear(&mut server), client: client_said, _ends: [server, client] }
}

/// All rounds of one end: what it does before its part of the exchange, and that part, which is told whether it is the slow one; where
/// the caller was during that.
fn rounds(parent: &mut Parent, before: impl Fn(), part: impl Fn(bool)) {
    let (clock, mut stamps) = (Clock::new(), None);
    for round in 0..ROUNDS {
        before();
        let from = clock.now();
        part(round == SLOW);
        if round == SLOW {
            stamps = Some((from, clock.now()));
        }
    }
    let (from, until) = stamps.unwrap();
    Own::say(parent, &from, &until);
}

/// The connection that comes, once the test knows that it can.
fn accepted(parent: &mut Parent) -> TcpStream {
    let listener = TcpListener::bind((SERVER, PORT)).unwrap();
    parent.say([1]);
    let (connection, _) = listener.accept().unwrap();
    connection.set_nodelay(true).unwrap();
    connection
}

fn slowest<T>(seen: &Seen<T>, pid: u32) -> Slowest {
    let rows = seen.batches.iter().flat_map(|batch| &batch.exchanges).filter(|row| row.key.process.pid == pid);
    rows.filter_map(|row| row.slowest).max_by_key(|slowest| slowest.time_ns).unwrap()
}

/// The cell about it in the table.
fn cell<T>(seen: &Seen<T>, pid: u32) -> Value {
    let model = seen.model();
    let sheet = sheet(&model, Table::Exchanges, &Scope::default());
    let column = sheet.columns.iter().position(|column| column.id == "exchange.slowest_spent").unwrap();
    let whose = |row: &&Row| matches!(&row.subject, Subject::Exchange(key) if key.process.pid == pid);
    sheet.rows.iter().find(whose).unwrap().cells[column].clone()
}

/// Between a hook and a look at the clock: the kernel delivers what is sent, and an emulator may turn to another CPU there.
fn slack_ns() -> u64 {
    if is_guest() { 10_000_000 } else { 1_000_000 }
}

/// Within 10 %.
#[track_caller]
fn assert_near(what: &str, ours_ns: u64, truth_ns: u64) {
    let allowed_ns = truth_ns / 10 + slack_ns();
    assert!(ours_ns.abs_diff(truth_ns) <= allowed_ns, "{what}: {ours_ns}, in truth {truth_ns}");
}

/// The parts of a thread's slowest exchange, which add up to it, are what its own clocks say; or it is said why they are not
/// known.
#[track_caller]
fn same_as<T>(seen: &Seen<T>, own: &Own) -> Option<SpentParts> {
    let slowest = slowest(seen, own.pid);
    let parts = match slowest.spent {
        Spent::Told(parts) => parts,
        Spent::Unknown(why @ (spent::SKEWED | spent::UNSETTLED)) => {
            figure_of_test("not known", spent::WHY[why as usize]);
            return None;
        }
        Spent::Unknown(_) => panic!("{slowest:?}"),
    };
    let SpentParts { cpu_ns, runq_wakeup_ns, runq_preempted_ns, throttled_ns, waits } = parts;
    let queued_ns = runq_wakeup_ns + runq_preempted_ns + throttled_ns;
    assert_eq!(cpu_ns + queued_ns + waits.iter().sum::<u64>(), slowest.time_ns);
    let pairs = [
        ("slowest", slowest.time_ns, own.wall_ns),
        ("on a CPU", cpu_ns, own.cpu_ns),
        ("on the run queue", queued_ns, own.queued_ns),
        ("waiting", waits.iter().sum(), own.blocked_ns()),
    ];
    for (what, ours_ns, truth_ns) in pairs {
        figure_of_test(what, format!("{} = {}", ms(ours_ns), ms(truth_ns)));
    }
    let [time, cpu, queued, waiting] = pairs;
    assert_near(time.0, time.1, time.2);
    assert_near(queued.0, queued.1, queued.2);
    // What a hypervisor takes from its time on the CPU is none by its own clock: it looks like a wait.
    assert!(cpu.1 + slack_ns() >= cpu.2 && waiting.1 <= waiting.2 + slack_ns(), "{pairs:?}");
    Some(parts)
}

/// The same of one end of each pair, with whose it is: of those that are known, of which there is one at least.
#[track_caller]
fn same_as_all(seen: &Seen<Vec<Said>>, end: End) -> Vec<(u32, SpentParts)> {
    let ends = seen.said.iter().map(end);
    let known: Vec<_> = ends.filter_map(|own| Some((own.pid, same_as(seen, own)?))).collect();
    assert!(!known.is_empty());
    known
}

/// The server waits for one thing meanwhile, for so long at least, and its client for the server.
#[track_caller]
fn waits_for(kind: u32, least_ns: u64, slow: impl Fn()) {
    if is_untold() {
        return;
    }
    let seen = observed(&[], slow);
    let ends: [(End, _, _); 2] = [(|said| &said.server, kind, least_ns), (|said| &said.client, wait::RECEIVE, SLOW_NS)];
    for (end, kind, least_ns) in ends {
        for (pid, parts) in same_as_all(&seen, end) {
            let told_ns = parts.waits[kind as usize];
            let all_ns = parts.waits[1..].iter().sum::<u64>() - parts.waits[wait::STOLEN as usize];
            let others_ns = all_ns - told_ns;
            assert!(
                others_ns <= all_ns / 100 + slack_ns() && told_ns + slack_ns() >= least_ns,
                "{told_ns} of {all_ns}"
            );
            let Value::Text(words) = cell(&seen, pid) else { panic!("no words") };
            assert!(words.contains(wait::NAMES[kind as usize].label), "{words}");
        }
    }
}

#[test]
fn a_server_that_sleeps() {
    waits_for(wait::SLEEP, SLOW_NS, || thread::sleep(Duration::from_nanos(SLOW_NS)));
}

#[test]
fn a_server_that_waits_for_a_futex() {
    waits_for(wait::FUTEX, SLOW_NS, || {
        let word = AtomicU32::new(0);
        let time = libc::timespec { tv_sec: 0, tv_nsec: SLOW_NS.cast_signed() };
        // SAFETY: the word and the time live until the call returns.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, &raw const time) };
    });
}

#[test]
fn a_server_that_reads_from_a_disk() {
    let disk = LoopDevice::uncached(16);
    // How much of its time it waits, is up to the disk.
    waits_for(wait::DISK_READ, SLOW_NS / 4, || {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
        let (mut page, until_ns) = (Page([0; 4096]), clock(libc::CLOCK_MONOTONIC) + SLOW_NS);
        for place in (0..16 << 20).step_by(1 << 14).cycle() {
            file.read_exact_at(&mut page.0, place).unwrap();
            if clock(libc::CLOCK_MONOTONIC) >= until_ns {
                break;
            }
        }
    });
}

#[test]
fn a_server_that_computes() {
    if is_untold() {
        return;
    }
    let seen = observed(&[], || {
        let until_ns = clock(libc::CLOCK_THREAD_CPUTIME_ID) + SLOW_NS;
        while clock(libc::CLOCK_THREAD_CPUTIME_ID) < until_ns {}
    });
    for (_, parts) in same_as_all(&seen, |said| &said.server) {
        assert!(parts.cpu_ns + slack_ns() >= SLOW_NS, "{parts:?}");
    }
    same_as_all(&seen, |said| &said.client);
}

/// What one thread has begun and another one ends is in the books of neither.
#[test]
fn a_pool_in_which_another_thread_answers() {
    if is_untold() {
        return;
    }
    let cable = Cable::new();
    let seen = observe(&every(100), || {
        let mut server = fork(|parent| {
            cable.server.enter();
            let mut connection = accepted(parent);
            let mut answers = connection.try_clone().unwrap();
            let (hand_over, requests) = mpsc::channel();
            thread::spawn(move || requests.iter().for_each(|()| answers.write_all(&[1]).unwrap()));
            for _ in 0..ROUNDS {
                connection.read_exact(&mut [0]).unwrap();
                hand_over.send(()).unwrap();
            }
            parent.say([2]);
            parent.hear();
        });
        server.hear::<1>();
        let client = fork(|parent| {
            cable.client.enter();
            let mut connection = TcpStream::connect((SERVER, PORT)).unwrap();
            for _ in 0..ROUNDS {
                connection.write_all(&[1]).unwrap();
                connection.read_exact(&mut [0]).unwrap();
            }
            parent.hear();
        });
        server.hear::<1>();
        [server, client]
    });
    let pid = seen.said[0].pid;
    assert_eq!(slowest(&seen, pid).spent, Spent::Unknown(spent::OTHER_THREAD));
    assert_eq!(cell(&seen, pid), Value::Unknown(spent::WHY[spent::OTHER_THREAD as usize]));
}

/// Nobody says that it was on a CPU all the time.
#[test]
fn without_switches_it_is_not_known() {
    if is_untold() {
        return;
    }
    let seen = observed(&["sched_switch"], || thread::sleep(Duration::from_nanos(SLOW_NS)));
    for Said { server, .. } in &seen.said {
        assert_eq!(slowest(&seen, server.pid).spent, Spent::Unknown(spent::UNSETTLED));
        assert_eq!(cell(&seen, server.pid), Value::Unknown("the probe sched_switch is missing"));
    }
}
