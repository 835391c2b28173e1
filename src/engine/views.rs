//! A materialized view's circuit, from its definition: the same at CREATE and at every replay.

use std::sync::Arc;

use crate::catalog::{Catalog, Relation, RelationKind};
use crate::circuit::CircuitPlan;
use crate::error::{Error, Result};
use crate::sql;

/// Binds the view's query against the catalog as of its creation and lowers it.
pub fn plan(catalog: &Arc<Catalog>, view: &Relation) -> Result<CircuitPlan> {
    match &view.kind {
        RelationKind::MaterializedView(_) => sql::plan_view(catalog, view),
        _ => Err(Error::internal(format!("\"{}\" is not a materialized view", view.name))),
    }
}
