//! Left, right and full outer join: the inner join, and for each preserved row without a match one *ghost*: the row with
//! NULLs for the other side.
//!
//! ```text
//!   out = inner join + { l ++ NULLs : l without match } + { NULLs ++ r : r without match }      as the sides are preserved
//! ```
//!
//! Without a condition a row has a match if its key is on the other side. With g(k) = 1 where key k is not there:
//!
//! ```text
//!   d ghosts of L = dL x g_after  +  L_before x (g_after - g_before)        the second for keys that came or went
//! ```
//!
//! and nothing is kept. With a condition each preserved row's matches are counted ([`super::match_counts`]): its ghost comes
//! and goes with the count. A key with a NULL matches nothing, so its row has a ghost. A step costs its probes and its
//! output; a key that comes or goes costs the rows it has on the other side.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::arrange::Arranged;
use super::match_counts::{Counts, MatchCounts, Met, Sums, Tally};
use super::pairs::{self, Meeting, Pairs, Piece, batches, key_columns};
use super::saved::{Reader, Writer};
use super::{BATCH_ROWS, Operator, PhysicalExpr, Progress, STEP_OUTPUT_ROWS, Step};
use crate::delta::size::rows_that_fit;
use crate::delta::{Delta, saved};
use crate::error::{Error, Result};

const VERSION: u8 = 1;

pub struct OuterJoin {
    /// Left, right.
    sides: [Arranged; 2],
    preserve: [bool; 2],
    /// Of the preserved sides, where there is a condition.
    counts: [Option<MatchCounts>; 2],
    filter: Option<PhysicalExpr>,
    null_equals_null: bool,
    output: SchemaRef,
    pending: VecDeque<Work>,
    step_rows: usize,
}

enum Work {
    /// Pairs to be given out; with a condition also counted, for the driver's rows and for those they meet.
    Pairs { pairs: Pairs, own: Option<Vec<Counts>>, tally: Option<Tally> },
    /// Rows of a preserved side whose key came (weight -1) or went (+1) on the side named here.
    Ghosts { pairs: Pairs, side: usize },
    /// All pairs of a driver of the other side are counted: the counts of this side's rows, and their ghosts, change.
    Counts { sums: Sums, side: usize },
    /// Output that only has to be cut to size.
    Ready(VecDeque<Delta>),
}

#[derive(Serialize, Deserialize)]
enum SavedWork {
    Pairs { pairs: pairs::Saved, own: Option<Vec<Counts>>, tally: bool },
    Ghosts { pairs: pairs::Saved, side: usize },
    Counts { side: usize },
    Ready(Vec<u8>),
}

impl OuterJoin {
    /// `output` has the left columns, then the right ones; `filter` is over these. `preserve`: left, right.
    pub fn new(
        left: Arranged,
        right: Arranged,
        preserve: [bool; 2],
        filter: Option<PhysicalExpr>,
        null_equals_null: bool,
        output: &SchemaRef,
    ) -> Result<OuterJoin> {
        let count = |side: usize, rows: &Arranged| match preserve[side] && filter.is_some() {
            true => MatchCounts::new(rows.schema()).map(Some),
            false => Ok(None),
        };
        Ok(OuterJoin {
            counts: [count(0, &left)?, count(1, &right)?],
            sides: [left, right],
            preserve,
            filter,
            null_equals_null,
            output: output.clone(),
            pending: VecDeque::new(),
            step_rows: STEP_OUTPUT_ROWS,
        })
    }

    /// Bounds the pairs of a step to about this number.
    #[cfg(test)]
    pub fn with_step_rows(mut self, rows: usize) -> OuterJoin {
        self.step_rows = rows;
        self
    }

