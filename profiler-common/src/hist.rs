//! Histogram slots, the same on both sides. Values are nanoseconds.
//!
//! Three scales: powers of two ([`LOG2_SLOTS`]) where space is short (one per thread and call), eight linear steps per power
//! of two ([`LINEAR8_SLOTS`], 12.5 % wide) for calls of a process, and 32 of them ([`LINEAR32_SLOTS`], 3.1 % wide) where a
//! histogram serves a whole device.

/// Slots of the coarse scale: slot 0 is below 1.024 µs, slot n is `[2^(n+9), 2^(n+10))` ns, the last is open (≥ 4.3 s).
pub const LOG2_SLOTS: usize = 24;

/// Slots of the fine scale: eight below 1.024 µs, then eight per power of two up to 2^37 ns (137 s), the last open.
pub const LINEAR8_SLOTS: usize = 28 << 3;

/// The same with 32 steps.
pub const LINEAR32_SLOTS: usize = 28 << 5;

/// Values below this power of two are linear on the finer scales.
const LINEAR_BITS: u32 = 10;

/// The coarse slot of a value in nanoseconds.
#[inline(always)]
#[must_use]
pub fn log2_slot(ns: u64) -> usize {
    min((ns >> (LINEAR_BITS - 1) | 1).ilog2() as usize, LOG2_SLOTS - 1)
}

/// The slot of a value in nanoseconds, of eight per power of two.
#[inline(always)]
#[must_use]
pub fn linear8_slot(ns: u64) -> usize {
    linear_slot(ns, 3)
}

/// The slot of a value in nanoseconds, of 32 per power of two.
#[inline(always)]
#[must_use]
pub fn linear32_slot(ns: u64) -> usize {
    linear_slot(ns, 5)
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most ten bits are left")]
fn linear_slot(ns: u64, step_bits: u32) -> usize {
    // 0 where values are linear, then the number of the power of two: in arithmetic, because a verifier would follow what comes
    // after once for each kind of value.
    let power = (ns >> (LINEAR_BITS - 1) | 1).ilog2();
    let is_linear = power.wrapping_sub(1) >> 31;
    let step = (ns >> (LINEAR_BITS - 1 + power + is_linear - step_bits)) & ((1 << step_bits) - 1);
    let slot = ((power as usize) << step_bits) + step as usize;
    min(slot, (28 << step_bits) - 1)
}

/// The half-open range of nanoseconds that a coarse slot stands for; the last one is open and says `u64::MAX`.
#[must_use]
pub const fn log2_bounds(slot: usize) -> (u64, u64) {
    let low = if slot == 0 { 0 } else { 1 << (slot + 9) };
    let high = if slot + 1 >= LOG2_SLOTS { u64::MAX } else { 1 << (slot + 10) };
    (low, high)
}

/// The half-open range of nanoseconds that a slot of [`linear8_slot`] stands for; the last one is open and says `u64::MAX`.
#[must_use]
pub const fn linear8_bounds(slot: usize) -> (u64, u64) {
    linear_bounds(slot, 3)
}

/// The same of [`linear32_slot`].
#[must_use]
pub const fn linear32_bounds(slot: usize) -> (u64, u64) {
    linear_bounds(slot, 5)
}

const fn linear_bounds(slot: usize, step_bits: u32) -> (u64, u64) {
    let high = if slot + 1 >= 28 << step_bits { u64::MAX } else { linear_low(slot + 1, step_bits) };
    (linear_low(slot, step_bits), high)
}

#[expect(clippy::cast_possible_truncation, reason = "slots are few")]
const fn linear_low(slot: usize, step_bits: u32) -> u64 {
    let (octave, step) = ((slot >> step_bits) as u32, (slot & ((1 << step_bits) - 1)) as u64);
    if octave == 0 {
        step << (LINEAR_BITS - step_bits)
    } else {
        ((1 << step_bits) + step) << (octave + LINEAR_BITS - 1 - step_bits)
    }
}

#[inline(always)]
fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_the_bounds_of_its_slot() {
        let edges = (0..63).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1, 3 << bit >> 1]);
        for ns in edges.chain([u64::MAX]) {
            let (log2, linear8, linear32) = (log2_slot(ns), linear8_slot(ns), linear32_slot(ns));
            for (slot, bounds) in
                [(log2, log2_bounds(log2)), (linear8, linear8_bounds(linear8)), (linear32, linear32_bounds(linear32))]
            {
                assert!(bounds.0 <= ns && (ns < bounds.1 || bounds.1 == u64::MAX), "{ns} in slot {slot} {bounds:?}");
            }
        }
    }

    #[test]
    fn slots_follow_one_another_without_gaps() {
        for slot in 1..LINEAR8_SLOTS {
            assert_eq!(linear8_bounds(slot - 1).1, linear8_bounds(slot).0);
        }
        for slot in 1..LINEAR32_SLOTS {
            let (low, high) = linear32_bounds(slot);
            assert_eq!(linear32_bounds(slot - 1).1, low);
            assert!(low < 1 << LINEAR_BITS || high == u64::MAX || (high - low) * 32 <= low);
        }
        for slot in 1..LOG2_SLOTS {
            assert_eq!(log2_bounds(slot - 1).1, log2_bounds(slot).0);
        }
    }
}
