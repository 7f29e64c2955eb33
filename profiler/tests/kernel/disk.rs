//! Block devices: requests against `/proc/diskstats`, latencies against `fio`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};

use profiler::batch::{DiskKey, DiskRow};
use profiler_common::disk::op;
use profiler_common::lost::UNSEEN_REQUESTS;
use serde_json::Value;

use crate::kernel::device::{self, LoopDevice, Page, Scratch};
use crate::kernel::observe::{Seen, every, figure_of_test, observe, once, tool};
use crate::kernel::trace::Trace;

/// Runs `fio` on a device with direct I/O and these options; what it says of its only job.
fn fio(device: &LoopDevice, options: &[&str]) -> Value {
    let file = format!("--filename={}", device.path);
    let fixed = ["--name=job", "--direct=1", "--randseed=7", "--output-format=json", &file];
    let text = tool("fio", &[&fixed[..], options].concat());
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("fio: {error}: {text}"));
    assert_eq!(report["jobs"][0]["error"], 0, "{text}");
    report["jobs"][0].clone()
}

/// Rows of one device and operation, summed.
fn sum<T>(seen: &Seen<T>, device: u32, op: u32) -> DiskRow {
    let mut sum = DiskRow { key: DiskKey { device, op }, ..DiskRow::default() };
    for row in seen.batches.iter().flat_map(|batch| &batch.disks).filter(|row| row.key == sum.key) {
        sum.requests += row.requests;
        sum.bytes += row.bytes;
        sum.errors += row.errors;
        sum.queue_unknown += row.queue_unknown;
        sum.waits += row.waits;
        sum.wait_ns += row.wait_ns;
        sum.wait.add(&row.wait);
        sum.queue_ns += row.queue_ns;
        sum.device_ns += row.device_ns;
        sum.in_flight = row.in_flight;
        sum.queue.add(&row.queue);
        sum.service.add(&row.service);
        sum.latency.add(&row.latency);
    }
    sum
}

/// What `/proc/diskstats` says of a workload, by operation; and our rows.
struct Same {
    requests: [u64; 4],
    bytes: [u64; 4],
    /// `None` if some of the requests were hidden from programs: there is no more to be said of their times.
    timed: Option<[DiskRow; 4]>,
}

/// Runs a workload on a quiet device, and compares all that `/proc/diskstats` knows.
///
/// A kernel may hide a process from programs, and with it the requests that complete in an interrupt of it. Which these
/// are, tracefs tells; that they are missing, we have to.
fn same_as_diskstats(disk: &LoopDevice, milliseconds: u64, workload: impl FnOnce(&LoopDevice)) -> Same {
    let device = disk.device();
    let trace = Trace::of(device);
    let seen = observe(&every(milliseconds), || {
        let before = disk.diskstats();
        workload(disk);
        (before, disk.diskstats())
    });
    let hidden = trace.map(|trace| trace.hidden(&seen.batches)).unwrap_or_default();
    let completed = |op| hidden.iter().filter(move |event| event.op == op).filter_map(|event| event.completed_bytes);
    let (before, after) = &seen.said;
    let grown: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let rows = [op::READ, op::WRITE, op::FLUSH, op::DISCARD].map(|op| sum(&seen, device, op));
    // Requests and sectors, by the table in the kernel's Documentation/admin-guide/iostats.rst.
    let requests = [grown[0], grown[4], grown[15], grown[11]];
    let bytes = [grown[2], grown[6], 0, grown[13]].map(|sectors| sectors * 512);
    let ours: Vec<u64> = rows.iter().map(|row| row.requests).collect();
    let told_lost = if hidden.is_empty() { String::new() } else { format!(", lost {:?}", seen.lost()) };
    figure_of_test("reads, writes, flushes, discards = diskstats", format!("{ours:?} = {requests:?}{told_lost}"));
    let mut missing = 0;
    for ((row, requests), bytes) in rows.iter().zip(requests).zip(bytes) {
        let most = row.requests + completed(row.key.op).count() as u64;
        assert!(row.requests <= requests && requests <= most, "{requests} requests, hidden {hidden:?}, {row:?}");
        assert_eq!(row.bytes + completed(row.key.op).sum::<u64>(), bytes, "hidden {hidden:?}, {row:?}");
        missing += requests - row.requests;
    }
    let told = seen.lost().get(UNSEEN_REQUESTS).copied().unwrap_or(0);
    assert!(told >= missing, "{missing} requests are missing, and only {told} are told as lost");
    seen.assert_counts_whole();
    let witness = |op: u32| -> u64 {
        let disks = seen.batches.iter().filter_map(|batch| batch.host.disks.get(&device));
        disks.map(|disk| disk.requests[op as usize]).sum()
    };
    assert_eq!([0, 1, 2, 3].map(witness), requests, "the witness in the batches is diskstats itself");
    let timed = hidden.is_empty().then_some(rows);
    for row in timed.iter().flatten() {
        assert_eq!((row.errors, row.in_flight, row.queue_unknown), (0, 0, 0), "{row:?}");
        assert_eq!(row.service.count(), row.queue.count());
    }
    Same { requests, bytes, timed }
}

