//! Writes that the newest epoch does not show yet, laid over it.
//!
//! A table's entry says what a key held underneath and what it holds now, so that the net effect of any number of writes
//! is one deletion and one insertion. The sequencer keeps one overlay of committed writes not yet in an epoch, a
//! transaction one of its own, and every statement one that is merged into these when it succeeds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};

use parking_lot::Mutex;

use super::published::Reader;
use super::read::{Batches, ReadState};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::delta::Delta;
use crate::delta::keys::{sortable, sortable_type};
use crate::error::{Error, Result, SqlState};
use crate::types::RelationId;

/// A row where it lies.
#[derive(Clone)]
pub struct Row {
    pub batch: Arc<RecordBatch>,
    pub row: usize,
}

#[derive(Clone)]
pub struct Entry {
    /// Underneath the overlay.
    pub before: Option<Row>,
    pub after: Option<Row>,
    /// The commit that wrote it last; 0 while uncommitted.
    pub sequence: u64,
}

/// Key bytes to entry.
pub type TableOverlay = HashMap<Box<[u8]>, Entry>;

#[derive(Clone, Default)]
pub struct Overlay {
    pub tables: HashMap<RelationId, TableOverlay>,
    /// Rows put into streams, with their commit.
    pub streams: HashMap<RelationId, Vec<(u64, RecordBatch)>>,
}

impl Overlay {
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(HashMap::is_empty) && self.streams.values().all(Vec::is_empty)
    }

    pub fn touches(&self, relation: RelationId) -> bool {
        self.tables.get(&relation).is_some_and(|table| !table.is_empty())
            || self.streams.get(&relation).is_some_and(|batches| !batches.is_empty())
    }

    pub fn rows(&self) -> usize {
        let streamed = self.streams.values().flatten().map(|(_, batch)| batch.num_rows());
        self.tables.values().map(HashMap::len).sum::<usize>() + streamed.sum::<usize>()
    }

    /// Lays `later` over this one.
    pub fn merge(&mut self, later: &Overlay, sequence: u64) {
        for (relation, entries) in &later.tables {
            let table = self.tables.entry(*relation).or_default();
            for (key, entry) in entries {
                match table.get_mut(key) {
                    Some(below) => (below.after, below.sequence) = (entry.after.clone(), sequence),
                    None => drop(table.insert(key.clone(), Entry { sequence, ..entry.clone() })),
                }
            }
        }
        for (relation, batches) in &later.streams {
            let stream = self.streams.entry(*relation).or_default();
            stream.extend(batches.iter().map(|(_, batch)| (sequence, batch.clone())));
        }
    }

    /// Forgets commits below `commits`: an epoch shows them. `gone` hears of each table's key that goes.
    pub fn trim(&mut self, commits: u64, mut gone: impl FnMut(RelationId, &[u8], u64)) {
        for (relation, table) in &mut self.tables {
            table.retain(|key, entry| {
                let stays = entry.sequence >= commits;
                if !stays {
                    gone(*relation, key, entry.sequence);
                }
                stays
            });
        }
        for batches in self.streams.values_mut() {
            batches.retain(|(sequence, _)| *sequence >= commits);
        }
    }

    /// The net effect, one delta a relation that changed.
    pub fn effects(&self, catalog: &Catalog) -> Result<Vec<(RelationId, Delta)>> {
        let mut effects = Vec::new();
        for (relation, table) in &self.tables {
            let schema = stored_schema(catalog, *relation)?;
            let (mut rows, mut weights) = (Vec::new(), Vec::new());
            for entry in table.values() {
                for (row, weight) in [(&entry.before, -1), (&entry.after, 1)] {
                    if let Some(row) = row {
                        rows.push(row.clone());
                        weights.push(weight);
                    }
                }
            }
            if !rows.is_empty() {
                effects.push((*relation, Delta::new(gather(&schema, &rows)?, weights.into())));
            }
        }
        for (relation, batches) in &self.streams {
            let schema = stored_schema(catalog, *relation)?;
            let batches: Vec<Delta> = batches.iter().map(|(_, batch)| Delta::insertions(batch.clone())).collect();
            if !batches.is_empty() {
                effects.push((*relation, Delta::concat(&schema, &batches)?));
            }
        }
        effects.sort_by_key(|(relation, _)| *relation);
        Ok(effects)
    }
}

