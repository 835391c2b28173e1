//! Fields of dates, times and intervals: extract, date_part, date_trunc, date_bin.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{Date32Type, IntervalMonthDayNanoType, Time64MicrosecondType, i256};
use datafusion::logical_expr::Volatility;

use super::date_arithmetic::zone_of;
use super::entry::{Function, Typed, built, constant_text, immutable, kernel_call, text_literal};
use super::kernel::{Call, Last};
use super::scope;
use super::strict::{Fixed, Free, Interval, Output, Timestamp, strict2, strict3};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{
    DAY, HOUR, MINUTE, SECOND, check_timestamp, civil, day_of_week, day_of_year, days_of, iso_week, split,
};
use crate::types::numeric::Decimal;
use crate::types::pg_type::oid::*;
use crate::types::{Numeric, Type, Zone, interval, numeric};

/// A unit of time, as extract and date_trunc name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Epoch,
    Dow,
    Isodow,
    Doy,
    Isoyear,
    Julian,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name.to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" | "usec" | "usecs" | "useconds" | "usecond" => Unit::Microseconds,
        "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" | "mseconds" | "msecond" => Unit::Milliseconds,
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Second,
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Minute,
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Hour,
        "day" | "days" | "d" => Unit::Day,
        "week" | "weeks" | "w" => Unit::Week,
        "month" | "months" | "mon" | "mons" => Unit::Month,
        "quarter" | "qtr" => Unit::Quarter,
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Year,
        "decade" | "decades" | "dec" | "decs" => Unit::Decade,
        "century" | "centuries" | "cent" | "c" => Unit::Century,
        "millennium" | "millennia" | "mil" | "mils" => Unit::Millennium,
        "epoch" => Unit::Epoch,
        "dow" => Unit::Dow,
        "isodow" => Unit::Isodow,
        "doy" => Unit::Doy,
        "isoyear" => Unit::Isoyear,
        "julian" | "jd" | "j" => Unit::Julian,
        "timezone" => Unit::Timezone,
        "timezone_hour" | "timezone_h" => Unit::TimezoneHour,
        "timezone_minute" | "timezone_m" => Unit::TimezoneMinute,
        _ => return None,
    })
}

fn unknown_unit(name: &str, ty: &Type) -> Error {
    Error::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("unit \"{}\" not recognized for type {}", name.to_ascii_lowercase(), ty.bare_name()),
    )
}

fn unsupported_unit(name: &str, ty: &Type) -> Error {
    Error::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("unit \"{}\" not supported for type {}", name.to_ascii_lowercase(), ty.bare_name()),
    )
}

/// Digits behind the point that a field has.
fn scale_of(unit: Unit) -> i8 {
    match unit {
        Unit::Epoch | Unit::Second => 6,
        Unit::Milliseconds => 3,
        Unit::Julian => 20,
        _ => 0,
    }
}

/// Years count 1 BC as -1, decades by the year's first digits, centuries from 1.
fn year_field(unit: Unit, year: i64) -> i64 {
    let shown = if year <= 0 { year - 1 } else { year };
    match unit {
        Unit::Year => shown,
        Unit::Decade => year.div_euclid(10),
        Unit::Century if year > 0 => (year + 99) / 100,
        Unit::Century => -((99 - (year - 1)) / 100),
        _ if year > 0 => (year + 999) / 1000,
        _ => -((999 - (year - 1)) / 1000),
    }
}

