//! SIMILAR TO: SQL's patterns as regular expressions, translated as Postgres does.

use arrow::array::ArrayRef;

use super::entry::{Function, immutable};
use super::kernel::Call;
use super::strict::{strict1, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::pg_type::oid::*;

/// The regular expression of a pattern: % and _ are wildcards, | * + ? {} () [] as in regular expressions.
fn translate(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut regex = String::with_capacity(pattern.len() + 8);
    regex.push_str("^(?:");
    let (mut escaped, mut in_class) = (false, false);
    for character in pattern.chars() {
        match character {
            '"' if escaped => {
                let message = "a SIMILAR TO pattern with separators belongs into substring(... SIMILAR ...)";
                return Err(Error::new(SqlState::INVALID_REGULAR_EXPRESSION, message));
            }
            _ if escaped => {
                regex.push('\\');
                regex.push(character);
                escaped = false;
            }
            _ if Some(character) == escape => escaped = true,
            _ if in_class => {
                if character == '\\' {
                    regex.push('\\');
                }
                regex.push(character);
                in_class = character != ']';
            }
            '[' => {
                regex.push('[');
                in_class = true;
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            // What is in brackets is not asked for.
            '(' => regex.push_str("(?:"),
            '\\' | '.' | '^' | '$' => {
                regex.push('\\');
                regex.push(character);
            }
            _ => regex.push(character),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

fn similar(call: &Call) -> Result<ArrayRef> {
    strict1(call, |pattern: &str| translate(pattern, Some('\\')))
}

fn similar_with_escape(call: &Call) -> Result<ArrayRef> {
    strict2(call, |pattern: &str, escape: &str| {
        let mut characters = escape.chars();
        match (characters.next(), characters.next()) {
            (escape, None) => translate(pattern, escape),
            _ => Err(Error::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
                .with_hint("Escape string must be empty or one character.")),
        }
    })
}

const SIMILAR: &str = "The regular expression of a SIMILAR TO pattern.";

pub const FUNCTIONS: &[Function] = &[
    immutable(1987, "similar_to_escape", &[TEXT], TEXT, similar, SIMILAR),
    immutable(1986, "similar_to_escape", &[TEXT, TEXT], TEXT, similar_with_escape, SIMILAR),
];
