//! Values as bytes and back, bit for bit.
//!
//! A subquery is answered for each of its outer columns' values, and what it answers may show them: '1 day' and '24:00' ask
//! separately, and so do 0.0 and -0.0, though each is equal to the other. Operators tell such values apart in some places
//! and not in others; bytes they tell apart everywhere. NULL has bytes too.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, UInt32Array, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::delta::keys::normalize_nans;
use crate::error::Result;
use crate::operators::ordered_rows;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bits {
    way: Way,
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Way {
    To,
    Back { data_type: DataType, nullable: bool },
}

/// The value as bytes that are equal where all its bits are, but for those of NaN.
pub fn bits(value: Expr) -> Expr {
    call(Way::To, value)
}

/// The value of this type that [`bits`] made bytes of.
pub fn of_bits(bytes: Expr, data_type: DataType, nullable: bool) -> Expr {
    call(Way::Back { data_type, nullable }, bytes)
}

fn call(way: Way, arg: Expr) -> Expr {
    let function = Bits { way, signature: Signature::any(1, Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(ScalarUDF::new_from_impl(function).into(), vec![arg]))
}

impl ScalarUDFImpl for Bits {
    fn name(&self) -> &str {
        match self.way {
            Way::To => "bits",
            Way::Back { .. } => "of_bits",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(match &self.way {
            Way::To => DataType::Binary,
            Way::Back { data_type, .. } => data_type.clone(),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let nullable = match &self.way {
            Way::To => false,
            Way::Back { nullable, .. } => *nullable || args.arg_fields.iter().any(|field| field.is_nullable()),
        };
        Ok(Arc::new(Field::new(self.name(), self.return_type(&[])?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(match &self.way {
            Way::To => to_bits(&values)?,
            Way::Back { data_type, .. } => from_bits(&values, data_type)?,
        }))
    }
}

fn encoding(data_type: &DataType) -> Result<ordered_rows::OrderedRows> {
    ordered_rows::OrderedRows::new(vec![ordered_rows::Field::payload(data_type.clone())])
}

fn to_bits(values: &ArrayRef) -> Result<ArrayRef> {
    let encoding = encoding(values.data_type())?;
    let mut rows = encoding.scratch();
    encoding.encode(&[normalize_nans(values)], &mut rows)?;
    let mut bytes = BinaryBuilder::new();
    rows.iter().for_each(|row| bytes.append_value(row.data()));
    Ok(Arc::new(bytes.finish()))
}

/// NULL where there are no bytes, as in the rows of an outer join that found none.
fn from_bits(bytes: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let Some(bytes) = bytes.as_binary_opt::<i32>() else { return Ok(new_null_array(data_type, bytes.len())) };
    let values = encoding(data_type)?.decode(bytes.iter().flatten())?.swap_remove(0);
    if bytes.null_count() == 0 {
        return Ok(values);
    }
    let mut next = 0..;
    let places: UInt32Array = bytes.iter().map(|bytes| bytes.and_then(|_| next.next())).collect();
    Ok(arrow::compute::take(&values, &places, None)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, IntervalMonthDayNanoArray, ListArray};
    use arrow::datatypes::{Float64Type, IntervalMonthDayNano};

    use super::*;

    /// Which rows have the bytes of which, and the values that come back.
    fn round_trip(values: ArrayRef) -> (Vec<(usize, usize)>, ArrayRef) {
        let bytes = to_bits(&values).expect("bytes");
        assert_eq!(bytes.null_count(), 0);
        let row = |n: usize| bytes.as_binary::<i32>().value(n);
        let pairs = (0..values.len()).flat_map(|i| (i + 1..values.len()).map(move |j| (i, j)));
        let same = pairs.filter(|(i, j)| row(*i) == row(*j)).collect();
        (same, from_bits(&bytes, values.data_type()).expect("values"))
    }

    #[test]
    fn equal_values_that_print_differently_stay_apart() {
        let floats = Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), None, None]);
        let (same, back) = round_trip(Arc::new(floats));
        assert_eq!(same, [(2, 3), (4, 5)]);
        let back = back.as_primitive::<Float64Type>();
        assert!(back.value(0).is_sign_positive() && back.value(1).is_sign_negative() && back.is_null(4));

        let day = IntervalMonthDayNano::new(0, 1, 0);
        let hours = IntervalMonthDayNano::new(0, 0, 86_400_000_000_000);
        let intervals: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![day, hours, day]));
        let (same, back) = round_trip(intervals.clone());
        assert_eq!(same, [(0, 2)]);
        assert_eq!(&back, &intervals);

        let lists = [Some(vec![Some(0.0)]), Some(vec![Some(-0.0)]), Some(vec![None]), None, Some(vec![Some(-0.0)])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
        let (same, back) = round_trip(lists.clone());
        assert_eq!(same, [(1, 4)]);
        assert_eq!(&back, &lists);
    }

    #[test]
    fn no_bytes_are_null() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 2.5]));
        let bytes =
            arrow::compute::take(&to_bits(&values).expect("bytes"), &UInt32Array::from(vec![None, Some(1)]), None);
        let back = from_bits(&bytes.expect("taken"), &DataType::Float64).expect("values");
        assert_eq!(back.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [None, Some(2.5)]);
        let untyped = from_bits(&new_null_array(&DataType::Null, 2), &DataType::Float64).expect("values");
        assert_eq!(untyped.null_count(), 2);
    }
}
