//! DDL: from a CREATE statement to the relation as the catalog keeps it, everything canonical. Views are in [`super::view`].

use std::sync::Arc;

use sqlparser::ast;

use super::expr::position;
use super::names::{RelationName, relation_name};
use super::options::canonical_options;
use super::scope::{Scope, ScopeColumn, ScopeTable, place};
use super::{Binder, Clause};
use crate::catalog::{
    INFORMATION_SCHEMA, Include, IncludeKind, IndexDef, IndexKey, PG_CATALOG, RR_CATALOG, Relation, RelationId,
    RelationKind, StreamDef, TableDef,
};
use crate::error::{Error, Result, SqlState};
use crate::sql::BindContext;
use crate::sql::registry::{self, CastContext};
use crate::sql::statement::{ColumnDefinition, CreateIndex, CreateRelation, Drop, ObjectKind, fold};
use crate::types::{Column, Type};

/// Columns of one relation; Postgres's limit.
const MAX_COLUMNS: usize = 1600;

/// CREATE STREAM. `Ok(None)`: it exists and the statement says IF NOT EXISTS.
pub fn bind_create_stream(context: &BindContext, create: &CreateRelation) -> Result<Option<Relation>> {
    let _session = registry::enter(&context.session);
    let Some((schema, name)) = free_name(context, &create.name, create.if_not_exists)? else { return Ok(None) };
    let position = create.name.0.first().and_then(|part| part.as_ident()).and_then(place);
    if create.primary_key.is_some() || create.columns.iter().any(|column| column.primary_key) {
        return Err(Error::unsupported(
            "a primary key on a stream",
            "A stream keeps every row. INCLUDE KEY makes the key of a Kafka record a column; CREATE TABLE keeps the last row by key.",
        )
        .or_position(position));
    }
    let mut columns = bind_columns(&create.columns)?;
    let connector = canonical_options(&create.options)?;
    let mut includes = Vec::with_capacity(create.includes.len());
    for include in &create.includes {
        if !connector.as_ref().is_some_and(|connector| connector.name == "kafka") {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "INCLUDE needs the kafka connector")
                .or_position(include.name.as_ref().and_then(place)));
        }
        let (default, ty) = match include.kind {
            IncludeKind::Key => ("kafka_key", Type::Bytea),
            IncludeKind::Partition => ("kafka_partition", Type::Int4),
            IncludeKind::Offset => ("kafka_offset", Type::Int8),
            IncludeKind::Timestamp => ("kafka_timestamp", Type::Timestamptz),
            IncludeKind::Headers => ("kafka_headers", Type::Jsonb),
        };
        let name = include.name.as_ref().map_or_else(|| default.to_string(), fold);
        includes.push(Include { kind: include.kind, column: columns.len() });
        columns.push(Column::new(name, ty));
    }
    if columns.is_empty() {
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, "a stream needs at least one column")
            .with_hint("List the fields of the records: CREATE STREAM s (id bigint, at timestamptz, ...).")
            .or_position(position));
    }
    check_columns(&columns)?;
    let default = create.columns.iter().find(|column| column.default.is_some());
    if let (Some(_), Some(column)) = (&connector, default) {
        let hint = format!("Write coalesce({}, ...) in a view.", column.name.value);
        return Err(
            Error::unsupported("DEFAULT on a column of a connected stream", hint).or_position(place(&column.name))
        );
    }
    if connector.is_none() && !create.options.is_empty() {
        return Err(Error::internal("options without a connector were not checked"));
    }
    let mut defaults = bind_defaults(context, &create.columns)?;
    let mut generated = bind_generated(context, &name, &columns, &create.columns)?;
    defaults.resize(columns.len(), None);
    generated.resize(columns.len(), None);
    let kind = RelationKind::Stream(StreamDef { connector, defaults, generated, includes });
    Ok(Some(Relation { id: context.catalog.next_id(), schema, name, columns, kind, depends_on: Vec::new() }))
}

