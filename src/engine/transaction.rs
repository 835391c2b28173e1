//! A transaction block: one snapshot, fixed by its first statement, and writes and DDL of its own until COMMIT.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Engine;
use super::overlaid::Overlaid;
use super::overlay::Overlay;
use super::published::Reader;
use super::read::ReadView;
use super::scope::Scope;
use super::sequencer::Shared;
use super::waiter::Waiter;
use super::write::{WriteJob, WriteOutcome};
use crate::catalog::{Catalog, Ddl};
use crate::error::{Error, Result};
use crate::state::HoldKind;

pub struct Transaction {
    engine: Arc<Engine>,
    /// Whom `rr_holds` names.
    owner: String,
    snapshot: Option<Arc<Reader>>,
    writes: Arc<Overlay>,
    written: Written,
    /// What it has created and dropped, in order; the snapshot's reader shows it.
    ddl: Vec<Ddl>,
}

/// A transaction's work up to a SAVEPOINT.
pub struct Savepoint {
    writes: Arc<Overlay>,
    /// DDL before it, and the state with that; absent where nothing had been read or written.
    ddl: usize,
    reader: Option<Arc<Reader>>,
}

/// A transaction's part of the bytes that open ones hold; given back when it ends.
struct Written {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Written {
    fn set(&mut self, bytes: usize) {
        self.shared.transaction_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.transaction_bytes.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Ordering::Relaxed);
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Transaction {
    pub(super) fn new(engine: Arc<Engine>, owner: String) -> Transaction {
        let written = Written { shared: engine.sequenced.clone(), bytes: 0 };
        Transaction { engine, owner, snapshot: None, writes: Arc::default(), written, ddl: Vec::new() }
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
                .map_err(Error::internal)??;
        let writes = Arc::make_mut(&mut self.writes);
        writes.merge(Arc::unwrap_or_clone(own), 0);
        let exceeds = writes.exceeds(max_rows);
        self.count();
        if exceeds {
            return Err(super::scope::too_many_rows(max_rows));
        }
        Ok(outcome)
    }

    /// What it has written so far, to come back to. Costs nothing: writes are kept in pieces that don't change.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint { writes: self.writes.clone(), ddl: self.ddl.len(), reader: self.snapshot.clone() }
    }

    /// Forgets what was written, created and dropped since. The snapshot stays.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) {
        self.writes = savepoint.writes.clone();
        self.count();
        self.ddl.truncate(savepoint.ddl);
        // If it was fixed after the savepoint, the next statement fixes another.
        self.snapshot = savepoint.reader.clone();
    }

    /// Its snapshot's catalog, with what it has created and dropped; `None` before its first statement.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.snapshot.as_ref().map(|snapshot| snapshot.state.catalog.clone())
    }

    /// Makes its work durable, all in one place of the order, or nothing of it: 40001 when somebody changed the same rows first.
    /// Views are filled before that. Given up by the waiter before it has its place, nothing of it happens (57014).
    pub async fn commit(mut self, waiter: Waiter) -> Result<()> {
        let (writes, ddl) = (std::mem::take(&mut self.writes), std::mem::take(&mut self.ddl));
        let Some(reader) = self.snapshot.take() else { return Ok(()) };
        if ddl.is_empty() {
            return if writes.is_empty() { Ok(()) } else { self.engine.commit(writes, None, &waiter).await };
        }
        let inner = self.engine.inner.clone();
        let of_views = waiter.clone();
        let prepared = tokio::task::spawn_blocking(move || inner.prepare(ddl, reader, &of_views));
        let change = prepared.await.map_err(Error::internal)??;
        self.engine.commit(writes, Some(Box::new(change)), &waiter).await
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Its next statements see this state, which `ddl` has made of the one before.
    pub(super) fn see(&mut self, reader: Arc<Reader>, ddl: Vec<Ddl>) {
        if let Some(snapshot) = &mut self.snapshot {
            let catalog = &reader.state.catalog;
            Arc::make_mut(&mut self.writes).retain(|id| catalog.relation(id).is_some());
            *snapshot = reader;
            self.ddl.extend(ddl);
            self.count();
        }
    }

    fn count(&mut self) {
        self.written.set(self.writes.bytes());
    }

    pub(super) async fn reader(&mut self) -> Result<Arc<Reader>> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(snapshot.clone());
        }
        let reader = self.engine.reader(HoldKind::Transaction, &self.owner).await?;
        self.snapshot = Some(reader.clone());
        Ok(reader)
    }
}
