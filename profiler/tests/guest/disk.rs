//! Disks whose latency is known.

use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use io_uring::{IoUring, opcode, types};
use profiler::batch::DiskRow;
use profiler::field::{Scope, Subject, Table, Value, sheet};
use profiler_common::disk::op;

use crate::kernel::child::{self, Child, Clock, fork, pin};
use crate::kernel::device::{LoopDevice, Page, device, settled};
use crate::kernel::finding::{found_beside, found_of};
use crate::kernel::observe::{Seen, absent, assert_close, every, figure, ms, observe, once, tool};

const MS: u64 = 1_000_000;
const READS: u64 = 60;

/// A read of a page as its reader has seen it.
#[derive(Clone, Copy)]
struct Read {
    /// A quarter of all took no longer.
    quartile_ns: u64,
    /// All, on average.
    took_ns: u64,
    /// Of that, neither on its CPU nor waiting for it.
    blocked_ns: u64,
}

/// Reads one page after another with a process of its own.
fn read_pages(path: &str, pages: Range<u64>) -> Read {
    let mut child = fork(|parent| {
        // Who wakes it does so on its own CPU: on the way to another one it is on nobody's clock.
        pin(0);
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
        let mut page = Page([0; 4096]);
        let clock = Clock::new();
        let (begin, reads, mut each_ns) = (clock.now(), pages.end - pages.start, Vec::new());
        let mut before = begin.wall_ns;
        for place in pages {
            file.read_exact_at(&mut page.0, place * 4096).unwrap();
            let now = child::clock(libc::CLOCK_MONOTONIC);
            each_ns.push(now - before);
            before = now;
        }
        let end = clock.now();
        each_ns.sort_unstable();
        let quartile_ns = each_ns[each_ns.len() / 4];
        parent.say([quartile_ns, (end.wall_ns - begin.wall_ns) / reads, end.blocked_since(&begin) / reads]);
    });
    let [quartile_ns, took_ns, blocked_ns] = child.hear();
    child.end();
    Read { quartile_ns, took_ns, blocked_ns }
}

impl Read {
    /// Such a request was over before its reader knew. It slept for that long, give or take 5 %: it is woken somewhat later.
    #[track_caller]
    fn assert_spans(&self, what: &str, request_ns: u64) {
        let Self { took_ns, blocked_ns, .. } = *self;
        let words = [blocked_ns, request_ns, took_ns].map(ms).join(" < ");
        figure(&format!("{what}: the reader is blocked < request < reader"), words);
        assert!(
            (blocked_ns * 19 / 20..took_ns).contains(&request_ns),
            "{request_ns} of {took_ns}, blocked {blocked_ns}"
        );
    }
}

/// Rows of a device.
fn rows_of<T>(seen: &Seen<T>, device: u32) -> Vec<&DiskRow> {
    let rows = seen.batches.iter().flat_map(|batch| &batch.disks);
    rows.filter(|row| row.key.device == device && row.requests > 0).collect()
}

