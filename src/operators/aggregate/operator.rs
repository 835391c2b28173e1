//! The incremental aggregate: groups, their accumulators, and the output rows that changed.
//!
//! ```text
//!   out = - old rows of touched groups + new rows of touched groups, where they differ
//! ```
//!
//! A step first names the group of every row, then asks for the touched groups' results, then adds the rows, then asks
//! again. Groups whose net row count is positive are shown; one with a negative count is kept, hidden, until its
//! insertions arrive. A group whose whole state is zero is dropped. Without groups (`global`) worker 0 shows exactly one
//! row, from its first step on.
//!
//! Keeps: a key table, a row count a group, the accumulators. Cost: O(rows of the delta) and O(touched groups), never
//! O(groups), but for lists, whose result is as long as the group: with these a step that touches many groups goes over
//! several passes, some of the groups in each.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};

use super::{Accumulator, AggregateCall, AggregateFunction, CallTypes, Failure, accumulator};
use crate::delta::size::{BATCH_BYTES, bytes_of, runs};
use crate::delta::{self, Delta, hash_rows, overflow};
use crate::error::{Error, Result};
use crate::operators::changes::{differing, emit};
use crate::operators::failures::row_error;
use crate::operators::keys::KeyTable;
use crate::operators::saved::{Reader, Writer};
use crate::operators::{Operator, Progress, Step};

const VERSION: u8 = 2;

pub struct Aggregate {
    group: Vec<usize>,
    group_types: Vec<DataType>,
    calls: Vec<Call>,
    output: SchemaRef,
    /// `None`: no groups, one row.
    keys: Option<KeyTable>,
    /// Whether the global row is shown here, and whether it has been.
    shows_global: bool,
    started: bool,
    /// Net rows of each group.
    counts: Vec<i64>,
    /// Groups seen in this step.
    marked: Vec<bool>,
    /// Whether results are as long as their groups.
    lists: bool,
    /// Calls whose results differ in length.
    wide: Vec<usize>,
    /// The rest of a step's input, each group in one of the pieces.
    pieces: VecDeque<Vec<Delta>>,
    step_bytes: usize,
}

/// Bytes of lists that a pass may give, as far as the average list tells.
const STEP_BYTES: usize = 64 << 20;
/// Pieces of a step at most.
const PIECES: usize = 1024;

/// Results of some groups.
struct Results {
    /// One after the other, with a column a call.
    runs: Vec<(Range<usize>, Vec<ArrayRef>)>,
    failures: Vec<Failure>,
}

impl Results {
    /// Where the run ends that holds this place.
    fn end_of_run(&self, at: usize) -> usize {
        self.runs[self.run_of(at)].0.end
    }

    /// The columns of places within one run.
    fn between(&self, from: usize, to: usize) -> Vec<ArrayRef> {
        let (run, columns) = &self.runs[self.run_of(from)];
        columns.iter().map(|column| column.slice(from - run.start, to - from)).collect()
    }

    fn run_of(&self, at: usize) -> usize {
        self.runs.partition_point(|(run, _)| run.end <= at)
    }
}

struct Call {
    accumulator: Box<dyn Accumulator>,
    /// Arguments, then ORDER BY columns.
    columns: Vec<usize>,
    filter: Option<usize>,
}

