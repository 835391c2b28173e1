//! The kit for property tests of operators: random deltas, cut anywhere, on one to three workers, with state saved and
//! loaded between any two steps; after every epoch the running sum of the output must be what a naive batch
//! computation gives over the running sum of the inputs.
//!
//! ```text
//!   check(&Property {
//!       name: "distinct",
//!       inputs: vec![Input::new(&schema, Route::Row)],
//!       subject: &|worker| Box::new(Remade::new(move || build the operator for this worker)),
//!       keeps: Keeps::Rows,
//!       expected: &|inputs| Expected::rows(naive result over inputs[0], one entry a row),
//!   });
//! ```
//!
//! What it says of the bytes it holds must go with what it keeps, and go when the rows do ([`Keeps`]).
//!
//! A [`Subject`] is what is driven: an operator alone ([`Remade`]), or an operator together with the arrangements in
//! front of it. Every run is seeded; a failure names the seed, and `check_seed` repeats it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, SchemaRef, TimeUnit, i256};
use datafusion::scalar::ScalarValue;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

pub use super::RowErrors;
use super::{Operator, Progress, Step};
use crate::delta::Delta;
use crate::error::{Result, SqlState};

pub type Row = Vec<ScalarValue>;

/// What is tested. Inputs are numbered as the operator numbers them.
pub struct Property<'a> {
    pub name: &'a str,
    pub inputs: Vec<Input>,
    /// One for each worker.
    pub subject: &'a dyn Fn(usize) -> Box<dyn Subject>,
    pub keeps: Keeps,
    /// The batch answer over each input's rows (a row of weight 2 is there twice).
    pub expected: &'a dyn Fn(&[Vec<Row>]) -> Expected,
}

/// What stays of input that is worked off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    /// As much of one row as of many.
    Summary,
    /// Something of every row or group.
    Something,
    /// Most rows, with their texts.
    Rows,
}

/// One input: its columns, which worker a row goes to, and whether rows may leave it.
pub struct Input {
    pub schema: SchemaRef,
    pub route: Route,
    pub append_only: bool,
}

impl Input {
    pub fn new(schema: &SchemaRef, route: Route) -> Input {
        Input { schema: schema.clone(), route, append_only: false }
    }

    pub fn append_only(schema: &SchemaRef, route: Route) -> Input {
        Input { schema: schema.clone(), route, append_only: true }
    }
}

/// What the exchange in front of the operator would do.
#[derive(Clone, Debug)]
pub enum Route {
    Key(Vec<usize>),
    Row,
    One,
    All,
}

/// The answer of the naive computation.
#[derive(Default)]
pub struct Expected {
    pub rows: Vec<Row>,
    /// Recorded errors by state and message.
    pub errors: Vec<(SqlState, String)>,
}

impl Expected {
    pub fn rows(rows: Vec<Row>) -> Expected {
        Expected { rows, ..Expected::default() }
    }
}

pub trait Subject {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress>;

    /// Replaces the state by what saving and loading it gives.
    fn save_and_load(&mut self) -> Result<()>;

    fn state_bytes(&self) -> usize;

    /// Lets go of what was kept for readers of older versions.
    fn give_back(&mut self) -> Result<()> {
        Ok(())
    }
}

/// An operator alone, with how to make it afresh.
pub struct Remade<F> {
    make: F,
    operator: Box<dyn Operator>,
}

impl<F: Fn() -> Box<dyn Operator>> Remade<F> {
    pub fn new(make: F) -> Remade<F> {
        let operator = make();
        Remade { make, operator }
    }
}

impl<F: Fn() -> Box<dyn Operator>> Subject for Remade<F> {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        self.operator.step(inputs, step)
    }

    fn save_and_load(&mut self) -> Result<()> {
        let saved = self.operator.save()?;
        self.operator = (self.make)();
        self.operator.load(&saved)
    }

    fn state_bytes(&self) -> usize {
        self.operator.state_bytes()
    }
}

/// Runs the property under many seeds.
pub fn check(property: &Property) {
    for seed in 0..60 {
        check_seed(property, seed);
    }
    check_bytes(property);
}

/// Rows of each input in [`check_bytes`], how often they come, characters of their texts, and bytes that may be left of a state that holds no row.
const MANY: usize = 100;
const ROUNDS: usize = 6;
const LONG: usize = 1000;
const SMALL: usize = 1024;

