//! One row an element of the lists, the other columns repeated. O(elements); keeps only input whose output did not fit the step.
//! A series is no list: its values are made as they are given out, so that it may be long.
//!
//! Several lists of one row go side by side; the shorter are padded with NULL. A row whose lists are all empty or NULL
//! disappears, or with `outer` stays once with NULLs. Element columns stand where their lists stood.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::SchemaRef;

use super::backlog::{Backlog, Place};
use super::changes::emit;
use super::failures::row_error;
use super::series::Series;
use super::spec::Elements;
use super::{BATCH_ROWS, Operator, Progress, STEP_OUTPUT_ROWS, Step};
use crate::delta::Delta;
use crate::delta::size::{BATCH_BYTES, RowSizes};
use crate::error::{Error, Result};

pub struct Unnest {
    lists: Vec<Elements>,
    outer: bool,
    output: SchemaRef,
    /// The output's columns that are repeated.
    kept: Vec<usize>,
    backlog: Backlog,
    /// The series of the backlog's row that is being given out, one a list; none for a plain list, NULLs, or an error.
    open: Vec<Option<Series>>,
    step_rows: usize,
}

/// Output being gathered.
struct Gathered {
    rows: Vec<u32>,
    /// For each list its elements so far: places in a plain list's values, or the values of series.
    elements: Vec<(Vec<Option<u32>>, Vec<ArrayRef>)>,
    /// Scratch: how many elements of the row at hand each list gave.
    counts: Vec<usize>,
}

impl Unnest {
    pub fn new(lists: &[Elements], outer: bool, output: &SchemaRef) -> Unnest {
        let kept = (0..output.fields().len()).filter(|column| !lists.iter().any(|list| list.column() == *column));
        Unnest {
            kept: kept.collect(),
            lists: lists.to_vec(),
            outer,
            output: output.clone(),
            backlog: Backlog::default(),
            open: Vec::new(),
            step_rows: STEP_OUTPUT_ROWS,
        }
    }

    /// Bounds the output of a step to about this number of rows.
    #[cfg(test)]
    pub fn with_step_rows(mut self, rows: usize) -> Unnest {
        self.step_rows = rows;
        self
    }

