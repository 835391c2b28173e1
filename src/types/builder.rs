//! Columns from text: COPY, CSV, literals, text parameters, casts from text.

#[cfg(test)]
use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, ListArray, StringBuilder, StructArray, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, UInt32Builder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};

use super::datetime;
use super::datetime_input::{Clock, parse_date, parse_time, parse_timestamp, parse_timestamptz};
use super::text::TextSettings;
use super::{
    FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE, Numeric, Type, array_input, float, hex, interval_input, json, numeric,
    pg_type,
};
use crate::error::{Error, Result, SqlState};

/// Bytes that a column of texts can hold: its offsets have 32 bits. Tests make it fewer.
const ROOM: usize = i32::MAX as usize;

#[cfg(test)]
thread_local! {
    static LESS_ROOM: Cell<usize> = const { Cell::new(ROOM) };
}

/// Does work in which a column of texts can hold so many bytes.
#[cfg(test)]
pub fn with_room<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = LESS_ROOM.replace(bytes);
    let done = work();
    LESS_ROOM.set(before);
    done
}

fn room() -> usize {
    #[cfg(test)]
    return LESS_ROOM.get();
    #[cfg(not(test))]
    ROOM
}

/// A column of texts holds 2 GB: 54000 when a value would be beyond that.
pub fn check_room(held: usize, value: usize) -> Result<()> {
    if held.saturating_add(value) <= room() {
        return Ok(());
    }
    Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the values of one column are too long")
        .with_detail("The rows that are handled at once hold more than 2 GB in one column."))
}

/// Appends a text to a column. Texts of arrays are many: their offsets count too.
#[inline]
pub fn push_text(builder: &mut StringBuilder, value: Option<&str>) -> Result<()> {
    check_room(builder.values_slice().len() + size_of_val(builder.offsets_slice()), value.map_or(0, str::len))?;
    builder.append_option(value);
    Ok(())
}

/// Appends bytes to a column.
#[inline]
pub fn push_bytes(builder: &mut BinaryBuilder, value: Option<&[u8]>) -> Result<()> {
    check_room(builder.values_slice().len() + size_of_val(builder.offsets_slice()), value.map_or(0, <[u8]>::len))?;
    builder.append_option(value);
    Ok(())
}

/// Builds one column row by row from text. A row that fails leaves the builder as it was, but for lists and structs,
/// which then must be dropped.
pub struct TextColumnBuilder {
    column: Column,
    clock: Clock,
    /// Of seconds; 6 is all there are.
    digits: u8,
    rows: usize,
    /// Of a value, where all are as wide.
    width: usize,
}

enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Fixed(Decimal128Builder, u8, i8),
    Free(Decimal256Builder),
    /// With the longest text allowed, if any.
    Text(StringBuilder, Length),
    Jsonb(StringBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Timestamptz(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Oid(UInt32Builder, &'static str),
    Array {
        item: DataType,
        values: Box<TextColumnBuilder>,
        offsets: Vec<i32>,
        valid: Vec<bool>,
    },
    Struct {
        fields: Fields,
        columns: Vec<TextColumnBuilder>,
        valid: Vec<bool>,
    },
}

#[derive(Clone, Copy)]
enum Length {
    Free,
    Varchar(usize),
    Char(usize),
    Name,
    Single,
}

impl TextColumnBuilder {
    pub fn new(ty: &Type, settings: &TextSettings, capacity: usize) -> TextColumnBuilder {
        let strings = || StringBuilder::with_capacity(capacity, capacity * 16);
        let column = match ty {
            Type::Rounded(ty, digits) => {
                return TextColumnBuilder { digits: *digits, ..TextColumnBuilder::new(ty, settings, capacity) };
            }
            Type::Bool => Column::Bool(BooleanBuilder::with_capacity(capacity)),
            Type::Int2 => Column::Int2(Int16Builder::with_capacity(capacity)),
            Type::Int4 => Column::Int4(Int32Builder::with_capacity(capacity)),
            Type::Int8 => Column::Int8(Int64Builder::with_capacity(capacity)),
            Type::Float4 => Column::Float4(Float32Builder::with_capacity(capacity)),
            Type::Float8 => Column::Float8(Float64Builder::with_capacity(capacity)),
            Type::Numeric(Numeric::Fixed { precision, scale }) => {
                let builder = Decimal128Builder::with_capacity(capacity);
                Column::Fixed(builder.with_data_type(DataType::Decimal128(*precision, *scale)), *precision, *scale)
            }
            Type::Numeric(Numeric::Free) => Column::Free(
                Decimal256Builder::with_capacity(capacity)
                    .with_data_type(DataType::Decimal256(FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE)),
            ),
            Type::Text | Type::Unknown | Type::Varchar(None) => Column::Text(strings(), Length::Free),
            Type::Varchar(Some(n)) => Column::Text(strings(), Length::Varchar(*n as usize)),
            Type::Char(n) => Column::Text(strings(), Length::Char(*n as usize)),
            Type::Name => Column::Text(strings(), Length::Name),
            Type::SingleChar => Column::Text(strings(), Length::Single),
            Type::Jsonb => Column::Jsonb(strings()),
            Type::Bytea => Column::Bytea(BinaryBuilder::with_capacity(capacity, capacity * 16)),
            Type::Date => Column::Date(Date32Builder::with_capacity(capacity)),
            Type::Time => Column::Time(Time64MicrosecondBuilder::with_capacity(capacity)),
            Type::Timestamp => Column::Timestamp(TimestampMicrosecondBuilder::with_capacity(capacity)),
            Type::Timestamptz => {
                let builder = TimestampMicrosecondBuilder::with_capacity(capacity);
                Column::Timestamptz(builder.with_data_type(ty.arrow()))
            }
            Type::Interval => Column::Interval(IntervalMonthDayNanoBuilder::with_capacity(capacity)),
            Type::Uuid => Column::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, 16)),
            Type::Oid => Column::Oid(UInt32Builder::with_capacity(capacity), "oid"),
            Type::Regclass => Column::Oid(UInt32Builder::with_capacity(capacity), "regclass"),
            Type::Regtype => Column::Oid(UInt32Builder::with_capacity(capacity), "regtype"),
            Type::Regproc => Column::Oid(UInt32Builder::with_capacity(capacity), "regproc"),
            Type::Regnamespace => Column::Oid(UInt32Builder::with_capacity(capacity), "regnamespace"),
            Type::Array(item) => Column::Array {
                item: item.arrow(),
                values: Box::new(TextColumnBuilder::new(item, settings, capacity * 4)),
                offsets: vec![0],
                valid: Vec::with_capacity(capacity),
            },
            Type::Struct(fields) => Column::Struct {
                fields: fields.iter().map(|field| Field::new(&field.name, field.ty.arrow(), true)).collect(),
                columns: fields.iter().map(|field| TextColumnBuilder::new(&field.ty, settings, capacity)).collect(),
                valid: Vec::with_capacity(capacity),
            },
        };
        let width = ty.arrow().primitive_width().unwrap_or(0);
        TextColumnBuilder { column, clock: settings.clock(), digits: 6, rows: 0, width }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How large the column is by now, about. A text may be read as much more than it is long: `1e9999` as jsonb.
    pub fn bytes(&self) -> usize {
        match &self.column {
            Column::Text(builder, _) | Column::Jsonb(builder) => builder.values_slice().len(),
            Column::Bytea(builder) => builder.values_slice().len(),
            Column::Array { values, .. } => size_of::<i32>() * self.rows + values.bytes(),
            Column::Struct { columns, .. } => columns.iter().map(TextColumnBuilder::bytes).sum(),
            _ => self.rows * self.width,
        }
    }

    /// Reads one value. Errors as Postgres's input functions raise them.
    pub fn append(&mut self, text: &str) -> Result<()> {
        match &mut self.column {
            Column::Bool(builder) => builder.append_value(parse_bool(text)?),
            Column::Int2(builder) => builder.append_value(parse_integer(text, "smallint")?),
            Column::Int4(builder) => builder.append_value(parse_integer(text, "integer")?),
            Column::Int8(builder) => builder.append_value(parse_integer(text, "bigint")?),
            Column::Float4(builder) => builder.append_value(float::parse_f32(text)?),
            Column::Float8(builder) => builder.append_value(float::parse_f64(text)?),
            Column::Fixed(builder, precision, scale) => {
                builder.append_value(numeric::parse_fixed(text, *precision, *scale)?);
            }
            Column::Free(builder) => builder.append_value(numeric::fit_free(numeric::parse(text)?)?),
            Column::Text(builder, length) => push_text(builder, Some(fit_length(text, *length)?))?,
            Column::Jsonb(builder) => push_text(builder, Some(&json::canonical(text)?))?,
            Column::Bytea(builder) => push_bytes(builder, Some(&parse_bytea(text)?))?,
            Column::Date(builder) => builder.append_value(parse_date(text, &self.clock)?),
            Column::Time(builder) => {
                builder.append_value(datetime::round_time(parse_time(text, &self.clock)?, self.digits));
            }
            Column::Timestamp(builder) => {
                builder.append_value(datetime::round_timestamp(parse_timestamp(text, &self.clock)?, self.digits)?);
            }
            Column::Timestamptz(builder) => {
                builder.append_value(datetime::round_timestamp(parse_timestamptz(text, &self.clock)?, self.digits)?);
            }
            Column::Interval(builder) => builder.append_value(interval_input::parse(text)?),
            Column::Uuid(builder) => builder.append_value(parse_uuid(text)?)?,
            Column::Oid(builder, name) => builder.append_value(parse_oid(text, name)?),
            Column::Array { values, offsets, valid, .. } => {
                array_input::elements(text, |element| match element {
                    Some(element) => values.append(element),
                    None => values.append_null(),
                })?;
                offsets.push(offset(values.len())?);
                valid.push(true);
            }
            Column::Struct { columns, valid, .. } => {
                let fields = array_input::fields(text)?;
                if fields.len() != columns.len() {
                    let detail = if fields.len() < columns.len() { "Too few columns." } else { "Too many columns." };
                    return Err(array_input::malformed_record(text, detail));
                }
                for (column, field) in columns.iter_mut().zip(&fields) {
                    match field {
                        Some(field) => column.append(field)?,
                        None => column.append_null()?,
                    }
                }
                valid.push(true);
            }
        }
        self.rows += 1;
        Ok(())
    }

    pub fn append_null(&mut self) -> Result<()> {
        match &mut self.column {
            Column::Bool(builder) => builder.append_null(),
            Column::Int2(builder) => builder.append_null(),
            Column::Int4(builder) => builder.append_null(),
            Column::Int8(builder) => builder.append_null(),
            Column::Float4(builder) => builder.append_null(),
            Column::Float8(builder) => builder.append_null(),
            Column::Fixed(builder, ..) => builder.append_null(),
            Column::Free(builder) => builder.append_null(),
            Column::Text(builder, _) | Column::Jsonb(builder) => builder.append_null(),
            Column::Bytea(builder) => builder.append_null(),
            Column::Date(builder) => builder.append_null(),
            Column::Time(builder) => builder.append_null(),
            Column::Timestamp(builder) | Column::Timestamptz(builder) => builder.append_null(),
            Column::Interval(builder) => builder.append_null(),
            Column::Uuid(builder) => builder.append_null(),
            Column::Oid(builder, _) => builder.append_null(),
            Column::Array { values, offsets, valid, .. } => {
                offsets.push(offset(values.len())?);
                valid.push(false);
            }
            Column::Struct { columns, valid, .. } => {
                columns.iter_mut().try_for_each(TextColumnBuilder::append_null)?;
                valid.push(false);
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The column; the builder is empty again.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        Ok(match &mut self.column {
            Column::Bool(builder) => Arc::new(builder.finish()),
            Column::Int2(builder) => Arc::new(builder.finish()),
            Column::Int4(builder) => Arc::new(builder.finish()),
            Column::Int8(builder) => Arc::new(builder.finish()),
            Column::Float4(builder) => Arc::new(builder.finish()),
            Column::Float8(builder) => Arc::new(builder.finish()),
            Column::Fixed(builder, ..) => Arc::new(builder.finish()),
            Column::Free(builder) => Arc::new(builder.finish()),
            Column::Text(builder, _) | Column::Jsonb(builder) => Arc::new(builder.finish()),
            Column::Bytea(builder) => Arc::new(builder.finish()),
            Column::Date(builder) => Arc::new(builder.finish()),
            Column::Time(builder) => Arc::new(builder.finish()),
            Column::Timestamp(builder) | Column::Timestamptz(builder) => Arc::new(builder.finish()),
            Column::Interval(builder) => Arc::new(builder.finish()),
            Column::Uuid(builder) => Arc::new(builder.finish()),
            Column::Oid(builder, _) => Arc::new(builder.finish()),
            Column::Array { item, values, offsets, valid } => {
                let field = Arc::new(Field::new_list_field(item.clone(), true));
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                let nulls = NullBuffer::from(std::mem::take(valid));
                Arc::new(ListArray::try_new(field, offsets, values.finish()?, Some(nulls))?)
            }
            Column::Struct { fields, columns, valid } => {
                let nulls = NullBuffer::from(std::mem::take(valid));
                let columns = columns.iter_mut().map(TextColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
                let array = StructArray::try_new_with_length(fields.clone(), columns, Some(nulls), rows)?;
                Arc::new(array)
            }
        })
    }
}

fn offset(len: usize) -> Result<i32> {
    i32::try_from(len).map_err(|_| Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many array elements in one batch"))
}

fn invalid(text: &str, ty: &str) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type {ty}: \"{text}\""))
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}'))
}

/// true, yes, on, 1 and their unique beginnings, without regard to case. 22P02.
pub fn parse_bool(text: &str) -> Result<bool> {
    let word = trim(text).to_ascii_lowercase();
    let begins = |full: &str| !word.is_empty() && full.starts_with(&word);
    if begins("true") || begins("yes") || word == "on" || word == "1" {
        Ok(true)
    } else if begins("false") || begins("no") || word == "off" || word == "of" || word == "0" {
        Ok(false)
    } else {
        Err(invalid(text, "boolean"))
    }
}

/// An integer of the width of `T`, named for errors. 22P02, 22003.
pub fn parse_integer<T: TryFrom<i64> + std::str::FromStr>(text: &str, ty: &str) -> Result<T> {
    let digits = trim(text);
    if let Ok(value) = digits.parse() {
        return Ok(value);
    }
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if !unsigned.is_empty() && unsigned.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Error::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{text}\" is out of range for type {ty}"),
        ));
    }
    Err(invalid(text, ty))
}

