//! Postgres's binary wire format of every type: big-endian, dates and times counted from 2000.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Decimal256Type, Field, Fields, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    UInt32Type, i256,
};
use bytes::{BufMut, BytesMut};
use datafusion::common::ScalarValue;

use super::datetime::{POSTGRES_EPOCH, POSTGRES_EPOCH_DAYS, check_date, check_timestamp};
use super::numeric::{self, Decimal, MAX_SCALE};
use super::text::Printer;
use super::{FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE, Numeric, Type, interval, json, pg_type};
use crate::error::{Error, Result, SqlState};

/// The binary printer of a column: appends the value of a row that is not NULL, without its length.
pub fn printer(ty: &Type, array: &ArrayRef) -> Result<Printer> {
    if array.data_type() != &ty.arrow() {
        return Err(Error::internal(format!("a column of {} is {}", ty.name(), array.data_type())));
    }
    macro_rules! over {
        ($arrow:ty, $put:expr) => {{
            let array = array.as_primitive::<$arrow>().clone();
            Box::new(move |row, out: &mut BytesMut| $put(out, array.value(row)))
        }};
    }
    Ok(match ty {
        Type::Bool => {
            let array = array.as_boolean().clone();
            Box::new(move |row, out| out.put_u8(u8::from(array.value(row))))
        }
        Type::Int2 => over!(Int16Type, |out: &mut BytesMut, value| out.put_i16(value)),
        Type::Int4 => over!(Int32Type, |out: &mut BytesMut, value| out.put_i32(value)),
        Type::Int8 => over!(Int64Type, |out: &mut BytesMut, value| out.put_i64(value)),
        Type::Float4 => over!(Float32Type, |out: &mut BytesMut, value| out.put_f32(value)),
        Type::Float8 => over!(Float64Type, |out: &mut BytesMut, value| out.put_f64(value)),
        Type::Numeric(Numeric::Fixed { scale, .. }) => {
            let scale = *scale as u32;
            over!(Decimal128Type, move |out: &mut BytesMut, value| {
                numeric::to_binary(out, Decimal::new(i256::from_i128(value), scale))
            })
        }
        Type::Numeric(Numeric::Free) => over!(Decimal256Type, |out: &mut BytesMut, value| {
            numeric::to_binary(out, Decimal::new(value, MAX_SCALE).trimmed())
        }),
        Type::Char(_) => super::text::printer(ty, array, &Default::default())?,
        Type::Text | Type::Varchar(_) | Type::Name | Type::SingleChar | Type::Unknown => {
            let array = array.as_string::<i32>().clone();
            Box::new(move |row, out| out.put_slice(array.value(row).as_bytes()))
        }
        Type::Jsonb => {
            let array = array.as_string::<i32>().clone();
            Box::new(move |row, out| {
                out.put_u8(1);
                out.put_slice(array.value(row).as_bytes());
            })
        }
        Type::Bytea => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row, out| out.put_slice(array.value(row)))
        }
        Type::Date => over!(Date32Type, |out: &mut BytesMut, value: i32| {
            out.put_i32(if matches!(value, i32::MAX | i32::MIN) { value } else { value - POSTGRES_EPOCH_DAYS })
        }),
        Type::Time => over!(Time64MicrosecondType, |out: &mut BytesMut, value| out.put_i64(value)),
        Type::Timestamp | Type::Timestamptz => over!(TimestampMicrosecondType, |out: &mut BytesMut, value: i64| {
            out.put_i64(if matches!(value, i64::MAX | i64::MIN) { value } else { value - POSTGRES_EPOCH })
        }),
        Type::Rounded(ty, _) => printer(ty, array)?,
        Type::Interval => over!(IntervalMonthDayNanoType, |out: &mut BytesMut, value: IntervalMonthDayNano| {
            out.put_i64(interval::micros(&value));
            out.put_i32(value.days);
            out.put_i32(value.months);
        }),
        Type::Uuid => {
            let array = array.as_fixed_size_binary().clone();
            Box::new(move |row, out| out.put_slice(array.value(row)))
        }
        Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace => {
            over!(UInt32Type, |out: &mut BytesMut, value| out.put_u32(value))
        }
        Type::Array(item) => {
            let list = array.as_list::<i32>().clone();
            let values = list.values().clone();
            let print = printer(item, &values)?;
            let element = item.oid();
            Box::new(move |row, out| {
                let offsets = list.value_offsets();
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                let has_null = (start..end).any(|index| values.is_null(index));
                out.put_i32(i32::from(end > start));
                out.put_i32(i32::from(has_null));
                out.put_u32(element);
                if end > start {
                    out.put_i32((end - start) as i32);
                    out.put_i32(1);
                }
                (start..end).for_each(|index| put_sized(out, values.is_null(index), |out| print(index, out)));
            })
        }
        Type::Struct(fields) => {
            let array: &StructArray = array.as_struct();
            let columns = fields
                .iter()
                .zip(array.columns())
                .map(|(field, column)| Ok((field.ty.oid(), column.clone(), printer(&field.ty, column)?)))
                .collect::<Result<Vec<_>>>()?;
            Box::new(move |row, out| {
                out.put_i32(columns.len() as i32);
                for (oid, column, print) in &columns {
                    out.put_u32(*oid);
                    put_sized(out, column.is_null(row), |out| print(row, out));
                }
            })
        }
    })
}

