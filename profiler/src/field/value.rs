//! Cells: numbers with their unit, printed in a few characters, ordered, and handed out raw.

use std::cmp::Ordering;
use std::fmt;

use serde_json::json;

use crate::batch::Hist;
use crate::batch::hist::Scale;

/// A cell. Knows its unit, how to print itself in a fixed width, and how to sort.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A name.
    Text(String),
    /// A number that names something, printed in full.
    Id(u64),
    /// A number of things.
    Count(u64),
    /// A number of things, on average.
    Average(f64),
    /// Things per second.
    PerSecond(f64),
    /// Bytes.
    Bytes(u64),
    /// Bytes per second.
    BytesPerSecond(f64),
    /// Nanoseconds.
    Nanos(u64),
    /// An upper bound in nanoseconds, printed with `≤`.
    NanosAtMost(u64),
    /// A lower bound in nanoseconds, printed with `≥`.
    NanosAtLeast(u64),
    /// A share, 0 to 1, printed in percent.
    Ratio(f64),
    /// There is nothing to say: printed `–`.
    None,
    /// It cannot be known, and why: printed `?`.
    Unknown(&'static str),
}

impl Value {
    /// A share; nothing to say without a whole.
    #[must_use]
    pub fn ratio(part: u64, whole: u64) -> Self {
        if whole == 0 { Self::None } else { Self::Ratio(part as f64 / whole as f64) }
    }

    /// The value of a histogram at `quantile`: a bound where its slots are wide.
    #[must_use]
    pub fn quantile(hist: &Hist, quantile: f64) -> Self {
        match hist.quantile(quantile) {
            None => Self::None,
            Some(ns) if hist.is_open(quantile) => Self::NanosAtLeast(ns),
            Some(ns) if hist.scale == Scale::Linear32 => Self::Nanos(ns),
            Some(ns) => Self::NanosAtMost(ns),
        }
    }

    /// Sort order, ascending: what cannot be known, nothing to say, numbers, names.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let numbers = || match (self.number(), other.number()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => Ordering::Equal,
        };
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()).then_with(numbers),
        }
    }

    /// The raw number in its base unit: things, bytes, nanoseconds, or a share from 0 to 1.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Text(_) | Self::None | Self::Unknown(_) => None,
            Self::Id(n)
            | Self::Count(n)
            | Self::Bytes(n)
            | Self::Nanos(n)
            | Self::NanosAtMost(n)
            | Self::NanosAtLeast(n) => Some(*n as f64),
            Self::Average(x) | Self::PerSecond(x) | Self::BytesPerSecond(x) | Self::Ratio(x) => Some(*x),
        }
    }

    /// The raw value for JSON: percentiles are the upper bounds that they are; [`Self::note`] tells what a number
    /// cannot.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Id(n)
            | Self::Count(n)
            | Self::Bytes(n)
            | Self::Nanos(n)
            | Self::NanosAtMost(n)
            | Self::NanosAtLeast(n) => json!(n),
            Self::Average(x) | Self::PerSecond(x) | Self::BytesPerSecond(x) | Self::Ratio(x) => json!(x),
            Self::None | Self::Unknown(_) => serde_json::Value::Null,
        }
    }

    /// What must be known beside the raw value: that it is a lower bound, or why it is missing.
    #[must_use]
    pub fn note(&self) -> Option<&'static str> {
        match self {
            Self::NanosAtLeast(_) => Some("at least"),
            Self::Unknown(why) => Some(why),
            _ => None,
        }
    }

    /// A number, as opposed to a name: printed flush right.
    #[must_use]
    pub fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Unknown(_) => 0,
            Self::None => 1,
            Self::Text(_) => 3,
            _ => 2,
        }
    }
}

/// Short: a cell under a heading that names the unit. `{:#}` is self-contained: `1.2 MiB/s`, `? (why)`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let long = f.alternate();
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Id(n) => n.to_string(),
            Self::Count(n) => scaled(*n as f64, 1000.0, &["", "k", "M", "G", "T", "P"]),
            Self::Average(x) => scaled(*x, 1000.0, &["", "k", "M", "G", "T", "P"]),
            Self::PerSecond(x) => scaled(*x, 1000.0, &["", "k", "M", "G", "T", "P"]) + if long { "/s" } else { "" },
            Self::Bytes(n) => bytes(*n as f64, long),
            Self::BytesPerSecond(x) => bytes(*x, long) + if long { "/s" } else { "" },
            Self::Nanos(n) => nanos(*n),
            Self::NanosAtMost(n) => format!("≤ {}", nanos(*n)),
            Self::NanosAtLeast(n) => format!("≥ {}", nanos(*n)),
            Self::Ratio(x) => percent(*x),
            Self::None => "–".into(),
            Self::Unknown(why) if long => format!("? ({why})"),
            Self::Unknown(_) => "?".into(),
        };
        f.pad(&text)
    }
}

