//! Casts between types, with Postgres's rounding, range checks and errors.
//!
//! One kernel serves every pair: what it does follows from the call's two SQL types. The assignment form differs only
//! for `varchar(n)` and `char(n)`, where a text that is too long is an error instead of being cut.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, PrimitiveArray, StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type, i256,
};
use bytes::BytesMut;

use super::kernel::Call;
use crate::error::{Error, Result, SqlState};
use crate::types::builder::push_text;
use crate::types::datetime::{DAY, check_timestamp};
use crate::types::numeric::{self, Decimal, MAX_SCALE};
use crate::types::{Numeric, TextColumnBuilder, TextSettings, Type, Zone, builder, datetime, interval, json, text};

/// `CAST(x AS t)`. The second argument, where there is one, is the session's zone.
pub fn explicit(call: &Call) -> Result<ArrayRef> {
    run(call, true)
}

/// The cast of INSERT and UPDATE.
pub fn assignment(call: &Call) -> Result<ArrayRef> {
    run(call, false)
}

fn run(call: &Call, explicit: bool) -> Result<ArrayRef> {
    let zone = match call.constant_text(1)? {
        Some(zone) => Zone::parse(zone)?,
        None => Zone::UTC,
    };
    let array = cast(&call.args[0].array, &call.types[0], call.result, explicit, &zone)?;
    match call.args[0].constant && call.rows > 1 {
        true => super::kernel::Arg { array, constant: true }.expanded(call.rows),
        false => Ok(array),
    }
}

/// Whether values of the two types are the same bytes and compare alike, so that the cast is no operation.
pub fn is_relabel(from: &Type, to: &Type) -> bool {
    if from == to {
        return true;
    }
    let oid_like =
        |ty: &Type| matches!(ty, Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace);
    match (from, to) {
        (Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name | Type::SingleChar, Type::Text)
        | (Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name | Type::SingleChar, Type::Varchar(None)) => true,
        (Type::Unknown, Type::Text) | (Type::Text, Type::Unknown) => true,
        (Type::Varchar(Some(a)), Type::Varchar(Some(b))) => a <= b,
        (Type::Char(a), Type::Char(b)) => a <= b,
        (Type::Rounded(a, _), b) => is_relabel(a, b),
        (Type::Array(a), Type::Array(b)) => a.arrow() == b.arrow() && is_relabel(a, b),
        (Type::Struct(a), Type::Struct(b)) => {
            from.arrow() == to.arrow() && a.iter().zip(b).all(|(a, b)| is_relabel(&a.ty, &b.ty))
        }
        _ => oid_like(from) && oid_like(to),
    }
}

fn map<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    array: &ArrayRef,
    to: &Type,
    f: impl Fn(A::Native) -> Result<B::Native>,
) -> Result<ArrayRef> {
    let out: PrimitiveArray<B> = array.as_primitive::<A>().try_unary(f)?;
    Ok(Arc::new(out.with_data_type(to.arrow())))
}

/// "integer out of range".
pub fn out_of_range(ty: &Type) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{} out of range", ty.bare_name()))
}