/// A disk on which each read takes so long, and no less. Its timer is late when the emulator gets no CPU: in all, the truth
/// is what the kernel itself has summed up, and what the reader waited for; the quickest interval is as nobody disturbed it.
#[track_caller]
fn each_read_takes(name: &str, nominal_ns: u64) {
    let device = device(name);
    // The longer the intervals, the less an emulator has to do beside its disk.
    let seen = observe(&every(400), || {
        let before = settled(name);
        let read = read_pages(&format!("/dev/{name}"), 0..READS);
        let after = settled(name);
        (read, [0, 3].map(|place| after[place] - before[place]))
    });
    let (read, [requests, all_ms]) = seen.said;
    let rows = rows_of(&seen, device);
    let sum = |value: fn(&DiskRow) -> u64| -> u64 { rows.iter().map(|row| value(row)).sum() };
    assert!(rows.iter().all(|row| row.key.op == op::READ && row.queue_unknown == 0), "{rows:?}");
    assert_eq!((sum(|row| row.requests), sum(|row| row.bytes), requests), (READS, READS * 4096, READS));
    assert_eq!((sum(|row| row.service.count()), sum(|row| row.queue.count())), (READS, READS));
    // The kernel looks at its clock before us, and after us: in an emulator up to a millisecond.
    let (request_ns, most_ns) = (sum(|row| row.queue_ns + row.device_ns), (all_ms + 1) * MS);
    assert!((nominal_ns * READS..most_ns).contains(&request_ns), "{request_ns}, but by diskstats {all_ms} ms");
    let (device_ns, request_ns) = (sum(|row| row.device_ns) / READS, request_ns / READS);
    read.assert_spans(name, request_ns);
    // A reading may come in the middle of a completion: then a request counts in one interval and its time in the next.
    let whole: Vec<_> = rows.iter().filter(|row| row.requests == row.service.count()).collect();
    for row in &whole {
        assert!(row.device_ns >= nominal_ns * row.requests, "{row:?}");
        let bounds = row.service.slots.iter().map(|(slot, count)| (row.service.bounds(*slot), count));
        let (least_ns, most_ns) =
            bounds.fold((0, 0), |sum, ((low, high), count)| (sum.0 + low * count, sum.1 + high * count));
        assert!((least_ns..most_ns).contains(&row.device_ns), "{:?}", row.service);
    }
    let quickest_ns = whole.iter().map(|row| row.device_ns / row.requests).min().unwrap();
    let [device, quickest, kernel, reader] = [device_ns, quickest_ns, all_ms * MS / READS, read.took_ns].map(ms);
    figure(
        &format!("{name}, told {}: device (quickest interval) < diskstats < reader", ms(nominal_ns)),
        format!("{device} ({quickest}) < {kernel} < {reader}"),
    );
    assert_close("quickest interval", quickest_ns, nominal_ns, 0.05);
}

#[test]
fn a_null_block_device_takes_what_its_timer_says() {
    each_read_takes("nullb0", 10 * MS);
}

/// Eight want four tags, each of which is in use for 10 ms: they wait as long again.
#[test]
fn a_wait_for_a_tag_is_what_the_reader_waits_beyond_the_request() {
    let (device, limit) = (device("nullb0"), "/sys/block/nullb0/queue/nr_requests");
    let before = fs::read_to_string(limit).unwrap();
    fs::write(limit, "4").unwrap();
    let seen = observe(&once(), || {
        thread::scope(|scope| {
            // Far from each other: neighbors would become one request.
            let pages = [0, 1, 2, 3, 4, 5, 6, 7].map(|reader| reader * 1_000..reader * 1_000 + READS);
            let readers = pages.map(|pages| scope.spawn(|| read_pages("/dev/nullb0", pages)));
            readers.map(|reader| reader.join().unwrap())
        })
    });
    fs::write(limit, before.trim()).unwrap();
    let rows = rows_of(&seen, device);
    let sum = |value: fn(&DiskRow) -> u64| -> u64 { rows.iter().map(|row| value(row)).sum() };
    let (whole, issued) = (8 * READS, sum(|row| row.service.count()));
    // Where programs can be preempted, some of the others are not run.
    let seen_of = |count: u64, programs| (whole - seen.missed(programs)..=whole).contains(&count);
    assert!(seen_of(issued, "block_rq_"), "{:?} {rows:?}", seen.lost());
    if absent().contains(&"block_bio_queue".to_owned()) {
        return assert_eq!(sum(|row| row.waits), 0, "not known, and not told as none");
    }
    let waits = sum(|row| row.waits);
    assert!(seen_of(waits, "block_"), "{:?} {rows:?}", seen.lost());
    let (wait, request) = (sum(|row| row.wait_ns) / waits, sum(|row| row.queue_ns + row.device_ns) / issued);
    figure("nullb0, 8 readers for 4 tags: wait + request", format!("{} + {}", ms(wait), ms(request)));
    // Not ten: they neither begin nor end together.
    assert!(wait > 5 * MS, "{wait} ns");
    let mean = |value: fn(&Read) -> u64| seen.said.iter().map(value).sum::<u64>() / 8;
    let read = Read {
        quartile_ns: mean(|read| read.quartile_ns),
        took_ns: mean(|read| read.took_ns),
        blocked_ns: mean(|read| read.blocked_ns),
    };
    read.assert_spans("nullb0 with a wait for a tag", wait + request);
}