#[test]
fn random_reads_are_counted_like_diskstats() {
    let same = same_as_diskstats(&LoopDevice::new(64), 100, |disk| {
        fio(disk, &["--rw=randread", "--bs=4k", "--ioengine=psync", "--size=64m", "--number_ios=4000"]);
    });
    assert_eq!((same.requests[0], same.bytes[0]), (4_000, 4_000 * 4_096));
    assert!(same.timed.is_none_or(|rows| rows[0].service.count() == 4_000));
}

#[test]
fn reads_that_interrupt_each_other_are_counted_like_diskstats() {
    // Each request is one of the disk below, too: both complete in the same interrupt.
    let same = same_as_diskstats(&LoopDevice::uncached(64), 10_000, |disk| {
        let options = ["--rw=randread", "--bs=128k", "--ioengine=libaio", "--iodepth=1", "--size=64m"];
        fio(disk, &[&options[..], &["--norandommap", "--io_size=250m"]].concat());
    });
    assert_eq!(same.requests[0], 2_000);
    assert!(same.timed.is_none_or(|rows| rows[0].service.count() == 2_000));
}

#[test]
fn writes_and_flushes_are_counted_like_diskstats() {
    let same = same_as_diskstats(&LoopDevice::new(64), 100, |disk| {
        let options = ["--rw=randwrite", "--bs=4k", "--ioengine=psync", "--size=64m", "--number_ios=1000"];
        fio(disk, &[&options[..], &["--fdatasync=10"]].concat());
    });
    let [_, writes, flushes, _] = same.requests;
    assert_eq!(same.bytes[1], 1_000 * 4_096);
    assert!(flushes >= 99, "{flushes} flushes");
    // What asks for a flush is an empty write, which diskstats counts and no device sees.
    assert_eq!(writes, 1_000 + flushes);
    assert!(same.timed.is_none_or(|rows| rows[1].service.count() == 1_000));
}

#[test]
fn deep_mixed_requests_are_counted_like_diskstats() {
    let mut bytes = [0, 0];
    let same = same_as_diskstats(&LoopDevice::new(64), 50, |disk| {
        let options = ["--rw=randrw", "--bs=64k", "--ioengine=libaio", "--iodepth=8", "--size=64m"];
        let report = fio(disk, &[&options[..], &["--norandommap", "--io_size=192m"]].concat());
        bytes = ["read", "write"].map(|way| report[way]["io_bytes"].as_u64().unwrap());
    });
    assert_eq!(same.bytes[..2], bytes);
    assert!(bytes[0] + bytes[1] == 192 << 20 && bytes[0].min(bytes[1]) > 64 << 20, "{bytes:?}");
}

#[test]
fn discards_and_merged_writes_are_counted_like_diskstats() {
    let same = same_as_diskstats(&LoopDevice::new(64), 100, |disk| {
        tool("blkdiscard", &["--length", "8MiB", "--step", "1MiB", &disk.path]);
        let input = "if=/dev/zero";
        tool("dd", &[input, &format!("of={}", disk.path), "bs=1M", "count=16", "conv=fsync", "status=none"]);
    });
    assert_eq!((same.bytes[3], same.bytes[1]), (8 << 20, 16 << 20));
}

