//! Keys as bytes: which rows belong together, told apart in one hash probe a row.
//!
//! A [`KeyTable`] gives each distinct tuple of key columns a small number (its *id*, reused after removal). Two forms:
//!
//! ```text
//!   packed   all columns fixed and together at most 128 bits with a NULL bit each:  | v0 | n0 | v1 | n1 | ... -> u128
//!   rows     anything else: the arrow-row encoding, one boxed slice a key
//! ```
//!
//! NULL equals NULL, as GROUP BY and DISTINCT have it. Floats are normalised first (-0.0 is 0.0, all NaN are one), so
//! that equal values have equal bytes. Cost: a pack or encode, a hash and a compare a row; memory O(keys). Encoded
//! bytes never leave the process: what is saved are the columns.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, BooleanArray, make_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::DataType;
use arrow_row::{RowConverter, Rows, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::delta::keys::normalize_floats;
use crate::error::Result;

/// -0.0 as 0.0, any NaN as the one NaN.
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// -0.0 as 0.0, any NaN as the one NaN.
pub fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// Distinct key tuples, numbered.
pub struct KeyTable {
    types: Vec<DataType>,
    table: HashTable<u32>,
    keys: Keys,
    free: Vec<u32>,
    hasher: FixedState,
}

enum Keys {
    Packed {
        keys: Vec<u128>,
        scratch: Vec<u128>,
    },
    Rows {
        converter: RowConverter,
        scratch: Rows,
        keys: Vec<Box<[u8]>>,
        /// Bytes of all boxed keys.
        bytes: usize,
    },
}

impl KeyTable {
    pub fn new(types: Vec<DataType>) -> Result<KeyTable> {
        let bits: Option<usize> = types.iter().map(|t| packed_bits(t).map(|bits| bits + 1)).sum();
        let keys = match bits {
            Some(bits) if bits <= 128 => Keys::Packed { keys: Vec::new(), scratch: Vec::new() },
            _ => {
                let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
                let scratch = converter.empty_rows(0, 0);
                Keys::Rows { converter, scratch, keys: Vec::new(), bytes: 0 }
            }
        };
        Ok(KeyTable { types, table: HashTable::new(), keys, free: Vec::new(), hasher: FixedState::with_seed(0) })
    }

    /// Ids ever handed out; a dense array of per-key state has this length.
    pub fn slots(&self) -> usize {
        match &self.keys {
            Keys::Packed { keys, .. } => keys.len(),
            Keys::Rows { keys, .. } => keys.len(),
        }
    }

    /// Ids in use, ascending.
    pub fn live(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.table.iter().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Appends to `ids` the id of every row's key; keys not seen before get one.
    /// `columns` have the table's types, and floats in them need not be normalised.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        let KeyTable { types, table, keys, free, hasher } = self;
        let columns: Vec<ArrayRef> = columns.iter().map(normalize_floats).collect();
        ids.reserve(rows);
        match keys {
            Keys::Packed { keys, scratch } => {
                pack(types, &columns, rows, scratch);
                for key in scratch.iter() {
                    let hash = hasher.hash_one(key);
                    let found = table.find(hash, |&id| keys[id as usize] == *key);
                    ids.push(match found {
                        Some(&id) => id,
                        None => {
                            let id = match free.pop() {
                                Some(id) => {
                                    keys[id as usize] = *key;
                                    id
                                }
                                None => {
                                    keys.push(*key);
                                    keys.len() as u32 - 1
                                }
                            };
                            table.insert_unique(hash, id, |&id| hasher.hash_one(keys[id as usize]));
                            id
                        }
                    });
                }
            }
            Keys::Rows { converter, scratch, keys, bytes } => {
                scratch.clear();
                converter.append(scratch, &columns)?;
                for row in scratch.iter() {
                    let key = row.data();
                    let hash = hasher.hash_one(key);
                    let found = table.find(hash, |&id| &*keys[id as usize] == key);
                    ids.push(match found {
                        Some(&id) => id,
                        None => {
                            *bytes += key.len();
                            let id = match free.pop() {
                                Some(id) => {
                                    keys[id as usize] = key.into();
                                    id
                                }
                                None => {
                                    keys.push(key.into());
                                    keys.len() as u32 - 1
                                }
                            };
                            table.insert_unique(hash, id, |&id| hasher.hash_one(&*keys[id as usize]));
                            id
                        }
                    });
                }
            }
        }
        Ok(())
    }

    /// Forgets a key; its id may be given to another one.
    pub fn remove(&mut self, id: u32) {
        let hash = match &self.keys {
            Keys::Packed { keys, .. } => self.hasher.hash_one(keys[id as usize]),
            Keys::Rows { keys, .. } => self.hasher.hash_one(&*keys[id as usize]),
        };
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == id) {
            entry.remove();
            self.free.push(id);
            if let Keys::Rows { keys, bytes, .. } = &mut self.keys {
                *bytes -= keys[id as usize].len();
                keys[id as usize] = Box::default();
            }
        }
    }

    /// The key columns of these ids.
    pub fn columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        match &self.keys {
            Keys::Packed { keys, .. } => Ok(unpack(&self.types, ids.iter().map(|&id| keys[id as usize]))),
            Keys::Rows { converter, keys, .. } => {
                let parser = converter.parser();
                Ok(converter.convert_rows(ids.iter().map(|&id| parser.parse(&keys[id as usize])))?)
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let table = self.table.capacity() * 5 + self.free.capacity() * 4;
        table
            + match &self.keys {
                Keys::Packed { keys, scratch } => 16 * (keys.capacity() + scratch.capacity()),
                Keys::Rows { scratch, keys, bytes, .. } => scratch.size() + 16 * keys.capacity() + bytes,
            }
    }
}

/// Bits a value takes in a packed key, without its NULL bit.
fn packed_bits(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Boolean => Some(1),
        DataType::Interval(_) => None,
        other => other.primitive_width().filter(|bytes| *bytes <= 8).map(|bytes| bytes * 8),
    }
}