/// Length and value; -1 for NULL.
fn put_sized(out: &mut BytesMut, null: bool, put: impl FnOnce(&mut BytesMut)) {
    if null {
        out.put_i32(-1);
        return;
    }
    let start = out.len();
    out.put_i32(0);
    put(out);
    let len = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn malformed(ty: &Type) -> Error {
    Error::new(
        SqlState::INVALID_BINARY_REPRESENTATION,
        format!("incorrect binary data format for type {}", ty.bare_name()),
    )
}

/// 42804 unless what was sent says that it is of this type. json comes as jsonb does.
fn check_type(sent: i32, expected: &Type, where_it_is: impl FnOnce() -> String) -> Result<()> {
    let (sent, wanted) = (sent as u32, expected.oid());
    if sent == wanted || (sent == pg_type::oid::JSON && wanted == pg_type::oid::JSONB) {
        return Ok(());
    }
    let name = pg_type::display;
    let message = format!(
        "binary data has {} {sent} ({}) instead of expected {wanted} ({})",
        where_it_is(),
        name(sent),
        name(wanted)
    );
    Err(Error::new(SqlState::DATATYPE_MISMATCH, message))
}

struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    /// Fails when bytes are left over.
    fn end(&self, ty: &Type) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed(ty)) }
    }

    /// A value with its length before it; `None` inside is NULL.
    fn sized(&mut self) -> Option<Option<&'a [u8]>> {
        let len = self.i32()?;
        if len < 0 {
            return Some(None);
        }
        let (head, rest) = self.rest.split_at_checked(len as usize)?;
        self.rest = rest;
        Some(Some(head))
    }
}