fn stored_schema(catalog: &Catalog, relation: RelationId) -> Result<SchemaRef> {
    let relation = catalog.relation(relation).ok_or_else(dropped_meanwhile)?;
    Ok(relation.stored_schema())
}

pub fn dropped_meanwhile() -> Error {
    Error::new(SqlState::UNDEFINED_TABLE, "a relation that this transaction wrote to was dropped meanwhile")
}

/// The rows, in order, as one batch.
pub fn gather(schema: &SchemaRef, rows: &[Row]) -> Result<RecordBatch> {
    let mut batches: Vec<&RecordBatch> = Vec::new();
    let mut numbers: HashMap<*const RecordBatch, usize> = HashMap::new();
    let mut indices = Vec::with_capacity(rows.len());
    for row in rows {
        let number = *numbers.entry(Arc::as_ptr(&row.batch)).or_insert_with(|| {
            batches.push(&row.batch);
            batches.len() - 1
        });
        indices.push((number, row.row));
    }
    if batches.is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()));
    }
    let gathered = interleave_record_batch(&batches, &indices)?;
    Ok(RecordBatch::try_new(schema.clone(), gathered.columns().to_vec())?)
}

/// Makes a table's keys bytes that are equal where SQL's `=` holds.
pub struct KeyCodec {
    converter: RowConverter,
    pub columns: Vec<usize>,
}

impl KeyCodec {
    pub fn new(relation: &Relation) -> Result<KeyCodec> {
        let (schema, columns) = (relation.stored_schema(), relation.key_columns());
        let field = |column: &usize| SortField::new(sortable_type(schema.field(*column).data_type()));
        let fields = columns.iter().map(field).collect();
        Ok(KeyCodec { converter: RowConverter::new(fields)?, columns })
    }

    /// The keys of stored rows.
    pub fn of_rows(&self, rows: &RecordBatch) -> Result<Rows> {
        self.of_keys(&self.columns.iter().map(|column| rows.column(*column).clone()).collect::<Vec<_>>())
    }

    /// Keys from the key columns alone.
    pub fn of_keys(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let columns = columns.iter().map(sortable).collect::<Result<Vec<ArrayRef>>>()?;
        Ok(self.converter.convert_columns(&columns)?)
    }
}

/// A reader under overlays, lowest first.
pub struct Overlaid {
    pub base: Arc<Reader>,
    pub layers: Vec<Arc<Overlay>>,
    /// Where the lowest layer is committed writes: the state that shows them. Where all are a transaction's own: absent, and what
    /// is computed from them can't be read.
    pub settle: Option<Arc<Settle>>,
}

/// The state that shows every committed write, for what is computed from them. One statement gets one such state, and waits for
/// it when it first asks: whatever it reads there is of one moment, in which tables hold what they hold under the overlay.
pub struct Settle {
    wait: Box<dyn Fn() -> Result<Arc<Reader>> + Send + Sync>,
    settled: Mutex<Option<Arc<Reader>>>,
}

impl Settle {
    /// `settled`: where no write has to be waited for.
    pub fn new(
        settled: Option<Arc<Reader>>,
        wait: impl Fn() -> Result<Arc<Reader>> + Send + Sync + 'static,
    ) -> Arc<Settle> {
        Arc::new(Settle { wait: Box::new(wait), settled: Mutex::new(settled) })
    }

    fn reader(&self) -> Result<Arc<Reader>> {
        let mut settled = self.settled.lock();
        if let Some(reader) = &*settled {
            return Ok(reader.clone());
        }
        let reader = (self.wait)()?;
        *settled = Some(reader.clone());
        Ok(reader)
    }
}

impl Overlaid {
    fn touched(&self, relation: RelationId) -> bool {
        self.layers.iter().any(|layer| layer.touches(relation))
    }

