//! Making dates and times, moving them between zones, and the clock.
//!
//! `now()` and its kin are constants of the session's transaction; only clock_timestamp() looks at the clock.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int32Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Volatility};

use super::date_arithmetic::{age_between, zone_of};
use super::entry::{Function, Typed, built, immutable, kernel_call, of_session, text_literal};
use super::kernel::Call;
use super::scope;
use super::strict::{Date, Interval, Time, Timestamp, strict0, strict1, strict2, strict3};
use crate::error::{Error, Result, SqlState};
use crate::sql::SessionConstants;
use crate::types::datetime::{DAY, HOUR, MINUTE, SECOND, check_date, check_timestamp, days_in_month, days_of};
use crate::types::pg_type::oid::*;
use crate::types::{Type, Zone, interval};

fn overflow(message: String) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

/// A day number; a negative year is one before Christ, and there is no year 0.
fn day(year: i32, month: i32, day: i32) -> Result<i64> {
    let invalid = || overflow(format!("date field value out of range: {year}-{month:02}-{day:02}"));
    let astronomical = if year < 0 { year.checked_add(1).ok_or_else(invalid)? } else { year };
    let (m, d) = (u32::try_from(month).map_err(|_| invalid())?, u32::try_from(day).map_err(|_| invalid())?);
    if year == 0 || !(1..=12).contains(&m) || d == 0 || d > days_in_month(astronomical, m) {
        return Err(invalid());
    }
    Ok(days_of(astronomical, m, d))
}

/// Microseconds of a time of day; 24:00:00 and second 60 are allowed.
fn clock(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let invalid = || overflow(format!("time field value out of range: {hour}:{minute:02}:{second:02}"));
    if !(0..=24).contains(&hour) || !(0..=59).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return Err(invalid());
    }
    let micros = (second * SECOND as f64).round_ties_even() as i64;
    let time = i64::from(hour) * HOUR + i64::from(minute) * MINUTE + micros;
    if time > DAY { Err(invalid()) } else { Ok(time) }
}

fn make_date(call: &Call) -> Result<ArrayRef> {
    strict3(call, |year: i32, month: i32, d: i32| check_date(day(year, month, d)?).map(Date))
}

fn make_time(call: &Call) -> Result<ArrayRef> {
    strict3(call, |hour: i32, minute: i32, second: f64| clock(hour, minute, second).map(Time))
}

/// Row by row over integers and then one double; NULL where any of them is.
fn parts<R: super::strict::Output>(
    call: &Call,
    integers: usize,
    f: impl Fn(&[i32], f64, usize) -> Result<R>,
) -> Result<ArrayRef> {
    let columns: Vec<_> = call.args[..integers].iter().map(|arg| arg.array.as_primitive::<Int32Type>()).collect();
    let seconds = call.args[integers].array.as_primitive::<Float64Type>();
    let mut out = R::builder(call.rows, call.result);
    let mut values = vec![0; integers];
    for row in 0..call.rows {
        if call.args.iter().any(|arg| arg.is_null(row)) {
            R::push(&mut out, None)?;
            continue;
        }
        for (n, column) in columns.iter().enumerate() {
            values[n] = column.value(call.args[n].index(row));
        }
        R::push(&mut out, Some(f(&values, seconds.value(call.args[integers].index(row)), row)?))?;
    }
    Ok(R::finish(out))
}

fn local(values: &[i32], second: f64) -> Result<i64> {
    let days = day(values[0], values[1], values[2])?;
    check_timestamp(i128::from(days) * i128::from(DAY) + i128::from(clock(values[3], values[4], second)?))
}

fn make_timestamp(call: &Call) -> Result<ArrayRef> {
    parts(call, 5, |values, second, _| local(values, second).map(Timestamp))
}

fn make_timestamptz(call: &Call) -> Result<ArrayRef> {
    let zones = call.args[6].cast::<arrow::array::StringArray>()?;
    parts(call, 5, |values, second, row| {
        let text = zones.value(call.args[6].index(row));
        // Here an offset has ISO 8601's sign: `+02` lies east.
        let zone = match crate::types::zone::parse_offset(text) {
            Some(seconds) => Zone::Fixed(seconds),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => {
                let message = format!("invalid input syntax for type numeric time zone: \"{text}\"");
                return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
                    .with_hint("Numeric time zones must have \"-\" or \"+\" as first character."));
            }
            None => Zone::parse(text)?,
        };
        Ok(Timestamp(zone.to_instant(local(values, second)?)))
    })
}

fn make_interval(call: &Call) -> Result<ArrayRef> {
    parts(call, 6, |v, second, _| {
        let invalid = interval::out_of_range;
        let micros = i64::from(v[4]) * HOUR + i64::from(v[5]) * MINUTE;
        let seconds = second * SECOND as f64;
        if !(seconds.abs() < 9e18) {
            return Err(invalid());
        }
        let micros = micros.checked_add(seconds.round_ties_even() as i64).ok_or_else(invalid)?;
        interval::of_parts(i64::from(v[0]) * 12 + i64::from(v[1]), i64::from(v[2]) * 7 + i64::from(v[3]), micros)
    })
}

