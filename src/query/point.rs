//! Point lookups: `SELECT columns FROM rel WHERE key = $1` (or `key IN (...)`), with no optimiser and no operators.
//!
//! A plan is one if it is made of projections of plain columns, filters that are conditions on key columns, aliases, at most one
//! LIMIT on top, and a scan; and if the conditions are exactly those of a primary key or an index. Everything else (`None`)
//! takes the general path. Costs a walk of the plan and the lookup.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, FetchType, LogicalPlan, SkipType};
use datafusion::scalar::ScalarValue;

use super::keys::{self, Admits, KeyFilter};
use crate::catalog::{IndexMethod, Relation, RelationKind};
use crate::engine::ReadView;
use crate::error::Result;
use crate::sql::RelationSource;

/// Rows that are gathered here at most; the general path hands on more of them bit by bit.
const MOST_ROWS: usize = 64 * 1024;

/// The plan's rows, if it is a point lookup.
pub fn run(plan: &LogicalPlan, parameters: &[ScalarValue], view: &ReadView) -> Result<Option<RecordBatch>> {
    looked_up(plan, parameters, view, false)
}

/// The plan's rows, if it is a point lookup that finds at most one row for each of its keys.
pub fn run_unique(plan: &LogicalPlan, parameters: &[ScalarValue], view: &ReadView) -> Result<Option<RecordBatch>> {
    looked_up(plan, parameters, view, true)
}

fn looked_up(
    plan: &LogicalPlan,
    parameters: &[ScalarValue],
    view: &ReadView,
    unique: bool,
) -> Result<Option<RecordBatch>> {
    let (plan, limit) = strip_limit(plan);
    let Some(access) = access(plan, parameters) else { return Ok(None) };
    if access.filters.is_empty() {
        return Ok(None);
    }
    let filters: Vec<Option<KeyFilter<usize>>> = access.filters.into_iter().map(Some).collect();
    let mut paths = keys::paths(&access.source.relation, &view.catalog());
    if unique {
        let primary = access.source.relation.key_columns();
        paths.retain(|path| path.columns == primary && path.method == IndexMethod::Hash);
    }
    let Some((wanted, used)) = keys::choose(&paths, &filters, &access.source.schema)? else { return Ok(None) };
    if used.len() != filters.len() {
        return Ok(None);
    }
    let Some(found) = view.lookup(access.source.relation.id, &wanted)? else { return Ok(None) };
    let schema = output_schema(plan);
    let (mut projected, mut rows) = (Vec::new(), 0);
    for batch in found {
        let batch = project(&batch?, &access.columns, &schema)?;
        rows += batch.num_rows();
        projected.push(batch);
        if rows >= limit {
            break;
        }
        if rows > MOST_ROWS {
            return Ok(None);
        }
    }
    Ok(Some(concat_batches(&schema, &projected)?.slice(0, rows.min(limit))))
}

/// LIMIT n with a literal n and no OFFSET.
fn strip_limit(plan: &LogicalPlan) -> (&LogicalPlan, usize) {
    if let LogicalPlan::Limit(limit) = plan
        && let (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(Some(fetch)))) =
            (limit.get_skip_type(), limit.get_fetch_type())
    {
        return (&limit.input, fetch);
    }
    (plan, usize::MAX)
}

/// How a plan reads one relation.
struct Access<'a> {
    source: &'a RelationSource,
    /// For each output column of the plan, the relation's column.
    columns: Vec<usize>,
    filters: Vec<KeyFilter<usize>>,
}

fn access<'a>(plan: &'a LogicalPlan, parameters: &[ScalarValue]) -> Option<Access<'a>> {
    match plan {
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
            let source = scan.source.downcast_ref::<RelationSource>()?;
            let looked_up = can_be_looked_up(&source.relation);
            let columns = match &scan.projection {
                Some(projection) => projection.clone(),
                None => (0..source.schema.fields().len()).collect(),
            };
            looked_up.then_some(Access { source, columns, filters: Vec::new() })
        }
        LogicalPlan::SubqueryAlias(alias) => access(&alias.input, parameters),
        LogicalPlan::Projection(projection) => {
            let mut input = access(&projection.input, parameters)?;
            let columns = projection
                .expr
                .iter()
                .map(|expr| Some(input.columns[position(plain_column(expr)?, projection.input.schema())?]))
                .collect::<Option<Vec<_>>>()?;
            input.columns = columns;
            Some(input)
        }
        LogicalPlan::Filter(filter) => {
            let mut input = access(&filter.input, parameters)?;
            for condition in split_conjunction(&filter.predicate) {
                let condition = keys::key_filter(condition, parameters)?;
                let column = input.columns[position(&condition.column, filter.input.schema())?];
                // Two conditions on one column are an intersection, and ranges may have many rows: not for here.
                let range = matches!(condition.admits, Admits::Between(..));
                if range || input.filters.iter().any(|other| other.column == column) {
                    return None;
                }
                input.filters.push(condition.at(column));
            }
            Some(input)
        }
        _ => None,
    }
}

fn can_be_looked_up(relation: &Relation) -> bool {
    matches!(relation.kind, RelationKind::Table(_) | RelationKind::MaterializedView(_) | RelationKind::Stream(_))
}

fn plain_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}

fn position(column: &Column, schema: &DFSchema) -> Option<usize> {
    schema.maybe_index_of_column(column)
}

fn output_schema(plan: &LogicalPlan) -> SchemaRef {
    let fields: Vec<_> =
        plan.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

fn project(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let projected = batch.project(columns)?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), projected.columns().to_vec(), &options)?)
}