fn parse_oid(text: &str, ty: &'static str) -> Result<u32> {
    let digits = trim(text);
    if let Ok(value) = digits.parse::<u32>() {
        return Ok(value);
    }
    if let Ok(value) = digits.parse::<i32>()
        && ty == "oid"
    {
        return Ok(value as u32);
    }
    match ty {
        "regtype" => {
            if digits == "-" {
                return Ok(0);
            }
            let found = pg_type::PG_TYPES.iter().find_map(|row| {
                if row.display == digits || row.name == digits {
                    return Some(row.oid);
                }
                let element = digits.strip_suffix("[]").or(digits.strip_prefix('_'))?;
                (row.display == element || row.name == element).then_some(row.array_oid)
            });
            let missing = || Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{digits}\" does not exist"));
            let alias = match digits {
                "int" => Some(pg_type::oid::INT4),
                "float" => Some(pg_type::oid::FLOAT8),
                "decimal" => Some(pg_type::oid::NUMERIC),
                _ => None,
            };
            found.or(alias).ok_or_else(missing)
        }
        // Names of relations and functions are the catalog's to know: the binder resolves such literals.
        "regclass" => Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{digits}\" does not exist"))),
        "regproc" => Err(Error::new(SqlState::UNDEFINED_FUNCTION, format!("function \"{digits}\" does not exist"))),
        "regnamespace" => Err(Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{digits}\" does not exist"))),
        _ if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) => Err(Error::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{text}\" is out of range for type {ty}"),
        )),
        _ => Err(invalid(text, ty)),
    }
}

