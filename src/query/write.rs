//! Writes as jobs: a query that says which rows, then the change, all at one place in the order of writes.
//!
//! | job | reads | changes |
//! |---|---|---|
//! | [`Insert`]     | its source query        | inserts; with ON CONFLICT first looks for rows that have the keys |
//! | [`Update`]     | old and new rows        | replaces |
//! | [`Delete`]     | old rows                | deletes |
//! | [`Truncate`]   |                         | empties |
//! | [`InsertRows`] | rows at hand (COPY)     | inserts |
//!
//! A job may run twice (a transaction that starts over): it keeps nothing between runs.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow_row::Rows;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;

use super::gathered::Gathered;
use super::over_rows::{self, OverRows};
use super::{Parameters, constant, run};
use crate::catalog::Relation;
use crate::delta::keys::KeyCodec;
use crate::engine::{ReadView, WriteJob, WriteOutcome, WriteScope, check_not_null};
use crate::error::{Error, Result, SqlState};
use crate::sql::bind::EXCLUDED;
use crate::sql::{BoundChange, BoundInsert, BoundQuery, BoundReturning, OnConflict};
use crate::types::{Column as SqlColumn, RelationId};

/// INSERT.
pub struct Insert {
    pub insert: BoundInsert,
    pub parameters: Parameters,
}

/// UPDATE: the source yields old stored columns, then new ones.
pub struct Update {
    pub change: BoundChange,
    pub parameters: Parameters,
}

/// DELETE: the source yields old stored columns.
pub struct Delete {
    pub change: BoundChange,
    pub parameters: Parameters,
}

/// TRUNCATE, of several tables at once.
pub struct Truncate {
    pub tables: Vec<RelationId>,
}

/// Rows that are there already, in the relation's stored schema (the row id NULL): a batch of COPY.
pub struct InsertRows {
    pub relation: Arc<Relation>,
    pub rows: RecordBatch,
}

impl WriteJob for Insert {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        let relation = &self.insert.relation;
        let mut changed = Changed::new(&self.insert.returning, relation, &self.parameters, scope)?;
        let proposed = source_rows(&self.insert.source, &self.parameters, scope, 1, relation)?;
        match &self.insert.on_conflict {
            Some(conflict) if !relation.append_only() && !relation.has_row_id() => {
                on_conflict(relation, proposed, conflict, &self.parameters, &mut changed, scope)?;
            }
            _ => {
                for rows in proposed {
                    changed.add(&scope.insert(relation.id, rows?)?)?;
                }
            }
        }
        Ok(changed.outcome())
    }
}

impl WriteJob for Update {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        let relation = &self.change.relation;
        let mut changed = Changed::new(&self.change.returning, relation, &self.parameters, scope)?;
        let width = stored_schema(relation).fields().len();
        let (mut old, mut new) = (Gathered::new("rows to update")?, Gathered::new("updated rows")?);
        for pairs in source_rows(&self.change.source, &self.parameters, scope, 2, relation)? {
            let pairs = pairs?;
            let part = |from: usize, to: usize| pairs.project(&(from..to).collect::<Vec<_>>());
            old.push(as_stored(part(0, width)?, relation)?)?;
            new.push(as_stored(part(width, 2 * width)?, relation)?)?;
            changed.add(&part(width, pairs.num_columns())?)?;
            scope.check_rows(new.rows())?;
        }
        if new.rows() > 0 {
            scope.update(relation.id, old.batches(), new.batches())?;
        }
        Ok(changed.outcome())
    }
}

impl WriteJob for Delete {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        let relation = &self.change.relation;
        let mut changed = Changed::new(&self.change.returning, relation, &self.parameters, scope)?;
        let stored: Vec<usize> = (0..stored_schema(relation).fields().len()).collect();
        for old in source_rows(&self.change.source, &self.parameters, scope, 1, relation)? {
            let old = old?;
            changed.add(&old)?;
            scope.delete(relation.id, as_stored(old.project(&stored)?, relation)?)?;
        }
        Ok(changed.outcome())
    }
}

impl WriteJob for Truncate {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        for table in &self.tables {
            scope.truncate(*table)?;
        }
        Ok(WriteOutcome::default())
    }
}

