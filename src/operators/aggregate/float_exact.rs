//! Exact sums of floats: neither order nor retraction changes a bit.
//!
//! Every double is an integer multiple of 2^-1074, so a sum of doubles is an integer, of at most 2098 bits and 63
//! for the weights. That integer is kept in two's complement limbs of 64 bits. Most groups hold values of similar
//! size, so a group starts with a *window* of `W` limbs around its first value and moves to the full width only
//! when a term or a carry falls outside:
//!
//! ```text
//!   full width     | limb 0 | limb 1 | .............. | limb F-1 |     limb i counts in units of 2^(64 i) * unit
//!   window                      | low | .. | low+W-1 |                 W limbs from limb `low` on
//! ```
//!
//! Squares are integers of twice the exponent range in units of 2^-2148, held the same way. Infinities and NaN are
//! counted apart. A sum is the same integer in either form, so results don't depend on which one is used.
//!
//! Cost: a shift and up to W additions a row; 8 W + 1 bytes a group, 8 F for one with wide-ranging values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use num_bigint::BigInt;

use super::Failure;
use super::quotient::{compose, float_array};
use super::rows::{counted, each};

/// Binary exponent of the unit of plain sums, and of sums of squares.
pub const SUM_UNIT: i64 = -1074;
pub const SQUARE_UNIT: i64 = -2148;
/// Limbs of the full width: 2098 + 63 bits and a sign; 4196 + 63 bits and a sign.
pub const SUM_LIMBS: usize = 35;
pub const SQUARE_LIMBS: usize = 68;

const UNUSED: u8 = 255;
const FULL: u8 = 254;

#[derive(Debug)]
pub struct ExactSums<const W: usize> {
    limbs: usize,
    windows: Vec<Window<W>>,
    full: HashMap<u32, Box<[u64]>>,
}

#[derive(Clone, Copy, Debug)]
struct Window<const W: usize> {
    limbs: [u64; W],
    /// First limb of the window, or UNUSED (the sum is 0), or FULL.
    low: u8,
}

impl<const W: usize> ExactSums<W> {
    /// `limbs` is the full width.
    pub fn new(limbs: usize) -> ExactSums<W> {
        ExactSums { limbs, windows: Vec::new(), full: HashMap::new() }
    }

    pub fn grow(&mut self, groups: usize) {
        self.windows.resize(groups.max(self.windows.len()), Window { limbs: [0; W], low: UNUSED });
    }

    /// Adds `magnitude * weight * 2^exponent` units. The product has at most 169 bits.
    #[inline]
    pub fn add(&mut self, group: usize, magnitude: u128, negative: bool, exponent: u32, weight: i64) {
        if magnitude == 0 || weight == 0 {
            return;
        }
        let negative = negative != (weight < 0);
        let (first, shift) = (exponent as usize / 64, exponent % 64);
        let term = shifted_product(magnitude, weight.unsigned_abs(), shift);
        let length = 4 - term.iter().rev().take_while(|limb| **limb == 0).count();
        let window = &mut self.windows[group];
        if window.low == UNUSED {
            // Room for smaller values below, as far as the full width allows; the rest above.
            let below = if W > 4 { 2 } else { 1 };
            window.low = first.saturating_sub(below).min(self.limbs - W) as u8;
        }
        let low = usize::from(window.low);
        if window.low != FULL && first >= low && first + length <= low + W {
            if let Some(sum) = checked_add(&window.limbs, &term[..length], first - low, negative) {
                window.limbs = sum;
                return;
            }
        }
        self.add_full(group, &term[..length], first, negative);
    }

    #[cold]
    fn add_full(&mut self, group: usize, term: &[u64], first: usize, negative: bool) {
        let window = &mut self.windows[group];
        if window.low != FULL {
            let mut wide = vec![0; self.limbs].into_boxed_slice();
            let low = usize::from(window.low);
            wide[low..low + W].copy_from_slice(&window.limbs);
            if window.limbs[W - 1] >> 63 == 1 {
                wide[low + W..].fill(u64::MAX);
            }
            *window = Window { limbs: [0; W], low: FULL };
            self.full.insert(group as u32, wide);
        }
        if let Some(wide) = self.full.get_mut(&(group as u32)) {
            let length = term.len().min(self.limbs - first);
            add_in_place(&mut wide[first..], &term[..length], negative);
        }
    }

