//! The engine: one order of writes and DDL, epochs, recovery, and what readers may see.
//!
//! ```text
//!   sessions -> sequencer (checks, overlay, one fsync a group) -> embedded log -.
//!   sources  -> readers (bounded queues) ----------------------------------------+-> cut -> epoch log -> circuit -> published
//! ```
//!
//! Threads: one sequencer, one for epochs, one that syncs the epoch log beside the circuit's work, the circuit's workers, a reader a
//! connected stream, and one for each time such a stream is read again. Sessions call from tokio; nothing here runs on its threads for long.

mod backfill;
mod constraints;
mod ddl;
mod digests;
mod epochs;
mod facts;
mod indexes;
mod overlaid;
mod overlay;
mod published;
pub mod read;
mod recovery;
mod scope;
mod sequencer;
mod sources;
#[cfg(test)]
mod tests;
mod transaction;
mod views;
mod waiter;
pub mod write;

pub use constraints::check_not_null;
pub use ddl::CreateOutcome;
pub use facts::{DdlProgress, DdlWork, ExpressionErrors, Facts};
pub use read::ReadView;
pub use transaction::{Savepoint, Transaction};
pub use waiter::Waiter;
pub use write::{WriteJob, WriteOutcome, WriteScope};

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::catalog::Catalog;
use crate::circuit::Circuit;
use crate::error::{Error, Result, SqlState, guarded};
use crate::ingest::{self, Connect};
use crate::log::{CommitLog, EpochLog};
use crate::state::{HoldInfo, HoldKind, Holds};
use crate::store::Store;
use crate::types::RelationId;
use ddl::Change;
use epochs::{Control, Epochs};
use overlay::Overlay;
use published::{Published, Reader};
use sequencer::{Queued, Request, Sequencer, Shared};
use waiter::Turn;

#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub data_dir: PathBuf,
    /// Worker threads of the circuit, at least 1.
    pub workers: usize,
    /// Rows of input a step handles at once: memory in flight is bounded by it.
    pub step_rows: usize,
    /// Rows one transaction may change; wide ones count as several (`delta::size::volume`).
    pub max_transaction_rows: usize,
    /// Rows of committed writes that may wait for their epoch, wide ones as several; then the next write waits for them.
    pub waiting_rows: usize,
    /// Bytes of the data disk that writes leave free: with less they are refused (53100).
    pub disk_reserve: u64,
    /// Bytes of the dead letters that are kept.
    pub dead_letter_retention: usize,
    /// How long a statement waits for recovery before it fails with 57P03.
    pub recovery_wait: Duration,
    /// What makes the sources of connected streams.
    pub connect: Connect,
}

impl EngineConfig {
    pub fn new(data_dir: impl Into<PathBuf>) -> EngineConfig {
        EngineConfig {
            data_dir: data_dir.into(),
            workers: 2,
            step_rows: 64 * 1024,
            max_transaction_rows: 10_000_000,
            waiting_rows: 1 << 20,
            disk_reserve: 128 << 20,
            dead_letter_retention: 64 << 20,
            recovery_wait: Duration::from_secs(10),
            connect: ingest::connect,
        }
    }
}

/// The sequencer's thread, and how `rr_holds` names who reads for autocommitted writes.
const SEQUENCER: &str = "sequencer";

/// Whether the engine answers.
#[derive(Clone, Debug)]
pub enum Readiness {
    Recovering {
        /// A source that can't be reached now, and why.
        waits_for: Option<Error>,
    },
    Ready,
    /// It stopped because of this; restarting recovers what was acknowledged.
    Failed(Error),
    Stopped,
}

/// What the engine's threads share.
pub(crate) struct Inner {
    config: EngineConfig,
    store: Arc<Store>,
    commits: CommitLog,
    epochs: EpochLog,
    circuit: Circuit,
    holds: Arc<Holds>,
    facts: Facts,
    published: watch::Sender<Arc<Published>>,
    sequenced: Arc<Shared>,
    log_thread: Sender<Box<dyn FnOnce() + Send>>,
    /// The engine is to end, whatever it is waiting for.
    stopping: AtomicBool,
}

/// See [`Engine::write_bytes`].
#[derive(Clone, Copy, Debug)]
pub struct WriteBytes {
    /// Of open transactions.
    pub transactions: usize,
    /// Committed ones that the sequencer lays over the newest epoch.
    pub overlay: usize,
    /// Committed ones that wait for their epoch.
    pub queued: usize,
}

pub struct Engine {
    inner: Arc<Inner>,
    requests: Mutex<Option<Sender<Queued>>>,
    control: Sender<Control>,
    readiness: watch::Sender<Readiness>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    pub(crate) sequenced: Arc<Shared>,
}

