//! Writes as jobs: what a statement wants to change, evaluated at its place in the one order of writes.

use arrow::array::RecordBatch;

use super::ReadView;
use crate::catalog::RelationId;
use crate::error::Result;

/// Rows changed and, with RETURNING, what to answer.
#[derive(Clone, Debug, Default)]
pub struct WriteOutcome {
    pub rows: u64,
    pub returned: Vec<RecordBatch>,
}

/// The work of one INSERT, UPDATE, DELETE, TRUNCATE or COPY batch. It runs on the sequencer (autocommit) or on the session's
/// own thread (in a transaction block); what it sees and changes goes through the scope. If it fails, nothing of it stays.
pub trait WriteJob: Send {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome>;
}

/// The database as a write sees it: the newest state, with every write before it and its own rows so far.
pub trait WriteScope {
    /// A view of that state for queries. Rows that the scope changes later are not in it.
    fn read(&mut self) -> Result<ReadView>;

    /// The stored rows of a table with these keys (the relation's key columns, in order), and for each the row of `keys` it answers.
    fn find(&mut self, table: RelationId, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>)>;

    /// Inserts stored rows; fills in the hidden row ids (NULL in `rows`) and gives the rows as stored. Checks NOT NULL (23502) and the
    /// primary key (23505), within `rows` too.
    fn insert(&mut self, relation: RelationId, rows: RecordBatch) -> Result<RecordBatch>;

    /// Deletes stored rows of a table, given in full as they were read through this scope.
    fn delete(&mut self, table: RelationId, rows: RecordBatch) -> Result<()>;

    /// Deletes all rows of a table.
    fn truncate(&mut self, table: RelationId) -> Result<u64>;

    /// Replaces rows: `old` as read, `new` (row ids kept). Keys may move between rows as long as they are unique in the end.
    fn update(&mut self, table: RelationId, old: &[RecordBatch], new: &[RecordBatch]) -> Result<()>;

    /// 54000 for more rows than a transaction may change: where they are gathered before they are written.
    fn check_rows(&self, rows: usize) -> Result<()>;
}
