//! Files one by one: what a process does to each is counted at the entry of its descriptor on the CPU, which takes no lookup,
//! and moved on to a map at the switch away.
//!
//! SAFETY: entries are those of this CPU, and their index is masked. Records are shared by the threads of a process, and added
//! to atomically; their names are the same whoever writes them.

use profiler_common::file::{ACTS, InodeKey, KIND_ENTRIES, KindEntry, PathKey, PathRecord, kind};
use profiler_common::hist::{LOG2_SLOTS, log2_slot};
use profiler_common::offset::ABSENT;
use profiler_common::syscall::{CpuCalls, class, moves_bytes};

use crate::file::file_of;
use crate::kernel::{
    Counter, Hook, Object, Pointer, RAW, config, copy_string, current, inode_key, now, offset, peek, probe, process_of,
    read_current, registers_of,
};
use crate::maps::{CPU_CALLS, Made as _, PATHS};

/// Counts a call, or an operation, on the file of an entry; the `first` call since the thread came to its CPU may be the one in
/// which it waited before.
///
/// Global, as the others below: the verifier looks at each once, whoever calls it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_count(index: u32, class: u32, result: i64, first: u32) -> u32 {
    let Some(cpu) = CPU_CALLS.get_ptr_mut(0) else { return 0 };
    let Some(act) = act_of(class as u8) else { return 0 };
    let (entry, bit) = (entry(cpu, index as usize), 1 << (index & (KIND_ENTRIES as u32 - 1)));
    unsafe {
        if first != 0 {
            (*cpu).first_path = (*entry).inode;
        }
        if (*cpu).dirty_paths & bit == 0 {
            (*cpu).dirty_paths |= bit;
            (*entry).bytes = [0; 2];
            (*entry).calls = [0; ACTS];
            (*entry).misaligned = 0;
        }
        *(&raw mut (*entry).calls).cast::<u32>().add(act) += 1;
        if moves_bytes(class as u8) && result > 0 {
            *(&raw mut (*entry).bytes).cast::<u64>().add(act & 1) += result.cast_unsigned();
        }
    }
    0
}

/// Looks where in its file a call with `O_DIRECT` begins and ends, which [`path_count`] has counted.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_direct(index: u32, call: u32, result: i64) -> u32 {
    let Some(cpu) = CPU_CALLS.get_ptr_mut(0) else { return 0 };
    let (task, entry) = (current(), entry(cpu, index as usize));
    let registers = registers_of(task);
    let file = file_of(task, unsafe { (*entry).descriptor });
    if config!(kernel_reads) == 0 || registers.is_null() || file.is_null() {
        return 0;
    }
    let begin = if names_position(call) {
        read_current::<u64>(registers, offset!(regs_arg3))
    } else {
        probe::<u64>(file, offset!(file_position)).wrapping_sub(if result > 0 { result.cast_unsigned() } else { 0 })
    };
    // Of a call with several buffers, the length is not looked at.
    let length = if has_one_buffer(call) { read_current::<u64>(registers, offset!(regs_arg2)) } else { 0 };
    let bits: u8 = probe(probe::<Pointer>(file, offset!(file_inode)).0, offset!(inode_block_bits));
    let inside = (1 << (bits & 31)) - 1;
    if result == REFUSED || (begin | length) & inside != 0 {
        unsafe { (*entry).misaligned += 1 };
    }
    0
}

/// `-EINVAL`
const REFUSED: i64 = -22;

/// `pread64`, `pwrite64`, and the same with several buffers: their fourth argument is where in the file.
#[inline(always)]
fn names_position(call: u32) -> bool {
    matches!(call, 17 | 18 | 295 | 296 | 327 | 328)
}

/// `read`, `write`, `pread64`, `pwrite64`: their third argument is the length.
#[inline(always)]
fn has_one_buffer(call: u32) -> bool {
    matches!(call, 0 | 1 | 17 | 18)
}

/// What a call of a class does to its file, as an index into [`PathRecord::calls`].
#[inline(always)]
fn act_of(class: u8) -> Option<usize> {
    let act = class.wrapping_sub(class::READ) as usize;
    if act < ACTS { Some(act) } else { None }
}

#[inline(always)]
fn entry(cpu: *mut CpuCalls, index: usize) -> *mut KindEntry {
    unsafe { (&raw mut (*cpu).kinds).cast::<KindEntry>().add(index & (KIND_ENTRIES - 1)) }
}

/// Begins the record of the file that a new entry is about.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_begin(index: u32, file: u64) -> u32 {
    let Some(cpu) = CPU_CALLS.get_ptr_mut(0) else { return 0 };
    let entry = entry(cpu, index as usize);
    if config!(kernel_reads) == 0 {
        return 0;
    }
    let inode = probe::<Pointer>(file as Object, offset!(file_inode)).0;
    let key = inode_key(RAW, inode);
    let descriptor = unsafe {
        (*entry).inode = key;
        (*entry).descriptor
    };
    let key = key_of(key, unsafe { (*entry).kind });
    let Some(record) = record_of(&key) else { return 0 };
    unsafe { (*record).descriptor = descriptor };
    name(record, inode);
    0
}

