//! Two histograms on one scale of time, so that they can be compared: queue beside device time, blocked beside all.

use std::collections::BTreeMap;
use std::ops::Range;

use ratatui::layout::Rect;

use crate::batch::Hist;
use crate::field::Value;
use crate::view::tui::theme::Role;
use crate::view::tui::widget::pen::{Pen, cells};

/// Cells of the range in front of the bars.
const RANGE: u16 = 11;
/// Cells of the share behind a bar.
const SHARE: u16 = 7;

/// A histogram with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// What was measured.
    pub name: &'static str,
    /// The counts.
    pub hist: Hist,
}

/// Draws both: a line of percentiles, then one line per power of two.
pub fn draw(pen: &mut Pen<'_>, area: Rect, pair: &[Named; 2]) {
    let half = area.width.saturating_sub(RANGE) / 2;
    let octaves = pair.each_ref().map(|named| octaves(&named.hist));
    for (side, named) in (0..).zip(pair) {
        let width = half.saturating_sub(1);
        pen.put(area.x + RANGE + side * half, area.y, width, &summary(named, width), Role::Strong);
    }
    let range = shown(&octaves, area.height.saturating_sub(1));
    for (y, octave) in (area.y + 1..area.bottom()).zip(range.clone()) {
        pen.put_right(area.x, y, RANGE - 1, &label(octave, &range), Role::Muted);
        for (side, counts) in (0..).zip(&octaves) {
            let column = Rect { x: area.x + RANGE + side * half, y, width: half.saturating_sub(1), height: 1 };
            bar(pen, column, counts, within(counts, octave, &range));
        }
    }
}

/// Name and percentiles; where that is too wide, the high one matters more.
fn summary(named: &Named, width: u16) -> String {
    let Named { name, hist } = named;
    let [p50, p99] = [0.5, 0.99].map(|quantile| Value::quantile(hist, quantile));
    let long = format!("{name} p50 {p50}, p99 {p99}");
    if cells(&long) <= width { long } else { format!("{name} p99 {p99}") }
}

/// Counts by power of two of the lower bound, which both scales share.
fn octaves(hist: &Hist) -> BTreeMap<u32, u64> {
    let mut octaves = BTreeMap::new();
    for &(slot, count) in &hist.slots {
        *octaves.entry(hist.bounds(slot).0.max(1).ilog2().max(9)).or_default() += count;
    }
    octaves
}

/// Octaves to show: all that have counts, or as many of the greatest as there are lines.
fn shown(pair: &[BTreeMap<u32, u64>; 2], lines: u16) -> Range<u32> {
    let keys = || pair.iter().flat_map(BTreeMap::keys).copied();
    let (Some(low), Some(high)) = (keys().min(), keys().max()) else { return Range::default() };
    low.max((high + 1).saturating_sub(lines.into()))..high + 1
}

/// What a line stands for; the first one takes all that is below it, too.
fn within(counts: &BTreeMap<u32, u64>, octave: u32, range: &Range<u32>) -> u64 {
    if octave == range.start {
        counts.range(..=octave).map(|(_, count)| count).sum()
    } else {
        counts.get(&octave).copied().unwrap_or_default()
    }
}

fn label(octave: u32, range: &Range<u32>) -> String {
    if octave == range.start {
        return format!("< {}", Value::Nanos(1 << (octave + 1)));
    }
    format!("≥ {}", Value::Nanos(1 << octave))
}

fn bar(pen: &mut Pen<'_>, area: Rect, counts: &BTreeMap<u32, u64>, count: u64) {
    let total: u64 = counts.values().sum();
    if count == 0 || total == 0 {
        return;
    }
    let room = area.width.saturating_sub(SHARE);
    let steps = pen.theme.glyphs.eighths();
    let unit = steps.len() as u64;
    // Whatever happened shows, if only as the thinnest step.
    let length = (u64::from(room) * unit * count / total).max(1);
    let full = u16::try_from(length / unit).unwrap_or(room);
    pen.fill(area.x, area.y, full, steps[steps.len() - 1], Role::Chart);
    let rest = usize::try_from(length % unit).unwrap_or_default();
    if rest > 0 {
        pen.fill(area.x + full, area.y, 1, steps[rest - 1], Role::Chart);
    }
    let share = Value::Ratio(count as f64 / total as f64).to_string();
    pen.put(area.x + full + u16::from(rest > 0) + 1, area.y, cells(&share), &share, Role::Text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::hist::Scale;

    #[test]
    fn both_scales_share_the_octaves() {
        let coarse = Hist { scale: Scale::Log2, slots: vec![(1, 3)] };
        let fine = Hist { scale: Scale::Linear8, slots: vec![(8, 1), (15, 2)] };
        assert_eq!(octaves(&coarse), octaves(&fine));
    }

    #[test]
    fn what_does_not_fit_is_added_to_the_first_line() {
        let counts = BTreeMap::from([(10, 1), (11, 2), (12, 4)]);
        let range = shown(&[counts.clone(), BTreeMap::new()], 2);
        assert_eq!(range, 11..13);
        assert_eq!(range.clone().map(|octave| within(&counts, octave, &range)).sum::<u64>(), 7);
    }
}
