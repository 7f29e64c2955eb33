//! Processes in control groups: their names, and what a limit does to them.

use std::fs::{self, File};
use std::io::Read as _;

use profiler::batch::Fact;
use profiler::finding::all;
use profiler_common::file::{PAGE_BYTES, page};
use profiler_common::wait;

use super::group::{Group, is_version_1};
use crate::kernel::child::{clock, fork};
use crate::kernel::clock::{be_first, compare_within, sleeps};
use crate::kernel::device::Scratch;
use crate::kernel::observe::{assert_close, every, figure, figure_of_test, observe, once, tool, until};
use crate::kernel::taskstats::{Accounting, Stats};
use crate::kernel::waterfall::spends;

const MIB: usize = 1 << 20;

/// Member of `struct taskstats`: freeing memory for itself.
const RECLAIM: usize = 320;

/// In version 1 a process has a group for each controller, and is called after the deepest.
#[test]
fn a_process_is_in_the_group_that_it_entered() {
    let group = Group::new("cpu");
    let seen = observe(&once(), || {
        let mut child = fork(|parent| {
            group.enter();
            parent.say([1]);
            parent.hear();
        });
        child.hear::<1>();
        let told = fs::read_to_string(format!("/proc/{}/cgroup", child.pid)).unwrap();
        (child, told)
    });
    let (child, told) = &seen.said;
    let mut facts = seen.batches.iter().flat_map(|batch| &batch.facts);
    let mine = |fact: &&Fact| matches!(fact, Fact::Process(fact) if fact.process.pid == child.pid);
    let Some(Fact::Process(fact)) = facts.rfind(mine) else { panic!("the child is unknown") };
    assert!(told.lines().any(|line| line.ends_with(&format!(":{}", group.path))), "{told}");
    assert_eq!(fact.cgroup.as_deref(), Some(group.path.as_str()), "{told}");
}

#[test]
fn a_throttled_thread_waits_for_its_cpu() {
    let group = Group::new("cpu");
    if is_version_1() {
        group.set("cpu.cfs_period_us", "100000");
        group.set("cpu.cfs_quota_us", "20000");
    } else {
        group.set("cpu.max", "20000 100000");
    }
    let seen = observe(&every(100), || {
        let child = fork(|_| {
            group.enter();
            while clock(libc::CLOCK_THREAD_CPUTIME_ID) < 200_000_000 {}
        });
        (child.pid, child.end())
    });
    let (pid, books) = &seen.said;
    let sum = |value: fn(&profiler::batch::TaskRow) -> u64| seen.sum(*pid, value);
    let (cpu, blocked) = (sum(|row| row.cpu_ns), sum(|row| row.blocked_ns));
    let (runq, throttled) = (sum(|row| row.runq_wakeup_ns + row.runq_preempted_ns), sum(|row| row.throttled_ns));
    assert!(group.cpu_stat("nr_throttled ") > 0);
    assert_eq!((cpu, runq + throttled), (books.cpu_ns, books.run_delay_ns));
    assert_close("sum of states", cpu + runq + throttled + blocked, sum(|row| row.wall_ns), 0.01);
    assert!(throttled > 2 * cpu, "with a fifth of a CPU");
    let share = throttled as f64 / (throttled + runq + blocked) as f64;
    figure_of_test("CPU quota throttled", format!("{:.1} %", share * 100.0));
    assert!(share >= 0.95, "{throttled}, {runq} on the run queue, {blocked} blocked");
    let findings = all(&seen.model());
    let told = findings.iter().find(|finding| finding.id == "C2" && finding.subject == group.path);
    assert!(told.is_some_and(|finding| finding.victims[0].contains(&format!("({pid})"))), "{findings:?}");
}

/// Who is over `memory.high` and has nothing to give back is made to pause.
#[test]
fn a_process_over_its_share_of_memory_pauses() {
    // Version 1 has nothing of the kind.
    if is_version_1() {
        return;
    }
    let group = Group::new("memory");
    group.set("memory.high", &(8 * MIB).to_string());
    spends("reclaim", || {
        group.enter();
        let mut memory = vec![0u8; 9 * MIB];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        std::hint::black_box(&memory);
    });
}

