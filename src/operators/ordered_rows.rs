//! Rows as bytes whose order is SQL's: arrow-row, with what it leaves open filled in.
//!
//! * floats: -0.0 equals 0.0, NaN is one value above all others (as in Postgres);
//! * intervals compare by their length (a month has 30 days, a day 24 hours) and only then by their parts;
//! * lists and structs compare by their elements, of which NULL is the greatest, wherever NULLs are to be sorted.
//!
//! A column marked as payload is encoded as it is: it comes back bit for bit and still orders ties.

use arrow::array::{Array, ArrayRef};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow_row::{RowConverter, Rows, SortField};

use crate::delta::keys::{normalize_floats, sortable as comparable, sortable_type};
use crate::error::Result;

/// One column of the encoding.
#[derive(Clone, Debug)]
pub struct Field {
    pub data_type: DataType,
    pub options: SortOptions,
    /// Kept bit for bit, rather than normalised.
    pub payload: bool,
}

impl Field {
    pub fn key(data_type: DataType, options: SortOptions) -> Field {
        Field { data_type, options, payload: false }
    }

    /// Ascending, NULLs last.
    pub fn payload(data_type: DataType) -> Field {
        Field { data_type, options: SortOptions { descending: false, nulls_first: false }, payload: true }
    }

    /// Its order is not that of its own bytes: a column that has it stands before it.
    fn by_key(&self) -> bool {
        !self.payload && sortable_type(&self.data_type) != self.data_type
    }
}

#[derive(Debug)]
pub struct OrderedRows {
    fields: Vec<Field>,
    converter: RowConverter,
}

impl OrderedRows {
    pub fn new(fields: Vec<Field>) -> Result<OrderedRows> {
        let mut sort = Vec::with_capacity(fields.len());
        for field in &fields {
            if field.by_key() {
                sort.push(SortField::new_with_options(sortable_type(&field.data_type), field.options));
            }
            sort.push(SortField::new_with_options(field.data_type.clone(), field.options));
        }
        Ok(OrderedRows { fields, converter: RowConverter::new(sort)? })
    }

    pub fn scratch(&self) -> Rows {
        self.converter.empty_rows(0, 0)
    }

    /// Replaces `rows` by the encoding of these columns.
    pub fn encode(&self, columns: &[ArrayRef], rows: &mut Rows) -> Result<()> {
        let mut encoded = Vec::with_capacity(columns.len());
        for (field, column) in self.fields.iter().zip(columns) {
            if field.by_key() {
                encoded.push(comparable(column)?);
            }
            encoded.push(if field.payload { column.clone() } else { normalize_floats(column) });
        }
        rows.clear();
        self.converter.append(rows, &encoded)?;
        Ok(())
    }

    /// The columns of rows that `encode` made.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let rows: Vec<_> = rows.into_iter().collect();
        let mut columns = self.converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)))?.into_iter();
        let mut decoded = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            if field.by_key() {
                columns.next();
            }
            decoded.extend(columns.next());
        }
        Ok(decoded)
    }

    pub fn types(&self) -> Vec<DataType> {
        self.fields.iter().map(|field| field.data_type.clone()).collect()
    }
}

/// Values of at most 64 bits as unsigned integers in SQL's order; `None` for other types. NULLs have any value.
pub fn sortable(array: &dyn Array) -> Option<Vec<u64>> {
    const SIGN: u64 = 1 << 63;
    let data = array.to_data();
    Some(match array.data_type() {
        DataType::Int16 => data.buffer::<i16>(0).iter().map(|v| i64::from(*v) as u64 ^ SIGN).collect(),
        DataType::Int32 | DataType::Date32 => {
            data.buffer::<i32>(0).iter().map(|v| i64::from(*v) as u64 ^ SIGN).collect()
        }
        DataType::Int64 | DataType::Timestamp(..) | DataType::Time64(_) => {
            data.buffer::<i64>(0).iter().map(|v| *v as u64 ^ SIGN).collect()
        }
        DataType::UInt32 => data.buffer::<u32>(0).iter().map(|v| u64::from(*v)).collect(),
        DataType::Float32 => data.buffer::<f32>(0).iter().map(|v| sortable_f64(f64::from(*v))).collect(),
        DataType::Float64 => data.buffer::<f64>(0).iter().map(|v| sortable_f64(*v)).collect(),
        _ => return None,
    })
}

pub fn is_sortable(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::UInt32
            | DataType::Float32
            | DataType::Float64
    )
}

fn sortable_f64(value: f64) -> u64 {
    let bits = super::keys::canonical_f64(value).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The array of values that [`sortable`] turned into integers.
pub fn from_sortable(data_type: &DataType, values: &[Option<u64>]) -> ArrayRef {
    use arrow::buffer::{Buffer, NullBuffer};
    const SIGN: u64 = 1 << 63;
    let nulls: NullBuffer = values.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    let native = values.iter().map(|value| value.unwrap_or(SIGN));
    let float = |v: u64| f64::from_bits(if v >> 63 == 1 { v ^ SIGN } else { !v });
    let buffer = match data_type {
        DataType::Int16 => Buffer::from_vec(native.map(|v| (v ^ SIGN) as i16).collect::<Vec<_>>()),
        DataType::Int32 | DataType::Date32 => Buffer::from_vec(native.map(|v| (v ^ SIGN) as i32).collect::<Vec<_>>()),
        DataType::UInt32 => Buffer::from_vec(native.map(|v| v as u32).collect::<Vec<_>>()),
        DataType::Float32 => Buffer::from_vec(native.map(|v| float(v) as f32).collect::<Vec<_>>()),
        DataType::Float64 => Buffer::from_vec(native.map(float).collect::<Vec<_>>()),
        _ => Buffer::from_vec(native.map(|v| v ^ SIGN).collect::<Vec<_>>()),
    };
    super::keys::fixed_width_array(data_type, values.len(), buffer, nulls)
}
