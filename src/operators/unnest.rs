//! One row an element of the list columns, the other columns repeated. Stateless; O(elements).
//!
//! Several lists of one row go side by side; the shorter are padded with NULL. A row whose lists are all empty or NULL
//! disappears, or with `outer` stays once with NULLs. Element columns stand where their lists stood.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::changes::emit;
use super::{BATCH_ROWS, Operator, Progress, Step};
use crate::delta::Delta;
use crate::error::{Error, Result};

pub struct Unnest {
    columns: Vec<usize>,
    outer: bool,
    output: SchemaRef,
}

impl Unnest {
    pub fn new(columns: &[usize], outer: bool, output: &SchemaRef) -> Unnest {
        Unnest { columns: columns.to_vec(), outer, output: output.clone() }
    }

    /// Rows `from..` of the delta until a batch is full; returns the next row.
    fn unnest(&self, delta: &Delta, lists: &[&ListArray], from: usize, step: &mut Step) -> Result<usize> {
        let mut rows: Vec<u32> = Vec::new();
        let mut places: Vec<Vec<Option<u32>>> = vec![Vec::new(); lists.len()];
        let mut row = from;
        while row < delta.len() && rows.len() < BATCH_ROWS {
            let length = lists.iter().map(|list| length_at(list, row)).max().unwrap_or(0);
            let length = if length == 0 && self.outer { 1 } else { length };
            rows.extend(std::iter::repeat_n(row as u32, length));
            for (list, places) in lists.iter().zip(&mut places) {
                let start = list.value_offsets()[row] as u32;
                let own = length_at(list, row);
                places.extend((0..length).map(|i| (i < own).then(|| start + i as u32)));
            }
            row += 1;
        }
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
        Ok(row)
    }
}

impl Operator for Unnest {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        for delta in inputs.first().copied().unwrap_or_default() {
            let lists = self.columns.iter().map(|&column| delta.rows().column(column).as_list_opt::<i32>());
            let lists: Option<Vec<&ListArray>> = lists.collect();
            let lists = lists.ok_or_else(|| Error::internal("unnest of a column that is no list"))?;
            let mut row = 0;
            while row < delta.len() {
                row = self.unnest(delta, &lists, row, step)?;
            }
        }
        Ok(Progress::Done)
    }
}

fn length_at(list: &ListArray, row: usize) -> usize {
    if list.is_null(row) { 0 } else { list.value_length(row) as usize }
}
