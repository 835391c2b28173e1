//! What is published at the end of an epoch, and a reader's look at it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use crossbeam_channel::{RecvTimeoutError, bounded};

use super::read::{Batches, ChunkFilter, Lookup, ReadState};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::circuit::Shards;
use crate::delta::size::{BATCH_BYTES, RowSizes};
use crate::delta::{Delta, take_rows};
use crate::error::{Error, Result, SqlState};
use crate::ingest::{Range, Source};
use crate::log::CommitLog;
use crate::state::{Arrangement, Hold, Version};
use crate::types::RelationId;

/// Everything readers may see, as of one epoch. Immutable; the next epoch makes a new one.
#[derive(Clone)]
pub struct Published {
    pub epoch: u64,
    pub version: Version,
    /// Commits of the embedded log below this number are in.
    pub commits: u64,
    pub catalog: Arc<Catalog>,
    /// Rows of tables and materialized views.
    pub shards: Arc<HashMap<RelationId, Shards>>,
    /// Connected streams.
    pub sources: Arc<HashMap<RelationId, Arc<Connected>>>,
    /// How far each connected stream has been taken in: partition, first position, next position.
    pub positions: Arc<HashMap<RelationId, Vec<(i32, i64, i64)>>>,
    /// How many rows each stream has, once it has any.
    pub stream_rows: Arc<HashMap<RelationId, u64>>,
    /// Relations whose rows can't be trusted, and why.
    pub failed: Arc<HashMap<RelationId, Error>>,
    /// No epoch follows, because of this: whoever waits for a later one waits in vain.
    pub ended: Option<Error>,
}

/// A stream's connection: what reads its records again.
pub struct Connected {
    pub source: Arc<dyn Source>,
}

impl Published {
    pub fn empty() -> Published {
        Published {
            epoch: 0,
            version: 0,
            commits: 1,
            catalog: Arc::new(Catalog::default()),
            shards: Arc::default(),
            sources: Arc::default(),
            positions: Arc::default(),
            stream_rows: Arc::default(),
            failed: Arc::default(),
            ended: None,
        }
    }

    /// Whether who waits for all commits below this number need not wait on.
    pub fn settles(&self, commits: u64) -> bool {
        self.commits >= commits || self.ended.is_some()
    }

    /// After that wait: all commits below the number are in, or why they will not be.
    pub fn has(&self, commits: u64) -> Result<()> {
        match &self.ended {
            Some(error) if self.commits < commits => Err(error.clone()),
            _ => Ok(()),
        }
    }

    pub fn relation(&self, id: RelationId) -> Result<&Arc<Relation>> {
        self.catalog.relation(id).ok_or_else(|| {
            Error::new(SqlState::UNDEFINED_TABLE, "a relation of this statement was dropped or made after it began")
        })
    }

    pub fn is_stream(&self, id: RelationId) -> bool {
        self.catalog.relation(id).is_some_and(|relation| matches!(relation.kind, RelationKind::Stream(_)))
    }

    /// All rows of a relation in its stored schema, as deltas; for a stream from the logs.
    /// The worker on which a row lives comes with it. With a filter, chunks that hold nothing it wants may be left out.
    pub fn rows(&self, id: RelationId, log: &CommitLog, filter: Option<&dyn ChunkFilter>) -> Result<WorkerDeltas> {
        if let Some(error) = self.failed.get(&id) {
            return Err(error.clone());
        }
        if let Some(shards) = self.shards.get(&id) {
            let version = self.version;
            let parts: Vec<WorkerDeltas> = shards
                .0
                .iter()
                .enumerate()
                .map(|(worker, shard)| {
                    let rows = match filter {
                        Some(filter) => shard.snapshot_of(version, filter)?,
                        None => shard.snapshot(version)?,
                    };
                    Ok(Box::new(rows.map(move |delta| Ok((worker, delta?)))) as WorkerDeltas)
                })
                .collect::<Result<_>>()?;
            return Ok(Box::new(parts.into_iter().flatten()));
        }
        self.rows_of_stream(id, None, log, PATIENCE)
    }

    /// What changed in a relation since an earlier state: births and deaths, or what a stream has taken in since. 08001 when its source
    /// is away for as long as `patience`.
    pub fn changes(
        &self,
        since: &Published,
        id: RelationId,
        log: &CommitLog,
        patience: Duration,
    ) -> Result<WorkerDeltas> {
        if let Some(error) = self.failed.get(&id) {
            return Err(error.clone());
        }
        if let Some(shards) = self.shards.get(&id) {
            let (from, to) = (since.version, self.version);
            let parts: Vec<WorkerDeltas> = shards
                .0
                .iter()
                .enumerate()
                .map(|(worker, shard)| {
                    let rows = shard.changes(from, to)?;
                    Ok(Box::new(rows.map(move |delta| Ok((worker, delta?)))) as WorkerDeltas)
                })
                .collect::<Result<_>>()?;
            return Ok(Box::new(parts.into_iter().flatten()));
        }
        self.rows_of_stream(id, Some(since), log, patience)
    }

