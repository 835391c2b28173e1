//! Columns under construction: one growing buffer for each declared column, struct field and array element.
//!
//! A value is appended when it has been read and found to be of the declared type; [`ColumnBuffer::truncate`] takes back
//! whatever a rejected record left, to any depth. The buffers become Arrow arrays without a copy.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    ListArray, StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, IntervalMonthDayNano, i256};

use super::object::Object;
use super::reject::Reject;
use super::scan::{Kind, Scanner};
use super::value;
use crate::error::{Error, Result};
use crate::types::datetime;
use crate::types::{FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE, Numeric, Type};

pub struct ColumnBuffer {
    ty: Type,
    data: Data,
    valid: BooleanBufferBuilder,
    /// Bytes that a NULL takes, and of any other value the part that is always the same.
    width: usize,
}

enum Data {
    Bool(BooleanBufferBuilder),
    Int2(Vec<i16>),
    Int4(Vec<i32>),
    Int8(Vec<i64>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    Decimal128(Vec<i128>),
    Decimal256(Vec<i256>),
    /// Text, bytea and jsonb: offsets (one more than rows) into bytes.
    Bytes(Vec<i32>, Vec<u8>),
    Date(Vec<i32>),
    /// Time, timestamp, timestamptz.
    Micros(Vec<i64>),
    Interval(Vec<IntervalMonthDayNano>),
    /// 16 bytes a row.
    Uuid(Vec<u8>),
    /// Offsets (one more than rows) into the items.
    List(Vec<i32>, Box<ColumnBuffer>),
    Struct(Box<Object>),
}

impl ColumnBuffer {
    pub fn new(ty: &Type) -> Result<ColumnBuffer> {
        let data = match ty {
            Type::Bool => Data::Bool(BooleanBufferBuilder::new(0)),
            Type::Int2 => Data::Int2(Vec::new()),
            Type::Int4 => Data::Int4(Vec::new()),
            Type::Int8 => Data::Int8(Vec::new()),
            Type::Float4 => Data::Float4(Vec::new()),
            Type::Float8 => Data::Float8(Vec::new()),
            Type::Numeric(Numeric::Fixed { .. }) => Data::Decimal128(Vec::new()),
            Type::Numeric(Numeric::Free) => Data::Decimal256(Vec::new()),
            Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Bytea | Type::Jsonb => {
                Data::Bytes(vec![0], Vec::new())
            }
            Type::Date => Data::Date(Vec::new()),
            Type::Time | Type::Timestamp | Type::Timestamptz => Data::Micros(Vec::new()),
            Type::Rounded(..) => Data::Micros(Vec::new()),
            Type::Interval => Data::Interval(Vec::new()),
            Type::Uuid => Data::Uuid(Vec::new()),
            Type::Array(item) => Data::List(vec![0], Box::new(ColumnBuffer::new(item)?)),
            Type::Struct(fields) if !fields.is_empty() => {
                Data::Struct(Box::new(Object::new(fields.iter().map(|field| (field.name.as_str(), &field.ty)))?))
            }
            Type::Struct(_)
            | Type::Oid
            | Type::Name
            | Type::SingleChar
            | Type::Regclass
            | Type::Regtype
            | Type::Regproc
            | Type::Regnamespace
            | Type::Unknown => {
                return Err(Error::unsupported(
                    format!("a column of type {} in a JSON stream", ty.name()),
                    "Use text, or a type of ordinary tables.",
                ));
            }
        };
        let width = match &data {
            Data::Bool(_) => 1,
            Data::Int2(_) => 2,
            Data::Int4(_) | Data::Float4(_) | Data::Date(_) | Data::Bytes(..) | Data::List(..) => 4,
            Data::Int8(_) | Data::Float8(_) | Data::Micros(_) => 8,
            Data::Decimal128(_) | Data::Interval(_) | Data::Uuid(_) => 16,
            Data::Decimal256(_) => 32,
            Data::Struct(object) => object.width(),
        };
        Ok(ColumnBuffer { ty: ty.clone(), data, valid: BooleanBufferBuilder::new(0), width })
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.valid.len()
    }

    pub fn is_null(&self, row: usize) -> bool {
        !self.valid.get_bit(row)
    }

