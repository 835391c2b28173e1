//! Intervals: months, days and microseconds, in Postgres's style.
//!
//! Arrow's MonthDayNano holds them; its nanoseconds are always whole microseconds.

use std::fmt::Write;

use arrow::datatypes::IntervalMonthDayNano as Interval;

use super::datetime::{DAY, SECOND};
use crate::error::{Error, Result, SqlState};

pub fn out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

/// An interval from parts; 22008 beyond what 32-bit months and days and 64-bit nanoseconds hold.
pub fn of_parts(months: i64, days: i64, micros: i64) -> Result<Interval> {
    let months = i32::try_from(months).map_err(|_| out_of_range())?;
    let days = i32::try_from(days).map_err(|_| out_of_range())?;
    let nanos = micros.checked_mul(1000).ok_or_else(out_of_range)?;
    Ok(Interval::new(months, days, nanos))
}

pub fn micros(interval: &Interval) -> i64 {
    interval.nanoseconds / 1000
}

/// What intervals compare by: microseconds, a month taken for 30 days and a day for 24 hours.
pub fn span(interval: &Interval) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(DAY) + i128::from(micros(interval))
}

/// Prints `1 year 2 mons -3 days +04:05:06.7`.
pub fn write_interval(out: &mut impl Write, interval: &Interval) {
    let (years, months, days) = (interval.months / 12, interval.months % 12, interval.days);
    let mut first = true;
    let mut after_negative = false;
    for (value, unit) in [(years, "year"), (months, "mon"), (days, "day")] {
        if value != 0 {
            let space = if first { "" } else { " " };
            let sign = if after_negative && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            let _ = write!(out, "{space}{sign}{value} {unit}{plural}");
            after_negative = value < 0;
            first = false;
        }
    }
    let time = micros(interval);
    if time == 0 && !first {
        return;
    }
    let sign = if time < 0 {
        "-"
    } else if after_negative {
        "+"
    } else {
        ""
    };
    let magnitude = time.unsigned_abs();
    let (seconds, fraction) = (magnitude / SECOND as u64, magnitude % SECOND as u64);
    let space = if first { "" } else { " " };
    let _ = write!(out, "{space}{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        let text = format!("{fraction:06}");
        let _ = write!(out, ".{}", text.trim_end_matches('0'));
    }
}
