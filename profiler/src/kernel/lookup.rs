//! Whole maps in few system calls. aya asks for one entry at a time, which is too slow for thousands per second.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::kernel::decode::Plain;

/// `BPF_MAP_LOOKUP_BATCH` (5.6, cb4d03ab499d).
const LOOKUP_BATCH: libc::c_int = 24;

/// `BPF_MAP_LOOKUP_ELEM`
const LOOKUP: libc::c_int = 1;

/// `BPF_MAP_DELETE_ELEM`
const DELETE: libc::c_int = 3;

/// `union bpf_attr` of the batch commands.
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    elem_flags: u64,
    flags: u64,
}

/// `union bpf_attr` of the commands on one entry.
#[repr(C)]
struct Entry {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The only entry of a per-CPU array, one value per CPU that there may ever be.
pub fn per_cpu<V: Plain>(map: BorrowedFd<'_>, cpus: usize, values: &mut Vec<V>) -> io::Result<()> {
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel pads values to eight bytes") };
    values.clear();
    values.reserve(cpus);
    let key = 0u32;
    let mut entry = Entry {
        map: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
        reserved: 0,
        key: (&raw const key) as u64,
        value: values.spare_capacity_mut().as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads one key and writes a value for each possible CPU, for which there is room.
    unsafe {
        let size = u32::try_from(size_of::<Entry>()).unwrap_or(0);
        if libc::syscall(libc::SYS_bpf, LOOKUP, &raw mut entry, size) < 0 {
            return Err(io::Error::last_os_error());
        }
        values.set_len(cpus);
    }
    Ok(())
}

/// Removes an entry; that it is gone already is fine.
pub fn remove<K: Plain>(map: BorrowedFd<'_>, key: &K) {
    let mut entry = Entry {
        map: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
        reserved: 0,
        key: std::ptr::from_ref(key) as u64,
        value: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads one key.
    unsafe {
        let size = u32::try_from(size_of::<Entry>()).unwrap_or(0);
        libc::syscall(libc::SYS_bpf, DELETE, &raw mut entry, size);
    }
}

/// Fills `keys` and `values` with every entry of a hash map. Entries that come or go meanwhile may be missed; they are
/// there, or gone, the next time.
pub fn all<K: Plain + Default, V: Plain>(
    map: BorrowedFd<'_>,
    step: usize,
    keys: &mut Vec<K>,
    values: &mut Vec<V>,
) -> io::Result<()> {
    keys.clear();
    values.clear();
    let (mut step, mut batch, mut started) = (step.max(64), 0u64, false);
    loop {
        let at = keys.len();
        keys.reserve(step);
        values.reserve(step);
        let mut next = 0u64;
        let mut attributes = Attributes {
            in_batch: if started { (&raw const batch) as u64 } else { 0 },
            out_batch: (&raw mut next) as u64,
            keys: keys.spare_capacity_mut().as_mut_ptr() as u64,
            values: values.spare_capacity_mut().as_mut_ptr() as u64,
            count: u32::try_from(step).unwrap_or(u32::MAX),
            map: u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes at most `count` keys and values, for which there is room, and then says how many.
        let result = unsafe {
            let size = u32::try_from(size_of::<Attributes>()).unwrap_or(0);
            libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attributes, size)
        };
        let error = (result < 0).then(io::Error::last_os_error);
        let code = error.as_ref().and_then(io::Error::raw_os_error);
        if code == Some(libc::ENOSPC) {
            // One bucket holds more than we have room for.
            step *= 2;
            continue;
        }
        if matches!(code, None | Some(libc::ENOENT)) {
            // SAFETY: that many entries were written.
            unsafe {
                keys.set_len(at + attributes.count as usize);
                values.set_len(at + attributes.count as usize);
            }
        }
        match (code, error) {
            (None, _) => (batch, started) = (next, true),
            (Some(code), Some(error)) if code != libc::ENOENT => return Err(error),
            _ => return Ok(()),
        }
    }
}