/// What its state takes on one worker that again and again has many rows, which all differ, and then none of them.
pub fn check_bytes(property: &Property) {
    let rng = &mut StdRng::seed_from_u64(0);
    let mut run = Run::new(property, 1);
    let Property { name, inputs, keeps, .. } = property;
    // Constants are there from the first step on.
    run.feed(vec![Vec::new(); inputs.len()]);
    let (fresh, mut left) = (run.state_bytes(), Vec::new());
    let texts: usize = inputs.iter().map(|input| text_columns(&input.schema)).sum();
    for round in 0..ROUNDS {
        let numbers = round * MANY..(round + 1) * MANY;
        let rows =
            |input: &Input| numbers.clone().map(|number| (numbered_row(rng, &input.schema, number), 1)).collect();
        let mut changes: Vec<Vec<(Row, i64)>> = inputs.iter().map(rows).collect();
        run.feed(changes.clone());
        let full = run.state_bytes();
        match keeps {
            Keeps::Nothing => assert_eq!(full, fresh, "{name} keeps nothing"),
            Keeps::Summary => assert!(full > 0, "{name}: no bytes with {MANY} rows"),
            Keeps::Something => assert!(full > fresh, "{name}: {full} bytes with {MANY} rows"),
            Keeps::Rows => {
                let least = fresh + (texts * MANY * LONG / 2).max(1);
                assert!(full >= least, "{name}: {full} bytes are fewer than {least}");
            }
        }
        if inputs.iter().any(|input| input.append_only) {
            return;
        }
        changes.iter_mut().flatten().for_each(|(_, weight)| *weight = -1);
        run.feed(changes);
        run.workers[0].give_back().unwrap_or_else(|e| panic!("{name}: give back: {e:?}"));
        left.push(run.state_bytes());
    }
    // Room for rows to come may stay, but it does not grow for ever.
    let [.., before, _, last] = left[..] else { return };
    assert!(last <= before + SMALL, "{name}: {left:?} bytes are left without rows");
    run.workers[0].save_and_load().unwrap_or_else(|e| panic!("{name}: save and load: {e:?}"));
    let nothing = run.state_bytes();
    assert!(nothing <= fresh + SMALL, "{name}: {nothing} bytes of a state that holds no row, {fresh} of a new one");
}

fn text_columns(schema: &SchemaRef) -> usize {
    schema.fields().iter().filter(|field| *field.data_type() == DataType::Utf8).count()
}

/// A row that no other number's is equal to, if it has a number or a text.
fn numbered_row(rng: &mut StdRng, schema: &SchemaRef, number: usize) -> Row {
    let value = |field: &Arc<Field>| match field.data_type() {
        DataType::Int16 => ScalarValue::Int16(Some(number as i16)),
        DataType::Int32 => ScalarValue::Int32(Some(number as i32)),
        DataType::Int64 => ScalarValue::Int64(Some(number as i64)),
        DataType::Float64 => ScalarValue::Float64(Some(number as f64)),
        DataType::Utf8 => ScalarValue::Utf8(Some(format!("{number:0LONG$}"))),
        other => random_value(rng, other),
    };
    schema.fields().iter().map(value).collect()
}

/// Runs the property under one seed: three to eight epochs of up to 80 changes each.
pub fn check_seed(property: &Property, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let workers = rng.random_range(1..=3);
    let mut run = Run::new(property, workers);
    run.answers = true;
    let mut live: Vec<Vec<Row>> = property.inputs.iter().map(|_| Vec::new()).collect();
    for epoch in 0..rng.random_range(3..=8) {
        let changes: Vec<Vec<(Row, i64)>> =
            property.inputs.iter().zip(&mut live).map(|(input, live)| random_changes(&mut rng, input, live)).collect();
        run.epoch(&mut rng, changes);
        let context = format!("{}, seed {seed}, epoch {epoch}, {workers} workers", property.name);
        run.compare(&live, &context);
    }
}

struct Run<'a> {
    property: &'a Property<'a>,
    workers: Vec<Box<dyn Subject>>,
    sum: BTreeMap<String, i64>,
    errors: BTreeMap<(String, String), i64>,
    version: u64,
    /// Its output is summed up, and its state saved and loaded now and then.
    answers: bool,
}

