//! Dates and times as machines write them, in ISO 8601, read without allocation. Everything that reads dates tries this first: text input
//! and JSON records. What is written otherwise, or wrongly, is for [`super::datetime_input`].

use super::datetime::{DAY, HOUR, MINUTE, SECOND, days_in_month, days_of};
use super::zone::parse_offset;

/// A timestamp as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Days since 1970-01-01.
    pub days: i32,
    /// Microseconds since midnight, where a time is written; a whole day where a fraction of the last second is rounded up.
    pub time: Option<i64>,
    /// Seconds east of UTC, where a zone is written.
    pub zone: Option<i32>,
}

impl Written {
    /// Microseconds since 1970, in whatever zone it is.
    pub fn local(&self) -> i64 {
        i64::from(self.days) * DAY + self.time.unwrap_or(0)
    }

    /// Microseconds since 1970 UTC; what says no zone is UTC.
    pub fn instant_in_utc(&self) -> i64 {
        self.local() - i64::from(self.zone.unwrap_or(0)) * SECOND
    }
}

/// `YYYY-MM-DD` to days since 1970-01-01.
pub fn date(text: &str) -> Option<i32> {
    let (days, rest) = date_prefix(text)?;
    rest.is_empty().then_some(days)
}

/// `HH:MM[:SS[.f...]]` to microseconds since midnight. More than six decimals are rounded.
pub fn time(text: &str) -> Option<i64> {
    let (micros, rest) = time_prefix(text)?;
    rest.is_empty().then_some(micros)
}

/// `YYYY-MM-DD[(T| )HH:MM[:SS[.f...]][Z|[ ](+|-)HH[[:]MM[:SS]]]]`.
pub fn timestamp(text: &str) -> Option<Written> {
    let (days, rest) = date_prefix(text)?;
    if rest.is_empty() {
        return Some(Written { days, time: None, zone: None });
    }
    let (time, rest) = time_prefix(rest.strip_prefix(['T', 't', ' '])?)?;
    let zone = match rest.strip_prefix(' ').unwrap_or(rest) {
        "" => None,
        "Z" | "z" => Some(0),
        offset => Some(parse_offset(offset)?),
    };
    Some(Written { days, time: Some(time), zone })
}

fn date_prefix(text: &str) -> Option<(i32, &str)> {
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = two_digits(bytes, 0)? * 100 + two_digits(bytes, 2)?;
    let (month, day) = (two_digits(bytes, 5)?, two_digits(bytes, 8)?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year as i32, month) {
        return None;
    }
    Some((days_of(year as i32, month, day) as i32, &text[10..]))
}

/// The number of the two digits at this place.
fn two_digits(bytes: &[u8], at: usize) -> Option<u32> {
    match bytes.get(at..at + 2)? {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    }
}

fn time_prefix(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    let (hour, minute) = (two_digits(bytes, 0)?, two_digits(bytes, 3)?);
    if bytes[2] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let time = i64::from(hour) * HOUR + i64::from(minute) * MINUTE;
    if bytes.get(5) != Some(&b':') {
        return Some((time, &text[5..]));
    }
    let second = two_digits(bytes, 6)?;
    if second > 59 {
        return None;
    }
    let time = time + i64::from(second) * SECOND;
    if bytes.get(8) != Some(&b'.') {
        return Some((time, &text[8..]));
    }
    let digits = bytes[9..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = 9 + digits;
    let micros = match digits {
        0 => return None,
        1..=6 => {
            let value = bytes[9..end].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
            value * 10_i64.pow(6 - digits as u32)
        }
        // Rounded as Postgres does it: through a double, halves to even.
        _ => (text[8..end].parse::<f64>().ok()? * SECOND as f64).round_ties_even() as i64,
    };
    Some((time + micros, &text[end..]))
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_written_form() {
        let days = days_of(2026, 3, 1) as i32;
        let noon = 12 * HOUR + 30 * MINUTE;
        let of = |time: i64, zone: Option<i32>| Some(Written { days, time: Some(time), zone });
        let cases = [
            ("2026-03-01", Some(Written { days, time: None, zone: None })),
            ("2026-03-01T12:30:00", of(noon, None)),
            ("2026-03-01 12:30", of(noon, None)),
            ("2026-03-01t12:30:00z", of(noon, Some(0))),
            ("2026-03-01 12:30:00.25+02", of(noon + SECOND / 4, Some(7200))),
            ("2026-03-01 12:30:00.1234567-05:30", of(noon + 123_457, Some(-19_800))),
            // Halves go to the even neighbour, as in Postgres.
            ("2026-03-01 12:30:00.5000005", of(noon + 500_000, None)),
            ("2026-03-01 23:59:59.9999999", of(DAY, None)),
            ("2026-03-01T12:30:00 +0200", of(noon, Some(7200))),
            ("2026-03-01T12:30:00-00:30:15", of(noon, Some(-1815))),
            ("2026-03-01T12:30:00+2", of(noon, Some(7200))),
            ("2026-02-29T00:00:00", None),
            ("0000-01-01", None),
            ("2026-13-01", None),
            ("2026-3-1", None),
            ("2026-03-01T", None),
            ("2026-03-01T25:00:00", None),
            ("2026-03-01T12:60", None),
            ("2026-03-01T12:30:60", None),
            ("2026-03-01T12:30:00.", None),
            ("2026-03-01T12:30:0", None),
            ("2026-03-01T12:30:00+", None),
            ("2026-03-01T12:30:00+16", None),
            ("2026-03-01T12:30:00 UTC", None),
            ("2026-03-01T12:3é", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(timestamp(text), expected, "{text}");
        }
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("2024-02-29"), Some(19_782));
        assert_eq!(date("2024-02-29 "), None);
        assert_eq!(time("23:59:59.999999"), Some(DAY - 1));
        assert_eq!(time("12:30+02"), None);
    }

    proptest! {
        #[test]
        fn timestamps_agree_with_chrono(micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
            let time = chrono::DateTime::from_timestamp_micros(micros).unwrap().naive_utc();
            let text = time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
            let read = timestamp(&text).unwrap().local();
            prop_assert_eq!(read, micros);
            prop_assert_eq!(text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros(), read);
        }
    }
}