    fn begin(&mut self, side: usize, deltas: Vec<Delta>, step: &Step) -> Result<()> {
        let other = 1 - side;
        let version = if side == 0 { step.before } else { step.after };
        let meeting = self.meeting(side);
        let mut keys_seen = Vec::new();
        for delta in deltas {
            let keys = key_columns(&delta, &self.sides[side].key);
            let counted = self.filter.is_some();
            if self.preserve[side] && !counted {
                let exists = self.sides[other].exists(&keys, delta.len(), step.after, self.null_equals_null)?;
                let without: BooleanArray = exists.into_iter().map(|exists| Some(!exists)).collect();
                if without.true_count() > 0 {
                    let kept = delta.filter(&without)?;
                    let ghosts = Delta::from_parts(self.ghosts(side, kept.rows())?, kept.weights().cloned());
                    self.pending.push_back(Work::Ready([ghosts].into()));
                }
            }
            let own = (self.preserve[side] && counted).then(|| vec![[0, 0]; delta.len()]);
            let tally = (self.preserve[other] && counted).then(Tally::default);
            keys_seen.push(Delta::insertions(pairs::key_batch(&keys, delta.len())?));
            let pairs = Pairs::new(delta, &keys, &self.sides[other], version, meeting)?;
            self.pending.push_back(Work::Pairs { pairs, own, tally });
        }
        if self.preserve[other] && self.filter.is_none() && !keys_seen.is_empty() {
            self.flip(side, &keys_seen, step)?;
        }
        Ok(())
    }

    /// Keys that came or went on `side`: the rows of the other side that have them lose or get their ghosts.
    fn flip(&mut self, side: usize, keys: &[Delta], step: &Step) -> Result<()> {
        let all = Delta::concat(&keys[0].schema(), keys)?;
        let distinct = all.take(&pairs::distinct_keys(all.rows().columns(), all.len())?)?;
        let columns = distinct.rows().columns().to_vec();
        let exists = |version| self.sides[side].exists(&columns, distinct.len(), version, self.null_equals_null);
        let (old, new) = (exists(step.before)?, exists(step.after)?);
        let flipped: BooleanArray = old.iter().zip(&new).map(|(old, new)| Some(old != new)).collect();
        if flipped.true_count() == 0 {
            return Ok(());
        }
        let signs = Int64Array::from_iter_values(new.iter().map(|new| if *new { -1 } else { 1 }));
        let driver = Delta::new(distinct.rows().clone(), signs).filter(&flipped)?;
        let keys = driver.rows().columns().to_vec();
        let pairs = Pairs::new(driver, &keys, &self.sides[1 - side], step.before, self.meeting(side))?;
        self.pending.push_back(Work::Ghosts { pairs, side });
        Ok(())
    }

    fn meeting(&self, side: usize) -> Meeting {
        Meeting { driver_left: side == 0, null_equals_null: self.null_equals_null, all: false }
    }

    /// Rows of `side` with NULLs for the other one.
    fn ghosts(&self, side: usize, rows: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.sides[1 - side].schema().fields().iter();
        let nulls: Vec<ArrayRef> = fields.map(|field| new_null_array(field.data_type(), rows.num_rows())).collect();
        let (left, right) = if side == 0 { (rows.columns(), nulls.as_slice()) } else { (&nulls[..], rows.columns()) };
        pairs::side_by_side(left, right, rows.num_rows(), &self.output)
    }

    /// Gives out a piece of pairs and counts them. Returns how much it was.
    fn pairs_step(
        &self,
        pairs: &mut Pairs,
        own: &mut Option<Vec<Counts>>,
        tally: &mut Option<Tally>,
        step: &mut Step,
    ) -> Result<Option<usize>> {
        let Some(piece) = pairs.next(BATCH_ROWS.min(self.step_rows))? else { return Ok(None) };
        let out = pairs::joined(pairs, &piece, &self.output)?;
        let met = out.volume();
        let (out, piece) = match &self.filter {
            Some(filter) => pairs::keep_true(filter, out, piece, step)?,
            None => (out, piece),
        };
        if !out.is_empty() {
            step.out.push(out);
        }
        if let Some(own) = own {
            count_own(own, &piece, |_| Some(0));
        }
        let other = usize::from(pairs.meeting.driver_left);
        if let (Some(tally), Some(counts)) = (tally, &self.counts[other]) {
            counts.tally(tally, &piece.rows, piece.batch, mets(&pairs.driver, &piece, |_| 0))?;
        }
        Ok(Some(met))
    }

