//! The rows of the system relations: what the catalog and the running server know, as Postgres's clients ask for it.
//!
//! | file             | relations |
//! |------------------|-----------|
//! | `relations.rs`   | pg_class, pg_attribute, pg_index, pg_constraint, pg_attrdef, pg_namespace, pg_depend, pg_rewrite |
//! | `types.rs`       | pg_type, pg_proc's input and output functions, pg_am, pg_opclass, pg_opfamily, pg_collation, pg_language |
//! | `server.rs`      | pg_database, pg_roles, pg_tablespace, pg_settings, pg_stat_activity, pg_cursors, pg_prepared_statements |
//! | `views.rs`       | pg_tables, pg_views, pg_matviews, pg_indexes and the statistics views |
//! | `information.rs` | information_schema |
//! | `riverrun.rs`    | rr_catalog |
//! | `definition.rs`  | texts: what CREATE would say of a view, an index, a constraint, a default |
//! | `objects.rs`     | oids of what has none in our catalog (a primary key's index, a row type) and how to find it again |
//!
//! Every other declared relation is empty, as it is in a Postgres where the feature is not used.

pub mod definition;
pub mod facts;
mod information;
mod objects;
mod relations;
mod riverrun;
mod rows;
mod server;
mod types;
mod views;

use std::sync::Arc;

use arrow::array::RecordBatch;

pub use facts::{NoFacts, RuntimeFacts};

use crate::catalog::{Catalog, Relation};
use crate::engine::ReadView;
use crate::engine::read::Batches;
use crate::error::Result;
use objects::Objects;

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
    let mut rows = rows::Rows::new(relation);
    let (schema, name) = (relation.schema.as_str(), relation.name.as_str());
    let filled = match schema {
        crate::catalog::PG_CATALOG => {
            relations::fill(name, known, &mut rows)?
                || types::fill(name, known, &mut rows)?
                || server::fill(name, known, &mut rows)?
                || views::fill(name, known, &mut rows)?
        }
        crate::catalog::INFORMATION_SCHEMA => information::fill(name, known, &mut rows)?,
        crate::catalog::RR_CATALOG => riverrun::fill(name, known, &mut rows)?,
        _ => false,
    };
    if filled { Ok(Some(rows.finish()?)) } else { Ok(None) }
}
