//! Rows as bytes, for the log.
//!
//! ```text
//!   0        1          5               5+m            5+m+b
//!   +--------+----------+---------------+--------------+-----------------------+
//!   | 1      | m u32 LE | IPC message m | IPC body b   | weights, i64 LE a row |
//!   +--------+----------+---------------+--------------+-----------------------+
//!   version 1: all weights are 1 and left out; version 2: weights follow, b = what is left
//! ```
//!
//! The schema is not repeated with every commit: the catalog at that place of the log has it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};

use crate::delta::Delta;
use crate::error::{Error, Result, SqlState};

const UNWEIGHTED: u8 = 1;
const WEIGHTED: u8 = 2;

pub fn encode(delta: &Delta) -> Result<Vec<u8>> {
    let options = IpcWriteOptions::default();
    let mut dictionaries = DictionaryTracker::new(false);
    let (_, encoded) =
        IpcDataGenerator::default().encode(delta.rows(), &mut dictionaries, &options, &mut Default::default())?;
    let message = &encoded.ipc_message;
    let weights = delta.weights().map_or(0, |weights| weights.len() * 8);
    let mut bytes = Vec::with_capacity(5 + message.len() + encoded.arrow_data.len() + weights);
    bytes.push(if delta.weights().is_some() { WEIGHTED } else { UNWEIGHTED });
    bytes.extend((message.len() as u32).to_le_bytes());
    bytes.extend(message);
    bytes.extend(&encoded.arrow_data);
    for weight in delta.weights().iter().flat_map(|weights| weights.values().iter()) {
        bytes.extend(weight.to_le_bytes());
    }
    Ok(bytes)
}

pub fn decode(bytes: &[u8], schema: &SchemaRef) -> Result<Delta> {
    parse(bytes, schema).map_err(|error| {
        Error::new(SqlState::DATA_CORRUPTED, "the log holds rows that can't be read").with_detail(error.to_string())
    })
}

fn parse(bytes: &[u8], schema: &SchemaRef) -> Result<Delta> {
    let short = || Error::internal("cut off");
    let (version, rest) = bytes.split_first().ok_or_else(short)?;
    let (length, rest) = rest.split_at_checked(4).ok_or_else(short)?;
    let length = u32::from_le_bytes(length.try_into().map_err(|_| short())?) as usize;
    let (message, body) = rest.split_at_checked(length).ok_or_else(short)?;
    let message = root_as_message(message).map_err(Error::internal)?;
    let header = message.header_as_record_batch().ok_or_else(|| Error::internal("not a record batch"))?;
    let rows = usize::try_from(header.length()).map_err(Error::internal)?;
    let (body, weights) = match *version {
        UNWEIGHTED => (body, &[][..]),
        WEIGHTED => {
            let tail = rows.checked_mul(8).and_then(|tail| body.len().checked_sub(tail)).ok_or_else(short)?;
            body.split_at(tail)
        }
        other => return Err(Error::internal(format!("version {other}"))),
    };
    // A copy, so that the body is aligned as Arrow wants it.
    let buffer = Buffer::from(body);
    let batch: RecordBatch =
        read_record_batch(&buffer, header, Arc::clone(schema), &HashMap::new(), None, &message.version())?;
    match *version {
        UNWEIGHTED => Ok(Delta::insertions(batch)),
        _ => {
            let weights = weights.chunks_exact(8).map(|chunk| i64::from_le_bytes(chunk.try_into().unwrap_or_default()));
            Ok(Delta::new(batch, weights.collect::<Int64Array>()))
        }
    }
}