impl Aggregate {
    /// `global`: no groups, and this worker is the one that shows the row.
    pub fn new(
        group: &[usize],
        calls: &[AggregateCall],
        global: bool,
        input: &SchemaRef,
        output: &SchemaRef,
        append_only: bool,
    ) -> Result<Aggregate> {
        let type_of = |column: usize| input.field(column).data_type().clone();
        let is_list =
            |call: &AggregateCall| matches!(call.function, AggregateFunction::StringAgg | AggregateFunction::ArrayAgg);
        let lists = calls.iter().any(is_list);
        let group_types: Vec<DataType> = group.iter().map(|&column| type_of(column)).collect();
        let made = calls
            .iter()
            .map(|call| {
                let order = call.order_by.iter().map(|key| {
                    (type_of(key.column), SortOptions { descending: key.descending, nulls_first: key.nulls_first })
                });
                let types = CallTypes {
                    function: call.function,
                    args: call.args.iter().map(|&column| type_of(column)).collect(),
                    order: order.collect(),
                    distinct: call.distinct,
                    output: call.output.clone(),
                    append_only,
                };
                let columns = call.args.iter().copied().chain(call.order_by.iter().map(|key| key.column)).collect();
                Ok(Call { accumulator: accumulator(&types)?, columns, filter: call.filter })
            })
            .collect::<Result<_>>()?;
        let wide = calls.iter().enumerate().filter(|(_, call)| is_wide(&call.output)).map(|(at, _)| at).collect();
        let calls = made;
        let keys = if group.is_empty() { None } else { Some(KeyTable::new(group_types.clone())?) };
        let mut made = Aggregate {
            group: group.to_vec(),
            group_types,
            calls,
            output: output.clone(),
            keys,
            shows_global: global,
            started: false,
            counts: Vec::new(),
            marked: Vec::new(),
            lists,
            wide,
            pieces: VecDeque::new(),
            step_bytes: STEP_BYTES,
        };
        if group.is_empty() {
            made.grow(1);
        }
        Ok(made)
    }

    /// Bounds the lists that a pass gives to about this many bytes.
    #[cfg(test)]
    pub fn with_step_bytes(mut self, bytes: usize) -> Aggregate {
        self.step_bytes = bytes;
        self
    }

    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.marked.resize(groups, false);
        self.calls.iter_mut().for_each(|call| call.accumulator.grow(groups));
    }

    /// The group of every row of a delta.
    fn name_groups(&mut self, delta: &Delta) -> Result<Vec<u32>> {
        let Some(keys) = &mut self.keys else { return Ok(vec![0; delta.len()]) };
        let columns: Vec<ArrayRef> = self.group.iter().map(|&column| delta.rows().column(column).clone()).collect();
        let mut ids = Vec::new();
        keys.intern(&columns, delta.len(), &mut ids)?;
        let slots = keys.slots();
        if slots > self.counts.len() {
            self.grow(slots);
        }
        Ok(ids)
    }

    fn is_shown(&self, group: u32) -> bool {
        if self.keys.is_none() { self.shows_global && self.started } else { self.counts[group as usize] > 0 }
    }

    /// The results of touched groups, in runs that fit a batch together with the groups' keys.
    fn results(&self, groups: &[u32], input: &[Delta]) -> Result<Results> {
        let mut results = Results { runs: Vec::new(), failures: Vec::new() };
        for run in self.runs(groups, input) {
            let before = results.failures.len();
            let calls = self.calls.iter();
            let columns = calls.map(|call| call.accumulator.finish(&groups[run.clone()], &mut results.failures));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            results.failures[before..].iter_mut().for_each(|failure| failure.at += run.start);
            results.runs.push((run, columns));
        }
        Ok(results)
    }

    /// The groups are looked at one by one only where they might not fit a batch together: keys as long as those of the input, results
    /// as long as all there is.
    fn runs(&self, groups: &[u32], input: &[Delta]) -> Vec<Range<usize>> {
        let of_keys = |delta: &Delta| {
            let columns = delta.rows().columns();
            self.group.iter().map(|&column| bytes_of(&columns[column..=column], 0, delta.len())).sum::<usize>()
        };
        let results: usize = self.wide.iter().map(|&call| self.calls[call].accumulator.bytes()).sum();
        if input.iter().map(of_keys).sum::<usize>() + results <= BATCH_BYTES {
            return vec![0..groups.len()];
        }
        let size = |group: &u32| {
            let key = self.keys.as_ref().map_or(0, |keys| keys.size(*group));
            self.wide.iter().fold(key, |size, &call| size.saturating_add(self.calls[call].accumulator.size(*group)))
        };
        runs(groups.iter().map(size), usize::MAX)
    }

    fn rows(&self, groups: &[ArrayRef], results: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = groups.iter().cloned().chain(results).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }
}