fn pack(types: &[DataType], columns: &[ArrayRef], rows: usize, keys: &mut Vec<u128>) {
    keys.clear();
    keys.resize(rows, 0);
    let mut shift = 0;
    for (data_type, column) in types.iter().zip(columns) {
        let bits = packed_bits(data_type).unwrap_or(0);
        let data = column.to_data();
        match bits {
            1 => {
                let values = column.as_boolean().values();
                keys.iter_mut().zip(values.iter()).for_each(|(key, v)| *key |= u128::from(v) << shift);
            }
            8 => keys.iter_mut().zip(data.buffer::<u8>(0)).for_each(|(key, v)| *key |= u128::from(*v) << shift),
            16 => keys.iter_mut().zip(data.buffer::<u16>(0)).for_each(|(key, v)| *key |= u128::from(*v) << shift),
            32 => keys.iter_mut().zip(data.buffer::<u32>(0)).for_each(|(key, v)| *key |= u128::from(*v) << shift),
            _ => keys.iter_mut().zip(data.buffer::<u64>(0)).for_each(|(key, v)| *key |= u128::from(*v) << shift),
        }
        if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
            let value = ((1u128 << bits) - 1) << shift;
            for (key, valid) in keys.iter_mut().zip(nulls.iter()) {
                if !valid {
                    *key = (*key & !value) | 1 << (shift + bits);
                }
            }
        }
        shift += bits + 1;
    }
}

fn unpack(types: &[DataType], keys: impl Iterator<Item = u128> + Clone) -> Vec<ArrayRef> {
    let mut shift = 0;
    let mut columns = Vec::with_capacity(types.len());
    for data_type in types {
        let bits = packed_bits(data_type).unwrap_or(0);
        let nulls: NullBuffer = keys.clone().map(|key| key >> (shift + bits) & 1 == 0).collect::<Vec<_>>().into();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        let values = keys.clone().map(|key| key >> shift);
        let length = values.clone().count();
        let buffer = match bits {
            1 => None,
            8 => Some(Buffer::from_vec(values.map(|v| v as u8).collect::<Vec<_>>())),
            16 => Some(Buffer::from_vec(values.map(|v| v as u16).collect::<Vec<_>>())),
            32 => Some(Buffer::from_vec(values.map(|v| v as u32).collect::<Vec<_>>())),
            _ => Some(Buffer::from_vec(values.map(|v| v as u64).collect::<Vec<_>>())),
        };
        columns.push(match buffer {
            None => Arc::new(BooleanArray::new(
                keys.clone().map(|key| key >> shift & 1 == 1).collect::<Vec<_>>().into(),
                nulls,
            )) as ArrayRef,
            Some(buffer) => fixed_width_array(data_type, length, buffer, nulls),
        });
        shift += bits + 1;
    }
    columns
}

/// An array of a fixed-width type from its values' bytes.
pub fn fixed_width_array(data_type: &DataType, length: usize, buffer: Buffer, nulls: Option<NullBuffer>) -> ArrayRef {
    let data =
        ArrayData::builder(data_type.clone()).len(length).add_buffer(buffer).nulls(nulls).align_buffers(true).build();
    make_array(data.expect("a buffer of the type's width and one null bit a value make a valid array"))
}
