//! information_schema, for clients that ask by the standard.
//!
//! Materialized views are among `tables` (type `MATERIALIZED VIEW`) and `columns`: Postgres leaves them out, but here they
//! are what dashboards read, and many find relations only through these two.

use std::sync::Arc;

use super::relations::is_not_null;
use super::rows::{SystemRows, row};
use super::{Known, views};
use crate::catalog::definition;
use crate::catalog::objects::{self, DATABASE, OWNER_NAME};
use crate::catalog::{Relation, RelationKind};
use crate::error::Result;
use crate::types::{Column, Numeric, Type};

pub fn fill(name: &str, known: &Known, rows: &mut SystemRows) -> Result<bool> {
    match name {
        "information_schema_catalog_name" => row!(rows; catalog_name: DATABASE),
        "schemata" => {
            for (schema, _) in known.catalog.schemas() {
                row!(rows; catalog_name: DATABASE, schema_name: schema, schema_owner: OWNER_NAME);
            }
        }
        "tables" => {
            for relation in &known.objects.relations {
                row!(rows; table_catalog: DATABASE, table_schema: &relation.schema, table_name: &relation.name,
                    table_type: table_type(relation), is_insertable_into: yes_or_no(takes_inserts(relation)),
                    is_typed: "NO");
            }
        }
        "columns" => {
            for relation in &known.objects.relations {
                for (place, declared) in relation.columns.iter().enumerate() {
                    column(relation, place, declared, rows)?;
                }
            }
        }
        "views" => {
            for relation in known.objects.relations.iter().filter(|relation| objects::kind(relation) == 'v') {
                row!(rows; table_catalog: DATABASE, table_schema: &relation.schema, table_name: &relation.name,
                    view_definition: views::query(relation), check_option: "NONE", is_updatable: "NO",
                    is_insertable_into: "NO", is_trigger_updatable: "NO", is_trigger_deletable: "NO",
                    is_trigger_insertable_into: "NO");
            }
        }
        "table_constraints" => {
            for index in known.objects.indexes.values().filter(|index| index.primary) {
                row!(rows; constraint_catalog: DATABASE, constraint_schema: &index.schema,
                    constraint_name: &index.name, table_catalog: DATABASE, table_schema: &index.on.schema,
                    table_name: &index.on.name, constraint_type: "PRIMARY KEY", is_deferrable: "NO",
                    initially_deferred: "NO", enforced: "YES");
            }
        }
        "key_column_usage" => key_columns(known, rows, true)?,
        "constraint_column_usage" => key_columns(known, rows, false)?,
        "character_sets" => row!(rows; character_set_name: "UTF8", character_repertoire: "UCS", form_of_use: "UTF8",
            default_collate_catalog: DATABASE, default_collate_schema: "pg_catalog", default_collate_name: "C.UTF-8"),
        "enabled_roles" => row!(rows; role_name: OWNER_NAME),
        "table_privileges" | "role_table_grants" => privileges(known, rows)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "YES" } else { "NO" }
}

fn table_type(relation: &Relation) -> &'static str {
    match objects::kind(relation) {
        'v' => "VIEW",
        'm' => "MATERIALIZED VIEW",
        _ => "BASE TABLE",
    }
}

fn takes_inserts(relation: &Relation) -> bool {
    match &relation.kind {
        RelationKind::Table(_) => true,
        RelationKind::Stream(stream) => stream.connector.is_none(),
        _ => false,
    }
}

