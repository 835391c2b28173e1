//! An uncorrelated scalar subquery: always exactly one row.
//!
//! The input's one row; one of NULLs where it has none; and where it has several one of NULLs and a recorded error
//! 21000, which goes when the rows do. Shown by worker 0, to which all rows are sent. Keeps the input's rows with their
//! weights (one, if the query is right); a step costs O(its rows).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::failures::row_error;
use super::ordered_rows::{Field, OrderedRows};
use super::saved::{Reader, Writer};
use super::{Operator, Progress, Step};
use crate::delta::{Delta, overflow};
use crate::error::{Error, Result, SqlState};

pub struct ScalarSubquery {
    here: bool,
    output: SchemaRef,
    encoding: OrderedRows,
    rows: BTreeMap<Box<[u8]>, i64>,
    /// Bytes of the rows.
    bytes: usize,
    /// Sum of the positive weights.
    live: i64,
    started: bool,
}

/// The error of a subquery that stands for a value and has several rows.
pub fn several_rows() -> Error {
    let message = "more than one row returned by a subquery used as an expression";
    Error::new(SqlState::CARDINALITY_VIOLATION, message)
}

/// What is shown: a row, or NULLs for want of one or for too many.
#[derive(PartialEq)]
enum Shown {
    Nothing,
    Row(Box<[u8]>),
    None,
    TooMany,
}

impl ScalarSubquery {
    /// `here`: this worker shows the row.
    pub fn new(here: bool, output: &SchemaRef) -> Result<ScalarSubquery> {
        let fields = output.fields().iter().map(|field| Field::payload(field.data_type().clone())).collect();
        Ok(ScalarSubquery {
            here,
            output: output.clone(),
            encoding: OrderedRows::new(fields)?,
            rows: BTreeMap::new(),
            bytes: 0,
            live: 0,
            started: false,
        })
    }

    fn shown(&self) -> Shown {
        match (self.started, self.live) {
            (false, _) => Shown::Nothing,
            (_, i64::MIN..=0) => Shown::None,
            (_, 1) => self.rows.iter().find(|(_, w)| **w > 0).map_or(Shown::None, |(row, _)| Shown::Row(row.clone())),
            _ => Shown::TooMany,
        }
    }

    fn batch(&self, shown: &Shown) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = match shown {
            Shown::Row(row) => self.encoding.decode([&**row])?,
            _ => self.output.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect(),
        };
        Ok(RecordBatch::try_new(self.output.clone(), columns)?)
    }

    fn add(&mut self, row: &[u8], weight: i64) -> Result<()> {
        let before = self.rows.get(row).copied().unwrap_or(0);
        let after = before.checked_add(weight).ok_or_else(overflow)?;
        self.live = self.live.checked_add(after.max(0) - before.max(0)).ok_or_else(overflow)?;
        if after == 0 {
            self.bytes -= if self.rows.remove(row).is_some() { row.len() } else { 0 };
        } else {
            self.bytes += if self.rows.insert(row.into(), after).is_none() { row.len() } else { 0 };
        }
        Ok(())
    }
}

impl Operator for ScalarSubquery {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let old = self.shown();
        self.started = self.here;
        let mut encoded = self.encoding.scratch();
        for delta in inputs.first().copied().unwrap_or_default() {
            self.encoding.encode(delta.rows().columns(), &mut encoded)?;
            for (row, key) in encoded.iter().enumerate() {
                self.add(key.data(), delta.weight(row))?;
            }
        }
        let new = self.shown();
        if old == new {
            return Ok(Progress::Done);
        }
        for (shown, weight) in [(&old, -1), (&new, 1)] {
            if *shown == Shown::TooMany {
                step.errors.push(row_error(&several_rows(), &[], 0, weight));
            }
        }
        // NULLs for want of a row and NULLs for too many are the same row.
        let nulls = |shown: &Shown| matches!(shown, Shown::None | Shown::TooMany);
        if nulls(&old) && nulls(&new) {
            return Ok(Progress::Done);
        }
        if old != Shown::Nothing {
            step.out.push(Delta::deletions(self.batch(&old)?));
        }
        step.out.push(Delta::insertions(self.batch(&new)?));
        Ok(Progress::Done)
    }

    fn state_bytes(&self) -> usize {
        self.bytes + 48 * self.rows.len()
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        writer.value(&self.started)?;
        let mut columns = self.encoding.decode(self.rows.keys().map(|row| &**row))?;
        columns.push(Arc::new(Int64Array::from_iter_values(self.rows.values().copied())));
        writer.columns(&columns, self.rows.len())?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        let mut reader = Reader::new(1, saved)?;
        self.started = reader.value()?;
        let mut types = self.encoding.types();
        types.push(DataType::Int64);
        let (columns, _) = reader.columns(&types)?;
        if let Some((weights, rows)) = columns.split_last() {
            let mut encoded = self.encoding.scratch();
            self.encoding.encode(rows, &mut encoded)?;
            for (key, weight) in encoded.iter().zip(weights.as_primitive::<Int64Type>().values()) {
                self.add(key.data(), *weight)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use datafusion::scalar::ScalarValue;

    #[test]
    fn is_always_one_row() {
        let schema = schema_of(&[("a", DataType::Float64), ("b", DataType::Utf8)]);
        check(&Property {
            name: "scalar subquery",
            inputs: vec![Input::new(&schema, Route::One)],
            subject: &|worker| {
                let schema = schema.clone();
                let make = move || ScalarSubquery::new(worker == 0, &schema).expect("a valid operator");
                Box::new(Remade::new(move || Box::new(make()) as Box<dyn Operator>))
            },
            keeps: Keeps::Rows,
            expected: &|inputs| match &inputs[0][..] {
                [row] => Expected::rows(vec![row.clone()]),
                rows => Expected {
                    rows: vec![vec![ScalarValue::Float64(None), ScalarValue::Utf8(None)]],
                    errors: rows
                        .get(1)
                        .map(|_| {
                            let message = "more than one row returned by a subquery used as an expression";
                            (SqlState::CARDINALITY_VIOLATION, message.to_owned())
                        })
                        .into_iter()
                        .collect(),
                },
            },
        });
    }
}