/// Casts a column. `from` and `to` must be a pair that the registry knows.
pub fn cast(array: &ArrayRef, from: &Type, to: &Type, explicit: bool, zone: &Zone) -> Result<ArrayRef> {
    if is_relabel(from, to) {
        return Ok(array.clone());
    }
    match (from, to) {
        // The same bytes, but other ones are equal or greater.
        (Type::Jsonb, Type::Text) => Ok(array.clone()),
        (Type::Rounded(from, _), _) => cast(array, from, to, explicit, zone),
        (_, Type::Rounded(plain, digits)) => {
            let array = cast(array, from, plain, explicit, zone)?;
            match plain.as_ref() {
                Type::Time => map::<Time64MicrosecondType, Time64MicrosecondType>(&array, plain, |micros| {
                    Ok(datetime::round_time(micros, *digits))
                }),
                _ => map::<TimestampMicrosecondType, TimestampMicrosecondType>(&array, plain, |micros| {
                    datetime::round_timestamp(micros, *digits)
                }),
            }
        }
        (_, Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name | Type::SingleChar)
            if !matches!((from, to), (Type::Int4, Type::SingleChar)) =>
        {
            to_text(array, from, to, explicit, zone)
        }
        // The blanks that fill a char(n) are bytes, too.
        (Type::Char(n), Type::Bytea) if *n != Type::MAX_CHAR_LENGTH => {
            let values = array.as_string::<i32>().iter();
            let filled: StringArray =
                values.map(|value| value.map(|text| format!("{text:<n$}", n = *n as usize))).collect();
            from_text(&(Arc::new(filled) as ArrayRef), to, zone)
        }
        (Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name | Type::Unknown, _) => from_text(array, to, zone),
        (Type::Int2 | Type::Int4 | Type::Int8, _) => from_integer(array, from, to),
        (Type::Float4 | Type::Float8, _) => from_float(array, from, to),
        (Type::Numeric(numeric), _) => from_numeric(array, *numeric, to),
        (Type::Bool, Type::Int4) => {
            let values = array.as_boolean();
            let out: PrimitiveArray<Int32Type> = values.iter().map(|value| value.map(i32::from)).collect();
            Ok(Arc::new(out))
        }
        (Type::SingleChar, Type::Int4) => {
            let values = array.as_string::<i32>().iter();
            let byte = |text: &str| text.bytes().next().map_or(0, |byte| i32::from(byte as i8));
            Ok(Arc::new(values.map(|value| value.map(byte)).collect::<PrimitiveArray<Int32Type>>()))
        }
        (Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace, Type::Int4) => {
            map::<UInt32Type, Int32Type>(array, to, |value| Ok(value as i32))
        }
        (Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace, Type::Int8) => {
            map::<UInt32Type, Int64Type>(array, to, |value| Ok(i64::from(value)))
        }
        (Type::Jsonb, _) => from_jsonb(array, to),
        (Type::Array(a), Type::Array(b)) => {
            let list = array.as_list::<i32>();
            let values = cast(list.values(), a, b, explicit, zone)?;
            let field = Arc::new(Field::new_list_field(b.arrow(), true));
            Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?))
        }
        (Type::Struct(a), Type::Struct(b)) => {
            let array: &StructArray = array.as_struct();
            let columns = a
                .iter()
                .zip(b)
                .zip(array.columns())
                .map(|((a, b), column)| cast(column, &a.ty, &b.ty, explicit, zone))
                .collect::<Result<Vec<_>>>()?;
            let arrow::datatypes::DataType::Struct(fields) = to.arrow() else {
                return Err(Error::internal("a struct's Arrow type"));
            };
            let nulls = array.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields, columns, nulls, array.len())?))
        }
        _ => datetimes(array, from, to, zone),
    }
}

fn to_text(array: &ArrayRef, from: &Type, to: &Type, explicit: bool, zone: &Zone) -> Result<ArrayRef> {
    let mut out = StringBuilder::with_capacity(array.len(), array.len() * 16);
    let mut fitted = |value: &str| -> Result<()> {
        match to {
            Type::Text | Type::Varchar(None) => push_text(&mut out, Some(value)),
            Type::Varchar(Some(n)) if explicit => push_text(&mut out, Some(cut(value, *n as usize))),
            Type::Char(n) if explicit => push_text(&mut out, Some(cut(value, *n as usize).trim_end_matches(' '))),
            _ => push_text(&mut out, Some(&builder::fit_to(value, to)?)),
        }
    };
    // The nulls are put in afterwards: every row gets a value first.
    match from {
        Type::Bool => {
            // A cast to a string type spells it out; a name is what the type prints.
            let words = if *to == Type::Name { ["f", "t"] } else { ["false", "true"] };
            let values = array.as_boolean();
            for row in 0..values.len() {
                fitted(if values.is_null(row) { "" } else { words[usize::from(values.value(row))] })?;
            }
        }
        Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name | Type::SingleChar | Type::Jsonb | Type::Unknown => {
            let values = array.as_string::<i32>();
            for row in 0..values.len() {
                fitted(if values.is_null(row) { "" } else { values.value(row) })?;
            }
        }
        _ => {
            let print = text::printer(from, array, &TextSettings::in_zone(*zone))?;
            let mut scratch = BytesMut::new();
            for row in 0..array.len() {
                scratch.clear();
                if !array.is_null(row) {
                    print(row, &mut scratch);
                }
                fitted(std::str::from_utf8(&scratch).map_err(Error::internal)?)?;
            }
        }
    }
    let (offsets, values, _) = out.finish().into_parts();
    Ok(Arc::new(StringArray::try_new(offsets, values, array.logical_nulls())?))
}

