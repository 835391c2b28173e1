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
    Connector, Include, IncludeKind, IndexDef, IndexKey, IndexMethod, ROW_ID_COLUMN, Relation, RelationId,
    RelationKind, StreamDef, TableDef, ViewDef,
};

use std::collections::{BTreeMap, HashMap, HashSet};
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

    /// 42939 for a name that only the system's schemas may have.
    pub fn check_new_schema(name: &str) -> Result<()> {
        match name.starts_with("pg_") {
            true => Err(Error::new(SqlState::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
                .with_detail("The prefix \"pg_\" is reserved for system schemas.")),
            false => Ok(()),
        }
    }

    /// 2BP01 for the system's own schemas: they stay, whoever asks.
    pub fn check_dropped_schema(name: &str) -> Result<()> {
        match [PG_CATALOG, RR_CATALOG, INFORMATION_SCHEMA].contains(&name) {
            true => {
                let message = format!("cannot drop schema {name} because it is required by the database system");
                Err(Error::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message))
            }
            false => Ok(()),
        }
    }

    /// Whether a relation of this schema has the name, or the key of one of its tables.
    pub fn is_taken(&self, schema: &str, name: &str) -> bool {
        let key_has_it = |table: &Relation| {
            let keyed = matches!(&table.kind, RelationKind::Table(table) if !table.primary_key.is_empty());
            keyed && table.schema == schema && objects::primary_key_name(table) == name
        };
        self.get(schema, name).is_some() || self.relations.values().any(|relation| key_has_it(relation))
    }

    /// The id the next created object gets.
    pub fn next_id(&self) -> RelationId {
        RelationId(self.next_id)
    }

    /// Objects that directly depend on this one, in the order of their ids.
    pub fn dependents(&self, id: RelationId) -> Vec<Arc<Relation>> {
        self.relations.values().filter(|relation| relation.depends_on.contains(&id)).cloned().collect()
    }

    /// This object and all that depend on it, dependents first: the order to drop them in.
    pub fn drop_order(&self, id: RelationId) -> Vec<Arc<Relation>> {
        let mut dependents: HashMap<RelationId, Vec<RelationId>> = HashMap::new();
        for relation in self.relations.values() {
            for on in &relation.depends_on {
                dependents.entry(*on).or_default().push(relation.id);
            }
        }
        let (mut order, mut seen) = (Vec::new(), HashSet::new());
        // Depth first: an object is met before its dependents, and again when all of them are done.
        let mut stack = vec![(id, false)];
        while let Some((id, done)) = stack.pop() {
            if done {
                order.extend(self.relation(id).cloned());
            } else if seen.insert(id) {
                stack.push((id, true));
                stack.extend(dependents.get(&id).into_iter().flatten().rev().map(|dependent| (*dependent, false)));
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Column, Type};

    /// Each view reads the last two: as many paths as Fibonacci has.
    #[test]
    fn what_is_reached_on_many_paths_is_dropped_once_and_after_all_that_reads_it() {
        let mut catalog = Catalog::default();
        for id in 1..=60u32 {
            let kind = RelationKind::View(ViewDef { query: String::new(), search_path: Vec::new() });
            let depends_on = [id.wrapping_sub(2), id - 1].into_iter().filter(|on| (1..id).contains(on));
            let relation = Relation {
                id: RelationId(id),
                schema: PUBLIC.into(),
                name: format!("v{id}"),
                columns: vec![Column::new("a", Type::Int4)],
                kind,
                depends_on: depends_on.map(RelationId).collect(),
            };
            catalog = catalog.apply(&Ddl::Create { relation }).unwrap();
        }
        let order: Vec<u32> = catalog.drop_order(RelationId(1)).iter().map(|relation| relation.id.0).collect();
        assert_eq!(order, (1..=60).rev().collect::<Vec<_>>());
        for id in order {
            catalog = catalog.apply(&Ddl::Drop { id: RelationId(id) }).unwrap();
        }
    }
}
