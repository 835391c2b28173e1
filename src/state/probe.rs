//! Probing a hash index: many keys at once, matches back in bounded pieces.
//!
//! This is the seam behind which state may later lie on disk: the caller hands over all keys of a step and takes pieces
//! until there are none; it never sees a row id. Between two pieces other steps may run, as long as the version is held.
//!
//! The index is locked for some hundred keys at a time, and the chunk list taken under that lock: rows are published
//! before they are indexed, so every id found has its row. A chain too long for one lock is read on under the next one if
//! nothing changed in between; otherwise its rows are found by scanning the arena, which needs no lock.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;

use super::arena::{Arena, Stored};
use super::hash_index::{HashIndex, Walk};
use super::index::{Index, IndexId};
use super::{Arrangement, Version};
use crate::delta::size::{BATCH_BYTES, RowSizes};
use crate::delta::{Equality, RowsView, hash_rows};
use crate::error::{Error, Result};

/// Keys looked up under one lock.
const SLICE: usize = 1024;
/// Links followed under one lock.
const LINKS: usize = 64 * 1024;

/// Some matches: the stored row at place i matches the key number `probes[i]`.
#[derive(Debug)]
pub struct Piece {
    pub probes: UInt32Array,
    /// The stored rows.
    pub rows: RecordBatch,
    /// `None` where every weight is 1.
    pub weights: Option<Int64Array>,
}

/// The matches of a batch of keys, read lazily.
pub struct Matches {
    arrangement: Arc<Arrangement>,
    keys: Keys,
    version: Version,
    /// What stands beside each match, by key.
    beside: RowSizes,
    /// Matches that likely fit a piece.
    most: usize,
    next: usize,
    /// Matches of key `next - 1` not handed out yet, from the end.
    rest: Vec<u64>,
}

/// Keys to look up, hashed.
struct Keys {
    index: Arc<Index>,
    arrays: Vec<ArrayRef>,
    hashes: Vec<u64>,
    /// Keys that match nothing, because of a NULL.
    void: Option<BooleanBuffer>,
}

impl Keys {
    fn new(index: Arc<Index>, arrays: &[ArrayRef], rows: usize, null_equals_null: bool) -> Result<Keys> {
        let columns = index.hash_columns().ok_or_else(|| Error::internal("an ordered index can't be probed"))?;
        if columns.len() != arrays.len() {
            return Err(Error::internal(format!("{} key columns for an index on {}", arrays.len(), columns.len())));
        }
        let mut hashes = Vec::new();
        hash_rows(arrays, rows, &mut hashes)?;
        let view = RowsView::new(arrays, Equality::Key)?;
        let void =
            (!null_equals_null && view.any_null()).then(|| BooleanBuffer::collect_bool(rows, |row| view.has_null(row)));
        Ok(Keys { index, arrays: arrays.to_vec(), hashes, void })
    }

    fn is_void(&self, key: usize) -> bool {
        self.void.as_ref().is_some_and(|void| void.value(key))
    }
}

impl Arrangement {
    /// Looks up `rows` keys, given as one array a key column (in the index's order), at a version that is held.
    /// Keys with a NULL match nothing, unless `null_equals_null`.
    pub fn probe(
        self: &Arc<Self>,
        index: IndexId,
        keys: &[ArrayRef],
        rows: usize,
        version: Version,
        null_equals_null: bool,
    ) -> Result<Matches> {
        self.arena().check(version)?;
        let keys = Keys::new(self.index(index)?, keys, rows, null_equals_null)?;
        Ok(Matches::new(self, keys, version))
    }

    /// Looks up `rows` keys, given as one array for each of `columns`, by any index that covers exactly these columns and knows all of
    /// the version; `None` if there is none. Keys with a NULL match nothing. The index may be dropped meanwhile: what of it the version
    /// sees stays as it is.
    pub fn lookup(
        self: &Arc<Self>,
        columns: &[usize],
        keys: &[ArrayRef],
        rows: usize,
        version: Version,
    ) -> Result<Option<Matches>> {
        self.arena().check(version)?;
        let Some(index) = self.find_index(columns, version) else { return Ok(None) };
        // It may have them in another order.
        let position = |column: &usize| columns.iter().position(|asked| asked == column);
        let ordered = index.columns.iter().map(|column| Some(keys.get(position(column)?)?.clone()));
        let Some(ordered) = ordered.collect::<Option<Vec<ArrayRef>>>() else { return Ok(None) };
        let keys = Keys::new(index, &ordered, rows, false)?;
        Ok(Some(Matches::new(self, keys, version)))
    }

