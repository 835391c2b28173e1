//! Filter and expressions, fused: `out = { exprs(row) : row in input, filter(row) }`, weights kept. Stateless.
//!
//! Expressions run on whole batches; a plain column is passed on by reference. When a batch fails it is evaluated
//! again by halves until the failing rows are alone: there the operation that fails is NULL, what it is part of goes on
//! with that, and the error is recorded with the row's weight, so that the row's deletion, which fails the same way,
//! takes the record back. So it does not matter which expressions the planner has made one of. Cost: one evaluation a batch, and a copy of the columns that the expressions read
//! where a filter takes rows out; for f failing rows of n, O(f log n) more.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::scalar::ScalarValue;

use super::changes::emit;
use super::failures::row_error;
use super::{Operator, PhysicalExpr, Progress, Step};
use crate::delta::Delta;
use crate::delta::size::bytes_of;
use crate::error::{Error, Result, SqlState};
use crate::types::builder::check_room;

pub struct Map {
    /// Over the kept columns where there is a filter, else over the input's.
    exprs: Vec<PhysicalExpr>,
    filter: Option<Filter>,
    output: SchemaRef,
}

struct Filter {
    condition: PhysicalExpr,
    /// The input's columns that the expressions read.
    columns: Vec<usize>,
}

impl Map {
    pub fn new(exprs: Vec<PhysicalExpr>, filter: Option<PhysicalExpr>, output: &SchemaRef) -> Result<Map> {
        let output = output.clone();
        let Some(condition) = filter else { return Ok(Map { exprs, filter: None, output }) };
        let mut columns: Vec<usize> = exprs.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        columns.sort_unstable();
        columns.dedup();
        let exprs = exprs.into_iter().map(|expr| over(expr, &columns)).collect::<Result<_>>()?;
        Ok(Map { exprs, filter: Some(Filter { condition, columns }), output })
    }

    fn map(&self, delta: &Delta, step: &mut Step) -> Result<()> {
        let kept;
        let delta = match &self.filter {
            None => delta,
            Some(Filter { condition, columns }) => {
                let (keep, failed) = evaluate(condition, delta.rows())?;
                record(failed, delta, step);
                let Some(keep) = keep.as_boolean_opt() else {
                    return Err(Error::internal("a filter that is not boolean"));
                };
                let read = delta.project(columns)?;
                kept = if keep.true_count() == keep.len() { read } else { read.filter(keep)? };
                &kept
            }
        };
        self.compute(delta, step)
    }

    /// Half of the rows at a time where a column can't hold what all of them give.
    fn compute(&self, delta: &Delta, step: &mut Step) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        let evaluated = self.exprs.iter().map(|expr| evaluate(expr, delta.rows())).collect::<Result<Vec<_>>>();
        let evaluated = match evaluated {
            Err(error) if error.state() == SqlState::PROGRAM_LIMIT_EXCEEDED && delta.len() > 1 => {
                let middle = delta.len() / 2;
                self.compute(&delta.slice(0, middle), step)?;
                return self.compute(&delta.slice(middle, delta.len() - middle), step);
            }
            evaluated => evaluated?,
        };
        let mut columns = Vec::with_capacity(self.exprs.len());
        for (values, failed) in evaluated {
            record(failed, delta, step);
            columns.push(values);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(delta.len()));
        let rows = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
        emit(step.out, delta.with_rows(rows));
        Ok(())
    }
}

/// An expression over some of the columns it was over.
fn over(expr: PhysicalExpr, columns: &[usize]) -> Result<PhysicalExpr> {
    let moved = expr.transform_up(|node| {
        Ok(match node.downcast_ref::<Column>() {
            Some(column) => {
                let place = columns.partition_point(|other| *other < column.index());
                Transformed::yes(Arc::new(Column::new(column.name(), place)) as PhysicalExpr)
            }
            None => Transformed::no(node),
        })
    })?;
    Ok(moved.data)
}

impl Operator for Map {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        for delta in inputs.first().copied().unwrap_or_default() {
            self.map(delta, step)?;
        }
        Ok(Progress::Done)
    }
}

fn record(failed: Vec<(usize, Error)>, delta: &Delta, step: &mut Step) {
    for (row, error) in failed {
        step.errors.push(row_error(&error, delta.rows().columns(), row, delta.weight(row)));
    }
}

/// The expression's value on every row, and the rows on which it failed (what failed is NULL there). 54000 where one column can't
/// hold the values of all.
pub fn evaluate(expr: &PhysicalExpr, rows: &RecordBatch) -> Result<(ArrayRef, Vec<(usize, Error)>)> {
    match whole(expr, rows) {
        Ok(values) => Ok((values, Vec::new())),
        Err(error) if error.state() == SqlState::OUT_OF_MEMORY => Err(error),
        Err(error) => {
            let data_type = expr.data_type(&rows.schema())?;
            let (mut pieces, mut failed) = (Vec::new(), Vec::new());
            halve(expr, rows, 0, error, &data_type, &mut pieces, &mut failed)?;
            check_room(0, pieces.iter().map(|piece| bytes_of(std::slice::from_ref(piece), 0, piece.len())).sum())?;
            let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
            Ok((arrow::compute::concat(&pieces)?, failed))
        }
    }
}

