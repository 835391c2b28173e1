//! What all queries share: one DataFusion session state, one memory pool, one pool of threads.
//!
//! DataFusion's `SessionContext` clones its function maps for every query; here nothing is registered by name (the binder has
//! put functions into the expressions), so one immutable state and one task context serve everybody. Queries run on threads
//! of their own, so that a long one never keeps the server from answering others; planning them, and what needs no plan, is
//! the caller's to put aside.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::gathered::Gathered;
use super::physical_rules::physical_rules;
use super::stop::{self, Stop, Until};
use crate::error::{Error, Result};

/// Rows of a batch between operators, unless somebody asks for fewer.
const DEFAULT_BATCH_ROWS: usize = 8192;
/// Batches that may wait for a slow reader.
const BATCHES_AHEAD: usize = 2;
/// Memory of all queries together, unless the configuration says otherwise.
const DEFAULT_MEMORY: usize = 1 << 30;

static BATCH_ROWS: AtomicUsize = AtomicUsize::new(DEFAULT_BATCH_ROWS);

/// Rows of a batch between operators. Takes effect if set before the first query; a few make every query meet the ends
/// of batches.
pub fn set_batch_rows(rows: usize) {
    BATCH_ROWS.store(rows, Ordering::Relaxed);
}

/// Rows of a batch between operators.
pub fn batch_rows() -> usize {
    BATCH_ROWS.load(Ordering::Relaxed)
}

/// Plans at work on the query threads.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

static MEMORY_LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT_MEMORY);

/// Bytes that all running queries together may hold in sorts, joins and groups; a query that needs more fails with
/// 53200. Takes effect if set before the first query.
pub fn set_memory_limit(bytes: usize) {
    MEMORY_LIMIT.store(bytes, Ordering::Relaxed);
}

/// The memory that all running queries share.
pub fn memory() -> Result<&'static Arc<dyn MemoryPool>> {
    Ok(&session_state()?.runtime_env().memory_pool)
}

/// Bytes of it that are held now.
pub fn memory_used() -> usize {
    memory().map_or(0, |pool| pool.reserved())
}

/// How many queries are at work; one that was given up counts until it has stopped.
pub fn running() -> usize {
    RUNNING.load(Ordering::Relaxed)
}

/// Counts a query for as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Counted {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Shared {
    state: SessionState,
    task: Arc<TaskContext>,
}

static SHARED: LazyLock<Result<Shared>> = LazyLock::new(|| {
    let pool = GreedyMemoryPool::new(MEMORY_LIMIT.load(Ordering::Relaxed));
    // Nothing spills: what the pool refuses is refused, rather than written to a disk nobody sized for it.
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime =
        RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk).build_arc()?;
    let config = config();
    let task = task_context(config.clone(), runtime.clone());
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_physical_optimizer_rules(physical_rules())
        .build();
    Ok(Shared { state, task: Arc::new(task) })
});

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        // One partition: aggregation needs one stage, results come in one order, and other queries get the other cores.
        .with_target_partitions(1)
        .with_batch_size(batch_rows())
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.optimizer.enable_round_robin_repartition = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.execution.collect_statistics = false;
    // Sorting each branch of a UNION ALL by itself: DataFusion loses the order of a column that is there twice, and
    // refuses its own plan.
    options.optimizer.repartition_sorts = false;
    // `x IS TRUE` is never NULL; as a group's key its physical form does not know that, which changes no answer.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.execution.enforce_batch_size_in_joins = true;
    config
}

fn task_context(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> TaskContext {
    let (id, none) = (String::new(), HashMap::new());
    TaskContext::new(None, id, config, none, HashMap::new(), HashMap::new(), HashMap::new(), runtime)
}

fn shared() -> Result<&'static Shared> {
    SHARED.as_ref().map_err(Clone::clone)
}

/// The state that planning needs.
pub fn session_state() -> Result<&'static SessionState> {
    Ok(&shared()?.state)
}

/// The threads that queries run on: one a core.
fn threads() -> Result<&'static tokio::runtime::Runtime> {
    static THREADS: OnceLock<Result<tokio::runtime::Runtime>> = OnceLock::new();
    let built = THREADS.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(1, usize::from))
            .thread_name("query")
            .enable_time()
            .build()
            .map_err(Error::from)
    });
    built.as_ref().map_err(Clone::clone)
}

/// Runs a plan on the query threads. Nothing starts before the first poll; dropping the stream stops the work.
pub fn stream(plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
    let shared = shared()?;
    Ok(Box::pin(Running { schema: plan.schema(), state: State::Planned(plan, shared.task.clone()) }))
}

