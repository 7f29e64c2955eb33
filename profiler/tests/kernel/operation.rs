//! Operations of `io_uring` and libaio: as many as `fio` says, and what rings of our own were told to do.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};
use std::ptr;

use io_uring::{IoUring, opcode, squeue, types};
use profiler::batch::CallRow;
use profiler_common::file::kind;
use profiler_common::syscall::operation;
use serde_json::Value;

use crate::kernel::child::{self, fork, open, read_once, write_once};
use crate::kernel::device::{Mount, Page, Scratch};
use crate::kernel::observe::{Seen, every, figure_of_test, observe, once};
use crate::kernel::trace::Trace;

/// Operations of `fio` that are under way at a time.
pub const DEPTH: u64 = 8;

/// `fio` on a file in one process, with these options.
pub fn fio_on(path: &str, options: &[&str]) -> Command {
    let (file, depth) = (format!("--filename={path}"), format!("--iodepth={DEPTH}"));
    let fixed = ["--name=job", "--thread", "--randseed=7", "--size=16m", "--bs=4k", &depth, "--rw=randrw"];
    let mut fio = Command::new("fio");
    fio.args(fixed).args(["--output-format=json", "--eta=never", &file]).args(options).stdin(Stdio::null());
    fio
}

/// Runs it; the process, and what it says of its only job.
pub fn fio(path: &str, options: &[&str]) -> (u32, Value) {
    let scratch = Scratch::new();
    let report = scratch.path("report");
    let process = fio_on(path, options).arg(format!("--output={report}")).spawn();
    let pid = process.expect("these tests need `fio`").id();
    assert_eq!(child::end(pid).1, 0);
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["jobs"][0]["error"], 0, "{report}");
    (pid, report["jobs"][0].clone())
}

/// Operations of a process of one engine, by what they do: in whole, those of worker threads, and kinds of files.
pub fn operations<T>(seen: &Seen<T>, pid: u32, codes: u32, what: &str) -> (CallRow, Vec<u32>) {
    let range = codes..codes + operation::CODES;
    let named = |row: &&CallRow| seen.machine.call_names[&(row.key & 0xffff)].contains(what);
    let rows = seen.calls(pid).filter(|row| range.contains(&(row.key & 0xffff))).filter(named);
    let (mut sum, mut kinds) = (CallRow::default(), Vec::new());
    for row in rows {
        sum.count += row.count;
        sum.bytes += row.bytes;
        sum.errors = std::array::from_fn(|class| sum.errors[class] + row.errors[class]);
        sum.latency.add(&row.latency);
        kinds.push(row.key >> 16);
    }
    kinds.sort_unstable();
    kinds.dedup();
    (sum, kinds)
}

/// Whether programs see the request of a completion: before 5.16, none.
fn sees_requests<T>(seen: &Seen<T>) -> bool {
    !seen.machine.kernel.starts_with("5.10.")
}

fn as_fio_says(engine: &str, direct: bool) {
    let mount = Mount::ext4(64);
    let trace = Trace::of_punts();
    let options = [format!("--ioengine={engine}"), format!("--direct={}", u32::from(direct))];
    let seen = observe(&every(100), || fio(&mount.path("file"), &options.each_ref().map(String::as_str)));
    let (pid, said) = &seen.said;
    let all: &[u32] = if engine == "io_uring" { &[operation::URING, operation::WORKER] } else { &[operation::AIO] };
    let mut punted = 0;
    for what in ["read", "write"] {
        let (mut count, mut bytes, mut timed, mut by_workers, mut failed) = (0, 0, 0, 0, 0);
        for codes in all {
            let (sum, kinds) = operations(&seen, *pid, *codes, what);
            count += sum.count;
            bytes += sum.bytes;
            failed += sum.errors.iter().sum::<u64>();
            timed += sum.latency.count();
            by_workers += if *codes == operation::WORKER { sum.count } else { 0 };
            let expected = if direct { kind::DIRECT } else { kind::REGULAR };
            let expected = if engine == "libaio" || sees_requests(&seen) { expected } else { kind::UNKNOWN };
            assert!(sum.count == 0 || kinds == [expected], "{what}: {kinds:?}");
        }
        let [ios, moved] = ["total_ios", "io_bytes"].map(|name| said[what][name].as_u64().unwrap());
        let ours = (count, bytes, timed, failed);
        assert_eq!(
            ours,
            (ios, moved, ios, 0),
            "{what}s, their bytes, how many have a latency, and failed: {:?}",
            seen.lost()
        );
        figure_of_test(
            &format!("{what}s, of which by workers = fio's total_ios"),
            format!("{count}, {by_workers} = {ios}"),
        );
        punted += by_workers;
    }
    if let Some(trace) = trace {
        let tids: Vec<_> = seen.tasks(*pid).map(|row| row.tid).collect();
        assert_eq!(punted, trace.count_of(&tids, "io_uring_queue_async_work"), "passed on to workers");
    }
    seen.assert_counts_whole();
}

#[test]
fn direct_operations_of_io_uring_are_those_of_fio() {
    as_fio_says("io_uring", true);
}

