//! Every aggregate against a naive recomputation, on random deltas (see `operators/testing.rs`), and the corners.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field as ArrowField, IntervalUnit, SchemaRef};
use datafusion::scalar::ScalarValue;
use num_bigint::{BigInt, Sign};

use super::float_exact::{SQUARE_UNIT, SUM_UNIT, parts};
use super::quotient::ratio_to_f64;
use super::*;
use crate::delta::Delta;
use crate::error::SqlState;
use crate::operators::ordered_rows::{Field, OrderedRows};
use crate::operators::testing::*;
use crate::operators::{Operator, Step};

const K: usize = 0;
const SMALL: usize = 1;
const INT: usize = 2;
const DEC: usize = 3;
const FLOAT: usize = 4;
const TEXT: usize = 5;
const FLAG: usize = 6;
const WIDE: usize = 7;
const SPAN: usize = 8;
const KEEP: usize = 9;

fn input_schema() -> SchemaRef {
    schema_of(&[
        ("k", DataType::Int16),
        ("small", DataType::Int16),
        ("int", DataType::Int64),
        ("dec", DataType::Decimal128(10, 2)),
        ("float", DataType::Float64),
        ("text", DataType::Utf8),
        ("flag", DataType::Boolean),
        ("wide", DataType::Decimal256(76, 38)),
        ("span", DataType::Interval(IntervalUnit::MonthDayNano)),
        ("keep", DataType::Boolean),
    ])
}

fn call(function: AggregateFunction, args: &[usize], output: DataType) -> AggregateCall {
    AggregateCall { function, args: args.to_vec(), filter: None, distinct: false, order_by: vec![], output }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(ArrowField::new_list_field(item, true)))
}

/// The random kit on these calls, grouped by the first column and over all rows.
fn agree(name: &str, calls: &[AggregateCall], append_only: bool) {
    let schema = input_schema();
    // What must give back a text that goes.
    let keeps_texts = |call: &AggregateCall| {
        use AggregateFunction as F;
        matches!(call.function, F::ArrayAgg | F::StringAgg | F::Min | F::Max) && call.args.contains(&TEXT)
    };
    for group in [vec![K], vec![]] {
        let mut columns: Vec<(String, DataType)> = group.iter().map(|_| ("k".to_owned(), DataType::Int16)).collect();
        columns.extend(calls.iter().enumerate().map(|(at, call)| (format!("c{at}"), call.output.clone())));
        let columns: Vec<(&str, DataType)> = columns.iter().map(|(name, ty)| (name.as_str(), ty.clone())).collect();
        let output = schema_of(&columns);
        let global = group.is_empty();
        let keeps = match () {
            () if !append_only && calls.iter().any(keeps_texts) => Keeps::Rows,
            () if global => Keeps::Summary,
            () => Keeps::Something,
        };
        let route = if global { Route::One } else { Route::Key(group.clone()) };
        let input = if append_only { Input::append_only(&schema, route) } else { Input::new(&schema, route) };
        check(&Property {
            name: &format!("{name}, grouped by {group:?}"),
            inputs: vec![input],
            subject: &|worker| {
                let (group, calls, schema, output) = (group.clone(), calls.to_vec(), schema.clone(), output.clone());
                Box::new(Remade::new(move || {
                    let here = global && worker == 0;
                    let made =
                        Aggregate::new(&group, &calls, here, &schema, &output, append_only).expect("an operator");
                    // Lists go over several passes.
                    Box::new(made.with_step_bytes(1000))
                }))
            },
            keeps,
            expected: &|inputs| {
                let mut groups = groups_of(&inputs[0], &group);
                if global && groups.is_empty() {
                    groups.push((vec![], vec![]));
                }
                let mut answer = Expected::default();
                for (key, rows) in groups {
                    let mut row = key;
                    for call in calls {
                        match naive(call, &rows) {
                            Ok(value) => row.push(value),
                            Err((state, message)) => {
                                row.push(ScalarValue::try_from(&call.output).expect("a NULL"));
                                answer.errors.push((state, message));
                            }
                        }
                    }
                    answer.rows.push(row);
                }
                answer
            },
        });
    }
}

