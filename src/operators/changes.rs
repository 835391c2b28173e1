//! From old and new rows to deltas: which rows differ, and output in pieces of bounded size.

use arrow::array::{Array, ArrayRef, BooleanArray, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp::distinct;

use super::BATCH_ROWS;
use crate::delta::Delta;
use crate::delta::size::rows_that_fit;
use crate::error::Result;

/// The rows at which some column differs between `old` and `new`: NULL equals NULL, floats compare bit for bit.
/// All columns have `rows` rows, and pairwise the same type.
pub fn differing(old: &[ArrayRef], new: &[ArrayRef], rows: usize) -> Result<BooleanBuffer> {
    let mut differ = BooleanBuffer::new_unset(rows);
    for (old, new) in old.iter().zip(new) {
        let column = if old.data_type().is_nested() {
            let compare = make_comparator(old, new, SortOptions::default())?;
            BooleanBuffer::collect_bool(rows, |row| compare(row, row).is_ne())
        } else {
            let found: BooleanArray = distinct(old, new)?;
            found.values().clone()
        };
        differ = &differ | &column;
    }
    Ok(differ)
}

/// Appends a delta to the output in slices of at most [`BATCH_ROWS`] that fit a batch each; nothing for an empty one.
pub fn emit(out: &mut Vec<Delta>, delta: Delta) {
    if delta.is_empty() {
        return;
    }
    if rows_that_fit(delta.rows().columns(), 0, delta.len(), BATCH_ROWS, 0) == delta.len() {
        out.push(delta);
    } else {
        out.extend(delta.pieces(BATCH_ROWS));
    }
}
