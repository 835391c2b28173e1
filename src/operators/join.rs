//! Inner join: rows of two arrangements with equal keys, or of all pairs where the key is empty.
//!
//! ```text
//!   d(A join B) = dA x B_before + A_after x dB          weights multiply; the condition picks among the pairs
//! ```
//!
//! Keeps nothing but what it has not said yet. A step costs its delta's probes and its output; more output than one step may
//! give comes in later ones, read at the versions of the step it belongs to. Where both inputs are one arrangement the
//! formula is right as it stands, since the versions tell the two states apart.

use std::collections::VecDeque;

use arrow::datatypes::SchemaRef;

use super::arrange::Arranged;
use super::pairs::{Meeting, Pairs, Saved, batches, joined, keep_true, key_columns};
use super::saved::{Reader, Writer};
use super::{BATCH_ROWS, Operator, PhysicalExpr, Progress, STEP_OUTPUT_ROWS, Step};
use crate::delta::Delta;
use crate::error::Result;

const VERSION: u8 = 1;

pub struct Join {
    left: Arranged,
    right: Arranged,
    filter: Option<PhysicalExpr>,
    null_equals_null: bool,
    output: SchemaRef,
    pending: VecDeque<Pairs>,
    step_rows: usize,
}

impl Join {
    /// `output` has the left columns, then the right ones; `filter` is over these.
    pub fn new(
        left: Arranged,
        right: Arranged,
        filter: Option<PhysicalExpr>,
        null_equals_null: bool,
        output: &SchemaRef,
    ) -> Join {
        let output = output.clone();
        let step_rows = STEP_OUTPUT_ROWS;
        Join { left, right, filter, null_equals_null, output, pending: VecDeque::new(), step_rows }
    }

    /// Bounds the pairs of a step to about this number.
    #[cfg(test)]
    pub fn with_step_rows(mut self, rows: usize) -> Join {
        self.step_rows = rows;
        self
    }
}

impl Operator for Join {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let null_equals_null = self.null_equals_null;
        for (side, own, other, version) in
            [(0, &self.left, &self.right, step.before), (1, &self.right, &self.left, step.after)]
        {
            for delta in batches(inputs.get(side))? {
                let keys = key_columns(&delta, &own.key);
                let meeting = Meeting { driver_left: side == 0, null_equals_null, all: false };
                self.pending.push_back(Pairs::new(delta, &keys, other, version, meeting)?);
            }
        }
        let mut volume = 0;
        while let Some(pairs) = self.pending.front_mut() {
            while let Some(piece) = pairs.next(BATCH_ROWS.min(self.step_rows))? {
                let mut out = joined(pairs, &piece, &self.output)?;
                volume += out.volume();
                if let Some(filter) = &self.filter {
                    out = keep_true(filter, out, piece, step)?.0;
                }
                if !out.is_empty() {
                    step.out.push(out);
                }
                if volume >= self.step_rows {
                    return Ok(Progress::More);
                }
            }
            self.pending.pop_front();
        }
        Ok(Progress::Done)
    }

    fn rearrange(&mut self, inputs: &[Option<Arranged>]) {
        if let [Some(left), Some(right)] = inputs {
            (self.left, self.right) = (left.clone(), right.clone());
        }
    }

    fn state_bytes(&self) -> usize {
        self.pending.iter().map(Pairs::bytes).sum()
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(VERSION);
        let pending: Vec<Saved> = self.pending.iter().map(Pairs::save).collect::<Result<_>>()?;
        writer.value(&pending)?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let pending: Vec<Saved> = Reader::new(VERSION, saved)?.value()?;
        self.pending.clear();
        for saved in pending {
            let (own, other) = if saved.driver_left() { (&self.left, &self.right) } else { (&self.right, &self.left) };
            self.pending.push_back(Pairs::load(saved, other, |driver| key_columns(driver, &own.key))?);
        }
        Ok(())
    }
}
