//! DDL as it is logged: what to do to the catalog, with everything decided.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Relation, RelationId, RelationKind};
use crate::error::{Error, Result, SqlState};

/// One change of the catalog. Ids are fixed when it is logged, so that a replay gives the same ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ddl {
    CreateSchema {
        name: String,
    },
    DropSchema {
        name: String,
    },
    Create {
        relation: Relation,
    },
    /// What a new stream's connector is connected to, what makes rows of its records (with its version), and where its partitions
    /// start.
    Connect {
        stream: RelationId,
        identity: String,
        decoder: String,
        positions: Vec<(i32, i64)>,
    },
    /// Its dependents were dropped by earlier records.
    Drop {
        id: RelationId,
    },
}

/// Version of the encoding.
const VERSION: u8 = 1;

impl Ddl {
    /// As the epoch log keeps it.
    pub fn encode(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(&(VERSION, self)).map_err(Error::internal)
    }

    pub fn decode(bytes: &[u8]) -> Result<Ddl> {
        let corrupt = |what: String| {
            Error::new(SqlState::DATA_CORRUPTED, "the epoch log holds a definition that can't be read")
                .with_detail(what)
        };
        match postcard::from_bytes::<(u8, Ddl)>(bytes) {
            Ok((VERSION, ddl)) => Ok(ddl),
            Ok((other, _)) => Err(corrupt(format!("version {other}"))),
            Err(error) => Err(corrupt(error.to_string())),
        }
    }
}

impl Catalog {
    /// The catalog after this change. Fails without a change when a name is taken or missing, or something depends
    /// on what is dropped.
    pub fn apply(&self, ddl: &Ddl) -> Result<Catalog> {
        let mut next = self.clone();
        match ddl {
            Ddl::CreateSchema { name } => {
                if self.schemas.contains_key(name) {
                    let message = format!("schema \"{name}\" already exists");
                    return Err(Error::new(SqlState::DUPLICATE_SCHEMA, message));
                }
                next.schemas.insert(name.clone(), RelationId(next.next_id).oid());
                next.next_id += 1;
            }
            Ddl::DropSchema { name } => {
                if next.schemas.remove(name).is_none() {
                    return Err(missing_schema(name));
                }
                if let Some(relation) = self.relations().find(|relation| relation.schema == *name) {
                    let message = format!("cannot drop schema {name} because other objects depend on it");
                    return Err(Error::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                        .with_detail(format!("{} {} depends on schema {name}", relation.kind_name(), relation.name))
                        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
                }
            }
            Ddl::Create { relation } => {
                if !self.schemas.contains_key(&relation.schema) {
                    return Err(missing_schema(&relation.schema));
                }
                if relation.depends_on.iter().any(|id| self.relation(*id).is_none()) {
                    let message = format!("a relation that \"{}\" reads was dropped", relation.name);
                    return Err(Error::new(SqlState::UNDEFINED_TABLE, message));
                }
                let name = (relation.schema.clone(), relation.name.clone());
                if self.names.contains_key(&name) {
                    let message = format!("relation \"{}\" already exists", relation.name);
                    return Err(Error::new(SqlState::DUPLICATE_TABLE, message));
                }
                next.names.insert(name, relation.id);
                next.next_id = next.next_id.max(relation.id.0 + 1);
                next.relations.insert(relation.id, Arc::new(relation.clone()));
            }
            // Names nothing; the stream was created by the change before it.
            Ddl::Connect { .. } => {}
            Ddl::Drop { id } => {
                let Some(relation) = next.relations.remove(id) else {
                    let message = "a relation that is to be dropped was dropped meanwhile";
                    return Err(Error::new(SqlState::UNDEFINED_TABLE, message));
                };
                let dependents = self.dependents(*id);
                if !dependents.is_empty() {
                    return Err(still_needed(&relation, &dependents));
                }
                next.names.remove(&(relation.schema.clone(), relation.name.clone()));
            }
        }
        Ok(next)
    }
}

/// What goes when relations are dropped.
pub struct Dropped {
    /// All of it, dependents first: the order to drop in.
    pub order: Vec<RelationId>,
    /// What was not asked for. An index goes with its relation without a word, and is not among them.
    pub others: Vec<Arc<Relation>>,
}

impl Catalog {
    /// What goes with these. Without `cascade`, 2BP01 when that is more than these and their indexes.
    pub fn dropped(&self, asked: &[RelationId], cascade: bool) -> Result<Dropped> {
        let (mut order, mut others) = (Vec::new(), Vec::new());
        for id in asked {
            let gone = self.drop_order(*id);
            let strangers = gone.iter().filter(|other| !asked.contains(&other.id) && !order.contains(&other.id));
            let strangers = strangers.filter(|other| !matches!(other.kind, RelationKind::Index(_)));
            let strangers: Vec<Arc<Relation>> = strangers.cloned().collect();
            if !cascade
                && !strangers.is_empty()
                && let Some(relation) = self.relation(*id)
            {
                return Err(still_needed(relation, &strangers));
            }
            others.extend(strangers);
            for relation in gone {
                if !order.contains(&relation.id) {
                    order.push(relation.id);
                }
            }
        }
        Ok(Dropped { order, others })
    }
}

/// 2BP01, as Postgres words it.
fn still_needed(relation: &Relation, dependents: &[Arc<Relation>]) -> Error {
    let (kind, name) = (relation.kind_name(), &relation.name);
    let message = format!("cannot drop {kind} {name} because other objects depend on it");
    let dependents = dependents.iter();
    let detail = dependents.map(|other| format!("{} {} depends on {kind} {name}", other.kind_name(), other.name));
    Error::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .with_detail(detail.collect::<Vec<_>>().join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

fn missing_schema(name: &str) -> Error {
    Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
}
