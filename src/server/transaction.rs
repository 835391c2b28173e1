//! A session's transaction: where it stands, what the client is told, and which way reads and writes go.
//!
//! | status   | begun by                                              | reads and writes |
//! |----------|-------------------------------------------------------|------------------|
//! | Idle     |                                                       | each by itself, at its place in the order |
//! | Implicit | several statements in one message, or before one Sync | the engine's transaction; DDL commits what came before it |
//! | Block    | BEGIN                                                 | the engine's transaction |
//! | Failed   | an error in a block                                   | refused (25P02) until the block ends |
//!
//! The engine's transaction starts with the first read or write that needs it: `BEGIN; SET ...; COMMIT` costs nothing.

use std::sync::Arc;

use parking_lot::Mutex;
use pgwire::messages::response::TransactionStatus;

use super::settings::Settings;
use crate::catalog::Catalog;
use crate::engine::{self, Engine, ReadView, Savepoint, Waiter, WriteJob, WriteOutcome};
use crate::error::{Error, Result, SqlState};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Status {
    #[default]
    Idle,
    Implicit,
    Block,
    Failed,
}

pub struct Transaction {
    /// The session's pid, by which `rr_holds` names it.
    owner: String,
    status: Status,
    engine: Option<engine::Transaction>,
    /// now() for the whole transaction: microseconds since 1970 UTC.
    now: Option<i64>,
    /// What txid_current() gives in it.
    number: Option<i64>,
    /// Oldest first. The settings keep one level of undo for each, above the transaction's own.
    savepoints: Vec<Named>,
}

/// A savepoint.
struct Named {
    name: String,
    writes: Savepoint,
    /// Portals that the session had opened by then.
    portals: u64,
}

impl Transaction {
    /// Of the session with this pid.
    pub fn new(pid: i32) -> Transaction {
        let (owner, status) = (pid.to_string(), Status::default());
        Transaction { owner, status, engine: None, now: None, number: None, savepoints: Vec::new() }
    }

    /// txid_current(): the transaction's number, or one for a statement by itself. They go on over restarts, as the clock does.
    pub fn number(&self) -> i64 {
        static NEWEST: Mutex<i64> = Mutex::new(0);
        self.number.unwrap_or_else(|| {
            let mut newest = NEWEST.lock();
            *newest = super::now().max(*newest + 1);
            *newest
        })
    }

    /// The transaction's own time, once it has begun.
    pub fn now(&self) -> Option<i64> {
        self.now
    }

    /// Whether BEGIN was said and not yet COMMIT or ROLLBACK.
    pub fn is_open(&self) -> bool {
        matches!(self.status, Status::Block | Status::Failed)
    }

