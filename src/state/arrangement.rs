//! The arrangement itself: what it is made of and what may be asked of it. How it changes is in `append` and `reclaim`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::datatypes::SchemaRef;
use parking_lot::{Mutex, RwLock};

use super::Version;
use super::arena::Arena;
use super::hash_index::HashIndex;
use super::index::{Index, IndexId};
use super::ordered_index::Order;
use crate::error::{Error, Result};

/// How the row that a deletion means is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// Deletions are not expected. One that comes all the same builds the index that `Row` has from the start.
    None,
    /// By the hash of the whole row.
    Row,
    /// By these columns, of which no two live rows have the same values: their index is there for lookups too.
    Key(Vec<usize>),
}

/// Sizes that bound memory and pauses.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rows of a full chunk.
    pub chunk_rows: usize,
    /// Bytes of a full chunk.
    pub chunk_bytes: usize,
    /// Rows indexed under one lock: what a reader's lookup may have to wait for.
    pub slice_rows: usize,
    /// Dead rows reclaimed in a step, if it doesn't append more than half of that itself.
    pub reclaim_rows: usize,
    /// Ids in use span about this many arrivals; older rows that still live are appended anew. Less than 2^32.
    pub window: u64,
    /// Versions for which the number of rows is remembered.
    pub counts: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            chunk_rows: 64 * 1024,
            chunk_bytes: 16 << 20,
            slice_rows: 512,
            reclaim_rows: 8 * 1024,
            window: 1 << 31,
            counts: 4096,
        }
    }
}

/// What an arrangement is to be like.
#[derive(Clone, Debug)]
pub struct Spec {
    pub deletes: Deletes,
    pub limits: Limits,
}

impl Spec {
    pub fn new(deletes: Deletes) -> Spec {
        Spec { deletes, limits: Limits::default() }
    }
}

/// A relation's rows in versions, with any number of indexes. Shared as `Arc<Arrangement>`: one thread appends, all may read.
pub struct Arrangement {
    pub(super) schema: SchemaRef,
    pub(super) spec: Spec,
    /// Replaced as a whole; readers clone the inner Arc and let go of the lock at once.
    pub(super) arena: RwLock<Arc<Arena>>,
    pub(super) indexes: RwLock<Vec<Option<Arc<Index>>>>,
    pub(super) writer: Mutex<Writer>,
    /// (version, sum of weights) after each append, the newest last.
    pub(super) counts: RwLock<VecDeque<(Version, i64)>>,
    /// Rows of negative weight that some version may still see.
    pub(super) negative_rows: AtomicUsize,
    /// Every column, for comparing whole rows.
    pub(super) all_columns: Vec<usize>,
}

/// What only the appending thread touches.
#[derive(Default)]
pub(super) struct Writer {
    /// Whole row -> live ids, where deletions are found by row.
    pub rows: Option<HashIndex>,
    /// Deaths not yet reclaimed, in order of version.
    pub dead: VecDeque<DeadStep>,
    /// Everything that died by this version is out of all indexes.
    pub safe: Option<Version>,
    /// Live rows of negative weight.
    pub negative: usize,
    /// Sum of weights of the newest version.
    pub weight: i64,
    /// First ids of chunks that are mostly reclaimed.
    pub rewrite: BTreeSet<u64>,
    /// The version at which chunks are looked through for old ones.
    pub look: Version,
}

pub(super) struct DeadStep {
    pub version: Version,
    pub ids: Vec<u64>,
    /// How many of them are out of the indexes.
    pub done: usize,
}

