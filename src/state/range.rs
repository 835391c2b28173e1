//! Reading by an ordered index: all rows whose key starts with a prefix and lies in a range, in the index's order; and those of
//! several such prefixes.

use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};

use super::index::{Index, IndexId};
use super::ordered_index::{ByteBounds, OrderedIndex};
use super::{Arrangement, Version};
use crate::delta::Delta;
use crate::error::{Error, Result};

/// Index entries read under one lock, and rows of a batch handed out.
const BATCH: usize = 4 * 1024;
/// Index entries counted under one lock.
const COUNTED: usize = 4 * 1024;

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
    pub fn prefix(prefix: Vec<ArrayRef>) -> KeyRange {
        KeyRange { prefix, lower: Bound::Unbounded, upper: Bound::Unbounded }
    }
}

/// Rows in the order of an index, read lazily in batches.
pub struct RangeScan {
    arrangement: Arc<Arrangement>,
    index: Arc<Index>,
    version: Version,
    between: ByteBounds,
    reverse: bool,
    batch: usize,
    done: bool,
}

/// A column whose value lies between bounds, which are arrays of one row. NULLs do not.
#[derive(Clone, Debug)]
pub struct Between {
    pub column: usize,
    pub lower: Bound<ArrayRef>,
    pub upper: Bound<ArrayRef>,
}

/// The rows of several keys, and of one range behind each of them: read lazily, key by key.
pub struct Ranges {
    arrangement: Arc<Arrangement>,
    index: Arc<Index>,
    version: Version,
    /// One array for each of the index's first columns.
    keys: Vec<ArrayRef>,
    rows: usize,
    between: Option<Between>,
    next: usize,
    current: Option<RangeScan>,
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
        RangeScan::new(self.clone(), index, range, version, reverse)
    }

    /// Looks up `rows` keys, given as one array for each of `columns`, with the column that lies between bounds, if there is one: by an
    /// ordered index that begins with these columns and goes on with that one, and knows all of the version. `None` if there is
    /// none. Keys with a NULL match nothing.
    pub fn lookup_between(
        self: &Arc<Self>,
        columns: &[usize],
        keys: &[ArrayRef],
        rows: usize,
        between: Option<&Between>,
        version: Version,
    ) -> Result<Option<Ranges>> {
        self.arena().check(version)?;
        let Some(index) = self.find_ordered(columns, between.map(|between| between.column), version) else {
            return Ok(None);
        };
        // It may have them in another order.
        let of_column = |column: &usize| Some(keys.get(columns.iter().position(|asked| asked == column)?)?.clone());
        let Some(keys) = index.columns[..columns.len()].iter().map(of_column).collect() else { return Ok(None) };
        let (arrangement, between) = (self.clone(), between.cloned());
        Ok(Some(Ranges { arrangement, index, version, keys, rows, between, next: 0, current: None }))
    }
}

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
    fn new(
        arrangement: Arc<Arrangement>,
        index: Arc<Index>,
        range: &KeyRange,
        version: Version,
        reverse: bool,
    ) -> Result<RangeScan> {
        let between = bounds(&index.as_ordered()?.read(), range)?;
        Ok(RangeScan { arrangement, index, version, between, reverse, batch: 64, done: false })
    }

    fn read(&mut self) -> Result<Option<Delta>> {
        while !self.done {
            let ((ids, last), arena) = {
                let index = self.index.as_ordered()?.read();
                (index.entries(&self.between, self.reverse, self.batch), self.arrangement.arena())
            };
            arena.check(self.version)?;
            self.done = ids.len() < self.batch;
            // A first batch is small: who wants one row should not pay for thousands.
            self.batch = (self.batch * 4).min(BATCH);
            if let Some(last) = last {
                let (lower, upper) = &mut self.between;
                *(if self.reverse { upper } else { lower }) = Bound::Excluded(last);
            }
            let end = arena.end_id(self.version);
            let seen = |id: &u64| {
                let (chunk, row) = arena.locate(*id).filter(|_| *id < end)?;
                (!arena.chunks[chunk].dead_by(row, self.version)).then_some((chunk, row))
            };
            let places: Vec<(usize, usize)> = ids.iter().filter_map(seen).collect();
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

impl Ranges {
    /// Whether the index has at most so many entries in them, dead ones included: what has more is sooner scanned.
    pub fn at_most(&self, entries: usize) -> Result<bool> {
        let mut left = entries;
        for key in 0..self.rows {
            let Some(range) = self.range(key) else { continue };
            let lock = self.index.as_ordered()?;
            let mut between = bounds(&lock.read(), &range)?;
            loop {
                let (count, last) = lock.read().count(&between, COUNTED);
                if count > left {
                    return Ok(false);
                }
                left -= count;
                match last.filter(|_| count == COUNTED) {
                    Some(last) => between.0 = Bound::Excluded(last),
                    None => break,
                }
            }
        }
        Ok(true)
    }

    /// The range of one key; `None` for a key that matches nothing.
    fn range(&self, key: usize) -> Option<KeyRange> {
        if self.keys.iter().any(|column| column.is_null(key)) {
            return None;
        }
        let prefix = self.keys.iter().map(|column| column.slice(key, 1)).collect();
        Some(match &self.between {
            None => KeyRange::prefix(prefix),
            Some(Between { lower, upper, .. }) => KeyRange { prefix, lower: lower.clone(), upper: upper.clone() },
        })
    }

    fn read(&mut self) -> Result<Option<Delta>> {
        loop {
            if let Some(scan) = &mut self.current {
                match scan.next() {
                    Some(delta) => return delta.map(Some),
                    None => self.current = None,
                }
            }
            if self.next == self.rows {
                return Ok(None);
            }
            self.next += 1;
            if let Some(range) = self.range(self.next - 1) {
                let (arrangement, index) = (self.arrangement.clone(), self.index.clone());
                self.current = Some(RangeScan::new(arrangement, index, &range, self.version, false)?);
            }
        }
    }
}

impl Iterator for Ranges {
    type Item = Result<Delta>;

    fn next(&mut self) -> Option<Result<Delta>> {
        let read = self.read().transpose();
        if matches!(read, Some(Err(_))) {
            (self.next, self.current) = (self.rows, None);
        }
        read
    }
}