/// The disk that all use, tests included: what others do between two looks at it is in one count and not in the other.
#[test]
fn the_disk_of_the_system_is_counted_like_diskstats() {
    let scratch = Scratch::new();
    let path = scratch.file("file", 16 << 20);
    let device = whole_device(&path);
    let seen = observe(&every(100), || {
        let file = format!("--filename={path}");
        let options = ["--name=job", "--direct=1", "--rw=randrw", "--bs=4k", "--size=16m", "--fdatasync=16", &file];
        tool("fio", &options);
    });
    let host = |op: u32| -> u64 {
        let stats = seen.batches.iter().filter_map(|batch| batch.host.disks.get(&device));
        stats.map(|stat| stat.requests[op as usize]).sum()
    };
    let hidden = seen.lost().get(UNSEEN_REQUESTS).copied().unwrap_or(0);
    for (name, op, least) in [("reads", op::READ, 1_800), ("writes", op::WRITE, 1_800), ("flushes", op::FLUSH, 100)] {
        let (ours, theirs) = (sum(&seen, device, op).requests, host(op));
        figure_of_test(&format!("{name}: ours, hidden = diskstats"), format!("{ours}, {hidden} = {theirs}"));
        let slack = theirs / 100 + 4;
        assert!(ours >= least && ours <= theirs + slack && ours + hidden + slack >= theirs, "{name}");
    }
}

/// The number of the disk on which a file is, its partition or not.
fn whole_device(path: &str) -> u32 {
    let on = std::fs::metadata(path).unwrap().dev();
    let folder = format!("/sys/dev/block/{}:{}", libc::major(on), libc::minor(on));
    let folder = std::fs::canonicalize(folder).unwrap();
    let whole = if folder.join("partition").exists() { folder.parent().unwrap() } else { &folder };
    device::device(whole.file_name().unwrap().to_str().unwrap())
}

/// `fio` knows when it had submitted a request and when it had the answer, for which it looks all the time instead of
/// sleeping. The device begins before the former, so that `clat` (from there on) is no longer than we say, and `lat` (submission
/// included) no shorter, but for slots of a few per cent.
#[test]
fn latency_of_single_reads_is_what_fio_measures() {
    let disk = LoopDevice::uncached(64);
    let device = disk.device();
    let trace = Trace::of(device);
    let seen = observe(&once(), || {
        let options = ["--rw=randread", "--bs=128k", "--ioengine=libaio", "--iodepth=1", "--size=64m"];
        let options = [&options[..], &["--userspace_reap", "--iodepth_batch_complete_min=0"]].concat();
        let report = ["--clat_percentiles=1", "--lat_percentiles=1", "--percentile_list=49:50:89:90:98:99"];
        fio(&disk, &[&options[..], &["--norandommap", "--io_size=250m"], &report].concat())
    });
    seen.assert_counts_whole();
    let row = sum(&seen, device, op::READ);
    let hidden = trace.map(|trace| trace.hidden(&seen.batches)).unwrap_or_default();
    assert!(row.latency.count() + hidden.len() as u64 >= 2_000, "hidden {hidden:?}, {row:?}");
    let percentiles = |kind: &str| &seen.said["read"][kind]["percentile"];
    let percentile = |kind: &str, at: u32| percentiles(kind)[format!("{at}.000000")].as_u64().unwrap();
    for at in [50, 90, 99] {
        // One answer of a hundred it may be late to look for, as something else has its CPU.
        let (least, most) = (percentile("clat_ns", at - 1), percentile("lat_ns", at));
        let ours = row.latency.quantile(f64::from(at) / 100.0).unwrap();
        figure_of_test(
            &format!("p{at}: fio's clat (p{}) and lat, ours", at - 1),
            format!("{least} and {most}, {ours} ns"),
        );
        let (low, high) = (least as f64 * 0.97 - 5e3, most as f64 * 1.03 + 5e3);
        assert!((low..high).contains(&(ours as f64)), "p{at}: fio says {least} to {most} ns, we {ours}");
    }
}

/// One page after another, so many, with direct I/O.
fn each_page(path: &str, writes: bool, pages: u64, from: u64) {
    let file = OpenOptions::new().read(true).write(writes).custom_flags(libc::O_DIRECT).open(path).unwrap();
    let mut page = Page([7; 4096]);
    for place in from..from + pages {
        if writes { file.write_all_at(&page.0, place * 4096) } else { file.read_exact_at(&mut page.0, place * 4096) }
            .unwrap();
    }
}

