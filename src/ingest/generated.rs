//! Generated columns of connected streams: computed over each chunk of what the connector gives, whichever it is.
//!
//! The connector is given the stream without them. A row that an expression fails on, or leaves without a value that must be
//! there, is no row: it becomes a dead letter. Expressions are bound in UTC and depend on the row alone, so that a replay
//! gives the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::{ChunkSender, DeadLetter, Fetched, Range, Source, Statuses, Stop, queue};
use crate::catalog::{Include, IncludeKind, Relation, RelationKind, StreamDef};
use crate::error::{Error, Result};
use crate::operators::PhysicalExpr;
use crate::operators::failures::row_text;
use crate::operators::map::evaluate;
use crate::sql;
use crate::types::{Column, Type};

pub struct Generated {
    /// Gives the other columns.
    inner: Arc<dyn Source>,
    /// One a column of the stream, over the inner rows.
    exprs: Vec<PhysicalExpr>,
    columns: Vec<Column>,
    schema: SchemaRef,
    /// The inner column with the records' offsets; `None`: offsets count the rows.
    offsets: Option<usize>,
}

/// The stream that the connector fills: without generated columns, with the offsets where it has them. `None` if nothing is
/// generated.
pub fn without(stream: &Relation) -> Option<Relation> {
    let RelationKind::Stream(def) = &stream.kind else { return None };
    if def.generated.iter().all(Option::is_none) {
        return None;
    }
    let places = plain(stream, def);
    let mut columns: Vec<Column> = places.iter().map(|place| stream.columns[*place].clone()).collect();
    let moved = |include: &Include| {
        let column = places.iter().position(|place| *place == include.column)?;
        Some(Include { kind: include.kind, column })
    };
    let mut includes: Vec<Include> = def.includes.iter().filter_map(moved).collect();
    let is_kafka = def.connector.as_ref().is_some_and(|connector| connector.name == "kafka");
    if is_kafka && !includes.iter().any(|include| include.kind == IncludeKind::Offset) {
        includes.push(Include { kind: IncludeKind::Offset, column: columns.len() });
        // No column of the stream can be called so.
        columns.push(Column::new("", Type::Int8));
    }
    let nothing = vec![None; columns.len()];
    let connector = def.connector.clone();
    let def = StreamDef { connector, defaults: nothing.clone(), generated: nothing, includes };
    Some(Relation { columns, kind: RelationKind::Stream(def), ..stream.clone() })
}

/// The places of the columns that are not generated.
fn plain(stream: &Relation, def: &StreamDef) -> Vec<usize> {
    let generated = |place: usize| def.generated.get(place).is_some_and(Option::is_some);
    (0..stream.columns.len()).filter(|place| !generated(*place)).collect()
}

impl Generated {
    /// Over the source of the stream [`without`] them.
    pub fn new(stream: &Relation, given: &Relation, inner: Arc<dyn Source>) -> Result<Generated> {
        let (RelationKind::Stream(def), RelationKind::Stream(inner_def)) = (&stream.kind, &given.kind) else {
            return Err(Error::internal(format!("{} is no stream", stream.name)));
        };
        let exprs = sql::complete_row(stream, &plain(stream, def), &given.stored_schema())?;
        let offset = inner_def.includes.iter().find(|include| include.kind == IncludeKind::Offset);
        let offsets = offset.map(|include| include.column);
        Ok(Generated { inner, exprs, columns: stream.columns.clone(), schema: stream.stored_schema(), offsets })
    }

    fn complete(&self, mut chunk: Fetched) -> Result<Fetched> {
        let given = chunk.rows;
        let mut columns = Vec::with_capacity(self.exprs.len());
        // By row: why it is none.
        let mut bad: BTreeMap<usize, String> = BTreeMap::new();
        for (expr, column) in self.exprs.iter().zip(&self.columns) {
            let (values, failed) = evaluate(expr, &given)?;
            for (row, error) in failed {
                let reason = || format!("generated column \"{}\": {}", column.name, error.message());
                bad.entry(row).or_insert_with(reason);
            }
            if column.not_null && values.null_count() > 0 {
                for row in (0..values.len()).filter(|row| values.is_null(*row)) {
                    bad.entry(row).or_insert_with(|| format!("generated column \"{}\" is NULL", column.name));
                }
            }
            columns.push(values);
        }
        let mut count = given.num_rows();
        if !bad.is_empty() {
            let good: BooleanArray = (0..count).map(|row| Some(!bad.contains_key(&row))).collect();
            columns = columns.iter().map(|values| filter(values, &good)).collect::<Result<_, _>>()?;
            count -= bad.len();
            for (row, reason) in bad {
                let offset = match self.offsets {
                    Some(column) => given.column(column).as_primitive::<Int64Type>().value(row),
                    None => chunk.start + row as i64,
                };
                let reason = format!("{reason}; the row is {}", row_text(given.columns(), row));
                let (partition, key, value, at) = (chunk.partition, None, None, None);
                chunk.dead.push(DeadLetter { partition, offset, key, value, reason, at });
            }
            chunk.dead.sort_by_key(|dead| dead.offset);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        chunk.rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(chunk)
    }
}

impl Source for Generated {
    fn identity(&self) -> Result<String> {
        self.inner.identity()
    }

    fn decoder(&self) -> &'static str {
        self.inner.decoder()
    }

    fn start_positions(&self) -> Result<Vec<(i32, i64)>> {
        self.inner.start_positions()
    }

    fn read(&self, from: Vec<(i32, i64)>, out: ChunkSender, statuses: Statuses, stop: Stop) -> Result<()> {
        let (sender, chunks) = queue(1, out.bytes().clone());
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.inner.read(from, sender, statuses, stop.clone()));
            // The reader ends when nobody takes its chunks any more.
            for chunk in chunks.iter() {
                if !out.send(self.complete(chunk)?) {
                    break;
                }
            }
            drop(chunks);
            reader.join().map_err(|_| Error::internal("a stream's reader panicked"))?
        })
    }

    fn replay(&self, range: Range, patience: Duration, each: &mut dyn FnMut(Fetched) -> Result<()>) -> Result<()> {
        self.inner.replay(range, patience, &mut |chunk| each(self.complete(chunk)?))
    }
}
