//! Reading an arrangement whole: all rows of a version, or what changed between two.
//!
//! Both take the chunk list once and never lock again. They copy only where a chunk has rows that are not seen.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, UInt32Array};

use super::arena::Arena;
use super::bounds::{ChunkFilter, Chunks};
use super::{Arrangement, Version};
use crate::delta::{Delta, take_rows};
use crate::error::Result;

/// Rows of one batch handed out.
const BATCH: usize = 8 * 1024;

/// All rows of a version, in batches of at most 8 k rows. Equal rows may stand in several places.
#[derive(Clone)]
pub struct Snapshot {
    arena: Arc<Arena>,
    version: Version,
    /// Which chunks are read; all where nobody says.
    wanted: Option<Arc<[bool]>>,
    chunk: usize,
    row: usize,
}

/// What happened between two versions, in batches of at most 8 k rows: births (+) and deaths (-), not consolidated.
pub struct Changes {
    arena: Arc<Arena>,
    from: Version,
    to: Version,
    chunk: usize,
    row: usize,
}

impl Arrangement {
    /// The rows seen at `version`, which must be held.
    pub fn snapshot(&self, version: Version) -> Result<Snapshot> {
        let arena = self.arena();
        arena.check(version)?;
        Ok(Snapshot { arena, version, wanted: None, chunk: 0, row: 0 })
    }

    /// Of the rows seen at `version` at least those of the chunks that may hold what is wanted.
    pub fn snapshot_of(&self, version: Version, filter: &dyn ChunkFilter) -> Result<Snapshot> {
        let all = self.snapshot(version)?;
        let wanted = filter.may_hold(&Chunks { list: &all.arena.chunks })?;
        Ok(Snapshot { wanted: Some(wanted.into()), ..all })
    }

    /// The difference of two versions, of which the older one must be held.
    pub fn changes(&self, from: Version, to: Version) -> Result<Changes> {
        let arena = self.arena();
        arena.check(from)?;
        Ok(Changes { arena, from, to, chunk: 0, row: 0 })
    }
}

impl Iterator for Snapshot {
    type Item = Result<Delta>;

    fn next(&mut self) -> Option<Result<Delta>> {
        loop {
            let chunk = self.arena.chunks.get(self.chunk)?;
            let is_wanted =
                self.wanted.as_ref().is_none_or(|wanted| wanted.get(self.chunk).is_none_or(|wanted| *wanted));
            let born = if is_wanted { chunk.born_by(self.version) } else { 0 };
            if self.row >= born {
                self.chunk += 1;
                self.row = 0;
                continue;
            }
            let (from, to) = (self.row, born.min(self.row + BATCH));
            self.row = to;
            let weights = chunk.weights.as_ref().map(|weights| weights.slice(from, to - from));
            let delta = Delta::from_parts(chunk.rows.slice(from, to - from), weights);
            match chunk.visible(from, to, self.version) {
                None => return Some(Ok(delta)),
                Some(none) if none.count_set_bits() == 0 => {}
                Some(mask) => return Some(delta.filter(&BooleanArray::new(mask, None))),
            }
        }
    }
}

impl Iterator for Changes {
    type Item = Result<Delta>;

    fn next(&mut self) -> Option<Result<Delta>> {
        loop {
            let chunk = self.arena.chunks.get(self.chunk)?;
            let (old, born) = (chunk.born_by(self.from), chunk.born_by(self.to));
            // Rows born by `from` matter only if they died.
            let start = if chunk.any_dead() { self.row } else { self.row.max(old) };
            if start >= born {
                self.chunk += 1;
                self.row = 0;
                continue;
            }
            let (from, to) = (start, born.min(start + BATCH));
            self.row = to;
            let mut rows: Vec<u32> = Vec::new();
            let mut weights = Vec::new();
            for row in from..to {
                let gone = chunk.dead_by(row, self.to);
                let weight = match row < old {
                    true if gone && !chunk.dead_by(row, self.from) => -chunk.weight(row),
                    false if !gone => chunk.weight(row),
                    _ => continue,
                };
                rows.push(row as u32);
                weights.push(weight);
            }
            if rows.is_empty() {
                continue;
            }
            let rows = take_rows(&chunk.rows, &UInt32Array::from(rows));
            return Some(rows.map(|rows| Delta::new(rows, Int64Array::from(weights))));
        }
    }
}
