//! Indexes that users make on tables and views: another way into rows that are there already.

use super::published::Published;
use crate::catalog::{IndexDef, RelationKind};
use crate::error::{Error, Result};
use crate::state::{Arrangement, IndexId, Order};
use crate::types::RelationId;

/// Rows indexed at once; between two such slices the relation's worker may append.
const SLICE_ROWS: usize = 64 * 1024;

/// Adds the index to every shard of its relation: by its columns for lookups, and in its order for ranges.
pub fn add(state: &Published, definition: &IndexDef) -> Result<()> {
    let Some(shards) = state.shards.get(&definition.on) else {
        return Err(Error::internal("an index on a relation without rows"));
    };
    for shard in shards.0.iter() {
        let (columns, order) = (columns(definition), order(definition));
        for id in [shard.begin_index(&columns)?, shard.begin_ordered_index(&order)?] {
            while !shard.build_index(id, SLICE_ROWS)? {}
        }
    }
    Ok(())
}

/// Removes it, if `id` is an index at all.
pub fn remove(state: &Published, id: RelationId) -> Result<()> {
    let Some(relation) = state.catalog.relation(id) else { return Ok(()) };
    let RelationKind::Index(definition) = &relation.kind else { return Ok(()) };
    for shard in state.shards.get(&definition.on).iter().flat_map(|shards| shards.0.iter()) {
        for index in find(shard, definition)? {
            shard.remove_index(index);
        }
    }
    Ok(())
}

/// The index's two forms. Asking for one that is there counts as a use, which is given back at once.
fn find(shard: &Arrangement, definition: &IndexDef) -> Result<[IndexId; 2]> {
    let found = [shard.begin_index(&columns(definition))?, shard.begin_ordered_index(&order(definition))?];
    found.iter().for_each(|index| shard.remove_index(*index));
    Ok(found)
}

fn columns(definition: &IndexDef) -> Vec<usize> {
    definition.keys.iter().map(|key| key.column).collect()
}

fn order(definition: &IndexDef) -> Vec<Order> {
    let order = definition.keys.iter().map(|key| Order {
        column: key.column,
        descending: key.descending,
        nulls_first: key.nulls_first,
    });
    order.collect()
}
