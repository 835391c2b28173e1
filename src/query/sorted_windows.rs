//! A sort below each window that could not be run without one.
//!
//! DataFusion leaves out sorts where an input is in order already: by what it is sorted by, by columns that are constant or
//! decided by those before them, or because it has one row. Of the last ones it loses sight later, when a join takes rows of its
//! other side for their order or a projection that shows the constant is moved; or the window, when it runs, does not
//! see them. Then it refuses its own plan. Here such windows get their sort, over rows of which nothing else is known.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, InputOrderMode, ReplaceChildrenOptions};

use super::forgets::Forgets;

/// Runs after the rules that leave sorts out, and after those that move projections.
#[derive(Debug)]
pub struct SortWindows;

impl PhysicalOptimizerRule for SortWindows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| match missing_sort(&node)? {
            Some(sort) => {
                let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
                Ok(Transformed::yes(node.replace_children(vec![Arc::new(sort)], recompute)?))
            }
            None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "sort_windows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The window's input in the order it asks for, if it isn't known to be.
fn missing_sort(node: &Arc<dyn ExecutionPlan>) -> Result<Option<SortExec>> {
    let Some(calls) = sorted_calls(node) else { return Ok(None) };
    let (Some(call), &[input]) = (calls.first(), node.children().as_slice()) else { return Ok(None) };
    let Some(Some(asked)) = node.required_input_ordering().into_iter().next() else { return Ok(None) };
    // The first alternative is the one by the partitions too.
    let asked = asked.into_single();
    let known = input.properties().equivalence_properties();
    let (_, in_order) = known.find_longest_permutation(call.partition_by())?;
    if in_order.len() == call.partition_by().len() && known.ordering_satisfy_requirement(asked.clone())? {
        return Ok(None);
    }
    let unsorted = match input.downcast_ref::<SortExec>() {
        Some(sort) if sort.fetch().is_none() => sort.input(),
        _ => input,
    };
    Ok(Some(SortExec::new(LexOrdering::from(asked), Arc::new(Forgets::new(unsorted.clone())))))
}

/// The calls of a window whose partitions come one after the other.
fn sorted_calls(node: &Arc<dyn ExecutionPlan>) -> Option<&[Arc<dyn WindowExpr>]> {
    match node.downcast_ref::<BoundedWindowAggExec>() {
        Some(window) if window.input_order_mode == InputOrderMode::Sorted => Some(window.window_expr()),
        Some(_) => None,
        None => node.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr),
    }
}
