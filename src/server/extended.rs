//! The extended protocol: Parse, Bind, Describe, Execute, Close, Sync.
//!
//! What is executed between two Syncs is one transaction. A single Execute whose Sync has arrived with it needs none: it
//! takes its place in the order of writes by itself and can't conflict.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;

use super::Read;
use super::aside::aside_if_long;
use super::commands::{self, Call, Outcome};
use super::portal::{Portal, RowTag, State};
use super::prepared::Prepared;
use super::rows::{self, Columns, Rows};
use super::session::{Flow, Guard, Session};
use super::wire::{Bind, Inbox, Target};
use crate::error::{Error, Result, SqlState};
use crate::query::Parameters;
use crate::sql::statement::{Discard, Statement};
use crate::types::{TextSettings, Type};

/// Bytes of a portal, beside its parameters.
const PORTAL: usize = 500;

pub async fn parse(
    session: &mut Session,
    inbox: &mut Inbox<Read>,
    name: String,
    text: String,
    types: &[u32],
) -> Flow<()> {
    session.start_statement();
    if name.is_empty() {
        session.statements.remove("");
    }
    let given = types.iter().map(|oid| given_type(*oid)).collect::<Result<Vec<_>>>()?;
    let guard = Guard::new(session);
    let prepared = guard.run(Some(inbox), Prepared::new(session, text, given)).await?;
    session.keep_statement(name, prepared)?;
    session.out.push(ParseComplete::new());
    Ok(())
}

/// The type of an oid that a client names for a parameter; 0 and `unknown` leave it open.
fn given_type(oid: u32) -> Result<Option<Type>> {
    match Type::from_oid(oid) {
        Some(Type::Unknown) => Ok(None),
        Some(ty) => Ok(Some(ty)),
        None if oid == 0 => Ok(None),
        None => Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} does not exist"))),
    }
}

pub async fn bind(session: &mut Session, inbox: &mut Inbox<Read>, bind: Bind) -> Flow<()> {
    session.start_statement();
    let statement = session.statement(&bind.statement)?.clone();
    if let Some(parsed) = &statement.parsed
        && !commands::ends_block(&parsed.statement)
    {
        session.transaction.check()?;
    }
    if bind.portal.is_empty() {
        session.portals.remove("");
    }
    session.check_portal(&bind.portal)?;
    let bytes: usize = bind.parameters.iter().flatten().map(Bytes::len).sum();
    let kept = session.keep(PORTAL + bytes)?;
    let guard = Guard::new(session);
    let parameters = guard.run(Some(inbox), parameters(session.text_settings()?, &statement, &bind)).await?;
    let formats = match &statement.columns {
        Some(columns) => rows::formats(&bind.result_formats, columns.len())?,
        None => bind.result_formats.clone(),
    };
    let opened = session.next_portal();
    let portal = Portal { statement, parameters, formats, state: State::New, opened, _kept: kept };
    session.portals.insert(bind.portal, portal);
    session.out.push(BindComplete::new());
    Ok(())
}

/// The values of a Bind message, each read as the type the statement gives its parameter.
async fn parameters(settings: TextSettings, statement: &Arc<Prepared>, bind: &Bind) -> Flow<Parameters> {
    let (given, needed) = (bind.parameters.len(), statement.parameters.len());
    if given != needed {
        let name = &bind.statement;
        let message =
            format!("bind message supplies {given} parameters, but prepared statement \"{name}\" requires {needed}");
        return Err(Error::new(SqlState::PROTOCOL_VIOLATION, message).into());
    }
    let formats = match bind.parameter_formats.len() {
        0 => vec![0; given],
        1 => vec![bind.parameter_formats[0]; given],
        each if each == given => bind.parameter_formats.clone(),
        each => {
            let message = format!("bind message has {each} parameter formats but {given} parameters");
            return Err(Error::new(SqlState::PROTOCOL_VIOLATION, message).into());
        }
    };
    let bytes = bind.parameters.iter().flatten().map(Bytes::len).sum();
    let (statement, values) = (statement.clone(), bind.parameters.clone());
    let read = aside_if_long(bytes, move || {
        let values = statement.parameters.iter().zip(&values).zip(&formats);
        values.map(|((ty, value), format)| rows::parameter(&settings, ty, value.as_deref(), *format)).collect()
    });
    Ok(read.await?)
}

pub fn describe(session: &mut Session, target: Target) -> Flow<()> {
    match target {
        Target::Statement(name) => {
            let statement = session.statement(&name)?.clone();
            if session.transaction.is_failed() && statement.columns.is_some() {
                session.transaction.check()?;
            }
            let types = statement.parameters.iter().map(Type::oid).collect();
            session.out.push(ParameterDescription::new(types));
            describe_rows(session, statement.columns.clone(), &[])
        }
        Target::Portal(name) => {
            let portal = find_portal(session, &name)?;
            let (columns, formats) = (portal.columns(), portal.formats.clone());
            if session.transaction.is_failed() && columns.is_some() {
                session.transaction.check()?;
            }
            describe_rows(session, columns, &formats)
        }
    }
}

