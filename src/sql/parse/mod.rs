//! Text to statements: sqlparser's tokens, split at semicolons; each statement is read by a thin parser of our own,
//! which hands queries, expressions and types to sqlparser's with our dialect.
//!
//! A text is cut before it is parsed, so that every statement knows its own source, and tokens get their position
//! written into their spans (line 1, column = character of the whole text), so that any tree can name a position.

mod copy;
mod create;
mod dialect;
mod errors;
mod forms;
mod limits;
mod names;
mod operators;
mod session;
mod spelling;
mod statement;
#[cfg(test)]
mod tests;
mod words;

pub use create::check_collation;
pub use names::check as check_name;

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::statement::Parsed;
use crate::error::{Error, Result, SqlState};

static DIALECT: dialect::Postgres = dialect::Postgres;

/// The statements of a text, empty ones left out. Errors carry the position in the whole text.
pub fn parse(text: &str) -> Result<Vec<Parsed>> {
    limits::check_size(text)?;
    let source = Source::new(text);
    let tokens = tokenize(&source)?;
    limits::check_depth(&tokens)?;
    let mut parsed = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        let Some(first) = tokens.iter().find(|token| !blank(token)) else { continue };
        let start = first.span.start.column as usize - 1;
        let end =
            tokens.iter().rev().find(|token| !blank(token)).map_or(start, |last| last.span.end.column as usize - 1);
        let statement = StatementParser::new(&source, tokens).whole_statement()?;
        parsed.push(Parsed { statement, text: source.slice(start, end).to_string(), start });
    }
    Ok(parsed)
}

/// A scalar expression alone: a default, a generated column.
pub fn parse_expression(text: &str) -> Result<ast::Expr> {
    alone(text, |parser| parser.expression())
}

/// A query alone: a view's definition.
pub fn parse_query(text: &str) -> Result<Box<ast::Query>> {
    alone(text, |parser| parser.query())
}

/// A type alone, as in `'numeric(10,2)'::regtype` or a function's argument.
pub fn parse_type_name(text: &str) -> Result<ast::DataType> {
    alone(text, |parser| parser.data_type())
}

fn alone<T>(text: &str, read: impl FnOnce(&mut StatementParser) -> Result<T>) -> Result<T> {
    limits::check_size(text)?;
    let source = Source::new(text);
    let tokens = tokenize(&source)?;
    limits::check_depth(&tokens)?;
    let mut parser = StatementParser::new(&source, &tokens);
    let tree = read(&mut parser)?;
    parser.expect_end()?;
    Ok(tree)
}

fn blank(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

/// A text with ways between its characters and bytes.
struct Source<'a> {
    text: &'a str,
    /// Byte of each character, then the length; `None` for ASCII, where they are the same.
    bytes: Option<Vec<u32>>,
    /// Character (0-based) at which each line starts.
    lines: Vec<u32>,
    characters: usize,
}

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Source<'a> {
        let mut lines = vec![0];
        let mut characters = 0;
        for (index, character) in text.chars().enumerate() {
            characters = index + 1;
            if character == '\n' {
                lines.push(characters as u32);
            }
        }
        let bytes = (!text.is_ascii())
            .then(|| text.char_indices().map(|(byte, _)| byte as u32).chain([text.len() as u32]).collect());
        Source { text, bytes, lines, characters }
    }

    fn byte(&self, character: usize) -> usize {
        match &self.bytes {
            None => character.min(self.text.len()),
            Some(bytes) => bytes[character.min(self.characters)] as usize,
        }
    }

    /// The characters from `start` up to, not including, `end`.
    fn slice(&self, start: usize, end: usize) -> &'a str {
        &self.text[self.byte(start)..self.byte(end.max(start))]
    }

    /// 1-based character of a tokenizer's location.
    fn position(&self, location: Location) -> u64 {
        let line = (location.line.max(1) - 1) as usize;
        u64::from(self.lines.get(line).copied().unwrap_or(0)) + location.column.max(1)
    }
}

