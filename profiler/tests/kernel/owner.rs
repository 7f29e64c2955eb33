//! For whom disks work: readers against their own count, writers whose pages somebody else writes back against
//! `/proc/PID/io`.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use profiler::batch::DiskOwnerRow;
use profiler_common::disk::op;

use crate::kernel::child::{Child, fork};
use crate::kernel::device::{LoopDevice, Mount, Page};
use crate::kernel::observe::{Seen, absent, assert_close, every, figure_of_test, is_guest, observe};

const MIB: usize = 1 << 20;

/// What each writer leaves in memory, in MiB; emulated disks are slow.
fn much() -> u64 {
    if is_guest() { 16 } else { 64 }
}

/// With room for two of them.
fn mount() -> Mount {
    Mount::ext4(if is_guest() { 64 } else { 256 })
}

/// What a device did for each of these processes, and for all: requests and bytes.
fn done<T, const N: usize>(seen: &Seen<T>, device: u32, op: u32, pids: [u32; N]) -> ([(u64, u64); N], u64) {
    let rows = || seen.batches.iter().flat_map(|batch| &batch.disk_owners);
    let rows = || rows().filter(|row| (row.key.device, row.key.op) == (device, op));
    let of = |pid| {
        let sum = |value: fn(&DiskOwnerRow) -> u64| rows().filter(|row| row.process.pid == pid).map(value).sum();
        (sum(|row| row.requests), sum(|row| row.bytes))
    };
    let disks = seen.batches.iter().flat_map(|batch| &batch.disks);
    let all = disks.filter(|row| (row.key.device, row.key.op) == (device, op)).map(|row| row.bytes).sum();
    (pids.map(of), all)
}

/// Reads so many pages past the cache.
fn reader(disk: &LoopDevice, pages: u64) -> Child {
    fork(|_| {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
        let mut page = Page([0; 4096]);
        (0..pages).for_each(|place| file.read_exact_at(&mut page.0, place * 4096).unwrap());
    })
}

#[test]
fn reads_are_for_who_asks() {
    let disk = LoopDevice::new(16);
    let seen = observe(&every(100), || {
        [reader(&disk, 1_000), reader(&disk, 300)].map(|child| {
            let pid = child.pid;
            child.end();
            pid
        })
    });
    let (each, all) = done(&seen, disk.device(), op::READ, seen.said);
    seen.assert_counts_whole();
    assert_eq!(all, 1_300 * 4096);
    assert_eq!(each, [(1_000, 1_000 * 4096), (300, 300 * 4096)]);
}

/// A control group of the first version, removed when dropped, that reads no more than so many bytes per second of a device.
struct SlowGroup(PathBuf);

impl SlowGroup {
    fn new(device: &str, bytes_per_second: u32) -> Self {
        let group = Self(Path::new("/sys/fs/cgroup/blkio").join(format!("profiler-test-{}", std::process::id())));
        fs::create_dir(&group.0).unwrap();
        let number = fs::read_to_string(format!("/sys/class/block/{device}/dev")).unwrap();
        let limit = format!("{} {bytes_per_second}", number.trim());
        fs::write(group.0.join("blkio.throttle.read_bps_device"), limit).unwrap();
        group
    }
}

impl Drop for SlowGroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// The kernel's worker goes on with what was held back, and has not asked for it.
#[test]
fn reads_that_a_limit_holds_back_are_not_for_the_worker_that_lets_them_go() {
    let disk = LoopDevice::new(16);
    let group = SlowGroup::new(disk.name(), 2 << 20);
    let seen = observe(&every(100), || {
        let child = fork(|_| {
            fs::write(group.0.join("cgroup.procs"), std::process::id().to_string()).unwrap();
            let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
            let mut page = Page([0; 4096]);
            (0..512).for_each(|place| file.read_exact_at(&mut page.0, place * 4096).unwrap());
        });
        [child.ended()]
    });
    let (device, rows) = (disk.device(), seen.batches.iter().flat_map(|batch| &batch.disk_owners));
    let owners: BTreeSet<_> = rows.filter(|row| row.key.device == device).map(|row| row.process.pid).collect();
    let ([(_, its)], all) = done(&seen, device, op::READ, seen.said);
    figure_of_test("bytes read: its own, of nobody that is known", format!("{its}, {}", all - its));
    assert_eq!(all, 512 * 4096);
    assert!(all > its, "nothing was held back");
    assert!(owners.iter().all(|pid| seen.said.contains(pid)), "{owners:?}");
}

/// Writes so many MiB to a file, in turns of one MiB at every `step`th place from `first` on; `write_bytes` of its `io`.
fn writer(path: &str, mebibytes: u64, first: u64, step: u64) -> Child {
    fork(|parent| {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
        let data = vec![7; MIB];
        (0..mebibytes).for_each(|index| file.write_all_at(&data, (first + index * step) * MIB as u64).unwrap());
        let io = std::fs::read_to_string("/proc/self/io").unwrap();
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
        parent.say([written.parse().unwrap()]);
    })
}

/// Lets writers end one after another, then has somebody else write everything back; who they were, and their `write_bytes`.
fn written_back(mount: &Mount, writers: [Child; 2]) -> [(u32, u64); 2] {
    let told = writers.map(|mut child| {
        let (pid, [bytes]) = (child.pid, child.hear());
        child.end();
        (pid, bytes)
    });
    let all = File::open(mount.path("")).unwrap();
    // SAFETY: a plain number.
    assert_eq!(unsafe { libc::syncfs(all.as_raw_fd()) }, 0);
    told
}

#[test]
fn pages_written_back_are_for_who_made_them_dirty() {
    if absent().iter().any(|probe| probe == "writeback_dirty_folio") {
        return;
    }
    let mount = mount();
    let seen = observe(&every(100), || {
        written_back(&mount, ["one", "two"].map(|name| writer(&mount.path(name), much(), 0, 1)))
    });
    let (each, all) = done(&seen, mount.device.device(), op::WRITE, seen.said.map(|(pid, _)| pid));
    for ((_, io), (_, ours)) in seen.said.iter().zip(each) {
        assert_eq!(*io, much() * MIB as u64);
        assert_close("written for a process", ours, *io, 0.01);
    }
    let share = (each[0].1 + each[1].1) as f64 / all as f64;
    figure_of_test("written for the two who wrote", format!("{each:?} of {all}: {:.2} %", share * 100.0));
    assert!(share >= 0.99, "{each:?} of {all}");
}

#[test]
fn two_writers_share_a_file_in_proportion() {
    if absent().iter().any(|probe| probe == "writeback_dirty_folio") {
        return;
    }
    let mount = mount();
    let path = mount.path("both");
    File::create(&path).unwrap();
    let seen = observe(&every(100), || {
        written_back(&mount, [writer(&path, much() * 3 / 4, 0, 2), writer(&path, much() / 4, 1, 2)])
    });
    let (each, _) = done(&seen, mount.device.device(), op::WRITE, seen.said.map(|(pid, _)| pid));
    let share = each[0].1 as f64 / (each[0].1 + each[1].1) as f64;
    let truth = seen.said[0].1 as f64 / (seen.said[0].1 + seen.said[1].1) as f64;
    figure_of_test("share of the greater writer = /proc/PID/io", format!("{share:.3} = {truth:.3}"));
    assert!((share - truth).abs() <= 0.02, "{each:?}, {:?}", seen.said);
}