/// The first `n` characters.
pub fn cut(text: &str, n: usize) -> &str {
    if text.len() <= n {
        return text;
    }
    text.char_indices().nth(n).map_or(text, |(end, _)| &text[..end])
}

fn from_text(array: &ArrayRef, to: &Type, zone: &Zone) -> Result<ArrayRef> {
    let values = array.as_string::<i32>();
    let mut out = TextColumnBuilder::new(to, &TextSettings::in_zone(*zone), values.len());
    for value in values {
        match value {
            Some(value) => out.append(value)?,
            None => out.append_null()?,
        }
    }
    out.finish()
}

fn from_integer(array: &ArrayRef, from: &Type, to: &Type) -> Result<ArrayRef> {
    macro_rules! over {
        ($arrow:ty) => {{
            match to {
                Type::Int2 => map::<$arrow, Int16Type>(array, to, |v| i16::try_from(v).map_err(|_| out_of_range(to))),
                Type::Int4 => map::<$arrow, Int32Type>(array, to, |v| i32::try_from(v).map_err(|_| out_of_range(to))),
                Type::Int8 => map::<$arrow, Int64Type>(array, to, |v| Ok(i64::from(v))),
                Type::Float4 => map::<$arrow, Float32Type>(array, to, |v| Ok(v as f32)),
                Type::Float8 => map::<$arrow, Float64Type>(array, to, |v| Ok(v as f64)),
                Type::Numeric(Numeric::Fixed { precision, scale }) => map::<$arrow, Decimal128Type>(array, to, |v| {
                    numeric::fit(Decimal::new(i256::from_i128(i128::from(v)), 0), *precision, *scale)
                }),
                Type::Numeric(Numeric::Free) => map::<$arrow, Decimal256Type>(array, to, |v| {
                    numeric::fit_free(Decimal::new(i256::from_i128(i128::from(v)), 0))
                }),
                Type::Bool => {
                    let values = array.as_primitive::<$arrow>();
                    let out = BooleanArray::from_unary(values, |value| value != 0);
                    Ok(Arc::new(out))
                }
                Type::SingleChar => {
                    let values = array.as_primitive::<$arrow>();
                    let mut out = StringBuilder::with_capacity(values.len(), values.len());
                    for value in values {
                        match value.map(|value| u8::try_from(i64::from(value) & 0xff).unwrap_or(0)) {
                            Some(0) => out.append_value(""),
                            Some(byte) => out.append_value(char::from(byte).to_string()),
                            None => out.append_null(),
                        }
                    }
                    Ok(Arc::new(out.finish()))
                }
                Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace => {
                    map::<$arrow, UInt32Type>(array, to, |v| {
                        let wide = i64::from(v);
                        match *from == Type::Int8 {
                            true => u32::try_from(wide)
                                .map_err(|_| Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "OID out of range")),
                            false => Ok(wide as u32),
                        }
                    })
                }
                _ => no_cast(from, to),
            }
        }};
    }
    match from {
        Type::Int2 => over!(Int16Type),
        Type::Int4 => over!(Int32Type),
        _ => over!(Int64Type),
    }
}

fn no_cast(from: &Type, to: &Type) -> Result<ArrayRef> {
    Err(Error::new(SqlState::CANNOT_COERCE, format!("cannot cast type {} to {}", from.bare_name(), to.bare_name())))
}

/// The nearest integer, ties to even, if it is in `[low, high)`.
fn round_to_integer(value: f64, low: f64, high: f64, to: &Type) -> Result<i64> {
    let rounded = value.round_ties_even();
    if rounded >= low && rounded < high { Ok(rounded as i64) } else { Err(out_of_range(to)) }
}

/// What Postgres makes a numeric of: 15 significant digits of a double, 6 of a real.
pub fn float_to_decimal(value: f64, digits: usize) -> Result<Decimal> {
    if !value.is_finite() {
        return Err(Error::unsupported(
            "numeric 'NaN' or 'Infinity'",
            "Numeric values are finite here; double precision has NaN and infinity.",
        ));
    }
    Ok(numeric::parse(&format!("{value:.*e}", digits - 1))?.trimmed())
}

