//! Rows on their way to the client: a result's columns, where its batches come from, and their form on the wire.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::{BufMut, BytesMut};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use pgwire::messages::data::{FieldDescription, RowDescription};

use super::Write;
use super::aside::aside;
use super::session::{Flow, Session};
use super::wire::{FULL, Outbox};
use crate::error::{Error, Result, SqlState};
use crate::sql::{BoundQuery, Origin};
use crate::types::{Column, TextSettings, Type, Writer, binary, text};

/// Bytes of a batch whose rows are not encoded between others' work.
const LONG_BATCH: usize = 1024 * 1024;

/// The columns a client sees, and which relation's columns they show unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    columns: Arc<[Column]>,
    /// One a column, or none at all.
    origins: Arc<[Option<Origin>]>,
}

impl Columns {
    pub fn of_query(bound: &BoundQuery) -> Columns {
        Columns { columns: bound.columns.as_slice().into(), origins: bound.origins.as_slice().into() }
    }

    /// The first of them.
    pub fn first(&self, count: usize) -> Columns {
        let origins = &self.origins[..count.min(self.origins.len())];
        Columns { columns: self.columns[..count].into(), origins: origins.into() }
    }
}

/// Those of expressions.
impl From<Vec<Column>> for Columns {
    fn from(columns: Vec<Column>) -> Columns {
        Columns { columns: columns.into(), origins: Arc::default() }
    }
}

impl std::ops::Deref for Columns {
    type Target = [Column];

    fn deref(&self) -> &[Column] {
        &self.columns
    }
}

/// A result that is read piece by piece.
pub struct Rows {
    pub columns: Columns,
    source: Source,
    /// What was read of the source and not yet handed on.
    rest: Option<RecordBatch>,
    /// Binary where the client can't say (the simple protocol): a BINARY cursor.
    pub binary: bool,
}

enum Source {
    Stream(SendableRecordBatchStream),
    Ready(VecDeque<RecordBatch>),
}

impl Rows {
    pub fn stream(columns: Columns, stream: SendableRecordBatchStream) -> Rows {
        Rows { columns, source: Source::Stream(stream), rest: None, binary: false }
    }

    pub fn ready(columns: Columns, batches: Vec<RecordBatch>) -> Rows {
        Rows { columns, source: Source::Ready(batches.into()), rest: None, binary: false }
    }

    /// The next rows, at most `limit`, at least one; `None` at the end.
    pub async fn next(&mut self, limit: usize) -> Result<Option<RecordBatch>> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => loop {
                let batch = match &mut self.source {
                    Source::Ready(batches) => batches.pop_front(),
                    Source::Stream(stream) => stream.next().await.transpose().map_err(Error::from)?,
                };
                match batch {
                    None => return Ok(None),
                    Some(batch) if batch.num_rows() > 0 => break batch,
                    Some(_) => {}
                }
            },
        };
        if batch.num_rows() > limit {
            self.rest = Some(batch.slice(limit, batch.num_rows() - limit));
            return Ok(Some(batch.slice(0, limit)));
        }
        Ok(Some(batch))
    }

    /// Makes the first rows, so that an error that comes at once comes before anything is said of the result.
    pub async fn prefetch(&mut self) -> Result<()> {
        if self.rest.is_none() {
            self.rest = self.next(usize::MAX).await?;
        }
        Ok(())
    }
}

/// What the protocol says about a result's columns. `formats` has one entry a column.
pub fn description(columns: &Columns, formats: &[i16]) -> RowDescription {
    let origins = columns.origins.iter().copied().chain(std::iter::repeat(None));
    let fields = columns.iter().zip(formats).zip(origins).map(|((column, format), origin)| {
        FieldDescription::new(
            column.name.clone(),
            // 0 for an expression.
            origin.map_or(0, |origin| origin.relation.oid() as i32),
            origin.map_or(0, |origin| origin.column),
            column.ty.oid(),
            column.ty.typlen(),
            column.ty.typmod(),
            *format,
        )
    });
    RowDescription::new(fields.collect())
}

