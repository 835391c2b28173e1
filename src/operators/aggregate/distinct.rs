//! DISTINCT for any aggregate: net weights of (group, arguments), and the inner accumulator told only when a tuple
//! appears or disappears. One hash probe a row; memory O(distinct tuples).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};

use super::rows::counted;
use super::{Accumulator, Failure};
use crate::delta::keys::normalize_floats;
use crate::error::Result;
use crate::operators::keys::KeyTable;
use crate::operators::saved::{Reader, Writer};

pub struct Distinct {
    inner: Box<dyn Accumulator>,
    args: usize,
    tuples: KeyTable,
    /// Net weight of each tuple.
    weights: Vec<i64>,
    /// Tuples each group holds.
    held: Vec<u32>,
    types: Vec<DataType>,
    /// Scratch.
    ids: Vec<u32>,
}

impl std::fmt::Debug for Distinct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Distinct({:?})", self.inner)
    }
}

impl Distinct {
    pub fn new(inner: Box<dyn Accumulator>, args: &[DataType]) -> Result<Distinct> {
        let types: Vec<DataType> = std::iter::once(DataType::UInt32).chain(args.iter().cloned()).collect();
        Ok(Distinct {
            inner,
            args: args.len(),
            tuples: KeyTable::new(types.clone())?,
            weights: Vec::new(),
            held: Vec::new(),
            types,
            ids: Vec::new(),
        })
    }

    /// Adds to the tuples of `columns` (group, then arguments); returns the rows at which one appeared or disappeared.
    fn count(&mut self, columns: &[ArrayRef], weights: Option<&[i64]>) -> Result<(Vec<u32>, Vec<i64>)> {
        let groups = columns[0].as_primitive::<UInt32Type>().values();
        self.ids.clear();
        self.tuples.intern(columns, groups.len(), &mut self.ids)?;
        self.weights.resize(self.tuples.slots(), 0);
        let (mut rows, mut turns) = (Vec::new(), Vec::new());
        for (row, &id) in self.ids.iter().enumerate() {
            let total = &mut self.weights[id as usize];
            let before = *total;
            *total += weights.map_or(1, |weights| weights[row]);
            let after = *total;
            if (before > 0) != (after > 0) {
                rows.push(row as u32);
                turns.push(if after > 0 { 1 } else { -1 });
            }
            match (before == 0, after == 0) {
                (true, false) => self.held[groups[row] as usize] += 1,
                (false, true) => self.held[groups[row] as usize] -= 1,
                _ => {}
            }
        }
        for &id in &self.ids {
            if self.weights[id as usize] == 0 {
                self.tuples.remove(id);
            }
        }
        Ok((rows, turns))
    }
}

impl Accumulator for Distinct {
    fn grow(&mut self, groups: usize) {
        self.held.resize(groups.max(self.held.len()), 0);
        self.inner.grow(groups);
    }

    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(groups.to_vec()))];
        columns.extend(values.iter().cloned());
        let mut kept_weights = None;
        if let Some(keep) = counted(None, keep) {
            let keep = BooleanArray::new(keep, None);
            for column in &mut columns {
                *column = arrow::compute::filter(column, &keep)?;
            }
            kept_weights = weights
                .map(|weights| weights.iter().zip(keep.values()).filter(|(_, keep)| *keep).map(|(w, _)| *w).collect());
        }
        let kept_weights: Option<Vec<i64>> = kept_weights;
        let (rows, turns) = self.count(&columns[..=self.args], kept_weights.as_deref().or(weights))?;
        if rows.is_empty() {
            return Ok(());
        }
        let rows = UInt32Array::from(rows);
        for column in &mut columns {
            *column = normalize_floats(&arrow::compute::take(column, &rows, None)?);
        }
        let groups = columns[0].as_primitive::<UInt32Type>().values().to_vec();
        let turns = Some(turns.as_slice()).filter(|turns| turns.iter().any(|turn| *turn < 0));
        self.inner.update(&groups, &columns[1..], turns, None)
    }

    fn size(&self, group: u32) -> usize {
        self.inner.size(group)
    }

    fn finish(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef> {
        self.inner.finish(groups, failures)
    }

    fn release(&mut self, group: u32) -> bool {
        self.held[group as usize] == 0 && self.inner.release(group)
    }

    fn bytes(&self) -> usize {
        let own = self.weights.capacity() * 8 + self.held.capacity() * 4 + self.ids.capacity() * 4;
        own + self.tuples.bytes() + self.inner.bytes()
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        let live = self.tuples.live();
        let mut columns = self.tuples.columns(&live)?;
        let mut places = vec![u32::MAX; self.held.len()];
        groups.iter().enumerate().for_each(|(at, &group)| places[group as usize] = at as u32);
        let owners = columns[0].as_primitive::<UInt32Type>();
        let saved: BooleanArray = owners.values().iter().map(|&o| Some(places[o as usize] != u32::MAX)).collect();
        columns[0] = Arc::new(owners.unary::<_, UInt32Type>(|owner| places[owner as usize]));
        columns.push(Arc::new(Int64Array::from_iter_values(live.iter().map(|&id| self.weights[id as usize]))));
        for column in &mut columns {
            *column = arrow::compute::filter(column, &saved)?;
        }
        writer.columns(&columns, saved.true_count())?;
        writer.value(&groups.len())?;
        writer.section(&self.inner.save(groups)?);
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(1, saved)?;
        let mut types = self.types.clone();
        types.push(DataType::Int64);
        let (columns, _) = reader.columns(&types)?;
        let groups: usize = reader.value()?;
        self.held.resize(groups, 0);
        let (weights, tuples) = columns.split_last().map_or((&[][..], &columns[..]), |(last, rest)| {
            (last.as_primitive::<arrow::datatypes::Int64Type>().values().as_ref(), rest)
        });
        self.count(tuples, Some(weights))?;
        self.inner.load(reader.section()?)
    }
}
