//! Pairs: the rows of a delta, each with the rows of an arrangement that match it, in bounded pieces.
//!
//! Joins of every kind are made of this. The delta's rows (the *driver*) probe the other side at one version; with an empty
//! key each of them meets every row. Between two pieces other steps may run, as long as that version is held; the
//! place where it stands is saved and loaded with the operator.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::SchemaRef;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::arrange::Arranged;
use super::failures::row_error;
use super::map::condition;
use super::{BATCH_ROWS, PhysicalExpr, Step};
use crate::delta::size::{BATCH_BYTES, RowSizes, bytes_of, rows_that_fit};
use crate::delta::{Delta, Equality, RowsView, hash_rows, overflow, saved, take_rows};
use crate::error::{Error, Result};
use crate::state::{Matches, Snapshot, Version};

/// Which rows meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meeting {
    /// The driver is the left input.
    pub driver_left: bool,
    pub null_equals_null: bool,
    /// Every row meets every row, whatever the keys.
    pub all: bool,
}

pub(super) struct Pairs {
    pub driver: Delta,
    pub meeting: Meeting,
    version: Version,
    source: Source,
}

enum Source {
    Probe(Box<Matches>),
    All {
        rest: Rest,
        current: Option<Delta>,
        /// The driver's row that meets `current` next, from this row of it on.
        at: usize,
        from: usize,
        /// How many batches came before.
        batch: u64,
        sizes: RowSizes,
    },
}

/// Batches of the other side still to come.
#[derive(Clone)]
pub(super) enum Rest {
    Snapshot(Snapshot),
    Saved(VecDeque<Delta>),
}

impl Rest {
    pub fn next(&mut self) -> Result<Option<Delta>> {
        match self {
            Rest::Snapshot(snapshot) => snapshot.next().transpose(),
            Rest::Saved(deltas) => Ok(deltas.pop_front()),
        }
    }

    pub fn save(&self) -> Result<Vec<u8>> {
        let mut rest = self.clone();
        let mut deltas = Vec::new();
        while let Some(delta) = rest.next()? {
            deltas.push(delta);
        }
        saved::save(&deltas)
    }

    pub fn load(bytes: &[u8]) -> Result<Rest> {
        Ok(Rest::Saved(saved::load(bytes)?.into()))
    }
}

/// Row `driver[i]` of the driver meets row i of `rows`.
pub(super) struct Piece {
    pub driver: UInt32Array,
    pub rows: RecordBatch,
    pub weights: Option<Int64Array>,
    /// A driver row meets all it meets of one batch, then the next driver row does; then comes the next batch.
    pub batch: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    driver: Vec<u8>,
    version: Version,
    driver_left: bool,
    null_equals_null: bool,
    all: bool,
    place: Place,
}

impl Saved {
    pub fn driver_left(&self) -> bool {
        self.driver_left
    }
}

#[derive(Serialize, Deserialize)]
enum Place {
    Probe { next: u64, rest: Vec<u64> },
    All { rest: Vec<u8>, current: Option<Vec<u8>>, at: u64, from: u64, batch: u64 },
}

/// The key columns of a delta.
pub(super) fn key_columns(delta: &Delta, key: &[usize]) -> Vec<ArrayRef> {
    key.iter().map(|&column| delta.rows().column(column).clone()).collect()
}

impl Pairs {
    /// `keys`: the driver's key columns, as the other side's key has them.
    pub fn new(
        driver: Delta,
        keys: &[ArrayRef],
        other: &Arranged,
        version: Version,
        meeting: Meeting,
    ) -> Result<Pairs> {
        let source = match other.index().filter(|_| !meeting.all) {
            Some(index) => {
                let matches = other.rows.probe(index, keys, driver.len(), version, meeting.null_equals_null)?;
                Source::Probe(Box::new(matches.beside(driver.rows())))
            }
            None => {
                let rest = Rest::Snapshot(other.rows.snapshot(version)?);
                Source::All { rest, current: None, at: 0, from: 0, batch: 0, sizes: RowSizes::new(driver.rows()) }
            }
        };
        Ok(Pairs { driver, meeting, version, source })
    }

