//! The row as it is stored: given values, defaults, and generated columns over these.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::columns_named;
use crate::catalog::{ROW_ID_COLUMN, Relation, RelationKind};
use crate::error::Result;
use crate::sql::bind::scope::{Scope, ScopeColumn, ScopeTable};
use crate::sql::bind::{Binder, Clause, Output, project};
use crate::sql::parse::parse_expression;
use crate::sql::registry::{self, CastContext};
use crate::types::Type;

/// Marks a column of the row being made, while its generated columns are bound.
const MADE: &str = "\u{1}made.";

impl Binder<'_> {
    /// A column's default, or NULL.
    pub(super) fn default_of(&mut self, relation: &Relation, column: usize) -> Result<Expr> {
        let target = &relation.columns[column];
        let text = match &relation.kind {
            RelationKind::Table(table) => table.defaults.get(column).cloned().flatten(),
            RelationKind::Stream(stream) => stream.defaults.get(column).cloned().flatten(),
            _ => None,
        };
        let Some(text) = text else { return Ok(registry::literal_null(&target.ty)?.expr) };
        let expr = parse_expression(&text)?;
        let clause = Clause::Other("DEFAULT expressions");
        let typed = self.with_level(Scope::default(), clause, |binder| binder.expr(&expr))?;
        Ok(self.coerce(typed, &target.ty, CastContext::Assignment)?.expr)
    }

    /// The stored row: given columns, defaults, then generated columns over these.
    pub(super) fn complete(
        &mut self,
        plan: LogicalPlan,
        relation: &Relation,
        given: Vec<(usize, Expr)>,
    ) -> Result<Output> {
        let mut exprs = Vec::with_capacity(relation.columns.len() + 1);
        let mut columns = Vec::with_capacity(relation.columns.len() + 1);
        for (index, column) in relation.columns.iter().enumerate() {
            let value = match given.iter().find(|(target, _)| *target == index) {
                Some((_, value)) => value.clone(),
                None => self.default_of(relation, index)?,
            };
            let internal = self.fresh(&column.name);
            exprs.push(value.alias(&internal));
            columns.push(ScopeColumn { name: column.name.clone(), ty: column.ty.clone(), internal });
        }
        if relation.has_row_id() {
            let internal = self.fresh("row_id");
            exprs.push(Expr::Literal(ScalarValue::Int64(None), None).alias(&internal));
            columns.push(ScopeColumn { name: ROW_ID_COLUMN.to_string(), ty: Type::Int8, internal });
        }
        let plan = project(Arc::new(plan), exprs)?;
        let generated = self.generated_over(relation, &columns)?;
        self.with_generated(plan, columns, 0, generated)
    }

    /// Expressions of the generated columns over a row's columns.
    pub(super) fn generated_over(&mut self, relation: &Relation, row: &[ScopeColumn]) -> Result<Vec<(usize, Expr)>> {
        let texts = generated_texts(relation);
        if texts.iter().all(Option::is_none) {
            return Ok(Vec::new());
        }
        let plain = row.iter().enumerate().filter(|(index, _)| texts.get(*index).is_none_or(Option::is_none));
        let columns = plain.map(|(_, column)| column.clone()).collect();
        let table = ScopeTable { name: Some(relation.name.clone()), columns, ..ScopeTable::default() };
        let scope = Scope::of_table(table);
        let mut values = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let Some(text) = text else { continue };
            let expr = parse_expression(text)?;
            let clause = Clause::Other("column generation expressions");
            let typed = self.with_level(scope.clone(), clause, |binder| binder.expr(&expr))?;
            values.push((index, self.coerce(typed, &relation.columns[index].ty, CastContext::Assignment)?.expr));
        }
        Ok(values)
    }

    /// Puts generated values in their places, `offset` columns in.
    pub(super) fn with_generated(
        &mut self,
        plan: LogicalPlan,
        columns: Vec<ScopeColumn>,
        offset: usize,
        generated: Vec<(usize, Expr)>,
    ) -> Result<Output> {
        if generated.is_empty() {
            return Ok(Output { plan, columns });
        }
        let mut exprs = Vec::with_capacity(columns.len());
        let mut renamed = Vec::with_capacity(columns.len());
        for (index, column) in columns.into_iter().enumerate() {
            let value = generated.iter().find(|(place, _)| index >= offset && *place == index - offset);
            match value {
                None => {
                    exprs.push(column.expr());
                    renamed.push(column);
                }
                Some((_, value)) => {
                    let internal = self.fresh(&column.name);
                    exprs.push(value.clone().alias(&internal));
                    renamed.push(ScopeColumn { internal, ..column });
                }
            }
        }
        Ok(Output { plan: project(Arc::new(plan), exprs)?, columns: renamed })
    }
}

pub(super) fn made_columns(relation: &Relation) -> Vec<ScopeColumn> {
    columns_named(relation, MADE)
}

/// Columns of the row being made become the expressions that make them.
pub(super) fn replace_made(value: Expr, relation: &Relation, row: &[Expr]) -> Result<Expr> {
    let replaced = value.transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => {
                let made = column.name.strip_prefix(MADE);
                let place = made.and_then(|name| relation.columns.iter().position(|column| column.name == name));
                match place {
                    Some(place) => Transformed::yes(row[place].clone()),
                    None => Transformed::no(Expr::Column(column)),
                }
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(replaced.data)
}

pub(super) fn generated_texts(relation: &Relation) -> Vec<Option<String>> {
    match &relation.kind {
        RelationKind::Table(table) => table.generated.clone(),
        RelationKind::Stream(stream) => stream.generated.clone(),
        _ => Vec::new(),
    }
}
