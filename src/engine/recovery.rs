//! Recovery: the only way to start. The state is what the logged cuts make of nothing.
//!
//! Epochs without DDL are replayed several at a time: only the last of them is ever read. What was dropped later is not
//! built. Records of connected streams are read again from their source and compared with the fingerprint in the cut; if
//! they differ, the stream and all views on it are refused, and the partition is named. While a source's brokers can't be reached,
//! recovery waits for them: nothing older than what was read before is ever answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::Int64Array;

use super::epochs::{EPOCH_ROWS, Epochs, Intake};
use super::{Readiness, stopping};
use crate::catalog::{Ddl, Relation};
use crate::delta::Delta;
use crate::error::{Error, Result, SqlState};
use crate::ingest::{PartitionStatus, Range};
use crate::log::{Commit, Cut, Fingerprint, SourceCut};
use crate::types::RelationId;

/// Rows replayed as one epoch; wide ones count as several.
const REPLAY_ROWS: usize = 256 * 1024;
/// How long a replay hears nothing from a source that is away before it is tried anew.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before a source that can't be reached is tried again, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

impl Epochs {
    /// Replays the epoch log and takes in the commits after its last cut. Publishes when the state is that of the last cut.
    pub fn recover(&mut self) -> Result<()> {
        let started = std::time::Instant::now();
        let dropped = self.dropped_objects()?;
        let mut batch = (Cut::default(), Intake::default());
        let cuts = self.inner.epochs.clone();
        for cut in cuts.read(1)? {
            let cut = cut?;
            let last = self.state.epoch.max(batch.0.epoch);
            if cut.epoch != last + 1 {
                let message = format!("epoch {} follows {last} in the epoch log", cut.epoch);
                return Err(Error::new(SqlState::DATA_CORRUPTED, message));
            }
            if !cut.ddl.is_empty() {
                self.replay(std::mem::take(&mut batch))?;
                self.replay_ddl(&cut, &dropped)?;
            }
            self.read_again(&cut, &mut batch.1)?;
            batch.0 = cut;
            if batch.1.volume() >= REPLAY_ROWS || self.digests.is_some() {
                self.replay(std::mem::take(&mut batch))?;
            }
        }
        self.replay(batch)?;
        self.take_in_the_rest()?;
        let streams: Vec<RelationId> = self.state.positions.keys().copied().collect();
        for stream in streams {
            match self.state.failed.get(&stream) {
                Some(error) => self.report_stopped(stream, error),
                None => self.start_reading(stream)?,
            }
        }
        self.publish();
        let (epoch, seconds) = (self.state.epoch, started.elapsed().as_secs_f64());
        tracing::info!(epoch, seconds, "recovered");
        Ok(())
    }

    /// Nothing is read of a stream that has failed, and whoever watches it sees that.
    fn report_stopped(&self, stream: RelationId, error: &Error) {
        let positions = self.state.positions.get(&stream).into_iter().flatten();
        let stopped = positions.map(|(partition, _, next)| PartitionStatus::stopped(*partition, *next, error));
        *self.inner.facts.statuses(stream).lock() = stopped.collect();
    }

    fn dropped_objects(&self) -> Result<HashSet<RelationId>> {
        let mut dropped = HashSet::new();
        for cut in self.inner.epochs.read(1)? {
            for change in &cut?.ddl {
                if let Ddl::Drop { id } = Ddl::decode(change)? {
                    dropped.insert(id);
                }
            }
        }
        Ok(dropped)
    }

    fn replay(&mut self, (cut, intake): (Cut, Intake)) -> Result<()> {
        if cut.epoch == 0 {
            return Ok(());
        }
        let steps = self.steps(&intake)?;
        self.apply(&cut, steps, intake)?;
        // Nobody reads yet: what died before this epoch can go.
        self.inner.holds.publish(self.state.epoch, self.state.version);
        self.log_digests();
        Ok(())
    }

    fn replay_ddl(&mut self, cut: &Cut, dropped: &HashSet<RelationId>) -> Result<()> {
        for change in &cut.ddl {
            let change = Ddl::decode(change)?;
            match &change {
                Ddl::Create { relation } if dropped.contains(&relation.id) => {
                    self.state.catalog = self.state.catalog.apply(&change)?.into();
                }
                Ddl::Drop { .. } => self.state.catalog = self.state.catalog.apply(&change)?.into(),
                Ddl::Connect { stream, .. } if dropped.contains(stream) => {}
                _ => self.build(&change)?,
            }
        }
        Ok(())
    }

    pub fn is_recovering(&self) -> bool {
        matches!(*self.readiness.borrow(), Readiness::Recovering { .. })
    }

