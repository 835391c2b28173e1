//! Variance and standard deviation from exact sums of x and of x squared:
//!
//! ```text
//!   var_pop = (n Q - S^2) / n^2        var_samp = (n Q - S^2) / (n (n - 1))        S = sum(x), Q = sum(x^2)
//! ```
//!
//! With exact S and Q the subtraction cancels nothing that matters, so large offsets do no harm; the one rounding is
//! at the end (for a float's standard deviation a second one, of the root). Squares of doubles are exact as integers
//! of 106 bits. NaN and infinities give NaN, as in Postgres. Cost: two exact additions a row.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int16Type, Int32Type, Int64Type};
use num_bigint::{BigInt, Sign};

use super::float_exact::{
    ExactSums, FloatResult, SQUARE_LIMBS, SQUARE_UNIT, SUM_LIMBS, Specials, each_float, float_results, parts,
};
use super::integer_sum::{limbs_of_i128, limbs_of_i256, scale_of};
use super::quotient::{Exact, Target, ratio_to_f64};
use super::rows::{counted, each};
use super::wide::{Wide, multiply};
use super::{Accumulator, AggregateFunction, Failure};
use crate::error::{Error, Result};
use crate::operators::saved::{Reader, Writer};

/// Which of the four.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    sample: bool,
    root: bool,
}

impl Spread {
    /// `None` for other functions.
    pub fn of(function: AggregateFunction) -> Option<Spread> {
        let (sample, root) = match function {
            AggregateFunction::VarPop => (false, false),
            AggregateFunction::VarSamp => (true, false),
            AggregateFunction::StddevPop => (false, true),
            AggregateFunction::StddevSamp => (true, true),
            _ => return None,
        };
        Some(Spread { sample, root })
    }

    /// n^2 or n (n - 1); `None` where there is no result.
    fn divisor(self, count: i64) -> Option<BigInt> {
        let least = if self.sample { 2 } else { 1 };
        (count >= least).then(|| BigInt::from(count) * BigInt::from(count - i64::from(self.sample)))
    }
}

/// n Q - S^2; clamped at 0 for the negative counts that an epoch may show halfway.
fn spread(count: i64, sum: &BigInt, squares: &BigInt) -> BigInt {
    let value = squares * count - sum * sum;
    if value.sign() == Sign::Minus { BigInt::ZERO } else { value }
}

/// The accumulator for a spread over this type.
pub fn variance(input: &DataType, output: &DataType, spread: Spread) -> Result<Option<Box<dyn Accumulator>>> {
    // A squared value has twice the digits behind the point.
    Ok(Some(match input {
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => {
            Box::new(Integers::<5>::new(input, output, spread)?)
        }
        DataType::Decimal256(..) => Box::new(Integers::<9>::new(input, output, spread)?),
        DataType::Float32 | DataType::Float64 => Box::new(Floats::new(output, spread)),
        _ => return Ok(None),
    }))
}

/// Integers and decimals. `S` limbs hold the sum of squares.
#[derive(Debug)]
struct Integers<const S: usize> {
    input: DataType,
    spread: Spread,
    variance: Target,
    root: Target,
    groups: Vec<Moments<S>>,
}

#[derive(Clone, Copy, Debug)]
struct Moments<const S: usize> {
    count: i64,
    sum: Wide<5>,
    squares: Wide<S>,
}

impl<const S: usize> Moments<S> {
    const ZERO: Moments<S> = Moments { count: 0, sum: Wide::ZERO, squares: Wide::ZERO };

    #[inline]
    fn add(&mut self, magnitude: &[u64], negative: bool, weight: i64) {
        self.count += weight;
        self.sum.add_product(magnitude, negative, weight);
        let mut square = [0; 8];
        let square = &mut square[..2 * magnitude.len()];
        multiply(magnitude, magnitude, square);
        self.squares.add_product(square, false, weight);
    }
}

impl<const S: usize> Integers<S> {
    fn new(input: &DataType, output: &DataType, spread: Spread) -> Result<Integers<S>> {
        let scale = scale_of(input);
        let (variance, root) = (Target::new(output, 2 * scale)?, Target::new(output, scale)?);
        Ok(Integers { input: input.clone(), spread, variance, root, groups: Vec::new() })
    }

    fn exact(&self, group: u32) -> Exact {
        let moments = &self.groups[group as usize];
        let Some(divisor) = self.spread.divisor(moments.count) else { return Exact::Null };
        let value = spread(moments.count, &moments.sum.to_bigint(), &moments.squares.to_bigint());
        if !self.spread.root || self.variance.is_float() {
            return Exact::Ratio(value, divisor);
        }
        // floor(2 sqrt(v / d) 10^shift) + 1, halved: the root rounded half up.
        let power = BigInt::from(10).pow(2 * self.root.shift().unsigned_abs());
        let square: BigInt =
            if self.root.shift() >= 0 { value * 4 * power / divisor } else { value * 4 / (divisor * power) };
        Exact::Scaled((square.sqrt() + 1) / 2)
    }
}

