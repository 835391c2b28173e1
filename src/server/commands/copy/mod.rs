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

use super::{Call, Outcome};
use crate::server::Read;
use crate::server::session::{Flow, Guard, Session};
use crate::server::wire::Inbox;
use crate::sql::statement::Copy;

pub async fn run(session: &mut Session, inbox: &mut Inbox<Read>, copy: &Copy, call: Call<'_>) -> Flow<Outcome> {
    if copy.from {
        return from::run(session, inbox, copy).await;
    }
    let guard = Guard::new(session);
    guard.run(Some(inbox), to::run(session, copy, call)).await
}
