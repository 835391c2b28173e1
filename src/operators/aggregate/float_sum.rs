//! sum and avg of floats, over exact sums (`float_exact.rs`): one rounding for a sum, two for an average.
//!
//! NaN and infinities as Postgres adds them: any NaN, or infinities of both signs, give NaN. A finite sum that the
//! type can't hold is an error of the row (22003), and leaves the state right. A sum of only -0 is 0.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::float_exact::{ExactSums, SUM_LIMBS, SUM_UNIT, Specials, parts};
use super::quotient::float_array;
use super::rows::{counted, each};
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

    /// The result, and whether it is not finite because a value wasn't.
    fn result(&self, group: u32) -> Option<f64> {
        let count = self.counts[group as usize];
        if count <= 0 {
            return None;
        }
        Some(match self.specials.sum(group) {
            Some(special) => special,
            None if self.average => self.sums.to_f64(group, SUM_UNIT) / count as f64,
            None => self.sums.to_f64(group, SUM_UNIT),
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
        let counted = counted(Some(&values[0]), keep);
        match values[0].data_type() {
            DataType::Float32 => {
                let native = values[0].as_primitive::<Float32Type>().values();
                each(groups, counted.as_ref(), weights, |row, group, weight| {
                    self.add(group, f64::from(native[row]), weight);
                });
            }
            _ => {
                let native = values[0].as_primitive::<Float64Type>().values();
                each(groups, counted.as_ref(), weights, |row, group, weight| self.add(group, native[row], weight));
            }
        }
        Ok(())
    }

    fn finish(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let mut special = Vec::new();
        let finite = groups.iter().enumerate().map(|(at, &group)| {
            let value = self.result(group)?;
            if self.specials.sum(group).is_some() {
                special.push((at, value));
                return Some(0.0);
            }
            Some(value)
        });
        let array = float_array(&self.output, finite, failures);
        Ok(with_specials(array, &special))
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

/// Puts the results that are not finite in their places.
pub fn with_specials(array: ArrayRef, specials: &[(usize, f64)]) -> ArrayRef {
    if specials.is_empty() {
        return array;
    }
    let nulls = array.nulls().cloned();
    match array.data_type() {
        DataType::Float32 => {
            let mut values = array.as_primitive::<Float32Type>().values().to_vec();
            specials.iter().for_each(|(at, value)| values[*at] = *value as f32);
            std::sync::Arc::new(arrow::array::Float32Array::new(values.into(), nulls))
        }
        _ => {
            let mut values = array.as_primitive::<Float64Type>().values().to_vec();
            specials.iter().for_each(|(at, value)| values[*at] = *value);
            std::sync::Arc::new(arrow::array::Float64Array::new(values.into(), nulls))
        }
    }
}
