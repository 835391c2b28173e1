//! TUMBLE and HOP: each row once for every window that holds its time, with the window's bounds appended.
//!
//! ```text
//!   windows of t:  [s, s + size)  for  s = k * slide,  s <= t < s + size        (aligned to 1970-01-01 00:00)
//! ```
//!
//! A row with a NULL time is in no window; one whose window's bounds leave the range of timestamps is a recorded error.
//! With slide > size some rows are in none. O(size / slide) rows a row; TUMBLE copies no column. Keeps only input whose output did
//! not fit the step.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};

use super::backlog::{Backlog, Place};
use super::changes::emit;
use super::failures::row_error;
use super::{BATCH_ROWS, Operator, Progress, STEP_OUTPUT_ROWS, Step};
use crate::delta::Delta;
use crate::delta::size::{BATCH_BYTES, RowSizes};
use crate::error::{Error, Result, SqlState};
use crate::types::time_shift::is_infinite;

pub struct Hop {
    time: usize,
    slide: i64,
    size: i64,
    output: SchemaRef,
    backlog: Backlog,
    step_rows: usize,
}

impl Hop {
    /// `slide` and `size` in microseconds, both positive.
    pub fn new(time: usize, slide: i64, size: i64, output: &SchemaRef) -> Result<Hop> {
        if slide <= 0 || size <= 0 {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "window size and slide must be positive"));
        }
        let (output, backlog) = (output.clone(), Backlog::default());
        Ok(Hop { time, slide, size, output, backlog, step_rows: STEP_OUTPUT_ROWS })
    }

    /// Bounds the output of a step to about this number of rows.
    #[cfg(test)]
    pub fn with_step_rows(mut self, rows: usize) -> Hop {
        self.step_rows = rows;
        self
    }

    fn windows(&self, time: i64) -> Option<(i64, usize)> {
        windows(time, self.slide, self.size)
    }

    /// From this place of the delta on until a batch is full. Gives the next place, and how much was given.
    fn batch(&self, delta: &Delta, mut at: Place, step: &mut Step) -> Result<(Place, usize)> {
        let column = delta.rows().column(self.time);
        if !matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(Error::internal("a window's time is not a timestamp"));
        }
        let times = column.as_primitive::<TimestampMicrosecondType>();
        let end = Place { row: delta.len(), given: 0 };
        if self.slide == self.size && times.null_count() == 0 && at == Place::default() {
            let only = |time: &i64| self.windows(*time).filter(|(_, count)| *count == 1).map(|(start, _)| start);
            let starts: Option<Vec<i64>> = times.values().iter().map(only).collect();
            if let Some(starts) = starts {
                return Ok((end, self.emit_windows(delta, None, starts, step)?));
            }
        }
        let most = BATCH_ROWS.min(self.step_rows);
        let sizes = RowSizes::new(delta.rows());
        let (mut rows, mut starts, mut bytes) = (Vec::new(), Vec::new(), 0);
        while at.row < delta.len() && rows.len() < most && bytes < BATCH_BYTES {
            let windows = if times.is_valid(at.row) { self.windows(times.value(at.row)) } else { Some((0, 0)) };
            let Some((last, count)) = windows else {
                let error = Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
                step.errors.push(row_error(&error, delta.rows().columns(), at.row, delta.weight(at.row)));
                at = Place { row: at.row + 1, given: 0 };
                continue;
            };
            let size = sizes.at(at.row);
            let room = (most - rows.len()).min((BATCH_BYTES - bytes) / size.max(1) + 1);
            let until = count.min(at.given + room);
            bytes += (until - at.given) * size;
            rows.extend(std::iter::repeat_n(at.row as u32, until - at.given));
            starts.extend((at.given..until).map(|k| last - k as i64 * self.slide));
            at = match until < count {
                true => Place { given: until, ..at },
                false => Place { row: at.row + 1, given: 0 },
            };
        }
        let given = rows.len();
        if given > 0 {
            return Ok((at, self.emit_windows(delta, Some(rows), starts, step)?));
        }
        Ok((at, 0))
    }

    /// Gives out rows with their windows; how much it was.
    fn emit_windows(&self, delta: &Delta, rows: Option<Vec<u32>>, starts: Vec<i64>, step: &mut Step) -> Result<usize> {
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
        let delta = delta.with_rows(batch);
        let volume = delta.volume();
        emit(step.out, delta);
        Ok(volume)
    }
}

