//! The statements a session runs: one command a file, each with what it answers and how it is described before it runs.

mod again;
mod change;
mod copy;
mod create;
pub mod cursor;
mod discard;
mod drop;
mod explain;
mod notify;
mod prepare;
mod select;
mod session_functions;
mod set;
mod show;
pub mod transaction;

use again::Again;
pub use change::Stoppable;

use super::Read;
use super::portal::RowTag;
use super::prepared::Prepared;
use super::rows::{Columns, Rows};
use super::session::{Flow, Guard, Session};
use super::wire::Inbox;
use crate::error::{Error, Result, SqlState};
use crate::query::Parameters;
use crate::sql::statement::{Parsed, Statement};
use crate::types::Type;

/// What a statement gives.
pub enum Outcome {
    /// Its command tag.
    Done(String),
    /// Rows, read as they are sent; then a tag.
    Rows(Rows, RowTag),
}

impl Outcome {
    fn tag(tag: &str) -> Flow<Outcome> {
        Ok(Outcome::Done(tag.to_string()))
    }
}

/// What is known of a statement before it runs.
#[derive(Default)]
pub struct Described {
    pub parameters: Vec<Type>,
    /// `None`: it gives no rows.
    pub columns: Option<Columns>,
}

impl Described {
    fn columns(columns: Columns) -> Described {
        Described { parameters: Vec::new(), columns: Some(columns) }
    }
}

/// COMMIT, ROLLBACK and ROLLBACK TO: what a failed transaction block waits for.
pub fn ends_block(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. } | Statement::RollbackTo(_))
}

/// A statement to run, with what belongs to it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub parsed: &'a Parsed,
    /// What was announced of it, if it was prepared.
    pub prepared: Option<&'a Prepared>,
    pub parameters: &'a Parameters,
}

impl Call<'_> {
    /// Its parameters' types, as they are known before it is bound.
    fn types(&self) -> Vec<Option<Type>> {
        self.prepared.iter().flat_map(|prepared| &prepared.parameters).cloned().map(Some).collect()
    }

    fn bytes(&self) -> usize {
        self.parsed.text.len()
    }
}

/// Types of parameters and columns of the result, without running anything. The statement's text has so many `bytes`.
pub async fn describe(
    session: &mut Session,
    statement: &Statement,
    bytes: usize,
    given: Vec<Option<Type>>,
) -> Flow<Described> {
    let described = match statement {
        Statement::Query(query) => select::describe(session, query, bytes, given).await?,
        Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
            change::describe(session, statement, bytes, given).await?
        }
        Statement::Explain(explain) => explain::describe(session, explain, bytes, given).await?,
        Statement::Show(show) => Described::columns(show::columns(session, show)?),
        Statement::Describe(_) => Described::columns(show::describe_columns()),
        Statement::Execute { name, .. } => {
            Described { parameters: Vec::new(), columns: session.statement(name)?.columns.clone() }
        }
        Statement::DeclareCursor(declare) => {
            Described { columns: None, ..select::describe(session, &declare.query, bytes, given).await? }
        }
        Statement::Fetch(fetch) if !fetch.skip => Described::columns(cursor::find(session, &fetch.cursor)?.columns()),
        _ => Described::default(),
    };
    Ok(described)
}

/// Runs a statement up to its first row. What may be interrupted is; a write or DDL decides itself whether it happened.
pub async fn run(session: &mut Session, inbox: &mut Inbox<Read>, call: Call<'_>) -> Flow<Outcome> {
    let outcome = run_any(session, inbox, call).await?;
    if let (Some(prepared), Outcome::Rows(rows, _)) = (call.prepared, &outcome) {
        prepared.check_columns(Some(&rows.columns))?;
    }
    Ok(outcome)
}