    /// Takes back all rows from `rows` on, and whatever an unfinished row has left.
    pub fn truncate(&mut self, rows: usize) {
        self.valid.truncate(rows.min(self.valid.len()));
        match &mut self.data {
            Data::Bool(values) => values.truncate(rows.min(values.len())),
            Data::Int2(values) => values.truncate(rows),
            Data::Int4(values) | Data::Date(values) => values.truncate(rows),
            Data::Int8(values) | Data::Micros(values) => values.truncate(rows),
            Data::Float4(values) => values.truncate(rows),
            Data::Float8(values) => values.truncate(rows),
            Data::Decimal128(values) => values.truncate(rows),
            Data::Decimal256(values) => values.truncate(rows),
            Data::Bytes(offsets, bytes) => {
                offsets.truncate(rows + 1);
                bytes.truncate(last(offsets));
            }
            Data::Interval(values) => values.truncate(rows),
            Data::Uuid(bytes) => bytes.truncate(rows * 16),
            Data::List(offsets, items) => {
                offsets.truncate(rows + 1);
                items.truncate(last(offsets));
            }
            Data::Struct(object) => object.truncate(rows),
        }
    }

    pub fn append_null(&mut self) {
        self.valid.append(false);
        match &mut self.data {
            Data::Bool(values) => values.append(false),
            Data::Int2(values) => values.push(0),
            Data::Int4(values) | Data::Date(values) => values.push(0),
            Data::Int8(values) | Data::Micros(values) => values.push(0),
            Data::Float4(values) => values.push(0.0),
            Data::Float8(values) => values.push(0.0),
            Data::Decimal128(values) => values.push(0),
            Data::Decimal256(values) => values.push(i256::ZERO),
            Data::Bytes(offsets, _) | Data::List(offsets, _) => offsets.push(offsets.last().copied().unwrap_or(0)),
            Data::Interval(values) => values.push(IntervalMonthDayNano::ZERO),
            Data::Uuid(bytes) => bytes.extend_from_slice(&[0; 16]),
            Data::Struct(object) => object.append_null(),
        }
    }

    /// Reads the value that comes next and appends it. After an error the row is unfinished: truncate.
    pub fn read(&mut self, scan: &mut Scanner<'_>, scratch: &mut String, depth: u32) -> Result<(), Reject> {
        let kind = scan.kind()?;
        if kind == Kind::Null {
            scan.null()?;
            scan.grew_by(self.width)?;
            self.append_null();
            return Ok(());
        }
        // The fields of a struct count by themselves.
        if !matches!(self.data, Data::Struct(_)) {
            scan.grew_by(self.width)?;
        }
        let ty = &self.ty;
        match &mut self.data {
            Data::Bool(values) => values.append(value::boolean(scan, kind, ty)?),
            Data::Int2(values) => values.push(value::integer(scan, kind, scratch, ty)?),
            Data::Int4(values) => values.push(value::integer(scan, kind, scratch, ty)?),
            Data::Int8(values) => values.push(value::integer(scan, kind, scratch, ty)?),
            Data::Float4(values) => values.push(value::float4(scan, kind, scratch, ty)?),
            Data::Float8(values) => values.push(value::float8(scan, kind, scratch, ty)?),
            Data::Decimal128(values) => {
                let (precision, scale) = digits(ty);
                values.push(value::decimal(scan, kind, scratch, ty, |d| d.to_i128(precision, scale, false))?);
            }
            Data::Decimal256(values) => {
                let (precision, scale) = digits(ty);
                values.push(value::decimal(scan, kind, scratch, ty, |d| d.to_i256(precision, scale, false))?);
            }
            Data::Bytes(offsets, bytes) => {
                match ty {
                    Type::Bytea => value::bytea(scan, kind, scratch, ty, bytes)?,
                    Type::Jsonb => value::jsonb(scan, depth, bytes)?,
                    _ => value::text(scan, kind, scratch, ty, bytes)?,
                }
                offsets.push(offset(bytes.len())?);
            }
            Data::Date(values) => values.push(value::date(scan, kind, scratch, ty)?),
            Data::Micros(values) => values.push(match ty {
                Type::Time => value::time(scan, kind, scratch, ty)?,
                Type::Rounded(plain, digits) if **plain == Type::Time => {
                    datetime::round_time(value::time(scan, kind, scratch, plain)?, *digits)
                }
                Type::Rounded(plain, digits) => {
                    let micros = value::timestamp(scan, kind, scratch, plain)?;
                    datetime::round_timestamp(micros, *digits)
                        .map_err(|error| Reject::value(error.message().to_string()))?
                }
                _ => value::timestamp(scan, kind, scratch, ty)?,
            }),
            Data::Interval(values) => values.push(value::interval(scan, kind, scratch, ty)?),
            Data::Uuid(bytes) => bytes.extend_from_slice(&value::uuid(scan, kind, scratch, ty)?),
            Data::List(offsets, items) => {
                read_items(scan, kind, scratch, depth, ty, items)?;
                offsets.push(offset(items.len())?);
            }
            Data::Struct(object) => {
                if kind != Kind::Object {
                    return Err(value::wrong_kind(scan, kind, ty));
                }
                object.read(scan, scratch, depth)?;
            }
        }
        self.valid.append(true);
        Ok(())
    }