    /// Which of the keys have rows at `version`: those the weights of whose rows sum up to more than 0. Reads one row a
    /// key, as long as no row has a negative weight.
    pub fn exists(
        &self,
        index: IndexId,
        keys: &[ArrayRef],
        rows: usize,
        version: Version,
        null_equals_null: bool,
    ) -> Result<Vec<bool>> {
        if self.has_negative_rows() {
            let sums = self.key_weights(index, keys, rows, version, null_equals_null)?;
            return Ok(sums.into_iter().map(|sum| sum > 0).collect());
        }
        let keys = Keys::new(self.index(index)?, keys, rows, null_equals_null)?;
        let mut found = vec![false; rows];
        self.visit(&keys, version, |key, _, _| {
            found[key] = true;
            Walk::Stop
        })?;
        Ok(found)
    }

    /// The sum of weights of each key's rows at `version`. Reads every row of the keys.
    pub fn key_weights(
        &self,
        index: IndexId,
        keys: &[ArrayRef],
        rows: usize,
        version: Version,
        null_equals_null: bool,
    ) -> Result<Vec<i64>> {
        let keys = Keys::new(self.index(index)?, keys, rows, null_equals_null)?;
        let mut sums = vec![0; rows];
        self.visit(&keys, version, |key, id, arena| {
            if let Some((chunk, row)) = arena.locate(id) {
                sums[key] += arena.chunks[chunk].weight(row);
            }
            Walk::On
        })?;
        Ok(sums)
    }