/// Reads one value sent in binary. Errors: 22P03 for malformed bytes, 42804 for elements and fields of another type, 22021 for text that
/// is no UTF-8, and those of the value's type.
pub fn parse_scalar(ty: &Type, bytes: &[u8]) -> Result<ScalarValue> {
    let fixed = || malformed(ty);
    macro_rules! number {
        ($ty:ty) => {
            <$ty>::from_be_bytes(bytes.try_into().map_err(|_| fixed())?)
        };
    }
    Ok(match ty {
        Type::Bool => ScalarValue::Boolean(Some(match bytes {
            [value] => *value != 0,
            _ => return Err(fixed()),
        })),
        Type::Int2 => ScalarValue::Int16(Some(number!(i16))),
        Type::Int4 => ScalarValue::Int32(Some(number!(i32))),
        Type::Int8 => ScalarValue::Int64(Some(number!(i64))),
        Type::Float4 => ScalarValue::Float32(Some(number!(f32))),
        Type::Float8 => ScalarValue::Float64(Some(number!(f64))),
        Type::Numeric(Numeric::Fixed { precision, scale }) => {
            let value = numeric::fit(numeric::from_binary(bytes)?, *precision, *scale)?;
            ScalarValue::Decimal128(Some(value), *precision, *scale)
        }
        Type::Numeric(Numeric::Free) => {
            let value = numeric::fit_free(numeric::from_binary(bytes)?)?;
            ScalarValue::Decimal256(Some(value), FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE)
        }
        Type::Text | Type::Unknown => ScalarValue::Utf8(Some(utf8(bytes)?.to_string())),
        Type::Varchar(_) | Type::Char(_) | Type::Name | Type::SingleChar => {
            ScalarValue::Utf8(Some(super::builder::fit_to(utf8(bytes)?, ty)?))
        }
        Type::Jsonb => match bytes.split_first() {
            Some((1, text)) => ScalarValue::Utf8(Some(json::canonical(utf8(text)?)?)),
            // json's binary form is its text.
            Some(_) => ScalarValue::Utf8(Some(json::canonical(utf8(bytes)?)?)),
            None => return Err(fixed()),
        },
        Type::Bytea => ScalarValue::Binary(Some(bytes.to_vec())),
        Type::Date => {
            let days = number!(i32);
            let infinite = matches!(days, i32::MAX | i32::MIN);
            let days = if infinite { days } else { check_date(i64::from(days) + i64::from(POSTGRES_EPOCH_DAYS))? };
            ScalarValue::Date32(Some(days))
        }
        Type::Time => {
            let micros = number!(i64);
            if !(0..=super::datetime::DAY).contains(&micros) {
                return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "time out of range"));
            }
            ScalarValue::Time64Microsecond(Some(micros))
        }
        Type::Timestamp | Type::Timestamptz => {
            let micros = number!(i64);
            let value = match micros {
                i64::MAX | i64::MIN => micros,
                other => check_timestamp(i128::from(other) + i128::from(POSTGRES_EPOCH))?,
            };
            let zone = (*ty == Type::Timestamptz).then(|| "UTC".into());
            ScalarValue::TimestampMicrosecond(Some(value), zone)
        }
        Type::Rounded(plain, digits) => match parse_scalar(plain, bytes)? {
            ScalarValue::Time64Microsecond(Some(value)) => {
                ScalarValue::Time64Microsecond(Some(super::datetime::round_time(value, *digits)))
            }
            ScalarValue::TimestampMicrosecond(Some(value), zone) => {
                ScalarValue::TimestampMicrosecond(Some(super::datetime::round_timestamp(value, *digits)?), zone)
            }
            other => other,
        },
        Type::Interval => {
            let mut bytes = Bytes { rest: bytes };
            let micros = bytes.take().map(i64::from_be_bytes).ok_or_else(fixed)?;
            let (days, months) = (bytes.i32().ok_or_else(fixed)?, bytes.i32().ok_or_else(fixed)?);
            bytes.end(ty)?;
            let value = interval::of_parts(i64::from(months), i64::from(days), micros)?;
            ScalarValue::IntervalMonthDayNano(Some(value))
        }
        Type::Uuid => {
            if bytes.len() != 16 {
                return Err(fixed());
            }
            ScalarValue::FixedSizeBinary(16, Some(bytes.to_vec()))
        }
        Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace => {
            ScalarValue::UInt32(Some(number!(u32)))
        }
        Type::Array(item) => parse_array(ty, item, bytes)?,
        Type::Struct(fields) => {
            let mut bytes = Bytes { rest: bytes };
            if bytes.i32() != Some(fields.len() as i32) {
                return Err(fixed());
            }
            let mut columns = Vec::with_capacity(fields.len());
            for (number, field) in fields.iter().enumerate() {
                let sent = bytes.i32().ok_or_else(fixed)?;
                check_type(sent, &field.ty, || format!("in record column {} type", number + 1))?;
                let value = match bytes.sized().ok_or_else(fixed)? {
                    Some(value) => parse_scalar(&field.ty, value)?,
                    None => ScalarValue::try_from(&field.ty.arrow())?,
                };
                columns.push(value.to_array()?);
            }
            bytes.end(ty)?;
            let names: Fields = fields.iter().map(|field| Field::new(&field.name, field.ty.arrow(), true)).collect();
            ScalarValue::Struct(Arc::new(StructArray::try_new_with_length(names, columns, None, 1)?))
        }
    })
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    let invalid = || Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"");
    let text = std::str::from_utf8(bytes).map_err(|_| invalid())?;
    if bytes.contains(&0) {
        return Err(Error::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(text)
}

fn parse_array(ty: &Type, item: &Type, bytes: &[u8]) -> Result<ScalarValue> {
    let fixed = || malformed(ty);
    let mut bytes = Bytes { rest: bytes };
    let dimensions = bytes.i32().ok_or_else(fixed)?;
    let (flags, element) = (bytes.i32().ok_or_else(fixed)?, bytes.i32().ok_or_else(fixed)?);
    if !matches!(flags, 0 | 1) {
        return Err(Error::new(SqlState::INVALID_BINARY_REPRESENTATION, "invalid array flags"));
    }
    check_type(element, item, || "array element type".to_string())?;
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = bytes.i32().ok_or_else(fixed)?;
            let _lower = bytes.i32().ok_or_else(fixed)?;
            count
        }
        _ => return Err(Error::unsupported("an array of more than one dimension", "Use jsonb for nested arrays.")),
    };
    // Each element takes four bytes at least.
    if count < 0 || count as usize > bytes.rest.len() / 4 {
        return Err(fixed());
    }
    let mut values = Vec::with_capacity(count as usize);
    for _ in 0..count {
        values.push(match bytes.sized().ok_or_else(fixed)? {
            Some(value) => parse_scalar(item, value)?,
            None => ScalarValue::try_from(&item.arrow())?,
        });
    }
    bytes.end(ty)?;
    let values = if values.is_empty() { new_empty_array(&item.arrow()) } else { ScalarValue::iter_to_array(values)? };
    let field = Arc::new(Field::new_list_field(item.arrow(), true));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let list = ListArray::try_new(field, offsets, values, Some(NullBuffer::new_valid(1)))?;
    Ok(ScalarValue::List(Arc::new(list)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::text::{TextSettings, parse_scalar as from_text, print_scalar};

    /// What `*send` of a real server gives, in hex.
    #[test]
    fn answers_of_a_real_server_round_trip() {
        let ints = Type::Array(Box::new(Type::Int4));
        let cases = [
            (Type::Bool, "t", "01"),
            (Type::Int4, "-2", "fffffffe"),
            (Type::Float8, "1.5", "3ff8000000000000"),
            (Type::Date, "2000-01-02", "00000001"),
            (Type::Time, "00:00:01", "00000000000f4240"),
            (Type::Timestamp, "2000-01-01 00:00:01", "00000000000f4240"),
            (Type::Timestamptz, "infinity", "7fffffffffffffff"),
            (Type::Interval, "1 mon 2 days 00:00:03", "00000000002dc6c00000000200000001"),
            (Type::Jsonb, "[1]", "015b315d"),
            (Type::NUMERIC, "-1.5", "00020000400000010001 1388"),
            (ints.clone(), "{1,NULL}", "000000010000000100000017000000020000000100000004 00000001ffffffff"),
            (ints, "{}", "000000000000000000000017"),
        ];
        for (ty, text, hex) in cases {
            let settings = TextSettings::default();
            let array = from_text(&ty, text, &settings).unwrap().to_array().unwrap();
            let mut out = BytesMut::new();
            printer(&ty, &array).unwrap()(0, &mut out);
            let actual: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(actual, hex.replace(' ', ""), "{text}");
            let back = parse_scalar(&ty, &out).unwrap();
            assert_eq!(print_scalar(&ty, &back, &settings), Ok(Some(text.to_string())));
        }
    }

    #[test]
    fn short_bytes_are_an_error() {
        for ty in [Type::Int4, Type::Interval, Type::Uuid, Type::Array(Box::new(Type::Int4)), Type::NUMERIC] {
            let error = parse_scalar(&ty, &[0, 0, 0]).unwrap_err();
            assert_eq!(error.state(), SqlState::INVALID_BINARY_REPRESENTATION, "{}", ty.name());
        }
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits = hex.replace(' ', "");
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn elements_say_their_type_and_nothing_is_left_over() {
        let ints = Type::Array(Box::new(Type::Int8));
        let pair = Type::Struct(vec![
            crate::types::StructField { name: "a".into(), ty: Type::Int4 },
            crate::types::StructField { name: "b".into(), ty: Type::Text },
        ]);
        let long = Type::Interval;
        let cases = [
            // float8[] for bigint[]: the bytes would fit.
            (&ints, "00000001 00000000 000002bd 00000001 00000001 00000008 3ff0000000000000", "42804"),
            (&ints, "00000000 00000000 000002bd", "42804"),
            (&ints, "00000001 00000000 00000014 00000001 00000001 00000008 0000000000000001", ""),
            (&ints, "00000001 00000000 00000014 00000001 00000001 00000008 0000000000000001 00", "22P03"),
            (&ints, "00000001 00000002 00000014 00000001 00000001 00000008 0000000000000001", "22P03"),
            (&ints, "00000000 00000000 00000014 00", "22P03"),
            (&pair, "00000002 00000017 00000004 00000001 00000019 00000001 78", ""),
            (&pair, "00000002 00000017 00000004 00000001 00000019 00000001 78 00", "22P03"),
            (&pair, "00000002 00000017 00000004 00000001 00000011 00000001 78", "42804"),
            (&long, "0000000000000000 00000000 00000001", ""),
            (&long, "0000000000000000 00000000 00000001 00", "22P03"),
            // The day after the last, and the one before the first.
            (&Type::Date, "7fda95a0", "22008"),
            (&Type::Date, "ffda97a6", "22008"),
            (&Type::Date, "ffda97a7", ""),
            (&Type::Date, "7fffffff", ""),
        ];
        for (ty, hex, state) in cases {
            let found = parse_scalar(ty, &bytes_of(hex)).map_or_else(|error| error.state().0, |_| "");
            assert_eq!(found, state, "{} {hex}", ty.name());
        }
        let error = parse_scalar(&ints, &bytes_of(cases[0].1)).unwrap_err();
        assert_eq!(
            error.message(),
            "binary data has array element type 701 (double precision) instead of expected 20 (bigint)"
        );
        // json[] is read as jsonb[].
        let json = Type::Array(Box::new(Type::Jsonb));
        let sent = bytes_of("00000001 00000000 00000072 00000001 00000001 00000001 31");
        assert!(parse_scalar(&json, &sent).is_ok());
    }
}
