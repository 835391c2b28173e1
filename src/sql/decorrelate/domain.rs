//! The values that a subquery takes from the query around it.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Spans, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

use super::bits::{bits, of_bits};
use super::shape::plan_names;
use crate::error::Result;
use crate::sql::same::same;
use crate::sql::subquery::map_expressions;

/// The combinations of outer columns that there are.
#[derive(Clone)]
pub struct Domain {
    pub plan: LogicalPlan,
    /// The outer columns, in the order of the plan's.
    pub outer: Vec<Column>,
    pub own: Vec<Own>,
}

/// A column of a domain's plan.
#[derive(Clone)]
pub struct Own {
    pub column: Column,
    /// Whether the outer column may be NULL.
    pub nullable: bool,
    /// The outer column's type, if the column holds its values' bits: where equal values may print differently.
    pub bits: Option<DataType>,
}

impl Own {
    /// The outer column's value; `own` is the column, seen from where it is asked for.
    fn value(&self, own: Expr) -> Expr {
        match &self.bits {
            Some(data_type) => of_bits(own, data_type.clone(), self.nullable),
            None => own,
        }
    }

    /// The outer column holds the same, or both hold nothing.
    pub fn is(&self, outer: &Column) -> (Expr, Expr) {
        let (outer, own) = (Expr::Column(outer.clone()), Expr::Column(self.column.clone()));
        match &self.bits {
            Some(_) => (bits(outer), own),
            None if self.nullable => (same(outer), same(own)),
            None => (outer, own),
        }
    }

    /// The same of the column of another such domain.
    pub fn is_own(&self, other: &Own) -> (Expr, Expr) {
        let (own, other) = (Expr::Column(self.column.clone()), Expr::Column(other.column.clone()));
        match self.nullable && self.bits.is_none() {
            true => (same(own), same(other)),
            false => (own, other),
        }
    }
}

impl Domain {
    pub fn exprs(&self) -> Vec<Expr> {
        self.own.iter().map(|own| Expr::Column(own.column.clone())).collect()
    }

    fn own_of(&self, outer: &Column) -> Option<&Own> {
        let place = self.outer.iter().position(|known| known == outer)?;
        Some(&self.own[place])
    }

    /// What joins the domain's rows to those that they were taken from.
    pub fn is_outer(&self) -> Vec<(Expr, Expr)> {
        self.outer.iter().zip(&self.own).map(|(outer, own)| own.is(outer)).collect()
    }

    pub fn is_named_in(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(plan_names(plan, &self.outer)?)
    }

    /// The expression over rows that have the domain's columns beside their own.
    pub fn within(&self, expr: Expr) -> Result<Transformed<Expr>> {
        Ok(expr.transform_up(|node| {
            Ok(match node {
                Expr::OuterReferenceColumn(field, column) => match self.own_of(&column) {
                    Some(own) => Transformed::yes(own.value(Expr::Column(own.column.clone()))),
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
                        let mut field = field.as_ref().clone().with_name(own.column.name());
                        if own.bits.is_some() {
                            field = field.with_data_type(DataType::Binary).with_nullable(false);
                        }
                        let column = Expr::OuterReferenceColumn(Arc::new(field), own.column.clone());
                        Transformed::yes(own.value(column))
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