/// Bytes of `\xdeadbeef` or of the escape form. 22P02.
pub fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if let Some(digits) = text.strip_prefix("\\x") {
        hex::read(digits, &mut out)?;
        return Ok(out);
    }
    let bytes = text.as_bytes();
    out.reserve(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
        } else if bytes.get(at + 1) == Some(&b'\\') {
            out.push(b'\\');
            at += 2;
        } else {
            let octal = bytes
                .get(at + 1..at + 4)
                .filter(|d| (b'0'..=b'3').contains(&d[0]) && d[1..].iter().all(|c| (b'0'..=b'7').contains(c)));
            let Some(d) = octal else {
                return Err(Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea"));
            };
            out.push((d[0] - b'0') * 64 + (d[1] - b'0') * 8 + (d[2] - b'0'));
            at += 4;
        }
    }
    Ok(out)
}

/// A uuid with or without hyphens and braces. 22P02.
pub fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    // As nearly every uuid is written.
    if text.len() == 36
        && let Ok(uuid) = uuid::Uuid::try_parse(text)
    {
        return Ok(uuid.into_bytes());
    }
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(|| invalid(text, "uuid"))?,
        None => text,
    };
    let mut out = [0u8; 16];
    let mut digits = 0;
    let mut last_hyphen = true;
    for c in inner.bytes() {
        if c == b'-' {
            // Hyphens stand after any group of four digits.
            if digits % 4 != 0 || last_hyphen {
                return Err(invalid(text, "uuid"));
            }
            last_hyphen = true;
            continue;
        }
        last_hyphen = false;
        let digit = (c as char).to_digit(16).filter(|_| digits < 32).ok_or_else(|| invalid(text, "uuid"))? as u8;
        out[digits / 2] |= if digits % 2 == 0 { digit << 4 } else { digit };
        digits += 1;
    }
    if digits == 32 && !last_hyphen { Ok(out) } else { Err(invalid(text, "uuid")) }
}

