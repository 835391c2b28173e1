//! SET: columns with the values they get, of UPDATE and of ON CONFLICT DO UPDATE.

use datafusion::logical_expr::Expr;
use sqlparser::ast;

use super::stored_row::generated_texts;
use super::{column_index, is_default};
use crate::catalog::Relation;
use crate::error::{Error, Result, SqlState};
use crate::sql::bind::Binder;
use crate::sql::bind::expr::position;
use crate::sql::bind::scope::place;
use crate::sql::statement::fold;

impl Binder<'_> {
    /// SET: columns with the values they get, in the level on top.
    pub(super) fn assignments(
        &mut self,
        assignments: &[ast::Assignment],
        relation: &Relation,
    ) -> Result<Vec<(usize, Expr)>> {
        let mut bound: Vec<(usize, Expr)> = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let pairs: Vec<(&ast::ObjectName, &ast::Expr)> = match (&assignment.target, &assignment.value) {
                (ast::AssignmentTarget::ColumnName(name), value) => vec![(name, value)],
                (ast::AssignmentTarget::Tuple(names), ast::Expr::Subquery(query)) => {
                    let values = self.row_subquery(query, names.len(), position(&assignment.value))?;
                    for (name, value) in names.iter().zip(values) {
                        let (index, ident) = assigned_column(relation, name, &bound)?;
                        not_generated_in_set(relation, index, ident)?;
                        let value = self.assign(value, &relation.columns[index], position(&assignment.value))?;
                        bound.push((index, value.expr));
                    }
                    continue;
                }
                (ast::AssignmentTarget::Tuple(names), value) => {
                    let Some(values) = row_values(value) else {
                        let message =
                            "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).or_position(position(value)));
                    };
                    if names.len() != values.len() {
                        return Err(Error::new(
                            SqlState::SYNTAX_ERROR,
                            "number of columns does not match number of values",
                        )
                        .or_position(position(value)));
                    }
                    names.iter().zip(values).collect()
                }
            };
            for (name, value) in pairs {
                let (index, ident) = assigned_column(relation, name, &bound)?;
                let value = match is_default(value) {
                    true => self.default_of(relation, index)?,
                    false => {
                        not_generated_in_set(relation, index, ident)?;
                        let typed = self.expr(value)?;
                        self.assign(typed, &relation.columns[index], position(value))?.expr
                    }
                };
                bound.push((index, value));
            }
        }
        Ok(bound)
    }
}

/// The column that SET names, once. 42703, 42601.
fn assigned_column<'a>(
    relation: &Relation,
    name: &'a ast::ObjectName,
    bound: &[(usize, Expr)],
) -> Result<(usize, &'a ast::Ident)> {
    let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return Err(Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", relation.name),
        )
        .with_hint("SET target columns cannot be qualified with the relation name."));
    };
    let index = column_index(relation, &fold(ident), place(ident))?;
    if bound.iter().any(|(other, _)| *other == index) {
        let message = format!("multiple assignments to same column \"{}\"", fold(ident));
        return Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(place(ident)));
    }
    Ok((index, ident))
}

fn not_generated_in_set(relation: &Relation, index: usize, ident: &ast::Ident) -> Result<()> {
    if generated_texts(relation).get(index).is_none_or(Option::is_none) {
        return Ok(());
    }
    let message = format!("column \"{}\" can only be updated to DEFAULT", fold(ident));
    Err(Error::new(SqlState::GENERATED_ALWAYS, message)
        .with_detail(format!("Column \"{}\" is a generated column.", fold(ident)))
        .or_position(place(ident)))
}

/// The values of `(a, b)` or `ROW(a, b)`; a single one in brackets too.
fn row_values(expr: &ast::Expr) -> Option<Vec<&ast::Expr>> {
    match expr {
        ast::Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. })
            if name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| fold(name) == "row") =>
        {
            let value = |arg| match arg {
                &ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ref expr)) => Some(expr),
                _ => None,
            };
            list.args.iter().map(value).collect()
        }
        ast::Expr::Tuple(elements) => Some(elements.iter().collect()),
        ast::Expr::Nested(inner) if !matches!(inner.as_ref(), ast::Expr::Subquery(_)) => Some(vec![inner.as_ref()]),
        _ => None,
    }
}
