//! An arrangement as bytes: all rows that some version may still see, with their births and deaths, so that every version
//! kept reads the same after loading. Indexes are built anew.
//!
//! ```text
//!   "RRA1"  length of the header: u64   header (postcard: [`Header`])   the chunks' rows ([`crate::delta::saved`])
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::arena::Arena;
use super::arrangement::{DeadStep, Deletes, Writer};
use super::chunk::{Chunk, Ids};
use super::hash_index::HashIndex;
use super::{Arrangement, Version};
use crate::delta::{Delta, saved};
use crate::error::{Error, Result, SqlState};

const MAGIC: &[u8; 4] = b"RRA1";

#[derive(Serialize, Deserialize)]
struct Header {
    next_id: u64,
    newest: Version,
    since: Version,
    chunks: Vec<ChunkHeader>,
}

#[derive(Serialize, Deserialize)]
struct ChunkHeader {
    first_id: u64,
    ids: Option<Vec<u64>>,
    births: Vec<(u32, Version)>,
    deaths: Vec<(u32, Version)>,
}

impl Arrangement {
    pub fn save(&self) -> Result<Vec<u8>> {
        let arena = self.arena();
        let mut rows = Vec::with_capacity(arena.chunks.len());
        let mut chunks = Vec::with_capacity(arena.chunks.len());
        for chunk in arena.chunks.iter() {
            rows.push(Delta::from_parts(chunk.rows.clone(), chunk.weights.clone()));
            let deaths = (0..chunk.len()).filter_map(|row| Some((row as u32, chunk.death(row)?)));
            chunks.push(ChunkHeader {
                first_id: chunk.first_id(),
                ids: match chunk.ids() {
                    Ids::Run(_) => None,
                    Ids::List(ids) => Some(ids.to_vec()),
                },
                births: chunk.births().to_vec(),
                deaths: deaths.collect(),
            });
        }
        let header = Header { next_id: arena.next_id, newest: arena.newest, since: arena.since, chunks };
        let header = postcard::to_stdvec(&header).map_err(Error::internal)?;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&(header.len() as u64).to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&saved::save(&rows)?);
        Ok(out)
    }

    /// Puts the arrangement into the state that `save` wrote, whatever it held before; its indexes stay and are filled.
    pub fn load(&self, bytes: &[u8]) -> Result<()> {
        let mut writer = self.writer.lock();
        let arena = self.read(bytes)?;
        let mut fresh = Writer::default();
        let mut dead: BTreeMap<Version, Vec<u64>> = BTreeMap::new();
        let mut negative_rows = 0;
        for chunk in arena.chunks.iter() {
            for row in 0..chunk.len() {
                let weight = chunk.weight(row);
                negative_rows += usize::from(weight < 0);
                match chunk.death(row) {
                    Some(version) => dead.entry(version).or_default().push(chunk.id(row)),
                    None => {
                        fresh.weight += weight;
                        fresh.negative += usize::from(weight < 0);
                    }
                }
            }
        }
        fresh.dead = dead.into_iter().map(|(version, ids)| DeadStep { version, ids, done: 0 }).collect();
        if self.spec.deletes == Deletes::Row || writer.rows.is_some() {
            let mut index = HashIndex::new(false);
            index.raise(arena.next_id.saturating_sub(1));
            self.index_all_rows(&mut index, &arena)?;
            fresh.rows = Some(index);
        }
        for index in self.all_indexes() {
            index.reset(&self.schema, &arena)?;
            index.restore(&arena, self.spec.limits.slice_rows)?;
            for step in &fresh.dead {
                let places: Vec<(usize, usize)> = step.ids.iter().filter_map(|id| arena.locate(*id)).collect();
                let rows = arena.gather(&places, &self.all_columns)?;
                index.kill(&arena, &rows, &step.ids, self.spec.limits.slice_rows)?;
            }
        }
        self.negative_rows.store(negative_rows, Relaxed);
        *self.counts.write() = [(arena.newest, fresh.weight)].into();
        *writer = fresh;
        self.publish(arena);
        Ok(())
    }

    fn read(&self, bytes: &[u8]) -> Result<Arena> {
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| corrupt("no saved arrangement"))?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(|| corrupt("too short"))?;
        let length = u64::from_le_bytes(*length) as usize;
        let (header, rows) = rest.split_at_checked(length).ok_or_else(|| corrupt("too short"))?;
        let header: Header = postcard::from_bytes(header).map_err(corrupt)?;
        let deltas = saved::load(rows)?;
        if deltas.len() != header.chunks.len() {
            return Err(corrupt("chunks are missing"));
        }
        let mut arena = Arena::new(self.schema.clone());
        (arena.next_id, arena.newest, arena.since) = (header.next_id, header.newest, header.since);
        for (delta, chunk) in deltas.into_iter().zip(header.chunks) {
            let sound = delta.schema().fields() == self.schema.fields()
                && !delta.is_empty()
                && chunk.births.first().is_some_and(|birth| birth.0 == 0)
                && chunk.ids.as_ref().is_none_or(|ids| ids.len() == delta.len())
                && chunk.deaths.iter().all(|(row, _)| (*row as usize) < delta.len());
            if !sound {
                return Err(corrupt("a chunk does not fit its rows"));
            }
            let ids = chunk.ids.map_or(Ids::Run(chunk.first_id), |ids| Ids::List(ids.into_boxed_slice()));
            let first_death = chunk.deaths.iter().map(|(_, version)| *version).min();
            let base = first_death.unwrap_or(header.newest).min(header.newest);
            let (rows, weights) = delta.into_parts();
            arena.chunks.push(Arc::new(Chunk::from_parts(rows, weights, ids, chunk.births, base, &chunk.deaths)));
        }
        Ok(arena)
    }
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::new(SqlState::DATA_CORRUPTED, format!("saved state can't be read: {what}"))
}
