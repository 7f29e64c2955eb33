//! From what the kernel has counted so far to what happened in one interval: aggregates only grow, and the previous
//! reading is subtracted. A reading that falls behind (it was taken while a record moved) waits for the next one.

pub mod disk;
pub mod drop;
pub mod exchange;
pub mod journal;
mod limit;
pub mod path;
mod patience;
mod spent;
pub mod syscall;
pub mod task;
pub mod tcp;

use std::collections::HashMap;

use crate::batch::Timestamp;

/// A map that is walked or asked thousands of times per tick: its hash is quicker than the standard library's.
pub type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// One interval, in both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// `CLOCK_BOOTTIME` − `CLOCK_MONOTONIC`: threads and processes tell their start in the former.
    pub boot_offset_ns: u64,
    /// When we began to watch.
    pub watched_since: Timestamp,
}

impl Interval {
    /// Start of something that tells it in boot time.
    #[must_use]
    pub fn monotonic(&self, start_ns: u64) -> Timestamp {
        Timestamp(start_ns.saturating_sub(self.boot_offset_ns))
    }
}

/// A counter that only grows: the growth since the last reading, which it becomes. A reading that falls behind is kept
/// for later.
pub fn growth(last: &mut u64, now: u64) -> u64 {
    let grown = now.saturating_sub(*last);
    *last = now.max(*last);
    grown
}

/// The same for counters that wrap at 32 bits. Half of the range tells growth from falling behind.
pub fn growth_wrapping(last: &mut u32, now: u32) -> u32 {
    let grown = now.wrapping_sub(*last);
    if grown > u32::MAX / 2 {
        return 0;
    }
    *last = now;
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_behind_is_not_counted_twice() {
        let mut last = 10;
        assert_eq!([growth(&mut last, 15), growth(&mut last, 12), growth(&mut last, 18)], [5, 0, 3]);
        let mut last = u32::MAX - 1;
        assert_eq!([2, 1, 5].map(|now| growth_wrapping(&mut last, now)), [4, 0, 3]);
    }
}
