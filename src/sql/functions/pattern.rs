//! LIKE, ILIKE and regular expressions.
//!
//! Postgres's advanced regular expressions are run by the `regex` crate: classes, counts, groups, `\d \w \s \y \m \M`,
//! `(?i)` and the flags g, i, n, s, x, c mean the same. Lookaround and back references are refused (0A000); of
//! alternatives that match at one place the first is taken where Postgres takes the longest.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListBuilder, StringArray, StringBuilder};
use arrow::compute::kernels::comparison;
use arrow::compute::not;
use regex::{Captures, Regex, RegexBuilder};

use super::entry::{Function, Operator, immutable, operator};
use super::integer::operand;
use super::kernel::{Call, strict1};
use crate::error::{Error, Result, SqlState};
use crate::types::Type;
use crate::types::builder::push_text;
use crate::types::pg_type::oid::*;

/// Patterns a thread holds compiled; beyond, the work is done again.
const CACHE: usize = 64;

/// Bytes one compiled pattern may take.
const MAX_COMPILED: usize = 1 << 20;

fn invalid(message: impl std::fmt::Display) -> Error {
    Error::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {message}"))
}

/// Compiles a Postgres pattern under its flags. 2201B, 22023 for an unknown flag, 0A000.
pub fn compile(pattern: &str, flags: &str) -> Result<Regex> {
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

/// Text arguments of a call, row by row; NULL where any of them is.
pub(super) struct Texts<'a> {
    call: &'a Call<'a>,
    columns: Vec<&'a StringArray>,
    constant: Option<Arc<Regex>>,
}

impl<'a> Texts<'a> {
    /// `flags` names the argument that holds them.
    pub(super) fn new(call: &'a Call<'a>, flags: Option<usize>) -> Result<Texts<'a>> {
        let columns = call.args.iter().map(|arg| arg.cast::<StringArray>()).collect::<Result<Vec<_>>>()?;
        let flags = flags.filter(|&n| n < call.args.len());
        let constant = match (call.constant_text(1)?, flags) {
            (Some(pattern), None) => Some(compiled(pattern, "")?),
            (Some(pattern), Some(n)) => call.constant_text(n)?.map(|flags| compiled(pattern, flags)).transpose()?,
            _ => None,
        };
        Ok(Texts { call, columns, constant })
    }

    pub(super) fn get(&self, n: usize, row: usize) -> Option<&'a str> {
        let index = self.call.args[n].index(row);
        (!self.columns[n].is_null(index)).then(|| self.columns[n].value(index))
    }

    pub(super) fn all_there(&self, row: usize) -> bool {
        (0..self.columns.len()).all(|n| self.get(n, row).is_some())
    }

    pub(super) fn regex(&self, row: usize, flags: &str) -> Result<Arc<Regex>> {
        match &self.constant {
            Some(regex) => Ok(regex.clone()),
            None => compiled(self.get(1, row).unwrap_or(""), flags),
        }
    }
}

fn matches(call: &Call, flags: &str, negate: bool) -> Result<ArrayRef> {
    let values = call.args[0].cast::<StringArray>()?;
    if let Some(pattern) = call.constant_text(1)? {
        let regex = compiled(pattern, flags)?;
        return strict1(call, |text: &str| Ok(regex.is_match(text) != negate));
    }
    let patterns = call.args[1].cast::<StringArray>()?;
    let mut out = arrow::array::BooleanBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if values.is_null(i) || patterns.is_null(j) {
            out.append_null();
        } else {
            out.append_value(compiled(patterns.value(j), flags)?.is_match(values.value(i)) != negate);
        }
    }
    Ok(Arc::new(out.finish()))
}

fn regex_match(call: &Call) -> Result<ArrayRef> {
    matches(call, "", false)
}

fn regex_not_match(call: &Call) -> Result<ArrayRef> {
    matches(call, "", true)
}

fn regex_imatch(call: &Call) -> Result<ArrayRef> {
    matches(call, "i", false)
}

fn regex_not_imatch(call: &Call) -> Result<ArrayRef> {
    matches(call, "i", true)
}

pub(super) fn refuse_global(name: &str, flags: &str) -> Result<()> {
    match flags.contains('g') {
        false => Ok(()),
        true => {
            let message = format!("{name}() does not support the \"global\" option");
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
        }
    }
}

fn regexp_like(call: &Call) -> Result<ArrayRef> {
    if call.args.len() == 2 {
        return matches(call, "", false);
    }
    let texts = Texts::new(call, Some(2))?;
    let mut out = arrow::array::BooleanBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        if !texts.all_there(row) {
            out.append_null();
            continue;
        }
        let flags = texts.get(2, row).unwrap_or("");
        refuse_global("regexp_like", flags)?;
        let regex = texts.regex(row, flags)?;
        out.append_value(regex.is_match(texts.get(0, row).unwrap_or("")));
    }
    Ok(Arc::new(out.finish()))
}

