//! What DataFusion may believe of the side of an outer join whose rows can be missing.
//!
//! It keeps what it knows of a join's inputs for the join's rows. Above `LEFT JOIN (... WHERE b.k = 3)` it takes `b.k` for a
//! constant, though it is NULL in the rows that found no partner: then GROUP BY b.k ends a group where 3 changes to NULL
//! and begins it anew later, and ORDER BY b.k sorts nothing. So such an input forgets what is known of it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, Statistics};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};

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

/// The input's rows, of whose values nothing is known.
#[derive(Debug)]
pub(super) struct Forgets {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Forgets {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>) -> Forgets {
        let mut properties = PlanProperties::clone(input.properties());
        properties.set_eq_properties(EquivalenceProperties::new(input.schema()));
        Forgets { input, properties: Arc::new(properties) }
    }
}

/// The node itself, where this only forgets what is known of it.
pub fn remembering(node: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    node.downcast_ref::<Forgets>().map_or(node, |forgets| &forgets.input)
}

impl DisplayAs for Forgets {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forgets")
    }
}

impl ExecutionPlan for Forgets {
    fn name(&self) -> &str {
        "Forgets"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Forgets::new(children.into_iter().next().unwrap_or_else(|| self.input.clone()))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// A column with one value in the input has two above the join.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if let Some(input) = inputs.first() {
            statistics.num_rows = input.num_rows;
        }
        Ok(Arc::new(statistics))
    }
}
