//! COPY's text format: fields between tabs, `\N` for NULL, backslash escapes.

use bytes::{BufMut, BytesMut};

use super::format::Format;
use crate::error::{Error, Result, SqlState};

/// The fields of one record, in reused buffers.
#[derive(Default)]
pub struct Fields {
    pub text: Vec<u8>,
    /// Where each field ends in `text`, and whether it is NULL.
    pub ends: Vec<(usize, bool)>,
}

impl Fields {
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    pub fn end_field(&mut self, null: bool) {
        self.ends.push((self.text.len(), null));
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field's bytes; `None` for NULL.
    pub fn get(&self, field: usize) -> Option<&[u8]> {
        let (end, null) = self.ends[field];
        let start = if field == 0 { 0 } else { self.ends[field - 1].0 };
        (!null).then_some(&self.text[start..end])
    }
}

/// Splits a record into fields and takes the escapes off.
pub fn split(record: &[u8], format: &Format, fields: &mut Fields) -> Result<()> {
    fields.clear();
    let mut start = 0;
    loop {
        let mut at = start;
        let mut plain = true;
        while at < record.len() && record[at] != format.delimiter {
            if record[at] == b'\\' && at + 1 < record.len() {
                plain = false;
                at += 1;
            }
            at += 1;
        }
        let raw = &record[start..at.min(record.len())];
        if raw == format.null.as_bytes() {
            fields.end_field(true);
        } else {
            match plain {
                true => fields.text.extend_from_slice(raw),
                false => unescape(raw, &mut fields.text),
            }
            fields.end_field(false);
        }
        if at >= record.len() {
            return Ok(());
        }
        start = at + 1;
    }
}

fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < raw.len() {
        let byte = raw[at];
        at += 1;
        if byte != b'\\' || at == raw.len() {
            out.push(byte);
            continue;
        }
        let escaped = raw[at];
        at += 1;
        match escaped {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let mut value = u32::from(escaped - b'0');
                for _ in 0..2 {
                    match raw.get(at) {
                        Some(digit @ b'0'..=b'7') => {
                            value = value * 8 + u32::from(digit - b'0');
                            at += 1;
                        }
                        _ => break,
                    }
                }
                out.push((value & 0xff) as u8);
            }
            b'x' if raw.get(at).is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0;
                for _ in 0..2 {
                    match raw.get(at).and_then(|digit| (*digit as char).to_digit(16)) {
                        Some(digit) => {
                            value = value * 16 + digit;
                            at += 1;
                        }
                        None => break,
                    }
                }
                out.push(value as u8);
            }
            other => out.push(other),
        }
    }
}

/// Appends a value as text format writes it.
pub fn write(value: &[u8], format: &Format, out: &mut BytesMut) {
    let mut plain = 0;
    for (at, byte) in value.iter().enumerate() {
        let escape = match byte {
            b'\\' => b'\\',
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            byte if *byte == format.delimiter => *byte,
            _ => continue,
        };
        out.put_slice(&value[plain..at]);
        out.put_slice(&[b'\\', escape]);
        plain = at + 1;
    }
    out.put_slice(&value[plain..]);
}

/// 22P04 for a record with the wrong number of fields.
pub fn check_count(fields: &Fields, columns: &[String]) -> Result<()> {
    if fields.len() > columns.len() {
        return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, "extra data after last expected column"));
    }
    match columns.get(fields.len()) {
        Some(missing) => {
            Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, format!("missing data for column \"{missing}\"")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::CopyOptions;
    use proptest::prelude::*;

    fn format() -> Format {
        Format::new(&CopyOptions::default(), &[], true).unwrap()
    }

    fn fields(record: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut fields = Fields::default();
        split(record, &format(), &mut fields).unwrap();
        (0..fields.len()).map(|field| fields.get(field).map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn escapes_and_nulls() {
        let record = b"a\\tb\t\\N\t\t\\\\N\t\\x41\\101\\q\t\\\t";
        let expected: Vec<Option<Vec<u8>>> = vec![
            Some(b"a\tb".to_vec()),
            None,
            Some(vec![]),
            Some(b"\\N".to_vec()),
            Some(b"AAq".to_vec()),
            Some(b"\t".to_vec()),
        ];
        assert_eq!(fields(record), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(values in proptest::collection::vec(any::<Option<String>>(), 1..6)) {
            let mut record = BytesMut::new();
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    record.put_u8(b'\t');
                }
                match value {
                    None => record.put_slice(b"\\N"),
                    Some(value) => write(value.as_bytes(), &format(), &mut record),
                }
            }
            let expected: Vec<Option<Vec<u8>>> = values.iter().map(|value| value.as_ref().map(|v| v.as_bytes().to_vec())).collect();
            prop_assert_eq!(fields(&record), expected);
        }
    }
}