fn like_with(
    call: &Call,
    kernel: fn(
        &dyn arrow::array::Datum,
        &dyn arrow::array::Datum,
    ) -> Result<arrow::array::BooleanArray, arrow::error::ArrowError>,
    negate: bool,
) -> Result<ArrayRef> {
    let ty = Type::Text.arrow();
    if let Some(pattern) = call.constant_text(1)? {
        // An escape needs something to escape: an even number of backslashes may end a pattern.
        if pattern.bytes().rev().take_while(|&c| c == b'\\').count() % 2 == 1 {
            return Err(Error::new(
                SqlState::INVALID_ESCAPE_SEQUENCE,
                "LIKE pattern must not end with escape character",
            ));
        }
    }
    let (text, pattern) = (operand(&call.args[0], &ty)?, operand(&call.args[1], &ty)?);
    let out = kernel(text.as_ref(), pattern.as_ref())?;
    Ok(Arc::new(if negate { not(&out)? } else { out }))
}

fn like(call: &Call) -> Result<ArrayRef> {
    like_with(call, comparison::like, false)
}

fn not_like(call: &Call) -> Result<ArrayRef> {
    like_with(call, comparison::like, true)
}

fn ilike(call: &Call) -> Result<ArrayRef> {
    like_with(call, comparison::ilike, false)
}

fn not_ilike(call: &Call) -> Result<ArrayRef> {
    like_with(call, comparison::ilike, true)
}

/// A replacement of Postgres's: `\1` to `\9` for groups, `\&` for the match, `\\` for a backslash.
pub(super) fn expand(replacement: &str, captures: &Captures, out: &mut String) {
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(digit @ '1'..='9') => {
                let group = captures.get(digit as usize - '0' as usize);
                out.push_str(group.map_or("", |group| group.as_str()));
            }
            Some('&') => out.push_str(&captures[0]),
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
}

fn regexp_replace(call: &Call) -> Result<ArrayRef> {
    let texts = Texts::new(call, Some(3))?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    let mut scratch = String::new();
    for row in 0..call.rows {
        if !texts.all_there(row) {
            out.append_null();
            continue;
        }
        let flags = if call.args.len() > 3 { texts.get(3, row).unwrap_or("") } else { "" };
        let regex = texts.regex(row, flags)?;
        let (text, replacement) = (texts.get(0, row).unwrap_or(""), texts.get(2, row).unwrap_or(""));
        let limit = if flags.contains('g') { usize::MAX } else { 1 };
        scratch.clear();
        let mut end = 0;
        for captures in regex.captures_iter(text).take(limit) {
            let Some(whole) = captures.get(0) else { continue };
            scratch.push_str(&text[end..whole.start()]);
            expand(replacement, &captures, &mut scratch);
            end = whole.end();
        }
        scratch.push_str(&text[end..]);
        push_text(&mut out, Some(&scratch))?;
    }
    Ok(Arc::new(out.finish()))
}

fn regexp_match(call: &Call) -> Result<ArrayRef> {
    let texts = Texts::new(call, Some(2))?;
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        if !texts.all_there(row) {
            out.append(false);
            continue;
        }
        let flags = if call.args.len() > 2 { texts.get(2, row).unwrap_or("") } else { "" };
        if flags.contains('g') {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "regexp_match() does not support the \"global\" option",
            )
            .with_hint("Use the regexp_matches function instead."));
        }
        let regex = texts.regex(row, flags)?;
        match regex.captures(texts.get(0, row).unwrap_or("")) {
            None => out.append(false),
            Some(captures) => {
                // Without groups the whole match is the one element.
                let first = usize::from(captures.len() > 1);
                for n in first..captures.len() {
                    push_text(out.values(), captures.get(n).map(|group| group.as_str()))?;
                }
                out.append(true);
            }
        }
    }
    list(out, call)
}

fn list(mut out: ListBuilder<StringBuilder>, call: &Call) -> Result<ArrayRef> {
    let list = out.finish();
    // The builder's element field and ours are named alike; the type is checked all the same.
    if list.data_type() != &call.result.arrow() {
        return Err(Error::internal(format!("a list of {}", list.data_type())));
    }
    Ok(Arc::new(list))
}

pub(super) fn regexp_split_to_array(call: &Call) -> Result<ArrayRef> {
    let texts = Texts::new(call, Some(2))?;
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        if !texts.all_there(row) {
            out.append(false);
            continue;
        }
        let flags = if call.args.len() > 2 { texts.get(2, row).unwrap_or("") } else { "" };
        refuse_global("regexp_split_to_array", flags)?;
        let regex = texts.regex(row, flags)?;
        let text = texts.get(0, row).unwrap_or("");
        let mut end = 0;
        for found in regex.find_iter(text) {
            // An empty match at either end, or right after another, splits nothing.
            if found.is_empty() && (found.end() == text.len() || found.start() == end && found.start() == 0) {
                continue;
            }
            push_text(out.values(), Some(&text[end..found.start()]))?;
            end = found.end();
        }
        push_text(out.values(), Some(&text[end..]))?;
        out.append(true);
    }
    list(out, call)
}