    /// The sum's limbs and the limb they start at.
    fn limbs_of(&self, group: u32) -> (&[u64], usize) {
        let window = &self.windows[group as usize];
        match window.low {
            UNUSED => (&[], 0),
            FULL => (self.full.get(&group).map_or(&[][..], |limbs| limbs), 0),
            low => (&window.limbs, usize::from(low)),
        }
    }

    pub fn is_zero(&self, group: u32) -> bool {
        self.limbs_of(group).0.iter().all(|limb| *limb == 0)
    }

    /// Gives back what a group holds; its sum has to be zero.
    pub fn clear(&mut self, group: u32) {
        if self.windows[group as usize].low == FULL {
            self.full.remove(&group);
        }
        self.windows[group as usize].low = UNUSED;
    }

    /// The sum times 2^unit as the nearest double.
    pub fn to_f64(&self, group: u32, unit: i64) -> f64 {
        let (limbs, low) = self.limbs_of(group);
        let Some(last) = limbs.last() else { return 0.0 };
        let negative = last >> 63 == 1;
        // Magnitude limb i of a negative number: all limbs below its lowest non-zero one stay, that one is negated,
        // those above are inverted.
        let lowest = limbs.iter().position(|limb| *limb != 0).unwrap_or(limbs.len());
        let magnitude = |i: usize| match (negative, i.cmp(&lowest)) {
            (false, _) | (true, std::cmp::Ordering::Less) => limbs[i],
            (true, std::cmp::Ordering::Equal) => limbs[i].wrapping_neg(),
            (true, std::cmp::Ordering::Greater) => !limbs[i],
        };
        let Some(top) = (0..limbs.len()).rev().find(|&i| magnitude(i) != 0) else { return 0.0 };
        let zeros = magnitude(top).leading_zeros();
        let next = if top > 0 { magnitude(top - 1) } else { 0 };
        let (mantissa, rest) = if zeros == 0 {
            (magnitude(top), next != 0)
        } else {
            (magnitude(top) << zeros | next >> (64 - zeros), next << zeros != 0)
        };
        let inexact = rest || (top > 0 && (0..top - 1).any(|i| limbs[i] != 0));
        let exponent = 64 * (low + top) as i64 - i64::from(zeros) + unit;
        let value = compose(mantissa, inexact, exponent);
        if negative { -value } else { value }
    }

    /// The sum in units.
    pub fn to_bigint(&self, group: u32) -> BigInt {
        let (limbs, low) = self.limbs_of(group);
        let bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        BigInt::from_signed_bytes_le(&bytes) << (64 * low)
    }

    pub fn bytes(&self) -> usize {
        self.windows.capacity() * size_of::<Window<W>>() + self.full.len() * (self.limbs * 8 + 32)
    }

    /// First limb and limbs, for each of these groups.
    pub fn save(&self, groups: &[u32]) -> Vec<(u8, Vec<u64>)> {
        groups
            .iter()
            .map(|&group| {
                let (limbs, low) = self.limbs_of(group);
                (low as u8, limbs.to_vec())
            })
            .collect()
    }

    /// False where the saved form is not one of this width.
    pub fn load(&mut self, saved: Vec<(u8, Vec<u64>)>) -> bool {
        self.windows.clear();
        self.full.clear();
        for (group, (low, limbs)) in saved.into_iter().enumerate() {
            let mut window = Window { limbs: [0; W], low };
            if limbs.is_empty() {
                window.low = UNUSED;
            } else if limbs.len() == self.limbs && low == 0 {
                window.low = FULL;
                self.full.insert(group as u32, limbs.into_boxed_slice());
            } else if limbs.len() == W && usize::from(low) + W <= self.limbs {
                window.limbs.copy_from_slice(&limbs);
            } else {
                return false;
            }
            self.windows.push(window);
        }
        true
    }
}

/// Calls `add` with the group, the value and the weight of each row that counts. The column is Float32 or Float64.
#[inline(always)]
pub fn each_float(
    groups: &[u32],
    column: &ArrayRef,
    weights: Option<&[i64]>,
    keep: Option<&BooleanArray>,
    mut add: impl FnMut(usize, f64, i64),
) {
    let counted = counted(Some(column), keep);
    match column.data_type() {
        DataType::Float32 => {
            let native = column.as_primitive::<Float32Type>().values();
            each(groups, counted.as_ref(), weights, |row, group, weight| add(group, f64::from(native[row]), weight));
        }
        _ => {
            let native = column.as_primitive::<Float64Type>().values();
            each(groups, counted.as_ref(), weights, |row, group, weight| add(group, native[row], weight));
        }
    }
}

