//! sum and avg of intervals: exact totals of months, days and nanoseconds.
//!
//! An average spills down as Postgres divides an interval: what is left of the months becomes days (30 a month), what
//! is left of the days becomes time (24 hours a day), to the microsecond.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};

use super::rows::{counted, each};
use super::{Accumulator, Failure};
use crate::error::{Error, Result, SqlState};
use crate::operators::saved::{Reader, Writer};

const DAY: i128 = 86_400_000_000_000;

#[derive(Debug)]
pub struct IntervalSum {
    average: bool,
    groups: Vec<Total>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    count: i64,
    months: i128,
    days: i128,
    nanos: i128,
}

impl IntervalSum {
    pub fn new(average: bool) -> IntervalSum {
        IntervalSum { average, groups: Vec::new() }
    }

    /// `None` over no values; an inner `None` is out of range.
    fn result(&self, group: u32) -> Option<Option<IntervalMonthDayNano>> {
        let Total { count, mut months, mut days, mut nanos } = self.groups[group as usize];
        if count <= 0 {
            return None;
        }
        if self.average {
            let n = i128::from(count);
            let day_parts = days + months % n * 30;
            months /= n;
            days = day_parts / n;
            // In nanoseconds, rounded half away from zero at a microsecond.
            let rest = nanos + day_parts % n * DAY;
            let micro = 1000 * n;
            nanos = (2 * rest.abs() + micro) / (2 * micro) * rest.signum() * 1000;
        }
        let build = || {
            Some(IntervalMonthDayNano::new(
                i32::try_from(months).ok()?,
                i32::try_from(days).ok()?,
                i64::try_from(nanos).ok()?,
            ))
        };
        Some(build())
    }
}

impl Accumulator for IntervalSum {
    fn grow(&mut self, groups: usize) {
        self.groups.resize(groups.max(self.groups.len()), Total::default());
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let native = values[0].as_primitive::<IntervalMonthDayNanoType>().values();
        let state = &mut self.groups;
        each(groups, counted(Some(&values[0]), keep).as_ref(), weights, |row, group, weight| {
            let (total, value) = (&mut state[group], native[row]);
            total.count += weight;
            total.months += i128::from(value.months) * i128::from(weight);
            total.days += i128::from(value.days) * i128::from(weight);
            total.nanos += i128::from(value.nanoseconds) * i128::from(weight);
        });
        Ok(())
    }

    fn finish(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let results = groups.iter().enumerate().map(|(at, &group)| {
            let result = self.result(group)?;
            if result.is_none() {
                let error = Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range");
                failures.push(Failure { at, error });
            }
            result
        });
        Ok(Arc::new(IntervalMonthDayNanoArray::from_iter(results)))
    }

    fn release(&mut self, group: u32) -> bool {
        self.groups[group as usize] == Total::default()
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Total>()
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        let state = groups.iter().map(|&group| self.groups[group as usize]);
        writer.value(&state.map(|t| (t.count, t.months, t.days, t.nanos)).collect::<Vec<_>>())?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let state: Vec<(i64, i128, i128, i128)> = Reader::new(1, saved)?.value()?;
        let total = |(count, months, days, nanos)| Total { count, months, days, nanos };
        self.groups = state.into_iter().map(total).collect();
        Ok(())
    }
}