    /// All pairs of a driver are counted: ghosts of its rows.
    fn counted(&mut self, pairs: &Pairs, own: Option<Vec<Counts>>) -> Result<VecDeque<Delta>> {
        let side = usize::from(!pairs.meeting.driver_left);
        let (Some(own), Some(counts)) = (own, &mut self.counts[side]) else { return Ok(VecDeque::new()) };
        counts.own_rows(pairs.driver.rows(), |row| pairs.driver.weight(row), &own)?;
        let without: BooleanArray = own.iter().map(|counts| Some(counts[0] <= 0)).collect();
        let kept = pairs.driver.filter(&without)?;
        Ok([Delta::from_parts(self.ghosts(side, kept.rows())?, kept.weights().cloned())].into())
    }

    /// Ghosts of rows that were met, as many as fit a batch; `None` when there are no more.
    fn changed(&mut self, sums: &mut Sums, side: usize) -> Result<Option<Delta>> {
        let Some(counts) = &mut self.counts[side] else { return Ok(None) };
        let (rows, changes) = counts.apply(sums)?;
        if changes.is_empty() {
            return Ok(None);
        }
        let ghost = |counts: Counts| i64::from(counts[0] <= 0);
        let weights = changes.iter().map(|change| change.weight * (ghost(change.new) - ghost(change.old)));
        let weights = Int64Array::from_iter_values(weights);
        let kept: BooleanArray = weights.values().iter().map(|weight| Some(*weight != 0)).collect();
        Ok(Some(Delta::new(self.ghosts(side, &rows)?, weights).filter(&kept)?))
    }
}

/// Adds the matches that each driver row found; `answer` says which of the counts a pair goes to.
pub(super) fn count_own(own: &mut [Counts], piece: &Piece, answer: impl Fn(usize) -> Option<usize>) {
    for (at, row) in piece.driver.values().iter().enumerate() {
        if let Some(answer) = answer(at) {
            own[*row as usize][answer] += piece.weights.as_ref().map_or(1, |weights| weights.value(at));
        }
    }
}

/// The pairs of a piece as the tally wants them.
pub(super) fn mets<'a>(
    driver: &'a Delta,
    piece: &'a Piece,
    answer: impl Fn(usize) -> usize + 'a,
) -> impl Iterator<Item = Met> + 'a {
    piece.driver.values().iter().enumerate().map(move |(at, row)| Met {
        driver: *row,
        driver_weight: driver.weight(*row as usize),
        stored_weight: piece.weights.as_ref().map_or(1, |weights| weights.value(at)),
        answer: answer(at),
    })
}

/// Gives out what is ready, in batches; true when all is out.
pub(super) fn give(ready: &mut VecDeque<Delta>, rows: &mut usize, limit: usize, step: &mut Step) -> bool {
    while let Some(delta) = ready.pop_front() {
        if *rows >= limit {
            ready.push_front(delta);
            return false;
        }
        if delta.is_empty() {
            continue;
        }
        let now = rows_that_fit(delta.rows().columns(), 0, delta.len(), BATCH_ROWS.min(limit), 0);
        let piece = delta.slice(0, now);
        *rows += piece.volume();
        step.out.push(piece);
        if now < delta.len() {
            ready.push_front(delta.slice(now, delta.len() - now));
        }
    }
    true
}

