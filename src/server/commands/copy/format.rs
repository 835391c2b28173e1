//! COPY's options, checked and with their defaults.

use crate::error::{Error, Result, SqlState};
use crate::sql::statement::{CopyColumns, CopyFormat, CopyHeader, CopyOptions};

#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    pub csv: bool,
    pub delimiter: u8,
    /// How NULL is written.
    pub null: String,
    pub header: CopyHeader,
    pub quote: u8,
    pub escape: u8,
    /// One a column that is copied.
    pub force_quote: Vec<bool>,
    pub force_not_null: Vec<bool>,
    pub force_null: Vec<bool>,
}

impl Format {
    /// `columns` are the names of the columns that are copied.
    pub fn new(options: &CopyOptions, columns: &[String], from: bool) -> Result<Format> {
        let csv = match options.format {
            CopyFormat::Text => false,
            CopyFormat::Csv => true,
            CopyFormat::Binary => return Err(Error::unsupported("COPY in binary format", "Use FORMAT text or csv.")),
        };
        if let Some(encoding) = &options.encoding
            && !matches!(
                encoding.to_ascii_lowercase().replace(['-', '_'], "").as_str(),
                "utf8" | "unicode" | "sqlascii"
            )
        {
            return Err(Error::unsupported(format!("COPY with encoding {encoding}"), "Text is UTF8."));
        }
        let only_csv = [
            ("quote", options.quote.is_some()),
            ("escape", options.escape.is_some()),
            ("force quote", options.force_quote.is_some()),
            ("force not null", options.force_not_null.is_some()),
            ("force null", options.force_null.is_some()),
        ];
        if let Some((name, _)) = only_csv.iter().find(|(_, given)| *given && !csv) {
            return Err(refused(format!("COPY {name} available only in CSV mode")));
        }
        if options.force_quote.is_some() && from {
            return Err(refused("COPY force quote only available using COPY TO"));
        }
        if from {
            // What is read may be forced; what is written is what it is.
        } else if options.force_not_null.is_some() || options.force_null.is_some() {
            return Err(refused("COPY force null only available using COPY FROM"));
        }
        if options.header == CopyHeader::Match && !from {
            return Err(refused("cannot use \"match\" with HEADER in COPY TO"));
        }
        let delimiter = single("delimiter", options.delimiter.unwrap_or(if csv { ',' } else { '\t' }))?;
        let quote = single("quote", options.quote.unwrap_or('"'))?;
        let escape = single("escape", options.escape.unwrap_or(quote as char))?;
        let null = options.null.clone().unwrap_or_else(|| if csv { String::new() } else { "\\N".to_string() });
        if matches!(delimiter, b'\n' | b'\r') {
            return Err(invalid("COPY delimiter cannot be newline or carriage return"));
        }
        if null.contains(['\n', '\r']) {
            return Err(invalid("COPY null representation cannot use newline or carriage return"));
        }
        if !csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&delimiter) {
            return Err(invalid(format!("COPY delimiter cannot be \"{}\"", delimiter as char)));
        }
        if csv && delimiter == quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if null.as_bytes().contains(&delimiter) {
            return Err(invalid("COPY delimiter must not appear in the NULL specification"));
        }
        if csv && null.as_bytes().contains(&quote) {
            return Err(invalid("CSV quote character must not appear in the NULL specification"));
        }
        Ok(Format {
            csv,
            delimiter,
            null,
            header: options.header,
            quote,
            escape,
            force_quote: chosen(&options.force_quote, columns, "FORCE_QUOTE")?,
            force_not_null: chosen(&options.force_not_null, columns, "FORCE_NOT_NULL")?,
            force_null: chosen(&options.force_null, columns, "FORCE_NULL")?,
        })
    }
}

fn chosen(names: &Option<CopyColumns>, columns: &[String], option: &str) -> Result<Vec<bool>> {
    match names {
        None => Ok(vec![false; columns.len()]),
        Some(CopyColumns::All) => Ok(vec![true; columns.len()]),
        Some(CopyColumns::Some(names)) => {
            let mut chosen = vec![false; columns.len()];
            for name in names {
                let Some(at) = columns.iter().position(|column| column == name) else {
                    let message = format!("{option} column \"{name}\" not referenced by COPY");
                    return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
                };
                chosen[at] = true;
            }
            Ok(chosen)
        }
    }
}

fn single(what: &str, character: char) -> Result<u8> {
    u8::try_from(character)
        .ok()
        .filter(u8::is_ascii)
        .ok_or_else(|| refused(format!("COPY {what} must be a single one-byte character")))
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_refusals() {
        let columns = ["a".to_string()];
        let text = Format::new(&CopyOptions::default(), &columns, true).unwrap();
        assert_eq!((text.delimiter, text.null.as_str()), (b'\t', "\\N"));
        let csv = CopyOptions { format: CopyFormat::Csv, ..CopyOptions::default() };
        let format = Format::new(&csv, &columns, true).unwrap();
        assert_eq!((format.delimiter, format.null.as_str(), format.escape), (b',', "", b'"'));
        let quote = CopyOptions { quote: Some('"'), ..CopyOptions::default() };
        assert_eq!(Format::new(&quote, &columns, true).unwrap_err().message(), "COPY quote available only in CSV mode");
        let same = CopyOptions { delimiter: Some('"'), ..csv.clone() };
        assert!(Format::new(&same, &columns, true).is_err());
        let unknown = CopyOptions { force_null: Some(CopyColumns::Some(vec!["b".into()])), ..csv };
        assert_eq!(Format::new(&unknown, &columns, true).unwrap_err().state(), SqlState::INVALID_COLUMN_REFERENCE);
    }
}