/// The latest start of a window of `time`, and how many there are, each a slide before the other; `None` where a bound can't be a
/// timestamp. An infinite time is in no window.
pub fn windows(time: i64, slide: i64, size: i64) -> Option<(i64, usize)> {
    if is_infinite(time) {
        return Some((0, 0));
    }
    let last = time.checked_sub(time.rem_euclid(slide))?;
    let end = last.checked_add(size)?;
    // All windows fit if the latest end and the earliest start do.
    let count = if end > time { (end - time - 1) / slide + 1 } else { 0 };
    last.checked_sub(slide.checked_mul((count - 1).max(0))?)?;
    Some((last, usize::try_from(count).ok()?))
}

impl Operator for Hop {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let (input, most) = (inputs.first().copied().unwrap_or_default(), self.step_rows);
        let mut backlog = std::mem::take(&mut self.backlog);
        let progress = backlog.work_off(input, most, |delta, at| self.batch(delta, at, step));
        self.backlog = backlog;
        progress
    }

    fn state_bytes(&self) -> usize {
        self.backlog.bytes()
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.backlog.save()
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        self.backlog.load(saved)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use datafusion::scalar::ScalarValue;

    fn agree(slide: i64, size: i64, step_rows: usize) {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = schema_of(&[("a", DataType::Int16), ("t", time.clone())]);
        let output =
            schema_of(&[("a", DataType::Int16), ("t", time.clone()), ("start", time.clone()), ("end", time.clone())]);
        check(&Property {
            name: &format!("hop {slide} {size}"),
            inputs: vec![Input::new(&schema, Route::Row)],
            subject: &|_| {
                let output = output.clone();
                Box::new(Remade::new(move || {
                    let hop = Hop::new(1, slide, size, &output).expect("a valid operator");
                    Box::new(hop.with_step_rows(step_rows))
                }))
            },
            keeps: Keeps::Nothing,
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
            agree(slide, size, STEP_OUTPUT_ROWS);
            agree(slide, size, 2);
        }
    }

    #[test]
    fn windows_beyond_the_range_of_timestamps_are_errors() {
        let hop = Hop::new(0, 10, 30, &schema_of(&[])).unwrap();
        assert!(hop.windows(i64::MAX - 5).is_none());
        assert!(hop.windows(i64::MIN + 5).is_none());
        assert_eq!(hop.windows(0), Some((0, 3)));
        assert_eq!(hop.windows(i64::MAX).map(|(_, count)| count), Some(0));
        assert_eq!(hop.windows(i64::MIN).map(|(_, count)| count), Some(0));
    }

    #[test]
    fn an_infinite_time_is_in_no_window() {
        let zone = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![5, i64::MAX, i64::MIN]));
        let rows = RecordBatch::try_new(schema_of(&[("t", zone.clone())]), vec![times]).unwrap();
        let output = schema_of(&[("t", zone.clone()), ("s", zone.clone()), ("e", zone)]);
        for size in [10, 20] {
            let mut hop = Hop::new(0, 10, size, &output).unwrap();
            let (mut out, mut errors) = (Vec::new(), RowErrors::default());
            let mut step =
                Step { before: 0, after: 1, oldest: 0, end_of_epoch: true, now: 0, out: &mut out, errors: &mut errors };
            hop.step(&[&[Delta::insertions(rows.clone())]], &mut step).unwrap();
            assert_eq!(out.iter().map(Delta::len).sum::<usize>(), size as usize / 10);
            assert!(errors.is_empty());
        }
    }
}
