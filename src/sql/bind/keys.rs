//! What rows are sorted, grouped and told apart by: not values but their keys, which Arrow compares as Postgres compares
//! the values. Where equal values may print differently ('1 mon' and '30 days') the least of a group is shown for all.

use std::sync::Arc;

use datafusion::logical_expr::expr::AggregateFunction as Call;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};

use super::from::pass_through;
use super::scope::{ScopeColumn, column_expr};
use super::{Binder, project};
use crate::error::Result;
use crate::operators::aggregate::AggregateFunction;
use crate::sql::aggregates::udaf;
use crate::sql::functions::compare::{has_equal_forms, key, order};
use crate::sql::registry::Typed;
use crate::types::Type;

impl Binder<'_> {
    /// What rows are sorted or brought together by. A view's operators find the order of values themselves, and of
    /// floats also which are equal.
    pub(super) fn key(&self, value: Typed) -> Typed {
        if self.context.for_view && !has_equal_forms(&value.ty) { value } else { key(value) }
    }

    /// What rows are sorted by.
    pub(super) fn order(&self, value: Typed) -> Typed {
        if value.ty == Type::Jsonb { order(value) } else { self.key(value) }
    }

    /// What rows that an order leaves equal are told apart by: their columns, those first by key that reads would order
    /// otherwise than views do.
    pub(super) fn tie_keys(&self, columns: &[ScopeColumn]) -> Vec<Expr> {
        let mut keys = Vec::with_capacity(columns.len());
        for column in columns {
            if matches!(column.ty, Type::Array(_) | Type::Struct(_) | Type::Interval) {
                keys.push(self.key(column.typed()).expr);
            }
            if keys.last() != Some(&column.expr()) {
                keys.push(column.expr());
            }
        }
        keys
    }

    /// DISTINCT and UNION: one of the rows whose columns are equal.
    pub(super) fn distinct_rows(&mut self, plan: LogicalPlan, columns: &[ScopeColumn]) -> Result<LogicalPlan> {
        if !columns.iter().any(|column| has_equal_forms(&column.ty)) {
            return Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(plan))));
        }
        let mut below = pass_through(&plan);
        let (mut groups, mut shown, mut above) = (Vec::new(), Vec::new(), Vec::new());
        for column in columns {
            if !has_equal_forms(&column.ty) {
                groups.push(column.expr());
                above.push(column.expr());
                continue;
            }
            let (key, value) = (self.fresh("key"), self.fresh(&column.name));
            below.push(self.key(column.typed()).expr.alias(&key));
            groups.push(column_expr(&key));
            shown.push(least(column.typed()).alias(&value));
            above.push(column_expr(&value).alias(&column.internal));
        }
        let keyed = project(Arc::new(plan), below)?;
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(keyed), groups, shown)?);
        project(Arc::new(grouped), above)
    }
}

/// The least value of a group, told apart from its equals by its form.
pub(super) fn least(value: Typed) -> Expr {
    let ty = value.ty.arrow();
    let min = udaf(AggregateFunction::Min, std::slice::from_ref(&ty), ty.clone());
    Expr::AggregateFunction(Call::new_udf(min, vec![value.expr], false, None, Vec::new(), None))
}
