//! Kernel bytes into records: plain integers, copied, never cast to anything that not every bit pattern is.

use std::mem::MaybeUninit;

use bytes::Buf;
use profiler_common::disk::{DiskKey, DiskRecord, OwnerKey, OwnerRecord, PartitionRecord};
use profiler_common::drop::{DropKey, DropRecord, reason};
use profiler_common::exchange::{ExchangeKey, ExchangeRecord, SlowExchange};
use profiler_common::file::{PathKey, PathRecord};
use profiler_common::hist::LINEAR8_SLOTS;
use profiler_common::journal::JournalRecord;
use profiler_common::syscall::{CallOwner, CallRecord, CpuCalls};
use profiler_common::task::{TaskRecord, TaskSums};
use profiler_common::tcp::{HolderRecord, SocketOwner, SocketRecord, TimeWaitKey, TimeWaits};

/// A record without padding or invalid bit patterns.
///
/// # Safety
///
/// Every sequence of `size_of::<Self>()` bytes must be a value.
pub unsafe trait Plain: Copy + 'static {}

// SAFETY: all of them are `repr(C)` structs of integers whose sizes the contract asserts, or integers.
unsafe impl Plain for TaskRecord {}
// SAFETY: as above.
unsafe impl Plain for CallRecord {}
// SAFETY: as above.
unsafe impl Plain for CpuCalls {}
// SAFETY: as above.
unsafe impl Plain for CallOwner {}
// SAFETY: as above.
unsafe impl Plain for PathKey {}
// SAFETY: as above.
unsafe impl Plain for PathRecord {}
// SAFETY: as above.
unsafe impl Plain for DiskKey {}
// SAFETY: as above.
unsafe impl Plain for DiskRecord {}
// SAFETY: as above.
unsafe impl Plain for OwnerKey {}
// SAFETY: as above.
unsafe impl Plain for OwnerRecord {}
// SAFETY: as above.
unsafe impl Plain for PartitionRecord {}
// SAFETY: as above.
unsafe impl Plain for JournalRecord {}
// SAFETY: as above.
unsafe impl Plain for ExchangeKey {}
// SAFETY: as above.
unsafe impl Plain for ExchangeRecord {}
// SAFETY: as above.
unsafe impl Plain for SlowExchange {}
// SAFETY: as above.
unsafe impl Plain for SocketRecord {}
// SAFETY: as above.
unsafe impl Plain for SocketOwner {}
// SAFETY: as above.
unsafe impl Plain for HolderRecord {}
// SAFETY: as above.
unsafe impl Plain for TimeWaitKey {}
// SAFETY: as above.
unsafe impl Plain for TimeWaits {}
// SAFETY: as above.
unsafe impl Plain for DropKey {}
// SAFETY: as above.
unsafe impl Plain for DropRecord {}
// SAFETY: as above.
unsafe impl Plain for [u64; reason::REASONS] {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for [u32; LINEAR8_SLOTS] {}

// SAFETY: as above.
unsafe impl Plain for TaskSums {}

/// The next record, or `None` when fewer bytes are left.
pub fn take<T: Plain>(from: &mut impl Buf) -> Option<T> {
    let size = size_of::<T>();
    if from.remaining() < size {
        return None;
    }
    let mut record = MaybeUninit::<T>::uninit();
    // SAFETY: the slice covers exactly the record, which is filled before it is read; `T` is `Plain`.
    unsafe {
        from.copy_to_slice(std::slice::from_raw_parts_mut(record.as_mut_ptr().cast::<u8>(), size));
        Some(record.assume_init())
    }
}

/// A NUL-padded kernel string. Names are bytes to the kernel: what is not UTF-8, or is a control character, is escaped.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[..end]);
    if name.chars().any(char::is_control) { name.escape_default().to_string() } else { name.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_whole_or_not_at_all() {
        let mut bytes: &[u8] = &[1, 0, 0, 0, 2, 0];
        assert_eq!(take::<u32>(&mut bytes), Some(1));
        assert_eq!(take::<u32>(&mut bytes), None);
        assert_eq!(bytes.len(), 2);
    }

    #[test]
    fn names_are_printable() {
        assert_eq!(text(b"fio\0\0rest"), "fio");
        assert_eq!(text(b"a\x1b[2J\0"), "a\\u{1b}[2J");
    }
}