type Answer = Result<ScalarValue, (SqlState, String)>;

fn naive(call: &AggregateCall, rows: &[Row]) -> Answer {
    use AggregateFunction as F;
    let kept = |row: &&Row| call.filter.is_none_or(|column| row[column] == ScalarValue::Boolean(Some(true)));
    let mut rows: Vec<&Row> = rows.iter().filter(kept).collect();
    let null = ScalarValue::try_from(&call.output).expect("a NULL");
    if call.function == F::CountRows {
        return Ok(ScalarValue::Int64(Some(rows.len() as i64)));
    }
    if call.distinct {
        let mut seen = std::collections::HashSet::new();
        let args = |row: &Row| call.args.iter().map(|&arg| normal(&row[arg])).collect::<Row>();
        rows.retain(|row| seen.insert(text_of(&args(row))));
    }
    if matches!(call.function, F::ArrayAgg | F::StringAgg | F::FirstTwo) {
        return Ok(naive_list(call, &rows));
    }
    let values: Vec<&ScalarValue> = rows.iter().map(|row| &row[call.args[0]]).filter(|v| !v.is_null()).collect();
    if call.function == F::Count {
        return Ok(ScalarValue::Int64(Some(values.len() as i64)));
    }
    if values.is_empty() {
        return Ok(null);
    }
    match call.function {
        F::BoolAnd => Ok(ScalarValue::Boolean(Some(values.iter().all(|v| **v == ScalarValue::Boolean(Some(true)))))),
        F::BoolOr => Ok(ScalarValue::Boolean(Some(values.iter().any(|v| **v == ScalarValue::Boolean(Some(true)))))),
        F::BitAnd | F::BitOr | F::BitXor => {
            let bits = values.iter().map(|value| match value {
                ScalarValue::Int16(Some(v)) => *v,
                other => panic!("bits of {other}"),
            });
            let result = bits.reduce(|a, b| match call.function {
                F::BitAnd => a & b,
                F::BitOr => a | b,
                _ => a ^ b,
            });
            Ok(ScalarValue::Int16(result))
        }
        F::Min | F::Max => {
            let column = ScalarValue::iter_to_array(values.iter().map(|v| (*v).clone())).expect("values");
            let sorted = sorted_by(&[column], vec![Field::key(call.output.clone(), SortOptions::default())]);
            let at = if call.function == F::Min { sorted[0] } else { sorted[sorted.len() - 1] };
            Ok(normal(values[at]))
        }
        _ if call.args[0] == FLOAT => naive_float(call, &values),
        _ if call.args[0] == SPAN => unreachable!("intervals have their own test"),
        _ => Ok(naive_number(call, &values)),
    }
}

/// Indices of rows in the order of these columns.
fn sorted_by(columns: &[ArrayRef], fields: Vec<Field>) -> Vec<usize> {
    let order = OrderedRows::new(fields).expect("an ordering");
    let mut rows = order.scratch();
    order.encode(columns, &mut rows).expect("rows");
    let mut sorted: Vec<usize> = (0..rows.num_rows()).collect();
    sorted.sort_by_key(|row| rows.row(*row).data().to_vec());
    sorted
}

