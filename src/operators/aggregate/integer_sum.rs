//! sum and avg of integers and decimals: exact totals that can't overflow, rounded once when a result is asked for.
//!
//! A total of integers fits 128 bits (63 of the value, 63 of the weight); one of decimals gets 320. Cost: one
//! addition a row; 32 or 48 bytes a group.

use std::fmt::Debug;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Int16Type, Int32Type, Int64Type, i256,
};
use num_bigint::BigInt;

use super::quotient::{Exact, Target};
use super::rows::{counted, each};
use super::wide::Wide;
use super::{Accumulator, Failure};
use crate::error::{Error, Result};
use crate::operators::saved::{Reader, Writer};

/// A sum of weighted values.
pub trait Total: Copy + Debug + Send + Sync + 'static {
    const ZERO: Self;
    fn is_zero(self) -> bool;
    fn narrow(self) -> Option<i128>;
    fn big(self) -> BigInt;
    fn limbs(self) -> Vec<u64>;
    fn from_limbs(limbs: &[u64]) -> Option<Self>;
}

impl Total for i128 {
    const ZERO: i128 = 0;
    fn is_zero(self) -> bool {
        self == 0
    }
    fn narrow(self) -> Option<i128> {
        Some(self)
    }
    fn big(self) -> BigInt {
        BigInt::from(self)
    }
    fn limbs(self) -> Vec<u64> {
        vec![self as u64, (self >> 64) as u64]
    }
    fn from_limbs(limbs: &[u64]) -> Option<i128> {
        let [low, high] = limbs.try_into().ok()?;
        Some(i128::from(low) | i128::from(high) << 64)
    }
}

impl<const N: usize> Total for Wide<N> {
    const ZERO: Wide<N> = Wide::ZERO;
    fn is_zero(self) -> bool {
        Wide::is_zero(&self)
    }
    fn narrow(self) -> Option<i128> {
        self.to_i128()
    }
    fn big(self) -> BigInt {
        self.to_bigint()
    }
    fn limbs(self) -> Vec<u64> {
        Wide::limbs(self)
    }
    fn from_limbs(limbs: &[u64]) -> Option<Wide<N>> {
        Wide::from_limbs(limbs)
    }
}

/// Values of one input type, added into totals.
pub trait Addend: ArrowPrimitiveType + Debug + Send + Sync {
    type Total: Total;
    fn add(total: &mut Self::Total, value: Self::Native, weight: i64);
}

macro_rules! small_addends {
    ($($arrow:ty),*) => {$(
        impl Addend for $arrow {
            type Total = i128;
            #[inline(always)]
            fn add(total: &mut i128, value: Self::Native, weight: i64) {
                *total += i128::from(value) * i128::from(weight);
            }
        }
    )*};
}
small_addends!(Int16Type, Int32Type, Int64Type);

impl Addend for Decimal128Type {
    type Total = Wide<5>;
    #[inline(always)]
    fn add(total: &mut Wide<5>, value: i128, weight: i64) {
        total.add_product(&limbs_of_i128(value), value < 0, weight);
    }
}

impl Addend for Decimal256Type {
    type Total = Wide<5>;
    #[inline(always)]
    fn add(total: &mut Wide<5>, value: i256, weight: i64) {
        let (magnitude, negative) = limbs_of_i256(value);
        total.add_product(&magnitude, negative, weight);
    }
}

pub fn limbs_of_i128(value: i128) -> [u64; 2] {
    let magnitude = value.unsigned_abs();
    [magnitude as u64, (magnitude >> 64) as u64]
}

pub fn limbs_of_i256(value: i256) -> ([u64; 4], bool) {
    let negative = value.is_negative();
    let (low, high) = value.wrapping_abs().to_parts();
    ([low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64], negative)
}

/// Digits behind the point of an integer or decimal type.
pub fn scale_of(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => i32::from(*scale),
        _ => 0,
    }
}

/// The accumulator for sum (or avg) over this type, if it is an integer or a decimal.
pub fn integer_sum(input: &DataType, output: &DataType, average: bool) -> Result<Option<Box<dyn Accumulator>>> {
    let target = Target::new(output, scale_of(input))?;
    Ok(Some(match input {
        DataType::Int16 => IntegerSum::<Int16Type>::boxed(target, average),
        DataType::Int32 => IntegerSum::<Int32Type>::boxed(target, average),
        DataType::Int64 => IntegerSum::<Int64Type>::boxed(target, average),
        DataType::Decimal128(..) => IntegerSum::<Decimal128Type>::boxed(target, average),
        DataType::Decimal256(..) => IntegerSum::<Decimal256Type>::boxed(target, average),
        _ => return Ok(None),
    }))
}

#[derive(Debug)]
struct IntegerSum<A: Addend> {
    target: Target,
    average: bool,
    groups: Vec<Group<A::Total>>,
}

#[derive(Clone, Copy, Debug)]
struct Group<T> {
    total: T,
    count: i64,
}

impl<A: Addend> IntegerSum<A> {
    fn boxed(target: Target, average: bool) -> Box<dyn Accumulator> {
        Box::new(IntegerSum::<A> { target, average, groups: Vec::new() })
    }

    fn exact(&self, group: u32) -> Exact {
        let Group { total, count } = self.groups[group as usize];
        match (count, self.average) {
            (i64::MIN..=0, _) => Exact::Null,
            (_, true) => match total.narrow() {
                Some(total) => Exact::SmallRatio(total, count),
                None => Exact::Ratio(total.big(), BigInt::from(count)),
            },
            (_, false) => match total.narrow() {
                Some(total) => Exact::Small(total),
                None => Exact::Ratio(total.big(), BigInt::from(1)),
            },
        }
    }
}

impl<A: Addend> Accumulator for IntegerSum<A> {
    fn grow(&mut self, groups: usize) {
        self.groups.resize(groups.max(self.groups.len()), Group { total: A::Total::ZERO, count: 0 });
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let values = values[0].as_primitive::<A>();
        let counted = counted(Some(values), keep);
        let native = values.values();
        let state = &mut self.groups;
        each(groups, counted.as_ref(), weights, |row, group, weight| {
            let group = &mut state[group];
            A::add(&mut group.total, native[row], weight);
            group.count += weight;
        });
        Ok(())
    }

    fn finish(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        Ok(self.target.array(groups.iter().map(|&group| self.exact(group)), failures))
    }

    fn release(&mut self, group: u32) -> bool {
        let group = &self.groups[group as usize];
        group.count == 0 && group.total.is_zero()
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group<A::Total>>()
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        let state = groups.iter().map(|&group| &self.groups[group as usize]);
        writer.value(&state.map(|group| (group.count, group.total.limbs())).collect::<Vec<_>>())?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let state: Vec<(i64, Vec<u64>)> = Reader::new(1, saved)?.value()?;
        self.groups = state
            .into_iter()
            .map(|(count, limbs)| A::Total::from_limbs(&limbs).map(|total| Group { total, count }))
            .collect::<Option<_>>()
            .ok_or_else(|| Error::internal("a saved total of another width"))?;
        Ok(())
    }
}