/// A field of a local timestamp at the unit's scale; `None` where the type has no such field.
fn timestamp_field(unit: Unit, local: i64, offset: i64) -> Option<i128> {
    let (days, time) = split(local);
    let date = civil(days);
    Some(i128::from(match unit {
        Unit::Microseconds => time % MINUTE,
        Unit::Milliseconds => time % MINUTE,
        Unit::Second => time % MINUTE,
        Unit::Minute => time / MINUTE % 60,
        Unit::Hour => time / HOUR,
        Unit::Day => i64::from(date.day),
        Unit::Week => i64::from(iso_week(days).1),
        Unit::Month => i64::from(date.month),
        Unit::Quarter => i64::from((date.month - 1) / 3 + 1),
        Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium => year_field(unit, date.year.into()),
        Unit::Isoyear => {
            let year = i64::from(iso_week(days).0);
            if year <= 0 { year - 1 } else { year }
        }
        Unit::Epoch => return Some(i128::from(local) - i128::from(offset) * i128::from(SECOND)),
        Unit::Dow => i64::from(day_of_week(days)),
        Unit::Isodow => i64::from((day_of_week(days) + 6) % 7 + 1),
        Unit::Doy => i64::from(day_of_year(days)),
        Unit::Julian => {
            const ONE: i128 = 100_000_000_000_000_000_000;
            return Some(i128::from(days + 2_440_588) * ONE + numeric::div_round(i128::from(time) * ONE, DAY.into()));
        }
        Unit::Timezone => offset,
        Unit::TimezoneHour => offset / 3600,
        Unit::TimezoneMinute => offset / 60 % 60,
    }))
}

fn time_field(unit: Unit, time: i64) -> Option<i128> {
    match unit {
        Unit::Epoch => Some(time.into()),
        // 24:00 is a time of day, too.
        Unit::Hour => Some((time / HOUR).into()),
        Unit::Microseconds | Unit::Milliseconds | Unit::Second | Unit::Minute => timestamp_field(unit, time, 0),
        _ => None,
    }
}

fn interval_field(unit: Unit, value: &Interval) -> Option<i128> {
    let (months, time) = (i64::from(value.months), interval::micros(value));
    Some(i128::from(match unit {
        Unit::Microseconds | Unit::Milliseconds | Unit::Second => time % MINUTE,
        Unit::Minute => time / MINUTE % 60,
        Unit::Hour => time / HOUR,
        Unit::Day => i64::from(value.days),
        Unit::Month => months % 12,
        Unit::Quarter => months % 12 / 3 + 1,
        Unit::Year => months / 12,
        Unit::Decade => months / 120,
        Unit::Century => months / 1200,
        Unit::Millennium => months / 12_000,
        Unit::Epoch => {
            // A year counts 365.25 days, a month 30.
            let days = i128::from(months / 12) * 36_525 * 864 + i128::from(months % 12) * 30 * 86_400;
            return Some((days + i128::from(value.days) * 86_400) * i128::from(SECOND) + i128::from(time));
        }
        _ => return None,
    }))
}

/// What a field is.
enum Field {
    /// At the unit's scale.
    Value(i128),
    /// Of infinity, what grows with time.
    Endless { negative: bool },
}

/// One row's field: `Ok(None)` is NULL (a field of an infinite value that has none). To date_part, whose answer is a
/// float, a date is its midnight; extract knows no hours of it.
fn field_of(call: &Call, row: usize, unit: Unit, name: &str, zone: &Zone) -> Result<Option<Field>> {
    let (array, index, ty) = (&call.args[1].array, call.args[1].index(row), &call.types[1]);
    let endless = |negative: bool| match unit {
        Unit::Epoch | Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium | Unit::Isoyear | Unit::Julian => {
            Ok(Some(Field::Endless { negative }))
        }
        _ => Ok(None),
    };
    let at_midnight = *call.result == Type::Float8;
    let found = match ty {
        Type::Date => {
            let fine =
                matches!(unit, Unit::Microseconds | Unit::Milliseconds | Unit::Second | Unit::Minute | Unit::Hour);
            let of_zone = matches!(unit, Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute);
            if fine && !at_midnight || of_zone {
                return Err(unsupported_unit(name, if at_midnight { &Type::Timestamp } else { ty }));
            }
            let days = array.as_primitive::<Date32Type>().value(index);
            if matches!(days, i32::MAX | i32::MIN) {
                return endless(days < 0);
            }
            timestamp_field(unit, i64::from(days) * DAY, 0)
        }
        Type::Time => time_field(unit, array.as_primitive::<Time64MicrosecondType>().value(index)),
        Type::Interval => interval_field(unit, &array.as_primitive::<IntervalMonthDayNanoType>().value(index)),
        Type::Timestamp | Type::Timestamptz => {
            let micros = array.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(index);
            let infinite = matches!(micros, i64::MAX | i64::MIN);
            let zoned = *ty == Type::Timestamptz;
            if !zoned && matches!(unit, Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute) {
                return Err(unsupported_unit(name, ty));
            }
            if infinite {
                return endless(micros < 0);
            }
            let offset = if zoned { i64::from(zone.offset_at(micros)) } else { 0 };
            timestamp_field(unit, micros.saturating_add(offset * SECOND), offset)
        }
        other => return Err(Error::internal(format!("no field of {}", other.name()))),
    };
    found.map(|value| Some(Field::Value(value))).ok_or_else(|| unsupported_unit(name, ty))
}