    /// The reader for a relation that no write goes to, but that may be computed from some that were written.
    fn reader_of_view(&self, view: &Relation) -> Result<Arc<Reader>> {
        match &self.settle {
            Some(settle) => settle.reader(),
            None if self.computed_from_writes(view) => {
                let message = format!("\"{}\" does not show this transaction's own writes yet", view.name);
                Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_hint(
                    "Read it before writing, or after COMMIT; the tables and streams written can be read now.",
                ))
            }
            None => Ok(self.base.clone()),
        }
    }

    fn computed_from_writes(&self, view: &Relation) -> bool {
        let catalog = &self.base.state.catalog;
        let mut sources = view.depends_on.clone();
        let mut seen = HashSet::new();
        while let Some(id) = sources.pop() {
            if self.touched(id) {
                return true;
            }
            if seen.insert(id) {
                sources.extend(catalog.relation(id).iter().flat_map(|relation| &relation.depends_on));
            }
        }
        false
    }

    /// What the topmost layer that knows the key says of it.
    fn entry(&self, table: RelationId, key: &[u8]) -> Option<&Entry> {
        self.layers.iter().rev().find_map(|layer| layer.tables.get(&table)?.get(key))
    }

    /// Rows of `batch` whose key no layer knows.
    fn uncovered(&self, table: RelationId, codec: &KeyCodec, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = codec.of_rows(batch)?;
        let keep: BooleanArray = keys.iter().map(|key| Some(self.entry(table, key.data()).is_none())).collect();
        Ok(arrow::compute::filter_record_batch(batch, &keep)?)
    }
}

impl ReadState for Overlaid {
    fn epoch(&self) -> u64 {
        self.base.epoch()
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.base.catalog()
    }

    fn scan(&self, id: RelationId) -> Result<Batches> {
        let relation = self.base.state.relation(id)?.clone();
        match &relation.kind {
            RelationKind::Stream(_) => {
                let written: Vec<_> = self.layers.iter().filter_map(|layer| layer.streams.get(&id)).flatten().collect();
                let written: Vec<_> = written.into_iter().map(|(_, batch)| Ok(batch.clone())).collect();
                // A connected stream moves on by itself: it is read where the views are.
                let base = match &self.settle {
                    Some(settle) if self.base.state.sources.contains_key(&id) => settle.reader()?,
                    _ => self.base.clone(),
                };
                Ok(Box::new(base.scan(id)?.chain(written)))
            }
            RelationKind::Table(_) if !self.touched(id) => self.base.scan(id),
            RelationKind::Table(_) => {
                let codec = KeyCodec::new(&relation)?;
                let mut written: HashMap<&[u8], &Entry> = HashMap::new();
                for layer in &self.layers {
                    written.extend(layer.tables.get(&id).into_iter().flatten().map(|(key, entry)| (&**key, entry)));
                }
                let rows: Vec<Row> = written.values().filter_map(|entry| entry.after.clone()).collect();
                let written = gather(&relation.stored_schema(), &rows)?;
                let over = Overlaid { base: self.base.clone(), layers: self.layers.clone(), settle: None };
                let base = self.base.scan(id)?.map(move |batch| over.uncovered(id, &codec, &batch?));
                Ok(Box::new(base.chain(std::iter::once(Ok(written)))))
            }
            _ => self.reader_of_view(&relation)?.scan(id),
        }
    }

    fn lookup(&self, id: RelationId, columns: &[usize], keys: &RecordBatch) -> Result<Option<Vec<RecordBatch>>> {
        let relation = self.base.state.relation(id)?.clone();
        match &relation.kind {
            RelationKind::Table(_) if !self.touched(id) => self.base.lookup(id, columns, keys),
            RelationKind::Table(_) => {
                let codec = KeyCodec::new(&relation)?;
                // The key's columns as the relation orders them; another column set is left to a scan.
                let order: Option<Vec<usize>> =
                    codec.columns.iter().map(|column| columns.iter().position(|other| other == column)).collect();
                let Some(order) = order.filter(|order| order.len() == columns.len()) else { return Ok(None) };
                let Some(below) = self.base.lookup(id, columns, keys)? else { return Ok(None) };
                let mut found =
                    below.iter().map(|batch| self.uncovered(id, &codec, batch)).collect::<Result<Vec<_>>>()?;
                let asked = codec.of_keys(keys.project(&order)?.columns())?;
                let mut seen = HashSet::new();
                let mut rows = Vec::new();
                for key in asked.iter().filter(|key| seen.insert(key.data().to_vec())) {
                    rows.extend(self.entry(id, key.data()).and_then(|entry| entry.after.clone()));
                }
                found.push(gather(&relation.stored_schema(), &rows)?);
                Ok(Some(found))
            }
            RelationKind::Stream(_) => Ok(None),
            _ => self.reader_of_view(&relation)?.lookup(id, columns, keys),
        }
    }

    fn row_count(&self, id: RelationId) -> Option<u64> {
        match self.layers.iter().all(|layer| layer.is_empty()) {
            true => self.base.row_count(id),
            false => None,
        }
    }
}