/// Left-out arguments are 0.
fn build_make_interval(mut args: Vec<Typed>) -> Result<Typed> {
    while args.len() < 6 {
        args.push(Typed::new(Expr::Literal(ScalarValue::Int32(Some(0)), None), Type::Int4));
    }
    if args.len() < 7 {
        args.push(Typed::new(Expr::Literal(ScalarValue::Float64(Some(0.0)), None), Type::Float8));
    }
    Ok(kernel_call("make_interval", args, Type::Interval, Volatility::Immutable, make_interval))
}

fn to_timestamp(call: &Call) -> Result<ArrayRef> {
    strict1(call, |seconds: f64| {
        if seconds.is_infinite() {
            return Ok(Timestamp(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
        }
        if seconds.is_nan() {
            return Err(overflow("timestamp cannot be NaN".to_string()));
        }
        let micros = seconds * SECOND as f64;
        if micros.abs() > 9.2e18 {
            return Err(overflow(format!("timestamp out of range: \"{seconds}\"")));
        }
        check_timestamp(micros.round_ties_even() as i128).map(Timestamp)
    })
}

fn timezone_of_instant(call: &Call) -> Result<ArrayRef> {
    strict2(call, |zone: &str, at: Timestamp| Ok(Timestamp(Zone::parse(zone)?.to_local(at.0))))
}

fn timezone_of_local(call: &Call) -> Result<ArrayRef> {
    strict2(call, |zone: &str, at: Timestamp| Ok(Timestamp(Zone::parse(zone)?.to_instant(at.0))))
}

fn offset(by: &Interval) -> Result<Zone> {
    if by.months != 0 || by.days != 0 {
        let mut text = String::new();
        interval::write_interval(&mut text, by);
        let message = format!("interval time zone \"{text}\" must not include months or days");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(Zone::Fixed((interval::micros(by) / SECOND) as i32))
}

fn timezone_interval_of_instant(call: &Call) -> Result<ArrayRef> {
    strict2(call, |by: Interval, at: Timestamp| Ok(Timestamp(offset(&by)?.to_local(at.0))))
}

fn timezone_interval_of_local(call: &Call) -> Result<ArrayRef> {
    strict2(call, |by: Interval, at: Timestamp| Ok(Timestamp(offset(&by)?.to_instant(at.0))))
}

fn isfinite_date(call: &Call) -> Result<ArrayRef> {
    strict1(call, |date: Date| Ok(!matches!(date.0, i32::MAX | i32::MIN)))
}

fn isfinite_timestamp(call: &Call) -> Result<ArrayRef> {
    strict1(call, |at: Timestamp| Ok(!matches!(at.0, i64::MAX | i64::MIN)))
}

fn isfinite_interval(call: &Call) -> Result<ArrayRef> {
    strict1(call, |_: Interval| Ok(true))
}

pub(super) fn timestamptz_literal(micros: i64) -> Typed {
    let value = ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
    Typed::new(Expr::Literal(value, None), Type::Timestamptz)
}

fn local_now(session: &SessionConstants) -> i64 {
    Zone::parse(&session.time_zone).unwrap_or(Zone::UTC).to_local(session.now)
}

fn now(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    Ok(timestamptz_literal(session.now))
}

fn current_date(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    let days = check_date(local_now(session).div_euclid(DAY))?;
    Ok(Typed::new(Expr::Literal(ScalarValue::Date32(Some(days)), None), Type::Date))
}

fn localtimestamp(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    let value = ScalarValue::TimestampMicrosecond(Some(local_now(session)), None);
    Ok(Typed::new(Expr::Literal(value, None), Type::Timestamp))
}

fn localtime(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    let value = ScalarValue::Time64Microsecond(Some(local_now(session).rem_euclid(DAY)));
    Ok(Typed::new(Expr::Literal(value, None), Type::Time))
}

fn clock_timestamp(call: &Call) -> Result<ArrayRef> {
    strict0(call, || Ok(Timestamp(chrono::Utc::now().timestamp_micros())))
}

/// `age(t)`: from t to this day's midnight.
fn build_age(args: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    let midnight = local_now(session).div_euclid(DAY) * DAY;
    let midnight =
        Typed::new(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(midnight), None), None), Type::Timestamp);
    let [at]: [Typed; 1] = args.try_into().map_err(|_| Error::internal("age has one argument"))?;
    let zone = text_literal(scope::time_zone());
    Ok(kernel_call("age", vec![midnight, at, zone], Type::Interval, Volatility::Immutable, age_from_midnight))
}

fn age_from_midnight(call: &Call) -> Result<ArrayRef> {
    let zone = zone_of(call)?;
    let zoned = call.types[1] == Type::Timestamptz;
    strict2(call, |midnight: Timestamp, at: Timestamp| {
        age_between(midnight.0, if zoned { zone.to_local(at.0) } else { at.0 })
    })
}

const NOW: &str = "Start of the transaction.";
const MAKE_INTERVAL: &str = "An interval from years, months, weeks, days, hours, minutes, seconds.";
const ZONE: &str = "AT TIME ZONE: a timestamp of a zone to an instant, or an instant to a zone's timestamp.";

pub const FUNCTIONS: &[Function] = &[
    immutable(3846, "make_date", &[INT4, INT4, INT4], DATE, make_date, "A date from year, month, day."),
    immutable(3847, "make_time", &[INT4, INT4, FLOAT8], TIME, make_time, "A time from hour, minute, seconds."),
    immutable(
        3461,
        "make_timestamp",
        &[INT4, INT4, INT4, INT4, INT4, FLOAT8],
        TIMESTAMP,
        make_timestamp,
        "A timestamp from its fields.",
    ),
    immutable(
        3462,
        "make_timestamptz",
        &[INT4, INT4, INT4, INT4, INT4, FLOAT8],
        TIMESTAMPTZ,
        make_timestamptz,
        "An instant from its fields.",
    )
    .zoned(),
    immutable(
        3463,
        "make_timestamptz",
        &[INT4, INT4, INT4, INT4, INT4, FLOAT8, TEXT],
        TIMESTAMPTZ,
        make_timestamptz,
        "An instant from its fields in a zone.",
    ),
    built(3464, "make_interval", &[], INTERVAL, build_make_interval, MAKE_INTERVAL),
    built(3464, "make_interval", &[INT4], INTERVAL, build_make_interval, MAKE_INTERVAL),
    built(3464, "make_interval", &[INT4, INT4], INTERVAL, build_make_interval, MAKE_INTERVAL),
    built(3464, "make_interval", &[INT4, INT4, INT4], INTERVAL, build_make_interval, MAKE_INTERVAL),
    built(3464, "make_interval", &[INT4, INT4, INT4, INT4], INTERVAL, build_make_interval, MAKE_INTERVAL),
    built(3464, "make_interval", &[INT4, INT4, INT4, INT4, INT4], INTERVAL, build_make_interval, MAKE_INTERVAL),
    built(3464, "make_interval", &[INT4, INT4, INT4, INT4, INT4, INT4], INTERVAL, build_make_interval, MAKE_INTERVAL),
    built(
        3464,
        "make_interval",
        &[INT4, INT4, INT4, INT4, INT4, INT4, FLOAT8],
        INTERVAL,
        build_make_interval,
        MAKE_INTERVAL,
    ),
    immutable(1158, "to_timestamp", &[FLOAT8], TIMESTAMPTZ, to_timestamp, "The instant of so many seconds since 1970."),
    immutable(1159, "timezone", &[TEXT, TIMESTAMPTZ], TIMESTAMP, timezone_of_instant, ZONE),
    immutable(2069, "timezone", &[TEXT, TIMESTAMP], TIMESTAMPTZ, timezone_of_local, ZONE),
    immutable(1026, "timezone", &[INTERVAL, TIMESTAMPTZ], TIMESTAMP, timezone_interval_of_instant, ZONE),
    immutable(2070, "timezone", &[INTERVAL, TIMESTAMP], TIMESTAMPTZ, timezone_interval_of_local, ZONE),
    immutable(1373, "isfinite", &[DATE], BOOL, isfinite_date, "Whether the value is no infinity."),
    immutable(2048, "isfinite", &[TIMESTAMP], BOOL, isfinite_timestamp, "Whether the value is no infinity."),
    immutable(1389, "isfinite", &[TIMESTAMPTZ], BOOL, isfinite_timestamp, "Whether the value is no infinity."),
    immutable(1390, "isfinite", &[INTERVAL], BOOL, isfinite_interval, "Whether the value is no infinity."),
    of_session(1299, "now", &[], TIMESTAMPTZ, now, NOW),
    of_session(2647, "transaction_timestamp", &[], TIMESTAMPTZ, now, NOW),
    of_session(2648, "statement_timestamp", &[], TIMESTAMPTZ, now, NOW),
    of_session(16_800_001, "current_timestamp", &[], TIMESTAMPTZ, now, NOW),
    of_session(16_800_002, "current_date", &[], DATE, current_date, "Date of the transaction's start."),
    of_session(16_800_003, "localtimestamp", &[], TIMESTAMP, localtimestamp, NOW),
    of_session(16_800_004, "localtime", &[], TIME, localtime, "Time of day of the transaction's start."),
    immutable(2649, "clock_timestamp", &[], TIMESTAMPTZ, clock_timestamp, "The present instant.").volatile(),
    of_session(2059, "age", &[TIMESTAMP], INTERVAL, build_age, "Years, months and days up to today."),
    of_session(1386, "age", &[TIMESTAMPTZ], INTERVAL, build_age, "Years, months and days up to today."),
];
