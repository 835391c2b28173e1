//! Appending a step's deltas: what they delete dies, what they insert is added, and sums of weights stay right whatever
//! comes in which order.
//!
//! ```text
//!   -w of a row that lives      the row dies; if it weighed more, it is appended again with what is left
//!   -w of a row that is not     appended with its negative weight: it cancels when the insertion comes
//!   +w while negative rows live looked up among them first
//!   +w otherwise                appended without looking
//! ```
//!
//! A step costs its own rows: hashing, one lookup a deletion, one insertion a row and index, all a batch at a time.

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt32Array};

use super::arena::{Arena, Stored};
use super::arrangement::{DeadStep, Deletes, Writer};
use super::hash_index::{HashIndex, Walk};
use super::index::hash_columns;
use super::{Arrangement, Version};
use crate::delta::size::neighbours;
use crate::delta::{Delta, Equality, RowsView, consolidate, overflow, take_rows, total_rows};
use crate::error::{Error, Result};

impl Arrangement {
    /// Appends the deltas as version `after`, which is not less than the last one. Versions before `oldest` will not be
    /// asked for any more; what died before it is reclaimed, a bounded number of rows a call (so call it for empty
    /// deltas too, now and then).
    pub fn append(&self, deltas: &[Delta], after: Version, oldest: Version) -> Result<()> {
        let mut writer = self.writer.lock();
        let writer = &mut *writer;
        let unit = deltas.iter().all(|delta| delta.weights().is_none());
        let deltas = if unit { deltas.to_vec() } else { consolidate(deltas.to_vec())? };
        let rows = total_rows(&deltas);
        let mut arena = (*self.arena()).clone();
        if rows > 0 {
            arena.newest = arena.newest.max(after);
            let mut additions = Vec::new();
            for delta in deltas {
                if delta.weights().is_none() && writer.negative == 0 {
                    additions.push(delta);
                } else {
                    self.cancel(writer, &arena, delta, after, &mut additions)?;
                }
            }
            arena = self.add(writer, arena, &additions, after)?;
        }
        arena.since = arena.since.max(oldest.min(arena.newest.max(after)));
        self.reclaim(writer, &mut arena, 2 * rows)?;
        self.tidy(writer, &mut arena)?;
        arena = self.renew(writer, arena, after)?;
        self.remember_count(after, writer.weight, arena.since);
        self.publish(arena);
        Ok(())
    }

    /// Lets rows meet live ones of the opposite sign; what is left of them goes to `additions`.
    fn cancel(
        &self,
        writer: &mut Writer,
        arena: &Arena,
        delta: Delta,
        after: Version,
        additions: &mut Vec<Delta>,
    ) -> Result<()> {
        let may_meet = |row: usize| delta.weight(row) < 0 || writer.negative > 0;
        let meeting: BooleanArray = (0..delta.len()).map(|row| Some(may_meet(row))).collect();
        if meeting.true_count() == 0 {
            additions.push(delta);
            return Ok(());
        }
        if meeting.true_count() < delta.len() {
            additions.push(delta.filter(&arrow::compute::not(&meeting)?)?);
        }
        let delta = delta.filter(&meeting)?;
        let mut left: Vec<i64> = (0..delta.len()).map(|row| delta.weight(row)).collect();
        let killed = match &self.spec.deletes {
            Deletes::Key(columns) => self.cancel_by_key(arena, &delta, columns, after, &mut left)?,
            _ => self.cancel_by_row(writer, arena, &delta, after, &mut left)?,
        };
        for &(_, id) in &killed {
            if let Some((chunk, row)) = arena.locate(id) {
                let weight = arena.chunks[chunk].weight(row);
                writer.negative -= usize::from(weight < 0);
                writer.weight -= weight;
            }
        }
        let skip = match &self.spec.deletes {
            Deletes::Key(columns) => Some(columns.as_slice()),
            _ => None,
        };
        let rows = UInt32Array::from_iter_values(killed.iter().map(|(row, _)| *row));
        let ids: Vec<u64> = killed.iter().map(|(_, id)| *id).collect();
        if !ids.is_empty() {
            let dead = take_rows(delta.rows(), &rows)?;
            for index in self.all_indexes() {
                if skip.is_none_or(|columns| !index.is_hash_on(columns)) {
                    index.kill(arena, &dead, &ids, self.spec.limits.slice_rows)?;
                }
            }
            bury(writer, after, ids);
        }
        let kept: BooleanArray = left.iter().map(|weight| Some(*weight != 0)).collect();
        if kept.true_count() > 0 {
            additions.push(Delta::new(delta.rows().clone(), Int64Array::from(left)).filter(&kept)?);
        }
        Ok(())
    }