    fn rows_of_stream(
        &self,
        id: RelationId,
        since: Option<&Published>,
        log: &CommitLog,
        patience: Duration,
    ) -> Result<WorkerDeltas> {
        let relation = self.relation(id)?;
        if !matches!(relation.kind, RelationKind::Stream(_)) {
            let what = format!("{} \"{}\"", relation.kind_name(), relation.name);
            let message = format!("{what} has no rows yet");
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .with_hint("What a transaction creates is filled when it commits."));
        }
        // Streams are not sharded: their rows go to the workers in turn.
        let in_turn = |rows: Box<dyn Iterator<Item = Result<Delta>> + Send>| -> WorkerDeltas {
            Box::new(rows.enumerate().map(|(turn, delta)| Ok((turn, delta?))))
        };
        let Some(connected) = self.sources.get(&id) else {
            let from = since.map_or(0, |since| since.commits);
            return Ok(in_turn(Box::new(log.rows_of(id, relation.stored_schema(), from, self.commits))));
        };
        let before = since.and_then(|since| since.positions.get(&id)).cloned().unwrap_or_default();
        let mut ranges = Vec::new();
        for (partition, first, next) in self.positions.get(&id).into_iter().flatten() {
            let start = before.iter().find(|(other, ..)| other == partition).map_or(*first, |(_, _, next)| *next);
            if start < *next {
                ranges.push((*partition, start, *next));
            }
        }
        let nothing = Delta::insertions(RecordBatch::new_empty(relation.stored_schema()));
        Ok(in_turn(reread(connected.source.clone(), ranges, patience, nothing)))
    }
}

/// Deltas with the worker each belongs to.
pub type WorkerDeltas = Box<dyn Iterator<Item = Result<(usize, Delta)>> + Send>;

/// How long a reader of a stream hears nothing from a source that is away before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The same while epochs wait for it.
pub const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// While a source gives nothing, its reader gets a piece without rows this often: time to look whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Reads ranges of a source again, on a thread of its own that ends when nobody listens any more.
fn reread(
    source: Arc<dyn Source>,
    ranges: Vec<(i32, i64, i64)>,
    patience: Duration,
    nothing: Delta,
) -> Box<dyn Iterator<Item = Result<Delta>> + Send> {
    let (sender, receiver) = bounded(4);
    let gone = || Error::new(SqlState::QUERY_CANCELED, "the reader is gone");
    let spawned = std::thread::Builder::new().name("reread".into()).spawn(move || {
        for (partition, start, next) in ranges {
            let outcome = source.replay(Range { partition, start, next }, patience, &mut |fetched| {
                sender.send(Ok(Delta::insertions(fetched.rows))).map_err(|_| gone())
            });
            if let Err(error) = outcome {
                // If nobody listens, nobody wants to know.
                let _ = sender.send(Err(error));
                return;
            }
        }
    });
    match spawned {
        Ok(_) => Box::new(std::iter::from_fn(move || match receiver.recv_timeout(LOOK) {
            Ok(read) => Some(read),
            Err(RecvTimeoutError::Timeout) => Some(Ok(nothing.clone())),
            Err(RecvTimeoutError::Disconnected) => None,
        })),
        Err(error) => Box::new(std::iter::once(Err(error.into()))),
    }
}

/// Rows of one batch handed to readers.
const BATCH_ROWS: usize = 8 * 1024;

/// A reader at one epoch. Its hold keeps the version from being reclaimed.
pub struct Reader {
    pub state: Arc<Published>,
    pub log: CommitLog,
    /// Shared with the readers that a transaction's DDL makes of this one.
    pub hold: Arc<Hold>,
}

impl ReadState for Reader {
    fn epoch(&self) -> u64 {
        self.state.epoch
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.state.catalog.clone()
    }

    fn scan(&self, relation: RelationId, filter: Option<&dyn ChunkFilter>) -> Result<Batches> {
        let rows = self.state.rows(relation, &self.log, filter)?;
        Ok(batches(rows.map(|delta| Ok(delta?.1))))
    }

    fn lookup(&self, relation: RelationId, wanted: &Lookup) -> Result<Option<Batches>> {
        if let Some(error) = self.state.failed.get(&relation) {
            return Err(error.clone());
        }
        let Some(shards) = self.state.shards.get(&relation) else { return Ok(None) };
        let mut found = Vec::with_capacity(shards.0.len());
        for shard in shards.0.iter() {
            let Some(deltas) = self.look_up(shard, wanted)? else { return Ok(None) };
            found.push(deltas);
        }
        Ok(Some(batches(found.into_iter().flatten())))
    }

    fn row_count(&self, relation: RelationId) -> Option<u64> {
        if self.state.failed.contains_key(&relation) {
            return None;
        }
        if self.state.is_stream(relation) {
            return Some(self.state.stream_rows.get(&relation).copied().unwrap_or_default());
        }
        let shards = self.state.shards.get(&relation)?;
        let count = |shard: &Arc<Arrangement>| shard.row_count(self.state.version).ok();
        shards.0.iter().map(count).sum::<Option<i64>>()?.try_into().ok()
    }
}

