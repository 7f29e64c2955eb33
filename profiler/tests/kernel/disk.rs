//! Block devices: requests against `/proc/diskstats`, latencies against `fio`.

use std::thread::available_parallelism;

use profiler::batch::hist::Scale;
use profiler::batch::{DiskKey, DiskRow, Hist};
use profiler_common::disk::op;
use profiler_common::lost::UNSEEN_REQUESTS;
use serde_json::Value;

use crate::kernel::child::{Child, fork, pin};
use crate::kernel::device::LoopDevice;
use crate::kernel::observe::{Seen, every, observe, once, tool};

/// Runs `fio` on a device with direct I/O and these options; what it says of its only job.
fn fio(device: &LoopDevice, options: &[&str]) -> Value {
    let file = format!("--filename={}", device.path);
    let fixed = ["--name=job", "--direct=1", "--randseed=7", "--output-format=json", &file];
    // First among its kind: else its own wait for a CPU would count as latency.
    let text = tool("chrt", &[&["--fifo", "1", "fio"], &fixed[..], options].concat());
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
        sum.queue_ns += row.queue_ns;
        sum.device_ns += row.device_ns;
        sum.in_flight = row.in_flight;
        sum.queue.add(&row.queue);
        sum.service.add(&row.service);
    }
    sum
}

/// Runs a workload on a quiet device, and compares all that `/proc/diskstats` knows.
///
/// Now and then Linux 6.18 does not run our program for a completion, and counts no recursion either. What we lack must
/// then be told as a loss, request by request; `None`, since sums over the rest prove nothing.
fn same_as_diskstats(disk: &LoopDevice, milliseconds: u64, workload: impl FnOnce(&LoopDevice)) -> Option<Vec<DiskRow>> {
    let device = disk.device();
    let seen = observe(&every(milliseconds), || {
        let before = disk.diskstats();
        workload(disk);
        (before, disk.diskstats())
    });
    let (before, after) = &seen.said;
    let grown: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let rows: Vec<_> = [op::READ, op::WRITE, op::FLUSH, op::DISCARD].map(|op| sum(&seen, device, op)).into();
    // Requests and sectors, by the table in the kernel's Documentation/admin-guide/iostats.rst.
    let requests = [grown[0], grown[4], grown[15], grown[11]];
    let sectors = [grown[2], grown[6], 0, grown[13]];
    let ours: Vec<_> = rows.iter().map(|row| row.requests).collect();
    println!("requests {ours:?} and {requests:?}, lost {:?}", seen.lost());
    let missing: u64 = requests.iter().sum::<u64>() - ours.iter().sum::<u64>();
    if missing > 0 {
        let told = seen.lost().get(UNSEEN_REQUESTS).copied().unwrap_or(0);
        assert!(told >= missing, "{missing} requests are missing, and only {told} are told as lost");
        return None;
    }
    seen.assert_counts_whole();
    assert_eq!(ours, requests, "requests by operation");
    let ours: Vec<_> = rows.iter().map(|row| row.bytes).collect();
    assert_eq!(ours, sectors.map(|sectors| sectors * 512), "bytes by operation");
    for row in &rows {
        assert_eq!((row.errors, row.in_flight, row.queue_unknown), (0, 0, 0), "{row:?}");
        assert_eq!(row.service.count(), row.queue.count());
    }
    let witness = |op: u32| -> u64 {
        let disks = seen.batches.iter().filter_map(|batch| batch.host.disks.get(&device));
        disks.map(|disk| disk.requests[op as usize]).sum()
    };
    assert_eq!([0, 1, 2, 3].map(witness), requests, "the witness in the batches is diskstats itself");
    Some(rows)
}

#[test]
fn random_reads_are_counted_like_diskstats() {
    let Some(rows) = same_as_diskstats(&LoopDevice::new(64), 100, |disk| {
        fio(disk, &["--rw=randread", "--bs=4k", "--ioengine=psync", "--size=64m", "--number_ios=4000"]);
    }) else {
        return;
    };
    assert_eq!((rows[0].requests, rows[0].bytes), (4_000, 4_000 * 4_096));
    assert_eq!(rows[0].service.count(), 4_000);
}

#[test]
fn reads_that_interrupt_each_other_are_counted_like_diskstats() {
    // Each request is one of the disk below, too: both complete in the same interrupt.
    let Some(rows) = same_as_diskstats(&LoopDevice::uncached(64), 10_000, |disk| {
        let options = ["--rw=randread", "--bs=128k", "--ioengine=libaio", "--iodepth=1", "--size=64m"];
        fio(disk, &[&options[..], &["--norandommap", "--io_size=250m"]].concat());
    }) else {
        return;
    };
    assert_eq!(rows[0].requests, 2_000);
}

