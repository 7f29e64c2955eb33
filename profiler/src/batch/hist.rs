//! Histograms as they travel: sparse, of one of the scales that the kernel programs count in.

use profiler_common::hist::{linear8_bounds, linear32_bounds, linear32_slot, log2_bounds};
use serde::{Deserialize, Serialize};

/// How slots map to nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// Powers of two.
    Log2,
    /// Eight steps per power of two.
    #[default]
    Linear8,
    /// 32 steps per power of two.
    Linear32,
}

/// Counts by slot, only slots that have any, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hist {
    /// What the slots mean.
    pub scale: Scale,
    /// `(slot, count)`, ascending, counts above zero.
    pub slots: Vec<(u16, u64)>,
}

impl Hist {
    /// An empty histogram of a scale.
    #[must_use]
    pub const fn new(scale: Scale) -> Self {
        Self { scale, slots: Vec::new() }
    }

    /// One value, on the finest scale.
    #[must_use]
    pub fn one(ns: u64) -> Self {
        Self {
            scale: Scale::Linear32,
            slots: u16::try_from(linear32_slot(ns)).map(|slot| (slot, 1)).into_iter().collect(),
        }
    }

    /// The difference of two readings of the kernel's counters, which wrap at 32 bits.
    #[must_use]
    pub fn between(scale: Scale, now: &[u32], before: &[u32]) -> Self {
        let slots = (0u16..)
            .zip(now.iter().zip(before))
            .filter(|(_, (now, before))| now != before)
            .map(|(slot, (now, before))| (slot, u64::from(now.wrapping_sub(*before))))
            .collect();
        Self { scale, slots }
    }

    /// All that was counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.slots.iter().map(|(_, count)| count).sum()
    }

    /// What was counted in slots that begin at a value or above.
    #[must_use]
    pub fn count_from(&self, ns: u64) -> u64 {
        self.slots.iter().filter(|(slot, _)| self.bounds(*slot).0 >= ns).map(|(_, count)| count).sum()
    }

    /// Adds the counts of another histogram. An empty one takes the other's scale; scales must agree otherwise.
    pub fn add(&mut self, other: &Self) {
        if self.slots.is_empty() {
            self.scale = other.scale;
            self.slots.clone_from(&other.slots);
            return;
        }
        debug_assert!(other.slots.is_empty() || self.scale == other.scale, "histograms of different scales");
        for &(slot, count) in &other.slots {
            match self.slots.binary_search_by_key(&slot, |entry| entry.0) {
                Ok(at) => self.slots[at].1 += count,
                Err(at) => self.slots.insert(at, (slot, count)),
            }
        }
    }

    /// The value at `quantile` (0 to 1) in nanoseconds: the end of its slot, an upper bound; of 32 steps per power of two
    /// the middle, which is off by at most 1.6 %. `None` when empty. The open last slot answers with its start, and
    /// [`Self::is_open`] tells.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        self.slot_at(quantile).map(|slot| match self.bounds(slot) {
            (low, u64::MAX) => low,
            (low, high) if self.scale == Scale::Linear32 => low.midpoint(high),
            (_, high) => high,
        })
    }

    /// Whether the value at `quantile` lies in the open last slot, so that [`Self::quantile`] is a lower bound.
    #[must_use]
    pub fn is_open(&self, quantile: f64) -> bool {
        self.slot_at(quantile).is_some_and(|slot| self.bounds(slot).1 == u64::MAX)
    }

    /// The half-open range in nanoseconds of a slot; `u64::MAX` ends the last.
    #[must_use]
    pub fn bounds(&self, slot: u16) -> (u64, u64) {
        match self.scale {
            Scale::Log2 => log2_bounds(slot.into()),
            Scale::Linear8 => linear8_bounds(slot.into()),
            Scale::Linear32 => linear32_bounds(slot.into()),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank lies between 1 and the count")]
    fn slot_at(&self, quantile: f64) -> Option<u16> {
        let rank = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        self.slots
            .iter()
            .find(|(_, count)| {
                seen += count;
                seen >= rank
            })
            .map(|(slot, _)| *slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_end_of_its_slot() {
        let hist = Hist { scale: Scale::Log2, slots: vec![(1, 98), (5, 2)] };
        assert_eq!(hist.quantile(0.5), Some(2_048));
        assert_eq!(hist.quantile(0.99), Some(32_768));
        assert_eq!(Hist::default().quantile(0.5), None);
    }

    #[test]
    fn the_open_slot_says_so() {
        let hist = Hist { scale: Scale::Log2, slots: vec![(23, 1)] };
        assert_eq!(hist.quantile(0.5), Some(1 << 32));
        assert!(hist.is_open(0.5));
    }

    #[test]
    fn readings_may_wrap() {
        let hist = Hist::between(Scale::Log2, &[3, 0], &[u32::MAX, 0]);
        assert_eq!(hist.slots, [(0, 4)]);
    }

    #[test]
    fn adding_keeps_order() {
        let mut sum = Hist { scale: Scale::Log2, slots: vec![(4, 1)] };
        sum.add(&Hist { scale: Scale::Log2, slots: vec![(2, 1), (4, 1), (9, 1)] });
        assert_eq!(sum.slots, [(2, 1), (4, 2), (9, 1)]);
    }
}