    /// Calls `each` with the rows seen of each key, until it says stop for that key.
    fn visit(&self, keys: &Keys, version: Version, mut each: impl FnMut(usize, u64, &Arena) -> Walk) -> Result<()> {
        let view = RowsView::new(&keys.arrays, Equality::Key)?;
        let rows = keys.hashes.len();
        for from in (0..rows).step_by(SLICE) {
            let index = keys.index.as_hash()?.read();
            let arena = self.arena();
            arena.check(version)?;
            let end = arena.end_id(version);
            let stored = Stored::new(&arena, &keys.index.columns, Equality::Key);
            for key in (from..rows.min(from + SLICE)).filter(|key| !keys.is_void(*key)) {
                let hash = keys.hashes[key] as u32;
                let mut stopped = false;
                if let Some(first) = index.first_live(hash, |id| stored.equal(id, &view, key)) {
                    index.walk(first, |id| {
                        if id >= end {
                            return Walk::On;
                        }
                        let walk = each(key, id, &arena);
                        stopped = matches!(walk, Walk::Stop);
                        walk
                    });
                }
                if !stopped && let Some(first) = index.first_dead(hash, |id| stored.equal(id, &view, key)) {
                    index.walk(first, |id| match died_by(&arena, id, version) {
                        true => Walk::Stop,
                        false if id >= end => Walk::On,
                        false => each(key, id, &arena),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Whether a row of a dead chain is gone at `version`; then so are all after it, since they died before it.
#[inline]
fn died_by(arena: &Arena, id: u64, version: Version) -> bool {
    arena.locate(id).is_none_or(|(chunk, row)| arena.chunks[chunk].dead_by(row, version))
}

impl Matches {
    fn new(arrangement: &Arc<Arrangement>, keys: Keys, version: Version) -> Matches {
        let (arrangement, beside) = (arrangement.clone(), RowSizes::default());
        Matches { arrangement, keys, version, beside, most: usize::MAX, next: 0, rest: Vec::new() }
    }

    /// The rows that the keys are of, of which each match gets a copy: pieces are small enough for both.
    pub fn beside(mut self, rows: &RecordBatch) -> Matches {
        self.beside = RowSizes::new(rows);
        self
    }

    /// How far the reading has come, to be saved with the arrangement; means nothing to anyone but [`Matches::resume`].
    pub fn position(&self) -> (u64, Vec<u64>) {
        (self.next as u64, self.rest.clone())
    }

    /// Goes on where another reading of the same keys at the same version was.
    pub fn resume(&mut self, (next, rest): (u64, Vec<u64>)) {
        self.next = (next as usize).min(self.keys.hashes.len());
        self.rest = rest;
    }

    /// The next matches, about `limit` of them at most and as many as fit a batch; `None` when there are no more.
    pub fn next(&mut self, limit: usize) -> Result<Option<Piece>> {
        let limit = limit.min(self.most).max(1);
        let likely = limit.min(self.rest.len() + 2 * (self.keys.hashes.len() - self.next));
        let mut probes: Vec<u32> = Vec::with_capacity(likely);
        let mut ids: Vec<u64> = Vec::with_capacity(likely);
        self.take_rest(limit, &mut probes, &mut ids);
        while ids.len() < limit && self.next < self.keys.hashes.len() {
            self.collect(limit, &mut probes, &mut ids)?;
        }
        if ids.is_empty() {
            return Ok(None);
        }
        let arena = self.arrangement.arena();
        arena.check(self.version)?;
        let places: Option<Vec<(usize, usize)>> = ids.iter().map(|id| arena.locate(*id)).collect();
        let mut places = places.ok_or_else(|| Error::internal("a row that a held version sees is gone"))?;
        let fit = self.fit(&arena, &places, &probes);
        if fit < places.len() {
            self.put_back(&probes, &ids, fit);
            places.truncate(fit);
            probes.truncate(fit);
            self.most = 2 * fit;
        } else {
            self.most = self.most.saturating_mul(2);
        }
        let rows = arena.gather(&places, &self.arrangement.all_columns)?;
        Ok(Some(Piece { probes: UInt32Array::from(probes), rows, weights: arena.weights(&places) }))
    }

    /// How many of these matches fit a batch. Looks at the rows one by one only where a chunk has wide ones.
    fn fit(&self, arena: &Arena, places: &[(usize, usize)], probes: &[u32]) -> usize {
        let mut last = usize::MAX;
        let narrow = self.beside.are_narrow()
            && places.iter().all(|(chunk, _)| {
                *chunk == last || {
                    last = *chunk;
                    arena.chunks[last].sizes().are_narrow()
                }
            });
        if narrow {
            return places.len();
        }
        let mut bytes = 0;
        let fits = |((chunk, row), key): &(&(usize, usize), &u32)| {
            bytes += arena.chunks[*chunk].sizes().at(*row) + self.beside.at(**key as usize);
            bytes <= BATCH_BYTES
        };
        places.iter().zip(probes).take_while(fits).count().max(1)
    }

    /// The matches from place `from` on were too many. Keys behind that of the first of them are looked up again.
    fn put_back(&mut self, probes: &[u32], ids: &[u64], from: usize) {
        let key = probes[from];
        let of_key = probes[from..].iter().take_while(|probe| **probe == key).count();
        if key as usize + 1 < self.next {
            self.next = key as usize + 1;
            self.rest.clear();
        }
        self.rest.extend(&ids[from..from + of_key]);
    }

    fn take_rest(&mut self, limit: usize, probes: &mut Vec<u32>, ids: &mut Vec<u64>) {
        let room = limit.saturating_sub(ids.len()).min(self.rest.len());
        let from = self.rest.len() - room;
        probes.resize(probes.len() + room, self.next.saturating_sub(1) as u32);
        ids.extend(self.rest.drain(from..));
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
    }

    /// Looks up keys from `next` on under one lock. Key by key, so that only the last one may leave a rest.
    fn collect(&mut self, limit: usize, probes: &mut Vec<u32>, ids: &mut Vec<u64>) -> Result<()> {
        let keys = &self.keys;
        let view = RowsView::new(&keys.arrays, Equality::Key)?;
        let lock = keys.index.as_hash()?;
        let mut unfinished = None;
        {
            let index = lock.read();
            let arena = self.arrangement.arena();
            let end = arena.end_id(self.version);
            let stored = Stored::new(&arena, &keys.index.columns, Equality::Key);
            let to = keys.hashes.len().min(self.next + SLICE);
            let mut links = 0;
            while self.next < to && ids.len() < limit && links < LINKS {
                let key = self.next;
                self.next += 1;
                if keys.is_void(key) {
                    continue;
                }
                let hash = keys.hashes[key] as u32;
                let before = ids.len();
                let mut walker = Walker { index: &index, arena: &arena, version: self.version, end, links: 0 };
                let mut at = walker.start(hash, |id| stored.equal(id, &view, key));
                while let Some(place) = at {
                    at = walker.step(place, ids);
                    if walker.links > LINKS && at.is_some() {
                        unfinished = Some((key, before, at, index.generation));
                        break;
                    }
                }
                links += walker.links;
                if unfinished.is_some() {
                    break;
                }
                if ids.len() > limit {
                    self.rest.extend(ids.drain(limit.max(before)..));
                }
                probes.resize(ids.len(), key as u32);
            }
        }
        if let Some((key, before, at, generation)) = unfinished {
            let mut found = ids.split_off(before);
            if !self.walk_on(at, generation, &mut found)? {
                found.clear();
                self.scan_for(key, &mut found)?;
            }
            self.rest = found;
            self.take_rest(limit, probes, ids);
        }
        Ok(())
    }

    /// Reads a long chain on, lock by lock; false if it changed under us.
    fn walk_on(&self, mut at: Option<Place>, generation: u64, found: &mut Vec<u64>) -> Result<bool> {
        let lock = self.keys.index.as_hash()?;
        while at.is_some() {
            let index = lock.read();
            if index.generation != generation {
                return Ok(false);
            }
            let arena = self.arrangement.arena();
            let end = arena.end_id(self.version);
            let mut walker = Walker { index: &index, arena: &arena, version: self.version, end, links: 0 };
            while let Some(place) = at
                && walker.links <= LINKS
            {
                at = walker.step(place, found);
            }
        }
        Ok(true)
    }

    /// The rows of one key by looking at all rows, without any lock.
    fn scan_for(&self, key: usize, found: &mut Vec<u64>) -> Result<()> {
        let arena = self.arrangement.arena();
        arena.check(self.version)?;
        let view = RowsView::new(&self.keys.arrays, Equality::Key)?;
        for chunk in arena.chunks.iter() {
            let stored = RowsView::of(chunk.rows.columns(), &self.keys.index.columns, Equality::Key)?;
            for row in 0..chunk.born_by(self.version) {
                if stored.equal(row, &view, key) && !chunk.dead_by(row, self.version) {
                    found.push(chunk.id(row));
                }
            }
        }
        Ok(())
    }
}

/// A place in the chains of a key.
#[derive(Clone, Copy)]
enum Place {
    /// In the live chain; then the dead chain follows from the second id on, if there is one.
    Live(u64, Option<u64>),
    Dead(u64),
}

struct Walker<'a> {
    index: &'a HashIndex,
    arena: &'a Arena,
    version: Version,
    end: u64,
    links: usize,
}

impl Walker<'_> {
    #[inline]
    fn start(&mut self, hash: u32, same: impl Fn(u64) -> bool) -> Option<Place> {
        self.links += 1;
        let dead = self.index.first_dead(hash, &same);
        match self.index.first_live(hash, &same) {
            Some(live) => Some(Place::Live(live, dead)),
            None => dead.map(Place::Dead),
        }
    }

    /// Takes the row at the place if it is seen, and goes on to the next one.
    #[inline]
    fn step(&mut self, place: Place, ids: &mut Vec<u64>) -> Option<Place> {
        self.links += 1;
        match place {
            Place::Live(id, dead) => {
                if id < self.end {
                    ids.push(id);
                }
                match self.index.next(id) {
                    Some(next) => Some(Place::Live(next, dead)),
                    None => dead.map(Place::Dead),
                }
            }
            Place::Dead(id) => {
                if died_by(self.arena, id, self.version) {
                    return None;
                }
                if id < self.end {
                    ids.push(id);
                }
                self.index.next(id).map(Place::Dead)
            }
        }
    }
}
