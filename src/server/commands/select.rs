//! Queries: bound against the catalog of the epoch they read, run by the query room.

use sqlparser::ast;
use std::sync::Arc;

use super::{Described, Outcome, session_functions};
use crate::error::{Error, Result, SqlState};
use crate::query::{self, Parameters};
use crate::server::facts::Facts;
use crate::server::portal::RowTag;
use crate::server::rows::{Columns, Rows};
use crate::server::session::{Flow, Session};
use crate::server::wire::Severity;
use crate::sql::{self, BoundQuery};
use crate::types::Type;

pub fn describe(session: &mut Session, query: &ast::Query, given: Vec<Option<Type>>) -> Result<Described> {
    let query = session_functions::resolve(session, query, false)?;
    let catalog = session.catalog()?;
    let context = session.bind_context(catalog, given);
    let bound = sql::bind::bind_query(&context, &query)?;
    Ok(Described { columns: Some(Columns::of_query(&bound)), parameters: bound.parameters })
}

pub async fn run(session: &mut Session, query: &ast::Query, types: &[Type], parameters: &Parameters) -> Flow<Outcome> {
    let (rows, bound) = start(session, query, types, parameters).await?;
    warn_of_failed_rows(session, &bound)?;
    Ok(Outcome::Rows(rows, RowTag::Counted("SELECT")))
}

/// Begins to run a query; nothing is read before the first row is asked for.
pub async fn start(
    session: &mut Session,
    query: &ast::Query,
    types: &[Type],
    parameters: &Parameters,
) -> Flow<(Rows, BoundQuery)> {
    // current_setting() beside set_config() gives what was before.
    let settings = session.settings.rows();
    let query = session_functions::resolve(session, query, true)?;
    let engine = session.engine()?;
    let view = session.transaction.read(&engine).await?;
    let mut context = session.bind_context(view.catalog(), types.iter().cloned().map(Some).collect());
    context.session.settings = settings;
    let bound = sql::bind::bind_query(&context, &query)?;
    super::check_parameters(&bound.parameters, parameters)?;
    let facts = Arc::new(Facts::new(session, engine, view.clone(), &bound));
    let stream = match query::has_subqueries(&bound.plan)? {
        false => query::run_with(&bound, parameters, view, facts)?,
        // Planning runs those that stand alone: on a thread of its own, until nobody waits any more.
        true => {
            let waits = query::GivenUp::default();
            let (stop, bound, parameters) = (waits.0.clone(), bound.clone(), parameters.clone());
            let planned = tokio::task::spawn_blocking(move || {
                query::until(&stop, || query::run_with(&bound, &parameters, view, facts))
            });
            planned.await.map_err(Error::internal)??
        }
    };
    Ok((Rows::stream(Columns::of_query(&bound), stream), bound))
}

/// A view whose expressions fail on some rows is NULL there; whoever reads it is told while there are any.
fn warn_of_failed_rows(session: &mut Session, bound: &BoundQuery) -> Result<()> {
    let engine = session.engine()?;
    for id in &bound.relations {
        let failed = engine.facts().errors_of(*id);
        if failed > 0 {
            let catalog = session.catalog()?;
            let name = catalog.relation(*id).map_or("?", |relation| relation.name.as_str());
            let message = format!("expressions of view \"{name}\" failed on {failed} rows and are NULL there");
            let notice = Error::new(SqlState::SUCCESSFUL_COMPLETION, message)
                .with_hint(format!("SELECT * FROM rr_expression_errors WHERE view = '{name}';"));
            session.notice(Severity::Notice, &notice);
        }
    }
    Ok(())
}
