//! A point in time and an interval: months come first (the day cut to the month's length), then days, then microseconds.

use arrow::datatypes::IntervalMonthDayNano as Interval;

use super::datetime::{DAY, check_timestamp, civil, days_in_month, days_of, split, timestamp_out_of_range};
use super::interval::micros;
use super::zone::Zone;
use crate::error::Result;

/// Microseconds that stand for an infinity.
pub fn is_infinite(micros: i64) -> bool {
    matches!(micros, i64::MAX | i64::MIN)
}

/// A local time so many months later; the day is cut to the month's length.
fn add_months(local: i64, months: i32) -> Result<i64> {
    if months == 0 {
        return Ok(local);
    }
    let (days, time) = split(local);
    let date = civil(days);
    let month = i64::from(date.year) * 12 + i64::from(date.month) - 1 + i64::from(months);
    let year = i32::try_from(month.div_euclid(12)).map_err(|_| timestamp_out_of_range())?;
    let month = month.rem_euclid(12) as u32 + 1;
    let day = date.day.min(days_in_month(year, month));
    check_timestamp(i128::from(days_of(year, month, day)) * i128::from(DAY) + i128::from(time))
}

/// A point in time so many days and microseconds later.
pub fn shift(micros: i64, days: i64, time: i64) -> Result<i64> {
    check_timestamp(i128::from(micros) + i128::from(days) * i128::from(DAY) + i128::from(time))
}

/// A local timestamp and an interval.
pub fn add_interval(local: i64, by: &Interval) -> Result<i64> {
    if is_infinite(local) {
        return Ok(local);
    }
    shift(add_months(local, by.months)?, i64::from(by.days), micros(by))
}

/// An instant and an interval, whose months and days are the zone's.
pub fn add_interval_in(instant: i64, by: &Interval, zone: &Zone) -> Result<i64> {
    if is_infinite(instant) {
        return Ok(instant);
    }
    let mut at = instant;
    if by.months != 0 || by.days != 0 {
        let local = shift(add_months(zone.to_local(at), by.months)?, i64::from(by.days), 0)?;
        at = zone.to_instant(local);
    }
    shift(at, 0, micros(by))
}
