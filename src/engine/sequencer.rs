//! The sequencer: one order of writes.
//!
//! One thread takes write jobs as they come, evaluates each at its place (over the newest epoch and the overlay of
//! committed writes not yet in one), makes the group durable with one fsync, acknowledges, and hands the commits on to be
//! taken into an epoch. While a group is being synced the next one gathers: the slower the disk, the larger the groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::ddl::Change;
use super::epochs::Control;
use super::overlaid::Settle;
use super::overlay::Overlay;
use super::published::Reader;
use super::scope::Scope;
use super::waiter::Turn;
use super::write::{WriteJob, WriteOutcome};
use crate::error::{Error, Result, SqlState, guarded};
use crate::log::{Commit, CommitLog};
use crate::store::{Batch, Store};

/// Most requests that share one fsync.
const GROUP: usize = 1024;

/// A request that waits for its turn.
pub struct Queued {
    pub request: Request,
    pub turn: Arc<Turn>,
}

pub enum Request {
    /// A statement on its own.
    Job { job: Box<dyn WriteJob>, reply: oneshot::Sender<Result<WriteOutcome>> },
    /// A transaction's writes.
    Commit { writes: Arc<Overlay>, reply: oneshot::Sender<Result<()>> },
    /// A transaction that creates or drops something, its writes with it.
    Change { change: Box<Change>, writes: Arc<Overlay>, reply: oneshot::Sender<Result<()>> },
}

/// What the sequencer shares with the rest of the engine.
pub struct Shared {
    /// The number of the first commit that is not acknowledged: readers wait for all below it.
    pub acknowledged: AtomicU64,
    pub row_ids: Arc<AtomicI64>,
    /// The id that the next created object gets.
    pub next_object: AtomicU32,
    pub max_transaction_rows: usize,
    /// Rows of committed writes that may wait for their epoch before the next write waits for them; wide ones count as several.
    pub waiting_rows: usize,
    /// What open transactions have written.
    pub transaction_bytes: AtomicUsize,
    /// What is in the sequencer's overlay.
    pub overlay_bytes: AtomicUsize,
    /// Commits on their way to the epoch thread.
    pub queued_bytes: AtomicUsize,
}

pub struct Sequencer {
    pub requests: Receiver<Queued>,
    pub commits: Sender<Vec<Commit>>,
    pub control: Sender<Control>,
    pub store: Arc<Store>,
    pub shared: Arc<Shared>,
    /// A reader at the newest epoch.
    pub newest: Box<dyn Fn() -> Arc<Reader> + Send>,
    /// Waits until an epoch with all commits below the number is published, and gives a reader there.
    pub wait_for: Arc<dyn Fn(u64) -> Result<Arc<Reader>> + Send + Sync>,
    pub next: u64,
    pub overlay: Arc<Overlay>,
    /// The overlay holds no commits below this number.
    pub trimmed: u64,
    /// The last writes could not be made durable.
    pub refusing: bool,
    /// Nobody knows whether they are.
    pub broken: bool,
}

/// A request that waits for its group's fsync.
enum Pending {
    Job(oneshot::Sender<Result<WriteOutcome>>, WriteOutcome),
    Commit(oneshot::Sender<Result<()>>),
}

/// Requests that share an fsync.
#[derive(Default)]
struct Group {
    commits: Vec<Commit>,
    /// In rows; wide ones count as several.
    volume: usize,
    pending: Vec<Pending>,
    /// The overlay and the commit number before it, to go back to.
    below: Arc<Overlay>,
    first: u64,
}

/// Why a job gave nothing.
enum Refusal {
    /// It reads what earlier writes of its group change: they have to be durable first.
    NotDurable,
    Failed(Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::NotDurable => Error::internal("a write found earlier ones not durable twice"),
            Refusal::Failed(error) => error,
        }
    }
}

impl Sequencer {
    /// Works until nobody can send requests any more.
    pub fn run(mut self) {
        while !self.broken
            && let Ok(first) = self.requests.recv()
        {
            let more = self.requests.try_iter().take(GROUP - 1);
            let group: Vec<Queued> = std::iter::once(first).chain(more).collect();
            self.group(group);
        }
    }

