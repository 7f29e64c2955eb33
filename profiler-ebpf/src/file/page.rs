//! Pages on their way into the page cache and out of it, booked to the thread that runs: who misses a page fetches it, and
//! those ahead of it, too. Counted by pages, since a folio has one or many.
//!
//! Pages that somebody makes who changes the file are told by the lock of its inode: writers hold it alone, readers do not.
//! So it does not matter by which call they write, or that they read from another file meanwhile.
//!
//! SAFETY: a thread's record is written by the thread itself, and indexes are masked to the size of the array.

use profiler_common::file::{is_in_memory, kind, kind_of_mode, page};
use profiler_common::syscall::class;
use profiler_common::task::NO_CALL;

use crate::file::path;
use crate::kernel::{Hook, Object, current, hook, offset, pages_of};
use crate::syscall::class_of;
use crate::task::thread::thread_of;
use crate::task::{call_of, has_no_calls};

/// `sendfile` on x86-64: by its first argument it writes.
const SENDFILE: u32 = 40;

hook!("mm_filemap_add_to_page_cache", mm_filemap_add_to_page_cache, mm_filemap_add_to_page_cache_raw, add);
hook!(
    "mm_filemap_delete_from_page_cache",
    mm_filemap_delete_from_page_cache,
    mm_filemap_delete_from_page_cache_raw,
    delete
);

/// `mm_filemap_add_to_page_cache(folio)`
#[inline(always)]
fn add<H: Hook>(hook: H) {
    moved(hook, page::DEVICE, |inode| way_in(hook, inode));
}

/// `mm_filemap_delete_from_page_cache(folio)`
#[inline(always)]
fn delete<H: Hook>(hook: H) {
    moved(hook, page::DEVICE_DROPPED, |_| page::DROPPED);
}

/// Counts a folio. What is no regular file is a device, a directory where these are cached, or a file system's own (ext4's
/// buddies, the trees of btrfs); and what is on no storage is not told of both ways.
#[inline(always)]
fn moved<H: Hook>(hook: H, of_device: usize, of_file: impl FnOnce(Object) -> usize) {
    let folio = hook.object::<0>();
    let inode = hook.follow(hook.follow(folio, offset!(page_mapping)), offset!(mapping_inode));
    if is_in_memory(hook.read(hook.follow(inode, offset!(inode_super)), offset!(super_magic))) {
        return;
    }
    let is_file = kind_of_mode(hook.read(inode, offset!(inode_mode))) == kind::REGULAR;
    let way = if is_file { of_file(inode) } else { of_device };
    let Some(thread) = thread_of(current()) else { return };
    let pages = pages_of(hook, folio);
    unsafe { *(&raw mut (*thread).sums.pages).cast::<u64>().add(way & (page::WAYS - 1)) += pages };
    if matches!(way, page::READ | page::FAULT | page::OTHER) {
        path::missed(hook, inode, pages, way == page::READ);
    }
}

/// How a page of a file comes in, one of [`page`].
#[inline(always)]
fn way_in<H: Hook>(hook: H, inode: Object) -> usize {
    let task = current();
    if hook.read::<u64>(inode, offset!(inode_owner)) == task as u64 {
        return page::WRITTEN;
    }
    if has_no_calls(task) {
        return page::OTHER;
    }
    match call_of(task) {
        NO_CALL => page::FAULT,
        call if call == SENDFILE || class_of(call) == class::READ => page::READ,
        _ => page::OTHER,
    }
}
