//! Reading by an ordered index: all rows whose key starts with a prefix and lies in a range, in the index's order.

use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};

use super::index::{Index, IndexId};
use super::ordered_index::OrderedIndex;
use super::{Arrangement, Version};
use crate::delta::Delta;
use crate::error::{Error, Result};

/// Index entries read under one lock, and rows of a batch handed out.
const BATCH: usize = 4 * 1024;

/// Which keys: the first columns equal to `prefix`, the next one within the bounds, the others whatever they are.
/// Arrays of one row. A bound excludes NULLs; without bounds NULLs are included. Bounds are of values, whatever the
/// direction of the index's column.
#[derive(Clone, Debug)]
pub struct KeyRange {
    pub prefix: Vec<ArrayRef>,
    pub lower: Bound<ArrayRef>,
    pub upper: Bound<ArrayRef>,
}

impl KeyRange {
    pub fn all() -> KeyRange {
        KeyRange::prefix(Vec::new())
    }

    pub fn prefix(prefix: Vec<ArrayRef>) -> KeyRange {
        KeyRange { prefix, lower: Bound::Unbounded, upper: Bound::Unbounded }
    }
}

/// Rows in the order of an index, read lazily in batches.
pub struct RangeScan {
    arrangement: Arc<Arrangement>,
    index: Arc<Index>,
    version: Version,
    lower: Bound<Box<[u8]>>,
    upper: Bound<Box<[u8]>>,
    reverse: bool,
    batch: usize,
    done: bool,
}

impl Arrangement {
    /// The rows of a key range at a version that is held, in the index's order or in reverse. Rows of equal keys come in
    /// the order of arrival, newest last (reversed: newest first).
    pub fn range(
        self: &Arc<Self>,
        index: IndexId,
        range: &KeyRange,
        version: Version,
        reverse: bool,
    ) -> Result<RangeScan> {
        self.arena().check(version)?;
        let index = self.index(index)?;
        let (lower, upper) = bounds(&index.as_ordered()?.read(), range)?;
        let arrangement = self.clone();
        Ok(RangeScan { arrangement, index, version, lower, upper, reverse, batch: 64, done: false })
    }
}

type ByteBounds = (Bound<Box<[u8]>>, Bound<Box<[u8]>>);

fn bounds(index: &OrderedIndex, range: &KeyRange) -> Result<ByteBounds> {
    let encode = |last: Option<&ArrayRef>| -> Result<Vec<u8>> {
        let columns: Vec<ArrayRef> = range.prefix.iter().chain(last).cloned().collect();
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        Ok(index.encode_keys(&columns)?.row(0).as_ref().to_vec())
    };
    let prefix = encode(None)?;
    let mut start = Some(prefix.clone());
    let mut end = successor(prefix);
    if !matches!((&range.lower, &range.upper), (Bound::Unbounded, Bound::Unbounded)) {
        let order = index.order().get(range.prefix.len());
        let order = *order.ok_or_else(|| Error::internal("a range beyond the columns of its index"))?;
        let (first, last) = if order.descending { (&range.upper, &range.lower) } else { (&range.lower, &range.upper) };
        let sample = [first, last].into_iter().find_map(|bound| match bound {
            Bound::Included(value) | Bound::Excluded(value) => Some(value.data_type().clone()),
            Bound::Unbounded => None,
        });
        if let Some(data_type) = sample {
            let nulls = encode(Some(&new_null_array(&data_type, 1)))?;
            if order.nulls_first {
                start = successor(nulls);
            } else {
                end = Some(nulls);
            }
        }
        match first {
            Bound::Unbounded => {}
            Bound::Included(value) => start = Some(encode(Some(value))?),
            Bound::Excluded(value) => start = successor(encode(Some(value))?),
        }
        match last {
            Bound::Unbounded => {}
            Bound::Included(value) => end = successor(encode(Some(value))?),
            Bound::Excluded(value) => end = Some(encode(Some(value))?),
        }
    }
    let lower = match start {
        Some(bytes) => Bound::Included(bytes.into_boxed_slice()),
        // Nothing sorts behind a run of 0xff bytes.
        None => Bound::Excluded(vec![u8::MAX; 64].into_boxed_slice()),
    };
    Ok((lower, end.map_or(Bound::Unbounded, |bytes| Bound::Excluded(bytes.into_boxed_slice()))))
}

/// The least bytes greater than all that start with these; `None` if there are none such.
fn successor(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            return Some(bytes);
        }
    }
    None
}

impl RangeScan {
    fn read(&mut self) -> Result<Option<Delta>> {
        while !self.done {
            let (entries, arena) = {
                let index = self.index.as_ordered()?.read();
                let entries = index.entries(&self.lower, &self.upper, self.reverse, self.batch);
                (entries, self.arrangement.arena())
            };
            arena.check(self.version)?;
            self.done = entries.len() < self.batch;
            // A first batch is small: who wants one row should not pay for thousands.
            self.batch = (self.batch * 4).min(BATCH);
            if let Some((last, _)) = entries.last() {
                let bound = Bound::Excluded(last.clone());
                if self.reverse { self.upper = bound } else { self.lower = bound }
            }
            let end = arena.end_id(self.version);
            let seen = |(_, id): &(Box<[u8]>, u64)| {
                let (chunk, row) = arena.locate(*id).filter(|_| *id < end)?;
                (!arena.chunks[chunk].dead_by(row, self.version)).then_some((chunk, row))
            };
            let places: Vec<(usize, usize)> = entries.iter().filter_map(seen).collect();
            if places.is_empty() {
                continue;
            }
            let rows = arena.gather(&places, &self.arrangement.all_columns)?;
            return Ok(Some(Delta::from_parts(rows, arena.weights(&places))));
        }
        Ok(None)
    }
}

impl Iterator for RangeScan {
    type Item = Result<Delta>;

    fn next(&mut self) -> Option<Result<Delta>> {
        let read = self.read().transpose();
        self.done |= matches!(read, Some(Err(_)));
        read
    }
}
