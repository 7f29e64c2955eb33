//! Waits for disks and what is between them and a thread.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::ptr::null_mut;

use io_uring::{IoUring, opcode, types};

use super::spends;
use crate::kernel::device::{Limit, LoopDevice, Mount, Page};

#[test]
fn direct_reads() {
    let disk = LoopDevice::uncached(16);
    spends("disk_read", || read_directly(&disk, || ()));
}

/// Reads 2 000 pages of a disk of 16 MiB, and does something after each.
pub fn read_directly(disk: &LoopDevice, mut then: impl FnMut()) {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
    let mut page = Page([0; 4096]);
    for place in (0..16 << 20).step_by(1 << 14).cycle().take(2_000) {
        file.read_exact_at(&mut page.0, place).unwrap();
        then();
    }
}

#[test]
fn direct_writes() {
    let disk = LoopDevice::uncached(16);
    let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
    spends("disk_write", || {
        let page = Page([1; 4096]);
        for place in (0..16 << 20).step_by(1 << 14).cycle().take(2_000) {
            file.write_all_at(&page.0, place).unwrap();
        }
    });
}

#[test]
fn buffered_reads_that_miss_the_cache() {
    let disk = LoopDevice::uncached(64);
    let file = forgotten(&disk);
    spends("disk_read", || {
        let mut page = [0; 4096];
        for place in (0..64 << 20).step_by(1 << 15) {
            file.read_exact_at(&mut page, place).unwrap();
        }
    });
}

#[test]
fn pages_of_a_mapped_file() {
    let disk = LoopDevice::uncached(64);
    let file = forgotten(&disk);
    spends("fault", || touch(&file));
}

/// Maps a device of 64 MiB, and touches a page in four: together slow on any disk.
pub fn touch(file: &File) {
    let length = 64 << 20;
    // SAFETY: a mapping of a device as long as it is, only read.
    unsafe {
        let map = libc::mmap(null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0).cast::<u8>();
        assert!(!map.is_null());
        libc::madvise(map.cast(), length, libc::MADV_RANDOM);
        for place in (0..length).step_by(1 << 14) {
            std::ptr::read_volatile(map.add(place));
        }
    }
}

/// A disk of which nothing is cached, and that is read at random.
pub fn forgotten(disk: &LoopDevice) -> File {
    let file = File::open(&disk.path).unwrap();
    for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_RANDOM] {
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }, 0);
    }
    file
}

/// A process that syncs waits for its data, for the journal, and for the device's cache: nothing else.
#[test]
fn syncs() {
    let mount = Mount::ext4(64);
    let path = mount.path("file");
    spends("disk_write|journal", || {
        let mut file = File::create(&path).unwrap();
        for _ in 0..300 {
            file.write_all(&[1; 4096]).unwrap();
            file.sync_all().unwrap();
        }
    });
}

/// A process that dirties memory faster than its disk takes it.
#[test]
fn more_dirty_memory_than_allowed() {
    let disk = LoopDevice::uncached(96);
    let _limit = Limit::of_dirty_memory(&disk);
    spends("dirty", || fill(&disk.path));
}

/// Writes 96 MiB to a file or disk through the page cache.
pub fn fill(path: &str) {
    let (mut file, much) = (OpenOptions::new().write(true).open(path).unwrap(), vec![1; 1 << 20]);
    for _ in 0..96 {
        file.write_all(&much).unwrap();
    }
}

/// Reads of which several are under way at a time, and whose completions are waited for.
#[test]
fn completions_of_io_uring() {
    let disk = LoopDevice::uncached(16);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).unwrap();
    spends("async", || {
        let mut ring = IoUring::new(8).unwrap();
        let mut pages = [0; 4].map(|byte| Page([byte; 4096]));
        for turn in 0..500 {
            for (page, place) in pages.iter_mut().zip(turn * 4..) {
                let read = opcode::Read::new(types::Fd(file.as_raw_fd()), page.0.as_mut_ptr(), 4096);
                let read = read.offset(place % 2_048 * 8_192).build();
                // SAFETY: the page and the file outlive the read, which is waited for below.
                unsafe { ring.submission().push(&read).unwrap() };
            }
            ring.submit_and_wait(pages.len()).unwrap();
            assert!(ring.completion().all(|read| read.result() == 4096));
        }
    });
}
