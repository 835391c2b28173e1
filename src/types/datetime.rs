//! Dates, times of day and timestamps: the proleptic Gregorian calendar and Postgres's ISO output.
//!
//! Days and microseconds count from 1970-01-01. The largest and smallest value of each type stand for the infinities.

use std::fmt::Write;

use super::zone::{Zone, write_offset};
use crate::error::{Error, Result, SqlState};

pub const DAY: i64 = 86_400_000_000;
pub const HOUR: i64 = 3_600_000_000;
pub const MINUTE: i64 = 60_000_000;
pub const SECOND: i64 = 1_000_000;
/// Days from 1970 to 2000, where Postgres's binary forms begin.
pub const POSTGRES_EPOCH_DAYS: i32 = 10_957;
pub const POSTGRES_EPOCH: i64 = POSTGRES_EPOCH_DAYS as i64 * DAY;

/// 4714-11-24 BC, the first timestamp of Postgres.
pub const MIN_TIMESTAMP: i64 = -2_440_588 * DAY;
/// Where 64 bits of microseconds since 1970 end (294247-01-10), thirty years before Postgres's own end.
pub const END_TIMESTAMP: i64 = i64::MAX;
/// The first and the last date: 4714-11-24 BC, 5874897-12-31.
pub const MIN_DATE: i32 = -2_440_588;
pub const MAX_DATE: i32 = 2_145_042_540;

/// Year, month, day; year 0 is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    pub year: i32,
    pub month: u32,
    pub day: u32,
}

/// The calendar day of a day number.
pub fn civil(days: i64) -> Civil {
    // Eras of 400 years that begin in March, so that the leap day comes last.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil { year: year as i32, month, day }
}

/// The day number of a calendar day. Months and days must be real ones.
pub fn days_of(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 } as i64;
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

pub fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 is Sunday.
pub fn day_of_week(days: i64) -> u32 {
    (days + 4).rem_euclid(7) as u32
}

/// 1 is January 1st.
pub fn day_of_year(days: i64) -> u32 {
    let date = civil(days);
    (days - days_of(date.year, 1, 1) + 1) as u32
}

/// ISO week and the year it belongs to.
pub fn iso_week(days: i64) -> (i32, u32) {
    // The week's Thursday decides.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let year = civil(thursday).year;
    (year, ((thursday - days_of(year, 1, 1)) / 7 + 1) as u32)
}

/// Local microseconds as day and microseconds of the day.
pub fn split(micros: i64) -> (i64, i64) {
    (micros.div_euclid(DAY), micros.rem_euclid(DAY))
}

/// "timestamp out of range" unless Postgres has the value too.
pub fn check_timestamp(micros: i128) -> Result<i64> {
    match i64::try_from(micros) {
        Ok(value) if (MIN_TIMESTAMP..END_TIMESTAMP).contains(&value) => Ok(value),
        _ => Err(timestamp_out_of_range()),
    }
}

pub fn timestamp_out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

pub fn check_date(days: i64) -> Result<i32> {
    match i32::try_from(days) {
        Ok(value) if (MIN_DATE..=MAX_DATE).contains(&value) => Ok(value),
        _ => Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")),
    }
}

struct Text {
    bytes: [u8; 48],
    len: usize,
}

