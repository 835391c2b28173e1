//! min and max. Over input that can shrink: the group's ordered multiset. Over append-only input: the best value only.
//!
//! Values order as ORDER BY orders them: NaN above all numbers, text by its bytes, intervals by their length.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;

use super::multiset::{RowSets, Scalars};
use super::rows::{counted, each};
use super::{Accumulator, Failure};
use crate::error::Result;
use crate::operators::ordered_rows::{Field, OrderedRows, from_sortable, is_sortable, sortable};
use crate::operators::saved::{Reader, Writer};

/// The accumulator for max (`greatest`) or min of this type.
pub fn extreme(data_type: &DataType, greatest: bool, append_only: bool) -> Result<Box<dyn Accumulator>> {
    let field = || vec![Field::key(data_type.clone(), SortOptions { descending: false, nulls_first: false })];
    let values = match (is_sortable(data_type), append_only) {
        (true, true) => Values::BestScalar(Vec::new()),
        (true, false) => Values::Scalars(Scalars::new(data_type.clone())),
        (false, true) => Values::BestRow { order: OrderedRows::new(field())?, best: Vec::new(), bytes: 0 },
        (false, false) => Values::Rows(RowSets::new(field())?),
    };
    Ok(Box::new(Extreme { data_type: data_type.clone(), greatest, values }))
}

#[derive(Debug)]
struct Extreme {
    data_type: DataType,
    greatest: bool,
    values: Values,
}

#[derive(Debug)]
enum Values {
    BestScalar(Vec<Option<u64>>),
    BestRow { order: OrderedRows, best: Vec<Option<Box<[u8]>>>, bytes: usize },
    Scalars(Scalars),
    Rows(RowSets),
}

impl Accumulator for Extreme {
    fn grow(&mut self, groups: usize) {
        match &mut self.values {
            Values::BestScalar(best) => best.resize(groups.max(best.len()), None),
            Values::BestRow { best, .. } => best.resize(groups.max(best.len()), None),
            Values::Scalars(sets) => sets.grow(groups),
            Values::Rows(sets) => sets.grow(groups),
        }
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let counted = counted(Some(&values[0]), keep);
        let counted = counted.as_ref();
        let greatest = self.greatest;
        match &mut self.values {
            Values::BestScalar(best) => {
                let Some(keys) = sortable(&values[0]) else { return Ok(()) };
                each(groups, counted, weights, |row, group, _| {
                    let key = keys[row];
                    let best = &mut best[group];
                    if best.is_none_or(|best| if greatest { key > best } else { key < best }) {
                        *best = Some(key);
                    }
                });
            }
            Values::BestRow { order, best, bytes } => {
                let mut rows = order.scratch();
                order.encode(&values[..1], &mut rows)?;
                each(groups, counted, weights, |row, group, _| {
                    let row = rows.row(row);
                    let best = &mut best[group];
                    let key = row.data();
                    if best.as_deref().is_none_or(|best| if greatest { key > best } else { key < best }) {
                        *bytes += key.len();
                        *bytes -= best.as_deref().map_or(0, <[u8]>::len);
                        *best = Some(key.into());
                    }
                });
            }
            Values::Scalars(sets) => sets.add(groups, &values[0], counted, weights),
            Values::Rows(sets) => sets.add(groups, &values[..1], counted, weights)?,
        }
        Ok(())
    }

    fn size(&self, group: u32) -> usize {
        match &self.values {
            Values::BestScalar(_) | Values::Scalars(_) => 0,
            Values::BestRow { best, .. } => best[group as usize].as_deref().map_or(0, <[u8]>::len),
            Values::Rows(sets) => sets.extreme(group, self.greatest).map_or(0, <[u8]>::len),
        }
    }

    fn finish(&self, groups: &[u32], _failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        match &self.values {
            Values::BestScalar(best) => {
                let values: Vec<_> = groups.iter().map(|&group| best[group as usize]).collect();
                Ok(from_sortable(&self.data_type, &values))
            }
            Values::Scalars(sets) => {
                let values: Vec<_> = groups.iter().map(|&group| sets.extreme(group, self.greatest)).collect();
                Ok(from_sortable(&self.data_type, &values))
            }
            Values::BestRow { order, best, .. } => {
                with_gaps(groups.iter().map(|&group| best[group as usize].as_deref()), |rows| order.decode(rows))
            }
            Values::Rows(sets) => {
                let extremes = groups.iter().map(|&group| sets.extreme(group, self.greatest));
                with_gaps(extremes, |rows| sets.decode(rows))
            }
        }
    }

    fn release(&mut self, group: u32) -> bool {
        match &self.values {
            Values::BestScalar(best) => best[group as usize].is_none(),
            Values::BestRow { best, .. } => best[group as usize].is_none(),
            Values::Scalars(sets) => sets.is_empty(group),
            Values::Rows(sets) => sets.is_empty(group),
        }
    }

    fn bytes(&self) -> usize {
        match &self.values {
            Values::BestScalar(best) => best.capacity() * 16,
            Values::BestRow { best, bytes, .. } => best.capacity() * 16 + bytes,
            Values::Scalars(sets) => sets.bytes(),
            Values::Rows(sets) => sets.bytes(),
        }
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        match &self.values {
            Values::BestScalar(_) | Values::BestRow { .. } => {
                writer.columns(&[self.finish(groups, &mut Vec::new())?], groups.len())?;
            }
            Values::Scalars(sets) => sets.save(groups, &mut writer)?,
            Values::Rows(sets) => sets.save(groups, &mut writer)?,
        }
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(1, saved)?;
        match &mut self.values {
            Values::Scalars(sets) => sets.load(&mut reader),
            Values::Rows(sets) => sets.load(&mut reader),
            Values::BestScalar(_) | Values::BestRow { .. } => {
                let (columns, rows) = reader.columns(std::slice::from_ref(&self.data_type))?;
                self.grow(rows);
                let groups: Vec<u32> = (0..rows as u32).collect();
                self.update(&groups, &columns, None, None)
            }
        }
    }
}

/// Decodes the rows there are into one column, NULL where there is none.
fn with_gaps<'a>(
    rows: impl Iterator<Item = Option<&'a [u8]>>,
    decode: impl FnOnce(Vec<&'a [u8]>) -> Result<Vec<ArrayRef>>,
) -> Result<ArrayRef> {
    let mut present = Vec::new();
    let places: arrow::array::UInt32Array = rows
        .map(|row| {
            row.map(|row| {
                present.push(row);
                present.len() as u32 - 1
            })
        })
        .collect();
    let column = decode(present)?.swap_remove(0);
    if places.null_count() == 0 {
        return Ok(column);
    }
    Ok(arrow::compute::take(&column, &places, None)?)
}