/// Calls `put` with every row's field and its scale.
fn fields(call: &Call, mut put: impl FnMut(Option<(Field, i8)>) -> Result<()>) -> Result<()> {
    let names = call.args[0].cast::<StringArray>()?;
    let zone = zone_of(call)?;
    let units = Last::default();
    for row in 0..call.rows {
        let name = call.args[0].index(row);
        if names.is_null(name) || call.args[1].is_null(row) {
            put(None)?;
            continue;
        }
        let name = names.value(name);
        let unit = *units.get(name, |name| unit(name).ok_or_else(|| unknown_unit(name, &call.types[1])))?;
        put(field_of(call, row, unit, name, &zone)?.map(|value| (value, scale_of(unit))))?;
    }
    Ok(())
}

/// The field as a numeric, which has no infinity.
fn finite(field: Field) -> Result<i128> {
    match field {
        Field::Value(value) => Ok(value),
        Field::Endless { .. } => {
            Err(Error::unsupported("a field of infinity as numeric", "Leave infinite values out with isfinite()."))
        }
    }
}

fn extract(call: &Call) -> Result<ArrayRef> {
    match call.result {
        Type::Numeric(Numeric::Fixed { scale, .. }) => {
            let mut out = Fixed::builder(call.rows, call.result);
            fields(call, |value| {
                let value = value.map(|(field, from)| finite(field).map(|v| (v, from))).transpose()?;
                out.append_option(value.and_then(|(v, from)| numeric::rescale(v, from as u32, *scale as u32)));
                Ok(())
            })?;
            Ok(Fixed::finish(out))
        }
        _ => {
            let mut out = Free::builder(call.rows, call.result);
            fields(call, |value| {
                let wide = value
                    .map(|(field, from)| numeric::fit_free(Decimal::new(i256::from_i128(finite(field)?), from as u32)));
                out.append_option(wide.transpose()?);
                Ok(())
            })?;
            Ok(Free::finish(out))
        }
    }
}

fn date_part(call: &Call) -> Result<ArrayRef> {
    let mut out = f64::builder(call.rows, call.result);
    fields(call, |value| {
        out.append_option(value.map(|(field, scale)| match field {
            Field::Value(v) => v as f64 / 10f64.powi(scale.into()),
            Field::Endless { negative: true } => f64::NEG_INFINITY,
            Field::Endless { negative: false } => f64::INFINITY,
        }));
        Ok(())
    })?;
    Ok(f64::finish(out))
}

/// The result's scale is the field's, where the field is a constant.
fn build_extract(args: Vec<Typed>) -> Result<Typed> {
    let ty = match constant_text(&args[0].expr) {
        Some(name) => {
            let unit = unit(name).ok_or_else(|| unknown_unit(name, &args[1].ty))?;
            // A date has no parts of a day.
            let scale = if args[1].ty == Type::Date { 0 } else { scale_of(unit) };
            Type::fixed_numeric(if scale == 20 { 30 } else { 20 }, scale)
        }
        None => Type::NUMERIC,
    };
    Ok(with_zone("extract", args, ty, extract))
}

fn build_date_part(args: Vec<Typed>) -> Result<Typed> {
    if let Some(name) = constant_text(&args[0].expr) {
        unit(name).ok_or_else(|| unknown_unit(name, &args[1].ty))?;
    }
    Ok(with_zone("date_part", args, Type::Float8, date_part))
}

fn with_zone(name: &str, mut args: Vec<Typed>, ty: Type, kernel: super::kernel::Kernel) -> Typed {
    let zone = if args[1].ty == Type::Timestamptz { scope::time_zone() } else { "UTC".to_string() };
    args.push(text_literal(zone));
    kernel_call(name, args, ty, Volatility::Immutable, kernel)
}

