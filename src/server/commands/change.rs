//! INSERT, UPDATE, DELETE and TRUNCATE: jobs for the order of writes.

use super::{Call, Described, Outcome};
use crate::catalog::RelationKind;
use crate::engine::{WriteJob, WriteOutcome, WriteScope};
use crate::error::{Error, Result, SqlState};
use crate::query::{self, Parameters, write};
use crate::server::aside::aside_if_long;
use crate::server::portal::RowTag;
use crate::server::rows::{Columns, Rows};
use crate::server::session::{Flow, Session};
use crate::sql::statement::{Statement, Truncate};
use crate::sql::{self, BindContext, BoundReturning};
use crate::types::Type;

/// One of the three statements, bound.
pub enum Bound {
    Insert(sql::BoundInsert),
    Update(sql::BoundChange),
    Delete(sql::BoundChange),
}

impl Bound {
    async fn new(context: BindContext, statement: &Statement, bytes: usize) -> Result<Bound> {
        let statement = statement.clone();
        let bind = move || match &statement {
            Statement::Insert(insert) => sql::bind::bind_insert(&context, insert).map(Bound::Insert),
            Statement::Update(update) => sql::bind::bind_update(&context, update).map(Bound::Update),
            Statement::Delete(delete) => sql::bind::bind_delete(&context, delete).map(Bound::Delete),
            other => Err(Error::internal(format!("{} changes no rows", other.tag()))),
        };
        aside_if_long(bytes, bind).await
    }

    fn returning(&self) -> Option<Columns> {
        let returning: &Option<BoundReturning> = match self {
            Bound::Insert(insert) => &insert.returning,
            Bound::Update(change) | Bound::Delete(change) => &change.returning,
        };
        returning.as_ref().map(|returning| returning.columns.clone().into())
    }

    fn parameters(&self) -> Vec<Type> {
        match self {
            Bound::Insert(insert) => insert.source.parameters.clone(),
            Bound::Update(change) | Bound::Delete(change) => change.source.parameters.clone(),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Bound::Insert(_) => "INSERT 0",
            Bound::Update(_) => "UPDATE",
            Bound::Delete(_) => "DELETE",
        }
    }

    fn job(self, parameters: Parameters) -> Box<dyn WriteJob> {
        match self {
            Bound::Insert(insert) => Box::new(write::Insert { insert, parameters }),
            Bound::Update(change) => Box::new(write::Update { change, parameters }),
            Bound::Delete(change) => Box::new(write::Delete { change, parameters }),
        }
    }
}

pub async fn describe(
    session: &mut Session,
    statement: &Statement,
    bytes: usize,
    given: Vec<Option<Type>>,
) -> Result<Described> {
    let catalog = session.catalog()?;
    let bound = Bound::new(session.bind_context(catalog, given), statement, bytes).await?;
    Ok(Described { parameters: bound.parameters(), columns: bound.returning() })
}

/// What may be given up at any time: nothing has happened yet.
pub async fn bind(session: &mut Session, call: Call<'_>) -> Flow<Bound> {
    let catalog = session.catalog()?;
    let context = session.bind_context(catalog, call.types());
    let bound = Bound::new(context, &call.parsed.statement, call.bytes()).await?;
    super::check_parameters(&bound.parameters(), call.parameters)?;
    if let Some(prepared) = call.prepared {
        prepared.check_columns(bound.returning().as_ref())?;
    }
    Ok(bound)
}

pub async fn run(session: &mut Session, bound: Bound, call: Call<'_>) -> Flow<Outcome> {
    let (word, returning) = (bound.word(), bound.returning());
    let outcome = session.write(bound.job(call.parameters.clone())).await?;
    match returning {
        Some(columns) => Ok(Outcome::Rows(Rows::ready(columns, outcome.returned), RowTag::All(word, outcome.rows))),
        None => Ok(Outcome::Done(format!("{word} {}", outcome.rows))),
    }
}

pub async fn truncate(session: &mut Session, truncate: &Truncate) -> Flow<Outcome> {
    let mut tables = Vec::new();
    for name in &truncate.names {
        let relation = session.relation(name)?;
        if !matches!(relation.kind, RelationKind::Table(_)) {
            let message = format!("\"{}\" is not a table", relation.name);
            let hint = "Only tables can be emptied: what a stream holds has happened.";
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).with_hint(hint).into());
        }
        tables.push(relation.id);
    }
    session.write(Box::new(write::Truncate { tables })).await?;
    Outcome::tag("TRUNCATE TABLE")
}

/// A job that does nothing once its statement was asked to stop.
pub struct Stoppable {
    pub job: Box<dyn WriteJob>,
    pub stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl WriteJob for Stoppable {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        if self.stop.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"));
        }
        query::until(&self.stop, || self.job.run(scope))
    }
}
