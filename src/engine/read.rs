//! What a reader sees: every relation at one epoch.

use std::collections::HashSet;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow_row::OwnedRow;

use crate::catalog::{Catalog, RelationId};
use crate::delta::keys::KeyCodec;
use crate::error::Result;
pub use crate::state::{Between, ChunkFilter, Chunks};

/// All relations as they were at the end of one epoch, plus, inside a transaction or a write, the rows written so far.
/// Cheap to clone. While it lives it holds its version: what it sees can't be reclaimed.
#[derive(Clone)]
pub struct ReadView {
    inner: Arc<dyn ReadState>,
}

/// Batches of a scan, read lazily.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The rows that an index is asked for: those whose `columns` equal one of the rows of `keys`, and of these, if `between` is given,
/// those with that column between its bounds. `keys` has the columns' types, no NULL and no row twice.
#[derive(Clone, Debug)]
pub struct Lookup {
    pub columns: Vec<usize>,
    pub keys: RecordBatch,
    pub between: Option<Between>,
}

impl Lookup {
    pub fn of_keys(columns: Vec<usize>, keys: RecordBatch) -> Lookup {
        Lookup { columns, keys, between: None }
    }

    /// Those of a relation's rows that are wanted.
    pub fn filter(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut wanted = BooleanBuffer::new_set(rows.num_rows());
        if !self.columns.is_empty() {
            let codec = KeyCodec::new(rows.schema_ref(), self.columns.clone())?;
            let keys = codec.of_keys(self.keys.columns())?;
            let keys: HashSet<&[u8]> = keys.iter().map(|key| key.data()).collect();
            let values = codec.of_rows(rows)?;
            wanted = BooleanBuffer::collect_bool(rows.num_rows(), |row| keys.contains(values.row(row).data()));
        }
        if let Some(Between { column, lower, upper }) = &self.between {
            let codec = KeyCodec::new(rows.schema_ref(), vec![*column])?;
            let end = |bound: &Bound<ArrayRef>| -> Result<Bound<OwnedRow>> {
                let encoded = |value: &ArrayRef| -> Result<OwnedRow> {
                    Ok(codec.of_keys(std::slice::from_ref(value))?.row(0).owned())
                };
                Ok(match bound {
                    Bound::Included(value) => Bound::Included(encoded(value)?),
                    Bound::Excluded(value) => Bound::Excluded(encoded(value)?),
                    Bound::Unbounded => Bound::Unbounded,
                })
            };
            let (lower, upper) = (end(lower)?, end(upper)?);
            let bounds = (lower.as_ref().map(OwnedRow::row), upper.as_ref().map(OwnedRow::row));
            let (values, column) = (codec.of_rows(rows)?, rows.column(*column));
            let within = |row| column.is_valid(row) && bounds.contains(&values.row(row));
            wanted = &wanted & &BooleanBuffer::collect_bool(rows.num_rows(), within);
        }
        Ok(filter_record_batch(rows, &BooleanArray::new(wanted, None))?)
    }
}

/// What a read view is made of; the engine's own state, or that state under a transaction's writes.
pub trait ReadState: Send + Sync {
    fn epoch(&self) -> u64;
    fn catalog(&self) -> Arc<Catalog>;
    fn scan(&self, relation: RelationId, filter: Option<&dyn ChunkFilter>) -> Result<Batches>;
    fn lookup(&self, relation: RelationId, wanted: &Lookup) -> Result<Option<Batches>>;
    fn row_count(&self, relation: RelationId) -> Option<u64>;
}

impl ReadView {
    pub fn new(inner: Arc<dyn ReadState>) -> ReadView {
        ReadView { inner }
    }

    pub fn epoch(&self) -> u64 {
        self.inner.epoch()
    }

    /// The catalog as of the epoch.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.catalog()
    }

    /// Every row of a stream, table or materialized view, in its stored schema, each as often as it occurs. In batches of at most 8k rows;
    /// 55000 while a view is being filled.
    pub fn scan(&self, relation: RelationId) -> Result<Batches> {
        self.inner.scan(relation, None)
    }

    /// At least the rows that `filter` may want: what is stored in chunks that hold none of them is left out.
    pub fn scan_for(&self, relation: RelationId, filter: &dyn ChunkFilter) -> Result<Batches> {
        self.inner.scan(relation, Some(filter))
    }

    /// The wanted rows, in batches of at most 8k, if the primary key or an index leads to them and they are few enough for that to be
    /// sooner done than a scan; else `None`. Read lazily: the view has to live as long as the batches.
    pub fn lookup(&self, relation: RelationId, wanted: &Lookup) -> Result<Option<Batches>> {
        self.inner.lookup(relation, wanted)
    }

    /// Exact number of rows, where it is known without reading them.
    pub fn row_count(&self, relation: RelationId) -> Option<u64> {
        self.inner.row_count(relation)
    }
}
