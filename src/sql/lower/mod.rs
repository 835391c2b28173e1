//! From a view's optimized plan to the circuit that maintains it.
//!
//! One function a kind of node; each gives a [`Rel`]: a node of the circuit whose columns are the plan node's, and how
//! its rows lie over the workers. Exchanges are placed only where an operator needs rows together that are not
//! ([`Sharding`]); keys, arguments and sort keys are computed by a Map in front of the operator that needs
//! them as columns. Equal nodes over equal inputs are made once: a CTE named twice is computed once.

mod aggregate;
mod explain;
mod exprs;
mod join;
mod rank;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, NullHandling, ScalarValue};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use datafusion::physical_expr::expressions::Literal;

use super::nodes::{HopNode, SetOpNode};
use super::{BoundQuery, RelationSource, plan, refusals};
use crate::catalog::RelationKind;
use crate::circuit::plan::{CircuitPlan, Elements, ExchangeTo, NodeIndex, OpSpec, PlanNode, SemiKind, SetOpKind};
use crate::error::{Error, Result, SqlState};
use crate::operators::PhysicalExpr;

pub use explain::explain;

/// Operators of one view.
const MAX_NODES: usize = 2_000;

/// The circuit that keeps a view's rows. 0A000 names what can't be maintained, with a hint what to write instead.
pub fn lower(query: &BoundQuery) -> Result<CircuitPlan> {
    let optimized = plan::for_view(query.plan.clone())?;
    let mut lowering = Lowering::default();
    let rel = lowering.rel(&optimized)?;
    let output = lowering.output(rel)?;
    Ok(lowering.finish(output))
}

/// How a node's rows lie over the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sharding {
    /// Anywhere: equal rows may be on several workers.
    Any,
    /// By the hash of these columns.
    Key(Vec<usize>),
    /// By the hash of the whole row.
    Row,
    /// All on worker 0.
    One,
}

impl Sharding {
    /// Whether equal rows are on one worker.
    fn keeps_rows_together(&self) -> bool {
        *self != Sharding::Any
    }

    /// Whether rows that are equal in `columns` are on one worker.
    fn keeps_together(&self, columns: &[usize]) -> bool {
        match self {
            Sharding::One => true,
            Sharding::Key(key) => !key.is_empty() && key.iter().all(|column| columns.contains(column)),
            Sharding::Any | Sharding::Row => false,
        }
    }
}

/// A node with its columns in the plan's order. There may be more columns behind them.
#[derive(Clone, Debug)]
struct Rel {
    node: NodeIndex,
    sharding: Sharding,
}

#[derive(Default)]
struct Lowering {
    nodes: Vec<PlanNode>,
    /// Text of an operator and its inputs, and the nodes it describes.
    known: HashMap<String, Vec<NodeIndex>>,
    /// How far rankings are needed: the column of a rank, and the largest that passes the filter above.
    rank_limits: HashMap<String, u64>,
}

