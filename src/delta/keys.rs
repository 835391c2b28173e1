//! Canonical forms of key columns: equal keys get the same bits, and the order of the bits can be SQL's order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, ListArray, RecordBatch, StructArray};
use arrow::compute::SortOptions;
use arrow::datatypes::*;
use arrow_row::{RowConverter, Rows, SortField};

use super::hash::interval_length;
use crate::error::Result;

/// The same values with one zero and one NaN, also inside lists and structs. Columns without floats are not copied.
pub fn normalize_floats(column: &ArrayRef) -> ArrayRef {
    with_one_nan(column, true)
}

/// The same values with one NaN, also inside lists and structs: those that print the same have the same bits.
pub fn normalize_nans(column: &ArrayRef) -> ArrayRef {
    with_one_nan(column, false)
}

/// `one_zero`: and with one zero.
fn with_one_nan(column: &ArrayRef, one_zero: bool) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            let zero = |v: f32| one_zero && v == 0.0 && v.is_sign_negative();
            if values.values().iter().any(|v| v.is_nan() || zero(*v)) {
                Arc::new(values.unary::<_, Float32Type>(|v| match v.is_nan() {
                    true => f32::NAN,
                    false if zero(v) => 0.0,
                    false => v,
                }))
            } else {
                column.clone()
            }
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            let zero = |v: f64| one_zero && v == 0.0 && v.is_sign_negative();
            if values.values().iter().any(|v| v.is_nan() || zero(*v)) {
                Arc::new(values.unary::<_, Float64Type>(|v| match v.is_nan() {
                    true => f64::NAN,
                    false if zero(v) => 0.0,
                    false => v,
                }))
            } else {
                column.clone()
            }
        }
        DataType::List(field) if has_floats(field.data_type()) => {
            let list = column.as_list::<i32>();
            let items = with_one_nan(list.values(), one_zero);
            Arc::new(ListArray::new(field.clone(), list.offsets().clone(), items, list.nulls().cloned()))
        }
        DataType::Struct(fields) if has_floats(column.data_type()) => {
            let values = column.as_struct();
            let columns = values.columns().iter().map(|column| with_one_nan(column, one_zero)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, values.nulls().cloned()))
        }
        _ => column.clone(),
    }
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 => true,
        DataType::List(field) => has_floats(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        _ => false,
    }
}

/// Whether equal values of the type may print differently: -0.0 and 0.0, a day and 24 hours, what holds such.
pub fn has_equal_forms(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 | DataType::Interval(_) => true,
        DataType::List(field) => has_equal_forms(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_equal_forms(field.data_type())),
        _ => false,
    }
}

/// The type of [`sortable`] columns made from columns of this type.
pub fn sortable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(_) | DataType::Struct(_) => DataType::Binary,
        scalar => comparable_type(scalar),
    }
}

/// A column that Arrow sorts as SQL does and finds equal exactly where SQL's `=` holds: floats normalised (NaN is the
/// greatest), intervals by their length, lists and structs as bytes (their NULLs are the greatest of their elements and
/// equal to one another, wherever NULLs themselves are sorted to). The original value can't be read back from it.
pub fn sortable(column: &ArrayRef) -> Result<ArrayRef> {
    let column = comparable(column)?;
    if !matches!(column.data_type(), DataType::List(_) | DataType::Struct(_)) {
        return Ok(column);
    }
    let ascending = SortOptions { descending: false, nulls_first: false };
    let field = SortField::new_with_options(column.data_type().clone(), ascending);
    let rows = RowConverter::new(vec![field])?.convert_columns(std::slice::from_ref(&column))?;
    let (offsets, bytes, _) = rows.try_into_binary()?.into_parts();
    Ok(Arc::new(BinaryArray::try_new(offsets, bytes, column.nulls().cloned())?))
}

/// Makes keys bytes that are equal where SQL's `=` holds, and ordered as SQL orders the values, NULLs first.
pub struct KeyCodec {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl KeyCodec {
    /// `columns`: where the keys stand in rows of this schema.
    pub fn new(schema: &Schema, columns: Vec<usize>) -> Result<KeyCodec> {
        let field = |column: &usize| SortField::new(sortable_type(schema.field(*column).data_type()));
        let fields = columns.iter().map(field).collect();
        Ok(KeyCodec { converter: RowConverter::new(fields)?, columns })
    }

    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The keys of whole rows.
    pub fn of_rows(&self, rows: &RecordBatch) -> Result<Rows> {
        self.of_keys(&self.columns.iter().map(|column| rows.column(*column).clone()).collect::<Vec<_>>())
    }

