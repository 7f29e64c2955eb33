//! Row `file`: the kind of file behind a descriptor, and pages of the page cache. What is read and written rides on the
//! calls themselves.

use crate::hist::LOG2_SLOTS;
use crate::syscall::class;

/// Kinds of file, from `inode.i_mode`. They fit the four bits above a call number.
pub mod kind {
    /// The call takes no descriptor.
    pub const NONE: u32 = 0;
    /// Regular file.
    pub const REGULAR: u32 = 1;
    /// Directory.
    pub const DIRECTORY: u32 = 2;
    /// Block device.
    pub const BLOCK: u32 = 3;
    /// Character device, terminals included.
    pub const CHARACTER: u32 = 4;
    /// Pipe or FIFO.
    pub const PIPE: u32 = 5;
    /// Socket of any kind but TCP.
    pub const SOCKET: u32 = 6;
    /// No file type at all: event, timer, signal and epoll descriptors, and `io_uring`.
    pub const ANONYMOUS: u32 = 7;
    /// The descriptor was closed by the time the call returned, or never valid.
    pub const UNKNOWN: u32 = 8;
    /// TCP socket.
    pub const TCP: u32 = 9;
    /// Regular file that was opened to be read and written past the page cache (`O_DIRECT`).
    pub const DIRECT: u32 = 10;
    /// Regular file that is on no storage: of tmpfs, `/proc` and their like.
    pub const MEMORY: u32 = 11;
}

/// Number of kinds.
pub const KINDS: usize = 12;

/// Whether files of a file system are on no storage, by its magic number (`statfs`).
#[inline(always)]
#[must_use]
pub const fn is_in_memory(magic: u64) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    const HUGETLBFS: u64 = 0x9584_58f6;
    const PROC: u64 = 0x9fa0;
    const SYSFS: u64 = 0x6265_6572;
    const CGROUP: u64 = 0x0027_e0eb;
    const CGROUP_2: u64 = 0x6367_7270;
    const DEBUGFS: u64 = 0x6462_6720;
    const TRACEFS: u64 = 0x7472_6163;
    const SECURITYFS: u64 = 0x7363_6673;
    matches!(magic, TMPFS | RAMFS | HUGETLBFS | PROC | SYSFS | CGROUP | CGROUP_2 | DEBUGFS | TRACEFS | SECURITYFS)
}

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// How pages of files came into the page cache, or left it. Codes are for good: captures have them as indexes.
pub mod page {
    /// Fetched by a call that reads, or ahead of it.
    pub const READ: usize = 0;
    /// Fetched by a fault of user space on a mapping, or ahead of it.
    pub const FAULT: usize = 1;
    /// Fetched otherwise: by a call that asks for pages ahead, maps them or is given mapped memory, by `io_uring`, or by the
    /// kernel itself.
    pub const OTHER: usize = 2;
    /// Made by a thread that changes the file.
    pub const WRITTEN: usize = 3;
    /// Of a block device, or metadata of a file system.
    pub const DEVICE: usize = 4;
    /// Taken out: memory was wanted, the file was cut or deleted, or somebody said that it is not needed.
    pub const DROPPED: usize = 5;
    /// The same of a block device, or metadata.
    pub const DEVICE_DROPPED: usize = 6;

    /// Room for codes: a power of two.
    pub const WAYS: usize = 8;
}

/// The kind that `inode.i_mode` stands for: all sockets look alike.
#[inline(always)]
#[must_use]
pub const fn kind_of_mode(mode: u16) -> u32 {
    match mode >> 12 {
        0o10 => kind::REGULAR,
        0o4 => kind::DIRECTORY,
        0o6 => kind::BLOCK,
        0o2 => kind::CHARACTER,
        0o1 => kind::PIPE,
        0o14 => kind::SOCKET,
        0 => kind::ANONYMOUS,
        _ => kind::UNKNOWN,
    }
}

/// Whether files of a kind are counted one by one.
#[inline(always)]
#[must_use]
pub const fn is_followed(kind: u32) -> bool {
    matches!(kind, kind::REGULAR | kind::DIRECT | kind::BLOCK)
}

