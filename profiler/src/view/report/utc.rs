//! Calendar time without a clock.

/// `2026-01-31 23:59:59.250` of nanoseconds since 1970 UTC.
#[must_use]
pub fn date_time(unix_ns: u64) -> String {
    let (year, month, day) = civil(unix_ns / 86_400_000_000_000);
    format!("{year:04}-{month:02}-{day:02} {}", time(unix_ns))
}

/// The same in RFC 3339, for programs.
#[must_use]
pub fn rfc3339(unix_ns: u64) -> String {
    date_time(unix_ns).replace(' ', "T") + "Z"
}

fn time(unix_ns: u64) -> String {
    let ms = unix_ns / 1_000_000;
    let (second, minute, hour) = (ms / 1_000 % 60, ms / 60_000 % 60, ms / 3_600_000 % 24);
    format!("{hour:02}:{minute:02}:{second:02}.{:03}", ms % 1_000)
}

/// Year, month and day of a count of days since 1970-01-01. Years are taken to begin in March, so that the leap day is
/// the last of a year; an era is 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, printed) in [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_399, "2000-02-28 23:59:59.000"),
            (951_782_400, "2000-02-29 00:00:00.000"),
            (951_868_800, "2000-03-01 00:00:00.000"),
            (1_767_225_600, "2026-01-01 00:00:00.000"),
            (4_107_542_400, "2100-03-01 00:00:00.000"),
        ] {
            assert_eq!(date_time(seconds * 1_000_000_000), printed);
        }
        assert_eq!(rfc3339(1_767_225_600_250_000_000), "2026-01-01T00:00:00.250Z");
    }
}
