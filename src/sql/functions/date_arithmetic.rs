//! Arithmetic of dates, times, timestamps and intervals.
//!
//! An interval adds its months first (the day cut to the month's length), then its days, then its microseconds. For
//! timestamptz months and days are those of the session's zone, so that a day over a change of clocks has 23 or 25
//! hours.

use arrow::array::ArrayRef;

use super::entry::{Function, Operator, immutable, operator};
use super::integer::division_by_zero;
use super::kernel::Call;
use super::strict::{Date, Interval, Time, Timestamp, strict1, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{DAY, SECOND, check_date, check_timestamp, civil, days_in_month, split};
use crate::types::pg_type::oid::*;
use crate::types::time_shift::{add_interval, add_interval_in, is_infinite, shift};
use crate::types::{Zone, interval};

fn date_out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")
}

/// The zone that is a kernel's last argument.
pub fn zone_of(call: &Call) -> Result<Zone> {
    match call.constant_text(call.args.len() - 1)? {
        Some(zone) => Zone::parse(zone),
        None => Ok(Zone::UTC),
    }
}

fn negated(value: &Interval) -> Result<Interval> {
    let (months, days) = (-i64::from(value.months), -i64::from(value.days));
    interval::of_parts(months, days, interval::micros(value).checked_neg().ok_or_else(interval::out_of_range)?)
}

fn date_to_micros(days: i32) -> Result<i64> {
    match days {
        i32::MAX => Ok(i64::MAX),
        i32::MIN => Ok(i64::MIN),
        days => check_timestamp(i128::from(days) * i128::from(DAY)),
    }
}

fn date_plus_days(date: Date, days: i64) -> Result<Date> {
    if matches!(date.0, i32::MAX | i32::MIN) {
        return Ok(date);
    }
    check_date(i64::from(date.0) + days).map(Date)
}

fn date_pli(call: &Call) -> Result<ArrayRef> {
    strict2(call, |date: Date, days: i32| date_plus_days(date, days.into()))
}

fn integer_pl_date(call: &Call) -> Result<ArrayRef> {
    strict2(call, |days: i32, date: Date| date_plus_days(date, days.into()))
}

fn date_mii(call: &Call) -> Result<ArrayRef> {
    strict2(call, |date: Date, days: i32| date_plus_days(date, -i64::from(days)))
}

fn date_mi(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: Date, b: Date| {
        if [a.0, b.0].iter().any(|days| matches!(*days, i32::MAX | i32::MIN)) {
            return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite dates"));
        }
        a.0.checked_sub(b.0).ok_or_else(date_out_of_range)
    })
}

fn date_pl_interval(call: &Call) -> Result<ArrayRef> {
    strict2(call, |date: Date, by: Interval| add_interval(date_to_micros(date.0)?, &by).map(Timestamp))
}

fn interval_pl_date(call: &Call) -> Result<ArrayRef> {
    strict2(call, |by: Interval, date: Date| add_interval(date_to_micros(date.0)?, &by).map(Timestamp))
}

fn date_mi_interval(call: &Call) -> Result<ArrayRef> {
    strict2(call, |date: Date, by: Interval| add_interval(date_to_micros(date.0)?, &negated(&by)?).map(Timestamp))
}

fn at_time(date: Date, time: Time) -> Result<Timestamp> {
    let midnight = date_to_micros(date.0)?;
    if is_infinite(midnight) {
        return Ok(Timestamp(midnight));
    }
    shift(midnight, 0, time.0).map(Timestamp)
}

fn date_pl_time(call: &Call) -> Result<ArrayRef> {
    strict2(call, |date: Date, time: Time| at_time(date, time))
}

fn time_pl_date(call: &Call) -> Result<ArrayRef> {
    strict2(call, |time: Time, date: Date| at_time(date, time))
}

fn timestamp_pl(call: &Call) -> Result<ArrayRef> {
    strict2(call, |at: Timestamp, by: Interval| add_interval(at.0, &by).map(Timestamp))
}

fn interval_pl_timestamp(call: &Call) -> Result<ArrayRef> {
    strict2(call, |by: Interval, at: Timestamp| add_interval(at.0, &by).map(Timestamp))
}

fn timestamp_mi_interval(call: &Call) -> Result<ArrayRef> {
    strict2(call, |at: Timestamp, by: Interval| add_interval(at.0, &negated(&by)?).map(Timestamp))
}

