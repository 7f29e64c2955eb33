//! Pages on their way into the page cache and out of it, booked to the thread that runs: who misses a page fetches it, and
//! those ahead of it, too. Counted by pages, since a folio has one or many.
//!
//! Pages that somebody makes who changes the file are told by the lock of its inode: writers hold it alone, readers do not.
//! So it does not matter by which call they write, or that they read from another file meanwhile.
//!
//! SAFETY: a thread's record is written by the thread itself, and indexes are masked to the size of the array.

use profiler_common::file::{kind, kind_of_mode, page};
use profiler_common::syscall::class;
use profiler_common::task::NO_CALL;

use crate::kernel::{Hook, Object, config, current, hook, offset, pages_of};
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
    let inode = inode_of(hook);
    let way = if is_file(hook, inode) { way_in(hook, inode) } else { page::DEVICE };
    count(hook, hook.read(hook.object::<0>(), offset!(page_flags)), way);
}

/// `mm_filemap_delete_from_page_cache(folio)`: it is told of memory that looks like a file, too, but not of how that came.
#[inline(always)]
fn delete<H: Hook>(hook: H) {
    let flags: u64 = hook.read(hook.object::<0>(), offset!(page_flags));
    if flags & u64::from(config!(page_memory_mask)) == 0 {
        count(hook, flags, if is_file(hook, inode_of(hook)) { page::DROPPED } else { page::DEVICE_DROPPED });
    }
}

#[inline(always)]
fn inode_of<H: Hook>(hook: H) -> Object {
    hook.follow(hook.follow(hook.object::<0>(), offset!(page_mapping)), offset!(mapping_inode))
}

/// Not so directories where they are cached, and what a file system keeps of its own (ext4's buddies, the trees of btrfs).
#[inline(always)]
fn is_file<H: Hook>(hook: H, inode: Object) -> bool {
    kind_of_mode(hook.read(inode, offset!(inode_mode))) == kind::REGULAR
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

#[inline(always)]
fn count<H: Hook>(hook: H, flags: u64, way: usize) {
    let Some(thread) = thread_of(current()) else { return };
    let pages = pages_of(hook, hook.object::<0>(), flags);
    unsafe { *(&raw mut (*thread).sums.pages).cast::<u64>().add(way & (page::WAYS - 1)) += pages };
}
