//! Writes that the newest epoch does not show yet, laid over it.
//!
//! A table's entry says what a key held underneath and what it holds now, so that the net effect of any number of writes
//! is one deletion and one insertion. The sequencer keeps one overlay of committed writes not yet in an epoch, a
//! transaction one of its own, and every statement one that is merged into these when it succeeds. [`super::overlaid`] reads
//! through them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::catalog::{Catalog, Relation};
use crate::delta::Delta;
use crate::delta::keys::KeyCodec;
use crate::delta::size::Held;
use crate::error::{Error, Result, SqlState};
use crate::types::RelationId;

/// A row where it lies.
#[derive(Clone)]
pub struct Row {
    pub batch: Arc<RecordBatch>,
    pub row: u32,
    /// As large as the batch's rows are on average.
    pub bytes: u32,
}

impl Row {
    /// The rows of a batch by their place.
    pub fn all(batch: RecordBatch) -> impl Fn(usize) -> Row {
        let Held { rows, bytes } = Held::of(&batch);
        let bytes = bytes.div_ceil(rows.max(1)).try_into().unwrap_or(u32::MAX);
        let batch = Arc::new(batch);
        move |row| Row { batch: batch.clone(), row: row as u32, bytes }
    }
}

#[derive(Clone)]
pub struct Entry {
    /// Underneath the overlay.
    pub before: Option<Row>,
    pub after: Option<Row>,
    /// The commit that wrote it last; 0 while uncommitted.
    pub sequence: u64,
}

impl Entry {
    fn held(&self) -> Held {
        let bytes = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.bytes as usize);
        Held { rows: 1, bytes: bytes(&self.before) + bytes(&self.after) }
    }
}

/// What an entry takes beside its rows, with its hash, its place and a key of usual length.
const ENTRY_BYTES: usize = size_of::<(Box<[u8]>, Entry)>() + 32;

/// Key bytes to entry, in the order of the first writes: so are rows stored and, without ORDER BY, read.
type TableOverlay = IndexMap<Box<[u8]>, Entry, RandomState>;

/// Writes in layers, lowest first. A layer that somebody else holds too (a savepoint, a reader, the group before) never changes: what
/// is written next goes to a new one on top. Layers are merged so that each is more than twice as large as the one on it. So a copy
/// costs next to nothing, and a write at most the logarithm of what is there.
#[derive(Clone, Default)]
pub struct Overlay {
    layers: Vec<Arc<Layer>>,
}

#[derive(Clone, Default)]
struct Layer {
    tables: HashMap<RelationId, TableOverlay>,
    /// Rows put into streams, with their commit.
    streams: HashMap<RelationId, Vec<(u64, RecordBatch)>>,
    /// What all these hold, counted as they come and go.
    held: Held,
}

impl Layer {
    /// Lays entries of a table over those of the same keys.
    fn set<K: AsRef<[u8]> + Into<Box<[u8]>>>(
        &mut self,
        table: RelationId,
        entries: impl IntoIterator<Item = (K, Entry)>,
    ) {
        let table = self.tables.entry(table).or_default();
        for (key, entry) in entries {
            if let Some(below) = table.get_mut(key.as_ref()) {
                self.held -= below.held();
                (below.after, below.sequence) = (entry.after, entry.sequence);
                self.held += below.held();
            } else {
                self.held += entry.held();
                table.insert(key.into(), entry);
            }
        }
    }

    fn stream(&mut self, stream: RelationId, sequence: u64, rows: RecordBatch) {
        self.held += Held::of(&rows);
        self.streams.entry(stream).or_default().push((sequence, rows));
    }

    /// Forgets the relations and, in others, the commits that are not wanted.
    fn retain(&mut self, wanted: impl Fn(RelationId, u64) -> bool) {
        let held = &mut self.held;
        self.tables.retain(|id, table| {
            table.retain(|_, entry| {
                let stays = wanted(*id, entry.sequence);
                if !stays {
                    *held -= entry.held();
                }
                stays
            });
            !table.is_empty()
        });
        self.streams.retain(|id, batches| {
            batches.retain(|(sequence, rows)| {
                let stays = wanted(*id, *sequence);
                if !stays {
                    *held -= Held::of(rows);
                }
                stays
            });
            !batches.is_empty()
        });
    }

