//! DISCARD: what connection pools say before a connection changes hands.

use super::Outcome;
use crate::server::session::{Flow, Session};
use crate::sql::statement::Discard;

pub fn run(session: &mut Session, what: Discard) -> Flow<Outcome> {
    let tag = match what {
        Discard::All => {
            session.transaction.refuse_in_block("DISCARD ALL")?;
            session.portals.clear();
            session.statements.clear();
            session.settings.reset_all();
            "DISCARD ALL"
        }
        // Plans are made for each execution; there are no sequences and no temporary tables.
        Discard::Plans => "DISCARD PLANS",
        Discard::Sequences => "DISCARD SEQUENCES",
        Discard::Temporary => "DISCARD TEMP",
    };
    Outcome::tag(tag)
}