/// One format a column from what Bind gives: none (all text), one for all, or one each.
pub fn formats(given: &[i16], columns: usize) -> Result<Vec<i16>> {
    match given {
        [] => Ok(vec![0; columns]),
        [one] => Ok(vec![*one; columns]),
        each if each.len() == columns => Ok(each.to_vec()),
        each => {
            let message = format!("bind message has {} result formats but query has {columns} columns", each.len());
            Err(Error::new(SqlState::PROTOCOL_VIOLATION, message))
        }
    }
}

/// Writes rows as messages.
pub trait Encode: Send + Sync + 'static {
    /// Appends the rows from `first` on until there is enough to send or they end; gives the number of the next one.
    /// Only whole messages are appended, even where it fails.
    fn encode(&self, batch: &RecordBatch, first: usize, out: &mut BytesMut) -> Result<usize>;
}

/// Sends a batch's rows, made no faster than the client takes them.
pub async fn send<E: Encode>(batch: RecordBatch, encoder: &Arc<E>, out: &mut Outbox<Write>) -> Flow<()> {
    // One row may be as long as all its batch.
    let long = batch.get_array_memory_size() > LONG_BATCH;
    let mut row = 0;
    while row < batch.num_rows() {
        if long {
            let (encoder, batch) = (encoder.clone(), batch.clone());
            let encode = move || {
                let mut piece = BytesMut::new();
                let next = encoder.encode(&batch, row, &mut piece)?;
                Ok((next, piece))
            };
            let (next, piece) = aside(encode).await?;
            out.take_in(piece).await?;
            row = next;
        } else {
            row = encoder.encode(&batch, row, out.buffer())?;
        }
        out.drain().await?;
    }
    Ok(())
}

/// Appends rows, each by `write`, until there is enough to send; one that fails leaves nothing behind.
pub fn append(
    batch: &RecordBatch,
    first: usize,
    out: &mut BytesMut,
    mut write: impl FnMut(usize, &mut BytesMut) -> Result<()>,
) -> Result<usize> {
    for row in first..batch.num_rows() {
        if out.len() >= FULL {
            return Ok(row);
        }
        let start = out.len();
        if let Err(error) = write(row, out) {
            out.truncate(start);
            return Err(error);
        }
    }
    Ok(batch.num_rows())
}

