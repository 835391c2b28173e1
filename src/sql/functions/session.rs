//! What a session knows about itself: its user, database, settings, version; and values that are new on every call.
//! Functions that need the catalog are not here.

use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::date_functions::timestamptz_literal;
use super::entry::{Function, Typed, constant_text, immutable, of_session, text_literal};
use super::kernel::Call;
use super::strict::{strict0, strict1};
use crate::error::{Error, Result, SqlState};
use crate::sql::SessionConstants;
use crate::types::Type;
use crate::types::pg_type::oid::*;

/// What clients branch on: the PostgreSQL whose behaviour they may count on, first.
pub const SERVER_VERSION: &str = concat!("15.0 (Riverrun ", env!("CARGO_PKG_VERSION"), ")");

fn name_literal(value: &str) -> Typed {
    Typed { ty: Type::Name, ..text_literal(value) }
}

fn version(_: Vec<Typed>, _: &SessionConstants) -> Result<Typed> {
    Ok(text_literal(format!("PostgreSQL {SERVER_VERSION} on {}", std::env::consts::ARCH)))
}

fn user(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    Ok(name_literal(&session.user))
}

fn database(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    Ok(name_literal(&session.database))
}

fn backend_pid(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    Ok(Typed::new(Expr::Literal(ScalarValue::Int32(Some(session.backend_pid)), None), Type::Int4))
}

fn start_time(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    Ok(timestamptz_literal(session.server_start))
}

fn transaction_number(_: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    Ok(Typed::new(Expr::Literal(ScalarValue::Int64(Some(session.transaction)), None), Type::Int8))
}

fn client_encoding(_: Vec<Typed>, _: &SessionConstants) -> Result<Typed> {
    Ok(name_literal("UTF8"))
}

fn no(_: Vec<Typed>, _: &SessionConstants) -> Result<Typed> {
    Ok(Typed::new(Expr::Literal(ScalarValue::Boolean(Some(false)), None), Type::Bool))
}

fn current_setting(args: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    let name = constant_text(&args[0].expr).ok_or_else(|| {
        Error::unsupported("current_setting of a name that is no constant", "Read pg_settings instead.")
    })?;
    let missing_ok =
        args.get(1).is_some_and(|arg| matches!(arg.expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _)));
    match session.settings.iter().find(|row| row.name.eq_ignore_ascii_case(name)) {
        Some(row) => Ok(text_literal(row.value.clone())),
        None if missing_ok => Ok(Typed::new(Expr::Literal(ScalarValue::Utf8(None), None), Type::Text)),
        None => Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))),
    }
}

fn typeof_(args: Vec<Typed>, _: &SessionConstants) -> Result<Typed> {
    let oid = match args[0].ty {
        Type::Unknown => UNKNOWN,
        ref ty => ty.oid(),
    };
    Ok(Typed::new(Expr::Literal(ScalarValue::UInt32(Some(oid)), None), Type::Regtype))
}

fn random_uuid(call: &Call) -> Result<ArrayRef> {
    strict0(call, || Ok(*uuid::Uuid::new_v4().as_bytes()))
}

fn size_pretty(call: &Call) -> Result<ArrayRef> {
    strict1(call, |bytes: i64| {
        const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
        let mut size = i128::from(bytes);
        // As Postgres does: shifted with one bit kept for the rounding at the end.
        for (n, unit) in UNITS.iter().enumerate() {
            let limit = if n == 0 { 10 * 1024 } else { 20 * 1024 - 1 };
            if size.abs() < limit || n == UNITS.len() - 1 {
                let shown = if n == 0 { size } else { (size + size.signum()) / 2 };
                return Ok(format!("{shown} {unit}"));
            }
            size /= if n == 0 { 512 } else { 1024 };
        }
        Ok(String::new())
    })
}

pub const FUNCTIONS: &[Function] = &[
    of_session(89, "version", &[], TEXT, version, "Version of the server."),
    of_session(745, "current_user", &[], NAME, user, "Name of the user."),
    of_session(746, "session_user", &[], NAME, user, "Name of the user."),
    of_session(16_800_020, "user", &[], NAME, user, "Name of the user."),
    of_session(16_800_021, "current_role", &[], NAME, user, "Name of the user."),
    of_session(861, "current_database", &[], NAME, database, "Name of the database."),
    of_session(16_800_022, "current_catalog", &[], NAME, database, "Name of the database."),
    of_session(2026, "pg_backend_pid", &[], INT4, backend_pid, "Number of the session, for pg_cancel_backend."),
    of_session(2560, "pg_postmaster_start_time", &[], TIMESTAMPTZ, start_time, "When the server was started."),
    of_session(
        2943,
        "txid_current",
        &[],
        INT8,
        transaction_number,
        "Number of the transaction; those that begin later have greater ones.",
    ),
    of_session(810, "pg_client_encoding", &[], NAME, client_encoding, "UTF8."),
    of_session(3810, "pg_is_in_recovery", &[], BOOL, no, "False."),
    of_session(2077, "current_setting", &[TEXT], TEXT, current_setting, "Value of a setting."),
    of_session(
        3294,
        "current_setting",
        &[TEXT, BOOL],
        TEXT,
        current_setting,
        "Value of a setting; NULL if it is none and the second is true.",
    ),
    of_session(1619, "pg_typeof", &[ANY], REGTYPE, typeof_, "Type of the argument."),
    immutable(3432, "gen_random_uuid", &[], UUID, random_uuid, "A random uuid.").volatile(),
    immutable(2288, "pg_size_pretty", &[INT8], TEXT, size_pretty, "Bytes with a unit."),
];
