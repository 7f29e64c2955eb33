//! Row `syscall`: calls per thread, kept apart by the kind of file that their first argument names; and operations of
//! `io_uring` and libaio, which are counted like calls with numbers of their own.

use core::mem::offset_of;

use crate::file::InodeKey;
use crate::hist::LOG2_SLOTS;

/// Errno classes, in the order of [`CallRecord::errors`].
pub const ERRNO_CLASSES: [&str; 8] = ["again", "not_found", "access", "invalid", "peer", "resource", "io", "other"];

/// Numbers at or above this are counted as the last one. Those of calls end below [`operation`].
pub const CALLS_MAX: usize = 1024;

/// Numbers of operations that a process hands over and that end later. Codes are for good: captures have them.
pub mod operation {
    /// Of `io_uring`, by `enum io_uring_op`.
    pub const URING: u32 = 640;
    /// The same that were passed on to a worker thread, because they would have blocked or somebody asked for that.
    pub const WORKER: u32 = 768;
    /// Of libaio, by `IOCB_CMD_*`.
    pub const AIO: u32 = 896;
    /// Room for codes of each kind: a power of two.
    pub const CODES: u32 = 128;
}

/// How many operations of one `io_submit` or one `io_getevents` are looked at. Of more, the rest counts as lost.
pub const AIO_BATCH_MAX: u64 = 128;

/// Errnos from this on are counted as if their high bits were not there; the kernel's own end at 530.
pub const ERRNOS_MAX: usize = 1024;

/// Slots of a thread for calls that move data or wait.
pub const IO_SLOTS: usize = 16;
/// Slots of a thread for all other calls, without bytes and waits. What finds none goes to the overflow map, and so do
/// the waits of these calls.
pub const OTHER_SLOTS: usize = 16;
/// All slots of a thread: the most [`CallRecord`]s that follow a [`crate::task::TaskRecord`].
pub const SLOTS: usize = IO_SLOTS + OTHER_SLOTS;
/// Slots of a CPU for the calls of the thread that is on it.
pub const CPU_SLOTS: usize = 16;

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
    /// Can change what a descriptor names, or which table of descriptors the caller uses. A call of this class that is
    /// missing from the table makes the programs tell the kind of a file by that of its predecessor.
    pub const CLOSE: u8 = 6;
    /// Hands over operations of libaio, and returns their number.
    pub const SUBMIT: u8 = 7;
    /// Waits for the end of some, and returns their number.
    pub const REAP: u8 = 8;
    /// Waits for a connection, and returns a descriptor of it.
    pub const ACCEPT: u8 = 9;
}

/// Whether a call of this class has one of the [`IO_SLOTS`].
#[inline(always)]
#[must_use]
pub const fn has_io_slot(class: u8) -> bool {
    const THEY: u32 = 1 << class::READ
        | 1 << class::WRITE
        | 1 << class::SYNC
        | 1 << class::WAIT
        | 1 << class::FORK
        | 1 << class::REAP
        | 1 << class::ACCEPT;
    is_one_of(class, THEY)
}

/// Whether a call of this class returns a number of bytes.
#[inline(always)]
#[must_use]
pub const fn moves_bytes(class: u8) -> bool {
    is_one_of(class, 1 << class::READ | 1 << class::WRITE)
}

/// Without a branch for each: a verifier would follow what comes after once for each class.
#[inline(always)]
const fn is_one_of(class: u8, set: u32) -> bool {
    set >> (class & 31) & 1 != 0
}

/// A call and the kind of file that it was made on: number in the low 16 bits, [`crate::file::kind`] above them.
/// Bit 31 marks a 32-bit call, whose numbers mean something else.
#[inline(always)]
#[must_use]
pub const fn call_key(number: u32, kind: u32) -> u32 {
    (number & 0xffff) | kind << 16
}

/// Marks a 32-bit call in a key. Its [`class`] is not known, since the table has native numbers.
pub const COMPAT_CALL: u32 = 1 << 31;

/// The key of no call.
pub const NO_KEY: u32 = u32::MAX;

/// The beginning of a [`CallRecord`], and all that is kept of calls that neither move data nor wait.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCount {
    /// [`call_key`].
    pub key: u32,
    /// 0 while the slot is free, since a key of 0 is valid; else what the kernel side needs to tell what changed.
    pub stamp: u32,
    /// Failed calls by class of errno, [`ERRNO_CLASSES`].
    pub errors: [u32; ERRNO_CLASSES.len()],
    /// Calls that returned.
    pub count: u64,
}

const _: () = assert!(size_of::<CallCount>() == 48);

