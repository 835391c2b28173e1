//! The table of settings: every name that SET, SHOW, the start-up packet, riverrun.toml and the environment know.
//!
//! Postgres's settings that clients send and that mean nothing here (planner switches, memory of a backend) are
//! accepted and kept, so that tools work; their description says that nothing depends on them.

use super::value::{Kind, Unit};
use crate::sql::functions::SERVER_VERSION;

/// Who may change a setting, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Anyone, for their session.
    User,
    /// The configuration, at start.
    Server,
    /// Nobody: it says what is.
    Internal,
}

impl Context {
    /// `pg_settings.context`.
    pub fn name(self) -> &'static str {
        match self {
            Context::User => "user",
            Context::Server => "postmaster",
            Context::Internal => "internal",
        }
    }
}

pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    pub context: Context,
    /// Clients are told when it changes (ParameterStatus).
    pub report: bool,
    pub description: &'static str,
}

/// The setting of this name, in any case.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

const TIMEOUT: Kind = Kind::Int { unit: Unit::Milliseconds, min: 0, max: i32::MAX as i64 };
const SECONDS: Kind = Kind::Int { unit: Unit::Seconds, min: 0, max: 32_767 };
const COUNT: Kind = Kind::Int { unit: Unit::None, min: 1, max: i32::MAX as i64 };
const ZERO_OR_MORE: Kind = Kind::Int { unit: Unit::None, min: 0, max: i32::MAX as i64 };
const SIZE: Kind = Kind::Int { unit: Unit::Bytes, min: 1024, max: i64::MAX >> 1 };
const ZERO_OR_SIZE: Kind = Kind::Int { unit: Unit::Bytes, min: 0, max: i64::MAX >> 1 };
const KILOBYTES: Kind = Kind::Int { unit: Unit::Kilobytes, min: 64, max: i32::MAX as i64 };
const MESSAGE_SIZE: Kind = Kind::Int { unit: Unit::Bytes, min: 65_536, max: 1 << 30 };
const LEVELS: Kind =
    Kind::Enum(&["notice", "debug5", "debug4", "debug3", "debug2", "debug1", "log", "warning", "error"]);
const ISOLATION: Kind = Kind::Enum(&["repeatable read", "read committed", "read uncommitted"]);
const ON_OFF_AUTO: Kind = Kind::Enum(&["auto", "on", "off", "force_generic_plan", "force_custom_plan", "partition"]);