/// CREATE TABLE. `Ok(None)`: it exists and the statement says IF NOT EXISTS.
pub fn bind_create_table(context: &BindContext, create: &CreateRelation) -> Result<Option<Relation>> {
    let _session = registry::enter(&context.session);
    let Some((schema, name)) = free_name(context, &create.name, create.if_not_exists)? else { return Ok(None) };
    let position = create.name.0.first().and_then(|part| part.as_ident()).and_then(place);
    super::options::check_storage(&create.options)?;
    if !create.options.is_empty() || !create.includes.is_empty() {
        return Err(Error::unsupported(
            "a table with a connector",
            "Write CREATE STREAM ... WITH (...): a table is written with INSERT, UPDATE and DELETE. The last row by key: SELECT DISTINCT ON (key) ... in a materialized view, by kafka_offset.",
        )
        .or_position(position));
    }
    let mut columns = bind_columns(&create.columns)?;
    check_columns(&columns)?;
    let inline: Vec<usize> = (0..columns.len()).filter(|index| create.columns[*index].primary_key).collect();
    let mut primary_key = Vec::new();
    match (&create.primary_key, inline.as_slice()) {
        (Some(_), [_, ..]) | (None, [_, _, ..]) => {
            let message = format!("multiple primary keys for table \"{name}\" are not allowed");
            return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message).or_position(position));
        }
        (None, inline) => primary_key.extend(inline),
        (Some(names), []) => {
            for ident in names {
                let key = fold(ident);
                let Some(index) = columns.iter().position(|column| column.name == key) else {
                    let message = format!("column \"{key}\" named in key does not exist");
                    return Err(Error::new(SqlState::UNDEFINED_COLUMN, message).or_position(place(ident)));
                };
                if primary_key.contains(&index) {
                    let message = format!("column \"{key}\" appears twice in primary key constraint");
                    return Err(Error::new(SqlState::DUPLICATE_COLUMN, message).or_position(place(ident)));
                }
                primary_key.push(index);
            }
        }
    }
    for key in &primary_key {
        let column = &mut columns[*key];
        column.not_null = true;
        if matches!(column.ty, Type::Jsonb | Type::Struct(_) | Type::Array(_)) {
            let message =
                format!("column \"{}\" of type {} can't be part of a primary key", column.name, column.ty.bare_name());
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_hint("Choose columns of other types as the key.")
                .or_position(position));
        }
    }
    let defaults = bind_defaults(context, &create.columns)?;
    let generated = bind_generated(context, &name, &columns, &create.columns)?;
    let kind = RelationKind::Table(TableDef { primary_key, defaults, generated });
    Ok(Some(Relation { id: context.catalog.next_id(), schema, name, columns, kind, depends_on: Vec::new() }))
}

/// CREATE INDEX. `Ok(None)`: it exists and the statement says IF NOT EXISTS.
pub fn bind_create_index(context: &BindContext, create: &CreateIndex) -> Result<Option<Relation>> {
    let on_parts = relation_name(&create.on)?;
    let on = context
        .catalog
        .resolve(&context.search_path, on_parts.schema.as_deref(), &on_parts.name)
        .map_err(|error| error.or_position(on_parts.position))?
        .clone();
    if !matches!(on.kind, RelationKind::Table(_) | RelationKind::MaterializedView(_)) {
        let message = format!("cannot create index on {} \"{}\"", on.kind_name(), on.name);
        let hint = "Indexes are for tables and materialized views.";
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).with_hint(hint).or_position(on_parts.position));
    }
    if create.unique {
        return Err(Error::unsupported("CREATE UNIQUE INDEX", "Declare a PRIMARY KEY; only that is enforced."));
    }
    let mut keys = Vec::with_capacity(create.keys.len());
    let mut columns: Vec<Column> = Vec::with_capacity(create.keys.len());
    for key in &create.keys {
        let ast::Expr::Identifier(ident) = &key.expr else {
            return Err(Error::unsupported("an index on an expression", "Index a column of a view that computes it.")
                .or_position(position(&key.expr)));
        };
        let name = fold(ident);
        let Some(column) = on.columns.iter().position(|column| column.name == name) else {
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"))
                .or_position(place(ident)));
        };
        let descending = !key.options.asc.unwrap_or(true);
        keys.push(IndexKey { column, descending, nulls_first: key.options.nulls_first.unwrap_or(descending) });
        if columns.iter().all(|other| other.name != name) {
            columns.push(on.columns[column].clone());
        }
    }
    let name = match &create.name {
        Some(name) => fold(name),
        None => {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let base = format!("{}_{}_idx", on.name, names.join("_"));
            let taken = |name: &str| context.catalog.is_taken(&on.schema, name);
            let mut name = crate::sql::statement::truncate_name(base.clone());
            let mut number = 1;
            while taken(&name) {
                name = format!("{}{number}", crate::sql::statement::truncate_name(base.clone()));
                number += 1;
            }
            name
        }
    };
    if context.catalog.is_taken(&on.schema, &name) {
        if create.if_not_exists {
            return Ok(None);
        }
        return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))
            .or_position(create.name.as_ref().and_then(place)));
    }
    let kind = RelationKind::Index(IndexDef { on: on.id, method: create.method, keys });
    Ok(Some(Relation {
        id: context.catalog.next_id(),
        schema: on.schema.clone(),
        name,
        columns,
        kind,
        depends_on: vec![on.id],
    }))
}

