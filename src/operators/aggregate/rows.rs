//! Which rows of a batch count, and the loop over them.

use arrow::array::{Array, BooleanArray};
use arrow::buffer::BooleanBuffer;

/// Rows that are kept and whose value is not NULL; `None` if all of them.
pub fn counted(values: Option<&dyn Array>, keep: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let valid = values.and_then(|values| values.logical_nulls()).filter(|nulls| nulls.null_count() > 0);
    let keep = keep.map(|keep| match keep.nulls() {
        Some(nulls) => keep.values() & nulls.inner(),
        None => keep.values().clone(),
    });
    match (valid, keep) {
        (None, None) => None,
        (Some(valid), None) => Some(valid.into_inner()),
        (None, Some(keep)) => Some(keep),
        (Some(valid), Some(keep)) => Some(valid.inner() & &keep),
    }
}

/// Calls `f(row, group, weight)` for every counted row. One loop for each of the cases, so that the usual one
/// (all rows, all weights 1) has no test in it.
#[inline(always)]
pub fn each(
    groups: &[u32],
    counted: Option<&BooleanBuffer>,
    weights: Option<&[i64]>,
    mut f: impl FnMut(usize, usize, i64),
) {
    match (counted, weights) {
        (None, None) => groups.iter().enumerate().for_each(|(row, group)| f(row, *group as usize, 1)),
        (None, Some(weights)) => {
            groups.iter().zip(weights).enumerate().for_each(|(row, (group, w))| f(row, *group as usize, *w));
        }
        (Some(counted), None) => counted.set_indices().for_each(|row| f(row, groups[row] as usize, 1)),
        (Some(counted), Some(weights)) => {
            counted.set_indices().for_each(|row| f(row, groups[row] as usize, weights[row]));
        }
    }
}