/// The text cut to so many characters, if only spaces are cut.
pub fn within(text: &str, limit: usize) -> Option<&str> {
    if text.len() <= limit {
        return Some(text);
    }
    match text.char_indices().nth(limit) {
        None => Some(text),
        Some((end, _)) => text[end..].bytes().all(|byte| byte == b' ').then_some(&text[..end]),
    }
}

/// The text if it fits; spaces beyond the length are dropped, `char`'s trailing spaces always. 22001.
fn fit_length(text: &str, length: Length) -> Result<&str> {
    let (limit, name) = match length {
        Length::Free => return Ok(text),
        Length::Name => {
            return Ok(text.char_indices().find(|(at, c)| at + c.len_utf8() > 63).map_or(text, |(at, _)| &text[..at]));
        }
        Length::Single => return Ok(text.char_indices().nth(1).map_or(text, |(at, _)| &text[..at])),
        Length::Varchar(limit) => (limit, "character varying"),
        Length::Char(limit) => (limit, "character"),
    };
    let kept = within(text, limit).ok_or_else(|| {
        Error::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, format!("value too long for type {name}({limit})"))
    })?;
    Ok(if matches!(length, Length::Char(_)) { kept.trim_end_matches(' ') } else { kept })
}

/// `varchar(n)` and `char(n)` on assignment: 22001 unless only spaces are too many.
pub fn fit_to(text: &str, ty: &Type) -> Result<String> {
    let length = match ty {
        Type::Varchar(Some(n)) => Length::Varchar(*n as usize),
        Type::Char(n) => Length::Char(*n as usize),
        Type::Name => Length::Name,
        Type::SingleChar => Length::Single,
        _ => Length::Free,
    };
    fit_length(text, length).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use arrow::buffer::MutableBuffer;

    use super::*;
    use crate::types::text::{parse_scalar, print_scalar};
    use crate::types::{StructField, Zone};

    fn settings() -> TextSettings {
        TextSettings { zone: Zone::parse("Europe/Berlin").unwrap(), now: None }
    }

    #[test]
    fn a_column_of_more_than_two_gigabytes_is_an_error() {
        // Zeros that nobody touches take no memory.
        let held = i32::MAX as usize - 32;
        let offsets = MutableBuffer::from(vec![0_i32, held as i32]);
        // SAFETY: one value with offsets in order; zeros are UTF-8.
        let mut builder =
            unsafe { StringBuilder::new_from_buffer(offsets, MutableBuffer::from_len_zeroed(held), None) };
        push_text(&mut builder, Some("fits")).expect("fits");
        let error = push_text(&mut builder, Some("does not fit any more")).expect_err("is too long");
        assert_eq!(error.state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
        push_text(&mut builder, None).expect("a NULL takes no room");
    }

    #[test]
    fn no_column_is_filled_beyond_its_room() {
        let texts = Type::Array(Box::new(Type::Text));
        let row = Type::Struct(vec![StructField { name: "a".into(), ty: Type::Text }]);
        let value = "x".repeat(100);
        let (json, bytes, list, record) =
            ("1e99".to_string(), format!("\\x{}", "ab".repeat(100)), format!("{{{value}}}"), format!("({value})"));
        for (ty, text) in [(Type::Text, value), (Type::Jsonb, json), (Type::Bytea, bytes), (texts, list), (row, record)]
        {
            let mut builder = TextColumnBuilder::new(&ty, &settings(), 8);
            with_room(350, || {
                builder.append(&text).unwrap();
                builder.append(&text).unwrap();
                assert!((200..=220).contains(&builder.bytes()), "{} {}", ty.name(), builder.bytes());
                builder.append(&text).unwrap();
                let error = builder.append(&text).unwrap_err();
                assert_eq!(error.state(), SqlState::PROGRAM_LIMIT_EXCEEDED, "{}", ty.name());
            });
        }
        let mut numbers = TextColumnBuilder::new(&Type::Array(Box::new(Type::NUMERIC)), &settings(), 8);
        numbers.append("{1,2,3}").unwrap();
        assert_eq!(numbers.bytes(), 4 + 3 * 32);
    }

    fn round(ty: &Type, text: &str) -> Result<String> {
        let value = parse_scalar(ty, text, &settings())?;
        Ok(print_scalar(ty, &value, &settings())?.unwrap_or_default())
    }

    #[test]
    fn what_is_read_prints_as_postgres_prints_it() {
        let texts = Type::Array(Box::new(Type::Text));
        let row = Type::Struct(vec![
            StructField { name: "a".into(), ty: Type::Int4 },
            StructField { name: "b".into(), ty: Type::Text },
        ]);
        let cases = [
            (Type::Bool, "yes", "t"),
            (Type::Int2, " -5 ", "-5"),
            (Type::Int8, "-9223372036854775808", "-9223372036854775808"),
            (Type::Float8, "1e15", "1e+15"),
            (Type::fixed_numeric(10, 2), "1.005", "1.01"),
            (Type::fixed_numeric(10, 2), "-0.5", "-0.50"),
            (Type::NUMERIC, "1.500", "1.5"),
            (Type::Varchar(Some(3)), "abc  ", "abc"),
            (Type::Char(4), "ab", "ab  "),
            (Type::Bytea, "\\xDEad", "\\xdead"),
            (Type::Bytea, "a\\\\b\\000", "\\x615c6200"),
            (Type::Date, "2024-02-29", "2024-02-29"),
            (Type::Time, "04:05:06.789", "04:05:06.789"),
            (Type::Timestamptz, "2024-07-01 12:00:00+00", "2024-07-01 14:00:00+02"),
            (Type::Timestamptz, "2024-01-01 12:00:00", "2024-01-01 12:00:00+01"),
            (Type::Interval, "90 minutes", "01:30:00"),
            (Type::Uuid, "{A0EEBC99-9c0b4ef8-bb6d6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (Type::Uuid, "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (Type::Uuid, "a0ee-bc99-9c0b-4ef8-bb6d6bb9-bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (Type::Jsonb, "{\"b\":1,\"a\":[ ]}", "{\"a\": [], \"b\": 1}"),
            (texts.clone(), "{1,NULL,\"a b\",\"NULL\",\"\",\"q\\\"\"}", "{1,NULL,\"a b\",\"NULL\",\"\",\"q\\\"\"}"),
            (texts.clone(), "{}", "{}"),
            (texts.clone(), " { a , b c } ", "{a,\"b c\"}"),
            (texts.clone(), "{a,\\NULL,N\\ULL,null}", "{a,\"NULL\",\"NULL\",NULL}"),
            (texts.clone(), "{ \\ b , a\\ , ä\\ö, x\\}y, \\\\ }", "{\" b\",\"a \",äö,\"x}y\",\"\\\\\"}"),
            (row.clone(), "(1,\"a \"\"b\"\"\")", "(1,\"a \"\"b\"\"\")"),
            (row.clone(), "(,)", "(,)"),
            (Type::Regtype, "integer", "integer"),
        ];
        for (ty, text, expected) in cases {
            assert_eq!(round(&ty, text).as_deref(), Ok(expected), "{} {text}", ty.name());
        }
    }

    #[test]
    fn errors_are_postgres_errors() {
        let cases = [
            (Type::Bool, "maybe", "invalid input syntax for type boolean: \"maybe\""),
            (Type::Int4, "1.5", "invalid input syntax for type integer: \"1.5\""),
            (Type::Int4, "3000000000", "value \"3000000000\" is out of range for type integer"),
            (Type::Int2, "", "invalid input syntax for type smallint: \"\""),
            (Type::Uuid, "123", "invalid input syntax for type uuid: \"123\""),
            (Type::Varchar(Some(2)), "abc", "value too long for type character varying(2)"),
            (Type::Array(Box::new(Type::Int4)), "1,2", "malformed array literal: \"1,2\""),
            (Type::Array(Box::new(Type::Int4)), "{1,x}", "invalid input syntax for type integer: \"x\""),
            (Type::Bytea, "\\xg0", "invalid hexadecimal digit: \"g\""),
        ];
        for (ty, text, message) in cases {
            assert_eq!(round(&ty, text).unwrap_err().message(), message);
        }
    }
}