fn from_float(array: &ArrayRef, from: &Type, to: &Type) -> Result<ArrayRef> {
    let digits = if *from == Type::Float4 { 6 } else { 15 };
    let wide: ArrayRef = match from {
        Type::Float4 => map::<Float32Type, Float64Type>(array, &Type::Float8, |value| Ok(f64::from(value)))?,
        _ => array.clone(),
    };
    match to {
        Type::Float8 => Ok(wide),
        Type::Float4 => map::<Float64Type, Float32Type>(array, to, |value| {
            let narrow = value as f32;
            if narrow.is_infinite() && value.is_finite() {
                return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
            }
            if narrow == 0.0 && value != 0.0 {
                return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
            }
            Ok(narrow)
        }),
        Type::Int2 => {
            map::<Float64Type, Int16Type>(&wide, to, |v| round_to_integer(v, -32768.0, 32768.0, to).map(|v| v as i16))
        }
        Type::Int4 => map::<Float64Type, Int32Type>(&wide, to, |v| {
            round_to_integer(v, -2147483648.0, 2147483648.0, to).map(|v| v as i32)
        }),
        Type::Int8 => map::<Float64Type, Int64Type>(&wide, to, |v| {
            round_to_integer(v, -9223372036854775808.0, 9223372036854775808.0, to)
        }),
        Type::Numeric(Numeric::Fixed { precision, scale }) => map::<Float64Type, Decimal128Type>(&wide, to, |v| {
            numeric::fit(float_to_decimal(v, digits)?, *precision, *scale)
        }),
        Type::Numeric(Numeric::Free) => {
            map::<Float64Type, Decimal256Type>(&wide, to, |v| numeric::fit_free(float_to_decimal(v, digits)?))
        }
        _ => no_cast(from, to),
    }
}

fn from_numeric(array: &ArrayRef, from: Numeric, to: &Type) -> Result<ArrayRef> {
    macro_rules! over {
        ($arrow:ty, $decimal:expr) => {{
            match to {
                Type::Numeric(Numeric::Fixed { precision, scale }) => {
                    map::<$arrow, Decimal128Type>(array, to, |v| numeric::fit($decimal(v), *precision, *scale))
                }
                Type::Numeric(Numeric::Free) => {
                    map::<$arrow, Decimal256Type>(array, to, |v| numeric::fit_free($decimal(v)))
                }
                Type::Int2 => map::<$arrow, Int16Type>(array, to, |v| whole($decimal(v), to)),
                Type::Int4 => map::<$arrow, Int32Type>(array, to, |v| whole($decimal(v), to)),
                Type::Int8 => map::<$arrow, Int64Type>(array, to, |v| whole($decimal(v), to)),
                Type::Float4 => map::<$arrow, Float32Type>(array, to, |v| {
                    let text = print($decimal(v));
                    text.parse::<f32>().map_err(Error::internal)
                }),
                Type::Float8 => map::<$arrow, Float64Type>(array, to, |v| Ok($decimal(v).to_f64())),
                _ => no_cast(&Type::Numeric(from), to),
            }
        }};
    }
    match from {
        Numeric::Fixed { scale: old, .. } => {
            // The common case, on 128 bits throughout.
            if let Type::Numeric(Numeric::Fixed { precision, scale }) = to {
                let bound = numeric::POWERS[*precision as usize];
                return map::<Decimal128Type, Decimal128Type>(array, to, |value| {
                    numeric::rescale(value, old as u32, *scale as u32)
                        .filter(|value| value.abs() < bound)
                        .ok_or_else(|| numeric::field_overflow(*precision, *scale))
                });
            }
            over!(Decimal128Type, |value: i128| Decimal::new(i256::from_i128(value), old as u32))
        }
        Numeric::Free => over!(Decimal256Type, |value: i256| Decimal::new(value, MAX_SCALE)),
    }
}

fn print(decimal: Decimal) -> String {
    let mut out = String::new();
    numeric::write_decimal(&mut out, decimal.unscaled, decimal.scale);
    out
}

/// A decimal rounded half away from zero to an integer type.
fn whole<T: TryFrom<i128>>(decimal: Decimal, to: &Type) -> Result<T> {
    decimal
        .rescale(0)
        .and_then(|value| value.to_i128())
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| out_of_range(to))
}

