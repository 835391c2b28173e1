//! The bytes of COPY FROM cut into records: they come in pieces that end anywhere.
//!
//! A record is a line; in CSV a quoted field may hold line ends. What is looked at once is not looked at again when more
//! comes, so a long record costs no more than its length.

use bytes::BytesMut;

use super::format::Format;
use crate::error::{Error, Result, SqlState};

pub struct Lines {
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of a record.
    scanned: usize,
    /// CSV: the scan stands inside quotes.
    quoted: bool,
    /// The byte before was an escape.
    escaped: bool,
    csv: Option<(u8, u8)>,
    /// Bytes one record may have.
    longest: usize,
    /// `\.` was seen: what follows is ignored.
    at_end: bool,
}

impl Lines {
    pub fn new(format: &Format, longest: usize) -> Lines {
        let csv = format.csv.then_some((format.quote, format.escape));
        Lines { buffer: BytesMut::new(), scanned: 0, quoted: false, escaped: false, csv, longest, at_end: false }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if !self.at_end {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole record without its line end; `None` until more comes.
    pub fn next(&mut self) -> Result<Option<BytesMut>> {
        if self.at_end {
            return Ok(None);
        }
        while self.scanned < self.buffer.len() {
            let byte = self.buffer[self.scanned];
            let ends = match self.csv {
                None => {
                    let ends = byte == b'\n' && !self.escaped;
                    self.escaped = byte == b'\\' && !self.escaped;
                    ends
                }
                Some((quote, escape)) => {
                    // A doubled quote closes and opens again, which comes to the same; an escape of its own must be seen.
                    if self.quoted && escape != quote && byte == escape && !self.escaped {
                        self.escaped = true;
                    } else {
                        if byte == quote && !self.escaped {
                            self.quoted = !self.quoted;
                        }
                        self.escaped = false;
                    }
                    byte == b'\n' && !self.quoted
                }
            };
            self.scanned += 1;
            if ends {
                let mut record = self.buffer.split_to(self.scanned);
                self.scanned = 0;
                record.truncate(record.len() - 1);
                return self.finish(record).map(Some).map(|record| record.filter(|_| !self.at_end));
            }
        }
        if self.buffer.len() > self.longest {
            let message = format!("a row of COPY is too long: the limit is {} bytes", self.longest);
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("The limit is the setting max_message_size."));
        }
        Ok(None)
    }

    /// The last record, which may lack its line end.
    pub fn rest(&mut self) -> Result<Option<BytesMut>> {
        if self.at_end || self.buffer.is_empty() {
            return Ok(None);
        }
        if self.quoted {
            return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field"));
        }
        let record = self.buffer.split();
        self.scanned = 0;
        let record = self.finish(record)?;
        Ok(Some(record).filter(|_| !self.at_end))
    }

    fn finish(&mut self, mut record: BytesMut) -> Result<BytesMut> {
        if record.last() == Some(&b'\r') && !(self.csv.is_none() && ends_escaped(&record)) {
            record.truncate(record.len() - 1);
        }
        if &record[..] == b"\\." {
            self.at_end = true;
            self.buffer.clear();
        }
        Ok(record)
    }

    /// Bytes held.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.buffer.len()
    }
}

/// Whether the last byte is escaped: an odd number of backslashes stands before it.
fn ends_escaped(record: &[u8]) -> bool {
    let before = &record[..record.len() - 1];
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::{CopyFormat, CopyOptions};

    fn lines(format: CopyFormat) -> Lines {
        let options = CopyOptions { format, ..CopyOptions::default() };
        Lines::new(&Format::new(&options, &[], true).unwrap(), 100)
    }

    fn records(mut lines: Lines, pieces: &[&str]) -> Vec<String> {
        let mut records = Vec::new();
        for piece in pieces {
            lines.push(piece.as_bytes());
            while let Some(record) = lines.next().unwrap() {
                records.push(String::from_utf8(record.to_vec()).unwrap());
            }
        }
        if let Some(record) = lines.rest().unwrap() {
            records.push(String::from_utf8(record.to_vec()).unwrap());
        }
        records
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let text = "a\tb\r\nc\\\nd\n\ne";
        let expected = ["a\tb", "c\\\nd", "", "e"];
        assert_eq!(records(lines(CopyFormat::Text), &[text]), expected);
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        let pieces: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(records(lines(CopyFormat::Text), &pieces), expected);
    }

    #[test]
    fn a_quoted_line_end_belongs_to_the_field() {
        let csv = "1,\"two\nlines\"\n2,\"a \"\"quote\"\"\"\n";
        assert_eq!(records(lines(CopyFormat::Csv), &[csv]), ["1,\"two\nlines\"", "2,\"a \"\"quote\"\"\""]);
        let mut open = lines(CopyFormat::Csv);
        open.push(b"1,\"never closed\n");
        assert!(open.next().unwrap().is_none());
        assert!(open.rest().is_err());
    }

    #[test]
    fn nothing_counts_after_the_end_mark() {
        assert_eq!(records(lines(CopyFormat::Text), &["a\n\\.\nb\n", "c\n"]), ["a"]);
    }

    #[test]
    fn a_record_without_end_is_not_gathered_for_ever() {
        let mut endless = lines(CopyFormat::Text);
        endless.push(&[b'x'; 101]);
        assert_eq!(endless.next().unwrap_err().state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
        assert_eq!(endless.held(), 101);
    }
}
