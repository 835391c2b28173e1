//! Builds a system relation's rows by column name.
//!
//! Columns that a row does not mention are NULL, or, where the catalog declares them NOT NULL, false, 0 or empty: what
//! Postgres shows for a feature that is not used.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::catalog::Relation;
use crate::error::{Error, Result};
use crate::types::Type;

/// A value of any system column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// Numbers, oids, and timestamps as microseconds since 1970 UTC.
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

macro_rules! from_integers {
    ($($ty:ty),*) => {
        $(impl From<$ty> for Value {
            fn from(value: $ty) -> Value {
                Value::Int(i64::from(value))
            }
        })*
    };
}

from_integers!(i16, i32, i64, u32);

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_string())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Value {
        Value::Text(value.clone())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<char> for Value {
    fn from(value: char) -> Value {
        Value::Text(value.to_string())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Value {
        Value::Bytes(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// A list column's value.
pub fn list<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::List(items.into_iter().map(Into::into).collect())
}

/// Rows of one relation being collected.
pub struct SystemRows {
    relation: Arc<Relation>,
    columns: Vec<Vec<Value>>,
    rows: usize,
}

/// Adds a row: `row!(rows; oid: 16, typname: "bool")`.
macro_rules! row {
    ($rows:expr; $($name:ident: $value:expr),* $(,)?) => {
        $rows.push(vec![$((stringify!($name), $crate::query::system::rows::Value::from($value))),*])?
    };
}
pub(super) use row;

impl SystemRows {
    pub fn new(relation: &Arc<Relation>) -> SystemRows {
        SystemRows { relation: relation.clone(), columns: vec![Vec::new(); relation.columns.len()], rows: 0 }
    }

    pub fn push(&mut self, values: Vec<(&str, Value)>) -> Result<()> {
        for (column, declared) in self.columns.iter_mut().zip(&self.relation.columns) {
            column.push(if declared.not_null { unused(&declared.ty) } else { Value::Null });
        }
        for (name, value) in values {
            let Some(column) = self.relation.columns.iter().position(|column| column.name == name) else {
                return Err(Error::internal(format!("{} has no column {name}", self.relation.name)));
            };
            self.columns[column][self.rows] = value;
        }
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self) -> Result<RecordBatch> {
        let arrays = self
            .columns
            .iter()
            .zip(&self.relation.columns)
            .map(|(values, column)| array(values, &column.ty.arrow()))
            .collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(self.relation.schema_ref(), arrays)?)
    }
}

fn unused(ty: &Type) -> Value {
    match ty.arrow() {
        DataType::Boolean => Value::Bool(false),
        DataType::Utf8 => Value::Text(String::new()),
        DataType::Float32 | DataType::Float64 => Value::Float(0.0),
        DataType::Binary => Value::Bytes(Vec::new()),
        DataType::List(_) => Value::List(Vec::new()),
        _ => Value::Int(0),
    }
}

fn array(values: &[Value], ty: &DataType) -> Result<ArrayRef> {
    let wrong = |value: &Value| Error::internal(format!("{value:?} in a system column of type {ty}"));
    macro_rules! primitive {
        ($array:ty, $kind:ident, $native:ty) => {{
            let cells = values
                .iter()
                .map(|value| match value {
                    Value::Null => Ok(None),
                    Value::$kind(value) => {
                        <$native>::try_from(*value).map(Some).map_err(|_| wrong(&Value::$kind(*value)))
                    }
                    other => Err(wrong(other)),
                })
                .collect::<Result<Vec<Option<$native>>>>()?;
            Arc::new(<$array>::from(cells)) as ArrayRef
        }};
    }
    macro_rules! borrowed {
        ($array:ty, $kind:ident) => {{
            let cells = values
                .iter()
                .map(|value| match value {
                    Value::Null => Ok(None),
                    Value::$kind(value) => Ok(Some(value.as_slice_or_str())),
                    other => Err(wrong(other)),
                })
                .collect::<Result<Vec<_>>>()?;
            Arc::new(<$array>::from(cells)) as ArrayRef
        }};
    }
    Ok(match ty {
        DataType::Boolean => primitive!(BooleanArray, Bool, bool),
        DataType::Int16 => primitive!(Int16Array, Int, i16),
        DataType::Int32 => primitive!(Int32Array, Int, i32),
        DataType::Int64 => primitive!(Int64Array, Int, i64),
        DataType::UInt32 => primitive!(UInt32Array, Int, u32),
        DataType::Float64 => primitive!(Float64Array, Float, f64),
        DataType::Float32 => {
            let wide = array(values, &DataType::Float64)?;
            let cells = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&wide);
            Arc::new(cells.iter().map(|cell| cell.map(|cell| cell as f32)).collect::<Float32Array>())
        }
        DataType::Utf8 => borrowed!(StringArray, Text),
        DataType::Binary => borrowed!(BinaryArray, Bytes),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let cells = array(values, &DataType::Int64)?;
            let cells = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&cells);
            Arc::new(cells.iter().collect::<TimestampMicrosecondArray>().with_timezone_opt(zone.clone()))
        }
        DataType::List(item) => lists(values, item)?,
        // Intervals and numerics: nobody has a value for those columns.
        _ if values.iter().all(|value| *value == Value::Null) => new_null_array(ty, values.len()),
        _ => return Err(wrong(values.first().unwrap_or(&Value::Null))),
    })
}

fn lists(values: &[Value], item: &Arc<Field>) -> Result<ArrayRef> {
    let mut items = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for value in values {
        let before = items.len();
        match value {
            Value::List(list) => items.extend(list.iter().cloned()),
            Value::Null => {}
            other => return Err(Error::internal(format!("{other:?} in a system column that holds lists"))),
        }
        lengths.push(items.len() - before);
    }
    let nulls = NullBuffer::from(values.iter().map(|value| *value != Value::Null).collect::<Vec<bool>>());
    let items = array(&items, item.data_type())?;
    Ok(Arc::new(ListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), items, Some(nulls))?))
}

/// What Arrow's constructors take for a text or bytes.
trait AsSliceOrStr {
    type Slice: ?Sized;
    fn as_slice_or_str(&self) -> &Self::Slice;
}

impl AsSliceOrStr for String {
    type Slice = str;
    fn as_slice_or_str(&self) -> &str {
        self
    }
}

impl AsSliceOrStr for Vec<u8> {
    type Slice = [u8];
    fn as_slice_or_str(&self) -> &[u8] {
        self
    }
}
