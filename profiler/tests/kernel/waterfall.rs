//! Where a thread's time goes: workloads with one cause each, of which we have to name that one.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use profiler::batch::TaskRow;
use profiler_common::wait::{self, NAMES, WAITS};

use crate::kernel::child::{Child, fork, signal};
use crate::kernel::device::{LoopDevice, Mount};
use crate::kernel::network::{Cable, SERVER};
use crate::kernel::observe::{Seen, every, figure_of_test, observe, until};

const MS: u64 = 1_000_000;
/// How long a workload holds somebody up.
const HELD: Duration = Duration::from_millis(300);
const PORT: u16 = 7005;
/// More than both buffers of a connection hold.
const BYTES: usize = 32 << 20;

/// Runs a workload in a process of its own; most of what that process waited has to be of one kind.
#[track_caller]
fn waits_for(wanted: u32, workload: impl FnOnce()) {
    waits_of(wanted, || {
        let child = fork(|_| workload());
        let pid = child.pid;
        child.end();
        pid
    });
}

/// The same of a process that the workload names.
#[track_caller]
fn waits_of(wanted: u32, workload: impl FnOnce() -> u32) {
    let seen = observe(&every(50), workload);
    let mut waits: [u64; WAITS] = std::array::from_fn(|kind| seen.sum(seen.said, |row| row.waits[kind]));
    // That is its parent's doing.
    waits[wait::BIRTH as usize] = 0;
    let (blocked, meant) = (waits.iter().sum::<u64>(), waits[wanted as usize]);
    let all: Vec<_> = NAMES.iter().zip(waits).filter(|(_, ns)| *ns > 0).map(|(kind, ns)| (kind.id, ns)).collect();
    println!("{all:?}");
    let share = meant as f64 / blocked as f64;
    figure_of_test(NAMES[wanted as usize].label, format!("{:.1} %", share * 100.0));
    assert!(blocked > 5 * MS, "it hardly waited: {all:?}");
    assert!(share >= 0.95, "{} should be most of {all:?}", NAMES[wanted as usize].id);
    assert!(waits[wait::UNEXPLAINED as usize] as f64 <= 0.02 * blocked as f64, "{all:?}");
    adds_up(&seen);
}

/// What is booked of a process that was born while we watched is its wall time.
#[track_caller]
fn adds_up(seen: &Seen<u32>) {
    let sum = |value: fn(&TaskRow) -> u64| seen.sum(seen.said, value);
    let told = sum(|row| row.cpu_ns + row.runq_wakeup_ns + row.runq_preempted_ns + row.waits.iter().sum::<u64>());
    let (wall, off) = (sum(|row| row.wall_ns), told.abs_diff(sum(|row| row.wall_ns)));
    assert!(off <= wall / 1_000 + SLACK_NS, "{told} told, off by {off} of {wall}: {:?}", seen.tasks(seen.said).last());
}

/// Of a thread that has just woken up, CPU time that the scheduler has not booked yet was told as its wait, and the life may be
/// over before that has come as far: a tick of the timer, which an emulator may leave out for a while.
const SLACK_NS: u64 = 20_000_000;

#[test]
fn a_sleep() {
    waits_for(wait::SLEEP, || thread::sleep(HELD));
}

#[test]
fn a_signal() {
    // SAFETY: sets an alarm for itself, whose signal it waits for.
    waits_for(wait::SIGNAL, || unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGALRM);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, null_mut());
        libc::alarm(1);
        assert_eq!(libc::sigwaitinfo(&raw const set, null_mut()), libc::SIGALRM);
    });
}

#[test]
fn a_futex() {
    waits_for(wait::FUTEX, || {
        let word = AtomicU32::new(0);
        let time = libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 };
        // SAFETY: the word and the time live until the call returns.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, &raw const time) };
        word.store(1, Ordering::Relaxed);
    });
}

#[test]
fn a_file_lock() {
    let lock = || {
        let file = File::open("/dev/zero").unwrap();
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
        file
    };
    waits_of(wait::LOCK, || {
        let mut holder = fork(|parent| {
            let _file = lock();
            parent.say([1]);
            thread::sleep(HELD);
        });
        holder.hear::<1>();
        let waiter = fork(|_| drop(lock()));
        let pid = waiter.pid;
        waiter.end();
        pid
    });
}

#[test]
fn a_pipe_and_another_socket() {
    waits_for(wait::PIPE, || {
        let (mut from, mut to) = std::io::pipe().unwrap();
        late(move || to.write_all(&[1]).unwrap());
        from.read_exact(&mut [0]).unwrap();
        let (mut one, mut other) = UnixStream::pair().unwrap();
        late(move || other.write_all(&[1]).unwrap());
        one.read_exact(&mut [0]).unwrap();
    });
}

/// Does something after a while, in another process.
fn late(work: impl FnOnce()) {
    // SAFETY: the child sleeps, works and exits.
    unsafe {
        if libc::fork() == 0 {
            libc::usleep(300_000);
            work();
            libc::_exit(0);
        }
    }
}

#[test]
fn a_child() {
    waits_for(wait::CHILD, || {
        late(|| ());
        // SAFETY: no status is asked for.
        assert!(unsafe { libc::wait(null_mut()) } > 0);
    });
}

