//! Stored rows from some of a relation's columns, which is what COPY FROM has: defaults and generated columns are
//! computed, the row id is left to the engine.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::Expr;

use super::constant::RowExpressions;
use crate::catalog::Relation;
use crate::error::Result;

pub struct CompleteRows {
    expressions: RowExpressions,
    stored: SchemaRef,
}

impl CompleteRows {
    /// `stored` yields the stored columns; it names the given columns as the relation does. `places` are the given columns'
    /// positions in the relation, in the order in which their values come.
    pub fn new(stored: &[Expr], relation: &Relation, places: &[usize]) -> Result<CompleteRows> {
        let types: Vec<DataType> = places.iter().map(|place| relation.columns[*place].ty.arrow()).collect();
        let place = |column: &Column| places.iter().position(|place| relation.columns[*place].name == column.name);
        let expressions = RowExpressions::compile(stored, &[], &types, &place)?;
        let fields = relation.stored_schema();
        let fields: Vec<Field> =
            fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        Ok(CompleteRows { expressions, stored: Arc::new(Schema::new(fields)) })
    }

    /// One column a given place, all of `rows` rows.
    pub fn rows(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let stored = self.expressions.evaluate(columns, rows)?;
        Ok(RecordBatch::try_new(self.stored.clone(), stored)?)
    }
}