    fn cancel_by_row(
        &self,
        writer: &mut Writer,
        arena: &Arena,
        delta: &Delta,
        after: Version,
        left: &mut [i64],
    ) -> Result<Vec<(u32, u64)>> {
        if writer.rows.is_none() {
            writer.rows = Some(self.index_rows(arena)?);
        }
        let Some(index) = &mut writer.rows else { return Ok(Vec::new()) };
        let mut hashes = Vec::new();
        hash_columns(delta.rows(), &self.all_columns, &mut hashes)?;
        let stored = Stored::new(arena, &self.all_columns, Equality::Row);
        let view = RowsView::new(delta.rows().columns(), Equality::Row)?;
        let mut killed = Vec::new();
        for (row, left) in left.iter_mut().enumerate() {
            let (hash, sign) = (hashes[row] as u32, left.signum());
            // Live equal rows are all of one sign, since opposite ones cancel as they meet.
            while left.signum() == sign
                && let Some(id) = index.first_live(hash, |id| stored.equal(id, &view, row))
                && let Some((chunk, at)) = stored.locate(id)
                && arena.chunks[chunk].weight(at).signum() == -sign
            {
                index.kill(id, hash, |_| false);
                arena.chunks[chunk].kill(at, after)?;
                *left += arena.chunks[chunk].weight(at);
                killed.push((row as u32, id));
            }
        }
        Ok(killed)
    }

    fn cancel_by_key(
        &self,
        arena: &Arena,
        delta: &Delta,
        columns: &[usize],
        after: Version,
        left: &mut [i64],
    ) -> Result<Vec<(u32, u64)>> {
        let index = self.find_index(columns, after).ok_or_else(|| Error::internal("no index on the key"))?;
        let lock = index.as_hash()?;
        let mut hashes = Vec::new();
        hash_columns(delta.rows(), columns, &mut hashes)?;
        let stored_keys = Stored::new(arena, columns, Equality::Key);
        let stored_rows = Stored::new(arena, &self.all_columns, Equality::Row);
        let keys = RowsView::of(delta.rows().columns(), columns, Equality::Key)?;
        let rows = RowsView::new(delta.rows().columns(), Equality::Row)?;
        let mut killed = Vec::new();
        for from in (0..delta.len()).step_by(self.spec.limits.slice_rows) {
            let mut index = lock.write();
            for row in from..delta.len().min(from + self.spec.limits.slice_rows) {
                let (hash, sign) = (hashes[row] as u32, left[row].signum());
                while left[row].signum() == sign {
                    let mut found = None;
                    if let Some(first) = index.first_live(hash, |id| stored_keys.equal(id, &keys, row)) {
                        index.walk(first, |id| match stored_rows.locate(id) {
                            Some((chunk, at))
                                if arena.chunks[chunk].weight(at).signum() == -sign
                                    && stored_rows.equal(id, &rows, row) =>
                            {
                                found = Some((id, chunk, at));
                                Walk::Stop
                            }
                            _ => Walk::On,
                        });
                    }
                    let Some((id, chunk, at)) = found else { break };
                    index.kill(id, hash, |id| stored_keys.equal(id, &keys, row));
                    arena.chunks[chunk].kill(at, after)?;
                    left[row] += arena.chunks[chunk].weight(at);
                    killed.push((row as u32, id));
                }
            }
        }
        Ok(killed)
    }

    /// The index from whole rows to live ids, for an arrangement that had none.
    fn index_rows(&self, arena: &Arena) -> Result<HashIndex> {
        let mut index = HashIndex::new(false);
        self.index_all_rows(&mut index, arena)?;
        Ok(index)
    }

    pub(super) fn index_all_rows(&self, index: &mut HashIndex, arena: &Arena) -> Result<()> {
        (0..arena.chunks.len()).try_for_each(|at| self.index_chunk_rows(index, arena, at))
    }

    fn index_chunk_rows(&self, index: &mut HashIndex, arena: &Arena, at: usize) -> Result<()> {
        let chunk = &arena.chunks[at];
        let mut hashes = Vec::new();
        hash_columns(&chunk.rows, &self.all_columns, &mut hashes)?;
        let stored = Stored::new(arena, &self.all_columns, Equality::Row);
        let view = RowsView::new(chunk.rows.columns(), Equality::Row)?;
        for (row, hash) in hashes.iter().enumerate() {
            if chunk.death(row).is_none() {
                index.insert(chunk.id(row), *hash as u32, |other| stored.equal(other, &view, row));
            }
        }
        Ok(())
    }