/// The rows a join's or filter's condition is true on, and those on which it failed.
pub fn condition(expr: &PhysicalExpr, rows: &RecordBatch) -> Result<(BooleanArray, Vec<(usize, Error)>)> {
    let (values, failed) = evaluate(expr, rows)?;
    match values.as_boolean_opt() {
        Some(values) => Ok((values.clone(), failed)),
        None => Err(Error::internal("a condition that is not boolean")),
    }
}

fn whole(expr: &PhysicalExpr, rows: &RecordBatch) -> Result<ArrayRef> {
    Ok(expr.evaluate(rows)?.into_array(rows.num_rows())?)
}

/// `rows`, which start at row `first` of the batch, failed with `error`: tries each half. The depth is the logarithm
/// of a batch's length.
fn halve(
    expr: &PhysicalExpr,
    rows: &RecordBatch,
    first: usize,
    error: Error,
    data_type: &DataType,
    pieces: &mut Vec<ArrayRef>,
    failed: &mut Vec<(usize, Error)>,
) -> Result<()> {
    let length = rows.num_rows();
    if length <= 1 {
        if length == 1 {
            failed.push((first, error));
            pieces.push(with_nulls(expr, rows, data_type)?);
        }
        return Ok(());
    }
    let middle = length / 2;
    for (start, count) in [(0, middle), (middle, length - middle)] {
        let half = rows.slice(start, count);
        match whole(expr, &half) {
            Ok(values) => pieces.push(values),
            Err(error) if error.state() == SqlState::OUT_OF_MEMORY => return Err(error),
            Err(error) => halve(expr, &half, first + start, error, data_type, pieces, failed)?,
        }
    }
    Ok(())
}

/// What an expression that fails on this one row is with NULL for each operation in it that fails.
fn with_nulls(expr: &PhysicalExpr, row: &RecordBatch, data_type: &DataType) -> Result<ArrayRef> {
    let mut operands = Vec::with_capacity(expr.children().len());
    let mut replaced = false;
    for operand in expr.children() {
        operands.push(match whole(operand, row) {
            Ok(_) => operand.clone(),
            Err(error) if error.state() == SqlState::OUT_OF_MEMORY => return Err(error),
            Err(_) => {
                replaced = true;
                let value = with_nulls(operand, row, &operand.data_type(&row.schema())?)?;
                Arc::new(Literal::new(ScalarValue::try_from_array(&value, 0)?))
            }
        });
    }
    if replaced && let Ok(values) = whole(&expr.clone().with_new_children(operands)?, row) {
        return Ok(values);
    }
    Ok(new_null_array(data_type, row.num_rows()))
}

#[cfg(test)]
mod tests {

    use arrow::array::Int64Array;
    use arrow::datatypes::{Int64Type, Schema};
    use datafusion::logical_expr::{ColumnarValue, Operator as Binary};
    use datafusion::physical_expr::expressions::{CastExpr, binary, is_null};

    use super::super::testing::*;
    use super::*;
    use crate::types::builder::with_room;

    fn column(schema: &Schema, name: &str) -> PhysicalExpr {
        Arc::new(Column::new_with_schema(name, schema).expect("a column"))
    }

    fn quotient(schema: &SchemaRef) -> PhysicalExpr {
        binary(column(schema, "a"), Binary::Divide, column(schema, "b"), schema).expect("a quotient")
    }

    fn divided(a: &ScalarValue, b: &ScalarValue) -> Result<ScalarValue, ()> {
        match (a, b) {
            (ScalarValue::Int64(Some(_)), ScalarValue::Int64(Some(0))) => Err(()),
            (ScalarValue::Int64(Some(a)), ScalarValue::Int64(Some(b))) => Ok(ScalarValue::Int64(Some(a / b))),
            _ => Ok(ScalarValue::Int64(None)),
        }
    }

    #[test]
    fn failing_rows_are_null_and_recorded_and_their_deletion_takes_it_back() {
        let schema = schema_of(&[("a", DataType::Int64), ("b", DataType::Int64)]);
        let output = schema_of(&[("b", DataType::Int64), ("q", DataType::Int64)]);
        check(&Property {
            name: "map",
            inputs: vec![Input::new(&schema, Route::Row)],
            subject: &|_| {
                let (schema, output) = (schema.clone(), output.clone());
                Box::new(Remade::new(move || {
                    Box::new(Map::new(vec![column(&schema, "b"), quotient(&schema)], None, &output).expect("a map"))
                }))
            },
            keeps: Keeps::Nothing,
            expected: &|inputs| {
                let mut answer = Expected::default();
                for row in &inputs[0] {
                    let value = divided(&row[0], &row[1]).unwrap_or_else(|()| {
                        answer.errors.push((SqlState::DIVISION_BY_ZERO, "division by zero".to_owned()));
                        ScalarValue::Int64(None)
                    });
                    answer.rows.push(vec![row[1].clone(), value]);
                }
                answer
            },
        });
    }

