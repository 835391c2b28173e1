//! TUMBLE and HOP: each row once for every window that holds its time, with the window's bounds appended. Stateless.
//!
//! ```text
//!   windows of t:  [s, s + size)  for  s = k * slide,  s <= t < s + size        (aligned to 1970-01-01 00:00)
//! ```
//!
//! A row with a NULL time is in no window; one whose window's bounds leave the range of timestamps is a recorded error.
//! With slide > size some rows are in none. O(size / slide) rows a row; TUMBLE copies no column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};

use super::changes::emit;
use super::failures::row_error;
use super::{BATCH_ROWS, Operator, Progress, Step};
use crate::delta::Delta;
use crate::error::{Error, Result, SqlState};

pub struct Hop {
    time: usize,
    slide: i64,
    size: i64,
    output: SchemaRef,
}

impl Hop {
    /// `slide` and `size` in microseconds, both positive.
    pub fn new(time: usize, slide: i64, size: i64, output: &SchemaRef) -> Result<Hop> {
        if slide <= 0 || size <= 0 {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "window size and slide must be positive"));
        }
        Ok(Hop { time, slide, size, output: output.clone() })
    }

    /// Starts of the windows of `time`, latest first; `None` where a bound can't be a timestamp.
    fn starts(&self, time: i64) -> Option<impl Iterator<Item = i64> + use<>> {
        let (slide, size) = (self.slide, self.size);
        let last = time.checked_sub(time.rem_euclid(slide))?;
        let end = last.checked_add(size)?;
        // All windows fit if the latest end and the earliest start do.
        let count = if end > time { (end - time - 1) / slide + 1 } else { 0 };
        last.checked_sub(slide.checked_mul(count)?)?;
        Some((0..count).map(move |k| last - k * slide))
    }

    fn emit_windows(&self, delta: &Delta, rows: Option<Vec<u32>>, starts: Vec<i64>, step: &mut Step) -> Result<()> {
        let delta = match rows {
            Some(rows) => delta.take(&UInt32Array::from(rows))?,
            None => delta.clone(),
        };
        let data_type = delta.rows().column(self.time).data_type().clone();
        let ends: TimestampMicrosecondArray = starts.iter().map(|start| start + self.size).collect::<Vec<_>>().into();
        let starts: TimestampMicrosecondArray = starts.into();
        let mut columns: Vec<ArrayRef> = delta.rows().columns().to_vec();
        columns.push(Arc::new(starts.with_data_type(data_type.clone())));
        columns.push(Arc::new(ends.with_data_type(data_type)));
        let options = RecordBatchOptions::new().with_row_count(Some(delta.len()));
        let batch = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
        emit(step.out, delta.with_rows(batch));
        Ok(())
    }
}

impl Operator for Hop {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        for delta in inputs.first().copied().unwrap_or_default() {
            let column = delta.rows().column(self.time);
            if !matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
                return Err(Error::internal("a window's time is not a timestamp"));
            }
            let times = column.as_primitive::<TimestampMicrosecondType>();
            if self.slide == self.size && times.null_count() == 0 {
                let starts: Option<Vec<i64>> = times.values().iter().map(|t| self.starts(*t)?.next()).collect();
                if let Some(starts) = starts {
                    self.emit_windows(delta, None, starts, step)?;
                    continue;
                }
            }
            let (mut rows, mut starts) = (Vec::new(), Vec::new());
            for row in (0..delta.len()).filter(|row| times.is_valid(*row)) {
                let Some(own) = self.starts(times.value(row)) else {
                    let error = Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
                    step.errors.push(row_error(&error, delta.rows().columns(), row, delta.weight(row)));
                    continue;
                };
                for start in own {
                    rows.push(row as u32);
                    starts.push(start);
                }
                if rows.len() >= BATCH_ROWS {
                    self.emit_windows(delta, Some(std::mem::take(&mut rows)), std::mem::take(&mut starts), step)?;
                }
            }
            if !rows.is_empty() {
                self.emit_windows(delta, Some(rows), starts, step)?;
            }
        }
        Ok(Progress::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use datafusion::scalar::ScalarValue;

    fn agree(slide: i64, size: i64) {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = schema_of(&[("a", DataType::Int16), ("t", time.clone())]);
        let output =
            schema_of(&[("a", DataType::Int16), ("t", time.clone()), ("start", time.clone()), ("end", time.clone())]);
        check(&Property {
            name: &format!("hop {slide} {size}"),
            inputs: vec![Input::new(&schema, Route::Row)],
            subject: &|_| {
                let output = output.clone();
                Box::new(Remade::new(move || Box::new(Hop::new(1, slide, size, &output).expect("a valid operator"))))
            },
            expected: &|inputs| {
                let mut rows = Vec::new();
                for row in &inputs[0] {
                    let ScalarValue::TimestampMicrosecond(Some(t), zone) = &row[1] else { continue };
                    for start in (-200..200).map(|k| k * slide).filter(|start| start <= t && *t < start + size) {
                        let at = |micros| ScalarValue::TimestampMicrosecond(Some(micros), zone.clone());
                        rows.push([row.clone(), vec![at(start), at(start + size)]].concat());
                    }
                }
                Expected::rows(rows)
            },
        });
    }

    #[test]
    fn rows_are_in_every_window_that_holds_them() {
        for (slide, size) in [(10, 10), (7, 7), (5, 20), (3, 10), (10, 4), (1, 3)] {
            agree(slide, size);
        }
    }

    #[test]
    fn windows_beyond_the_range_of_timestamps_are_errors() {
        let hop = Hop::new(0, 10, 30, &schema_of(&[])).unwrap();
        assert!(hop.starts(i64::MAX - 5).is_none());
        assert!(hop.starts(i64::MIN + 5).is_none());
        assert_eq!(hop.starts(0).unwrap().collect::<Vec<_>>(), [0, -10, -20]);
    }
}