impl Text {
    fn new() -> Text {
        Text { bytes: [0; 48], len: 0 }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn two(&mut self, value: u32) {
        self.byte(b'0' + (value / 10 % 10) as u8);
        self.byte(b'0' + (value % 10) as u8);
    }

    /// At least four digits. A year of our era or, as its absolute value, before it.
    fn year(&mut self, year: u32) {
        let mut width = 4;
        while width < 9 && year >= 10u32.pow(width) {
            width += 1;
        }
        for power in (0..width).rev() {
            self.byte(b'0' + (year / 10u32.pow(power) % 10) as u8);
        }
    }

    fn date(&mut self, days: i64) -> bool {
        let date = civil(days);
        let before_christ = date.year <= 0;
        self.year(if before_christ { (1 - date.year) as u32 } else { date.year as u32 });
        self.byte(b'-');
        self.two(date.month);
        self.byte(b'-');
        self.two(date.day);
        before_christ
    }

    fn time(&mut self, micros: i64) {
        let seconds = (micros / SECOND) as u32;
        self.two(seconds / 3600);
        self.byte(b':');
        self.two(seconds / 60 % 60);
        self.byte(b':');
        self.two(seconds % 60);
        let mut fraction = (micros % SECOND) as u32;
        if fraction > 0 {
            self.byte(b'.');
            let mut power = 100_000;
            while fraction > 0 {
                self.byte(b'0' + (fraction / power) as u8);
                fraction %= power;
                power /= 10;
            }
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

// Writing to a growing buffer cannot fail, so the printers below have no result.

pub fn write_date(out: &mut impl Write, days: i32) {
    if let Some(name) = infinity(days == i32::MAX, days == i32::MIN) {
        let _ = out.write_str(name);
        return;
    }
    let mut text = Text::new();
    let before_christ = text.date(i64::from(days));
    let _ = out.write_str(text.text());
    if before_christ {
        let _ = out.write_str(" BC");
    }
}

pub fn write_time(out: &mut impl Write, micros: i64) {
    let mut text = Text::new();
    text.time(micros);
    let _ = out.write_str(text.text());
}

/// Prints `2024-01-31 12:00:00.5`; `separator` is a space, or T in JSON.
pub fn write_timestamp(out: &mut impl Write, micros: i64, separator: char) {
    write_local(out, micros, separator, None);
}

/// Prints an instant in a zone: `2024-01-31 12:00:00+01`. JSON writes the offset's minutes always.
pub fn write_timestamptz(out: &mut impl Write, micros: i64, zone: &Zone, separator: char) {
    let offset = if matches!(micros, i64::MAX | i64::MIN) { 0 } else { zone.offset_at(micros) };
    write_local(out, micros, separator, Some(offset));
}

fn write_local(out: &mut impl Write, micros: i64, separator: char, offset: Option<i32>) {
    if let Some(name) = infinity(micros == i64::MAX, micros == i64::MIN) {
        let _ = out.write_str(name);
        return;
    }
    let local = micros.saturating_add(i64::from(offset.unwrap_or(0)) * SECOND);
    let (days, time) = split(local);
    let mut text = Text::new();
    let before_christ = text.date(days);
    text.byte(separator as u8);
    text.time(time);
    let _ = out.write_str(text.text());
    if let Some(offset) = offset {
        write_offset(out, offset);
        if separator == 'T' && offset % 3600 == 0 {
            let _ = out.write_str(":00");
        }
    }
    if before_christ {
        let _ = out.write_str(" BC");
    }
}

fn infinity(positive: bool, negative: bool) -> Option<&'static str> {
    if positive {
        Some("infinity")
    } else if negative {
        Some("-infinity")
    } else {
        None
    }
}

/// A time of day rounded to so many digits of a second: half up.
pub fn round_time(micros: i64, digits: u8) -> i64 {
    let unit = 10_i64.pow(6 - u32::from(digits.min(6)));
    (micros + unit / 2) / unit * unit
}

/// A timestamp rounded to so many digits of a second: half away from the year 2000, as Postgres counts from there. 22008 where that is
/// beyond the last.
pub fn round_timestamp(micros: i64, digits: u8) -> Result<i64> {
    if digits >= 6 || matches!(micros, i64::MAX | i64::MIN) {
        return Ok(micros);
    }
    let since = micros - POSTGRES_EPOCH;
    let rounded = i128::from(round_time(since.abs(), digits));
    check_timestamp(i128::from(POSTGRES_EPOCH) + if since < 0 { -rounded } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-1_000_000..1_000_000).step_by(37) {
            let date = civil(days);
            assert_eq!(days_of(date.year, date.month, date.day), days);
            assert!((1..=days_in_month(date.year, date.month)).contains(&date.day));
        }
        assert_eq!(civil(0), Civil { year: 1970, month: 1, day: 1 });
        assert_eq!(days_of(2000, 1, 1), i64::from(POSTGRES_EPOCH_DAYS));
        assert_eq!((day_of_week(0), day_of_year(59)), (4, 60));
    }

    #[test]
    fn timestamps_are_rounded_within_their_range() {
        let half = SECOND / 2;
        assert_eq!((round_timestamp(half, 0), round_timestamp(-half, 0)), (Ok(0), Ok(-SECOND)));
        assert_eq!(round_timestamp(POSTGRES_EPOCH + half, 0), Ok(POSTGRES_EPOCH + SECOND));
        assert_eq!(round_timestamp(1_250_000, 1), Ok(1_200_000));
        assert_eq!(round_timestamp(MIN_TIMESTAMP, 0), Ok(MIN_TIMESTAMP));
        // The last second begins 775807 microseconds before the end.
        assert_eq!(round_timestamp(i64::MAX - half, 0), Ok(i64::MAX - 775_807));
        for (micros, digits) in [(i64::MAX - 1, 0), (i64::MAX - 200_000, 0), (i64::MAX - 1, 1)] {
            assert_eq!(round_timestamp(micros, digits).unwrap_err().state(), SqlState::DATETIME_FIELD_OVERFLOW);
        }
        assert_eq!((round_timestamp(i64::MAX, 0), round_timestamp(i64::MIN, 3)), (Ok(i64::MAX), Ok(i64::MIN)));
    }

    #[test]
    fn iso_weeks_belong_to_the_year_of_their_thursday() {
        assert_eq!(iso_week(days_of(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days_of(2021, 1, 4)), (2021, 1));
        assert_eq!(iso_week(days_of(2024, 12, 30)), (2025, 1));
    }

    #[test]
    fn output_is_postgres_iso_style() {
        let printed = |micros| {
            let mut out = String::new();
            write_timestamp(&mut out, micros, ' ');
            out
        };
        assert_eq!(printed(0), "1970-01-01 00:00:00");
        assert_eq!(printed(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(printed(500_000), "1970-01-01 00:00:00.5");
        assert_eq!(printed(days_of(-43, 3, 15) * DAY), "0044-03-15 00:00:00 BC");
        assert_eq!(printed(days_of(12345, 1, 1) * DAY), "12345-01-01 00:00:00");
        assert_eq!(printed(i64::MAX), "infinity");
        let mut out = String::new();
        write_timestamptz(&mut out, 0, &Zone::parse("Asia/Kolkata").unwrap(), ' ');
        assert_eq!(out, "1970-01-01 05:30:00+05:30");
    }
}
