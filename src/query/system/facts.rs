//! What only the running server knows. The engine and the server answer; `rr_catalog` and parts of `pg_catalog` show
//! it.

use std::sync::Arc;

use crate::catalog::Relation;
use crate::error::Result;
use crate::sql::SettingRow;
use crate::types::{RelationId, Type};

/// Everything has an empty answer, so that each side implements what it knows. Called when a query reads the
/// relation concerned; answers should come without waiting.
pub trait RuntimeFacts: Send + Sync {
    /// A relation's name, with its schema where the name alone means another to the session, or nothing. So `rr_catalog` names
    /// relations.
    fn name_of(&self, relation: &Relation) -> String {
        relation.name.clone()
    }

    /// Streams, tables, views: how large, how far. For `rr_relations`.
    fn relations(&self) -> Vec<RelationFacts> {
        Vec::new()
    }

    fn source_partitions(&self) -> Vec<SourcePartition> {
        Vec::new()
    }

    fn ddl_progress(&self) -> Vec<DdlProgress> {
        Vec::new()
    }

    /// Newest last. Bounded by the retention setting.
    fn dead_letters(&self) -> Result<Vec<DeadLetterRow>> {
        Ok(Vec::new())
    }

    fn expression_errors(&self) -> Vec<ExpressionError> {
        Vec::new()
    }

    fn holds(&self) -> Vec<Hold> {
        Vec::new()
    }

    /// Settings as this session sees them. For `pg_settings` and `rr_settings`.
    fn settings(&self) -> Arc<[SettingRow]> {
        Arc::from([])
    }

    /// Connected sessions. For `pg_stat_activity`.
    fn sessions(&self) -> Vec<SessionFacts> {
        Vec::new()
    }

    /// Cursors of this session. For `pg_cursors`.
    fn cursors(&self) -> Vec<CursorFacts> {
        Vec::new()
    }

    /// Prepared statements of this session. For `pg_prepared_statements`.
    fn prepared_statements(&self) -> Vec<PreparedFacts> {
        Vec::new()
    }
}

/// Nobody to ask.
pub struct NoFacts;

impl RuntimeFacts for NoFacts {}

#[derive(Clone, Debug, PartialEq)]
pub struct RelationFacts {
    pub id: RelationId,
    pub rows: Option<i64>,
    pub state_bytes: Option<i64>,
    pub epoch: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SourcePartition {
    pub stream: String,
    pub partition: i32,
    pub next_offset: i64,
    /// One past the newest record, where the source tells. The lag is the difference.
    pub end_offset: Option<i64>,
    /// `running`, `finished`, `retrying`, `stopped`.
    pub state: String,
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DdlProgress {
    pub pid: i32,
    pub object: String,
    /// `filling` a view, `building` an index.
    pub state: String,
    pub rows_done: Option<i64>,
    pub rows_total: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterRow {
    pub stream: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub reason: String,
    /// Microseconds since 1970 UTC.
    pub at: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExpressionError {
    pub view: String,
    pub sqlstate: String,
    pub message: String,
    pub count: i64,
    pub sample: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// `read`, `transaction`, `backfill`, `sink`, `subscription`.
    pub kind: String,
    /// A session's pid; the name of the view that is filled, or of the index that is built; `sequencer`.
    pub owner: String,
    pub epoch: i64,
    /// Microseconds since 1970 UTC.
    pub since: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SessionFacts {
    pub pid: i32,
    pub user: String,
    pub database: String,
    pub application_name: String,
    pub client_address: Option<String>,
    pub client_port: Option<i32>,
    /// Microseconds since 1970 UTC.
    pub backend_start: Option<i64>,
    pub transaction_start: Option<i64>,
    pub query_start: Option<i64>,
    pub state_change: Option<i64>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: String,
    pub query: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CursorFacts {
    pub name: String,
    pub statement: String,
    pub with_hold: bool,
    pub binary: bool,
    pub scrollable: bool,
    /// Microseconds since 1970 UTC.
    pub created: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PreparedFacts {
    pub name: String,
    pub statement: String,
    /// Microseconds since 1970 UTC.
    pub prepared: i64,
    pub parameter_types: Vec<Type>,
    pub from_sql: bool,
}