impl Engine {
    /// Opens the data folder and starts to recover it; [`Engine::ready`] tells when that is done. Fails when the folder is in use,
    /// not readable, or of another format.
    pub fn open(config: EngineConfig) -> Result<Arc<Engine>> {
        let store = Arc::new(Store::open(&config.data_dir, config.disk_reserve)?);
        let (commits, epochs) = (CommitLog::new(store.clone()), EpochLog::new(store.clone()));
        let circuit = Circuit::start(config.workers.max(1))?;
        let sequenced = Arc::new(Shared {
            acknowledged: AtomicU64::new(1),
            row_ids: Arc::new(AtomicI64::new(1)),
            next_object: AtomicU32::new(1),
            max_transaction_rows: config.max_transaction_rows,
            waiting_rows: config.waiting_rows,
            overlay_bytes: AtomicUsize::new(0),
            transaction_bytes: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
        });
        let (log_thread, log_work) = unbounded::<Box<dyn FnOnce() + Send>>();
        let facts = Facts::new(config.dead_letter_retention);
        let inner = Arc::new(Inner {
            config,
            store,
            commits,
            epochs,
            circuit,
            holds: Arc::default(),
            facts,
            published: watch::Sender::new(Arc::new(Published::empty())),
            sequenced: sequenced.clone(),
            log_thread,
            stopping: AtomicBool::new(false),
        });
        let (control, controls) = unbounded();
        let (requests, incoming) = crossbeam_channel::bounded(64 * 1024);
        let engine = Arc::new(Engine {
            inner: inner.clone(),
            requests: Mutex::new(Some(requests)),
            control,
            readiness: watch::Sender::new(Readiness::Recovering { waits_for: None }),
            threads: Mutex::default(),
            sequenced,
        });
        let (readiness, changes) = (engine.readiness.clone(), engine.control.clone());
        let mut threads = engine.threads.lock();
        threads.push(spawn("epoch-log", move || log_work.into_iter().for_each(|work| work()))?);
        threads.push(spawn("epochs", move || {
            let outcome = guarded(|| run_epochs(inner.clone(), (changes, controls), incoming, &readiness));
            let outcome = outcome.map_err(for_later);
            inner.end(outcome.as_ref().err());
            let last = match outcome {
                Ok(()) => Readiness::Stopped,
                Err(error) if error.state() == SqlState::ADMIN_SHUTDOWN => Readiness::Stopped,
                Err(error) => {
                    tracing::error!(%error, "the engine has failed");
                    Readiness::Failed(error)
                }
            };
            readiness.send_replace(last);
        })?);
        drop(threads);
        Ok(engine)
    }

    /// Returns when recovery is done; 57P03 when that takes longer than a statement should wait.
    pub async fn ready(&self) -> Result<()> {
        let mut readiness = self.readiness.subscribe();
        let settled = readiness.wait_for(|readiness| !matches!(readiness, Readiness::Recovering { .. }));
        // If that takes too long, what it is now says why.
        let _ = tokio::time::timeout(self.inner.config.recovery_wait, settled).await;
        let now = self.readiness.borrow().clone();
        match now {
            Readiness::Recovering { waits_for } => Err(starting_up(waits_for.as_ref())),
            Readiness::Failed(error) => Err(error),
            Readiness::Stopped => Err(stopping()),
            Readiness::Ready => Ok(()),
        }
    }

