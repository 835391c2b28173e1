//! Semi, anti and mark join: rows of the left side by whether the right side has a match.
//!
//! Each left row has a status: *true* (a match), *false*, or *NULL* (`null_aware`: as `x IN (set)` answers). Semi keeps the
//! true ones; Anti the false ones; Mark keeps all and appends the status.
//!
//! ```text
//!   x IN (set)      set empty: false    x NULL: NULL    x in set: true    set has a NULL: NULL    else false
//! ```
//!
//! Without a condition the status follows from the key, from whether the right side has rows, and whether it has NULL
//! keys (both counted); with S the statuses:
//!
//! ```text
//!   d out = dL by S_after  +  L_before by (S_after - S_before)      the second for keys that came or went on the right, and
//!                                                                   for all of L when the right side's emptiness or its
//!                                                                   NULLs came or went
//! ```
//!
//! With a condition (or IN over several columns) each left row's matches are counted ([`super::match_counts`]). A condition
//! together with NULL-awareness compares every pair: any row may answer NULL.
//!
//! Where NULLs matter, each worker needs the whole right side (or one worker everything): the plan sees to it. A step
//! costs its probes and its output.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::arrange::Arranged;
use super::match_counts::{Counts, MatchCounts, Sums, Tally};
use super::outer_join::{count_own, give, mets};
use super::pairs::{self, Meeting, Pairs, Piece, Rest, batches, key_columns};
use super::saved::{Reader, Writer};
use super::spec::SemiKind;
use super::{BATCH_ROWS, Operator, PhysicalExpr, Progress, STEP_OUTPUT_ROWS, Step};
use crate::delta::size::volume;
use crate::delta::{Delta, Equality, RowsView, saved, take_rows};
use crate::error::{Error, Result};
use crate::state::Version;

const VERSION: u8 = 1;

/// What a semi join is to answer.
#[derive(Clone, Debug)]
pub struct SemiSpec {
    pub kind: SemiKind,
    /// Over the left columns, then the right ones.
    pub filter: Option<PhysicalExpr>,
    pub null_aware: bool,
    pub null_equals_null: bool,
}

/// A left row's status: `Some(true)`, `Some(false)`, or NULL.
type Status = Option<bool>;

/// What the status of a key depends on besides the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RightSide {
    rows: i64,
    nulls: i64,
}

pub struct SemiJoin {
    left: Arranged,
    right: Arranged,
    spec: SemiSpec,
    output: SchemaRef,
    /// Left and right columns, for the condition.
    both: SchemaRef,
    right_side: RightSide,
    counts: Option<MatchCounts>,
    pending: VecDeque<Work>,
    step_rows: usize,
}

enum Work {
    /// Pairs to be counted: for the driver's rows if they are left ones, else for the left rows they meet.
    Count {
        pairs: Pairs,
        own: Vec<Counts>,
        tally: Option<Tally>,
    },
    /// Left rows with keys whose status changed: old and new one for each row of the driver.
    Flip {
        pairs: Pairs,
        statuses: Vec<(Status, Status)>,
    },
    /// All left rows, since their statuses may have changed.
    Rescan {
        rest: Rest,
        versions: [Version; 2],
        sides: [RightSide; 2],
    },
    /// All pairs of a right delta are counted: the counts of left rows change.
    Counts(Sums),
    Ready(VecDeque<Delta>),
}

#[derive(Serialize, Deserialize)]
enum SavedWork {
    Count { pairs: pairs::Saved, own: Vec<Counts>, tally: bool },
    Flip { pairs: pairs::Saved, statuses: Vec<(Status, Status)> },
    Rescan { rest: Vec<u8>, versions: [Version; 2], sides: [RightSide; 2] },
    Counts,
    Ready(Vec<u8>),
}

impl SemiJoin {
    /// `output` has the left columns, and for Mark a boolean behind them.
    pub fn new(left: Arranged, right: Arranged, spec: SemiSpec, output: &SchemaRef) -> Result<SemiJoin> {
        let fields = left.schema().fields().iter().chain(right.schema().fields());
        let both = Arc::new(Schema::new(fields.cloned().collect::<Vec<Arc<Field>>>()));
        let counted = spec.filter.is_some() || (spec.null_aware && left.key.len() != 1);
        let counts = if counted { Some(MatchCounts::new(left.schema())?) } else { None };
        Ok(SemiJoin {
            left,
            right,
            spec,
            output: output.clone(),
            both,
            right_side: RightSide::default(),
            counts,
            pending: VecDeque::new(),
            step_rows: STEP_OUTPUT_ROWS,
        })
    }

