//! GROUP BY: groups, arguments, filters and orders as columns of one Map, then the Aggregate by group. Grouping sets
//! are as many Aggregates over the same input, their rows put side by side with NULLs where a set has no column.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{AggregateFunction as Call, Sort};
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet};
use datafusion::physical_expr::expressions::Literal;

use super::exprs::as_column;
use super::{Lowering, Rel, Sharding, schema_of};
use crate::circuit::plan::OpSpec;
use crate::error::{Error, Result};
use crate::operators::aggregate::AggregateCall;
use crate::operators::{PhysicalExpr, SortKey};
use crate::sql::aggregates::as_function;

/// Columns that an Aggregate reads, each expression once.
struct Inputs {
    exprs: Vec<PhysicalExpr>,
    fields: Vec<Field>,
}

impl Inputs {
    fn place(&mut self, expr: PhysicalExpr, name: &str, schema: &Schema) -> Result<usize> {
        if let Some(place) = self.exprs.iter().position(|known| known.eq(&expr)) {
            return Ok(place);
        }
        self.fields.push(Field::new(name, expr.data_type(schema)?, true));
        self.exprs.push(expr);
        Ok(self.exprs.len() - 1)
    }
}

impl Lowering {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Rel> {
        let rel = self.rel(&aggregate.input)?;
        let all: Vec<Expr> = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).cloned().collect();
        let (rel, schema, mut exprs) = self.with_scalars(rel, aggregate.input.schema(), all)?;
        let calls = exprs.split_off(aggregate.group_expr.len());
        let arrow = schema_of(&schema);
        let mut inputs = Inputs { exprs: Vec::new(), fields: Vec::new() };

        let (groups, sets): (Vec<Expr>, Option<Vec<Vec<Expr>>>) = match exprs.as_slice() {
            [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => {
                let mut distinct: Vec<Expr> = Vec::new();
                for expr in sets.iter().flatten() {
                    if !distinct.contains(expr) {
                        distinct.push(expr.clone());
                    }
                }
                (distinct, Some(sets.clone()))
            }
            [Expr::GroupingSet(_)] => return Err(Error::internal("ROLLUP and CUBE are written out by the binder")),
            _ => (exprs, None),
        };
        let mut group_places = Vec::with_capacity(groups.len());
        for (index, group) in groups.iter().enumerate() {
            let physical = self.physical(group, &schema)?;
            let name = super::shown_name(aggregate.schema.field(index).name()).to_string();
            group_places.push(inputs.place(physical, &name, &arrow)?);
        }
        let first_call = aggregate.schema.fields().len() - calls.len();
        let mut bound = Vec::with_capacity(calls.len());
        for (index, call) in calls.into_iter().enumerate() {
            let output = aggregate.schema.field(first_call + index).data_type().clone();
            bound.push(self.call(call.unalias(), output, &schema, &arrow, &mut inputs)?);
        }
        if inputs.exprs.is_empty() {
            // count(*) over everything: rows need a column.
            let one: PhysicalExpr = Arc::new(Literal::new(ScalarValue::Boolean(Some(true))));
            inputs.place(one, "one", &arrow)?;
        }
        let mapped = Arc::new(Schema::new(inputs.fields));
        let rel = self.map(rel, inputs.exprs, None, mapped.clone())?;
        match sets {
            None => self.grouped(rel, &group_places, bound, schema_of(&aggregate.schema)),
            Some(sets) => self.grouping_sets(rel, &groups, &group_places, sets, bound, aggregate),
        }
    }

    fn grouped(
        &mut self,
        rel: Rel,
        group: &[usize],
        calls: Vec<AggregateCall>,
        schema: arrow::datatypes::SchemaRef,
    ) -> Result<Rel> {
        let global = group.is_empty();
        let rel = match global {
            true => self.on_one_worker(rel)?,
            false => self.together(rel, group)?,
        };
        // Groups come first in the output.
        let sharding = match &rel.sharding {
            Sharding::Key(key) => {
                let moved: Option<Vec<usize>> =
                    key.iter().map(|column| group.iter().position(|g| g == column)).collect();
                moved.map_or(Sharding::Any, Sharding::Key)
            }
            other => other.clone(),
        };
        let op = OpSpec::Aggregate { group: group.to_vec(), calls, global };
        let node = self.add(op, vec![rel.node], schema)?;
        Ok(Rel { node, sharding })
    }

