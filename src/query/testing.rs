//! A small database in memory for the tests of this room: it holds rows as they are given and looks keys up by
//! comparing all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
use arrow_row::{OwnedRow, RowConverter, SortField};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

use crate::catalog::{Catalog, Ddl, IndexDef, IndexKey, IndexMethod, Relation, RelationKind, StreamDef, TableDef};
use crate::engine::read::{Batches, ChunkFilter, Lookup, ReadState};
use crate::engine::{ReadView, WriteScope};
use crate::error::{Error, Result, SqlState};
use crate::sql::{BindContext, BoundQuery, RelationSource, SessionConstants};
use crate::types::{Column, RelationId, Type};

#[derive(Clone)]
pub struct Memory {
    pub catalog: Arc<Catalog>,
    pub rows: BTreeMap<RelationId, RecordBatch>,
    pub lookups: Arc<AtomicUsize>,
    pub batches_read: Arc<AtomicUsize>,
    /// Rows of a scanned batch.
    pub batch_rows: usize,
    /// Rows that a write may gather, and a relation may hold after an insert.
    pub max_rows: usize,
}

impl Memory {
    pub fn new() -> Memory {
        Memory {
            catalog: Arc::default(),
            rows: BTreeMap::new(),
            lookups: Arc::default(),
            batches_read: Arc::default(),
            batch_rows: 2,
            max_rows: usize::MAX,
        }
    }

    pub fn create(&mut self, name: &str, columns: &[(&str, Type)], kind: RelationKind) -> Arc<Relation> {
        let columns = columns.iter().map(|(name, ty)| Column::new(*name, ty.clone())).collect();
        let id = self.catalog.next_id();
        let depends_on = match &kind {
            RelationKind::Index(def) => vec![def.on],
            RelationKind::View(view) | RelationKind::MaterializedView(view) => {
                let named = |relation: &&Arc<Relation>| view.query.contains(&format!("FROM {}", relation.name));
                self.catalog.relations().filter(named).map(|relation| relation.id).collect()
            }
            _ => vec![],
        };
        let relation = Relation { id, schema: "public".into(), name: name.into(), columns, kind, depends_on };
        self.catalog = Arc::new(self.catalog.apply(&Ddl::Create { relation }).unwrap());
        let relation = self.catalog.relation(id).unwrap().clone();
        self.rows.insert(id, RecordBatch::new_empty(relation.stored_schema()));
        relation
    }

    pub fn table(&mut self, name: &str, columns: &[(&str, Type)], primary_key: &[usize]) -> Arc<Relation> {
        let none = vec![None; columns.len()];
        let def = TableDef { primary_key: primary_key.to_vec(), defaults: none.clone(), generated: none };
        self.create(name, columns, RelationKind::Table(def))
    }

    pub fn stream(&mut self, name: &str, columns: &[(&str, Type)]) -> Arc<Relation> {
        let none = vec![None; columns.len()];
        let def = StreamDef { connector: None, defaults: none.clone(), generated: none, includes: vec![] };
        self.create(name, columns, RelationKind::Stream(def))
    }

    pub fn index(&mut self, name: &str, on: &Relation, columns: &[usize]) -> Arc<Relation> {
        let keys = columns.iter().map(|column| IndexKey { column: *column, descending: false, nulls_first: false });
        let def = IndexDef { on: on.id, method: IndexMethod::Btree, keys: keys.collect() };
        self.create(name, &[], RelationKind::Index(def))
    }

    /// Adds rows, one array a column of what SQL sees.
    pub fn fill(&mut self, relation: &Relation, columns: Vec<ArrayRef>) {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut columns = columns;
        if relation.has_row_id() {
            let before = self.rows[&relation.id].num_rows() as i64;
            columns.push(Arc::new(Int64Array::from_iter_values(before..before + rows as i64)));
        }
        let batch = RecordBatch::try_new(relation.stored_schema(), columns).unwrap();
        let all = concat_batches(&relation.stored_schema(), [&self.rows[&relation.id], &batch]).unwrap();
        self.rows.insert(relation.id, all);
    }

    pub fn view(&self) -> ReadView {
        ReadView::new(Arc::new(self.clone()))
    }

    fn stored(&self, id: RelationId) -> &RecordBatch {
        &self.rows[&id]
    }

    fn encoded(batch: &RecordBatch, columns: &[usize]) -> Vec<OwnedRow> {
        let fields = columns.iter().map(|column| SortField::new(batch.column(*column).data_type().clone())).collect();
        let arrays: Vec<ArrayRef> = columns.iter().map(|column| batch.column(*column).clone()).collect();
        let rows = RowConverter::new(fields).unwrap().convert_columns(&arrays).unwrap();
        rows.iter().map(|row| row.owned()).collect()
    }