impl Reader {
    /// The wanted rows of one shard by one of its indexes: a hash index on just these columns, or an ordered one that begins with them.
    fn look_up(&self, shard: &Arc<Arrangement>, wanted: &Lookup) -> Result<Option<Deltas>> {
        let (columns, keys, rows) = (&wanted.columns, wanted.keys.columns(), wanted.keys.num_rows());
        let version = self.state.version;
        if wanted.between.is_none()
            && let Some(mut matches) = shard.lookup(columns, keys, rows, version)?
        {
            let piece = move || matches.next(BATCH_ROWS).transpose();
            return Ok(Some(Box::new(
                std::iter::from_fn(piece).map(|piece| piece.map(|piece| Delta::from_parts(piece.rows, piece.weights))),
            )));
        }
        let Some(ranges) = shard.lookup_between(columns, keys, rows, wanted.between.as_ref(), version)? else {
            return Ok(None);
        };
        let few = ranges.at_most((shard.stored_rows() / WORTH_SCANNING).max(FEW))?;
        Ok(few.then(|| Box::new(ranges) as Deltas))
    }
}

/// Deltas of one relation, read lazily.
type Deltas = Box<dyn Iterator<Item = Result<Delta>> + Send>;

/// Each row of the deltas as often as its weight says.
fn batches(deltas: impl Iterator<Item = Result<Delta>> + Send + 'static) -> Batches {
    Box::new(deltas.map(|delta| delta.and_then(repeated)).flat_map(|pieces| match pieces {
        Ok(pieces) => pieces,
        Err(error) => Box::new(std::iter::once(Err(error))),
    }))
}

/// A scan reads whole batches, an index leads to one row after the other: a share of one in so many rows is sooner scanned for.
const WORTH_SCANNING: usize = 8;
/// Rows that are not worth a scan.
const FEW: usize = 1024;

/// Each row as often as its weight says, in batches of at most [`BATCH_ROWS`] that are made as they are asked for.
struct Repeated {
    delta: Delta,
    sizes: RowSizes,
    row: usize,
    /// How often the row was given already.
    given: i64,
}

fn repeated(delta: Delta) -> Result<Batches> {
    let weights = delta.weights().map_or(&[][..], |weights| weights.values());
    if let Some(weight) = weights.iter().find(|weight| **weight < 0) {
        return Err(Error::internal(format!("a row occurs {weight} times")));
    }
    if weights.iter().all(|weight| *weight == 1) {
        let pieces: Vec<Delta> = delta.pieces(BATCH_ROWS).collect();
        return Ok(Box::new(pieces.into_iter().map(|piece| Ok(piece.into_parts().0))));
    }
    let sizes = RowSizes::new(delta.rows());
    Ok(Box::new(Repeated { delta, sizes, row: 0, given: 0 }))
}

impl Iterator for Repeated {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let (mut rows, mut bytes): (Vec<u32>, usize) = (Vec::new(), 0);
        while self.row < self.delta.len() && rows.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let size = self.sizes.at(self.row);
            let left = usize::try_from(self.delta.weight(self.row) - self.given).unwrap_or(0);
            let room = (BATCH_ROWS - rows.len()).min((BATCH_BYTES - bytes) / size.max(1) + 1);
            let now = left.min(room);
            rows.extend(std::iter::repeat_n(self.row as u32, now));
            bytes += now * size;
            match now == left {
                true => (self.row, self.given) = (self.row + 1, 0),
                false => self.given += now as i64,
            }
        }
        (!rows.is_empty()).then(|| take_rows(self.delta.rows(), &UInt32Array::from(rows)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn delta(width: usize, weights: Vec<i64>) -> Delta {
        let rows = weights.len();
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
        let numbers = Int64Array::from_iter_values(0..rows as i64);
        let texts = StringArray::from(vec!["x".repeat(width); rows]);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), Arc::new(texts)]);
        Delta::new(rows.unwrap(), Int64Array::from(weights))
    }

    #[test]
    fn rows_that_occur_often_come_in_batches() {
        let batches: Vec<RecordBatch> =
            repeated(delta(3, vec![1, 20_000, 2, 1])).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8192, 8192, 3620]);
        let last = batches[2].column(0).as_primitive::<Int64Type>();
        assert_eq!(last.values()[3616..], [1, 2, 2, 3]);
        assert!(repeated(delta(3, vec![1, -2])).is_err());
        // As many as can be counted, one batch after the other.
        let mut endless = repeated(delta(3, vec![i64::MAX])).unwrap();
        assert_eq!(endless.next().unwrap().unwrap().num_rows(), BATCH_ROWS);
        let wide = repeated(delta(BATCH_BYTES / 4, vec![1, 9])).unwrap();
        assert!(wide.map(|batch| batch.unwrap().num_rows()).all(|rows| rows <= 5));
    }
}
