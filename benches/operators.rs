//! How fast operators take rows, each alone on one core: 2 M random rows in steps of 8192.
//!
//! ```text
//! cargo bench --bench operators            # all
//! cargo bench --bench operators -- count   # those whose name contains "count"
//! ```
//!
//! Prints one JSON line a measurement: rows taken in a second, rows given, bytes of state at the end. Every step gives
//! the changed groups' old and new rows, so with many groups the output is larger than the input.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use riverrun::delta::{Delta, total_rows};
use riverrun::operators::aggregate::{AggregateCall, AggregateFunction};
use riverrun::operators::build::build;
use riverrun::operators::spec::{OpSpec, RankKind};
use riverrun::operators::{RowErrors, SortKey, Step};

const ROWS: usize = 2_000_000;
const STEP: usize = 8192;
const KEY: usize = 0;
const INT: usize = 1;
const FLOAT: usize = 2;
const TEXT: usize = 3;
const DECIMAL: usize = 4;
const TIME: usize = 5;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for keys in [100, 100_000, 1_000_000] {
        let deltas = input(keys);
        for (name, spec, output) in specs() {
            if wanted.is_empty() || wanted.iter().any(|part| name.contains(part)) {
                measure(name, keys, &spec, &output, &deltas);
            }
        }
    }
}

fn schema(columns: &[DataType]) -> SchemaRef {
    let fields = columns.iter().enumerate().map(|(at, ty)| Field::new(format!("c{at}"), ty.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn columns() -> Vec<DataType> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    vec![DataType::Int64, DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Decimal128(12, 2), time]
}

/// Insertions with explicit weights, as an operator behind another one gets them.
fn input(keys: u64) -> Vec<Delta> {
    let mut state = 88_172_645_463_325_252u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 1
    };
    (0..ROWS / STEP)
        .map(|step| {
            let key: Vec<i64> = (0..STEP).map(|_| (next() % keys) as i64).collect();
            let int: Vec<i64> = (0..STEP).map(|_| (next() % 1000) as i64).collect();
            let decimals = Decimal128Array::from_iter_values(int.iter().map(|v| i128::from(*v)));
            let columns_of_step: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(key.clone())),
                Arc::new(Int64Array::from(int.clone())),
                Arc::new(Float64Array::from_iter_values(int.iter().map(|v| *v as f64 * 1.1))),
                Arc::new(StringArray::from_iter_values(key.iter().map(|key| format!("key {key}")))),
                Arc::new(decimals.with_data_type(DataType::Decimal128(12, 2))),
                Arc::new(TimestampMicrosecondArray::from_iter_values((0..STEP).map(|row| (step * STEP + row) as i64))),
            ];
            let rows = RecordBatch::try_new(schema(&columns()), columns_of_step).expect("rows of the schema");
            Delta::new(rows, Int64Array::from_value(1, STEP))
        })
        .collect()
}

fn call(function: AggregateFunction, args: &[usize], output: DataType) -> AggregateCall {
    AggregateCall { function, args: args.to_vec(), filter: None, distinct: false, order_by: vec![], output }
}

fn specs() -> Vec<(&'static str, OpSpec, SchemaRef)> {
    use AggregateFunction as F;
    let (wide, numeric) = (DataType::Decimal128(38, 2), DataType::Decimal256(76, 38));
    let count = || call(F::CountRows, &[], DataType::Int64);
    let sum = || call(F::Sum, &[INT], numeric.clone());
    let distinct = AggregateCall { distinct: true, ..call(F::Count, &[INT], DataType::Int64) };
    let mut specs = Vec::new();
    for (name, group, calls) in [
        ("count, sum by bigint", vec![KEY], vec![count(), sum()]),
        ("count, sum by text", vec![TEXT], vec![count(), sum()]),
        ("count, sum of all", vec![], vec![count(), sum()]),
        (
            "sum, avg of numeric",
            vec![KEY],
            vec![call(F::Sum, &[DECIMAL], wide.clone()), call(F::Avg, &[DECIMAL], numeric.clone())],
        ),
        (
            "sum, avg of double",
            vec![KEY],
            vec![call(F::Sum, &[FLOAT], DataType::Float64), call(F::Avg, &[FLOAT], DataType::Float64)],
        ),
        ("stddev of double", vec![KEY], vec![call(F::StddevSamp, &[FLOAT], DataType::Float64)]),
        ("max, retractable", vec![KEY], vec![call(F::Max, &[INT], DataType::Int64)]),
        ("count distinct", vec![KEY], vec![distinct]),
    ] {
        let mut output: Vec<DataType> = group.iter().map(|&column: &usize| columns()[column].clone()).collect();
        output.extend(calls.iter().map(|call: &AggregateCall| call.output.clone()));
        let global = group.is_empty();
        specs.push((name, OpSpec::Aggregate { group, calls, global }, schema(&output)));
    }
    specs.push(("distinct rows", OpSpec::Distinct, schema(&columns())));
    let order = vec![SortKey { column: INT, descending: true, nulls_first: true }];
    let numbered = [columns(), vec![DataType::Int64]].concat();
    let top = OpSpec::TopN { partition: vec![KEY], order, offset: 0, limit: Some(10), rank: RankKind::RowNumber };
    specs.push(("row_number <= 10", top, schema(&numbered)));
    let windows = [columns(), vec![columns()[TIME].clone(), columns()[TIME].clone()]].concat();
    specs.push(("tumble", OpSpec::Hop { time: TIME, slide: 1000, size: 1000 }, schema(&windows)));
    specs.push(("hop, 5 windows", OpSpec::Hop { time: TIME, slide: 1000, size: 5000 }, schema(&windows)));
    specs
}

fn measure(name: &str, keys: u64, spec: &OpSpec, output: &SchemaRef, deltas: &[Delta]) {
    let mut operator = build(spec, &[schema(&columns())], output, &[false], 0).expect("an operator");
    let (mut given, start) = (0, Instant::now());
    for delta in deltas {
        let (mut out, mut errors) = (Vec::new(), RowErrors::default());
        let mut step =
            Step { before: 0, after: 1, oldest: 0, end_of_epoch: true, now: 0, out: &mut out, errors: &mut errors };
        operator.step(&[std::slice::from_ref(delta)], &mut step).expect("a step");
        given += total_rows(&out);
    }
    let rate = total_rows(deltas) as f64 / start.elapsed().as_secs_f64();
    println!(
        r#"{{"bench": "{name}", "keys": {keys}, "rows_per_second": {rate:.0}, "rows_out": {given}, "state_bytes": {}}}"#,
        operator.state_bytes()
    );
}
