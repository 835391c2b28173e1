//! JSON records to rows of a declared schema.
//!
//! Each payload is one object, read once, strictly, straight into column buffers: no tree, no tape, no allocation a
//! record. A record is a row, or it is rejected with a reason and leaves nothing behind:
//!
//! | in the record                              | in the row |
//! |--------------------------------------------|------------|
//! | field with a column's exact name           | its value |
//! | field that matches without case, if unique | its value |
//! | no field, or null                          | NULL; rejected where the column is NOT NULL |
//! | a field no column has                      | ignored, but its syntax is checked |
//! | a value of another type                    | rejected |
//! | a field twice                              | the last one counts; all must be of the column's type |
//! | not one JSON object of valid UTF-8         | rejected: also when empty, or followed by anything |
//! | little that would be a huge row            | rejected: an array of empty objects for a STRUCT of a hundred fields |
//!
//! Numbers are exact: integers and numerics are read from their digits. Numbers may stand in quotes. Timestamps are text or
//! milliseconds since 1970. Arrow-json's reader is not used: it takes `{"a" 1,,}` for JSON, knows no case folding, and fails
//! a batch for one record. `benches/ingest.rs` compares the two.

mod column;
pub mod literal;
mod object;
mod reject;
mod scan;
mod value;

use arrow::array::ArrayRef;

use object::Object;
use reject::Reject;
use scan::{Kind, Scanner};

use crate::error::Result;
use crate::types::Column;

/// Rows under construction.
pub struct JsonDecoder {
    root: Object,
    /// Columns that are NOT NULL, with their names.
    required: Vec<(usize, String)>,
    rows: usize,
    /// Bytes that the rows take beside their texts.
    grown: usize,
    scratch: String,
}

impl JsonDecoder {
    /// For records with these columns; refuses types that no JSON value can have (0A000).
    pub fn new(columns: &[Column]) -> Result<JsonDecoder> {
        let root = Object::new(columns.iter().map(|column| (column.name.as_str(), &column.ty)))?;
        let required = columns.iter().enumerate().filter(|(_, column)| column.not_null);
        let required = required.map(|(position, column)| (position, column.name.clone())).collect();
        Ok(JsonDecoder { root, required, rows: 0, grown: 0, scratch: String::new() })
    }

    /// Appends the record as a row, or says why it is none.
    pub fn push(&mut self, payload: &[u8]) -> Result<(), String> {
        match self.read(payload) {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(reject) => {
                self.root.truncate(self.rows);
                Err(reject.reason())
            }
        }
    }

    fn read(&mut self, payload: &[u8]) -> Result<(), Reject> {
        let text = std::str::from_utf8(payload)
            .map_err(|error| Reject::Record(format!("not valid UTF-8: broken at byte {}", error.valid_up_to())))?;
        let mut scan = Scanner::new(text);
        scan.skip_whitespace();
        if scan.at_end() {
            return Err(Reject::Record("the record is empty, expected a JSON object".to_string()));
        }
        let kind = scan.kind()?;
        if kind != Kind::Object {
            scan.skip(0)?;
            return Err(Reject::Record(format!("the record is {}, expected a JSON object", kind.noun())));
        }
        self.root.read(&mut scan, &mut self.scratch, 0)?;
        scan.skip_whitespace();
        if !scan.at_end() {
            let reason = format!("the record goes on after its JSON object, at byte {}", scan.position());
            return Err(Reject::Record(reason));
        }
        for (position, name) in &self.required {
            if self.root.column(*position).is_null(self.rows) {
                return Err(Reject::value("null or missing, but the column is NOT NULL".to_string()).within_field(name));
            }
        }
        self.grown += scan.grown();
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes the rows take beside their texts: values of fixed width, NULLs too, and numbers like 1e300 that are written out in
    /// jsonb. A batch is large when its records are, or this is.
    pub fn grown(&self) -> usize {
        self.grown
    }

    /// Bytes held in the buffers.
    pub fn bytes(&self) -> usize {
        self.root.bytes() + self.scratch.capacity()
    }

    /// One array a column, in the order declared; the decoder is empty again.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        (self.rows, self.grown) = (0, 0);
        self.root.finish()
    }
}

#[cfg(test)]
mod tests;
