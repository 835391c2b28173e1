//! The system relations: which exist, with their columns, types and oids. Their rows are known elsewhere
//! (`query/system`).
//!
//! `pg_catalog` and `information_schema` have the columns and oids of Postgres 15, so that what clients ask binds and
//! what they join by oid matches; `rr_catalog` is ours. The declarations are data (`system_relations.txt`), read once.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::{Relation, RelationId, RelationKind};
use crate::types::{Column, Type};

const DECLARATIONS: &str = include_str!("system_relations.txt");

struct SystemRelations {
    by_id: HashMap<RelationId, System>,
    by_name: HashMap<(String, String), RelationId>,
    /// In order of oid.
    order: Vec<Arc<Relation>>,
}

struct System {
    relation: Arc<Relation>,
    is_view: bool,
}

static SYSTEM: LazyLock<SystemRelations> = LazyLock::new(read_declarations);

/// A system relation by id.
pub fn by_id(id: RelationId) -> Option<&'static Arc<Relation>> {
    SYSTEM.by_id.get(&id).map(|system| &system.relation)
}

/// A system relation by schema and name.
pub fn by_name(schema: &str, name: &str) -> Option<&'static Arc<Relation>> {
    by_id(*SYSTEM.by_name.get(&(schema.to_string(), name.to_string()))?)
}

/// All of them, in order of oid.
pub fn relations() -> impl Iterator<Item = &'static Arc<Relation>> {
    SYSTEM.order.iter()
}

/// Whether Postgres has it as a view (relkind `v`) rather than as a table.
pub fn is_view(id: RelationId) -> bool {
    SYSTEM.by_id.get(&id).is_some_and(|system| system.is_view)
}

fn read_declarations() -> SystemRelations {
    let mut declared: Vec<(Relation, bool)> = Vec::new();
    for line in DECLARATIONS.lines().filter(|line| !line.starts_with('#')) {
        if let Some(columns) = line.strip_prefix("  ") {
            let (relation, _) = declared.last_mut().expect("columns follow the relation they belong to");
            relation.columns.extend(columns.split(' ').map(column));
        } else {
            declared.push(header(line));
        }
    }
    declared.sort_by_key(|(relation, _)| relation.id.oid());
    let mut relations = SystemRelations { by_id: HashMap::new(), by_name: HashMap::new(), order: Vec::new() };
    for (relation, is_view) in declared {
        let relation = Arc::new(relation);
        relations.by_name.insert((relation.schema.clone(), relation.name.clone()), relation.id);
        relations.order.push(relation.clone());
        relations.by_id.insert(relation.id, System { relation, is_view });
    }
    relations
}

/// `schema.name oid kind`
fn header(line: &str) -> (Relation, bool) {
    let parts: Vec<&str> = line.split(' ').collect();
    let [name, oid, kind] = parts[..] else { panic!("a system relation is declared as name, oid, kind: {line}") };
    let (schema, name) = name.split_once('.').expect("a system relation's name has a schema");
    let oid = oid.parse().expect("a system relation's oid is a number");
    let relation = Relation {
        id: RelationId::system(oid),
        schema: schema.to_string(),
        name: name.to_string(),
        columns: Vec::new(),
        kind: RelationKind::System,
        depends_on: Vec::new(),
    };
    (relation, kind == "v")
}

/// `name:type` or `name:type!`
fn column(text: &str) -> Column {
    let (name, ty) = text.split_once(':').expect("a system column is declared as name:type");
    let not_null = ty.ends_with('!');
    Column { name: name.to_string(), ty: declared_type(ty.trim_end_matches('!')), not_null }
}

/// The type of ours for a type that Postgres's catalog uses. Types that we don't have print the same as the one
/// chosen for them: xid is a number, vectors are arrays, node trees and the like are text.
fn declared_type(name: &str) -> Type {
    if let Some(item) = name.strip_prefix('_') {
        return Type::Array(Box::new(declared_type(item)));
    }
    match name {
        "bool" => Type::Bool,
        "int2" => Type::Int2,
        "int4" => Type::Int4,
        "int8" => Type::Int8,
        "float4" => Type::Float4,
        "float8" => Type::Float8,
        "numeric" => Type::NUMERIC,
        "oid" | "xid" => Type::Oid,
        "regproc" => Type::Regproc,
        "regtype" => Type::Regtype,
        "name" => Type::Name,
        "char" => Type::SingleChar,
        "varchar" => Type::Varchar(None),
        "bytea" => Type::Bytea,
        "interval" => Type::Interval,
        "timestamptz" => Type::Timestamptz,
        "int2vector" => Type::Array(Box::new(Type::Int2)),
        "oidvector" => Type::Array(Box::new(Type::Oid)),
        "text" | "aclitem" | "pg_node_tree" | "pg_lsn" | "inet" | "anyarray" => Type::Text,
        "pg_statistic" | "pg_ndistinct" | "pg_dependencies" | "pg_mcv_list" => Type::Text,
        other => panic!("the declarations of system relations use the unknown type {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn declarations_are_sound() {
        let mut oids = std::collections::HashSet::new();
        for relation in relations() {
            assert!(relation.id.oid() < 16_384, "{} has a user's oid", relation.name);
            assert!(oids.insert(relation.id.oid()), "{} shares its oid", relation.name);
            assert!(!relation.columns.is_empty(), "{} has no columns", relation.name);
        }
        assert!(oids.len() > 190, "{} relations", oids.len());
    }

    #[test]
    fn postgres_catalogs_have_their_oids_and_columns() {
        let class = by_name("pg_catalog", "pg_class").unwrap();
        assert_eq!(class.id.oid(), 1259);
        assert!(!is_view(class.id));
        let names: Vec<&str> = class.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(&names[..3], ["oid", "relname", "relnamespace"]);
        assert_eq!(names.len(), 33);
        assert_eq!(class.columns[16].name, "relkind");
        assert_eq!(class.columns[16].ty, Type::SingleChar);
        assert!(is_view(by_name("information_schema", "columns").unwrap().id));
    }

    #[test]
    fn a_catalog_finds_them_and_does_not_list_them() {
        let catalog = Catalog::default();
        let path = ["pg_catalog".to_string(), "rr_catalog".to_string(), "public".to_string()];
        let holds = catalog.resolve(&path, None, "rr_holds").unwrap();
        assert_eq!(catalog.relation(holds.id).unwrap().name, "rr_holds");
        assert_eq!(catalog.relations().count(), 0);
        assert!(catalog.resolve(&path, None, "pg_nothing").is_err());
    }
}
