//! Text output of every type, as Postgres prints it; and the way back for single values.
//!
//! A [`Printer`] is a closure over one column: types and arrays are looked at once, rows are then printed without
//! dispatch. The vectorised way back is [`super::builder::TextColumnBuilder`].

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use bytes::{BufMut, BytesMut};
use datafusion::common::ScalarValue;

use super::builder::TextColumnBuilder;
use super::datetime_input::Clock;
use super::{Numeric, Type, datetime, float, hex, interval, numeric, pg_type, zone::Zone};
use crate::error::{Error, Result};

/// What text forms depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct TextSettings {
    /// Zone that timestamptz is shown in, and read in where the text names none.
    pub zone: Zone,
    /// What `now` and `today` mean in a literal, microseconds since 1970 UTC; `None`: they are errors.
    pub now: Option<i64>,
}

impl Default for TextSettings {
    fn default() -> TextSettings {
        TextSettings { zone: Zone::UTC, now: None }
    }
}

impl TextSettings {
    pub fn in_zone(zone: Zone) -> TextSettings {
        TextSettings { zone, now: None }
    }

    pub fn clock(&self) -> Clock {
        Clock { zone: self.zone, now: self.now }
    }
}

/// Appends the text of a row that is not NULL.
pub type Printer = Box<dyn Fn(usize, &mut BytesMut) + Send + Sync>;

/// The printer of a column of this type. The array must be of the type's Arrow form.
pub fn printer(ty: &Type, array: &ArrayRef, settings: &TextSettings) -> Result<Printer> {
    if array.data_type() != &ty.arrow() {
        return Err(Error::internal(format!("a column of {} is {}", ty.name(), array.data_type())));
    }
    macro_rules! over {
        ($arrow:ty, $print:expr) => {{
            let array = array.as_primitive::<$arrow>().clone();
            Box::new(move |row, out: &mut BytesMut| $print(out, array.value(row)))
        }};
    }
    Ok(match ty {
        Type::Bool => {
            let array = array.as_boolean().clone();
            Box::new(move |row, out| out.put_u8(if array.value(row) { b't' } else { b'f' }))
        }
        Type::Int2 => over!(Int16Type, |out: &mut BytesMut, value| write_integer(out, i64::from(value))),
        Type::Int4 => over!(Int32Type, |out: &mut BytesMut, value| write_integer(out, i64::from(value))),
        Type::Int8 => over!(Int64Type, write_integer),
        Type::Float4 => over!(Float32Type, float::write_f32),
        Type::Float8 => over!(Float64Type, float::write_f64),
        Type::Numeric(Numeric::Fixed { scale, .. }) => {
            let scale = *scale as u32;
            over!(Decimal128Type, move |out: &mut BytesMut, value| numeric::write_fixed(out, value, scale))
        }
        Type::Numeric(Numeric::Free) => over!(Decimal256Type, numeric::write_free),
        Type::Char(n) if *n != Type::MAX_CHAR_LENGTH => {
            let (array, n) = (array.as_string::<i32>().clone(), *n as usize);
            Box::new(move |row, out| {
                let value = array.value(row);
                out.put_slice(value.as_bytes());
                out.put_bytes(b' ', n.saturating_sub(value.chars().count()));
            })
        }
        Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Jsonb | Type::Name | Type::SingleChar | Type::Unknown => {
            let array = array.as_string::<i32>().clone();
            Box::new(move |row, out| out.put_slice(array.value(row).as_bytes()))
        }
        Type::Bytea => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row, out| write_bytea(out, array.value(row)))
        }
        Type::Date => over!(Date32Type, datetime::write_date),
        Type::Time => over!(Time64MicrosecondType, datetime::write_time),
        Type::Timestamp => {
            over!(TimestampMicrosecondType, |out: &mut BytesMut, value| datetime::write_timestamp(out, value, ' '))
        }
        Type::Timestamptz => {
            let zone = settings.zone;
            over!(TimestampMicrosecondType, move |out: &mut BytesMut, value| {
                datetime::write_timestamptz(out, value, &zone, ' ')
            })
        }
        Type::Rounded(ty, _) => printer(ty, array, settings)?,
        Type::Interval => {
            over!(IntervalMonthDayNanoType, |out: &mut BytesMut, value| { interval::write_interval(out, &value) })
        }
        Type::Uuid => {
            let array = array.as_fixed_size_binary().clone();
            Box::new(move |row, out| write_uuid(out, array.value(row)))
        }
        Type::Regtype => over!(UInt32Type, |out: &mut BytesMut, value| write_regtype(out, value)),
        Type::Oid | Type::Regclass | Type::Regproc | Type::Regnamespace => {
            over!(UInt32Type, |out: &mut BytesMut, value| write_integer(out, i64::from(value)))
        }
        Type::Array(item) => array_printer(item, array, settings)?,
        Type::Struct(fields) => {
            let array: &StructArray = array.as_struct();
            let columns = fields
                .iter()
                .zip(array.columns())
                .map(|(field, column)| Ok((column.clone(), printer(&field.ty, column, settings)?)))
                .collect::<Result<Vec<_>>>()?;
            Box::new(move |row, out| write_record(out, row, &columns))
        }
    })
}