    /// From this place of the delta on until a batch is full. Gives the next place, and how much was given.
    fn unnest(&mut self, delta: &Delta, mut at: Place, step: &mut Step) -> Result<(Place, usize)> {
        let most = BATCH_ROWS.min(self.step_rows);
        let kept = delta.project(&self.kept)?;
        let sizes = RowSizes::new(kept.rows());
        let elements = vec![Default::default(); self.lists.len()];
        let mut gathered = Gathered { rows: Vec::new(), elements, counts: Vec::new() };
        let mut bytes = 0;
        while at.row < delta.len() && gathered.rows.len() < most && bytes < BATCH_BYTES {
            if self.open.is_empty() {
                self.open_row(delta, &kept, at, step)?;
            }
            let size = sizes.at(at.row);
            let room = (most - gathered.rows.len()).min((BATCH_BYTES - bytes) / size.max(1) + 1);
            let (given, more) = self.gather(delta, at, room, &mut gathered)?;
            bytes += given * size;
            at = match more {
                true => Place { given: at.given + given, ..at },
                false => {
                    self.open.clear();
                    Place { row: at.row + 1, given: 0 }
                }
            };
        }
        let given = gathered.rows.len();
        if given == 0 {
            return Ok((at, 0));
        }
        let kept = kept.take(&UInt32Array::from(gathered.rows))?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.output.fields().len()];
        for (&column, array) in self.kept.iter().zip(kept.rows().columns()) {
            columns[column] = Some(array.clone());
        }
        for (list, (places, made)) in self.lists.iter().zip(gathered.elements) {
            columns[list.column()] = Some(match list {
                Elements::List(column) => take(list_at(delta, *column)?.values(), &UInt32Array::from(places), None)?,
                Elements::Series(_) => concat(&made.iter().map(|values| values.as_ref()).collect::<Vec<_>>())?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(given));
        let columns = columns.into_iter().flatten().collect();
        let delta = kept.with_rows(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?);
        let volume = delta.volume();
        emit(step.out, delta);
        Ok((at, volume))
    }

    /// Makes the series of a row. One that fails has no values, and is recorded; as many values as were given before are skipped.
    fn open_row(&mut self, delta: &Delta, kept: &Delta, at: Place, step: &mut Step) -> Result<()> {
        for list in &self.lists {
            let Elements::Series(args) = list else {
                self.open.push(None);
                continue;
            };
            let args: Vec<ArrayRef> = args.iter().map(|&column| delta.rows().column(column).clone()).collect();
            let ty = args[0].data_type();
            let checked = Series::of(&args, at.row).and_then(|series| match &series {
                Some(values) => values.check(ty).map(|()| series),
                None => Ok(None),
            });
            self.open.push(match checked {
                Ok(mut series) => {
                    let mut skipped = 0;
                    while let Some(series) = &mut series
                        && skipped < at.given
                    {
                        match series.take(BATCH_ROWS.min(at.given - skipped), ty)?.len() {
                            0 => break,
                            values => skipped += values,
                        }
                    }
                    series
                }
                Err(error) => {
                    if at.given == 0 {
                        let weight = delta.weight(at.row);
                        step.errors.push(row_error(&error, kept.rows().columns(), at.row, weight));
                    }
                    None
                }
            });
        }
        Ok(())
    }

    /// At most `room` more rows of the row at this place; how many there were, and whether there may be more.
    fn gather(&mut self, delta: &Delta, at: Place, room: usize, gathered: &mut Gathered) -> Result<(usize, bool)> {
        let (mut given, mut more) = (0, false);
        gathered.counts.clear();
        for ((list, open), (places, made)) in self.lists.iter().zip(&mut self.open).zip(&mut gathered.elements) {
            let count = match (list, open) {
                (Elements::List(column), _) => {
                    let list = list_at(delta, *column)?;
                    let start = list.value_offsets()[at.row] as usize + at.given.min(length_at(list, at.row));
                    let left = length_at(list, at.row).saturating_sub(at.given);
                    let count = left.min(room);
                    more |= count < left;
                    places.extend((start..start + count).map(|place| Some(place as u32)));
                    count
                }
                (Elements::Series(args), Some(series)) => {
                    let values = series.take(room, delta.rows().column(args[0]).data_type())?;
                    let count = values.len();
                    more |= count == room;
                    made.push(values);
                    count
                }
                (Elements::Series(_), None) => 0,
            };
            given = given.max(count);
            gathered.counts.push(count);
        }
        if given == 0 && at.given == 0 && self.outer {
            given = 1;
        }
        for ((list, &count), (places, made)) in self.lists.iter().zip(&gathered.counts).zip(&mut gathered.elements) {
            match list {
                Elements::List(_) => places.extend(std::iter::repeat_n(None, given - count)),
                Elements::Series(args) if given > count => {
                    made.push(new_null_array(delta.rows().column(args[0]).data_type(), given - count));
                }
                Elements::Series(_) => {}
            }
        }
        gathered.rows.extend(std::iter::repeat_n(at.row as u32, given));
        Ok((given, more))
    }
}

impl Operator for Unnest {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        let (input, most) = (inputs.first().copied().unwrap_or_default(), self.step_rows);
        let mut backlog = std::mem::take(&mut self.backlog);
        let progress = backlog.work_off(input, most, |delta, at| self.unnest(delta, at, step));
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
        self.open.clear();
        self.backlog.load(saved)
    }
}

fn list_at(delta: &Delta, column: usize) -> Result<&ListArray> {
    let list = delta.rows().column(column).as_list_opt::<i32>();
    list.ok_or_else(|| Error::internal("unnest of a column that is no list"))
}