    fn relations(&self) -> impl Iterator<Item = RelationId> {
        let tables = self.tables.iter().filter(|(_, table)| !table.is_empty()).map(|(id, _)| *id);
        tables.chain(self.streams.iter().filter(|(_, batches)| !batches.is_empty()).map(|(id, _)| *id))
    }

    /// Lays `later` over this one: as a commit's writes, if it has a number.
    fn lay(&mut self, later: Layer, sequence: Option<u64>) {
        for (table, entries) in later.tables {
            let numbered = |entry: Entry| Entry { sequence: sequence.unwrap_or(entry.sequence), ..entry };
            self.set(table, entries.into_iter().map(|(key, entry)| (key, numbered(entry))));
        }
        for (stream, batches) in later.streams {
            for (own, rows) in batches {
                self.stream(stream, sequence.unwrap_or(own), rows);
            }
        }
    }
}

impl Overlay {
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(|layer| layer.relations().next().is_none())
    }

    pub fn touches(&self, relation: RelationId) -> bool {
        self.layers.iter().any(|layer| layer.relations().any(|other| other == relation))
    }

    /// What is held; a row that was written in several layers counts in each.
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        self.layers.iter().for_each(|layer| held += layer.held);
        held
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        let Held { rows, bytes } = self.held();
        bytes + rows * ENTRY_BYTES
    }

    /// Whether more rows than these are written, each counted once; wide ones count as several.
    pub fn exceeds(&mut self, rows: usize) -> bool {
        if self.held().volume() > rows && self.layers.len() > 1 {
            self.layers = vec![self.flat()];
        }
        self.held().volume() > rows
    }

    /// What was written last under a key. (What was underneath all of it, the lowest layer that knows the key says.)
    pub fn get(&self, table: RelationId, key: &[u8]) -> Option<&Entry> {
        self.layers.iter().rev().find_map(|layer| layer.tables.get(&table)?.get(key))
    }

    /// Keys of a table with what was written, the last entry of a key last.
    pub fn entries(&self, table: RelationId) -> impl Iterator<Item = (&[u8], &Entry)> {
        let layers = self.layers.iter().filter_map(move |layer| layer.tables.get(&table));
        layers.flatten().map(|(key, entry)| (&**key, entry))
    }

    /// Rows put into a stream, in order.
    pub fn streamed(&self, stream: RelationId) -> impl Iterator<Item = &RecordBatch> {
        let layers = self.layers.iter().filter_map(move |layer| layer.streams.get(&stream));
        layers.flatten().map(|(_, batch)| batch)
    }

    /// Sets what a key holds from now on; `before` is what it has held so far.
    pub fn set(&mut self, table: RelationId, key: &[u8], before: Option<Row>, after: Option<Row>) {
        self.top().set(table, [(key, Entry { before, after, sequence: 0 })]);
    }

    pub fn put_into_stream(&mut self, stream: RelationId, rows: RecordBatch) {
        self.top().stream(stream, 0, rows);
    }

    /// Lays `later` over this one: moved where nobody else holds it.
    pub fn merge(&mut self, later: Overlay, sequence: u64) {
        let top = self.top();
        for layer in later.layers {
            top.lay(Arc::unwrap_or_clone(layer), Some(sequence));
        }
    }

    /// Forgets commits below `commits`: an epoch shows them.
    pub fn trim(&mut self, commits: u64) {
        self.layers.iter_mut().for_each(|layer| Arc::make_mut(layer).retain(|_, sequence| sequence >= commits));
        self.layers.retain(|layer| layer.relations().next().is_some());
    }

    /// Forgets relations that are not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(RelationId) -> bool) {
        for layer in &mut self.layers {
            if !layer.relations().all(&wanted) {
                Arc::make_mut(layer).retain(|id, _| wanted(id));
            }
        }
    }

    /// What each key of each table held underneath.
    pub fn befores(&self) -> Vec<(RelationId, Vec<Entry>)> {
        let flat = self.flat();
        flat.tables.iter().map(|(table, entries)| (*table, entries.values().cloned().collect())).collect()
    }

    /// The net effect, one delta a relation that changed.
    pub fn effects(&self, catalog: &Catalog) -> Result<Vec<(RelationId, Delta)>> {
        let mut effects = Vec::new();
        let flat = self.flat();
        for (relation, table) in &flat.tables {
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
        for (relation, batches) in &flat.streams {
            let schema = stored_schema(catalog, *relation)?;
            let batches: Vec<Delta> = batches.iter().map(|(_, batch)| Delta::insertions(batch.clone())).collect();
            if !batches.is_empty() {
                effects.push((*relation, Delta::concat(&schema, &batches)?));
            }
        }
        effects.sort_by_key(|(relation, _)| *relation);
        Ok(effects)
    }

    /// The layer to write to, which nobody else holds.
    fn top(&mut self) -> &mut Layer {
        if !self.layers.last_mut().is_some_and(|layer| Arc::get_mut(layer).is_some()) {
            while let [.., below, top] = &self.layers[..]
                && below.held.rows <= 2 * top.held.rows
            {
                let top = self.layers.pop().unwrap_or_default();
                if let Some(below) = self.layers.last_mut() {
                    Arc::make_mut(below).lay(Arc::unwrap_or_clone(top), None);
                }
            }
            self.layers.push(Arc::default());
        }
        let top = self.layers.len() - 1;
        Arc::make_mut(&mut self.layers[top])
    }

    /// All layers as one.
    fn flat(&self) -> Arc<Layer> {
        match &self.layers[..] {
            [] => Arc::default(),
            [only] => only.clone(),
            [lowest, others @ ..] => {
                let mut flat = Layer::clone(lowest);
                others.iter().for_each(|layer| flat.lay(Layer::clone(layer), None));
                Arc::new(flat)
            }
        }
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
        indices.push((number, row.row as usize));
    }
    if batches.is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()));
    }
    let gathered = interleave_record_batch(&batches, &indices)?;
    Ok(RecordBatch::try_new(schema.clone(), gathered.columns().to_vec())?)
}

