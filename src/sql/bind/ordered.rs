//! The order of a query inside another, where it says something: to a LIMIT without an order of its own, to the list that an
//! aggregate makes, to ARRAY(SELECT ...).
//!
//! A plan's node keeps no order that it does not sort by itself: views have none, and DataFusion drops sorts below what
//! does not ask for them. So an inner order is made the outer one's own, by its keys, which come up as columns.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::expr::Sort as SortKey;
use datafusion::logical_expr::{Expr, Filter, Limit, LogicalPlan, Sort};

use super::from::pass_through;
use super::scope::column_expr;
use super::{Binder, project};
use crate::error::Result;
use crate::operators::aggregate::AggregateFunction;
use crate::sql::aggregates::as_function;
use crate::types::Type;

/// Rows, and what says their order: the plan's columns, perhaps with others behind them.
pub(super) struct Ordered {
    pub plan: LogicalPlan,
    pub keys: Vec<SortKey>,
}

impl Binder<'_> {
    /// The order in which a query has put its rows, if it has and nothing above that says otherwise.
    pub(super) fn ordered(&mut self, plan: &LogicalPlan) -> Result<Option<Ordered>> {
        Ok(match plan {
            LogicalPlan::Sort(Sort { expr, input, fetch: None }) => Some(self.with_keys(expr, input)?),
            LogicalPlan::Limit(limit) => self.ordered(&limit.input)?.map(|Ordered { plan, keys }| {
                let sort = LogicalPlan::Sort(Sort { expr: keys.clone(), input: Arc::new(plan), fetch: None });
                Ordered { plan: LogicalPlan::Limit(Limit { input: Arc::new(sort), ..limit.clone() }), keys }
            }),
            LogicalPlan::Filter(filter) => match self.ordered(&filter.input)? {
                Some(Ordered { plan, keys }) => {
                    let filter = Filter::try_new(filter.predicate.clone(), Arc::new(plan))?;
                    Some(Ordered { plan: LogicalPlan::Filter(filter), keys })
                }
                None => None,
            },
            LogicalPlan::Projection(projection) => match self.ordered(&projection.input)? {
                Some(Ordered { plan, mut keys }) => {
                    let mut exprs = projection.expr.clone();
                    for key in &mut keys {
                        let shown = exprs.iter().position(|expr| expr.clone().unalias() == key.expr);
                        key.expr = match shown.filter(|place| *place < projection.expr.len()) {
                            Some(place) => Expr::Column(Column::from(projection.schema.qualified_field(place))),
                            None => {
                                let name = self.fresh("order");
                                exprs.push(std::mem::take(&mut key.expr).alias(&name));
                                column_expr(&name)
                            }
                        };
                    }
                    Some(Ordered { plan: project(Arc::new(plan), exprs)?, keys })
                }
                None => None,
            },
            _ => None,
        })
    }

    fn with_keys(&mut self, keys: &[SortKey], input: &Arc<LogicalPlan>) -> Result<Ordered> {
        let (mut exprs, mut keys) = (pass_through(input), keys.to_vec());
        let columns = exprs.len();
        for key in keys.iter_mut().filter(|key| !matches!(key.expr, Expr::Column(_))) {
            let name = self.fresh("order");
            exprs.push(std::mem::take(&mut key.expr).alias(&name));
            key.expr = column_expr(&name);
        }
        let plan = match exprs.len() == columns {
            true => input.as_ref().clone(),
            false => project(input.clone(), exprs)?,
        };
        Ok(Ordered { plan, keys })
    }

    /// Lists that are made of a query's rows without an order of their own are in that query's, if it has one.
    pub(super) fn lists_in_order(
        &mut self,
        plan: LogicalPlan,
        calls: &mut [(Expr, String, Type)],
    ) -> Result<LogicalPlan> {
        let mut lists: Vec<&mut Vec<SortKey>> = Vec::new();
        for (call, ..) in calls {
            if let Expr::AggregateFunction(call) = call
                && call.params.order_by.is_empty()
                && !call.params.distinct
                && matches!(as_function(&call.func), Some(AggregateFunction::ArrayAgg | AggregateFunction::StringAgg))
            {
                lists.push(&mut call.params.order_by);
            }
        }
        if lists.is_empty() {
            return Ok(plan);
        }
        let Some(ordered) = self.ordered(&plan)? else { return Ok(plan) };
        lists.into_iter().for_each(|order_by| order_by.clone_from(&ordered.keys));
        Ok(ordered.plan)
    }
}

/// Whether an order of a part of the plan might be meant for what stands above the plan.
pub(super) fn has_order(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        // Its order was for it; the others have none.
        LogicalPlan::Limit(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Extension(_) => {
            false
        }
        other => other.inputs().into_iter().any(has_order),
    }
}
