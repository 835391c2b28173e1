//! INSERT, and the rows of COPY: the source's columns become stored rows.

use std::sync::Arc;

use datafusion::common::{Column as PlanColumn, ScalarValue};
use datafusion::logical_expr::Expr;
use sqlparser::ast;

use super::stored_row::{made_columns, replace_made};
use super::{column_index, is_default, mismatch};
use crate::catalog::Relation;
use crate::error::{Error, Result, SqlState};
use crate::sql::bind::expr::position;
use crate::sql::bind::scope::{Scope, place};
use crate::sql::bind::{Binder, Clause, Output, subquery};
use crate::sql::registry::{self, CastContext, Typed};
use crate::sql::statement::{Insert, fold};
use crate::sql::{BindContext, BoundInsert};
use crate::types::Type;

/// INSERT: the source yields stored rows.
pub fn bind_insert(context: &BindContext, statement: &Insert) -> Result<BoundInsert> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    if let Some(with) = &statement.with {
        binder.with(with)?;
    }
    let insert = &statement.insert;
    if insert.or.is_some() || insert.ignore || insert.overwrite || insert.replace_into || !insert.assignments.is_empty()
    {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error in INSERT")
            .with_hint("Write INSERT INTO t (a, b) VALUES (1, 2) [ON CONFLICT ...]."));
    }
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT INTO takes a relation's name"));
    };
    let relation = binder.relation(name)?;
    binder.writable(&relation, "insert into", name)?;
    let targets = insert_columns(&relation, &insert.columns)?;
    let source = match &insert.source {
        _ if statement.default_values => binder.default_row()?,
        Some(query) => binder.insert_source(query, &relation, &targets, !insert.columns.is_empty())?,
        None => binder.default_row()?,
    };
    let given: Vec<(usize, Expr)> =
        targets.iter().zip(&source.columns).map(|(target, column)| (*target, column.expr())).collect();
    let output = binder.complete(source.plan, &relation, given)?;
    let on_conflict = match &insert.on {
        None => None,
        Some(ast::OnInsert::OnConflict(conflict)) => {
            Some(binder.on_conflict(conflict, &relation, insert.table_alias.as_ref().map(|alias| &alias.alias))?)
        }
        Some(_) => {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"ON\"")
                .with_hint("Write ON CONFLICT (key) DO UPDATE SET ..."));
        }
    };
    let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
    let returning = binder.returning(insert.returning.as_deref(), &relation, alias, &Scope::default())?;
    let source = binder.finish(output)?;
    Ok(BoundInsert { relation, source, on_conflict, returning })
}

/// Expressions over the `given` columns of a relation, by their names, that make its stored row: COPY's rows.
pub fn bind_complete_row(context: &BindContext, relation: &Arc<Relation>, given: &[usize]) -> Result<Vec<Expr>> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    let mut row: Vec<Expr> = Vec::with_capacity(relation.columns.len() + 1);
    for (index, column) in relation.columns.iter().enumerate() {
        row.push(match given.contains(&index) {
            true => Expr::Column(PlanColumn::new_unqualified(&column.name)),
            false => binder.default_of(relation, index)?,
        });
    }
    // Generated columns are over the columns as they will be stored.
    let made = made_columns(relation);
    for (index, value) in binder.generated_over(relation, &made)? {
        row[index] = replace_made(value, relation, &row)?;
    }
    if relation.has_row_id() {
        row.push(Expr::Literal(ScalarValue::Int64(None), None));
    }
    Ok(row)
}

impl Binder<'_> {
    /// One row without columns.
    fn default_row(&mut self) -> Result<Output> {
        Ok(Output { plan: subquery::one_row(), columns: Vec::new() })
    }

    /// Rows for the target columns, cast to their types.
    fn insert_source(
        &mut self,
        query: &ast::Query,
        relation: &Relation,
        targets: &[usize],
        listed: bool,
    ) -> Result<Output> {
        let plain =
            query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
        if let (ast::SetExpr::Values(values), true) = (query.body.as_ref(), plain) {
            return self.insert_values(values, relation, targets, listed);
        }
        let output = self.query(query)?;
        let width = output.columns.len();
        check_width(width, targets, listed, None)?;
        let mut types = Vec::with_capacity(width);
        for (column, target) in output.columns.iter().zip(targets) {
            self.not_generated(relation, *target, None)?;
            let wanted = &relation.columns[*target];
            if !registry::can_coerce(&column.ty, &wanted.ty, CastContext::Assignment) {
                return Err(mismatch(wanted, &column.ty));
            }
            types.push(wanted.ty.clone());
        }
        self.cast_output(output, &types, CastContext::Assignment)
    }

    /// VALUES, where DEFAULT may stand for a value.
    fn insert_values(
        &mut self,
        values: &ast::Values,
        relation: &Relation,
        targets: &[usize],
        listed: bool,
    ) -> Result<Output> {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let first = values.rows.first().and_then(|row| row.content.last()).and_then(position);
        check_width(width, targets, listed, first)?;
        let targets = &targets[..width];
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            if row.content.len() != width {
                let at = row.content.first().and_then(position);
                return Err(
                    Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length").or_position(at)
                );
            }
            let mut cells = Vec::with_capacity(width);
            for (expr, target) in row.content.iter().zip(targets) {
                let column = &relation.columns[*target];
                if is_default(expr) {
                    cells.push(Typed::new(self.default_of(relation, *target)?, column.ty.clone()));
                    continue;
                }
                self.not_generated(relation, *target, position(expr))?;
                let typed = self.with_level(Scope::default(), Clause::Values, |binder| binder.expr(expr))?;
                cells.push(self.assign(typed, column, position(expr))?);
            }
            rows.push(cells);
        }
        let types: Vec<Type> = targets.iter().map(|target| relation.columns[*target].ty.clone()).collect();
        let names: Vec<String> = targets.iter().map(|target| relation.columns[*target].name.clone()).collect();
        if width == 0 {
            return self.default_row();
        }
        self.values_of(rows, &types, &names, CastContext::Assignment)
    }
}

/// The columns an INSERT names; all of them where it names none. 42703, 42701.
fn insert_columns(relation: &Relation, names: &[ast::ObjectName]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..relation.columns.len()).collect());
    }
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let Some(ident) = name.0.last().and_then(|part| part.as_ident()) else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("{name} is no column name")));
        };
        let index = column_index(relation, &fold(ident), place(ident))?;
        if columns.contains(&index) {
            let message = format!("column \"{}\" specified more than once", fold(ident));
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message).or_position(place(ident)));
        }
        columns.push(index);
    }
    Ok(columns)
}

fn check_width(width: usize, targets: &[usize], listed: bool, at: Option<u32>) -> Result<()> {
    if width > targets.len() {
        return Err(
            Error::new(SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns").or_position(at)
        );
    }
    if width < targets.len() && listed {
        return Err(
            Error::new(SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions").or_position(at)
        );
    }
    Ok(())
}