    /// The next pieces of about `limit` pairs, less where they are wide; `None` when all have met.
    pub fn next(&mut self, limit: usize) -> Result<Option<Piece>> {
        match &mut self.source {
            Source::Probe(matches) => Ok(matches.next(limit)?.map(|piece| Piece {
                driver: piece.probes,
                rows: piece.rows,
                weights: piece.weights,
                batch: 0,
            })),
            Source::All { rest, current, at, from, batch, sizes } => {
                if *at >= self.driver.len() {
                    (*current, *at) = (None, 0);
                }
                if current.is_none() {
                    *current = rest.next()?;
                    *batch += 1;
                }
                let Some(other) = current else { return Ok(None) };
                let (first, count, batch) = (*at as u32, other.len(), *batch);
                let columns = other.rows().columns();
                let fit = rows_that_fit(columns, *from, count, usize::MAX, sizes.at(*at));
                if *from > 0 || fit < count {
                    // The driver's row meets some of the batch.
                    let (rows, weights) = other.slice(*from, fit).into_parts();
                    *from += fit;
                    if *from == count {
                        (*at, *from) = (*at + 1, 0);
                    }
                    return Ok(Some(Piece { driver: UInt32Array::from_value(first, fit), rows, weights, batch }));
                }
                let (whole, mut bytes) = (bytes_of(columns, 0, count), 0);
                let fits = |row: &usize| {
                    bytes += whole + count * sizes.at(*row);
                    bytes <= BATCH_BYTES
                };
                let most = (limit / count.max(1)).clamp(1, self.driver.len() - *at);
                let drivers = (*at..*at + most).take_while(fits).count().max(1);
                *at += drivers;
                let driver = (first..first + drivers as u32).flat_map(|row| std::iter::repeat_n(row, count));
                let driver = UInt32Array::from_iter_values(driver);
                let (rows, weights) = if drivers == 1 {
                    other.clone().into_parts()
                } else {
                    let all = UInt32Array::from_iter_values((0..drivers).flat_map(|_| 0..count as u32));
                    other.take(&all)?.into_parts()
                };
                Ok(Some(Piece { driver, rows, weights, batch }))
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.driver.bytes()
    }

    pub fn save(&self) -> Result<Saved> {
        let place = match &self.source {
            Source::Probe(matches) => {
                let (next, rest) = matches.position();
                Place::Probe { next, rest }
            }
            Source::All { rest, current, at, from, batch, .. } => {
                let current = current.as_ref().map(|delta| saved::save(std::slice::from_ref(delta))).transpose()?;
                Place::All { rest: rest.save()?, current, at: *at as u64, from: *from as u64, batch: *batch }
            }
        };
        let Meeting { driver_left, null_equals_null, all } = self.meeting;
        let driver = saved::save(std::slice::from_ref(&self.driver))?;
        Ok(Saved { driver, version: self.version, driver_left, null_equals_null, all, place })
    }

    /// `keys_of` takes the driver's key columns out of it.
    pub fn load(saved: Saved, other: &Arranged, keys_of: impl FnOnce(&Delta) -> Vec<ArrayRef>) -> Result<Pairs> {
        let driver = one(&saved.driver)?;
        let Saved { driver_left, null_equals_null, all, version, .. } = saved;
        let meeting = Meeting { driver_left, null_equals_null, all };
        let keys = keys_of(&driver);
        let mut pairs = Pairs::new(driver, &keys, other, version, meeting)?;
        match (&mut pairs.source, saved.place) {
            (Source::Probe(matches), Place::Probe { next, rest }) => matches.resume((next, rest)),
            (
                Source::All { rest, current, at, from, batch, .. },
                Place::All { rest: r, current: c, at: a, from: f, batch: b },
            ) => {
                *rest = Rest::load(&r)?;
                *current = c.map(|bytes| one(&bytes)).transpose()?;
                (*at, *from, *batch) = (a as usize, f as usize, b);
            }
            _ => return Err(Error::internal("a saved join of another kind")),
        }
        Ok(pairs)
    }
}

fn one(bytes: &[u8]) -> Result<Delta> {
    saved::load(bytes)?.pop().ok_or_else(|| Error::internal("a saved join without its rows"))
}

/// The pairs as rows of the left columns, then the right ones, with the product of weights.
pub(super) fn joined(pairs: &Pairs, piece: &Piece, output: &SchemaRef) -> Result<Delta> {
    let driver = take_rows(pairs.driver.rows(), &piece.driver)?;
    let (left, right) = if pairs.meeting.driver_left { (&driver, &piece.rows) } else { (&piece.rows, &driver) };
    let rows = side_by_side(left.columns(), right.columns(), piece.driver.len(), output)?;
    Ok(Delta::from_parts(rows, weights(pairs, piece)?))
}

/// The products of both sides' weights; `None` where all are 1.
pub(super) fn weights(pairs: &Pairs, piece: &Piece) -> Result<Option<Int64Array>> {
    let Some(driver) = pairs.driver.weights() else { return Ok(piece.weights.clone()) };
    let driver = piece.driver.values().iter().map(|row| driver.value(*row as usize));
    Ok(Some(match &piece.weights {
        None => Int64Array::from_iter_values(driver),
        Some(other) => {
            let products = driver.zip(other.values()).map(|(a, b)| a.checked_mul(*b).ok_or_else(overflow));
            products.collect::<Result<Vec<i64>>>()?.into()
        }
    }))
}

pub(super) fn side_by_side(
    left: &[ArrayRef],
    right: &[ArrayRef],
    rows: usize,
    output: &SchemaRef,
) -> Result<RecordBatch> {
    let columns = left.iter().chain(right).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(output.clone(), columns, &options)?)
}

/// Evaluates a join's condition on joined rows and keeps those for which it is true, in `joined` and in the piece.
/// Failures are recorded with the pair's weight.
pub(super) fn keep_true(
    filter_expr: &PhysicalExpr,
    joined: Delta,
    piece: Piece,
    step: &mut Step,
) -> Result<(Delta, Piece)> {
    let (mask, failed) = condition(filter_expr, joined.rows())?;
    for (row, error) in failed {
        step.errors.push(row_error(&error, joined.rows().columns(), row, joined.weight(row)));
    }
    if mask.true_count() == mask.len() {
        return Ok((joined, piece));
    }
    let piece = filter_piece(&piece, &mask)?;
    Ok((joined.filter(&mask)?, piece))
}

pub(super) fn filter_piece(piece: &Piece, mask: &BooleanArray) -> Result<Piece> {
    let driver = filter(&piece.driver, mask)?;
    let driver: UInt32Array = driver.to_data().into();
    let weights = match &piece.weights {
        None => None,
        Some(weights) => Some(Int64Array::from(filter(weights, mask)?.to_data())),
    };
    Ok(Piece { driver, rows: filter_record_batch(&piece.rows, mask)?, weights, batch: piece.batch })
}

/// The deltas of a step as few batches of a handy size.
pub(super) fn batches(deltas: Option<&&[Delta]>) -> Result<Vec<Delta>> {
    let deltas = deltas.copied().unwrap_or_default();
    if deltas.len() > 1 && deltas.iter().map(Delta::volume).sum::<usize>() <= BATCH_ROWS {
        return Ok(vec![Delta::concat(&deltas[0].schema(), deltas)?]);
    }
    Ok(deltas.iter().filter(|delta| !delta.is_empty()).cloned().collect())
}

/// One row of each distinct key.
pub(super) fn distinct_keys(keys: &[ArrayRef], rows: usize) -> Result<UInt32Array> {
    let view = RowsView::new(keys, Equality::Key)?;
    let mut hashes = Vec::new();
    hash_rows(keys, rows, &mut hashes)?;
    let mut table: HashTable<u32> = HashTable::with_capacity(rows);
    let mut distinct = Vec::new();
    for row in 0..rows {
        let same = |other: &u32| hashes[*other as usize] == hashes[row] && view.equal(*other as usize, &view, row);
        if table.find(hashes[row], same).is_none() {
            table.insert_unique(hashes[row], row as u32, |row| hashes[*row as usize]);
            distinct.push(row as u32);
        }
    }
    Ok(UInt32Array::from(distinct))
}

/// A batch of key columns only.
pub(super) fn key_batch(keys: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    let field =
        |(at, key): (usize, &ArrayRef)| arrow::datatypes::Field::new(format!("k{at}"), key.data_type().clone(), true);
    let schema = arrow::datatypes::Schema::new(keys.iter().enumerate().map(field).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), keys.to_vec(), &options)?)
}
