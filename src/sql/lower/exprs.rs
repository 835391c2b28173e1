//! Expressions: checked, made physical, and scalar subqueries in them turned into columns.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, Volatility};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;

use super::{Lowering, Rel, Sharding, schema_of, shown_name};
use crate::circuit::plan::{ExchangeTo, NodeIndex, OpSpec};
use crate::error::{Error, Result};
use crate::operators::PhysicalExpr;
use crate::sql::arrays::is_series;
use crate::sql::functions::row::is_field_of_column;
use crate::sql::nullable::is_nullable;
use crate::sql::refusals;

impl Lowering {
    /// An expression over a node's columns. Column names are those people gave: equal expressions look equal.
    pub(super) fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<PhysicalExpr> {
        check(expr)?;
        let props = ExecutionProps::new();
        let planning = datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext::default();
        let physical = datafusion::physical_expr::create_physical_expr(expr, schema, &props, &planning)?;
        let renamed = physical.transform_up(|node| {
            Ok(match node.downcast_ref::<PhysicalColumn>() {
                Some(column) => {
                    let column = PhysicalColumn::new(shown_name(column.name()), column.index());
                    Transformed::yes(Arc::new(column) as PhysicalExpr)
                }
                None => Transformed::no(node),
            })
        })?;
        Ok(renamed.data)
    }

    pub(super) fn column(&self, node: NodeIndex, column: usize) -> PhysicalExpr {
        let schema = self.schema(node);
        Arc::new(PhysicalColumn::new(shown_name(schema.field(column).name()), column))
    }

    /// Filter and select list over the same rows are one Map.
    pub(super) fn projection(&mut self, projection: &Projection) -> Result<Rel> {
        let (filter, input) = match projection.input.as_ref() {
            LogicalPlan::Filter(filter) => (Some(filter), filter.input.as_ref()),
            input => (None, input),
        };
        let rel = match filter {
            Some(filter) => self.ranked_up_to(filter)?,
            None => self.rel(input)?,
        };
        let mut exprs = projection.expr.clone();
        exprs.extend(filter.map(|filter| filter.predicate.clone()));
        let (rel, schema, mut exprs) = self.with_scalars(rel, input.schema(), exprs)?;
        let predicate = match filter {
            Some(_) => exprs.pop().map(|predicate| self.physical(&predicate, &schema)).transpose()?,
            None => None,
        };
        let exprs = exprs.iter().map(|expr| self.physical(expr, &schema)).collect::<Result<_>>()?;
        self.map(rel, exprs, predicate, schema_of(&projection.schema))
    }

    pub(super) fn filter(&mut self, filter: &Filter) -> Result<Rel> {
        let rel = self.ranked_up_to(filter)?;
        let (rel, schema, exprs) = self.with_scalars(rel, filter.input.schema(), vec![filter.predicate.clone()])?;
        let predicate = self.physical(&exprs[0], &schema)?;
        let width = filter.input.schema().fields().len();
        let columns = (0..width).map(|column| self.column(rel.node, column)).collect();
        self.map(rel, columns, Some(predicate), schema_of(filter.input.schema()))
    }