/// Makes a table's keys bytes.
pub fn key_codec(table: &Relation) -> Result<KeyCodec> {
    KeyCodec::new(&table.stored_schema(), table.key_columns())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const TABLE: RelationId = RelationId(1);

    /// Rows differ in what they say they hold.
    fn row(number: usize) -> Row {
        let batch = Arc::new(RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())));
        Row { batch, row: number as u32, bytes: number as u32 % 7 }
    }

    /// Key -> what it held before and what it holds.
    type Model = HashMap<u8, (Option<usize>, Option<usize>)>;

    fn check(overlay: &Overlay, model: &Model) {
        let plain = |row: &Option<Row>| row.as_ref().map(|row| row.row as usize);
        for key in 0..=u8::MAX {
            let after = overlay.get(TABLE, &[key]).map(|entry| plain(&entry.after));
            assert_eq!(after, model.get(&key).map(|(_, after)| *after), "key {key}");
        }
        let flat = overlay.flat();
        let flat = flat.tables.get(&TABLE).into_iter().flatten();
        let flat: Model = flat.map(|(key, entry)| (key[0], (plain(&entry.before), plain(&entry.after)))).collect();
        assert_eq!(flat, *model);
        for layer in &overlay.layers {
            let mut held = Held::default();
            layer.tables.values().flat_map(IndexMap::values).for_each(|entry| held += entry.held());
            assert_eq!(layer.held, held);
        }
    }

    #[test]
    fn copies_keep_what_they_had() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..20 {
            let (mut overlay, mut model) = (Overlay::default(), Model::new());
            let mut copies = vec![(overlay.clone(), model.clone())];
            for number in 0..300 {
                let key: u8 = random.random_range(0..100);
                let held = model.get(&key).map_or((key % 3 == 0).then_some(1000), |(_, after)| *after);
                let after = random.random_bool(0.7).then_some(number);
                match random.random_bool(0.5) {
                    true => overlay.set(TABLE, &[key], held.map(row), after.map(row)),
                    false => {
                        let mut later = Overlay::default();
                        later.set(TABLE, &[key], held.map(row), after.map(row));
                        overlay.merge(later, number as u64);
                    }
                }
                model.entry(key).or_insert((held, None)).1 = after;
                match random.random_range(0..20) {
                    0..5 => copies.push((overlay.clone(), model.clone())),
                    5 => (overlay, model) = copies.swap_remove(random.random_range(0..copies.len())),
                    6 => assert_eq!((overlay.exceeds(model.len()), overlay.exceeds(0)), (false, !model.is_empty())),
                    _ => {}
                }
                if copies.is_empty() {
                    copies.push((overlay.clone(), model.clone()));
                }
            }
            check(&overlay, &model);
            copies.iter().for_each(|(overlay, model)| check(overlay, model));
        }
    }

    #[test]
    fn rows_stay_in_the_order_of_their_writes() {
        let mut overlay = Overlay::default();
        let written: Vec<u8> = (0..=u8::MAX).map(|number| number.wrapping_mul(77)).collect();
        let mut copies = Vec::new();
        for (number, key) in written.iter().enumerate() {
            overlay.set(TABLE, &[*key], None, Some(row(number)));
            overlay.set(TABLE, &[written[number / 2]], None, Some(row(number)));
            if number % 50 == 0 {
                copies.push(overlay.clone());
            }
        }
        let mut committed = Overlay::default();
        committed.merge(overlay, 1);
        let order: Vec<u8> = committed.flat().tables[&TABLE].keys().map(|key| key[0]).collect();
        assert_eq!(order, written);
    }

    /// A savepoint before every row: what is there already is not copied for it.
    #[test]
    fn a_copy_before_every_write_costs_the_logarithm() {
        let mut overlay = Overlay::default();
        let key = |number: usize| number.to_be_bytes();
        (0..10_000).for_each(|number| overlay.set(TABLE, &key(number), None, Some(row(number))));
        let large = Arc::as_ptr(&overlay.layers[0]);
        let mut copies = Vec::new();
        for number in 10_000..11_000 {
            copies.push(overlay.clone());
            overlay.set(TABLE, &key(number), None, Some(row(number)));
            assert!(overlay.layers.len() < 20, "{} layers", overlay.layers.len());
        }
        assert_eq!(Arc::as_ptr(&overlay.layers[0]), large, "the large layer is still the same one");
        assert_eq!(overlay.held().rows, 11_000);
    }

    #[test]
    fn what_is_held_is_counted_as_it_comes_and_goes() {
        let mut overlay = Overlay::default();
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(10_000), "y".repeat(30_000)]));
        let wide = RecordBatch::try_from_iter([("t", texts)]).unwrap();
        let at = Row::all(wide.clone());
        overlay.set(TABLE, b"1", None, Some(at(0)));
        overlay.put_into_stream(RelationId(2), wide.clone());
        assert_eq!(overlay.held(), Held { rows: 3, bytes: 20_004 + 40_008 });
        assert_eq!((overlay.exceeds(58), overlay.exceeds(57)), (false, true));
        // What replaces a row takes its place; a layer on top counts for itself until all are one.
        overlay.set(TABLE, b"1", None, Some(row(3)));
        let copy = overlay.clone();
        overlay.set(TABLE, b"1", Some(row(3)), None);
        assert_eq!(overlay.held(), Held { rows: 4, bytes: 3 + 40_008 + 3 });
        assert_eq!((overlay.exceeds(39), overlay.exceeds(38)), (false, true));
        assert_eq!(overlay.held(), Held { rows: 3, bytes: 40_008 });
        assert_eq!(copy.held(), Held { rows: 3, bytes: 3 + 40_008 });

        let mut committed = Overlay::default();
        committed.merge(copy, 7);
        committed.merge(overlay, 8);
        committed.trim(8);
        assert_eq!(committed.held(), Held { rows: 3, bytes: 40_008 });
        committed.retain(|id| id == TABLE);
        assert_eq!(committed.held(), Held { rows: 1, bytes: 0 });
        committed.trim(9);
        assert_eq!(committed.held(), Held::default());
        assert!(committed.is_empty());
    }
}
