//! Findings: a fault that was planted is named, with who suffers; nobody is named in its healthy twin.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use profiler::field::Subject;
use profiler::finding::{Finding, all};
use profiler_common::disk::op;

use crate::kernel::child::{Child, clock, fork};
use crate::kernel::clock::be_first;
use crate::kernel::device::{self, Limit, LoopDevice, Mount, Scratch};
use crate::kernel::network::{Cable, SERVER};
use crate::kernel::observe::{every, figure_of_test, is_guest, observe, until};
use crate::kernel::operation::{fio, fio_on};
use crate::kernel::tcp_limit::{reader, set, write, writer};
use crate::kernel::waterfall::disk::{fill, forgotten, read_directly, touch};

const PORT: u16 = 7005;

/// What is found of processes that the workload names, by the number of the detector.
#[track_caller]
fn found(id: &str, workload: impl FnOnce() -> Vec<u32>) -> Vec<Finding> {
    found_any(&[id], workload)
}

/// The same by several detectors.
#[track_caller]
fn found_any(ids: &[&str], workload: impl FnOnce() -> Vec<u32>) -> Vec<Finding> {
    let seen = observe(&every(100), workload);
    let pids: Vec<String> = seen.said.iter().map(|pid| format!("({pid})")).collect();
    let names = |text: &String| pids.iter().any(|pid| text.contains(pid));
    let mut found = all(&seen.model());
    println!("{found:#?}");
    found.retain(|finding| ids.contains(&finding.id) && finding.victims.iter().any(names));
    for finding in &found {
        figure_of_test(finding.id, format!("{:.0} %", finding.impact * 100.0));
    }
    found
}

/// The same of a process that does something and ends.
#[track_caller]
pub fn found_of(id: &str, work: impl FnOnce()) -> Vec<Finding> {
    found(id, || vec![fork(|_| work()).ended()])
}

/// The same of some that go on for longer.
#[track_caller]
pub fn found_beside(ids: &[&str], processes: &[Child]) -> Vec<Finding> {
    found_any(ids, || {
        thread::sleep(Duration::from_secs(1));
        processes.iter().map(|process| process.pid).collect()
    })
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
        read_large(&disk);
    });
    let at = Subject::Disk(disk.device(), op::READ);
    assert!(slow.iter().any(|finding| finding.at == at), "{slow:?}");
    assert_eq!(found_of("S11", || read_directly(&disk, || thread::sleep(Duration::from_micros(500)))), []);
}

/// The same with reads whose completions are waited for.
#[test]
fn who_waits_for_each_completion_is_told_from_who_has_else_to_do() {
    if is_guest() {
        return;
    }
    let disk = LoopDevice::uncached(16);
    let at = Subject::Disk(disk.device(), op::READ);
    for engine in ["--ioengine=libaio", "--ioengine=io_uring"] {
        let read = |options: &[&str]| {
            let reads = || device::diskstats(disk.name())[0];
            let before = reads();
            let reader = fork(|_| {
                let fixed = [engine, "--iodepth=1", "--direct=1", "--rw=randread", "--bs=256k", "--time_based"];
                let error = fio_on(&disk.path, &[&fixed, options].concat()).stdout(Stdio::null()).exec();
                panic!("these tests need `fio`: {error}");
            });
            until("it reads", || if reads() > before { Ok(()) } else { Err("it does not".to_owned()) });
            found_beside(&["S11"], &[reader])
        };
        let slow = read(&["--runtime=60"]);
        assert!(slow.iter().any(|finding| finding.at == at), "{engine} {slow:?}");
        assert_eq!(read(&["--runtime=60", "--thinktime=20000"]), [], "{engine}");
    }
}

/// Reads of what is in memory. A guest is too slow for so many that it matters who does them.
#[test]
fn who_leaves_reads_to_workers_is_told_from_who_does_them_by_itself() {
    if is_guest() {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.file("data", 16 << 20);
    let read = |options: &[&str]| {
        let fixed =
            ["--ioengine=io_uring", "--iodepth=64", "--rw=randread", "--time_based", "--runtime=1", "--nice=-20"];
        found("S23", || vec![fio(&path, &[&fixed, options].concat()).0])
    };
    let passed_on = read(&["--force_async=1"]);
    let [finding] = &passed_on[..] else { panic!("{passed_on:?}") };
    assert!(finding.claim.starts_with("100 %"), "{finding:?}");
    assert_eq!(read(&[]), []);
}

/// Reads of which a busy host is no large part.
fn read_large(disk: &LoopDevice) {
    const LENGTH: usize = 256 << 10;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
    let mut memory = vec![0; LENGTH + 4096];
    let begin = memory.as_ptr().align_offset(4096);
    for place in (0..16 << 20).step_by(LENGTH).cycle().take(4_000) {
        file.read_exact_at(&mut memory[begin..begin + LENGTH], place).unwrap();
    }
}

#[test]
fn a_writer_that_is_paused_is_told_from_one_that_is_not() {
    if is_guest() {
        return;
    }
    let disk = LoopDevice::uncached(96);
    let (limit, scratch) = (Limit::of_dirty_memory(&disk), Scratch::new());
    assert_eq!(found_of("S5", || fill(&disk.path)).len(), 1);
    drop(limit);
    assert_eq!(found_of("S5", || fill(&scratch.file("free", 0))), []);
}

#[test]
fn pages_that_come_from_a_disk_are_told_from_those_in_memory() {
    let disk = LoopDevice::uncached(64);
    let file = forgotten(&disk);
    assert_eq!(found_of("S16", || touch(&file)).len(), 1);
    // Whoever has the kernel drop its caches, pages that a process has mapped stay.
    let mut holder = fork(|parent| {
        touch(&file);
        parent.say([1]);
        parent.hear();
    });
    holder.hear::<1>();
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

/// Connections whose data nobody reads, with more room for it than TCP may use. They live until all is read.
fn stuffed(cable: &Cable) -> (Child, Child) {
    const CONNECTIONS: usize = 4;
    let mut server = fork(|parent| {
        cable.server.enter();
        let listener = TcpListener::bind((SERVER, PORT)).unwrap();
        parent.say([1]);
        let _unread: Vec<_> = (0..CONNECTIONS).map(|_| listener.accept().unwrap()).collect();
        parent.hear();
    });
    server.hear::<1>();
    let mut client = fork(|parent| {
        cable.client.enter();
        let full = || {
            let mut connection = TcpStream::connect((SERVER, PORT)).unwrap();
            set(&connection, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 8 << 20);
            connection.set_nonblocking(true).unwrap();
            while connection.write(&[1; 4_096]).is_ok() {}
            connection
        };
        let _stuffed: Vec<_> = (0..CONNECTIONS).map(|_| full()).collect();
        parent.say([1]);
        parent.hear();
    });
    client.hear::<1>();
    (server, client)
}

#[test]
fn whoever_holds_the_memory_of_tcp_is_named() {
    let cable = Cable::new();
    let observed = || {
        let seen = observe(&every(100), || stuffed(&cable));
        let model = seen.model();
        let memory = model.host.row.sum.tcp_memory.unwrap();
        figure_of_test("memory of TCP, from where on there is pressure", format!("{memory:?}"));
        let findings = all(&model).into_iter().filter(|finding| finding.id == "N21");
        (findings.collect::<Vec<_>>(), seen.said.1.pid)
    };
    assert_eq!(observed().0, []);
    let limit = Limit::of_tcp_memory(1_024, 2_048);
    let (findings, pid) = observed();
    drop(limit);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert!(finding.subject.ends_with(&format!("({pid})")), "{finding:?}");
}