    /// The rows as an array of the declared type; the buffer is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        let nulls = NullBuffer::new(self.valid.finish());
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let arrow = self.ty.arrow();
        match &mut self.data {
            Data::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Data::Int2(values) => Arc::new(Int16Array::new(take(values), nulls)),
            Data::Int4(values) => Arc::new(Int32Array::new(take(values), nulls)),
            Data::Int8(values) => Arc::new(Int64Array::new(take(values), nulls)),
            Data::Float4(values) => Arc::new(Float32Array::new(take(values), nulls)),
            Data::Float8(values) => Arc::new(Float64Array::new(take(values), nulls)),
            Data::Decimal128(values) => Arc::new(Decimal128Array::new(take(values), nulls).with_data_type(arrow)),
            Data::Decimal256(values) => Arc::new(Decimal256Array::new(take(values), nulls).with_data_type(arrow)),
            Data::Bytes(offsets, bytes) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                let capacity = bytes.capacity();
                let bytes = Buffer::from_vec(std::mem::replace(bytes, Vec::with_capacity(capacity.min(1 << 20))));
                match arrow {
                    DataType::Binary => Arc::new(BinaryArray::new(offsets, bytes, nulls)),
                    _ => Arc::new(StringArray::new(offsets, bytes, nulls)),
                }
            }
            Data::Date(values) => Arc::new(Date32Array::new(take(values), nulls)),
            Data::Micros(values) => match arrow {
                DataType::Time64(_) => Arc::new(Time64MicrosecondArray::new(take(values), nulls)),
                _ => Arc::new(TimestampMicrosecondArray::new(take(values), nulls).with_data_type(arrow)),
            },
            Data::Interval(values) => Arc::new(IntervalMonthDayNanoArray::new(take(values), nulls)),
            Data::Uuid(bytes) => {
                let bytes = Buffer::from_vec(std::mem::take(bytes));
                Arc::new(FixedSizeBinaryArray::new(16, bytes, nulls))
            }
            Data::List(offsets, items) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                let field = Arc::new(Field::new_list_field(items.ty.arrow(), true));
                Arc::new(ListArray::new(field, offsets, items.finish(), nulls))
            }
            Data::Struct(object) => {
                let fields = match arrow {
                    DataType::Struct(fields) => fields,
                    _ => Fields::empty(),
                };
                Arc::new(StructArray::new(fields, object.finish(), nulls))
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let data = match &self.data {
            Data::Bool(values) => values.capacity() / 8,
            Data::Int2(values) => values.capacity() * 2,
            Data::Int4(values) | Data::Date(values) => values.capacity() * 4,
            Data::Int8(values) | Data::Micros(values) => values.capacity() * 8,
            Data::Float4(values) => values.capacity() * 4,
            Data::Float8(values) => values.capacity() * 8,
            Data::Decimal128(values) => values.capacity() * 16,
            Data::Decimal256(values) => values.capacity() * 32,
            Data::Bytes(offsets, bytes) => offsets.capacity() * 4 + bytes.capacity(),
            Data::Interval(values) => values.capacity() * 16,
            Data::Uuid(bytes) => bytes.capacity(),
            Data::List(offsets, items) => offsets.capacity() * 4 + items.bytes(),
            Data::Struct(object) => object.bytes(),
        };
        data + self.valid.capacity() / 8
    }
}

fn read_items(
    scan: &mut Scanner<'_>,
    kind: Kind,
    scratch: &mut String,
    depth: u32,
    ty: &Type,
    items: &mut ColumnBuffer,
) -> Result<(), Reject> {
    if kind != Kind::Array {
        return Err(value::wrong_kind(scan, kind, ty));
    }
    scan.deeper(depth)?;
    scan.expect(b'[', "\"[\"")?;
    if scan.accept(b']') {
        return Ok(());
    }
    for number in 1_u64.. {
        items.read(scan, scratch, depth + 1).map_err(|reject| reject.within_item(number))?;
        if scan.accept(b']') {
            break;
        }
        scan.expect(b',', "\",\" or \"]\"")?;
    }
    Ok(())
}

/// Precision and scale of a numeric type.
fn digits(ty: &Type) -> (u8, i8) {
    match ty {
        Type::Numeric(Numeric::Fixed { precision, scale }) => (*precision, *scale),
        _ => (FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE),
    }
}

fn offset(length: usize) -> Result<i32, Reject> {
    i32::try_from(length).map_err(|_| Reject::Record("the batch has more than 2 GB in one column".to_string()))
}

fn last(offsets: &[i32]) -> usize {
    offsets.last().map_or(0, |offset| *offset as usize)
}

/// The values as a buffer; as much room again is made for the next batch.
fn take<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let capacity = values.len();
    ScalarBuffer::from(std::mem::replace(values, Vec::with_capacity(capacity)))
}