impl WriteJob for InsertRows {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        let rows = self.rows.num_rows() as u64;
        if rows > 0 {
            scope.insert(self.relation.id, as_stored(self.rows.clone(), &self.relation)?)?;
        }
        Ok(WriteOutcome { rows, returned: Vec::new() })
    }
}

/// Stored columns, all of them nullable: the row id is NULL until the engine gives one.
fn stored_schema(relation: &Relation) -> SchemaRef {
    let stored = relation.stored_schema();
    let fields: Vec<Field> = stored.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

fn as_stored(rows: RecordBatch, relation: &Relation) -> Result<RecordBatch> {
    rename(rows, &stored_schema(relation))
}

fn rename(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(schema.clone(), rows.columns().to_vec())?)
}

/// Runs the query that says which rows, batch by batch; `times` stored rows stand side by side in each. It reads the state before the
/// statement, whatever becomes of the batches meanwhile.
fn source_rows(
    source: &BoundQuery,
    parameters: &Parameters,
    scope: &mut dyn WriteScope,
    times: usize,
    relation: &Relation,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let stored = stored_schema(relation);
    let fields: Vec<Field> = (0..times)
        .flat_map(|time| {
            stored.fields().iter().map(move |field| {
                // Names in a batch need not differ for Arrow, but people read them in errors.
                let name = if time == 0 { field.name().clone() } else { format!("new {}", field.name()) };
                Field::new(name, field.data_type().clone(), true)
            })
        })
        // Columns of other relations, for RETURNING.
        .chain(source.plan.schema().fields().iter().skip(times * stored.fields().len()).map(|f| f.as_ref().clone()))
        .map(|field| field.with_nullable(true))
        .collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    // Constant rows need no view of the database.
    let batches: Box<dyn Iterator<Item = Result<RecordBatch>>> = match constant::rows(&source.plan, parameters)? {
        Some(rows) => Box::new(std::iter::once(Ok(rows))),
        None => run::pull(source, parameters, scope.read()?)?,
    };
    let some = |batch: &Result<RecordBatch>| batch.as_ref().map_or(true, |rows| rows.num_rows() > 0);
    Ok(batches.filter(some).map(move |batch| rename(batch?, &schema)))
}

fn take(rows: &RecordBatch, places: Vec<u32>) -> Result<RecordBatch> {
    Ok(take_record_batch(rows, &UInt32Array::from(places))?)
}

/// INSERT ... ON CONFLICT on the primary key. What becomes of each row is told by the state before the statement, so nothing is
/// written before all are there.
fn on_conflict(
    relation: &Relation,
    proposed: impl Iterator<Item = Result<RecordBatch>>,
    conflict: &OnConflict,
    parameters: &Parameters,
    changed: &mut Changed,
    scope: &mut dyn WriteScope,
) -> Result<()> {
    let (key, schema) = (relation.key_columns(), stored_schema(relation));
    let codec = KeyCodec::new(&schema, key.clone())?;
    let view = match conflict {
        OnConflict::Nothing => None,
        OnConflict::Update { assignments, condition } => {
            let all: Vec<Expr> = assignments.iter().chain(condition).cloned().collect();
            view_for(&all, scope)?
        }
    };
    let gathered = || Gathered::new("rows of INSERT ... ON CONFLICT");
    let (mut inserted, mut old, mut new) = (gathered()?, gathered()?, gathered()?);
    // Keys that the command has inserted or updated.
    let mut affected: HashSet<Box<[u8]>> = HashSet::new();
    for proposed in proposed {
        let proposed = proposed?;
        // Of all rows, also those that are not inserted in the end.
        check_not_null(relation, &proposed)?;
        let (existing, answers) = scope.find(relation.id, &proposed.project(&key)?)?;
        let mut holder: Vec<Option<u32>> = vec![None; proposed.num_rows()];
        for (row, place) in answers.iter().enumerate() {
            holder[*place as usize] = Some(row as u32);
        }
        let keys = codec.of_rows(&proposed)?;
        let (mut fresh, mut taken) = (Vec::new(), Vec::new());
        for (row, holder) in holder.iter().enumerate() {
            match holder {
                Some(holder) => taken.push((row as u32, *holder)),
                None if affected.insert(keys.row(row).data().into()) => fresh.push(row as u32),
                // The row this one conflicts with came with the same command.
                None if matches!(conflict, OnConflict::Nothing) => {}
                None => return Err(second_time()),
            }
        }
        let mut order = fresh.clone();
        let fresh = take(&proposed, fresh)?;
        let mut answer = fresh.clone();
        if let OnConflict::Update { assignments, condition } = conflict {
            let conflict = Conflict {
                relation,
                proposed: &proposed,
                keys: &keys,
                existing: &existing,
                parameters,
                view: view.as_ref(),
            };
            if let Some(updates) = conflict.updates(&taken, assignments, condition.as_ref(), &mut affected)? {
                order.extend(updates.places);
                answer = concat_batches(&schema, [&answer, &updates.new])?;
                old.push(updates.old)?;
                new.push(updates.new)?;
            }
        }
        // RETURNING answers in the order in which the rows were proposed.
        let mut places: Vec<u32> = (0..order.len() as u32).collect();
        places.sort_by_key(|row| order[*row as usize]);
        changed.add(&take(&answer, places)?)?;
        inserted.push(fresh)?;
        scope.check_rows(inserted.rows() + new.rows())?;
    }
    for rows in inserted.into_batches() {
        scope.insert(relation.id, rows)?;
    }
    scope.update(relation.id, old.batches(), new.batches())
}