fn describe_rows(session: &mut Session, columns: Option<Columns>, formats: &[i16]) -> Flow<()> {
    match columns {
        Some(columns) => {
            let formats = rows::formats(formats, columns.len())?;
            session.out.push(rows::description(&columns, &formats));
        }
        None => session.out.push(NoData::new()),
    }
    Ok(())
}

fn find_portal<'a>(session: &'a Session, name: &str) -> Result<&'a Portal> {
    session.portals.get(name).ok_or_else(|| no_portal(name))
}

fn no_portal(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}

/// Runs a portal, or goes on with it, up to `max_rows` rows (0: all).
pub async fn execute(session: &mut Session, inbox: &mut Inbox<Read>, name: &str, max_rows: u32) -> Flow<()> {
    session.start_statement();
    let started = Instant::now();
    let portal = find_portal(session, name)?;
    let statement = portal.statement.clone();
    if matches!(portal.state, State::Cursor(_)) {
        session.transaction.check()?;
        session.began(&statement.text);
        commands::cursor::execute(session, inbox, name, max_rows).await?;
        session.shared.metrics.completed("FETCH", started.elapsed().as_secs_f64());
        return Ok(());
    }
    let Some(mut portal) = session.portals.remove(name) else { return Err(no_portal(name).into()) };
    let Some(parsed) = &statement.parsed else {
        session.out.push(EmptyQueryResponse::new());
        session.portals.insert(name.to_string(), portal);
        return Ok(());
    };
    if !commands::ends_block(&parsed.statement) {
        session.transaction.check()?;
    }
    let tag = parsed.statement.tag();
    session.began(&statement.text);
    portal.state = match std::mem::replace(&mut portal.state, State::Finished) {
        State::New => {
            // What can't be part of a transaction makes none: it may still be the first.
            let alone = matches!(parsed.statement, Statement::Discard(Discard::All));
            if !alone && !inbox.ends_pipeline().await {
                session.transaction.begin_implicit(&mut session.settings);
            }
            let call = Call { parsed, prepared: Some(&statement), parameters: &portal.parameters };
            match commands::run(session, inbox, call).await? {
                Outcome::Done(tag) => {
                    session.out.complete(tag);
                    State::Finished
                }
                Outcome::Rows(rows, tag) => send(session, inbox, rows, tag, &portal.formats, max_rows).await?,
            }
        }
        State::Running(rows, tag) => send(session, inbox, rows, tag, &portal.formats, max_rows).await?,
        State::Done(tag) => {
            session.out.complete(tag.text(0));
            State::Done(tag)
        }
        State::Finished => {
            let message = format!("portal \"{name}\" cannot be run");
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).into());
        }
        State::Cursor(_) => return Err(Error::internal("a cursor is executed as one").into()),
    };
    session.shared.metrics.completed(tag, started.elapsed().as_secs_f64());
    // COMMIT and ROLLBACK end the portals of their transaction, this one too.
    if !commands::ends_block(&parsed.statement) {
        session.portals.insert(name.to_string(), portal);
    }
    Ok(())
}

async fn send(
    session: &mut Session,
    inbox: &mut Inbox<Read>,
    mut rows: Rows,
    tag: RowTag,
    formats: &[i16],
    max_rows: u32,
) -> Flow<State> {
    let formats = rows::formats(formats, rows.columns.len())?;
    let encoder = rows::Encoder::new(&rows.columns, &formats, session)?;
    let most = if max_rows == 0 { u64::MAX } else { u64::from(max_rows) };
    let guard = Guard::new(session);
    let work = async {
        let mut sent = 0;
        while sent < most {
            let limit = usize::try_from(most - sent).unwrap_or(usize::MAX);
            let Some(batch) = rows.next(limit).await? else { break };
            sent += batch.num_rows() as u64;
            rows::send(batch, &encoder, &mut session.out).await?;
        }
        session.shared.metrics.rows_sent.inc_by(sent);
        if sent == most {
            // As in Postgres, a limit that is reached suspends, even if no row is left.
            session.out.push(PortalSuspended::new());
            return Ok(State::Running(rows, tag));
        }
        session.out.complete(tag.text(sent));
        Ok(State::Done(tag))
    };
    guard.run(Some(inbox), work).await
}

/// Closing what does not exist is no error.
pub fn close(session: &mut Session, target: Target) -> Flow<()> {
    match target {
        Target::Statement(name) => {
            session.statements.remove(&name);
        }
        Target::Portal(name) => {
            session.portals.remove(&name);
        }
    }
    session.out.push(CloseComplete::new());
    Ok(())
}

/// The end of a pipeline: the implicit transaction is made lasting, and portals outside of a block end.
pub async fn sync(session: &mut Session, inbox: &mut Inbox<Read>) -> Flow<()> {
    if session.transaction.is_implicit() {
        session.start_statement();
        commands::transaction::commit_implicit(session, inbox).await?;
    }
    session.end_statement();
    Ok(())
}
