//! Small writes that Nagle's algorithm holds back until the peer acknowledges what is in flight, which it delays.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use profiler::finding::{Finding, all};
use profiler_common::exchange::role;

use crate::kernel::child::{Child, clock, fork};
use crate::kernel::exchange::{is_untold, told};
use crate::kernel::network::{Cable, Namespace, SERVER};
use crate::kernel::observe::{every, figure_of_test, is_guest, ms, observe};

const PORT: u16 = 7008;
const ROUNDS: u64 = 60;
/// Half of a message.
const HALF: usize = 100;
/// `TCP_DELACK_MIN` is 40 ms, in ticks of 4 ms at most.
const DELAY_NS: u64 = 36_000_000;

/// How somebody writes a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In two halves.
    Halves,
    /// The same, with `TCP_NODELAY`.
    HalvesAtOnce,
    /// As it should be.
    Whole,
}

impl Way {
    fn begin(self, connection: &TcpStream) {
        connection.set_nodelay(self == Self::HalvesAtOnce).unwrap();
    }

    fn write(self, connection: &mut TcpStream) {
        let message = [1; 2 * HALF];
        let parts = if self == Self::Whole { 1 } else { 2 };
        message.chunks(message.len() / parts).for_each(|part| connection.write_all(part).unwrap());
    }
}

/// What who asks has measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rounds {
    /// Rounds that took as long as an acknowledgement is delayed, and more.
    pub slow: u64,
    /// Sum of their times.
    slow_ns: u64,
    /// Rounds that took twice as long: somebody else had the CPU.
    slower: u64,
}

fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

fn read(connection: &mut TcpStream) {
    connection.read_exact(&mut [0; 2 * HALF]).unwrap();
}

pub fn ask(connection: &mut TcpStream, way: Way, rounds: u64) -> Rounds {
    way.begin(connection);
    let mut sum = Rounds::default();
    for _ in 0..rounds {
        let begin = now();
        way.write(connection);
        read(connection);
        let round_ns = now() - begin;
        sum.slower += u64::from(round_ns >= 2 * DELAY_NS);
        if round_ns >= DELAY_NS {
            sum.slow += 1;
            sum.slow_ns += round_ns;
        }
    }
    sum
}

pub fn answer(connection: &mut TcpStream, way: Way, rounds: u64) {
    way.begin(connection);
    for _ in 0..rounds {
        read(connection);
        way.write(connection);
    }
}

/// What was told of who writes, the other's delayed acknowledgements by `nstat`, and what was found.
struct Outcome {
    exchanges: u64,
    stalls: u64,
    stall_ns: u64,
    delayed: u64,
    rounds: Rounds,
    found: Vec<Finding>,
}

/// Both talk; of one, in this role, it is of interest how it writes.
fn talk(writer: u32, way: Way) -> Outcome {
    let cable = Cable::new();
    let [asks, answers] = if writer == role::CLIENT { [way, Way::Whole] } else { [Way::Whole, way] };
    let serve = |namespace: &Namespace| {
        let mut child = fork(|parent| {
            namespace.enter();
            let listener = TcpListener::bind((SERVER, PORT)).unwrap();
            parent.say([1]);
            let (mut connection, _) = listener.accept().unwrap();
            answer(&mut connection, answers, ROUNDS);
            // What was held back last is told with this.
            connection.read_exact(&mut [0]).unwrap();
            parent.say([1]);
            parent.hear();
        });
        child.hear::<1>();
        child
    };
    let seen = observe(&every(100), || {
        let mut server = serve(&cable.server);
        let mut client = fork(|parent| {
            cable.client.enter();
            let mut connection = TcpStream::connect((SERVER, PORT)).unwrap();
            let Rounds { slow, slow_ns, slower } = ask(&mut connection, asks, ROUNDS);
            parent.say([slow, slow_ns, slower]);
            parent.hear();
            connection.write_all(&[0]).unwrap();
            parent.hear();
        });
        let [slow, slow_ns, slower] = client.hear();
        // Before the last byte, which may be acknowledged late, too.
        let reader = if writer == role::CLIENT { &cable.server } else { &cable.client };
        let delayed = reader.counters()["TcpExtDelayedACKs"];
        client.say(1);
        server.hear::<1>();
        let pids: [Child; 2] = [server, client];
        (pids, delayed, Rounds { slow, slow_ns, slower })
    });
    seen.assert_counts_whole();
    let ([server, client], delayed, rounds) = &seen.said;
    let pid = if writer == role::CLIENT { client.pid } else { server.pid };
    let row = told(&seen, pid);
    let found = all(&seen.model()).into_iter().filter(|finding| finding.id == "N7").collect();
    let (stalls, stall_ns) = (row.stalls.unwrap(), row.stall_ns);
    figure_of_test("stalls = DelayedACKs = slow rounds", format!("{stalls} = {delayed} = {}", rounds.slow));
    Outcome { exchanges: row.count, stalls, stall_ns, delayed: *delayed, rounds: *rounds, found }
}

/// Each write that was held back is an acknowledgement that the peer delayed, and as long as a round but for the way.
fn check(writer: u32) {
    if is_untold() {
        return;
    }
    let Outcome { stalls, stall_ns, delayed, rounds, found, .. } = talk(writer, Way::Halves);
    assert!(stalls > ROUNDS / 2, "{stalls}");
    // Where somebody else had the CPU, the second half came after the acknowledgement, or the answer. That of the last answer
    // may be delayed as well.
    let most = rounds.slow + rounds.slower + 1;
    assert!((stalls..=most).contains(&delayed), "{stalls}, {delayed} by nstat, {rounds:?}");
    let [ours, truth] = [stall_ns / stalls, rounds.slow_ns / rounds.slow];
    figure_of_test("mean stall < mean slow round", format!("{} < {}", ms(ours), ms(truth)));
    assert!(ours < truth && (is_guest() || ours > truth - truth / 10), "{ours} {truth}");
    assert!(ours >= DELAY_NS);
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert!(finding.impact > 0.5 && finding.subject == format!("{SERVER}:{PORT}"), "{finding:?}");
}

#[test]
fn requests_in_two_writes_wait_for_delayed_acknowledgements() {
    check(role::CLIENT);
}

#[test]
fn answers_in_two_writes_wait_for_delayed_acknowledgements() {
    check(role::SERVER);
}

#[test]
fn without_delay_or_in_one_write_nothing_is_held_back() {
    if is_untold() {
        return;
    }
    for way in [Way::HalvesAtOnce, Way::Whole] {
        for writer in [role::CLIENT, role::SERVER] {
            let outcome = talk(writer, way);
            assert_eq!((outcome.stalls, outcome.stall_ns), (0, 0));
            assert!(outcome.exchanges >= ROUNDS && outcome.found.is_empty(), "{:?}", outcome.found);
        }
    }
}