/// The relations that a DROP names. Those missing with IF EXISTS are given by name, for a NOTICE. 42P01, 42809 with the
/// right command as hint. Schemas are not relations: none here.
pub fn bind_drop(context: &BindContext, drop: &Drop) -> Result<(Vec<RelationId>, Vec<String>)> {
    let mut missing = Vec::new();
    let mut named = Vec::new();
    for name in &drop.names {
        let parts = relation_name(name)?;
        let found = context.catalog.resolve(&context.search_path, parts.schema.as_deref(), &parts.name);
        let relation = match found {
            Ok(relation) => relation.clone(),
            Err(_) if drop.if_exists => {
                missing.push(parts.shown());
                continue;
            }
            Err(_) => {
                let message = format!("{} \"{}\" does not exist", drop.kind.word(), parts.shown());
                return Err(Error::new(SqlState::UNDEFINED_TABLE, message).or_position(parts.position));
            }
        };
        let fits = matches!(
            (&relation.kind, drop.kind),
            (RelationKind::Stream(_), ObjectKind::Stream)
                | (RelationKind::Table(_), ObjectKind::Table)
                | (RelationKind::View(_), ObjectKind::View)
                | (RelationKind::MaterializedView(_), ObjectKind::MaterializedView)
                | (RelationKind::Index(_), ObjectKind::Index)
        );
        if relation.kind == RelationKind::System {
            let message = format!("permission denied: \"{}\" is a system catalog", relation.name);
            return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message).or_position(parts.position));
        }
        if !fits {
            let article = |word: &str| if word == "index" { "an" } else { "a" };
            let (kind, wanted) = (relation.kind_name(), drop.kind.word());
            let message = format!("\"{}\" is not {} {wanted}", relation.name, article(wanted));
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message)
                .with_hint(format!("Use DROP {} to remove {} {kind}.", kind.to_uppercase(), article(kind)))
                .or_position(parts.position));
        }
        named.push(relation.id);
    }
    Ok((named, missing))
}

/// Schema and name of what is created, unless it is there already (`None` with IF NOT EXISTS, else 42P07).
fn free_name(context: &BindContext, name: &ast::ObjectName, if_not_exists: bool) -> Result<Option<(String, String)>> {
    let parts = relation_name(name)?;
    let schema = target_schema(context, &parts)?;
    match context.catalog.is_taken(&schema, &parts.name) {
        true if if_not_exists => Ok(None),
        true => Err(already_exists(&parts)),
        false => Ok(Some((schema, parts.name))),
    }
}

pub(super) fn already_exists(parts: &RelationName) -> Error {
    Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{}\" already exists", parts.name))
        .or_position(parts.position)
}

pub(super) fn existing(context: &BindContext, parts: &RelationName) -> Result<Option<Arc<Relation>>> {
    let schema = target_schema(context, parts)?;
    Ok(context.catalog.get(&schema, &parts.name).cloned())
}

/// The schema something is created in: as named, else the first of the search path that is not the system's.
pub(super) fn target_schema(context: &BindContext, parts: &RelationName) -> Result<String> {
    const SYSTEM: [&str; 3] = [PG_CATALOG, RR_CATALOG, INFORMATION_SCHEMA];
    let schema = match &parts.schema {
        Some(schema) => schema.clone(),
        None => {
            let mut path = context.search_path.iter().filter(|schema| !SYSTEM.contains(&schema.as_str()));
            let found = path.find(|schema| context.catalog.has_schema(schema));
            found.cloned().ok_or_else(|| {
                Error::new(SqlState::INVALID_SCHEMA_NAME, "no schema has been selected to create in")
                    .or_position(parts.position)
            })?
        }
    };
    if SYSTEM.contains(&schema.as_str()) {
        let message = format!("permission denied for schema {schema}");
        return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message).or_position(parts.position));
    }
    if !context.catalog.has_schema(&schema) {
        return Err(Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"))
            .or_position(parts.position));
    }
    Ok(schema)
}

fn bind_columns(definitions: &[ColumnDefinition]) -> Result<Vec<Column>> {
    definitions
        .iter()
        .map(|definition| {
            let ty =
                registry::parse_type(&definition.ty).map_err(|error| error.or_position(place(&definition.name)))?;
            let column = Column { name: fold(&definition.name), ty, not_null: definition.not_null };
            if column.ty == Type::Unknown || matches!(column.ty, Type::Regproc | Type::Regtype | Type::Regnamespace) {
                let message = format!("column \"{}\" has pseudo-type {}", column.name, column.ty.bare_name());
                return Err(
                    Error::new(SqlState::INVALID_TABLE_DEFINITION, message).or_position(place(&definition.name))
                );
            }
            Ok(column)
        })
        .collect()
}

