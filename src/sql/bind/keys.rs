//! What rows are sorted, grouped and told apart by: not values but their keys, which Arrow compares as Postgres compares
//! the values. Where equal values may print differently ('1 mon' and '30 days') the least of a group is shown for all.

use std::sync::Arc;

use datafusion::common::NullEquality;
use datafusion::logical_expr::expr::AggregateFunction as Call;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Extension, Join, JoinConstraint, JoinType, LogicalPlan};

use super::from::pass_through;
use super::scope::{ScopeColumn, column_expr};
use super::{Binder, Output, project};
use crate::error::{Error, Result};
use crate::operators::aggregate::AggregateFunction;
use crate::operators::spec::SetOpKind;
use crate::sql::aggregates::udaf;
use crate::sql::functions::compare::{has_equal_forms, key, order};
use crate::sql::nodes::SetOpNode;
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
        let plan = self.plain_floats(plan, columns)?;
        if !columns.iter().any(|column| has_equal_forms(&column.ty)) {
            return Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(plan))));
        }
        let keyed = self.keyed(plan, columns)?;
        let (grouped, shown) = self.least_forms(keyed, columns)?;
        project(Arc::new(grouped), shown)
    }

    /// INTERSECT and EXCEPT, with the left input's columns: of keys, and each key that is left is shown as the least of
    /// the left input's rows that have it.
    pub(super) fn set_rows(&mut self, left: Output, right: Output, kind: SetOpKind, all: bool) -> Result<LogicalPlan> {
        let operation = |left, right| {
            let node = SetOpNode { left, right, kind, all };
            LogicalPlan::Extension(Extension { node: Arc::new(node) })
        };
        let left = Output { plan: self.plain_floats(left.plan, &left.columns)?, ..left };
        let right = Output { plan: self.plain_floats(right.plan, &right.columns)?, ..right };
        if !left.columns.iter().any(|column| has_equal_forms(&column.ty)) {
            return Ok(operation(left.plan, right.plan));
        }
        let keyed = self.keyed(left.plan, &left.columns)?;
        let named = |binder: &mut Self, keyed: &Keyed| {
            let names: Vec<String> = keyed.keys.iter().map(|_| binder.fresh("key")).collect();
            let exprs = keyed.keys.iter().zip(&names).map(|(key, name)| key.clone().alias(name)).collect();
            Ok::<_, Error>((project(Arc::new(keyed.plan.clone()), exprs)?, names))
        };
        let (keys, names) = named(self, &keyed)?;
        let right = self.keyed(right.plan, &right.columns)?;
        let (others, _) = named(self, &right)?;
        let on = names.iter().map(|name| column_expr(name)).zip(keyed.keys.iter().cloned()).collect();
        let (forms, shown) = self.least_forms(keyed, &left.columns)?;
        let (rows, forms) = (Arc::new(operation(keys, others)), Arc::new(forms));
        let equality = NullEquality::NullEqualsNull;
        let join = Join::try_new(rows, forms, on, None, JoinType::Inner, JoinConstraint::On, equality, false)?;
        project(Arc::new(LogicalPlan::Join(join)), shown)
    }

    /// Floats as their keys, which are floats: in reads NaN has signs else, and zeros look as they did.
    fn plain_floats(&mut self, plan: LogicalPlan, columns: &[ScopeColumn]) -> Result<LogicalPlan> {
        if self.context.for_view || !columns.iter().any(|column| is_float(&column.ty)) {
            return Ok(plan);
        }
        let exprs = columns.iter().map(|column| match is_float(&column.ty) {
            true => key(column.typed()).expr.alias(&column.internal),
            false => column.expr(),
        });
        project(Arc::new(plan), exprs.collect())
    }

    /// Keys beside the columns.
    fn keyed(&mut self, plan: LogicalPlan, columns: &[ScopeColumn]) -> Result<Keyed> {
        let mut exprs = pass_through(&plan);
        let mut keys = Vec::with_capacity(columns.len());
        for column in columns {
            if !has_equal_forms(&column.ty) {
                keys.push(column.expr());
                continue;
            }
            let key = self.fresh("key");
            exprs.push(self.key(column.typed()).expr.alias(&key));
            keys.push(column_expr(&key));
        }
        Ok(Keyed { plan: project(Arc::new(plan), exprs)?, keys })
    }

    /// Each key once, with the least of its rows' forms; and what shows these as the columns.
    fn least_forms(&mut self, keyed: Keyed, columns: &[ScopeColumn]) -> Result<(LogicalPlan, Vec<Expr>)> {
        let (mut least_values, mut shown) = (Vec::new(), Vec::new());
        for column in columns {
            if !has_equal_forms(&column.ty) {
                shown.push(column.expr());
                continue;
            }
            let value = self.fresh(&column.name);
            least_values.push(least(column.typed()).alias(&value));
            shown.push(column_expr(&value).alias(&column.internal));
        }
        let grouped = Aggregate::try_new(Arc::new(keyed.plan), keyed.keys, least_values)?;
        Ok((LogicalPlan::Aggregate(grouped), shown))
    }
}

pub(super) fn is_float(ty: &Type) -> bool {
    matches!(ty, Type::Float4 | Type::Float8)
}

/// Rows with what they are brought together by: a column each, the value itself where equal values look the same.
struct Keyed {
    plan: LogicalPlan,
    keys: Vec<Expr>,
}

/// The least value of a group, told apart from its equals by its form.
pub(super) fn least(value: Typed) -> Expr {
    let ty = value.ty.arrow();
    let min = udaf(AggregateFunction::Min, std::slice::from_ref(&ty), ty.clone());
    Expr::AggregateFunction(Call::new_udf(min, vec![value.expr], false, None, Vec::new(), None))
}