/// A plan's batches, made on this thread as they are asked for. For callers that are threads of their own (the write order).
pub struct Pulled {
    stream: SendableRecordBatchStream,
}

pub fn pull(plan: Arc<dyn ExecutionPlan>) -> Result<Pulled> {
    let plan = stop::stoppable(plan)?;
    // Some operators spawn their inputs.
    let _entered = threads()?.enter();
    Ok(Pulled { stream: execute_stream(plan, shared()?.task.clone())? })
}

impl Iterator for Pulled {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let _entered = match threads() {
            Ok(threads) => threads.enter(),
            Err(error) => return Some(Err(error)),
        };
        // A subquery may be run from inside a query: then its thread's other tasks go to another thread meanwhile.
        let next = tokio::task::block_in_place(|| block_on(self.stream.next()));
        next.map(|batch| batch.map_err(Error::from))
    }
}

/// Runs a plan on this thread, to its end, and gives all its rows.
pub fn collect(plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>> {
    tokio::task::block_in_place(|| {
        let mut all = Gathered::new("rows of a query")?;
        for batch in pull(plan)? {
            all.push(batch?)?;
        }
        Ok(all.into_batches())
    })
}

struct Running {
    schema: SchemaRef,
    state: State,
}

enum State {
    Planned(Arc<dyn ExecutionPlan>, Arc<TaskContext>),
    Started { batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>, task: JoinHandle<()>, stop: Stop },
    Done,
}

impl Running {
    fn start(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<State> {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let stop = Stop::default();
        let plan = stop::until(&stop, || stop::stoppable(plan))?;
        let counted = Counted::new();
        let work = Box::pin(async move {
            let _counted = counted;
            let mut stream = match execute_stream(plan, context) {
                Ok(stream) => stream,
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            while let Some(batch) = stream.next().await {
                let failed = batch.is_err();
                // The receiver is gone when the reader is.
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        });
        let task = threads()?.spawn(Until { stop: stop.clone(), work });
        Ok(State::Started { batches, task, stop })
    }
}

impl Stream for Running {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let State::Planned(plan, task) = &self.state {
            match Running::start(plan.clone(), task.clone()) {
                Ok(started) => self.state = started,
                Err(error) => {
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
        let State::Started { batches, task, .. } = &mut self.state else { return Poll::Ready(None) };
        match std::task::ready!(batches.poll_recv(context)) {
            Some(batch) => Poll::Ready(Some(batch)),
            // The end, or a panic that must not pass for one.
            None => {
                let ended = std::task::ready!(Pin::new(task).poll(context));
                self.state = State::Done;
                Poll::Ready(ended.err().map(|error| Err(Error::internal(error).into())))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let State::Started { task, stop, .. } = &self.state {
            stop.store(true, Ordering::Relaxed);
            task.abort();
        }
    }
}

impl RecordBatchStream for Running {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// Runs a future on this thread. Unlike tokio's and futures' own, it may be used inside any other executor's thread.
///
/// Inside a task of tokio's, what waits for tokio's locks and queues is told to let others run once the task has had
/// its share, and goes on only when the task is called again. Here nobody calls again, so the share doesn't count.
pub fn block_on<F: Future>(future: F) -> F::Output {
    /// A thread has one token to be unparked by, and what the future does on this thread, another `block_on` too, may
    /// use it up: the flag is what counts.
    struct Unpark {
        thread: Thread,
        woken: AtomicBool,
    }
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }
    let unpark = Arc::new(Unpark { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(unpark.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(tokio::task::coop::unconstrained(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_tokios_that_has_had_its_share_does_not_wait_for_ever() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let taken = runtime.block_on(async {
            // Planning locks one of these for every node with several inputs; a task's share is 128.
            let lock = tokio::sync::Mutex::new(0);
            block_on(async {
                for _ in 0..1000 {
                    *lock.lock().await += 1;
                }
            });
            *lock.lock().await
        });
        assert_eq!(taken, 1000);
    }

    /// Pending once, woken at once.
    async fn give_way() {
        let mut gave = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut gave, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    #[test]
    fn a_future_that_was_woken_before_another_ran_inside_of_it_goes_on() {
        let mut given = std::pin::pin!(give_way());
        block_on(std::future::poll_fn(|context| {
            let polled = given.as_mut().poll(context);
            block_on(give_way());
            polled
        }));
    }
}
