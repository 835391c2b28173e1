//! The scope of a write: checks and collects what one statement changes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};

use super::constraints::{check_not_null, duplicate_key};
use super::overlaid::{Overlaid, Settle};
use super::overlay::{Entry, Overlay, Row, gather, key_codec};
use super::published::Reader;
use super::read::{Lookup, ReadState, ReadView};
use super::write::WriteScope;
use crate::catalog::Relation;
use crate::delta::keys::KeyCodec;
use crate::delta::{Equality, RowsView};
use crate::error::{Error, Result, SqlState};
use crate::types::RelationId;

/// Keys of a commit compared at once.
const CHECKED: usize = 64 * 1024;

/// The newest state, the writes laid over it, and one statement's changes on top.
pub struct Scope {
    pub base: Arc<Reader>,
    /// Writes before this statement's.
    pub below: Arc<Overlay>,
    /// This statement's.
    pub own: Arc<Overlay>,
    pub settle: Option<Arc<Settle>>,
    pub row_ids: Arc<AtomicI64>,
    /// Most rows a transaction may have changed; wide ones count as several.
    pub max_rows: usize,
    codecs: HashMap<RelationId, Arc<KeyCodec>>,
}

impl Scope {
    pub fn new(
        base: Arc<Reader>,
        below: Arc<Overlay>,
        settle: Option<Arc<Settle>>,
        row_ids: Arc<AtomicI64>,
        max_rows: usize,
    ) -> Scope {
        Scope { base, below, own: Arc::default(), settle, row_ids, max_rows, codecs: HashMap::new() }
    }

    fn relation(&self, id: RelationId) -> Result<Arc<Relation>> {
        self.base.state.relation(id).cloned()
    }

    fn codec(&mut self, relation: &Relation) -> Result<Arc<KeyCodec>> {
        if let Some(codec) = self.codecs.get(&relation.id) {
            return Ok(codec.clone());
        }
        let codec = Arc::new(key_codec(relation)?);
        self.codecs.insert(relation.id, codec.clone());
        Ok(codec)
    }

    fn overlaid(&self) -> Overlaid {
        let layers = vec![self.below.clone(), self.own.clone()];
        Overlaid { base: self.base.clone(), layers, settle: self.settle.clone() }
    }

    /// What the overlays say of a key; `None` if they know nothing of it.
    fn written(&self, table: RelationId, key: &[u8]) -> Option<&Entry> {
        self.own.get(table, key).or_else(|| self.below.get(table, key))
    }

    /// Sets what a key holds from now on.
    fn set(&mut self, table: RelationId, key: &[u8], before: Option<Row>, after: Option<Row>) {
        Arc::make_mut(&mut self.own).set(table, key, before, after);
    }

    fn check_room(&mut self) -> Result<()> {
        match Arc::make_mut(&mut self.own).exceeds(self.max_rows) {
            true => Err(too_many_rows(self.max_rows)),
            false => Ok(()),
        }
    }

    /// Puts rows in whose keys must be free.
    fn put(&mut self, relation: &Relation, rows: RecordBatch) -> Result<()> {
        let codec = self.codec(relation)?;
        let keys = codec.of_rows(&rows)?;
        let at = Row::all(rows.clone());
        if relation.has_row_id() {
            // Row ids are new, or those of rows just taken out.
            for (row, key) in keys.iter().enumerate() {
                self.set(relation.id, key.data(), None, Some(at(row)));
            }
            return self.check_room();
        }
        let existing = self.existing(relation, &codec, &rows)?;
        for (row, key) in keys.iter().enumerate() {
            let key = key.data();
            let taken = match self.written(relation.id, key) {
                Some(entry) => entry.after.is_some(),
                None => existing.contains(key),
            };
            if taken {
                return Err(duplicate_key(relation, &rows, row));
            }
            self.set(relation.id, key, None, Some(at(row)));
        }
        self.check_room()
    }

    /// The base's rows with these keys.
    fn stored(&self, table: RelationId, codec: &KeyCodec, keys: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let found = self.base.lookup(table, &Lookup::of_keys(codec.columns().to_vec(), keys.clone()))?;
        found.ok_or_else(|| Error::internal(format!("relation {table} can't be read by its key")))?.collect()
    }