#[test]
fn writes_and_flushes_are_counted_like_diskstats() {
    let Some(rows) = same_as_diskstats(&LoopDevice::new(64), 100, |disk| {
        let options = ["--rw=randwrite", "--bs=4k", "--ioengine=psync", "--size=64m", "--number_ios=1000"];
        fio(disk, &[&options[..], &["--fdatasync=10"]].concat());
    }) else {
        return;
    };
    let [_, writes, flushes, _] = &rows[..] else { unreachable!() };
    assert_eq!((writes.service.count(), writes.bytes), (1_000, 1_000 * 4_096));
    assert!(flushes.requests >= 99, "{} flushes", flushes.requests);
    // What asks for a flush is an empty write, which diskstats counts and no device sees.
    assert_eq!(writes.requests, 1_000 + flushes.requests);
}

#[test]
fn deep_mixed_requests_are_counted_like_diskstats() {
    let mut bytes = [0, 0];
    let Some(rows) = same_as_diskstats(&LoopDevice::new(64), 50, |disk| {
        let options = ["--rw=randrw", "--bs=64k", "--ioengine=libaio", "--iodepth=8", "--size=64m"];
        let report = fio(disk, &[&options[..], &["--norandommap", "--io_size=192m"]].concat());
        bytes = ["read", "write"].map(|way| report[way]["io_bytes"].as_u64().unwrap());
    }) else {
        return;
    };
    assert_eq!([rows[0].bytes, rows[1].bytes], bytes);
    assert!(bytes[0] + bytes[1] == 192 << 20 && bytes[0].min(bytes[1]) > 64 << 20, "{bytes:?}");
}

#[test]
fn discards_and_merged_writes_are_counted_like_diskstats() {
    let Some(rows) = same_as_diskstats(&LoopDevice::new(64), 100, |disk| {
        tool("blkdiscard", &["--length", "8MiB", "--step", "1MiB", &disk.path]);
        let input = "if=/dev/zero";
        tool("dd", &[input, &format!("of={}", disk.path), "bs=1M", "count=16", "conv=fsync", "status=none"]);
    }) else {
        return;
    };
    assert_eq!(rows[3].bytes, 8 << 20);
    assert_eq!(rows[1].bytes, 16 << 20);
}

/// `fio` knows when it had submitted a request and when it had the answer. The device begins before the former, so that
/// `clat` (from there on) is no longer than we say, and `lat` (submission included) no shorter. Both count in what it
/// takes to wake up, for which there is one slot, an eighth of the value, to spare.
#[test]
fn latency_of_single_reads_is_what_fio_measures() {
    let disk = LoopDevice::uncached(64);
    let device = disk.device();
    let seen = observe(&once(), || {
        let options = ["--rw=randread", "--bs=128k", "--ioengine=libaio", "--iodepth=1", "--size=64m"];
        let _awake = awake();
        let report = ["--norandommap", "--io_size=250m", "--clat_percentiles=1", "--lat_percentiles=1"];
        fio(&disk, &[&options[..], &report].concat())
    });
    seen.assert_counts_whole();
    let row = sum(&seen, device, op::READ);
    // Exact counts are for the tests above.
    assert!(row.service.count() > 1_900, "2 000 reads, {row:?}");
    let percentile = |kind: &str, name: &str| seen.said["read"][kind]["percentile"][name].as_u64().unwrap();
    for (quantile, name) in [(0.5, "50.000000"), (0.9, "90.000000"), (0.99, "99.000000")] {
        let (least, most) = (percentile("clat_ns", name), percentile("lat_ns", name));
        let high = |hist: &Hist| hist.quantile(quantile).unwrap();
        let (low, _) = slot_of(high(&row.service) - 1);
        let (_, next) = slot_of(slot_of(high(&row.service) + high(&row.queue) - 1).1);
        println!("{name}: fio {least} to {most} ns, we {low} to {next} ns");
        assert!(least < next && most >= low, "{name}: fio says {least} to {most} ns, we {low} to {next} ns");
    }
}

/// Spins on every CPU when nobody else wants it: a CPU that sleeps would answer late, to `fio` and not to us.
fn awake() -> Vec<Child> {
    let cpus = 0..available_parallelism().unwrap().get();
    let spin = |cpu| {
        fork(|_| {
            pin(cpu);
            let least = libc::sched_param { sched_priority: 0 };
            // SAFETY: `least` lives until the call returns.
            assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const least) }, 0);
            loop {
                std::hint::spin_loop();
            }
        })
    };
    cpus.map(spin).collect()
}

/// The bounds of the slot that holds a value.
fn slot_of(ns: u64) -> (u64, u64) {
    let slot = u16::try_from(profiler_common::hist::linear8_slot(ns)).unwrap();
    Hist::new(Scale::Linear8).bounds(slot)
}
