//! A chunk: up to some 64 k rows of an arena, in order of arrival, that never change.
//!
//! ```text
//!   row      0      1      2      3           one Arrow batch
//!   id       70     71     73     76          a run (first id) or, after dead rows were cut out, a list
//!   weight   1      1      1      1           left out where all are 1
//!   born     (0, v4) ......(2, v6) .......    first row of each version
//!   died     0      v5     0      0           atomics, allocated at the first death; relative to a base in 4 bytes
//! ```
//!
//! The worker that owns the arrangement marks deaths; everyone else only reads. A reader at version `s` takes a death it
//! finds at `d` as "gone" only if `d <= s`, so it does not matter to it when exactly a later death becomes visible.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use arrow::array::{Array, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;

use super::Version;
use super::bounds::Bounds;
use crate::delta::size::RowSizes;
use crate::delta::take_rows;
use crate::error::{Error, Result};

#[derive(Clone)]
pub(super) enum Ids {
    Run(u64),
    List(Box<[u64]>),
}

pub(super) struct Chunk {
    pub rows: RecordBatch,
    pub weights: Option<Int64Array>,
    ids: Ids,
    /// (first row, version): ascending in both, never empty.
    births: Vec<(u32, Version)>,
    /// A word w > 0 is the version base + w - 1.
    deaths: OnceLock<Box<[AtomicU32]>>,
    base: Version,
    /// Rows with a death mark.
    dead: AtomicU32,
    /// Of these, how many no index and no reader knows any more. Only the writer reads and writes it.
    reclaimed: AtomicU32,
    /// A column each.
    bounds: Box<[OnceLock<Option<Bounds>>]>,
    sizes: OnceLock<RowSizes>,
    bytes: usize,
}

impl Chunk {
    /// A chunk of rows that are all born at `version`.
    pub fn new(rows: RecordBatch, weights: Option<Int64Array>, first_id: u64, version: Version) -> Chunk {
        Chunk::from_parts(rows, weights, Ids::Run(first_id), vec![(0, version)], version, &[])
    }

    /// `deaths`: (row, version), versions from `base` on.
    pub fn from_parts(
        rows: RecordBatch,
        weights: Option<Int64Array>,
        ids: Ids,
        births: Vec<(u32, Version)>,
        base: Version,
        deaths: &[(u32, Version)],
    ) -> Chunk {
        let bytes = rows.get_array_memory_size() + weights.as_ref().map_or(0, |w| w.get_array_memory_size());
        let bounds = rows.columns().iter().map(|_| OnceLock::new()).collect();
        let chunk = Chunk {
            rows,
            weights,
            ids,
            births,
            deaths: OnceLock::new(),
            base,
            dead: AtomicU32::new(0),
            reclaimed: AtomicU32::new(0),
            bounds,
            sizes: OnceLock::new(),
            bytes,
        };
        for &(row, version) in deaths {
            chunk.words()[row as usize].store(version.saturating_sub(base) as u32 + 1, Relaxed);
        }
        chunk.dead.store(deaths.len() as u32, Relaxed);
        chunk
    }

    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub fn bytes(&self) -> usize {
        let ids = if let Ids::List(ids) = &self.ids { ids.len() * 8 } else { 0 };
        let deaths = self.deaths.get().map_or(0, |deaths| deaths.len() * 4);
        self.bytes + ids + deaths + self.births.len() * 16 + size_of::<Chunk>()
    }

    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    pub fn id(&self, row: usize) -> u64 {
        match &self.ids {
            Ids::Run(first) => first + row as u64,
            Ids::List(ids) => ids[row],
        }
    }

    pub fn first_id(&self) -> u64 {
        self.id(0)
    }

    /// One more than the last id.
    pub fn end_id(&self) -> u64 {
        self.id(self.len() - 1) + 1
    }

    /// How many rows have ids below this one.
    pub fn rows_before(&self, id: u64) -> usize {
        match &self.ids {
            Ids::Run(first) => (id.saturating_sub(*first) as usize).min(self.len()),
            Ids::List(ids) => ids.partition_point(|other| *other < id),
        }
    }

    #[inline]
    pub fn row_of(&self, id: u64) -> Option<usize> {
        match &self.ids {
            Ids::Run(first) => id.checked_sub(*first).map(|row| row as usize).filter(|row| *row < self.len()),
            Ids::List(ids) => ids.binary_search(&id).ok(),
        }
    }

