//! Constants that are long. A projection repeats its constants for every row of a batch, and a column of text holds no more than
//! 2 GiB: where constants are long it is given its input in pieces that are short enough for what it makes of them.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, stream};

use crate::delta::size::BATCH_BYTES;

/// Bytes of constants that are so few that thousands of rows with them are no matter.
const SHORT: usize = 2048;

/// Pieces before projections that need them. Runs last: they only cut what is made.
#[derive(Debug)]
pub struct CutLongConstants;

impl PhysicalOptimizerRule for CutLongConstants {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let cut = |node: Arc<dyn ExecutionPlan>| {
            let Some(projection) = node.downcast_ref::<ProjectionExec>() else { return Ok(Transformed::no(node)) };
            let bytes: usize = projection.expr().iter().map(|projected| constant_bytes(&projected.expr)).sum();
            if bytes <= SHORT {
                return Ok(Transformed::no(node));
            }
            let pieces = Pieces { input: projection.input().clone(), most: (BATCH_BYTES / bytes).max(1) };
            let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(node.replace_children(vec![Arc::new(pieces)], recompute)?))
        };
        plan.transform_up(cut).data()
    }

    fn name(&self) -> &str {
        "cut_long_constants"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The node itself, where this only cuts what it gives.
pub fn whole(node: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    node.downcast_ref::<Pieces>().map_or(node, |pieces| &pieces.input)
}

fn constant_bytes(expr: &Arc<dyn PhysicalExpr>) -> usize {
    let mut bytes = 0;
    let _ = expr.apply(|node| {
        bytes += node.downcast_ref::<Literal>().map_or(0, |literal| literal.value().size());
        Ok(TreeNodeRecursion::Continue)
    });
    bytes
}

/// Gives its input's rows, `most` at a time.
#[derive(Debug)]
struct Pieces {
    input: Arc<dyn ExecutionPlan>,
    most: usize,
}

impl DisplayAs for Pieces {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces")
    }
}

impl ExecutionPlan for Pieces {
    fn name(&self) -> &str {
        "Pieces"
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
        Ok(Arc::new(Pieces { input, most: self.most }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let most = self.most;
        let batches = self.input.execute(partition, context)?;
        let pieces = batches.flat_map(move |batch| {
            stream::iter(match batch {
                Ok(batch) => pieces(&batch, most).map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), pieces)))
    }
}

fn pieces(batch: &RecordBatch, most: usize) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    (0..rows).step_by(most).map(move |at| batch.slice(at, most.min(rows - at)))
}