/// A local time cut down to a unit; `None` where there is no such unit to cut to.
fn truncated(unit: Unit, local: i64) -> Option<Result<i64>> {
    let (days, time) = split(local);
    // Units up to the day need no calendar.
    let length = match unit {
        Unit::Microseconds => Some(1),
        Unit::Milliseconds => Some(1000),
        Unit::Second => Some(SECOND),
        Unit::Minute => Some(MINUTE),
        Unit::Hour => Some(HOUR),
        Unit::Day => Some(DAY),
        _ => None,
    };
    if let Some(length) = length {
        return Some(check_timestamp(i128::from(local) - i128::from(time % length)));
    }
    let date = civil(days);
    let year = i64::from(date.year);
    let first_of = |year: i64, month: u32| i128::from(days_of(year as i32, month, 1)) * i128::from(DAY);
    let day = i128::from(days) * i128::from(DAY);
    let micros = match unit {
        Unit::Week => day - i128::from((day_of_week(days) + 6) % 7) * i128::from(DAY),
        Unit::Month => first_of(year, date.month),
        Unit::Quarter => first_of(year, (date.month - 1) / 3 * 3 + 1),
        Unit::Year => first_of(year, 1),
        Unit::Decade => first_of(if year > 0 { year / 10 * 10 } else { -((8 - (year - 1)) / 10 * 10) }, 1),
        Unit::Century => {
            first_of(if year > 0 { (year + 99) / 100 * 100 - 99 } else { -((99 - (year - 1)) / 100 * 100) + 1 }, 1)
        }
        Unit::Millennium => first_of(
            if year > 0 { (year + 999) / 1000 * 1000 - 999 } else { -((999 - (year - 1)) / 1000 * 1000) + 1 },
            1,
        ),
        _ => return None,
    };
    Some(check_timestamp(micros))
}

fn unit_to_truncate(name: &str, ty: &Type) -> Result<Unit> {
    let found = unit(name).ok_or_else(|| unknown_unit(name, ty))?;
    truncated(found, 0).map(|_| found).ok_or_else(|| unknown_unit(name, ty))
}

fn truncate_in(unit: Unit, micros: i64, zone: &Zone) -> Result<i64> {
    if matches!(micros, i64::MAX | i64::MIN) {
        return Ok(micros);
    }
    let local = zone.to_local(micros);
    let cut = truncated(unit, local).unwrap_or(Ok(local))?;
    // Within a day the offset stays what it is, so that the second of two equal hours stays the second.
    let fine = matches!(unit, Unit::Microseconds | Unit::Milliseconds | Unit::Second | Unit::Minute | Unit::Hour);
    Ok(if fine { micros - (local - cut) } else { zone.to_instant(cut) })
}

fn date_trunc(call: &Call) -> Result<ArrayRef> {
    let units = Last::default();
    strict2(call, |name: &str, at: Timestamp| {
        let unit = units.get(name, |name| unit_to_truncate(name, &call.types[1]))?;
        truncate_in(*unit, at.0, &Zone::UTC).map(Timestamp)
    })
}

fn date_trunc_zoned(call: &Call) -> Result<ArrayRef> {
    let zone = zone_of(call)?;
    let units = Last::default();
    strict2(call, |name: &str, at: Timestamp| {
        let unit = units.get(name, |name| unit_to_truncate(name, &call.types[1]))?;
        truncate_in(*unit, at.0, &zone).map(Timestamp)
    })
}

fn date_trunc_in(call: &Call) -> Result<ArrayRef> {
    let (units, zones) = (Last::default(), Last::default());
    strict3(call, |name: &str, at: Timestamp, zone: &str| {
        let unit = units.get(name, |name| unit_to_truncate(name, &call.types[1]))?;
        truncate_in(*unit, at.0, &*zones.get(zone, Zone::parse)?).map(Timestamp)
    })
}

