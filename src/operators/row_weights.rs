//! Rows and their net weights, and an output weight that is a function of them: DISTINCT and the set operations.
//!
//! ```text
//!   out[row] = f(left[row], right[row])         emitted: f after the step - f before it, for touched rows
//! ```
//!
//! Rows are keys (NULL equals NULL, floats normalised): 0.0 and -0.0 are one row, shown as 0.0. Keeps every row of
//! either input whose weight is not 0, in one hash table; a step costs O(its rows).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::keys::KeyTable;
use super::saved::{Reader, Writer};
use super::{BATCH_ROWS, Operator, Progress, Step};
use crate::delta::size::runs;
use crate::delta::{Delta, overflow};
use crate::error::Result;

/// The weight of an output row, from its weights in the left and the right input.
pub type Multiplicity = fn(i64, i64) -> i64;

pub struct RowWeights {
    multiplicity: Multiplicity,
    output: SchemaRef,
    types: Vec<DataType>,
    rows: KeyTable,
    /// Weight of each row in the left and the right input.
    weights: Vec<[i64; 2]>,
    /// Whether a row was touched in this step.
    marked: Vec<bool>,
    ids: Vec<u32>,
}

impl RowWeights {
    pub fn new(multiplicity: Multiplicity, output: &SchemaRef) -> Result<RowWeights> {
        let types: Vec<DataType> = output.fields().iter().map(|field| field.data_type().clone()).collect();
        Ok(RowWeights {
            multiplicity,
            output: output.clone(),
            rows: KeyTable::new(types.clone())?,
            types,
            weights: Vec::new(),
            marked: Vec::new(),
            ids: Vec::new(),
        })
    }

    /// Gives the rows ids, and room for their weights.
    fn name(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        self.ids.clear();
        self.rows.intern(columns, rows, &mut self.ids)?;
        self.weights.resize(self.rows.slots(), [0; 2]);
        self.marked.resize(self.rows.slots(), false);
        Ok(())
    }
}

impl Operator for RowWeights {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let mut touched: Vec<(u32, i64)> = Vec::new();
        for (side, deltas) in inputs.iter().enumerate() {
            for delta in deltas.iter() {
                self.name(delta.rows().columns(), delta.len())?;
                for (row, &id) in self.ids.iter().enumerate() {
                    let at = id as usize;
                    if !self.marked[at] {
                        self.marked[at] = true;
                        let [left, right] = self.weights[at];
                        touched.push((id, (self.multiplicity)(left, right)));
                    }
                    let weight = &mut self.weights[at][side];
                    *weight = weight.checked_add(delta.weight(row)).ok_or_else(overflow)?;
                }
            }
        }
        let (mut changed, mut by) = (Vec::new(), Vec::new());
        for &(id, before) in &touched {
            let [left, right] = self.weights[id as usize];
            let after = (self.multiplicity)(left, right);
            self.marked[id as usize] = false;
            if after != before {
                changed.push(id);
                by.push(after - before);
            }
        }
        for run in runs(changed.iter().map(|id| self.rows.size(*id)), BATCH_ROWS) {
            let options = RecordBatchOptions::new().with_row_count(Some(run.len()));
            let columns = self.rows.columns(&changed[run.clone()])?;
            let rows = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
            let by = &by[run];
            step.out.push(match by.iter().all(|weight| *weight == 1) {
                true => Delta::insertions(rows),
                false => Delta::new(rows, Int64Array::from(by.to_vec())),
            });
        }
        for (id, _) in touched {
            if self.weights[id as usize] == [0; 2] {
                self.rows.remove(id);
            }
        }
        Ok(Progress::Done)
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes() + 17 * self.weights.capacity() + 4 * self.ids.capacity()
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        let live = self.rows.live();
        let mut columns = self.rows.columns(&live)?;
        for side in 0..2 {
            let weights = live.iter().map(|&id| self.weights[id as usize][side]);
            columns.push(Arc::new(Int64Array::from_iter_values(weights)));
        }
        writer.columns(&columns, live.len())?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut types = self.types.clone();
        types.extend([DataType::Int64, DataType::Int64]);
        let (columns, rows) = Reader::new(1, saved)?.columns(&types)?;
        let (keys, sides) = columns.split_at(self.types.len());
        self.name(keys, rows)?;
        for (side, weights) in sides.iter().enumerate() {
            for (&id, weight) in self.ids.iter().zip(weights.as_primitive::<Int64Type>().values()) {
                self.weights[id as usize][side] = *weight;
            }
        }
        Ok(())
    }
}
