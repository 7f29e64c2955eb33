//! Findings: a fault that was planted is named, with who suffers; nobody is named in its healthy twin.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use profiler::field::Subject;
use profiler::finding::{Finding, all};
use profiler_common::disk::op;

use crate::kernel::child::{Child, clock, fork};
use crate::kernel::clock::be_first;
use crate::kernel::device::{DirtyLimit, LoopDevice, Mount, Scratch};
use crate::kernel::network::Cable;
use crate::kernel::observe::{every, figure_of_test, is_guest, observe};
use crate::kernel::tcp_limit::{reader, set, write, writer};
use crate::kernel::waterfall::disk::{fill, forgotten, read_directly, touch};

const PORT: u16 = 7005;

/// What is found of processes that the workload names, by the number of the detector.
#[track_caller]
fn found(id: &str, workload: impl FnOnce() -> Vec<u32>) -> Vec<Finding> {
    let seen = observe(&every(100), workload);
    let pids: Vec<String> = seen.said.iter().map(|pid| format!("({pid})")).collect();
    let names = |text: &String| pids.iter().any(|pid| text.contains(pid));
    let found = all(&seen.model()).into_iter().filter(|finding| finding.id == id && finding.victims.iter().any(names));
    let found: Vec<_> = found.collect();
    for finding in &found {
        println!("{finding:#?}");
        figure_of_test(id, format!("{:.0} %", finding.impact * 100.0));
    }
    found
}

/// The same of a process that does something and ends.
#[track_caller]
fn found_of(id: &str, work: impl FnOnce()) -> Vec<Finding> {
    found(id, || vec![fork(|_| work()).ended()])
}

#[test]
fn processes_that_sync_all_the_time_are_one_storm() {
    let mount = Mount::ext4(64);
    let write = |sync: fn(&File)| {
        let paths: Vec<_> = (0..6).map(|number| mount.path(&number.to_string())).collect();
        found("S1", || {
            let child = |path: &String| {
                fork(|_| {
                    let mut file = File::create(path).unwrap();
                    for _ in 0..200 {
                        file.write_all(&[1; 4096]).unwrap();
                        sync(&file);
                    }
                })
            };
            let children: Vec<_> = paths.iter().map(child).collect();
            children.into_iter().map(Child::ended).collect()
        })
    };
    let storms = write(|file| file.sync_all().unwrap());
    let [storm] = &storms[..] else { panic!("{storms:?}") };
    assert!(storm.subject.ends_with("(6 processes)"), "{storm:?}");
    assert_eq!(write(|_| ()), []);
}

/// The CPUs of a guest are emulated: what they do between two reads or writes takes longer than the disk.
#[test]
fn who_waits_for_each_read_is_told_from_who_has_else_to_do() {
    if is_guest() {
        return;
    }
    let disk = LoopDevice::uncached(16);
    let slow = found_of("S11", || {
        be_first();
        read_directly(&disk, || ());
    });
    let at = Subject::Disk(disk.device(), op::READ);
    assert!(slow.iter().any(|finding| finding.at == at), "{slow:?}");
    assert_eq!(found_of("S11", || read_directly(&disk, || thread::sleep(Duration::from_micros(500)))), []);
}

#[test]
fn a_writer_that_is_paused_is_told_from_one_that_is_not() {
    if is_guest() {
        return;
    }
    let disk = LoopDevice::uncached(96);
    let (limit, scratch) = (DirtyLimit::of(&disk), Scratch::new());
    assert_eq!(found_of("S5", || fill(&disk.path)).len(), 1);
    drop(limit);
    assert_eq!(found_of("S5", || fill(&scratch.file("free", 0))), []);
}

#[test]
fn pages_that_come_from_a_disk_are_told_from_those_in_memory() {
    let disk = LoopDevice::uncached(64);
    let file = forgotten(&disk);
    assert_eq!(found_of("S16", || touch(&file)).len(), 1);
    assert_eq!(found_of("S16", || touch(&file)), []);
}

#[test]
fn who_waits_for_a_cpu_is_told_from_who_goes_first() {
    let seen = observe(&every(100), crowd);
    let findings = all(&seen.model());
    let finding = findings.iter().find(|finding| finding.id == "C7").unwrap_or_else(|| panic!("{findings:?}"));
    figure_of_test("C7", format!("{:.0} %", finding.impact * 100.0));
    let is_named = |name: &str| finding.victims.iter().any(|victim| victim.starts_with(name));
    assert!(is_named("crowd ("), "{finding:#?}");
    // An emulator gets round to its CPUs in turn, whoever is first on them.
    assert!(is_guest() || !is_named("first ("), "{finding:#?}");
}

/// One more than there are CPUs want one all the time; another goes first and rests in between.
fn crowd() {
    let spin = |name: &'static CStr, rest: fn()| {
        fork(move |_| {
            // SAFETY: a string that is there for good.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }, 0);
            rest();
            let until = clock(libc::CLOCK_MONOTONIC) + 1_500_000_000;
            while clock(libc::CLOCK_MONOTONIC) < until {
                let tired = clock(libc::CLOCK_MONOTONIC) + 2_000_000;
                while clock(libc::CLOCK_MONOTONIC) < tired {}
                rest();
            }
        })
    };
    let crowd = (0..=available_parallelism().unwrap().get()).map(|_| spin(c"crowd", || ()));
    let first = spin(c"first", || {
        be_first();
        thread::sleep(Duration::from_millis(2));
    });
    let children: Vec<_> = crowd.chain([first]).collect();
    for child in children {
        child.end();
    }
}

/// What is found of a writer and its reader, which do something and end; whoever wrote is named.
#[track_caller]
fn found_between(id: &str, cable: &Cable, pause_ms: u64, write: impl FnOnce(&mut TcpStream)) -> Vec<Finding> {
    found(id, || {
        let (room, step) = if pause_ms > 0 { (32 << 10, 16 << 10) } else { (0, 64 << 10) };
        let mut server = reader(&cable.server, PORT, room, step, Duration::from_millis(pause_ms));
        let (mut client, _) = writer(&cable.client, PORT, write);
        client.say(0);
        let pid = client.ended();
        server.say(0);
        server.end();
        vec![pid]
    })
}

#[test]
fn a_slow_receiver_is_told_from_one_that_has_little_to_receive() {
    let cable = Cable::new();
    let slow = found_between("N4", &cable, 10, |connection| write(connection, 2 << 20));
    assert_eq!(slow.len(), 1);
    let little = |connection: &mut TcpStream| {
        for _ in 0..100 {
            write(connection, 1_000);
            thread::sleep(Duration::from_millis(10));
        }
    };
    for id in ["N4", "N5", "N6"] {
        assert_eq!(found_between(id, &cable, 0, little), []);
    }
}

#[test]
fn a_small_send_buffer_and_a_full_path_are_told_apart() {
    let small = |connection: &mut TcpStream| {
        set(connection, libc::SOL_SOCKET, libc::SO_SNDBUF, 128 << 10);
        set(connection, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, 10 << 20);
        write(connection, 3 << 20);
    };
    let (long, _router) = Cable::routed(&["rate", "20mbit", "burst", "4kb", "limit", "1mb"]);
    assert_eq!(["N5", "N6"].map(|id| found_between(id, &long, 0, small).len()), [1, 0]);
    let (full, _router) = Cable::routed(&["rate", "20mbit", "burst", "4kb", "limit", "48kb"]);
    let much = |connection: &mut TcpStream| write(connection, 3 << 20);
    assert_eq!(["N5", "N6"].map(|id| found_between(id, &full, 0, much).len()), [0, 1]);
}
