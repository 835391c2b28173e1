//! Aggregates over values whose Arrow type does not tell which are equal or how they are ordered: functions of a list of the
//! group's values in order.
//!
//! ```text
//!   array_agg(DISTINCT x)   =   first_forms(array_agg(x ORDER BY key(x)))      of equal ones the least
//!   sum(DISTINCT x)         =   sum(first_forms(array_agg(x ORDER BY key(x))))
//!   max(x)                  =   (array_agg(x ORDER BY key(x) DESC))[1]
//! ```
//!
//! Cost: that of array_agg, a result as long as the group whenever it changes.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, make_comparator};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, take};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, Volatility};

use super::aggregate::{AggregateOptions, list};
use super::composite::Items;
use super::{Typed, int_literal};
use crate::error::{Error, Result};
use crate::operators::aggregate::{AggregateFunction, CallTypes, accumulator};
use crate::sql::arrays;
use crate::sql::functions::kernel::{Call, Kernel};
use crate::sql::functions::{compare, kernel_call};
use crate::types::Type;

/// `array_agg(DISTINCT item)`, ascending if no order is given. ORDER BY names nothing but the item, or its key.
pub fn distinct(item: Typed, options: AggregateOptions) -> Result<Typed> {
    let mut options = AggregateOptions { distinct: false, ..options };
    if options.order_by.is_empty() {
        options.order_by.push(Sort::new(compare::order(item.clone()).expr, true, false));
    }
    let values = list(item, options);
    let ty = values.ty.clone();
    Ok(kernel_call("first_forms", vec![values], ty, Volatility::Immutable, first_forms))
}

/// `sum(DISTINCT interval)` and avg.
pub fn distinct_intervals(
    name: &str,
    function: AggregateFunction,
    value: Expr,
    options: AggregateOptions,
) -> Result<Typed> {
    let kernel: Kernel = match function {
        AggregateFunction::Avg => |call| total(call, AggregateFunction::Avg),
        _ => |call| total(call, AggregateFunction::Sum),
    };
    let values = distinct(Typed::new(value, Type::Interval), AggregateOptions { order_by: Vec::new(), ..options })?;
    Ok(kernel_call(name, vec![values], Type::Interval, Volatility::Immutable, kernel))
}

/// The least or greatest value that is not NULL.
pub fn extreme(value: Typed, greatest: bool, collect: &mut dyn FnMut(Items) -> Result<Typed>) -> Result<Typed> {
    let key = compare::order(value.clone());
    let then = vec![(Sort::new(key.expr, !greatest, greatest), key.ty)];
    let only = Some(Expr::IsNotNull(Box::new(value.expr.clone())));
    arrays::element(collect(Items { item: value, then, only })?, int_literal(1).expr)
}

/// Of each run of equal elements the first.
fn first_forms(call: &Call) -> Result<ArrayRef> {
    let Type::Array(item) = &call.types[0] else { return Err(Error::internal("forms of what is no array")) };
    let list = call.args[0].array.as_list::<i32>();
    let keys = compare::ordered(item, list.values())?;
    let compare = make_comparator(&keys, &keys, SortOptions::default())?;
    let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(list.len()));
    for row in 0..list.len() {
        let (start, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
        let before = places.len();
        if list.is_valid(row) {
            let firsts = (start..end).filter(|&at| at == start || !compare(at - 1, at).is_eq());
            places.extend(firsts.map(|at| at as u32));
        }
        lengths.push(places.len() - before);
    }
    let arrow::datatypes::DataType::List(field) = list.data_type() else { return Err(Error::internal("a list")) };
    let values = take(list.values(), &UInt32Array::from(places), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(std::sync::Arc::new(ListArray::try_new(field.clone(), offsets, values, list.nulls().cloned())?))
}

/// An aggregate of the elements of each row's list.
fn total(call: &Call, function: AggregateFunction) -> Result<ArrayRef> {
    let list = call.args[0].array.as_list::<i32>();
    let mut totals = accumulator(&CallTypes {
        function,
        args: vec![list.value_type()],
        order: Vec::new(),
        distinct: false,
        output: call.result.arrow(),
        append_only: true,
    })?;
    totals.grow(list.len());
    let (mut places, mut owners) = (Vec::new(), Vec::new());
    for row in (0..list.len()).filter(|row| list.is_valid(*row)) {
        let (start, end) = (list.value_offsets()[row] as u32, list.value_offsets()[row + 1] as u32);
        places.extend(start..end);
        owners.extend((start..end).map(|_| row as u32));
    }
    let values = take(list.values(), &UInt32Array::from(places), None)?;
    totals.update(&owners, &[values], None, None)?;
    let (mut failures, rows) = (Vec::new(), (0..list.len() as u32).collect::<Vec<_>>());
    let results = totals.finish(&rows, &mut failures)?;
    match failures.into_iter().next() {
        Some(failure) => Err(failure.error),
        None => Ok(results),
    }
}
