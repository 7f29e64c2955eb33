//! Waits that have nothing to do with I/O.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, thread};

use super::{HELD, late, process_spends, spends};
use crate::kernel::child::{fork, pin, signal};
use crate::kernel::observe::{absent, until};

#[test]
fn a_sleep() {
    spends("sleep", || thread::sleep(HELD));
}

#[test]
fn a_signal() {
    // SAFETY: sets an alarm for itself, whose signal it waits for.
    spends("signal", || unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGALRM);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, null_mut());
        libc::alarm(1);
        assert_eq!(libc::sigwaitinfo(&raw const set, null_mut()), libc::SIGALRM);
    });
}

#[test]
fn a_futex() {
    spends("futex", || {
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
    process_spends("lock", || {
        let mut holder = fork(|parent| {
            let _file = lock();
            parent.say([1]);
            thread::sleep(HELD);
        });
        holder.hear::<1>();
        fork(|_| drop(lock())).ended()
    });
}

#[test]
fn a_pipe_and_another_socket() {
    spends("pipe", || {
        let (mut from, mut to) = std::io::pipe().unwrap();
        late(move || to.write_all(&[1]).unwrap());
        from.read_exact(&mut [0]).unwrap();
        let (mut one, mut other) = UnixStream::pair().unwrap();
        late(move || other.write_all(&[1]).unwrap());
        one.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn a_child() {
    spends("child", || {
        late(|| ());
        // SAFETY: no status is asked for.
        assert!(unsafe { libc::wait(null_mut()) } > 0);
    });
}

#[test]
fn poll_and_epoll() {
    spends("poll", || {
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
    process_spends("stopped", || {
        // SAFETY: stops itself.
        let child = fork(|_| assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0));
        let stat = format!("/proc/{}/stat", child.pid);
        until("it is stopped", || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            if stat.contains(") T ") { Ok(()) } else { Err(stat) }
        });
        thread::sleep(HELD);
        signal(child.pid, libc::SIGCONT);
        child.ended()
    });
}

/// Two processes write to the same file in memory, which its lock lets only one do at a time. On one CPU: else who waits would
/// spin.
#[test]
fn a_lock_inside_the_kernel() {
    if absent().iter().any(|probe| probe == "contention_begin") {
        return;
    }
    let path = Path::new("/dev/shm").join(format!("profiler-test-{}", std::process::id()));
    let file = File::create(&path).unwrap();
    fs::remove_file(&path).unwrap();
    process_spends("lock", || {
        let (mut holder_runs, to_tell) = std::io::pipe().unwrap();
        let holder = fork(|_| {
            pin(0);
            let much = vec![1; 64 << 20];
            (&to_tell).write_all(&[1]).unwrap();
            // For as long as it takes the other to come.
            loop {
                file.write_all_at(&much, 0).unwrap();
            }
        });
        holder_runs.read_exact(&mut [0]).unwrap();
        let waiter = fork(|_| {
            pin(0);
            (0..4).for_each(|_| file.write_all_at(&[1], 0).unwrap());
        });
        let pid = waiter.ended();
        holder.kill();
        pid
    });
}
