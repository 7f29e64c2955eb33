//! Values of options, from what people type.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Units of a duration, in milliseconds.
const UNITS_MS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
/// Shortest interval: reading the kernel takes a part of it.
const TICK_MIN: Duration = Duration::from_millis(100);
/// Longest interval: short trouble is averaged away in it.
const TICK_MAX: Duration = Duration::from_mins(1);
/// What a date and time looks like; zeros stand for digits.
const DATE_TIME: &str = "0000-00-00T00:00:00.000";

/// A length of time: `500ms`, `5s`, `1m`, `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "expected a whole number and a unit, such as 500ms, 5s or 1m")?;
    let unit_ms = UNITS_MS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
    let unit_ms = unit_ms.ok_or_else(|| format!("the unit is missing or unknown: try {number}s"))?;
    match number.checked_mul(unit_ms) {
        None => Err("too long".to_owned()),
        Some(0) => Err("expected more than nothing".to_owned()),
        Some(ms) => Ok(Duration::from_millis(ms)),
    }
}

/// A length of time that an interval may have.
pub(super) fn tick(text: &str) -> Result<Duration, String> {
    let tick = duration(text)?;
    let fits = (TICK_MIN..=TICK_MAX).contains(&tick);
    fits.then_some(tick).ok_or_else(|| "expected 100ms to 60s".to_owned())
}

/// A share in percent, as thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1000")]
pub(super) fn permille_of_percent(text: &str) -> Result<u32, String> {
    let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).parse().ok();
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent| (percent * 10.0).round() as u32).ok_or_else(|| "expected 0 to 100".to_owned())
}

/// Where the kernel's types come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Btf {
    /// A file.
    File(PathBuf),
    /// Nowhere.
    None,
}

impl From<OsString> for Btf {
    fn from(text: OsString) -> Self {
        if text == "none" { Self::None } else { Self::File(text.into()) }
    }
}

/// A moment of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// This long after the beginning.
    After(Duration),
    /// This long after midnight UTC.
    TimeOfDay(Duration),
    /// The first moment, UTC, that is written like this in RFC 3339.
    Date(String),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(after) = text.strip_prefix('+') {
            return duration(after).map(Self::After);
        }
        if text.as_bytes().get(2) == Some(&b':') {
            return time_of_day(text).map(Self::TimeOfDay);
        }
        let date = text.strip_suffix('Z').unwrap_or(text).replace(' ', "T");
        let alike =
            |(typed, wanted): (char, char)| if wanted == '0' { typed.is_ascii_digit() } else { typed == wanted };
        // At least a whole year: `20` would be a moment long before any capture.
        let fits = (4..=DATE_TIME.len()).contains(&date.len()) && date.chars().zip(DATE_TIME.chars()).all(alike);
        fits.then_some(Self::Date(date))
            .ok_or_else(|| "expected +90s, 15:04:05, or a date and time such as 2026-01-31T15:04, both UTC".to_owned())
    }
}

fn time_of_day(text: &str) -> Result<Duration, String> {
    let wrong = || "expected hours, minutes and maybe seconds, such as 15:04 or 15:04:05".to_owned();
    let parts: Vec<u64> = text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(wrong()),
    };
    let is_time = hour < 24 && minute < 60 && second < 60;
    is_time.then_some(Duration::from_secs(hour * 3_600 + minute * 60 + second)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, ms) in [("500ms", 500), ("5s", 5_000), ("1m", 60_000), ("2h", 7_200_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-5s", "1.5s", "0s", "5d", "99999999999999999999s", "9999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tick_has_bounds() {
        assert_eq!(tick("100ms"), Ok(TICK_MIN));
        assert_eq!(tick("1m"), Ok(TICK_MAX));
        assert_eq!((tick("99ms").is_err(), tick("61s").is_err()), (true, true));
    }

    #[test]
    fn shares_are_percent() {
        for (text, permille) in [("5", 50), ("0", 0), ("100", 1_000), ("0.1", 1), ("2.5%", 25)] {
            assert_eq!(permille_of_percent(text), Ok(permille), "{text}");
        }
        for text in ["", "101", "-1", "NaN", "%", "inf"] {
            assert!(permille_of_percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_written_in_three_ways() {
        let date = |text: &str| Ok(At::Date(text.to_owned()));
        assert_eq!("+90s".parse(), Ok(At::After(Duration::from_secs(90))));
        assert_eq!("15:04".parse(), Ok(At::TimeOfDay(Duration::from_mins(904))));
        assert_eq!("15:04:05".parse(), Ok(At::TimeOfDay(Duration::from_secs(54_245))));
        assert_eq!("2026-01-31 15:04".parse(), date("2026-01-31T15:04"));
        assert_eq!("2026-01-31T15:04:05Z".parse(), date("2026-01-31T15:04:05"));
        assert_eq!("2026-01-31T15:04:05.250Z".parse(), date("2026-01-31T15:04:05.250"));
        assert_eq!("2026".parse(), date("2026"));
        for text in ["", "90s", "+", "24:00", "15:60", "15:04:05:06", "20", "yesterday", "2026-1-31", "Z"] {
            assert!(text.parse::<At>().is_err(), "{text}");
        }
    }
}
