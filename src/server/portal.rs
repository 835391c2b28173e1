//! Portals: a statement with its parameters, ready to run or partly run; cursors are portals with a name in SQL.

use std::sync::Arc;

use super::budget::Share;
use super::prepared::Prepared;
use super::rows::{Columns, Rows};
use crate::query::Parameters;

pub struct Portal {
    pub statement: Arc<Prepared>,
    pub parameters: Parameters,
    /// One a column of the result.
    pub formats: Vec<i16>,
    pub state: State,
    /// How many portals the session had opened before it.
    pub opened: u64,
    /// Its part of what the session may keep.
    pub _kept: Share,
}

pub enum State {
    New,
    /// Part of the result is sent.
    Running(Rows, RowTag),
    /// All is sent; a further Execute answers with no rows.
    Done(RowTag),
    /// A statement without rows has run.
    Finished,
    Cursor(super::commands::cursor::Cursor),
}

/// How the tag of a result with rows is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowTag {
    /// The word and the number of rows sent: `SELECT 3`.
    Counted(&'static str),
    /// The word and the number of all rows, in however many pieces they are sent: `INSERT 0 3`.
    All(&'static str, u64),
    /// The word alone: `SHOW`, `EXPLAIN`.
    Plain(&'static str),
}

impl RowTag {
    pub fn text(self, rows: u64) -> String {
        match self {
            RowTag::Counted(word) => format!("{word} {rows}"),
            RowTag::All(word, rows) => format!("{word} {rows}"),
            RowTag::Plain(word) => word.to_string(),
        }
    }
}

impl Portal {
    /// Survives its transaction: a cursor WITH HOLD.
    pub fn is_held(&self) -> bool {
        matches!(&self.state, State::Cursor(cursor) if cursor.is_held())
    }

    /// The columns it gives, if it gives rows.
    pub fn columns(&self) -> Option<Columns> {
        match &self.state {
            State::Cursor(cursor) => Some(cursor.columns()),
            State::Running(rows, _) => Some(rows.columns.clone()),
            _ => self.statement.columns.clone(),
        }
    }
}