fn column(relation: &Arc<Relation>, place: usize, column: &Column, rows: &mut SystemRows) -> Result<()> {
    let expression = definition::column_expression(relation, place);
    let (default, generated) = match expression {
        Some((text, true)) => (None, Some(text)),
        Some((text, false)) => (Some(text), None),
        None => (None, None),
    };
    let ty = &column.ty;
    let element = if let Type::Array(_) = ty { "ARRAY".to_string() } else { ty.bare_name() };
    let measures = Measures::of(ty);
    row!(rows;
        table_catalog: DATABASE,
        table_schema: &relation.schema,
        table_name: &relation.name,
        column_name: &column.name,
        ordinal_position: place as i32 + 1,
        column_default: default,
        is_nullable: yes_or_no(!is_not_null(relation, place)),
        data_type: element,
        character_maximum_length: measures.characters,
        character_octet_length: measures.octets,
        numeric_precision: measures.precision,
        numeric_precision_radix: measures.radix,
        numeric_scale: measures.scale,
        datetime_precision: measures.fraction,
        udt_catalog: DATABASE,
        udt_schema: "pg_catalog",
        udt_name: ty.type_name(),
        dtd_identifier: (place + 1).to_string(),
        is_self_referencing: "NO",
        is_identity: "NO",
        identity_cycle: "NO",
        is_generated: if generated.is_some() { "ALWAYS" } else { "NEVER" },
        generation_expression: generated,
        is_updatable: yes_or_no(matches!(relation.kind, RelationKind::Table(_))),
    );
    Ok(())
}

/// The sizes of a type in the standard's terms.
#[derive(Default)]
struct Measures {
    characters: Option<i32>,
    octets: Option<i32>,
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
    /// Digits of the second's fraction.
    fraction: Option<i32>,
}

impl Measures {
    fn of(ty: &Type) -> Measures {
        /// Of a text without a limit, as Postgres says it.
        const MAX_OCTETS: i32 = 1_073_741_824;
        let binary =
            |precision, scale| Measures { precision: Some(precision), radix: Some(2), scale, ..Measures::default() };
        let fraction = |digits| Measures { fraction: Some(digits), ..Measures::default() };
        let text = |characters: Option<u32>| Measures {
            characters: characters.map(|n| n as i32),
            octets: Some(characters.map_or(MAX_OCTETS, |n| (n as i32).saturating_mul(4))),
            ..Measures::default()
        };
        match ty {
            Type::Int2 => binary(16, Some(0)),
            Type::Int4 => binary(32, Some(0)),
            Type::Int8 => binary(64, Some(0)),
            Type::Float4 => binary(24, None),
            Type::Float8 => binary(53, None),
            Type::Numeric(Numeric::Fixed { precision, scale }) => Measures {
                precision: Some(i32::from(*precision)),
                radix: Some(10),
                scale: Some(i32::from(*scale)),
                ..Measures::default()
            },
            Type::Numeric(Numeric::Free) => Measures { radix: Some(10), ..Measures::default() },
            Type::Text | Type::Varchar(None) => text(None),
            Type::Varchar(Some(n)) | Type::Char(n) => text(Some(*n)),
            Type::Date => fraction(0),
            Type::Rounded(_, digits) => fraction(i32::from(*digits)),
            Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval => fraction(6),
            _ => Measures::default(),
        }
    }
}

fn key_columns(known: &Known, rows: &mut SystemRows, ordered: bool) -> Result<()> {
    for index in known.objects.indexes.values().filter(|index| index.primary) {
        for (place, key) in index.keys.iter().enumerate() {
            let Some(column) = index.on.columns.get(key.column) else { continue };
            if ordered {
                row!(rows; constraint_catalog: DATABASE, constraint_schema: &index.schema,
                    constraint_name: &index.name, table_catalog: DATABASE, table_schema: &index.on.schema,
                    table_name: &index.on.name, column_name: &column.name, ordinal_position: place as i32 + 1);
            } else {
                row!(rows; table_catalog: DATABASE, table_schema: &index.on.schema, table_name: &index.on.name,
                    column_name: &column.name, constraint_catalog: DATABASE, constraint_schema: &index.schema,
                    constraint_name: &index.name);
            }
        }
    }
    Ok(())
}

fn privileges(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for relation in known.objects.user_relations() {
        let privileges: &[&str] = match relation.kind {
            RelationKind::Table(_) => &["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE"],
            RelationKind::Stream(_) if takes_inserts(relation) => &["INSERT", "SELECT"],
            _ => &["SELECT"],
        };
        for privilege in privileges {
            row!(rows; grantor: OWNER_NAME, grantee: OWNER_NAME, table_catalog: DATABASE,
                table_schema: &relation.schema, table_name: &relation.name, privilege_type: *privilege,
                is_grantable: "YES", with_hierarchy: yes_or_no(*privilege == "SELECT"));
        }
    }
    Ok(())
}
