//! Postgres's regular expressions, compiled.
//!
//! Postgres's advanced regular expressions are run by the `regex` crate: classes, counts, groups, `\d \w \s \y \m \M`,
//! `(?i)` and the flags g, i, n, s, x, c mean the same. Lookaround and back references are refused (0A000); of
//! alternatives that match at one place the first is taken where Postgres takes the longest.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::error::{Error, Result, SqlState};

/// Patterns a thread holds compiled; beyond, the work is done again.
const CACHE: usize = 64;

/// Bytes one compiled pattern may take.
const MAX_COMPILED: usize = 1 << 20;

fn invalid(message: impl std::fmt::Display) -> Error {
    Error::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {message}"))
}

/// Compiles a Postgres pattern under its flags. 2201B, 22023 for an unknown flag, 0A000.
fn compile(pattern: &str, flags: &str) -> Result<Regex> {
    let (mut pattern, mut flags) = (pattern, flags.to_string());
    // An embedded (?i) and the like stands at the beginning only.
    if let Some(rest) = pattern.strip_prefix("(?")
        && let Some((own, after)) = rest.split_once(')')
        && own.chars().all(|c| c.is_ascii_lowercase())
        && !own.is_empty()
    {
        flags.push_str(own);
        pattern = after;
    }
    if let Some(literal) = pattern.strip_prefix("***=") {
        return build(&regex::escape(literal), &flags);
    }
    if flags.contains('q') {
        return build(&regex::escape(pattern), &flags);
    }
    let pattern = pattern.strip_prefix("***:").unwrap_or(pattern);
    build(&translate(pattern)?, &flags)
}

fn build(pattern: &str, flags: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    builder.dot_matches_new_line(true).size_limit(MAX_COMPILED);
    for flag in flags.chars() {
        match flag {
            'i' => drop(builder.case_insensitive(true)),
            'c' => drop(builder.case_insensitive(false)),
            // Newline sensitive: the dot stops at a newline, anchors match beside it.
            'n' | 'm' => drop(builder.dot_matches_new_line(false).multi_line(true)),
            'p' => drop(builder.dot_matches_new_line(false)),
            'w' => drop(builder.multi_line(true)),
            'x' => drop(builder.ignore_whitespace(true)),
            's' | 'g' | 't' | 'q' | 'e' | 'b' => {}
            other => {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("invalid regular expression option: \"{other}\""),
                ));
            }
        }
    }
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => invalid("regular expression is too complex"),
        other => {
            let text = other.to_string();
            invalid(reason(text.lines().last().unwrap_or("").trim().trim_start_matches("error: ")))
        }
    })
}

/// Postgres's words for the crate's commonest complaints.
fn reason(theirs: &str) -> &str {
    match theirs {
        "repetition operator missing expression" => "quantifier operand invalid",
        "unclosed group" | "unopened group" => "parentheses () not balanced",
        "unclosed character class" => "brackets [] not balanced",
        other => other,
    }
}

/// Postgres's escapes and brackets in the crate's syntax.
fn translate(pattern: &str) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    // How many quantifiers stand before, of one atom: a second one can only be the ? of a short match.
    let mut quantifiers = 0;
    while let Some(c) = chars.next() {
        let bound = c == '{' && chars.peek().is_some_and(char::is_ascii_digit);
        quantifiers = match c {
            '?' if quantifiers == 1 => 2,
            '*' | '+' | '?' if quantifiers > 0 => return Err(invalid("quantifier operand invalid")),
            '{' if bound && quantifiers > 0 => return Err(invalid("quantifier operand invalid")),
            '*' | '+' | '?' => 1,
            '{' if bound => 1,
            _ => 0,
        };
        match c {
            '{' if bound => {
                out.push('{');
                loop {
                    match chars.next() {
                        Some(c @ ('0'..='9' | ',')) => out.push(c),
                        Some('}') => break,
                        Some(_) => return Err(invalid("invalid repetition count(s)")),
                        None => return Err(invalid("braces {} not balanced")),
                    }
                }
                out.push('}');
            }
            '{' => out.push_str(r"\{"),
            '}' => out.push_str(r"\}"),
            '\\' => match chars.next() {
                Some('b') => out.push_str(r"\x08"),
                Some('B') => out.push_str(r"\\"),
                Some('e') => out.push_str(r"\x1b"),
                Some('y') => out.push_str(r"\b"),
                Some('Y') => out.push_str(r"\B"),
                Some('m') => out.push_str(r"\b{start}"),
                Some('M') => out.push_str(r"\b{end}"),
                Some('Z') => out.push_str(r"\z"),
                Some('1'..='9') => {
                    return Err(Error::unsupported(
                        "a back reference in a regular expression",
                        "Match the parts apart.",
                    ));
                }
                Some(
                    letter @ ('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'A' | 'n' | 'r' | 't' | 'f' | 'v' | 'a' | 'x' | 'u'),
                ) => {
                    out.push('\\');
                    out.push(letter);
                }
                Some(other) if other.is_alphanumeric() => return Err(invalid("invalid escape \\ sequence")),
                Some(other) => out.push_str(&regex::escape(&other.to_string())),
                None => return Err(invalid("invalid escape \\ sequence")),
            },
            '(' if chars.peek() == Some(&'?') => {
                let mut ahead = chars.clone();
                ahead.next();
                match ahead.next() {
                    Some(':') => out.push('('),
                    Some('=' | '!' | '<') => {
                        return Err(Error::unsupported(
                            "lookaround in a regular expression",
                            "Match more and cut with substring, or use two conditions.",
                        ));
                    }
                    _ => return Err(invalid("quantifier operand invalid")),
                }
            }
            '[' => bracket(&mut chars, &mut out)?,
            other => out.push(other),
        }
    }
    Ok(out)
}

/// A bracket expression: what the crate reads as set operations is escaped.
fn bracket(chars: &mut std::iter::Peekable<std::str::Chars>, out: &mut String) -> Result<()> {
    let unclosed = || invalid("brackets [] not balanced");
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    if chars.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    while let Some(c) = chars.next() {
        match c {
            ']' => {
                out.push(']');
                return Ok(());
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                loop {
                    let c = chars.next().ok_or_else(unclosed)?;
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '\\' => {
                out.push('\\');
                out.push(chars.next().ok_or_else(unclosed)?);
            }
            other => out.push(other),
        }
    }
    Err(unclosed())
}

/// The pattern compiled, from this thread's cache. Shared and never cloned: a `Regex` fills tables while it matches, and
/// a clone starts with empty ones.
pub(super) fn compiled(pattern: &str, flags: &str) -> Result<Arc<Regex>> {
    type ByFlags = HashMap<String, HashMap<String, Arc<Regex>>>;
    thread_local!(static COMPILED: RefCell<ByFlags> = RefCell::default());
    COMPILED.with_borrow_mut(|by_flags| {
        if let Some(found) = by_flags.get(flags).and_then(|known| known.get(pattern)) {
            return Ok(found.clone());
        }
        if by_flags.values().map(HashMap::len).sum::<usize>() >= CACHE {
            by_flags.clear();
        }
        let regex = Arc::new(compile(pattern, flags)?);
        by_flags.entry(flags.to_string()).or_default().insert(pattern.to_string(), regex.clone());
        Ok(regex)
    })
}