/// One call of one thread (or of one process in the overflow map). Everything only grows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallRecord {
    /// [`call_key`].
    pub key: u32,
    /// 0 while the slot is free, since a key of 0 is valid; else what the kernel side needs to tell what changed.
    pub stamp: u32,
    /// Failed calls by class of errno, [`ERRNO_CLASSES`].
    pub errors: [u32; ERRNO_CLASSES.len()],
    /// Calls that returned.
    pub count: u64,
    /// Bytes read or written, where the call returns such a number.
    pub bytes: u64,
    /// Time blocked inside this call: switch-out to wake-up, without run-queue time.
    pub blocked_ns: u64,
    /// Calls that blocked, by their blocked time, coarse scale. Exact, and disjoint from the sampled latencies: those
    /// are of calls that did not leave the CPU. So all calls are the blocked ones, plus the sampled distribution scaled
    /// to the calls that are left ([`Self::count`] minus these).
    pub blocked: [u32; LOG2_SLOTS],
}

const _: () = assert!(size_of::<CallRecord>() == 160);
const _: () = assert!(offset_of!(CallRecord, count) == offset_of!(CallCount, count));
const _: () = assert!(offset_of!(CallRecord, bytes) == size_of::<CallCount>());

/// What a call of the thread on a CPU adds to that thread's [`CallRecord`] of the same key.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuCall {
    /// [`call_key`].
    pub key: u32,
    /// 1 if any call failed, else 0.
    pub failed: u32,
    /// Failed calls by class of errno, [`ERRNO_CLASSES`].
    pub errors: [u32; ERRNO_CLASSES.len()],
    /// Calls that returned.
    pub count: u64,
    /// Bytes read or written.
    pub bytes: u64,
}

const _: () = assert!(size_of::<CpuCall>() == 56);

/// The calls of the thread that is on a CPU now, since it came there: one such record per CPU.
///
/// At its switch away, all of this moves to the thread's own record. So the true count of a thread is what its record
/// says plus what the CPU says that it is on. Whoever reads the records first and the CPUs second never counts twice;
/// what moves in between is missing until the next reading.
///
/// A copy is whole if [`Self::tenure`] equals [`Self::tenure_begun`]: a new owner writes the last word first and the
/// first word last, and the kernel copies upward.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuCalls {
    /// Number of the owner, in the order in which they came; written last.
    pub tenure: u64,
    /// Address of the owner's saved registers; 0 if no call returned since the last switch.
    pub owner: u64,
    /// When the thread on this CPU entered the call that it is in, if a sampling window saw that, or 0. A switch forgets
    /// it: only calls that do not leave the CPU are sampled, see [`CallRecord::blocked`].
    pub entered_ns: u64,
    /// The owner's table of descriptors, as in [`crate::file::KindEntry::files`].
    pub files: u64,
    /// Thread id of the owner.
    pub tid: u32,
    /// Process id of the owner.
    pub pid: u32,
    /// Key of the first call that returned to the owner since it came to this CPU, or [`NO_KEY`]. If it had blocked in a
    /// call when it left the CPU before, it was in this one.
    pub first_key: u32,
    /// A bit per slot in use. The content of all others is old.
    pub dirty: u32,
    /// A bit per entry of [`Self::kinds`] whose file the owner has read, written or synced.
    pub dirty_paths: u32,
    /// Thread id of whoever came to this CPU at the last switch.
    pub came_tid: u32,
    /// When that was.
    pub came_ns: u64,
    /// The file of the call of [`Self::first_key`], or [`InodeKey::NONE`].
    pub first_path: InodeKey,
    /// Calls, by a hash of their key.
    pub slots: [CpuCall; CPU_SLOTS],
    /// Kinds of the files behind descriptors that were used on this CPU, by whatever process.
    pub kinds: [crate::file::KindEntry; crate::file::KIND_ENTRIES],
    /// Number of the owner; written first.
    pub tenure_begun: u64,
}

const _: () = assert!(size_of::<CpuCalls>() == 80 + 56 * CPU_SLOTS + 72 * crate::file::KIND_ENTRIES + 8);

/// Key of the overflow map and of the map of sampled latencies. The latter has only calls that did not leave the CPU
/// between entry and return, see [`CallRecord::blocked`] for all others.
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

/// What tells an operation from all others under way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OperationKey {
    /// Where it was handed over: the ring of `io_uring`, or for libaio the process.
    pub at: u64,
    /// How its owner tells it: `user_data`, or the address of the `iocb`.
    pub tag: u64,
}

const _: () = assert!(size_of::<OperationKey>() == 16);

/// An operation under way, or several that their owner gave one tag.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// When it was handed over; 0 if nobody can tell which of several will have ended.
    pub submitted_ns: u64,
    /// Start of the process.
    pub process_start_ns: u64,
    /// Process id.
    pub pid: u32,
    /// [`call_key`].
    pub key: u32,
    /// How many are under way.
    pub pending: u32,
    /// Bytes that it is to move, if libaio tells: all of them, should nobody see its end.
    pub asked_bytes: u32,
}

const _: () = assert!(size_of::<Operation>() == 32);

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
