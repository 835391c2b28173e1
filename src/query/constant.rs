//! Expressions without DataFusion's planner: over constant rows (`VALUES`, `SELECT 1`), and over rows at hand (RETURNING, ON
//! CONFLICT). Most single-row writes and health checks consist of nothing else.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::scalar::ScalarValue;

use super::stop;
use crate::error::{Error, Result, SqlState};
use crate::sql::guard;
use crate::sql::subquery::has_subquery;

/// The rows of a plan that reads nothing: projections over VALUES or over one empty row, without subqueries.
/// `None` for every other plan.
pub fn rows(plan: &LogicalPlan, parameters: &[ScalarValue]) -> Result<Option<RecordBatch>> {
    match plan {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && empty.schema.fields().is_empty() => {
            Ok(Some(one_row()?))
        }
        LogicalPlan::SubqueryAlias(alias) => match rows(&alias.input, parameters)? {
            Some(batch) => Ok(Some(with_schema(plan, batch.columns().to_vec(), batch.num_rows())?)),
            None => Ok(None),
        },
        LogicalPlan::Projection(projection) => {
            if projection.expr.iter().any(asks_for_rows) {
                return Ok(None);
            }
            let Some(input) = rows(&projection.input, parameters)? else { return Ok(None) };
            let schema = projection.input.schema();
            let mut columns = Vec::with_capacity(projection.expr.len());
            for expr in &projection.expr {
                stop::go_on_here()?;
                columns.push(compile(bind_parameters(expr.clone(), parameters)?, schema)?.evaluate_array(&input)?);
            }
            Ok(Some(with_schema(plan, columns, input.num_rows())?))
        }
        LogicalPlan::Values(values) => {
            if values.values.iter().flatten().any(asks_for_rows) {
                return Ok(None);
            }
            let one = one_row()?;
            let nothing = DFSchema::empty();
            let mut columns: Vec<Vec<ArrayRef>> =
                vec![Vec::with_capacity(values.values.len()); values.schema.fields().len()];
            for row in &values.values {
                stop::go_on_here()?;
                for (expr, column) in row.iter().zip(&mut columns) {
                    column.push(match expr {
                        Expr::Literal(value, _) => value.to_array()?,
                        _ => compile(bind_parameters(expr.clone(), parameters)?, &nothing)?.evaluate_array(&one)?,
                    });
                }
            }
            let columns = columns.iter().map(|parts| Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?));
            Ok(Some(with_schema(plan, columns.collect::<Result<_>>()?, values.values.len())?))
        }
        _ => Ok(None),
    }
}

/// Whether a plan is a few values as they were written, whose rows cost next to nothing: `SELECT 1`, `VALUES ($1)`.
pub fn is_plain(plan: &LogicalPlan) -> bool {
    /// Rows that are few.
    const FEW: usize = 100;
    match plan {
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_plain(&alias.input),
        LogicalPlan::Projection(projection) => projection.expr.iter().all(is_value) && is_plain(&projection.input),
        LogicalPlan::Values(values) => values.values.len() <= FEW && values.values.iter().flatten().all(is_value),
        _ => false,
    }
}

/// The same of expressions alone.
pub fn are_values(expressions: &[Expr]) -> bool {
    expressions.iter().all(is_value)
}

fn is_value(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) | Expr::Placeholder(_) | Expr::Column(_) => true,
        Expr::Alias(alias) => is_value(&alias.expr),
        Expr::Cast(cast) => is_value(&cast.expr),
        _ => false,
    }
}

/// The value of an expression over no columns; `None` for one with columns or subqueries in it.
pub fn value_of(expr: &Expr) -> Result<Option<ScalarValue>> {
    if let Expr::Literal(value, _) = expr {
        return Ok(Some(value.clone()));
    }
    if asks_for_rows(expr)
        || !expr.column_refs().is_empty()
        || expr.exists(|e| Ok(matches!(e, Expr::Placeholder(_))))?
    {
        return Ok(None);
    }
    let value = compile(expr.clone(), &DFSchema::empty())?.evaluate_array(&one_row()?)?;
    Ok(Some(ScalarValue::try_from_array(&value, 0)?))
}

