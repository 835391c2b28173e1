//! What a subquery names of the query around it, and whether DataFusion's rules take that out.

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use crate::error::{Error, Result};
use crate::sql::subquery::{has_subquery, subquery_in};

pub fn is_outer(expr: &Expr, outer: &[Column]) -> bool {
    matches!(expr, Expr::OuterReferenceColumn(_, column) if outer.contains(column))
}

/// Whether a plan, or a subquery in it, names one of these columns around it.
pub fn plan_names(plan: &LogicalPlan, outer: &[Column]) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(is_outer(expr, outer)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// Whether an expression, or a subquery in it, does.
pub fn expr_names(expr: &Expr, outer: &[Column]) -> DfResult<bool> {
    expr.exists(|node| match subquery_in(node) {
        Some(subquery) => plan_names(&subquery.subquery, outer),
        None => Ok(is_outer(node, outer)),
    })
}

/// Whether the rules take a subquery apart and keep its meaning: what it names of the query around it stands in filters
/// that only projections, and one aggregate without GROUP BY, come above; below the aggregate these are equalities with
/// a column, by which the aggregate can then group.
pub fn pulls_up(plan: &LogicalPlan, outer: &[Column]) -> Result<bool> {
    let (mut plan, mut aggregated) = (plan, false);
    loop {
        let any =
            |exprs: &[Expr]| exprs.iter().try_fold(false, |any, expr| Ok::<_, Error>(any || expr_names(expr, outer)?));
        plan = match plan {
            LogicalPlan::Projection(projection) if !any(&projection.expr)? => &projection.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Aggregate(aggregate)
                if !aggregated && aggregate.group_expr.is_empty() && !any(&aggregate.aggr_expr)? =>
            {
                aggregated = true;
                &aggregate.input
            }
            LogicalPlan::Filter(filter) => {
                for condition in split_conjunction(&filter.predicate) {
                    if !expr_names(condition, outer)? {
                        continue;
                    }
                    if has_subquery(condition) || (aggregated && !is_column_of(condition)) {
                        return Ok(false);
                    }
                }
                &filter.input
            }
            // The rules stop at a lateral join below, whose outer columns they take for the subquery's own.
            other => return Ok(!plan_names(other, outer)? && other.all_out_ref_exprs().is_empty()),
        };
    }
}

/// Whether a filter's condition is `column = what names only outer columns`.
pub fn is_column_of(condition: &Expr) -> bool {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(_), other) | (other, Expr::Column(_)) => !other.any_column_refs(),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a filter stands above an aggregate without GROUP BY: whether there is a row is known above the join only.
pub fn filters_an_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => {
            let mut below = filter.input.as_ref();
            loop {
                below = match below {
                    LogicalPlan::Projection(projection) => &projection.input,
                    LogicalPlan::SubqueryAlias(alias) => &alias.input,
                    LogicalPlan::Filter(filter) => &filter.input,
                    LogicalPlan::Aggregate(aggregate) => return aggregate.group_expr.is_empty(),
                    _ => return false,
                }
            }
        }
        LogicalPlan::Projection(projection) => filters_an_aggregate(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => filters_an_aggregate(&alias.input),
        _ => false,
    }
}

pub fn has_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => has_aggregate(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_aggregate(&alias.input),
        _ => false,
    }
}
