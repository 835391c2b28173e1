//! The rows of the system relations: what the catalog and the running server know, as Postgres's clients ask for it.
//!
//! | file             | relations |
//! |------------------|-----------|
//! | `relations.rs`   | pg_class, pg_attribute, pg_index, pg_constraint, pg_attrdef, pg_namespace, pg_depend, pg_rewrite |
//! | `types.rs`       | pg_type, pg_am, pg_opclass, pg_opfamily, pg_collation, pg_language |
//! | `functions.rs`   | pg_proc, pg_operator, pg_cast, pg_aggregate |
//! | `server.rs`      | pg_database, pg_roles, pg_tablespace, pg_settings, pg_stat_activity, pg_cursors, pg_prepared_statements |
//! | `views.rs`       | pg_tables, pg_views, pg_matviews, pg_indexes and the statistics views |
//! | `information.rs` | information_schema |
//! | `riverrun.rs`    | rr_catalog |
//!
//! Every other declared relation is empty, as it is in a Postgres where the feature is not used.

pub mod facts;
mod functions;
mod information;
#[cfg(test)]
mod psql;
mod relations;
mod riverrun;
mod rows;
mod server;
mod types;
mod views;

use std::sync::Arc;

use arrow::array::RecordBatch;

pub use facts::{NoFacts, RuntimeFacts};
pub(super) use relations::shown;

use crate::catalog::objects::Objects;
use crate::catalog::{Catalog, Relation};
use crate::engine::ReadView;
use crate::engine::read::Batches;
use crate::error::Result;

/// What the rows are made from.
struct Known {
    catalog: Arc<Catalog>,
    objects: Objects,
    view: ReadView,
    facts: Arc<dyn RuntimeFacts>,
}

/// All rows of a system relation, in the columns the catalog declares for it.
pub fn rows(relation: &Arc<Relation>, view: &ReadView, facts: &Arc<dyn RuntimeFacts>) -> Result<Batches> {
    let catalog = view.catalog();
    let objects = Objects::of(&catalog);
    let known = Known { catalog, objects, view: view.clone(), facts: facts.clone() };
    let batch = batch(relation, &known)?;
    Ok(Box::new(batch.into_iter().map(Ok)))
}