#[test]
fn buffered_operations_of_io_uring_are_those_of_fio() {
    as_fio_says("io_uring", false);
}

#[test]
fn direct_operations_of_libaio_are_those_of_fio() {
    as_fio_says("libaio", true);
}

#[test]
fn buffered_operations_of_libaio_are_those_of_fio() {
    as_fio_says("libaio", false);
}

/// Hands over operations and waits for all of them; their results.
pub fn hand_over(ring: &mut IoUring, operations: &[squeue::Entry]) -> Vec<i32> {
    for operation in operations {
        // SAFETY: what the operation is about outlives this call, which waits for its end.
        unsafe { ring.submission().push(operation).unwrap() };
    }
    ring.submit_and_wait(operations.len()).unwrap();
    let mut ended: Vec<_> = ring.completion().map(|end| (end.user_data(), end.result())).collect();
    ended.sort_unstable();
    ended.into_iter().map(|(_, result)| result).collect()
}

fn read(file: RawFd, page: &mut [u8]) -> opcode::Read {
    opcode::Read::new(types::Fd(file), page.as_mut_ptr(), u32::try_from(page.len()).unwrap())
}

/// Of a call or operation of the process on a kind of file: how many, their bytes, those that failed, those with a latency.
fn told(seen: &Seen<u32>, name: &str, kind: u32) -> (u64, u64, u64, u64) {
    let row = seen.call(seen.said, name, kind);
    (row.count, row.bytes, row.errors.iter().sum(), row.latency.count())
}

#[test]
fn operations_of_a_ring_are_told_apart() {
    let scratch = Scratch::new();
    let regular = scratch.file("regular", 4096);
    let seen = observe(&once(), || fork(|_| use_ring(&regular)).ended());
    let call = |name, kind| told(&seen, name, kind);
    let seen_kind = |kind| if sees_requests(&seen) { kind } else { kind::UNKNOWN };
    assert_eq!(call("uring nop", kind::NONE), (3_000, 0, 0, 3_000));
    // Of two that were under way with one tag nobody knows which one ended.
    assert_eq!(call("iou-wrk nop", kind::NONE), (100, 0, 0, 100));
    // A pipe could only be waited for by a worker, until 6.3. A descriptor that names nothing was refused unseen, at first.
    let of_pipe = |kind| ["uring read", "iou-wrk read"].map(|name| call(name, kind)).contains(&(1, 9, 0, 1));
    if sees_requests(&seen) {
        assert_eq!(call("uring read", kind::REGULAR), (50 + 20, 50 * 7 + 20 * 5, 0, 50));
        assert_eq!(call("uring read", kind::UNKNOWN), (3, 0, 3, 3));
        assert!(of_pipe(kind::PIPE));
    } else {
        assert_eq!(call("uring read", kind::UNKNOWN), (50 + 20, 50 * 7 + 20 * 5, 0, 50));
        assert!(of_pipe(kind::UNKNOWN));
    }
    assert_eq!(call("uring close", kind::NONE), (1, 0, 0, 1));
    // It may block, and is never tried without a worker.
    assert_eq!(call("iou-wrk fsync", seen_kind(kind::REGULAR)), (2, 0, 0, 2));
    // The number of a descriptor that a ring has closed is known to name something else.
    assert_eq!(call("read", kind::PIPE).0, 1);
    seen.assert_counts_whole();
}

/// The operations that the test expects.
fn use_ring(regular: &str) {
    let mut ring = IoUring::new(16).unwrap();
    for turn in 0..1_000 {
        let nops = [0, 1, 2].map(|number| opcode::Nop::new().build().user_data(turn * 3 + number));
        assert_eq!(hand_over(&mut ring, &nops), [0; 3]);
    }
    for tag in 0..100 {
        let nop = opcode::Nop::new().build().user_data(tag).flags(squeue::Flags::ASYNC);
        assert_eq!(hand_over(&mut ring, &[nop]), [0]);
    }
    let file = open(regular);
    let (mut page, mut other) = ([0; 7], [0; 5]);
    for _ in 0..50 {
        assert_eq!(hand_over(&mut ring, &[read(file.as_raw_fd(), &mut page).build().user_data(1)]), [7]);
    }
    for _ in 0..10 {
        let twin = read(file.as_raw_fd(), &mut other).build().user_data(5);
        assert_eq!(hand_over(&mut ring, &[twin.clone(), twin]), [5; 2]);
    }
    let (from, to) = io::pipe().unwrap();
    let mut longer = [0; 9];
    let waits = read(from.as_raw_fd(), &mut longer).build().user_data(6);
    // SAFETY: the buffer outlives the read, which is waited for below.
    unsafe { ring.submission().push(&waits).unwrap() };
    ring.submit().unwrap();
    assert_eq!(write_once(to.as_raw_fd(), 9), 9);
    ring.submit_and_wait(1).unwrap();
    assert_eq!(ring.completion().next().unwrap().result(), 9);
    for tag in 0..3 {
        assert_eq!(hand_over(&mut ring, &[read(1_000, &mut page).build().user_data(tag)]), [-libc::EBADF]);
    }
    for tag in 0..2 {
        let sync = opcode::Fsync::new(types::Fd(file.as_raw_fd())).build().user_data(tag);
        assert_eq!(hand_over(&mut ring, &[sync]), [0]);
    }
    assert_eq!(read_once(file.as_raw_fd(), 1), 1);
    let number = file.as_raw_fd();
    std::mem::forget(file);
    assert_eq!(hand_over(&mut ring, &[opcode::Close::new(types::Fd(number)).build().user_data(1)]), [0]);
    // SAFETY: names the pipe by the number that was just given up.
    assert_eq!(unsafe { libc::fcntl(from.as_raw_fd(), libc::F_DUPFD, number) }, number);
    assert_eq!(write_once(to.as_raw_fd(), 1), 1);
    assert_eq!(read_once(number, 1), 1);
}

