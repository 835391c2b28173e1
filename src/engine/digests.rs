//! Digests: what every relation holds at the end of every epoch, in the log, for whoever checks that a replay gives the same.
//!
//! ```text
//!   digest(relation, epoch) = digest(relation, epoch before) + digest(the epoch's changes)
//! ```
//!
//! A line for each relation that an epoch changed, on the log target `digests` at level debug. Keeps 16 bytes a relation, costs a pass over
//! what each epoch changed, and makes recovery replay every epoch on its own; nothing at all unless the log asks for it.

use std::collections::HashMap;

use super::epochs::Intake;
use super::published::{PATIENCE, Published};
use crate::catalog::Catalog;
use crate::delta::{Delta, digest};
use crate::error::Result;
use crate::log::CommitLog;
use crate::types::RelationId;

const TARGET: &str = "digests";

#[derive(Default)]
pub struct Digests {
    contents: HashMap<RelationId, Contents>,
    /// What was last logged: a relation is logged when it differs.
    logged: HashMap<RelationId, Contents>,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Contents {
    rows: i64,
    digest: u64,
}

impl Digests {
    /// None unless the log asks for them.
    pub fn if_logged() -> Option<Digests> {
        tracing::enabled!(target: TARGET, tracing::Level::DEBUG).then(Digests::default)
    }

    /// Streams keep no rows: what they take in is what they gain.
    pub fn take_in(&mut self, state: &Published, intake: &Intake) -> Result<()> {
        for (relation, delta) in intake.commits.iter().flat_map(|commit| &commit.changes) {
            if state.catalog.relation(*relation).is_some() && !state.shards.contains_key(relation) {
                self.add(*relation, delta)?;
            }
        }
        for (stream, fetched) in &intake.fetched {
            self.add(*stream, &Delta::insertions(fetched.rows.clone()))?;
        }
        Ok(())
    }

    /// Tables and views changed between two states.
    pub fn change(&mut self, before: &Published, after: &Published, log: &CommitLog) -> Result<()> {
        for relation in after.shards.keys().filter(|relation| !after.failed.contains_key(relation)) {
            for delta in after.changes(before, *relation, log, PATIENCE)? {
                self.add(*relation, &delta?.1)?;
            }
        }
        Ok(())
    }

    /// A view has joined with these rows.
    pub fn join(&mut self, view: RelationId, state: &Published, log: &CommitLog) -> Result<()> {
        for delta in state.rows(view, log, None)? {
            self.add(view, &delta?.1)?;
        }
        Ok(())
    }

    pub fn forget(&mut self, relation: RelationId) {
        self.contents.remove(&relation);
        self.logged.remove(&relation);
    }

    /// The epoch is done and its cut is durable.
    pub fn log(&mut self, epoch: u64, catalog: &Catalog) {
        let mut changed: Vec<(RelationId, Contents)> =
            self.contents.iter().map(|(relation, contents)| (*relation, *contents)).collect();
        changed.retain(|(relation, contents)| self.logged.get(relation).copied().unwrap_or_default() != *contents);
        changed.sort_unstable_by_key(|(relation, _)| *relation);
        for (id, contents) in changed {
            self.logged.insert(id, contents);
            let Some(relation) = catalog.relation(id) else { continue };
            let (name, Contents { rows, digest }) = (format!("{}.{}", relation.schema, relation.name), contents);
            tracing::debug!(target: TARGET, epoch, id = id.0, name, rows, digest = format!("{digest:016x}"), "digest");
        }
    }

    fn add(&mut self, relation: RelationId, delta: &Delta) -> Result<()> {
        let contents = self.contents.entry(relation).or_default();
        contents.rows += (0..delta.len()).map(|row| delta.weight(row)).sum::<i64>();
        contents.digest = contents.digest.wrapping_add(digest(std::slice::from_ref(delta))?);
        Ok(())
    }
}
