//! What DataFusion may believe of the side of an outer join whose rows can be missing.
//!
//! It keeps what it knows of a join's inputs for the join's rows. Above `LEFT JOIN (... WHERE b.k = 3)` it takes `b.k` for a
//! constant, though it is NULL in the rows that found no partner: then GROUP BY b.k ends a group where 3 changes to NULL
//! and begins it anew later, and ORDER BY b.k sorts nothing. So such an input forgets what is known of it.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};

use super::forgets::Forgets;

/// Runs before all rules that look at order.
#[derive(Debug)]
pub struct ForgetMissing;

impl PhysicalOptimizerRule for ForgetMissing {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let forget = |join: Arc<dyn ExecutionPlan>| {
            let missing = sides_that_may_miss(&join);
            if missing.iter().all(|side| knows_nothing(join.children()[*side])) {
                return Ok(Transformed::no(join));
            }
            let inputs = join.children().into_iter().enumerate();
            let inputs = inputs.map(|(side, input)| match missing.contains(&side) {
                true => Arc::new(Forgets::new(input.clone())) as Arc<dyn ExecutionPlan>,
                false => input.clone(),
            });
            let inputs = inputs.collect();
            let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(join.replace_children(inputs, recompute)?))
        };
        plan.transform_up(forget).data()
    }

    fn name(&self) -> &str {
        "forget_missing"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The inputs whose columns are NULL in rows that found no partner.
fn sides_that_may_miss(plan: &Arc<dyn ExecutionPlan>) -> &'static [usize] {
    let join_type = match plan.downcast_ref::<HashJoinExec>() {
        Some(join) => join.join_type(),
        None => match plan.downcast_ref::<NestedLoopJoinExec>() {
            Some(join) => join.join_type(),
            None => return &[],
        },
    };
    match join_type {
        JoinType::Left => &[1],
        JoinType::Right => &[0],
        JoinType::Full => &[0, 1],
        _ => &[],
    }
}

fn knows_nothing(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let known = plan.properties().equivalence_properties();
    known.eq_group().is_empty() && known.oeq_class().is_empty()
}