impl Lowering {
    /// A node, unless there is one that computes the same.
    fn add(&mut self, op: OpSpec, inputs: Vec<NodeIndex>, schema: SchemaRef) -> Result<NodeIndex> {
        let key = format!("{op:?} over {inputs:?}");
        let known = self.known.entry(key).or_default();
        if let Some(node) = known.iter().find(|node| self.nodes[**node].op.computes_same(&op)) {
            return Ok(*node);
        }
        if self.nodes.len() >= MAX_NODES {
            let message = format!("the view needs more than {MAX_NODES} operators");
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, message)
                .with_hint("Build it from several materialized views."));
        }
        let input = |n: usize| inputs.get(n).is_some_and(|node| self.nodes[*node].append_only);
        let append_only = match &op {
            // The caller says.
            OpSpec::Source { .. } => false,
            OpSpec::Constant { .. } => true,
            OpSpec::Map { .. }
            | OpSpec::Unnest { .. }
            | OpSpec::Hop { .. }
            | OpSpec::Exchange { .. }
            | OpSpec::Arrange { .. }
            | OpSpec::Distinct => input(0),
            OpSpec::Union => (0..inputs.len()).all(input),
            OpSpec::Join { .. }
            | OpSpec::SemiJoin { kind: SemiKind::Semi, .. }
            | OpSpec::SetOp { kind: SetOpKind::Intersect, .. } => input(0) && input(1),
            _ => false,
        };
        known.push(self.nodes.len());
        self.nodes.push(PlanNode { op, inputs, schema, append_only });
        Ok(self.nodes.len() - 1)
    }

    fn schema(&self, node: NodeIndex) -> SchemaRef {
        self.nodes[node].schema.clone()
    }

    fn rel(&mut self, plan: &LogicalPlan) -> Result<Rel> {
        stacker::maybe_grow(256 * 1024, 4 << 20, || self.rel_here(plan))
    }

    fn rel_here(&mut self, plan: &LogicalPlan) -> Result<Rel> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.rel(&alias.input),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            // An order alone says nothing about a multiset.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.rel(&sort.input),
            LogicalPlan::Sort(sort) => self.top(sort, None, sort.fetch.map(|fetch| fetch as u64)),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Extension(extension) => {
                if let Some(set) = extension.node.as_any().downcast_ref::<SetOpNode>() {
                    self.set_op(set)
                } else if let Some(hop) = extension.node.as_any().downcast_ref::<HopNode>() {
                    self.hop(hop)
                } else {
                    Err(Error::internal(format!("no operator for {}", extension.node.name())))
                }
            }
            LogicalPlan::Subquery(_) => Err(refusals::CORRELATED.error()),
            LogicalPlan::RecursiveQuery(_) => Err(refusals::RECURSIVE.error()),
            other => Err(Error::internal(format!("no operator for {}", other.display()))),
        }
    }

    fn scan(&mut self, scan: &datafusion::logical_expr::TableScan) -> Result<Rel> {
        let Some(source) = scan.source.downcast_ref::<RelationSource>() else {
            return Err(Error::internal(format!("a scan of {} has no relation", scan.table_name)));
        };
        let relation = &source.relation;
        if matches!(relation.kind, RelationKind::System) {
            return Err(refusals::SYSTEM.error_for(format!("{}.{}", relation.schema, relation.name)));
        }
        let node = self.add(OpSpec::Source { relation: relation.id }, Vec::new(), relation.stored_schema())?;
        self.nodes[node].append_only = relation.append_only();
        let mut rel = Rel { node, sharding: Sharding::Any };
        let wanted: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..source.schema.fields().len()).collect(),
        };
        let all = wanted.iter().copied().eq(0..self.schema(node).fields().len());
        if !all {
            let exprs = wanted.iter().map(|column| self.column(node, *column)).collect();
            rel = self.map(rel, exprs, None, schema_of(&scan.projected_schema))?;
        }
        if !scan.filters.is_empty() {
            return Err(Error::internal("a filter was pushed into a scan"));
        }
        Ok(rel)
    }

    /// Everything a view emits comes consolidated: equal rows meet on one worker.
    fn output(&mut self, rel: Rel) -> Result<NodeIndex> {
        if rel.sharding.keeps_rows_together() || self.nodes[rel.node].append_only {
            return Ok(rel.node);
        }
        let schema = self.schema(rel.node);
        self.add(OpSpec::Exchange { to: ExchangeTo::Row }, vec![rel.node], schema)
    }

    /// Drops nodes that nothing reads.
    fn finish(self, output: NodeIndex) -> CircuitPlan {
        let mut used = vec![false; self.nodes.len()];
        used[output] = true;
        for node in (0..self.nodes.len()).rev() {
            if used[node] {
                self.nodes[node].inputs.iter().for_each(|input| used[*input] = true);
            }
        }
        let mut places = vec![0; self.nodes.len()];
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for (index, mut node) in self.nodes.into_iter().enumerate() {
            if used[index] {
                places[index] = nodes.len();
                node.inputs.iter_mut().for_each(|input| *input = places[*input]);
                nodes.push(node);
            }
        }
        CircuitPlan { nodes, output: places[output] }
    }

    fn exchange(&mut self, node: NodeIndex, to: ExchangeTo) -> Result<NodeIndex> {
        let schema = self.schema(node);
        self.add(OpSpec::Exchange { to }, vec![node], schema)
    }

    /// The rows with those together that are equal in `columns`.
    fn together(&mut self, rel: Rel, columns: &[usize]) -> Result<Rel> {
        if rel.sharding.keeps_together(columns) {
            return Ok(rel);
        }
        let node = self.exchange(rel.node, ExchangeTo::Key(columns.to_vec()))?;
        Ok(Rel { node, sharding: Sharding::Key(columns.to_vec()) })
    }

    /// The rows with equal ones together.
    fn rows_together(&mut self, rel: Rel) -> Result<Rel> {
        if rel.sharding.keeps_rows_together() {
            return Ok(rel);
        }
        let node = self.exchange(rel.node, ExchangeTo::Row)?;
        Ok(Rel { node, sharding: Sharding::Row })
    }

    fn on_one_worker(&mut self, rel: Rel) -> Result<Rel> {
        if rel.sharding == Sharding::One {
            return Ok(rel);
        }
        let node = self.exchange(rel.node, ExchangeTo::One)?;
        Ok(Rel { node, sharding: Sharding::One })
    }

    fn distinct(&mut self, input: &LogicalPlan) -> Result<Rel> {
        let rel = self.rel(input)?;
        let rel = self.exactly(rel, input.schema())?;
        let rel = self.rows_together(rel)?;
        let schema = self.schema(rel.node);
        let node = self.add(OpSpec::Distinct, vec![rel.node], schema)?;
        Ok(Rel { node, ..rel })
    }

    fn union(&mut self, union: &datafusion::logical_expr::Union) -> Result<Rel> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        let mut one = true;
        let width = union.schema.fields().len();
        for input in &union.inputs {
            let rel = self.rel(input)?;
            let rel = self.exactly(rel, input.schema())?;
            let rel = if width == 0 { self.without_columns(rel)? } else { rel };
            one &= rel.sharding == Sharding::One;
            inputs.push(rel.node);
        }
        let schema = if width == 0 { one_row().schema() } else { schema_of(&union.schema) };
        let node = self.add(OpSpec::Union, inputs, schema)?;
        Ok(Rel { node, sharding: if one { Sharding::One } else { Sharding::Any } })
    }

    fn set_op(&mut self, set: &SetOpNode) -> Result<Rel> {
        let left = self.rel(&set.left)?;
        let left = self.exactly(left, set.left.schema())?;
        let right = self.rel(&set.right)?;
        let right = self.exactly(right, set.right.schema())?;
        // Both sides by the same rule.
        let (left, right) = match (&left.sharding, &right.sharding) {
            (Sharding::One, Sharding::One) => (left, right),
            (Sharding::Key(l), Sharding::Key(r)) if l == r => (left, right),
            _ => {
                let by_row = |lowering: &mut Self, rel: Rel| -> Result<Rel> {
                    if rel.sharding == Sharding::Row {
                        return Ok(rel);
                    }
                    Ok(Rel { node: lowering.exchange(rel.node, ExchangeTo::Row)?, sharding: Sharding::Row })
                };
                (by_row(self, left)?, by_row(self, right)?)
            }
        };
        let schema = schema_of(set.left.schema());
        let op = OpSpec::SetOp { kind: set.kind, all: set.all };
        let node = self.add(op, vec![left.node, right.node], schema)?;
        Ok(Rel { node, sharding: left.sharding })
    }

    fn hop(&mut self, hop: &HopNode) -> Result<Rel> {
        let rel = self.rel(&hop.input)?;
        let rel = self.exactly(rel, hop.input.schema())?;
        let Some(time) = hop.input.schema().index_of_column_by_name(None, &hop.time) else {
            return Err(Error::internal("a window over a column that is gone"));
        };
        let op = OpSpec::Hop { time, slide: hop.slide, size: hop.size };
        let node = self.add(op, vec![rel.node], schema_of(&hop.schema))?;
        // Equal rows were together before, and are still; by the whole row they are not any more.
        let sharding = if rel.sharding == Sharding::Row { Sharding::Any } else { rel.sharding };
        Ok(Rel { node, sharding })
    }

    fn unnest(&mut self, unnest: &datafusion::logical_expr::Unnest) -> Result<Rel> {
        let rel = self.rel(&unnest.input)?;
        let rel = self.exactly(rel, unnest.input.schema())?;
        if !unnest.struct_type_columns.is_empty() || unnest.list_type_columns.iter().any(|(_, list)| list.depth != 1) {
            return Err(Error::internal("unnest of what is no list"));
        }
        let columns: Vec<usize> = unnest.list_type_columns.iter().map(|(column, _)| *column).collect();
        let (rel, lists) = self.elements(rel, columns.clone())?;
        let outer = unnest.options.null_handling != NullHandling::Drop;
        let sharding = match &rel.sharding {
            Sharding::Key(key) if key.iter().any(|column| columns.contains(column)) => Sharding::Any,
            Sharding::Row => Sharding::Any,
            other => other.clone(),
        };
        let node = self.add(OpSpec::Unnest { lists, outer }, vec![rel.node], schema_of(&unnest.schema))?;
        Ok(Rel { node, sharding })
    }

    /// The elements of these columns. Where a Map calls generate_series for one, it hands on the arguments instead, the first in the
    /// column's place and the others behind all columns: no list is made.
    fn elements(&mut self, rel: Rel, columns: Vec<usize>) -> Result<(Rel, Vec<Elements>)> {
        let PlanNode { op: OpSpec::Map { exprs, filter }, inputs, schema, .. } = self.nodes[rel.node].clone() else {
            return Ok((rel, columns.into_iter().map(Elements::List).collect()));
        };
        let input = self.schema(inputs[0]);
        let mut fields = schema.fields().to_vec();
        let (mut exprs, mut lists) = (exprs, Vec::with_capacity(columns.len()));
        for column in columns {
            let Some(args) = exprs::series_args(&exprs[column]) else {
                lists.push(Elements::List(column));
                continue;
            };
            let mut places = vec![column];
            for (at, arg) in args.into_iter().enumerate() {
                let field = Arc::new(Field::new(fields[column].name(), arg.data_type(&input)?, true));
                match at {
                    0 => (fields[column], exprs[column]) = (field, arg),
                    _ => {
                        places.push(exprs.len());
                        fields.push(field);
                        exprs.push(arg);
                    }
                }
            }
            lists.push(Elements::Series(places));
        }
        if !lists.iter().any(|list| matches!(list, Elements::Series(_))) {
            return Ok((rel, lists));
        }
        let node = self.add(OpSpec::Map { exprs, filter }, inputs, Arc::new(Schema::new(fields)))?;
        Ok((Rel { node, ..rel }, lists))
    }

    fn values(&mut self, values: &datafusion::logical_expr::Values) -> Result<Rel> {
        let schema = schema_of(&values.schema);
        let one = one_row();
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::with_capacity(values.values.len()); schema.fields().len()];
        for row in &values.values {
            for (cells, expr) in columns.iter_mut().zip(row) {
                let value = self.physical(expr, &DFSchema::empty())?.evaluate(&one)?;
                cells.push(value.into_array(1)?);
            }
        }
        let mut arrays = Vec::with_capacity(columns.len());
        for cells in &columns {
            let cells: Vec<&dyn arrow::array::Array> = cells.iter().map(|cell| cell.as_ref()).collect();
            arrays.push(arrow::compute::concat(&cells)?);
        }
        let rows = RecordBatch::try_new(schema.clone(), arrays)?;
        let node = self.add(OpSpec::Constant { rows }, Vec::new(), schema)?;
        Ok(Rel { node, sharding: Sharding::One })
    }

    /// No rows, or one without columns: a batch needs a column, so there is one that the plan doesn't know.
    fn empty(&mut self, empty: &datafusion::logical_expr::EmptyRelation) -> Result<Rel> {
        let rows = match empty.produce_one_row {
            true => one_row(),
            false => RecordBatch::new_empty(match empty.schema.fields().is_empty() {
                true => one_row().schema(),
                false => schema_of(&empty.schema),
            }),
        };
        let schema = rows.schema();
        let node = self.add(OpSpec::Constant { rows }, Vec::new(), schema)?;
        Ok(Rel { node, sharding: Sharding::One })
    }

    /// Cuts off columns that the plan doesn't have.
    fn exactly(&mut self, rel: Rel, schema: &DFSchema) -> Result<Rel> {
        let wanted = schema.fields().len();
        // Batches have at least one column.
        if wanted == 0 || self.schema(rel.node).fields().len() == wanted {
            return Ok(rel);
        }
        let exprs = (0..wanted).map(|column| self.column(rel.node, column)).collect();
        self.map(rel, exprs, None, schema_of(schema))
    }

    /// Rows of which nothing but their number counts, in one shape wherever they come from.
    fn without_columns(&mut self, rel: Rel) -> Result<Rel> {
        let row = one_row();
        let value = ScalarValue::try_from_array(row.column(0), 0)?;
        self.map(rel, vec![Arc::new(Literal::new(value))], None, row.schema())
    }

    /// A Map, folded into the one below where that is one of ours and the new one only picks columns.
    fn map(
        &mut self,
        rel: Rel,
        exprs: Vec<PhysicalExpr>,
        filter: Option<PhysicalExpr>,
        schema: SchemaRef,
    ) -> Result<Rel> {
        let picks: Option<Vec<usize>> = exprs.iter().map(exprs::as_column).collect();
        let width = self.schema(rel.node).fields().len();
        if filter.is_none() && picks.as_ref().is_some_and(|picks| picks.iter().copied().eq(0..width)) {
            return Ok(rel);
        }
        let sharding = match &rel.sharding {
            Sharding::Key(key) => {
                let moved: Option<Vec<usize>> = key
                    .iter()
                    .map(|column| exprs.iter().position(|expr| exprs::as_column(expr) == Some(*column)))
                    .collect();
                moved.map_or(Sharding::Any, Sharding::Key)
            }
            // The same whole row only if nothing but the rows changed.
            Sharding::Row if picks.as_ref().is_some_and(|picks| picks.iter().copied().eq(0..width)) => Sharding::Row,
            Sharding::Row => Sharding::Any,
            other => other.clone(),
        };
        if let (OpSpec::Map { exprs: below, filter: kept }, Some(picks), None) =
            (&self.nodes[rel.node].op, &picks, &filter)
        {
            let exprs = picks.iter().map(|column| below[*column].clone()).collect();
            let op = OpSpec::Map { exprs, filter: kept.clone() };
            let inputs = self.nodes[rel.node].inputs.clone();
            let node = self.add(op, inputs, schema)?;
            return Ok(Rel { node, sharding });
        }
        // Over a Map that only picks columns, the columns are picked from its input.
        let (mut exprs, mut filter, mut input) = (exprs, filter, rel.node);
        if let OpSpec::Map { exprs: below, filter: None } = &self.nodes[input].op
            && let Some(picks) = below.iter().map(exprs::as_column).collect::<Option<Vec<usize>>>()
        {
            exprs = exprs.into_iter().map(|expr| exprs::through(expr, &picks)).collect::<Result<_>>()?;
            filter = filter.map(|filter| exprs::through(filter, &picks)).transpose()?;
            input = self.nodes[input].inputs[0];
        }
        // Before rows are taken out, fields are taken out of composite values, which costs nothing: the rest is not copied.
        if let Some(condition) = &filter
            && let Some(leaves) = exprs::Leaves::of(&exprs, condition, &self.schema(input))?
        {
            input = self.add(OpSpec::Map { exprs: leaves.exprs, filter: None }, vec![input], leaves.schema)?;
            (exprs, filter) = (leaves.over, Some(leaves.condition));
        }
        let node = self.add(OpSpec::Map { exprs, filter }, vec![input], schema)?;
        Ok(Rel { node, sharding })
    }
}

fn one_row() -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("one", DataType::Boolean, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(BooleanArray::from(vec![true])) as ArrayRef])
        .unwrap_or_else(|_| RecordBatch::new_empty(Arc::new(Schema::empty())))
}

/// A plan's columns as Arrow fields under the names people gave them, all nullable.
fn schema_of(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter();
    Arc::new(Schema::new(
        fields.map(|field| Field::new(shown_name(field.name()), field.data_type().clone(), true)).collect::<Vec<_>>(),
    ))
}

/// A column's name without the number that made it unique.
fn shown_name(internal: &str) -> &str {
    internal.rsplit_once('#').map_or(internal, |(name, _)| name)
}

/// Expressions that a filter conjoins.
fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    datafusion::logical_expr::utils::split_conjunction(expr)
}