fn naive_list(call: &AggregateCall, rows: &[&Row]) -> ScalarValue {
    let null = ScalarValue::try_from(&call.output).expect("a NULL");
    let text = call.function == AggregateFunction::StringAgg;
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| !text || !row[call.args[0]].is_null()).collect();
    if rows.is_empty() {
        return null;
    }
    let schema = input_schema();
    let type_of = |column: usize| schema.field(column).data_type().clone();
    let keys = call.order_by.iter().map(|key| {
        let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
        (key.column, Field::key(type_of(key.column), options))
    });
    let args = call.args.iter().map(|&arg| (arg, Field::payload(type_of(arg))));
    let (columns, fields): (Vec<usize>, Vec<Field>) = keys.chain(args).unzip();
    let columns: Vec<ArrayRef> = columns
        .iter()
        .map(|column| ScalarValue::iter_to_array(rows.iter().map(|row| row[*column].clone())).expect("values"))
        .collect();
    let mut sorted = sorted_by(&columns, fields);
    if call.function == AggregateFunction::FirstTwo {
        sorted.truncate(2);
    }
    let values = sorted.iter().map(|&at| rows[at][call.args[0]].clone());
    if !text {
        let DataType::List(item) = &call.output else { panic!("array_agg gives a list") };
        return ScalarValue::List(ScalarValue::new_list_nullable(&values.collect::<Vec<_>>(), item.data_type()));
    }
    let mut out = String::new();
    for (place, &at) in sorted.iter().enumerate() {
        let part = |column: usize| match &rows[at][column] {
            ScalarValue::Utf8(value) => value.clone().unwrap_or_default(),
            other => panic!("text expected, not {other}"),
        };
        if place > 0 {
            out.push_str(&part(call.args[1]));
        }
        out.push_str(&part(call.args[0]));
    }
    ScalarValue::Utf8(Some(out))
}

fn big_float(value: f64) -> BigInt {
    let (magnitude, negative, exponent) = parts(value);
    let value = BigInt::from(magnitude) << exponent;
    if negative { -value } else { value }
}

