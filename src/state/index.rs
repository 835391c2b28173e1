//! An index of an arrangement: which rows it knows, and the two kinds there are.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use parking_lot::{Mutex, RwLock};

use super::Version;
use super::arena::{Arena, Stored};
use super::hash_index::HashIndex;
use super::ordered_index::{Order, OrderedIndex};
use crate::delta::{Equality, RowsView, hash_rows};
use crate::error::{Error, Result};

/// Names an index of an arrangement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexId(pub(super) usize);

pub(super) struct Index {
    pub columns: Vec<usize>,
    pub users: AtomicUsize,
    pub kind: Kind,
    /// It leads to all rows of this version and later ones, but not to those that had died by then. [`UNBUILT`]: to none yet.
    whole_from: AtomicU64,
    /// Ids from the first up to the second are not indexed yet.
    missing: Mutex<(u64, u64)>,
}

/// [`Index::knows`] no version yet.
const UNBUILT: Version = Version::MAX;

pub(super) enum Kind {
    Hash(RwLock<HashIndex>),
    Ordered(RwLock<OrderedIndex>),
}

/// Hashes some columns of a batch.
pub(super) fn hash_columns(rows: &RecordBatch, columns: &[usize], out: &mut Vec<u64>) -> Result<()> {
    let arrays: Vec<ArrayRef> = columns.iter().map(|&column| rows.column(column).clone()).collect();
    hash_rows(&arrays, rows.num_rows(), out)
}

impl Index {
    fn new(columns: Vec<usize>, kind: Kind) -> Index {
        let (users, whole_from) = (AtomicUsize::new(1), AtomicU64::new(UNBUILT));
        Index { columns, users, kind, whole_from, missing: Mutex::new((0, 0)) }
    }

    pub fn hash(columns: &[usize]) -> Index {
        Index::new(columns.to_vec(), Kind::Hash(RwLock::new(HashIndex::new(true))))
    }

    pub fn ordered(schema: &SchemaRef, order: &[Order]) -> Result<Index> {
        let columns = order.iter().map(|order| order.column).collect();
        Ok(Index::new(columns, Kind::Ordered(RwLock::new(OrderedIndex::new(schema, order)?))))
    }

    pub fn is_hash_on(&self, columns: &[usize]) -> bool {
        self.hash_columns() == Some(columns)
    }

    pub fn hash_columns(&self) -> Option<&[usize]> {
        matches!(self.kind, Kind::Hash(_)).then_some(&self.columns)
    }

    pub fn is_ordered(&self) -> bool {
        matches!(self.kind, Kind::Ordered(_))
    }

    pub fn is_ordered_by(&self, order: &[Order]) -> bool {
        matches!(&self.kind, Kind::Ordered(index) if index.read().order() == order)
    }

    pub fn is_built(&self) -> bool {
        self.whole_from.load(Relaxed) != UNBUILT
    }

    /// Whether it leads to every row of this version.
    pub fn knows(&self, version: Version) -> bool {
        self.is_built() && self.whole_from.load(Relaxed) <= version
    }

    /// What versions there were is forgotten: every row there is belongs to all of them.
    pub fn rebase(&self) {
        if self.is_built() {
            self.whole_from.store(0, Relaxed);
        }
    }

    /// The lock of a hash index that can be read.
    pub fn as_hash(&self) -> Result<&RwLock<HashIndex>> {
        match &self.kind {
            Kind::Hash(index) if self.is_built() => Ok(index),
            Kind::Hash(_) => Err(Error::internal("the index is still being built")),
            Kind::Ordered(_) => Err(Error::internal("an ordered index can't be probed")),
        }
    }

    pub fn as_ordered(&self) -> Result<&RwLock<OrderedIndex>> {
        match &self.kind {
            Kind::Ordered(index) if self.is_built() => Ok(index),
            Kind::Ordered(_) => Err(Error::internal("the index is still being built")),
            Kind::Hash(_) => Err(Error::internal("a hash index has no ranges")),
        }
    }

    /// Takes note of what is there already.
    pub fn start(&self, arena: &Arena) {
        *self.missing.lock() = (0, arena.next_id);
        self.whole_from.store(if arena.chunks.is_empty() { 0 } else { UNBUILT }, Relaxed);
        if let Kind::Hash(index) = &self.kind {
            index.write().raise(arena.next_id.saturating_sub(1));
        }
    }

    /// Forgets everything, to be built anew.
    pub fn reset(&self, schema: &SchemaRef, arena: &Arena) -> Result<()> {
        match &self.kind {
            Kind::Hash(index) => *index.write() = HashIndex::new(true),
            Kind::Ordered(index) => {
                let mut index = index.write();
                *index = OrderedIndex::new(schema, &index.order().to_vec())?;
            }
        }
        self.start(arena);
        Ok(())
    }

