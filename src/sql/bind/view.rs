//! Views: CREATE VIEW, and the query of a stored view bound again.

use std::sync::Arc;

use sqlparser::ast;

use super::ddl::{already_exists, check_columns, existing, target_schema};
use super::names::relation_name;
use super::scope::{fold_all, place};
use super::{Binder, Output};
use crate::catalog::{Relation, RelationId, RelationKind, ViewDef};
use crate::error::{Error, Result, SqlState};
use crate::sql::registry;
use crate::sql::statement::CreateView;
use crate::sql::{BindContext, BoundQuery, SessionConstants, refusals};

/// A view with its query bound.
#[derive(Clone, Debug)]
pub struct BoundView {
    pub relation: Relation,
    pub query: BoundQuery,
    /// With OR REPLACE: the relation of this name that it takes the place of.
    pub replaces: Option<RelationId>,
}

/// CREATE [MATERIALIZED] VIEW. `Ok(None)`: it exists and the statement says IF NOT EXISTS.
pub fn bind_create_view(context: &BindContext, create: &CreateView) -> Result<Option<BoundView>> {
    let parts = relation_name(&create.name)?;
    let existing = existing(context, &parts)?;
    let mut replaces = None;
    if let Some(existing) = existing {
        if create.if_not_exists {
            return Ok(None);
        }
        let same_kind = match (&existing.kind, create.materialized) {
            (RelationKind::View(_), false) | (RelationKind::MaterializedView(_), true) => true,
            _ => false,
        };
        match create.or_replace {
            true if same_kind => replaces = Some(existing.id),
            true => {
                let message = format!(
                    "\"{}\" is not a {}",
                    existing.name,
                    if create.materialized { "materialized view" } else { "view" }
                );
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(parts.position));
            }
            false => return Err(already_exists(&parts)),
        }
    }
    let schema = target_schema(context, &parts)?;
    if replaces.is_none() && context.catalog.is_taken(&schema, &parts.name) {
        return if create.if_not_exists { Ok(None) } else { Err(already_exists(&parts)) };
    }
    let view_context = view_context(context, create.materialized);
    let definition = ViewDef { query: create.query_text.clone(), search_path: context.search_path.clone() };
    let (query, named) = bind_definition(&view_context, &create.query, None)?;
    if let Some(replaced) = replaces
        && named.contains(&replaced)
    {
        let message = format!("view \"{}\" can't be defined over itself", parts.name);
        return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message).or_position(parts.position));
    }
    let mut columns = query.columns.clone();
    if create.columns.len() > columns.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "CREATE VIEW specifies more column names than columns")
            .or_position(create.columns.last().and_then(place)));
    }
    for (column, name) in columns.iter_mut().zip(fold_all(&create.columns)) {
        column.name = name;
    }
    check_columns(&columns)?;
    if columns.is_empty() {
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, "a view needs at least one column")
            .or_position(parts.position));
    }
    if create.materialized
        && let Some(system) = system_relation(context, &query.relations)
    {
        return Err(refusals::SYSTEM.error_for(format!("{}.{}", system.schema, system.name)));
    }
    let kind = match create.materialized {
        true => RelationKind::MaterializedView(definition),
        false => RelationKind::View(definition),
    };
    let depends_on = named.into_iter().filter(|id| !is_system(context, *id)).collect();
    let relation = Relation {
        id: context.catalog.next_id(),
        schema,
        name: parts.name,
        columns: columns.clone(),
        kind,
        depends_on,
    };
    let query = BoundQuery { columns, ..query };
    Ok(Some(BoundView { relation, query, replaces }))
}

/// A stored view's query, bound again; `session` gives no more than what error texts need.
pub fn bind_view(context: &BindContext, relation: &Relation) -> Result<BoundQuery> {
    let query = bind_stored(context, relation)?;
    Ok(BoundQuery { columns: relation.columns.clone(), ..query })
}

/// Whether a stored view's columns have other names than its query gives them.
pub fn renames_columns(context: &BindContext, relation: &Relation) -> Result<bool> {
    let query = bind_stored(context, relation)?;
    Ok(!query.columns.iter().map(|column| &column.name).eq(relation.columns.iter().map(|column| &column.name)))
}

/// The columns have the names that the query gives them.
fn bind_stored(context: &BindContext, relation: &Relation) -> Result<BoundQuery> {
    let (definition, materialized) = match &relation.kind {
        RelationKind::MaterializedView(definition) => (definition, true),
        RelationKind::View(definition) => (definition, false),
        _ => return Err(Error::internal(format!("{} is no view", relation.name))),
    };
    let query = crate::sql::parse::parse_query(&definition.query)?;
    let mut context = view_context(context, materialized);
    context.search_path = definition.search_path.clone();
    Ok(bind_definition(&context, &query, Some(relation.depends_on.clone()))?.0)
}

/// A view's rows are the same for everyone: it is bound in UTC, as no one.
fn view_context(context: &BindContext, materialized: bool) -> BindContext {
    let mut context = context.clone();
    context.parameter_types = Vec::new();
    if materialized {
        context.for_view = true;
        context.session = SessionConstants { time_zone: "UTC".to_string(), ..context.session };
    }
    context
}

/// A view's query and the relations it names itself: `among` these, if it is stored already.
fn bind_definition(
    context: &BindContext,
    query: &ast::Query,
    among: Option<Vec<RelationId>>,
) -> Result<(BoundQuery, Vec<RelationId>)> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder { among, ..Binder::new(context) };
    let output = binder.query(query)?;
    let output: Output = binder.resolve_unknown(output)?;
    if !binder.parameters.is_empty() {
        return Err(Error::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1")
            .with_hint("A view's definition has no parameters."));
    }
    let named = binder.named.clone();
    Ok((binder.finish(output)?, named))
}

fn is_system(context: &BindContext, id: RelationId) -> bool {
    context.catalog.relation(id).is_some_and(|relation| relation.kind == RelationKind::System)
}

fn system_relation(context: &BindContext, ids: &[RelationId]) -> Option<Arc<Relation>> {
    ids.iter()
        .filter_map(|id| context.catalog.relation(*id))
        .find(|relation| relation.kind == RelationKind::System)
        .cloned()
}
