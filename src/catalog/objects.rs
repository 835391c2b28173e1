//! Objects that Postgres's catalog has rows for and ours does not: the index and the constraint of a primary key, a
//! relation's row type, the rule of a view. Their oids are derived from the relation's, so they are as stable as it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Catalog, IndexKey, IndexMethod, Relation, RelationKind, system};
use crate::types::RelationId;

/// The owner of everything.
pub const OWNER: u32 = 10;
pub const OWNER_NAME: &str = "postgres";
pub const DATABASE: &str = "postgres";
pub const DATABASE_OID: u32 = 5;

const PRIMARY_KEY_INDEX: u32 = 0x8000_0000;
const PRIMARY_KEY: u32 = 0x9000_0000;
const ROW_TYPE: u32 = 0xa000_0000;
const ROW_TYPE_ARRAY: u32 = 0xb000_0000;
const RULE: u32 = 0xc000_0000;
const DEFAULTS: u32 = 0xd000_0000;

pub fn primary_key_index(table: RelationId) -> u32 {
    PRIMARY_KEY_INDEX | table.oid()
}

pub fn primary_key(table: RelationId) -> u32 {
    PRIMARY_KEY | table.oid()
}

pub fn row_type(relation: RelationId) -> u32 {
    ROW_TYPE | relation.oid()
}

pub fn row_type_array(relation: RelationId) -> u32 {
    ROW_TYPE_ARRAY | relation.oid()
}

pub fn rule(view: RelationId) -> u32 {
    RULE | view.oid()
}

/// Of a column's default; `number` counts from 1. Unique as long as oids stay below 2^17 (or no table has more than 2^11
/// columns); nobody joins by it.
pub fn default(table: RelationId, number: i16) -> u32 {
    DEFAULTS | (table.oid().wrapping_shl(11) & 0x0fff_ffff) | u32::from(number.unsigned_abs())
}

/// An index as Postgres shows it: one the user made, or a primary key's.
#[derive(Clone, Debug)]
pub struct Index {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub on: Arc<Relation>,
    pub method: IndexMethod,
    pub keys: Vec<IndexKey>,
    pub primary: bool,
}

/// `atttypmod` of a column of rows, by which `format_type` finds the column that declares them; as in Postgres the number of a
/// row type without a name. -1 where there are too many relations.
pub fn row_modifier(relation: RelationId, column: usize) -> i32 {
    let number = (u64::from(relation.0) << COLUMN_BITS) | column as u64;
    i32::try_from(number).unwrap_or(-1)
}

/// The relation and the column that [`row_modifier`] gave this number.
pub fn row_of_modifier(modifier: i32) -> Option<(RelationId, usize)> {
    let number = u32::try_from(modifier).ok()?;
    Some((RelationId(number >> COLUMN_BITS), (number & ((1 << COLUMN_BITS) - 1)) as usize))
}

/// A relation has at most 1600 columns.
const COLUMN_BITS: u32 = 11;

/// All relations and indexes, system ones included, in order of oid.
pub struct Objects {
    pub relations: Vec<Arc<Relation>>,
    pub indexes: BTreeMap<u32, Index>,
    schemas: BTreeMap<String, u32>,
}

impl Objects {
    pub fn of(catalog: &Catalog) -> Objects {
        let users = catalog.relations().filter(|relation| !matches!(relation.kind, RelationKind::Index(_)));
        let mut relations: Vec<Arc<Relation>> = system::relations().cloned().collect();
        relations.extend(users.cloned());
        let mut indexes = BTreeMap::new();
        for relation in catalog.relations() {
            if let Some(index) = user_index(relation, catalog).or_else(|| key_index(relation)) {
                indexes.insert(index.oid, index);
            }
        }
        let schemas = catalog.schemas().map(|(name, oid)| (name.to_string(), oid)).collect();
        Objects { relations, indexes, schemas }
    }

    /// 0 for a schema that is not there.
    pub fn schema_oid(&self, name: &str) -> u32 {
        self.schemas.get(name).copied().unwrap_or(0)
    }

    /// Indexes on a relation, the primary key's too.
    pub fn indexes_on(&self, relation: RelationId) -> impl Iterator<Item = &Index> {
        self.indexes.values().filter(move |index| index.on.id == relation)
    }

    /// What has rows of its own and is not the system's.
    pub fn user_relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.iter().filter(|relation| !matches!(relation.kind, RelationKind::System))
    }
}

fn user_index(relation: &Arc<Relation>, catalog: &Catalog) -> Option<Index> {
    let RelationKind::Index(def) = &relation.kind else { return None };
    Some(Index {
        oid: relation.id.oid(),
        schema: relation.schema.clone(),
        name: relation.name.clone(),
        on: catalog.relation(def.on)?.clone(),
        method: def.method,
        keys: def.keys.clone(),
        primary: false,
    })
}

fn key_index(relation: &Arc<Relation>) -> Option<Index> {
    let RelationKind::Table(table) = &relation.kind else { return None };
    if table.primary_key.is_empty() {
        return None;
    }
    let key = |column: &usize| IndexKey { column: *column, descending: false, nulls_first: false };
    Some(Index {
        oid: primary_key_index(relation.id),
        schema: relation.schema.clone(),
        name: primary_key_name(relation),
        on: relation.clone(),
        method: IndexMethod::Btree,
        keys: table.primary_key.iter().map(key).collect(),
        primary: true,
    })
}

/// `accounts_pkey`; a long table name is cut so that the whole has no more than 63 bytes.
pub fn primary_key_name(table: &Relation) -> String {
    let mut end = table.name.len().min(63 - "_pkey".len());
    while !table.name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_pkey", &table.name[..end])
}

/// `relkind`.
pub fn kind(relation: &Relation) -> char {
    match relation.kind {
        RelationKind::Stream(_) | RelationKind::Table(_) => 'r',
        RelationKind::View(_) => 'v',
        RelationKind::MaterializedView(_) => 'm',
        RelationKind::Index(_) => 'i',
        RelationKind::System if system::is_view(relation.id) => 'v',
        RelationKind::System => 'r',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TableDef;

    #[test]
    fn derived_names_fit_and_oids_differ() {
        let def = TableDef { primary_key: vec![0], defaults: vec![], generated: vec![] };
        let table = Relation {
            id: RelationId(1),
            schema: "public".into(),
            name: "é".repeat(40),
            columns: vec![],
            kind: RelationKind::Table(def),
            depends_on: vec![],
        };
        let name = primary_key_name(&table);
        assert!(name.len() <= 63 && name.ends_with("é_pkey"), "{name}");
        let oids = [
            primary_key_index(table.id),
            primary_key(table.id),
            row_type(table.id),
            rule(table.id),
            default(table.id, 1),
        ];
        let distinct: std::collections::BTreeSet<u32> = oids.into_iter().collect();
        assert_eq!(distinct.len(), oids.len());
    }
}