/// Evaluates to an array even where the expression is one value.
trait EvaluateArray {
    fn evaluate_array(&self, batch: &RecordBatch) -> Result<ArrayRef>;
}

impl EvaluateArray for Arc<dyn PhysicalExpr> {
    fn evaluate_array(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(self.evaluate(batch)?.into_array(batch.num_rows())?)
    }
}

fn one_row() -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?)
}

/// Columns under the plan's names; every field nullable. An untyped NULL takes the plan's type.
fn with_schema(plan: &LogicalPlan, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        plan.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let columns = columns
        .into_iter()
        .zip(&fields)
        .map(|(array, field)| match array.data_type() {
            DataType::Null => Ok(arrow::array::new_null_array(field.data_type(), array.len())),
            _ => Ok(array),
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// Whether an expression asks for rows, its own subquery's or those of a query around it.
pub fn asks_for_rows(expr: &Expr) -> bool {
    has_subquery(expr) || expr.contains_outer()
}

fn bind_parameters(expr: Expr, parameters: &[ScalarValue]) -> Result<Expr> {
    if parameters.is_empty() {
        return Ok(expr);
    }
    let bound = expr.transform_up(|expr| match expr {
        Expr::Placeholder(placeholder) => {
            let number = placeholder.id.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
            match number.and_then(|number| parameters.get(number.checked_sub(1)?)) {
                Some(value) => Ok(Transformed::yes(Expr::Literal(value.clone(), None::<FieldMetadata>))),
                None => {
                    let message = format!("there is no parameter {}", placeholder.id);
                    Err(Error::new(SqlState::UNDEFINED_PARAMETER, message).into())
                }
            }
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(bound.data)
}

fn compile(expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let expr = guard::expr(expr)?;
    Ok(create_physical_expr(&expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?)
}

/// The values of expressions that name no columns: EXECUTE's arguments.
pub fn values(expressions: &[Expr]) -> Result<super::Parameters> {
    let one = one_row()?;
    let nothing = DFSchema::empty();
    let value = |expr: &Expr| {
        stop::go_on_here()?;
        let array = compile(expr.clone(), &nothing)?.evaluate_array(&one)?;
        Ok(ScalarValue::try_from_array(&array, 0)?)
    };
    expressions.iter().map(value).collect()
}

/// Expressions over rows at hand, whose columns are found by `place` (a name may be qualified).
pub struct RowExpressions {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl RowExpressions {
    /// `types` are the columns' types, in order; `place` gives the number of a column an expression names. Subqueries
    /// are 0A000.
    pub fn compile(
        expressions: &[Expr],
        parameters: &[ScalarValue],
        types: &[DataType],
        place: &dyn Fn(&Column) -> Option<usize>,
    ) -> Result<RowExpressions> {
        // Columns go by number, so that it does not matter how the binder qualified them.
        let name = |number: usize| format!("c{number}");
        let fields: Vec<Field> =
            types.iter().enumerate().map(|(number, ty)| Field::new(name(number), ty.clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let columns = DFSchema::try_from(schema.clone())?;
        let mut compiled = Vec::with_capacity(expressions.len());
        for expr in expressions {
            if asks_for_rows(expr) {
                let hint = "Write a SELECT that joins with the table instead.";
                return Err(Error::unsupported("a subquery in RETURNING or ON CONFLICT", hint));
            }
            let expr = bind_parameters(expr.clone(), parameters)?;
            let numbered = expr.transform_up(|expr| match expr {
                Expr::Column(column) => match place(&column) {
                    Some(number) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name(number))))),
                    None => Err(Error::internal(format!("no column {column} in the rows written")).into()),
                },
                other => Ok(Transformed::no(other)),
            })?;
            compiled.push(compile(numbered.data, &columns)?);
        }
        Ok(RowExpressions { expressions: compiled, schema })
    }

    /// One array an expression.
    pub fn evaluate(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.expressions.iter().map(|expr| expr.evaluate_array(&batch)).collect()
    }
}
