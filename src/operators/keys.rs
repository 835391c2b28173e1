//! Keys as bytes: which rows belong together, told apart in one hash probe a row.
//!
//! A [`KeyTable`] gives each distinct tuple of key columns a small number (its *id*, reused after removal). Two forms:
//!
//! ```text
//!   packed   all columns fixed, with a NULL bit each:  | v0 | n0 | v1 | n1 | ...  in one or two words of 128 bits
//!   rows     anything else: the arrow-row encoding, one boxed slice a key
//! ```
//!
//! NULL equals NULL, as GROUP BY and DISTINCT have it. Floats are normalised first (-0.0 is 0.0, all NaN are one), so
//! that equal values have equal bytes. Cost: a pack or encode, a hash and a compare a row; memory O(keys). Encoded
//! bytes never leave the process: what is saved are the columns.

use std::hash::{BuildHasher, Hasher};
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
#[cfg(test)]
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
    Packed(Packed<1>),
    Wide(Packed<2>),
    Rows {
        converter: RowConverter,
        scratch: Rows,
        keys: Vec<Box<[u8]>>,
        /// Bytes of all boxed keys.
        bytes: usize,
    },
}

/// Keys in `WORDS` words.
#[derive(Default)]
struct Packed<const WORDS: usize> {
    keys: Vec<[u128; WORDS]>,
    scratch: Vec<[u128; WORDS]>,
}

const WORD: usize = 128;

