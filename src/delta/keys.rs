//! Canonical forms of key columns: equal keys get the same bits, and the order of the bits can be SQL's order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, ListArray, StructArray};
use arrow::datatypes::*;

use super::hash::interval_length;
use crate::error::Result;

/// The same values with one zero and one NaN, also inside lists and structs. Columns without floats are not copied.
pub fn normalize_floats(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            if values.values().iter().any(|v| v.is_nan() || (*v == 0.0 && v.is_sign_negative())) {
                Arc::new(values.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }))
            } else {
                column.clone()
            }
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            if values.values().iter().any(|v| v.is_nan() || (*v == 0.0 && v.is_sign_negative())) {
                Arc::new(values.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }))
            } else {
                column.clone()
            }
        }
        DataType::List(field) if has_floats(field.data_type()) => {
            let list = column.as_list::<i32>();
            let items = normalize_floats(list.values());
            Arc::new(ListArray::new(field.clone(), list.offsets().clone(), items, list.nulls().cloned()))
        }
        DataType::Struct(fields) if has_floats(column.data_type()) => {
            let values = column.as_struct();
            let columns = values.columns().iter().map(normalize_floats).collect();
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

/// The type of [`sortable`] columns made from columns of this type.
pub fn sortable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano) => DataType::Decimal128(38, 0),
        other => other.clone(),
    }
}

/// A column whose arrow-row encoding sorts as SQL does and is equal exactly where SQL's `=` holds: floats normalised (NaN
/// is the greatest), intervals by their length. The original value can't be read back from it.
pub fn sortable(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let lengths: Decimal128Array =
                column.as_primitive::<IntervalMonthDayNanoType>().unary::<_, Decimal128Type>(interval_length);
            Ok(Arc::new(lengths.with_precision_and_scale(38, 0)?))
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
}
