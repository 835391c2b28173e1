//! What a chunk's columns lie between, so that a scan can leave out chunks in which it would find nothing.

use arrow::array::{Array, ArrayRef};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;

use super::chunk_list::ChunkList;
use crate::error::Result;

/// Least and greatest value of a column in a chunk, as arrays of one row; `None` where all are NULL. Dead rows count too.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub range: Option<(ArrayRef, ArrayRef)>,
    pub nulls: usize,
}

impl Bounds {
    /// `None` for types of which equal values may look different, or that have no order.
    pub fn of(column: &ArrayRef) -> Result<Option<Bounds>> {
        if !is_plainly_ordered(column.data_type()) {
            return Ok(None);
        }
        let nulls = column.logical_null_count();
        if nulls == column.len() {
            return Ok(Some(Bounds { range: None, nulls }));
        }
        let end = |descending| -> Result<ArrayRef> {
            let options = SortOptions { descending, nulls_first: false };
            let first = arrow::compute::sort_to_indices(column, Some(options), Some(1))?;
            Ok(arrow::compute::take(column, &first, None)?)
        };
        Ok(Some(Bounds { range: Some((end(false)?, end(true)?)), nulls }))
    }
}

fn is_plainly_ordered(ty: &DataType) -> bool {
    ty.is_integer() || ty.is_temporal() && !matches!(ty, DataType::Interval(_)) || matches!(ty, DataType::Utf8)
}

/// The chunks of a scan, as somebody sees them who wants few of them.
pub struct Chunks<'a> {
    pub(super) list: &'a ChunkList,
}

impl Chunks<'_> {
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Rows of each chunk.
    pub fn rows(&self) -> impl Iterator<Item = usize> {
        self.list.iter().map(|chunk| chunk.len())
    }

    /// For each chunk, what the column's values lie between. Computed when first asked for.
    pub fn bounds(&self, column: usize) -> impl Iterator<Item = Option<&Bounds>> {
        self.list.iter().map(move |chunk| chunk.bounds(column))
    }
}

/// Which chunks a scan has to read.
pub trait ChunkFilter: Send + Sync {
    /// Whether each may hold a row that is wanted.
    fn may_hold(&self, chunks: &Chunks<'_>) -> Result<Vec<bool>>;
}