fn timestamptz_pl(call: &Call) -> Result<ArrayRef> {
    let zone = zone_of(call)?;
    strict2(call, |at: Timestamp, by: Interval| add_interval_in(at.0, &by, &zone).map(Timestamp))
}

fn interval_pl_timestamptz(call: &Call) -> Result<ArrayRef> {
    let zone = zone_of(call)?;
    strict2(call, |by: Interval, at: Timestamp| add_interval_in(at.0, &by, &zone).map(Timestamp))
}

fn timestamptz_mi_interval(call: &Call) -> Result<ArrayRef> {
    let zone = zone_of(call)?;
    strict2(call, |at: Timestamp, by: Interval| add_interval_in(at.0, &negated(&by)?, &zone).map(Timestamp))
}

/// Whole days, and the rest of the same sign.
fn timestamp_mi(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: Timestamp, b: Timestamp| {
        if is_infinite(a.0) || is_infinite(b.0) {
            return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps"));
        }
        let micros = a.0.checked_sub(b.0).ok_or_else(interval::out_of_range)?;
        interval::of_parts(0, micros / DAY, micros % DAY)
    })
}

fn time_pl(call: &Call) -> Result<ArrayRef> {
    strict2(call, |time: Time, by: Interval| Ok(Time((time.0 + interval::micros(&by) % DAY).rem_euclid(DAY))))
}

fn interval_pl_time(call: &Call) -> Result<ArrayRef> {
    strict2(call, |by: Interval, time: Time| Ok(Time((time.0 + interval::micros(&by) % DAY).rem_euclid(DAY))))
}

fn time_mi_interval(call: &Call) -> Result<ArrayRef> {
    strict2(call, |time: Time, by: Interval| Ok(Time((time.0 - interval::micros(&by) % DAY).rem_euclid(DAY))))
}

fn time_mi(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: Time, b: Time| interval::of_parts(0, 0, a.0 - b.0))
}

fn sum(a: &Interval, b: &Interval) -> Result<Interval> {
    interval::of_parts(
        i64::from(a.months) + i64::from(b.months),
        i64::from(a.days) + i64::from(b.days),
        interval::micros(a).checked_add(interval::micros(b)).ok_or_else(interval::out_of_range)?,
    )
}

fn interval_pl(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: Interval, b: Interval| sum(&a, &b))
}

fn interval_mi(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: Interval, b: Interval| sum(&a, &negated(&b)?))
}

fn interval_um(call: &Call) -> Result<ArrayRef> {
    strict1(call, |value: Interval| negated(&value))
}

/// Each part scaled; what months and days leave over spills into days and time.
fn scaled(value: &Interval, scale: impl Fn(f64) -> f64) -> Result<Interval> {
    let round6 = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let whole = |value: f64| -> Result<i64> {
        let fits = value > f64::from(i32::MIN) && value < f64::from(i32::MAX);
        if fits { Ok(value as i64) } else { Err(interval::out_of_range()) }
    };
    let (month, day) = (scale(f64::from(value.months)), scale(f64::from(value.days)));
    let (months, mut days) = (whole(month)?, whole(day)?);
    let month_days = round6((month - months as f64) * 30.0);
    let mut seconds = round6((day - days as f64 + month_days - month_days.trunc()) * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        days += (seconds / 86_400.0) as i64;
        seconds -= (seconds / 86_400.0).trunc() * 86_400.0;
    }
    days += month_days as i64;
    let micros = (scale(interval::micros(value) as f64) + seconds * SECOND as f64).round_ties_even();
    if !(micros.abs() < 9.2e18) {
        return Err(interval::out_of_range());
    }
    interval::of_parts(months, days, micros as i64)
}

fn interval_mul(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: Interval, factor: f64| scaled(&value, |part| part * factor))
}

fn mul_interval(call: &Call) -> Result<ArrayRef> {
    strict2(call, |factor: f64, value: Interval| scaled(&value, |part| part * factor))
}

fn interval_div(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: Interval, divisor: f64| {
        if divisor == 0.0 {
            return Err(division_by_zero());
        }
        scaled(&value, |part| part / divisor)
    })
}