fn naive_float(call: &AggregateCall, values: &[&ScalarValue]) -> Answer {
    use AggregateFunction as F;
    let floats: Vec<f64> = values
        .iter()
        .map(|value| match value {
            ScalarValue::Float64(Some(value)) => *value,
            other => panic!("a float expected, not {other}"),
        })
        .collect();
    let spread = !matches!(call.function, F::Sum | F::Avg);
    let sample = matches!(call.function, F::VarSamp | F::StddevSamp);
    if sample && floats.len() < 2 {
        return Ok(ScalarValue::Float64(None));
    }
    let nan = floats.iter().any(|v| v.is_nan());
    let (up, down) = (floats.contains(&f64::INFINITY), floats.contains(&f64::NEG_INFINITY));
    if nan || (up && down) || (spread && (up || down)) {
        return Ok(ScalarValue::Float64(Some(f64::NAN)));
    }
    if up || down {
        return Ok(ScalarValue::Float64(Some(if up { f64::INFINITY } else { f64::NEG_INFINITY })));
    }
    let (n, one) = (floats.len() as i64, BigInt::from(1));
    let sum: BigInt = floats.iter().map(|v| big_float(*v)).sum();
    let result = match call.function {
        F::Sum => ratio_to_f64(&sum, &one, SUM_UNIT),
        F::Avg => ratio_to_f64(&sum, &one, SUM_UNIT) / n as f64,
        _ => {
            let squares: BigInt = floats.iter().map(|v| big_float(*v) * big_float(*v)).sum();
            let divisor = BigInt::from(if sample { n * (n - 1) } else { n * n });
            let variance = ratio_to_f64(&(squares * n - &sum * &sum), &divisor, SQUARE_UNIT);
            if matches!(call.function, F::StddevPop | F::StddevSamp) { variance.sqrt() } else { variance }
        }
    };
    if result.is_infinite() {
        return Err((SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow".to_owned()));
    }
    Ok(ScalarValue::Float64(Some(result)))
}

/// Integers and decimals: a rational, rounded half away from zero at the output's scale.
fn naive_number(call: &AggregateCall, values: &[&ScalarValue]) -> ScalarValue {
    use AggregateFunction as F;
    let unscaled = |value: &ScalarValue| match value {
        ScalarValue::Int16(Some(v)) => (BigInt::from(*v), 0),
        ScalarValue::Int64(Some(v)) => (BigInt::from(*v), 0),
        ScalarValue::Decimal128(Some(v), _, s) => (BigInt::from(*v), *s as u32),
        ScalarValue::Decimal256(Some(v), _, s) => (v.to_string().parse().expect("an integer"), *s as u32),
        other => panic!("a number expected, not {other}"),
    };
    let (n, scale) = (BigInt::from(values.len()), unscaled(values[0]).1);
    let sum: BigInt = values.iter().map(|v| unscaled(v).0).sum();
    let squares: BigInt = values.iter().map(|v| unscaled(v).0 * unscaled(v).0).sum();
    let out_scale = match &call.output {
        DataType::Decimal128(_, s) | DataType::Decimal256(_, s) => *s as u32,
        _ => 0,
    };
    let less = BigInt::from(values.len() as i64 - 1);
    let spread = &squares * &n - &sum * &sum;
    let (numerator, denominator, scale) = match call.function {
        F::Sum => (sum, BigInt::from(1), scale),
        F::Avg => (sum, n, scale),
        F::VarPop | F::StddevPop => (spread, &n * &n, 2 * scale),
        _ if less == BigInt::from(0) => return ScalarValue::try_from(&call.output).expect("a NULL"),
        _ => (spread, &n * less, 2 * scale),
    };
    let root = matches!(call.function, F::StddevPop | F::StddevSamp);
    if call.output == DataType::Float64 {
        let value = ratio_to_f64(&numerator, &(denominator * BigInt::from(10).pow(scale)), 0);
        return ScalarValue::Float64(Some(if root { value.sqrt() } else { value }));
    }
    let up = BigInt::from(10).pow(if root { 2 * out_scale } else { out_scale });
    let (numerator, denominator) = (numerator * up, denominator * BigInt::from(10).pow(scale));
    let result = if root {
        let floor = (&numerator / &denominator).sqrt();
        let odd: BigInt = &floor * 2 + 1;
        if &odd * &odd * &denominator <= &numerator * 4 { floor + 1 } else { floor }
    } else {
        let (quotient, rest) = (&numerator / &denominator, &numerator % &denominator);
        let away = if numerator.sign() == Sign::Minus { -1 } else { 1 };
        if BigInt::from_biguint(Sign::Plus, rest.magnitude().clone()) * 2 >= denominator {
            quotient + away
        } else {
            quotient
        }
    };
    let text = result.to_string();
    match &call.output {
        DataType::Int64 => ScalarValue::Int64(Some(text.parse().expect("it fits"))),
        DataType::Decimal128(p, s) => ScalarValue::Decimal128(Some(text.parse().expect("it fits")), *p, *s),
        DataType::Decimal256(p, s) => ScalarValue::Decimal256(Some(text.parse().expect("it fits")), *p, *s),
        other => panic!("no model for {other}"),
    }
}

#[test]
fn counts_and_sums() {
    use AggregateFunction as F;
    let mut calls = vec![
        call(F::CountRows, &[], DataType::Int64),
        call(F::Count, &[TEXT], DataType::Int64),
        call(F::Sum, &[SMALL], DataType::Int64),
        call(F::Sum, &[INT], DataType::Decimal256(76, 38)),
        call(F::Sum, &[INT], DataType::Decimal128(38, 0)),
        call(F::Sum, &[DEC], DataType::Decimal128(38, 2)),
        call(F::Sum, &[WIDE], DataType::Decimal256(76, 38)),
        call(F::Avg, &[INT], DataType::Decimal128(38, 16)),
        call(F::Avg, &[DEC], DataType::Decimal256(76, 38)),
        call(F::Avg, &[DEC], DataType::Decimal128(38, 1)),
        call(F::Avg, &[SMALL], DataType::Float64),
        call(F::Sum, &[FLOAT], DataType::Float64),
        call(F::Avg, &[FLOAT], DataType::Float64),
    ];
    agree("sums", &calls, false);
    calls.iter_mut().for_each(|call| call.filter = Some(KEEP));
    agree("sums with a filter", &calls, false);
}

#[test]
fn spreads() {
    use AggregateFunction as F;
    let mut calls = Vec::new();
    for function in [F::VarPop, F::VarSamp, F::StddevPop, F::StddevSamp] {
        calls.push(call(function, &[FLOAT], DataType::Float64));
        calls.push(call(function, &[SMALL], DataType::Decimal256(76, 38)));
        calls.push(call(function, &[DEC], DataType::Decimal128(38, 20)));
        calls.push(call(function, &[DEC], DataType::Decimal128(38, 1)));
        calls.push(call(function, &[WIDE], DataType::Decimal256(76, 38)));
        calls.push(call(function, &[INT], DataType::Float64));
    }
    agree("spreads", &calls, false);
}

#[test]
fn bits_booleans_and_extremes() {
    use AggregateFunction as F;
    let mut calls = vec![
        call(F::BoolAnd, &[FLAG], DataType::Boolean),
        call(F::BoolOr, &[FLAG], DataType::Boolean),
        call(F::BitAnd, &[SMALL], DataType::Int16),
        call(F::BitOr, &[SMALL], DataType::Int16),
        call(F::BitXor, &[SMALL], DataType::Int16),
    ];
    let schema = input_schema();
    for column in [SMALL, INT, DEC, FLOAT, TEXT, WIDE, SPAN] {
        for function in [F::Min, F::Max] {
            calls.push(call(function, &[column], schema.field(column).data_type().clone()));
        }
    }
    agree("extremes", &calls, false);
    agree("extremes of append-only input", &calls, true);
}

#[test]
fn lists() {
    use AggregateFunction as F;
    let key = |column, descending| SortKey { column, descending, nulls_first: descending };
    let mut calls = vec![
        call(F::StringAgg, &[TEXT, TEXT], DataType::Utf8),
        call(F::ArrayAgg, &[INT], list_of(DataType::Int64)),
        call(F::ArrayAgg, &[FLOAT], list_of(DataType::Float64)),
        call(F::ArrayAgg, &[TEXT], list_of(DataType::Utf8)),
        call(F::FirstTwo, &[INT], list_of(DataType::Int64)),
    ];
    let mut ordered = calls.clone();
    ordered[0].order_by = vec![key(INT, true), key(FLOAT, false)];
    ordered[1].order_by = vec![key(FLOAT, false)];
    ordered[3].order_by = vec![key(SPAN, true)];
    calls.extend(ordered);
    agree("lists", &calls, false);
}

#[test]
fn distinct_values() {
    use AggregateFunction as F;
    let mut calls = vec![
        call(F::Count, &[TEXT], DataType::Int64),
        call(F::Count, &[INT], DataType::Int64),
        call(F::Sum, &[INT], DataType::Decimal128(38, 0)),
        call(F::Sum, &[FLOAT], DataType::Float64),
        call(F::VarPop, &[SMALL], DataType::Decimal128(38, 16)),
        call(F::BitXor, &[SMALL], DataType::Int16),
        call(F::ArrayAgg, &[TEXT], list_of(DataType::Utf8)),
        call(F::StringAgg, &[TEXT, TEXT], DataType::Utf8),
        call(F::Max, &[TEXT], DataType::Utf8),
    ];
    calls.iter_mut().for_each(|call| call.distinct = true);
    calls[6].order_by = vec![SortKey { column: TEXT, descending: true, nulls_first: true }];
    agree("distinct", &calls, false);
    calls.iter_mut().for_each(|call| call.filter = Some(KEEP));
    agree("distinct with a filter", &calls, false);
    agree("distinct over append-only input", &calls, true);
}

/// One group's result after these (value, weight) changes.
fn result_of(types: &CallTypes, values: ArrayRef, weights: &[i64]) -> (ArrayRef, Vec<Failure>) {
    let mut made = accumulator(types).expect("an accumulator");
    made.grow(1);
    made.update(&vec![0; values.len()], &[values], Some(weights), None).expect("an update");
    let mut failures = Vec::new();
    let result = made.finish(&[0], &mut failures).expect("a result");
    (result, failures)
}

fn types(function: AggregateFunction, input: DataType, output: DataType) -> CallTypes {
    CallTypes { function, args: vec![input], order: vec![], distinct: false, output, append_only: false }
}

#[test]
fn a_sum_that_overflows_is_null_and_recovers() {
    let types = types(AggregateFunction::Sum, DataType::Int64, DataType::Int64);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX, 5]));
    let (result, failures) = result_of(&types, values.clone(), &[1, 1, 1]);
    assert!(result.is_null(0));
    assert_eq!(failures[0].error.state(), SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    assert_eq!(failures[0].error.message(), "bigint out of range");
    let (result, failures) = result_of(&types, values, &[0, 0, 1]);
    assert_eq!(result.as_primitive::<arrow::datatypes::Int64Type>().value(0), 5);
    assert!(failures.is_empty());
}

