//! INSERT, UPDATE, DELETE as queries over stored rows, with defaults and generated columns filled in.

mod assignments;
mod change;
mod conflict;
mod insert;
mod returning;
mod stored_row;

use sqlparser::ast;

pub use change::{bind_delete, bind_update};
pub use conflict::EXCLUDED;
pub use insert::{bind_complete_row, bind_insert};
use stored_row::generated_texts;

use super::Binder;
use super::names::relation_name;
use super::scope::ScopeColumn;
use crate::catalog::{Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::sql::registry::{CastContext, Typed};
use crate::types::{Column, Type};

impl Binder<'_> {
    /// 42809 for what can't be written so.
    fn writable(&self, relation: &Relation, verb: &str, name: &ast::ObjectName) -> Result<()> {
        let at = relation_name(name)?.position;
        let kind = relation.kind_name();
        let (state, message, hint) = match &relation.kind {
            RelationKind::Table(_) => return Ok(()),
            RelationKind::Stream(stream) if verb == "insert into" => match &stream.connector {
                None => return Ok(()),
                Some(connector) => (
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("cannot insert into stream \"{}\"", relation.name),
                    format!("Its rows come from the {} connector.", connector.name),
                ),
            },
            RelationKind::Stream(_) => (
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot {verb} stream \"{}\"", relation.name),
                "A stream is append-only; use a table for rows that change.".to_string(),
            ),
            RelationKind::System => (
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied: \"{}\" is a system catalog", relation.name),
                "System relations are read-only.".to_string(),
            ),
            _ => (
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot {verb} {kind} \"{}\"", relation.name),
                "Write to the tables and streams it reads; it follows by itself.".to_string(),
            ),
        };
        Err(Error::new(state, message).with_hint(hint).or_position(at))
    }

    fn not_generated(&self, relation: &Relation, column: usize, at: Option<u32>) -> Result<()> {
        if generated_texts(relation).get(column).is_none_or(Option::is_none) {
            return Ok(());
        }
        let name = &relation.columns[column].name;
        Err(Error::new(SqlState::GENERATED_ALWAYS, format!("cannot insert a non-DEFAULT value into column \"{name}\""))
            .with_detail(format!("Column \"{name}\" is a generated column."))
            .or_position(at))
    }

    /// A value for a column, as an assignment casts it. 42804 names the column.
    fn assign(&mut self, typed: Typed, column: &Column, at: Option<u32>) -> Result<Typed> {
        let from = typed.ty.clone();
        self.coerce(typed, &column.ty, CastContext::Assignment).map_err(|error| match error.state() {
            SqlState::DATATYPE_MISMATCH => mismatch(column, &from).or_position(at),
            _ => error.or_position(at),
        })
    }
}

/// A relation's columns for a scope, by their names with a prefix.
fn columns_named(relation: &Relation, prefix: &str) -> Vec<ScopeColumn> {
    let columns = relation.columns.iter();
    columns
        .map(|column| ScopeColumn {
            name: column.name.clone(),
            ty: column.ty.unrounded(),
            internal: format!("{prefix}{}", column.name),
        })
        .collect()
}

fn column_index(relation: &Relation, name: &str, at: Option<u32>) -> Result<usize> {
    relation.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
        Error::new(SqlState::UNDEFINED_COLUMN, message).or_position(at)
    })
}

fn mismatch(column: &Column, from: &Type) -> Error {
    let message = format!(
        "column \"{}\" is of type {} but expression is of type {}",
        column.name,
        column.ty.bare_name(),
        from.bare_name()
    );
    Error::new(SqlState::DATATYPE_MISMATCH, message).with_hint("You will need to rewrite or cast the expression.")
}

fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}
