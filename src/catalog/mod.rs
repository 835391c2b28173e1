//! The catalog: names, objects, their definitions and dependencies.
//!
//! A [`Catalog`] is an immutable value; DDL makes a new one. The engine publishes it together with the epoch at
//! which it holds, so that a reader sees names and rows of one moment. What is persisted is not the catalog
//! but the DDL in the epoch log ([`Ddl`]); applying it in order always gives the same catalog, ids and oids included.

mod ddl;
pub mod definition;
pub mod keywords;
pub mod objects;
mod relation;
pub mod system;

pub use ddl::{Ddl, Dropped};
pub use relation::{
    Connector, Include, IncludeKind, IndexDef, IndexKey, ROW_ID_COLUMN, Relation, RelationId, RelationKind, StreamDef,
    TableDef, ViewDef,
};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result, SqlState};

/// The schema of users' relations when none is named.
pub const PUBLIC: &str = "public";
/// Postgres's catalog, and ours: always on the search path, in this order, before the user's schemas.
pub const PG_CATALOG: &str = "pg_catalog";
pub const RR_CATALOG: &str = "rr_catalog";
pub const INFORMATION_SCHEMA: &str = "information_schema";

#[derive(Clone, Debug)]
pub struct Catalog {
    /// Schema name to oid. The system schemas are always there.
    schemas: BTreeMap<String, u32>,
    relations: BTreeMap<RelationId, Arc<Relation>>,
    names: BTreeMap<(String, String), RelationId>,
    next_id: u32,
}

impl Default for Catalog {
    fn default() -> Self {
        let schemas = [(PG_CATALOG, 11), (PUBLIC, 2200), (INFORMATION_SCHEMA, 13_000), (RR_CATALOG, 13_001)];
        Catalog {
            schemas: schemas.into_iter().map(|(name, oid)| (name.to_string(), oid)).collect(),
            relations: BTreeMap::new(),
            names: BTreeMap::new(),
            next_id: 1,
        }
    }
}

impl Catalog {
    /// A user's or a system relation.
    pub fn relation(&self, id: RelationId) -> Option<&Arc<Relation>> {
        self.relations.get(&id).or_else(|| system::by_id(id))
    }

    /// A user's or a system relation.
    pub fn get(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        match self.names.get(&(schema.to_string(), name.to_string())) {
            Some(id) => self.relations.get(id),
            None => system::by_name(schema, name),
        }
    }

    /// The first relation of this name along the search path, or 42P01.
    pub fn resolve(&self, search_path: &[String], schema: Option<&str>, name: &str) -> Result<&Arc<Relation>> {
        self.resolve_among(search_path, schema, name, |_| true)
    }

    /// As [`Catalog::resolve`], as if no relations existed but those of which `known` is true. Among the relations that a stored
    /// definition depends on a name means what it meant when that was made, whatever has been made since.
    pub fn resolve_among(
        &self,
        search_path: &[String],
        schema: Option<&str>,
        name: &str,
        known: impl Fn(&Relation) -> bool,
    ) -> Result<&Arc<Relation>> {
        let get = |schema: &str| self.get(schema, name).filter(|relation| known(relation));
        let found = match schema {
            Some(schema) => get(schema),
            None => search_path.iter().find_map(|schema| get(schema)),
        };
        found.ok_or_else(|| {
            let shown = match schema {
                Some(schema) => format!("{schema}.{name}"),
                None => name.to_string(),
            };
            Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{shown}\" does not exist"))
        })
    }

    /// Users' relations, by id; the system's are [`system::relations`].
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    /// Schema names with their oids.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, u32)> {
        self.schemas.iter().map(|(name, oid)| (name.as_str(), *oid))
    }

    pub fn has_schema(&self, name: &str) -> bool {
        self.schemas.contains_key(name)
    }

    /// The id the next created object gets.
    pub fn next_id(&self) -> RelationId {
        RelationId(self.next_id)
    }

    /// Objects that directly depend on this one, by id.
    pub fn dependents(&self, id: RelationId) -> Vec<Arc<Relation>> {
        self.relations.values().filter(|relation| relation.depends_on.contains(&id)).cloned().collect()
    }

    /// This object and all that depend on it, dependents first: the order to drop them in.
    pub fn drop_order(&self, id: RelationId) -> Vec<Arc<Relation>> {
        let mut order = Vec::new();
        self.push_dependents(id, &mut order);
        order
    }

    fn push_dependents(&self, id: RelationId, order: &mut Vec<Arc<Relation>>) {
        for dependent in self.dependents(id) {
            self.push_dependents(dependent.id, order);
        }
        if let Some(relation) = self.relation(id)
            && !order.iter().any(|seen| seen.id == id)
        {
            order.push(relation.clone());
        }
    }
}