/// Moves what the running process did to files on this CPU to their records.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn paths_flush() -> u32 {
    let Some(cpu) = CPU_CALLS.get_ptr_mut(0) else { return 0 };
    let mut dirty = unsafe { (*cpu).dirty_paths };
    unsafe { (*cpu).dirty_paths = 0 };
    for index in 0..KIND_ENTRIES {
        if dirty == 0 {
            break;
        }
        if dirty & 1 != 0 {
            let entry = entry(cpu, index);
            let key = unsafe { key_of((*entry).inode, (*entry).kind) };
            if let Some(record) = record_of(&key) {
                add(record, entry);
            }
        }
        dirty >>= 1;
    }
    0
}

#[inline(always)]
fn add(record: *mut PathRecord, entry: *const KindEntry) {
    unsafe {
        for act in 0..ACTS {
            u64::add((&raw mut (*record).calls).cast::<u64>().add(act), (*entry).calls[act].into());
        }
        for act in 0..2 {
            u64::add((&raw mut (*record).bytes).cast::<u64>().add(act), (*entry).bytes[act]);
        }
        u64::add(&raw mut (*record).misaligned, (*entry).misaligned.into());
    }
}

/// Adds a finished wait in a call of a class to the file of the first call that returned since the thread came to its CPU.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_waited(waited: u64, class: u32, kind: u32) -> u32 {
    let Some(cpu) = CPU_CALLS.get_ptr_mut(0) else { return 0 };
    let (inode, slot) = (unsafe { (*cpu).first_path }, log2_slot(waited));
    let Some(act) = act_of(class as u8).filter(|_| inode.number != 0 && slot < LOG2_SLOTS) else { return 0 };
    let Some(record) = record_of(&key_of(inode, kind)) else { return 0 };
    unsafe {
        u64::add((&raw mut (*record).blocked_ns).cast::<u64>().add(act), waited);
        if class as u8 == class::SYNC {
            u32::add((&raw mut (*record).sync_blocked).cast::<u32>().add(slot), 1);
        }
    }
    0
}

/// Adds pages that the running process fetches, or lets others fetch ahead, by a call that reads or otherwise.
#[inline(always)]
pub fn missed<H: Hook>(hook: H, inode: Object, pages: u64, by_read: bool) {
    let key = key_of(inode_key(hook, inode), kind::REGULAR);
    if let Some(record) = record_of(&key) {
        unsafe {
            u64::add(&raw mut (*record).missed_pages, pages);
            u64::add(&raw mut (*record).read_missed_pages, if by_read { pages } else { 0 });
        }
        if config!(kernel_reads) != 0 {
            name(record, inode);
        }
    }
}

/// Counts an operation of a process on an open file; its kind stands above the class.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_operation(file: u64, process_start_ns: u64, pid: u32, class: u32, result: i64) -> u32 {
    let (class, kind) = (class as u8, class >> 8);
    let Some(act) = act_of(class).filter(|_| config!(kernel_reads) != 0) else { return 0 };
    let inode = probe::<Pointer>(file as Object, offset!(file_inode)).0;
    let key = PathKey { inode: inode_key(RAW, inode), process_start_ns, pid, kind };
    let Some(record) = record_of(&key) else { return 0 };
    unsafe {
        u64::add((&raw mut (*record).calls).cast::<u64>().add(act), 1);
        if moves_bytes(class) && result > 0 {
            u64::add((&raw mut (*record).bytes).cast::<u64>().add(act & 1), result.cast_unsigned());
        }
    }
    name(record, inode);
    0
}

/// A file as the running process uses it.
#[inline(always)]
fn key_of(inode: InodeKey, kind: u32) -> PathKey {
    let (process_start_ns, pid) = process_of(current());
    PathKey { inode, process_start_ns, pid, kind }
}

/// The record of a file, made if need be.
#[inline(always)]
fn record_of(key: &PathKey) -> Option<*mut PathRecord> {
    if let Some(record) = PATHS.get_ptr_mut(key) {
        return Some(record);
    }
    let record = PATHS.get_or_make(key, &EMPTY)?;
    unsafe { (*record).born = now() as u32 };
    Some(record)
}

static EMPTY: PathRecord = PathRecord::EMPTY;

/// Notes the first of the names that a file has, and that of its folder, unless that has been done.
#[inline(always)]
fn name(record: *mut PathRecord, inode: Object) {
    if unsafe { (*record).name[0] } != 0 || offset!(inode_alias) == ABSENT || offset!(dentry_alias) == ABSENT {
        return;
    }
    // It may lose that name at any time.
    let alias: u64 = peek(inode, offset!(inode_alias));
    if alias == 0 {
        return;
    }
    let entry = alias.wrapping_sub(offset!(dentry_alias).into()) as Object;
    let folder = peek::<Pointer>(entry, offset!(dentry_parent)).0;
    unsafe {
        if folder != entry {
            copy_string(&raw mut (*record).folder, peek::<Pointer>(folder, offset!(dentry_name)).0);
        }
        copy_string(&raw mut (*record).name, peek::<Pointer>(entry, offset!(dentry_name)).0);
    }
}
