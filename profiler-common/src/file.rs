//! Row `file`: the kind of file behind a descriptor. What is read and written rides on the calls themselves.

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
}

/// Number of kinds.
pub const KINDS: usize = 10;

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
