//! Reading through overlays: the newest epoch with writes laid over it that it does not show yet.
//!
//! Tables and embedded streams hold what they hold under the layers. What is computed from them is read in a later state, the first
//! that shows all of these writes ([`Settle`]).

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::overlay::{Entry, Overlay, Row, gather, key_codec};
use super::published::Reader;
use super::read::{Batches, ChunkFilter, Lookup, ReadState};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::delta::keys::KeyCodec;
use crate::error::{Error, Result, SqlState};
use crate::types::RelationId;

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
        self.layers.iter().rev().find_map(|layer| layer.get(table, key))
    }

    /// The rows that are in the table because they were written.
    fn written(&self, table: RelationId) -> Vec<Row> {
        let mut written: IndexMap<&[u8], &Entry, RandomState> = IndexMap::default();
        for layer in &self.layers {
            written.extend(layer.entries(table));
        }
        written.values().filter_map(|entry| entry.after.clone()).collect()
    }

    /// Those of them with the wanted keys, where these are keys of the table.
    fn written_by_key(&self, table: RelationId, codec: &KeyCodec, wanted: &Lookup) -> Result<Option<Vec<Row>>> {
        let place = |column: &usize| wanted.columns.iter().position(|other| other == column);
        let order: Option<Vec<usize>> = codec.columns().iter().map(place).collect();
        let exact = |order: &Vec<usize>| order.len() == wanted.columns.len() && wanted.between.is_none();
        let Some(order) = order.filter(exact) else { return Ok(None) };
        let asked = codec.of_keys(wanted.keys.project(&order)?.columns())?;
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        for key in asked.iter().filter(|key| seen.insert(key.data().to_vec())) {
            rows.extend(self.entry(table, key.data()).and_then(|entry| entry.after.clone()));
        }
        Ok(Some(rows))
    }

    /// The same layers, for batches that are read later.
    fn layers_alone(&self) -> Overlaid {
        Overlaid { base: self.base.clone(), layers: self.layers.clone(), settle: None }
    }

    /// Rows of `batch` whose key no layer knows.
    fn uncovered(&self, table: RelationId, codec: &KeyCodec, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = codec.of_rows(batch)?;
        let keep: BooleanArray = keys.iter().map(|key| Some(self.entry(table, key.data()).is_none())).collect();
        Ok(filter_record_batch(batch, &keep)?)
    }
}

impl ReadState for Overlaid {
    fn epoch(&self) -> u64 {
        self.base.epoch()
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.base.catalog()
    }

    fn scan(&self, id: RelationId, filter: Option<&dyn ChunkFilter>) -> Result<Batches> {
        let relation = self.base.state.relation(id)?.clone();
        match &relation.kind {
            RelationKind::Stream(_) => {
                let written = self.layers.iter().flat_map(|layer| layer.streamed(id));
                let written: Vec<_> = written.map(|batch| Ok(batch.clone())).collect();
                // A connected stream moves on by itself: it is read where the views are.
                let base = match &self.settle {
                    Some(settle) if self.base.state.sources.contains_key(&id) => settle.reader()?,
                    _ => self.base.clone(),
                };
                Ok(Box::new(base.scan(id, filter)?.chain(written)))
            }
            RelationKind::Table(_) if !self.touched(id) => self.base.scan(id, filter),
            RelationKind::Table(_) => {
                let codec = key_codec(&relation)?;
                let written = gather(&relation.stored_schema(), &self.written(id))?;
                let over = self.layers_alone();
                let base = self.base.scan(id, filter)?.map(move |batch| over.uncovered(id, &codec, &batch?));
                Ok(Box::new(base.chain(std::iter::once(Ok(written)))))
            }
            _ => self.reader_of_view(&relation)?.scan(id, filter),
        }
    }

    fn lookup(&self, id: RelationId, wanted: &Lookup) -> Result<Option<Batches>> {
        let relation = self.base.state.relation(id)?.clone();
        match &relation.kind {
            RelationKind::Table(_) if !self.touched(id) => self.base.lookup(id, wanted),
            RelationKind::Table(_) => {
                let Some(below) = self.base.lookup(id, wanted)? else { return Ok(None) };
                let codec = key_codec(&relation)?;
                let written = match self.written_by_key(id, &codec, wanted)? {
                    Some(rows) => gather(&relation.stored_schema(), &rows)?,
                    None => wanted.filter(&gather(&relation.stored_schema(), &self.written(id))?)?,
                };
                let over = self.layers_alone();
                let below = below.map(move |batch| over.uncovered(id, &codec, &batch?));
                Ok(Some(Box::new(below.chain(std::iter::once(Ok(written))))))
            }
            RelationKind::Stream(_) => Ok(None),
            _ => self.reader_of_view(&relation)?.lookup(id, wanted),
        }
    }

    fn row_count(&self, id: RelationId) -> Option<u64> {
        match self.layers.iter().all(|layer| layer.is_empty()) {
            true => self.base.row_count(id),
            false => None,
        }
    }
}
