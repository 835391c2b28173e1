//! Queries: bound against the catalog of the epoch they read, run by the query room.

use sqlparser::ast;
use std::sync::Arc;

use super::{Call, Described, Outcome, session_functions};
use crate::catalog::definition::quote_literal;
use crate::error::{Error, Result, SqlState};
use crate::query;
use crate::server::aside::{aside, aside_if_long};
use crate::server::facts::{Facts, name_along};
use crate::server::portal::RowTag;
use crate::server::rows::{Columns, Rows};
use crate::server::session::{Flow, Session};
use crate::server::wire::Severity;
use crate::sql::{self, BindContext, BoundQuery};
use crate::types::Type;

pub async fn describe(
    session: &mut Session,
    query: &Arc<ast::Query>,
    bytes: usize,
    given: Vec<Option<Type>>,
) -> Result<Described> {
    let taken = session_functions::take(query);
    let query = taken.as_ref().map_or(query, |(query, _)| query);
    let catalog = session.catalog()?;
    let context = session.bind_context(catalog, given);
    let bound = bind(context, query.clone(), bytes).await?;
    let columns = Columns::of_query(&bound);
    let columns = taken.map_or_else(|| columns.clone(), |(_, calls)| calls.columns(&columns));
    Ok(Described { columns: Some(columns), parameters: bound.parameters })
}

async fn bind(context: BindContext, query: Arc<ast::Query>, bytes: usize) -> Result<BoundQuery> {
    aside_if_long(bytes, move || sql::bind::bind_query(&context, &query)).await
}

pub async fn run(session: &mut Session, query: &Arc<ast::Query>, call: Call<'_>) -> Flow<Outcome> {
    let rows = match session_functions::take(query) {
        None => start(session, query, call).await?,
        Some((query, calls)) => {
            // What is set locally ends with the transaction, and all that is set is undone if the query fails.
            session.transaction.begin_implicit(&mut session.settings);
            let rows = start(session, &query, call).await?;
            calls.answer(session, rows).await?
        }
    };
    Ok(Outcome::Rows(rows, RowTag::Counted("SELECT")))
}

/// Begins to run a query, and says what its reader should know; nothing is read before the first row is asked for.
pub async fn start(session: &mut Session, query: &Arc<ast::Query>, call: Call<'_>) -> Flow<Rows> {
    let engine = session.engine()?;
    let view = session.transaction.read(&engine).await?;
    let context = session.bind_context(view.catalog(), call.types());
    let bound = bind(context, query.clone(), call.bytes()).await?;
    super::check_parameters(&bound.parameters, call.parameters)?;
    let facts = Arc::new(Facts::new(session, engine, view.clone(), &bound));
    let stream = match query::run_quick(&bound, call.parameters, &view)? {
        Some(stream) => stream,
        // Planning evaluates what is constant, and subqueries that stand alone.
        None => {
            let (bound, parameters) = (bound.clone(), call.parameters.clone());
            aside(move || query::run_with(&bound, &parameters, view, facts)).await?
        }
    };
    warn_of_failed_rows(session, &bound)?;
    Ok(Rows::stream(Columns::of_query(&bound), stream))
}

/// A view whose expressions fail on some rows is NULL there; whoever reads it is told while there are any.
fn warn_of_failed_rows(session: &mut Session, bound: &BoundQuery) -> Result<()> {
    let engine = session.engine()?;
    for id in &bound.relations {
        let failed = engine.facts().errors_of(*id);
        if failed > 0 {
            let catalog = session.catalog()?;
            let path = session.search_path();
            let name = catalog.relation(*id).map_or("?".to_string(), |relation| name_along(&path, &catalog, relation));
            let rows = if failed == 1 { "row" } else { "rows" };
            let message = format!("expressions of view \"{name}\" failed on {failed} {rows} and are NULL there");
            let notice = Error::new(SqlState::SUCCESSFUL_COMPLETION, message)
                .with_hint(format!("SELECT * FROM rr_expression_errors WHERE view = {};", quote_literal(&name)));
            session.notice(Severity::Notice, &notice);
        }
    }
    Ok(())
}
