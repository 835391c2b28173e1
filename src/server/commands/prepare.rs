//! PREPARE, EXECUTE's arguments, DEALLOCATE.

use std::sync::Arc;

use sqlparser::ast;

use super::Outcome;
use crate::error::{Error, Result, SqlState};
use crate::query::{self, Parameters};
use crate::server::prepared::Prepared;
use crate::server::session::{Flow, Session};
use crate::sql;
use crate::sql::statement::{Parsed, Statement};

pub async fn prepare(session: &mut Session, name: &str, types: &[ast::DataType], statement: &Parsed) -> Flow<Outcome> {
    if matches!(statement.statement, Statement::Execute { .. } | Statement::Prepare { .. }) {
        let message = format!("{} can't be prepared", statement.statement.tag());
        return Err(Error::new(SqlState::SYNTAX_ERROR, message).into());
    }
    let given = types.iter().map(|ty| sql::registry::parse_type(ty).map(Some)).collect::<Result<_, _>>()?;
    let prepared = Prepared::of(session, statement.text.clone(), statement.clone(), given, true).await?;
    session.keep_statement(name.to_string(), prepared)?;
    Outcome::tag("PREPARE")
}

/// The values of EXECUTE's arguments: constant expressions, each cast to its parameter's type as an assignment would.
pub async fn arguments(session: &mut Session, prepared: &Prepared, arguments: &[ast::Expr]) -> Flow<Parameters> {
    if arguments.len() != prepared.parameters.len() {
        let message = "wrong number of parameters for prepared statement";
        let detail = format!("Expected {} parameters but got {}.", prepared.parameters.len(), arguments.len());
        return Err(Error::new(SqlState::SYNTAX_ERROR, message).with_detail(detail).into());
    }
    if arguments.is_empty() {
        return Ok(Arc::new([]));
    }
    let catalog = session.catalog()?;
    let context = session.bind_context(catalog, Vec::new());
    let expressions = arguments
        .iter()
        .zip(&prepared.parameters)
        .map(|(argument, ty)| sql::bind::bind_constant(&context, argument, ty))
        .collect::<Result<Vec<_>>>()?;
    Ok(query::constant_values(&expressions)?)
}

pub fn deallocate(session: &mut Session, name: Option<&str>) -> Flow<Outcome> {
    match name {
        None => {
            session.statements.clear();
            Outcome::tag("DEALLOCATE ALL")
        }
        Some(name) => {
            session.statement(name)?;
            session.statements.remove(name);
            Outcome::tag("DEALLOCATE")
        }
    }
}