impl<'a> Run<'a> {
    fn new(property: &'a Property<'a>, workers: usize) -> Run<'a> {
        Run {
            property,
            workers: (0..workers).map(|worker| (property.subject)(worker)).collect(),
            sum: BTreeMap::new(),
            errors: BTreeMap::new(),
            version: 1,
            answers: false,
        }
    }

    fn state_bytes(&self) -> usize {
        self.workers.iter().map(|worker| worker.state_bytes()).sum()
    }

    /// Feeds the first worker the changes in one step.
    fn feed(&mut self, changes: Vec<Vec<(Row, i64)>>) {
        let delta = |(input, changes): (&Input, Vec<(Row, i64)>)| {
            let (rows, weights): (Vec<Row>, Vec<i64>) = changes.into_iter().unzip();
            let delta = Delta::new(batch_of(&input.schema, &rows), Int64Array::from(weights));
            if delta.is_empty() { Vec::new() } else { vec![delta] }
        };
        let deltas = self.property.inputs.iter().zip(changes).map(delta).collect();
        self.step(&mut StdRng::seed_from_u64(0), 0, deltas, true);
        self.version += 1;
    }

    /// Feeds the changes in random slices; the last step ends the epoch.
    fn epoch(&mut self, rng: &mut StdRng, mut changes: Vec<Vec<(Row, i64)>>) {
        let mut ended = false;
        while !ended {
            let slices: Vec<Vec<(Row, i64)>> = changes
                .iter_mut()
                .map(|changes| {
                    let take = if rng.random_bool(0.3) { changes.len() } else { rng.random_range(0..=changes.len()) };
                    changes.drain(..take).collect()
                })
                .collect();
            ended = changes.iter().all(Vec::is_empty);
            for worker in 0..self.workers.len() {
                let inputs: Vec<Vec<Delta>> = self
                    .property
                    .inputs
                    .iter()
                    .zip(&slices)
                    .map(|(input, slice)| {
                        let own: Vec<(Row, i64)> = slice
                            .iter()
                            .filter(|(row, _)| input.route.reaches(row, worker, self.workers.len()))
                            .cloned()
                            .collect();
                        random_deltas(rng, &input.schema, &own)
                    })
                    .collect();
                self.step(rng, worker, inputs, ended);
            }
            self.version += 1;
        }
    }

    fn step(&mut self, rng: &mut StdRng, worker: usize, inputs: Vec<Vec<Delta>>, end_of_epoch: bool) {
        let mut given: Vec<&[Delta]> = inputs.iter().map(Vec::as_slice).collect();
        let name = self.property.name;
        for _ in 0..10_000 {
            if self.answers && rng.random_bool(0.2) {
                self.workers[worker].save_and_load().unwrap_or_else(|e| panic!("{name}: save and load: {e:?}"));
            }
            let (mut out, mut errors) = (Vec::new(), RowErrors::default());
            let mut step = Step {
                before: self.version - 1,
                after: self.version,
                oldest: self.version - 1,
                end_of_epoch,
                now: 0,
                out: &mut out,
                errors: &mut errors,
            };
            let progress = self.workers[worker].step(&given, &mut step).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            for delta in &out {
                assert!(!delta.is_empty(), "{name} emitted an empty delta");
                for row in (0..delta.len()).filter(|_| self.answers) {
                    add(&mut self.sum, text_of(&row_of(delta.rows(), row)), delta.weight(row));
                }
            }
            for error in errors {
                add(&mut self.errors, (error.state.to_string(), error.message), error.weight);
            }
            if progress == Progress::Done {
                return;
            }
            given = self.property.inputs.iter().map(|_| &[][..]).collect();
        }
        panic!("{name} never finishes a step");
    }

    fn compare(&self, live: &[Vec<Row>], context: &str) {
        let answer = (self.property.expected)(live);
        let mut expected = BTreeMap::new();
        answer.rows.iter().for_each(|row| add(&mut expected, text_of(row), 1));
        if expected != self.sum {
            let missing: Vec<_> = expected.iter().filter(|(row, n)| self.sum.get(*row) != Some(n)).collect();
            let wrong: Vec<_> = self.sum.iter().filter(|(row, n)| expected.get(*row) != Some(n)).collect();
            panic!("{context}\n  expected {missing:#?}\n  found {wrong:#?}");
        }
        let mut errors = BTreeMap::new();
        answer.errors.into_iter().for_each(|(state, message)| add(&mut errors, (state.to_string(), message), 1));
        assert_eq!(self.errors, errors, "errors: {context}");
        // Counters that go below zero show as more than anything here can take.
        let bytes = self.state_bytes();
        assert!(bytes < 1 << 30, "{bytes} bytes of state: {context}");
    }
}

