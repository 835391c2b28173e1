//! bit_and, bit_or and bit_xor of integers: for each bit, how many values have it set. A bit of the result is set if
//! all, any, or an odd number of them have. Eight bytes a bit and group; one addition a set bit.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int16Type, Int32Type, Int64Type};

use super::rows::{counted, each};
use super::{Accumulator, AggregateFunction, Failure};
use crate::error::{Error, Result};
use crate::operators::saved::{Reader, Writer};

/// The accumulator of a bit function over this type, if it is an integer.
pub fn bits(function: AggregateFunction, input: &DataType) -> Option<Box<dyn Accumulator>> {
    Some(match input {
        DataType::Int16 => Box::new(Bits::<Int16Type>::new(function)),
        DataType::Int32 => Box::new(Bits::<Int32Type>::new(function)),
        DataType::Int64 => Box::new(Bits::<Int64Type>::new(function)),
        _ => return None,
    })
}

#[derive(Debug)]
struct Bits<A> {
    function: AggregateFunction,
    /// Values that are not NULL, a group.
    counts: Vec<i64>,
    /// Of those, with bit b set: at `group * width + b`.
    ones: Vec<i64>,
    width: usize,
    input: PhantomData<A>,
}

impl<A: ArrowPrimitiveType> Bits<A> {
    fn new(function: AggregateFunction) -> Bits<A> {
        let width = 8 * size_of::<A::Native>();
        Bits { function, counts: Vec::new(), ones: Vec::new(), width, input: PhantomData }
    }

    fn ones(&self, group: u32) -> &[i64] {
        let start = group as usize * self.width;
        &self.ones[start..start + self.width]
    }
}

impl<A: ArrowPrimitiveType + Debug + Send + Sync> Accumulator for Bits<A>
where
    A::Native: Into<i64> + TryFrom<i64>,
{
    fn grow(&mut self, groups: usize) {
        let groups = groups.max(self.counts.len());
        self.counts.resize(groups, 0);
        self.ones.resize(groups * self.width, 0);
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let native = values[0].as_primitive::<A>().values();
        let (counts, ones, width) = (&mut self.counts, &mut self.ones, self.width);
        each(groups, counted(Some(&values[0]), keep).as_ref(), weights, |row, group, weight| {
            counts[group] += weight;
            let value: i64 = native[row].into();
            // Sign extension of a narrow value is cut off again.
            let mut bits = value as u64 & (u64::MAX >> (64 - width));
            while bits != 0 {
                ones[group * width + bits.trailing_zeros() as usize] += weight;
                bits &= bits - 1;
            }
        });
        Ok(())
    }

    fn finish(&self, groups: &[u32], _failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let result = |&group: &u32| {
            let count = self.counts[group as usize];
            if count <= 0 {
                return None;
            }
            let set = |ones: i64| match self.function {
                AggregateFunction::BitAnd => ones == count,
                AggregateFunction::BitOr => ones > 0,
                _ => ones & 1 == 1,
            };
            let bits = self.ones(group).iter().enumerate().fold(0u64, |bits, (b, &n)| bits | u64::from(set(n)) << b);
            let unused = 64 - self.width;
            A::Native::try_from(((bits << unused) as i64) >> unused).ok()
        };
        Ok(Arc::new(PrimitiveArray::<A>::from_iter(groups.iter().map(result))))
    }

    fn release(&mut self, group: u32) -> bool {
        self.counts[group as usize] == 0 && self.ones(group).iter().all(|ones| *ones == 0)
    }

    fn bytes(&self) -> usize {
        8 * (self.counts.capacity() + self.ones.capacity())
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        writer.value(&groups.iter().map(|&group| self.counts[group as usize]).collect::<Vec<_>>())?;
        writer.value(&groups.iter().flat_map(|&group| self.ones(group)).copied().collect::<Vec<_>>())?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(1, saved)?;
        (self.counts, self.ones) = (reader.value()?, reader.value()?);
        if self.ones.len() != self.counts.len() * self.width {
            return Err(Error::internal("saved bit counts of another width"));
        }
        Ok(())
    }
}
