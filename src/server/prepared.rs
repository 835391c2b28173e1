//! Statements as they are prepared: parsed, their parameters' types and their columns known, nothing run.
//!
//! Names are looked up again at each execution: what is kept is what was written, so that it always means what the
//! catalog, the settings and the time of the execution say. A result whose columns have changed since is refused.

use super::aside::aside_if_long;
use super::budget::Share;
use super::commands;
use super::rows::Columns;
use super::session::{Flow, Session};
use crate::error::{Error, Result, SqlState};
use crate::sql;
use crate::sql::statement::Parsed;
use crate::types::Type;

pub struct Prepared {
    /// As the client sent it.
    pub text: String,
    /// `None`: there is no statement in the text.
    pub parsed: Option<Parsed>,
    pub parameters: Vec<Type>,
    /// `None`: it gives no rows.
    pub columns: Option<Columns>,
    /// By PREPARE rather than the protocol.
    pub from_sql: bool,
    /// Microseconds since 1970 UTC.
    pub at: i64,
    /// Its part of what the session may keep.
    pub _kept: Share,
}

/// Bytes of a statement in memory for a byte of its text, roughly.
const TREE: usize = 16;

impl Prepared {
    /// Prepares a text of at most one statement. `given` are the types the client names, `None` where it leaves them open.
    pub async fn new(session: &mut Session, text: String, given: Vec<Option<Type>>) -> Flow<Prepared> {
        let (text, mut statements) = parse(text).await?;
        if statements.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).into());
        }
        match statements.pop() {
            Some(parsed) => Prepared::of(session, text, parsed, given, false).await,
            None => Ok(Prepared {
                _kept: session.keep(text.len())?,
                text,
                parsed: None,
                parameters: Vec::new(),
                columns: None,
                from_sql: false,
                at: super::now(),
            }),
        }
    }

    pub async fn of(
        session: &mut Session,
        text: String,
        parsed: Parsed,
        given: Vec<Option<Type>>,
        from_sql: bool,
    ) -> Flow<Prepared> {
        if !commands::ends_block(&parsed.statement) {
            session.transaction.check()?;
        }
        let kept = session.keep(TREE * text.len())?;
        let described = commands::describe(session, &parsed.statement, parsed.text.len(), given).await?;
        let (parameters, columns) = (described.parameters, described.columns);
        Ok(Prepared { text, parsed: Some(parsed), parameters, columns, from_sql, at: super::now(), _kept: kept })
    }

    /// The result must have the columns that were announced.
    pub fn check_columns(&self, now: Option<&Columns>) -> Result<()> {
        let same = match (&self.columns, now) {
            (Some(announced), Some(now)) => {
                announced.len() == now.len()
                    && announced.iter().zip(now.iter()).all(|(a, b)| a.ty == b.ty && a.name == b.name)
            }
            (None, None) => true,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"))
    }
}

/// The statements of a text, and the text.
pub async fn parse(text: String) -> Result<(String, Vec<Parsed>)> {
    aside_if_long(text.len(), move || {
        let parsed = sql::parse::parse(&text)?;
        Ok((text, parsed))
    })
    .await
}

impl Session {
    /// Keeps a statement. The unnamed one takes its predecessor's place; another name must be free (42P05).
    pub fn keep_statement(&mut self, name: String, statement: Prepared) -> Result<()> {
        /// Statements one session may keep.
        const MOST: usize = 10_000;
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DUPLICATE_PREPARED_STATEMENT, message));
        }
        if self.statements.len() >= MOST {
            let message = format!("too many prepared statements: the limit is {MOST}");
            return Err(
                Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).with_hint("DEALLOCATE what is not needed.")
            );
        }
        self.statements.insert(name, statement.into());
        Ok(())
    }

    pub fn statement(&self, name: &str) -> Result<&std::sync::Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_string(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }
}
