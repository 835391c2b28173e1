//! The first rows of an order: LIMIT, DISTINCT ON, and rankings that a filter cuts off.
//!
//! A window function is maintained only as a ranking with a bound: `Filter(rn <= k)` somewhere above the Window node
//! is found before the node is lowered, and the filter stays where it is (what it lets through is decided once more).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, Limit, LogicalPlan, Operator, Projection, Sort, Window, WindowFunctionDefinition,
};
use datafusion::physical_expr::expressions::CastExpr;

use super::exprs::as_column;
use super::{Lowering, Rel, Sharding, conjuncts, schema_of};
use crate::circuit::plan::{OpSpec, RankKind};
use crate::error::Result;
use crate::operators::{PhysicalExpr, SortKey};
use crate::sql::refusals;

/// Whether the rows stand in an order that a LIMIT above means.
fn is_sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(above) => is_sorted(&above.input),
        LogicalPlan::SubqueryAlias(above) => is_sorted(&above.input),
        _ => false,
    }
}

impl Lowering {
    /// LIMIT over ORDER BY.
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Rel> {
        let count = |expr: &Option<Box<Expr>>| match expr.as_deref() {
            None => Ok(None),
            Some(Expr::Literal(ScalarValue::Int64(Some(count)), _)) => {
                u64::try_from(*count).map(Some).map_err(|_| refusals::LIMIT.error())
            }
            Some(_) => Err(refusals::LIMIT.error()),
        };
        let (skip, fetch) = (count(&limit.skip)?, count(&limit.fetch)?);
        match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => self.top(sort, skip, fetch),
            // What stands between a LIMIT and its order keeps the rows' places: the LIMIT goes below it.
            LogicalPlan::Projection(above) if is_sorted(&above.input) => {
                let input = Arc::new(LogicalPlan::Limit(Limit { input: above.input.clone(), ..limit.clone() }));
                self.projection(&Projection::try_new_with_schema(above.expr.clone(), input, above.schema.clone())?)
            }
            LogicalPlan::SubqueryAlias(above) if is_sorted(&above.input) => {
                self.limit(&Limit { input: above.input.clone(), ..limit.clone() })
            }
            // No order is as good as any: by the rows themselves.
            _ => {
                let rel = self.rel(&limit.input)?;
                let rel = self.exactly(rel, limit.input.schema())?;
                self.first(rel, Vec::new(), skip.unwrap_or(0), fetch, limit.input.schema().fields().len())
            }
        }
    }

    pub(super) fn top(&mut self, sort: &Sort, skip: Option<u64>, fetch: Option<u64>) -> Result<Rel> {
        let rel = self.rel(&sort.input)?;
        let schema = sort.input.schema();
        let (rel, order) = self.sort_columns(rel, schema, &sort.expr)?;
        self.first(rel, order, skip.unwrap_or(0), fetch, schema.fields().len())
    }

    /// A TopN of all rows whose output has the first `width` columns of its input.
    fn first(&mut self, rel: Rel, order: Vec<SortKey>, offset: u64, limit: Option<u64>, width: usize) -> Result<Rel> {
        let rel = if width == 0 { self.without_columns(rel)? } else { rel };
        let rel = self.on_one_worker(rel)?;
        let schema = self.schema(rel.node);
        let op = OpSpec::TopN { partition: Vec::new(), order, offset, limit, rank: RankKind::Rows };
        let node = self.add(op, vec![rel.node], schema.clone())?;
        let rel = Rel { node, sharding: rel.sharding };
        if width == 0 {
            return Ok(rel);
        }
        let exprs = (0..width).map(|column| self.column(node, column)).collect();
        let kept = Arc::new(Schema::new(schema.fields()[..width].to_vec()));
        self.map(rel, exprs, None, kept)
    }

    /// Sort keys as columns; those that are more than a column are computed behind the others.
    fn sort_columns(
        &mut self,
        rel: Rel,
        schema: &datafusion::common::DFSchemaRef,
        keys: &[SortExpr],
    ) -> Result<(Rel, Vec<SortKey>)> {
        let rel = self.exactly(rel, schema)?;
        let arrow = self.schema(rel.node);
        let mut exprs: Vec<PhysicalExpr> =
            (0..arrow.fields().len()).map(|column| self.column(rel.node, column)).collect();
        let mut fields: Vec<_> = arrow.fields().iter().cloned().collect();
        let mut order: Vec<SortKey> = Vec::with_capacity(keys.len());
        for key in keys {
            let physical = self.physical(&key.expr, schema)?;
            let column = match as_column(&physical) {
                Some(column) => column,
                None => {
                    fields.push(Arc::new(Field::new("sort", physical.data_type(&arrow)?, true)));
                    exprs.push(physical);
                    exprs.len() - 1
                }
            };
            order.push(SortKey { column, descending: !key.asc, nulls_first: key.nulls_first });
        }
        let rel = match exprs.len() == arrow.fields().len() {
            true => rel,
            false => self.map(rel, exprs, None, Arc::new(Schema::new(fields)))?,
        };
        Ok((rel, order))
    }

    /// A filter's input, whose rankings need not go further than the filter lets through. Other references to the same
    /// ranking (a WITH query's) have filters of their own, or none.
    pub(super) fn ranked_up_to(&mut self, filter: &Filter) -> Result<Rel> {
        let outside = self.rank_limits.clone();
        self.note_rank_limits(filter);
        let rel = self.rel(&filter.input);
        self.rank_limits = outside;
        rel
    }

    /// Remembers, for rankings below, the largest value that a filter lets through.
    fn note_rank_limits(&mut self, filter: &Filter) {
        for conjunct in conjuncts(&filter.predicate) {
            let Expr::BinaryExpr(BinaryExpr { left, op, right }) = conjunct else { continue };
            let (value, op, bound) = match (left.as_ref(), right.as_ref()) {
                (value, Expr::Literal(bound, _)) => (value, *op, bound),
                (Expr::Literal(bound, _), value) => match op.swap() {
                    Some(op) => (value, op, bound),
                    None => continue,
                },
                _ => continue,
            };
            let Some(bound) = whole_number(bound) else { continue };
            let limit = match op {
                Operator::LtEq | Operator::Eq => bound,
                Operator::Lt => bound - 1,
                _ => continue,
            };
            if let Some(column) = rank_column(&filter.input, value) {
                let limit = u64::try_from(limit.max(0)).unwrap_or(0);
                let known = self.rank_limits.entry(column).or_insert(limit);
                *known = (*known).min(limit);
            }
        }
    }

    pub(super) fn window(&mut self, window: &Window) -> Result<Rel> {
        let [call] = window.window_expr.as_slice() else { return Err(refusals::WINDOW.error()) };
        let name = window.schema.field(window.schema.fields().len() - 1).name();
        let Expr::WindowFunction(call) = call.clone().unalias() else { return Err(refusals::WINDOW.error()) };
        let rank =
            ranking(&call).ok_or_else(|| refusals::WINDOW.error_for(format!("{}() OVER (...)", call.fun.name())))?;
        let Some(limit) = self.rank_limits.get(name).copied() else {
            return Err(refusals::WINDOW.error_for(format!("{}() OVER (...) without a filter on it", call.fun.name())));
        };
        let rel = self.rel(&window.input)?;
        let schema = window.input.schema();
        let mut keys: Vec<SortExpr> =
            call.params.partition_by.iter().map(|expr| SortExpr::new(expr.clone(), true, false)).collect();
        let partitions = keys.len();
        keys.extend(call.params.order_by.iter().cloned());
        let (rel, mut order) = self.sort_columns(rel, schema, &keys)?;
        let partition: Vec<usize> = order.drain(..partitions).map(|key| key.column).collect();
        let rel = match partition.is_empty() {
            true => self.on_one_worker(rel)?,
            false => self.together(rel, &partition)?,
        };
        let mut fields: Vec<_> = self.schema(rel.node).fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(super::shown_name(name), DataType::Int64, true)));
        let numbered = Arc::new(Schema::new(fields));
        let last = numbered.fields().len() - 1;
        let op = OpSpec::TopN { partition, order, offset: 0, limit: Some(limit), rank };
        let node = self.add(op, vec![rel.node], numbered)?;
        // In DataFusion's plan rankings are of another integer type.
        let wanted = window.schema.field(window.schema.fields().len() - 1).data_type().clone();
        let width = schema.fields().len();
        let mut exprs: Vec<PhysicalExpr> = (0..width).map(|column| self.column(node, column)).collect();
        let number = self.column(node, last);
        exprs.push(match wanted == DataType::Int64 {
            true => number,
            false => Arc::new(CastExpr::new(number, wanted, None)),
        });
        let sharding = if rel.sharding == Sharding::Row { Sharding::Any } else { rel.sharding };
        self.map(Rel { node, sharding }, exprs, None, schema_of(&window.schema))
    }
}

