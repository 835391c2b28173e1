//! The first rows of each partition: ORDER BY ... LIMIT, DISTINCT ON, row_number(), rank() and dense_rank() with a bound.
//!
//! ```text
//!   window(partition) = rows at places offset+1 ..= offset+limit of the ordering, ties broken by the encoded row
//!   out = new windows - old windows, for partitions touched inside their window
//! ```
//!
//! A partition's rows are in one sorted map (`sorted_map.rs`), in order; for a rank a row's place is that of its first peer:
//!
//! ```text
//!   | ORDER BY columns, ordered | whole row |  -> weight, length of the first part
//! ```
//!
//! Each partition remembers its *boundary*: the last row of a full window. A change behind it costs O(log n) and is
//! looked at no further, so huge partitions with small limits are cheap; over append-only input such rows are not even
//! kept. A change before it costs O(offset + limit): the window is read before and after. Without a limit that is
//! the whole partition.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::keys::KeyTable;
use super::ordered_rows::{Field, OrderedRows};
use super::saved::{Reader, Writer};
use super::sorted_map::SortedMap;
use super::spec::RankKind;
use super::{BATCH_ROWS, Operator, Progress, STEP_OUTPUT_ROWS, SortKey, Step};
use crate::delta::size::runs;
use crate::delta::{Delta, overflow};
use crate::error::{Error, Result};

pub struct TopN {
    partition: Vec<usize>,
    order: Vec<usize>,
    offset: i64,
    /// Last place shown.
    end: i64,
    rank: RankKind,
    append_only: bool,
    output: SchemaRef,
    partitions: KeyTable,
    ordering: OrderedRows,
    rows: OrderedRows,
    places: Vec<Partition>,
    /// Rows of all partitions, and bytes of their keys.
    entries: usize,
    bytes: usize,
    /// Output of the last step that is still to be given.
    pending: VecDeque<Delta>,
}

/// Shared, so that a window costs no copies.
type Key = Arc<[u8]>;

#[derive(Clone, Copy)]
struct Entry {
    weight: i64,
    /// Bytes of the ordering, in front of the row's.
    head: u32,
}

#[derive(Default)]
struct Partition {
    rows: SortedMap<Key, Entry>,
    /// The last key of the window if the window is full, and its ordering's bytes.
    boundary: Option<(Key, usize)>,
    /// In this step: the window before it.
    old: Option<Vec<Shown>>,
}

/// Equal rows in a window: `count` of them, numbered from `number` on (RowNumber) or all `number` (ranks; 0 for Rows).
struct Shown {
    key: Key,
    head: usize,
    number: i64,
    count: i64,
}

impl TopN {
    /// `output`: the input's columns, then for all kinds but Rows the number as Int64.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of one OpSpec variant and the node's context")]
    pub fn new(
        partition: &[usize],
        order: &[SortKey],
        offset: u64,
        limit: Option<u64>,
        rank: RankKind,
        input: &SchemaRef,
        output: &SchemaRef,
        append_only: bool,
    ) -> Result<TopN> {
        let type_of = |column: usize| input.field(column).data_type().clone();
        let ordering = order.iter().map(|key| {
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            Field::key(type_of(key.column), options)
        });
        let rows = input.fields().iter().map(|field| Field::payload(field.data_type().clone()));
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let limit = limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        Ok(TopN {
            partition: partition.to_vec(),
            order: order.iter().map(|key| key.column).collect(),
            offset,
            end: offset.saturating_add(limit),
            rank,
            append_only,
            output: output.clone(),
            partitions: KeyTable::new(partition.iter().map(|&column| type_of(column)).collect())?,
            ordering: OrderedRows::new(ordering.collect())?,
            rows: OrderedRows::new(rows.collect())?,
            places: Vec::new(),
            entries: 0,
            bytes: 0,
            pending: VecDeque::new(),
        })
    }

