//! The page cache: what processes fetch, make and drop, against what the kernel says is resident (`mincore`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::ptr::null_mut;

use profiler::field::{Scope, Table, Value, sheet};
use profiler::model::{Model, Window};
use profiler_common::file::{PAGE_BYTES, kind, page};

use crate::kernel::child::fork;
use crate::kernel::device::Page;
use crate::kernel::observe::{Seen, every, figure_of_test, observe};

const PAGES: u64 = 16_384;
const BYTES: usize = 64 << 20;
const PAGE: usize = 4096;
const CHUNK: usize = 1 << 20;

#[test]
fn reads_of_a_page_miss_each_page_once() {
    cold_and_warm(page::READ, |file| read_by(file, PAGE));
}

#[test]
fn large_reads_miss_each_page_once() {
    cold_and_warm(page::READ, |file| read_by(file, CHUNK));
}

#[test]
fn reads_at_random_without_readahead_miss_each_page_once() {
    cold_and_warm(page::READ, |file| {
        advise(file, libc::POSIX_FADV_RANDOM);
        let mut buffer = [0; PAGE];
        // Odd, so that it meets all of them.
        (0..PAGES).for_each(|turn| file.read_exact_at(&mut buffer, turn * 7_919 % PAGES * PAGE_BYTES).unwrap());
    });
}

#[test]
fn sendfile_misses_each_page_once() {
    cold_and_warm(page::READ, |file| send(file, &null()));
}

#[test]
fn splice_misses_each_page_once() {
    cold_and_warm(page::READ, |file| {
        let ((from, to), null) = (io::pipe().unwrap(), null());
        let mut left = BYTES;
        while left > 0 {
            let moved = splice(file, &to, left);
            assert_eq!(splice(&from, &null, moved), moved);
            left -= moved;
        }
    });
}

#[test]
fn a_mapping_misses_each_page_once() {
    cold_and_warm(page::FAULT, |file| {
        Mapping::of(file).touch();
    });
}

#[test]
fn a_mapping_that_is_filled_at_once_misses_each_page_once() {
    cold_and_warm(page::OTHER, |file| drop(Mapping::with(file, libc::MAP_POPULATE)));
}

/// A process that reads what nobody has in memory, and another that reads it again.
fn cold_and_warm(way: usize, read: impl Fn(&File)) {
    let file = on_disk();
    // The code that runs is in memory, too.
    read(&again(&file));
    forget(&file);
    let seen = observe(&every(100), || [(); 2].map(|()| reads(&file, &read)));
    let [(cold, before, after), (warm, then, at_last)] = seen.said;
    assert_eq!(before, 0, "resident");
    let misses = [cold, warm].map(|pid| seen.pages(pid, way));
    // The host may take pages meanwhile: as many are not sure.
    assert!(misses[0].abs_diff(PAGES) <= PAGES - after, "{misses:?}, resident {after}");
    assert!(misses[1].abs_diff(PAGES - then) <= PAGES - at_last, "{misses:?}, resident {then}, then {at_last}");
    assert_eq!([cold, warm].map(|pid| fetched(&seen, pid).iter().sum::<u64>()), misses, "in another way");
    let ratios = [cold, warm].map(|pid| hit_ratio(&seen, pid));
    match ratios {
        [Value::Ratio(cold), Value::Ratio(warm)] => {
            assert!(way == page::READ && cold <= 0.005 && warm >= 0.995, "{cold} {warm}");
        }
        ratios => assert!(way != page::READ && ratios == [Value::None, Value::None], "{ratios:?}"),
    }
    figure_of_test("misses cold, warm; resident", format!("{}, {}; {after}, {at_last}", misses[0], misses[1]));
    seen.assert_counts_whole();
}

/// Of a file that is half in memory, half is found.
#[test]
fn the_hit_ratio_is_the_share_that_was_in_memory() {
    let file = on_disk();
    forget(&file);
    let half = again(&file);
    advise(&half, libc::POSIX_FADV_RANDOM);
    let mut buffer = [0; PAGE];
    (0..PAGES / 2).for_each(|index| half.read_exact_at(&mut buffer, index * PAGE_BYTES).unwrap());
    let seen = observe(&every(100), || reads(&file, |file| read_by(file, CHUNK)));
    let (pid, before, _) = seen.said;
    let truth = before as f64 / PAGES as f64;
    let Value::Ratio(ours) = hit_ratio(&seen, pid) else { panic!("{:?}", hit_ratio(&seen, pid)) };
    figure_of_test("hit ratio = resident before", format!("{ours:.4} = {truth:.4}"));
    assert!((ours - truth).abs() <= 0.005, "{ours}, in truth {truth}");
}