    /// Whether the keys of a table hold what they held before these entries.
    pub fn unchanged(&mut self, relation: &Relation, entries: &[Entry]) -> Result<bool> {
        let schema = relation.stored_schema();
        // Row ids that a transaction gives are new.
        let told = |entry: &&Entry| entry.before.is_some() || !relation.has_row_id();
        let entries: Vec<&Entry> = entries.iter().filter(told).collect();
        for entries in entries.chunks(CHECKED) {
            // An entry with neither is a row that came and went; its key is of no interest.
            let known =
                entries.iter().filter_map(|entry| Some((entry, entry.before.as_ref().or(entry.after.as_ref())?)));
            let (entries, rows): (Vec<&&Entry>, Vec<Row>) = known.map(|(entry, row)| (entry, row.clone())).unzip();
            let (keys, befores) = (gather(&schema, &rows)?, entries.iter().map(|entry| entry.before.is_some()));
            let befores: Vec<bool> = befores.collect();
            let (found, answers) = self.find(relation.id, &keys.project(&relation.key_columns())?)?;
            if answers.len() != befores.iter().filter(|before| **before).count() {
                return Ok(false);
            }
            let (seen, now) =
                (RowsView::new(keys.columns(), Equality::Row)?, RowsView::new(found.columns(), Equality::Row)?);
            let same = |(row, entry): (usize, &u32)| befores[*entry as usize] && now.equal(row, &seen, *entry as usize);
            if !answers.iter().enumerate().all(same) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Which keys of `rows` the base holds.
    fn existing(&self, relation: &Relation, codec: &KeyCodec, rows: &RecordBatch) -> Result<HashSet<Box<[u8]>>> {
        let mut existing = HashSet::new();
        let keys = rows.project(codec.columns())?;
        for found in self.stored(relation.id, codec, &keys)? {
            existing.extend(codec.of_rows(&found)?.iter().map(|key| Box::from(key.data())));
        }
        Ok(existing)
    }

    fn take_out(&mut self, relation: &Relation, rows: &RecordBatch) -> Result<()> {
        let codec = self.codec(relation)?;
        let keys = codec.of_rows(rows)?;
        let at = Row::all(rows.clone());
        for (row, key) in keys.iter().enumerate() {
            self.set(relation.id, key.data(), Some(at(row)), None);
        }
        self.check_room()
    }

    /// Fills in the hidden row ids that are NULL.
    fn with_row_ids(&self, relation: &Relation, rows: RecordBatch) -> Result<RecordBatch> {
        if !relation.has_row_id() {
            return Ok(rows);
        }
        let count = rows.num_rows() as i64;
        let first = self.row_ids.fetch_add(count, Ordering::Relaxed);
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.truncate(relation.columns.len());
        columns.push(Arc::new(Int64Array::from_iter_values(first..first + count)));
        Ok(RecordBatch::try_new(relation.stored_schema(), columns)?)
    }
}

impl WriteScope for Scope {
    fn read(&mut self) -> Result<ReadView> {
        Ok(ReadView::new(Arc::new(self.overlaid())))
    }

    fn find(&mut self, table: RelationId, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>)> {
        let relation = self.relation(table)?;
        let codec = self.codec(&relation)?;
        let asked = codec.of_keys(keys.columns())?;
        let mut below: HashMap<Box<[u8]>, Row> = HashMap::new();
        for found in self.stored(table, &codec, keys)? {
            let found_keys = codec.of_rows(&found)?;
            let at = Row::all(found);
            let rows = found_keys.iter().enumerate();
            below.extend(rows.map(|(row, key)| (Box::from(key.data()), at(row))));
        }
        let (mut rows, mut answers) = (Vec::new(), Vec::new());
        for (number, key) in asked.iter().enumerate() {
            let found = match self.written(table, key.data()) {
                Some(entry) => entry.after.clone(),
                None => below.get(key.data()).cloned(),
            };
            if let Some(row) = found {
                rows.push(row);
                answers.push(number as u32);
            }
        }
        Ok((gather(&relation.stored_schema(), &rows)?, answers))
    }

    fn insert(&mut self, id: RelationId, rows: RecordBatch) -> Result<RecordBatch> {
        let relation = self.relation(id)?;
        let rows = self.with_row_ids(&relation, rows)?;
        check_not_null(&relation, &rows)?;
        if relation.append_only() {
            Arc::make_mut(&mut self.own).put_into_stream(id, rows.clone());
            self.check_room()?;
        } else {
            self.put(&relation, rows.clone())?;
        }
        Ok(rows)
    }

    fn delete(&mut self, table: RelationId, rows: RecordBatch) -> Result<()> {
        let relation = self.relation(table)?;
        self.take_out(&relation, &rows)
    }

    fn truncate(&mut self, table: RelationId) -> Result<u64> {
        let relation = self.relation(table)?;
        let mut count = 0;
        for batch in self.overlaid().scan(table, None)? {
            let batch = batch?;
            count += batch.num_rows() as u64;
            self.take_out(&relation, &batch)?;
        }
        Ok(count)
    }

    fn update(&mut self, table: RelationId, old: &[RecordBatch], new: &[RecordBatch]) -> Result<()> {
        let relation = self.relation(table)?;
        new.iter().try_for_each(|rows| check_not_null(&relation, rows))?;
        old.iter().try_for_each(|rows| self.take_out(&relation, rows))?;
        new.iter().try_for_each(|rows| self.put(&relation, rows.clone()))
    }

    fn check_rows(&self, rows: usize) -> Result<()> {
        if rows > self.max_rows { Err(too_many_rows(self.max_rows)) } else { Ok(()) }
    }
}

pub fn too_many_rows(limit: usize) -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("one transaction may change at most {limit} rows"))
        .with_detail("A row of more than 1 kB counts as several, one a kilobyte.")
        .with_hint("Split it, or raise max_transaction_rows.")
}
