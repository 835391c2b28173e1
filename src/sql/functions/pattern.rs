//! LIKE, ILIKE, and what regular expressions are for: matching, replacing, splitting.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListBuilder, StringArray, StringBuilder};
use arrow::compute::kernels::comparison;
use arrow::compute::not;
use regex::Captures;

use super::entry::{Function, Operator, immutable, operator};
use super::integer::operand;
use super::kernel::Call;
use super::regexp::{Pattern, compiled};
use super::strict::strict1;
use crate::error::{Error, Result, SqlState};
use crate::types::Type;
use crate::types::builder::push_text;
use crate::types::pg_type::oid::*;

/// Text arguments of a call, row by row; NULL where any of them is.
pub(super) struct Texts<'a> {
    call: &'a Call<'a>,
    columns: Vec<&'a StringArray>,
    constant: Option<Arc<Pattern>>,
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

    pub(super) fn regex(&self, row: usize, flags: &str) -> Result<Arc<Pattern>> {
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
        for captures in regex.matches(text, Some(0))?.take(limit) {
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
        match regex.matches(texts.get(0, row).unwrap_or(""), Some(0))?.next() {
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
        let (mut end, mut before) = (0, 0);
        for captures in regex.matches(text, Some(0))? {
            let Some(found) = captures.get(0) else { continue };
            // An empty match at either end, or right after another, splits nothing.
            if found.start() < text.len() && found.end() > before {
                push_text(out.values(), Some(&text[end..found.start()]))?;
                end = found.end();
            }
            before = found.end();
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
        let captures = regex.matches(texts.get(0, row).unwrap_or(""), Some(0))?.next();
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
