//! Comparing rows of different batches for equality, without building anything per row.
//!
//! There are two questions, and NULL equals NULL in both:
//!
//! - [`Equality::Row`]: is it the same row? Every value bit for bit, except that all NaNs are one. It decides what a
//!   deletion deletes and what adds up in a consolidated delta: -0.0 and 0.0, '1 day' and '24 hours' print differently
//!   and are different rows.
//! - [`Equality::Key`]: does SQL's `=` hold? -0.0 is 0.0 and a day is 24 hours.
//!
//! Rows equal in either sense have equal [`super::hash`]es. Both sides must have the same Arrow types.

use arrow::array::{Array, ArrayRef, AsArray, GenericStringArray, OffsetSizeTrait, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::*;

use super::hash::{float_bits, interval_length};
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equality {
    Row,
    Key,
}

/// The columns of a batch, downcast once, so that single rows can be compared.
pub struct RowsView<'a> {
    columns: Vec<ColumnView<'a>>,
}

impl<'a> RowsView<'a> {
    pub fn new(columns: &'a [ArrayRef], equality: Equality) -> Result<RowsView<'a>> {
        let columns = columns.iter().map(|column| ColumnView::new(column.as_ref(), equality));
        Ok(RowsView { columns: columns.collect::<Result<_>>()? })
    }

    /// Some of the columns, in this order.
    pub fn of(columns: &'a [ArrayRef], chosen: &[usize], equality: Equality) -> Result<RowsView<'a>> {
        let columns = chosen.iter().map(|&column| ColumnView::new(columns[column].as_ref(), equality));
        Ok(RowsView { columns: columns.collect::<Result<_>>()? })
    }

    /// Whether row `row` here equals row `other_row` there. Views without columns have all rows equal.
    #[inline]
    pub fn equal(&self, row: usize, other: &RowsView, other_row: usize) -> bool {
        debug_assert_eq!(self.columns.len(), other.columns.len());
        self.columns.iter().zip(&other.columns).all(|(a, b)| a.equal(row, b, other_row))
    }

    pub fn has_null(&self, row: usize) -> bool {
        self.columns.iter().any(|column| column.is_null(row))
    }

    /// Whether any row has a NULL.
    pub fn any_null(&self) -> bool {
        self.columns.iter().any(|column| match &column.values {
            Values::Null => true,
            _ => column.nulls.is_some_and(|nulls| nulls.null_count() > 0),
        })
    }
}

struct ColumnView<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Null,
    Bool(&'a BooleanBuffer),
    Fixed1(&'a [u8]),
    Fixed2(&'a [[u8; 2]]),
    Fixed4(&'a [u32]),
    Fixed8(&'a [u64]),
    Fixed16(&'a [i128]),
    Fixed32(&'a [i256]),
    /// Compared by canonical bits; `zeros`: whether -0.0 is 0.0.
    Float4 {
        values: &'a [f32],
        zeros: bool,
    },
    Float8 {
        values: &'a [f64],
        zeros: bool,
    },
    Interval(&'a [IntervalMonthDayNano]),
    IntervalLength(&'a [IntervalMonthDayNano]),
    Bytes4 {
        offsets: &'a [i32],
        bytes: &'a [u8],
    },
    BytesN {
        size: usize,
        bytes: &'a [u8],
    },
    /// Rare forms of text and bytes, compared through the array.
    Wide(&'a dyn Array),
    List4 {
        offsets: &'a [i32],
        items: Box<ColumnView<'a>>,
    },
    List8 {
        offsets: &'a [i64],
        items: Box<ColumnView<'a>>,
    },
    Struct(Vec<ColumnView<'a>>),
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    let array: &PrimitiveArray<T> = array.as_primitive();
    array.values()
}

impl<'a> ColumnView<'a> {
    fn new(array: &'a dyn Array, equality: Equality) -> Result<ColumnView<'a>> {
        let key = equality == Equality::Key;
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean().values()),
            DataType::Int8 => Values::Fixed1(bytes_of(primitive::<Int8Type>(array))),
            DataType::UInt8 => Values::Fixed1(primitive::<UInt8Type>(array)),
            DataType::Int16 => Values::Fixed2(pairs_of(primitive::<Int16Type>(array))),
            DataType::UInt16 => Values::Fixed2(pairs_of(primitive::<UInt16Type>(array))),
            DataType::Int32 => Values::Fixed4(words_of(primitive::<Int32Type>(array))),
            DataType::UInt32 => Values::Fixed4(primitive::<UInt32Type>(array)),
            DataType::Date32 => Values::Fixed4(words_of(primitive::<Date32Type>(array))),
            DataType::Int64 => Values::Fixed8(longs_of(primitive::<Int64Type>(array))),
            DataType::UInt64 => Values::Fixed8(primitive::<UInt64Type>(array)),
            DataType::Date64 => Values::Fixed8(longs_of(primitive::<Date64Type>(array))),
            DataType::Time64(TimeUnit::Microsecond) => {
                Values::Fixed8(longs_of(primitive::<Time64MicrosecondType>(array)))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::Fixed8(longs_of(primitive::<TimestampMicrosecondType>(array)))
            }
            DataType::Decimal128(_, _) => Values::Fixed16(primitive::<Decimal128Type>(array)),
            DataType::Decimal256(_, _) => Values::Fixed32(primitive::<Decimal256Type>(array)),
            DataType::Float32 => Values::Float4 { values: primitive::<Float32Type>(array), zeros: key },
            DataType::Float64 => Values::Float8 { values: primitive::<Float64Type>(array), zeros: key },
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let values = primitive::<IntervalMonthDayNanoType>(array);
                if key { Values::IntervalLength(values) } else { Values::Interval(values) }
            }
            DataType::Utf8 => {
                let text = array.as_string::<i32>();
                Values::Bytes4 { offsets: text.value_offsets(), bytes: text.value_data() }
            }
            DataType::Binary => {
                let binary = array.as_binary::<i32>();
                Values::Bytes4 { offsets: binary.value_offsets(), bytes: binary.value_data() }
            }
            DataType::FixedSizeBinary(size) => {
                Values::BytesN { size: *size as usize, bytes: array.as_fixed_size_binary().value_data() }
            }
            DataType::LargeUtf8 | DataType::LargeBinary | DataType::Utf8View | DataType::BinaryView => {
                Values::Wide(array)
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let items = Box::new(ColumnView::new(list.values().as_ref(), equality)?);
                Values::List4 { offsets: list.value_offsets(), items }
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let items = Box::new(ColumnView::new(list.values().as_ref(), equality)?);
                Values::List8 { offsets: list.value_offsets(), items }
            }
            DataType::Struct(_) => {
                let fields = array.as_struct().columns().iter();
                Values::Struct(
                    fields.map(|field| ColumnView::new(field.as_ref(), equality)).collect::<Result<Vec<_>>>()?,
                )
            }
            other => return Err(Error::internal(format!("no equality for columns of type {other}"))),
        };
        Ok(ColumnView { nulls: array.nulls(), values })
    }

    #[inline(always)]
    fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row)) || matches!(self.values, Values::Null)
    }

    #[inline]
    fn equal(&self, i: usize, other: &ColumnView, j: usize) -> bool {
        match (self.is_null(i), other.is_null(j)) {
            (false, false) => {}
            (a, b) => return a && b,
        }
        use Values::*;
        match (&self.values, &other.values) {
            (Fixed8(a), Fixed8(b)) => a[i] == b[j],
            (Fixed4(a), Fixed4(b)) => a[i] == b[j],
            (Bytes4 { offsets: oa, bytes: a }, Bytes4 { offsets: ob, bytes: b }) => {
                a[oa[i] as usize..oa[i + 1] as usize] == b[ob[j] as usize..ob[j + 1] as usize]
            }
            (Fixed16(a), Fixed16(b)) => a[i] == b[j],
            (Fixed32(a), Fixed32(b)) => a[i] == b[j],
            (Bool(a), Bool(b)) => a.value(i) == b.value(j),
            (Fixed1(a), Fixed1(b)) => a[i] == b[j],
            (Fixed2(a), Fixed2(b)) => a[i] == b[j],
            (Float4 { values: a, zeros }, Float4 { values: b, .. }) => same_float(a[i] as f64, b[j] as f64, *zeros),
            (Float8 { values: a, zeros }, Float8 { values: b, .. }) => same_float(a[i], b[j], *zeros),
            (Interval(a), Interval(b)) => a[i] == b[j],
            (IntervalLength(a), IntervalLength(b)) => interval_length(a[i]) == interval_length(b[j]),
            (BytesN { size: m, bytes: a }, BytesN { size: n, bytes: b }) => {
                m == n && a[i * m..(i + 1) * m] == b[j * n..(j + 1) * n]
            }
            (Wide(a), Wide(b)) => wide_value(*a, i) == wide_value(*b, j),
            (List4 { offsets: oa, items: a }, List4 { offsets: ob, items: b }) => {
                equal_runs(a, oa[i] as usize..oa[i + 1] as usize, b, ob[j] as usize..ob[j + 1] as usize)
            }
            (List8 { offsets: oa, items: a }, List8 { offsets: ob, items: b }) => {
                equal_runs(a, oa[i] as usize..oa[i + 1] as usize, b, ob[j] as usize..ob[j + 1] as usize)
            }
            (Struct(a), Struct(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equal(i, b, j)),
            _ => false,
        }
    }
}

fn equal_runs(a: &ColumnView, i: std::ops::Range<usize>, b: &ColumnView, j: std::ops::Range<usize>) -> bool {
    i.len() == j.len() && i.zip(j).all(|(i, j)| a.equal(i, b, j))
}

#[inline(always)]
fn same_float(a: f64, b: f64, zeros: bool) -> bool {
    if zeros { float_bits(a) == float_bits(b) } else { a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) }
}

fn wide_value(array: &dyn Array, row: usize) -> &[u8] {
    fn text<O: OffsetSizeTrait>(array: &GenericStringArray<O>, row: usize) -> &[u8] {
        array.value(row).as_bytes()
    }
    match array.data_type() {
        DataType::LargeUtf8 => text(array.as_string::<i64>(), row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        DataType::Utf8View => array.as_string_view().value(row).as_bytes(),
        _ => array.as_binary_view().value(row),
    }
}

// Signed integers seen as unsigned ones of the same size: the same bits, so equality is the same.
macro_rules! reinterpret {
    ($name:ident, $from:ty, $to:ty) => {
        fn $name(values: &[$from]) -> &[$to] {
            const { assert!(size_of::<$from>() == size_of::<$to>() && align_of::<$from>() >= align_of::<$to>()) };
            // SAFETY: same size, no stricter alignment, and every bit pattern is a value of the target type.
            unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
        }
    };
}
reinterpret!(bytes_of, i8, u8);
reinterpret!(words_of, i32, u32);
reinterpret!(longs_of, i64, u64);

fn pairs_of<T: ArrowNativeType>(values: &[T]) -> &[[u8; 2]] {
    assert_eq!(size_of::<T>(), 2);
    // SAFETY: two bytes each, of any alignment, of any bit pattern.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;

    use super::*;

    fn matrix(array: impl Array + 'static, equality: Equality) -> Vec<(usize, usize)> {
        let columns: Vec<ArrayRef> = vec![Arc::new(array)];
        let view = RowsView::new(&columns, equality).unwrap();
        let rows = columns[0].len();
        (0..rows).flat_map(|i| (i + 1..rows).map(move |j| (i, j))).filter(|(i, j)| view.equal(*i, &view, *j)).collect()
    }

    #[test]
    fn rows_are_compared_by_bits_and_keys_by_value() {
        let floats = Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), None, None]);
        assert_eq!(matrix(floats.clone(), Equality::Row), [(2, 3), (4, 5)]);
        assert_eq!(matrix(floats, Equality::Key), [(0, 1), (2, 3), (4, 5)]);
        let day = IntervalMonthDayNano::new(0, 1, 0);
        let hours = IntervalMonthDayNano::new(0, 0, 86_400_000_000_000);
        let intervals = IntervalMonthDayNanoArray::from(vec![day, hours, day]);
        assert_eq!(matrix(intervals.clone(), Equality::Row), [(0, 2)]);
        assert_eq!(matrix(intervals, Equality::Key), [(0, 1), (0, 2), (1, 2)]);
    }

    #[test]
    fn text_lists_and_structs_are_compared_inside() {
        assert_eq!(matrix(StringArray::from(vec!["ab", "a", "ab", ""]), Equality::Row), [(0, 2)]);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            Some(vec![Some(1)]),
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            None,
        ]);
        assert_eq!(matrix(lists.clone(), Equality::Key), [(0, 2), (3, 5)]);
        assert_eq!(matrix(lists.slice(2, 4), Equality::Key), [(1, 3)]);
        let fields = vec![Field::new("l", lists.data_type().clone(), true)];
        assert_eq!(
            matrix(StructArray::new(fields.into(), vec![Arc::new(lists)], None), Equality::Key),
            [(0, 2), (3, 5)]
        );
    }
}
