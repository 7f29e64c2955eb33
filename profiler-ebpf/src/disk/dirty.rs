//! Who made the pages dirty that are written back: by then it is somebody else who writes them.
//!
//! SAFETY: a file's record is shared between CPUs. A process takes its place in it while it holds the file, or at worst two
//! take the same; bytes are added to atomically. Indexes are below the number of places.

use core::ptr::null_mut;

use profiler_common::disk::{DIRTIERS_MAX, Dirtier, Request};
use profiler_common::file::{PAGE_BYTES, kind, kind_of_mode};
use profiler_common::lost::Lost;

use crate::emit::lost;
use crate::kernel::{
    Counter, Hook, Object, Pointer, RAW, config, current, hook, inode_key, offset, pages_of, peek, probe, process_of,
    unpreempted,
};
use crate::maps::{DIRTIERS, Made as _};

hook!("writeback_dirty_folio", writeback_dirty_folio, writeback_dirty_folio_raw, dirtied);

/// `writeback_dirty_folio(folio, mapping)` (5.16, 203a31516616): where `/proc/PID/io` counts `write_bytes`, too.
#[inline(always)]
fn dirtied<H: Hook>(hook: H) {
    unpreempted(|| dirty(hook));
}

#[inline(always)]
fn dirty<H: Hook>(hook: H) {
    let (folio, mapping) = (hook.object::<0>(), hook.object::<1>());
    if mapping.is_null() {
        return;
    }
    let inode = hook.follow(mapping, offset!(mapping_inode));
    if inode.is_null() {
        return;
    }
    let key = inode_key(hook, inode);
    let bytes = pages_of(hook, folio) * PAGE_BYTES;
    let Some(places) = DIRTIERS.get_or_make(&key, &NOBODY) else { return lost(Lost::DiskOwner) };
    let (start, pid) = process_of(current());
    let places = places.cast::<Dirtier>();
    let mut least = i64::MAX;
    let mut place = places;
    for index in 0..DIRTIERS_MAX {
        unsafe {
            let at = places.add(index);
            if (*at).pid == pid && (*at).process_start_ns == start {
                return u64::add((&raw mut (*at).credit_bytes).cast(), bytes);
            }
            let owed = if (*at).pid == 0 { i64::MIN } else { (*at).credit_bytes };
            if owed < least {
                least = owed;
                place = at;
            }
        }
    }
    // It takes the place, and the rest, of who is owed least.
    unsafe {
        (*place).process_start_ns = start;
        (*place).pid = pid;
        u64::add((&raw mut (*place).credit_bytes).cast(), bytes);
    }
}

static NOBODY: [Dirtier; DIRTIERS_MAX] =
    [Dirtier { process_start_ns: 0, credit_bytes: 0, pid: 0, padding: 0 }; DIRTIERS_MAX];

/// Whom a write is for: if it has a page of a file, who made most of that dirty and has not been written for. Of a file
/// about which nothing is known that is nobody; where a device is written to itself, by its file system too, who asked.
#[inline(always)]
pub fn settle<H: Hook>(hook: H, request: Object, bytes: u32, entry: &mut Request) {
    if config!(kernel_reads) == 0 {
        return;
    }
    let Some(inode) = inode_of(hook, request) else { return };
    let key = inode_key(RAW, inode);
    let mut most = 0;
    let mut of: *mut Dirtier = null_mut();
    if let Some(places) = DIRTIERS.get_ptr_mut(key) {
        for index in 0..DIRTIERS_MAX {
            unsafe {
                let place = places.cast::<Dirtier>().add(index);
                if (*place).credit_bytes > most {
                    most = (*place).credit_bytes;
                    of = place;
                }
            }
        }
    }
    if !of.is_null() {
        unsafe {
            u64::add((&raw mut (*of).credit_bytes).cast(), u64::from(bytes).wrapping_neg());
            entry.process_start_ns = (*of).process_start_ns;
            entry.pid = (*of).pid;
        }
    } else if kind_of_mode(probe(inode, offset!(inode_mode))) != kind::BLOCK {
        entry.pid = 0;
    }
}

/// The inode of the first page of a request, if that is of a file.
#[inline(always)]
fn inode_of<H: Hook>(hook: H, request: Object) -> Option<Object> {
    const NO_FILE: u64 = 3;
    let bio = hook.follow(request, offset!(request_bio));
    if bio.is_null() {
        return None;
    }
    let vector = hook.follow(bio, offset!(bio_vector));
    if vector.is_null() {
        return None;
    }
    // It may be any memory of the kernel. Only a file's inode leads back to where its pages belong.
    let page = peek::<Pointer>(vector, offset!(vector_page)).0;
    let head: u64 = peek(page, offset!(page_head));
    let head = if head & 1 == 0 { page } else { (head - 1) as Object };
    let mapping: u64 = peek(head, offset!(page_mapping));
    if mapping == 0 || mapping & NO_FILE != 0 {
        return None;
    }
    let inode = peek::<Pointer>(mapping as Object, offset!(mapping_inode)).0;
    if peek::<u64>(inode, offset!(inode_mapping)) == mapping { Some(inode) } else { None }
}
