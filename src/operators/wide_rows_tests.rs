//! Rows of a megabyte: batches are bounded by bytes, and steps too, whatever multiplies, gathers or decodes such rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};
use datafusion::logical_expr::Operator as Op;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};

use super::arrange::Arrange;
use super::distinct::distinct;
use super::hop::Hop;
use super::join::Join;
use super::outer_join::OuterJoin;
use super::spec::RankKind;
use super::testing::schema_of;
use super::top_n::TopN;
use super::{Operator, PhysicalExpr, Progress, RowErrors, STEP_OUTPUT_ROWS, SortKey, Step};
use crate::delta::Delta;
use crate::delta::size::{BATCH_BYTES, bytes_of};
use crate::error::{Result, SqlState};

const WIDTH: usize = 3 << 19;

fn step<'a>(version: u64, out: &'a mut Vec<Delta>, errors: &'a mut RowErrors) -> Step<'a> {
    Step { before: version - 1, after: version, oldest: version - 1, end_of_epoch: false, now: 0, out, errors }
}

/// Runs a step and those that follow from it; `each` gets every delta. Gives how many steps there were.
fn run(operator: &mut dyn Operator, inputs: &[&[Delta]], each: &mut dyn FnMut(&Delta)) -> usize {
    let nothing: Vec<&[Delta]> = inputs.iter().map(|_| &[][..]).collect();
    let (mut given, mut steps) = (inputs, 0);
    loop {
        let (mut out, mut errors) = (Vec::new(), RowErrors::default());
        let progress = operator.step(given, &mut step(2, &mut out, &mut errors)).expect("a step");
        for delta in &out {
            let bytes = bytes_of(delta.rows().columns(), 0, delta.len());
            assert!(bytes <= BATCH_BYTES + 2 * WIDTH || delta.len() == 1, "{bytes} bytes in {} rows", delta.len());
            each(delta);
        }
        let volume: usize = out.iter().map(Delta::volume).sum();
        assert!(volume < STEP_OUTPUT_ROWS + 2 * BATCH_BYTES / 1024, "a step of {volume} kilobytes");
        steps += 1;
        if progress == Progress::Done {
            return steps;
        }
        given = &nothing;
    }
}

/// Rows of a number, a key among three, and a text.
fn side(rows: i64, width: impl Fn(i64) -> usize) -> Delta {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row % 3)));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| "x".repeat(width(row)))));
    Delta::insertions(RecordBatch::try_new(schema(), vec![numbers, keys, texts]).unwrap())
}

fn schema() -> SchemaRef {
    schema_of(&[("n", DataType::Int64), ("k", DataType::Int64), ("t", DataType::Utf8)])
}

fn both() -> SchemaRef {
    let int = DataType::Int64;
    let text = DataType::Utf8;
    schema_of(&[
        ("n", int.clone()),
        ("k", int.clone()),
        ("t", text.clone()),
        ("m", int.clone()),
        ("l", int),
        ("u", text),
    ])
}

fn arranged(delta: &Delta, key: &[usize]) -> Arrange {
    let mut arrange = Arrange::new(&schema(), key, false).unwrap();
    let (mut out, mut errors) = (Vec::new(), RowErrors::default());
    arrange.step(&[std::slice::from_ref(delta)], &mut step(1, &mut out, &mut errors)).unwrap();
    arrange
}

/// Joins `driver`, which comes, with `stored`, which is there: every pair once.
fn check_join(driver: &Delta, stored: &Delta, key: &[usize], expected: usize) {
    let (left, right) = (Arrange::new(&schema(), key, false).unwrap(), arranged(stored, key));
    let mut join = Join::new(left.arranged(), right.arranged(), None, false, &both());
    let mut pairs: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    let steps = run(&mut join, &[std::slice::from_ref(driver), &[]], &mut |delta| {
        let number = |column: usize, row: usize| delta.rows().column(column).as_primitive::<Int64Type>().value(row);
        for row in 0..delta.len() {
            assert!(key.is_empty() || number(1, row) == number(4, row));
            *pairs.entry((number(0, row), number(3, row))).or_default() += 1;
        }
    });
    assert_eq!(pairs.len(), expected);
    assert!(pairs.values().all(|times| *times == 1));
    assert!(steps > 1);
}

#[test]
fn wide_rows_join_in_small_pieces() {
    let (wide, narrow) = (side(24, |_| WIDTH), side(30, |_| 1));
    check_join(&narrow, &wide, &[1], 240);
    check_join(&wide, &narrow, &[1], 240);
    // Only some are wide: most pieces have more rows than the average tells.
    let (few, many) = (side(30, |row| if row == 7 { WIDTH } else { 2 }), side(900, |_| 1));
    check_join(&many, &few, &[1], 9_000);
    check_join(&few, &many, &[1], 9_000);
}