    fn group(&mut self, requests: Vec<Queued>) {
        let (mut base, mut group) = self.next_group();
        for Queued { request, turn } in requests {
            if group.volume > self.shared.waiting_rows / 2 {
                self.finish(std::mem::take(&mut group));
                (base, group) = self.next_group();
            }
            if self.broken {
                // Whoever waits for the rest hears that the engine ends.
                return;
            }
            if !turn.begin() {
                continue;
            }
            match request {
                Request::Job { mut job, reply } => {
                    let mut outcome = self.evaluate(&base, job.as_mut(), group.commits.is_empty());
                    if let Err(Refusal::NotDurable) = outcome {
                        self.finish(std::mem::take(&mut group));
                        (base, group) = self.next_group();
                        outcome = self.evaluate(&base, job.as_mut(), true);
                    }
                    let taken = outcome.map_err(Error::from).and_then(|(outcome, writes)| {
                        self.take_in(&base, writes, &mut group)?;
                        Ok(outcome)
                    });
                    match taken {
                        Ok(outcome) => group.pending.push(Pending::Job(reply, outcome)),
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                Request::Commit { writes, reply } => {
                    let outcome = self.check_conflicts(&base, &writes);
                    match outcome.and_then(|()| self.take_in(&base, writes, &mut group)) {
                        Ok(()) => group.pending.push(Pending::Commit(reply)),
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                Request::Change { change, writes, reply } => {
                    self.finish(std::mem::take(&mut group));
                    let before = self.next_group().0;
                    drop(reply.send(self.change(&before, change, writes)));
                    (base, group) = self.next_group();
                }
            }
        }
        self.finish(group);
    }

    /// While epochs can't keep up nothing more is taken: what is committed and in no epoch yet is bounded.
    fn hold_back(&mut self) {
        while self.overlay.held().volume() > self.shared.waiting_rows {
            match (self.wait_for)(self.trimmed + 1) {
                Ok(reader) => self.trim(reader.state.commits),
                // The engine stops; what is asked of it now is answered so.
                Err(_) => return,
            }
        }
    }

    fn next_group(&mut self) -> (Arc<Reader>, Group) {
        self.hold_back();
        let base = (self.newest)();
        self.trim(base.state.commits);
        (base, Group { below: self.overlay.clone(), first: self.next, ..Group::default() })
    }

    /// DDL has an epoch of its own, which takes in the transaction's writes too and is logged together with them. Other writes
    /// wait for it, so that each is checked against the catalog of its place in the order.
    fn change(&mut self, base: &Arc<Reader>, change: Box<Change>, writes: Arc<Overlay>) -> Result<()> {
        self.check_conflicts(base, &writes)?;
        let changes = writes.effects(&change.catalog)?;
        let commit = (!changes.is_empty()).then_some(Commit { sequence: self.next, changes });
        let writes_rows = commit.is_some();
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.control.send(Control::Change { change, commit, reply }).map_err(|_| super::stopping())?;
        answer.recv().map_err(|_| super::stopping())??;
        if writes_rows {
            self.lay(writes);
            self.shared.acknowledged.store(self.next, Ordering::Release);
        }
        Ok(())
    }

    /// Makes a group durable, hands its commits on and answers.
    fn finish(&mut self, group: Group) {
        let outcome = self.make_durable(&group.commits);
        match &outcome {
            Ok(()) => {
                if !group.commits.is_empty() && std::mem::take(&mut self.refusing) {
                    tracing::info!("writes are taken again");
                }
                self.shared.acknowledged.store(self.next, Ordering::Release);
                let queued = group.commits.iter().map(Commit::bytes).sum();
                self.shared.queued_bytes.fetch_add(queued, Ordering::Relaxed);
                if !group.commits.is_empty() && self.commits.send(group.commits).is_err() {
                    tracing::warn!("the engine stops; writes just acknowledged are taken in at the next start");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.refusing, true) {
                    tracing::warn!(%error, "writes are refused");
                }
                (self.overlay, self.next) = (group.below, group.first);
                self.count();
                if error.state() == SqlState::TRANSACTION_RESOLUTION_UNKNOWN {
                    self.broken = true;
                    // If the engine has ended already, nobody needs to know.
                    let _ = self.control.send(Control::Fail(error.clone()));
                }
            }
        }
        for waiting in group.pending {
            // A client that has gone away does not undo its write.
            match waiting {
                Pending::Job(reply, answer) => drop(reply.send(outcome.clone().map(|()| answer))),
                Pending::Commit(reply) => drop(reply.send(outcome.clone())),
            }
        }
    }

    /// Runs a job over the newest state with all writes before it. What it reads of views must show those writes too, so they
    /// have to be durable first, and then in an epoch, which it waits for.
    fn evaluate(
        &self,
        base: &Arc<Reader>,
        job: &mut dyn WriteJob,
        durable: bool,
    ) -> Result<(WriteOutcome, Arc<Overlay>), Refusal> {
        let (wait_for, all) = (self.wait_for.clone(), self.next);
        let refused = Arc::new(AtomicBool::new(false));
        let flag = refused.clone();
        let settled = self.overlay.is_empty().then(|| base.clone());
        let settle = Settle::new(settled, move || match durable {
            true => wait_for(all),
            false => {
                flag.store(true, Ordering::Relaxed);
                Err(Error::internal("earlier writes are not durable yet"))
            }
        });
        let row_ids = self.shared.row_ids.clone();
        let max_rows = self.shared.max_transaction_rows;
        let mut scope = Scope::new(base.clone(), self.overlay.clone(), Some(settle), row_ids, max_rows);
        match guarded(|| job.run(&mut scope)) {
            Ok(outcome) => Ok((outcome, scope.own)),
            Err(_) if refused.load(Ordering::Relaxed) => Err(Refusal::NotDurable),
            Err(error) => Err(Refusal::Failed(error)),
        }
    }

    /// Gives writes their number and lays them over the state.
    fn take_in(&mut self, base: &Reader, writes: Arc<Overlay>, group: &mut Group) -> Result<()> {
        let changes = writes.effects(&base.state.catalog)?;
        if changes.is_empty() {
            return Ok(());
        }
        let sequence = self.next;
        self.lay(writes);
        group.volume += changes.iter().map(|(_, delta)| delta.volume()).sum::<usize>();
        group.commits.push(Commit { sequence, changes });
        Ok(())
    }

    /// Lays the writes of the next commit over the state.
    fn lay(&mut self, writes: Arc<Overlay>) {
        Arc::make_mut(&mut self.overlay).merge(Arc::unwrap_or_clone(writes), self.next);
        self.next += 1;
        self.count();
    }

    fn count(&self) {
        self.shared.overlay_bytes.store(self.overlay.bytes(), Ordering::Relaxed);
    }

    fn make_durable(&self, commits: &[Commit]) -> Result<()> {
        let mut batch = Batch::default();
        for commit in commits {
            CommitLog::put(&mut batch, commit)?;
        }
        match batch.is_empty() {
            true => Ok(()),
            false => {
                self.store.check_room(&batch)?;
                self.store.write(batch)
            }
        }
    }

    /// First committer wins: every row that a transaction has changed is still what the transaction saw.
    fn check_conflicts(&self, base: &Arc<Reader>, writes: &Overlay) -> Result<()> {
        let row_ids = self.shared.row_ids.clone();
        let mut scope = Scope::new(base.clone(), self.overlay.clone(), None, row_ids, usize::MAX);
        for (table, entries) in writes.befores() {
            // A table that the transaction makes is nobody else's yet.
            let Some(relation) = base.state.catalog.relation(table).cloned() else { continue };
            if !scope.unchanged(&relation, &entries)? {
                let message = "could not serialize access due to concurrent update";
                return Err(Error::new(SqlState::SERIALIZATION_FAILURE, message)
                    .with_hint("Another transaction changed the same row first; run this one again."));
            }
        }
        Ok(())
    }

    /// Forgets writes that an epoch shows.
    fn trim(&mut self, commits: u64) {
        if commits > self.trimmed {
            self.trimmed = commits;
            Arc::make_mut(&mut self.overlay).trim(commits);
            self.count();
        }
    }
}
