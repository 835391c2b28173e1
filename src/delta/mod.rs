//! Deltas: changes of a relation as rows with signed weights (a Z-set; Budiu et al., VLDB 2023).
//!
//! A [`Delta`] is one Arrow batch and a weight a row: +1 inserted, -1 deleted, an update is one of each. What
//! flows along an edge of a circuit in one step is a slice of deltas, whose order means nothing. Weights of
//! equal rows add up; a delta in which no row occurs twice and no weight is 0 is *consolidated*.

pub mod compare;
mod consolidate;
pub mod hash;
pub mod keys;
pub mod saved;
pub mod size;
pub mod text;

pub use compare::{Equality, RowsView};
pub use consolidate::{consolidate, digest, overflow};
pub use hash::{hash_rows, shard};

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;

use crate::error::Result;

/// Rows with weights. Without a weights column every weight is +1.
#[derive(Clone, Debug)]
pub struct Delta {
    rows: RecordBatch,
    weights: Option<Int64Array>,
}

impl Delta {
    /// Every row inserted once.
    pub fn insertions(rows: RecordBatch) -> Delta {
        Delta { rows, weights: None }
    }

    /// Every row deleted once.
    pub fn deletions(rows: RecordBatch) -> Delta {
        let weights = Int64Array::from_value(-1, rows.num_rows());
        Delta { rows, weights: Some(weights) }
    }

    /// One weight a row, none of them NULL.
    pub fn new(rows: RecordBatch, weights: Int64Array) -> Delta {
        assert_eq!(rows.num_rows(), weights.len(), "a delta has one weight a row");
        assert_eq!(weights.null_count(), 0, "a delta has no NULL weight");
        Delta { rows, weights: Some(weights) }
    }

    pub fn from_parts(rows: RecordBatch, weights: Option<Int64Array>) -> Delta {
        match weights {
            Some(weights) => Delta::new(rows, weights),
            None => Delta::insertions(rows),
        }
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }
    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0
    }
    /// `None` where every weight is +1.
    pub fn weights(&self) -> Option<&Int64Array> {
        self.weights.as_ref()
    }
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights.value(row))
    }
    pub fn into_parts(self) -> (RecordBatch, Option<Int64Array>) {
        (self.rows, self.weights)
    }

    /// The same weights on other columns.
    pub fn with_rows(&self, rows: RecordBatch) -> Delta {
        Delta::from_parts(rows, self.weights.clone())
    }

    /// Some of the columns, in this order.
    pub fn project(&self, columns: &[usize]) -> Result<Delta> {
        Ok(self.with_rows(self.rows.project(columns)?))
    }

    /// The rows for which `keep` is true (NULL is not).
    pub fn filter(&self, keep: &BooleanArray) -> Result<Delta> {
        let rows = arrow::compute::filter_record_batch(&self.rows, keep)?;
        let weights = match &self.weights {
            Some(weights) => Some(downcast(&arrow::compute::filter(weights, keep)?)),
            None => None,
        };
        Ok(Delta { rows, weights })
    }

    pub fn take(&self, indices: &UInt32Array) -> Result<Delta> {
        let rows = take_rows(&self.rows, indices)?;
        let weights = match &self.weights {
            Some(weights) => Some(downcast(&arrow::compute::take(weights, indices, None)?)),
            None => None,
        };
        Ok(Delta { rows, weights })
    }

    pub fn slice(&self, offset: usize, length: usize) -> Delta {
        Delta {
            rows: self.rows.slice(offset, length),
            weights: self.weights.as_ref().map(|weights| weights.slice(offset, length)),
        }
    }

    /// All rows of `deltas` in one, weights kept; `schema` is that of the result.
    pub fn concat(schema: &SchemaRef, deltas: &[Delta]) -> Result<Delta> {
        if let [only] = deltas {
            return Ok(only.clone());
        }
        let rows = if schema.fields().is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(total_rows(deltas)));
            RecordBatch::try_new_with_options(schema.clone(), vec![], &options)?
        } else {
            arrow::compute::concat_batches(schema, deltas.iter().map(Delta::rows))?
        };
        if deltas.iter().all(|delta| delta.weights.is_none()) {
            return Ok(Delta::insertions(rows));
        }
        let weights: Int64Array =
            deltas.iter().flat_map(|delta| (0..delta.len()).map(|row| delta.weight(row))).collect();
        Ok(Delta::new(rows, weights))
    }

    /// Bytes held, counted once for the batch as if nothing were shared.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.weights.as_ref().map_or(0, |w| w.get_array_memory_size())
    }
}

/// These rows of a batch, which may have no columns.
pub fn take_rows(rows: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch> {
    if rows.num_columns() == 0 {
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        return Ok(RecordBatch::try_new_with_options(rows.schema(), vec![], &options)?);
    }
    Ok(arrow::compute::take_record_batch(rows, indices)?)
}

/// Rows of all deltas together, whatever their weights.
pub fn total_rows(deltas: &[Delta]) -> usize {
    deltas.iter().map(Delta::len).sum()
}

fn downcast(array: &dyn Array) -> Int64Array {
    array.as_any().downcast_ref::<Int64Array>().expect("weights stay Int64 through a kernel").clone()
}
