//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT and SET TRANSACTION.

use super::Outcome;
use crate::error::{Error, SqlState};
use crate::server::Read;
use crate::server::session::{Flow, Guard, Session};
use crate::server::wire::Inbox;
use crate::sql::statement::{Isolation, TransactionModes};

pub fn begin(session: &mut Session, modes: &TransactionModes, tag: &str) -> Flow<Outcome> {
    check_modes(modes)?;
    if session.transaction.is_open() {
        session.warn(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress");
    }
    session.transaction.begin_block(&mut session.settings);
    apply_modes(session, modes)?;
    Outcome::tag(tag)
}

/// COMMIT. Of a block that failed it is a ROLLBACK, and says so. AND CHAIN: the next block is like this one.
pub async fn commit(session: &mut Session, chain: bool) -> Flow<Outcome> {
    let modes = session.settings.modes();
    if !session.transaction.is_open() {
        if chain {
            return Err(not_in_block("COMMIT AND CHAIN"));
        }
        session.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
    }
    let guard = Guard::new(session);
    // Reading what is held may be given up. As in Postgres, a COMMIT that fails has ended the transaction.
    if let Err(failure) = guard.run(None, super::cursor::hold(session)).await {
        session.transaction.rollback(&mut session.settings);
        session.drop_transaction_portals();
        return Err(failure);
    }
    let committed = guard.settle(None, async { Ok(session.commit().await?) }).await;
    session.drop_transaction_portals();
    let tag = if committed? { "COMMIT" } else { "ROLLBACK" };
    if chain {
        session.transaction.begin_block(&mut session.settings);
        session.settings.set_modes(modes);
    }
    Outcome::tag(tag)
}

/// The end of what was one transaction without anybody saying so.
pub async fn commit_implicit(session: &mut Session, inbox: &mut Inbox<Read>) -> Flow<()> {
    let guard = Guard::new(session);
    guard.run(Some(&mut *inbox), super::cursor::hold(session)).await?;
    guard.settle(Some(inbox), async { Ok(session.commit().await?) }).await?;
    session.drop_transaction_portals();
    Ok(())
}

pub fn rollback(session: &mut Session, chain: bool) -> Flow<Outcome> {
    let modes = session.settings.modes();
    if !session.transaction.is_open() {
        if chain {
            return Err(not_in_block("ROLLBACK AND CHAIN"));
        }
        session.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
    }
    session.transaction.rollback(&mut session.settings);
    session.drop_transaction_portals();
    if chain {
        session.transaction.begin_block(&mut session.settings);
        session.settings.set_modes(modes);
    }
    Outcome::tag("ROLLBACK")
}

pub fn savepoint(session: &mut Session, name: &str) -> Flow<Outcome> {
    if !session.transaction.is_open() {
        return Err(not_in_block("SAVEPOINT"));
    }
    // It keeps the settings as they are now.
    session.budget.check(session.settings.bytes() + session.settings.level_bytes())?;
    session.savepoint(name)?;
    Outcome::tag("SAVEPOINT")
}

pub fn release(session: &mut Session, name: &str) -> Flow<Outcome> {
    if !session.transaction.is_open() {
        return Err(not_in_block("RELEASE SAVEPOINT"));
    }
    session.transaction.release(name, &mut session.settings)?;
    Outcome::tag("RELEASE")
}

pub fn rollback_to(session: &mut Session, name: &str) -> Flow<Outcome> {
    if !session.transaction.is_open() {
        return Err(not_in_block("ROLLBACK TO SAVEPOINT"));
    }
    session.rollback_to(name)?;
    Outcome::tag("ROLLBACK")
}

fn not_in_block(statement: &str) -> crate::server::session::Failure {
    let message = format!("{statement} can only be used in transaction blocks");
    Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message).into()
}

/// SET TRANSACTION, and SET SESSION CHARACTERISTICS for the transactions to come.
pub fn set_modes(session: &mut Session, modes: &TransactionModes, for_session: bool) -> Flow<Outcome> {
    check_modes(modes)?;
    if for_session {
        if let Some(isolation) = modes.isolation {
            session.settings.set("default_transaction_isolation", name(isolation), false)?;
        }
        if let Some(read_only) = modes.read_only {
            session.settings.set("default_transaction_read_only", on_off(read_only), false)?;
        }
    } else if session.transaction.is_active() {
        apply_modes(session, modes)?;
    } else {
        session.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, "SET TRANSACTION can only be used in transaction blocks");
    }
    Outcome::tag("SET")
}

/// A transaction reads one epoch and its writes conflict with others': that is what READ COMMITTED and REPEATABLE READ ask
/// for, and more. SERIALIZABLE asks for more than that.
fn check_modes(modes: &TransactionModes) -> Flow<()> {
    if modes.isolation == Some(Isolation::Serializable) && modes.read_only != Some(true) {
        let hint =
            "Use REPEATABLE READ: the transaction reads one moment, and the first of two conflicting writers wins.";
        return Err(Error::unsupported("ISOLATION LEVEL SERIALIZABLE", hint).into());
    }
    Ok(())
}

/// What is not said stays as it is.
fn apply_modes(session: &mut Session, modes: &TransactionModes) -> Flow<()> {
    if let Some(isolation) = modes.isolation {
        session.set("transaction_isolation", name(isolation), true)?;
    }
    if let Some(read_only) = modes.read_only {
        session.set("transaction_read_only", on_off(read_only), true)?;
    }
    Ok(())
}

fn name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadUncommitted => "read uncommitted",
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead | Isolation::Serializable => "repeatable read",
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