fn justified_hours(value: &Interval) -> Result<Interval> {
    let micros = interval::micros(value);
    let (mut days, mut time) = (i64::from(value.days) + micros / DAY, micros % DAY);
    if days > 0 && time < 0 {
        (days, time) = (days - 1, time + DAY);
    } else if days < 0 && time > 0 {
        (days, time) = (days + 1, time - DAY);
    }
    interval::of_parts(value.months.into(), days, time)
}

fn justified_days(value: &Interval) -> Result<Interval> {
    let (mut months, mut days) = (i64::from(value.months) + i64::from(value.days) / 30, i64::from(value.days) % 30);
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - 30);
    }
    interval::of_parts(months, days, interval::micros(value))
}

fn justify_hours(call: &Call) -> Result<ArrayRef> {
    strict1(call, |value: Interval| justified_hours(&value))
}

fn justify_days(call: &Call) -> Result<ArrayRef> {
    strict1(call, |value: Interval| justified_days(&value))
}

fn justify_interval(call: &Call) -> Result<ArrayRef> {
    strict1(call, |value: Interval| {
        let mut value = justified_days(&justified_hours(&value)?)?;
        // Months win over days and days over time where the signs still differ.
        let (mut months, mut days, mut time) =
            (i64::from(value.months), i64::from(value.days), interval::micros(&value));
        if months > 0 && (days < 0 || (days == 0 && time < 0)) {
            (months, days) = (months - 1, days + 30);
        } else if months < 0 && (days > 0 || (days == 0 && time > 0)) {
            (months, days) = (months + 1, days - 30);
        }
        if days > 0 && time < 0 {
            (days, time) = (days - 1, time + DAY);
        } else if days < 0 && time > 0 {
            (days, time) = (days + 1, time - DAY);
        }
        value = interval::of_parts(months, days, time)?;
        Ok(value)
    })
}

/// Years, months, days and time from `b` to `a`, as a calendar counts them.
pub fn age_between(a: i64, b: i64) -> Result<Interval> {
    if is_infinite(a) || is_infinite(b) {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range"));
    }
    let backwards = a < b;
    let (late, early) = if backwards { (b, a) } else { (a, b) };
    let ((late_days, late_time), (early_days, early_time)) = (split(late), split(early));
    let (late, early) = (civil(late_days), civil(early_days));
    let mut months =
        (i64::from(late.year) - i64::from(early.year)) * 12 + i64::from(late.month) - i64::from(early.month);
    let mut days = i64::from(late.day) - i64::from(early.day);
    let mut time = late_time - early_time;
    if time < 0 {
        (time, days) = (time + DAY, days - 1);
    }
    while days < 0 {
        // A month is borrowed: that of the second argument, or of the first where that is the earlier.
        days += i64::from(days_in_month(early.year, early.month));
        months -= 1;
    }
    if backwards { interval::of_parts(-months, -days, -time) } else { interval::of_parts(months, days, time) }
}

fn age(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: Timestamp, b: Timestamp| age_between(a.0, b.0))
}

fn age_in_zone(call: &Call) -> Result<ArrayRef> {
    let zone = zone_of(call)?;
    strict2(call, |a: Timestamp, b: Timestamp| age_between(zone.to_local(a.0), zone.to_local(b.0)))
}

const JUSTIFY: &str = "The interval with 30 days counted as a month and 24 hours as a day.";

pub const FUNCTIONS: &[Function] = &[
    immutable(
        1175,
        "justify_hours",
        &[INTERVAL],
        INTERVAL,
        justify_hours,
        "The interval with 24 hours counted as a day.",
    ),
    immutable(
        1295,
        "justify_days",
        &[INTERVAL],
        INTERVAL,
        justify_days,
        "The interval with 30 days counted as a month.",
    ),
    immutable(2711, "justify_interval", &[INTERVAL], INTERVAL, justify_interval, JUSTIFY),
    immutable(2058, "age", &[TIMESTAMP, TIMESTAMP], INTERVAL, age, "Years, months and days between two timestamps."),
    immutable(
        1199,
        "age",
        &[TIMESTAMPTZ, TIMESTAMPTZ],
        INTERVAL,
        age_in_zone,
        "Years, months and days between two timestamps.",
    )
    .zoned(),
];