    /// While recovering: tries again, for as long as it takes, what fails because a source's brokers can't be reached.
    pub fn insist<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let recovering = self.is_recovering();
        let mut pause = PAUSE;
        loop {
            let error = match attempt() {
                Err(error) if recovering && error.state() == SqlState::CONNECTION_FAILURE => error,
                settled => {
                    if pause > PAUSE {
                        self.readiness.send_replace(Readiness::Recovering { waits_for: None });
                        tracing::info!("recovery goes on");
                    }
                    return settled;
                }
            };
            let detail = error.detail().unwrap_or_default();
            tracing::warn!(%error, detail, again_in = ?pause, "recovery waits for a source");
            self.readiness.send_replace(Readiness::Recovering { waits_for: Some(error) });
            match self.control.recv_timeout(pause) {
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => pause = (pause * 2).min(LONGEST_PAUSE),
                // Nothing but the order to stop comes before recovery is done.
                _ => return Err(stopping()),
            }
        }
    }

    /// Adds what a cut took in.
    fn read_again(&mut self, cut: &Cut, intake: &mut Intake) -> Result<()> {
        if cut.commits.0 < cut.commits.1 {
            for commit in self.commits_between(cut.commits.0, cut.commits.1)? {
                intake.add_commit(commit?);
            }
        }
        for source in &cut.sources {
            self.read_source_again(cut.epoch, source, intake)?;
        }
        Ok(())
    }

    /// Commits as they are asked for, one after the other without gaps; an error is the last thing it gives.
    fn commits_between(&self, from: u64, to: u64) -> Result<impl Iterator<Item = Result<Commit>>> {
        let (catalog, state) = (self.state.catalog.clone(), &self.state);
        let schema = move |id| {
            // Streams of the embedded log have no shards; tables that are not built were dropped.
            let built = |relation: &&Arc<Relation>| relation.append_only() || state.shards.contains_key(&id);
            catalog.relation(id).filter(built).map(|relation| relation.stored_schema())
        };
        let mut commits = self.inner.commits.read(from, to, schema)?;
        let mut next = from;
        let mut in_order = move || -> Result<Option<Commit>> {
            let missing = match commits.next().transpose()? {
                None if next == to => return Ok(None),
                None => format!("commits {next} to {} are missing in the embedded log", to - 1),
                Some(commit) if commit.sequence == next => {
                    next += 1;
                    for (relation, delta) in &commit.changes {
                        self.note_row_ids(*relation, delta);
                    }
                    return Ok(Some(commit));
                }
                Some(_) => format!("commit {next} is missing in the embedded log"),
            };
            Err(Error::new(SqlState::DATA_CORRUPTED, missing))
        };
        let mut failed = false;
        Ok(std::iter::from_fn(move || {
            let next = if failed { None } else { in_order().transpose() };
            failed = matches!(next, Some(Err(_)));
            next
        }))
    }

    /// Row ids go on after the greatest one ever given.
    fn note_row_ids(&self, relation: RelationId, delta: &Delta) {
        let has_row_id = self.state.catalog.relation(relation).is_some_and(|relation| relation.has_row_id());
        let ids = delta.rows().columns().last().and_then(|column| column.as_any().downcast_ref::<Int64Array>());
        if let Some(greatest) = ids.filter(|_| has_row_id).and_then(arrow::compute::max) {
            self.inner.sequenced.row_ids.fetch_max(greatest + 1, Ordering::Relaxed);
        }
    }

    fn read_source_again(&mut self, epoch: u64, cut: &SourceCut, intake: &mut Intake) -> Result<()> {
        let Some(connected) = self.state.sources.get(&cut.stream).cloned() else { return Ok(()) };
        if self.state.failed.contains_key(&cut.stream) {
            return Ok(());
        }
        let outcome = self.insist(|| {
            let (mut fingerprint, mut chunks) = (Fingerprint::default(), Vec::new());
            let range = Range { partition: cut.partition, start: cut.start, next: cut.next };
            connected.source.replay(range, PATIENCE, &mut |fetched| {
                fingerprint.extend(fetched.fingerprint);
                chunks.push(fetched);
                Ok(())
            })?;
            Ok((fingerprint, chunks))
        });
        let outcome = outcome.and_then(|(fingerprint, chunks)| match fingerprint == cut.fingerprint {
            true => Ok(chunks),
            false => Err(changed_history(&self.state.relation(cut.stream)?.name, epoch, cut, fingerprint)),
        });
        match outcome {
            Ok(chunks) => chunks.into_iter().for_each(|fetched| intake.add_fetched(cut.stream, fetched)),
            Err(error) if error.state() == SqlState::ADMIN_SHUTDOWN => return Err(error),
            Err(error) => self.fail(cut.stream, &error),
        }
        Ok(())
    }

    /// Commits that were acknowledged but that no cut holds yet, in epochs of the usual size.
    fn take_in_the_rest(&mut self) -> Result<()> {
        let end = self.inner.commits.last()? + 1;
        while self.state.commits < end {
            let mut intake = Intake::default();
            for commit in self.commits_between(self.state.commits, end)? {
                intake.add_commit(commit?);
                if intake.volume() >= EPOCH_ROWS {
                    break;
                }
            }
            self.epoch(intake)?;
        }
        Ok(())
    }
}

fn changed_history(stream: &str, epoch: u64, cut: &SourceCut, found: Fingerprint) -> Error {
    let SourceCut { partition, start, next, fingerprint, .. } = cut;
    let message =
        format!("the history of stream \"{stream}\" has changed: partition {partition}, positions {start} to {next}");
    let detail =
        format!("Epoch {epoch} took in {} records there, and now there are {}.", fingerprint.records, found.records);
    let same = fingerprint.records == found.records;
    let detail = if same { format!("Epoch {epoch} took in other records there.") } else { detail };
    Error::new(SqlState::DATA_CORRUPTED, message)
        .with_detail(detail)
        .with_hint("Drop the stream with CASCADE and create it again to start from what the topic holds now.")
}