    /// Bounds the pairs of a step to about this number.
    #[cfg(test)]
    pub fn with_step_rows(mut self, rows: usize) -> SemiJoin {
        self.step_rows = rows;
        self
    }

    fn meeting(&self, driver_left: bool) -> Meeting {
        let SemiSpec { null_aware, null_equals_null, .. } = self.spec;
        Meeting { driver_left, null_equals_null, all: null_aware && self.counts.is_some() }
    }

    fn begin_counted(&mut self, left: Vec<Delta>, right: Vec<Delta>, step: &Step) -> Result<()> {
        for delta in left {
            let own = vec![[0, 0]; delta.len()];
            let keys = key_columns(&delta, &self.left.key);
            let pairs = Pairs::new(delta, &keys, &self.right, step.before, self.meeting(true))?;
            self.pending.push_back(Work::Count { pairs, own, tally: None });
        }
        for delta in right {
            let keys = key_columns(&delta, &self.right.key);
            let pairs = Pairs::new(delta, &keys, &self.left, step.after, self.meeting(false))?;
            self.pending.push_back(Work::Count { pairs, own: Vec::new(), tally: Some(Tally::default()) });
        }
        Ok(())
    }

    fn begin_by_key(&mut self, left: Vec<Delta>, right: Vec<Delta>, step: &Step) -> Result<()> {
        let old = self.right_side;
        let mut keys_seen = Vec::new();
        for delta in &right {
            let keys = key_columns(delta, &self.right.key);
            if self.spec.null_aware {
                let view = RowsView::new(&keys, Equality::Key)?;
                for row in 0..delta.len() {
                    self.right_side.rows += delta.weight(row);
                    self.right_side.nulls += if view.has_null(row) { delta.weight(row) } else { 0 };
                }
            }
            keys_seen.push(Delta::insertions(pairs::key_batch(&keys, delta.len())?));
        }
        let new = self.right_side;
        for delta in left {
            let statuses = self.statuses(&key_columns(&delta, &self.left.key), delta.len(), step.after, new)?;
            let out = self.by_status(delta.rows(), |row| delta.weight(row), |row| (None, Some(statuses[row])))?;
            self.pending.push_back(Work::Ready([out].into()));
        }
        if (old.rows > 0, old.nulls > 0) != (new.rows > 0, new.nulls > 0) {
            let rest = Rest::Snapshot(self.left.rows.snapshot(step.before)?);
            let versions = [step.before, step.after];
            self.pending.push_back(Work::Rescan { rest, versions, sides: [old, new] });
        } else if !keys_seen.is_empty() {
            let all = Delta::concat(&keys_seen[0].schema(), &keys_seen)?;
            let distinct = all.take(&pairs::distinct_keys(all.rows().columns(), all.len())?)?;
            let columns = distinct.rows().columns();
            let before = self.statuses(columns, distinct.len(), step.before, old)?;
            let after = self.statuses(columns, distinct.len(), step.after, new)?;
            let changed: BooleanArray = before.iter().zip(&after).map(|(old, new)| Some(old != new)).collect();
            if changed.true_count() > 0 {
                let driver = distinct.filter(&changed)?;
                let statuses = before.into_iter().zip(after).filter(|(old, new)| old != new).collect();
                let keys = driver.rows().columns().to_vec();
                let pairs = Pairs::new(driver, &keys, &self.left, step.before, self.meeting(false))?;
                self.pending.push_back(Work::Flip { pairs, statuses });
            }
        }
        Ok(())
    }

