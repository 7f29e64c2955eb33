//! Row `file`: the kind of file behind a descriptor, and pages of the page cache. What is read and written rides on the
//! calls themselves.

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
}

const _: () = assert!(size_of::<KindEntry>() == 24);