/// row_number, rank and dense_rank, as TopN counts them.
fn ranking(call: &WindowFunction) -> Option<RankKind> {
    let WindowFunctionDefinition::WindowUDF(udf) = &call.fun else { return None };
    if call.params.filter.is_some() {
        return None;
    }
    match udf.name() {
        "row_number" => Some(RankKind::RowNumber),
        "rank" => Some(RankKind::Rank),
        "dense_rank" => Some(RankKind::DenseRank),
        _ => None,
    }
}

/// The column of a Window node below that an expression over `plan` is, through projections and casts.
fn rank_column(plan: &LogicalPlan, expr: &Expr) -> Option<String> {
    let column = match expr {
        Expr::Cast(cast) => return rank_column(plan, &cast.expr),
        Expr::Alias(alias) => return rank_column(plan, &alias.expr),
        Expr::Column(column) => column,
        _ => return None,
    };
    match plan {
        LogicalPlan::Window(window) => {
            let inputs = window.input.schema().fields().len();
            let place = window.schema.index_of_column(column).ok()?;
            // A ranking below this one ranks rows that this one counts too.
            let call = window.window_expr.get(place.checked_sub(inputs)?)?.clone().unalias();
            let Expr::WindowFunction(call) = call else { return None };
            ranking(&call).map(|_| window.schema.field(place).name().clone())
        }
        LogicalPlan::Projection(projection) => {
            let place = projection.schema.index_of_column(column).ok()?;
            rank_column(&projection.input, projection.expr.get(place)?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let place = alias.schema.index_of_column(column).ok()?;
            let (qualifier, field) = alias.input.schema().qualified_field(place);
            let column = datafusion::common::Column::new(qualifier.cloned(), field.name());
            rank_column(&alias.input, &Expr::Column(column))
        }
        LogicalPlan::Filter(filter) => rank_column(&filter.input, expr),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => rank_column(&sort.input, expr),
        _ => None,
    }
}

fn whole_number(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(Some(number)) => {
            // Only whole numbers: 2.5 would be rounded.
            let back = ScalarValue::Int64(Some(number)).cast_to(&value.data_type()).ok()?;
            (back == *value).then_some(number)
        }
        _ => None,
    }
}