pub(super) fn check_columns(columns: &[Column]) -> Result<()> {
    if columns.len() > MAX_COLUMNS {
        return Err(Error::new(
            SqlState::TOO_MANY_COLUMNS,
            format!("a relation can have at most {MAX_COLUMNS} columns"),
        ));
    }
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|other| other.name == column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
    }
    Ok(())
}

/// Texts of defaults, each checked to fit its column; they name no columns.
fn bind_defaults(context: &BindContext, definitions: &[ColumnDefinition]) -> Result<Vec<Option<String>>> {
    let mut defaults = Vec::with_capacity(definitions.len());
    for definition in definitions {
        let Some((text, expr)) = &definition.default else {
            defaults.push(None);
            continue;
        };
        if definition.generated.is_some() {
            let message =
                format!("both default and generation expression specified for column \"{}\"", fold(&definition.name));
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(place(&definition.name)));
        }
        let ty = registry::parse_type(&definition.ty)?;
        let mut binder = Binder::new(context);
        let typed = binder
            .with_level(Scope::default(), Clause::Other("DEFAULT expressions"), |binder| binder.expr(expr))
            .map_err(|error| match error.state() {
                SqlState::UNDEFINED_COLUMN | SqlState::UNDEFINED_TABLE => {
                    Error::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot use column reference in DEFAULT expression")
                        .or_position(error.position())
                }
                _ => error,
            })?;
        fits(&mut binder, typed, &ty, &definition.name, "default expression", position(expr))?;
        defaults.push(Some(text.clone()));
    }
    Ok(defaults)
}

/// Texts of generated columns; each is over the columns that are not generated.
fn bind_generated(
    context: &BindContext,
    table: &str,
    columns: &[Column],
    definitions: &[ColumnDefinition],
) -> Result<Vec<Option<String>>> {
    let plain = columns
        .iter()
        .enumerate()
        .filter(|(index, _)| definitions.get(*index).is_none_or(|definition| definition.generated.is_none()));
    let scope_columns: Vec<ScopeColumn> = plain
        .map(|(_, column)| ScopeColumn {
            name: column.name.clone(),
            ty: column.ty.unrounded(),
            internal: column.name.clone(),
        })
        .collect();
    let scope =
        Scope::of_table(ScopeTable { name: Some(table.to_string()), columns: scope_columns, ..ScopeTable::default() });
    let mut generated = Vec::with_capacity(definitions.len());
    // Rows are stored once: the expression must say the same about them for ever.
    let mut context = context.clone();
    context.for_view = true;
    for definition in definitions {
        let Some((text, expr)) = &definition.generated else {
            generated.push(None);
            continue;
        };
        let ty = registry::parse_type(&definition.ty)?;
        let mut binder = Binder::new(&context);
        let clause = Clause::Other("column generation expressions");
        let typed =
            binder.with_level(scope.clone(), clause, |binder| binder.expr(expr)).map_err(|error| {
                match error.state() {
                    SqlState::FEATURE_NOT_SUPPORTED => {
                        Error::new(SqlState::INVALID_OBJECT_DEFINITION, "generation expression is not immutable")
                            .or_position(error.position())
                    }
                    _ => error,
                }
            })?;
        fits(&mut binder, typed, &ty, &definition.name, "generation expression", position(expr))?;
        generated.push(Some(text.clone()));
    }
    Ok(generated)
}

/// 42804 for an expression that an assignment could not put into the column.
fn fits(
    binder: &mut Binder,
    typed: registry::Typed,
    ty: &Type,
    name: &ast::Ident,
    what: &str,
    at: Option<u32>,
) -> Result<()> {
    let from = typed.ty.clone();
    if let Err(error) = binder.coerce(typed, ty, CastContext::Assignment) {
        if error.state() != SqlState::DATATYPE_MISMATCH {
            return Err(error.or_position(at));
        }
        let message = format!(
            "column \"{}\" is of type {} but {what} is of type {}",
            fold(name),
            ty.bare_name(),
            from.bare_name()
        );
        return Err(Error::new(SqlState::DATATYPE_MISMATCH, message)
            .with_hint("You will need to rewrite or cast the expression.")
            .or_position(at));
    }
    Ok(())
}