fn from_jsonb(array: &ArrayRef, to: &Type) -> Result<ArrayRef> {
    let values = array.as_string::<i32>();
    let wrong = |cursor: &json::Cursor| {
        let article = match cursor.type_name() {
            "string" | "null" | "boolean" => cursor.type_name().to_string(),
            "number" => "numeric".to_string(),
            other => other.to_string(),
        };
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("cannot cast jsonb {article} to type {}", to.bare_name()))
    };
    if *to == Type::Bool {
        let out = values.iter().map(|value| {
            value
                .map(|value| {
                    let cursor = json::Cursor::new(value);
                    match value {
                        "true" => Ok(true),
                        "false" => Ok(false),
                        _ => Err(wrong(&cursor)),
                    }
                })
                .transpose()
        });
        return Ok(Arc::new(out.collect::<Result<BooleanArray>>()?));
    }
    let mut numbers = TextColumnBuilder::new(&Type::NUMERIC, &TextSettings::default(), values.len());
    for value in values {
        match value {
            None => numbers.append_null()?,
            Some(value) => {
                let cursor = json::Cursor::new(value);
                if cursor.type_name() != "number" {
                    return Err(wrong(&cursor));
                }
                numbers.append(value)?;
            }
        }
    }
    let numbers = numbers.finish()?;
    if *to == Type::NUMERIC { Ok(numbers) } else { from_numeric(&numbers, Numeric::Free, to) }
}

fn date_to_timestamp(days: i32) -> Result<i64> {
    match days {
        i32::MAX => Ok(i64::MAX),
        i32::MIN => Ok(i64::MIN),
        days => check_timestamp(i128::from(days) * i128::from(DAY))
            .map_err(|_| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")),
    }
}

fn timestamp_to_date(micros: i64) -> i32 {
    match micros {
        i64::MAX => i32::MAX,
        i64::MIN => i32::MIN,
        micros => micros.div_euclid(DAY) as i32,
    }
}

fn datetimes(array: &ArrayRef, from: &Type, to: &Type, zone: &Zone) -> Result<ArrayRef> {
    type Ts = TimestampMicrosecondType;
    let strip = |array: &ArrayRef| -> ArrayRef {
        Arc::new(array.as_primitive::<Ts>().clone().with_data_type(Type::Timestamp.arrow()))
    };
    match (from, to) {
        (Type::Date, Type::Timestamp) => map::<Date32Type, Ts>(array, to, date_to_timestamp),
        (Type::Date, Type::Timestamptz) => {
            map::<Date32Type, Ts>(array, to, |days| date_to_timestamp(days).map(|local| zone.to_instant(local)))
        }
        (Type::Timestamp, Type::Date) => map::<Ts, Date32Type>(array, to, |micros| Ok(timestamp_to_date(micros))),
        (Type::Timestamptz, Type::Date) => {
            map::<Ts, Date32Type>(array, to, |micros| Ok(timestamp_to_date(zone.to_local(micros))))
        }
        (Type::Timestamp, Type::Timestamptz) => map::<Ts, Ts>(array, to, |local| Ok(zone.to_instant(local))),
        (Type::Timestamptz, Type::Timestamp) => map::<Ts, Ts>(&strip(array), to, |instant| Ok(zone.to_local(instant))),
        // An infinite timestamp has no time of day.
        (Type::Timestamp | Type::Timestamptz, Type::Time) => {
            let local = |micros: i64| if *from == Type::Timestamp { micros } else { zone.to_local(micros) };
            let finite = |micros: &i64| !matches!(*micros, i64::MAX | i64::MIN);
            let values = array.as_primitive::<Ts>().iter();
            let times = values.map(|value| value.filter(finite).map(|micros| datetime::split(local(micros)).1));
            Ok(Arc::new(times.collect::<PrimitiveArray<Time64MicrosecondType>>()))
        }
        (Type::Time, Type::Interval) => map::<Time64MicrosecondType, IntervalMonthDayNanoType>(array, to, |micros| {
            Ok(IntervalMonthDayNano::new(0, 0, micros * 1000))
        }),
        (Type::Interval, Type::Time) => map::<IntervalMonthDayNanoType, Time64MicrosecondType>(array, to, |value| {
            Ok(interval::micros(&value).rem_euclid(DAY))
        }),
        _ => no_cast(from, to),
    }
}
