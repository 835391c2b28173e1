//! The rules that make a plan that runs of the planner's: DataFusion's, with ours between them.

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use super::long_constants::CutLongConstants;
use super::outer_joins::ForgetMissing;
use super::skipping::SkipChunks;
use super::sorted_windows::SortWindows;
use crate::sql::aggregates::OneStage;

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// Left out: groups that a LIMIT cuts short, whose stream wants an order that not every such plan has.
const LEFT_OUT: [&str; 2] = ["LimitedDistinctAggregation", "LimitAggregation"];

/// What looks at order and constants comes after our rules that say which there are; and windows get their sort where
/// sorts are put in, and again behind all.
///
/// Whether every node gets the order it requires is checked where sorts are put in: rules after that move projections, and then
/// DataFusion no longer sees that a column which is not sorted by is a constant.
pub fn physical_rules() -> Vec<Rule> {
    let first: [Rule; 3] = [Arc::new(SkipChunks), Arc::new(ForgetMissing), Arc::new(OneStage)];
    let theirs = PhysicalOptimizer::new().rules.into_iter().filter(|rule| !LEFT_OUT.contains(&rule.name()));
    let mut rules: Vec<Rule> = first.into_iter().chain(theirs).collect();
    let place = |name: &str| rules.iter().position(|rule| rule.name() == name);
    if let (Some(sorts), Some(check)) = (place("EnsureRequirements"), place("SanityCheckPlan")) {
        let check = rules.remove(check);
        let windows: Rule = Arc::new(SortWindows);
        rules.splice(sorts + 1..sorts + 1, [windows, check]);
    }
    let last: [Rule; 2] = [Arc::new(SortWindows), Arc::new(CutLongConstants)];
    rules.extend(last);
    rules
}