impl Aggregate {
    /// A step's input, cut by groups so that the lists of a piece's groups, old and new, are about as long as a pass may give.
    fn split(&self, input: &[Delta]) -> Result<Vec<Vec<Delta>>> {
        let groups = match &self.keys {
            Some(keys) if !input.is_empty() => keys.slots().max(1),
            _ => return Ok(vec![input.to_vec()]),
        };
        let average = self.calls.iter().map(|call| call.accumulator.bytes()).sum::<usize>() / groups;
        let (mut hashes, mut touched) = (Vec::with_capacity(input.len()), HashSet::new());
        for delta in input {
            let columns: Vec<ArrayRef> = self.group.iter().map(|&column| delta.rows().column(column).clone()).collect();
            let mut own = Vec::new();
            hash_rows(&columns, delta.len(), &mut own)?;
            touched.extend(own.iter().copied());
            hashes.push(own);
        }
        let pieces = (2 * average * touched.len()).div_ceil(self.step_bytes).clamp(1, PIECES);
        if pieces == 1 {
            return Ok(vec![input.to_vec()]);
        }
        let mut cut: Vec<Vec<Delta>> = vec![Vec::new(); pieces];
        for (delta, hashes) in input.iter().zip(hashes) {
            let mut rows: Vec<Vec<u32>> = vec![Vec::new(); pieces];
            hashes.iter().enumerate().for_each(|(row, hash)| rows[(hash % pieces as u64) as usize].push(row as u32));
            for (piece, rows) in cut.iter_mut().zip(rows).filter(|(_, rows)| !rows.is_empty()) {
                piece.push(delta.take(&UInt32Array::from(rows))?);
            }
        }
        cut.retain(|piece| !piece.is_empty());
        Ok(cut)
    }

    fn take_in(&mut self, input: &[Delta], step: &mut Step) -> Result<()> {
        let mut named = Vec::with_capacity(input.len());
        for delta in input {
            named.push(self.name_groups(delta)?);
        }
        let mut touched: Vec<u32> = Vec::new();
        let mut before: Vec<bool> = Vec::new();
        if self.keys.is_none() && (!input.is_empty() || (self.shows_global && !self.started)) {
            touched.push(0);
            before.push(self.is_shown(0));
            self.started = true;
        }
        // What the calls count are rows of the group: if their number is right, so are theirs, whatever wraps in between.
        let mut overflowed = false;
        for (delta, groups) in input.iter().zip(&named) {
            let (counts, marked) = (&mut self.counts, &mut self.marked);
            let grouped = self.keys.is_some();
            let mut count = |group: u32, weight: i64| {
                if grouped && !marked[group as usize] {
                    marked[group as usize] = true;
                    touched.push(group);
                    before.push(counts[group as usize] > 0);
                }
                let (count, wrapped) = counts[group as usize].overflowing_add(weight);
                counts[group as usize] = count;
                overflowed |= wrapped;
            };
            match delta.weights() {
                None => groups.iter().for_each(|&group| count(group, 1)),
                Some(weights) => groups.iter().zip(weights.values()).for_each(|(&group, &weight)| count(group, weight)),
            }
        }
        if overflowed {
            return Err(overflow());
        }
        if touched.is_empty() {
            return Ok(());
        }
        touched.iter().for_each(|&group| self.marked[group as usize] = false);

        let old = self.results(&touched, input)?;
        for (delta, groups) in input.iter().zip(&named) {
            let weights = delta.weights().map(|weights| weights.values().as_ref());
            for call in &mut self.calls {
                let values: Vec<ArrayRef> = call.columns.iter().map(|&c| delta.rows().column(c).clone()).collect();
                let keep = match call.filter {
                    Some(column) => Some(boolean(delta.rows().column(column))?),
                    None => None,
                };
                call.accumulator.update(groups, &values, weights, keep)?;
            }
        }
        let new = self.results(&touched, input)?;

        let after: Vec<bool> = touched.iter().map(|&group| self.is_shown(group)).collect();
        let (before, after) = (BooleanBuffer::from(before), BooleanBuffer::from(after));
        let mut from = 0;
        while from < touched.len() {
            let to = old.end_of_run(from).min(new.end_of_run(from));
            let rows = to - from;
            let keys = match &self.keys {
                Some(keys) => keys.columns(&touched[from..to])?,
                None => Vec::new(),
            };
            let (before, after) = (before.slice(from, rows), after.slice(from, rows));
            for (results, shown, weight) in [(&old, &before, -1), (&new, &after, 1)] {
                let here = results.failures.iter().filter(|failure| (from..to).contains(&failure.at));
                for failure in here.filter(|failure| shown.value(failure.at - from)) {
                    step.errors.push(row_error(&failure.error, &keys, failure.at - from, weight));
                }
            }
            let (old, new) = (old.between(from, to), new.between(from, to));
            let both = &before & &after;
            let same = &both & &!&differing(&old, &new, rows)?;
            let gone = BooleanArray::new(&before & &!&same, None);
            let come = BooleanArray::new(&after & &!&same, None);
            emit(step.out, Delta::deletions(self.rows(&keys, old, rows)?).filter(&gone)?);
            emit(step.out, Delta::insertions(self.rows(&keys, new, rows)?).filter(&come)?);
            from = to;
        }

        if let Some(keys) = &mut self.keys {
            for &group in touched.iter().filter(|&&group| self.counts[group as usize] == 0) {
                // Every accumulator is asked: each that can gives its memory back.
                let zero = self.calls.iter_mut().fold(true, |zero, call| call.accumulator.release(group) && zero);
                if zero {
                    keys.remove(group);
                }
            }
        }
        Ok(())
    }
}

