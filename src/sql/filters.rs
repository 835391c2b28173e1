//! DataFusion's pushing of filters towards their inputs, kept from where it changes the answer.
//!
//! An aggregate without groups answers with a row whatever its input. The rule pushes below an aggregate what names only its
//! groups, and so also what names no column: `false` above `count(*)` would leave its row standing. Grouping sets have
//! such a row, and rows without the columns that other sets group by.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

#[derive(Debug, Default)]
pub struct PushFilters {
    rule: PushDownFilter,
}

impl OptimizerRule for PushFilters {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // The rule makes one filter of several and goes on with that.
        let mut filtered = &plan;
        while let LogicalPlan::Filter(filter) = filtered {
            filtered = &filter.input;
        }
        match filtered {
            LogicalPlan::Aggregate(aggregate) if has_a_row_for_all(&aggregate.group_expr) => Ok(Transformed::no(plan)),
            _ => self.rule.rewrite(plan, config),
        }
    }
}

fn has_a_row_for_all(groups: &[Expr]) -> bool {
    groups.is_empty() || groups.iter().any(|group| matches!(group, Expr::GroupingSet(_)))
}