/// A file, by its inode.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InodeKey {
    /// Inode number.
    pub number: u64,
    /// `super_block.s_dev`
    pub device: u32,
    /// `i_generation`: numbers are used again.
    pub generation: u32,
}

const _: () = assert!(size_of::<InodeKey>() == 16);

// Reads, writes and syncs, in this order.
const _: () = assert!(class::WRITE == class::READ + 1 && class::SYNC == class::WRITE + 1);

impl InodeKey {
    /// No file: inode numbers start at 1.
    pub const NONE: Self = Self { number: 0, device: 0, generation: 0 };
}

/// What can be done to a file by a call that names it, in the order of [`PathRecord::calls`]: the class of the call, less one.
pub const ACTS: usize = 3;

/// A file as one process uses it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathKey {
    /// The file.
    pub inode: InodeKey,
    /// Start of the process.
    pub process_start_ns: u64,
    /// Process id.
    pub pid: u32,
    /// One of [`kind`]: a file may be open for direct I/O and for other.
    pub kind: u32,
}

const _: () = assert!(size_of::<PathKey>() == 32);

/// Room for the name of a file, and for that of its folder. Longer ones are cut, and end without a NUL.
pub const NAME_LEN: usize = 48;
/// See [`NAME_LEN`].
pub const FOLDER_LEN: usize = 32;

/// What a process did to a file. Counts only grow; a record that gave way to others is gone with what it had.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRecord {
    /// Bytes read, and written.
    pub bytes: [u64; 2],
    /// Reads, writes and syncs that returned, operations included.
    pub calls: [u64; ACTS],
    /// Blocked time inside them.
    pub blocked_ns: [u64; ACTS],
    /// Pages that were fetched for it, those ahead of reads included.
    pub missed_pages: u64,
    /// Those among them that calls fetched that read.
    pub read_missed_pages: u64,
    /// Calls with `O_DIRECT` that begin or end inside a block of the file system, or were refused (`EINVAL`).
    pub misaligned: u64,
    /// Syncs that blocked, by blocked time, coarse scale.
    pub sync_blocked: [u32; LOG2_SLOTS],
    /// A descriptor that named it.
    pub descriptor: u32,
    /// Tells it from an earlier record of the same key.
    pub born: u32,
    /// One of its names, NUL padded; empty if nobody has looked.
    pub name: [u8; NAME_LEN],
    /// Name of the folder that this is in; empty at the root of a file system.
    pub folder: [u8; FOLDER_LEN],
}

impl PathRecord {
    /// Nothing happened yet.
    pub const EMPTY: Self = Self {
        bytes: [0; 2],
        calls: [0; ACTS],
        blocked_ns: [0; ACTS],
        missed_pages: 0,
        read_missed_pages: 0,
        misaligned: 0,
        sync_blocked: [0; LOG2_SLOTS],
        descriptor: 0,
        born: 0,
        name: [0; NAME_LEN],
        folder: [0; FOLDER_LEN],
    };
}

const _: () = assert!(size_of::<PathRecord>() == 272);

/// Entries of a CPU's cache of kinds.
pub const KIND_ENTRIES: usize = 16;

/// Buckets of tables of descriptors, each with an epoch: a call of [`crate::syscall::class::CLOSE`] begins a new one.
pub const EPOCHS: usize = 1024;

/// The kind of file that a descriptor named, as long as the epoch lasts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindEntry {
    /// The table of descriptors, `task_struct.files`: its address relative to one of our own, and 0 in an empty entry.
    pub files: u64,
    /// Process that used it.
    pub pid: u32,
    /// The descriptor.
    pub descriptor: u32,
    /// Epoch of the table's bucket when the file was looked up.
    pub epoch: u32,
    /// One of [`kind`], never [`kind::UNKNOWN`].
    pub kind: u32,
    /// The file, if its kind is counted one by one ([`is_followed`]), else [`InodeKey::NONE`].
    pub inode: InodeKey,
    /// As in [`PathRecord`], of the thread that is on this CPU, since it came there; old if the entry's bit is not set in
    /// [`crate::syscall::CpuCalls::dirty_paths`].
    pub bytes: [u64; 2],
    /// See there.
    pub calls: [u32; ACTS],
    /// See there.
    pub misaligned: u32,
}

const _: () = assert!(size_of::<KindEntry>() == 72);