#[test]
fn a_large_offset_takes_nothing_from_a_variance() {
    let types = types(AggregateFunction::VarSamp, DataType::Float64, DataType::Float64);
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values([4.0, 7.0, 13.0, 16.0].map(|v| 1e15 + v)));
    let (result, _) = result_of(&types, values, &[1; 4]);
    assert_eq!(result.as_primitive::<arrow::datatypes::Float64Type>().value(0), 30.0);
}

#[test]
fn the_order_of_floats_does_not_matter() {
    let types = types(AggregateFunction::Sum, DataType::Float64, DataType::Float64);
    let values = [1e16, 1.0, -1e16, 0.1, 1e-20, 3.0];
    let sum = |values: Vec<f64>| {
        let weights = vec![1; values.len()];
        let (result, _) = result_of(&types, Arc::new(Float64Array::from(values)), &weights);
        result.as_primitive::<arrow::datatypes::Float64Type>().value(0).to_bits()
    };
    let forward = sum(values.to_vec());
    assert_eq!(forward, sum(values.iter().rev().copied().collect()));
    assert_eq!(f64::from_bits(forward), 4.1);
}

#[test]
fn intervals_add_up_and_divide_as_in_postgres() {
    use arrow::array::IntervalMonthDayNanoArray;
    use arrow::datatypes::{IntervalMonthDayNano as Interval, IntervalMonthDayNanoType};
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let values: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from_iter_values([
        Interval::new(1, 0, 0),
        Interval::new(0, 1, 0),
        Interval::new(0, 0, 1_000_000_000),
    ]));
    let of = |function| {
        let types = types(function, interval.clone(), interval.clone());
        let (result, _) = result_of(&types, values.clone(), &[1, 1, 1]);
        result.as_primitive::<IntervalMonthDayNanoType>().value(0)
    };
    assert_eq!(of(AggregateFunction::Sum), Interval::new(1, 1, 1_000_000_000));
    // '1 mon 1 day 00:00:01' / 3 = '10 days 08:00:00.333333'
    assert_eq!(of(AggregateFunction::Avg), Interval::new(0, 10, 28_800_333_333_000));
}