    /// The status of left rows with these keys.
    fn statuses(&self, keys: &[ArrayRef], rows: usize, version: Version, right: RightSide) -> Result<Vec<Status>> {
        let exists = self.right.exists(keys, rows, version, self.spec.null_equals_null)?;
        if !self.spec.null_aware {
            return Ok(exists.into_iter().map(Some).collect());
        }
        let view = RowsView::new(keys, Equality::Key)?;
        let status = |(row, exists): (usize, bool)| match exists {
            _ if right.rows <= 0 => Some(false),
            _ if view.has_null(row) => None,
            true => Some(true),
            false if right.nulls > 0 => None,
            false => Some(false),
        };
        Ok(exists.into_iter().enumerate().map(status).collect())
    }

    fn status_of(counts: Counts) -> Status {
        match counts {
            [matches, _] if matches > 0 => Some(true),
            [_, unknown] if unknown > 0 => None,
            _ => Some(false),
        }
    }

    /// Left rows whose status was the first of a pair and is the second one now (`None`: the row was not there).
    fn by_status(
        &self,
        rows: &RecordBatch,
        weight: impl Fn(usize) -> i64,
        change: impl Fn(usize) -> (Option<Status>, Option<Status>),
    ) -> Result<Delta> {
        let (mut indices, mut weights, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        let wanted = match self.spec.kind {
            SemiKind::Semi => Some(true),
            SemiKind::Anti => Some(false),
            SemiKind::Mark => None,
        };
        for row in 0..rows.num_rows() {
            let (old, new) = change(row);
            if old == new {
                continue;
            }
            for (status, sign) in [(old, -1), (new, 1)] {
                let Some(status) = status else { continue };
                if wanted.is_none() || status == wanted {
                    indices.push(row as u32);
                    weights.push(sign * weight(row));
                    marks.push(status);
                }
            }
        }
        let count = indices.len();
        let picked = take_rows(rows, &UInt32Array::from(indices))?;
        let mark: Vec<ArrayRef> = match self.spec.kind {
            SemiKind::Mark => vec![Arc::new(BooleanArray::from(marks))],
            _ => Vec::new(),
        };
        let rows = pairs::side_by_side(picked.columns(), &mark, count, &self.output)?;
        let ones = weights.iter().all(|weight| *weight == 1);
        Ok(Delta::from_parts(rows, (!ones).then(|| Int64Array::from(weights))))
    }

    /// Counts one piece of pairs. Returns how much it was.
    fn count_step(
        &self,
        pairs: &mut Pairs,
        own: &mut [Counts],
        tally: &mut Option<Tally>,
        step: &mut Step,
    ) -> Result<Option<usize>> {
        let Some(piece) = pairs.next(BATCH_ROWS.min(self.step_rows))? else { return Ok(None) };
        let (piece, met) = match &self.spec.filter {
            Some(filter) => {
                let joined = pairs::joined(pairs, &piece, &self.both)?;
                let met = joined.volume();
                (pairs::keep_true(filter, joined, piece, step)?.1, met)
            }
            None => {
                let met = volume(&piece.rows);
                (piece, met)
            }
        };
        let (piece, answers) = if self.spec.null_aware { self.answer(pairs, piece)? } else { (piece, Vec::new()) };
        let answer = |at: usize| answers.get(at).copied().unwrap_or(0);
        match (tally, &self.counts) {
            (None, _) => count_own(own, &piece, |at| Some(answer(at))),
            (Some(tally), Some(counts)) => {
                counts.tally(tally, &piece.rows, piece.batch, mets(&pairs.driver, &piece, answer))?;
            }
            (Some(_), None) => {}
        }
        Ok(Some(met))
    }

    /// Drops pairs whose keys differ; of the others, which are equal (0) and which may be, for a NULL (1).
    fn answer(&self, pairs: &Pairs, piece: Piece) -> Result<(Piece, Vec<usize>)> {
        let (own, other) = match pairs.meeting.driver_left {
            true => (&self.left.key, &self.right.key),
            false => (&self.right.key, &self.left.key),
        };
        let mut answers = vec![Some(0); piece.driver.len()];
        for (own, other) in own.iter().zip(other) {
            let (own, other) = ([pairs.driver.rows().column(*own).clone()], [piece.rows.column(*other).clone()]);
            let own_view = RowsView::new(&own, Equality::Key)?;
            let other_view = RowsView::new(&other, Equality::Key)?;
            for (at, row) in piece.driver.values().iter().enumerate() {
                let row = *row as usize;
                if own_view.has_null(row) || other_view.has_null(at) {
                    answers[at] = answers[at].map(|_| 1);
                } else if !own_view.equal(row, &other_view, at) {
                    answers[at] = None;
                }
            }
        }
        let mask: BooleanArray = answers.iter().map(|answer| Some(answer.is_some())).collect();
        Ok((pairs::filter_piece(&piece, &mask)?, answers.into_iter().flatten().collect()))
    }

    /// All pairs of a left delta are counted: its rows.
    fn counted(&mut self, pairs: &Pairs, own: &[Counts]) -> Result<Delta> {
        let driver = &pairs.driver;
        if let Some(counts) = &mut self.counts {
            counts.own_rows(driver.rows(), |row| driver.weight(row), own)?;
        }
        self.by_status(driver.rows(), |row| driver.weight(row), |row| (None, Some(Self::status_of(own[row]))))
    }

    /// Left rows whose counts changed, as many as fit a batch; `None` when there are no more.
    fn changed(&mut self, sums: &mut Sums) -> Result<Option<Delta>> {
        let Some(counts) = &mut self.counts else { return Ok(None) };
        let (rows, changes) = counts.apply(sums)?;
        if changes.is_empty() {
            return Ok(None);
        }
        let change = |row: usize| (Some(Self::status_of(changes[row].old)), Some(Self::status_of(changes[row].new)));
        self.by_status(&rows, |row| changes[row].weight, change).map(Some)
    }

    /// Works on the first of what is pending, up to the step's bound; what is left of it comes back.
    fn work(&mut self, work: Work, rows: &mut usize, step: &mut Step) -> Result<Option<Work>> {
        let limit = BATCH_ROWS.min(self.step_rows);
        match work {
            Work::Count { mut pairs, mut own, mut tally } => {
                while *rows < self.step_rows {
                    match self.count_step(&mut pairs, &mut own, &mut tally, step)? {
                        Some(met) => *rows += met,
                        None => {
                            return Ok(Some(match tally {
                                Some(tally) => Work::Counts(tally.done()),
                                None => Work::Ready([self.counted(&pairs, &own)?].into()),
                            }));
                        }
                    }
                }
                Ok(Some(Work::Count { pairs, own, tally }))
            }
            Work::Flip { mut pairs, statuses } => {
                while *rows < self.step_rows {
                    let Some(piece) = pairs.next(limit)? else { return Ok(None) };
                    *rows += volume(&piece.rows);
                    let weight = |row: usize| piece.weights.as_ref().map_or(1, |weights| weights.value(row));
                    let change = |row: usize| {
                        let (old, new) = statuses[piece.driver.value(row) as usize];
                        (Some(old), Some(new))
                    };
                    push(step, self.by_status(&piece.rows, weight, change)?);
                }
                Ok(Some(Work::Flip { pairs, statuses }))
            }
            Work::Rescan { mut rest, versions, sides } => {
                while *rows < self.step_rows {
                    let Some(delta) = rest.next()? else { return Ok(None) };
                    *rows += delta.volume();
                    let keys = key_columns(&delta, &self.left.key);
                    let old = self.statuses(&keys, delta.len(), versions[0], sides[0])?;
                    let new = self.statuses(&keys, delta.len(), versions[1], sides[1])?;
                    let change = |row: usize| (Some(old[row]), Some(new[row]));
                    push(step, self.by_status(delta.rows(), |row| delta.weight(row), change)?);
                }
                Ok(Some(Work::Rescan { rest, versions, sides }))
            }
            Work::Counts(mut sums) => {
                while *rows < self.step_rows {
                    let Some(changed) = self.changed(&mut sums)? else { return Ok(None) };
                    *rows += changed.volume().max(1);
                    push(step, changed);
                }
                Ok(Some(Work::Counts(sums)))
            }
            Work::Ready(mut ready) => Ok((!give(&mut ready, rows, self.step_rows, step)).then_some(Work::Ready(ready))),
        }
    }
}

fn push(step: &mut Step, delta: Delta) {
    if !delta.is_empty() {
        step.out.push(delta);
    }
}

impl Operator for SemiJoin {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let (left, right) = (batches(inputs.first())?, batches(inputs.get(1))?);
        if self.counts.is_some() {
            self.begin_counted(left, right, step)?;
        } else {
            self.begin_by_key(left, right, step)?;
        }
        let mut rows = 0;
        while let Some(work) = self.pending.pop_front() {
            if let Some(work) = self.work(work, &mut rows, step)? {
                self.pending.push_front(work);
                if rows >= self.step_rows {
                    return Ok(Progress::More);
                }
            }
        }
        Ok(Progress::Done)
    }