impl Operator for Aggregate {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let input = inputs.first().copied().unwrap_or_default();
        if !self.lists {
            return self.take_in(input, step).map(|()| Progress::Done);
        }
        if !input.is_empty() || self.pieces.is_empty() {
            let pieces = self.split(input)?;
            self.pieces.extend(pieces);
        }
        if let Some(piece) = self.pieces.pop_front() {
            self.take_in(&piece, step)?;
        }
        Ok(if self.pieces.is_empty() { Progress::Done } else { Progress::More })
    }

    fn state_bytes(&self) -> usize {
        let calls: usize = self.calls.iter().map(|call| call.accumulator.bytes()).sum();
        let pieces: usize = self.pieces.iter().flatten().map(Delta::bytes).sum();
        calls
            + pieces
            + self.counts.capacity() * 8
            + self.marked.capacity()
            + self.keys.as_ref().map_or(0, KeyTable::bytes)
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(VERSION);
        let live = self.keys.as_ref().map_or_else(|| vec![0], KeyTable::live);
        let keys = match &self.keys {
            Some(keys) => keys.columns(&live)?,
            None => Vec::new(),
        };
        writer.value(&self.started)?;
        writer.columns(&keys, live.len())?;
        writer.value(&live.iter().map(|&group| self.counts[group as usize]).collect::<Vec<_>>())?;
        for call in &self.calls {
            writer.section(&call.accumulator.save(&live)?);
        }
        writer.value(&self.pieces.len())?;
        for piece in &self.pieces {
            writer.section(&delta::saved::save(piece)?);
        }
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(VERSION, saved)?;
        self.started = reader.value()?;
        let (columns, rows) = reader.columns(&self.group_types)?;
        let mut ids = Vec::new();
        if let Some(keys) = &mut self.keys {
            keys.intern(&columns, rows, &mut ids)?;
        }
        let counts: Vec<i64> = reader.value()?;
        if counts.len() != rows || self.keys.as_ref().is_some_and(|keys| keys.slots() != rows) {
            return Err(Error::internal("saved groups don't match their counts"));
        }
        for call in &mut self.calls {
            call.accumulator.load(reader.section()?)?;
        }
        self.pieces.clear();
        for _ in 0..reader.value::<usize>()? {
            self.pieces.push_back(delta::saved::load(reader.section()?)?);
        }
        self.grow(rows);
        self.counts = counts;
        Ok(())
    }
}

/// Whether values of the type differ in length.
fn is_wide(data_type: &DataType) -> bool {
    data_type.is_nested() || matches!(data_type, DataType::Utf8 | DataType::Binary)
}

fn boolean(column: &ArrayRef) -> Result<&BooleanArray> {
    let found = column.as_any().downcast_ref::<BooleanArray>();
    found.ok_or_else(|| Error::internal("an aggregate's filter is not boolean"))
}
