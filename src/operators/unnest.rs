//! One row an element of the list columns, the other columns repeated. O(elements); keeps only input whose output did not fit the
//! step.
//!
//! Several lists of one row go side by side; the shorter are padded with NULL. A row whose lists are all empty or NULL
//! disappears, or with `outer` stays once with NULLs. Element columns stand where their lists stood.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::backlog::{Backlog, Place};
use super::changes::emit;
use super::{BATCH_ROWS, Operator, Progress, STEP_OUTPUT_ROWS, Step};
use crate::delta::Delta;
use crate::error::{Error, Result};

pub struct Unnest {
    columns: Vec<usize>,
    outer: bool,
    output: SchemaRef,
    backlog: Backlog,
    step_rows: usize,
}

impl Unnest {
    pub fn new(columns: &[usize], outer: bool, output: &SchemaRef) -> Unnest {
        let (columns, output, backlog) = (columns.to_vec(), output.clone(), Backlog::default());
        Unnest { columns, outer, output, backlog, step_rows: STEP_OUTPUT_ROWS }
    }

    /// Bounds the output of a step to about this number of rows.
    #[cfg(test)]
    pub fn with_step_rows(mut self, rows: usize) -> Unnest {
        self.step_rows = rows;
        self
    }

    /// From this place of the delta on until a batch is full. Gives the next place, and the rows of the batch.
    fn unnest(&self, delta: &Delta, lists: &[&ListArray], mut at: Place, step: &mut Step) -> Result<(Place, usize)> {
        let most = BATCH_ROWS.min(self.step_rows);
        let mut rows: Vec<u32> = Vec::new();
        let mut places: Vec<Vec<Option<u32>>> = vec![Vec::new(); lists.len()];
        while at.row < delta.len() && rows.len() < most {
            let length = lists.iter().map(|list| length_at(list, at.row)).max().unwrap_or(0);
            let length = if length == 0 && self.outer { 1 } else { length };
            let until = length.min(at.given + most - rows.len());
            rows.extend(std::iter::repeat_n(at.row as u32, until - at.given));
            for (list, places) in lists.iter().zip(&mut places) {
                let start = list.value_offsets()[at.row] as u32;
                let own = length_at(list, at.row);
                places.extend((at.given..until).map(|i| (i < own).then(|| start + i as u32)));
            }
            at = match until < length {
                true => Place { given: until, ..at },
                false => Place { row: at.row + 1, given: 0 },
            };
        }
        let given = rows.len();
        if !rows.is_empty() {
            let rows = UInt32Array::from(rows);
            let taken = delta.take(&rows)?;
            let mut columns: Vec<ArrayRef> = taken.rows().columns().to_vec();
            for ((&column, list), places) in self.columns.iter().zip(lists).zip(places) {
                columns[column] = arrow::compute::take(list.values(), &UInt32Array::from(places), None)?;
            }
            let options = RecordBatchOptions::new().with_row_count(Some(taken.len()));
            let batch = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
            emit(step.out, taken.with_rows(batch));
        }
        Ok((at, given))
    }
}

impl Operator for Unnest {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        self.backlog.push(inputs.first().copied().unwrap_or_default());
        let mut rows = 0;
        while let Some((delta, at)) = self.backlog.first() {
            let lists = self.columns.iter().map(|&column| delta.rows().column(column).as_list_opt::<i32>());
            let lists: Option<Vec<&ListArray>> = lists.collect();
            let lists = lists.ok_or_else(|| Error::internal("unnest of a column that is no list"))?;
            let (next, given) = self.unnest(&delta, &lists, at, step)?;
            self.backlog.advance(next);
            rows += given;
            if rows >= self.step_rows && !self.backlog.is_empty() {
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    fn state_bytes(&self) -> usize {
        self.backlog.bytes()
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.backlog.save()
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        self.backlog.load(saved)
    }
}

fn length_at(list: &ListArray, row: usize) -> usize {
    if list.is_null(row) { 0 } else { list.value_length(row) as usize }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::*;
    use super::*;
    use arrow::datatypes::{DataType, Field};
    use datafusion::scalar::ScalarValue;

    fn elements(value: &ScalarValue) -> Vec<ScalarValue> {
        let ScalarValue::List(list) = value else { panic!("a list expected") };
        if list.is_null(0) {
            return Vec::new();
        }
        let values = list.value(0);
        (0..values.len()).map(|at| ScalarValue::try_from_array(&values, at).expect("a value")).collect()
    }

    #[test]
    fn lists_go_side_by_side() {
        let list = |item: DataType| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let schema = schema_of(&[("i", list(DataType::Int16)), ("a", DataType::Int16), ("t", list(DataType::Utf8))]);
        let output = schema_of(&[("i", DataType::Int16), ("a", DataType::Int16), ("t", DataType::Utf8)]);
        for (outer, step_rows) in [(false, 3), (false, 1), (true, 2), (true, STEP_OUTPUT_ROWS)] {
            check(&Property {
                name: "unnest",
                inputs: vec![Input::new(&schema, Route::Row)],
                subject: &|_| {
                    let output = output.clone();
                    Box::new(Remade::new(move || {
                        Box::new(Unnest::new(&[0, 2], outer, &output).with_step_rows(step_rows))
                    }))
                },
                expected: &|inputs| {
                    let mut rows = Vec::new();
                    for row in &inputs[0] {
                        let (ints, texts) = (elements(&row[0]), elements(&row[2]));
                        let length = ints.len().max(texts.len()).max(usize::from(outer));
                        for at in 0..length {
                            let int = ints.get(at).cloned().unwrap_or(ScalarValue::Int16(None));
                            let text = texts.get(at).cloned().unwrap_or(ScalarValue::Utf8(None));
                            rows.push(vec![int, row[1].clone(), text]);
                        }
                    }
                    Expected::rows(rows)
                },
            });
        }
    }
}