    /// Adds rows. With `quiet` no window is remembered: state is being loaded.
    fn add(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        weights: Option<&Int64Array>,
        quiet: bool,
    ) -> Result<Vec<u32>> {
        let keys: Vec<ArrayRef> = self.partition.iter().map(|&column| columns[column].clone()).collect();
        let mut ids = Vec::new();
        self.partitions.intern(&keys, rows, &mut ids)?;
        self.places.resize_with(self.partitions.slots(), Partition::default);
        let order: Vec<ArrayRef> = self.order.iter().map(|&column| columns[column].clone()).collect();
        let mut ordered = self.ordering.scratch();
        if !order.is_empty() {
            self.ordering.encode(&order, &mut ordered)?;
        }
        // Over append-only input, rows that their ordering alone puts behind a full window are not even encoded.
        let behind = |(row, &id): (usize, &u32)| match &self.places[id as usize].boundary {
            Some((boundary, head)) => ordered.row(row).data() > &boundary[..*head],
            None => false,
        };
        let skips = self.append_only && !quiet && !order.is_empty() && ids.iter().enumerate().any(behind);
        let (places, kept) = match skips {
            false => ((0..rows as u32).collect::<Vec<_>>(), columns.to_vec()),
            true => {
                let places = ids.iter().enumerate().filter(|place| !behind(*place)).map(|(row, _)| row as u32);
                let places = UInt32Array::from_iter_values(places);
                let kept = columns.iter().map(|column| take(column, &places, None)).collect::<Result<Vec<_>, _>>()?;
                (places.values().to_vec(), kept)
            }
        };
        let mut encoded = self.rows.scratch();
        self.rows.encode(&kept, &mut encoded)?;
        let (mut touched, mut overflowed) = (Vec::new(), false);
        let mut key = Vec::new();
        for (at, &row) in places.iter().enumerate() {
            let (row, id) = (row as usize, ids[row as usize]);
            key.clear();
            if !order.is_empty() {
                key.extend_from_slice(ordered.row(row).data());
            }
            let head = key.len();
            key.extend_from_slice(encoded.row(at).data());
            let place = &self.places[id as usize];
            if !quiet && place.old.is_none() {
                if self.is_behind(place, &key, head) {
                    if self.append_only {
                        continue;
                    }
                } else {
                    let old = self.window(id).0;
                    self.places[id as usize].old = Some(old);
                    touched.push(id);
                }
            }
            let weight = weights.map_or(1, |weights| weights.value(row));
            let make = || (Key::from(&key[..]), Entry { weight: 0, head: head as u32 });
            let changed = self.places[id as usize].rows.change(&key[..], make, |entry| {
                let (sum, wrapped) = entry.weight.overflowing_add(weight);
                entry.weight = sum;
                overflowed |= wrapped;
                sum != 0
            });
            self.entries = self.entries.wrapping_add_signed(changed);
            self.bytes = self.bytes.wrapping_add_signed(changed * key.len() as isize);
        }
        if overflowed {
            return Err(overflow());
        }
        Ok(touched)
    }

    /// Whether a row with this key can't be in the window, nor move anything in it.
    fn is_behind(&self, place: &Partition, key: &[u8], head: usize) -> bool {
        let Some((boundary, boundary_head)) = &place.boundary else { return false };
        match self.rank {
            RankKind::Rows | RankKind::RowNumber => key > &boundary[..],
            // A peer of the last row shares its rank.
            RankKind::Rank | RankKind::DenseRank => key[..head] > boundary[..*boundary_head],
        }
    }

    /// The rows shown of a partition, and the last key at which the window is full.
    fn window(&self, id: u32) -> (Vec<Shown>, Option<(Key, usize)>) {
        let (mut shown, mut full) = (Vec::new(), None);
        // Rows before the current one; different orderings up to and including it; rank of its peers.
        let (mut before, mut dense, mut rank) = (0i64, 0i64, 0i64);
        let mut peers: &[u8] = &[];
        for (key, entry) in self.places[id as usize].rows.iter().filter(|(_, entry)| entry.weight > 0) {
            let head = entry.head as usize;
            if dense == 0 || key[..head] != *peers {
                (dense, rank, peers) = (dense + 1, before + 1, &key[..head]);
            }
            let (first, last) = match self.rank {
                RankKind::Rows | RankKind::RowNumber => (before + 1, before.saturating_add(entry.weight)),
                RankKind::Rank => (rank, rank),
                RankKind::DenseRank => (dense, dense),
            };
            if first > self.end {
                break;
            }
            before = before.saturating_add(entry.weight);
            let counted = if self.rank == RankKind::DenseRank { dense } else { before };
            if counted >= self.end {
                full = Some((key, head));
            }
            let (first_shown, last_shown) = (first.max(self.offset + 1), last.min(self.end));
            if first_shown > last_shown {
                continue;
            }
            let (number, count) = match self.rank {
                RankKind::Rows => (0, last_shown - first_shown + 1),
                RankKind::RowNumber => (first_shown, last_shown - first_shown + 1),
                RankKind::Rank | RankKind::DenseRank => (first, entry.weight),
            };
            shown.push(Shown { key: key.clone(), head, number, count });
        }
        (shown, full.map(|(key, head)| (key.clone(), head)))
    }

