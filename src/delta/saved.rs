//! Deltas as bytes, for state that is saved.
//!
//! ```text
//!   "RRD1"  count: u32   then for each delta
//!   weighted: u8   [weights: i64 ...]   rows: u64   length of the Arrow IPC stream: u64   the stream, one batch
//! ```
//!
//! Integers are little-endian. A file that is not what [`save`] wrote is error XX001.

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

use super::Delta;
use crate::error::{Error, Result, SqlState};

const MAGIC: &[u8; 4] = b"RRD1";

/// Writes the deltas, with their schemas.
pub fn save(deltas: &[Delta]) -> Result<Vec<u8>> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(deltas.len() as u32).to_le_bytes());
    for delta in deltas {
        out.push(u8::from(delta.weights().is_some()));
        out.extend_from_slice(&(delta.len() as u64).to_le_bytes());
        for weight in delta.weights().iter().flat_map(|weights| weights.values().iter()) {
            out.extend_from_slice(&weight.to_le_bytes());
        }
        let mut stream = Vec::new();
        let mut writer = StreamWriter::try_new(&mut stream, &delta.schema())?;
        writer.write(delta.rows())?;
        writer.finish()?;
        drop(writer);
        out.extend_from_slice(&(stream.len() as u64).to_le_bytes());
        out.extend_from_slice(&stream);
    }
    Ok(out)
}

/// Reads what [`save`] wrote.
pub fn load(bytes: &[u8]) -> Result<Vec<Delta>> {
    let mut reader = Reader { bytes };
    if reader.take(4)? != MAGIC {
        return Err(corrupt("no saved delta"));
    }
    let count = u32::from_le_bytes(reader.array()?);
    let mut deltas = Vec::new();
    for _ in 0..count {
        let weighted = reader.array::<1>()?[0] != 0;
        let rows = u64::from_le_bytes(reader.array()?) as usize;
        let weights = match weighted {
            false => None,
            true => {
                let bytes = reader.take(rows.checked_mul(8).ok_or_else(|| corrupt("too many rows"))?)?;
                let (words, _) = bytes.as_chunks::<8>();
                Some(Int64Array::from_iter_values(words.iter().map(|word| i64::from_le_bytes(*word))))
            }
        };
        let length = u64::from_le_bytes(reader.array()?) as usize;
        let mut stream = StreamReader::try_new(reader.take(length)?, None).map_err(corrupt)?;
        let schema = stream.schema();
        let batch = match stream.next() {
            Some(batch) => batch.map_err(corrupt)?,
            None => RecordBatch::new_empty(schema.clone()),
        };
        let batch = if schema.fields().is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(schema, vec![], &options)?
        } else {
            batch
        };
        if batch.num_rows() != rows {
            return Err(corrupt("rows are missing"));
        }
        deltas.push(Delta::from_parts(batch, weights));
    }
    if reader.bytes.is_empty() { Ok(deltas) } else { Err(corrupt("bytes left over")) }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or_else(|| corrupt("too short"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(|| corrupt("too short"))?;
        self.bytes = rest;
        Ok(*array)
    }
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::new(SqlState::DATA_CORRUPTED, format!("saved state can't be read: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::text;

    #[test]
    fn what_is_saved_is_loaded_and_nothing_else() {
        let schema = text::schema("a int8, b text[], c interval");
        let some = text::parse(&schema, "+2 | 1 | {'x', NULL} | 1 mons\n-1 | NULL | NULL | NULL").unwrap();
        let none = Delta::insertions(some.rows().slice(1, 0));
        let bare = some.project(&[]).unwrap();
        let bytes = save(&[some.clone(), none, bare]).unwrap();
        let loaded = load(&bytes).unwrap();
        assert_eq!(text::print(&loaded[..1]).unwrap(), text::print(&[some]).unwrap());
        assert_eq!(loaded.iter().map(Delta::len).collect::<Vec<_>>(), [2, 0, 2]);
        assert_eq!(loaded[2].weight(0), 2);
        for length in 0..bytes.len() {
            assert_eq!(load(&bytes[..length]).unwrap_err().state(), SqlState::DATA_CORRUPTED, "{length} bytes");
        }
    }
}
