//! What a reader sees: every relation at one epoch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::catalog::{Catalog, RelationId};
use crate::error::Result;

/// All relations as they were at the end of one epoch, plus, inside a transaction or a write, the rows written so far.
/// Cheap to clone. While it lives it holds its version: what it sees can't be reclaimed.
#[derive(Clone)]
pub struct ReadView {
    inner: Arc<dyn ReadState>,
}

/// Batches of a scan, read lazily.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// What a read view is made of; the engine's own state, or that state under a transaction's writes.
pub trait ReadState: Send + Sync {
    fn epoch(&self) -> u64;
    fn catalog(&self) -> Arc<Catalog>;
    fn scan(&self, relation: RelationId) -> Result<Batches>;
    fn lookup(&self, relation: RelationId, columns: &[usize], keys: &RecordBatch) -> Result<Option<Vec<RecordBatch>>>;
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
        self.inner.scan(relation)
    }

    /// The rows whose `columns` equal one of the rows of `keys` (same types, no NULLs match), if the primary key or an index
    /// covers exactly these columns in some order; else `None`.
    pub fn lookup(
        &self,
        relation: RelationId,
        columns: &[usize],
        keys: &RecordBatch,
    ) -> Result<Option<Vec<RecordBatch>>> {
        self.inner.lookup(relation, columns, keys)
    }

    /// Exact number of rows, where it is known without reading them.
    pub fn row_count(&self, relation: RelationId) -> Option<u64> {
        self.inner.row_count(relation)
    }

    /// The stored schema of a relation of the view's catalog.
    pub fn stored_schema(&self, relation: RelationId) -> Option<SchemaRef> {
        self.catalog().relation(relation).map(|relation| relation.stored_schema())
    }
}
