//! The simple protocol: one message, any number of statements, one after the other up to the first error.
//!
//! Several statements are one transaction, unless they say otherwise themselves with BEGIN and COMMIT.

use std::sync::Arc;
use std::time::Instant;

use super::Read;
use super::commands::{self, Call, Outcome};
use super::prepared;
use super::rows::{self, Rows};
use super::session::{Flow, Guard, Session};
use super::wire::Inbox;
use crate::query::Parameters;
use crate::sql::statement::Parsed;
use pgwire::messages::response::EmptyQueryResponse;

pub async fn query(session: &mut Session, inbox: &mut Inbox<Read>, text: String) -> Flow<()> {
    // As in Postgres, the unnamed statement and portal don't outlive a simple query.
    session.statements.remove("");
    session.portals.remove("");
    session.start_statement();
    let (_, statements) = Guard::new(session).run(Some(inbox), async { Ok(prepared::parse(text).await?) }).await?;
    if statements.is_empty() {
        session.out.push(EmptyQueryResponse::new());
        return Ok(());
    }
    let several = statements.len() > 1;
    for parsed in statements {
        if !commands::ends_block(&parsed.statement) {
            session.transaction.check()?;
        }
        if several {
            session.transaction.begin_implicit(&mut session.settings);
        }
        statement(session, inbox, parsed).await?;
    }
    if session.transaction.is_implicit() {
        commands::transaction::commit_implicit(session, inbox).await?;
    }
    session.end_statement();
    Ok(())
}

/// Runs one statement and sends all it gives.
async fn statement(session: &mut Session, inbox: &mut Inbox<Read>, parsed: Parsed) -> Flow<()> {
    session.next_statement();
    let started = Instant::now();
    let tag = parsed.statement.tag();
    let none: Parameters = Arc::new([]);
    match commands::run(session, inbox, Call { parsed: &parsed, prepared: None, parameters: &none }).await? {
        Outcome::Done(tag) => session.out.complete(tag),
        Outcome::Rows(mut rows, tag) => {
            let guard = Guard::new(session);
            guard.run(Some(inbox), async { Ok(rows.prefetch().await?) }).await?;
            let format = i16::from(rows.binary);
            let formats = vec![format; rows.columns.len()];
            session.out.push(rows::description(&rows.columns, &formats));
            let sent = guard.run(Some(inbox), send_all(session, rows, &formats)).await?;
            session.out.complete(tag.text(sent));
        }
    }
    session.shared.metrics.completed(tag, started.elapsed().as_secs_f64());
    Ok(())
}

async fn send_all(session: &mut Session, mut rows: Rows, formats: &[i16]) -> Flow<u64> {
    let encoder = rows::Encoder::new(&rows.columns, formats, session)?;
    let mut sent = 0;
    while let Some(batch) = rows.next(usize::MAX).await? {
        sent += batch.num_rows() as u64;
        rows::send(batch, &encoder, &mut session.out).await?;
    }
    session.shared.metrics.rows_sent.inc_by(sent);
    Ok(sent)
}