/// Three digits and a suffix: `7`, `0.3`, `9999`, `12.3k`, `340k`, `1.2M`.
fn scaled(x: f64, base: f64, suffixes: &[&str]) -> String {
    if x < 10_000.0 && (base < 1024.0 || x < 1024.0) {
        let small = x > 0.0 && x < 10.0 && x.fract() != 0.0;
        return match x {
            _ if small && x < 0.05 => format!("<0.1{}", suffixes[0]),
            _ if small => format!("{x:.1}{}", suffixes[0]),
            _ => format!("{x:.0}{}", suffixes[0]),
        };
    }
    let (mut x, mut at) = (x, 0);
    // 999.5 would print as 1000.
    while x >= 999.5 && at + 1 < suffixes.len() {
        x /= base;
        at += 1;
    }
    if x < 99.95 { format!("{x:.1}{}", suffixes[at]) } else { format!("{x:.0}{}", suffixes[at]) }
}

/// Bytes in powers of 1024.
fn bytes(x: f64, long: bool) -> String {
    if long {
        scaled(x, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
    } else {
        scaled(x, 1024.0, &["", "k", "M", "G", "T", "P"])
    }
}

/// `640 ns`, `12.3 µs`, `512 µs`, `4.2 s`, `3m05s`, `2h10m`, `5d03h`.
fn nanos(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..100 => {
            let x = ns as f64;
            let (x, unit) = match ns {
                0..1_000 => return format!("{ns} ns"),
                1_000..999_500 => (x / 1e3, "µs"),
                999_500..999_500_000 => (x / 1e6, "ms"),
                _ => (x / 1e9, "s"),
            };
            if x < 99.95 { format!("{x:.1} {unit}") } else { format!("{x:.0} {unit}") }
        }
        100..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `0 %`, `0.3 %`, `97 %`, `1240 %`.
fn percent(ratio: f64) -> String {
    let x = ratio * 100.0;
    match x {
        _ if x > 0.0 && x < 0.05 => "<0.1 %".into(),
        _ if x > 0.0 && x < 9.95 => format!("{x:.1} %"),
        _ => format!("{x:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short_and_say_their_unit() {
        let cases = [
            (Value::Count(9_999), "9999", "9999"),
            (Value::Count(12_345), "12.3k", "12.3k"),
            (Value::Count(340_000), "340k", "340k"),
            (Value::Count(1_240_000), "1.2M", "1.2M"),
            (Value::Count(999_700), "1.0M", "1.0M"),
            (Value::Id(1_240_000), "1240000", "1240000"),
            (Value::PerSecond(0.3), "0.3", "0.3/s"),
            (Value::PerSecond(0.01), "<0.1", "<0.1/s"),
            (Value::PerSecond(0.0), "0", "0/s"),
            (Value::Bytes(4_096), "4.0k", "4.0 KiB"),
            (Value::Bytes(1_000), "1000", "1000 B"),
            (Value::BytesPerSecond(1_258_291.2), "1.2M", "1.2 MiB/s"),
            (Value::Nanos(640), "640 ns", "640 ns"),
            (Value::Nanos(12_300_000), "12.3 ms", "12.3 ms"),
            (Value::NanosAtMost(512_000), "≤ 512 µs", "≤ 512 µs"),
            (Value::NanosAtLeast(4_300_000_000), "≥ 4.3 s", "≥ 4.3 s"),
            (Value::Nanos(185_000_000_000), "3m05s", "3m05s"),
            (Value::Nanos(7_800_000_000_000), "2h10m", "2h10m"),
            (Value::Ratio(0.97), "97 %", "97 %"),
            (Value::Ratio(0.003), "0.3 %", "0.3 %"),
            (Value::Ratio(12.4), "1240 %", "1240 %"),
            (Value::None, "–", "–"),
            (Value::Unknown("no probe"), "?", "? (no probe)"),
        ];
        for (value, short, long) in cases {
            assert_eq!((format!("{value}").as_str(), format!("{value:#}").as_str()), (short, long), "{value:?}");
        }
        assert_eq!(format!("[{:>6}]", Value::Count(7)), "[     7]");
    }

    #[test]
    fn ignorance_sorts_below_numbers_and_names_above() {
        let ascending =
            [Value::Unknown("why"), Value::None, Value::Count(1), Value::PerSecond(2.5), Value::Text("a".into())];
        assert!(ascending.is_sorted_by(|a, b| a.order(b) == Ordering::Less));
        assert_eq!(Value::NanosAtMost(5).order(&Value::NanosAtLeast(5)), Ordering::Equal);
    }
}
