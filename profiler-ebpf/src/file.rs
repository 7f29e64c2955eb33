//! Row `file`: the kind of file behind a descriptor, told from its inode, and remembered per CPU; pages of files ([`page`]).
//!
//! Finding out takes three reads by helper, about 80 ns, and three more of a socket or a regular file. So the answer is
//! kept, tagged with the table of descriptors and with an epoch, and whatever can change the meaning of a descriptor in
//! that table begins a new epoch ([`forget`]).
//!
//! A table may be freed, and another one made at its address. That is safe because each way to get a table ends in a call
//! of the new owner that begins an epoch for it before the owner can use a descriptor: the child's return from its fork,
//! and the returns of `execve` and `unshare`. Helpers that the kernel starts itself have no such call; they are told
//! apart by the process id in the tag, which does not recur together with the table within the life of a cache entry.
//! Not seen is a descriptor that `fcntl` turns to direct I/O or back: its number keeps the old kind until the process closes
//! another one. The same goes for one closed by `io_uring` where its programs are missing.
//!
//! SAFETY: only the kernel's own tables are read, with helper loads where the verifier loses the type. Indexes are masked
//! to the size of the array. The cache is written by programs on `sys_exit` and at the switch away from a thread, which
//! never interrupt one another on one CPU.

mod journal;
mod page;
pub mod path;

use core::ptr::{null, read_volatile};

use profiler_common::file::{EPOCHS, KIND_ENTRIES, KindEntry, is_followed, is_in_memory, kind, kind_of_mode};
use profiler_common::syscall::CpuCalls;

use crate::kernel::{
    Counter, Object, Pointer, address_of, config, current, follow_current, follow_task, offset, probe, read_current,
};
use crate::tcp::tcp_socket_of;

/// Epochs of the tables of descriptors, by a hash of their address. A bucket shared by two tables only forgets too much.
#[unsafe(no_mangle)]
static mut FD_EPOCHS: [u32; EPOCHS] = [0; EPOCHS];

/// `O_DIRECT` on x86.
const O_DIRECT: u32 = 0o40000;

/// Tables are aligned to cache lines.
const TABLE_SHIFT: u32 = 6;

/// The kind of file that a descriptor of the running task names, whose table ([`table_of`]) and process these are, and which of
/// the CPU's entries has it: none if it is not known.
#[inline(always)]
pub fn kind_of(cpu: *mut CpuCalls, files: u64, pid: u32, descriptor: u32) -> (u32, usize) {
    unsafe {
        // Read before the walk: what changes meanwhile makes the entry stale at once.
        let epoch = read_volatile(epoch_of(files));
        let index = (descriptor ^ (files >> TABLE_SHIFT) as u32) as usize & (KIND_ENTRIES - 1);
        let entry = (&raw mut (*cpu).kinds).cast::<KindEntry>().add(index);
        let known = (*entry).files == files
            && (*entry).descriptor == descriptor
            && (*entry).epoch == epoch
            && (*entry).pid == pid;
        if known {
            return ((*entry).kind, index);
        }
        if (*cpu).dirty_paths & 1 << index != 0 {
            path::paths_flush();
        }
        let file = file_of(current(), descriptor);
        let kind = if file.is_null() { kind::UNKNOWN } else { kind_of_file(file) };
        if kind == kind::UNKNOWN {
            return (kind, KIND_ENTRIES);
        }
        // Member by member: a whole one would lie on the stack first, which is short.
        (*entry).files = files;
        (*entry).pid = pid;
        (*entry).descriptor = descriptor;
        (*entry).epoch = epoch;
        (*entry).kind = kind;
        (*entry).inode.number = 0;
        if is_followed(kind) {
            path::path_begin(index as u32, file as u64);
        }
        (kind, index)
    }
}

/// The running task's descriptors may name other files from now on.
#[inline(always)]
pub fn forget(task: Object) {
    u32::add(epoch_of(table_of(task)), 1);
}

/// A task's table of descriptors as a number.
#[inline(always)]
pub fn table_of(task: Object) -> u64 {
    address_of(follow_task(task, offset!(task_files)))
}

#[inline(always)]
fn epoch_of(table: u64) -> *mut u32 {
    let bucket = (table >> TABLE_SHIFT) as usize & (EPOCHS - 1);
    unsafe { (&raw mut FD_EPOCHS).cast::<u32>().add(bucket) }
}

/// The file that a descriptor names at this moment; null if it is not known.
#[inline(always)]
pub fn file_of(task: Object, descriptor: u32) -> Object {
    let files = follow_task(task, offset!(task_files));
    if files.is_null() {
        return null();
    }
    let table = follow_current(files, offset!(files_fdt));
    let limit: u32 = read_current(table, offset!(fdt_max));
    // An array of pointers: here the verifier no longer knows what it looks at.
    if descriptor >= limit || config!(kernel_reads) == 0 {
        return null();
    }
    let array = follow_current(table, offset!(fdt_fd));
    probe::<Pointer>(array.wrapping_add(descriptor as usize * size_of::<Object>()), 0).0
}

/// Looks a descriptor up, at this moment.
#[inline(always)]
pub fn walk(task: Object, descriptor: u32) -> u32 {
    let file = file_of(task, descriptor);
    if file.is_null() { kind::UNKNOWN } else { kind_of_file(file) }
}

/// The kind of an open file.
#[inline(always)]
pub fn kind_of_file(file: Object) -> u32 {
    if config!(kernel_reads) == 0 {
        return kind::UNKNOWN;
    }
    let inode = probe::<Pointer>(file, offset!(file_inode)).0;
    match kind_of_mode(probe(inode, offset!(inode_mode))) {
        kind::SOCKET if tcp_socket_of(file).is_some() => kind::TCP,
        kind::REGULAR if is_in_memory(probe(probe::<Pointer>(inode, offset!(inode_super)).0, offset!(super_magic))) => {
            kind::MEMORY
        }
        kind::REGULAR if probe::<u32>(file, offset!(file_flags)) & O_DIRECT != 0 => kind::DIRECT,
        kind => kind,
    }
}