pub const OPERATORS: &[Operator] = &[
    operator(1100, "+", DATE, INT4, DATE, "date_pli", date_pli, "A date so many days later."),
    operator(2555, "+", INT4, DATE, DATE, "integer_pl_date", integer_pl_date, "A date so many days later."),
    operator(1101, "-", DATE, INT4, DATE, "date_mii", date_mii, "A date so many days earlier."),
    operator(1099, "-", DATE, DATE, INT4, "date_mi", date_mi, "Days between two dates."),
    operator(1076, "+", DATE, INTERVAL, TIMESTAMP, "date_pl_interval", date_pl_interval, "A date and an interval."),
    operator(2551, "+", INTERVAL, DATE, TIMESTAMP, "interval_pl_date", interval_pl_date, "A date and an interval."),
    operator(1077, "-", DATE, INTERVAL, TIMESTAMP, "date_mi_interval", date_mi_interval, "A date less an interval."),
    operator(1360, "+", DATE, TIME, TIMESTAMP, "datetime_pl", date_pl_time, "A date and a time of day."),
    operator(1363, "+", TIME, DATE, TIMESTAMP, "timedate_pl", time_pl_date, "A date and a time of day."),
    operator(
        2066,
        "+",
        TIMESTAMP,
        INTERVAL,
        TIMESTAMP,
        "timestamp_pl_interval",
        timestamp_pl,
        "A timestamp and an interval.",
    ),
    operator(
        2553,
        "+",
        INTERVAL,
        TIMESTAMP,
        TIMESTAMP,
        "interval_pl_timestamp",
        interval_pl_timestamp,
        "A timestamp and an interval.",
    ),
    operator(
        2068,
        "-",
        TIMESTAMP,
        INTERVAL,
        TIMESTAMP,
        "timestamp_mi_interval",
        timestamp_mi_interval,
        "A timestamp less an interval.",
    ),
    operator(
        1327,
        "+",
        TIMESTAMPTZ,
        INTERVAL,
        TIMESTAMPTZ,
        "timestamptz_pl_interval",
        timestamptz_pl,
        "A timestamp and an interval.",
    )
    .zoned(),
    operator(
        2554,
        "+",
        INTERVAL,
        TIMESTAMPTZ,
        TIMESTAMPTZ,
        "interval_pl_timestamptz",
        interval_pl_timestamptz,
        "A timestamp and an interval.",
    )
    .zoned(),
    operator(
        1329,
        "-",
        TIMESTAMPTZ,
        INTERVAL,
        TIMESTAMPTZ,
        "timestamptz_mi_interval",
        timestamptz_mi_interval,
        "A timestamp less an interval.",
    )
    .zoned(),
    operator(
        2067,
        "-",
        TIMESTAMP,
        TIMESTAMP,
        INTERVAL,
        "timestamp_mi",
        timestamp_mi,
        "Days and time between two timestamps.",
    ),
    operator(
        1328,
        "-",
        TIMESTAMPTZ,
        TIMESTAMPTZ,
        INTERVAL,
        "timestamptz_mi",
        timestamp_mi,
        "Days and time between two timestamps.",
    ),
    operator(1800, "+", TIME, INTERVAL, TIME, "time_pl_interval", time_pl, "A time of day and an interval."),
    operator(1849, "+", INTERVAL, TIME, TIME, "interval_pl_time", interval_pl_time, "A time of day and an interval."),
    operator(1801, "-", TIME, INTERVAL, TIME, "time_mi_interval", time_mi_interval, "A time of day less an interval."),
    operator(1399, "-", TIME, TIME, INTERVAL, "time_mi_time", time_mi, "Time between two times of day."),
    operator(1337, "+", INTERVAL, INTERVAL, INTERVAL, "interval_pl", interval_pl, "Sum."),
    operator(1338, "-", INTERVAL, INTERVAL, INTERVAL, "interval_mi", interval_mi, "Difference."),
    operator(1336, "-", 0, INTERVAL, INTERVAL, "interval_um", interval_um, "Negation."),
    operator(1583, "*", INTERVAL, FLOAT8, INTERVAL, "interval_mul", interval_mul, "A multiple."),
    operator(1584, "*", FLOAT8, INTERVAL, INTERVAL, "mul_d_interval", mul_interval, "A multiple."),
    operator(1585, "/", INTERVAL, FLOAT8, INTERVAL, "interval_div", interval_div, "A fraction."),
];