    pub fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }

    /// Whether statements belong together: in a block, or in an implicit transaction.
    pub fn is_active(&self) -> bool {
        matches!(self.status, Status::Block | Status::Implicit)
    }

    pub fn is_implicit(&self) -> bool {
        self.status == Status::Implicit
    }

    pub fn wire_status(&self) -> TransactionStatus {
        match self.status {
            Status::Idle | Status::Implicit => TransactionStatus::Idle,
            Status::Block => TransactionStatus::Transaction,
            Status::Failed => TransactionStatus::Error,
        }
    }

    /// `pg_stat_activity.state` while nothing runs.
    pub fn activity(&self) -> &'static str {
        match self.status {
            Status::Idle | Status::Implicit => "idle",
            Status::Block => "idle in transaction",
            Status::Failed => "idle in transaction (aborted)",
        }
    }

    /// BEGIN. An implicit transaction becomes the block, with what it has done so far.
    pub fn begin_block(&mut self, settings: &mut Settings) {
        if self.status == Status::Idle {
            self.begin(settings);
        }
        self.status = Status::Block;
    }

    pub fn begin_implicit(&mut self, settings: &mut Settings) {
        if self.status == Status::Idle {
            self.begin(settings);
            self.status = Status::Implicit;
        }
    }

    /// The view this statement reads: inside a transaction always the one its first read fixed, with its own writes.
    pub async fn read(&mut self, engine: &Arc<Engine>) -> Result<ReadView> {
        if self.is_active() { self.engine(engine).read().await } else { engine.read_for(&self.owner).await }
    }

    pub async fn write(
        &mut self,
        engine: &Arc<Engine>,
        job: Box<dyn WriteJob>,
        waiter: &Waiter,
    ) -> Result<WriteOutcome> {
        if self.is_active() { self.engine(engine).write(job).await } else { engine.write_for(job, waiter).await }
    }

    /// DDL: part of a block; elsewhere a transaction of its own.
    pub async fn change<T>(
        &mut self,
        engine: &Arc<Engine>,
        waiter: Waiter,
        work: impl AsyncFnOnce(&mut engine::Transaction) -> Result<T>,
    ) -> Result<T> {
        if self.is_open() {
            return work(self.engine(engine)).await;
        }
        let mut own = engine.begin_for(&self.owner);
        let done = work(&mut own).await?;
        own.commit(waiter).await?;
        Ok(done)
    }

    /// The catalog of the block's snapshot, with its own DDL; `None` before anything fixed one.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.engine.as_ref().and_then(|work| work.catalog())
    }

    fn engine(&mut self, engine: &Arc<Engine>) -> &mut engine::Transaction {
        self.engine.get_or_insert_with(|| engine.begin_for(&self.owner))
    }

    /// SAVEPOINT: a name for what was done so far; the same name may be used again and hides the older one.
    pub fn savepoint(&mut self, name: &str, engine: &Arc<Engine>, settings: &mut Settings, portals: u64) {
        let writes = self.engine(engine).savepoint();
        self.savepoints.push(Named { name: name.to_string(), writes, portals });
        settings.begin();
    }

    /// RELEASE: the name and all later ones are forgotten, what was done stays. 3B001.
    pub fn release(&mut self, name: &str, settings: &mut Settings) -> Result<()> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at);
        settings.release(at + 1);
        Ok(())
    }

    /// ROLLBACK TO: back to what was done by then; a failed block goes on. 3B001.
    pub fn rollback_to(&mut self, name: &str, settings: &mut Settings) -> Result<()> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at + 1);
        if let (Some(work), Some(savepoint)) = (&mut self.engine, self.savepoints.last()) {
            work.rollback_to(&savepoint.writes);
        }
        settings.rollback_to(at + 1);
        settings.begin();
        self.status = Status::Block;
        Ok(())
    }

    /// Portals that had been opened at the newest savepoint: an error in the block ends only those after it.
    pub fn portals_at_savepoint(&self) -> Option<u64> {
        self.savepoints.last().map(|savepoint| savepoint.portals)
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        self.savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name)
            .ok_or_else(|| Error::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist")))
    }

    /// Makes the transaction's work lasting and ends it. `Ok(false)`: it had failed, and is rolled back.
    pub async fn commit(&mut self, settings: &mut Settings, waiter: Waiter) -> Result<bool> {
        if self.status == Status::Failed {
            self.rollback(settings);
            return Ok(false);
        }
        if let Some(work) = self.engine.take()
            && let Err(error) = work.commit(waiter).await
        {
            self.rollback(settings);
            return Err(error);
        }
        if self.status != Status::Idle {
            settings.commit();
        }
        self.end();
        Ok(true)
    }

    /// Undoes everything, the settings too, and ends the transaction.
    pub fn rollback(&mut self, settings: &mut Settings) {
        // Dropping the engine's transaction forgets its writes.
        self.engine = None;
        if self.status != Status::Idle {
            settings.rollback();
        }
        self.end();
    }

    fn begin(&mut self, settings: &mut Settings) {
        settings.begin_transaction();
        self.now = Some(super::now());
        self.number = Some(self.number());
    }

    fn end(&mut self) {
        self.status = Status::Idle;
        self.now = None;
        self.number = None;
        self.savepoints.clear();
    }

    /// An error: a block is undone and waits for its end, anything else is undone.
    pub fn fail(&mut self, settings: &mut Settings) {
        match self.status {
            Status::Block => {
                // With a savepoint the block may yet go on from there.
                if self.savepoints.is_empty() {
                    self.engine = None;
                }
                self.status = Status::Failed;
            }
            Status::Failed => {}
            Status::Idle | Status::Implicit => self.rollback(settings),
        }
    }

    /// In a failed block only its end may come.
    pub fn check(&self) -> Result<()> {
        match self.status {
            Status::Failed => {
                let message = "current transaction is aborted, commands ignored until end of transaction block";
                Err(Error::new(SqlState::IN_FAILED_SQL_TRANSACTION, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether a transaction that was to read only may still become one that writes: 25001 within savepoints, and once it has read.
    pub fn check_may_write(&self) -> Result<()> {
        let message = if !self.savepoints.is_empty() {
            "cannot set transaction read-write mode inside a read-only transaction"
        } else if self.catalog().is_some() {
            "transaction read-write mode must be set before any query"
        } else {
            return Ok(());
        };
        Err(Error::new(SqlState::ACTIVE_SQL_TRANSACTION, message))
    }

    /// For statements that can't be undone or that belong to no transaction.
    pub fn refuse_in_block(&self, statement: &str) -> Result<()> {
        match self.status {
            Status::Block | Status::Failed | Status::Implicit => {
                let message = format!("{statement} cannot run inside a transaction block");
                Err(Error::new(SqlState::ACTIVE_SQL_TRANSACTION, message))
            }
            _ => Ok(()),
        }
    }
}