#[test]
fn partitions_are_counted_like_diskstats_beside_their_device() {
    let disk = LoopDevice::new(64);
    let parts = [(1, 2_048, 32_768), (2, 34_816, 65_536)]
        .map(|(number, first, sectors)| disk.partition(number, first, sectors));
    let names = parts.each_ref().map(|part| part.name.as_str());
    let numbers = names.map(device::device);
    let whole = disk.device();
    let seen = observe(&every(100), || {
        let stats = || names.map(device::settled);
        let before = stats();
        for name in names {
            each_page(&format!("/dev/{name}"), false, 100, 8);
        }
        each_page(&format!("/dev/{}", names[1]), true, 50, 300);
        (before, stats())
    });
    seen.assert_counts_whole();
    let (before, after) = &seen.said;
    let rows = |device: u32, op: u32| {
        let rows = seen.batches.iter().flat_map(|batch| &batch.partitions);
        let rows = rows.filter(move |row| row.key == DiskKey { device, op });
        rows.fold([0; 3], |sum, row| [sum[0] + row.requests, sum[1] + row.bytes, sum[2] + row.latency.count()])
    };
    for (index, (number, name)) in numbers.iter().zip(names).enumerate() {
        let grown = |place: usize| after[index][place] - before[index][place];
        for (op, place) in [(op::READ, 0), (op::WRITE, 4)] {
            let ours = rows(*number, op);
            assert_eq!(ours[..2], [grown(place), grown(place + 2) * 512], "{name}");
            assert_eq!(ours[2], ours[0], "each has a time");
        }
    }
    assert_eq!(rows(whole, op::READ), [0; 3], "a device is no partition of its own");
    assert_eq!(
        sum(&seen, whole, op::READ).requests,
        numbers.map(|number| rows(number, op::READ)[0]).iter().sum::<u64>()
    );
    assert_eq!((rows(numbers[0], op::READ)[0], rows(numbers[1], op::WRITE)[0]), (100, 50));
}

#[test]
fn a_failed_write_is_told_with_its_sector_and_what_the_caller_got() {
    let disk = LoopDevice::without_room(8);
    let place = 1_203;
    let seen = observe(&once(), || {
        let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
        let page = Page([7; 4096]);
        let results = (place..place + 512).map(|place| file.write_all_at(&page.0, place * 4096));
        let failed = results.enumerate().find_map(|(index, result)| Some((index as u64, result.err()?)));
        let (index, error) = failed.expect("there is room for less than that");
        ((place + index) * 8, error.raw_os_error().unwrap().cast_unsigned())
    });
    let (sector, errno) = seen.said;
    let device = disk.device();
    let rows = seen.batches.iter().flat_map(|batch| &batch.disks);
    let errors: Vec<_> = rows.filter(|row| row.key.device == device).filter_map(|row| row.error).collect();
    let [error] = errors[..] else { panic!("{errors:?}") };
    figure_of_test(
        "sector and errno of the caller, ours",
        format!("{sector} {errno}, {} {:?}", error.sector, error.errno),
    );
    assert_eq!((error.sector, error.errno), (sector, Some(errno)));
    assert_eq!(sum(&seen, device, op::WRITE).errors, 1);
}

/// Sixteen want four tags: what each waits for one, the kernel's own trace tells, too.
#[test]
fn waits_for_a_tag_are_what_the_trace_says() {
    let disk = LoopDevice::uncached(64);
    let device = disk.device();
    fs::write(format!("/sys/block/{}/queue/nr_requests", disk.name()), "4").unwrap();
    let trace = Trace::of_waits(device).expect("this runs on the host");
    let seen = observe(&once(), || {
        let options = ["--rw=randread", "--bs=64k", "--ioengine=psync", "--numjobs=16", "--size=64m", "--thread"];
        fio(&disk, &[&options[..], &["--norandommap", "--number_ios=100", "--group_reporting"]].concat());
    });
    let row = sum(&seen, device, op::READ);
    let told = trace.between_us("block_bio_queue", "block_getrq");
    let told_us: u64 = told.iter().sum();
    figure_of_test(
        "wait for a tag by the trace, ours",
        format!("{} µs / {}, {} µs / {}", told_us, told.len(), row.wait_ns / 1_000, row.waits),
    );
    assert_eq!((row.waits, row.wait.count()), (row.service.count(), row.waits));
    // Some may complete where no program runs: that is told.
    let missing = told.len() as u64 - row.waits;
    assert!(missing <= seen.lost().get(UNSEEN_REQUESTS).copied().unwrap_or(0), "{missing}");
    let most_us = told_us - missing * told.iter().max().unwrap();
    // Each of its moments is in whole microseconds.
    assert!((most_us * 98 / 100..=told_us * 102 / 100).contains(&(row.wait_ns / 1_000)), "{missing} are missing");
    assert!(row.wait_ns / row.waits > 100_000, "{} ns", row.wait_ns / row.waits);
}