    #[test]
    fn what_a_failing_operation_is_part_of_goes_on_with_null() {
        let schema = schema_of(&[("a", DataType::Int64), ("b", DataType::Int64)]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![6, 6, 6])), Arc::new(Int64Array::from(vec![2, 0, 3]))];
        let rows = RecordBatch::try_new(schema.clone(), columns).expect("rows");
        let missing = is_null(quotient(&schema)).expect("a test");
        let either = binary(missing, Binary::Or, is_null(column(&schema, "a")).expect("a test"), &schema).expect("or");
        let (values, failed) = evaluate(&either, &rows).expect("values");
        assert_eq!(values.as_boolean(), &BooleanArray::from(vec![false, true, false]));
        assert_eq!(failed.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_failing_filter_keeps_the_row_out() {
        let schema = schema_of(&[("a", DataType::Int64), ("b", DataType::Int64)]);
        check(&Property {
            name: "filter",
            inputs: vec![Input::new(&schema, Route::Row)],
            subject: &|_| {
                let schema = schema.clone();
                Box::new(Remade::new(move || {
                    let zero: PhysicalExpr = Arc::new(Literal::new(ScalarValue::Int64(Some(0))));
                    let filter = binary(quotient(&schema), Binary::Gt, zero, &schema).expect("a comparison");
                    let exprs = vec![column(&schema, "a"), column(&schema, "b")];
                    Box::new(Map::new(exprs, Some(filter), &schema).expect("a map"))
                }))
            },
            keeps: Keeps::Nothing,
            expected: &|inputs| {
                let mut answer = Expected::default();
                for row in &inputs[0] {
                    match divided(&row[0], &row[1]) {
                        Ok(ScalarValue::Int64(Some(q))) if q > 0 => answer.rows.push(row.clone()),
                        Ok(_) => {}
                        Err(()) => answer.errors.push((SqlState::DIVISION_BY_ZERO, "division by zero".to_owned())),
                    }
                }
                answer
            },
        });
    }

    #[test]
    fn what_one_column_cannot_hold_is_given_in_several() {
        let schema = schema_of(&[("a", DataType::Int64), ("b", DataType::Int64)]);
        let text: PhysicalExpr = Arc::new(CastExpr::new(quotient(&schema), DataType::Utf8, None));
        let output = schema_of(&[("t", DataType::Utf8)]);
        let map = Map::new(vec![text], None, &output).unwrap();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1_000_000; 64])), Arc::new(Int64Array::from_iter_values(0..64))];
        let delta = Delta::insertions(RecordBatch::try_new(schema.clone(), columns).unwrap());
        let run = || {
            let (mut out, mut errors) = (Vec::new(), RowErrors::default());
            let mut step =
                Step { before: 0, after: 1, oldest: 0, end_of_epoch: true, now: 0, out: &mut out, errors: &mut errors };
            map.map(&delta, &mut step).unwrap();
            (out, errors.into_iter().map(|error| error.weight).sum::<i64>())
        };
        let (whole, failed) = run();
        assert_eq!((whole.len(), failed), (1, 1));
        let (pieces, failed) = with_room(200, run);
        assert!(pieces.len() > 1, "{} pieces", pieces.len());
        assert_eq!((Delta::concat(&output, &pieces).unwrap().rows(), failed), (whole[0].rows(), 1));
    }

    #[test]
    fn plain_columns_are_not_copied() {
        let schema = schema_of(&[("a", DataType::Int64), ("b", DataType::Int64)]);
        let column_a: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(0..100));
        let batch = RecordBatch::try_new(schema.clone(), vec![column_a.clone(), column_a.clone()]).unwrap();
        let mut map = Map::new(vec![column(&schema, "b"), column(&schema, "a")], None, &schema).unwrap();
        let (mut out, mut errors) = (Vec::new(), RowErrors::default());
        let mut step =
            Step { before: 0, after: 1, oldest: 0, end_of_epoch: true, now: 0, out: &mut out, errors: &mut errors };
        map.step(&[&[Delta::insertions(batch)]], &mut step).unwrap();
        let given = out[0].rows().column(0).as_primitive::<Int64Type>().values().as_ptr();
        assert_eq!(given, column_a.as_primitive::<Int64Type>().values().as_ptr());
        let one: PhysicalExpr = Arc::new(Literal::new(ScalarValue::Int64(Some(1))));
        assert!(matches!(one.evaluate(out[0].rows()).unwrap(), ColumnarValue::Scalar(_)));
    }
}