fn length_at(list: &ListArray, row: usize) -> usize {
    if list.is_null(row) { 0 } else { list.value_length(row) as usize }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::*;
    use super::*;
    use arrow::datatypes::{DataType, Field};
    use datafusion::scalar::ScalarValue;

    fn elements(value: &ScalarValue) -> Vec<ScalarValue> {
        let ScalarValue::List(list) = value else { panic!("a list expected") };
        if list.is_null(0) {
            return Vec::new();
        }
        let values = list.value(0);
        (0..values.len()).map(|at| ScalarValue::try_from_array(&values, at).expect("a value")).collect()
    }

    #[test]
    fn lists_go_side_by_side() {
        let list = |item: DataType| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let schema = schema_of(&[("i", list(DataType::Int16)), ("a", DataType::Int16), ("t", list(DataType::Utf8))]);
        let output = schema_of(&[("i", DataType::Int16), ("a", DataType::Int16), ("t", DataType::Utf8)]);
        for (outer, step_rows) in [(false, 3), (false, 1), (true, 2), (true, STEP_OUTPUT_ROWS)] {
            check(&Property {
                name: "unnest",
                inputs: vec![Input::new(&schema, Route::Row)],
                subject: &|_| {
                    let output = output.clone();
                    Box::new(Remade::new(move || {
                        Box::new(
                            Unnest::new(&[Elements::List(0), Elements::List(2)], outer, &output)
                                .with_step_rows(step_rows),
                        )
                    }))
                },
                keeps: Keeps::Nothing,
                expected: &|inputs| {
                    let mut rows = Vec::new();
                    for row in &inputs[0] {
                        let (ints, texts) = (elements(&row[0]), elements(&row[2]));
                        let length = ints.len().max(texts.len()).max(usize::from(outer));
                        for at in 0..length {
                            let int = ints.get(at).cloned().unwrap_or(ScalarValue::Int16(None));
                            let text = texts.get(at).cloned().unwrap_or(ScalarValue::Utf8(None));
                            rows.push(vec![int, row[1].clone(), text]);
                        }
                    }
                    Expected::rows(rows)
                },
            });
        }
    }

    #[test]
    fn series_go_beside_lists() {
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int16, true)));
        let int = DataType::Int16;
        let input = [("a", int.clone()), ("s", int.clone()), ("l", list), ("stop", int.clone()), ("step", int.clone())];
        let (schema, output) = (schema_of(&input), schema_of(&[("a", int.clone()), ("s", int.clone()), ("l", int)]));
        let lists = [Elements::Series(vec![1, 3, 4]), Elements::List(2)];
        let number = |value: &ScalarValue| match value {
            ScalarValue::Int16(value) => value.map(i64::from),
            _ => panic!("an int2 expected"),
        };
        for (outer, step_rows) in [(false, 3), (true, 1), (true, STEP_OUTPUT_ROWS)] {
            check(&Property {
                name: "unnest of a series",
                inputs: vec![Input::new(&schema, Route::Row)],
                subject: &|_| {
                    let (output, lists) = (output.clone(), lists.clone());
                    Box::new(Remade::new(move || {
                        Box::new(Unnest::new(&lists, outer, &output).with_step_rows(step_rows))
                    }))
                },
                keeps: Keeps::Nothing,
                expected: &|inputs| {
                    let mut expected = Expected::default();
                    for row in &inputs[0] {
                        let mut series = Vec::new();
                        if let (Some(start), Some(stop), Some(step)) =
                            (number(&row[1]), number(&row[3]), number(&row[4]))
                        {
                            let mut next = start;
                            while step != 0 && (if step > 0 { next <= stop } else { next >= stop }) {
                                series.push(ScalarValue::Int16(Some(next as i16)));
                                next += step;
                            }
                            if step == 0 {
                                let state = crate::error::SqlState::INVALID_PARAMETER_VALUE;
                                expected.errors.push((state, "step size cannot equal zero".to_owned()));
                            }
                        }
                        let ints = elements(&row[2]);
                        for at in 0..ints.len().max(series.len()).max(usize::from(outer)) {
                            let value = |of: &[ScalarValue]| of.get(at).cloned().unwrap_or(ScalarValue::Int16(None));
                            expected.rows.push(vec![row[0].clone(), value(&series), value(&ints)]);
                        }
                    }
                    expected
                },
            });
        }
    }

    /// Rows and volume of the deltas of one step after the other, and how many steps there were.
    fn steps(unnest: &mut Unnest, delta: Delta) -> (Vec<(usize, usize)>, usize) {
        let (mut all, mut steps, input) = (Vec::new(), 0, [delta]);
        let mut fed: &[Delta] = &input;
        loop {
            let (mut out, mut errors) = (Vec::new(), RowErrors::default());
            let mut step = Step {
                before: 0,
                after: 1,
                oldest: 0,
                end_of_epoch: false,
                now: 0,
                out: &mut out,
                errors: &mut errors,
            };
            let progress = unnest.step(&[fed], &mut step).expect("a step");
            assert!(errors.is_empty());
            assert!(
                out.iter().map(Delta::volume).sum::<usize>() < 2 * STEP_OUTPUT_ROWS,
                "a step gives a bounded amount"
            );
            (fed, steps) = (&[], steps + 1);
            all.extend(out.iter().map(|delta| (delta.len(), delta.volume())));
            if progress == Progress::Done {
                return (all, steps);
            }
        }
    }

    /// A batch of its rows would hold 8192 copies of the list, more than a list column can.
    #[test]
    fn a_long_list_is_not_repeated() {
        const LENGTH: usize = 300_000;
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>([Some(
            (0..LENGTH as i32).map(Some).collect::<Vec<_>>(),
        )]));
        let schema = schema_of(&[("l", lists.data_type().clone())]);
        let output = schema_of(&[("l", DataType::Int32)]);
        let rows = RecordBatch::try_new(schema, vec![lists]).unwrap();
        let (out, _) = steps(&mut Unnest::new(&[Elements::List(0)], false, &output), Delta::insertions(rows));
        assert_eq!(out.iter().map(|(rows, _)| rows).sum::<usize>(), LENGTH);
    }

    #[test]
    fn wide_rows_are_repeated_in_small_batches() {
        let lists: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>([Some(vec![Some(7); 300])]));
        let schema = schema_of(&[("l", lists.data_type().clone()), ("t", DataType::Utf8)]);
        let output = schema_of(&[("l", DataType::Int32), ("t", DataType::Utf8)]);
        let text: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["x".repeat(1 << 20)]));
        let rows = RecordBatch::try_new(schema, vec![lists, text]).unwrap();
        let (out, steps) = steps(&mut Unnest::new(&[Elements::List(0)], false, &output), Delta::insertions(rows));
        assert_eq!(out.iter().map(|(rows, _)| rows).sum::<usize>(), 300);
        assert!(out.iter().all(|(_, volume)| *volume <= BATCH_BYTES / 1024 + 1024));
        assert!(steps >= 2);
    }

    /// As arrays they would have 80 billion elements.
    #[test]
    fn series_are_made_as_they_are_given_out() {
        const ROWS: usize = 8_000;
        let int = |value: i32| Arc::new(arrow::array::Int32Array::from(vec![value; ROWS])) as ArrayRef;
        let schema = schema_of(&[("s", DataType::Int32), ("stop", DataType::Int32), ("step", DataType::Int32)]);
        let rows = RecordBatch::try_new(schema, vec![int(1), int(10_000_000), int(1)]).unwrap();
        let mut unnest = Unnest::new(&[Elements::Series(vec![0, 1, 2])], false, &schema_of(&[("s", DataType::Int32)]));
        let (mut out, mut errors) = (Vec::new(), RowErrors::default());
        let mut step =
            Step { before: 0, after: 1, oldest: 0, end_of_epoch: false, now: 0, out: &mut out, errors: &mut errors };
        assert_eq!(unnest.step(&[&[Delta::insertions(rows)]], &mut step).unwrap(), Progress::More);
        assert_eq!(out.iter().map(Delta::len).sum::<usize>(), STEP_OUTPUT_ROWS);
    }
}
