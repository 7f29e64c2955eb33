//! Row `syscall`: calls per thread, kept apart by the kind of file that their first argument names.

use crate::hist::LOG2_SLOTS;

/// Errno classes, in the order of [`CallRecord::errors`].
pub const ERRNO_CLASSES: [&str; 8] = ["again", "not_found", "access", "invalid", "peer", "resource", "io", "other"];

/// Numbers at or above this are counted as the last one.
pub const CALLS_MAX: usize = 512;

/// Errnos from this on are counted as if their high bits were not there; the kernel's own end at 530.
pub const ERRNOS_MAX: usize = 1024;

/// Slots of a thread for calls that move data or wait.
pub const IO_SLOTS: usize = 16;
/// Slots of a thread for all other calls; what finds none goes to the overflow map.
pub const OTHER_SLOTS: usize = 4;
/// All slots of a thread.
pub const SLOTS: usize = IO_SLOTS + OTHER_SLOTS;

/// What a call does, told to the programs as a table indexed by number.
pub mod class {
    /// Neither moves data nor waits, as far as we care.
    pub const OTHER: u8 = 0;
    /// Returns bytes read through the file descriptor in its first argument.
    pub const READ: u8 = 1;
    /// Returns bytes written through the file descriptor in its first argument.
    pub const WRITE: u8 = 2;
    /// Makes the data of the file descriptor in its first argument durable.
    pub const SYNC: u8 = 3;
    /// Waits for something, and moves no data.
    pub const WAIT: u8 = 4;
    /// Makes a child, which returns 0 from a call that it never made.
    pub const FORK: u8 = 5;
}

/// A call and the kind of file that it was made on: number in the low 16 bits, [`crate::file::kind`] above them.
/// Bit 31 marks a 32-bit call, whose numbers mean something else.
#[inline(always)]
#[must_use]
pub const fn call_key(number: u32, kind: u32) -> u32 {
    (number & 0xffff) | kind << 16
}

/// Marks a 32-bit call in a key.
pub const COMPAT_CALL: u32 = 1 << 31;

/// One call of one thread (or of one process in the overflow map). Everything only grows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallRecord {
    /// [`call_key`].
    pub key: u32,
    /// Set once the slot is taken, since a key of 0 is valid.
    pub used: u32,
    /// Failed calls by class of errno, [`ERRNO_CLASSES`].
    pub errors: [u32; ERRNO_CLASSES.len()],
    /// Calls that returned.
    pub count: u64,
    /// Bytes read or written, where the call returns such a number.
    pub bytes: u64,
    /// Time blocked inside this call: switch-out to wake-up, without run-queue time.
    pub blocked_ns: u64,
    /// Calls that blocked, by their blocked time, coarse scale.
    pub blocked: [u32; LOG2_SLOTS],
}

const _: () = assert!(size_of::<CallRecord>() == 160);

/// Key of the overflow map and of the latency map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallOwner {
    /// Start of the process.
    pub process_start_ns: u64,
    /// Process id.
    pub pid: u32,
    /// [`call_key`].
    pub key: u32,
}

const _: () = assert!(size_of::<CallOwner>() == 16);

/// The class of an errno, as an index into [`ERRNO_CLASSES`].
#[must_use]
pub const fn errno_class(errno: u32) -> u8 {
    match errno {
        // EINTR, EAGAIN, EALREADY, EINPROGRESS, and the kernel's own ERESTART family.
        4 | 11 | 114 | 115 | 512..=516 => 0,
        // ENOENT, ESRCH, ENXIO, ECHILD, ENODEV, ENOTDIR, ENODATA
        2 | 3 | 6 | 10 | 19 | 20 | 61 => 1,
        // EPERM, EACCES, EROFS
        1 | 13 | 30 => 2,
        // E2BIG, ENOEXEC, EBADF, EFAULT, EEXIST, EXDEV, EISDIR, EINVAL, ENOTTY, ESPIPE, ENAMETOOLONG, ENOSYS, ENOTSOCK,
        // EOPNOTSUPP
        7 | 8 | 9 | 14 | 17 | 18 | 21 | 22 | 25 | 29 | 36 | 38 | 88 | 95 => 3,
        // EPIPE, ENETDOWN..ECONNRESET, ENOTCONN, ESHUTDOWN, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH
        32 | 100..=104 | 107 | 108 | 110..=113 => 4,
        // ENOMEM, EBUSY, ENFILE, EMFILE, EFBIG, ENOSPC, EMLINK, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS, EDQUOT
        12 | 16 | 23 | 24 | 27 | 28 | 31 | 98 | 99 | 105 | 122 => 5,
        // EIO, EBADMSG, EREMOTEIO, ENOMEDIUM, EUCLEAN
        5 | 74 | 117 | 121 | 123 => 6,
        _ => 7,
    }
}