fn date_trunc_interval(call: &Call) -> Result<ArrayRef> {
    strict2(call, |name: &str, value: Interval| {
        let unit = unit(name).ok_or_else(|| unknown_unit(name, &Type::Interval))?;
        let (months, days, time) = (i64::from(value.months), i64::from(value.days), interval::micros(&value));
        let cut = |to: i64| interval::of_parts(months, days, time - time % to);
        let whole = |to: i64| interval::of_parts(months - months % to, 0, 0);
        match unit {
            Unit::Microseconds => Ok(value),
            Unit::Milliseconds => cut(1000),
            Unit::Second => cut(SECOND),
            Unit::Minute => cut(MINUTE),
            Unit::Hour => cut(HOUR),
            Unit::Day => interval::of_parts(months, days, 0),
            Unit::Month => whole(1),
            Unit::Quarter => whole(3),
            Unit::Year => whole(12),
            Unit::Decade => whole(120),
            Unit::Century => whole(1200),
            Unit::Millennium => whole(12_000),
            Unit::Week => {
                Err(unsupported_unit(name, &Type::Interval).with_detail("Months usually have fractional weeks."))
            }
            _ => Err(unsupported_unit(name, &Type::Interval)),
        }
    })
}

fn date_bin(call: &Call) -> Result<ArrayRef> {
    strict3(call, |stride: Interval, source: Timestamp, origin: Timestamp| {
        if stride.months != 0 {
            return Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "timestamps cannot be binned into intervals containing months or years",
            ));
        }
        if matches!(source.0, i64::MAX | i64::MIN) {
            return Ok(source);
        }
        if matches!(origin.0, i64::MAX | i64::MIN) {
            return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "origin out of range"));
        }
        let width = i128::from(stride.days) * i128::from(DAY) + i128::from(interval::micros(&stride));
        if width <= 0 {
            return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "stride must be greater than zero"));
        }
        let from_origin = i128::from(source.0) - i128::from(origin.0);
        check_timestamp(i128::from(origin.0) + from_origin.div_euclid(width) * width).map(Timestamp)
    })
}

const EXTRACT: &str = "A field of a date, time, timestamp or interval: year, month, epoch, ...";
const TRUNC: &str = "Cut down to a unit: hour, day, week, month, ...";
const BIN: &str = "The start of the bin of a given width that a timestamp falls into.";

pub const FUNCTIONS: &[Function] = &[
    built(6202, "extract", &[TEXT, TIMESTAMP], NUMERIC, build_extract, EXTRACT),
    built(6203, "extract", &[TEXT, TIMESTAMPTZ], NUMERIC, build_extract, EXTRACT).stable(),
    built(6199, "extract", &[TEXT, DATE], NUMERIC, build_extract, EXTRACT),
    built(6200, "extract", &[TEXT, TIME], NUMERIC, build_extract, EXTRACT),
    built(6204, "extract", &[TEXT, INTERVAL], NUMERIC, build_extract, EXTRACT),
    built(2021, "date_part", &[TEXT, TIMESTAMP], FLOAT8, build_date_part, EXTRACT),
    built(1171, "date_part", &[TEXT, TIMESTAMPTZ], FLOAT8, build_date_part, EXTRACT).stable(),
    built(1384, "date_part", &[TEXT, DATE], FLOAT8, build_date_part, EXTRACT),
    built(1385, "date_part", &[TEXT, TIME], FLOAT8, build_date_part, EXTRACT),
    built(1172, "date_part", &[TEXT, INTERVAL], FLOAT8, build_date_part, EXTRACT),
    immutable(2020, "date_trunc", &[TEXT, TIMESTAMP], TIMESTAMP, date_trunc, TRUNC),
    immutable(1217, "date_trunc", &[TEXT, TIMESTAMPTZ], TIMESTAMPTZ, date_trunc_zoned, TRUNC).zoned(),
    immutable(1284, "date_trunc", &[TEXT, TIMESTAMPTZ, TEXT], TIMESTAMPTZ, date_trunc_in, TRUNC),
    immutable(1218, "date_trunc", &[TEXT, INTERVAL], INTERVAL, date_trunc_interval, TRUNC),
    immutable(6177, "date_bin", &[INTERVAL, TIMESTAMP, TIMESTAMP], TIMESTAMP, date_bin, BIN),
    immutable(6178, "date_bin", &[INTERVAL, TIMESTAMPTZ, TIMESTAMPTZ], TIMESTAMPTZ, date_bin, BIN),
];
