//! COPY, with options in parentheses or as they were written before Postgres 9.
//!
//! ```text
//!   COPY name [(column, ...)] FROM STDIN [[WITH] options] [WHERE is refused]
//!   COPY { name [(column, ...)] | (query) } TO STDOUT [[WITH] options]
//! ```

use sqlparser::tokenizer::Token;

use super::StatementParser;
use crate::error::{Error, Result, SqlState};
use crate::sql::statement::{Copy, CopyColumns, CopyFormat, CopyHeader, CopyOptions, CopyWhat, Statement};

impl StatementParser<'_> {
    pub(super) fn copy(&mut self) -> Result<Statement> {
        self.parser.next_token();
        let mut options = CopyOptions::default();
        if self.word("binary") {
            options.format = CopyFormat::Binary;
        }
        let what = match self.parser.peek_token_ref().token {
            Token::LParen => CopyWhat::Query(self.parenthesized(Self::query)?.into()),
            _ => {
                let name = self.object_name()?;
                let columns = match self.parser.peek_token_ref().token {
                    Token::LParen => self.parenthesized(|parser| parser.comma_separated(Self::identifier))?,
                    _ => Vec::new(),
                };
                CopyWhat::Table { name, columns }
            }
        };
        let from = match (self.word("from"), &what) {
            (true, CopyWhat::Table { .. }) => true,
            (true, CopyWhat::Query(_)) => {
                self.parser.prev_token();
                return Err(self.unexpected());
            }
            (false, _) if self.word("to") => false,
            (false, _) => return Err(self.unexpected()),
        };
        let standard = if from { self.word("stdin") } else { self.word("stdout") };
        if !standard {
            let at = Some(self.position() as u32);
            let hint = "Use COPY ... FROM STDIN or TO STDOUT; psql's \\copy reads and writes files on the client.";
            return match self.parser.peek_token().token {
                Token::SingleQuotedString(_) => {
                    Err(self.unsupported("COPY with a file on the server", hint).or_position(at))
                }
                _ if self.is_word("program") => Err(self.unsupported("COPY with PROGRAM", hint).or_position(at)),
                // Postgres takes either word in both directions.
                _ if self.word("stdin") || self.word("stdout") => self.copy_rest(what, from, options),
                _ => Err(self.unexpected()),
            };
        }
        self.copy_rest(what, from, options)
    }

    fn copy_rest(&mut self, what: CopyWhat, from: bool, mut options: CopyOptions) -> Result<Statement> {
        if self.word("delimiters") {
            options.delimiter = Some(self.one_character("delimiter")?);
        }
        self.word("with");
        if self.parser.peek_token_ref().token == Token::LParen {
            self.parenthesized(|parser| parser.comma_separated(|parser| parser.copy_option(&mut options)))?;
        } else {
            while !self.at_end() && !self.is_word("where") {
                self.old_copy_option(&mut options)?;
            }
        }
        if self.is_word("where") {
            let hint = "Copy into a stream or table and filter in a view.";
            return Err(self.unsupported("COPY ... WHERE", hint).or_position(Some(self.position() as u32)));
        }
        self.check_copy(&options, from)?;
        Ok(Statement::Copy(Box::new(Copy { what, from, options })))
    }

    fn copy_option(&mut self, options: &mut CopyOptions) -> Result<()> {
        let at = Some(self.position() as u32);
        let name = self.any_name()?;
        match name.as_str() {
            "format" => {
                let format = self.word_or_string()?;
                options.format = match format.as_str() {
                    "text" => CopyFormat::Text,
                    "csv" => CopyFormat::Csv,
                    "binary" => CopyFormat::Binary,
                    _ => return Err(invalid(format!("COPY format \"{format}\" not recognized")).or_position(at)),
                }
            }
            "delimiter" => options.delimiter = Some(self.one_character("delimiter")?),
            "null" => options.null = Some(self.string()?),
            "header" => {
                options.header = match self.parser.peek_token().token {
                    Token::Comma | Token::RParen => CopyHeader::Yes,
                    _ if self.word("match") => CopyHeader::Match,
                    _ if self.boolean("header")? => CopyHeader::Yes,
                    _ => CopyHeader::No,
                }
            }
            "quote" => options.quote = Some(self.one_character("quote")?),
            "escape" => options.escape = Some(self.one_character("escape")?),
            "force_quote" => options.force_quote = Some(self.copy_columns(true)?),
            "force_not_null" => options.force_not_null = Some(self.copy_columns(true)?),
            "force_null" => options.force_null = Some(self.copy_columns(true)?),
            "encoding" => options.encoding = Some(self.string()?),
            "freeze" => {
                if !matches!(self.parser.peek_token_ref().token, Token::Comma | Token::RParen) {
                    self.boolean("freeze")?;
                }
            }
            _ => {
                let error = Error::new(SqlState::SYNTAX_ERROR, format!("option \"{name}\" not recognized"));
                return Err(error.or_position(at));
            }
        }
        Ok(())
    }

    fn old_copy_option(&mut self, options: &mut CopyOptions) -> Result<()> {
        if self.word("binary") {
            options.format = CopyFormat::Binary;
        } else if self.word("csv") {
            options.format = CopyFormat::Csv;
        } else if self.word("freeze") {
            // Says how rows may be laid out; nothing here depends on it.
        } else if self.word("delimiter") {
            self.word("as");
            options.delimiter = Some(self.one_character("delimiter")?);
        } else if self.word("null") {
            self.word("as");
            options.null = Some(self.string()?);
        } else if self.word("header") {
            options.header = CopyHeader::Yes;
        } else if self.word("quote") {
            self.word("as");
            options.quote = Some(self.one_character("quote")?);
        } else if self.word("escape") {
            self.word("as");
            options.escape = Some(self.one_character("escape")?);
        } else if self.words(&["force", "quote"]) {
            options.force_quote = Some(self.copy_columns(false)?);
        } else if self.words(&["force", "not", "null"]) {
            options.force_not_null = Some(self.copy_columns(false)?);
        } else if self.words(&["force", "null"]) {
            options.force_null = Some(self.copy_columns(false)?);
        } else if self.word("encoding") {
            options.encoding = Some(self.string()?);
        } else {
            return Err(self.unexpected());
        }
        Ok(())
    }

    fn copy_columns(&mut self, parentheses: bool) -> Result<CopyColumns> {
        if self.parser.consume_token(&Token::Mul) {
            return Ok(CopyColumns::All);
        }
        let names = match parentheses {
            true => self.parenthesized(|parser| parser.comma_separated(Self::name))?,
            false => self.comma_separated(Self::name)?,
        };
        Ok(CopyColumns::Some(names))
    }

    fn word_or_string(&mut self) -> Result<String> {
        match self.parser.peek_token_ref().token {
            Token::Word(_) => self.any_name(),
            _ => self.string(),
        }
    }

    fn boolean(&mut self, option: &str) -> Result<bool> {
        let value = match self.parser.peek_token().token {
            Token::Number(digits, _) => {
                self.parser.next_token();
                digits
            }
            _ => self.word_or_string()?,
        };
        match value.as_str() {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err(Error::new(SqlState::SYNTAX_ERROR, format!("{option} requires a Boolean value"))),
        }
    }

    fn one_character(&mut self, option: &str) -> Result<char> {
        let text = self.string()?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) if character.is_ascii() => Ok(character),
            _ => Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("COPY {option} must be a single one-byte character"),
            )),
        }
    }

    /// Options that go together, as Postgres checks them.
    fn check_copy(&self, options: &CopyOptions, from: bool) -> Result<()> {
        let unsupported = |message: &str| Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        if options.format == CopyFormat::Binary {
            let hint = "Use the text or CSV format.";
            return Err(self.unsupported("COPY in binary format", hint));
        }
        if let Some(encoding) = &options.encoding
            && !matches!(encoding.to_ascii_lowercase().replace('-', "").as_str(), "utf8" | "unicode")
        {
            return Err(invalid("argument to option \"encoding\" must be UTF8".to_string()));
        }
        if options.format != CopyFormat::Csv {
            for (given, name) in [
                (options.quote.is_some(), "quote"),
                (options.escape.is_some(), "escape"),
                (options.force_quote.is_some(), "force quote"),
                (options.force_not_null.is_some(), "force not null"),
                (options.force_null.is_some(), "force null"),
            ] {
                if given {
                    return unsupported(&format!("COPY {name} available only in CSV mode"));
                }
            }
        }
        if from && options.force_quote.is_some() {
            return unsupported("COPY force quote only available using COPY TO");
        }
        if !from && (options.force_not_null.is_some() || options.force_null.is_some()) {
            return unsupported("COPY force not null only available using COPY FROM");
        }
        let delimiter = options.delimiter.unwrap_or(if options.format == CopyFormat::Csv { ',' } else { '\t' });
        if matches!(delimiter, '\n' | '\r') {
            return Err(invalid("COPY delimiter cannot be newline or carriage return".to_string()));
        }
        if options.format == CopyFormat::Text && "\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(delimiter) {
            return Err(invalid(format!("COPY delimiter cannot be \"{delimiter}\"")));
        }
        if options.format == CopyFormat::Csv && delimiter == options.quote.unwrap_or('"') {
            return Err(invalid("COPY delimiter and quote must be different".to_string()));
        }
        if options.null.as_ref().is_some_and(|null| null.contains(delimiter)) {
            return Err(invalid("COPY delimiter must not appear in the NULL specification".to_string()));
        }
        Ok(())
    }
}

fn invalid(message: String) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}
