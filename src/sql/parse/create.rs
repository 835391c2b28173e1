//! CREATE STREAM, CREATE TABLE, CREATE INDEX.
//!
//! ```text
//!   CREATE { STREAM | SOURCE | TABLE } [IF NOT EXISTS] name
//!     ( column type [NOT NULL | NULL | PRIMARY KEY | DEFAULT expr | [GENERATED ALWAYS] AS (expr) [STORED]] ...
//!       [, [CONSTRAINT name] PRIMARY KEY (column, ...)] )
//!     [INCLUDE { KEY | PARTITION | OFFSET | TIMESTAMP | HEADERS } [AS name]] ...
//!     [WITH (option = value, ...)] [FORMAT PLAIN ENCODE JSON]
//! ```

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token};

use super::StatementParser;
use crate::catalog::{IncludeKind, IndexMethod};
use crate::error::{Error, Result, SqlState};
use crate::sql::statement::{ColumnDefinition, CreateIndex, CreateRelation, Include, Statement};

impl StatementParser<'_> {
    pub(super) fn create_relation(&mut self, construct: &str) -> Result<CreateRelation> {
        let if_not_exists = self.if_not_exists();
        let name = self.object_name()?;
        let mut relation = CreateRelation {
            name,
            if_not_exists,
            columns: Vec::new(),
            primary_key: None,
            includes: Vec::new(),
            options: Vec::new(),
        };
        if self.parser.consume_token(&Token::LParen) && !self.parser.consume_token(&Token::RParen) {
            self.comma_separated(|parser| parser.relation_element(&mut relation))?;
            self.expect(Token::RParen)?;
        }
        loop {
            if self.word("include") {
                let include = self.include()?;
                relation.includes.push(include);
            } else if self.is_word("with") {
                self.parser.next_token();
                let options = self.options()?;
                relation.options.extend(options);
            } else if self.is_word("format") {
                self.format_clause(&mut relation)?;
            } else if self.is_word("as") || self.is_word("select") {
                let hint = "Write CREATE MATERIALIZED VIEW name AS SELECT ... to keep a query's answer current.";
                return Err(self
                    .unsupported(&format!("{construct} ... AS"), hint)
                    .or_position(Some(self.position() as u32)));
            } else {
                break;
            }
        }
        Ok(relation)
    }

    /// A column or a table constraint.
    fn relation_element(&mut self, relation: &mut CreateRelation) -> Result<()> {
        let at = Some(self.position() as u32);
        if self.is_word("watermark") && self.nth_is_word(1, "for") {
            return Err(self
                .unsupported("WATERMARK FOR", "Leave it out: answers do not depend on watermarks.")
                .or_position(at));
        }
        if self.word("constraint") {
            self.identifier()?;
        }
        if self.words(&["primary", "key"]) {
            let columns = self.parenthesized(|parser| parser.comma_separated(Self::identifier))?;
            if relation.primary_key.replace(columns).is_some() {
                return Err(several_keys(relation, at));
            }
            return Ok(());
        }
        for (words, hint) in [
            (&["foreign", "key"][..], "References are not checked; leave the constraint out."),
            (&["unique"][..], "Only a PRIMARY KEY is enforced."),
            (&["check"][..], "Filter bad rows in a view."),
            (&["exclude"][..], "Leave the constraint out."),
            (&["exclude", "using"][..], "Only a PRIMARY KEY is enforced."),
            (&["like"][..], "List the columns."),
        ] {
            let constraint = words.iter().enumerate().all(|(n, word)| self.nth_is_word(n, word));
            // A column may be named so: then a type follows rather than a bracket.
            if constraint
                && (words.len() > 1 || words[0] == "like" || self.parser.peek_nth_token_ref(1).token == Token::LParen)
            {
                let construct = words.join(" ").to_uppercase();
                return Err(self.unsupported(&construct, hint).or_position(at));
            }
        }
        let column = self.column_definition()?;
        relation.columns.push(column);
        Ok(())
    }

    fn column_definition(&mut self) -> Result<ColumnDefinition> {
        let name = self.identifier()?;
        if self.is_word("as") {
            let hint = "Write the type: col type AS (expression).";
            return Err(self.unexpected().with_hint(hint));
        }
        let ty = self.data_type()?;
        let mut column =
            ColumnDefinition { name, ty, not_null: false, primary_key: false, default: None, generated: None };
        loop {
            let at = Some(self.position() as u32);
            if self.word("constraint") {
                self.identifier()?;
            }
            if self.keywords(&[Keyword::NOT, Keyword::NULL]) {
                column.not_null = true;
            } else if self.keyword(Keyword::NULL) {
                // Says nothing that is not so already.
            } else if self.words(&["primary", "key"]) || self.word("key") {
                column.primary_key = true;
                column.not_null = true;
            } else if self.keyword(Keyword::DEFAULT) {
                column.default = Some(self.default_expression()?);
            } else if self.is_word("generated") || self.is_word("as") {
                if self.word("generated") && !self.word("always") {
                    let hint = "Let the client number rows, or use a DEFAULT.";
                    return Err(self.unsupported("GENERATED BY DEFAULT AS IDENTITY", hint).or_position(at));
                }
                self.expect_keyword(Keyword::AS)?;
                if self.is_word("identity") {
                    let hint = "Let the client number rows, or use a DEFAULT.";
                    return Err(self.unsupported("an identity column", hint).or_position(at));
                }
                column.generated = Some(self.parenthesized(Self::expression_with_text)?);
                let _ = self.word("stored") || self.word("virtual");
            } else if self.word("collate") {
                let collation = self.object_name()?;
                check_collation(&collation)?;
            } else if self.is_word("references") || self.is_word("check") || self.is_word("unique") {
                let word = self.any_word()?.value.to_uppercase();
                let hint = "Only NOT NULL and PRIMARY KEY are enforced; leave it out.";
                return Err(self.unsupported(&format!("the constraint {word}"), hint).or_position(at));
            } else {
                return Ok(column);
            }
        }
    }

    /// DEFAULT takes an expression that stops before the next constraint (`DEFAULT 1 NOT NULL`).
    fn default_expression(&mut self) -> Result<(String, ast::Expr)> {
        let start = self.position();
        // Precedence above NOT, IS, BETWEEN and the like: what may follow is a constraint.
        let precedence = sqlparser::dialect::Dialect::prec_value(&super::DIALECT, sqlparser::dialect::Precedence::Like);
        let expr = self.run(|parser| parser.parse_subexpr(precedence))?;
        Ok((self.text_since(start), expr))
    }

    fn include(&mut self) -> Result<Include> {
        let kind = if self.word("key") {
            IncludeKind::Key
        } else if self.word("partition") {
            IncludeKind::Partition
        } else if self.word("offset") {
            IncludeKind::Offset
        } else if self.word("timestamp") {
            IncludeKind::Timestamp
        } else if self.word("headers") || self.word("header") {
            IncludeKind::Headers
        } else {
            return Err(self.unexpected().with_hint("INCLUDE takes KEY, PARTITION, OFFSET, TIMESTAMP or HEADERS."));
        };
        let name = if self.keyword(Keyword::AS) { Some(self.identifier()?) } else { None };
        let _ = self.parser.consume_token(&Token::Comma);
        Ok(Include { kind, name })
    }

    /// `(name = value, ...)`: names are words with dots, or quoted either way; values literals or words.
    fn options(&mut self) -> Result<Vec<(ast::Ident, String)>> {
        self.parenthesized(|parser| parser.comma_separated(Self::option))
    }

    fn option(&mut self) -> Result<(ast::Ident, String)> {
        let token = self.parser.peek_token();
        let start = token.span.start;
        let name = match token.token {
            Token::SingleQuotedString(name) => {
                self.parser.next_token();
                name
            }
            Token::Word(_) => {
                let mut name = option_word(self.any_word()?);
                while self.parser.consume_token(&Token::Period) {
                    name.push('.');
                    name.push_str(&option_word(self.any_word()?));
                }
                name
            }
            _ => return Err(self.unexpected()),
        };
        self.expect(Token::Eq)?;
        let value = self.option_value()?;
        Ok((ast::Ident { value: name, quote_style: None, span: Span::new(start, start) }, value))
    }

    fn option_value(&mut self) -> Result<String> {
        let sign = if self.parser.consume_token(&Token::Minus) { "-" } else { "" };
        let token = self.parser.peek_token();
        match token.token {
            Token::Number(digits, _) => {
                self.parser.next_token();
                Ok(format!("{sign}{digits}"))
            }
            Token::Word(word) if sign.is_empty() => {
                self.parser.next_token();
                Ok(word.value)
            }
            _ if sign.is_empty() => self.string(),
            _ => Err(self.unexpected()),
        }
    }

    /// FORMAT PLAIN ENCODE JSON, as an option.
    fn format_clause(&mut self, relation: &mut CreateRelation) -> Result<()> {
        let at = self.position();
        self.parser.next_token();
        let plain = self.word("plain");
        let format = if plain && self.word("encode") { self.any_name()? } else { String::new() };
        if format != "json" {
            let hint = "The format is FORMAT PLAIN ENCODE JSON.";
            return Err(self.unsupported("this format", hint).or_position(Some(at as u32)));
        }
        if self.parser.peek_token_ref().token == Token::LParen {
            return Err(self.unsupported("an option of ENCODE JSON", "Leave the options out."));
        }
        relation.options.push((ast::Ident::new("format"), format));
        Ok(())
    }

    pub(super) fn create_index(&mut self) -> Result<Statement> {
        let unique = self.word("unique");
        self.expect_keyword(Keyword::INDEX)?;
        self.word("concurrently");
        let if_not_exists = self.if_not_exists();
        let name = if self.is_word("on") { None } else { Some(self.identifier()?) };
        self.expect_keyword(Keyword::ON)?;
        self.word("only");
        let on = self.object_name()?;
        let method = match self.word("using") {
            false => IndexMethod::default(),
            true => {
                let name = self.name()?;
                let known = [IndexMethod::Btree, IndexMethod::Hash].into_iter().find(|method| method.name() == name);
                known.ok_or_else(|| {
                    let message = format!("access method \"{name}\" does not exist");
                    Error::new(SqlState::UNDEFINED_OBJECT, message).with_hint("There are btree, the default, and hash.")
                })?
            }
        };
        let keys = self.parenthesized(|parser| {
            parser.comma_separated(|parser| parser.run(|parser| parser.parse_order_by_expr()))
        })?;
        for (word, construct) in
            [("include", "INCLUDE"), ("where", "a partial index"), ("with", "WITH (...) on an index")]
        {
            if self.is_word(word) {
                return Err(self.unsupported(construct, "Leave it out.").or_position(Some(self.position() as u32)));
            }
        }
        Ok(Statement::CreateIndex(CreateIndex { name, if_not_exists, unique, on, method, keys }))
    }
}

fn option_word(ident: ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value,
        None => ident.value.to_ascii_lowercase(),
    }
}

fn several_keys(relation: &CreateRelation, at: Option<u32>) -> Error {
    let name = relation.name.0.last().map_or_else(String::new, ToString::to_string);
    let message = format!("multiple primary keys for table \"{name}\" are not allowed");
    Error::new(SqlState::INVALID_TABLE_DEFINITION, message).or_position(at)
}

/// Text compares by bytes: the collations that say so are accepted.
pub fn check_collation(name: &ast::ObjectName) -> Result<()> {
    let last = name.0.last().and_then(|part| part.as_ident()).map(super::super::statement::fold);
    match last.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("c" | "default" | "posix" | "ucs_basic" | "c.utf-8" | "c.utf8") => Ok(()),
        _ => {
            let message = format!("collation \"{}\" for encoding \"UTF8\" does not exist", last.unwrap_or_default());
            Err(Error::new(SqlState::UNDEFINED_OBJECT, message)
                .with_hint("Text compares by bytes, as with COLLATE \"C\".")
                .or_position(
                    name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start.column as u32),
                ))
        }
    }
}