    /// Appends what changed in a touched partition's window, and sets its boundary.
    fn finish(&mut self, id: u32, changes: &mut Changes) -> Result<()> {
        let Some(old) = self.places[id as usize].old.take() else { return Ok(()) };
        let (new, full) = self.window(id);
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => old.key.cmp(&new.key),
            };
            let gone = if order.is_le() { old.next() } else { None };
            let come = if order.is_ge() { new.next() } else { None };
            changes.replace(self.rank, gone, come);
            if changes.weights.len() >= BATCH_ROWS {
                self.flush(changes)?;
            }
        }
        if self.append_only
            && let Some((boundary, head)) = &full
        {
            self.drop_behind(id, boundary, *head);
        }
        let place = &mut self.places[id as usize];
        place.boundary = full;
        if place.rows.is_empty() {
            self.partitions.remove(id);
        }
        Ok(())
    }

    /// Over append-only input, rows behind a full window will never be in it.
    fn drop_behind(&mut self, id: u32, boundary: &[u8], head: usize) {
        let rows = &mut self.places[id as usize].rows;
        while rows.last().is_some_and(|(key, entry)| match self.rank {
            RankKind::Rows | RankKind::RowNumber => **key > *boundary,
            RankKind::Rank | RankKind::DenseRank => key[..entry.head as usize] > boundary[..head],
        }) {
            let Some((key, _)) = rows.pop_last() else { return };
            self.entries -= 1;
            self.bytes -= key.len();
        }
    }

    /// Turns gathered changes into deltas.
    fn flush(&mut self, changes: &mut Changes) -> Result<()> {
        let Changes { keys, numbers, weights } = std::mem::take(changes);
        for run in runs(keys.iter().map(|(key, head)| key.len() - head), BATCH_ROWS) {
            let mut columns = self.rows.decode(keys[run.clone()].iter().map(|(key, head)| &key[*head..]))?;
            if self.rank != RankKind::Rows {
                columns.push(Arc::new(Int64Array::from(numbers[run.clone()].to_vec())));
            }
            let options = RecordBatchOptions::new().with_row_count(Some(run.len()));
            let rows = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
            self.pending.push_back(Delta::new(rows, Int64Array::from(weights[run].to_vec())));
        }
        Ok(())
    }
}

/// Output rows being gathered.
#[derive(Default)]
struct Changes {
    keys: Vec<(Key, usize)>,
    numbers: Vec<i64>,
    weights: Vec<i64>,
}

impl Changes {
    fn push(&mut self, row: &Shown, number: i64, weight: i64) {
        self.keys.push((row.key.clone(), row.head));
        self.numbers.push(number);
        self.weights.push(weight);
    }

    /// The same row before and after, either of which may be missing.
    fn replace(&mut self, rank: RankKind, gone: Option<Shown>, come: Option<Shown>) {
        match rank {
            RankKind::RowNumber => {
                let range = |shown: &Option<Shown>| shown.as_ref().map_or(0..0, |s| s.number..s.number + s.count);
                let (old, new) = (range(&gone), range(&come));
                for (shown, own, other, weight) in [(&gone, &old, &new, -1), (&come, &new, &old, 1)] {
                    if let Some(shown) = shown {
                        own.clone().filter(|n| !other.contains(n)).for_each(|n| self.push(shown, n, weight));
                    }
                }
            }
            _ => match (gone, come) {
                (Some(old), Some(new)) if old.number == new.number => {
                    if old.count != new.count {
                        self.push(&new, new.number, new.count - old.count);
                    }
                }
                (gone, come) => {
                    gone.iter().for_each(|old| self.push(old, old.number, -old.count));
                    come.iter().for_each(|new| self.push(new, new.number, new.count));
                }
            },
        }
    }
}

