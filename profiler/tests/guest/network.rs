//! Cables that delay or lose what is sent.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use profiler_common::limit::RECOVERY;
use profiler_common::tcp::event;

use crate::kernel::child::{Child, clock, fork};
use crate::kernel::exchange::{a_peer_thinks, is_untold};
use crate::kernel::network::{Cable, Namespace, SERVER, own_counters};
use crate::kernel::observe::{every, figure, ms, observe, until};
use crate::kernel::tcp::{ask, quiet, same_as_ss, send, serve};
use crate::kernel::tcp_limit::{busy_ns, same_as_ss as limits_as_ss, sees_recovery};

const PORT: u16 = 7003;
const EXCHANGES: u64 = 20;

/// Sets what the end of the cable in a namespace does with what it sends.
fn shape(end: &Namespace, arguments: &[&str]) {
    end.run(&[&["tc", "qdisc", "replace", "dev", "cable", "root", "netem"], arguments].concat());
}

/// Sends back each byte that comes.
fn echo(namespace: &Namespace) -> Child {
    let mut child = fork(|parent| {
        namespace.enter();
        let listener = TcpListener::bind((SERVER, PORT)).unwrap();
        parent.say([1]);
        let (mut connection, _) = listener.accept().unwrap();
        connection.set_nodelay(true).unwrap();
        let mut byte = [0];
        for _ in 0..EXCHANGES {
            connection.read_exact(&mut byte).unwrap();
            connection.write_all(&byte).unwrap();
        }
        parent.hear();
    });
    child.hear::<1>();
    child
}

/// Connects, sends bytes one by one, and waits for the answer to each; the longest of these waits.
fn exchange(namespace: &Namespace) -> (Child, u64) {
    let mut child = fork(|parent| {
        namespace.enter();
        let (mut connection, mut longest_ns) = timed(|| TcpStream::connect((SERVER, PORT)).unwrap());
        connection.set_nodelay(true).unwrap();
        let mut byte = [0];
        for _ in 0..EXCHANGES {
            let ((), took_ns) = timed(|| {
                connection.write_all(&byte).unwrap();
                connection.read_exact(&mut byte).unwrap();
            });
            longest_ns = longest_ns.max(took_ns);
        }
        parent.say([longest_ns]);
        parent.hear();
    });
    let [longest_ns] = child.hear();
    (child, longest_ns)
}

fn timed<T>(act: impl FnOnce() -> T) -> (T, u64) {
    let begin = clock(libc::CLOCK_MONOTONIC);
    let result = act();
    (result, clock(libc::CLOCK_MONOTONIC) - begin)
}

/// Each sample of the smoothed round-trip time is as long as the delay at least, and no longer than what the client waits.
/// How much longer, depends on how late the emulator is; the least that we said is as nobody disturbed it.
#[test]
fn delay_of_both_ends_is_the_round_trip_time() {
    let cable = Cable::new();
    for end in [&cable.server, &cable.client] {
        shape(end, &["delay", "20ms"]);
    }
    let seen = observe(&every(100), || {
        let server = echo(&cable.server);
        let client = exchange(&cable.client);
        (server, client, quiet(&cable, PORT))
    });
    let (_, (_, longest_ns), [at_server, at_client]) = &seen.said;
    same_as_ss(&seen, cable.server.inode(), at_server);
    let row = same_as_ss(&seen, cable.client.inode(), at_client);
    let (srtt_us, min_us) = (row.srtt_us.unwrap(), row.min_rtt_us.unwrap());
    let rows = seen.batches.iter().flat_map(|batch| &batch.sockets).filter(|other| other.cookie == row.cookie);
    let least_us = rows.filter_map(|row| row.srtt_us).min().unwrap();
    let [least, last, min] = [least_us, srtt_us, min_us].map(|us| ms(u64::from(us) * 1_000));
    figure("netem 20 ms at both ends: min RTT; srtt at least, at last as ss", format!("{min}; {least}, {last}"));
    assert!((40_000..46_000).contains(&least_us), "{least_us}");
    assert!((40_000..46_000).contains(&min_us), "{min_us}");
    assert!(min_us <= srtt_us && u64::from(srtt_us) * 1_000 <= *longest_ns, "{srtt_us} {longest_ns}");
}

/// A long way is not the peer's time. How late either end is to be woken, depends on the emulator.
#[test]
fn what_a_peer_thinks_is_without_the_way() {
    if is_untold() {
        return;
    }
    let cable = Cable::new();
    for end in [&cable.server, &cable.client] {
        shape(end, &["delay", "20ms"]);
    }
    let told = a_peer_thinks(&cable, 20, 50);
    assert_eq!(told.findings, [], "most is the way");
    assert!((40_000_000..46_000_000).contains(&told.rtt_ns), "{}", ms(told.rtt_ns));
    assert!(
        told.think_ns + told.rtt_ns >= told.truth_ns + 40_000_000,
        "{} of {}",
        ms(told.think_ns),
        ms(told.truth_ns)
    );
}

/// Segments sent again, in all network namespaces in which something may happen.
fn sent_again(cable: &Cable) -> u64 {
    let all = [cable.server.counters(), cable.client.counters(), own_counters()];
    all.iter().map(|counters| counters["TcpRetransSegs"]).sum()
}

#[test]
fn an_outage_is_counted_like_nstat_and_ss() {
    let cable = Cable::new();
    let seen = observe(&every(200), || {
        let before = sent_again(&cable);
        let server = serve(&cable.server, PORT);
        let mut client = ask(&cable.client, PORT, |parent, mut connection| {
            send(&mut connection, 1_000);
            parent.say([1]);
            parent.hear();
        });
        shape(&cable.client, &["loss", "100%"]);
        let begin = clock(libc::CLOCK_MONOTONIC);
        client.say(0);
        client.hear::<1>();
        until("it was sent three times again", || {
            let told = cable.client.connection_to(PORT).pair("retrans").1;
            if told.parse::<u64>().unwrap() >= 3 { Ok(()) } else { Err(told) }
        });
        let cut_ns = clock(libc::CLOCK_MONOTONIC) - begin;
        cable.client.run(&["tc", "qdisc", "delete", "dev", "cable", "root"]);
        let told = quiet(&cable, PORT);
        (server, client, told, sent_again(&cable) - before, cut_ns)
    });
    let (_, _, [at_server, at_client], truth, cut_ns) = &seen.said;
    let row = same_as_ss(&seen, cable.client.inode(), at_client);
    same_as_ss(&seen, cable.server.inode(), at_server);
    let events = |event: u32| seen.batches.iter().map(|batch| batch.tcp_events[event as usize]).sum::<u64>();
    let (segments, syn_acks) = (events(event::RETRANSMIT), events(event::RETRANSMIT_SYNACK));
    figure("outage: segments sent again = TcpRetransSegs", format!("{} = {truth}", segments + syn_acks));
    assert!(row.total.retransmits >= 3, "{row:?}");
    assert_eq!(segments + syn_acks, *truth);
    let limits = limits_as_ss(&seen, cable.client.inode(), at_client);
    let recovery_ns = limits[RECOVERY];
    figure("outage: busy, in recovery, cut", [busy_ns(&limits), recovery_ns, *cut_ns].map(ms).join(", "));
    if !sees_recovery() {
        assert_eq!(recovery_ns, 0, "it counts as other limits");
        return;
    }
    // From the first timeout on, of 200 ms and some round trips, until something is acknowledged.
    assert!(recovery_ns > cut_ns / 2 && recovery_ns <= busy_ns(&limits), "{limits:?}");
}
