//! Arrange: keeps the input's rows, indexed by a key, and passes the delta on. Joins read what it keeps.
//!
//! `out = in`. Keeps every live row once, in an [`Arrangement`]; a step costs its delta (hash, append, index). What dies is
//! reclaimed as the oldest readable version moves on.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::{Operator, Progress, Step};
use crate::delta::Delta;
use crate::error::Result;
use crate::state::{Arrangement, Deletes, IndexId, Spec, Version};

/// A relation's rows with an index on some columns: what a join needs of one of its inputs.
#[derive(Clone)]
pub struct Arranged {
    pub rows: Arc<Arrangement>,
    /// The join's columns.
    pub key: Vec<usize>,
    /// `None` where the key is empty: then every row matches every row.
    index: Option<IndexId>,
}

impl Arranged {
    /// Rows that someone else appends to (a table's, a view's, another Arrange's), by `key`.
    pub fn new(rows: &Arc<Arrangement>, key: &[usize]) -> Result<Arranged> {
        let index = if key.is_empty() { None } else { Some(rows.add_index(key)?) };
        Ok(Arranged { rows: rows.clone(), key: key.to_vec(), index })
    }

    pub fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    pub fn index(&self) -> Option<IndexId> {
        self.index
    }

    /// Which keys have rows at `version`: a sum of weights greater than 0.
    pub fn exists(&self, keys: &[ArrayRef], rows: usize, version: Version, nulls: bool) -> Result<Vec<bool>> {
        match self.index {
            Some(index) => self.rows.exists(index, keys, rows, version, nulls),
            None => Ok(vec![self.rows.row_count(version)? > 0; rows]),
        }
    }
}

/// The operator of an Arrange node.
pub struct Arrange {
    arranged: Arranged,
}

impl Arrange {
    /// `append_only`: no deletion is expected (one that comes is right all the same).
    pub fn new(schema: &SchemaRef, key: &[usize], append_only: bool) -> Result<Arrange> {
        let deletes = if append_only { Deletes::None } else { Deletes::Row };
        Arrange::with_spec(schema, key, Spec::new(deletes))
    }

    pub fn with_spec(schema: &SchemaRef, key: &[usize], spec: Spec) -> Result<Arrange> {
        let rows = Arrangement::new(schema.clone(), spec)?;
        Ok(Arrange { arranged: Arranged::new(&rows, key)? })
    }

    /// What the joins behind this node read.
    pub fn arranged(&self) -> Arranged {
        self.arranged.clone()
    }
}

impl Operator for Arrange {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let deltas = inputs.first().copied().unwrap_or_default();
        self.arranged.rows.append(deltas, step.after, step.oldest)?;
        step.out.extend_from_slice(deltas);
        Ok(Progress::Done)
    }

    fn state_bytes(&self) -> usize {
        self.arranged.rows.state_bytes()
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.arranged.rows.save()
    }

    /// Operators that read the arrangement are loaded after it.
    fn load(&mut self, saved: &[u8]) -> Result<()> {
        self.arranged.rows.load(saved)
    }
}
