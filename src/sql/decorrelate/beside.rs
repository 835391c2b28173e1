//! A plan's rows for each row of a domain.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, ScalarValue};
use datafusion::logical_expr::expr::{Sort as SortKey, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Case, Distinct, Expr, Extension, Filter, Join, Limit, LogicalPlan, Projection, Sort, SubqueryAlias,
    Union, Unnest, Window,
};

use super::domain::Domain;
use super::{Decorrelation, columns_of, condition_of, join, project, same_rows};
use crate::error::Result;
use crate::sql::plan::ranking;
use crate::sql::refusals;

impl Decorrelation {
    /// The rows of a plan for each row of the domain, whose columns stand beside the plan's own.
    pub(super) fn beside(&mut self, plan: &LogicalPlan, domain: &Domain) -> Result<LogicalPlan> {
        stacker::maybe_grow(256 * 1024, 4 << 20, || self.beside_here(plan, domain))
    }

    fn beside_here(&mut self, plan: &LogicalPlan, domain: &Domain) -> Result<LogicalPlan> {
        if !domain.is_named_in(plan)? {
            return match plan {
                LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Ok(domain.plan.clone()),
                other => join(domain.plan.clone(), other.clone(), JoinType::Inner, Vec::new(), None),
            };
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                let input = self.beside(&projection.input, domain)?;
                let mut exprs = domain.exprs();
                for (expr, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
                    exprs.push(domain.named(expr.clone(), qualifier, field.name())?);
                }
                project(exprs, input)
            }
            LogicalPlan::Filter(filter) => {
                let input = self.beside(&filter.input, domain)?;
                let predicate = domain.within(filter.predicate.clone())?.data;
                Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.beside(&alias.input, domain)?;
                let mut exprs = domain.exprs();
                for (inner, (qualifier, field)) in alias.input.schema().columns().into_iter().zip(alias.schema.iter()) {
                    exprs.push(Expr::Column(inner).alias_qualified(qualifier.cloned(), field.name()));
                }
                project(exprs, input)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, domain),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.beside(input, domain)?;
                Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input))))
            }
            LogicalPlan::Sort(sort) => match sort.fetch {
                Some(most) => self.first(&sort.input, &sort.expr, 0, most as i64, domain),
                None => {
                    let input = Arc::new(self.beside(&sort.input, domain)?);
                    let expr = sort_keys(&sort.expr, domain)?;
                    Ok(LogicalPlan::Sort(Sort { expr, input, fetch: None }))
                }
            },
            LogicalPlan::Limit(limit) => self.limit(limit, domain),
            LogicalPlan::Window(window) => self.window(window, domain),
            LogicalPlan::Join(join) => self.join(join, domain),
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|input| Ok(Arc::new(self.aligned(input, domain)?)));
                Ok(LogicalPlan::Union(Union::try_new(inputs.collect::<Result<_>>()?)?))
            }
            LogicalPlan::Extension(extension) => {
                let inputs = extension.node.inputs();
                let inputs = match inputs[..] {
                    [input] => vec![self.beside(input, domain)?],
                    // A set operation compares by place.
                    _ => inputs.into_iter().map(|input| self.aligned(input, domain)).collect::<Result<_>>()?,
                };
                let node = extension.node.with_exprs_and_inputs(Vec::new(), inputs)?;
                Ok(LogicalPlan::Extension(Extension { node }))
            }
            LogicalPlan::Unnest(unnest) => {
                let input = Arc::new(self.beside(&unnest.input, domain)?);
                Ok(LogicalPlan::Unnest(Unnest::try_new(input, unnest.exec_columns.clone(), unnest.options.clone())?))
            }
            LogicalPlan::Values(values) => {
                let mut rows = Vec::with_capacity(values.values.len());
                for row in &values.values {
                    let mut exprs = domain.exprs();
                    for (expr, field) in row.iter().zip(values.schema.fields()) {
                        exprs.push(domain.within(expr.clone())?.data.alias(field.name()));
                    }
                    rows.push(Arc::new(project(exprs, domain.plan.clone())?));
                }
                match rows.len() {
                    1 => Ok(Arc::unwrap_or_clone(rows.remove(0))),
                    _ => Ok(LogicalPlan::Union(Union::try_new(rows)?)),
                }
            }
            _ => Err(refusals::CORRELATED.error()),
        }
    }

    /// The domain's columns, then the plan's, in this order.
    fn aligned(&mut self, plan: &LogicalPlan, domain: &Domain) -> Result<LogicalPlan> {
        let mut exprs = domain.exprs();
        exprs.extend(columns_of(plan));
        let plan = self.beside(plan, domain)?;
        project(exprs, plan)
    }

    fn aggregate(&mut self, aggregate: &Aggregate, domain: &Domain) -> Result<LogicalPlan> {
        // Sets of groups have a row over nothing for each set that is empty.
        if aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_))) {
            return Err(refusals::CORRELATED.error());
        }
        let global = aggregate.group_expr.is_empty();
        let inner = if global { self.again(domain)? } else { domain.clone() };
        let input = self.beside(&aggregate.input, &inner)?;
        let names: Vec<_> = aggregate.schema.iter().map(|(q, field)| (q.cloned(), field.clone())).collect();
        let (group_names, call_names) = names.split_at(aggregate.group_expr.len());
        let mut groups = inner.exprs();
        for (group, (qualifier, field)) in aggregate.group_expr.iter().zip(group_names) {
            groups.push(inner.named(group.clone(), qualifier.as_ref(), field.name())?);
        }
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        for (call, (qualifier, field)) in aggregate.aggr_expr.iter().zip(call_names) {
            calls.push(inner.named(call.clone(), qualifier.as_ref(), field.name())?);
        }
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, calls)?);
        if !global {
            return Ok(grouped);
        }
        let joined = join(domain.plan.clone(), grouped, JoinType::Left, same_rows(domain, &inner), None)?;
        let mut exprs = domain.exprs();
        for (call, (qualifier, field)) in aggregate.aggr_expr.iter().zip(call_names) {
            let column = Expr::Column(Column::new(qualifier.clone(), field.name()));
            let Expr::AggregateFunction(called) = call.clone().unalias() else {
                return Err(refusals::CORRELATED.error());
            };
            let empty = called.func.default_value(field.data_type())?;
            exprs.push(match empty.is_null() {
                true => column,
                // A count is never NULL but over no rows.
                false => Expr::Case(Case {
                    expr: None,
                    when_then_expr: vec![(
                        Box::new(Expr::IsNull(Box::new(column.clone()))),
                        Box::new(Expr::Literal(empty, None)),
                    )],
                    else_expr: Some(Box::new(column)),
                })
                .alias_qualified(qualifier.clone(), field.name()),
            });
        }
        project(exprs, joined)
    }

    /// LIMIT: what stands between it and its order keeps the rows' places, so it goes below that.
    fn limit(&mut self, limit: &Limit, domain: &Domain) -> Result<LogicalPlan> {
        let below =
            |input: &Arc<LogicalPlan>| Arc::new(LogicalPlan::Limit(Limit { input: input.clone(), ..limit.clone() }));
        let number = |expr: &Option<Box<Expr>>| match expr.as_deref() {
            None => Ok(None),
            some => literal(some).map(Some).ok_or_else(|| refusals::LIMIT.error()),
        };
        match limit.input.as_ref() {
            LogicalPlan::Projection(above) if is_sorted(&above.input) => {
                let input = below(&above.input);
                let above = Projection::try_new_with_schema(above.expr.clone(), input, above.schema.clone())?;
                self.beside(&LogicalPlan::Projection(above), domain)
            }
            LogicalPlan::SubqueryAlias(above) if is_sorted(&above.input) => {
                let above = SubqueryAlias::try_new(below(&above.input), above.alias.clone())?;
                self.beside(&LogicalPlan::SubqueryAlias(above), domain)
            }
            input => {
                let (skip, fetch) = (number(&limit.skip)?.unwrap_or(0), number(&limit.fetch)?);
                // A ranking is only kept up to a bound.
                let Some(fetch) = fetch else { return Err(refusals::CORRELATED.error()) };
                match input {
                    LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                        self.first(&sort.input, &sort.expr, skip, fetch, domain)
                    }
                    other => self.first(other, &[], skip, fetch, domain),
                }
            }
        }
    }

    /// The rows after the first `skip`, at most `fetch`, for each row of the domain.
    fn first(
        &mut self,
        input: &LogicalPlan,
        order: &[SortKey],
        skip: i64,
        fetch: i64,
        domain: &Domain,
    ) -> Result<LogicalPlan> {
        let mut columns = domain.exprs();
        columns.extend(columns_of(input));
        // In the input's own order of columns, by which equal rows are told apart.
        let input = self.aligned(input, domain)?;
        let name = self.fresh("row_number");
        let function = datafusion::functions_window::row_number::row_number_udwf();
        let call = ranking(function, domain.exprs(), sort_keys(order, domain)?).alias(&name);
        let numbered = LogicalPlan::Window(Window::try_new(vec![call], Arc::new(input))?);
        let number = Expr::Column(Column::new_unqualified(name));
        let bound = |bound: i64| Expr::Literal(ScalarValue::UInt64(Some(bound.max(0) as u64)), None);
        let mut condition = number.clone().lt_eq(bound(skip.saturating_add(fetch)));
        if skip > 0 {
            condition = condition.and(number.gt(bound(skip)));
        }
        project(columns, LogicalPlan::Filter(Filter::try_new(condition, Arc::new(numbered))?))
    }

    fn window(&mut self, window: &Window, domain: &Domain) -> Result<LogicalPlan> {
        let input = self.beside(&window.input, domain)?;
        let first = window.input.schema().fields().len();
        let mut calls = Vec::with_capacity(window.window_expr.len());
        for (call, place) in window.window_expr.iter().zip(first..) {
            let (qualifier, field) = window.schema.qualified_field(place);
            let call = domain.within(call.clone())?.data.unalias();
            let Expr::WindowFunction(call) = call else { return Err(refusals::WINDOW.error()) };
            let mut call: WindowFunction = *call;
            let mut partition = domain.exprs();
            partition.append(&mut call.params.partition_by);
            call.params.partition_by = partition;
            let call = Expr::WindowFunction(Box::new(call));
            calls.push(call.alias_qualified(qualifier.cloned(), field.name()));
        }
        Ok(LogicalPlan::Window(Window::try_new(calls, Arc::new(input))?))
    }

    fn join(&mut self, own: &Join, domain: &Domain) -> Result<LogicalPlan> {
        let condition = condition_of(own);
        let condition = condition.map(|condition| domain.within(condition)).transpose()?.map(|changed| changed.data);
        if let LogicalPlan::Subquery(right) = own.right.as_ref() {
            // Its outer columns are then the left side's.
            let left = self.beside(&own.left, domain)?;
            let right = LogicalPlan::Subquery(domain.renamed(right.clone())?);
            return join(left, right, own.join_type, Vec::new(), condition);
        }
        let named_left = domain.is_named_in(&own.left)?;
        let mut named_right = domain.is_named_in(&own.right)?;
        if !named_left && !named_right {
            // Only the condition names it: with the side whose rows all stay.
            named_right = matches!(own.join_type, JoinType::Right | JoinType::RightSemi | JoinType::RightAnti);
        }
        let (with_left, with_right) = match own.join_type {
            JoinType::Inner => (named_left || !named_right, named_right),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (true, named_right),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (named_left, true),
            JoinType::Full => (true, true),
        };
        match (with_left, with_right) {
            (true, true) => {
                let keeps_right = matches!(
                    own.join_type,
                    JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
                );
                let other = self.again(domain)?;
                let (for_left, for_right) = if keeps_right { (&other, domain) } else { (domain, &other) };
                let left = self.beside(&own.left, for_left)?;
                let right = self.beside(&own.right, for_right)?;
                let joined = join(left, right, own.join_type, same_rows(for_left, for_right), condition)?;
                if own.join_type != JoinType::Full {
                    return Ok(joined);
                }
                // A row of the right side alone has the right one's.
                let mut exprs = Vec::new();
                for (left, right) in domain.own.iter().zip(&other.own) {
                    let column = Expr::Column(left.column.clone());
                    let either = Case {
                        expr: None,
                        when_then_expr: vec![(Box::new(Expr::IsNotNull(Box::new(column.clone()))), Box::new(column))],
                        else_expr: Some(Box::new(Expr::Column(right.column.clone()))),
                    };
                    exprs.push(Expr::Case(either).alias(left.column.name()));
                }
                exprs.extend(own.schema.columns().into_iter().map(Expr::Column));
                project(exprs, joined)
            }
            (true, false) => {
                let left = self.beside(&own.left, domain)?;
                join(left, own.right.as_ref().clone(), own.join_type, Vec::new(), condition)
            }
            _ => {
                let right = self.beside(&own.right, domain)?;
                join(own.left.as_ref().clone(), right, own.join_type, Vec::new(), condition)
            }
        }
    }
}

fn sort_keys(keys: &[SortKey], domain: &Domain) -> Result<Vec<SortKey>> {
    let key = |key: &SortKey| Ok(SortKey::new(domain.within(key.expr.clone())?.data, key.asc, key.nulls_first));
    keys.iter().map(key).collect()
}

/// The number that an expression is.
pub(super) fn literal(expr: Option<&Expr>) -> Option<i64> {
    match expr {
        Some(Expr::Literal(ScalarValue::Int64(Some(number)), _)) => Some(*number),
        _ => None,
    }
}

/// Whether the rows stand in an order that a LIMIT above means.
fn is_sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(sort) => sort.fetch.is_none(),
        LogicalPlan::Projection(above) => is_sorted(&above.input),
        LogicalPlan::SubqueryAlias(above) => is_sorted(&above.input),
        _ => false,
    }
}