fn second_time() -> Error {
    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
    Error::new(SqlState::CARDINALITY_VIOLATION, message).with_hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}

struct Conflict<'a> {
    relation: &'a Relation,
    proposed: &'a RecordBatch,
    /// The proposed rows' keys.
    keys: &'a Rows,
    existing: &'a RecordBatch,
    parameters: &'a Parameters,
    /// For subqueries.
    view: Option<&'a ReadView>,
}

/// Rows to replace, and which proposed row each came from.
struct Updates {
    old: RecordBatch,
    new: RecordBatch,
    places: Vec<u32>,
}

impl Conflict<'_> {
    /// `taken`: proposed rows with the existing row that has their key. Adds the keys of those that are updated to `affected`.
    fn updates(
        &self,
        taken: &[(u32, u32)],
        assignments: &[Expr],
        condition: Option<&Expr>,
        affected: &mut HashSet<Box<[u8]>>,
    ) -> Result<Option<Updates>> {
        if taken.is_empty() {
            return Ok(None);
        }
        let (mut places, mut holders): (Vec<u32>, Vec<u32>) = taken.iter().copied().unzip();
        let meets = match condition {
            Some(condition) => Some(self.evaluate(&places, &holders, std::slice::from_ref(condition))?.swap_remove(0)),
            None => None,
        };
        let meets = meets.as_ref().map(|meets| meets.as_boolean());
        let mut kept = Vec::with_capacity(taken.len());
        for (row, place) in places.iter().enumerate() {
            let key = self.keys.row(*place as usize).data();
            // Whatever the condition says of it.
            if affected.contains(key) {
                return Err(second_time());
            }
            if meets.is_none_or(|meets| meets.is_valid(row) && meets.value(row)) {
                affected.insert(key.into());
                kept.push(row);
            }
        }
        if kept.is_empty() {
            return Ok(None);
        }
        places = kept.iter().map(|row| places[*row]).collect();
        holders = kept.iter().map(|row| holders[*row]).collect();
        let columns = self.evaluate(&places, &holders, assignments)?;
        let schema = stored_schema(self.relation);
        let new = RecordBatch::try_new(schema.clone(), columns)?;
        let old = rename(take(self.existing, holders)?, &schema)?;
        Ok(Some(Updates { old, new, places }))
    }

    /// Expressions over existing rows beside proposed ones (`excluded`).
    fn evaluate(&self, places: &[u32], holders: &[u32], expressions: &[Expr]) -> Result<Vec<ArrayRef>> {
        let schema = stored_schema(self.relation);
        let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(
            schema.fields().iter().map(|field| field.as_ref().clone().with_name(format!("{EXCLUDED}{}", field.name()))),
        );
        let expressions = expressions.iter().cloned().map(marked).collect::<Result<Vec<_>>>()?;
        let compiled = over_rows::compile(&expressions, self.parameters, Arc::new(Schema::new(fields)), self.view)?;
        let existing = take(self.existing, holders.to_vec())?;
        let proposed = take(self.proposed, places.to_vec())?;
        let columns = existing.columns().iter().chain(proposed.columns()).cloned().collect();
        compiled.evaluate(columns, places.len())
    }
}

