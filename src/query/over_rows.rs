//! Expressions over rows at hand (RETURNING, ON CONFLICT DO UPDATE): computed directly, or where there are subqueries
//! among them by a query over these rows, which are numbered so that they come back in their order.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScanBuilder};

use super::constant::{self, RowExpressions};
use super::{Parameters, run};
use crate::engine::ReadView;
use crate::error::{Error, Result};
use crate::sql::BoundQuery;

/// The column that numbers the rows.
const NUMBER: &str = "\u{1}number";

pub enum OverRows {
    Direct(RowExpressions),
    Query { expressions: Vec<Expr>, parameters: Parameters, rows: SchemaRef, view: ReadView },
}

/// `rows` are the columns by name that the expressions are over; `view` is what subqueries read.
pub fn compile(
    expressions: &[Expr],
    parameters: &Parameters,
    rows: SchemaRef,
    view: Option<&ReadView>,
) -> Result<OverRows> {
    if !expressions.iter().any(constant::asks_for_rows) {
        let types: Vec<DataType> = rows.fields().iter().map(|field| field.data_type().clone()).collect();
        let place = |column: &Column| rows.index_of(&column.name).ok();
        return Ok(OverRows::Direct(RowExpressions::compile(expressions, parameters, &types, &place)?));
    }
    let view = view.ok_or_else(|| Error::internal("a subquery over rows has nothing to read"))?.clone();
    Ok(OverRows::Query { expressions: expressions.to_vec(), parameters: parameters.clone(), rows, view })
}

impl OverRows {
    /// A column an expression, for these rows.
    pub fn evaluate(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>> {
        match self {
            OverRows::Direct(compiled) => compiled.evaluate(columns, rows),
            OverRows::Query { expressions, parameters, rows: schema, view } => {
                let plan = plan(expressions, schema, columns, rows)?;
                let query = BoundQuery {
                    plan,
                    columns: Vec::new(),
                    origins: Vec::new(),
                    parameters: Vec::new(),
                    relations: Vec::new(),
                };
                let batches = run::collect(&query, parameters, view.clone())?;
                (0..expressions.len())
                    .map(|place| {
                        let parts: Vec<_> = batches.iter().map(|batch| batch.column(place).as_ref()).collect();
                        Ok(concat(&parts)?)
                    })
                    .collect()
            }
        }
    }
}

fn plan(expressions: &[Expr], schema: &Schema, mut columns: Vec<ArrayRef>, rows: usize) -> Result<LogicalPlan> {
    let mut fields: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    fields.push(Field::new(NUMBER, DataType::Int64, true));
    columns.push(Arc::new(Int64Array::from_iter_values(0..rows as i64)));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let table = MemTable::try_new(schema.clone(), vec![vec![batch]])?;
    let reference = TableReference::bare("\u{1}rows");
    let scan = TableScanBuilder::new(reference.clone(), provider_as_source(Arc::new(table))).build()?;
    // Under their bare names, as the expressions know them.
    let bare = schema
        .fields()
        .iter()
        .map(|field| Expr::Column(Column::new(Some(reference.clone()), field.name())).alias(field.name()));
    let named = expressions.iter().enumerate().map(|(place, expr)| expr.clone().alias(format!("\u{1}{place}")));
    let number = Expr::Column(Column::new_unqualified(NUMBER));
    let outputs = (0..expressions.len()).map(|place| Expr::Column(Column::new_unqualified(format!("\u{1}{place}"))));
    let plan = LogicalPlanBuilder::from(LogicalPlan::TableScan(scan))
        .project(bare)?
        .project(named.chain([number.clone()]))?
        .sort([number.sort(true, false)])?
        .project(outputs)?;
    Ok(plan.build()?)
}