fn write_integer(out: &mut BytesMut, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.put_slice(&digits[at..]);
}

fn write_bytea(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(2 + 2 * bytes.len());
    out.put_slice(b"\\x");
    hex::write(out, bytes);
}

fn write_uuid(out: &mut BytesMut, bytes: &[u8]) {
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (n, byte) in bytes.iter().enumerate().take(16) {
        if matches!(n, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at..at + 2].copy_from_slice(&hex::digits(*byte));
        at += 2;
    }
    out.put_slice(&text);
}

fn write_regtype(out: &mut BytesMut, oid: u32) {
    let name = pg_type::display(oid);
    if oid == 0 {
        out.put_u8(b'-');
    } else if name == "???" {
        write_integer(out, i64::from(oid));
    } else {
        out.put_slice(name.as_bytes());
    }
}

fn array_printer(item: &Type, array: &ArrayRef, settings: &TextSettings) -> Result<Printer> {
    let list = array.as_list::<i32>().clone();
    let values = list.values().clone();
    let print = printer(item, &values, settings)?;
    // Numbers and the like never need quotes; a date does before Christ.
    let plain = matches!(item.category(), 'N' | 'B') && !item.oid_is_reg()
        || matches!(item, Type::Time | Type::Uuid | Type::Array(_));
    Ok(Box::new(move |row, out| {
        let offsets = list.value_offsets();
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        let mut scratch = BytesMut::new();
        out.put_u8(b'{');
        for index in start..end {
            if index > start {
                out.put_u8(b',');
            }
            if values.is_null(index) {
                out.put_slice(b"NULL");
            } else if plain {
                print(index, out);
            } else {
                scratch.clear();
                print(index, &mut scratch);
                write_array_element(out, &scratch);
            }
        }
        out.put_u8(b'}');
    }))
}

impl Type {
    fn oid_is_reg(&self) -> bool {
        matches!(self, Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace)
    }
}

fn write_array_element(out: &mut BytesMut, text: &[u8]) {
    let special = |c: &u8| matches!(c, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0xb | 0xc);
    if !text.is_empty() && !text.iter().any(special) && !text.eq_ignore_ascii_case(b"null") {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for &c in text {
        if matches!(c, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(c);
    }
    out.put_u8(b'"');
}

fn write_record(out: &mut BytesMut, row: usize, columns: &[(ArrayRef, Printer)]) {
    let mut scratch = BytesMut::new();
    out.put_u8(b'(');
    for (n, (column, print)) in columns.iter().enumerate() {
        if n > 0 {
            out.put_u8(b',');
        }
        if column.is_null(row) {
            continue;
        }
        scratch.clear();
        print(row, &mut scratch);
        let special =
            |c: &u8| matches!(c, b'"' | b'\\' | b'(' | b')' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0xb | 0xc);
        if !scratch.is_empty() && !scratch.iter().any(special) {
            out.put_slice(&scratch);
            continue;
        }
        out.put_u8(b'"');
        for &c in scratch.iter() {
            if matches!(c, b'"' | b'\\') {
                out.put_u8(c);
            }
            out.put_u8(c);
        }
        out.put_u8(b'"');
    }
    out.put_u8(b')');
}

/// Reads one value. Errors as the type's input function raises them in Postgres (22P02, 22007, 22008, 22003, 22001).
pub fn parse_scalar(ty: &Type, text: &str, settings: &TextSettings) -> Result<ScalarValue> {
    let mut builder = TextColumnBuilder::new(ty, settings, 1);
    builder.append(text)?;
    Ok(ScalarValue::try_from_array(&builder.finish()?, 0)?)
}

/// Prints one value; `None` for NULL. For error messages, EXPLAIN and defaults, not for columns.
pub fn print_scalar(ty: &Type, value: &ScalarValue, settings: &TextSettings) -> Result<Option<String>> {
    if value.is_null() {
        return Ok(None);
    }
    let array = value.to_array()?;
    let mut out = BytesMut::new();
    printer(ty, &array, settings)?(0, &mut out);
    let mut text = String::with_capacity(out.len());
    let _ = text.write_str(&String::from_utf8_lossy(&out));
    Ok(Some(text))
}
