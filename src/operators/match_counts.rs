//! How many matches each preserved row has: what outer, semi, anti and mark joins with a condition keep.
//!
//! Without a condition a row's matches follow from its key, and nothing is kept. With one they have to be counted, a row at
//! a time: `pairs` are those that met and passed the condition.
//!
//! ```text
//!   counts: row -> (its weight, sum of weights of its matches)        only rows with matches
//!
//!   own side changes      each row of the delta brings the matches it found; its weight is added
//!   other side changes    the pairs tell by how much the counts of stored rows change
//! ```
//!
//! Counts are kept for the two answers that a match may have: true, and NULL (for `IN` over NULLs). A step costs its
//! pairs; memory is one encoded row for each row with matches. Encoded bytes never leave the process.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow_row::{RowConverter, Rows, SortField};
use hashbrown::HashMap;

use super::BATCH_ROWS;
use super::saved::{Reader, Writer};
use crate::delta::size::BATCH_BYTES;
use crate::error::{Error, Result};

/// Weights of a row's matches that answered true, and of those that answered NULL.
pub(super) type Counts = [i64; 2];

#[derive(Clone, Copy, Debug)]
struct Entry {
    weight: i64,
    counts: Counts,
}

/// A row whose counts, or whose own weight, changed.
pub(super) struct Change {
    pub weight: i64,
    pub old: Counts,
    pub new: Counts,
}

pub(super) struct MatchCounts {
    schema: SchemaRef,
    converter: RowConverter,
    counts: HashMap<Box<[u8]>, Entry>,
    bytes: usize,
}

/// What a run of pairs between a delta and the stored rows adds to the stored rows' counts. No more rows than counts are kept for
/// when it is done.
#[derive(Default)]
pub(super) struct Tally {
    rows: HashMap<Box<[u8]>, Sum>,
    /// Bytes of the keys.
    bytes: usize,
}

/// A run's tally, from which the counts are changed row by row.
pub(super) struct Sums {
    rows: Vec<(Box<[u8]>, Sum)>,
    bytes: usize,
}

impl Tally {
    /// All pairs are in.
    pub fn done(self) -> Sums {
        Sums { rows: self.rows.into_iter().collect(), bytes: self.bytes }
    }

    pub fn bytes(&self) -> usize {
        self.bytes + self.rows.allocation_size()
    }
}

impl Sums {
    pub fn bytes(&self) -> usize {
        self.bytes + self.rows.capacity() * size_of::<(Box<[u8]>, Sum)>()
    }
}

struct Sum {
    /// The stored row's weight: it may stand in several places, each of which meets the first driver that it meets.
    weight: i64,
    first: u32,
    /// The driver counted last, so that it counts once for all the places that it meets on the way ...
    last: Option<u32>,
    /// ... as long as they are in this batch; those of other batches are met again by the same drivers.
    batch: u64,
    added: Counts,
}

/// One pair: driver row (within its batch), its weight, and 0 for true or 1 for NULL.
pub(super) struct Met {
    pub driver: u32,
    pub driver_weight: i64,
    pub stored_weight: i64,
    pub answer: usize,
}

impl MatchCounts {
    pub fn new(schema: &SchemaRef) -> Result<MatchCounts> {
        let mut types = types_of(schema);
        if types.is_empty() {
            types.push(DataType::Boolean);
        }
        let converter = RowConverter::new(types.into_iter().map(SortField::new).collect())?;
        Ok(MatchCounts { schema: schema.clone(), converter, counts: HashMap::new(), bytes: 0 })
    }

    /// Rows of a delta that came in, with the matches they found: they are counted from now on.
    pub fn own_rows(&mut self, rows: &RecordBatch, weights: impl Fn(usize) -> i64, counts: &[Counts]) -> Result<()> {
        let encoded = self.encode(rows.columns(), rows.num_rows())?;
        for (row, counts) in counts.iter().enumerate() {
            let key = encoded.row(row);
            if let Some(entry) = self.counts.get_mut(key.as_ref()) {
                entry.weight += weights(row);
                if entry.weight == 0 {
                    self.remove(key.as_ref());
                }
            } else if *counts != [0, 0] {
                self.set(key.as_ref().into(), Entry { weight: weights(row), counts: *counts });
            }
        }
        Ok(())
    }

    /// Notes the pairs of a piece in the tally; `rows` are the stored ones, of the batch numbered `batch`.
    pub fn tally(
        &self,
        tally: &mut Tally,
        rows: &RecordBatch,
        batch: u64,
        met: impl Iterator<Item = Met>,
    ) -> Result<()> {
        let encoded = self.encode(rows.columns(), rows.num_rows())?;
        for (row, met) in met.enumerate() {
            let driver = met.driver;
            let key = encoded.row(row);
            let sum = match tally.rows.get_mut(key.as_ref()) {
                Some(sum) => sum,
                None => {
                    let new = Sum { weight: 0, first: driver, last: None, batch, added: [0, 0] };
                    tally.bytes += key.as_ref().len();
                    tally.rows.entry(key.as_ref().into()).or_insert(new)
                }
            };
            if sum.first == driver {
                sum.weight += met.stored_weight;
            }
            if sum.batch == batch && sum.last != Some(driver) {
                sum.last = Some(driver);
                sum.added[met.answer] += met.driver_weight;
            }
        }
        Ok(())
    }

