//! The circuit alone: what views pass on to the views above them, over steps, passes, strata and workers.
//!
//! An expression that writes down every row it sees shows the deltas that a view is given ([`Seen`]).

use std::fmt;
use std::hash::{Hash, Hasher};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::plan::{PlanNode, SetOpKind};
use super::*;
use crate::operators::aggregate::{AggregateCall, AggregateFunction};

type Row = Vec<i64>;

const TABLE: RelationId = RelationId(1);

/// The first column, and a list of all rows it was asked for.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<Row>>>);

impl Seen {
    /// What was seen since the last call, in order of the values.
    fn take(&self) -> Vec<Row> {
        let mut rows = std::mem::take(&mut *self.0.lock());
        rows.sort();
        rows
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Seen {}

impl Hash for Seen {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seen")
    }
}

impl PhysicalExpr for Seen {
    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        self.0.lock().extend(rows_in(batch));
        Ok(ColumnarValue::Array(batch.column(0).clone()))
    }

    fn return_field(&self, input: &Schema) -> DfResult<FieldRef> {
        Ok(input.fields()[0].clone())
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seen")
    }
}

fn rows_in(batch: &RecordBatch) -> impl Iterator<Item = Row> + '_ {
    let value = |column: &ArrayRef, row: usize| column.as_primitive::<Int64Type>().value(row);
    (0..batch.num_rows()).map(move |row| batch.columns().iter().map(|column| value(column, row)).collect())
}

