//! Syntax errors in Postgres's words, with hints for what other systems write differently.

use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

use super::{Source, StatementParser, limits, names};
use crate::error::{Error, SqlState};

/// Spellings of other systems, recognised by words that follow each other in the statement, and what to write here.
const FOREIGN: &[(&[&str], &str)] = &[
    (
        &["emit", "changes"],
        "Leave EMIT CHANGES out: a materialized view is always current. CREATE MATERIALIZED VIEW v AS SELECT ... keeps a query; SELECT ... FROM v reads it.",
    ),
    (&["emit", "final"], "Leave EMIT FINAL out: CREATE MATERIALIZED VIEW v AS SELECT ... is always current."),
    (
        &["emit", "on", "window", "close"],
        "Leave EMIT ON WINDOW CLOSE out: a window is shown while it fills. SELECT ... FROM v WHERE window_end <= now() reads those that have ended.",
    ),
    (
        &["from", "kafka"],
        "Write CREATE STREAM name (columns) WITH (connector = 'kafka', topic = '...', \"bootstrap.servers\" = '...').",
    ),
    (
        &["source", "connector"],
        "Write CREATE STREAM name (columns) WITH (connector = 'kafka', topic = '...', \"bootstrap.servers\" = '...').",
    ),
    (&["from", "load", "generator"], "Write CREATE STREAM name (columns) WITH (connector = 'datagen', ...)."),
    (&["window", "tumbling"], "Write FROM TUMBLE(relation, time_column, INTERVAL '1 minute') GROUP BY window_start."),
    (&["window", "hopping"], "Write FROM HOP(relation, time_column, slide, size) GROUP BY window_start."),
    (&["table", "tumble"], "Write FROM TUMBLE(relation, time_column, INTERVAL '1 minute')."),
    (&["table", "hop"], "Write FROM HOP(relation, time_column, slide, size)."),
    (&["descriptor"], "Write TUMBLE(relation, time_column, size) and HOP(relation, time_column, slide, size)."),
    (&["with", "rollup"], "Write GROUP BY ROLLUP (...)."),
    (&["with", "cube"], "Write GROUP BY CUBE (...)."),
    (&["order", "by", "all"], "List the columns to order by."),
    (&["limit", "by"], "Filter by row_number() in an outer query."),
    (&["prewhere"], "Write WHERE."),
    (&["variadic"], "Give the arguments one by one."),
    (&["not", "enforced"], "Leave NOT ENFORCED out: a primary key is enforced."),
    (&["watermark", "for"], "Leave WATERMARK FOR out: answers do not depend on watermarks."),
    (&["partition", "by"], "PARTITION BY belongs into OVER (...); the rows of a stream or view need no partitioning."),
    (
        &["within"],
        "Leave WITHIN out: joins see all rows; restrict times with a condition such as a.at BETWEEN b.at AND b.at + INTERVAL '1 hour'.",
    ),
];

/// Reserved words that are more often a clause at the wrong place than a name.
const CLAUSES: &[Keyword] = &[
    Keyword::AND,
    Keyword::AS,
    Keyword::CROSS,
    Keyword::DISTINCT,
    Keyword::ELSE,
    Keyword::EXCEPT,
    Keyword::FETCH,
    Keyword::FOR,
    Keyword::FROM,
    Keyword::FULL,
    Keyword::HAVING,
    Keyword::ILIKE,
    Keyword::IN,
    Keyword::INNER,
    Keyword::INTERSECT,
    Keyword::INTO,
    Keyword::IS,
    Keyword::JOIN,
    Keyword::LATERAL,
    Keyword::LEFT,
    Keyword::LIKE,
    Keyword::NATURAL,
    Keyword::NOT,
    Keyword::ON,
    Keyword::OR,
    Keyword::RETURNING,
    Keyword::RIGHT,
    Keyword::SELECT,
    Keyword::SIMILAR,
    Keyword::TABLESAMPLE,
    Keyword::THEN,
    Keyword::UNION,
    Keyword::USING,
    Keyword::VARIADIC,
    Keyword::WHEN,
    Keyword::WHERE,
    Keyword::WITH,
];

