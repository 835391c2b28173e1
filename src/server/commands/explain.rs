//! EXPLAIN: a query's plan or a view's circuit, one line a row in the column `QUERY PLAN`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::{Call, Described, Outcome};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::query;
use crate::query::explain::ExplainOptions;
use crate::server::aside::{aside, aside_if_long};
use crate::server::facts::Facts;
use crate::server::portal::RowTag;
use crate::server::rows::Rows;
use crate::server::session::{Flow, Session};
use crate::sql::statement::{Explain, ExplainTarget, Statement};
use crate::sql::{self, BindContext, BoundQuery, bind};
use crate::types::{Type, arrow_schema};

/// Parameters are those of the statement that is explained.
pub async fn describe(
    session: &mut Session,
    explain: &Explain,
    bytes: usize,
    given: Vec<Option<Type>>,
) -> Flow<Described> {
    let parameters = match &explain.target {
        ExplainTarget::Statement(statement) => {
            Box::pin(super::describe(session, statement, bytes, given)).await?.parameters
        }
        ExplainTarget::MaterializedView(_) => Vec::new(),
    };
    Ok(Described { parameters, columns: Some(vec![query::explain::column()].into()) })
}

pub async fn run(session: &mut Session, explain: &Explain, call: Call<'_>) -> Flow<Outcome> {
    let engine = session.engine()?;
    let view = session.transaction.read(&engine).await?;
    let context = session.bind_context(view.catalog(), call.types());
    let statement = match &explain.target {
        ExplainTarget::Statement(statement) => statement,
        ExplainTarget::MaterializedView(name) => return circuit(&context.catalog, session.relation(name)?.as_ref()),
    };
    if let Statement::CreateView(create) = statement.as_ref()
        && create.materialized
    {
        // With IF NOT EXISTS the view may be there: then what would be made is what is installed.
        let relation = match tokio::task::block_in_place(|| bind::bind_create_view(&context, create))? {
            Some(bound) => bound.relation,
            None => session.relation(&create.name)?.as_ref().clone(),
        };
        return circuit(&context.catalog, &relation);
    }
    let statement = statement.as_ref().clone();
    let (query, write) = aside_if_long(call.bytes(), move || bind_read(&context, &statement)).await?;
    if explain.analyze && write.is_some() {
        let hint = "Leave ANALYZE out for the plan; the statement itself says how many rows it wrote.";
        return Err(Error::unsupported("EXPLAIN ANALYZE of a write", hint).into());
    }
    let facts = Arc::new(Facts::new(session, engine, view.clone(), &query));
    let options = ExplainOptions { analyze: explain.analyze, json: explain.json };
    let parameters = call.parameters.clone();
    let explained = aside(move || query::explain::explain(&query, &parameters, view, facts, write.as_deref(), options));
    let table = explained.await?;
    Ok(Outcome::Rows(Rows::ready(table.columns.into(), vec![table.rows]), RowTag::Plain("EXPLAIN")))
}

/// What a statement reads, and what it does with it.
fn bind_read(context: &BindContext, statement: &Statement) -> Result<(BoundQuery, Option<String>)> {
    Ok(match statement {
        Statement::Query(query) => (bind::bind_query(context, query)?, None),
        Statement::Insert(insert) => {
            let bound = bind::bind_insert(context, insert)?;
            (bound.source, Some(format!("Insert on {}", bound.relation.name)))
        }
        Statement::Update(update) => {
            let bound = bind::bind_update(context, update)?;
            (bound.source, Some(format!("Update on {}", bound.relation.name)))
        }
        Statement::Delete(delete) => {
            let bound = bind::bind_delete(context, delete)?;
            (bound.source, Some(format!("Delete on {}", bound.relation.name)))
        }
        other => {
            let hint = "EXPLAIN takes SELECT, INSERT, UPDATE, DELETE and CREATE MATERIALIZED VIEW.";
            return Err(Error::unsupported(format!("EXPLAIN {}", other.tag()), hint));
        }
    })
}

/// The circuit that maintains a view, as it would be or is installed: the same definition always gives the same.
fn circuit(catalog: &Arc<Catalog>, view: &Relation) -> Flow<Outcome> {
    if !matches!(view.kind, RelationKind::MaterializedView(_)) {
        let message = format!("\"{}\" is not a materialized view", view.name);
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).into());
    }
    let planned = || Ok::<_, Error>(sql::lower::explain(&sql::plan_view(catalog, view)?, catalog));
    let text = tokio::task::block_in_place(planned)?;
    let columns = vec![query::explain::column()];
    let lines: ArrayRef = Arc::new(StringArray::from(text.lines().collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(arrow_schema(&columns), vec![lines]).map_err(Error::from)?;
    Ok(Outcome::Rows(Rows::ready(columns.into(), vec![rows]), RowTag::Plain("EXPLAIN")))
}
