//! string_agg and array_agg: a group's values in order, from its ordered multiset.
//!
//! Order: the call's ORDER BY, then the encoded value; never arrival, which a circuit doesn't have. string_agg leaves
//! out NULL values and puts each value's own delimiter before it, except the first's; array_agg keeps NULLs, and can be
//! told to stop after some elements.
//! Cost: O(log n) a change, and the size of the result whenever one is asked for. Whether a result is too large depends on its
//! group alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringBuilder, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, concat};
use arrow::datatypes::{DataType, FieldRef};

use super::multiset::RowSets;
use super::rows::counted;
use super::{Accumulator, Failure};
use crate::delta::size::{bytes_of, runs};
use crate::error::{Error, Result, SqlState};
use crate::operators::ordered_rows::Field;
use crate::operators::saved::{Reader, Writer};

/// Bytes of one string, elements of one array: beyond, the result is an error as it is in Postgres.
const LIMIT: usize = 1 << 28;
/// Bytes of one group's encoded values, so that an array can hold them decoded.
const ENCODED_LIMIT: usize = i32::MAX as usize;

#[derive(Debug)]
pub struct Lists {
    /// The list's element field for array_agg; `None` for string_agg.
    element: Option<FieldRef>,
    args: usize,
    order: usize,
    /// Values that are shown at most.
    most: usize,
    sets: RowSets,
}

impl Lists {
    pub fn new(args: &[DataType], order: &[(DataType, SortOptions)], output: &DataType, most: usize) -> Result<Lists> {
        let element = match output {
            DataType::List(field) => Some(field.clone()),
            _ => None,
        };
        let keys = order.iter().map(|(data_type, options)| Field::key(data_type.clone(), *options));
        let fields = keys.chain(args.iter().cloned().map(Field::payload)).collect();
        Ok(Lists { element, args: args.len(), order: order.len(), most, sets: RowSets::new(fields)? })
    }

    /// The groups' values in order, flat: encoded, how often each, and each group's first.
    fn flat(&self, groups: &[u32]) -> (Vec<&[u8]>, Vec<usize>, Vec<usize>) {
        let (mut values, mut times, mut starts) = (Vec::new(), Vec::new(), Vec::with_capacity(groups.len() + 1));
        for &group in groups {
            starts.push(values.len());
            if self.size(group) > ENCODED_LIMIT {
                continue;
            }
            let mut left = self.most;
            for (value, weight) in self.sets.group(group).filter(|(_, weight)| *weight > 0) {
                let shown = usize::try_from(weight).unwrap_or(usize::MAX).min(left);
                values.push(value);
                times.push(shown);
                left -= shown;
                if left == 0 {
                    break;
                }
            }
        }
        starts.push(values.len());
        (values, times, starts)
    }

    fn strings(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let (values, times, starts) = self.flat(groups);
        let columns = self.sets.decode(values)?;
        let text = columns[self.order].as_string::<i32>();
        let delimiter = columns.get(self.order + 1).map(|column| column.as_string::<i32>());
        let delimiter = |at: usize| delimiter.filter(|d| d.is_valid(at)).map_or("", |d| d.value(at));
        let mut built = StringBuilder::new();
        let mut result = String::new();
        for at in 0..groups.len() {
            let range = starts[at]..starts[at + 1];
            let length = range.clone().fold(0usize, |length, i| {
                length.saturating_add(times[i].saturating_mul(text.value_length(i) as usize + delimiter(i).len()))
            });
            if length > LIMIT || self.size(groups[at]) > ENCODED_LIMIT {
                failures.push(Failure { at, error: too_large() });
                built.append_null();
                continue;
            }
            if range.is_empty() {
                built.append_null();
                continue;
            }
            result.clear();
            for (place, i) in range.enumerate() {
                for time in 0..times[i] {
                    if place + time > 0 {
                        result.push_str(delimiter(i));
                    }
                    result.push_str(text.value(i));
                }
            }
            built.append_value(&result);
        }
        Ok(Arc::new(built.finish()))
    }

    fn arrays(&self, element: &FieldRef, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let (values, times, starts) = self.flat(groups);
        let columns = self.sets.decode(values)?;
        let mut indices: Vec<u32> = Vec::new();
        let mut lengths = Vec::with_capacity(groups.len());
        let mut valid = Vec::with_capacity(groups.len());
        for at in 0..groups.len() {
            let range = starts[at]..starts[at + 1];
            let length = times[range.clone()].iter().fold(0usize, |sum, times| sum.saturating_add(*times));
            if length > LIMIT || self.size(groups[at]) > ENCODED_LIMIT {
                failures.push(Failure { at, error: too_large() });
                lengths.push(0);
                valid.push(false);
                continue;
            }
            for i in range {
                indices.extend(std::iter::repeat_n(i as u32, times[i]));
            }
            lengths.push(length);
            valid.push(length > 0);
        }
        let values = arrow::compute::take(&columns[self.order], &UInt32Array::from(indices), None)?;
        let nulls: NullBuffer = valid.into();
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(element.clone(), offsets, values, Some(nulls))?))
    }
}

fn too_large() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "aggregated value exceeds the maximum allowed size")
}

impl Accumulator for Lists {
    fn grow(&mut self, groups: usize) {
        self.sets.grow(groups);
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let skip_nulls = self.element.is_none().then(|| &values[0] as &dyn Array);
        let counted = counted(skip_nulls, keep);
        let (args, order) = values.split_at(self.args);
        let columns: Vec<ArrayRef> = order.iter().chain(args).cloned().collect();
        self.sets.add(groups, &columns, counted.as_ref(), weights)
    }

    fn size(&self, group: u32) -> usize {
        let shown = self.sets.group(group).filter(|(_, weight)| *weight > 0);
        let bytes =
            shown.map(|(value, weight)| value.len().saturating_mul(usize::try_from(weight).unwrap_or(usize::MAX)));
        bytes.fold(0, usize::saturating_add)
    }

    /// Goes over the groups in runs, so that no more is decoded at once than fits a batch, or makes one group's result.
    fn finish(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        let mut pieces = Vec::new();
        for run in runs(groups.iter().map(|&group| self.size(group)), usize::MAX) {
            let (first, before) = (run.start, failures.len());
            pieces.push(match &self.element {
                Some(element) => self.arrays(element, &groups[run], failures)?,
                None => self.strings(&groups[run], failures)?,
            });
            failures[before..].iter_mut().for_each(|failure| failure.at += first);
        }
        if pieces.is_empty() {
            return match &self.element {
                Some(element) => self.arrays(element, &[], failures),
                None => self.strings(&[], failures),
            };
        }
        if pieces.iter().map(|piece| bytes_of(std::slice::from_ref(piece), 0, piece.len())).sum::<usize>()
            > i32::MAX as usize
        {
            return Err(too_large());
        }
        match pieces.as_slice() {
            [only] => Ok(only.clone()),
            pieces => Ok(concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?),
        }
    }

    fn release(&mut self, group: u32) -> bool {
        self.sets.is_empty(group)
    }

    fn bytes(&self) -> usize {
        self.sets.bytes()
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        self.sets.save(groups, &mut writer)?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        self.sets.load(&mut Reader::new(1, saved)?)
    }
}
