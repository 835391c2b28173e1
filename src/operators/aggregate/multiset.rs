//! Values of every group in order, with net weights: what min, max and the list aggregates read their result from.
//!
//! One B-tree for all groups, keyed by group, then value, so that small groups cost no tree of their own:
//!
//! ```text
//!   scalar   (group u32, value as sortable u64)                 -> weight
//!   rows     | group, 4 bytes big-endian | ordered row bytes |  -> weight
//! ```
//!
//! A value whose weight is negative (its deletion came first) is kept and not shown. O(log n) a change and a look-up.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Int64Type, UInt32Type};

use super::rows::each;
use crate::error::Result;
use crate::operators::ordered_rows::{Field, OrderedRows, from_sortable, sortable};
use crate::operators::saved::{Reader, Writer};

#[derive(Debug)]
pub struct Scalars {
    data_type: DataType,
    values: BTreeMap<(u32, u64), i64>,
}

impl Scalars {
    /// `data_type` is one of at most 64 bits (`is_sortable`).
    pub fn new(data_type: DataType) -> Scalars {
        Scalars { data_type, values: BTreeMap::new() }
    }

    pub fn add(
        &mut self,
        groups: &[u32],
        column: &dyn Array,
        counted: Option<&BooleanBuffer>,
        weights: Option<&[i64]>,
    ) {
        let Some(keys) = sortable(column) else { return };
        each(groups, counted, weights, |row, group, weight| {
            let key = (group as u32, keys[row]);
            let total = self.values.entry(key).or_insert(0);
            *total += weight;
            if *total == 0 {
                self.values.remove(&key);
            }
        });
    }

    /// The least or greatest value of the group.
    pub fn extreme(&self, group: u32, greatest: bool) -> Option<u64> {
        let mut range = self.values.range((group, 0)..=(group, u64::MAX)).filter(|(_, weight)| **weight > 0);
        let found = if greatest { range.next_back() } else { range.next() };
        found.map(|((_, value), _)| *value)
    }

    pub fn is_empty(&self, group: u32) -> bool {
        self.values.range((group, 0)..=(group, u64::MAX)).next().is_none()
    }

    pub fn bytes(&self) -> usize {
        // Nodes of a B-tree are two thirds full on average.
        self.values.len() * 24 * 3 / 2
    }

    pub fn save(&self, groups: &[u32], writer: &mut Writer) -> Result<()> {
        let (mut owners, mut values, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (at, &group) in groups.iter().enumerate() {
            for ((_, value), weight) in self.values.range((group, 0)..=(group, u64::MAX)) {
                owners.push(at as u32);
                values.push(Some(*value));
                weights.push(*weight);
            }
        }
        let rows = owners.len();
        let values = from_sortable(&self.data_type, &values);
        writer.columns(&[Arc::new(UInt32Array::from(owners)), Arc::new(Int64Array::from(weights)), values], rows)
    }

    /// Returns how many groups the saved values name.
    pub fn load(&mut self, reader: &mut Reader) -> Result<()> {
        let (columns, _) = reader.columns(&[DataType::UInt32, DataType::Int64, self.data_type.clone()])?;
        let groups = columns[0].as_primitive::<UInt32Type>().values().to_vec();
        let weights = columns[1].as_primitive::<Int64Type>().values().to_vec();
        self.add(&groups, &columns[2], None, Some(&weights));
        Ok(())
    }
}

#[derive(Debug)]
pub struct RowSets {
    order: OrderedRows,
    values: BTreeMap<Box<[u8]>, i64>,
    /// Bytes of all keys.
    bytes: usize,
}

impl RowSets {
    pub fn new(fields: Vec<Field>) -> Result<RowSets> {
        Ok(RowSets { order: OrderedRows::new(fields)?, values: BTreeMap::new(), bytes: 0 })
    }

    pub fn add(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        counted: Option<&BooleanBuffer>,
        weights: Option<&[i64]>,
    ) -> Result<()> {
        let mut rows = self.order.scratch();
        self.order.encode(columns, &mut rows)?;
        let mut key = Vec::new();
        each(groups, counted, weights, |row, group, weight| {
            key.clear();
            key.extend_from_slice(&(group as u32).to_be_bytes());
            key.extend_from_slice(rows.row(row).data());
            match self.values.get_mut(&key[..]) {
                Some(total) => {
                    *total += weight;
                    if *total == 0 {
                        self.values.remove(&key[..]);
                        self.bytes -= key.len();
                    }
                }
                None if weight != 0 => {
                    self.bytes += key.len();
                    self.values.insert(key.as_slice().into(), weight);
                }
                None => {}
            }
        });
        Ok(())
    }

    /// Encoded values of the group in order, with their weights.
    pub fn group(&self, group: u32) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        let (from, to) = (group.to_be_bytes(), (group + 1).to_be_bytes());
        self.values
            .range::<[u8], _>((Bound::Included(&from[..]), Bound::Excluded(&to[..])))
            .map(|(key, weight)| (&key[4..], *weight))
    }

    pub fn is_empty(&self, group: u32) -> bool {
        self.group(group).next().is_none()
    }

    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.order.decode(rows)
    }

    pub fn bytes(&self) -> usize {
        self.values.len() * 24 * 3 / 2 + self.bytes
    }

    pub fn save(&self, groups: &[u32], writer: &mut Writer) -> Result<()> {
        let (mut owners, mut values, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (at, &group) in groups.iter().enumerate() {
            for (value, weight) in self.group(group) {
                owners.push(at as u32);
                values.push(value);
                weights.push(weight);
            }
        }
        let rows = owners.len();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(owners)), Arc::new(Int64Array::from(weights))];
        columns.extend(self.order.decode(values)?);
        writer.columns(&columns, rows)
    }

    pub fn load(&mut self, reader: &mut Reader) -> Result<()> {
        let mut types = vec![DataType::UInt32, DataType::Int64];
        types.extend(self.order.types());
        let (columns, _) = reader.columns(&types)?;
        let groups = columns[0].as_primitive::<UInt32Type>().values().to_vec();
        let weights = columns[1].as_primitive::<Int64Type>().values().to_vec();
        self.add(&groups, &columns[2..], None, Some(&weights))
    }
}