#[test]
fn wide_rows_meet_all_others_in_small_pieces() {
    let (wide, narrow) = (side(15, |_| WIDTH), side(20, |_| 1));
    check_join(&narrow, &wide, &[], 300);
    check_join(&wide, &narrow, &[], 300);
}

#[test]
fn wide_rows_are_in_many_windows() {
    let zone = DataType::Timestamp(TimeUnit::Microsecond, None);
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![5, 7]));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(["x".repeat(WIDTH), "y".to_owned()]));
    let rows = RecordBatch::try_new(schema_of(&[("t", zone.clone()), ("x", DataType::Utf8)]), vec![times, texts]);
    let output = schema_of(&[("t", zone.clone()), ("x", DataType::Utf8), ("s", zone.clone()), ("e", zone)]);
    let mut hop = Hop::new(0, 1, 200, &output).unwrap();
    let mut count = 0;
    let steps = run(&mut hop, &[&[Delta::insertions(rows.unwrap())]], &mut |delta| count += delta.len());
    assert_eq!(count, 400);
    assert!(steps > 1);
}

#[test]
fn wide_rows_are_decoded_in_small_batches() {
    // All different.
    let wide = side(60, |row| WIDTH - row as usize);
    let mut count = 0;
    run(&mut distinct(&schema()).unwrap(), &[std::slice::from_ref(&wide)], &mut |delta| count += delta.len());
    assert_eq!(count, 60);
    let order = [SortKey { column: 0, descending: true, nulls_first: true }];
    let mut top = TopN::new(&[], &order, 0, Some(50), RankKind::Rows, &schema(), &schema(), false).unwrap();
    let mut count = 0;
    run(&mut top, &[std::slice::from_ref(&wide)], &mut |delta| count += delta.len());
    assert_eq!(count, 50);
}

/// A left join on `n < m` alone: one right row meets all left ones, and each of them is counted.
#[test]
fn what_is_counted_is_counted_as_state() {
    const ROWS: usize = 20_000;
    let stored = side(ROWS as i64, |_| 8);
    let (left, right) = (arranged(&stored, &[]), Arrange::new(&schema(), &[], false).unwrap());
    let less: PhysicalExpr =
        Arc::new(BinaryExpr::new(Arc::new(Column::new("n", 0)), Op::Lt, Arc::new(Column::new("m", 3))));
    let join = OuterJoin::new(left.arranged(), right.arranged(), [true, false], Some(less), false, &both()).unwrap();
    let mut join = join.with_step_rows(1_000);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![ROWS as i64]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["r"]));
    let row = Delta::insertions(RecordBatch::try_new(schema(), vec![numbers.clone(), numbers, texts]).unwrap());
    let (mut given, mut rows, mut seen): (&[Delta], usize, bool) = (std::slice::from_ref(&row), 0, false);
    loop {
        let (mut out, mut errors) = (Vec::new(), RowErrors::default());
        let progress = join.step(&[&[], given], &mut step(2, &mut out, &mut errors)).unwrap();
        assert!(out.iter().map(Delta::len).sum::<usize>() <= 2 * 8 * 1024);
        (given, rows) = (&[], rows + out.iter().map(Delta::len).sum::<usize>());
        if (ROWS / 2..ROWS).contains(&rows) {
            seen = true;
            assert!(join.state_bytes() > rows * 30, "{} bytes while {rows} rows are counted", join.state_bytes());
        }
        if progress == Progress::Done {
            break;
        }
    }
    assert!(seen);
    // A pair each, and the ghost that goes.
    assert_eq!(rows, 2 * ROWS);
}

#[test]
fn weights_that_multiply_beyond_64_bits_are_an_error() {
    let heavy = |delta: Delta| Delta::new(delta.rows().clone(), Int64Array::from_value(1 << 40, delta.len()));
    let (left, right) = (Arrange::new(&schema(), &[1], false).unwrap(), arranged(&heavy(side(1, |_| 1)), &[1]));
    let mut join = Join::new(left.arranged(), right.arranged(), None, false, &both());
    let (mut out, mut errors) = (Vec::new(), RowErrors::default());
    let given = [heavy(side(1, |_| 1))];
    let outcome: Result<Progress> = join.step(&[&given, &[]], &mut step(2, &mut out, &mut errors));
    assert_eq!(outcome.unwrap_err().state(), SqlState::INTERNAL_ERROR);
}
