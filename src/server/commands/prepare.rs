//! PREPARE, EXECUTE's arguments, DEALLOCATE.

use std::sync::Arc;

use sqlparser::ast;

use super::Outcome;
use crate::error::{Error, Result, SqlState};
use crate::query::{self, Parameters};
use crate::server::aside::{LONG, aside, aside_if_long};
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
pub async fn arguments(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    arguments: &[ast::Expr],
    bytes: usize,
) -> Flow<Parameters> {
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
    let (prepared, arguments) = (prepared.clone(), arguments.to_vec());
    let expressions = aside_if_long(bytes, move || {
        let typed = arguments.iter().zip(&prepared.parameters);
        typed.map(|(argument, ty)| sql::bind::bind_constant(&context, argument, ty)).collect::<Result<Vec<_>>>()
    });
    let expressions = expressions.await?;
    Ok(match query::are_values(&expressions) && bytes <= LONG {
        true => query::constant_values(&expressions)?,
        false => aside(move || query::constant_values(&expressions)).await?,
    })
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
