//! From a bound plan to the plan that is run: values for the parameters, then DataFusion's rules for reads.
//!
//! The analyzer (type coercion) does not run: the binder has typed every expression, and coercing again by DataFusion's
//! rules could only change a meaning.

use std::sync::{Arc, LazyLock};

use datafusion::common::ParamValues;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_limit::PushDownLimit;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::{Optimizer, OptimizerRule};

use super::provider::ScanSource;
use super::{Parameters, RuntimeFacts, execution, row_counts, series, subquery};
use crate::catalog::Catalog;
use crate::engine::ReadView;
use crate::error::Result;
use crate::sql::decorrelate::is_left_to_rules;
use crate::sql::dependencies::without_dependencies;
use crate::sql::filters::PushFilters;
use crate::sql::in_lists::SimplifyWithNulls;
use crate::sql::lateral::KeepColumns;
use crate::sql::same::null_equals_null;
use crate::sql::subquery::comparisons_as_exists;
use crate::sql::{RelationSource, guard};

/// DataFusion's own list, but for rules that change what stands above them, forget NULL, or take for a key what is none.
static OPTIMIZER: LazyLock<Optimizer> = LazyLock::new(|| {
    let own: [Arc<dyn OptimizerRule + Send + Sync>; 3] =
        [Arc::<KeepColumns>::default(), Arc::<PushFilters>::default(), Arc::<SimplifyWithNulls>::default()];
    let held = |rule: Arc<dyn OptimizerRule + Send + Sync>| {
        own.iter().find(|own| own.name() == rule.name()).cloned().unwrap_or(rule)
    };
    Optimizer::with_rules(without_dependencies(Optimizer::new().rules.into_iter().map(held).collect()))
});

/// Only what plans can't be run without.
static PLAIN: LazyLock<Optimizer> = LazyLock::new(|| {
    Optimizer::with_rules(without_dependencies(vec![
        Arc::new(ReplaceDistinctWithAggregate::new()),
        // A sort that is no LIMIT's own is left out below what asks for no order.
        Arc::new(PushDownLimit::new()),
        // Windows over two names of one column can't be run.
        Arc::new(OptimizeProjections::new()),
    ]))
});

/// What becomes of correlated subqueries that DataFusion's rules leave standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subqueries {
    /// Joins, as in views, where that can be; the others are evaluated for each row.
    Joined,
    /// Each is planned and run for each combination of the outer columns, and no plan is optimized: slow, and a different
    /// road to the same answer.
    EachRow,
}

/// The plan to run. Its scans know by which keys the catalog's relations can be looked up.
pub fn optimize(
    plan: LogicalPlan,
    parameters: &Parameters,
    view: &ReadView,
    facts: &Arc<dyn RuntimeFacts>,
    subqueries: Subqueries,
) -> Result<LogicalPlan> {
    let plan = match parameters.is_empty() {
        true => plan,
        false => plan.replace_params_with_values(&ParamValues::from(parameters.to_vec()))?,
    };
    let plan = row_counts::counted(plan, view, facts, subqueries)?;
    let plan = series::streamed(crate::sql::plan::expand(plan)?)?;
    let catalog = view.catalog();
    if !subquery::has_subqueries(&plan)? && !subquery::has_lateral(&plan)? {
        return apply_rules(plan, &catalog, subqueries);
    }
    let plan = comparisons_as_exists(plan)?;
    if subqueries == Subqueries::Joined && !subquery::needs_three_values(&plan)? {
        let one_row = subquery::one_row_each(plan.clone()).ok().filter(is_left_to_rules);
        if let Some(Ok(joined)) = one_row.map(|plan| apply_rules(plan, &catalog, subqueries))
            && !subquery::has_leftovers(&joined)?
        {
            return Ok(joined);
        }
    }
    if subqueries == Subqueries::Joined && subquery::is_repeatable(&plan)? && subquery::is_worth_joining(&plan)? {
        let joined = crate::sql::plan::joined(plan.clone()).and_then(|plan| apply_rules(plan, &catalog, subqueries));
        // What can't be joined is an error there, and none here.
        if let Ok(joined) = joined
            && !subquery::has_leftovers(&joined)?
        {
            return null_equals_null(joined);
        }
    }
    apply_rules(subquery::evaluate_each(plan, view, facts, subqueries)?, &catalog, subqueries)
}

fn apply_rules(plan: LogicalPlan, catalog: &Catalog, subqueries: Subqueries) -> Result<LogicalPlan> {
    let rules = match subqueries {
        Subqueries::Joined => &OPTIMIZER,
        Subqueries::EachRow => &PLAIN,
    };
    let plan = attach_lookups(plan, catalog)?;
    guard::plan(rules.optimize(plan, execution::session_state()?, |_, _| {})?)
}

/// Gives every scan a source that answers which filters it takes.
fn attach_lookups(plan: LogicalPlan, catalog: &Catalog) -> Result<LogicalPlan> {
    let attached = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(mut scan) => match scan.source.downcast_ref::<RelationSource>() {
            Some(source) => {
                scan.source = Arc::new(ScanSource::new(source.clone(), catalog));
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            None => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    Ok(attached.data)
}