    /// Rows without columns get one, since they have to be told from no rows.
    fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Rows> {
        if columns.is_empty() {
            let dummy: ArrayRef = Arc::new(BooleanArray::from(vec![false; rows]));
            return Ok(self.converter.convert_columns(&[dummy])?);
        }
        Ok(self.converter.convert_columns(columns)?)
    }

    /// Goes on changing counts: the next stored rows whose counts changed, as many as fit a batch, and how. No rows: it is done.
    pub fn apply(&mut self, sums: &mut Sums) -> Result<(RecordBatch, Vec<Change>)> {
        let (mut changes, mut bytes) = (Vec::new(), 0);
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        while changes.len() < BATCH_ROWS
            && bytes < BATCH_BYTES
            && let Some((key, sum)) = sums.rows.pop()
        {
            sums.bytes -= key.len();
            let old = self.counts.get(&key).map_or([0, 0], |entry| entry.counts);
            let new = [old[0] + sum.added[0], old[1] + sum.added[1]];
            if sum.weight == 0 || new == old {
                continue;
            }
            changes.push(Change { weight: sum.weight, old, new });
            bytes += key.len();
            keys.push(key.clone());
            if new == [0, 0] {
                self.remove(&key);
            } else {
                self.set(key, Entry { weight: sum.weight, counts: new });
            }
        }
        Ok((self.decode(keys.iter().map(AsRef::as_ref), keys.len())?, changes))
    }

    fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, rows: usize) -> Result<RecordBatch> {
        let parser = self.converter.parser();
        let mut columns = self.converter.convert_rows(keys.map(|key| parser.parse(key)))?;
        columns.truncate(self.schema.fields().len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    fn set(&mut self, key: Box<[u8]>, entry: Entry) {
        let length = key.len();
        if self.counts.insert(key, entry).is_none() {
            self.bytes += length;
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if self.counts.remove(key).is_some() {
            self.bytes -= key.len();
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes + self.counts.allocation_size()
    }

    pub fn save(&self, writer: &mut Writer) -> Result<()> {
        let entries: BTreeMap<&[u8], Entry> = self.counts.iter().map(|(key, entry)| (key.as_ref(), *entry)).collect();
        let rows = self.decode(entries.keys().copied(), entries.len())?;
        let numbers =
            |of: fn(&Entry) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(entries.values().map(of))) };
        let mut columns = vec![numbers(|e| e.weight), numbers(|e| e.counts[0]), numbers(|e| e.counts[1])];
        columns.extend(rows.columns().iter().cloned());
        writer.columns(&columns, entries.len())
    }

    pub fn load(&mut self, reader: &mut Reader) -> Result<()> {
        let mut types = vec![DataType::Int64; 3];
        types.extend(types_of(&self.schema));
        let (columns, rows) = reader.columns(&types)?;
        let encoded = self.encode(&columns[3..], rows)?;
        let number = |column: usize, row: usize| columns[column].as_primitive::<Int64Type>().value(row);
        self.counts.clear();
        self.bytes = 0;
        for row in 0..rows {
            let entry = Entry { weight: number(0, row), counts: [number(1, row), number(2, row)] };
            self.set(encoded.row(row).as_ref().into(), entry);
        }
        Ok(())
    }

    pub fn save_tally(&self, tally: &Tally, writer: &mut Writer) -> Result<()> {
        self.save_rows(tally.rows.iter(), writer)
    }

    pub fn save_sums(&self, sums: &Sums, writer: &mut Writer) -> Result<()> {
        self.save_rows(sums.rows.iter().map(|(key, sum)| (key, sum)), writer)
    }

    fn save_rows<'a>(&self, rows: impl Iterator<Item = (&'a Box<[u8]>, &'a Sum)>, writer: &mut Writer) -> Result<()> {
        let rows: BTreeMap<&[u8], &Sum> = rows.map(|(key, sum)| (key.as_ref(), sum)).collect();
        let numbers: Vec<SavedSum> =
            rows.values().map(|sum| (sum.weight, sum.first, sum.last, sum.batch, sum.added)).collect();
        writer.value(&numbers)?;
        writer.columns(self.decode(rows.keys().copied(), rows.len())?.columns(), rows.len())
    }

    pub fn load_tally(&self, reader: &mut Reader) -> Result<Tally> {
        let numbers: Vec<SavedSum> = reader.value()?;
        let (columns, rows) = reader.columns(&types_of(&self.schema))?;
        if rows != numbers.len() {
            return Err(Error::internal("a saved join whose parts do not fit"));
        }
        let encoded = self.encode(&columns, rows)?;
        let mut tally = Tally::default();
        for (row, (weight, first, last, batch, added)) in numbers.into_iter().enumerate() {
            let key: Box<[u8]> = encoded.row(row).as_ref().into();
            tally.bytes += key.len();
            tally.rows.insert(key, Sum { weight, first, last, batch, added });
        }
        Ok(tally)
    }
}

type SavedSum = (i64, u32, Option<u32>, u64, Counts);

fn types_of(schema: &SchemaRef) -> Vec<DataType> {
    schema.fields().iter().map(|field| field.data_type().clone()).collect()
}