/// `substring(text from pattern)`: the first group, or the whole match.
fn regex_substring(call: &Call) -> Result<ArrayRef> {
    let texts = Texts::new(call, None)?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        if !texts.all_there(row) {
            out.append_null();
            continue;
        }
        let regex = texts.regex(row, "")?;
        let captures = regex.captures(texts.get(0, row).unwrap_or(""));
        let found = captures.and_then(|captures| captures.get(usize::from(captures.len() > 1)));
        push_text(&mut out, found.map(|group| group.as_str()))?;
    }
    Ok(Arc::new(out.finish()))
}

pub const FUNCTIONS: &[Function] = &[
    immutable(2284, "regexp_replace", &[TEXT, TEXT, TEXT], TEXT, regexp_replace, "The first match replaced."),
    immutable(
        2285,
        "regexp_replace",
        &[TEXT, TEXT, TEXT, TEXT],
        TEXT,
        regexp_replace,
        "Matches replaced; flag g: all.",
    ),
    immutable(3396, "regexp_match", &[TEXT, TEXT], TEXT_ARRAY, regexp_match, "Groups of the first match."),
    immutable(
        3397,
        "regexp_match",
        &[TEXT, TEXT, TEXT],
        TEXT_ARRAY,
        regexp_match,
        "Groups of the first match, with flags.",
    ),
    immutable(6263, "regexp_like", &[TEXT, TEXT], BOOL, regexp_like, "Whether a regular expression matches."),
    immutable(
        6264,
        "regexp_like",
        &[TEXT, TEXT, TEXT],
        BOOL,
        regexp_like,
        "Whether a regular expression matches, with flags.",
    ),
    immutable(
        2767,
        "regexp_split_to_array",
        &[TEXT, TEXT],
        TEXT_ARRAY,
        regexp_split_to_array,
        "The text between matches.",
    ),
    immutable(
        2768,
        "regexp_split_to_array",
        &[TEXT, TEXT, TEXT],
        TEXT_ARRAY,
        regexp_split_to_array,
        "The text between matches, with flags.",
    ),
    immutable(
        2073,
        "substring",
        &[TEXT, TEXT],
        TEXT,
        regex_substring,
        "What a regular expression, or its first group, matches.",
    ),
];

pub const OPERATORS: &[Operator] = &[
    operator(1209, "~~", TEXT, TEXT, BOOL, "textlike", like, "LIKE."),
    operator(1207, "~~", NAME, TEXT, BOOL, "namelike", like, "LIKE."),
    operator(1211, "~~", BPCHAR, TEXT, BOOL, "bpcharlike", like, "LIKE."),
    operator(1210, "!~~", TEXT, TEXT, BOOL, "textnlike", not_like, "NOT LIKE."),
    operator(1208, "!~~", NAME, TEXT, BOOL, "namenlike", not_like, "NOT LIKE."),
    operator(1212, "!~~", BPCHAR, TEXT, BOOL, "bpcharnlike", not_like, "NOT LIKE."),
    operator(1627, "~~*", TEXT, TEXT, BOOL, "texticlike", ilike, "ILIKE."),
    operator(1625, "~~*", NAME, TEXT, BOOL, "nameiclike", ilike, "ILIKE."),
    operator(1629, "~~*", BPCHAR, TEXT, BOOL, "bpchariclike", ilike, "ILIKE."),
    operator(1628, "!~~*", TEXT, TEXT, BOOL, "texticnlike", not_ilike, "NOT ILIKE."),
    operator(1626, "!~~*", NAME, TEXT, BOOL, "nameicnlike", not_ilike, "NOT ILIKE."),
    operator(1630, "!~~*", BPCHAR, TEXT, BOOL, "bpcharicnlike", not_ilike, "NOT ILIKE."),
    operator(641, "~", TEXT, TEXT, BOOL, "textregexeq", regex_match, "Matches a regular expression."),
    operator(639, "~", NAME, TEXT, BOOL, "nameregexeq", regex_match, "Matches a regular expression."),
    operator(1055, "~", BPCHAR, TEXT, BOOL, "bpcharregexeq", regex_match, "Matches a regular expression."),
    operator(642, "!~", TEXT, TEXT, BOOL, "textregexne", regex_not_match, "Does not match a regular expression."),
    operator(640, "!~", NAME, TEXT, BOOL, "nameregexne", regex_not_match, "Does not match a regular expression."),
    operator(1056, "!~", BPCHAR, TEXT, BOOL, "bpcharregexne", regex_not_match, "Does not match a regular expression."),
    operator(
        1228,
        "~*",
        TEXT,
        TEXT,
        BOOL,
        "texticregexeq",
        regex_imatch,
        "Matches a regular expression, whatever the case.",
    ),
    operator(
        1226,
        "~*",
        NAME,
        TEXT,
        BOOL,
        "nameicregexeq",
        regex_imatch,
        "Matches a regular expression, whatever the case.",
    ),
    operator(1229, "!~*", TEXT, TEXT, BOOL, "texticregexne", regex_not_imatch, "Does not match, whatever the case."),
    operator(1227, "!~*", NAME, TEXT, BOOL, "nameicregexne", regex_not_imatch, "Does not match, whatever the case."),
];
