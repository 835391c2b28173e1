//! The byte form in which operators save their state: a version, then sections in a fixed order.
//!
//! ```text
//!   | version u8 | length u64 | section | length u64 | section | ...
//! ```
//!
//! A section is an Arrow IPC stream (rows; never arrow-row bytes, which may change between releases) or a postcard
//! value (small plain state). Reading foreign or damaged bytes is an error, never a panic.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, SqlState};

pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new(version: u8) -> Writer {
        Writer { bytes: vec![version] }
    }

    pub fn section(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    pub fn value<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let bytes = postcard::to_allocvec(value).map_err(Error::internal)?;
        self.section(&bytes);
        Ok(())
    }

    pub fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
        writer.write(batch)?;
        writer.finish()?;
        drop(writer);
        self.section(&bytes);
        Ok(())
    }

    /// Unnamed columns of `rows` rows.
    pub fn columns(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        self.batch(&unnamed(columns, rows)?)
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Fails where the state was written in a version this build doesn't know.
    pub fn new(version: u8, bytes: &'a [u8]) -> Result<Reader<'a>> {
        match bytes.split_first() {
            Some((found, rest)) if *found == version => Ok(Reader { rest }),
            Some((found, _)) => Err(corrupted(format!("operator state of version {found}, expected {version}"))),
            None => Err(corrupted("empty operator state")),
        }
    }

    pub fn section(&mut self) -> Result<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<8>().ok_or_else(|| corrupted("operator state cut short"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > rest.len() {
            return Err(corrupted("operator state cut short"));
        }
        let (section, rest) = rest.split_at(length);
        self.rest = rest;
        Ok(section)
    }

    pub fn value<T: DeserializeOwned>(&mut self) -> Result<T> {
        postcard::from_bytes(self.section()?).map_err(corrupted)
    }

    pub fn batch(&mut self) -> Result<RecordBatch> {
        let mut reader = StreamReader::try_new(Cursor::new(self.section()?), None)?;
        reader.next().ok_or_else(|| corrupted("operator state without its rows"))?.map_err(Error::from)
    }

    /// What [`Writer::columns`] wrote, if it has these types.
    pub fn columns(&mut self, types: &[DataType]) -> Result<(Vec<ArrayRef>, usize)> {
        let batch = self.batch()?;
        if !batch.columns().iter().map(|column| column.data_type()).eq(types) {
            return Err(corrupted("operator state of other types"));
        }
        Ok((batch.columns().to_vec(), batch.num_rows()))
    }
}

fn corrupted(message: impl std::fmt::Display) -> Error {
    Error::new(SqlState::DATA_CORRUPTED, message.to_string())
}

fn unnamed(columns: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().enumerate().map(|(i, c)| Field::new(i.to_string(), c.data_type().clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns.to_vec(), &options)?)
}
