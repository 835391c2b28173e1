//! EXPLAIN: a query's plan or a view's circuit, one line a row in the column `QUERY PLAN`.

use std::sync::Arc;

use super::{Described, Outcome};
use crate::catalog::Relation;
use crate::error::Error;
use crate::query::explain::ExplainOptions;
use crate::query::{self, Parameters};
use crate::server::facts::Facts;
use crate::server::portal::RowTag;
use crate::server::rows::Rows;
use crate::server::session::{Flow, Session};
use crate::sql::bind;
use crate::sql::statement::{Explain, ExplainTarget, Statement};
use crate::types::Type;

/// Parameters are those of the statement that is explained.
pub async fn describe(session: &mut Session, explain: &Explain, given: Vec<Option<Type>>) -> Flow<Described> {
    let parameters = match &explain.target {
        ExplainTarget::Statement(statement) => Box::pin(super::describe(session, statement, given)).await?.parameters,
        ExplainTarget::MaterializedView(_) => Vec::new(),
    };
    Ok(Described { parameters, columns: Some(vec![query::explain::column()].into()) })
}

pub async fn run(session: &mut Session, explain: &Explain, types: &[Type], parameters: &Parameters) -> Flow<Outcome> {
    let engine = session.engine()?;
    let view = session.transaction.read(&engine).await?;
    let context = session.bind_context(view.catalog(), types.iter().cloned().map(Some).collect());
    let statement = match &explain.target {
        ExplainTarget::Statement(statement) => statement,
        ExplainTarget::MaterializedView(name) => return circuit(session.relation(name)?.as_ref()),
    };
    let (query, write) = match statement.as_ref() {
        Statement::Query(query) => (bind::bind_query(&context, query)?, None),
        Statement::Insert(insert) => {
            let bound = bind::bind_insert(&context, insert)?;
            (bound.source, Some(format!("Insert on {}", bound.relation.name)))
        }
        Statement::Update(update) => {
            let bound = bind::bind_update(&context, update)?;
            (bound.source, Some(format!("Update on {}", bound.relation.name)))
        }
        Statement::Delete(delete) => {
            let bound = bind::bind_delete(&context, delete)?;
            (bound.source, Some(format!("Delete on {}", bound.relation.name)))
        }
        Statement::CreateView(create) if create.materialized => {
            let Some(bound) = bind::bind_create_view(&context, create)? else {
                return Ok(lines("relation already exists, skipping"));
            };
            return Ok(lines(&sql::explain_view(&context.catalog, &bound.relation)?));
        }
        other => {
            let hint = "EXPLAIN takes SELECT, INSERT, UPDATE, DELETE and CREATE MATERIALIZED VIEW.";
            return Err(Error::unsupported(format!("EXPLAIN {}", other.tag()), hint).into());
        }
    };
    let facts = Arc::new(Facts::new(session, engine, view.clone(), &query));
    let options = ExplainOptions { analyze: explain.analyze, json: explain.json };
    let table = query::explain::explain(&query, parameters, view, facts, write.as_deref(), options)?;
    Ok(Outcome::Rows(Rows::ready(table.columns.into(), vec![table.rows]), RowTag::Plain("EXPLAIN")))
}

/// The circuit of an installed view.
fn circuit(relation: &Relation) -> Flow<Outcome> {
    let hint = "EXPLAIN SELECT shows the plan of a read.";
    Err(Error::unsupported(format!("EXPLAIN MATERIALIZED VIEW {}", relation.name), hint).into())
}