impl StatementParser<'_> {
    /// 42601 at the next token.
    pub(super) fn unexpected(&self) -> Error {
        self.syntax_error(self.parser.peek_token_ref().clone())
    }

    fn syntax_error(&self, token: TokenWithSpan) -> Error {
        if let Some(refused) = self.refused_form(&token) {
            return refused;
        }
        let error = match &token.token {
            Token::EOF => Error::new(SqlState::SYNTAX_ERROR, "syntax error at end of input")
                .or_position(Some(self.source.characters as u32 + 1)),
            _ => {
                let (start, end) = (token.span.start.column, token.span.end.column);
                let shown = self.source.slice(start as usize - 1, end as usize - 1);
                Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{shown}\""))
                    .or_position(Some(start as u32))
            }
        };
        match self.foreign_hint() {
            Some(hint) => error.with_hint(hint),
            None => match self.quoting_hint(&token) {
                Some(hint) => error.with_hint(hint),
                None => error,
            },
        }
    }

    /// For a reserved word that begins no clause, and for names in other systems' quotes.
    fn quoting_hint(&self, token: &TokenWithSpan) -> Option<String> {
        match &token.token {
            Token::Word(word) if word.quote_style.is_none() => {
                let named = names::reserved(&word.value) && !CLAUSES.contains(&word.keyword);
                named.then(|| names::in_quotes(&word.value))
            }
            Token::LBracket | Token::Char('`') => {
                let at = token.span.end.column;
                let next = (0..)
                    .map(|index| self.parser.token_at(index))
                    .find(|next| next.token == Token::EOF || (next.span.start.column >= at));
                match next.map(|next| &next.token) {
                    Some(Token::Word(word)) => Some(format!("Write \"{}\".", word.value)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    pub(super) fn foreign_hint(&self) -> Option<&'static str> {
        let tokens = (0..).map(|index| &self.parser.token_at(index).token).take_while(|token| **token != Token::EOF);
        if self.changes_a_star() {
            return Some("List the columns instead of *.");
        }
        let words: Vec<String> = tokens
            .filter_map(|token| match token {
                Token::Word(word) => Some(word.value.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        // Words that are at home in window functions and ordered aggregates.
        let innocent = words.iter().any(|word| word == "over" || word == "group");
        let found = |needle: &[&str]| {
            !(innocent && matches!(needle, ["partition", "by"] | ["within"]))
                && words.windows(needle.len()).any(|window| window.iter().eq(needle.iter()))
        };
        FOREIGN.iter().find(|(needle, _)| found(needle)).map(|(_, hint)| *hint)
    }

    /// `* EXCEPT (...)` and its like. After a `*` of Postgres's an EXCEPT leads to a query.
    fn changes_a_star(&self) -> bool {
        let tokens = (0..).map(|index| &self.parser.token_at(index).token);
        let tokens: Vec<&Token> = tokens
            .take_while(|token| **token != Token::EOF)
            .filter(|token| !matches!(token, Token::Whitespace(_)))
            .collect();
        let is = |words: &[&str], token: &Token| match token {
            Token::Word(word) => words.iter().any(|other| word.value.eq_ignore_ascii_case(other)),
            _ => false,
        };
        tokens.windows(5).any(|tokens| {
            let starts = matches!(tokens[0], Token::Comma | Token::Period) || is(&["select", "distinct"], tokens[0]);
            starts
                && *tokens[1] == Token::Mul
                && *tokens[3] == Token::LParen
                && is(&["except", "exclude", "replace", "rename"], tokens[2])
                && !is(&["select", "values", "with", "table"], tokens[4])
        })
    }

    pub(super) fn parser_error(&self, error: ParserError) -> Error {
        let message = match error {
            ParserError::RecursionLimitExceeded => return limits::too_deep(Some(self.position() as u32)),
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        };
        // The parser may have looked past the token it complains about; its message says where that is.
        let at = message.rfind("Column: ").and_then(|at| message[at + "Column: ".len()..].parse::<u64>().ok());
        let token = match at {
            _ if message.contains("found: EOF") => Some(TokenWithSpan::new_eof()),
            Some(column) => (0..)
                .map(|index| self.parser.token_at(index))
                .take_while(|token| token.token != Token::EOF)
                .find(|token| token.span.start.column == column)
                .cloned(),
            None => None,
        };
        self.syntax_error(token.unwrap_or_else(|| self.parser.peek_token_ref().clone()))
    }
}

/// What the tokenizer could not read.
pub(super) fn token_error(source: &Source, error: TokenizerError, last: u64) -> Error {
    // Its location is at the start of the token or at the end of the text, depending on the token.
    let rest = source.slice(last as usize - 1, source.characters);
    let skipped = rest.chars().take_while(|character| character.is_whitespace()).count();
    let (position, rest) = (last + skipped as u64, rest.trim_start());
    let shown: String = rest.chars().take(64).collect();
    if error.message.contains("encoded string") && names_nul(rest) {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        return Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message);
    }
    let message = if error.message.contains("dollar-quoted") {
        format!("unterminated dollar-quoted string at or near \"{shown}\"")
    } else if error.message.contains("multi-line comment") {
        format!("unterminated /* comment at or near \"{shown}\"")
    } else if error.message.contains("close delimiter") {
        format!("unterminated quoted identifier at or near \"{shown}\"")
    } else if error.message.contains("nterminated") {
        format!("unterminated quoted string at or near \"{shown}\"")
    } else {
        let shown: String = shown.chars().take_while(|character| !character.is_whitespace()).collect();
        format!("syntax error at or near \"{shown}\"")
    };
    Error::new(SqlState::SYNTAX_ERROR, message).or_position(Some(position as u32))
}

/// Whether the first thing that is wrong with an E'...' string is a NUL byte, written \0, \000 or \x00.
fn names_nul(string: &str) -> bool {
    let mut rest = string.chars().skip(2).peekable();
    while let Some(character) = rest.next() {
        match character {
            '\'' if rest.next_if_eq(&'\'').is_none() => return false,
            '\\' => {
                let (radix, most, mut digits) = match rest.next() {
                    Some('x') => (16, 2, String::new()),
                    Some(first) if first.is_digit(8) => (8, 2, first.to_string()),
                    _ => continue,
                };
                for _ in 0..most {
                    digits.extend(rest.next_if(|digit| digit.is_digit(radix)));
                }
                match u32::from_str_radix(&digits, radix) {
                    Ok(byte) if byte & 0xff == 0 => return true,
                    // Bytes that would be part of a character are refused in other words.
                    Ok(byte) if byte & 0xff > 127 => return false,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    false
}