const fn user(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Setting {
    Setting { name, kind, default, context: Context::User, report: false, description }
}

const fn server(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Setting {
    Setting { name, kind, default, context: Context::Server, report: false, description }
}

const fn fixed(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Setting {
    Setting { name, kind, default, context: Context::Internal, report: false, description }
}

/// A switch of Postgres's that clients set and nothing here depends on.
const fn unused(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    user(name, kind, default, "Accepted for clients that set it; nothing depends on it.")
}

const fn reported(mut setting: Setting) -> Setting {
    setting.report = true;
    setting
}

pub const SETTINGS: &[Setting] = &[
    // What every client is told at its start.
    reported(user("application_name", Kind::ApplicationName, "", "The name the client gives itself.")),
    reported(user("client_encoding", Kind::Encoding, "UTF8", "The client's encoding; only UTF8 exists.")),
    reported(user("DateStyle", Kind::DateStyle, "ISO, MDY", "How dates are printed and read: always ISO, MDY.")),
    reported(user("default_transaction_read_only", Kind::Bool, "off", "New transactions may not write.")),
    reported(fixed("in_hot_standby", Kind::Bool, "off", "There are no standbys.")),
    reported(fixed("integer_datetimes", Kind::Bool, "on", "Times are whole microseconds.")),
    reported(user(
        "IntervalStyle",
        Kind::Only(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "postgres",
        "How intervals are printed.",
    )),
    reported(fixed("is_superuser", Kind::Bool, "on", "While no users exist, everyone may do everything.")),
    reported(fixed("server_encoding", Kind::Text, "UTF8", "Text is UTF8.")),
    reported(fixed(
        "server_version",
        Kind::Text,
        SERVER_VERSION,
        "The Postgres version clients may rely on, and ours.",
    )),
    reported(fixed("session_authorization", Kind::Text, "postgres", "The user of the session.")),
    reported(user("standard_conforming_strings", Kind::Always(true), "on", "A backslash in '...' is a backslash.")),
    reported(user("TimeZone", Kind::TimeZone, "UTC", "The time zone of timestamptz input and output.")),
    // What they ask for.
    fixed("server_version_num", Kind::Text, "150000", "The Postgres version as a number."),
    fixed("block_size", Kind::Text, "8192", "Postgres's page size; pages do not exist here."),
    fixed("max_identifier_length", Kind::Text, "63", "Bytes of the longest name."),
    fixed("max_index_keys", Kind::Text, "32", "Columns an index may have."),
    fixed("lc_collate", Kind::Text, "C.UTF-8", "Text orders by its bytes."),
    fixed("lc_ctype", Kind::Text, "C.UTF-8", "Letters change case by Unicode."),
    fixed("ssl", Kind::Bool, "off", "Connections are not encrypted yet."),
    fixed("wal_level", Kind::Text, "replica", "Asked for by tools; there is no WAL to read."),
    // Session.
    user("search_path", Kind::SearchPath, "\"$user\", public", "Schemas in which unqualified names are looked for."),
    user("statement_timeout", TIMEOUT, "0", "Cancels a statement that takes longer; 0 is off."),
    user("lock_timeout", TIMEOUT, "0", "Accepted; nothing waits for locks."),
    user("idle_in_transaction_session_timeout", TIMEOUT, "0", "Ends a session that idles in a transaction; 0 is off."),
    user("idle_session_timeout", TIMEOUT, "0", "Ends a session that idles outside a transaction; 0 is off."),
    user("client_min_messages", LEVELS, "notice", "The least severe messages that are sent."),
    user(
        "extra_float_digits",
        Kind::Int { unit: Unit::None, min: 1, max: 3 },
        "1",
        "Floats always print shortest and exact.",
    ),
    user("bytea_output", Kind::Only(&["hex", "escape"]), "hex", "How bytea is printed."),
    user("default_transaction_isolation", ISOLATION, "repeatable read", "All levels read one epoch a transaction."),
    user("transaction_isolation", ISOLATION, "repeatable read", "All levels read one epoch a transaction."),
    user("transaction_read_only", Kind::Bool, "off", "This transaction may not write."),
    user("row_security", Kind::Bool, "on", "Accepted for clients that set it; there are no row policies."),
    // The server.
    server("data_dir", Kind::Text, "./riverrun-data", "Where everything is kept."),
    server("listen", Kind::Text, "127.0.0.1:7432", "Where Postgres clients connect."),
    server("http_listen", Kind::Text, "127.0.0.1:7433", "Where metrics and health checks are."),
    server("insecure", Kind::Bool, "off", "May listen on more than loopback, though there are no passwords yet."),
    server("max_connections", COUNT, "1000", "Sessions at once."),
    server(
        "workers",
        Kind::Int { unit: Unit::None, min: 0, max: 256 },
        "0",
        "Threads that maintain views; 0 is one a core.",
    ),
    server(
        "memory_limit",
        SIZE,
        "4GB",
        "Memory of the server. A quarter is for sorts, joins and groups of reads; state is counted, not yet limited.",
    ),
    server(
        "disk_reserve",
        ZERO_OR_SIZE,
        "128MB",
        "Writes leave this much of the data disk free, or are refused (53100); 0 is off.",
    ),
    server(
        "dead_letter_retention",
        ZERO_OR_SIZE,
        "64MB",
        "Bytes of records that are no rows kept in rr_dead_letters, the newest of all streams; 0 keeps none.",
    ),
    server("max_transaction_rows", COUNT, "10000000", "Rows one transaction may write."),
    server("tcp_keepalives_idle", SECONDS, "60s", "A client silent for so long is asked by TCP; 0 is the system's."),
    server("tcp_keepalives_interval", SECONDS, "10s", "How often it is asked again; 0 is the system's."),
    server("tcp_keepalives_count", ZERO_OR_MORE, "6", "How often in vain before it is gone; 0 is the system's."),
    server(
        "tcp_user_timeout",
        TIMEOUT,
        "0",
        "A client that takes nothing of what is sent for so long is gone, also one that is only slow; 0 is the system's.",
    ),
    server(
        "max_session_memory",
        SIZE,
        "512MB",
        "Bytes one session keeps between statements: prepared ones, portals, rows of cursors, settings, savepoints.",
    ),
    server("max_copy_size", SIZE, "1GB", "Bytes of rows that one COPY FROM may hold; it is written in one piece."),
    server("max_statement_size", MESSAGE_SIZE, "16MB", "Bytes of the longest statement."),
    server("max_message_size", MESSAGE_SIZE, "64MB", "Bytes of the longest message: all parameters, a COPY row."),
    // Postgres's, without effect.
    unused("array_nulls", Kind::Always(true), "on"),
    unused("backslash_quote", Kind::Enum(&["safe_encoding", "on", "off"]), "safe_encoding"),
    unused("check_function_bodies", Kind::Bool, "on"),
    unused("constraint_exclusion", ON_OFF_AUTO, "partition"),
    unused("cursor_tuple_fraction", Kind::Real { min: 0.0, max: 1.0 }, "0.1"),
    unused("default_tablespace", Kind::Text, ""),
    unused("default_table_access_method", Kind::Text, "heap"),
    unused("default_text_search_config", Kind::Text, "pg_catalog.simple"),
    unused("default_transaction_deferrable", Kind::Bool, "off"),
    unused("transaction_deferrable", Kind::Bool, "off"),
    unused("effective_cache_size", KILOBYTES, "4GB"),
    unused("enable_bitmapscan", Kind::Bool, "on"),
    unused("enable_hashagg", Kind::Bool, "on"),
    unused("enable_hashjoin", Kind::Bool, "on"),
    unused("enable_indexonlyscan", Kind::Bool, "on"),
    unused("enable_indexscan", Kind::Bool, "on"),
    unused("enable_material", Kind::Bool, "on"),
    unused("enable_mergejoin", Kind::Bool, "on"),
    unused("enable_nestloop", Kind::Bool, "on"),
    unused("enable_seqscan", Kind::Bool, "on"),
    unused("enable_sort", Kind::Bool, "on"),
    unused("escape_string_warning", Kind::Bool, "on"),
    unused("from_collapse_limit", COUNT, "8"),
    unused("geqo", Kind::Bool, "on"),
    unused("jit", Kind::Bool, "off"),
    unused("join_collapse_limit", COUNT, "8"),
    unused("lc_messages", Kind::Text, "C.UTF-8"),
    unused("lc_monetary", Kind::Text, "C.UTF-8"),
    unused("lc_numeric", Kind::Text, "C.UTF-8"),
    unused("lc_time", Kind::Text, "C.UTF-8"),
    unused("log_min_messages", LEVELS, "warning"),
    unused("log_statement", Kind::Enum(&["none", "ddl", "mod", "all"]), "none"),
    unused("maintenance_work_mem", KILOBYTES, "64MB"),
    unused("max_parallel_workers_per_gather", ZERO_OR_MORE, "2"),
    unused("password_encryption", Kind::Enum(&["scram-sha-256", "md5"]), "scram-sha-256"),
    unused("plan_cache_mode", ON_OFF_AUTO, "auto"),
    unused("quote_all_identifiers", Kind::Bool, "off"),
    unused("random_page_cost", Kind::Real { min: 0.0, max: f64::MAX }, "4"),
    unused("session_replication_role", Kind::Enum(&["origin", "replica", "local"]), "origin"),
    unused("synchronize_seqscans", Kind::Bool, "on"),
    unused("synchronous_commit", Kind::Enum(&["on", "off", "local", "remote_write", "remote_apply"]), "on"),
    unused("temp_buffers", KILOBYTES, "8MB"),
    unused("temp_tablespaces", Kind::Text, ""),
    unused("timezone_abbreviations", Kind::Text, "Default"),
    unused("transform_null_equals", Kind::Always(false), "off"),
    unused("work_mem", KILOBYTES, "4MB"),
    unused("xmloption", Kind::Enum(&["content", "document"]), "content"),
];