    #[inline]
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights.value(row))
    }

    pub fn births(&self) -> &[(u32, Version)] {
        &self.births
    }

    pub fn first_birth(&self) -> Version {
        self.births[0].1
    }

    /// How many rows (the first ones) were born by `version`.
    pub fn born_by(&self, version: Version) -> usize {
        match self.births.partition_point(|(_, born)| *born <= version) {
            all if all == self.births.len() => self.len(),
            runs => self.births[runs].0 as usize,
        }
    }

    fn words(&self) -> &[AtomicU32] {
        self.deaths.get_or_init(|| (0..self.len()).map(|_| AtomicU32::new(0)).collect())
    }

    /// Marks a row dead from `version` on.
    pub fn kill(&self, row: usize, version: Version) -> Result<()> {
        let word = u32::try_from(version.saturating_sub(self.base)).ok().and_then(|word| word.checked_add(1));
        let word = word.ok_or_else(|| Error::internal("a chunk is older than 4 billion steps"))?;
        debug_assert_eq!(self.words()[row].load(Relaxed), 0, "a row dies once");
        self.words()[row].store(word, Relaxed);
        self.dead.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Whether deaths can still be marked at `version` and a good while after it.
    pub fn too_old_for(&self, version: Version) -> bool {
        version.saturating_sub(self.base) > u64::from(u32::MAX / 2)
    }

    /// When the row died, if it did (as far as we know yet).
    #[inline]
    pub fn death(&self, row: usize) -> Option<Version> {
        let word = self.deaths.get()?[row].load(Relaxed);
        (word > 0).then(|| self.base + u64::from(word) - 1)
    }

    /// Whether the row, if it was born by then, is dead at `version`.
    #[inline]
    pub fn dead_by(&self, row: usize, version: Version) -> bool {
        self.death(row).is_some_and(|died| died <= version)
    }

    pub fn any_dead(&self) -> bool {
        self.dead.load(Relaxed) > 0
    }

    pub fn reclaimed(&self) -> usize {
        self.reclaimed.load(Relaxed) as usize
    }

    pub fn count_reclaimed(&self) {
        self.reclaimed.fetch_add(1, Relaxed);
    }

    /// The rows of `from .. to` seen at `version`; `None` if that is all of them.
    pub fn visible(&self, from: usize, to: usize, version: Version) -> Option<BooleanBuffer> {
        if !self.any_dead() {
            return None;
        }
        let mask = BooleanBuffer::collect_bool(to - from, |row| !self.dead_by(from + row, version));
        (mask.count_set_bits() < to - from).then_some(mask)
    }

    /// Neighbouring chunks as one, without the rows dead by `gone` (those are in no index any more) and with the
    /// births that nobody can tell apart from `oldest` on forgotten. `None` if no row is left. Copies.
    pub fn merge(
        schema: &SchemaRef,
        chunks: &[&Chunk],
        gone: Option<Version>,
        oldest: Version,
    ) -> Result<Option<Chunk>> {
        // Deaths by `gone` are cut out, so that none before the base is left.
        let base = chunks.iter().map(|chunk| chunk.base).min().unwrap_or(0).max(gone.unwrap_or(0));
        let total: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut ids = Vec::with_capacity(total);
        let mut births: Vec<(u32, Version)> = Vec::new();
        let mut deaths = Vec::new();
        let mut weights = Vec::new();
        let mut batches = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let kept_before = ids.len();
            let mut run = 0;
            let mut kept = Vec::new();
            for row in 0..chunk.len() {
                while run + 1 < chunk.births.len() && chunk.births[run + 1].0 as usize <= row {
                    run += 1;
                }
                let death = chunk.death(row);
                if let (Some(death), Some(gone)) = (death, gone)
                    && death <= gone
                {
                    continue;
                }
                let position = ids.len() as u32;
                let born = chunk.births[run].1;
                if births.last().is_none_or(|last| last.1 < born) {
                    births.push((position, born));
                }
                deaths.extend(death.map(|death| (position, death)));
                ids.push(chunk.id(row));
                if chunk.weights.is_some() {
                    weights.resize(ids.len() - 1, 1);
                    weights.push(chunk.weight(row));
                }
                kept.push(row as u32);
            }
            match ids.len() - kept_before {
                0 => {}
                all if all == chunk.len() => batches.push(chunk.rows.clone()),
                _ => batches.push(take_rows(&chunk.rows, &UInt32Array::from(kept))?),
            }
        }
        if ids.is_empty() {
            return Ok(None);
        }
        // Of several runs born by `oldest` only the last is told apart from what follows.
        let old_runs = births.partition_point(|(_, born)| *born <= oldest);
        if old_runs > 1 {
            births.drain(0..old_runs - 1);
            births[0].0 = 0;
        }
        let rows = match batches.as_slice() {
            [only] => only.clone(),
            _ if schema.fields().is_empty() => {
                let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
                RecordBatch::try_new_with_options(schema.clone(), vec![], &options)?
            }
            _ => arrow::compute::concat_batches(schema, &batches)?,
        };
        weights.resize(if weights.is_empty() { 0 } else { ids.len() }, 1);
        let weights = weights.iter().any(|weight| *weight != 1).then(|| Int64Array::from(weights));
        let run = ids[ids.len() - 1] - ids[0] + 1 == ids.len() as u64;
        let ids = if run { Ids::Run(ids[0]) } else { Ids::List(ids.into_boxed_slice()) };
        Ok(Some(Chunk::from_parts(rows, weights, ids, births, base, &deaths)))
    }

    /// How large its rows are, looked at when first asked for.
    pub fn sizes(&self) -> &RowSizes {
        self.sizes.get_or_init(|| RowSizes::new(&self.rows))
    }

    /// What a column's values lie between, computed when first asked for.
    pub fn bounds(&self, column: usize) -> Option<&Bounds> {
        let bounds = self.bounds.get(column)?;
        bounds.get_or_init(|| Bounds::of(self.rows.column(column)).ok().flatten()).as_ref()
    }
}