/// What a group's floats come to.
pub enum FloatResult {
    Finite(f64),
    /// Not finite because a value wasn't.
    Special(f64),
}

/// A column of results. A finite one that the type can't hold is a failure.
pub fn float_results(
    output: &DataType,
    groups: &[u32],
    failures: &mut Vec<Failure>,
    result: impl Fn(u32) -> Option<FloatResult>,
) -> ArrayRef {
    let mut specials = Vec::new();
    let finite = groups.iter().enumerate().map(|(at, &group)| match result(group)? {
        FloatResult::Finite(value) => Some(value),
        FloatResult::Special(value) => {
            specials.push((at, value));
            Some(0.0)
        }
    });
    let array = float_array(output, finite, failures);
    with_specials(array, &specials)
}

/// Puts the results that are not finite in their places.
fn with_specials(array: ArrayRef, specials: &[(usize, f64)]) -> ArrayRef {
    if specials.is_empty() {
        return array;
    }
    let nulls = array.nulls().cloned();
    match array.data_type() {
        DataType::Float32 => {
            let mut values = array.as_primitive::<Float32Type>().values().to_vec();
            specials.iter().for_each(|(at, value)| values[*at] = *value as f32);
            Arc::new(Float32Array::new(values.into(), nulls))
        }
        _ => {
            let mut values = array.as_primitive::<Float64Type>().values().to_vec();
            specials.iter().for_each(|(at, value)| values[*at] = *value);
            Arc::new(Float64Array::new(values.into(), nulls))
        }
    }
}

/// A finite double as sign, integer and exponent in units of 2^-1074.
#[inline]
pub fn parts(value: f64) -> (u64, bool, u32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = (bits >> 52 & 0x7ff) as u32;
    match exponent {
        0 => (fraction, value.is_sign_negative(), 0),
        _ => (fraction | 1 << 52, value.is_sign_negative(), exponent - 1),
    }
}

/// `magnitude * factor << shift` in four limbs.
#[inline]
fn shifted_product(magnitude: u128, factor: u64, shift: u32) -> [u64; 4] {
    let low = u128::from(magnitude as u64) * u128::from(factor);
    let high = (magnitude >> 64) * u128::from(factor) + (low >> 64);
    let product = [low as u64, high as u64, (high >> 64) as u64];
    if shift == 0 {
        return [product[0], product[1], product[2], 0];
    }
    let back = 64 - shift;
    [
        product[0] << shift,
        product[1] << shift | product[0] >> back,
        product[2] << shift | product[1] >> back,
        product[2] >> back,
    ]
}

/// `sum` plus (or minus) the term at limb `at`, unless that overflows.
#[inline]
fn checked_add<const W: usize>(sum: &[u64; W], term: &[u64], at: usize, negative: bool) -> Option<[u64; W]> {
    let mut next = *sum;
    add_in_place(&mut next[at..], term, negative);
    let (before, after) = (sum[W - 1] >> 63 == 1, next[W - 1] >> 63 == 1);
    // The term is a magnitude whose top bit may reach the sign's place: then it is too wide for this window.
    let reaches = at + term.len() == W && term[term.len() - 1] >> 63 == 1;
    let overflow = if negative { before && !after } else { !before && after };
    (!reaches && !overflow).then_some(next)
}

#[inline]
fn add_in_place(sum: &mut [u64], term: &[u64], negative: bool) {
    let mut carry = false;
    for (at, limb) in sum.iter_mut().enumerate() {
        if at >= term.len() && !carry {
            return;
        }
        let part = term.get(at).copied().unwrap_or(0);
        let (next, first, second);
        if negative {
            (next, first) = limb.overflowing_sub(part);
            (*limb, second) = next.overflowing_sub(u64::from(carry));
        } else {
            (next, first) = limb.overflowing_add(part);
            (*limb, second) = next.overflowing_add(u64::from(carry));
        }
        carry = first | second;
    }
}