impl Arrangement {
    pub fn new(schema: SchemaRef, spec: Spec) -> Result<Arc<Arrangement>> {
        let all_columns = (0..schema.fields().len()).collect();
        let arrangement = Arrangement {
            arena: RwLock::new(Arc::new(Arena::new(schema.clone()))),
            indexes: RwLock::default(),
            writer: Mutex::default(),
            counts: RwLock::default(),
            negative_rows: AtomicUsize::new(0),
            all_columns,
            schema,
            spec,
        };
        match arrangement.spec.deletes.clone() {
            Deletes::None => {}
            Deletes::Row => arrangement.writer.lock().rows = Some(HashIndex::new(false)),
            Deletes::Key(columns) => {
                arrangement.add_index(&columns)?;
            }
        }
        Ok(Arc::new(arrangement))
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The chunk list of this moment.
    pub(super) fn arena(&self) -> Arc<Arena> {
        self.arena.read().clone()
    }

    pub(super) fn publish(&self, arena: Arena) {
        *self.arena.write() = Arc::new(arena);
    }

    /// A hash index on these columns, for [`Arrangement::probe`]; the one there is, if there is one. Each call wants a
    /// [`Arrangement::remove_index`] of its own. Rows already there are indexed before it returns: see
    /// [`Arrangement::begin_index`] for doing that in slices.
    pub fn add_index(&self, columns: &[usize]) -> Result<IndexId> {
        let id = self.begin_index(columns)?;
        while !self.build_index(id, usize::MAX)? {}
        Ok(id)
    }

    /// Starts an index: rows appended from now on are in it, those already there come in with
    /// [`Arrangement::build_index`]; until that says true the index can't be read.
    pub fn begin_index(&self, columns: &[usize]) -> Result<IndexId> {
        self.begin(|index| index.is_hash_on(columns), || Ok(Index::hash(columns)))
    }

    pub fn begin_ordered_index(&self, order: &[Order]) -> Result<IndexId> {
        self.begin(|index| index.is_ordered_by(order), || Index::ordered(&self.schema, order))
    }

    fn begin(&self, same: impl Fn(&Index) -> bool, make: impl FnOnce() -> Result<Index>) -> Result<IndexId> {
        let _writer = self.writer.lock();
        let mut indexes = self.indexes.write();
        let there = indexes.iter().position(|index| index.as_ref().is_some_and(|index| same(index)));
        if let Some(position) = there {
            if let Some(index) = &indexes[position] {
                index.users.fetch_add(1, Relaxed);
            }
            return Ok(IndexId(position));
        }
        let index = make()?;
        index.start(&self.arena());
        let position = indexes.iter().position(Option::is_none).unwrap_or(indexes.len());
        if position == indexes.len() {
            indexes.push(None);
        }
        indexes[position] = Some(Arc::new(index));
        Ok(IndexId(position))
    }

    /// Indexes up to `rows` of the rows that were there before the index, oldest first. True when all are in.
    pub fn build_index(&self, id: IndexId, rows: usize) -> Result<bool> {
        let _writer = self.writer.lock();
        self.index(id)?.build(&self.arena(), rows, self.spec.limits.slice_rows)
    }

    /// Gives up one use of an index; the last one drops it.
    pub fn remove_index(&self, id: IndexId) {
        let _writer = self.writer.lock();
        let mut indexes = self.indexes.write();
        if let Some(slot) = indexes.get_mut(id.0)
            && slot.as_ref().is_some_and(|index| index.users.fetch_sub(1, Relaxed) == 1)
        {
            *slot = None;
        }
    }

    /// The hash index on exactly these columns in some order, if there is one that knows every row of the version.
    pub(super) fn find_index(&self, columns: &[usize], version: Version) -> Option<Arc<Index>> {
        let mut wanted = columns.to_vec();
        wanted.sort_unstable();
        let indexes = self.indexes.read();
        let fits = |index: &&Arc<Index>| {
            let mut sorted = index.hash_columns().unwrap_or_default().to_vec();
            sorted.sort_unstable();
            sorted == wanted && index.hash_columns().is_some() && index.knows(version)
        };
        indexes.iter().flatten().find(fits).cloned()
    }

    /// An ordered index that begins with these columns, in some order, goes on with `next`, and knows every row of the version.
    pub(super) fn find_ordered(&self, columns: &[usize], next: Option<usize>, version: Version) -> Option<Arc<Index>> {
        let indexes = self.indexes.read();
        let fits = |index: &&Arc<Index>| {
            let Some((first, rest)) = index.columns.split_at_checked(columns.len()) else { return false };
            let same = columns.iter().all(|column| first.contains(column))
                && first.iter().all(|column| columns.contains(column));
            same && (next.is_none() || next == rest.first().copied()) && index.is_ordered() && index.knows(version)
        };
        indexes.iter().flatten().find(fits).cloned()
    }

    pub(super) fn index(&self, id: IndexId) -> Result<Arc<Index>> {
        let index = self.indexes.read().get(id.0).cloned().flatten();
        index.ok_or_else(|| Error::internal("an index that is not there"))
    }

    /// The indexes of this moment.
    pub(super) fn all_indexes(&self) -> Vec<Arc<Index>> {
        self.indexes.read().iter().flatten().cloned().collect()
    }

    /// The sum of weights seen at `version`: the number of rows, once an epoch is complete. Looked up for recent versions,
    /// else counted, without touching any column.
    pub fn row_count(&self, version: Version) -> Result<i64> {
        {
            let counts = self.counts.read();
            match counts.partition_point(|(at, _)| *at <= version).checked_sub(1) {
                Some(at) => return Ok(counts[at].1),
                None if counts.is_empty() => return Ok(0),
                None => {}
            }
        }
        let arena = self.arena();
        arena.check(version)?;
        let mut sum = 0;
        for chunk in arena.chunks.iter() {
            let seen = (0..chunk.born_by(version)).filter(|row| !chunk.dead_by(*row, version));
            sum += seen.map(|row| chunk.weight(row)).sum::<i64>();
        }
        Ok(sum)
    }

    /// Whether rows of negative weight may be seen at any version kept. Without them a row that is there is there.
    pub fn has_negative_rows(&self) -> bool {
        self.negative_rows.load(Relaxed) > 0
    }

    /// Chunks in the arena.
    pub fn chunk_count(&self) -> usize {
        self.arena.read().chunks.len()
    }

    /// Rows in the arena, dead ones that are not yet reclaimed included.
    pub fn stored_rows(&self) -> usize {
        self.arena.read().chunks.iter().map(|chunk| chunk.len()).sum()
    }

    /// Bytes of rows, deaths and indexes.
    pub fn state_bytes(&self) -> usize {
        let arena = self.arena();
        let indexes: usize = self.all_indexes().iter().map(|index| index.bytes()).sum();
        let writer = self.writer.lock();
        let rows = writer.rows.as_ref().map_or(0, HashIndex::bytes);
        let dead: usize = writer.dead.iter().map(|step| step.ids.capacity() * 8 + size_of::<DeadStep>()).sum();
        arena.bytes() + indexes + rows + dead + self.counts.read().len() * 16
    }

    pub(super) fn remember_count(&self, version: Version, weight: i64, since: Version) {
        let mut counts = self.counts.write();
        match counts.back_mut() {
            Some(last) if last.0 == version => last.1 = weight,
            _ => counts.push_back((version, weight)),
        }
        while counts.len() > 1 && (counts[1].0 <= since || counts.len() > self.spec.limits.counts) {
            counts.pop_front();
        }
    }
}
