//! A transaction block: one snapshot, fixed by its first statement, and writes of its own until COMMIT.

use std::sync::Arc;

use super::Engine;
use super::overlay::{Overlaid, Overlay};
use super::published::Reader;
use super::read::ReadView;
use super::scope::Scope;
use super::write::{WriteJob, WriteOutcome};
use crate::error::Result;

pub struct Transaction {
    engine: Arc<Engine>,
    snapshot: Option<Snapshot>,
    writes: Arc<Overlay>,
}

/// A transaction's writes up to a SAVEPOINT.
pub struct Savepoint {
    writes: Arc<Overlay>,
}

/// Registered with the sequencer for as long as it lives, so that conflicts can be told.
struct Snapshot {
    engine: Arc<Engine>,
    reader: Arc<Reader>,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.engine.sequenced.snapshots.leave(self.reader.state.commits);
    }
}

impl Transaction {
    pub(super) fn new(engine: Arc<Engine>) -> Transaction {
        Transaction { engine, snapshot: None, writes: Arc::default() }
    }

    /// The transaction's state: the snapshot with its own writes. The first call fixes the snapshot, at an epoch with every write
    /// acknowledged before.
    pub async fn read(&mut self) -> Result<ReadView> {
        let base = self.reader().await?;
        Ok(match self.writes.is_empty() {
            true => ReadView::new(base),
            false => ReadView::new(Arc::new(Overlaid { base, layers: vec![self.writes.clone()], settle: None })),
        })
    }

    /// Runs a write over that state. What it changes is seen by this transaction only; if it fails, nothing of it stays.
    pub async fn write(&mut self, mut job: Box<dyn WriteJob>) -> Result<WriteOutcome> {
        let base = self.reader().await?;
        let row_ids = self.engine.sequenced.row_ids.clone();
        let max_rows = self.engine.sequenced.max_transaction_rows;
        let mut scope = Scope::new(base, self.writes.clone(), None, row_ids, max_rows);
        let (outcome, own) =
            tokio::task::spawn_blocking(move || job.run(&mut scope).map(|outcome| (outcome, scope.own)))
                .await
                .map_err(crate::error::Error::internal)??;
        Arc::make_mut(&mut self.writes).merge(&own, 0);
        if self.writes.rows() > max_rows {
            return Err(super::scope::too_many_rows(max_rows));
        }
        Ok(outcome)
    }

    /// What it has written so far, to come back to. Costs nothing: writes are kept in pieces that don't change.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint { writes: self.writes.clone() }
    }

    /// Forgets what was written since. The snapshot stays.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) {
        self.writes = savepoint.writes.clone();
    }

    /// Makes its writes durable, all in one place of the order, or none: 40001 when somebody changed the same rows first.
    pub async fn commit(mut self) -> Result<()> {
        match &self.snapshot {
            Some(snapshot) if !self.writes.is_empty() => {
                let writes = std::mem::take(&mut self.writes);
                self.engine.commit(writes, snapshot.reader.state.commits).await
            }
            _ => Ok(()),
        }
    }

    async fn reader(&mut self) -> Result<Arc<Reader>> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(snapshot.reader.clone());
        }
        let reader = self.engine.transaction_reader().await?;
        self.snapshot = Some(Snapshot { engine: self.engine.clone(), reader: reader.clone() });
        Ok(reader)
    }
}