/// Values that no integer stands for, counted. Few groups have any.
#[derive(Debug, Default)]
pub struct Specials {
    counts: HashMap<u32, [i64; 3]>,
}

impl Specials {
    /// Counts a value that is not finite.
    #[cold]
    pub fn add(&mut self, group: usize, value: f64, weight: i64) {
        let kind = if value.is_nan() { 0 } else { 1 + usize::from(value < 0.0) };
        let counts = self.counts.entry(group as u32).or_default();
        counts[kind] += weight;
        if *counts == [0; 3] {
            self.counts.remove(&(group as u32));
        }
    }

    /// What the sum is if it isn't finite.
    pub fn sum(&self, group: u32) -> Option<f64> {
        if self.counts.is_empty() {
            return None;
        }
        let [nan, up, down] = *self.counts.get(&group)?;
        match (nan > 0, up > 0, down > 0) {
            (true, _, _) | (_, true, true) => Some(f64::NAN),
            (_, true, _) => Some(f64::INFINITY),
            (_, _, true) => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    pub fn is_zero(&self, group: u32) -> bool {
        self.counts.is_empty() || !self.counts.contains_key(&group)
    }

    pub fn bytes(&self) -> usize {
        self.counts.capacity() * 40
    }

    pub fn save(&self, groups: &[u32]) -> Vec<(u32, [i64; 3])> {
        let at = groups.iter().enumerate();
        at.filter_map(|(at, group)| self.counts.get(group).map(|counts| (at as u32, *counts))).collect()
    }

    pub fn load(&mut self, saved: Vec<(u32, [i64; 3])>) {
        self.counts = saved.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn sums_of(terms: &[(f64, i64)]) -> ExactSums<4> {
        let mut sums = ExactSums::<4>::new(SUM_LIMBS);
        sums.grow(1);
        for (value, weight) in terms {
            let (magnitude, negative, exponent) = parts(*value);
            sums.add(0, u128::from(magnitude), negative, exponent, *weight);
        }
        sums
    }

    fn random_terms(rng: &mut StdRng, exponents: std::ops::Range<i32>) -> Vec<(f64, i64)> {
        (0..rng.random_range(1..60))
            .map(|_| {
                let scale = 2f64.powi(rng.random_range(exponents.clone()));
                let value = rng.random_range(-1.0..1.0) * scale;
                (value, [1, 1, 1, -1, 3, -7, i64::MAX >> 8][rng.random_range(0..7)])
            })
            .collect()
    }

    fn big(terms: &[(f64, i64)]) -> BigInt {
        terms
            .iter()
            .map(|(value, weight)| {
                let (magnitude, negative, exponent) = parts(*value);
                let term = (BigInt::from(magnitude) << exponent) * weight;
                if negative { -term } else { term }
            })
            .sum()
    }

    #[test]
    fn sums_are_exact_and_go_back_to_zero() {
        let mut rng = StdRng::seed_from_u64(7);
        for round in 0..400 {
            let exponents = [0..10, -300..300, -1074..-1000, 900..1023][round % 4].clone();
            let terms = random_terms(&mut rng, exponents);
            let mut sums = sums_of(&terms);
            assert_eq!(sums.to_bigint(0), big(&terms));
            let one = BigInt::from(1);
            assert_eq!(sums.to_f64(0, SUM_UNIT), super::super::quotient::ratio_to_f64(&big(&terms), &one, SUM_UNIT));
            for (value, weight) in &terms {
                let (magnitude, negative, exponent) = parts(*value);
                sums.add(0, u128::from(magnitude), negative, exponent, -weight);
            }
            assert!(sums.is_zero(0));
        }
    }

    #[test]
    fn a_sum_of_one_is_the_value() {
        for value in [1.0, -0.1, 5e-324, f64::MAX, f64::MIN, 1e-310, 3.5e200] {
            assert_eq!(sums_of(&[(value, 1)]).to_f64(0, SUM_UNIT), value);
        }
        assert_eq!(sums_of(&[(1e300, 1), (1.0, 1), (-1e300, 1)]).to_f64(0, SUM_UNIT), 1.0);
        assert_eq!(sums_of(&[(f64::MAX, 1), (f64::MAX, 1)]).to_f64(0, SUM_UNIT), f64::INFINITY);
    }
}
