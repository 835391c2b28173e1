//! DataFusion's decorrelation of lateral joins, made to keep its promise.
//!
//! Its rule leaves the columns it joins by, and a mark for rows without a match, in the join's output. A join above
//! goes on counting columns as they were, and takes others than it should. Here the output is cut back to what it was.
//! And it leaves lateral joins below the one it takes for a later round, when other rules have put projections between; here
//! they are taken in the same.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

#[derive(Debug, Default)]
pub struct KeepColumns {
    rule: DecorrelateLateralJoin,
}

impl OptimizerRule for KeepColumns {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let columns = plan.schema().columns();
        let mut rewritten = self.rule.rewrite(plan, config)?;
        rewritten.tnr = TreeNodeRecursion::Continue;
        if !rewritten.transformed || rewritten.data.schema().columns() == columns {
            return Ok(rewritten);
        }
        let columns = columns.into_iter().map(Expr::Column).collect();
        rewritten.map_data(|plan| Ok(LogicalPlan::Projection(Projection::try_new(columns, plan.into())?)))
    }
}