impl KeyTable {
    pub fn new(types: Vec<DataType>) -> Result<KeyTable> {
        let bits: Option<usize> = types.iter().map(|t| packed_bits(t).map(|bits| bits + 1)).sum();
        let keys = match bits {
            Some(bits) if bits <= WORD => Keys::Packed(Packed { keys: Vec::new(), scratch: Vec::new() }),
            Some(bits) if bits <= 2 * WORD => Keys::Wide(Packed { keys: Vec::new(), scratch: Vec::new() }),
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
            Keys::Packed(packed) => packed.keys.len(),
            Keys::Wide(packed) => packed.keys.len(),
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
            Keys::Packed(packed) => packed.intern(types, &columns, rows, table, free, hasher, ids),
            Keys::Wide(packed) => packed.intern(types, &columns, rows, table, free, hasher, ids),
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
            Keys::Packed(packed) => hash_words(&self.hasher, &packed.keys[id as usize]),
            Keys::Wide(packed) => hash_words(&self.hasher, &packed.keys[id as usize]),
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

    /// About how many bytes a key has in its columns, and not less.
    pub fn size(&self, id: u32) -> usize {
        match &self.keys {
            Keys::Packed(_) => WORD / 8,
            Keys::Wide(_) => 2 * WORD / 8,
            Keys::Rows { keys, .. } => keys[id as usize].len(),
        }
    }

    /// The key columns of these ids, which fit a batch.
    pub fn columns(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        match &self.keys {
            Keys::Packed(packed) => Ok(packed.unpack(&self.types, ids)),
            Keys::Wide(packed) => Ok(packed.unpack(&self.types, ids)),
            Keys::Rows { converter, keys, .. } => {
                let parser = converter.parser();
                Ok(converter.convert_rows(ids.iter().map(|&id| parser.parse(&keys[id as usize])))?)
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let table = self.table.allocation_size() + self.free.capacity() * 4;
        table
            + match &self.keys {
                Keys::Packed(packed) => packed.bytes(),
                Keys::Wide(packed) => packed.bytes(),
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

fn hash_words<const WORDS: usize>(hasher: &FixedState, key: &[u128; WORDS]) -> u64 {
    let mut state = hasher.build_hasher();
    key.iter().for_each(|word| state.write_u128(*word));
    state.finish()
}

impl<const WORDS: usize> Packed<WORDS> {
    #[expect(clippy::too_many_arguments, reason = "the parts of a table, borrowed one by one")]
    fn intern(
        &mut self,
        types: &[DataType],
        columns: &[ArrayRef],
        rows: usize,
        table: &mut HashTable<u32>,
        free: &mut Vec<u32>,
        hasher: &FixedState,
        ids: &mut Vec<u32>,
    ) {
        self.pack(types, columns, rows);
        let Packed { keys, scratch } = self;
        for key in scratch.iter() {
            let hash = hash_words(hasher, key);
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
                    table.insert_unique(hash, id, |&id| hash_words(hasher, &keys[id as usize]));
                    id
                }
            });
        }
    }

    /// Puts a value of `bits` bits at `shift`; it may lie in two words.
    #[inline(always)]
    fn put(key: &mut [u128; WORDS], value: u128, shift: usize, bits: usize) {
        let (word, offset) = (shift / WORD, shift % WORD);
        key[word] |= value << offset;
        if offset + bits > WORD {
            key[word + 1] |= value >> (WORD - offset);
        }
    }

    #[inline(always)]
    fn get(key: &[u128; WORDS], shift: usize, bits: usize) -> u128 {
        let (word, offset) = (shift / WORD, shift % WORD);
        let mut value = key[word] >> offset;
        if offset + bits > WORD {
            value |= key[word + 1] << (WORD - offset);
        }
        value
    }

    /// The columns' keys, into the scratch.
    fn pack(&mut self, types: &[DataType], columns: &[ArrayRef], rows: usize) {
        let keys = &mut self.scratch;
        keys.clear();
        keys.resize(rows, [0; WORDS]);
        let mut shift = 0;
        for (data_type, column) in types.iter().zip(columns) {
            let bits = packed_bits(data_type).unwrap_or(0);
            let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
            let valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
            let data = column.to_data();
            macro_rules! values {
                ($native:ty) => {
                    for (row, (key, value)) in keys.iter_mut().zip(data.buffer::<$native>(0)).enumerate() {
                        if valid(row) {
                            Self::put(key, u128::from(*value), shift, bits);
                        }
                    }
                };
            }
            match bits {
                1 => {
                    let values = column.as_boolean().values();
                    for (row, (key, value)) in keys.iter_mut().zip(values.iter()).enumerate() {
                        if valid(row) {
                            Self::put(key, u128::from(value), shift, bits);
                        }
                    }
                }
                8 => values!(u8),
                16 => values!(u16),
                32 => values!(u32),
                _ => values!(u64),
            }
            if let Some(nulls) = nulls {
                for (key, valid) in keys.iter_mut().zip(nulls.iter()) {
                    Self::put(key, u128::from(!valid), shift + bits, 1);
                }
            }
            shift += bits + 1;
        }
    }

    /// The columns of the keys with these numbers.
    fn unpack(&self, types: &[DataType], ids: &[u32]) -> Vec<ArrayRef> {
        let keys = || ids.iter().map(|&id| &self.keys[id as usize]);
        let mut shift = 0;
        let mut columns = Vec::with_capacity(types.len());
        for data_type in types {
            let bits = packed_bits(data_type).unwrap_or(0);
            let nulls: NullBuffer =
                keys().map(|key| Self::get(key, shift + bits, 1) & 1 == 0).collect::<Vec<_>>().into();
            let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
            let values = keys().map(|key| Self::get(key, shift, bits));
            let buffer = match bits {
                1 => None,
                8 => Some(Buffer::from_vec(values.map(|v| v as u8).collect::<Vec<_>>())),
                16 => Some(Buffer::from_vec(values.map(|v| v as u16).collect::<Vec<_>>())),
                32 => Some(Buffer::from_vec(values.map(|v| v as u32).collect::<Vec<_>>())),
                _ => Some(Buffer::from_vec(values.map(|v| v as u64).collect::<Vec<_>>())),
            };
            columns.push(match buffer {
                None => {
                    let values = keys().map(|key| Self::get(key, shift, 1) & 1 == 1).collect::<Vec<_>>();
                    Arc::new(BooleanArray::new(values.into(), nulls)) as ArrayRef
                }
                Some(buffer) => fixed_width_array(data_type, ids.len(), buffer, nulls),
            });
            shift += bits + 1;
        }
        columns
    }

    fn bytes(&self) -> usize {
        size_of::<[u128; WORDS]>() * (self.keys.capacity() + self.scratch.capacity())
    }
}

/// An array of a fixed-width type from its values' bytes.
pub fn fixed_width_array(data_type: &DataType, length: usize, buffer: Buffer, nulls: Option<NullBuffer>) -> ArrayRef {
    let data =
        ArrayData::builder(data_type.clone()).len(length).add_buffer(buffer).nulls(nulls).align_buffers(true).build();
    make_array(data.expect("a buffer of the type's width and one null bit a value make a valid array"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int16Array, Int64Array, TimestampMicrosecondArray};

    use super::*;

    /// Equal keys have one id, whatever the form; and a key comes back as it went in. The columns of 65 bits each lie in both words.
    #[test]
    fn keys_of_every_form_come_back() {
        let long: ArrayRef = Arc::new(Int64Array::from(vec![Some(-1), None, Some(0), Some(-1), Some(i64::MIN), None]));
        let time: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![Some(5), Some(5), None, Some(5), Some(-7), Some(5)]));
        let short: ArrayRef = Arc::new(Int16Array::from(vec![Some(-3), Some(1), Some(1), Some(-3), None, Some(1)]));
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None, None]));
        let wide: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["a", "b", "c", "a", "d", "b"]));
        let all = [&long, &time, &short, &flag, &long, &wide];
        for columns in [&all[2..4], &all[..2], &all[..3], &all[..4], &all[..5], &all[..]] {
            let columns: Vec<ArrayRef> = columns.iter().map(|column| (*column).clone()).collect();
            let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
            let mut table = KeyTable::new(types.clone()).expect("a table");
            let mut ids = Vec::new();
            table.intern(&columns, 6, &mut ids).expect("interned");
            assert_eq!(ids, [0, 1, 2, 0, 3, 1], "{types:?}");
            let back = table.columns(&ids).expect("columns");
            assert_eq!(back, columns, "{types:?}");
            table.remove(1);
            ids.clear();
            table.intern(&columns[..], 6, &mut ids).expect("interned");
            assert_eq!(ids, [0, 1, 2, 0, 3, 1]);
            assert_eq!(table.live(), [0, 1, 2, 3]);
        }
    }
}