    /// Keys from the key columns alone.
    pub fn of_keys(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let columns = columns.iter().map(sortable).collect::<Result<Vec<ArrayRef>>>()?;
        Ok(self.converter.convert_columns(&columns)?)
    }
}

/// Values whose elements, whatever they lie in, have an order of their own.
fn comparable_type(data_type: &DataType) -> DataType {
    let inside = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(comparable_type(field.data_type())));
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano) => DataType::Decimal128(38, 0),
        DataType::List(field) => DataType::List(inside(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        other => other.clone(),
    }
}

fn comparable(column: &ArrayRef) -> Result<ArrayRef> {
    match (column.data_type(), comparable_type(column.data_type())) {
        (DataType::Interval(IntervalUnit::MonthDayNano), _) => {
            let lengths: Decimal128Array =
                column.as_primitive::<IntervalMonthDayNanoType>().unary::<_, Decimal128Type>(interval_length);
            Ok(Arc::new(lengths.with_precision_and_scale(38, 0)?))
        }
        (DataType::List(_), DataType::List(field)) => {
            let list = column.as_list::<i32>();
            let items = comparable(list.values())?;
            Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), items, list.nulls().cloned())?))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let values = column.as_struct();
            let columns = values.columns().iter().map(comparable).collect::<Result<_>>()?;
            Ok(Arc::new(StructArray::try_new(fields, columns, values.nulls().cloned())?))
        }
        _ => Ok(normalize_floats(column)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::*;

    use super::*;

    #[test]
    fn floats_are_normalised_also_inside_lists() {
        let nan = -f64::NAN;
        let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
            Some(vec![Some(-0.0), None, Some(nan), Some(-1.5)]),
            None,
        ]);
        let normal = normalize_floats(&(Arc::new(lists) as ArrayRef));
        let items = normal.as_list::<i32>().values().as_primitive::<Float64Type>().clone();
        assert_eq!(items.value(0).to_bits(), 0.0f64.to_bits());
        assert!(items.is_null(1));
        assert_eq!(items.value(2).to_bits(), f64::NAN.to_bits());
        assert_eq!(items.value(3), -1.5);
        assert!(normal.is_null(1));
    }

    #[test]
    fn intervals_sort_by_length() {
        let month = IntervalMonthDayNano::new(1, 0, 0);
        let days = IntervalMonthDayNano::new(0, 31, 0);
        let array: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![month, days]));
        let sorted = sortable(&array).unwrap();
        assert_eq!(*sorted.data_type(), sortable_type(array.data_type()));
        let values = sorted.as_primitive::<Decimal128Type>();
        assert!(values.value(0) < values.value(1));
    }

    #[test]
    fn lists_and_structs_sort_by_their_elements() {
        let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
            Some(vec![]),
            Some(vec![Some(-0.0)]),
            Some(vec![Some(0.0)]),
            Some(vec![Some(0.0), None]),
            Some(vec![Some(f64::NAN)]),
            Some(vec![None]),
            None,
        ]);
        let sorted = sortable(&(Arc::new(lists) as ArrayRef)).unwrap();
        assert_eq!(*sorted.data_type(), DataType::Binary);
        let keys = sorted.as_binary::<i32>();
        assert!(keys.value(0) < keys.value(1) && keys.value(1) == keys.value(2) && keys.value(2) < keys.value(3));
        assert!(keys.value(3) < keys.value(4) && keys.value(4) < keys.value(5) && keys.is_null(6));

        let lengths: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![
            IntervalMonthDayNano::new(1, 0, 0),
            IntervalMonthDayNano::new(0, 30, 0),
            IntervalMonthDayNano::new(0, 31, 0),
        ]));
        let field = Arc::new(Field::new("length", lengths.data_type().clone(), true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(field, lengths)]));
        let sorted = sortable(&structs).unwrap();
        assert_eq!(*sorted.data_type(), sortable_type(structs.data_type()));
        let keys = sorted.as_binary::<i32>();
        assert!(keys.value(0) == keys.value(1) && keys.value(1) < keys.value(2));
    }
}
