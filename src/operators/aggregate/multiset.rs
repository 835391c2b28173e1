//! Values of every group in order, with net weights: what min, max and the list aggregates read their result from.
//!
//! One sorted map a group (`sorted_map.rs`: small ones are plain vectors), from the value to its weight. Values of at most
//! 64 bits are keys as sortable integers, others as ordered row bytes. A value whose weight is negative (its deletion
//! came first) is kept and not shown. O(log n) a change, O(1) a look at either end.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Int64Type, UInt32Type};

use super::rows::each;
use crate::error::{Error, Result};
use crate::operators::ordered_rows::{Field, OrderedRows, from_sortable, sortable};
use crate::operators::saved::{Reader, Writer};
use crate::operators::sorted_map::SortedMap;

#[derive(Debug)]
pub struct Scalars {
    data_type: DataType,
    groups: Vec<SortedMap<u64, i64>>,
    /// Entries of all groups.
    entries: usize,
}

impl Scalars {
    /// `data_type` is one of at most 64 bits (`is_sortable`).
    pub fn new(data_type: DataType) -> Scalars {
        Scalars { data_type, groups: Vec::new(), entries: 0 }
    }

    pub fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups.max(self.groups.len()), SortedMap::default);
    }

    pub fn add(
        &mut self,
        groups: &[u32],
        column: &dyn Array,
        counted: Option<&BooleanBuffer>,
        weights: Option<&[i64]>,
    ) {
        let Some(keys) = sortable(column) else { return };
        let Scalars { groups: maps, entries, .. } = self;
        each(groups, counted, weights, |row, group, weight| {
            let key = keys[row];
            let changed = maps[group].change(&key, || (key, 0), |total| add_weight(total, weight));
            *entries = entries.wrapping_add_signed(changed);
        });
    }

    /// The least or greatest value of the group.
    pub fn extreme(&self, group: u32, greatest: bool) -> Option<u64> {
        let mut shown = self.groups[group as usize].iter().filter(|(_, weight)| **weight > 0);
        let found = if greatest { shown.next_back() } else { shown.next() };
        found.map(|(value, _)| *value)
    }

    pub fn is_empty(&self, group: u32) -> bool {
        self.groups[group as usize].is_empty()
    }

    pub fn bytes(&self) -> usize {
        // Vectors and B-tree nodes are two thirds full on average.
        self.groups.capacity() * size_of::<SortedMap<u64, i64>>() + self.entries * 16 * 3 / 2
    }

    pub fn save(&self, groups: &[u32], writer: &mut Writer) -> Result<()> {
        let (mut owners, mut values, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (at, &group) in groups.iter().enumerate() {
            for (value, weight) in self.groups[group as usize].iter() {
                owners.push(at as u32);
                values.push(Some(*value));
                weights.push(*weight);
            }
        }
        let rows = owners.len();
        let values = from_sortable(&self.data_type, &values);
        writer.columns(&[Arc::new(UInt32Array::from(owners)), Arc::new(Int64Array::from(weights)), values], rows)?;
        writer.value(&groups.len())
    }

    pub fn load(&mut self, reader: &mut Reader) -> Result<()> {
        let (columns, _) = reader.columns(&[DataType::UInt32, DataType::Int64, self.data_type.clone()])?;
        let (groups, weights) = owners_and_weights(&columns, reader.value()?)?;
        self.grow(groups.1);
        self.add(&groups.0, &columns[2], None, Some(&weights));
        Ok(())
    }
}

#[derive(Debug)]
pub struct RowSets {
    order: OrderedRows,
    groups: Vec<SortedMap<Box<[u8]>, i64>>,
    entries: usize,
    /// Bytes of all keys.
    bytes: usize,
}

impl RowSets {
    pub fn new(fields: Vec<Field>) -> Result<RowSets> {
        Ok(RowSets { order: OrderedRows::new(fields)?, groups: Vec::new(), entries: 0, bytes: 0 })
    }

    pub fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups.max(self.groups.len()), SortedMap::default);
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
        let RowSets { groups: maps, entries, bytes, .. } = self;
        each(groups, counted, weights, |row, group, weight| {
            let row = rows.row(row);
            let key = row.data();
            let changed = maps[group].change(key, || (key.into(), 0), |total| add_weight(total, weight));
            *entries = entries.wrapping_add_signed(changed);
            *bytes = bytes.wrapping_add_signed(changed * key.len() as isize);
        });
        Ok(())
    }

    /// Encoded values of the group in order, with their weights.
    pub fn group(&self, group: u32) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        self.groups[group as usize].iter().map(|(key, weight)| (&**key, *weight))
    }

    /// The least or greatest value of the group, encoded.
    pub fn extreme(&self, group: u32, greatest: bool) -> Option<&[u8]> {
        let mut shown = self.group(group).filter(|(_, weight)| *weight > 0);
        let found = if greatest { shown.next_back() } else { shown.next() };
        found.map(|(value, _)| value)
    }

    pub fn is_empty(&self, group: u32) -> bool {
        self.groups[group as usize].is_empty()
    }

    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.order.decode(rows)
    }

    pub fn bytes(&self) -> usize {
        let maps = self.groups.capacity() * size_of::<SortedMap<Box<[u8]>, i64>>();
        maps + self.entries * 24 * 3 / 2 + self.bytes
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
        writer.columns(&columns, rows)?;
        writer.value(&groups.len())
    }

    pub fn load(&mut self, reader: &mut Reader) -> Result<()> {
        let mut types = vec![DataType::UInt32, DataType::Int64];
        types.extend(self.order.types());
        let (columns, _) = reader.columns(&types)?;
        let (groups, weights) = owners_and_weights(&columns, reader.value()?)?;
        self.grow(groups.1);
        self.add(&groups.0, &columns[2..], None, Some(&weights))
    }
}

/// Whether the entry stays.
fn add_weight(total: &mut i64, weight: i64) -> bool {
    *total += weight;
    *total != 0
}

/// Saved group numbers, checked to be below `groups`, with that number; and weights.
fn owners_and_weights(columns: &[ArrayRef], groups: usize) -> Result<((Vec<u32>, usize), Vec<i64>)> {
    let owners = columns[0].as_primitive::<UInt32Type>().values().to_vec();
    if owners.iter().any(|owner| *owner as usize >= groups) {
        return Err(Error::internal("a saved value of no group"));
    }
    Ok(((owners, groups), columns[1].as_primitive::<Int64Type>().values().to_vec()))
}
