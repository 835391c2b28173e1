//! INSERT, UPDATE, DELETE and TRUNCATE: jobs for the order of writes.

use super::{Described, Outcome};
use crate::catalog::RelationKind;
use crate::engine::{WriteJob, WriteOutcome, WriteScope};
use crate::error::{Error, Result, SqlState};
use crate::query::{self, Parameters, write};
use crate::server::portal::RowTag;
use crate::server::rows::{Columns, Rows};
use crate::server::session::{Flow, Session};
use crate::sql::statement::{Statement, Truncate};
use crate::sql::{self, BindContext, BoundReturning};
use crate::types::Type;

/// One of the three statements, bound.
enum Bound {
    Insert(sql::BoundInsert),
    Update(sql::BoundChange),
    Delete(sql::BoundChange),
}

impl Bound {
    fn new(context: &BindContext, statement: &Statement) -> Result<Bound> {
        match statement {
            Statement::Insert(insert) => sql::bind::bind_insert(context, insert).map(Bound::Insert),
            Statement::Update(update) => sql::bind::bind_update(context, update).map(Bound::Update),
            Statement::Delete(delete) => sql::bind::bind_delete(context, delete).map(Bound::Delete),
            other => Err(Error::internal(format!("{} changes no rows", other.tag()))),
        }
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

pub fn describe(session: &mut Session, statement: &Statement, given: Vec<Option<Type>>) -> Result<Described> {
    let catalog = session.catalog()?;
    let context = session.bind_context(catalog, given);
    let bound = Bound::new(&context, statement)?;
    Ok(Described { parameters: bound.parameters(), columns: bound.returning() })
}

pub async fn run(
    session: &mut Session,
    statement: &Statement,
    types: &[Type],
    parameters: &Parameters,
) -> Flow<Outcome> {
    let catalog = session.catalog()?;
    let context = session.bind_context(catalog, types.iter().cloned().map(Some).collect());
    let bound = Bound::new(&context, statement)?;
    super::check_parameters(&bound.parameters(), parameters)?;
    let (word, returning) = (bound.word(), bound.returning());
    let outcome = session.write(bound.job(parameters.clone())).await?;
    match returning {
        // The tag counts the rows changed, which are the rows returned.
        Some(columns) => Ok(Outcome::Rows(Rows::ready(columns, outcome.returned), RowTag::Counted(word))),
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

/// A job that does nothing once its statement was asked to stop: a cancelled write that has not had its turn never happens.
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