#[test]
fn pages_that_are_written_are_no_misses() {
    let seen = observe(&every(100), || {
        let file = temporary(0);
        let mut child = fork(|parent| {
            write(&file, BYTES);
            let made = resident(&file);
            forget(&file);
            parent.say([made, resident(&file), major_faults()]);
        });
        let [made, left, faults] = child.hear();
        (child.ended(), made, left, faults)
    });
    let (pid, made, left, faults) = seen.said;
    assert_eq!(left, 0, "resident");
    assert_eq!([page::WRITTEN, page::DROPPED].map(|way| seen.pages(pid, way)), [PAGES, made]);
    // Where memory is short, pages of its own program have to come back.
    assert!(faults > 0 || fetched(&seen, pid) == [0; 3], "{:?}", fetched(&seen, pid));
    figure_of_test("written, dropped = resident", format!("{PAGES}, {PAGES} = {made}"));
    seen.assert_counts_whole();
}

/// How often the calling process waited for a page of its memory to come from a disk.
fn major_faults() -> u64 {
    // SAFETY: the kernel writes into plain numbers that live until it returns, for which zero is a valid value.
    let usage: libc::rusage = unsafe {
        let mut usage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    usage.ru_majflt.cast_unsigned()
}

/// One call that reads one file and writes another.
#[test]
fn what_is_read_and_what_is_written_by_one_call_is_told_apart() {
    let copy = |from: &File, to: &File| {
        let (from, to, mut left) = (from.as_raw_fd(), to.as_raw_fd(), BYTES);
        while left > 0 {
            // SAFETY: plain numbers, and no places.
            left -= positive(unsafe { libc::copy_file_range(from, null_mut(), to, null_mut(), left, 0) });
        }
    };
    for (name, by) in [("sendfile", &send as &dyn Fn(&File, &File)), ("copy_file_range", &copy)] {
        let file = on_disk();
        forget(&file);
        let seen = observe(&every(100), || {
            let into = temporary(0);
            let mut child = fork(|parent| {
                by(&file, &into);
                parent.say([resident(&file), resident(&into)]);
            });
            let resident: [u64; 2] = child.hear();
            (child.ended(), resident)
        });
        let (pid, resident) = seen.said;
        let ours = [page::READ, page::WRITTEN].map(|way| seen.pages(pid, way));
        let off = [0, 1].map(|file| ours[file].abs_diff(PAGES));
        assert!(off[0] <= PAGES - resident[0] && off[1] == 0, "{name}: {ours:?}, resident {resident:?}");
        assert!(matches!(hit_ratio(&seen, pid), Value::Ratio(ratio) if ratio <= 0.005), "{name}");
    }
}

#[test]
fn direct_reads_are_no_reads_of_the_page_cache() {
    let file = on_disk();
    forget(&file);
    let seen = observe(&every(100), || {
        reads(&file, |file| {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
            let mut page = Page([0; PAGE]);
            (0..256).for_each(|index| file.read_exact_at(&mut page.0, index * PAGE_BYTES).unwrap());
        })
    });
    let (pid, _, after) = seen.said;
    let direct = seen.call(pid, "pread64", kind::DIRECT);
    assert_eq!((direct.count, direct.bytes, after), (256, 256 * PAGE_BYTES, 0));
    assert_eq!((fetched(&seen, pid), hit_ratio(&seen, pid)), ([0; 3], Value::None));
}

/// What the kernel makes up is in no ratio.
#[test]
fn what_is_on_no_storage_is_neither_found_nor_missed() {
    let status = File::open("/proc/self/status").unwrap();
    let seen = observe(&every(100), || {
        let child = fork(|_| assert!(status.read_at(&mut [0; 64], 0).unwrap() > 0));
        child.ended()
    });
    let pid = seen.said;
    assert_eq!(seen.call(pid, "pread64", kind::MEMORY).bytes, 64);
    assert_eq!((fetched(&seen, pid), hit_ratio(&seen, pid)), ([0; 3], Value::None));
}

/// A process of its own reads a file: its id, and how many pages are resident before and after.
fn reads(file: &File, read: impl Fn(&File)) -> (u32, u64, u64) {
    let mut child = fork(|parent| {
        let before = resident(file);
        read(&again(file));
        parent.say([before, resident(file)]);
    });
    let [before, after] = child.hear();
    (child.ended(), before, after)
}

fn fetched<T>(seen: &Seen<T>, pid: u32) -> [u64; 3] {
    [page::READ, page::FAULT, page::OTHER].map(|way| seen.pages(pid, way))
}

/// What the table of processes says.
fn hit_ratio<T>(seen: &Seen<T>, pid: u32) -> Value {
    let mut model = Model::new(seen.machine.clone(), Window::Whole);
    seen.batches.iter().for_each(|batch| model.apply(batch));
    let sheet = sheet(&model, Table::Processes, &Scope::default());
    let column = |id| sheet.columns.iter().position(|column| column.id == id).unwrap();
    let (pid_at, ratio_at) = (column("process.pid"), column("file.hit_ratio"));
    let row = sheet.rows.iter().find(|row| row.cells[pid_at] == Value::Id(pid.into())).unwrap();
    row.cells[ratio_at].clone()
}

/// A file without a name of so many bytes that are on its disk, and in memory as well; its place is its start.
pub fn temporary(length: usize) -> File {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_TMPFILE).open(std::env::temp_dir()).unwrap();
    write(&file, length);
    file
}

