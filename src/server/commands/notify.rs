//! LISTEN, UNLISTEN, NOTIFY and DO: what pools and drivers say by habit is accepted, what would have to do something is refused.

use super::Outcome;
use crate::error::Error;
use crate::server::session::Flow;
use crate::sql::statement::Statement;

pub fn run(statement: &Statement) -> Flow<Outcome> {
    match statement {
        // Nobody listens, so nobody can stop.
        Statement::Unlisten(_) => Outcome::tag("UNLISTEN"),
        // asyncpg's reset: "if there are channels that are listened to, UNLISTEN". There are none.
        Statement::Do { body, .. } if body.contains("pg_listening_channels") => Outcome::tag("DO"),
        Statement::Do { .. } => {
            Err(Error::unsupported("DO", "There is no procedural language; send the statements.").into())
        }
        other => Err(Error::unsupported(other.tag(), "Read the view again, or poll a cursor.").into()),
    }
}
