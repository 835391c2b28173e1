//! Postgres's own views over its catalog: pg_tables, pg_views, pg_matviews, pg_indexes, pg_stat_user_tables.

use std::sync::Arc;

use super::Known;
use super::rows::{SystemRows, row};
use crate::catalog::definition;
use crate::catalog::objects::{self, OWNER_NAME};
use crate::catalog::{Relation, RelationKind};
use crate::error::Result;

pub fn fill(name: &str, known: &Known, rows: &mut SystemRows) -> Result<bool> {
    match name {
        "pg_tables" => {
            for relation in of_kind(known, 'r') {
                row!(rows; schemaname: &relation.schema, tablename: &relation.name, tableowner: OWNER_NAME,
                    hasindexes: has_index(known, relation), hasrules: false, hastriggers: false, rowsecurity: false);
            }
        }
        "pg_views" => {
            for relation in of_kind(known, 'v') {
                row!(rows; schemaname: &relation.schema, viewname: &relation.name, viewowner: OWNER_NAME,
                    definition: query(relation));
            }
        }
        "pg_matviews" => {
            for relation in of_kind(known, 'm') {
                row!(rows; schemaname: &relation.schema, matviewname: &relation.name, matviewowner: OWNER_NAME,
                    hasindexes: has_index(known, relation), ispopulated: true, definition: query(relation));
            }
        }
        "pg_indexes" => {
            for index in known.objects.indexes.values() {
                let on = definition::qualified(&index.on.schema, &index.on.name);
                row!(rows; schemaname: &index.on.schema, tablename: &index.on.name, indexname: &index.name,
                    indexdef: definition::index(index, &on));
            }
        }
        "pg_stat_user_tables" | "pg_statio_user_tables" => {
            for relation in known.objects.user_relations().filter(|relation| is_stored(relation)) {
                statistics(name, known, relation, rows)?;
            }
        }
        "pg_stat_all_tables" | "pg_statio_all_tables" => {
            for relation in known.objects.relations.iter().filter(|relation| is_stored(relation)) {
                statistics(name, known, relation, rows)?;
            }
        }
        "pg_stat_user_indexes" | "pg_stat_all_indexes" | "pg_statio_user_indexes" | "pg_statio_all_indexes" => {
            for index in known.objects.indexes.values() {
                row!(rows; relid: index.on.id.oid(), indexrelid: index.oid, schemaname: &index.on.schema,
                    relname: &index.on.name, indexrelname: &index.name);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn of_kind(known: &Known, kind: char) -> impl Iterator<Item = &Arc<Relation>> {
    known.objects.relations.iter().filter(move |relation| objects::kind(relation) == kind)
}

fn is_stored(relation: &Relation) -> bool {
    matches!(objects::kind(relation), 'r' | 'm')
}

fn has_index(known: &Known, relation: &Relation) -> bool {
    known.objects.indexes_on(relation.id).next().is_some()
}

/// A view's query; the system's own views have none that anybody could run here.
pub fn query(relation: &Relation) -> Option<String> {
    match &relation.kind {
        RelationKind::View(def) | RelationKind::MaterializedView(def) => Some(definition::view_query(def)),
        _ => None,
    }
}

/// What is counted is NULL where Postgres would count and we do not.
fn statistics(view: &str, known: &Known, relation: &Relation, rows: &mut SystemRows) -> Result<()> {
    let live = known.view.row_count(relation.id).and_then(|rows| i64::try_from(rows).ok());
    if view.starts_with("pg_statio") {
        row!(rows; relid: relation.id.oid(), schemaname: &relation.schema, relname: &relation.name);
    } else {
        row!(rows; relid: relation.id.oid(), schemaname: &relation.schema, relname: &relation.name, n_live_tup: live);
    }
    Ok(())
}