#[test]
fn memory_is_given_back_when_groups_go() {
    let schema = schema_of(&[("k", DataType::Int64), ("v", DataType::Int64)]);
    let output = schema_of(&[("k", DataType::Int64), ("n", DataType::Int64), ("m", DataType::Int64)]);
    let calls =
        [call(AggregateFunction::Count, &[1], DataType::Int64), call(AggregateFunction::Max, &[1], DataType::Int64)];
    let mut operator = Aggregate::new(&[0], &calls, false, &schema, &output, false).unwrap();
    let batch = |from: i64| {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 1000));
        RecordBatch::try_new(schema.clone(), vec![column.clone(), column]).unwrap()
    };
    let mut bytes = Vec::new();
    for round in 0..20 {
        let deltas = [Delta::insertions(batch(round * 1000)), Delta::deletions(batch((round - 1) * 1000))];
        let given = if round == 0 { &deltas[..1] } else { &deltas[..] };
        let (mut out, mut errors) = (Vec::new(), RowErrors::default());
        let mut step =
            Step { before: 0, after: 1, oldest: 0, end_of_epoch: true, now: 0, out: &mut out, errors: &mut errors };
        operator.step(&[given], &mut step).unwrap();
        bytes.push(operator.state_bytes());
    }
    assert!(bytes[19] <= bytes[3], "state grows although groups come and go: {bytes:?}");
}