#[test]
fn poll_and_epoll() {
    waits_for(wait::POLL, || {
        // SAFETY: no descriptors are given; the events live.
        unsafe {
            libc::poll(null_mut(), 0, 200);
            let epoll = libc::epoll_create1(0);
            let mut event: libc::epoll_event = std::mem::zeroed();
            libc::epoll_wait(epoll, &raw mut event, 1, 200);
        }
    });
}

#[test]
fn a_stop() {
    waits_of(wait::STOPPED, || {
        // SAFETY: stops itself.
        let child = fork(|_| assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0));
        let stat = format!("/proc/{}/stat", child.pid);
        until("it is stopped", || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            if stat.contains(") T ") { Ok(()) } else { Err(stat) }
        });
        thread::sleep(HELD);
        signal(child.pid, libc::SIGCONT);
        let pid = child.pid;
        child.end();
        pid
    });
}

#[test]
fn connections_to_accept() {
    waits_for(wait::ACCEPT, || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        late(move || drop(TcpStream::connect(address).unwrap()));
        drop(listener.accept().unwrap());
    });
}

#[test]
fn data_of_a_slow_server() {
    waits_for(wait::RECEIVE, || {
        let (mut one, mut other) = connected();
        late(move || other.write_all(&[1]).unwrap());
        one.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn a_receiver_that_does_not_read() {
    waits_for(wait::SEND, || {
        let (mut one, mut other) = connected();
        late(move || other.read_exact(&mut vec![0; BYTES]).unwrap());
        one.write_all(&vec![0; BYTES]).unwrap();
    });
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn a_handshake_that_is_lost() {
    let cable = Cable::new();
    waits_of(wait::CONNECT, || {
        let _server: Child = crate::kernel::tcp::listen(&cable.server, PORT, 5);
        Cable::cut(&cable.client);
        let mut client = fork(|parent| {
            cable.client.enter();
            parent.say([1]);
            drop(TcpStream::connect((SERVER, PORT)).unwrap());
        });
        client.hear::<1>();
        until("it has tried", || match cable.client.run(&["ss", "-tnHo", "state", "syn-sent"]) {
            told if told.contains("timer:(on") => Ok(()),
            told => Err(told),
        });
        cable.mend();
        let pid = client.pid;
        client.end();
        pid
    });
}

/// Memory as direct I/O wants it.
#[repr(align(4096))]
struct Page([u8; 4096]);

#[test]
fn direct_reads() {
    let disk = LoopDevice::uncached(16);
    waits_for(wait::DISK_READ, || {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
        let mut page = Page([0; 4096]);
        for place in (0..16 << 20).step_by(1 << 14).cycle().take(2_000) {
            file.read_exact_at(&mut page.0, place).unwrap();
        }
    });
}

#[test]
fn direct_writes() {
    let disk = LoopDevice::uncached(16);
    waits_for(wait::DISK_WRITE, || {
        let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
        let page = Page([1; 4096]);
        for place in (0..16 << 20).step_by(1 << 14).cycle().take(2_000) {
            file.write_all_at(&page.0, place).unwrap();
        }
    });
}

#[test]
fn buffered_reads_that_miss_the_cache() {
    let disk = LoopDevice::uncached(64);
    let file = forgotten(&disk);
    waits_for(wait::DISK_READ, || {
        let mut page = [0; 4096];
        for place in (0..64 << 20).step_by(1 << 15) {
            file.read_exact_at(&mut page, place).unwrap();
        }
    });
}

#[test]
fn pages_of_a_mapped_file() {
    let disk = LoopDevice::uncached(64);
    let file = forgotten(&disk);
    waits_for(wait::FAULT, || {
        let length = 64 << 20;
        // SAFETY: a mapping of a device as long as it is, only read.
        unsafe {
            let map =
                libc::mmap(null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0).cast::<u8>();
            assert!(!map.is_null());
            libc::madvise(map.cast(), length, libc::MADV_RANDOM);
            for place in (0..length).step_by(1 << 15) {
                std::ptr::read_volatile(map.add(place));
            }
        }
    });
}

/// A disk of which nothing is cached, and that is read at random.
fn forgotten(disk: &LoopDevice) -> File {
    let file = File::open(&disk.path).unwrap();
    for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_RANDOM] {
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }, 0);
    }
    file
}

/// A process that syncs waits for its data, for the journal, and for the device's cache: nothing else.
#[test]
fn syncs() {
    let mount = Mount::ext4(64);
    let path = mount.path("file");
    let seen = observe(&every(50), || {
        let child = fork(|_| {
            let mut file = File::create(&path).unwrap();
            for _ in 0..300 {
                file.write_all(&[1; 4096]).unwrap();
                file.sync_all().unwrap();
            }
        });
        let pid = child.pid;
        child.end();
        pid
    });
    let sum = |kind: u32| seen.sum(seen.said, |row: &TaskRow| row.waits[kind as usize]);
    let (written, journal) = (sum(wait::DISK_WRITE), sum(wait::JOURNAL));
    let all = seen.sum(seen.said, |row| row.waits.iter().sum()) - sum(wait::BIRTH);
    let share = (written + journal) as f64 / all as f64;
    figure_of_test("disk write + journal", format!("{:.1} %", share * 100.0));
    assert!(written > 0 && journal > 0);
    assert!(share >= 0.95, "{written} and {journal} of {all}");
    adds_up(&seen);
}
