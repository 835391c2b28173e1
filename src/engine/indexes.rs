//! Indexes that users make on tables and views: another way into rows that are there already.
//!
//! They are built in slices beside the running epochs; by the time the epoch thread adds one, it is there.

use std::sync::Arc;

use super::published::Published;
use crate::catalog::{IndexDef, IndexKey, IndexMethod, RelationKind};
use crate::circuit::Shards;
use crate::error::Result;
use crate::state::{Arrangement, IndexId, Order};
use crate::types::RelationId;

/// Rows indexed at once; between two such slices the relation's worker may append.
const SLICE_ROWS: usize = 4 * 1024;

/// Uses of indexes that are given up when it is dropped.
#[derive(Default)]
pub struct Built(Vec<(Arc<Arrangement>, IndexId)>);

impl Drop for Built {
    fn drop(&mut self) {
        self.0.iter().for_each(|(shard, index)| shard.remove_index(*index));
    }
}

/// Builds the index on every shard. `progress` hears of rows done and may end it.
pub fn build(shards: &Shards, definition: &IndexDef, progress: &mut dyn FnMut(u64) -> Result<()>) -> Result<Built> {
    let mut built = Built::default();
    for shard in shards.0.iter() {
        let index = begin(shard, definition)?;
        built.0.push((shard.clone(), index));
        while !shard.build_index(index, SLICE_ROWS)? {
            progress(SLICE_ROWS as u64)?;
        }
    }
    Ok(built)
}

/// Adds the index for good, until [`remove`]. Nothing to do where its relation has failed and has no rows.
pub fn add(state: &Published, definition: &IndexDef) -> Result<()> {
    let Some(shards) = state.shards.get(&definition.on) else { return Ok(()) };
    // Its uses stay.
    std::mem::take(&mut build(shards, definition, &mut |_| Ok(()))?.0);
    Ok(())
}

/// Removes it, if `id` is an index at all.
pub fn remove(state: &Published, id: RelationId) -> Result<()> {
    let Some(relation) = state.catalog.relation(id) else { return Ok(()) };
    let RelationKind::Index(definition) = &relation.kind else { return Ok(()) };
    let Some(shards) = state.shards.get(&definition.on) else { return Ok(()) };
    for shard in shards.0.iter() {
        // Asking for one that is there counts as a use: its own and this one are given up.
        let index = begin(shard, definition)?;
        shard.remove_index(index);
        shard.remove_index(index);
    }
    Ok(())
}

fn begin(shard: &Arrangement, definition: &IndexDef) -> Result<IndexId> {
    let order = |key: &IndexKey| Order { column: key.column, descending: key.descending, nulls_first: key.nulls_first };
    match definition.method {
        IndexMethod::Btree => shard.begin_ordered_index(&definition.order().map(order).collect::<Vec<_>>()),
        IndexMethod::Hash => {
            let columns: Vec<usize> = definition.order().map(|key| key.column).collect();
            shard.begin_index(&columns)
        }
    }
}
