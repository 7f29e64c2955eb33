//! Memory that is swapped out and fetched again, against the kernel's delay accounting.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt as _;

use profiler_common::wait;

use super::disk::Delayed;
use super::group::{Group, is_version_1};
use crate::kernel::child::{Child, clock, fork};
use crate::kernel::clock::{be_first, compare, sleeps};
use crate::kernel::device::LoopDevice;
use crate::kernel::observe::{every, observe, until};
use crate::kernel::taskstats::{Accounting, IO, Stats};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;
const MUCH: usize = 128 * MIB;
const LITTLE: usize = 16 * MIB;

/// Members of `struct taskstats`: waits for memory that was swapped out, and time in direct reclaim.
const SWAPPED: usize = 56;
const RECLAIM: usize = 320;

/// A disk that memory is swapped to, until dropped. Each request takes long: what the kernel needs to wake a thread up
/// does not count then.
struct Swap {
    disk: Delayed,
    _below: LoopDevice,
}

impl Swap {
    /// Its first page is as `mkswap` makes it (`union swap_header`).
    fn new(mebibytes: usize) -> Self {
        let below = LoopDevice::uncached(mebibytes);
        let disk = Delayed::over(below.name(), 5);
        let mut header = vec![0; PAGE];
        let last_page = u32::try_from(mebibytes * MIB / PAGE - 1).unwrap();
        header[1024..1028].copy_from_slice(&1u32.to_ne_bytes());
        header[1028..1032].copy_from_slice(&last_page.to_ne_bytes());
        header[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
        let file = OpenOptions::new().write(true).open(disk.path()).unwrap();
        file.write_all_at(&header, 0).unwrap();
        file.sync_all().unwrap();
        drop(file);
        let swap = Self { disk, _below: below };
        // SAFETY: the string lives until the call returns.
        let result = unsafe { libc::swapon(swap.path().as_ptr(), 0) };
        assert_eq!(result, 0, "swapon: {}", io::Error::last_os_error());
        swap
    }

    fn path(&self) -> CString {
        CString::new(self.disk.path()).unwrap()
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        // SAFETY: the string lives until the call returns.
        if unsafe { libc::swapoff(self.path().as_ptr()) } != 0 {
            eprintln!("swapoff: {}", io::Error::last_os_error());
        }
    }
}

/// While it is watched, it only fetches what was swapped out before: nobody reclaims anything.
#[test]
fn memory_that_was_swapped_out_as_in_taskstats() {
    let (group, _swap, _accounting) = (Group::new("memory"), Swap::new(256), Accounting::on());
    let mut child = fork(|parent| {
        group.enter();
        be_first();
        let mut memory = vec![0u8; MUCH];
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        parent.say([1]);
        parent.hear();
        let until = clock(libc::CLOCK_MONOTONIC) + 1_000_000_000;
        for byte in memory.iter().step_by(PAGE).take_while(|_| clock(libc::CLOCK_MONOTONIC) < until) {
            black_box(*byte);
        }
        parent.say([1]);
        parent.hear();
    });
    done(&mut child);
    swap_out(&group, &child);
    let before = Stats::of(child.pid);
    let seen = observe(&every(50), || {
        child.say(1);
        done(&mut child)
    });
    // Since 5.17 (a3d5dc908a5f), of which this version is, too, such waits are like all other I/O.
    let member = if before.version() >= 11 { IO } else { SWAPPED };
    let truth = seen.said.number(member) - before.number(member);
    compare("page faults", seen.sum(child.pid, |row| row.waits[wait::FAULT as usize]), truth);
    child.kill();
}

/// While it is watched, it only has its own memory swapped out, by a limit that it sets itself. In version 1 it waits for
/// the disk meanwhile; in version 2 all of it is CPU time.
#[test]
fn memory_that_is_swapped_out_as_in_taskstats() {
    let (group, _swap, _accounting) = (Group::new("memory"), Swap::new(256), Accounting::on());
    let mut child = fork(|parent| {
        group.enter();
        be_first();
        let mut memory = vec![0u8; MUCH];
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        parent.say([1]);
        parent.hear();
        drop(group.try_set(limit(), &LITTLE.to_string()));
        parent.say([1]);
        parent.hear();
        black_box(&memory);
    });
    let before = done(&mut child);
    let seen = observe(&every(50), || {
        child.say(1);
        done(&mut child)
    });
    let truth = seen.said.number(RECLAIM) - before.number(RECLAIM);
    let ours = seen.sum(child.pid, |row| row.reclaim_cpu_ns + row.waits[wait::RECLAIM as usize]);
    compare("reclaim", ours, truth);
    child.kill();
}

/// Name of the limit that kills nobody.
fn limit() -> &'static str {
    if is_version_1() { "memory.limit_in_bytes" } else { "memory.high" }
}

/// Has the kernel swap a child's memory out, by a limit that is lifted then.
fn swap_out(group: &Group, child: &Child) {
    let none = if is_version_1() { "-1" } else { "max" };
    let status = format!("/proc/{}/status", child.pid);
    until("most of the memory is swapped out", || {
        // Version 1 refuses a limit that it does not get down to at once.
        drop(group.try_set(limit(), &LITTLE.to_string()));
        let status = fs::read_to_string(&status).unwrap();
        let mut lines = status.lines();
        let swapped =
            lines.find_map(|line| line.strip_prefix("VmSwap:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        match swapped {
            Some(kibibytes) if kibibytes * 1024 >= MUCH / 4 * 3 => Ok(()),
            _ => Err(status),
        }
    });
    group.set(limit(), none);
}

/// What the kernel says of a child that has just said that it is done.
fn done(child: &mut Child) -> Stats {
    child.hear::<1>();
    sleeps(child);
    Stats::of(child.pid)
}