fn on_disk() -> File {
    temporary(BYTES)
}

fn write(mut file: &File, length: usize) {
    let chunk = vec![1; CHUNK.min(length)];
    (0..length / CHUNK.min(length).max(1)).for_each(|_| file.write_all(&chunk).unwrap());
    file.sync_all().unwrap();
    file.rewind().unwrap();
}

/// The same file, with a place and a readahead of its own.
fn again(file: &File) -> File {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

fn null() -> File {
    OpenOptions::new().write(true).open("/dev/null").unwrap()
}

fn read_by(mut file: &File, length: usize) {
    let mut buffer = vec![0; length];
    (0..BYTES / length).for_each(|_| file.read_exact(&mut buffer).unwrap());
}

fn send(from: &File, to: &File) {
    let mut left = BYTES;
    while left > 0 {
        // SAFETY: plain numbers, and no place.
        left -= positive(unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), null_mut(), left) });
    }
}

fn splice(from: &impl AsRawFd, to: &impl AsRawFd, length: usize) -> usize {
    // SAFETY: plain numbers, and no places.
    let moved = unsafe { libc::splice(from.as_raw_fd(), null_mut(), to.as_raw_fd(), null_mut(), length, 0) };
    positive(moved)
}

/// So much was moved; who asks at the end of a file gets another page of it (5.10).
fn positive(moved: isize) -> usize {
    assert!(moved > 0, "{}", io::Error::last_os_error());
    moved.unsigned_abs()
}

fn advise(file: &File, advice: i32) {
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }, 0);
}

/// Takes a file that is on its disk out of memory.
pub fn forget(file: &File) {
    advise(file, libc::POSIX_FADV_DONTNEED);
    assert_eq!(resident(file), 0, "resident");
}

/// Pages of a file that are in memory.
fn resident(file: &File) -> u64 {
    Mapping::of(file).resident()
}

/// A file as memory.
struct Mapping {
    at: *mut u8,
    length: usize,
}

impl Mapping {
    fn of(file: &File) -> Self {
        Self::with(file, 0)
    }

    fn with(file: &File, flags: i32) -> Self {
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // SAFETY: a mapping of its own, only read.
        let at =
            unsafe { libc::mmap(null_mut(), length, libc::PROT_READ, libc::MAP_SHARED | flags, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Self { at: at.cast(), length }
    }

    fn touch(&self) {
        for place in (0..self.length).step_by(PAGE) {
            // SAFETY: within the mapping, and the file is as long.
            unsafe { self.at.add(place).read_volatile() };
        }
    }

    fn resident(&self) -> u64 {
        let mut pages = vec![0; self.length / PAGE];
        // SAFETY: a byte for each page of the mapping.
        assert_eq!(unsafe { libc::mincore(self.at.cast(), self.length, pages.as_mut_ptr()) }, 0);
        pages.iter().map(|page| u64::from(page & 1)).sum()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nobody has a part of it.
        unsafe { libc::munmap(self.at.cast(), self.length) };
    }
}
