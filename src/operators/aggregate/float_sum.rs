//! sum and avg of floats, over exact sums (`float_exact.rs`): one rounding for a sum, two for an average.
//!
//! NaN and infinities as Postgres adds them: any NaN, or infinities of both signs, give NaN. A finite sum that the
//! type can't hold is an error of the row (22003), and leaves the state right. A sum of only -0 is 0.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;

use super::float_exact::{ExactSums, FloatResult, SUM_LIMBS, SUM_UNIT, Specials, each_float, float_results, parts};
use super::{Accumulator, Failure};
use crate::error::{Error, Result};
use crate::operators::saved::{Reader, Writer};

#[derive(Debug)]
pub struct FloatSum {
    average: bool,
    output: DataType,
    counts: Vec<i64>,
    sums: ExactSums<4>,
    specials: Specials,
}

impl FloatSum {
    /// `output` is Float32 or Float64.
    pub fn new(output: &DataType, average: bool) -> FloatSum {
        let (counts, sums, specials) = (Vec::new(), ExactSums::new(SUM_LIMBS), Specials::default());
        FloatSum { average, output: output.clone(), counts, sums, specials }
    }

    #[inline(always)]
    fn add(&mut self, group: usize, value: f64, weight: i64) {
        self.counts[group] += weight;
        if value.is_finite() {
            let (magnitude, negative, exponent) = parts(value);
            self.sums.add(group, u128::from(magnitude), negative, exponent, weight);
        } else {
            self.specials.add(group, value, weight);
        }
    }

    fn result(&self, group: u32) -> Option<FloatResult> {
        let count = self.counts[group as usize];
        if count <= 0 {
            return None;
        }
        Some(match self.specials.sum(group) {
            Some(special) => FloatResult::Special(special),
            None if self.average => FloatResult::Finite(self.sums.to_f64(group, SUM_UNIT) / count as f64),
            None => FloatResult::Finite(self.sums.to_f64(group, SUM_UNIT)),
        })
    }
}

impl Accumulator for FloatSum {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups.max(self.counts.len()), 0);
        self.sums.grow(groups);
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        each_float(groups, &values[0], weights, keep, |group, value, weight| self.add(group, value, weight));
        Ok(())
    }

    fn finish(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        Ok(float_results(&self.output, groups, failures, |group| self.result(group)))
    }

    fn release(&mut self, group: u32) -> bool {
        let zero = self.counts[group as usize] == 0 && self.sums.is_zero(group) && self.specials.is_zero(group);
        if zero {
            self.sums.clear(group);
        }
        zero
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8 + self.sums.bytes() + self.specials.bytes()
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        writer.value(&groups.iter().map(|&group| self.counts[group as usize]).collect::<Vec<_>>())?;
        writer.value(&self.sums.save(groups))?;
        writer.value(&self.specials.save(groups))?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(1, saved)?;
        self.counts = reader.value()?;
        if !self.sums.load(reader.value()?) {
            return Err(Error::internal("a saved float sum of another width"));
        }
        self.specials.load(reader.value()?);
        Ok(())
    }
}