    /// Follows whether the engine answers.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// The newest epoch's catalog.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.published.borrow().catalog.clone()
    }

    /// The newest epoch's number.
    pub fn epoch(&self) -> u64 {
        self.inner.published.borrow().epoch
    }

    /// All relations at the newest epoch, with every write acknowledged before this call in it.
    pub async fn read(&self) -> Result<ReadView> {
        self.read_for("").await
    }

    /// As [`Engine::read`], for someone whom `rr_holds` names while they read.
    pub async fn read_for(&self, owner: &str) -> Result<ReadView> {
        Ok(ReadView::new(self.reader(HoldKind::Read, owner).await?))
    }

    /// Runs a write at its place in the order of writes. When this returns its effects are durable, or nothing of it stays.
    pub async fn write(&self, job: Box<dyn WriteJob>) -> Result<WriteOutcome> {
        self.write_for(job, &Waiter::default()).await
    }

    /// As [`Engine::write`], for someone who may give it up before its turn has come (57014): then it is never run.
    pub async fn write_for(&self, job: Box<dyn WriteJob>, waiter: &Waiter) -> Result<WriteOutcome> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Job { job, reply }, answer, waiter).await
    }

    /// A transaction block. Nothing happens before its first statement.
    pub fn begin(self: &Arc<Self>) -> Transaction {
        self.begin_for("")
    }

    /// As [`Engine::begin`], for someone whom `rr_holds` names while the block is open.
    pub fn begin_for(self: &Arc<Self>, owner: &str) -> Transaction {
        Transaction::new(self.clone(), owner.to_string())
    }

    /// What the engine knows of itself at run time.
    pub fn facts(&self) -> &Facts {
        &self.inner.facts
    }

    pub fn holds(&self) -> Vec<HoldInfo> {
        self.inner.holds.list()
    }

    /// Bytes of state by relation, indexes and what joins keep included; and of views that are being filled.
    pub fn state_bytes(&self) -> Result<(HashMap<RelationId, usize>, usize)> {
        self.inner.circuit.state_bytes()
    }

    /// Bytes the store holds in memory.
    pub fn store_bytes(&self) -> usize {
        self.inner.store.memory_bytes()
    }

    /// Bytes of writes on their way into an epoch.
    pub fn write_bytes(&self) -> WriteBytes {
        let bytes = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let shared = &self.sequenced;
        WriteBytes {
            transactions: bytes(&shared.transaction_bytes),
            overlay: bytes(&shared.overlay_bytes),
            queued: bytes(&shared.queued_bytes),
        }
    }

    /// Failed relations of the newest epoch.
    pub fn failed(&self) -> Arc<HashMap<RelationId, Error>> {
        self.inner.published.borrow().failed.clone()
    }

    /// Stops cleanly: what was acknowledged is durable already. Returns when the threads have ended.
    pub async fn shutdown(&self) {
        drop(self.requests.lock().take());
        self.inner.stopping.store(true, Ordering::Relaxed);
        // A thread that has ended already needs no word.
        let _ = self.control.send(Control::Stop);
        let mut readiness = self.readiness.subscribe();
        let ended = |readiness: &Readiness| matches!(readiness, Readiness::Stopped | Readiness::Failed(_));
        let _ = readiness.wait_for(ended).await;
        let threads: Vec<_> =
            self.threads.lock().drain(..).filter(|thread| thread.thread().name() == Some("epochs")).collect();
        for thread in threads {
            // It has said its last word; what is left is letting go of the data folder.
            let _ = thread.join();
        }
    }

    /// Makes a transaction's writes and DDL durable and visible, all of it at one place in the order, or nothing.
    async fn commit(&self, writes: Arc<Overlay>, change: Option<Box<Change>>, waiter: &Waiter) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let request = match change {
            None => Request::Commit { writes, reply },
            Some(change) => Request::Change { change, writes, reply },
        };
        self.ask(request, answer, waiter).await
    }

    /// Sends the sequencer a request and waits for the answer, or until the waiter gives it up and its turn has not come.
    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<Result<T>>, waiter: &Waiter) -> Result<T> {
        let turn = Arc::new(Turn::default());
        let queued = Queued { request, turn: turn.clone() };
        let answered = async {
            self.queue(queued).await?;
            answer.await.map_err(|_| stopping())?
        };
        tokio::pin!(answered);
        tokio::select! {
            biased;
            outcome = &mut answered => return outcome,
            _ = waiter.given_up() => {}
        }
        match turn.give_up() {
            true => Err(waiter::canceled()),
            false => answered.await,
        }
    }

    /// The id of an object that may come to be.
    fn reserve_id(&self) -> RelationId {
        RelationId(self.sequenced.next_object.fetch_add(1, Ordering::Relaxed))
    }

    /// Queues a request for the sequencer; waits while the queue is full.
    async fn queue(&self, request: Queued) -> Result<()> {
        self.ready().await?;
        let requests = self.requests.lock().clone().ok_or_else(stopping)?;
        let mut request = Some(request);
        loop {
            let Some(next) = request.take() else { return Ok(()) };
            match requests.try_send(next) {
                Ok(()) => return Ok(()),
                Err(crossbeam_channel::TrySendError::Disconnected(_)) => return Err(stopping()),
                Err(crossbeam_channel::TrySendError::Full(back)) => {
                    request = Some(back);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    async fn reader(&self, kind: HoldKind, owner: &str) -> Result<Arc<Reader>> {
        self.ready().await?;
        let commits = self.sequenced.acknowledged.load(Ordering::Acquire);
        let mut published = self.inner.published.subscribe();
        let state = published.wait_for(|state| state.settles(commits)).await.map_err(|_| stopping())?;
        state.has(commits)?;
        Ok(Arc::new(self.inner.reader_of(&state, kind, owner)))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.requests.get_mut().take());
        self.inner.stopping.store(true, Ordering::Relaxed);
        let _ = self.control.send(Control::Stop);
    }
}

impl Inner {
    /// A reader of a state that is being looked at (nobody can publish while the caller borrows it) or held: so its hold is in time.
    fn reader_of(&self, state: &Arc<Published>, kind: HoldKind, owner: &str) -> Reader {
        let hold = self.holds.hold(kind, owner, state.epoch, state.version);
        Reader { state: state.clone(), log: self.commits.clone(), hold: Arc::new(hold) }
    }

    /// Tells those who wait for another epoch that none comes.
    fn end(&self, error: Option<&Error>) {
        let ended = Some(error.cloned().unwrap_or_else(stopping));
        self.published.send_modify(|state| *state = Arc::new(Published { ended, ..(**state).clone() }));
    }

    fn newest_reader(&self, kind: HoldKind, owner: &str) -> Arc<Reader> {
        Arc::new(self.reader_of(&self.published.borrow(), kind, owner))
    }

    /// Waits, on a thread of the engine's own, until an epoch with all commits below the number is published.
    fn wait_for(&self, commits: u64) -> Result<Arc<Reader>> {
        let mut published = self.published.subscribe();
        let state = futures::executor::block_on(published.wait_for(|state| state.settles(commits)));
        let state = state.map_err(|_| stopping())?;
        state.has(commits)?;
        Ok(Arc::new(self.reader_of(&state, HoldKind::Read, SEQUENCER)))
    }
}

/// The epoch thread's life: recover, let writes in, take in epochs.
fn run_epochs(
    inner: Arc<Inner>,
    (control, controls): (Sender<Control>, crossbeam_channel::Receiver<Control>),
    requests: crossbeam_channel::Receiver<Queued>,
    readiness: &watch::Sender<Readiness>,
) -> Result<()> {
    let (commits, committed) = crossbeam_channel::bounded(1024);
    let state = Published::empty();
    let mut epochs = Epochs {
        inner: inner.clone(),
        control: controls,
        commits: committed,
        state,
        running: HashMap::new(),
        waiting: VecDeque::new(),
        // What recovery has left dead.
        give_back_at: Some(Instant::now()),
        digests: digests::Digests::if_logged(),
        readiness: readiness.clone(),
    };
    epochs.recover()?;
    let next = epochs.state.commits;
    inner.sequenced.acknowledged.store(next, Ordering::Release);
    inner.sequenced.next_object.store(epochs.state.catalog.next_id().0, Ordering::Release);
    let (newest, waiting, failing) = (inner.clone(), inner.clone(), control.clone());
    let sequencer = Sequencer {
        requests,
        commits,
        control,
        store: inner.store.clone(),
        shared: inner.sequenced.clone(),
        newest: Box::new(move || newest.newest_reader(HoldKind::Read, SEQUENCER)),
        wait_for: Arc::new(move |commits| waiting.wait_for(commits)),
        next,
        overlay: Arc::default(),
        trimmed: next,
        refusing: false,
        broken: false,
    };
    let sequencer = spawn(SEQUENCER, move || {
        let ran = guarded(|| {
            sequencer.run();
            Ok(())
        });
        if let Err(error) = ran {
            // Nothing is written any more: the engine has failed. If it has ended already, nobody needs to know.
            let _ = failing.send(Control::Fail(error));
        }
    })?;
    readiness.send_replace(Readiness::Ready);
    let outcome = epochs.run().map_err(for_later);
    drop(epochs);
    inner.end(outcome.as_ref().err());
    outcome?;
    // It ends when the last request is answered: shutdown has closed the queue.
    sequencer.join().map_err(|_| Error::internal("the sequencer panicked"))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    Ok(std::thread::Builder::new().name(name.into()).spawn(work)?)
}

/// 57P03, with what recovery waits for.
pub fn starting_up(waits_for: Option<&Error>) -> Error {
    let error = Error::new(SqlState::CANNOT_CONNECT_NOW, "the database system is starting up");
    match waits_for {
        None => error.with_hint("It replays its log; try again in a moment."),
        Some(source) => error
            .with_detail(format!(
                "The replay of the log waits: {}. {}",
                source.message(),
                source.detail().unwrap_or_default()
            ))
            .with_hint("It goes on by itself when the source can be reached."),
    }
}

/// Why the engine has ended, for those whose own work it did not end.
fn for_later(error: Error) -> Error {
    match error.state() {
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN => Error::new(SqlState::IO_ERROR, error.message())
            .with_hint("See to the disk and start the server again: it recovers what was acknowledged."),
        _ => error,
    }
}

fn stopping() -> Error {
    Error::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down")
}
