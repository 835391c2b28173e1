//! What the system relations are told at run time: of the engine, of all sessions, and of the session that asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use super::portal::State;
use super::registry::Registry;
use super::session::Session;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::engine::{Engine, ReadView};
use crate::error::Result;
use crate::ingest::PartitionState;
use crate::query::RuntimeFacts;
use crate::query::system::facts::{
    CursorFacts, DdlProgress, DeadLetterRow, ExpressionError, Hold, PreparedFacts, RelationFacts, SessionFacts,
    SourcePartition,
};
use crate::sql::{BoundQuery, SettingRow};
use crate::types::RelationId;

/// The answers for one statement. The session's own are copied: the statement outlives the borrow.
pub struct Facts {
    engine: Arc<Engine>,
    registry: Arc<Registry>,
    view: ReadView,
    settings: Arc<[SettingRow]>,
    search_path: Vec<String>,
    cursors: Vec<CursorFacts>,
    statements: Vec<PreparedFacts>,
}

impl Facts {
    pub fn new(session: &mut Session, engine: Arc<Engine>, view: ReadView, query: &BoundQuery) -> Facts {
        let (mut cursors, mut statements) = (Vec::new(), Vec::new());
        if reads_system_relations(query, &view.catalog()) {
            (cursors, statements) = (session_cursors(session), session_statements(session));
        }
        let registry = session.shared.registry.clone();
        let search_path = session.search_path();
        Facts { engine, registry, view, settings: session.settings.rows(), search_path, cursors, statements }
    }

    /// Without what only the session's own cursors and statements say.
    pub fn of_server(session: &mut Session, engine: Arc<Engine>, view: ReadView) -> Facts {
        let registry = session.shared.registry.clone();
        let (settings, search_path) = (session.settings.rows(), session.search_path());
        Facts { engine, registry, view, settings, search_path, cursors: Vec::new(), statements: Vec::new() }
    }

    fn name(&self, id: RelationId) -> String {
        self.view.catalog().relation(id).map_or_else(|| id.to_string(), |relation| self.name_of(relation))
    }
}

/// A relation's name, with its schema where the name alone means another along this path, or nothing.
pub fn name_along(search_path: &[String], catalog: &Catalog, relation: &Relation) -> String {
    match catalog.resolve(search_path, None, &relation.name) {
        Ok(found) if found.id == relation.id => relation.name.clone(),
        _ => format!("{}.{}", relation.schema, relation.name),
    }
}

fn reads_system_relations(query: &BoundQuery, catalog: &Catalog) -> bool {
    let is_system =
        |id: &RelationId| catalog.relation(*id).is_none_or(|relation| matches!(relation.kind, RelationKind::System));
    query.relations.iter().any(is_system)
}

fn session_cursors(session: &Session) -> Vec<CursorFacts> {
    let cursors = session.portals.iter().filter_map(|(name, portal)| match &portal.state {
        State::Cursor(cursor) => Some(CursorFacts {
            name: name.clone(),
            statement: portal.statement.text.clone(),
            with_hold: cursor.with_hold,
            binary: cursor.binary,
            scrollable: cursor.is_scrollable(),
            created: portal.statement.at,
        }),
        _ => None,
    });
    cursors.collect()
}

fn session_statements(session: &Session) -> Vec<PreparedFacts> {
    let named = session.statements.iter().filter(|(name, _)| !name.is_empty());
    let facts = named.map(|(name, statement)| PreparedFacts {
        name: name.clone(),
        statement: statement.text.clone(),
        prepared: statement.at,
        parameter_types: statement.parameters.clone(),
        from_sql: statement.from_sql,
    });
    facts.collect()
}

/// `rr_source_partitions.state`.
fn partition_state(state: PartitionState) -> &'static str {
    match state {
        PartitionState::Running => "running",
        PartitionState::Finished => "finished",
        PartitionState::Retrying => "retrying",
        PartitionState::Stopped => "stopped",
    }
}