fn batch(relation: &Arc<Relation>, known: &Known) -> Result<Option<RecordBatch>> {
    let mut rows = rows::SystemRows::new(relation);
    let (schema, name) = (relation.schema.as_str(), relation.name.as_str());
    let filled = match schema {
        crate::catalog::PG_CATALOG => {
            relations::fill(name, known, &mut rows)?
                || types::fill(name, known, &mut rows)?
                || functions::fill(name, known, &mut rows)?
                || server::fill(name, known, &mut rows)?
                || views::fill(name, known, &mut rows)?
        }
        crate::catalog::INFORMATION_SCHEMA => information::fill(name, known, &mut rows)?,
        crate::catalog::RR_CATALOG => riverrun::fill(name, known, &mut rows)?,
        _ => false,
    };
    if filled { Ok(Some(rows.finish()?)) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Int16Type, Int32Type, UInt32Type};
    use datafusion::prelude::lit;
    use datafusion::scalar::ScalarValue;

    use super::*;
    use crate::catalog::{RelationKind, ViewDef, objects, system};
    use crate::query::constant::RowExpressions;
    use crate::query::testing::Memory;
    use crate::sql::catalog_functions;
    use crate::sql::registry::Typed;
    use crate::types::Type;

    /// accounts(id int primary key, holder varchar(9), balance numeric(12,2)), an index on holder, a materialized view
    /// over it.
    fn memory() -> Memory {
        let mut memory = Memory::new();
        let columns = [("id", Type::Int4), ("holder", Type::Varchar(Some(9))), ("balance", Type::fixed_numeric(12, 2))];
        let accounts = memory.table("accounts", &columns, &[0]);
        memory.index("accounts_owner", &accounts, &[1]);
        let view = ViewDef { query: "SELECT holder FROM accounts".into(), search_path: vec!["public".into()] };
        memory.create("owners", &[("owner", Type::Text)], RelationKind::MaterializedView(view));
        memory
    }

    fn read(memory: &Memory, schema: &str, name: &str) -> RecordBatch {
        let relation = system::by_name(schema, name).unwrap();
        let facts: Arc<dyn RuntimeFacts> = Arc::new(NoFacts);
        let batches = rows(relation, &memory.view(), &facts).unwrap().collect::<Result<Vec<_>>>().unwrap();
        arrow::compute::concat_batches(&relation.schema_ref(), &batches).unwrap()
    }

    /// The place of the row whose column has this text.
    fn find(batch: &RecordBatch, column: &str, text: &str) -> usize {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>().clone();
        (0..column.len()).find(|row| column.is_valid(*row) && column.value(*row) == text).unwrap()
    }

    fn oid(batch: &RecordBatch, column: &str, row: usize) -> u32 {
        batch.column_by_name(column).unwrap().as_primitive::<UInt32Type>().value(row)
    }

    #[test]
    fn every_declared_relation_can_be_read() {
        let memory = memory();
        for relation in system::relations() {
            let batch = read(&memory, &relation.schema, &relation.name);
            for (column, array) in relation.columns.iter().zip(batch.columns()) {
                assert!(!column.not_null || array.null_count() == 0, "{}.{}", relation.name, column.name);
            }
        }
    }

    #[test]
    fn classes_attributes_and_indexes_belong_together() {
        let memory = memory();
        let classes = read(&memory, "pg_catalog", "pg_class");
        let table = find(&classes, "relname", "accounts");
        let kinds = classes.column_by_name("relkind").unwrap().as_string::<i32>().clone();
        assert_eq!(kinds.value(table), "r");
        assert_eq!(kinds.value(find(&classes, "relname", "owners")), "m");
        assert_eq!(oid(&classes, "relnamespace", table), 2200);
        let key = find(&classes, "relname", "accounts_pkey");
        assert_eq!((kinds.value(key), oid(&classes, "relam", key)), ("i", 403));

        let attributes = read(&memory, "pg_catalog", "pg_attribute");
        let balance = find(&attributes, "attname", "balance");
        assert_eq!(oid(&attributes, "attrelid", balance), oid(&classes, "oid", table));
        assert_eq!(oid(&attributes, "atttypid", balance), 1700);
        let integer = |name: &str| attributes.column_by_name(name).unwrap().as_primitive::<Int32Type>().value(balance);
        assert_eq!(integer("atttypmod"), (12 << 16 | 2) + 4);
        assert_eq!(attributes.column_by_name("attnum").unwrap().as_primitive::<Int16Type>().value(balance), 3);

        let indexes = read(&memory, "pg_catalog", "pg_index");
        let primary = indexes.column_by_name("indisprimary").unwrap().as_boolean().clone();
        let key_row = (0..primary.len()).find(|row| primary.value(*row)).unwrap();
        assert_eq!(oid(&indexes, "indexrelid", key_row), oid(&classes, "oid", key));
        let constraints = read(&memory, "pg_catalog", "pg_constraint");
        assert_eq!(oid(&constraints, "conindid", 0), oid(&classes, "oid", key));
    }

    #[test]
    fn oids_are_unique_within_a_catalog() {
        let memory = memory();
        for name in ["pg_class", "pg_type", "pg_proc", "pg_constraint", "pg_namespace", "pg_opclass", "pg_collation"] {
            let batch = read(&memory, "pg_catalog", name);
            let oids = batch.column_by_name("oid").unwrap().as_primitive::<UInt32Type>().clone();
            let distinct: std::collections::HashSet<u32> = oids.values().iter().copied().collect();
            assert_eq!(distinct.len(), oids.len(), "{name}");
        }
    }

    #[test]
    fn every_column_has_a_type_that_is_there() {
        let memory = memory();
        let types = read(&memory, "pg_catalog", "pg_type");
        let known: Vec<u32> = types.column_by_name("oid").unwrap().as_primitive::<UInt32Type>().values().to_vec();
        let attributes = read(&memory, "pg_catalog", "pg_attribute");
        for row in 0..attributes.num_rows() {
            assert!(known.contains(&oid(&attributes, "atttypid", row)));
        }
        for row in 0..types.num_rows() {
            for column in ["typarray", "typelem"] {
                let other = oid(&types, column, row);
                assert!(other == 0 || known.contains(&other), "{column} {other}");
            }
        }
        let owner = find(&types, "typname", "accounts");
        assert_eq!(oid(&types, "typrelid", owner), memory.catalog.get("public", "accounts").unwrap().id.oid());
    }

    #[test]
    fn views_depend_through_their_rules() {
        let memory = memory();
        let depend = read(&memory, "pg_catalog", "pg_depend");
        let owners = memory.catalog.get("public", "owners").unwrap();
        assert!((0..depend.num_rows()).any(|row| oid(&depend, "objid", row) == objects::rule(owners.id)));
    }

    #[test]
    fn the_standards_columns_tell_sizes() {
        let memory = memory();
        let columns = read(&memory, "information_schema", "columns");
        let balance = find(&columns, "column_name", "balance");
        let integer =
            |name: &str, row: usize| columns.column_by_name(name).unwrap().as_primitive::<Int32Type>().value(row);
        assert_eq!((integer("numeric_precision", balance), integer("numeric_scale", balance)), (12, 2));
        let owner = find(&columns, "column_name", "holder");
        assert_eq!((integer("character_maximum_length", owner), integer("character_octet_length", owner)), (9, 36));
        let tables = read(&memory, "information_schema", "tables");
        let kind = tables.column_by_name("table_type").unwrap().as_string::<i32>().clone();
        assert_eq!(kind.value(find(&tables, "table_name", "accounts")), "BASE TABLE");
        assert_eq!(kind.value(find(&tables, "table_name", "owners")), "MATERIALIZED VIEW");
    }

    /// A catalog function's answers, one an oid.
    fn asked(memory: &Memory, name: &str, relation: u32, more: &[ScalarValue]) -> String {
        let context = crate::query::testing::context(memory);
        let mut args = vec![Typed::new(lit(ScalarValue::UInt32(Some(relation))), Type::Oid)];
        for value in more {
            let ty = if value.data_type() == DataType::Boolean { Type::Bool } else { Type::Int4 };
            args.push(Typed::new(lit(value.clone()), ty));
        }
        let call = catalog_functions::call(name, args, &context).unwrap();
        let compiled = RowExpressions::compile(&[call.expr], &[], &[], &|_| None).unwrap();
        let answer = compiled.evaluate(vec![], 1).unwrap();
        arrow::util::display::array_value_to_string(&answer[0], 0).unwrap()
    }

    #[test]
    fn definitions_read_as_postgres_prints_them() {
        let memory = memory();
        let table = memory.catalog.get("public", "accounts").unwrap().id;
        let index = memory.catalog.get("public", "accounts_owner").unwrap().id.oid();
        let view = memory.catalog.get("public", "owners").unwrap().id.oid();
        let (zero, pretty) = (ScalarValue::Int32(Some(0)), ScalarValue::Boolean(Some(true)));
        assert_eq!(
            asked(&memory, "pg_get_indexdef", index, &[zero.clone(), pretty.clone()]),
            "CREATE INDEX accounts_owner ON accounts USING btree (holder)"
        );
        assert_eq!(
            asked(&memory, "pg_get_indexdef", objects::primary_key_index(table), &[]),
            "CREATE UNIQUE INDEX accounts_pkey ON public.accounts USING btree (id)"
        );
        assert_eq!(asked(&memory, "pg_get_indexdef", index, &[ScalarValue::Int32(Some(1)), pretty]), "holder");
        assert_eq!(asked(&memory, "pg_get_constraintdef", objects::primary_key(table), &[]), "PRIMARY KEY (id)");
        assert_eq!(asked(&memory, "pg_get_viewdef", view, &[]), " SELECT holder FROM accounts;");
        assert_eq!(asked(&memory, "pg_get_viewdef", 1, &[]), "");
        assert_eq!(asked(&memory, "pg_table_is_visible", table.oid(), &[]), "true");
        assert_eq!(asked(&memory, "pg_get_userbyid", 10, &[]), "postgres");
        assert_eq!(asked(&memory, "pg_get_userbyid", 77, &[]), "unknown (OID=77)");
    }

    #[test]
    fn types_are_named_with_their_modifiers() {
        let memory = memory();
        let format =
            |oid: u32, modifier: i32| asked(&memory, "format_type", oid, &[ScalarValue::Int32(Some(modifier))]);
        assert_eq!(format(23, -1), "integer");
        assert_eq!(format(1043, 13), "character varying(9)");
        assert_eq!(format(1700, (12 << 16 | 2) + 4), "numeric(12,2)");
        assert_eq!(format(1231, -1), "numeric[]");
        assert_eq!(format(1042, 8), "character(4)");
        assert_eq!(format(0, -1), "-");
        assert_eq!(format(99_999, -1), "???");
        let table = memory.catalog.get("public", "accounts").unwrap();
        assert_eq!(format(objects::row_type(table.id), -1), "accounts");
    }
}