/// Asks for so many reads at a time with a ring, until it is ended.
fn read_ahead(path: &str, depth: u32) -> Child {
    let mut child = fork(|parent| {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
        let (mut ring, mut page) = (IoUring::new(depth).unwrap(), Page([0; 4096]));
        // Far from each other, as neighbors would become one request; nobody looks at what is read.
        let mut places = (0..16).cycle().map(|place| place * 1_000 * 4096);
        let mut ask = |ring: &mut IoUring| {
            let read = opcode::Read::new(types::Fd(file.as_raw_fd()), page.0.as_mut_ptr(), 4096);
            // SAFETY: the file and the page outlive the ring.
            unsafe { ring.submission().push(&read.offset(places.next().unwrap()).build()).unwrap() };
        };
        for _ in 0..depth {
            // Not all at once, as they would end so.
            ask(&mut ring);
            ring.submit().unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        parent.say([1]);
        loop {
            ring.submit_and_wait(1).unwrap();
            let ended: Vec<_> = ring.completion().map(|end| end.result()).collect();
            for result in ended {
                assert_eq!(result, 4096);
                ask(&mut ring);
            }
        }
    });
    child.hear::<1>();
    child
}

/// With eight of 20 ms at a time a disk is never idle, late as an emulated CPU may be with the next; with one of 10 ms at a time
/// it has room.
#[test]
fn a_device_that_is_asked_for_too_much_is_named_by_who_waits_for_completions() {
    let planted = [("vdb", 8, "S8"), ("nullb0", 1, "S11")];
    let readers = planted.map(|(name, depth, _)| read_ahead(&format!("/dev/{name}"), depth));
    let found = found_beside(&["S8", "S11"], &readers);
    for (name, _, id) in planted {
        let at = Subject::Disk(device(name), op::READ);
        let of_it = found.iter().filter(|finding| finding.at == at).map(|finding| finding.id);
        assert_eq!(of_it.collect::<Vec<_>>(), [id], "{name}");
    }
}

/// It has two requests at a time: with a scheduler the others wait as requests for their turn, without one they wait to be any.
#[test]
fn requests_that_queue_in_front_of_a_disk_are_named_by_who_waits_for_them() {
    let _slow = Slow::new(3 * MS, 2);
    let set = |name: &str, value: &str| fs::write(format!("/sys/block/{}/queue/{name}", Slow::NAME), value).unwrap();
    let found = || -> Vec<_> {
        let reader = read_ahead(Slow::PATH, 8);
        found_beside(&["S9"], &[reader]).into_iter().map(|finding| finding.at).collect()
    };
    set("scheduler", "mq-deadline");
    set("nr_requests", "16");
    assert_eq!(found(), [Subject::Disk(device(Slow::NAME), op::READ)]);
    set("scheduler", "none");
    assert!(found().is_empty());
}

/// What a loop device is told to write is in memory until it is flushed, and then on the disk below.
#[test]
fn a_disk_that_is_slow_to_flush_is_named_by_who_waits_for_that() {
    let found = |completion_ns: u64| {
        let _slow = Slow::new(completion_ns, 64);
        let disk = LoopDevice::over("--direct-io=off", Slow::PATH, None);
        let found = found_of("S2", || {
            let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
            for place in 0..80 {
                file.write_all_at(&Page([1; 4096]).0, place * 4096).unwrap();
                file.sync_data().unwrap();
            }
        });
        let at = Subject::Disk(disk.device(), op::FLUSH);
        found.into_iter().map(|finding| finding.at == at).collect::<Vec<_>>()
    };
    assert_eq!(found(12 * MS), [true]);
    assert_eq!(found(MS / 20), [false; 0]);
}

#[test]
fn a_disk_of_the_emulator_takes_what_it_was_told() {
    each_read_takes("vdb", 20 * MS);
}

/// A disk each of whose requests takes so long by a timer, and which has so many at a time; removed when dropped.
struct Slow(PathBuf);

impl Slow {
    /// The disk beside the one that the kernel's module was asked for.
    const NAME: &str = "nullb1";
    const PATH: &str = "/dev/nullb1";

    fn new(completion_ns: u64, at_once: u64) -> Self {
        let folder = Path::new("/sys/kernel/config/nullb").join(Self::NAME);
        fs::create_dir(&folder).unwrap();
        let times = [("irqmode", 2), ("completion_nsec", completion_ns), ("hw_queue_depth", at_once)];
        for (name, value) in [("size", 64)].into_iter().chain(times).chain([("power", 1)]) {
            fs::write(folder.join(name), value.to_string()).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// A device that passes its requests on to another after a while, removed when dropped.
pub struct Delayed {
    /// What device mapper calls it.
    pub name: String,
    /// Its name in `/proc/diskstats`.
    kernel_name: String,
}

impl Delayed {
    /// Over a disk, each of whose requests takes so much longer.
    pub fn over(below: &str, milliseconds: u32) -> Self {
        let name = format!("profiler-test-{}", process::id());
        let sectors = fs::read_to_string(format!("/sys/class/block/{below}/size")).unwrap();
        let table = format!("0 {} delay /dev/{below} 0 {milliseconds}", sectors.trim());
        tool("dmsetup", &["create", &name, "--table", &table]);
        let delayed = Self { kernel_name: kernel_name(&name), name };
        // Nobody else makes the nodes.
        tool("dmsetup", &["mknodes"]);
        delayed
    }
}

impl Delayed {
    /// Where it is opened.
    pub fn path(&self) -> String {
        format!("/dev/mapper/{}", self.name)
    }

    /// Its name in `/proc/diskstats`.
    pub fn kernel_name(&self) -> &str {
        &self.kernel_name
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        drop(Command::new("dmsetup").args(["remove", &self.name]).status());
    }
}

fn kernel_name(name: &str) -> String {
    let told = tool("dmsetup", &["info", "-c", "--noheadings", "-o", "blkdevname", name]);
    told.trim().to_owned()
}

/// A read takes 39 ms within 5 %, and for more than 24 of them a disk is at work. A delay ends with a tick of 4 ms, before 6.12 with
/// the one after: 12 ms are 15 there. Which they are is known by the reader's own clock.
#[test]
fn what_a_stacked_disk_adds_is_told_apart_from_the_disk_below() {
    const READ_NS: u64 = 39 * MS;
    const ABOVE_NS: u64 = 15 * MS;
    let _slow = Slow::new(24 * MS + MS / 2, 64);
    let took = |told_ms| read_pages(&Delayed::over(Slow::NAME, told_ms).path(), 0..15).quartile_ns;
    let told_ms = [15, 12].into_iter().min_by_key(|told_ms| took(*told_ms).abs_diff(READ_NS)).unwrap();
    let disk = Delayed::over(Slow::NAME, told_ms);
    let (above, below) = (device(&disk.kernel_name), device(Slow::NAME));
    let seen = observe(&once(), || read_pages(&disk.path(), 0..READS));
    assert!(rows_of(&seen, above).is_empty(), "its requests are given to no driver");
    let model = seen.model();
    let sheet = sheet(&model, Table::Disks, &Scope::default());
    let cell = |device: u32, id: &str| -> &Value {
        let row = sheet.rows.iter().find(|row| row.subject == Subject::Disk(device, op::READ)).unwrap();
        let column = sheet.columns.iter().position(|column| column.id == id).unwrap();
        &row.cells[column]
    };
    let ns = |device: u32, id: &str| {
        let Value::Nanos(ns) = cell(device, id) else { panic!("{id}: {:?}", cell(device, id)) };
        *ns
    };
    let Read { quartile_ns, took_ns, .. } = seen.said;
    let (mean_ns, above_ns) = (ns(above, "disk.latency_mean_ns"), ns(above, "disk.above_mean_ns"));
    let below_ns = ns(below, "disk.latency_mean_ns");
    let [quarter, reader, above_it, below_it] = [quartile_ns, took_ns, above_ns, below_ns].map(ms);
    let words = format!("{reader} ({quarter}) = {above_it} + {below_it}");
    figure("dm-delay over nullb1: reader (quickest quarter) = above + below", &words);
    assert_eq!(cell(above, "disk.backing"), &Value::Text(format!("{} on {}", disk.name, Slow::NAME)));
    assert_eq!(model.disks[&above].latency(op::READ).map(|latency| latency.requests), Some(READS));
    assert_close("mean", mean_ns, took_ns, 0.05);
    assert_close("quickest quarter", quartile_ns, READ_NS, 0.05);
    // Beyond that no more than the reader was later, on average, than in a quarter of its reads.
    let most_ns = ABOVE_NS * 21 / 20 + took_ns.saturating_sub(quartile_ns);
    assert!((ABOVE_NS * 19 / 20..=most_ns).contains(&above_ns), "{words}");
    assert!(below_ns >= 24 * MS, "{words}");
}
