//! Random tables, and random changes of their rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use riverrun::catalog::Relation;
use riverrun::engine::{Engine, WriteJob, WriteOutcome, WriteScope};
use riverrun::error::Result;

/// Types the generator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Big,
    Text,
    Numeric,
    Float,
    Bool,
    Time,
}

impl Kind {
    pub const ALL: [Kind; 7] = [Kind::Int, Kind::Big, Kind::Text, Kind::Numeric, Kind::Float, Kind::Bool, Kind::Time];

    pub fn sql(self) -> &'static str {
        match self {
            Kind::Int => "int",
            Kind::Big => "bigint",
            Kind::Text => "text",
            Kind::Numeric => "numeric(10,2)",
            Kind::Float => "float8",
            Kind::Bool => "boolean",
            Kind::Time => "timestamp",
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Big | Kind::Numeric | Kind::Float)
    }
}

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<(String, Kind)>,
    /// The first column is the primary key.
    pub keyed: bool,
}

impl Table {
    pub fn random(random: &mut StdRng, name: String) -> Table {
        let mut columns = vec![("a".to_string(), Kind::Int), ("b".to_string(), Kind::Int)];
        for index in 0..random.random_range(1..=4) {
            let name = ["c", "d", "e", "f"][index].to_string();
            columns.push((name, *Kind::ALL.choose(random).expect("kinds")));
        }
        Table { name, columns, keyed: random.random_bool(0.5) }
    }

    pub fn create(&self) -> String {
        let key = if self.keyed { " PRIMARY KEY" } else { "" };
        let columns = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (name, kind))| format!("{name} {}{}", kind.sql(), if index == 0 { key } else { "" }));
        format!("CREATE TABLE {} ({})", self.name, columns.collect::<Vec<_>>().join(", "))
    }
}

/// One to three changes, alone or in one transaction.
pub async fn change(engine: &Arc<Engine>, random: &mut StdRng, tables: &mut [(Table, Arc<Relation>)]) -> Result<()> {
    let jobs = random.random_range(1..=3);
    let mut transaction = random.random_bool(0.3).then(|| engine.begin());
    for _ in 0..jobs {
        let (table, relation) = tables.choose(random).expect("tables");
        let job = Change { table: table.clone(), relation: relation.clone(), seed: random.random() };
        match &mut transaction {
            Some(transaction) => drop(transaction.write(Box::new(job)).await?),
            None => drop(engine.write(Box::new(job)).await?),
        }
    }
    match transaction {
        Some(transaction) => transaction.commit(Default::default()).await,
        None => Ok(()),
    }
}

/// Some rows inserted, updated or deleted.
struct Change {
    table: Table,
    relation: Arc<Relation>,
    seed: u64,
}

impl WriteJob for Change {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        use rand::SeedableRng;
        let mut random = StdRng::seed_from_u64(self.seed);
        let id = self.relation.id;
        let existing = scope.read()?.scan(id)?.collect::<Result<Vec<_>>>()?;
        let existing = arrow::compute::concat_batches(&self.relation.stored_schema(), &existing)?;
        let some = |random: &mut StdRng, share: f64| -> UInt32Array {
            (0..existing.num_rows() as u32).filter(|_| random.random_bool(share)).collect()
        };
        match random.random_range(0..10) {
            0..5 => {
                let count = random.random_range(1..=12);
                let mut rows = self.rows(&mut random, count);
                if self.table.keyed {
                    rows = self.new_keys(rows, &existing)?;
                }
                let rows = scope.insert(id, rows)?.num_rows() as u64;
                Ok(WriteOutcome { rows, returned: Vec::new() })
            }
            5..8 => {
                let old = arrow::compute::take_record_batch(&existing, &some(&mut random, 0.3))?;
                let fresh = self.rows(&mut random, old.num_rows());
                let mut columns = fresh.columns().to_vec();
                // Keys stay; so do the hidden row ids.
                for (index, column) in columns.iter_mut().enumerate() {
                    let key = self.relation.key_columns().contains(&index);
                    if key || random.random_bool(0.4) {
                        *column = old.column(index).clone();
                    }
                }
                let new = RecordBatch::try_new(old.schema(), columns)?;
                let rows = old.num_rows() as u64;
                scope.update(id, old, new)?;
                Ok(WriteOutcome { rows, returned: Vec::new() })
            }
            8 => {
                let old = arrow::compute::take_record_batch(&existing, &some(&mut random, 0.3))?;
                let rows = old.num_rows() as u64;
                scope.delete(id, old)?;
                Ok(WriteOutcome { rows, returned: Vec::new() })
            }
            _ => {
                let share = if random.random_bool(0.2) { 1.0 } else { 0.7 };
                let old = arrow::compute::take_record_batch(&existing, &some(&mut random, share))?;
                let rows = old.num_rows() as u64;
                scope.delete(id, old)?;
                Ok(WriteOutcome { rows, returned: Vec::new() })
            }
        }
    }
}

impl Change {
    fn rows(&self, random: &mut StdRng, count: usize) -> RecordBatch {
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (index, (_, kind)) in self.table.columns.iter().enumerate() {
            let nulls = if self.table.keyed && index == 0 { 0.0 } else { 0.15 };
            columns.push(values(random, *kind, count, nulls));
        }
        if self.relation.has_row_id() {
            columns.push(Arc::new(Int64Array::from(vec![0; count])));
        }
        RecordBatch::try_new(self.relation.stored_schema(), columns).expect("rows of the table")
    }

    /// Keys that no row has.
    fn new_keys(&self, rows: RecordBatch, existing: &RecordBatch) -> Result<RecordBatch> {
        let keys = existing.column(0).as_any().downcast_ref::<Int32Array>().expect("int keys");
        let used: std::collections::HashSet<i32> = keys.values().iter().copied().collect();
        let free: Vec<i32> = (0..).filter(|key| !used.contains(key)).take(rows.num_rows()).collect();
        let mut columns = rows.columns().to_vec();
        columns[0] = Arc::new(Int32Array::from(free));
        Ok(RecordBatch::try_new(rows.schema(), columns)?)
    }
}

/// Few different values, so that rows meet.
fn values(random: &mut StdRng, kind: Kind, count: usize, nulls: f64) -> ArrayRef {
    let some = |random: &mut StdRng| !random.random_bool(nulls);
    macro_rules! column {
        ($make:expr) => {
            (0..count).map(|_| some(random).then(|| $make)).collect()
        };
    }
    match kind {
        Kind::Int => Arc::<Int32Array>::new(column!(random.random_range(-2..8))),
        Kind::Big => Arc::<Int64Array>::new(column!(random.random_range(-3..6) * 1_000_000_007)),
        Kind::Text => Arc::<StringArray>::new(column!(
            ["", "a", "b", "ab", "Zürich", "longer than twelve bytes"].choose(random).copied().unwrap_or_default()
        )),
        Kind::Numeric => {
            let cents: Decimal128Array = column!(random.random_range(-500..500i128));
            Arc::new(cents.with_precision_and_scale(10, 2).expect("fits"))
        }
        Kind::Float => {
            Arc::<Float64Array>::new(column!(*[0.0, 0.1, 1e16, -1e16, 2.5, -7.25].choose(random).unwrap_or(&0.0)))
        }
        Kind::Bool => Arc::<BooleanArray>::new(column!(random.random_bool(0.5))),
        Kind::Time => Arc::<TimestampMicrosecondArray>::new(column!(
            1_700_000_000_000_000 + random.random_range(0..40) * 15_000_000
        )),
    }
}