    fn rearrange(&mut self, inputs: &[Option<Arranged>]) {
        if let [Some(left), Some(right)] = inputs {
            (self.left, self.right) = (left.clone(), right.clone());
        }
    }

    fn state_bytes(&self) -> usize {
        let pending = self.pending.iter().map(|work| match work {
            Work::Count { pairs, tally, .. } => pairs.bytes() + tally.as_ref().map_or(0, Tally::bytes),
            Work::Flip { pairs, .. } => pairs.bytes(),
            Work::Counts(sums) => sums.bytes(),
            Work::Rescan { .. } => 0,
            Work::Ready(ready) => ready.iter().map(Delta::bytes).sum(),
        });
        pending.sum::<usize>() + self.counts.as_ref().map_or(0, MatchCounts::bytes)
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(VERSION);
        writer.value(&self.right_side)?;
        if let Some(counts) = &self.counts {
            counts.save(&mut writer)?;
        }
        writer.value(&(self.pending.len() as u64))?;
        for work in &self.pending {
            match work {
                Work::Count { pairs, own, tally } => {
                    let saved = pairs.save()?;
                    writer.value(&SavedWork::Count { pairs: saved, own: own.clone(), tally: tally.is_some() })?;
                    if let (Some(tally), Some(counts)) = (tally, &self.counts) {
                        counts.save_tally(tally, &mut writer)?;
                    }
                }
                Work::Flip { pairs, statuses } => {
                    writer.value(&SavedWork::Flip { pairs: pairs.save()?, statuses: statuses.clone() })?;
                }
                Work::Rescan { rest, versions, sides } => {
                    let (rest, versions, sides) = (rest.save()?, *versions, *sides);
                    writer.value(&SavedWork::Rescan { rest, versions, sides })?;
                }
                Work::Counts(sums) => {
                    writer.value(&SavedWork::Counts)?;
                    if let Some(counts) = &self.counts {
                        counts.save_sums(sums, &mut writer)?;
                    }
                }
                Work::Ready(ready) => {
                    let deltas: Vec<Delta> = ready.iter().cloned().collect();
                    writer.value(&SavedWork::Ready(saved::save(&deltas)?))?;
                }
            }
        }
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(VERSION, saved)?;
        self.right_side = reader.value()?;
        if let Some(counts) = &mut self.counts {
            counts.load(&mut reader)?;
        }
        let pending: u64 = reader.value()?;
        self.pending.clear();
        for _ in 0..pending {
            let work = match reader.value()? {
                SavedWork::Count { pairs, own, tally } => {
                    let (own_side, other) =
                        if pairs.driver_left() { (&self.left, &self.right) } else { (&self.right, &self.left) };
                    let pairs = Pairs::load(pairs, other, |driver| key_columns(driver, &own_side.key))?;
                    let tally = match (&self.counts, tally) {
                        (Some(counts), true) => Some(counts.load_tally(&mut reader)?),
                        _ => None,
                    };
                    Work::Count { pairs, own, tally }
                }
                SavedWork::Flip { pairs, statuses } => {
                    let pairs = Pairs::load(pairs, &self.left, |driver| driver.rows().columns().to_vec())?;
                    Work::Flip { pairs, statuses }
                }
                SavedWork::Rescan { rest, versions, sides } => {
                    Work::Rescan { rest: Rest::load(&rest)?, versions, sides }
                }
                SavedWork::Counts => match &self.counts {
                    Some(counts) => Work::Counts(counts.load_tally(&mut reader)?.done()),
                    None => return Err(Error::internal("saved counts for a join that keeps none")),
                },
                SavedWork::Ready(bytes) => Work::Ready(saved::load(&bytes)?.into()),
            };
            self.pending.push_back(work);
        }
        Ok(())
    }
}