async fn run_any(session: &mut Session, inbox: &mut Inbox<Read>, call: Call<'_>) -> Flow<Outcome> {
    let guard = Guard::new(session);
    let statement = &call.parsed.statement;
    if session.read_only() {
        check_read_only(statement)?;
    }
    match statement {
        Statement::Query(query) => guard.run(Some(inbox), select::run(session, query, call)).await,
        Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
            let mut again = Again::new(session)?;
            loop {
                let bound = guard.run(Some(&mut *inbox), change::bind(session, call)).await?;
                match guard.settle(Some(&mut *inbox), change::run(session, bound, call)).await {
                    Err(failure) if again.overtaken(session, &failure) => {}
                    done => return done,
                }
            }
        }
        Statement::Truncate(truncate) => {
            let mut again = Again::new(session)?;
            loop {
                match guard.settle(Some(&mut *inbox), change::truncate(session, truncate)).await {
                    Err(failure) if again.overtaken(session, &failure) => {}
                    done => return done,
                }
            }
        }
        Statement::CreateStream(_)
        | Statement::CreateTable(_)
        | Statement::CreateView(_)
        | Statement::CreateIndex(_)
        | Statement::CreateSchema { .. }
        | Statement::Drop(_) => {
            let mut again = Again::new(session)?;
            loop {
                let change = async {
                    match statement {
                        Statement::Drop(drop) => drop::run(session, drop).await,
                        create => create::run(session, create).await,
                    }
                };
                match guard.settle(Some(&mut *inbox), change).await {
                    // In a block a part of it may have been done.
                    Err(failure) if !session.transaction.is_open() && again.overtaken(session, &failure) => {}
                    done => return done,
                }
            }
        }
        Statement::Refresh { name } => create::refresh(session, name),
        Statement::Show(show) => guard.run(Some(inbox), show::run(session, show)).await,
        Statement::Describe(name) => show::describe(session, name),
        Statement::Explain(explain) => guard.run(Some(inbox), explain::run(session, explain, call)).await,
        Statement::Copy(copy) => copy::run(session, inbox, copy, call).await,
        Statement::Begin { modes, .. } => transaction::begin(session, modes, statement.tag()),
        Statement::Commit { chain } => transaction::commit(session, *chain).await,
        Statement::Rollback { chain } => transaction::rollback(session, *chain),
        Statement::Savepoint(name) => transaction::savepoint(session, name),
        Statement::Release(name) => transaction::release(session, name),
        Statement::RollbackTo(name) => transaction::rollback_to(session, name),
        Statement::Set(set) => set::set(session, set),
        Statement::SetTransaction { modes, session: characteristics } => {
            transaction::set_modes(session, modes, *characteristics)
        }
        Statement::Reset(name) => set::reset(session, name.as_deref()),
        Statement::Discard(what) => discard::run(session, *what),
        Statement::Prepare { name, types, statement } => {
            guard.run(Some(inbox), prepare::prepare(session, name, types, statement)).await
        }
        Statement::Execute { name, arguments } => {
            let prepared = session.statement(name)?.clone();
            let values =
                guard.run(Some(&mut *inbox), prepare::arguments(session, &prepared, arguments, call.bytes())).await?;
            let Some(parsed) = &prepared.parsed else { return Outcome::tag("SELECT 0") };
            // One level: a prepared EXECUTE is refused when it is prepared.
            Box::pin(run(session, inbox, Call { parsed, prepared: Some(&prepared), parameters: &values })).await
        }
        Statement::Deallocate(name) => prepare::deallocate(session, name.as_deref()),
        Statement::DeclareCursor(declare) => guard.run(Some(inbox), cursor::declare(session, declare, call)).await,
        Statement::Fetch(fetch) => guard.run(Some(inbox), cursor::fetch(session, fetch)).await,
        Statement::CloseCursor(name) => cursor::close(session, name.as_deref()),
        // A read waits for every acknowledged write: there is nothing to flush.
        Statement::Flush => Outcome::tag("FLUSH"),
        Statement::Listen(_) | Statement::Unlisten(_) | Statement::Notify { .. } | Statement::Do { .. } => {
            notify::run(statement)
        }
    }
}

/// 42P02 for a parameter that nobody has given a value: the simple protocol has none.
fn check_parameters(types: &[Type], given: &Parameters) -> Result<()> {
    match types.len() > given.len() {
        true => {
            let message = format!("there is no parameter ${}", given.len() + 1);
            Err(Error::new(SqlState::UNDEFINED_PARAMETER, message))
        }
        false => Ok(()),
    }
}

fn check_read_only(statement: &Statement) -> Result<()> {
    let writes = match statement {
        Statement::Copy(copy) => copy.from,
        Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Truncate(_)
        | Statement::CreateStream(_)
        | Statement::CreateTable(_)
        | Statement::CreateView(_)
        | Statement::CreateIndex(_)
        | Statement::CreateSchema { .. }
        | Statement::Drop(_) => true,
        _ => false,
    };
    if writes {
        let message = format!("cannot execute {} in a read-only transaction", statement.tag());
        return Err(Error::new(SqlState::READ_ONLY_SQL_TRANSACTION, message));
    }
    Ok(())
}
