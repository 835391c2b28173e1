//! From old and new rows to deltas: which rows differ, and output in pieces of bounded size.

use arrow::array::{Array, ArrayRef, BooleanArray, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp::distinct;

use super::BATCH_ROWS;
use crate::delta::Delta;
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

/// Appends a delta to the output in slices of [`BATCH_ROWS`]; nothing for an empty one.
pub fn emit(out: &mut Vec<Delta>, delta: Delta) {
    let rows = delta.len();
    if rows <= BATCH_ROWS {
        if rows > 0 {
            out.push(delta);
        }
        return;
    }
    for start in (0..rows).step_by(BATCH_ROWS) {
        out.push(delta.slice(start, BATCH_ROWS.min(rows - start)));
    }
}
