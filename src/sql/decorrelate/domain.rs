//! The values that a subquery takes from the query around it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Spans, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

use super::shape::plan_names;
use crate::error::Result;
use crate::sql::subquery::map_expressions;

/// The combinations of outer columns that there are.
#[derive(Clone)]
pub struct Domain {
    pub plan: LogicalPlan,
    /// The outer columns, in the order of the plan's.
    pub outer: Vec<Column>,
    /// The plan's columns, whether they may be NULL.
    pub own: Vec<(Column, bool)>,
}

impl Domain {
    pub fn exprs(&self) -> Vec<Expr> {
        self.own.iter().map(|(column, _)| Expr::Column(column.clone())).collect()
    }

    pub fn own_of(&self, outer: &Column) -> Option<&Column> {
        let place = self.outer.iter().position(|known| known == outer)?;
        Some(&self.own[place].0)
    }

    pub fn is_named_in(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(plan_names(plan, &self.outer)?)
    }

    /// The expression over rows that have the domain's columns beside their own.
    pub fn within(&self, expr: Expr) -> Result<Transformed<Expr>> {
        Ok(expr.transform_up(|node| {
            Ok(match node {
                Expr::OuterReferenceColumn(field, column) => match self.own_of(&column) {
                    Some(own) => Transformed::yes(Expr::Column(own.clone())),
                    None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                },
                other => map_subquery(other, |subquery| self.renamed(subquery))?,
            })
        })?)
    }

    /// The same, under the name that it had.
    pub fn named(&self, expr: Expr, qualifier: Option<&TableReference>, name: &str) -> Result<Expr> {
        let is_alias = matches!(expr, Expr::Alias(_));
        let changed = self.within(expr)?;
        Ok(match changed.transformed && !is_alias {
            true => changed.data.alias_qualified(qualifier.cloned(), name),
            false => changed.data,
        })
    }

    /// A subquery within such rows: what was further out is now right around it.
    pub fn renamed(&self, subquery: Subquery) -> Result<Subquery> {
        let plan = map_expressions(subquery.subquery.as_ref().clone(), true, &mut |expr, _| {
            Ok(match expr {
                Expr::OuterReferenceColumn(field, column) => match self.own_of(&column) {
                    Some(own) => {
                        let field = field.as_ref().clone().with_name(own.name());
                        Transformed::yes(Expr::OuterReferenceColumn(Arc::new(field), own.clone()))
                    }
                    None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                },
                other => Transformed::no(other),
            })
        })?;
        Ok(subquery_of(plan))
    }
}

fn subquery_of(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }
}

fn map_subquery(expr: Expr, change: impl FnOnce(Subquery) -> Result<Subquery>) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(change(subquery)?)),
        Expr::Exists(mut exists) => {
            exists.subquery = change(exists.subquery)?;
            Transformed::yes(Expr::Exists(exists))
        }
        Expr::InSubquery(mut inside) => {
            inside.subquery = change(inside.subquery)?;
            Transformed::yes(Expr::InSubquery(inside))
        }
        Expr::SetComparison(mut set) => {
            set.subquery = change(set.subquery)?;
            Transformed::yes(Expr::SetComparison(set))
        }
        other => Transformed::no(other),
    })
}