/// Columns of `excluded` under the names that subqueries know them by.
fn marked(expr: Expr) -> Result<Expr> {
    let marked = expr.transform_up(|node| {
        Ok(match node {
            Expr::Column(column) if column.relation.as_ref().is_some_and(|name| name.table() == "excluded") => {
                Transformed::yes(Expr::Column(Column::new_unqualified(format!("{EXCLUDED}{}", column.name))))
            }
            // The existing row's, whatever the table is called.
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            other => Transformed::no(other),
        })
    })?;
    Ok(marked.data)
}

/// What a job has changed so far: how many rows, and what RETURNING says of them.
struct Changed {
    rows: u64,
    returning: Option<(OverRows, SchemaRef)>,
    returned: Gathered,
}

impl Changed {
    /// Subqueries of RETURNING see the state before the statement.
    fn new(
        returning: &Option<BoundReturning>,
        relation: &Relation,
        parameters: &Parameters,
        scope: &mut dyn WriteScope,
    ) -> Result<Changed> {
        let returned = Gathered::new("rows of RETURNING")?;
        let Some(returning) = returning else { return Ok(Changed { rows: 0, returning: None, returned }) };
        let view = view_for(&returning.expressions, scope)?;
        let field = |column: &SqlColumn| Field::new(&column.name, column.ty.arrow(), true);
        let stored = stored_schema(relation);
        let rows = stored.fields().iter().map(|field| field.as_ref().clone()).chain(returning.beside.iter().map(field));
        let rows = Arc::new(Schema::new(rows.collect::<Vec<_>>()));
        let compiled = over_rows::compile(&returning.expressions, parameters, rows, view.as_ref())?;
        let schema = Arc::new(Schema::new(returning.columns.iter().map(field).collect::<Vec<_>>()));
        Ok(Changed { rows: 0, returning: Some((compiled, schema)), returned })
    }

    fn add(&mut self, affected: &RecordBatch) -> Result<()> {
        self.rows += affected.num_rows() as u64;
        if let Some((compiled, schema)) = &self.returning
            && affected.num_rows() > 0
        {
            let columns = compiled.evaluate(affected.columns().to_vec(), affected.num_rows())?;
            self.returned.push(RecordBatch::try_new(schema.clone(), columns)?)?;
        }
        Ok(())
    }

    fn outcome(self) -> WriteOutcome {
        WriteOutcome { rows: self.rows, returned: self.returned.into_batches() }
    }
}