impl Operator for TopN {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let mut touched = Vec::new();
        for delta in inputs.first().copied().unwrap_or_default() {
            touched.extend(self.add(delta.rows().columns(), delta.len(), delta.weights(), false)?);
        }
        let mut changes = Changes::default();
        for id in touched {
            self.finish(id, &mut changes)?;
        }
        self.flush(&mut changes)?;
        let mut given = 0;
        while let Some(delta) = self.pending.pop_front() {
            given += delta.volume();
            step.out.push(delta);
            if given >= STEP_OUTPUT_ROWS && !self.pending.is_empty() {
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    fn state_bytes(&self) -> usize {
        // A shared key has two counters in front; vectors and B-tree nodes are two thirds full on average.
        let rows = self.bytes + self.entries * (16 + 32 * 3 / 2);
        let pending: usize = self.pending.iter().map(Delta::bytes).sum();
        rows + size_of::<Partition>() * self.places.capacity() + self.partitions.bytes() + pending
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        let live = self.partitions.live();
        let entries = || live.iter().flat_map(|&id| self.places[id as usize].rows.iter());
        let mut columns = self.rows.decode(entries().map(|(key, entry)| &key[entry.head as usize..]))?;
        columns.push(Arc::new(Int64Array::from_iter_values(entries().map(|(_, entry)| entry.weight))));
        writer.columns(&columns, self.entries)?;
        writer.value(&self.pending.len())?;
        for delta in &self.pending {
            let mut columns = delta.rows().columns().to_vec();
            columns.push(Arc::new(Int64Array::from_iter_values((0..delta.len()).map(|row| delta.weight(row)))));
            writer.columns(&columns, delta.len())?;
        }
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(1, saved)?;
        let mut types = self.rows.types();
        types.push(DataType::Int64);
        let (columns, rows) = reader.columns(&types)?;
        let (weights, columns) = columns.split_last().ok_or_else(|| Error::internal("saved rows without columns"))?;
        self.add(columns, rows, Some(weights.as_primitive::<Int64Type>()), true)?;
        for id in self.partitions.live() {
            self.places[id as usize].boundary = self.window(id).1;
        }
        let pending: usize = reader.value()?;
        let mut types: Vec<DataType> = self.output.fields().iter().map(|field| field.data_type().clone()).collect();
        types.push(DataType::Int64);
        for _ in 0..pending {
            let (columns, rows) = reader.columns(&types)?;
            let (weights, columns) =
                columns.split_last().ok_or_else(|| Error::internal("saved rows without columns"))?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let rows = RecordBatch::try_new_with_options(self.output.clone(), columns.to_vec(), &options)?;
            self.pending.push_back(Delta::new(rows, weights.as_primitive::<Int64Type>().clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use datafusion::scalar::ScalarValue;
    use std::cmp::Ordering;

    fn sort(column: usize, descending: bool, nulls_first: bool) -> SortKey {
        SortKey { column, descending, nulls_first }
    }

    /// As ORDER BY compares: floats have one zero and one NaN, which is the greatest.
    fn in_order(one: &Row, other: &Row, order: &[SortKey]) -> Ordering {
        let compare = |key: &SortKey| {
            let (one, other) = (&one[key.column], &other[key.column]);
            if one.is_null() || other.is_null() {
                let nulls_last = one.is_null().cmp(&other.is_null());
                return if key.nulls_first { nulls_last.reverse() } else { nulls_last };
            }
            let ascending = match (one, other) {
                (ScalarValue::Float64(Some(one)), ScalarValue::Float64(Some(other))) => {
                    one.partial_cmp(other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
                }
                _ => bit_for_bit(one, other),
            };
            if key.descending { ascending.reverse() } else { ascending }
        };
        order.iter().map(compare).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// As ties are broken: values that differ in a bit differ. Not NULL.
    fn bit_for_bit(one: &ScalarValue, other: &ScalarValue) -> Ordering {
        match (one, other) {
            (ScalarValue::Int16(one), ScalarValue::Int16(other)) => one.cmp(other),
            (ScalarValue::Float64(Some(one)), ScalarValue::Float64(Some(other))) => one.total_cmp(other),
            (ScalarValue::Utf8(Some(one)), ScalarValue::Utf8(Some(other))) => one.as_bytes().cmp(other.as_bytes()),
            other => panic!("no order of {other:?}"),
        }
    }

    fn whole_rows(one: &Row, other: &Row) -> Ordering {
        let compare = |(one, other): (&ScalarValue, &ScalarValue)| match one.is_null() || other.is_null() {
            true => one.is_null().cmp(&other.is_null()),
            false => bit_for_bit(one, other),
        };
        one.iter().zip(other).map(compare).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// The window by sorting everything.
    fn naive(
        rows: &[Row],
        partition: &[usize],
        order: &[SortKey],
        offset: u64,
        limit: u64,
        rank: RankKind,
    ) -> Vec<Row> {
        let mut out = Vec::new();
        for (_, mut rows) in groups_of(rows, partition) {
            rows.sort_by(|one, other| in_order(one, other, order).then_with(|| whole_rows(one, other)));
            let (mut rank_now, mut dense) = (0i64, 0i64);
            for (at, row) in rows.iter().enumerate() {
                if at == 0 || in_order(&rows[at - 1], row, order).is_ne() {
                    (rank_now, dense) = (at as i64 + 1, dense + 1);
                }
                let place = match rank {
                    RankKind::Rows | RankKind::RowNumber => at as i64 + 1,
                    RankKind::Rank => rank_now,
                    RankKind::DenseRank => dense,
                };
                if place > offset as i64 && place <= (offset + limit) as i64 {
                    let mut row = row.clone();
                    if rank != RankKind::Rows {
                        row.push(ScalarValue::Int64(Some(place)));
                    }
                    out.push(row);
                }
            }
        }
        out
    }

    fn property(
        partition: &[usize],
        order: &[SortKey],
        offset: u64,
        limit: Option<u64>,
        rank: RankKind,
        append_only: bool,
    ) {
        let columns = [("p", DataType::Int16), ("x", DataType::Float64), ("t", DataType::Utf8)];
        let schema = schema_of(&columns);
        let numbered: Vec<_> = columns.iter().cloned().chain([("n", DataType::Int64)]).collect();
        let output = if rank == RankKind::Rows { schema.clone() } else { schema_of(&numbered) };
        let route = if partition.is_empty() { Route::One } else { Route::Key(partition.to_vec()) };
        let input = if append_only { Input::append_only(&schema, route) } else { Input::new(&schema, route) };
        check(&Property {
            name: &format!("top_n {partition:?} {order:?} {offset} {limit:?} {rank:?} {append_only}"),
            inputs: vec![input],
            subject: &|_| {
                let (partition, order) = (partition.to_vec(), order.to_vec());
                let (schema, output) = (schema.clone(), output.clone());
                Box::new(Remade::new(move || {
                    let made = TopN::new(&partition, &order, offset, limit, rank, &schema, &output, append_only);
                    Box::new(made.expect("a valid operator"))
                }))
            },
            keeps: if append_only { Keeps::Something } else { Keeps::Rows },
            expected: &|inputs| {
                Expected::rows(naive(&inputs[0], partition, order, offset, limit.unwrap_or(1 << 40), rank))
            },
        });
    }

    const RANKS: [RankKind; 4] = [RankKind::Rows, RankKind::RowNumber, RankKind::Rank, RankKind::DenseRank];

    #[test]
    fn agrees_with_sorting() {
        let order = [sort(1, true, true)];
        for rank in RANKS {
            property(&[0], &order, 0, Some(2), rank, false);
            property(&[0], &order, 0, Some(2), rank, true);
            property(&[0], &order, 1, Some(3), rank, false);
            property(&[0], &order, 1, Some(3), rank, true);
            property(&[], &order, 2, Some(4), rank, false);
            property(&[0], &order, 0, None, rank, false);
            property(&[2, 0], &order, 0, Some(1), rank, false);
        }
    }

    #[test]
    fn agrees_with_sorting_whichever_way() {
        for (descending, nulls_first) in [(false, false), (false, true), (true, false)] {
            for rank in RANKS {
                property(&[0], &[sort(1, descending, nulls_first)], 0, Some(2), rank, false);
                property(&[0], &[sort(1, descending, nulls_first)], 0, Some(3), rank, true);
                // The second column goes the other way.
                let both = [sort(2, descending, nulls_first), sort(1, !descending, !nulls_first)];
                property(&[], &both, 1, Some(5), rank, false);
            }
        }
    }

    #[test]
    fn a_long_window_comes_in_pieces_that_survive_saving() {
        let schema = schema_of(&[("a", DataType::Int64)]);
        let output = schema_of(&[("a", DataType::Int64), ("n", DataType::Int64)]);
        let make = || {
            let order = [SortKey { column: 0, descending: false, nulls_first: false }];
            TopN::new(&[], &order, 0, None, RankKind::RowNumber, &schema, &output, false).unwrap()
        };
        let rows = 3 * STEP_OUTPUT_ROWS as i64 / 2;
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_new(schema.clone(), vec![values]).unwrap();
        let input = [Delta::insertions(batch)];
        let (mut operator, mut total, mut calls) = (make(), 0, 0);
        let mut given: &[Delta] = &input;
        loop {
            let (mut out, mut errors) = (Vec::new(), RowErrors::default());
            let mut step =
                Step { before: 0, after: 1, oldest: 0, end_of_epoch: true, now: 0, out: &mut out, errors: &mut errors };
            let progress = operator.step(&[given], &mut step).unwrap();
            let rows = crate::delta::total_rows(&out);
            assert!(rows <= STEP_OUTPUT_ROWS + BATCH_ROWS);
            (total, calls, given) = (total + rows, calls + 1, &[]);
            let saved = operator.save().unwrap();
            operator = make();
            operator.load(&saved).unwrap();
            if progress == Progress::Done {
                break;
            }
        }
        assert_eq!((total, calls), (rows as usize, 2));
    }
}
