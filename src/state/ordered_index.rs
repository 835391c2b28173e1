//! An ordered index: encoded key and row id in a tree, for ranges and ordered reads.
//!
//! An entry is the arrow-row encoding of the key columns, then the id in 8 bytes, big end first. Entries of dead rows stay
//! until they are reclaimed; who reads asks the arena whether a row is seen at its version. O(log rows) an insertion.
//! The encoding lives in memory only.

use std::collections::{BTreeSet, btree_set};
use std::ops::Bound;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow_row::{RowConverter, Rows, SortField};

use crate::delta::keys::{sortable, sortable_type};
use crate::error::Result;

/// One column of an index's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

pub(super) struct OrderedIndex {
    order: Vec<Order>,
    converter: RowConverter,
    /// One for each shorter prefix of the columns: an encoded prefix is the start of the encoded key.
    prefixes: Vec<RowConverter>,
    entries: BTreeSet<Box<[u8]>>,
    key_bytes: usize,
}

/// Where a run of entries begins and ends.
pub(super) type ByteBounds = (Bound<Box<[u8]>>, Bound<Box<[u8]>>);

/// Bytes that a tree entry costs beyond its key: pointer, length, node slack, allocator.
const ENTRY_BYTES: usize = 40;

impl OrderedIndex {
    pub fn new(schema: &SchemaRef, order: &[Order]) -> Result<OrderedIndex> {
        let field = |order: &Order| {
            let options = SortOptions { descending: order.descending, nulls_first: order.nulls_first };
            SortField::new_with_options(sortable_type(schema.field(order.column).data_type()), options)
        };
        let fields: Vec<SortField> = order.iter().map(field).collect();
        let prefix = |length: usize| RowConverter::new(fields[..length].to_vec());
        let prefixes = (0..fields.len()).map(prefix).collect::<Result<Vec<_>, _>>()?;
        Ok(OrderedIndex {
            order: order.to_vec(),
            converter: RowConverter::new(fields)?,
            prefixes,
            entries: BTreeSet::new(),
            key_bytes: 0,
        })
    }

    pub fn order(&self) -> &[Order] {
        &self.order
    }

    /// The keys of whole rows.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.order.iter().map(|order| rows.column(order.column).clone()).collect();
        self.encode_keys(&columns)
    }

    /// The keys of rows that have the first of the index's columns, or all of them.
    pub fn encode_keys(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let columns = columns.iter().map(sortable).collect::<Result<Vec<_>>>()?;
        let converter = self.prefixes.get(columns.len()).unwrap_or(&self.converter);
        Ok(converter.convert_columns(&columns)?)
    }

    pub fn insert(&mut self, key: &[u8], id: u64) {
        if self.entries.insert(entry(key, id)) {
            self.key_bytes += key.len() + 8;
        }
    }

    pub fn remove(&mut self, key: &[u8], id: u64) {
        if self.entries.remove(&entry(key, id)) {
            self.key_bytes -= key.len() + 8;
        }
    }

    /// The ids of up to `limit` entries between the bounds, from the end that `reverse` says, and the last of these entries.
    pub fn entries(&self, between: &ByteBounds, reverse: bool, limit: usize) -> (Vec<u64>, Option<Box<[u8]>>) {
        let Some(mut range) = self.range(between) else { return (Vec::new(), None) };
        let next = || if reverse { range.next_back() } else { range.next() };
        let entries: Vec<&Box<[u8]>> = std::iter::from_fn(next).take(limit).collect();
        (entries.iter().map(|entry| id_of(entry)).collect(), entries.last().map(|last| (*last).clone()))
    }

    /// How many entries there are between the bounds, counting up to `limit` of them, and the last that was counted.
    pub fn count(&self, between: &ByteBounds, limit: usize) -> (usize, Option<Box<[u8]>>) {
        let Some(range) = self.range(between) else { return (0, None) };
        let (mut count, mut last) = (0, None);
        for entry in range.take(limit) {
            (count, last) = (count + 1, Some(entry));
        }
        (count, last.cloned())
    }

    fn range(&self, (lower, upper): &ByteBounds) -> Option<btree_set::Range<'_, Box<[u8]>>> {
        let empty = match (lower, upper) {
            (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
                a > b || (a == b && !matches!((lower, upper), (Bound::Included(_), Bound::Included(_))))
            }
            _ => false,
        };
        (!empty).then(|| self.entries.range::<Box<[u8]>, _>((lower.clone(), upper.clone())))
    }

    pub fn bytes(&self) -> usize {
        self.key_bytes + self.entries.len() * ENTRY_BYTES
    }
}

fn entry(key: &[u8], id: u64) -> Box<[u8]> {
    let mut entry = Vec::with_capacity(key.len() + 8);
    entry.extend_from_slice(key);
    entry.extend_from_slice(&id.to_be_bytes());
    entry.into_boxed_slice()
}

fn id_of(entry: &[u8]) -> u64 {
    entry.last_chunk::<8>().map_or(0, |id| u64::from_be_bytes(*id))
}
