//! The bytes of COPY FROM cut into records: they come in pieces that end anywhere.
//!
//! A record is a line; in CSV a quoted field may hold line ends. Lines end in LF, CR or CR LF, all as the first of them does; another
//! end that is neither quoted nor escaped is refused (22P04). What is looked at once is not looked at again when more comes, so a
//! long record costs no more than its length.

use bytes::BytesMut;

use super::format::Format;
use crate::error::{Error, Result, SqlState};

/// How lines end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Lf,
    Cr,
    CrLf,
}

pub struct Lines {
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of a record.
    scanned: usize,
    /// CSV: the scan stands inside quotes.
    quoted: bool,
    /// The byte before was an escape.
    escaped: bool,
    csv: Option<(u8, u8)>,
    /// As the first line said it.
    end: Option<End>,
    /// Bytes one record may have.
    longest: usize,
    /// `\.` was seen: what follows is ignored.
    at_end: bool,
}

impl Lines {
    pub fn new(format: &Format, longest: usize) -> Lines {
        let csv = format.csv.then_some((format.quote, format.escape));
        Lines {
            buffer: BytesMut::new(),
            scanned: 0,
            quoted: false,
            escaped: false,
            csv,
            end: None,
            longest,
            at_end: false,
        }
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
        while let Some(&byte) = self.buffer.get(self.scanned) {
            if matches!(byte, b'\n' | b'\r') && !self.quoted && !(self.escaped && self.csv.is_none()) {
                let next = self.buffer.get(self.scanned + 1).copied();
                // Whether LF follows is not known yet.
                if byte == b'\r' && next.is_none() && matches!(self.end, None | Some(End::CrLf)) {
                    break;
                }
                let length = self.end_of_line(byte, next)?;
                let mut record = self.buffer.split_to(self.scanned + length);
                record.truncate(self.scanned);
                (self.scanned, self.escaped) = (0, false);
                return Ok(Some(self.finish(record)).filter(|_| !self.at_end));
            }
            match self.csv {
                None => self.escaped = byte == b'\\' && !self.escaped,
                // A doubled quote closes and opens again, which comes to the same; an escape of its own must be seen.
                Some((quote, escape)) if self.quoted && escape != quote && byte == escape && !self.escaped => {
                    self.escaped = true;
                }
                Some((quote, _)) => {
                    self.quoted ^= byte == quote && !self.escaped;
                    self.escaped = false;
                }
            }
            self.scanned += 1;
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
        let mut record = self.buffer.split();
        if self.scanned < record.len() {
            // A CR that nothing follows.
            self.end_of_line(b'\r', None)?;
            record.truncate(self.scanned);
        }
        self.scanned = 0;
        Ok(Some(self.finish(record)).filter(|_| !self.at_end))
    }

    /// The bytes of the line end that begins with this byte. The first one says how lines end; 22P04 for others.
    fn end_of_line(&mut self, byte: u8, next: Option<u8>) -> Result<usize> {
        let end = match (byte, next) {
            (b'\n', _) => End::Lf,
            (_, Some(b'\n')) if self.end != Some(End::Cr) => End::CrLf,
            _ => End::Cr,
        };
        let due = *self.end.get_or_insert(end);
        if end == due {
            return Ok(if end == End::CrLf { 2 } else { 1 });
        }
        let (name, escape) = if end == End::Lf { ("newline", "\\n") } else { ("carriage return", "\\r") };
        let (kind, hint) = match self.csv {
            None => ("literal", format!("Use \"{escape}\" to represent {name}.")),
            Some(_) => ("unquoted", format!("Use quoted CSV field to represent {name}.")),
        };
        Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, format!("{kind} {name} found in data")).with_hint(hint))
    }

    fn finish(&mut self, record: BytesMut) -> BytesMut {
        if &record[..] == b"\\." {
            self.at_end = true;
            self.buffer.clear();
        }
        record
    }

    /// Bytes held.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::{CopyFormat, CopyOptions};

    fn lines(format: CopyFormat) -> Lines {
        let options = CopyOptions { format, ..CopyOptions::default() };
        Lines::new(&Format::new(&options, &[], true).unwrap(), 100)
    }

    fn read(mut lines: Lines, pieces: &[&str]) -> Result<Vec<String>> {
        let mut records = Vec::new();
        for piece in pieces {
            lines.push(piece.as_bytes());
            while let Some(record) = lines.next()? {
                records.push(String::from_utf8(record.to_vec()).unwrap());
            }
        }
        if let Some(record) = lines.rest()? {
            records.push(String::from_utf8(record.to_vec()).unwrap());
        }
        Ok(records)
    }

    fn records(lines: Lines, pieces: &[&str]) -> Vec<String> {
        read(lines, pieces).unwrap()
    }

    /// Whole, and byte by byte.
    fn pieces(text: &str) -> [Vec<String>; 2] {
        [vec![text.to_string()], text.chars().map(String::from).collect()]
    }

    #[test]
    fn pieces_may_end_anywhere_and_lines_in_three_ways() {
        for (text, expected) in [
            ("a\tb\nc\\\nd\n\ne", &["a\tb", "c\\\nd", "", "e"][..]),
            ("a\tb\r\nc\\\nd\r\n\r\ne", &["a\tb", "c\\\nd", "", "e"]),
            ("a\tb\rc\\\rd\r\re", &["a\tb", "c\\\rd", "", "e"]),
            ("a\r", &["a"]),
            ("a\\\\\r\nb\\\r\r\n", &["a\\\\", "b\\\r"]),
        ] {
            for pieces in pieces(text) {
                let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
                assert_eq!(records(lines(CopyFormat::Text), &pieces), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn lines_that_end_otherwise_than_the_first_are_refused() {
        let refusals = [
            ("a\nb\r\n", "carriage return"),
            ("a\nb\rc\n", "carriage return"),
            ("a\r\nb\n", "newline"),
            ("a\r\nb\rc\r\n", "carriage return"),
            ("a\r\nb\r", "carriage return"),
            ("a\rb\n", "newline"),
            ("a\rb\r\n", "newline"),
        ];
        for (text, name) in refusals {
            for pieces in pieces(text) {
                let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
                for (format, kind) in [(CopyFormat::Text, "literal"), (CopyFormat::Csv, "unquoted")] {
                    let error = read(lines(format), &pieces).unwrap_err();
                    assert_eq!(error.state(), SqlState::BAD_COPY_FILE_FORMAT);
                    assert_eq!(error.message(), format!("{kind} {name} found in data"), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_quoted_line_end_belongs_to_the_field() {
        let csv = "1,\"two\nlines\"\n2,\"a \"\"quote\"\"\"\n";
        assert_eq!(records(lines(CopyFormat::Csv), &[csv]), ["1,\"two\nlines\"", "2,\"a \"\"quote\"\"\""]);
        let others = "1,\"two\r\nli\rnes\"\n2\n";
        assert_eq!(records(lines(CopyFormat::Csv), &[others]), ["1,\"two\r\nli\rnes\"", "2"]);
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