impl RuntimeFacts for Facts {
    fn name_of(&self, relation: &Relation) -> String {
        name_along(&self.search_path, &self.view.catalog(), relation)
    }

    fn relations(&self) -> Vec<RelationFacts> {
        let (bytes, _) = self.engine.state_bytes().unwrap_or_default();
        let epoch = i64::try_from(self.view.epoch()).ok();
        let catalog = self.view.catalog();
        let relations = catalog.relations().map(|relation| RelationFacts {
            id: relation.id,
            rows: self.view.row_count(relation.id).and_then(|rows| i64::try_from(rows).ok()),
            state_bytes: bytes.get(&relation.id).and_then(|bytes| i64::try_from(*bytes).ok()),
            epoch,
        });
        relations.collect()
    }

    fn source_partitions(&self) -> Vec<SourcePartition> {
        let mut partitions = Vec::new();
        for (stream, statuses) in self.engine.facts().all_statuses() {
            for status in statuses.lock().iter() {
                partitions.push(SourcePartition {
                    stream: self.name(stream),
                    partition: status.partition,
                    next_offset: status.next,
                    end_offset: status.end,
                    state: partition_state(status.state).to_string(),
                    error: status.error.clone(),
                });
            }
        }
        partitions
    }

    fn ddl_progress(&self) -> Vec<DdlProgress> {
        let ddl = self.engine.facts().ddl();
        let progress = ddl.iter().map(|ddl| DdlProgress {
            pid: ddl.pid,
            object: ddl.object.clone(),
            state: ddl.work.name().to_string(),
            rows_done: i64::try_from(ddl.rows_done.load(Ordering::Relaxed)).ok(),
            rows_total: ddl.rows_total.and_then(|rows| i64::try_from(rows).ok()),
        });
        progress.collect()
    }

    fn dead_letters(&self) -> Result<Vec<DeadLetterRow>> {
        let letters = self.engine.facts().dead_letters().into_iter().map(|(stream, letter)| DeadLetterRow {
            stream: self.name(stream),
            partition: letter.partition,
            offset: letter.offset,
            key: letter.key,
            value: letter.value,
            reason: letter.reason,
            at: letter.at,
        });
        Ok(letters.collect())
    }

    fn expression_errors(&self) -> Vec<ExpressionError> {
        let errors = self.engine.facts().errors().into_iter().map(|error| ExpressionError {
            view: self.name(error.view),
            sqlstate: error.state.to_string(),
            message: error.message,
            count: error.count,
            sample: Some(error.sample),
        });
        errors.collect()
    }

    fn holds(&self) -> Vec<Hold> {
        let holds = self.engine.holds().into_iter().map(|hold| Hold {
            kind: hold.kind.name().to_string(),
            owner: hold.owner,
            epoch: i64::try_from(hold.epoch).unwrap_or(i64::MAX),
            since: hold.since.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_micros()).ok()),
        });
        holds.collect()
    }

    fn settings(&self) -> Arc<[SettingRow]> {
        self.settings.clone()
    }

    fn sessions(&self) -> Vec<SessionFacts> {
        let sessions = self.registry.activity().into_iter().map(|session| SessionFacts {
            pid: session.pid,
            user: session.user,
            database: session.database,
            application_name: session.application_name,
            client_address: Some(session.address.ip().to_string()),
            client_port: Some(i32::from(session.address.port())),
            backend_start: Some(session.started),
            transaction_start: None,
            query_start: (session.statement_started != 0).then_some(session.statement_started),
            state_change: None,
            state: session.state.to_string(),
            query: session.statement,
        });
        sessions.collect()
    }

    fn cursors(&self) -> Vec<CursorFacts> {
        self.cursors.clone()
    }

    fn prepared_statements(&self) -> Vec<PreparedFacts> {
        self.statements.clone()
    }
}
