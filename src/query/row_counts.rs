//! Row counts of LIMIT and OFFSET that are not constants: a parameter's value, a subquery, a call.
//!
//! PostgreSQL asks for them once, when a query starts. So do reads: then they are numbers before the planner's rules, which
//! take nothing else. Within a correlated subquery a count may name outer columns; it is asked for when these have values.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, Limit, LogicalPlan, LogicalPlanBuilder, lit};

use super::RuntimeFacts;
use super::optimize::Subqueries;
use super::run;
use crate::engine::ReadView;
use crate::error::{Error, Result};
use crate::sql::row_count::{MORE_THAN_ALL, RowCount};
use crate::sql::subquery::subquery_in;

/// The plan with numbers for row counts. 2201W and 2201X for those below zero.
pub fn counted(
    plan: LogicalPlan,
    view: &ReadView,
    facts: &Arc<dyn RuntimeFacts>,
    subqueries: Subqueries,
) -> Result<LogicalPlan> {
    let counted = |expr: Option<Box<Expr>>, count: RowCount| -> Result<Option<Box<Expr>>> {
        match expr.map(|expr| *expr) {
            None => Ok(None),
            Some(Expr::Literal(ScalarValue::Int64(rows), _)) => count.literal(rows),
            Some(expr) if names_outer(&expr) => Ok(Some(Box::new(expr))),
            Some(expr) => {
                let one = LogicalPlanBuilder::empty(true).project(vec![expr.alias("rows")])?.build()?;
                count.literal(number(&run::collect_plan(&one, view, facts, subqueries)?)?)
            }
        }
    };
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(Limit { skip, fetch, input }) => {
            let skip = counted(skip, RowCount::Offset)?;
            // Without a fetch it would not keep the order that it needs.
            let fetch = counted(fetch, RowCount::Limit)?.unwrap_or_else(|| Box::new(lit(MORE_THAN_ALL)));
            Ok(Transformed::yes(LogicalPlan::Limit(Limit { skip, fetch: Some(fetch), input })))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

/// Whether it needs values of a query around it.
fn names_outer(expr: &Expr) -> bool {
    let outer = |node: &Expr| {
        let correlated = subquery_in(node).is_some_and(|subquery| !subquery.outer_ref_columns.is_empty());
        Ok(correlated || matches!(node, Expr::OuterReferenceColumn(..)))
    };
    expr.exists(outer).unwrap_or(false)
}

/// The only value there is.
fn number(batches: &[RecordBatch]) -> Result<Option<i64>> {
    let row = batches.iter().find(|batch| batch.num_rows() > 0);
    let row = row.ok_or_else(|| Error::internal("a row count has one row"))?;
    match ScalarValue::try_from_array(row.column(0), 0)? {
        ScalarValue::Int64(rows) => Ok(rows),
        other => Err(Error::internal(format!("a row count is a bigint, not {other}"))),
    }
}
