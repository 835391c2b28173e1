//! Names as text: `a."B c".d` taken apart.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, ListBuilder, StringArray, StringBuilder};

use super::entry::{Function, immutable};
use super::kernel::Call;
use crate::error::{Error, Result, SqlState};
use crate::types::builder::push_text;
use crate::types::pg_type::oid::*;

/// (name[, strict]): its parts, folded where they are not quoted. What follows the name is an error, unless it need not be strict.
fn parse_ident(call: &Call) -> Result<ArrayRef> {
    let texts = call.args[0].cast::<StringArray>()?;
    let strict = call.args.get(1).map(|arg| arg.cast::<BooleanArray>()).transpose()?;
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        let index = call.args[0].index(row);
        let strict = match strict {
            None => Some(true),
            Some(strict) => {
                let index = call.args[1].index(row);
                strict.is_valid(index).then(|| strict.value(index))
            }
        };
        let Some(strict) = strict.filter(|_| texts.is_valid(index)) else {
            out.append(false);
            continue;
        };
        for part in parts(texts.value(index), strict)? {
            push_text(out.values(), Some(part.as_str()))?;
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn parts(text: &str, strict: bool) -> Result<Vec<String>> {
    let invalid = |detail: Option<String>| {
        let message = format!("string is not a valid identifier: \"{text}\"");
        let error = Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
        Err(match detail {
            Some(detail) => error.with_detail(detail),
            None => error,
        })
    };
    let starts = |c: char| c == '_' || c.is_ascii_alphabetic() || !c.is_ascii();
    let goes_on = |c: char| starts(c) || c == '$' || c.is_ascii_digit();
    let blank = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(blank);
    let mut after_dot = false;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut open = quoted;
            rest = loop {
                let Some(end) = open.find('"') else {
                    return invalid(Some("String has unclosed double quotes.".to_string()));
                };
                name.push_str(&open[..end]);
                open = &open[end + 1..];
                match open.strip_prefix('"') {
                    Some(next) => open = next,
                    None => break open,
                }
                name.push('"');
            };
            if name.is_empty() {
                return invalid(Some("Quoted identifier must not be empty.".to_string()));
            }
            parts.push(name);
        } else if rest.starts_with(starts) {
            let end = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
            parts.push(rest[..end].to_ascii_lowercase());
            rest = &rest[end..];
        } else if rest.starts_with('.') {
            return invalid(Some("No valid identifier before \".\".".to_string()));
        } else if after_dot {
            return invalid(Some("No valid identifier after \".\".".to_string()));
        } else {
            return invalid(None);
        }
        rest = rest.trim_start_matches(blank);
        match rest.strip_prefix('.') {
            Some(next) => (rest, after_dot) = (next.trim_start_matches(blank), true),
            None if rest.is_empty() || !strict => return Ok(parts),
            None => return invalid(None),
        }
    }
}

const PARTS: &str = "The parts of a qualified name; without the second, nothing may follow it.";

pub const FUNCTIONS: &[Function] = &[
    immutable(1268, "parse_ident", &[TEXT], TEXT_ARRAY, parse_ident, PARTS),
    immutable(1268, "parse_ident", &[TEXT, BOOL], TEXT_ARRAY, parse_ident, PARTS),
];