/// The state that subqueries among the expressions read; `None` where there are none.
fn view_for(expressions: &[Expr], scope: &mut dyn WriteScope) -> Result<Option<ReadView>> {
    match expressions.iter().any(constant::asks_for_rows) {
        true => Ok(Some(scope.read()?)),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};
    use datafusion::common::TableReference;
    use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
    use datafusion::prelude::{col, lit};

    use super::*;
    use crate::query::testing::{Memory, bound, scan, shown};
    use crate::types::Type;

    fn none() -> Parameters {
        Arc::from([])
    }

    /// t(id primary key, v): (1, a), (2, b), (3, c).
    fn keyed() -> (Memory, Arc<Relation>) {
        let mut memory = Memory::new();
        let table = memory.table("t", &[("id", Type::Int4), ("v", Type::Text)], &[0]);
        let values = StringArray::from(vec!["a", "b", "c"]);
        memory.fill(&table, vec![Arc::new(Int32Array::from(vec![1, 2, 3])), Arc::new(values)]);
        (memory, table)
    }

    fn values(rows: &[(i32, &str)]) -> LogicalPlan {
        let rows = rows.iter().map(|(id, v)| vec![lit(*id), lit(*v)]).collect();
        LogicalPlanBuilder::values(rows).unwrap().build().unwrap()
    }

    fn insert(table: &Arc<Relation>, plan: LogicalPlan, on_conflict: Option<OnConflict>) -> Insert {
        let returning = BoundReturning {
            expressions: vec![col("id"), col("v")],
            columns: vec![SqlColumn::new("id", Type::Int4), SqlColumn::new("v", Type::Text)],
            beside: Vec::new(),
        };
        let insert =
            BoundInsert { relation: table.clone(), source: bound(plan), on_conflict, returning: Some(returning) };
        Insert { insert, parameters: none() }
    }

    fn rows(memory: &Memory, table: &Relation) -> Vec<String> {
        shown(&[memory.rows[&table.id].clone()])
    }

    /// SET v = excluded.v WHERE t.v <> excluded.v
    fn take_excluded() -> OnConflict {
        let column = |relation: &str, name: &str| Expr::Column(Column::new(Some(TableReference::bare(relation)), name));
        OnConflict::Update {
            assignments: vec![column("t", "id"), column("excluded", "v")],
            condition: Some(column("t", "v").not_eq(column("excluded", "v"))),
        }
    }

    #[test]
    fn insert_returns_the_stored_rows() {
        let (mut memory, table) = keyed();
        let outcome = insert(&table, values(&[(5, "e"), (4, "d")]), None).run(&mut memory).unwrap();
        assert_eq!(outcome.rows, 2);
        assert_eq!(shown(&outcome.returned), ["4 d", "5 e"]);
        assert_eq!(rows(&memory, &table), ["1 a", "2 b", "3 c", "4 d", "5 e"]);
        let error = insert(&table, values(&[(1, "x")]), None).run(&mut memory).unwrap_err();
        assert_eq!(error.state(), SqlState::UNIQUE_VIOLATION);
    }

    #[test]
    fn insert_select_reads_the_state_before_it() {
        let (mut memory, table) = keyed();
        let plan = scan(&table, false).project(vec![col("id") + lit(10), col("v")]).unwrap().build().unwrap();
        let outcome = insert(&table, plan, None).run(&mut memory).unwrap();
        assert_eq!(outcome.rows, 3);
        assert_eq!(rows(&memory, &table), ["1 a", "11 a", "12 b", "13 c", "2 b", "3 c"]);
    }

    #[test]
    fn on_conflict_do_nothing_keeps_the_first() {
        let (mut memory, table) = keyed();
        let proposed = values(&[(1, "x"), (7, "y"), (7, "z")]);
        let outcome = insert(&table, proposed, Some(OnConflict::Nothing)).run(&mut memory).unwrap();
        assert_eq!((outcome.rows, shown(&outcome.returned)), (1, vec!["7 y".to_string()]));
        assert_eq!(rows(&memory, &table), ["1 a", "2 b", "3 c", "7 y"]);
    }

    #[test]
    fn on_conflict_do_update_sees_excluded_and_returns_in_order() {
        let (mut memory, table) = keyed();
        let proposed = values(&[(2, "B"), (9, "n"), (1, "a"), (3, "C")]);
        let outcome = insert(&table, proposed, Some(take_excluded())).run(&mut memory).unwrap();
        assert_eq!(outcome.rows, 3, "row 1 does not meet the condition");
        let returned = arrow::compute::concat_batches(&outcome.returned[0].schema(), &outcome.returned).unwrap();
        let ids: Vec<i32> = returned.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec();
        assert_eq!(ids, [2, 9, 3]);
        assert_eq!(rows(&memory, &table), ["1 a", "2 B", "3 C", "9 n"]);
    }

    #[test]
    fn one_command_updates_a_row_once() {
        let (mut memory, table) = keyed();
        for proposed in [values(&[(2, "x"), (2, "y")]), values(&[(8, "x"), (8, "y")])] {
            let error = insert(&table, proposed, Some(take_excluded())).run(&mut memory).unwrap_err();
            assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
            assert_eq!(error.message(), "ON CONFLICT DO UPDATE command cannot affect row a second time");
        }
        // As Postgres has it: one that misses the condition does not count, but nothing may follow one that meets it.
        let proposed = values(&[(2, "x"), (2, "b")]);
        let error = insert(&table, proposed, Some(take_excluded())).run(&mut memory).unwrap_err();
        assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
        insert(&table, values(&[(2, "b"), (2, "x")]), Some(take_excluded())).run(&mut memory).unwrap();
        assert_eq!(rows(&memory, &table), ["1 a", "2 x", "3 c"]);
    }

    #[test]
    fn a_key_that_came_in_an_earlier_batch_is_known() {
        // Scans give batches of two rows.
        let run = |rows: [(i32, &str); 3], conflict: OnConflict| {
            let (mut memory, table) = keyed();
            let source = memory.stream("s", &[("id", Type::Int4), ("w", Type::Text)]);
            let (ids, words): (Vec<i32>, Vec<&str>) = rows.into_iter().unzip();
            memory.fill(&source, vec![Arc::new(Int32Array::from(ids)), Arc::new(StringArray::from(words))]);
            let outcome = insert(&table, scan(&source, false).build().unwrap(), Some(conflict)).run(&mut memory)?;
            Ok::<_, Error>((outcome.rows, shown(&outcome.returned)))
        };
        let (inserted, updated) = ([(9, "n"), (3, "C"), (9, "m")], [(2, "B"), (3, "C"), (2, "D")]);
        assert_eq!(run(inserted, OnConflict::Nothing).unwrap(), (1, vec!["9 n".to_string()]));
        for rows in [inserted, updated] {
            assert_eq!(run(rows, take_excluded()).unwrap_err().state(), SqlState::CARDINALITY_VIOLATION, "{rows:?}");
        }
    }

    fn update(table: &Arc<Relation>, plan: LogicalPlan) -> Update {
        let change = BoundChange { relation: table.clone(), source: bound(plan), returning: None };
        Update { change, parameters: none() }
    }

    #[test]
    fn an_update_may_move_primary_keys() {
        let (mut memory, table) = keyed();
        let new = vec![col("id"), col("v"), (col("id") + lit(1)).alias("new_id"), lit("n").alias("new_v")];
        let plan = scan(&table, true).filter(col("id").gt(lit(1))).unwrap().project(new).unwrap().build().unwrap();
        assert_eq!(update(&table, plan).run(&mut memory).unwrap().rows, 2);
        assert_eq!(rows(&memory, &table), ["1 a", "3 n", "4 n"]);
    }

    #[test]
    fn tables_without_a_key_change_by_row_id() {
        let mut memory = Memory::new();
        let table = memory.table("plain", &[("v", Type::Text)], &[]);
        memory.fill(&table, vec![Arc::new(StringArray::from(vec!["x", "x", "y"]))]);
        let plan = LogicalPlanBuilder::values(vec![vec![lit("z"), lit(datafusion::scalar::ScalarValue::Int64(None))]]);
        let insert = BoundInsert {
            relation: table.clone(),
            source: bound(plan.unwrap().build().unwrap()),
            on_conflict: Some(OnConflict::Nothing),
            returning: None,
        };
        assert_eq!(Insert { insert, parameters: none() }.run(&mut memory).unwrap().rows, 1);
        let plan = scan(&table, true).filter(col("v").eq(lit("x"))).unwrap().limit(0, Some(1)).unwrap();
        let change = BoundChange { relation: table.clone(), source: bound(plan.build().unwrap()), returning: None };
        assert_eq!(Delete { change, parameters: none() }.run(&mut memory).unwrap().rows, 1);
        assert_eq!(memory.rows[&table.id].num_rows(), 3);
        Truncate { tables: vec![table.id] }.run(&mut memory).unwrap();
        assert_eq!(memory.rows[&table.id].num_rows(), 0);
    }

    #[test]
    fn copied_rows_are_inserted_as_they_are() {
        let (mut memory, table) = keyed();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![4])), Arc::new(StringArray::from(vec![None::<&str>]))];
        let batch = RecordBatch::try_new(table.stored_schema(), columns).unwrap();
        let outcome = InsertRows { relation: table.clone(), rows: batch }.run(&mut memory).unwrap();
        assert_eq!(outcome.rows, 1);
        assert_eq!(rows(&memory, &table), ["1 a", "2 b", "3 c", "4"]);
    }
}