impl Route {
    fn reaches(&self, row: &Row, worker: usize, workers: usize) -> bool {
        let hash = |columns: &mut dyn Iterator<Item = usize>| {
            let key: Row = columns.map(|column| normal(&row[column])).collect();
            text_of(&key).bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
        };
        match self {
            Route::Key(columns) => hash(&mut columns.iter().copied()) % workers as u64 == worker as u64,
            Route::Row => hash(&mut (0..row.len())) % workers as u64 == worker as u64,
            Route::One => worker == 0,
            Route::All => true,
        }
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, i64>, key: K, weight: i64) {
    use std::collections::btree_map::Entry;
    match sums.entry(key) {
        Entry::Vacant(entry) => {
            if weight != 0 {
                entry.insert(weight);
            }
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += weight;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Insertions (some of rows that are there already), deletions and updates; `live` is brought up to date. Within the
/// epoch they come in any order, so a row may leave before it arrives.
fn random_changes(rng: &mut StdRng, input: &Input, live: &mut Vec<Row>) -> Vec<(Row, i64)> {
    let mut changes = Vec::new();
    for _ in 0..rng.random_range(0..80) {
        let grow = input.append_only || live.is_empty() || rng.random_bool(0.5);
        if !grow {
            let gone = live.swap_remove(rng.random_range(0..live.len()));
            changes.push((gone, -1));
        }
        if grow || rng.random_bool(0.4) {
            let row = match live.choose_row(rng) {
                Some(row) if rng.random_bool(0.2) => row,
                _ => random_row(rng, &input.schema),
            };
            changes.push((row.clone(), 1));
            live.push(row);
        }
    }
    if rng.random_bool(0.5) {
        changes.shuffle(rng);
    }
    // Sometimes everything goes at once.
    if !input.append_only && rng.random_bool(0.1) {
        changes.extend(live.drain(..).map(|row| (row, -1)));
    }
    changes
}

trait ChooseRow {
    fn choose_row(&self, rng: &mut StdRng) -> Option<Row>;
}

impl ChooseRow for Vec<Row> {
    fn choose_row(&self, rng: &mut StdRng) -> Option<Row> {
        if self.is_empty() { None } else { Some(self[rng.random_range(0..self.len())].clone()) }
    }
}

/// The changes as one or several deltas, none empty; equal neighbours are sometimes one row of weight 2, and batches
/// are sometimes slices of larger ones.
fn random_deltas(rng: &mut StdRng, schema: &SchemaRef, changes: &[(Row, i64)]) -> Vec<Delta> {
    let mut deltas = Vec::new();
    let mut rest = changes;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rng.random_range(1..=rest.len()));
        rest = after;
        let mut merged: Vec<(Row, i64)> = Vec::new();
        for (row, weight) in part {
            match merged.last_mut() {
                Some((last, total)) if text_of(last) == text_of(row) && *total + weight != 0 => *total += weight,
                _ => merged.push((row.clone(), *weight)),
            }
        }
        let rows: Vec<Row> = merged.iter().map(|(row, _)| row.clone()).collect();
        let weights: Vec<i64> = merged.iter().map(|(_, weight)| *weight).collect();
        let delta = match weights.iter().all(|weight| *weight == 1) && rng.random_bool(0.8) {
            true => Delta::insertions(batch_of(schema, &rows)),
            false => Delta::new(batch_of(schema, &rows), Int64Array::from(weights)),
        };
        let cut = rng.random_range(0..delta.len());
        if cut > 0 && rng.random_bool(0.3) {
            deltas.push(delta.slice(0, cut));
            deltas.push(delta.slice(cut, delta.len() - cut));
        } else {
            deltas.push(delta);
        }
    }
    deltas
}

pub fn schema_of(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, ty)| Field::new(*name, ty.clone(), true)).collect::<Vec<_>>()))
}

pub fn batch_of(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let column = |at: usize, field: &Arc<Field>| -> ArrayRef {
        if rows.is_empty() {
            return arrow::array::new_empty_array(field.data_type());
        }
        ScalarValue::iter_to_array(rows.iter().map(|row| row[at].clone())).expect("values of the column's type")
    };
    let columns: Vec<ArrayRef> = schema.fields().iter().enumerate().map(|(at, field)| column(at, field)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).expect("rows of the schema")
}

pub fn row_of(rows: &RecordBatch, row: usize) -> Row {
    rows.columns().iter().map(|column| ScalarValue::try_from_array(column, row).expect("a value")).collect()
}

/// A text that differs for values that differ in a bit (NaN is one value).
pub fn text_of(row: &Row) -> String {
    row.iter()
        .map(|value| match value {
            ScalarValue::Float64(Some(v)) if v.is_nan() => "NaN".to_owned(),
            ScalarValue::Float32(Some(v)) if v.is_nan() => "NaN".to_owned(),
            ScalarValue::Float64(Some(v)) => format!("{v:?}"),
            ScalarValue::Float32(Some(v)) => format!("{v:?}f"),
            ScalarValue::List(list) => format!("{:?}", list.value_or_null()),
            other => format!("{other:?}"),
        })
        .collect::<Vec<_>>()
        .join(" | ")
}