    /// Indexes up to `rows` more of the rows that were there before, as far as they are alive. True when all are in.
    pub fn build(&self, arena: &Arena, rows: usize, slice: usize) -> Result<bool> {
        let mut missing = self.missing.lock();
        let mut left = rows;
        while missing.0 < missing.1 && left > 0 {
            let at = arena.chunks.partition_point(|chunk| chunk.end_id() <= missing.0);
            let Some(chunk) = arena.chunks.get(at).filter(|chunk| chunk.first_id() < missing.1) else {
                missing.0 = missing.1;
                break;
            };
            let from = chunk.rows_before(missing.0);
            let to = chunk.rows_before(missing.1).min(from.saturating_add(left));
            self.insert(arena, at, from, to, slice, true)?;
            left -= (to - from).min(left);
            missing.0 = if to == chunk.len() { chunk.end_id() } else { chunk.id(to) };
        }
        let done = missing.0 >= missing.1;
        if done && !self.is_built() {
            self.whole_from.store(arena.newest, Relaxed);
        }
        Ok(done)
    }

    /// Indexes all rows, the dead ones too (who are then to be killed in order).
    pub fn restore(&self, arena: &Arena, slice: usize) -> Result<()> {
        for (at, chunk) in arena.chunks.iter().enumerate() {
            self.insert(arena, at, 0, chunk.len(), slice, false)?;
        }
        *self.missing.lock() = (0, 0);
        self.whole_from.store(0, Relaxed);
        Ok(())
    }

    /// Indexes rows `from .. to` of a chunk, `slice` of them under one lock.
    pub fn insert(
        &self,
        arena: &Arena,
        at: usize,
        from: usize,
        to: usize,
        slice: usize,
        skip_dead: bool,
    ) -> Result<()> {
        let chunk = &arena.chunks[at];
        let rows = chunk.rows.slice(from, to - from);
        match &self.kind {
            Kind::Hash(index) => {
                let mut hashes = Vec::new();
                hash_columns(&rows, &self.columns, &mut hashes)?;
                let stored = Stored::new(arena, &self.columns, Equality::Key);
                let view = RowsView::of(chunk.rows.columns(), &self.columns, Equality::Key)?;
                let mut row = from;
                while row < to {
                    let end = to.min(row + slice);
                    let mut index = index.write();
                    for row in row..end {
                        if skip_dead && chunk.death(row).is_some() {
                            continue;
                        }
                        let hash = hashes[row - from] as u32;
                        index.insert(chunk.id(row), hash, |other| stored.equal(other, &view, row));
                    }
                    row = end;
                }
            }
            Kind::Ordered(index) => {
                let keys = index.read().encode(&rows)?;
                let mut row = from;
                while row < to {
                    let end = to.min(row + slice);
                    let mut index = index.write();
                    for row in row..end {
                        if !(skip_dead && chunk.death(row).is_some()) {
                            index.insert(keys.row(row - from).as_ref(), chunk.id(row));
                        }
                    }
                    row = end;
                }
            }
        }
        Ok(())
    }

    /// Rows died: `rows` holds their values, `ids` who they are.
    pub fn kill(&self, arena: &Arena, rows: &RecordBatch, ids: &[u64], slice: usize) -> Result<()> {
        let Kind::Hash(index) = &self.kind else { return Ok(()) };
        let mut hashes = Vec::new();
        hash_columns(rows, &self.columns, &mut hashes)?;
        let stored = Stored::new(arena, &self.columns, Equality::Key);
        let view = RowsView::of(rows.columns(), &self.columns, Equality::Key)?;
        for from in (0..ids.len()).step_by(slice) {
            let mut index = index.write();
            for row in from..ids.len().min(from + slice) {
                index.kill(ids[row], hashes[row] as u32, |other| stored.equal(other, &view, row));
            }
        }
        Ok(())
    }

    /// Dead rows that nobody can ask for any more: `keys` holds only this index's columns.
    pub fn reclaim(&self, keys: &RecordBatch, ids: &[u64], slice: usize) -> Result<()> {
        match &self.kind {
            Kind::Hash(index) => {
                let mut hashes = Vec::new();
                hash_rows(keys.columns(), keys.num_rows(), &mut hashes)?;
                for from in (0..ids.len()).step_by(slice) {
                    let mut index = index.write();
                    for row in from..ids.len().min(from + slice) {
                        index.reclaim(ids[row], hashes[row] as u32);
                    }
                }
            }
            Kind::Ordered(index) => {
                let encoded = index.read().encode_keys(keys.columns())?;
                for from in (0..ids.len()).step_by(slice) {
                    let mut index = index.write();
                    for row in from..ids.len().min(from + slice) {
                        index.remove(encoded.row(row).as_ref(), ids[row]);
                    }
                }
            }
        }
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Hash(index) => index.read().bytes(),
            Kind::Ordered(index) => index.read().bytes(),
        }
    }
}