    /// Each scalar subquery in `exprs` becomes a column behind the node's own: its one value joined to every row.
    pub(super) fn with_scalars(
        &mut self,
        rel: Rel,
        schema: &DFSchemaRef,
        exprs: Vec<Expr>,
    ) -> Result<(Rel, DFSchemaRef, Vec<Expr>)> {
        let mut subqueries: Vec<(Expr, String)> = Vec::new();
        let mut replaced = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let changed = expr.transform_down(|node| {
                if !matches!(node, Expr::ScalarSubquery(_)) {
                    return Ok(Transformed::no(node));
                }
                let known = subqueries.iter().find(|(known, _)| *known == node).map(|(_, name)| name.clone());
                let name = known.unwrap_or_else(|| {
                    let name = format!("subquery#{}", subqueries.len() + 1);
                    subqueries.push((node, name.clone()));
                    name
                });
                Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
            })?;
            replaced.push(changed.data);
        }
        if subqueries.is_empty() {
            return Ok((rel, schema.clone(), replaced));
        }
        // Columns that the plan doesn't know would shift those added here.
        let mut rel = if schema.fields().is_empty() { rel } else { self.exactly(rel, schema)? };
        let mut fields: Vec<_> = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        if fields.is_empty() {
            // Rows without columns may have some that the plan doesn't know, and those stand before what is added.
            for (place, field) in self.schema(rel.node).fields().iter().enumerate() {
                fields.push((None, Arc::new(field.as_ref().clone().with_name(format!("unknown#{place}")))));
            }
        }
        for (subquery, name) in subqueries {
            let Expr::ScalarSubquery(subquery) = subquery else { return Err(Error::internal("a subquery was lost")) };
            if !subquery.outer_ref_columns.is_empty() {
                return Err(refusals::CORRELATED.error());
            }
            let inner = self.rel(&subquery.subquery)?;
            let inner = self.exactly(inner, subquery.subquery.schema())?;
            let inner = self.on_one_worker(inner)?;
            let single = self.schema(inner.node);
            let value = self.add(OpSpec::ScalarSubquery, vec![inner.node], single.clone())?;
            let value = self.exchange(value, ExchangeTo::All)?;
            let right = self.add(OpSpec::Arrange { key: Vec::new() }, vec![value], single.clone())?;
            let left_schema = self.schema(rel.node);
            let left = self.add(OpSpec::Arrange { key: Vec::new() }, vec![rel.node], left_schema.clone())?;
            let mut joined: Vec<_> = left_schema.fields().iter().cloned().collect();
            joined.push(single.fields()[0].clone());
            let joined = Arc::new(arrow::datatypes::Schema::new(joined));
            let op = OpSpec::Join { filter: None, null_equals_null: false };
            let node = self.add(op, vec![left, right], joined)?;
            let sharding = if rel.sharding == Sharding::Row { Sharding::Any } else { rel.sharding };
            rel = Rel { node, sharding };
            let ty = single.field(0).data_type().clone();
            fields.push((None, Arc::new(arrow::datatypes::Field::new(name, ty, true))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok((rel, schema, replaced))
    }
}

/// The column an expression is, if it is no more than that.
pub(super) fn as_column(expr: &PhysicalExpr) -> Option<usize> {
    expr.downcast_ref::<PhysicalColumn>().map(PhysicalColumn::index)
}

/// The arguments of a call of generate_series as an array.
pub(super) fn series_args(expr: &PhysicalExpr) -> Option<Vec<PhysicalExpr>> {
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    is_series(call.fun()).then(|| call.args().to_vec())
}

/// An expression over the picked columns as one over those they are picked from.
pub(super) fn through(expr: PhysicalExpr, picks: &[usize]) -> Result<PhysicalExpr> {
    let moved = expr.transform_up(|node| {
        Ok(match node.downcast_ref::<PhysicalColumn>() {
            Some(column) => {
                let moved = PhysicalColumn::new(column.name(), picks[column.index()]);
                Transformed::yes(Arc::new(moved) as PhysicalExpr)
            }
            None => Transformed::no(node),
        })
    })?;
    Ok(moved.data)
}

/// The columns, and fields of columns, that some expressions read, and the expressions over these.
pub(super) struct Leaves {
    pub exprs: Vec<PhysicalExpr>,
    pub schema: SchemaRef,
    pub over: Vec<PhysicalExpr>,
    pub condition: PhysicalExpr,
}

impl Leaves {
    /// `None` where no field is read.
    pub fn of(exprs: &[PhysicalExpr], condition: &PhysicalExpr, input: &SchemaRef) -> Result<Option<Leaves>> {
        let (mut leaves, mut fields, mut any) = (Vec::<PhysicalExpr>::new(), Vec::new(), false);
        let mut moved = Vec::with_capacity(exprs.len() + 1);
        for expr in exprs.iter().chain([condition]) {
            let over = expr.clone().transform_down(|node| {
                let column = node.downcast_ref::<PhysicalColumn>();
                if column.is_none() && !is_field_of_column(&node) {
                    return Ok(Transformed::no(node));
                }
                let name = column.map_or("field", PhysicalColumn::name).to_string();
                any |= column.is_none();
                let place = match leaves.iter().position(|known| known.eq(&node)) {
                    Some(place) => place,
                    None => {
                        fields.push(Field::new(&name, node.data_type(input)?, true));
                        leaves.push(node);
                        leaves.len() - 1
                    }
                };
                let leaf = Arc::new(PhysicalColumn::new(&name, place)) as PhysicalExpr;
                Ok(Transformed::new(leaf, true, TreeNodeRecursion::Jump))
            })?;
            moved.push(over.data);
        }
        let Some(condition) = moved.pop().filter(|_| any) else { return Ok(None) };
        Ok(Some(Leaves { exprs: leaves, schema: Arc::new(Schema::new(fields)), over: moved, condition }))
    }
}

/// Refuses what an operator can't evaluate again with the same answer.
fn check(expr: &Expr) -> Result<()> {
    let mut refused: Option<Error> = None;
    expr.apply(|node| {
        refused = match node {
            Expr::ScalarFunction(call)
                if call.func.signature().volatility == Volatility::Volatile && !is_nullable(&call.func) =>
            {
                Some(refusals::VOLATILE.error_for(format!("{}()", call.func.name())))
            }
            Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_)
            | Expr::OuterReferenceColumn(..) => Some(refusals::CORRELATED.error()),
            Expr::WindowFunction(_) => Some(refusals::WINDOW.error()),
            Expr::Placeholder(_) => Some(Error::internal("a parameter in a view")),
            _ => None,
        };
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    refused.map_or(Ok(()), Err)
}
