//! The embedded log: every committed write, in the order in which writes take effect.
//!
//! A commit has a sequence number and, for each relation it changes, a delta over the relation's stored columns: effects,
//! never statements. Its rows stand under (relation, sequence number), so that a stream's history can be read without
//! anyone else's.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::rows;
use crate::delta::Delta;
use crate::error::{Error, Result, SqlState};
use crate::store::{Batch, Entry, Family, Store};
use crate::types::RelationId;

/// A committed write.
#[derive(Clone, Debug)]
pub struct Commit {
    /// From 1 on, without gaps.
    pub sequence: u64,
    pub changes: Vec<(RelationId, Delta)>,
}

impl Commit {
    /// Bytes of its rows.
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(|(_, delta)| delta.bytes()).sum()
    }
}

/// What stands under a commit's number.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u8,
    relations: Vec<RelationId>,
}

const VERSION: u8 = 1;

#[derive(Clone)]
pub struct CommitLog {
    store: Arc<Store>,
}

impl CommitLog {
    pub fn new(store: Arc<Store>) -> CommitLog {
        CommitLog { store }
    }

    /// Adds a commit to a batch that the caller makes durable.
    pub fn put(batch: &mut Batch, commit: &Commit) -> Result<()> {
        let relations = commit.changes.iter().map(|(relation, _)| *relation).collect();
        let header = postcard::to_stdvec(&Header { version: VERSION, relations }).map_err(Error::internal)?;
        batch.put(Family::Commits, commit.sequence.to_be_bytes().to_vec(), header);
        for (relation, delta) in &commit.changes {
            batch.put(Family::Rows, row_key(*relation, commit.sequence), rows::encode(delta)?);
        }
        Ok(())
    }

    /// The number of the newest commit; 0 before the first.
    pub fn last(&self) -> Result<u64> {
        match self.store.last(Family::Commits)? {
            Some((key, _)) => sequence_of(&key),
            None => Ok(0),
        }
    }

    /// The commits from `from` up to, not including, `to`. `schema` gives a relation's stored schema, or `None` for one that
    /// was dropped and is of no interest.
    pub fn read<'a>(
        &'a self,
        from: u64,
        to: u64,
        schema: impl Fn(RelationId) -> Option<SchemaRef> + 'a,
    ) -> Result<impl Iterator<Item = Result<Commit>> + 'a> {
        let entries = self.store.range(Family::Commits, &from.to_be_bytes(), &to.to_be_bytes())?;
        Ok(entries.map(move |entry| self.commit(entry?, &schema)))
    }

    fn commit(&self, (key, value): Entry, schema: &impl Fn(RelationId) -> Option<SchemaRef>) -> Result<Commit> {
        let sequence = sequence_of(&key)?;
        let header: Header = postcard::from_bytes(&value).map_err(|error| corrupt(sequence, error))?;
        if header.version != VERSION {
            return Err(corrupt(sequence, format!("version {}", header.version)));
        }
        let mut changes = Vec::with_capacity(header.relations.len());
        for relation in header.relations {
            if let Some(schema) = schema(relation) {
                let bytes = self.store.get(Family::Rows, &row_key(relation, sequence))?;
                let bytes = bytes.ok_or_else(|| corrupt(sequence, "its rows are missing"))?;
                changes.push((relation, rows::decode(&bytes, &schema)?));
            }
        }
        Ok(Commit { sequence, changes })
    }

    /// One relation's deltas of the commits from `from` up to, not including, `to`. Reads on as it is asked, a page at a time.
    pub fn rows_of(
        &self,
        relation: RelationId,
        schema: SchemaRef,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = Result<Delta>> + Send + use<> {
        let store = self.store.clone();
        let (mut next, end) = (row_key(relation, from), row_key(relation, to));
        let pages = std::iter::from_fn(move || {
            let page = store.range(Family::Rows, &next, &end).map(|entries| entries.take(PAGE).collect::<Vec<_>>());
            match page {
                Err(error) => Some(vec![Err(error)]),
                Ok(page) => {
                    if let Some(Ok((key, _))) = page.last() {
                        next = [key.as_ref(), &[0]].concat();
                    }
                    (!page.is_empty()).then_some(page)
                }
            }
        });
        // An error ends the reading: the page after it would be the same one.
        let mut failed = false;
        pages
            .flatten()
            .take_while(move |entry| !std::mem::replace(&mut failed, entry.is_err()))
            .map(move |entry| rows::decode(&entry?.1, &schema))
    }
}

/// Log entries read at once.
const PAGE: usize = 64;

fn row_key(relation: RelationId, sequence: u64) -> Vec<u8> {
    [&relation.0.to_be_bytes()[..], &sequence.to_be_bytes()[..]].concat()
}

fn sequence_of(key: &[u8]) -> Result<u64> {
    let key = key.try_into().map_err(|_| corrupt(0, "its key has another length"))?;
    Ok(u64::from_be_bytes(key))
}

fn corrupt(sequence: u64, what: impl std::fmt::Display) -> Error {
    Error::new(SqlState::DATA_CORRUPTED, format!("commit {sequence} of the embedded log is corrupt"))
        .with_detail(what.to_string())
}
