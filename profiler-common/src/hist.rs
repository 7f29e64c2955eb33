//! Histogram slots, the same on both sides. Values are nanoseconds.
//!
//! Two scales: [`LOG2_SLOTS`] powers of two where space is short (one per thread and call), and
//! [`LINEAR8_SLOTS`] with eight linear steps per power of two (12.5 % wide) where one histogram serves a whole device.

/// Slots of the coarse scale: slot 0 is below 1.024 µs, slot n is `[2^(n+9), 2^(n+10))` ns, the last is open (≥ 4.3 s).
pub const LOG2_SLOTS: usize = 24;

/// Slots of the fine scale: eight below 1.024 µs, then eight per power of two up to 2^37 ns (137 s), the last open.
pub const LINEAR8_SLOTS: usize = 224;

/// Values below this power of two are linear on the fine scale.
const LINEAR_BITS: u32 = 10;

/// The coarse slot of a value in nanoseconds.
#[inline(always)]
#[must_use]
pub fn log2_slot(ns: u64) -> usize {
    (ns >> LINEAR_BITS).checked_ilog2().map_or(0, |exponent| min(exponent as usize + 1, LOG2_SLOTS - 1))
}

/// The fine slot of a value in nanoseconds.
#[inline(always)]
#[must_use]
pub fn linear8_slot(ns: u64) -> usize {
    if ns < 1 << LINEAR_BITS {
        return (ns >> (LINEAR_BITS - 3)) as usize;
    }
    let exponent = ns.ilog2();
    let step = (ns >> (exponent - 3)) & 7;
    min(((exponent - LINEAR_BITS + 1) * 8) as usize + step as usize, LINEAR8_SLOTS - 1)
}

/// The half-open range of nanoseconds that a coarse slot stands for; the last one is open and says `u64::MAX`.
#[must_use]
pub const fn log2_bounds(slot: usize) -> (u64, u64) {
    let low = if slot == 0 { 0 } else { 1 << (slot + 9) };
    let high = if slot + 1 >= LOG2_SLOTS { u64::MAX } else { 1 << (slot + 10) };
    (low, high)
}

/// The half-open range of nanoseconds that a fine slot stands for; the last one is open and says `u64::MAX`.
#[must_use]
pub const fn linear8_bounds(slot: usize) -> (u64, u64) {
    let high = if slot + 1 >= LINEAR8_SLOTS { u64::MAX } else { linear8_low(slot + 1) };
    (linear8_low(slot), high)
}

const fn linear8_low(slot: usize) -> u64 {
    let (octave, step) = (slot / 8, (slot % 8) as u64);
    if octave == 0 { step << (LINEAR_BITS - 3) } else { (8 + step) << (octave + LINEAR_BITS as usize - 4) }
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
            for (slot, bounds) in
                [(log2_slot(ns), log2_bounds(log2_slot(ns))), (linear8_slot(ns), linear8_bounds(linear8_slot(ns)))]
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
        for slot in 1..LOG2_SLOTS {
            assert_eq!(log2_bounds(slot - 1).1, log2_bounds(slot).0);
        }
    }
}
