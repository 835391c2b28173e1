//! Giving back what nobody can see any more, a bounded amount a step.
//!
//! ```text
//!   dead rows, by version of death  --(death <= oldest)-->  out of every index  -->  counted in their chunk
//!   chunk with more than half such rows  -->  written anew without them, together with small neighbours
//! ```
//!
//! A row leaves the arena only after the indexes, which compare stored rows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::arena::Arena;
use super::arrangement::Writer;
use super::chunk::Chunk;
use super::{Arrangement, Version};
use crate::error::Result;

/// Chunks rewritten in one step, besides the merge at the end of the arena.
const REWRITES: usize = 2;
/// Versions between two searches for chunks that get old: few, against what a chunk can span.
const LOOK: Version = 1 << 24;
/// Dead rows handled together.
const BATCH: usize = 4096;

impl Arrangement {
    /// Gives back a bounded part of what nobody sees any more, without appending anything. Gives the version in which the oldest dead
    /// row left died, if there is one.
    pub fn give_back(&self, oldest: Version) -> Result<Option<Version>> {
        let mut writer = self.writer.lock();
        let writer = &mut *writer;
        let due = writer.dead.front().is_some_and(|step| step.version <= oldest);
        if due || !writer.rewrite.is_empty() {
            let mut arena = (*self.arena()).clone();
            arena.since = arena.since.max(oldest.min(arena.newest));
            self.reclaim(writer, &mut arena, 0)?;
            self.tidy(writer, &mut arena)?;
            self.publish(arena);
        }
        let rewrite = (!writer.rewrite.is_empty()).then_some(oldest);
        Ok(rewrite.or(writer.dead.front().map(|step| step.version)))
    }

    /// Takes dead rows out of the indexes: `rows` of them, or as many as the limits say if that is more.
    pub(super) fn reclaim(&self, writer: &mut Writer, arena: &mut Arena, rows: usize) -> Result<()> {
        let mut budget = rows.max(self.spec.limits.reclaim_rows);
        let indexes = self.all_indexes();
        while budget > 0 {
            let Some(step) = writer.dead.front_mut().filter(|step| step.version <= arena.since) else { break };
            let to = step.ids.len().min(step.done + budget.min(BATCH));
            let ids = &step.ids[step.done..to];
            if !indexes.is_empty() {
                let places: Vec<(usize, usize)> = ids.iter().filter_map(|id| arena.locate(*id)).collect();
                debug_assert_eq!(places.len(), ids.len(), "dead rows stay until they are reclaimed");
                for index in &indexes {
                    let keys = arena.gather(&places, &index.columns)?;
                    index.reclaim(&keys, ids, self.spec.limits.slice_rows)?;
                }
            }
            budget -= ids.len();
            step.done = to;
            if step.done == step.ids.len() {
                for id in &step.ids {
                    let Some((at, row)) = arena.locate(*id) else { continue };
                    let chunk = &arena.chunks[at];
                    chunk.count_reclaimed();
                    if chunk.weight(row) < 0 {
                        self.negative_rows.fetch_sub(1, Relaxed);
                    }
                    if chunk.reclaimed() * 2 > chunk.len() {
                        writer.rewrite.insert(chunk.first_id());
                    }
                }
                writer.safe = Some(step.version);
                writer.dead.pop_front();
            }
        }
        Ok(())
    }

    /// Merges small chunks at the end and rewrites mostly dead ones.
    pub(super) fn tidy(&self, writer: &mut Writer, arena: &mut Arena) -> Result<()> {
        let limits = &self.spec.limits;
        for _ in 0..REWRITES {
            let Some(first) = writer.rewrite.pop_first() else { break };
            let Some((at, _)) = arena.locate(first) else { continue };
            let chunk = &arena.chunks[at];
            if chunk.first_id() == first && chunk.reclaimed() * 2 > chunk.len() {
                let range = arena.mergeable_around(at, limits);
                arena.merge(range, writer.safe)?;
            }
        }
        // Four chunks of a size make one of the next, of which there may then be four.
        while let Some(range) = arena.mergeable_tail(limits) {
            arena.merge(range, writer.safe)?;
        }
        // Deaths are kept relative to a version; long-lived chunks get a new one in time.
        if arena.newest >= writer.look {
            let old = arena.chunks.iter().position(|chunk| chunk.too_old_for(arena.newest));
            match old {
                Some(at) => arena.merge(at..at + 1, writer.safe)?,
                None => writer.look = arena.newest + LOOK,
            }
        }
        Ok(())
    }

    /// Forgets all history: the rows of the newest version are what every version from `version` on sees, until the next
    /// append. For an arrangement that was filled beside the live circuit and joins it. No reader may be under way.
    pub fn rebase(&self, version: Version) -> Result<()> {
        let mut writer = self.writer.lock();
        let writer = &mut *writer;
        let mut arena = (*self.arena()).clone();
        arena.since = Version::MAX;
        while !writer.dead.is_empty() {
            self.reclaim(writer, &mut arena, usize::MAX)?;
        }
        let mut chunks = Vec::with_capacity(arena.chunks.len());
        for chunk in arena.chunks.iter() {
            let Some(kept) = Chunk::merge(&arena.schema, &[chunk], writer.safe, Version::MAX)? else { continue };
            let Chunk { rows, weights, .. } = &kept;
            let ids = kept.ids().clone();
            let births = vec![(0, version)];
            chunks.push(Arc::new(Chunk::from_parts(rows.clone(), weights.clone(), ids, births, version, &[])));
        }
        arena.chunks = chunks.into_iter().collect();
        arena.newest = version;
        arena.since = version;
        self.all_indexes().iter().for_each(|index| index.rebase());
        writer.safe = None;
        writer.look = 0;
        writer.rewrite.clear();
        *self.counts.write() = [(version, writer.weight)].into();
        self.publish(arena);
        Ok(())
    }
}
