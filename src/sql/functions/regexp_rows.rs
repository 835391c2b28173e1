//! Regular expressions beyond the first match: all matches as rows, the n-th one replaced.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::DataType;

use super::array::string_to_array;
use super::entry::{Function, immutable};
use super::kernel::Call;
use super::pattern::{Texts, expand, regexp_split_to_array};
use super::regexp::compiled;
use crate::error::{Error, Result, SqlState};
use crate::types::Type;
use crate::types::builder::push_text;
use crate::types::pg_type::oid::*;

/// The groups of each match; of the first alone without `g`.
fn matches(call: &Call) -> Result<ArrayRef> {
    let DataType::List(inner) = call.result.arrow() else { return Err(Error::internal("matches are lists")) };
    let DataType::List(text) = inner.data_type() else { return Err(Error::internal("a match is a list")) };
    let groups = ListBuilder::new(StringBuilder::new()).with_field(text.clone());
    let mut out = ListBuilder::new(groups).with_field(inner.clone());
    let texts = Texts::new(call, Some(2))?;
    for row in 0..call.rows {
        if !texts.all_there(row) {
            out.append(false);
            continue;
        }
        let flags = if call.args.len() > 2 { texts.get(2, row).unwrap_or("") } else { "" };
        let regex = texts.regex(row, flags)?;
        let limit = if flags.contains('g') { usize::MAX } else { 1 };
        for captures in regex.matches(texts.get(0, row).unwrap_or(""), Some(0))?.take(limit) {
            // Without groups the whole match is the one element.
            let first = usize::from(captures.len() > 1);
            for n in first..captures.len() {
                push_text(out.values().values(), captures.get(n).map(|group| group.as_str()))?;
            }
            out.values().append(true);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

/// The byte that the n-th character (from 1) begins at, or the end's right behind the last. 22023 for n below 1.
pub(super) fn from_character(text: &str, n: i32) -> Result<Option<usize>> {
    if n < 1 {
        let message = format!("invalid value for parameter \"start\": {n}");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    let places = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
    Ok(places.into_iter().nth(n as usize - 1))
}

/// (text, pattern, replacement, start[, n[, flags]]): the n-th match from there replaced; 0 for all of them.
fn replace_from(call: &Call) -> Result<ArrayRef> {
    let text = |n: usize| call.args[n].cast::<StringArray>();
    let number = |n: usize| call.args[n].cast::<Int32Array>();
    let (values, patterns, replacements) = (text(0)?, text(1)?, text(2)?);
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        if call.args.iter().any(|arg| arg.is_null(row)) {
            out.append_null();
            continue;
        }
        let at = |n: usize| call.args[n].index(row);
        let flags = if call.args.len() > 5 { text(5)?.value(at(5)) } else { "" };
        let which = if call.args.len() > 4 { number(4)?.value(at(4)) } else { i32::from(!flags.contains('g')) };
        if which < 0 {
            let message = format!("invalid value for parameter \"n\": {which}");
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        let regex = compiled(patterns.value(at(1)), flags)?;
        let value = values.value(at(0));
        let from = from_character(value, number(3)?.value(at(3)))?;
        let mut shown = String::new();
        let mut end = 0;
        for (n, captures) in regex.matches(value, from)?.enumerate() {
            let Some(whole) = captures.get(0).filter(|_| which == 0 || n + 1 == which as usize) else { continue };
            shown.push_str(&value[end..whole.start()]);
            expand(replacements.value(at(2)), &captures, &mut shown);
            end = whole.end();
        }
        shown.push_str(&value[end..]);
        push_text(&mut out, Some(&shown))?;
    }
    Ok(Arc::new(out.finish()))
}

fn text_list(_: &[Type]) -> Result<Type> {
    Ok(Type::Array(Box::new(Type::Text)))
}

fn match_list(_: &[Type]) -> Result<Type> {
    Ok(Type::Array(Box::new(Type::Array(Box::new(Type::Text)))))
}

const MATCHES: &str = "A row a match: its groups.";
const SPLIT: &str = "A row a part between matches.";
const PARTS: &str = "A row a part of a delimited text.";
const REPLACE: &str = "The n-th match from a character on replaced; 0 for all.";

pub const FUNCTIONS: &[Function] = &[
    immutable(2763, "regexp_matches", &[TEXT, TEXT], TEXT_ARRAY, matches, MATCHES).derived(match_list),
    immutable(2764, "regexp_matches", &[TEXT, TEXT, TEXT], TEXT_ARRAY, matches, MATCHES).derived(match_list),
    immutable(2765, "regexp_split_to_table", &[TEXT, TEXT], TEXT, regexp_split_to_array, SPLIT).derived(text_list),
    immutable(2766, "regexp_split_to_table", &[TEXT, TEXT, TEXT], TEXT, regexp_split_to_array, SPLIT)
        .derived(text_list),
    immutable(6160, "string_to_table", &[TEXT, TEXT], TEXT, string_to_array, PARTS).derived(text_list),
    immutable(6161, "string_to_table", &[TEXT, TEXT, TEXT], TEXT, string_to_array, PARTS).derived(text_list),
    immutable(6253, "regexp_replace", &[TEXT, TEXT, TEXT, INT4], TEXT, replace_from, REPLACE),
    immutable(6252, "regexp_replace", &[TEXT, TEXT, TEXT, INT4, INT4], TEXT, replace_from, REPLACE),
    immutable(6251, "regexp_replace", &[TEXT, TEXT, TEXT, INT4, INT4, TEXT], TEXT, replace_from, REPLACE),
];
