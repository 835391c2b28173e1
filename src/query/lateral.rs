//! Lateral joins that DataFusion's rules can't turn into plain ones: LIMIT, VALUES or an odd correlation inside.
//!
//! ```text
//!   left JOIN LATERAL right ON c   =   fields of r <- Unnest r <- left with r = the list of rows of (right WHERE c)
//! ```
//!
//! The list is a function of the left columns that `right` and `c` name, which runs the query for each distinct
//! combination of them. A LEFT JOIN keeps the rows whose list is empty.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchemaRef, ExprSchema, JoinType, NullHandling, Spans, UnnestOptions};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Case, Expr, Filter, Join, LogicalPlan, Projection, Subquery, Unnest};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result};

/// The join without its subquery; `rows` makes the function that gives a row's list.
pub fn applied(
    join: Join,
    number: usize,
    rows: &dyn Fn(&Subquery, &DFSchemaRef, DataType) -> Result<Expr>,
) -> Result<LogicalPlan> {
    let LogicalPlan::Subquery(right) = join.right.as_ref() else {
        return Err(Error::internal("a lateral join without a subquery"));
    };
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Err(Error::internal(format!("a lateral {} join", join.join_type)));
    }
    let left = join.left.schema();
    // The condition is asked inside, where a row that doesn't meet it is no row of the list.
    let conditions = join.on.iter().map(|(l, r)| l.clone().eq(r.clone())).chain(join.filter.clone());
    let inner = match conjunction(conditions) {
        None => right.subquery.clone(),
        Some(condition) => {
            let condition = as_outer(condition, left)?;
            Arc::new(LogicalPlan::Filter(Filter::try_new(condition, right.subquery.clone())?))
        }
    };
    let outer_ref_columns = inner.all_out_ref_exprs();
    let subquery = Subquery { subquery: inner, outer_ref_columns, spans: Spans::new() };
    // Fields are named by their places: names of columns need not differ.
    let output = right.subquery.schema();
    let fields: Fields = output
        .fields()
        .iter()
        .enumerate()
        .map(|(place, field)| Field::new(place.to_string(), field.data_type().clone(), true))
        .collect();
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields.clone()), true)));
    let name = format!("rows#{number}");
    let mut exprs: Vec<Expr> = left.columns().into_iter().map(Expr::Column).collect();
    let kept = exprs.clone();
    exprs.push(rows(&subquery, left, list)?.alias(&name));
    let listed = LogicalPlan::Projection(Projection::try_new(exprs, join.left.clone())?);
    let null_handling = match join.join_type {
        JoinType::Left => NullHandling::PreserveAndExpandEmpty,
        _ => NullHandling::Drop,
    };
    let row = Column::new_unqualified(&name);
    let options = UnnestOptions { null_handling, ..UnnestOptions::default() };
    let unnest = LogicalPlan::Unnest(Unnest::try_new(Arc::new(listed), vec![row.clone()], options)?);
    let mut exprs = kept;
    for (place, (qualifier, field)) in output.iter().enumerate() {
        let value = field_of(&row, place, field.data_type())?;
        exprs.push(value.alias_qualified(qualifier.cloned(), field.name()));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(unnest))?))
}

/// A field of a row, NULL where there is no row.
fn field_of(row: &Column, place: usize, ty: &DataType) -> Result<Expr> {
    let row = Expr::Column(row.clone());
    let key = Expr::Literal(ScalarValue::Utf8(Some(place.to_string())), None);
    let get = ScalarFunction::new_udf(datafusion::functions::core::get_field(), vec![row.clone(), key]);
    let null = Expr::Literal(ScalarValue::try_from(ty)?, None);
    Ok(Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(Expr::IsNull(Box::new(row))), Box::new(null))],
        else_expr: Some(Box::new(Expr::ScalarFunction(get))),
    }))
}

/// An expression over the join as the subquery sees it from inside.
fn as_outer(expr: Expr, left: &DFSchemaRef) -> Result<Expr> {
    let outer = expr.transform_up(|node| {
        Ok(match node {
            Expr::Column(column) if left.has_column(&column) => {
                let field = left.field_from_column(&column)?.clone();
                Transformed::yes(Expr::OuterReferenceColumn(field, column))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(outer.data)
}

/// Rows as one value of a list type over structs.
pub fn list_of(batches: &[RecordBatch], list: &DataType) -> Result<ScalarValue> {
    let DataType::List(item) = list else { return Err(Error::internal("rows are kept as a list")) };
    let DataType::Struct(fields) = item.data_type() else { return Err(Error::internal("a row is a struct")) };
    let schema = match batches.first() {
        Some(batch) => batch.schema(),
        None => Arc::new(Schema::new(fields.clone())),
    };
    let rows = concat_batches(&schema, batches)?;
    let columns: Vec<ArrayRef> = rows.columns().to_vec();
    let structs: ArrayRef = Arc::new(StructArray::try_new(fields.clone(), columns, None)?);
    let offsets = OffsetBuffer::from_lengths([structs.len()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(item.clone(), offsets, structs, None)?)))
}
