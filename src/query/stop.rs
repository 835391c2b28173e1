//! Stopping queries that nobody waits for any more.
//!
//! DataFusion looks whether to stop when a scan gives a batch, but a join may make billions of rows of two batches. So a plan that is
//! run gets checks where an operator may work long between two batches of its input: on what joins give, and in the conditions they
//! try on rows that they then don't give.
//!
//! A query that runs inside another one (a subquery of an expression, the source of an INSERT) stops with it: the flag
//! belongs to the thread for as long as the outer work runs on it.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::Stream;

use crate::error::{Error, Result, SqlState};

/// Turns true when the work should end.
pub type Stop = Arc<AtomicBool>;

/// Sets its flag when it is dropped: held by whoever waits for work on another thread.
#[derive(Default)]
pub struct GivenUp(pub Stop);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Stop>> = const { RefCell::new(None) };
}

/// Runs work whose queries end with 57014 once the flag is set.
pub fn until<T>(stop: &Stop, work: impl FnOnce() -> T) -> T {
    struct Back(Option<Stop>);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _back = Back(CURRENT.replace(Some(stop.clone())));
    work()
}

/// A future whose every poll runs [`until`] the flag is set.
pub struct Until<F> {
    pub stop: Stop,
    pub work: Pin<Box<F>>,
}

impl<F: Future> Future for Until<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let stop = self.stop.clone();
        until(&stop, || self.work.as_mut().poll(context))
    }
}

/// The plan with checks of the flag of the work that this thread does; one that has them stays as it is.
pub fn stoppable(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(stop) = CURRENT.with_borrow(Clone::clone) else { return Ok(plan) };
    if plan.exists(|node| Ok(node.is::<Checked>()))? {
        return Ok(plan);
    }
    let checked = plan.transform_up(|node| {
        let joined: Option<Arc<dyn ExecutionPlan>> = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            let filter = join.filter().map(|filter| check(filter, &stop));
            Some(Arc::new(HashJoinExecBuilder::from(join).with_filter(filter).build()?))
        } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(|filter| check(filter, &stop));
            Some(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?))
        } else if node.is::<CrossJoinExec>() || node.is::<UnnestExec>() || node.children().is_empty() {
            Some(node.clone())
        } else {
            None
        };
        Ok(match joined {
            Some(input) => Transformed::yes(Arc::new(Checked { input, stop: stop.clone() }) as Arc<dyn ExecutionPlan>),
            None => Transformed::no(node),
        })
    })?;
    Ok(checked.data)
}

/// The node itself, where this is only a check of what it gives.
pub fn unchecked(node: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    node.downcast_ref::<Checked>().map_or(node, |checked| &checked.input)
}

fn check(filter: &JoinFilter, stop: &Stop) -> JoinFilter {
    let condition = Condition { inner: filter.expression().clone(), stop: stop.clone() };
    JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), filter.schema().clone())
}

/// 57014 once the flag of the work that this thread does is set.
pub fn go_on_here() -> Result<()> {
    CURRENT.with_borrow(|stop| stop.as_ref().map_or(Ok(()), raised))
}

fn raised(stop: &Stop) -> Result<()> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")),
        false => Ok(()),
    }
}

fn go_on(stop: &Stop) -> DfResult<()> {
    raised(stop).map_err(DataFusionError::from)
}

/// A join's condition that fails once the flag is set.
#[derive(Debug)]
struct Condition {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Condition {}

impl Hash for Condition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Condition {
    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        go_on(&self.stop)?;
        self.inner.evaluate(batch)
    }

    fn return_field(&self, input: &Schema) -> DfResult<FieldRef> {
        self.inner.return_field(input)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Condition { inner, stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

/// Gives its input's batches until the flag is set.
#[derive(Debug)]
struct Checked {
    input: Arc<dyn ExecutionPlan>,
    stop: Stop,
}

impl DisplayAs for Checked {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checked")
    }
}

impl ExecutionPlan for Checked {
    fn name(&self) -> &str {
        "Checked"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(Checked { input, stop: self.stop.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let batches = GivesWay { input, stop: self.stop.clone(), gave: false };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// Lets go of its thread after every batch: there are as many query threads as cores, and a long query would keep all
/// others waiting for its end.
struct GivesWay {
    input: SendableRecordBatchStream,
    stop: Stop,
    /// A batch was given since the thread was last let go of.
    gave: bool,
}

impl Stream for GivesWay {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = std::task::ready!(self.input.as_mut().poll_next(context));
        self.gave = next.is_some();
        let stop = self.stop.clone();
        Poll::Ready(next.map(|batch| go_on(&stop).and(batch)))
    }
}