#[test]
fn a_file_beyond_the_memory_limit_is_fetched_again() {
    const LENGTH: usize = 48 * MIB;
    let group = Group::new("memory");
    let limit = if is_version_1() { "memory.limit_in_bytes" } else { "memory.max" };
    group.set(limit, &(16 * MIB).to_string());
    let scratch = Scratch::new();
    let path = scratch.file("big", LENGTH);
    // Else it would be in memory already, at our own expense.
    tool("dd", &[&format!("of={path}"), "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
    let seen = observe(&every(200), || {
        let mut child = fork(|parent| {
            group.enter();
            for _ in 0..2 {
                read_all(&path);
            }
            parent.say([1]);
            parent.hear();
        });
        let before = refaults();
        child.hear::<1>();
        // On the way there it may have to fetch its own code once more.
        until("the child listens", || match fs::read_to_string(format!("/proc/{}/syscall", child.pid)).unwrap() {
            call if call.starts_with(&format!("{} ", libc::SYS_read)) => Ok(()),
            call => Err(call),
        });
        let truth = read_bytes(child.pid);
        (child, truth, refaults() - before)
    });
    let (child, truth, refaults) = &seen.said;
    let (pid, truth, refaults) = (child.pid, *truth, *refaults);
    let ours = seen.sum(pid, |row| row.storage_read_bytes.unwrap());
    figure("memory limit: bytes fetched again = /proc/PID/io", format!("{ours} = {truth}"));
    assert_eq!(ours, truth);
    assert!(truth >= 2 * (LENGTH - 16 * MIB) as u64, "{truth}");
    // What it needs besides may have had to go as well: its own code, and where the blocks of the file are.
    let [missed, by_faults, of_device, dropped] =
        [page::READ, page::FAULT, page::DEVICE, page::DROPPED].map(|way| seen.pages(pid, way));
    let (others, fetched) = (by_faults + of_device, truth / PAGE_BYTES);
    let ours: u64 = seen.batches.iter().filter_map(|batch| batch.host.refaulted_pages).sum();
    figure(
        "memory limit: pages missed, others = fetched; dropped; refaults = vmstat",
        format!("{missed}, {others} = {fetched}; {dropped}; {ours} = {refaults}"),
    );
    // Who reads at the end of a file may get another page of it (5.10), for which nothing is fetched.
    assert!((0..=2).contains(&(missed + others - fetched)), "{missed}, {others}");
    // What is left in the end fits.
    assert!(dropped <= missed && (missed - dropped) * PAGE_BYTES <= 16 * MIB as u64, "{dropped} of {missed}");
    // Both know what the CPUs have told so far, some pages late.
    assert_close("refaults", ours, refaults, 0.05);
    assert!(refaults >= (LENGTH - 32 * MIB) as u64 / PAGE_BYTES, "{refaults}");
}

/// Whoever reads beyond the limit has to free as much as it reads. The kernel counts the wall time of that.
#[test]
fn memory_freed_for_oneself_as_in_taskstats() {
    let (group, scratch, _accounting) = (Group::new("memory"), Scratch::new(), Accounting::on());
    let limit = if is_version_1() { "memory.limit_in_bytes" } else { "memory.max" };
    group.set(limit, &(16 * MIB).to_string());
    let path = scratch.file("big", 96 * MIB);
    tool("dd", &[&format!("of={path}"), "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
    let seen = observe(&every(50), || {
        let mut child = fork(|parent| {
            group.enter();
            be_first();
            (0..4).for_each(|_| read_all(&path));
            parent.say([1]);
            parent.hear();
        });
        child.hear::<1>();
        sleeps(&child);
        (Stats::of(child.pid), child)
    });
    let (truth, child) = &seen.said;
    let ours = seen.sum(child.pid, |row| row.reclaim_cpu_ns + row.waits[wait::RECLAIM as usize]);
    // A look costs an emulated CPU a microsecond or two, of the fifty that each of many reclaims takes.
    compare_within(0.05, "reclaim", ours, truth.number(RECLAIM));
    let findings = all(&seen.model());
    let told = findings.iter().find(|finding| finding.id == "S15").map(|finding| &finding.subject);
    assert!(told.is_some_and(|told| told.ends_with(&format!("({})", child.pid))), "{findings:?}");
}

fn read_all(path: &str) {
    let (mut file, mut buffer) = (File::open(path).unwrap(), vec![0; 256 * 1024]);
    while file.read(&mut buffer).unwrap() > 0 {}
}

/// Pages of files that were fetched again since boot.
fn refaults() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap();
    text.lines().find_map(|line| line.strip_prefix("workingset_refault_file ")?.parse().ok()).unwrap()
}

/// What the kernel says that was fetched for a process.
fn read_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok()).unwrap()
}
