//! bool_and and bool_or: how often true, how often false. Sixteen bytes a group.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};

use super::rows::{counted, each};
use super::{Accumulator, Failure};
use crate::error::Result;
use crate::operators::saved::{Reader, Writer};

#[derive(Debug)]
pub struct Booleans {
    /// bool_and; else bool_or.
    all: bool,
    /// Counts of false, of true.
    counts: Vec<[i64; 2]>,
}

impl Booleans {
    pub fn new(all: bool) -> Booleans {
        Booleans { all, counts: Vec::new() }
    }
}

impl Accumulator for Booleans {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups.max(self.counts.len()), [0; 2]);
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let bits = values[0].as_boolean().values();
        let counts = &mut self.counts;
        each(groups, counted(Some(&values[0]), keep).as_ref(), weights, |row, group, weight| {
            counts[group][usize::from(bits.value(row))] += weight;
        });
        Ok(())
    }

    fn finish(&self, groups: &[u32], _failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let result = |&group: &u32| {
            let [falses, trues] = self.counts[group as usize];
            (falses > 0 || trues > 0).then_some(if self.all { falses <= 0 } else { trues > 0 })
        };
        Ok(Arc::new(BooleanArray::from_iter(groups.iter().map(result))))
    }

    fn release(&mut self, group: u32) -> bool {
        self.counts[group as usize] == [0; 2]
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 16
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        writer.value(&groups.iter().map(|&group| self.counts[group as usize]).collect::<Vec<_>>())?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        self.counts = Reader::new(1, saved)?.value()?;
        Ok(())
    }
}