impl Operator for OuterJoin {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        for side in 0..2 {
            let deltas = batches(inputs.get(side))?;
            self.begin(side, deltas, step)?;
        }
        let mut rows = 0;
        while let Some(work) = self.pending.pop_front() {
            match work {
                Work::Pairs { mut pairs, mut own, mut tally } => {
                    while rows < self.step_rows {
                        match self.pairs_step(&mut pairs, &mut own, &mut tally, step)? {
                            Some(met) => rows += met,
                            None => break,
                        }
                    }
                    if rows >= self.step_rows {
                        self.pending.push_front(Work::Pairs { pairs, own, tally });
                        return Ok(Progress::More);
                    }
                    if let Some(tally) = tally {
                        let side = usize::from(pairs.meeting.driver_left);
                        self.pending.push_front(Work::Counts { sums: tally.done(), side });
                    }
                    let ready = self.counted(&pairs, own)?;
                    self.pending.push_front(Work::Ready(ready));
                }
                Work::Ghosts { mut pairs, side } => {
                    while rows < self.step_rows
                        && let Some(piece) = pairs.next(BATCH_ROWS.min(self.step_rows))?
                    {
                        let ghosts = self.ghosts(1 - side, &piece.rows)?;
                        let ghosts = Delta::from_parts(ghosts, pairs::weights(&pairs, &piece)?);
                        rows += ghosts.volume();
                        step.out.push(ghosts);
                    }
                    if rows >= self.step_rows {
                        self.pending.push_front(Work::Ghosts { pairs, side });
                        return Ok(Progress::More);
                    }
                }
                Work::Counts { mut sums, side } => {
                    while rows < self.step_rows
                        && let Some(ghosts) = self.changed(&mut sums, side)?
                    {
                        rows += ghosts.volume().max(1);
                        if !ghosts.is_empty() {
                            step.out.push(ghosts);
                        }
                    }
                    if rows >= self.step_rows {
                        self.pending.push_front(Work::Counts { sums, side });
                        return Ok(Progress::More);
                    }
                }
                Work::Ready(mut ready) => {
                    if !give(&mut ready, &mut rows, self.step_rows, step) {
                        self.pending.push_front(Work::Ready(ready));
                        return Ok(Progress::More);
                    }
                }
            }
        }
        Ok(Progress::Done)
    }

    fn rearrange(&mut self, inputs: &[Option<Arranged>]) {
        if let [Some(left), Some(right)] = inputs {
            self.sides = [left.clone(), right.clone()];
        }
    }

    fn state_bytes(&self) -> usize {
        let pending = self.pending.iter().map(|work| match work {
            Work::Pairs { pairs, tally, .. } => pairs.bytes() + tally.as_ref().map_or(0, Tally::bytes),
            Work::Ghosts { pairs, .. } => pairs.bytes(),
            Work::Counts { sums, .. } => sums.bytes(),
            Work::Ready(ready) => ready.iter().map(Delta::bytes).sum(),
        });
        pending.sum::<usize>() + self.counts.iter().flatten().map(MatchCounts::bytes).sum::<usize>()
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(VERSION);
        for counts in self.counts.iter().flatten() {
            counts.save(&mut writer)?;
        }
        writer.value(&(self.pending.len() as u64))?;
        for work in &self.pending {
            match work {
                Work::Pairs { pairs, own, tally } => {
                    let saved = pairs.save()?;
                    let other = usize::from(pairs.meeting.driver_left);
                    writer.value(&SavedWork::Pairs { pairs: saved, own: own.clone(), tally: tally.is_some() })?;
                    if let (Some(tally), Some(counts)) = (tally, &self.counts[other]) {
                        counts.save_tally(tally, &mut writer)?;
                    }
                }
                Work::Ghosts { pairs, side } => {
                    writer.value(&SavedWork::Ghosts { pairs: pairs.save()?, side: *side })?;
                }
                Work::Counts { sums, side } => {
                    writer.value(&SavedWork::Counts { side: *side })?;
                    if let Some(counts) = &self.counts[*side] {
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
        for counts in self.counts.iter_mut().flatten() {
            counts.load(&mut reader)?;
        }
        let pending: u64 = reader.value()?;
        self.pending.clear();
        for _ in 0..pending {
            let work = match reader.value()? {
                SavedWork::Pairs { pairs, own, tally } => {
                    let (side, other) = if pairs.driver_left() { (0, 1) } else { (1, 0) };
                    let key = &self.sides[side].key;
                    let pairs = Pairs::load(pairs, &self.sides[other], |driver| key_columns(driver, key))?;
                    let tally = match (&self.counts[other], tally) {
                        (Some(counts), true) => Some(counts.load_tally(&mut reader)?),
                        _ => None,
                    };
                    Work::Pairs { pairs, own, tally }
                }
                SavedWork::Ghosts { pairs, side } => {
                    let other = self.sides.get(1 - side.min(1)).ok_or_else(|| Error::internal("a join's side"))?;
                    Work::Ghosts { pairs: Pairs::load(pairs, other, |driver| driver.rows().columns().to_vec())?, side }
                }
                SavedWork::Counts { side } => match &self.counts[side.min(1)] {
                    Some(counts) => Work::Counts { sums: counts.load_tally(&mut reader)?.done(), side },
                    None => return Err(Error::internal("saved counts for a join that keeps none")),
                },
                SavedWork::Ready(bytes) => Work::Ready(saved::load(&bytes)?.into()),
            };
            self.pending.push_back(work);
        }
        Ok(())
    }
}