impl<const S: usize> Accumulator for Integers<S> {
    fn grow(&mut self, groups: usize) {
        self.groups.resize(groups.max(self.groups.len()), Moments::ZERO);
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let counted = counted(Some(&values[0]), keep);
        let state = &mut self.groups;
        macro_rules! small {
            ($arrow:ty) => {{
                let native = values[0].as_primitive::<$arrow>().values();
                each(groups, counted.as_ref(), weights, |row, group, weight| {
                    let value = i64::from(native[row]);
                    state[group].add(&[value.unsigned_abs()], value < 0, weight);
                });
            }};
        }
        match &self.input {
            DataType::Int16 => small!(Int16Type),
            DataType::Int32 => small!(Int32Type),
            DataType::Int64 => small!(Int64Type),
            DataType::Decimal128(..) => {
                let native = values[0].as_primitive::<Decimal128Type>().values();
                each(groups, counted.as_ref(), weights, |row, group, weight| {
                    state[group].add(&limbs_of_i128(native[row]), native[row] < 0, weight);
                });
            }
            _ => {
                let native = values[0].as_primitive::<Decimal256Type>().values();
                each(groups, counted.as_ref(), weights, |row, group, weight| {
                    let (magnitude, negative) = limbs_of_i256(native[row]);
                    state[group].add(&magnitude, negative, weight);
                });
            }
        }
        Ok(())
    }

    fn finish(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let results = self.variance.array(groups.iter().map(|&group| self.exact(group)), failures);
        match (self.spread.root, results.data_type()) {
            (true, DataType::Float64) => {
                let roots: arrow::array::Float64Array = results.as_primitive::<Float64Type>().unary(f64::sqrt);
                Ok(std::sync::Arc::new(roots))
            }
            _ => Ok(results),
        }
    }

    fn release(&mut self, group: u32) -> bool {
        let moments = &self.groups[group as usize];
        moments.count == 0 && moments.sum.is_zero() && moments.squares.is_zero()
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Moments<S>>()
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        let state = groups.iter().map(|&group| &self.groups[group as usize]);
        writer.value(&state.map(|m| (m.count, m.sum.limbs(), m.squares.limbs())).collect::<Vec<_>>())?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let state: Vec<(i64, Vec<u64>, Vec<u64>)> = Reader::new(1, saved)?.value()?;
        self.groups = state
            .into_iter()
            .map(|(count, sum, squares)| {
                Some(Moments { count, sum: Wide::from_limbs(&sum)?, squares: Wide::from_limbs(&squares)? })
            })
            .collect::<Option<_>>()
            .ok_or_else(|| Error::internal("saved moments of another width"))?;
        Ok(())
    }
}

#[derive(Debug)]
struct Floats {
    output: DataType,
    spread: Spread,
    counts: Vec<i64>,
    sums: ExactSums<4>,
    squares: ExactSums<6>,
    specials: Specials,
}

impl Floats {
    fn new(output: &DataType, spread: Spread) -> Floats {
        Floats {
            output: output.clone(),
            spread,
            counts: Vec::new(),
            sums: ExactSums::new(SUM_LIMBS),
            squares: ExactSums::new(SQUARE_LIMBS),
            specials: Specials::default(),
        }
    }

    #[inline(always)]
    fn add(&mut self, group: usize, value: f64, weight: i64) {
        self.counts[group] += weight;
        if value.is_finite() {
            let (magnitude, negative, exponent) = parts(value);
            let magnitude = u128::from(magnitude);
            self.sums.add(group, magnitude, negative, exponent, weight);
            self.squares.add(group, magnitude * magnitude, false, 2 * exponent, weight);
        } else {
            self.specials.add(group, value, weight);
        }
    }

    fn result(&self, group: u32) -> Option<FloatResult> {
        let count = self.counts[group as usize];
        let divisor = self.spread.divisor(count)?;
        if self.specials.sum(group).is_some() {
            return Some(FloatResult::Special(f64::NAN));
        }
        let value = spread(count, &self.sums.to_bigint(group), &self.squares.to_bigint(group));
        let variance = ratio_to_f64(&value, &divisor, SQUARE_UNIT);
        Some(FloatResult::Finite(if self.spread.root { variance.sqrt() } else { variance }))
    }
}

impl Accumulator for Floats {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups.max(self.counts.len()), 0);
        self.sums.grow(groups);
        self.squares.grow(groups);
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
        let zero = self.counts[group as usize] == 0
            && self.sums.is_zero(group)
            && self.squares.is_zero(group)
            && self.specials.is_zero(group);
        if zero {
            self.sums.clear(group);
            self.squares.clear(group);
        }
        zero
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8 + self.sums.bytes() + self.squares.bytes() + self.specials.bytes()
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        writer.value(&groups.iter().map(|&group| self.counts[group as usize]).collect::<Vec<_>>())?;
        writer.value(&self.sums.save(groups))?;
        writer.value(&self.squares.save(groups))?;
        writer.value(&self.specials.save(groups))?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(1, saved)?;
        self.counts = reader.value()?;
        if !(self.sums.load(reader.value()?) && self.squares.load(reader.value()?)) {
            return Err(Error::internal("a saved float sum of another width"));
        }
        self.specials.load(reader.value()?);
        Ok(())
    }
}
