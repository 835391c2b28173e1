//! Limits on a text, checked before anything recursive or large is built from it.
//!
//! The size bound keeps tokens within memory (a token takes about 100 bytes). The depth bound is on an upper
//! estimate of the height of the tree that the text gives: open brackets, plus operators in a row, since `a + b + c`
//! leans to the left by one level an operator. Whatever walks the tree later, drops included, can rely on it.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Result, SqlState};

/// Bytes of one text.
pub const MAX_TEXT_BYTES: usize = 64 << 20;
/// Tokens of one text, roughly.
pub const MAX_TOKENS: usize = 2_000_000;
/// Height of a statement's tree.
pub const MAX_DEPTH: usize = 1000;
/// Height of one expression: brackets and operators other than AND and OR, whose chains the binder balances. Plans
/// walk expressions in many places that know no bound of their own.
pub const MAX_EXPRESSION: usize = 250;
/// Open brackets, CASEs and prefix operators: what the parser itself recurses on.
pub const MAX_NESTING: usize = 200;

/// 54000 for a text that is too large to take apart.
pub fn check_size(text: &str) -> Result<()> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("statement of {} bytes is longer than the {MAX_TEXT_BYTES} allowed", text.len());
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).with_hint(BULK));
    }
    if text.len() <= MAX_TOKENS {
        return Ok(());
    }
    // Outside quotes every punctuation mark or space ends at most one word and is at most one token.
    let mut quoted = false;
    let mut marks = 0usize;
    for byte in text.bytes() {
        if byte == b'\'' {
            quoted = !quoted;
        }
        if !quoted && !byte.is_ascii_alphanumeric() && byte.is_ascii() {
            marks += 1;
        }
    }
    if marks > MAX_TOKENS {
        let message = format!("statement has more than the {MAX_TOKENS} words and signs allowed");
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).with_hint(BULK));
    }
    Ok(())
}

const BULK: &str = "Send large amounts of data with COPY ... FROM STDIN.";

/// Levels that are open at a place in the text.
struct Level {
    /// Height at the opening bracket, of the whole tree and of its expressions alone.
    base: usize,
    expression: usize,
    /// UNION, JOIN and the like seen in this bracket.
    sets: usize,
    /// AND and OR since the last comma or clause.
    logic: usize,
    /// Other operators since the last of those.
    arithmetic: usize,
}

impl Level {
    fn height(&self) -> usize {
        self.base + self.sets + self.logic + self.arithmetic
    }

    /// A level inside this one.
    fn inner(&self) -> Level {
        let expression = self.expression + self.arithmetic + 1;
        Level { base: self.height() + 1, expression, sets: 0, logic: 0, arithmetic: 0 }
    }
}

/// 54001 for a statement that is nested too deeply.
pub fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = vec![Level { base: 0, expression: 0, sets: 0, logic: 0, arithmetic: 0 }];
    let mut prefixes = 0usize;
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            continue;
        }
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { break };
        let mut prefix = false;
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                // Subscripts and the dimensions of a type lean to the left as operators do.
                if token.token == Token::LBracket {
                    level.arithmetic += 1;
                }
                let inner = level.inner();
                levels.push(inner);
            }
            Token::RParen | Token::RBracket | Token::RBrace if depth > 1 => {
                levels.pop();
            }
            Token::Comma | Token::SemiColon => {
                level.logic = 0;
                level.arithmetic = 0;
            }
            Token::Word(word) => match word.keyword {
                Keyword::CASE => {
                    let inner = level.inner();
                    levels.push(inner);
                }
                Keyword::END if depth > 1 => {
                    levels.pop();
                }
                Keyword::AND | Keyword::OR => {
                    level.logic += 1;
                    level.arithmetic = 0;
                }
                Keyword::NOT => {
                    prefix = true;
                    level.arithmetic += 1;
                }
                Keyword::IS
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::ESCAPE
                | Keyword::OPERATOR
                | Keyword::OVERLAPS
                | Keyword::NOTNULL
                | Keyword::AT
                | Keyword::COLLATE => level.arithmetic += 1,
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => {
                    level.sets += 1;
                    level.logic = 0;
                    level.arithmetic = 0;
                }
                Keyword::SELECT
                | Keyword::FROM
                | Keyword::WHERE
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::ORDER
                | Keyword::ON
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE
                | Keyword::VALUES
                | Keyword::LIMIT => {
                    level.logic = 0;
                    level.arithmetic = 0;
                }
                _ => {}
            },
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::Period => {}
            _ => {
                prefix = true;
                level.arithmetic += 1;
            }
        }
        prefixes = if prefix { prefixes + 1 } else { 0 };
        let height = levels.last().map_or(0, Level::height);
        let expression = levels.last().map_or(0, |level| level.expression + level.arithmetic);
        if height > MAX_DEPTH || expression > MAX_EXPRESSION || levels.len() > MAX_NESTING || prefixes > MAX_NESTING {
            return Err(too_deep(Some(token.span.start.column as u32)));
        }
    }
    Ok(())
}

pub fn too_deep(position: Option<u32>) -> Error {
    Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .with_detail(format!(
            "Statements may be nested {MAX_NESTING} levels deep, with {MAX_EXPRESSION} operators in a row, or {MAX_DEPTH} of AND or OR."
        ))
        .with_hint("Write long chains of OR as IN (...), and split deep expressions over several views.")
        .or_position(position)
}
