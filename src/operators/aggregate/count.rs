//! count(*) and count(x): net weight of the counted rows. Eight bytes a group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};

use super::rows::{counted, each};
use super::{Accumulator, Failure};
use crate::error::Result;
use crate::operators::saved::{Reader, Writer};

#[derive(Debug)]
pub struct Count {
    /// count(x): rows whose x is NULL don't count.
    values_only: bool,
    counts: Vec<i64>,
}

impl Count {
    pub fn new(values_only: bool) -> Count {
        Count { values_only, counts: Vec::new() }
    }
}

impl Accumulator for Count {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups.max(self.counts.len()), 0);
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let values = values.first().filter(|_| self.values_only).map(|values| values.as_ref() as &dyn Array);
        let counts = &mut self.counts;
        each(groups, counted(values, keep).as_ref(), weights, |_, group, weight| counts[group] += weight);
        Ok(())
    }

    fn finish(&self, groups: &[u32], _failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(|&group| self.counts[group as usize]))))
    }

    fn release(&mut self, group: u32) -> bool {
        self.counts[group as usize] == 0
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
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
