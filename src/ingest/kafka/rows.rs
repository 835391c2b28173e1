//! Records of one partition to rows: the payload by the stream's format, INCLUDE columns from what surrounds it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, RecordBatch, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;

use super::native::Record;
use crate::catalog::{Include, IncludeKind, Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::formats::json::JsonDecoder;
use crate::ingest::{DeadLetter, Fetched, Fingerprint};
use crate::types::{Column, Type, hex, json};

/// A chunk is handed over when it has as many records as this, or so many bytes of records, or so many in its rows beside their texts.
const CHUNK_RECORDS: u64 = 4096;
const CHUNK_BYTES: usize = 1 << 20;

/// What is logged of how records become rows here, of their payload and of what surrounds it. The number grows with every change by which
/// some record gives another row, or none, or one where it gave none: streams made before are then refused.
pub const DECODER: &str = "json 2";

/// How the columns of a stream are filled.
#[derive(Clone)]
pub struct Layout {
    schema: SchemaRef,
    /// Of the payload.
    columns: Vec<Column>,
    /// One a column of the schema.
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
enum Place {
    /// The next column of the payload.
    Payload,
    Include(IncludeKind),
}

impl Layout {
    /// Checks that the columns can be filled.
    pub fn new(stream: &Relation) -> Result<Layout> {
        let RelationKind::Stream(def) = &stream.kind else {
            return Err(Error::internal(format!("{} is no stream", stream.name)));
        };
        let mut places = vec![Place::Payload; stream.columns.len()];
        for Include { kind, column } in &def.includes {
            let declared = stream.columns.get(*column).ok_or_else(|| Error::internal("an INCLUDE without a column"))?;
            if declared.ty != include_type(*kind) {
                let message = format!("column \"{}\" has the wrong type for what it includes", declared.name);
                return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
            }
            places[*column] = Place::Include(*kind);
        }
        let of_payload = stream.columns.iter().zip(&places).filter(|(_, place)| matches!(place, Place::Payload));
        let columns: Vec<Column> = of_payload.map(|(column, _)| column.clone()).collect();
        JsonDecoder::new(&columns)?;
        Ok(Layout { schema: stream.stored_schema(), columns, places })
    }
}

/// The type of an INCLUDE column.
fn include_type(kind: IncludeKind) -> Type {
    match kind {
        IncludeKind::Key => Type::Bytea,
        IncludeKind::Partition => Type::Int4,
        IncludeKind::Offset => Type::Int8,
        IncludeKind::Timestamp => Type::Timestamptz,
        IncludeKind::Headers => Type::Jsonb,
    }
}

/// The chunk of one partition under construction.
pub struct PartitionRows {
    layout: Layout,
    partition: i32,
    /// Where the chunk begins, and the position after what it has.
    start: i64,
    next: i64,
    decoder: JsonDecoder,
    /// One a place, empty where the place is no INCLUDE.
    includes: Vec<IncludeColumn>,
    dead: Vec<DeadLetter>,
    fingerprint: Fingerprint,
    bytes: usize,
}

enum IncludeColumn {
    None,
    Key(BinaryBuilder),
    Partition,
    Offset(Vec<i64>),
    Timestamp(Vec<Option<i64>>),
    Headers(StringBuilder),
}

impl PartitionRows {
    /// From this position on.
    pub fn new(layout: &Layout, partition: i32, position: i64) -> Result<PartitionRows> {
        let includes = layout.places.iter().map(|place| match place {
            Place::Include(IncludeKind::Key) => IncludeColumn::Key(BinaryBuilder::new()),
            Place::Include(IncludeKind::Partition) => IncludeColumn::Partition,
            Place::Include(IncludeKind::Offset) => IncludeColumn::Offset(Vec::new()),
            Place::Include(IncludeKind::Timestamp) => IncludeColumn::Timestamp(Vec::new()),
            Place::Include(IncludeKind::Headers) => IncludeColumn::Headers(StringBuilder::new()),
            _ => IncludeColumn::None,
        });
        Ok(PartitionRows {
            partition,
            start: position,
            next: position,
            decoder: JsonDecoder::new(&layout.columns)?,
            includes: includes.collect(),
            dead: Vec::new(),
            fingerprint: Fingerprint::default(),
            bytes: 0,
            layout: layout.clone(),
        })
    }

    /// The position after what was pushed.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Takes a record; one from before the position was taken already and is left out.
    pub fn push(&mut self, record: &Record<'_>) {
        let offset = record.offset();
        if offset < self.next {
            return;
        }
        self.next = offset + 1;
        let (key, value) = (record.key(), record.value());
        self.fingerprint.add(offset, key, value);
        self.bytes += value.map_or(0, <[u8]>::len) + key.map_or(0, <[u8]>::len);
        let judged = match value {
            None => Err("a tombstone (a record without a value) is no event of a stream".to_string()),
            Some(payload) => self.decoder.push(payload),
        };
        match judged {
            Ok(()) => {
                for include in &mut self.includes {
                    include.push(record);
                }
            }
            Err(reason) => self.dead.push(DeadLetter {
                partition: self.partition,
                offset,
                key: key.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
                reason,
                at: record.timestamp(),
            }),
        }
    }

    /// What lies before this position, and was not pushed, does not exist for us: control records, aborted transactions, compaction.
    pub fn advance(&mut self, position: i64) {
        self.next = self.next.max(position);
    }

    pub fn is_empty(&self) -> bool {
        self.next == self.start
    }

    pub fn is_full(&self) -> bool {
        let large = self.bytes >= CHUNK_BYTES || self.decoder.grown() >= CHUNK_BYTES;
        large || self.fingerprint.records >= CHUNK_RECORDS
    }

    /// The chunk; the next one begins where it ends.
    pub fn take(&mut self) -> Result<Fetched> {
        let count = self.decoder.rows();
        let mut payload = self.decoder.finish().into_iter();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.includes.len());
        for (place, include) in self.layout.places.iter().zip(&mut self.includes) {
            columns.push(match place {
                Place::Payload => payload.next().ok_or_else(|| Error::internal("the decoder lost a column"))?,
                Place::Include(_) => include.finish(self.partition, count),
            });
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(self.layout.schema.clone(), columns, &options)?;
        let chunk = Fetched {
            partition: self.partition,
            start: self.start,
            next: self.next,
            rows,
            dead: std::mem::take(&mut self.dead),
            fingerprint: std::mem::take(&mut self.fingerprint),
        };
        self.start = self.next;
        self.bytes = 0;
        Ok(chunk)
    }
}

impl IncludeColumn {
    fn push(&mut self, record: &Record<'_>) {
        match self {
            IncludeColumn::None | IncludeColumn::Partition => {}
            IncludeColumn::Key(builder) => builder.append_option(record.key()),
            IncludeColumn::Offset(values) => values.push(record.offset()),
            IncludeColumn::Timestamp(values) => values.push(record.timestamp()),
            IncludeColumn::Headers(builder) => builder.append_value(headers_json(record.headers())),
        }
    }

    fn finish(&mut self, partition: i32, count: usize) -> ArrayRef {
        match self {
            IncludeColumn::Key(builder) => Arc::new(builder.finish()),
            IncludeColumn::None | IncludeColumn::Partition => Arc::new(Int32Array::from_value(partition, count)),
            IncludeColumn::Offset(values) => Arc::new(Int64Array::from(std::mem::take(values))),
            IncludeColumn::Timestamp(values) => {
                Arc::new(TimestampMicrosecondArray::from(std::mem::take(values)).with_timezone("UTC"))
            }
            IncludeColumn::Headers(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Headers as a jsonb object: text where a value is UTF-8 without zero bytes, else `\x` and hex digits. Of headers with one name the last
/// counts.
fn headers_json(headers: Vec<(String, Option<&[u8]>)>) -> String {
    let members = headers.into_iter().map(|(name, value)| {
        let value = match value.map(|value| (value, std::str::from_utf8(value))) {
            None => json::Value::Null,
            Some((_, Ok(text))) if !text.contains('\0') => json::Value::String(text.to_string()),
            Some((bytes, _)) => {
                let mut text = "\\x".to_string();
                hex::write(&mut text, bytes);
                json::Value::String(text)
            }
        };
        (name.replace('\0', ""), value)
    });
    json::Value::object(members.collect()).to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_become_jsonb() {
        let headers = vec![
            ("trace".to_string(), Some(&b"first"[..])),
            ("b".to_string(), Some(&b"\xff\x00"[..])),
            ("trace".to_string(), Some(&b"a \"quoted\" one"[..])),
            ("none".to_string(), None),
        ];
        let expected = r#"{"b": "\\xff00", "none": null, "trace": "a \"quoted\" one"}"#;
        assert_eq!(headers_json(headers), expected);
        assert_eq!(headers_json(Vec::new()), "{}");
    }
}
