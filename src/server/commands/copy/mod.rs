//! COPY: rows in and out as text or CSV.
//!
//! COPY FROM is one statement and atomic like any other: its rows are gathered in batches and written in one piece, up to
//! `max_transaction_rows` and `max_copy_size`. COPY TO sends rows as they are made.

mod csv;
mod format;
mod from;
mod lines;
mod text;
mod to;

use sqlparser::ast;

use super::{Call, Outcome};
use crate::catalog::{Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::server::Read;
use crate::server::session::{Flow, Guard, Session};
use crate::server::wire::Inbox;
use crate::sql::statement::{Copy, fold};

pub async fn run(session: &mut Session, inbox: &mut Inbox<Read>, copy: &Copy, call: Call<'_>) -> Flow<Outcome> {
    if copy.from {
        return from::run(session, inbox, copy).await;
    }
    let guard = Guard::new(session);
    guard.run(Some(inbox), to::run(session, copy, call)).await
}

/// The positions of the columns that are copied: those named, or all that aren't generated.
fn places(relation: &Relation, named: &[ast::Ident]) -> Result<Vec<usize>> {
    let generated = |place: usize| match &relation.kind {
        RelationKind::Table(table) => table.generated.get(place).is_some_and(Option::is_some),
        RelationKind::Stream(stream) => stream.generated.get(place).is_some_and(Option::is_some),
        _ => false,
    };
    if named.is_empty() {
        return Ok((0..relation.columns.len()).filter(|place| !generated(*place)).collect());
    }
    let mut places = Vec::new();
    for ident in named {
        let name = fold(ident);
        let Some(place) = relation.columns.iter().position(|column| column.name == name) else {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
        };
        if places.contains(&place) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
        if generated(place) {
            let message = format!("column \"{name}\" is a generated column");
            return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message)
                .with_detail("Generated columns cannot be used in COPY."));
        }
        places.push(place);
    }
    Ok(places)
}
