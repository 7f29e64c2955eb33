//! Disks whose latency is known.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::process::{self, Command};
use std::thread;

use profiler::batch::DiskRow;
use profiler::field::{Scope, Subject, Table, Value, sheet};
use profiler_common::disk::op;

use crate::kernel::child::{clock, fork};
use crate::kernel::device::{Page, device, diskstats};
use crate::kernel::observe::{Seen, absent, assert_close, every, figure, ms, observe, once, tool};

const MS: u64 = 1_000_000;
const READS: u64 = 100;

/// Reads one page after another with a process of its own; how long each read took it, on average.
fn read_pages(path: &str) -> u64 {
    read_pages_from(path, 0)
}

/// The same from a page on.
fn read_pages_from(path: &str, first: u64) -> u64 {
    let mut child = fork(|parent| {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
        let mut page = Page([0; 4096]);
        let begin = clock(libc::CLOCK_MONOTONIC);
        for place in first..first + READS {
            file.read_exact_at(&mut page.0, place * 4096).unwrap();
        }
        parent.say([(clock(libc::CLOCK_MONOTONIC) - begin) / READS]);
    });
    let [took_ns] = child.hear();
    child.end();
    took_ns
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
    let seen = observe(&every(50), || {
        let before = diskstats(name);
        let took_ns = read_pages(&format!("/dev/{name}"));
        let after = diskstats(name);
        (took_ns, [0, 3].map(|place| after[place] - before[place]))
    });
    let (took_ns, [requests, all_ms]) = seen.said;
    let rows = rows_of(&seen, device);
    let sum = |value: fn(&DiskRow) -> u64| -> u64 { rows.iter().map(|row| value(row)).sum() };
    assert!(rows.iter().all(|row| row.key.op == op::READ && row.queue_unknown == 0), "{rows:?}");
    assert_eq!((sum(|row| row.requests), sum(|row| row.bytes), requests), (READS, READS * 4096, READS));
    assert_eq!((sum(|row| row.service.count()), sum(|row| row.queue.count())), (READS, READS));
    // The kernel looks at its clock after us, in the emulator a tenth of a millisecond, or half of one.
    assert_close("request time", sum(|row| row.queue_ns + row.device_ns), all_ms * MS, 0.05);
    let (device_ns, request_ns) = (sum(|row| row.device_ns) / READS, sum(|row| row.queue_ns + row.device_ns) / READS);
    let beyond_ns = took_ns.checked_sub(request_ns);
    assert!(beyond_ns.is_some_and(|ns| ns < nominal_ns / 5), "{took_ns} for the reader, of a request {request_ns}");
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
    let [reader, device, quickest] = [took_ns, device_ns, quickest_ns].map(ms);
    figure(
        &format!("{name}, told {}: device (quickest interval) < reader", ms(nominal_ns)),
        format!("{device} ({quickest}) < {reader}"),
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
    let seen = observe(&once(), || -> u64 {
        thread::scope(|scope| {
            // Far from each other: neighbors would become one request.
            let readers = [0, 1, 2, 3, 4, 5, 6, 7];
            let readers = readers.map(|reader| scope.spawn(move || read_pages_from("/dev/nullb0", reader * 1_000)));
            readers.into_iter().map(|reader| reader.join().unwrap()).sum()
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
    let (reader, wait, request) =
        (seen.said / 8, sum(|row| row.wait_ns) / waits, sum(|row| row.queue_ns + row.device_ns) / issued);
    figure(
        "nullb0, 8 readers for 4 tags: wait + request = reader",
        format!("{} + {} = {}", ms(wait), ms(request), ms(reader)),
    );
    assert!(wait > 8 * MS, "{wait} ns");
    assert_close("wait and request", wait + request, reader, 0.05);
}

#[test]
fn a_disk_of_the_emulator_takes_what_it_was_told() {
    each_read_takes("vdb", 20 * MS);
}

/// A device that passes its requests on to another after 15 ms, removed when dropped.
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

#[test]
fn what_a_stacked_disk_adds_is_told_apart_from_the_disk_below() {
    let disk = Delayed::over("vdb", 15);
    let (above, below) = (device(&disk.kernel_name), device("vdb"));
    let seen = observe(&once(), || read_pages(&format!("/dev/mapper/{}", disk.name)));
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
    let (took_ns, mean_ns) = (seen.said, ns(above, "disk.latency_mean_ns"));
    let (above_ns, below_ns) = (ns(above, "disk.above_mean_ns"), ns(below, "disk.latency_mean_ns"));
    let [reader, above_it, below_it] = [took_ns, above_ns, below_ns].map(ms);
    figure("dm-delay of 15 ms over vdb: reader = above + below", format!("{reader} = {above_it} + {below_it}"));
    assert_eq!(cell(above, "disk.backing"), &Value::Text(format!("{} on vdb", disk.name)));
    assert_eq!(model.disks[&above].latency(op::READ).map(|latency| latency.requests), Some(READS));
    assert_close("mean", mean_ns, took_ns, 0.1);
    // No less than it was told, no more than the reader noticed, but for the ticks of 4 ms in which the kernel counts.
    assert!((14 * MS..=took_ns - below_ns + 4 * MS).contains(&above_ns), "{above_ns}");
    assert!(below_ns >= 20 * MS, "{below_ns}");
}
