//! SET and RESET.

use super::Outcome;
use crate::error::SqlState;
use crate::server::session::{Flow, Session};
use crate::server::settings;
use crate::sql::statement::Set;

pub fn set(session: &mut Session, set: &Set) -> Flow<Outcome> {
    if set.local && !session.transaction.is_active() {
        session.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
    }
    // Outside of a block SET LOCAL ends with its own statement: it changes nothing, but wrong values are still errors.
    if set.local && !session.transaction.is_active() {
        session.settings.begin();
        let checked = change(session, set);
        session.settings.rollback();
        checked?;
    } else {
        change(session, set)?;
    }
    Outcome::tag("SET")
}

fn change(session: &mut Session, set: &Set) -> Flow<()> {
    let Some(values) = &set.values else { return Ok(session.reset(&set.name, set.local)?) };
    let is_list = settings::find(&set.name).is_some_and(|setting| setting.kind == settings::Kind::SearchPath);
    let text = match is_list {
        // Each value is one name, as it is.
        true => values.iter().map(|name| settings::quote_name(name)).collect::<Vec<_>>().join(", "),
        false => values.join(", "),
    };
    Ok(session.set(&set.name, &text, set.local)?)
}

pub fn reset(session: &mut Session, name: Option<&str>) -> Flow<Outcome> {
    match name {
        Some(name) => session.reset(name, false)?,
        None => session.settings.reset_all(),
    }
    Outcome::tag("RESET")
}