fn tokenize(source: &Source) -> Result<Vec<TokenWithSpan>> {
    let mut tokens = Vec::new();
    let spaced = operators::Spaced::new(source.text);
    let read = Source::new(&spaced.text);
    let flatten = |mut token: TokenWithSpan| {
        for location in [&mut token.span.start, &mut token.span.end] {
            *location = Location { line: 1, column: spaced.position(read.position(*location)) };
        }
        token
    };
    if let Err(error) =
        Tokenizer::new(&DIALECT, &spaced.text).tokenize_with_location_into_buf_with_mapper(&mut tokens, flatten)
    {
        let last = tokens.last().map_or(1, |token| token.span.end.column);
        return Err(errors::token_error(source, error, last));
    }
    words::free(&mut tokens);
    Ok(spelling::known(tokens))
}

/// Reads one statement. Methods leave the place behind what they read.
struct StatementParser<'a> {
    parser: Parser<'static>,
    source: &'a Source<'a>,
    /// Where the statement's last token ends.
    end: u64,
}

impl<'a> StatementParser<'a> {
    fn new(source: &'a Source<'a>, tokens: &[TokenWithSpan]) -> StatementParser<'a> {
        let end = tokens.iter().rev().find(|token| !blank(token)).map_or(1, |last| last.span.end.column);
        // The parser counts more than one level for a bracket.
        let parser = Parser::new(&DIALECT).with_recursion_limit(4 * limits::MAX_NESTING);
        StatementParser { parser: parser.with_tokens_with_locations(tokens.to_vec()), source, end }
    }

    /// Runs a piece of sqlparser's grammar, wording its errors as Postgres does.
    fn run<T>(&mut self, read: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>) -> Result<T> {
        read(&mut self.parser).map_err(|error| self.parser_error(error))
    }

    fn query(&mut self) -> Result<Box<ast::Query>> {
        let query = self.run(|parser| parser.parse_query())?;
        names::check_all(&*query)?;
        Ok(query)
    }

    /// A query with its source text.
    fn query_with_text(&mut self) -> Result<(Box<ast::Query>, String)> {
        let start = self.position();
        let query = self.query()?;
        Ok((query, self.text_since(start)))
    }

    fn expression(&mut self) -> Result<ast::Expr> {
        self.run(|parser| parser.parse_expr())
    }

    fn expression_with_text(&mut self) -> Result<(String, ast::Expr)> {
        let start = self.position();
        let expr = self.expression()?;
        Ok((self.text_since(start), expr))
    }

    fn object_name(&mut self) -> Result<ast::ObjectName> {
        self.run(|parser| parser.parse_object_name(false))
    }

    /// A name that is not a reserved word, unless in quotes.
    fn identifier(&mut self) -> Result<ast::Ident> {
        let name = self.any_word()?;
        names::check(&name)?;
        Ok(name)
    }

    fn name(&mut self) -> Result<String> {
        Ok(super::statement::fold(&self.identifier()?))
    }

    /// A word, reserved or not: where only a name can stand, and names nothing in an expression.
    fn any_word(&mut self) -> Result<ast::Ident> {
        match &self.parser.peek_token_ref().token {
            Token::Word(_) => self.run(|parser| parser.parse_identifier()),
            _ => Err(self.unexpected()),
        }
    }

    fn any_name(&mut self) -> Result<String> {
        Ok(super::statement::fold(&self.any_word()?))
    }

    /// A string literal of any spelling.
    fn string(&mut self) -> Result<String> {
        let token = self.parser.peek_token();
        let text = match token.token {
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text)
            | Token::NationalStringLiteral(text) => text,
            Token::DollarQuotedString(text) => text.value,
            _ => return Err(self.unexpected()),
        };
        self.parser.next_token();
        Ok(text)
    }

    /// A type; STRUCT<...> and its arrays are ours.
    fn data_type(&mut self) -> Result<ast::DataType> {
        let mut closed = 0;
        let ty = self.nested_type(&mut closed)?;
        match closed {
            0 => Ok(ty),
            _ => Err(self.unexpected()),
        }
    }

    /// `closed` counts angle brackets that a `>>` closed for levels further out.
    fn nested_type(&mut self, closed: &mut usize) -> Result<ast::DataType> {
        let bracket = |token: &Token| matches!(token, Token::Lt | Token::LParen);
        if bracket(&self.parser.peek_nth_token_ref(1).token)
            && let Some(name) = ["row", "map"].into_iter().find(|name| self.is_word(name))
        {
            let error = Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"));
            return Err(error
                .with_hint(super::registry::foreign_type(name).unwrap_or_default())
                .or_position(Some(self.position() as u32)));
        }
        let is_struct = self.is_word("struct") && self.parser.peek_nth_token_ref(1).token == Token::Lt;
        if !is_struct {
            return self.run(|parser| parser.parse_data_type());
        }
        self.parser.next_token();
        self.parser.next_token();
        let mut fields = Vec::new();
        loop {
            let name = self.any_word()?;
            let field_type = self.nested_type(closed)?;
            fields.push(ast::StructField { field_name: Some(name), field_type, options: None });
            if *closed > 0 {
                *closed -= 1;
                break;
            }
            match self.parser.next_token().token {
                Token::Comma => continue,
                Token::Gt => break,
                Token::ShiftRight => {
                    *closed += 1;
                    break;
                }
                _ => {
                    self.parser.prev_token();
                    return Err(self.unexpected());
                }
            }
        }
        let mut ty = ast::DataType::Struct(fields, ast::StructBracketKind::AngleBrackets);
        while *closed == 0 && self.parser.consume_token(&Token::LBracket) {
            self.expect(Token::RBracket)?;
            ty = ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(ty), None));
        }
        Ok(ty)
    }

    fn comma_separated<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![read(self)?];
        while self.parser.consume_token(&Token::Comma) {
            items.push(read(self)?);
        }
        Ok(items)
    }

    fn parenthesized<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.expect(Token::LParen)?;
        let inner = read(self)?;
        self.expect(Token::RParen)?;
        Ok(inner)
    }

    /// 1-based character of the next token; of the end, where there is none.
    fn position(&self) -> u64 {
        match self.parser.peek_token_ref() {
            TokenWithSpan { token: Token::EOF, .. } => self.end,
            token => token.span.start.column,
        }
    }

    /// The source from a position up to the last token read.
    fn text_since(&mut self, start: u64) -> String {
        let end = self.position();
        self.source.slice(start as usize - 1, end as usize - 1).trim_end().to_string()
    }

    fn keyword(&mut self, keyword: Keyword) -> bool {
        self.parser.parse_keyword(keyword)
    }

    fn keywords(&mut self, keywords: &[Keyword]) -> bool {
        self.parser.parse_keywords(keywords)
    }

    fn expect_keyword(&mut self, keyword: Keyword) -> Result<()> {
        match self.keyword(keyword) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    fn expect(&mut self, token: Token) -> Result<()> {
        match self.parser.consume_token(&token) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    /// Whether the next token is this word, keyword to sqlparser or not.
    fn is_word(&self, word: &str) -> bool {
        self.nth_is_word(0, word)
    }

    fn nth_is_word(&self, n: usize, word: &str) -> bool {
        matches!(&self.parser.peek_nth_token_ref(n).token,
            Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.parser.next_token();
        }
        found
    }

    fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, word)| self.nth_is_word(n, word));
        if found {
            words.iter().for_each(|_| drop(self.parser.next_token()));
        }
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        match self.word(word) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    fn if_exists(&mut self) -> bool {
        self.keywords(&[Keyword::IF, Keyword::EXISTS])
    }

    fn if_not_exists(&mut self) -> bool {
        self.keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS])
    }

    fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    fn expect_end(&mut self) -> Result<()> {
        match self.at_end() {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    fn unsupported(&self, construct: &str, hint: &str) -> Error {
        Error::unsupported(construct, hint)
    }

    fn invalid(&self, state: SqlState, message: String) -> Error {
        Error::new(state, message).or_position(Some(self.position() as u32))
    }
}
