//! Row `file`: the kind of file behind a descriptor, told from its inode.
//!
//! SAFETY: only the kernel's own tables are read, with helper loads where the verifier loses the type.

use profiler_common::file::{kind, kind_of_mode};

use crate::kernel::{Object, Pointer, follow_current, offset, probe, read_current};

/// The kind of file that a descriptor of the running task names, at this moment.
#[inline(always)]
pub fn kind_of(task: Object, descriptor: u32) -> u32 {
    let files = follow_current(task, offset!(task_files));
    if files.is_null() {
        return kind::UNKNOWN;
    }
    let table = follow_current(files, offset!(files_fdt));
    let limit: u32 = read_current(table, offset!(fdt_max));
    if descriptor >= limit {
        return kind::UNKNOWN;
    }
    // An array of pointers: here the verifier no longer knows what it looks at.
    let array = follow_current(table, offset!(fdt_fd));
    let file = probe::<Pointer>(array.wrapping_add(descriptor as usize * size_of::<Object>()), 0).0;
    if file.is_null() {
        return kind::UNKNOWN;
    }
    let inode = probe::<Pointer>(file, offset!(file_inode)).0;
    kind_of_mode(probe(inode, offset!(inode_mode)))
}
