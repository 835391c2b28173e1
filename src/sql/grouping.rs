//! GROUPING SETS written out for reads: one aggregation a set, and the union of them.
//!
//! ```text
//!   Aggregate GROUPING SETS ((a), (b), ()): count(c)
//!     = Union  [a, NULL, 1, count] <- Aggregate a: count(c)
//!              [NULL, b, 2, count] <- Aggregate b: count(c)
//!              [NULL, NULL, 3, count] <- Aggregate: count(c)      one row, over no rows too
//! ```
//!
//! It is what a view's circuit does, so both mean the same; and DataFusion's own plan for grouping sets wants partial
//! states, which our aggregates do not have.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, EmptyRelation, Expr, LogicalPlan, Projection, Union, lit};
use datafusion::scalar::ScalarValue;

/// The plan without grouping sets, or `None` where the aggregate has none.
pub fn expand(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] = aggregate.group_expr.as_slice() else {
        return Ok(None);
    };
    let groups: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
    let id_type = aggregate.schema.field(groups.len()).data_type().clone();
    let mut parts = Vec::with_capacity(sets.len());
    for (number, set) in sets.iter().enumerate() {
        let members: Vec<&Expr> = groups.iter().filter(|group| set.contains(group)).collect();
        let by = members.iter().map(|group| (*group).clone()).collect();
        let one = match members.is_empty() && aggregate.aggr_expr.is_empty() {
            // The one group of everything, of which nothing is asked.
            true => {
                LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) })
            }
            false => {
                let calls = aggregate.aggr_expr.clone();
                LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input.clone(), by, calls)?)
            }
        };
        let columns = one.schema().columns();
        let mut exprs = Vec::with_capacity(aggregate.schema.fields().len());
        let mut id = 0u64;
        for (place, group) in groups.iter().enumerate() {
            let member = members.iter().position(|member| *member == group);
            id = id << 1 | u64::from(member.is_none());
            exprs.push(match member {
                Some(member) => Expr::Column(columns[member].clone()),
                None => lit(ScalarValue::try_from(aggregate.schema.field(place).data_type())?),
            });
        }
        // A set that occurs again is told apart above the columns' bits.
        let before = sets[..number].iter().filter(|other| *other == set).count() as u64;
        exprs.push(lit(ScalarValue::UInt64(Some(id | before << groups.len())).cast_to(&id_type)?));
        exprs.extend(columns[members.len()..].iter().cloned().map(Expr::Column));
        let named = exprs.into_iter().enumerate().map(|(place, expr)| expr.alias(format!("__set_{place}"))).collect();
        parts.push(Arc::new(LogicalPlan::Projection(Projection::try_new(named, Arc::new(one))?)));
    }
    let all = match <[_; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => Arc::new(LogicalPlan::Union(Union::try_new_with_loose_types(parts)?)),
    };
    // Under the names that the plan above knows.
    let named = aggregate
        .schema
        .iter()
        .zip(all.schema().columns())
        .map(|((qualifier, field), column)| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()));
    let named = named.collect();
    Ok(Some(LogicalPlan::Projection(Projection::try_new(named, all)?)))
}