    /// Appends rows and indexes them.
    pub(super) fn add(
        &self,
        writer: &mut Writer,
        mut arena: Arena,
        additions: &[Delta],
        after: Version,
    ) -> Result<Arena> {
        let old = arena.chunks.len();
        let limit = self.spec.limits.chunk_rows;
        for run in neighbours(additions, limit) {
            for piece in Delta::concat(&self.schema, &additions[run])?.pieces(limit) {
                arena.push(compact(piece)?, after);
            }
        }
        for at in old..arena.chunks.len() {
            let chunk = &arena.chunks[at];
            match &chunk.weights {
                None => writer.weight = writer.weight.checked_add(chunk.len() as i64).ok_or_else(overflow)?,
                Some(weights) => {
                    let negative = weights.values().iter().filter(|weight| **weight < 0).count();
                    writer.negative += negative;
                    self.negative_rows.fetch_add(negative, std::sync::atomic::Ordering::Relaxed);
                    let sum = weights.values().iter().try_fold(writer.weight, |sum, weight| sum.checked_add(*weight));
                    writer.weight = sum.ok_or_else(overflow)?;
                }
            }
        }
        // Readers find the rows before any index leads to them.
        self.publish(arena.clone());
        for at in old..arena.chunks.len() {
            if let Some(mut index) = writer.rows.take() {
                self.index_chunk_rows(&mut index, &arena, at)?;
                writer.rows = Some(index);
            }
            for index in self.all_indexes() {
                index.insert(&arena, at, 0, arena.chunks[at].len(), self.spec.limits.slice_rows, false)?;
            }
        }
        Ok(arena)
    }

    /// Appends the rows of the oldest chunk anew once their ids are too far behind: indexes keep 32 bits of an id.
    fn renew(&self, writer: &mut Writer, arena: Arena, after: Version) -> Result<Arena> {
        let Some(oldest) = arena.chunks.first().cloned() else { return Ok(arena) };
        if arena.next_id - oldest.first_id() <= self.spec.limits.window {
            return Ok(arena);
        }
        let live: Vec<u32> = (0..oldest.len() as u32).filter(|row| oldest.death(*row as usize).is_none()).collect();
        if live.is_empty() {
            return Ok(arena);
        }
        let ids: Vec<u64> = live.iter().map(|row| oldest.id(*row as usize)).collect();
        let whole = Delta::from_parts(oldest.rows.clone(), oldest.weights.clone());
        let delta = whole.take(&UInt32Array::from(live.clone()))?;
        if let Some(index) = &mut writer.rows {
            let mut hashes = Vec::new();
            hash_columns(delta.rows(), &self.all_columns, &mut hashes)?;
            ids.iter().zip(&hashes).for_each(|(id, hash)| index.kill(*id, *hash as u32, |_| false));
        }
        for index in self.all_indexes() {
            index.kill(&arena, delta.rows(), &ids, self.spec.limits.slice_rows)?;
        }
        for (row, at) in live.iter().enumerate() {
            oldest.kill(*at as usize, after)?;
            writer.weight -= delta.weight(row);
            writer.negative -= usize::from(delta.weight(row) < 0);
        }
        bury(writer, after, ids);
        let mut arena = self.add(writer, arena, &[delta], after)?;
        arena.newest = arena.newest.max(after);
        Ok(arena)
    }
}

/// Notes deaths, to be reclaimed when `version` is the oldest that can be asked for.
fn bury(writer: &mut Writer, version: Version, ids: Vec<u64>) {
    match writer.dead.back_mut() {
        Some(step) if step.version == version => step.ids.extend(ids),
        _ => writer.dead.push_back(DeadStep { version, ids, done: 0 }),
    }
}

/// Rows that hold on to buffers much larger than themselves (a slice of a big batch) are copied.
fn compact(delta: Delta) -> Result<Delta> {
    let held = delta.rows().get_array_memory_size();
    let own: usize = delta
        .rows()
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX / 64))
        .sum();
    if held <= own.saturating_mul(2).saturating_add(4096) {
        return Ok(delta);
    }
    let all = UInt32Array::from_iter_values(0..delta.len() as u32);
    let rows: RecordBatch = take_rows(delta.rows(), &all)?;
    Ok(Delta::from_parts(rows, delta.weights().cloned()))
}