#[test]
fn operations_of_libaio_are_told_apart() {
    let scratch = Scratch::new();
    let regular = scratch.file("regular", 1 << 16);
    let seen = observe(&once(), || fork(|_| use_libaio(&regular)).ended());
    let call = |name, kind| told(&seen, name, kind);
    assert_eq!(call("aio pread", kind::REGULAR), (640, 640 * 512, 0, 640));
    assert_eq!(call("aio preadv", kind::REGULAR), (10, 10 * 96, 0, 10));
    assert_eq!(call("aio pwrite", kind::PIPE), (20, 20 * 8, 0, 20));
    assert_eq!(call("aio pread", kind::DIRECT), (5, 0, 5, 5));
    assert_eq!(call("io_submit", kind::NONE).0, 10 + 10 + 20 + 5 + 1);
    seen.assert_counts_whole();
}

/// The beginning of `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Control {
    data: u64,
    key: u32,
    flags: u32,
    code: u16,
    priority: i16,
    descriptor: u32,
    buffer: u64,
    length: u64,
    place: i64,
    reserved: u64,
    more: [u32; 2],
}

/// Hands over operations in one call, and collects their ends in another; their results.
fn submit_and_collect(context: u64, controls: &mut [Control]) -> Vec<i64> {
    let list: Vec<*mut Control> = controls.iter_mut().map(ptr::from_mut).collect();
    // SAFETY: the operations and their buffers outlive the call that collects all of them.
    let given = unsafe { libc::syscall(libc::SYS_io_submit, context, list.len(), list.as_ptr()) };
    assert_eq!(usize::try_from(given), Ok(list.len()));
    let mut events = vec![[0_i64; 4]; list.len()];
    let none = ptr::null_mut::<libc::timespec>();
    let ended =
        // SAFETY: there is room for so many events.
        unsafe { libc::syscall(libc::SYS_io_getevents, context, list.len(), list.len(), events.as_mut_ptr(), none) };
    assert_eq!(usize::try_from(ended), Ok(list.len()));
    events.iter().map(|event| event[2]).collect()
}

/// The operations that the test expects.
fn use_libaio(regular: &str) {
    const PREAD: u16 = 0;
    const PWRITE: u16 = 1;
    const PREADV: u16 = 7;
    let mut context = 0_u64;
    // SAFETY: `context` is written during the call only.
    assert_eq!(unsafe { libc::syscall(libc::SYS_io_setup, 128, &raw mut context) }, 0);
    let file = File::options().read(true).open(regular).unwrap();
    let about = |code, descriptor: RawFd, buffer: u64, length| {
        let descriptor = descriptor.unsigned_abs();
        Control { code, descriptor, buffer, length, ..Control::default() }
    };
    let mut page = Page([0; 4096]);
    let pages = page.0.as_mut_ptr() as u64;
    for _ in 0..10 {
        let mut reads = [about(PREAD, file.as_raw_fd(), pages, 512); 64];
        assert_eq!(submit_and_collect(context, &mut reads), [512; 64]);
    }
    let vectors = [64, 32].map(|length| libc::iovec { iov_base: page.0.as_mut_ptr().cast(), iov_len: length });
    for _ in 0..10 {
        let mut read = [about(PREADV, file.as_raw_fd(), vectors.as_ptr() as u64, 2)];
        assert_eq!(submit_and_collect(context, &mut read), [96]);
    }
    let (_from, to) = io::pipe().unwrap();
    for _ in 0..20 {
        let mut write = [about(PWRITE, to.as_raw_fd(), pages, 8)];
        assert_eq!(submit_and_collect(context, &mut write), [8]);
    }
    // Not as long as a sector.
    let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(regular).unwrap();
    for _ in 0..5 {
        let mut read = [about(PREAD, direct.as_raw_fd(), pages, 9)];
        assert_eq!(submit_and_collect(context, &mut read), [-i64::from(libc::EINVAL)]);
    }
    let mut bad = about(PREAD, 1_000, pages, 512);
    let list = [&raw mut bad];
    // SAFETY: refused at once.
    assert_eq!(unsafe { libc::syscall(libc::SYS_io_submit, context, 1, list.as_ptr()) }, -1);
}