/// Puts the number of bytes behind `counted_from` into the four bytes at `at`.
pub fn set_length(out: &mut BytesMut, at: usize, counted_from: usize) -> Result<()> {
    let length = i32::try_from(out.len() - counted_from)
        .map_err(|_| Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a row of the result is longer than 2 GB"))?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Writes rows as DataRow messages.
pub struct Encoder {
    types: Vec<Type>,
    /// One a column: 0 text, 1 binary.
    formats: Vec<i16>,
    settings: TextSettings,
}

impl Encoder {
    pub fn new(columns: &[Column], formats: &[i16], session: &Session) -> Result<Arc<Encoder>> {
        let types = columns.iter().map(|column| column.ty.clone()).collect();
        Ok(Arc::new(Encoder { types, formats: formats.to_vec(), settings: session.text_settings()? }))
    }
}

impl Encode for Encoder {
    fn encode(&self, batch: &RecordBatch, first: usize, out: &mut BytesMut) -> Result<usize> {
        let columns = batch.columns().iter().zip(&self.types).zip(&self.formats);
        let writers = columns
            .map(|((array, ty), format)| match format {
                0 => Writer::text(ty, array, &self.settings),
                _ => Writer::binary(ty, array),
            })
            .collect::<Result<Vec<_>>>()?;
        append(batch, first, out, |row, out| {
            out.put_u8(b'D');
            let message = out.len();
            out.put_i32(0);
            out.put_i16(writers.len() as i16);
            for writer in &writers {
                let value = out.len();
                out.put_i32(-1);
                if !writer.write(row, out) {
                    set_length(out, value, value + 4)?;
                    // So that many long values are not gathered in vain.
                    set_length(out, message, message)?;
                }
            }
            set_length(out, message, message)
        })
    }
}

/// A parameter's value from its text (0) or binary (1) form; `None` is NULL.
pub fn parameter(settings: &TextSettings, ty: &Type, value: Option<&[u8]>, format: i16) -> Result<ScalarValue> {
    match (value, format) {
        (None, _) => Ok(ScalarValue::try_from(&ty.arrow())?),
        (Some(bytes), 0) => text::parse_scalar(ty, super::wire::text(bytes)?, settings),
        (Some(bytes), _) => binary::parse_scalar(ty, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::arrow_schema;
    use arrow::array::{Int32Array, StringArray};

    #[test]
    fn rows_are_encoded_with_their_lengths() {
        let columns = [Column::new("a", Type::Int4), Column::new("b", Type::Text)];
        let types = columns.iter().map(|column| column.ty.clone()).collect();
        let encoder = Encoder { types, formats: vec![1, 0], settings: TextSettings::default() };
        let numbers = Arc::new(Int32Array::from(vec![Some(7), None]));
        let texts = Arc::new(StringArray::from(vec!["x", ""]));
        let batch = RecordBatch::try_new(arrow_schema(&columns), vec![numbers, texts]).unwrap();
        let mut out = BytesMut::new();
        assert_eq!(encoder.encode(&batch, 0, &mut out).unwrap(), 2);
        let expected = b"D\0\0\0\x13\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01xD\0\0\0\x0e\0\x02\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(&out[..], expected);
    }

    #[test]
    fn long_rows_are_encoded_one_by_one_and_a_row_that_fails_leaves_nothing() {
        let long = "x".repeat(FULL);
        let batch = |rows: usize| {
            let texts = Arc::new(StringArray::from(vec![long.as_str(); rows]));
            RecordBatch::try_new(arrow_schema(&[Column::new("a", Type::Text)]), vec![texts]).unwrap()
        };
        let encoder = Encoder { types: vec![Type::Text], formats: vec![0], settings: TextSettings::default() };
        let mut out = BytesMut::new();
        for row in 0..3 {
            assert_eq!(encoder.encode(&batch(3), row, &mut out).unwrap(), row + 1);
            // Nothing more before it is sent.
            assert_eq!(encoder.encode(&batch(3), row, &mut out).unwrap(), row);
            assert_eq!(out.split().len(), 1 + 4 + 2 + 4 + FULL);
        }
        let fails = |row: usize, out: &mut BytesMut| {
            out.put_slice(b"half a message");
            if row == 1 { Err(Error::internal("no")) } else { Ok(()) }
        };
        assert!(append(&batch(3), 0, &mut out, fails).is_err());
        assert_eq!(&out[..], b"half a message", "the first row only");
    }

    #[tokio::test]
    async fn rows_come_in_pieces_of_the_size_asked_for() {
        let columns = [Column::new("a", Type::Int4)];
        let batch = |numbers: Vec<i32>| {
            RecordBatch::try_new(arrow_schema(&columns), vec![Arc::new(Int32Array::from(numbers))]).unwrap()
        };
        let batches = vec![batch(vec![1, 2, 3]), batch(vec![]), batch(vec![4])];
        let mut rows = Rows::ready(columns.to_vec().into(), batches);
        let mut sizes = Vec::new();
        while let Some(piece) = rows.next(2).await.unwrap() {
            sizes.push(piece.num_rows());
        }
        assert_eq!(sizes, [2, 1, 1]);
    }

    #[test]
    fn formats_are_spread_over_the_columns() {
        assert_eq!(formats(&[], 2).unwrap(), [0, 0]);
        assert_eq!(formats(&[1], 2).unwrap(), [1, 1]);
        assert_eq!(formats(&[1, 0], 2).unwrap(), [1, 0]);
        assert_eq!(formats(&[1, 0, 1], 2).unwrap_err().state(), SqlState::PROTOCOL_VIOLATION);
    }
}