fn schema(columns: &[&str]) -> SchemaRef {
    let field = |name: &&str| Field::new(*name, DataType::Int64, true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// A plan as it is written down: each node with the columns of its output; the last one is the view.
#[derive(Default)]
struct Plan(Vec<PlanNode>);

impl Plan {
    fn node(&mut self, op: OpSpec, inputs: &[usize], columns: &[&str]) -> usize {
        self.0.push(PlanNode { op, inputs: inputs.to_vec(), schema: schema(columns), append_only: false });
        self.0.len() - 1
    }

    fn source(&mut self, relation: RelationId, columns: &[&str]) -> usize {
        self.node(OpSpec::Source { relation }, &[], columns)
    }

    fn by_key(&mut self, input: usize, columns: &[&str]) -> usize {
        let exchange = self.node(OpSpec::Exchange { to: ExchangeTo::Key(vec![0]) }, &[input], columns);
        self.node(OpSpec::Arrange { key: vec![0] }, &[exchange], columns)
    }

    fn columns_of(&mut self, input: usize, columns: &[(usize, &str)]) -> usize {
        let column = |(at, name): &(usize, &str)| Arc::new(Column::new(name, *at)) as Arc<dyn PhysicalExpr>;
        let exprs = columns.iter().map(column).collect();
        let names: Vec<&str> = columns.iter().map(|(_, name)| *name).collect();
        self.node(OpSpec::Map { exprs, filter: None }, &[input], &names)
    }

    fn count(&mut self, group: &[usize], input: usize, columns: &[&str]) -> usize {
        let function = AggregateFunction::CountRows;
        let output = DataType::Int64;
        let call = AggregateCall { function, args: vec![], filter: None, distinct: false, order_by: vec![], output };
        let op = OpSpec::Aggregate { group: group.to_vec(), calls: vec![call], global: group.is_empty() };
        self.node(op, &[input], columns)
    }
}

/// A table of keys and values, and views over it.
struct Live {
    circuit: Circuit,
    version: Version,
    next: u32,
}

impl Live {
    fn start(workers: usize) -> Live {
        let circuit = Circuit::start(workers).unwrap();
        circuit.add_table(TABLE, schema(&["k", "v"]), vec![0]).unwrap();
        Live { circuit, version: 0, next: TABLE.0 + 1 }
    }

    /// Made while the table is empty.
    fn view(&mut self, plan: Plan) -> (RelationId, Shards) {
        let id = RelationId(self.next);
        self.next += 1;
        let plan = CircuitPlan { output: plan.0.len() - 1, nodes: plan.0 };
        let mut fill = self.circuit.begin_fill(&[(id, plan)]).unwrap();
        while self.circuit.feed(&mut fill, Vec::new(), 0).unwrap() {}
        let shards = self.circuit.install(&fill, id).unwrap();
        self.circuit.abandon(fill).unwrap();
        (id, shards)
    }

    /// A view that shows which rows of another one it is given.
    fn watch(&mut self, view: RelationId, columns: &[&str]) -> Seen {
        let (mut plan, seen) = (Plan::default(), Seen::default());
        let source = plan.source(view, columns);
        plan.node(OpSpec::Map { exprs: vec![Arc::new(seen.clone())], filter: None }, &[source], &columns[..1]);
        self.view(plan);
        seen.take();
        seen
    }

    /// An epoch of steps of changed rows; how many passes it took.
    fn epoch(&mut self, steps: &[&[(i64, i64, i64)]]) -> u64 {
        let step = |changes: &&[(i64, i64, i64)]| {
            // One delta a change, so that each worker gets some.
            let delta = |&(key, value, weight): &(i64, i64, i64)| {
                let columns: Vec<ArrayRef> =
                    vec![Arc::new(Int64Array::from(vec![key])), Arc::new(Int64Array::from(vec![value]))];
                let rows = RecordBatch::try_new(schema(&["k", "v"]), columns).unwrap();
                Delta::new(rows, Int64Array::from(vec![weight]))
            };
            vec![(TABLE, changes.iter().map(delta).collect())]
        };
        let input = EpochInput { steps: steps.iter().map(step).collect(), oldest: self.version, now: 0 };
        let output = self.circuit.run_epoch(input).unwrap();
        assert!(output.failed.is_empty() && output.errors.is_empty(), "{:?}", output.failed);
        let passes = output.version - self.version;
        self.version = output.version;
        passes
    }

    fn rows(&self, shards: &Shards) -> Vec<Row> {
        let mut rows = Vec::new();
        for shard in shards.0.iter() {
            for delta in shard.snapshot(self.version).unwrap() {
                let delta = delta.unwrap();
                let weights = (0..delta.len()).map(|row| delta.weight(row) as usize);
                rows.extend(rows_in(delta.rows()).zip(weights).flat_map(|(row, n)| std::iter::repeat_n(row, n)));
            }
        }
        rows.sort();
        rows
    }
}

/// The table's rows as a view.
fn all() -> Plan {
    let mut plan = Plan::default();
    plan.source(TABLE, &["k", "v"]);
    plan
}

#[test]
fn a_view_gives_one_consolidated_delta_an_epoch() {
    for workers in 1..=3 {
        let mut live = Live::start(workers);
        let (view, shards) = live.view(all());
        let seen = live.watch(view, &["k", "v"]);
        live.epoch(&[&[(1, 10, 1), (2, 20, 1), (3, 30, 1)], &[(1, 10, -1), (1, 11, 1)], &[(2, 20, -1)]]);
        assert_eq!(seen.take(), [[1, 11], [3, 30]], "what came and went within the epoch is not seen");
        assert_eq!(live.rows(&shards), [[1, 11], [3, 30]]);
        live.epoch(&[&[(1, 11, -1), (1, 12, 1)], &[(1, 12, -1), (1, 11, 1)]]);
        assert_eq!(seen.take(), Vec::<Row>::new(), "nor what is again as it was");
        live.epoch(&[&[(1, 11, -1)], &[(3, 30, -1)], &[(1, 13, 1)]]);
        assert_eq!(seen.take(), [[1, 11], [1, 13], [3, 30]], "old rows and new ones, each once");
        live.epoch(&[]);
        assert_eq!(seen.take(), Vec::<Row>::new());
        assert_eq!(live.rows(&shards), [[1, 13]]);
    }
}

/// A diamond: a view, its join with itself, and views over both. A view that ended its epoch when only one of the two below it
/// has ended theirs would show keys that are there once, or rows that are in one of them only.
#[test]
fn views_over_views_see_whole_epochs() {
    for workers in 1..=3 {
        let mut live = Live::start(workers);
        let (below, _) = live.view(all());

        let mut plan = Plan::default();
        let source = plan.source(below, &["k", "v"]);
        let rows = plan.by_key(source, &["k", "v"]);
        let join = OpSpec::Join { filter: None, null_equals_null: false };
        let pairs = plan.node(join.clone(), &[rows, rows], &["k", "v", "k2", "v2"]);
        plan.columns_of(pairs, &[(0, "k"), (3, "v")]);
        let (joined, _) = live.view(plan);

        // Both, counted: every key is there twice.
        let mut plan = Plan::default();
        let sides = [plan.source(below, &["k", "v"]), plan.source(joined, &["k", "v"])];
        let both = plan.node(OpSpec::Union, &sides, &["k", "v"]);
        let exchange = plan.node(OpSpec::Exchange { to: ExchangeTo::Key(vec![0]) }, &[both], &["k", "v"]);
        plan.count(&[0], exchange, &["k", "n"]);
        let (counts, counted) = live.view(plan);

        // One without the other: never a row.
        let mut plan = Plan::default();
        let sides = [below, joined].map(|view| {
            let source = plan.source(view, &["k", "v"]);
            plan.node(OpSpec::Exchange { to: ExchangeTo::Row }, &[source], &["k", "v"])
        });
        plan.node(OpSpec::SetOp { kind: SetOpKind::Except, all: true }, &sides, &["k", "v"]);
        let (difference, _) = live.view(plan);

        // A chain of three over the first: its rows with their counts.
        let mut plan = Plan::default();
        let (left, right) = (plan.source(below, &["k", "v"]), plan.source(counts, &["k", "n"]));
        let (left, right) = (plan.by_key(left, &["k", "v"]), plan.by_key(right, &["k", "n"]));
        let pairs = plan.node(join, &[left, right], &["k", "v", "k2", "n"]);
        plan.columns_of(pairs, &[(0, "k"), (1, "v"), (3, "n")]);
        let (wide, widest) = live.view(plan);

        let of_counts = live.watch(counts, &["k", "n"]);
        let of_difference = live.watch(difference, &["k", "v"]);
        let of_wide = live.watch(wide, &["k", "v", "n"]);

        live.epoch(&[&[(1, 10, 1), (2, 20, 1)], &[(3, 30, 1)]]);
        assert_eq!(of_counts.take(), [[1, 2], [2, 2], [3, 2]]);
        assert_eq!(of_wide.take(), [[1, 10, 2], [2, 20, 2], [3, 30, 2]]);
        live.epoch(&[&[(1, 10, -1), (1, 11, 1)], &[(2, 20, -1), (4, 40, 1)]]);
        assert_eq!(of_counts.take(), [[2, 2], [4, 2]]);
        assert_eq!(of_wide.take(), [[1, 10, 2], [1, 11, 2], [2, 20, 2], [4, 40, 2]]);
        live.epoch(&[&[(1, 11, -1), (3, 30, -1)], &[(4, 40, -1), (3, 30, 1)]]);
        assert_eq!(of_counts.take(), [[1, 2], [4, 2]]);
        assert_eq!(of_wide.take(), [[1, 11, 2], [4, 40, 2]]);
        assert_eq!(of_difference.take(), Vec::<Row>::new());
        assert_eq!((live.rows(&counted), live.rows(&widest)), (vec![vec![3, 2]], vec![vec![3, 30, 2]]));
    }
}

/// More output than one pass may give: the passes that follow belong to the same epoch.
#[test]
fn an_epoch_of_several_passes_shows_its_end_only() {
    for workers in [1, 2] {
        let mut live = Live::start(workers);
        let (below, _) = live.view(all());
        let mut plan = Plan::default();
        let source = plan.source(below, &["k", "v"]);
        let exchange = plan.node(OpSpec::Exchange { to: ExchangeTo::One }, &[source], &["k", "v"]);
        let rows = plan.node(OpSpec::Arrange { key: vec![1] }, &[exchange], &["k", "v"]);
        let join = OpSpec::Join { filter: None, null_equals_null: false };
        let pairs = plan.node(join, &[rows, rows], &["k", "v", "k2", "v2"]);
        plan.count(&[], pairs, &["n"]);
        let (pairs, shards) = live.view(plan);
        let seen = live.watch(pairs, &["n"]);
        // All of them meet.
        let rows: Vec<(i64, i64, i64)> = (0..800).map(|key| (key, 0, 1)).collect();
        let passes = live.epoch(&[&rows]);
        assert!(
            passes > 4,
            "{passes} passes: one for the table, two with pairs, and two in which views end their epoch"
        );
        assert_eq!(seen.take(), [[0], [640_000]]);
        assert_eq!(live.rows(&shards), [[640_000]]);
        let gone: Vec<(i64, i64, i64)> = (1..800).map(|key| (key, 0, -1)).collect();
        live.epoch(&[&gone]);
        assert_eq!(seen.take(), [[1], [640_000]]);
    }
}
