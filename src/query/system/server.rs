//! The server as Postgres's catalog shows it: one database, one role, the session's settings, who is connected.

use super::Known;
use super::rows::{SystemRows, list, row};
use crate::catalog::objects::{DATABASE, DATABASE_OID, OWNER, OWNER_NAME};
use crate::error::Result;
use crate::types::Type;

/// `pg_char_to_encoding('UTF8')`.
pub const UTF8: i32 = 6;
const COLLATION: &str = "C.UTF-8";
const DEFAULT_TABLESPACE: u32 = 1663;

pub fn fill(name: &str, known: &Known, rows: &mut SystemRows) -> Result<bool> {
    match name {
        "pg_database" => row!(rows; oid: DATABASE_OID, datname: DATABASE, datdba: OWNER, encoding: UTF8,
            datlocprovider: 'c', datallowconn: true, datconnlimit: -1, dattablespace: DEFAULT_TABLESPACE,
            datcollate: COLLATION, datctype: COLLATION),
        "pg_roles" => row!(rows; rolname: OWNER_NAME, rolsuper: true, rolinherit: true, rolcreaterole: true,
            rolcreatedb: true, rolcanlogin: true, rolreplication: true, rolconnlimit: -1, rolpassword: "********",
            rolbypassrls: true, oid: OWNER),
        "pg_authid" => row!(rows; oid: OWNER, rolname: OWNER_NAME, rolsuper: true, rolinherit: true,
            rolcreaterole: true, rolcreatedb: true, rolcanlogin: true, rolreplication: true, rolbypassrls: true,
            rolconnlimit: -1),
        "pg_user" | "pg_shadow" => row!(rows; usename: OWNER_NAME, usesysid: OWNER, usecreatedb: true, usesuper: true,
            userepl: true, usebypassrls: true, passwd: if name == "pg_user" { Some("********") } else { None }),
        "pg_tablespace" => {
            row!(rows; oid: DEFAULT_TABLESPACE, spcname: "pg_default", spcowner: OWNER);
            row!(rows; oid: 1664, spcname: "pg_global", spcowner: OWNER);
        }
        "pg_settings" => settings(known, rows)?,
        "pg_stat_activity" => activity(known, rows)?,
        "pg_cursors" => {
            for cursor in known.facts.cursors() {
                row!(rows; name: cursor.name, statement: cursor.statement, is_holdable: cursor.with_hold,
                    is_binary: cursor.binary, is_scrollable: cursor.scrollable, creation_time: cursor.created);
            }
        }
        "pg_prepared_statements" => {
            for prepared in known.facts.prepared_statements() {
                row!(rows; name: prepared.name, statement: prepared.statement, prepare_time: prepared.prepared,
                    parameter_types: list(prepared.parameter_types.iter().map(Type::oid)),
                    from_sql: prepared.from_sql, generic_plans: 0, custom_plans: 0);
            }
        }
        "pg_stat_database" => {
            let sessions = known.facts.sessions().len() as i64;
            row!(rows; datid: DATABASE_OID, datname: DATABASE, numbackends: sessions);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn settings(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for setting in known.facts.settings().iter() {
        let source = if setting.value == setting.default { "default" } else { "session" };
        row!(rows;
            name: &setting.name,
            setting: &setting.value,
            unit: setting.unit,
            category: "Riverrun",
            short_desc: setting.description,
            context: setting.context,
            vartype: setting.kind,
            source: source,
            boot_val: &setting.default,
            reset_val: &setting.default,
            pending_restart: false,
        );
    }
    Ok(())
}

fn activity(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for session in known.facts.sessions() {
        let active = session.state == "active";
        row!(rows;
            datid: DATABASE_OID,
            datname: session.database,
            pid: session.pid,
            usesysid: OWNER,
            usename: session.user,
            application_name: session.application_name,
            client_addr: session.client_address,
            client_port: session.client_port,
            backend_start: session.backend_start,
            xact_start: session.transaction_start,
            query_start: session.query_start,
            state_change: session.state_change,
            wait_event_type: if active { None } else { Some("Client") },
            wait_event: if active { None } else { Some("ClientRead") },
            state: session.state,
            query: session.query,
            backend_type: "client backend",
        );
    }
    Ok(())
}
