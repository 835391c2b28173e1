//! COPY's CSV format: RFC 4180 as Postgres reads and writes it; an unquoted empty field is NULL.

use bytes::{BufMut, BytesMut};

use super::format::Format;
use super::text::Fields;
use crate::error::{Error, Result, SqlState};

/// Splits a record into fields and takes the quotes off. An empty record is one empty field.
pub fn split(record: &[u8], format: &Format, fields: &mut Fields) -> Result<()> {
    fields.clear();
    let mut at = 0;
    loop {
        let start = fields.text.len();
        let mut was_quoted = false;
        let mut quoted = false;
        while at < record.len() {
            let byte = record[at];
            at += 1;
            if quoted {
                let next = record.get(at).copied();
                if byte == format.escape && next.is_some_and(|next| next == format.quote || next == format.escape) {
                    fields.text.push(record[at]);
                    at += 1;
                } else if byte == format.quote {
                    quoted = false;
                } else {
                    fields.text.push(byte);
                }
            } else if byte == format.delimiter {
                at -= 1;
                break;
            } else if byte == format.quote {
                quoted = true;
                was_quoted = true;
            } else {
                fields.text.push(byte);
            }
        }
        if quoted {
            return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field"));
        }
        let column = fields.len();
        let is_null = &fields.text[start..] == format.null.as_bytes();
        let forced = |list: &[bool]| list.get(column).copied().unwrap_or(false);
        let null = is_null && if was_quoted { forced(&format.force_null) } else { !forced(&format.force_not_null) };
        fields.end_field(null);
        if at >= record.len() {
            return Ok(());
        }
        // Past the delimiter; a record that ends with one has an empty last field.
        at += 1;
        if at == record.len() {
            let null = format.null.is_empty() && !format.force_not_null.get(fields.len()).copied().unwrap_or(false);
            fields.end_field(null);
            return Ok(());
        }
    }
}

/// Appends a value as CSV writes it. `alone`: it is the record's only field.
pub fn write(value: &[u8], format: &Format, force: bool, alone: bool, out: &mut BytesMut) {
    let special = |byte: &u8| *byte == format.delimiter || *byte == format.quote || matches!(byte, b'\n' | b'\r');
    let quote = force || value == format.null.as_bytes() || (alone && value == b"\\.") || value.iter().any(special);
    if !quote {
        out.put_slice(value);
        return;
    }
    out.put_u8(format.quote);
    for byte in value {
        if *byte == format.quote || *byte == format.escape {
            out.put_u8(format.escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(format.quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::{CopyFormat, CopyOptions};
    use proptest::prelude::*;

    fn format(escape: Option<char>) -> Format {
        let options = CopyOptions { format: CopyFormat::Csv, escape, ..CopyOptions::default() };
        Format::new(&options, &[], true).unwrap()
    }

    fn fields(record: &str, format: &Format) -> Vec<Option<String>> {
        let mut fields = Fields::default();
        split(record.as_bytes(), format, &mut fields).unwrap();
        let text = |field| fields.get(field).map(|bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap());
        (0..fields.len()).map(text).collect()
    }

    #[test]
    fn quotes_and_nulls() {
        let some = |text: &str| Some(text.to_string());
        let plain = format(None);
        assert_eq!(
            fields("a,,\"\",\"b\"\"c\",d\"e,f\"", &plain),
            [some("a"), None, some(""), some("b\"c"), some("de,f")]
        );
        assert_eq!(fields("a,", &plain), [some("a"), None]);
        assert_eq!(fields("", &plain), [None]);
        assert_eq!(fields("\"a\\\"b\"", &format(Some('\\'))), [some("a\"b")]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            values in proptest::collection::vec(any::<Option<String>>(), 1..6),
            escape in proptest::option::of(Just('\\')),
        ) {
            let format = format(escape);
            let mut record = BytesMut::new();
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    record.put_u8(b',');
                }
                if let Some(value) = value {
                    write(value.as_bytes(), &format, false, values.len() == 1, &mut record);
                }
            }
            prop_assert_eq!(fields(std::str::from_utf8(&record).unwrap(), &format), values);
        }
    }
}