    fn grouping_sets(
        &mut self,
        rel: Rel,
        groups: &[Expr],
        places: &[usize],
        sets: Vec<Vec<Expr>>,
        calls: Vec<AggregateCall>,
        aggregate: &Aggregate,
    ) -> Result<Rel> {
        let schema = schema_of(&aggregate.schema);
        let id_type = schema.field(groups.len()).data_type().clone();
        let mut inputs = Vec::with_capacity(sets.len());
        let mut seen: Vec<(Vec<usize>, u64)> = Vec::new();
        for set in &sets {
            let members: Vec<usize> = (0..groups.len()).filter(|index| set.contains(&groups[*index])).collect();
            // A set that is given twice gives its rows twice, told apart by an ordinal above the bits.
            let ordinal = seen.iter().filter(|(known, _)| *known == members).count() as u64;
            seen.push((members.clone(), ordinal));
            let group: Vec<usize> = members.iter().map(|index| places[*index]).collect();
            let mut fields: Vec<Field> = members.iter().map(|index| schema.field(*index).clone()).collect();
            fields.extend((0..calls.len()).map(|call| schema.field(groups.len() + 1 + call).clone()));
            let one = self.grouped(rel.clone(), &group, calls.clone(), Arc::new(Schema::new(fields)))?;
            // The highest bit is the first group's; it is set where the set leaves the group out.
            let bits = (0..groups.len()).fold(0u64, |bits, index| bits << 1 | u64::from(!members.contains(&index)));
            let id = ScalarValue::UInt64(Some(ordinal << groups.len() | bits)).cast_to(&id_type)?;
            let mut exprs: Vec<PhysicalExpr> = Vec::with_capacity(schema.fields().len());
            for index in 0..groups.len() {
                exprs.push(match members.iter().position(|member| *member == index) {
                    Some(place) => self.column(one.node, place),
                    None => Arc::new(Literal::new(ScalarValue::try_from(schema.field(index).data_type())?)),
                });
            }
            exprs.push(Arc::new(Literal::new(id)));
            exprs.extend((0..calls.len()).map(|call| self.column(one.node, members.len() + call)));
            inputs.push(self.map(one, exprs, None, schema.clone())?);
        }
        let one = inputs.iter().all(|rel| rel.sharding == Sharding::One);
        let nodes = inputs.iter().map(|rel| rel.node).collect();
        let node = self.add(OpSpec::Union, nodes, schema)?;
        Ok(Rel { node, sharding: if one { Sharding::One } else { Sharding::Any } })
    }

    fn call(
        &mut self,
        call: Expr,
        output: arrow::datatypes::DataType,
        schema: &datafusion::common::DFSchema,
        arrow: &Schema,
        inputs: &mut Inputs,
    ) -> Result<AggregateCall> {
        let Expr::AggregateFunction(Call { func, params }) = call else {
            return Err(Error::internal("an aggregate that is none"));
        };
        let Some(function) = as_function(&func) else {
            return Err(Error::internal(format!("no operator for the aggregate {}", func.name())));
        };
        let mut place = |lowering: &Self, expr: &Expr, name: &str| -> Result<usize> {
            let physical = lowering.physical(expr, schema)?;
            let shown = match as_column(&physical) {
                Some(column) => arrow.field(column).name().clone(),
                None => name.to_string(),
            };
            inputs.place(physical, &shown, arrow)
        };
        let args = params.args.iter().map(|arg| place(self, arg, "arg")).collect::<Result<_>>()?;
        let filter = params.filter.as_ref().map(|filter| place(self, filter, "filter")).transpose()?;
        let mut order_by = Vec::with_capacity(params.order_by.len());
        for Sort { expr, asc, nulls_first } in &params.order_by {
            let column = place(self, expr, "order")?;
            order_by.push(SortKey { column, descending: !asc, nulls_first: *nulls_first });
        }
        Ok(AggregateCall { function, args, filter, distinct: params.distinct, order_by, output })
    }
}