    /// Pairs of (stored row, key row) that are equal.
    fn matches(&self, id: RelationId, columns: &[usize], keys: &RecordBatch) -> Vec<(u32, u32)> {
        let stored = Memory::encoded(self.stored(id), columns);
        let keys = Memory::encoded(keys, &(0..columns.len()).collect::<Vec<_>>());
        let mut found = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let rows = stored.iter().enumerate().filter(|(_, row)| *row == key);
            found.extend(rows.map(|(row, _)| (row as u32, place as u32)));
        }
        found
    }

    fn without(&self, id: RelationId, rows: &RecordBatch) -> RecordBatch {
        let stored = self.stored(id);
        let all: Vec<usize> = (0..stored.num_columns()).collect();
        let gone = Memory::encoded(rows, &all);
        let kept = Memory::encoded(stored, &all).into_iter().enumerate().filter(|(_, row)| !gone.contains(row));
        let kept: UInt32Array = kept.map(|(row, _)| row as u32).collect();
        assert_eq!(kept.len() + rows.num_rows(), stored.num_rows(), "every row deleted must be there");
        take_record_batch(stored, &kept).unwrap()
    }

    fn append(&mut self, id: RelationId, rows: RecordBatch) -> Result<RecordBatch> {
        let relation = self.catalog.relation(id).unwrap().clone();
        let schema = relation.stored_schema();
        let mut columns = rows.columns().to_vec();
        if relation.has_row_id() && columns.last().unwrap().null_count() > 0 {
            let next = self.stored(id).num_rows() as i64 + 100;
            *columns.last_mut().unwrap() = Arc::new(Int64Array::from_iter_values(next..next + rows.num_rows() as i64));
        }
        let rows = RecordBatch::try_new(schema.clone(), columns)?;
        let all = concat_batches(&schema, [self.stored(id), &rows])?;
        let key = relation.key_columns();
        if !key.is_empty() {
            let encoded = Memory::encoded(&all, &key);
            if encoded.iter().collect::<std::collections::HashSet<_>>().len() < encoded.len() {
                return Err(Error::new(SqlState::UNIQUE_VIOLATION, "duplicate key value violates unique constraint"));
            }
        }
        self.rows.insert(id, all);
        Ok(rows)
    }
}

impl ReadState for Memory {
    fn epoch(&self) -> u64 {
        7
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn scan(&self, relation: RelationId, _: Option<&dyn ChunkFilter>) -> Result<Batches> {
        let (batch, size, read) = (self.stored(relation).clone(), self.batch_rows, self.batches_read.clone());
        let starts = (0..batch.num_rows()).step_by(size);
        Ok(Box::new(starts.map(move |start| {
            read.fetch_add(1, Ordering::Relaxed);
            Ok(batch.slice(start, size.min(batch.num_rows() - start)))
        })))
    }

    fn lookup(&self, relation: RelationId, wanted: &Lookup) -> Result<Option<Batches>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Box::new(std::iter::once(wanted.filter(self.stored(relation))))))
    }

    fn row_count(&self, relation: RelationId) -> Option<u64> {
        self.rows.get(&relation).map(|rows| rows.num_rows() as u64)
    }
}

impl WriteScope for Memory {
    fn read(&mut self) -> Result<ReadView> {
        Ok(self.view())
    }

    fn find(&mut self, table: RelationId, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>)> {
        let columns = self.catalog.relation(table).unwrap().key_columns();
        let (rows, places): (Vec<u32>, Vec<u32>) = self.matches(table, &columns, keys).into_iter().unzip();
        Ok((take_record_batch(self.stored(table), &UInt32Array::from(rows))?, places))
    }

    fn insert(&mut self, relation: RelationId, rows: RecordBatch) -> Result<RecordBatch> {
        let rows = self.append(relation, rows)?;
        self.check_rows(self.stored(relation).num_rows())?;
        Ok(rows)
    }

    fn delete(&mut self, table: RelationId, rows: RecordBatch) -> Result<()> {
        let left = self.without(table, &rows);
        self.rows.insert(table, left);
        Ok(())
    }

    fn truncate(&mut self, table: RelationId) -> Result<u64> {
        let rows = self.stored(table).num_rows() as u64;
        let empty = RecordBatch::new_empty(self.stored(table).schema());
        self.rows.insert(table, empty);
        Ok(rows)
    }

    fn update(&mut self, table: RelationId, old: &[RecordBatch], new: &[RecordBatch]) -> Result<()> {
        old.iter().try_for_each(|rows| self.delete(table, rows.clone()))?;
        new.iter().try_for_each(|rows| self.append(table, rows.clone()).map(drop))
    }

    fn check_rows(&self, rows: usize) -> Result<()> {
        match rows > self.max_rows {
            true => Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many rows")),
            false => Ok(()),
        }
    }
}

/// What statements over this memory are bound against, long after 1970.
pub fn context(memory: &Memory) -> BindContext {
    let session = SessionConstants { now: 1_700_000_000_000_000, ..SessionConstants::default() };
    BindContext { session, ..BindContext::new(memory.catalog.clone()) }
}

/// A scan of a relation as the binder makes it.
pub fn scan(relation: &Arc<Relation>, stored: bool) -> LogicalPlanBuilder {
    let schema: SchemaRef = if stored { relation.stored_schema() } else { relation.schema_ref() };
    let source = RelationSource { relation: relation.clone(), schema };
    LogicalPlanBuilder::scan(relation.name.clone(), Arc::new(source), None).unwrap()
}

/// A bound query around a plan; what the client sees of it does not matter here.
pub fn bound(plan: LogicalPlan) -> BoundQuery {
    BoundQuery { plan, columns: vec![], origins: vec![], parameters: vec![], relations: vec![] }
}

/// Rows as text, sorted.
pub fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_string());
    let mut rows: Vec<String> = cells.collect();
    rows.sort();
    rows
}