trait ValueOrNull {
    fn value_or_null(&self) -> Option<Vec<String>>;
}

impl ValueOrNull for Arc<ListArray> {
    fn value_or_null(&self) -> Option<Vec<String>> {
        if self.is_null(0) {
            return None;
        }
        let values = self.value(0);
        let texts = (0..values.len()).map(|at| ScalarValue::try_from_array(&values, at).expect("a value"));
        Some(texts.map(|value| text_of(&vec![value])).collect())
    }
}

/// -0.0 as 0.0, any NaN as one: the value as a key.
pub fn normal(value: &ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Float64(Some(v)) => ScalarValue::Float64(Some(super::keys::canonical_f64(*v))),
        ScalarValue::Float32(Some(v)) => ScalarValue::Float32(Some(super::keys::canonical_f32(*v))),
        other => other.clone(),
    }
}

/// Rows grouped by some columns (normalised), in order of first appearance.
pub fn groups_of(rows: &[Row], columns: &[usize]) -> Vec<(Row, Vec<Row>)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<(Row, Vec<Row>)> = Vec::new();
    for row in rows {
        let key: Row = columns.iter().map(|&column| normal(&row[column])).collect();
        let place = *places.entry(text_of(&key)).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(row.clone());
    }
    groups
}

pub fn random_row(rng: &mut StdRng, schema: &SchemaRef) -> Row {
    schema.fields().iter().map(|field| random_value(rng, field.data_type())).collect()
}

/// From small domains, so that values repeat; one in seven is NULL.
pub fn random_value(rng: &mut StdRng, data_type: &DataType) -> ScalarValue {
    if rng.random_range(0..7) == 0 {
        return ScalarValue::try_from(data_type).expect("a NULL of the type");
    }
    const FLOATS: [f64; 12] =
        [0.0, -0.0, 1.5, -2.25, 0.1, 0.2, 1e300, -1e300, 1e-300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    const TEXTS: [&str; 8] = ["", "a", "b", "ab", "B", "zürich", "NULL", "a longer text, of more than twenty bytes"];
    match data_type {
        DataType::Boolean => ScalarValue::Boolean(Some(rng.random())),
        DataType::Int16 => ScalarValue::Int16(Some(rng.random_range(-3..4))),
        DataType::Int32 => ScalarValue::Int32(Some(rng.random_range(-3..4))),
        DataType::Int64 => ScalarValue::Int64(Some(rng.random_range(-3..4))),
        DataType::Float32 => ScalarValue::Float32(Some(FLOATS[rng.random_range(0..FLOATS.len())] as f32)),
        DataType::Float64 => ScalarValue::Float64(Some(FLOATS[rng.random_range(0..FLOATS.len())])),
        DataType::Decimal128(p, s) => ScalarValue::Decimal128(Some(rng.random_range(-500..500)), *p, *s),
        DataType::Decimal256(p, s) => {
            ScalarValue::Decimal256(Some(i256::from_i128(rng.random_range(-500..500))), *p, *s)
        }
        DataType::Utf8 => ScalarValue::Utf8(Some(TEXTS[rng.random_range(0..TEXTS.len())].to_owned())),
        DataType::Binary => ScalarValue::Binary(Some(vec![rng.random_range(0..3); rng.random_range(0..3)])),
        DataType::Date32 => ScalarValue::Date32(Some(rng.random_range(-2..3))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            ScalarValue::TimestampMicrosecond(Some(rng.random_range(-50..50)), zone.clone())
        }
        DataType::Interval(_) => ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(
            rng.random_range(-1..2),
            rng.random_range(-31..32),
            rng.random_range(-2..3) * 1000,
        ))),
        DataType::List(field) => {
            let values: Vec<ScalarValue> =
                (0..rng.random_range(0..4)).map(|_| random_value(rng, field.data_type())).collect();
            let items = match values.is_empty() {
                true => arrow::array::new_empty_array(field.data_type()),
                false => ScalarValue::iter_to_array(values).expect("values of the element type"),
            };
            let offsets = OffsetBuffer::from_lengths([items.len()]);
            ScalarValue::List(Arc::new(ListArray::new(field.clone(), offsets, items, None)))
        }
        other => panic!("no random values of {other}"),
    }
}
