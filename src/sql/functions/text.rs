//! Text functions. Lengths and positions count characters, and case follows Unicode, one character for one character as
//! Postgres's C.UTF-8 does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use datafusion::logical_expr::Volatility;

use super::entry::{Function, Operator, Typed, built, immutable, kernel_call, operator};
use super::kernel::Call;
use super::strict::{strict1, strict2, strict3, text1, text2, text3};
use crate::catalog::definition::quote_identifier;
use crate::error::{Error, Result, SqlState};
use crate::types::Type;
use crate::types::builder::{check_room, push_text};
use crate::types::pg_type::oid::*;

/// Postgres refuses texts of a gigabyte and more.
const MAX_TEXT: usize = 1 << 30;

fn too_long() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

fn char_count(text: &str) -> i32 {
    text.chars().count() as i32
}

fn length(call: &Call) -> Result<ArrayRef> {
    strict1(call, |text: &str| Ok(char_count(text)))
}

fn bytea_length(call: &Call) -> Result<ArrayRef> {
    strict1(call, |bytes: &[u8]| Ok(bytes.len() as i32))
}

fn octet_length(call: &Call) -> Result<ArrayRef> {
    strict1(call, |text: &str| Ok(text.len() as i32))
}

/// So many bytes in bits. 22003.
pub(super) fn bits(bytes: usize) -> Result<i32> {
    i32::try_from(bytes.saturating_mul(8))
        .map_err(|_| Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"))
}

fn bit_length(call: &Call) -> Result<ArrayRef> {
    strict1(call, |text: &str| bits(text.len()))
}

/// One character for one: what would grow (ß) stays.
fn upper_char(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

fn lower_char(c: char) -> char {
    // Unicode adds a combining dot, C libraries do not.
    if c == 'İ' {
        return 'i';
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

fn upper(call: &Call) -> Result<ArrayRef> {
    text1(call, |text: &str, out| {
        out.extend(text.chars().map(upper_char));
        Ok(())
    })
}

fn lower(call: &Call) -> Result<ArrayRef> {
    text1(call, |text: &str, out| {
        out.extend(text.chars().map(lower_char));
        Ok(())
    })
}

/// Words begin after anything that is no letter and no digit.
fn initcap(call: &Call) -> Result<ArrayRef> {
    text1(call, |text: &str, out| {
        let mut in_word = false;
        for c in text.chars() {
            out.push(if in_word { lower_char(c) } else { upper_char(c) });
            in_word = c.is_alphanumeric();
        }
        Ok(())
    })
}

fn trim_both(call: &Call) -> Result<ArrayRef> {
    trim(call, true, true)
}

fn trim_left(call: &Call) -> Result<ArrayRef> {
    trim(call, true, false)
}

fn trim_right(call: &Call) -> Result<ArrayRef> {
    trim(call, false, true)
}

fn trim(call: &Call, left: bool, right: bool) -> Result<ArrayRef> {
    let cut = |text: &str, set: &str, out: &mut String| {
        let in_set = |c: char| set.contains(c);
        let text = if left { text.trim_start_matches(in_set) } else { text };
        out.push_str(if right { text.trim_end_matches(in_set) } else { text });
        Ok(())
    };
    match call.args.len() {
        1 => text1(call, |text: &str, out| cut(text, " ", out)),
        _ => text2(call, cut),
    }
}

/// The part of `text` from character `start` (1-based, may lie before the text) and of `length` characters.
fn part(text: &str, start: i64, length: Option<i64>) -> Result<&str> {
    if length.is_some_and(|length| length < 0) {
        return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let end = length.map_or(i64::MAX, |length| start.saturating_add(length)).max(1);
    let first = start.max(1);
    let at = |n: i64| {
        if n > text.len() as i64 {
            return text.len();
        }
        text.char_indices().nth(n as usize - 1).map_or(text.len(), |(at, _)| at)
    };
    let (from, to) = (at(first), at(end));
    Ok(&text[from..to.max(from)])
}

fn substring(call: &Call) -> Result<ArrayRef> {
    match call.args.len() {
        2 => strict2::<&str, i32, &str>(call, |text, start| part(text, start.into(), None)),
        _ => strict3::<&str, i32, i32, &str>(call, |text, start, length| part(text, start.into(), Some(length.into()))),
    }
}

/// The same of bytes.
fn part_of_bytes(bytes: &[u8], start: i64, length: Option<i64>) -> Result<&[u8]> {
    if length.is_some_and(|length| length < 0) {
        return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let len = bytes.len() as i64;
    let end = length.map_or(len, |length| start.saturating_add(length) - 1).clamp(0, len);
    let from = (start.max(1) - 1).min(end);
    Ok(&bytes[from as usize..end as usize])
}

fn bytea_substring(call: &Call) -> Result<ArrayRef> {
    match call.args.len() {
        2 => strict2::<&[u8], i32, &[u8]>(call, |bytes, start| part_of_bytes(bytes, start.into(), None)),
        _ => strict3::<&[u8], i32, i32, &[u8]>(call, |bytes, start, length| {
            part_of_bytes(bytes, start.into(), Some(length.into()))
        }),
    }
}

fn bytea_concat(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: &[u8], b: &[u8]| Ok([a, b].concat()))
}

fn strpos(call: &Call) -> Result<ArrayRef> {
    strict2(call, |text: &str, part: &str| Ok(text.find(part).map_or(0, |at| char_count(&text[..at]) + 1)))
}

fn replace(call: &Call) -> Result<ArrayRef> {
    text3(call, |text: &str, from: &str, to: &str, out| {
        let mut end = 0;
        if !from.is_empty() {
            for (at, _) in text.match_indices(from) {
                out.push_str(&text[end..at]);
                out.push_str(to);
                end = at + from.len();
            }
        }
        out.push_str(&text[end..]);
        Ok(())
    })
}

/// A `char(n)` as text that keeps its blanks; any other value as it is.
pub fn with_blanks(value: Typed) -> Typed {
    match value.ty {
        Type::Char(n) if n != Type::MAX_CHAR_LENGTH => {
            kernel_call("padded", vec![value], Type::Text, Volatility::Immutable, pad_char)
        }
        _ => value,
    }
}

fn pad_char(call: &Call) -> Result<ArrayRef> {
    let Type::Char(n) = call.types[0] else { return Err(Error::internal("blanks of what is no char(n)")) };
    text1(call, |text: &str, out| {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', (n as usize).saturating_sub(text.chars().count())));
        Ok(())
    })
}

fn translate(call: &Call) -> Result<ArrayRef> {
    // What the last row's sets say: they are most often the same on every row.
    let last: RefCell<Option<(String, String, Rc<HashMap<char, Option<char>>>)>> = RefCell::default();
    text3(call, |text: &str, from: &str, to: &str, out| {
        let known = match &*last.borrow() {
            Some((known_from, known_to, map)) if known_from == from && known_to == to => Some(map.clone()),
            _ => None,
        };
        let repeated = known.is_some();
        let map = known.unwrap_or_else(|| {
            let mut map = HashMap::new();
            let mut targets = to.chars();
            for c in from.chars() {
                let target = targets.next();
                map.entry(c).or_insert(target);
            }
            Rc::new(map)
        });
        out.extend(text.chars().filter_map(|c| map.get(&c).copied().unwrap_or(Some(c))));
        if !repeated {
            *last.borrow_mut() = Some((from.to_string(), to.to_string(), map));
        }
        Ok(())
    })
}

fn split_part(call: &Call) -> Result<ArrayRef> {
    strict3::<&str, &str, i32, &str>(call, |text, delimiter, n| {
        if n == 0 {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "field position must not be zero"));
        }
        if delimiter.is_empty() {
            return Ok(if n == 1 || n == -1 { text } else { "" });
        }
        let found = if n > 0 {
            text.split(delimiter).nth(n as usize - 1)
        } else {
            text.rsplit(delimiter).nth(-(n + 1) as usize)
        };
        Ok(found.unwrap_or(""))
    })
}

/// The byte at which the first `n` characters end; a negative `n` leaves so many at the end.
fn head(text: &str, n: i32) -> usize {
    let keep = if n >= 0 { n as usize } else { text.chars().count().saturating_sub(n.unsigned_abs() as usize) };
    text.char_indices().nth(keep).map_or(text.len(), |(at, _)| at)
}

fn left(call: &Call) -> Result<ArrayRef> {
    strict2::<&str, i32, &str>(call, |text, n| Ok(&text[..head(text, n)]))
}

fn right(call: &Call) -> Result<ArrayRef> {
    strict2::<&str, i32, &str>(call, |text, n| {
        // All but the first characters; from the front where n is negative.
        let skip = if n >= 0 { text.chars().count().saturating_sub(n as usize) } else { n.unsigned_abs() as usize };
        let at = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
        Ok(&text[at..])
    })
}

fn padded(text: &str, length: i32, fill: &str, left: bool, out: &mut String) -> Result<()> {
    let wanted = length.max(0) as usize;
    if wanted > MAX_TEXT / 4 {
        return Err(too_long());
    }
    let have = text.chars().count();
    if have >= wanted || fill.is_empty() {
        out.extend(text.chars().take(wanted));
        return Ok(());
    }
    let padding = fill.chars().cycle().take(wanted - have);
    if left {
        out.extend(padding);
        out.push_str(text);
    } else {
        out.push_str(text);
        out.extend(padding);
    }
    Ok(())
}

fn lpad(call: &Call) -> Result<ArrayRef> {
    match call.args.len() {
        2 => text2(call, |text: &str, length: i32, out| padded(text, length, " ", true, out)),
        _ => text3(call, |text: &str, length: i32, fill: &str, out| padded(text, length, fill, true, out)),
    }
}

fn rpad(call: &Call) -> Result<ArrayRef> {
    match call.args.len() {
        2 => text2(call, |text: &str, length: i32, out| padded(text, length, " ", false, out)),
        _ => text3(call, |text: &str, length: i32, fill: &str, out| padded(text, length, fill, false, out)),
    }
}

fn repeat(call: &Call) -> Result<ArrayRef> {
    text2(call, |text: &str, n: i32, out| {
        let n = n.max(0) as usize;
        match text.len().checked_mul(n) {
            Some(total) if total < MAX_TEXT => {
                out.reserve(total);
                (0..n).for_each(|_| out.push_str(text));
                Ok(())
            }
            _ => Err(too_long()),
        }
    })
}

fn reverse(call: &Call) -> Result<ArrayRef> {
    text1(call, |text: &str, out| {
        out.extend(text.chars().rev());
        Ok(())
    })
}

fn starts_with(call: &Call) -> Result<ArrayRef> {
    strict2(call, |text: &str, prefix: &str| Ok(text.starts_with(prefix)))
}

fn overlay(call: &Call) -> Result<ArrayRef> {
    let put = |text: &str, new: &str, start: i32, length: i32| {
        if start <= 0 {
            return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        let behind = start
            .checked_add(length)
            .ok_or_else(|| Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"))?;
        let before = part(text, 1, Some(i64::from(start) - 1))?;
        let after = part(text, behind.into(), None)?;
        Ok(format!("{before}{new}{after}"))
    };
    match call.args.len() {
        3 => strict3(call, |text: &str, new: &str, start: i32| put(text, new, start, char_count(new))),
        _ => super::strict::strict4(call, put),
    }
}

fn ascii(call: &Call) -> Result<ArrayRef> {
    strict1(call, |text: &str| Ok(text.chars().next().map_or(0, |c| c as i32)))
}

fn chr(call: &Call) -> Result<ArrayRef> {
    strict1(call, |code: i32| {
        let limit = |message: &str| Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
        match u32::try_from(code) {
            Ok(0) => Err(limit("null character not permitted")),
            Err(_) => Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "character number must be positive")),
            Ok(code) => char::from_u32(code).map(String::from).ok_or_else(|| {
                if code > 0x10_ffff {
                    limit(&format!("requested character too large for encoding: {code}"))
                } else {
                    limit(&format!("requested character not valid for encoding: {code}"))
                }
            }),
        }
    })
}

/// A string literal: quotes doubled, and the E form where there is a backslash.
pub fn quoted_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

fn quote_ident(call: &Call) -> Result<ArrayRef> {
    strict1(call, |name: &str| Ok(quote_identifier(name)))
}

fn quote_literal(call: &Call) -> Result<ArrayRef> {
    strict1(call, |text: &str| Ok(quoted_literal(text)))
}

fn quote_nullable(call: &Call) -> Result<ArrayRef> {
    let values = call.args[0].cast::<StringArray>()?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        let index = call.args[0].index(row);
        match values.is_null(index) {
            true => push_text(&mut out, Some("NULL"))?,
            false => push_text(&mut out, Some(&quoted_literal(values.value(index))))?,
        }
    }
    Ok(Arc::new(out.finish()))
}

fn concat_two(call: &Call) -> Result<ArrayRef> {
    text2(call, |a: &str, b: &str, out| {
        out.push_str(a);
        out.push_str(b);
        Ok(())
    })
}

fn like_escape(call: &Call) -> Result<ArrayRef> {
    strict2(call, |pattern: &str, escape: &str| {
        let mut chars = escape.chars();
        let escape = match (chars.next(), chars.next()) {
            (None, _) => None,
            (Some(c), None) => Some(c),
            _ => {
                return Err(Error::new(SqlState("22025"), "invalid escape string")
                    .with_hint("Escape string must be empty or one character."));
            }
        };
        // Rewritten for the backslash, which is what LIKE understands.
        let mut out = String::with_capacity(pattern.len() + 4);
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if Some(c) == escape {
                out.push('\\');
                out.extend(chars.next());
            } else if c == '\\' {
                out.push_str("\\\\");
            } else {
                out.push(c);
            }
        }
        Ok(out)
    })
}

/// The arguments as text, as their output functions print them (booleans `t` and `f`).
fn printed(args: Vec<Typed>) -> Result<Vec<Typed>> {
    args.into_iter().map(super::output::printed).collect()
}

/// The arguments cast to text (booleans `true` and `false`).
fn cast_to_text(args: Vec<Typed>) -> Result<Vec<Typed>> {
    args.into_iter().map(super::output::as_text).collect()
}

fn build_quote_nullable(args: Vec<Typed>) -> Result<Typed> {
    Ok(kernel_call("quote_nullable", cast_to_text(args)?, Type::Text, Volatility::Immutable, quote_nullable))
}

fn build_quote_literal(args: Vec<Typed>) -> Result<Typed> {
    Ok(kernel_call("quote_literal", cast_to_text(args)?, Type::Text, Volatility::Immutable, quote_literal))
}

fn build_concat(args: Vec<Typed>) -> Result<Typed> {
    Ok(kernel_call("concat", printed(args)?, Type::Text, Volatility::Immutable, concat))
}

fn concat(call: &Call) -> Result<ArrayRef> {
    joined(call, 0, |_| Some(""))
}

fn build_concat_ws(args: Vec<Typed>) -> Result<Typed> {
    Ok(kernel_call("concat_ws", printed(args)?, Type::Text, Volatility::Immutable, concat_ws))
}

fn concat_ws(call: &Call) -> Result<ArrayRef> {
    let separators = call.args[0].cast::<StringArray>()?;
    joined(call, 1, |row| {
        let index = call.args[0].index(row);
        (!separators.is_null(index)).then(|| separators.value(index))
    })
}

/// The arguments from `first` on that are not NULL, with a separator between; NULL where the separator is.
fn joined<'a>(call: &'a Call, first: usize, separator: impl Fn(usize) -> Option<&'a str>) -> Result<ArrayRef> {
    let columns = call.args[first..].iter().map(|arg| arg.cast::<StringArray>()).collect::<Result<Vec<_>>>()?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        let Some(separator) = separator(row) else {
            out.append_null();
            continue;
        };
        let mut any = false;
        for (arg, column) in call.args[first..].iter().zip(&columns) {
            let index = arg.index(row);
            if !column.is_null(index) {
                if any {
                    let _ = out.write_str(separator);
                }
                let _ = out.write_str(column.value(index));
                any = true;
            }
        }
        check_room(out.values_slice().len(), 0)?;
        out.append_value("");
    }
    Ok(Arc::new(out.finish()))
}

/// `text || anything`: the other operand cast to text.
fn build_textual(args: Vec<Typed>) -> Result<Typed> {
    let args = args.into_iter().map(super::output::as_text).collect::<Result<_>>()?;
    Ok(kernel_call("textcat", args, Type::Text, Volatility::Immutable, concat_two))
}

const TRIM: &str = "The text without leading and trailing characters of a set, by default spaces.";
const LTRIM: &str = "The text without leading characters of a set, by default spaces.";
const RTRIM: &str = "The text without trailing characters of a set, by default spaces.";
const SUBSTRING: &str = "Characters from a 1-based position on, and so many of them.";
const LENGTH: &str = "Number of characters.";

pub const FUNCTIONS: &[Function] = &[
    immutable(1317, "length", &[TEXT], INT4, length, LENGTH),
    immutable(1318, "length", &[BPCHAR], INT4, length, LENGTH),
    immutable(2010, "length", &[BYTEA], INT4, bytea_length, "Number of bytes."),
    immutable(1381, "char_length", &[TEXT], INT4, length, LENGTH),
    immutable(1372, "char_length", &[BPCHAR], INT4, length, LENGTH),
    immutable(1369, "character_length", &[TEXT], INT4, length, LENGTH),
    immutable(1367, "character_length", &[BPCHAR], INT4, length, LENGTH),
    immutable(1374, "octet_length", &[TEXT], INT4, octet_length, "Number of bytes."),
    immutable(720, "octet_length", &[BYTEA], INT4, bytea_length, "Number of bytes."),
    immutable(1811, "bit_length", &[TEXT], INT4, bit_length, "Number of bits."),
    immutable(871, "upper", &[TEXT], TEXT, upper, "The text in upper case."),
    immutable(870, "lower", &[TEXT], TEXT, lower, "The text in lower case."),
    immutable(872, "initcap", &[TEXT], TEXT, initcap, "Every word with a capital first."),
    immutable(885, "btrim", &[TEXT], TEXT, trim_both, TRIM),
    immutable(884, "btrim", &[TEXT, TEXT], TEXT, trim_both, TRIM),
    immutable(881, "ltrim", &[TEXT], TEXT, trim_left, LTRIM),
    immutable(875, "ltrim", &[TEXT, TEXT], TEXT, trim_left, LTRIM),
    immutable(882, "rtrim", &[TEXT], TEXT, trim_right, RTRIM),
    immutable(876, "rtrim", &[TEXT, TEXT], TEXT, trim_right, RTRIM),
    immutable(937, "substring", &[TEXT, INT4], TEXT, substring, SUBSTRING),
    immutable(936, "substring", &[TEXT, INT4, INT4], TEXT, substring, SUBSTRING),
    immutable(883, "substr", &[TEXT, INT4], TEXT, substring, SUBSTRING),
    immutable(877, "substr", &[TEXT, INT4, INT4], TEXT, substring, SUBSTRING),
    immutable(2013, "substring", &[BYTEA, INT4], BYTEA, bytea_substring, SUBSTRING),
    immutable(2012, "substring", &[BYTEA, INT4, INT4], BYTEA, bytea_substring, SUBSTRING),
    immutable(2086, "substr", &[BYTEA, INT4], BYTEA, bytea_substring, SUBSTRING),
    immutable(2085, "substr", &[BYTEA, INT4, INT4], BYTEA, bytea_substring, SUBSTRING),
    immutable(868, "strpos", &[TEXT, TEXT], INT4, strpos, "1-based position of a part, 0 where it is none."),
    immutable(849, "position", &[TEXT, TEXT], INT4, strpos, "1-based position of a part, 0 where it is none."),
    immutable(2087, "replace", &[TEXT, TEXT, TEXT], TEXT, replace, "Every occurrence of a part replaced."),
    immutable(878, "translate", &[TEXT, TEXT, TEXT], TEXT, translate, "Characters replaced by others, one for one."),
    immutable(
        2088,
        "split_part",
        &[TEXT, TEXT, INT4],
        TEXT,
        split_part,
        "The n-th field of a delimited text; negative from the end.",
    ),
    immutable(3060, "left", &[TEXT, INT4], TEXT, left, "The first n characters; negative: all but the last n."),
    immutable(3061, "right", &[TEXT, INT4], TEXT, right, "The last n characters; negative: all but the first n."),
    immutable(879, "lpad", &[TEXT, INT4], TEXT, lpad, "Filled up on the left to a length."),
    immutable(873, "lpad", &[TEXT, INT4, TEXT], TEXT, lpad, "Filled up on the left to a length."),
    immutable(880, "rpad", &[TEXT, INT4], TEXT, rpad, "Filled up on the right to a length."),
    immutable(874, "rpad", &[TEXT, INT4, TEXT], TEXT, rpad, "Filled up on the right to a length."),
    immutable(1622, "repeat", &[TEXT, INT4], TEXT, repeat, "The text n times."),
    immutable(3062, "reverse", &[TEXT], TEXT, reverse, "The characters in reverse order."),
    immutable(3696, "starts_with", &[TEXT, TEXT], BOOL, starts_with, "Whether the text begins with another."),
    immutable(1405, "overlay", &[TEXT, TEXT, INT4], TEXT, overlay, "A part replaced by another text."),
    immutable(1404, "overlay", &[TEXT, TEXT, INT4, INT4], TEXT, overlay, "A part replaced by another text."),
    immutable(1620, "ascii", &[TEXT], INT4, ascii, "Code point of the first character."),
    immutable(1621, "chr", &[INT4], TEXT, chr, "The character of a code point."),
    immutable(1282, "quote_ident", &[TEXT], TEXT, quote_ident, "A name, quoted where SQL needs it."),
    immutable(1283, "quote_literal", &[TEXT], TEXT, quote_literal, "The text as a string literal."),
    built(1285, "quote_literal", &[ANYELEMENT], TEXT, build_quote_literal, "The value as a string literal.").stable(),
    built(
        1290,
        "quote_nullable",
        &[ANYELEMENT],
        TEXT,
        build_quote_nullable,
        "The value as a string literal; NULL as NULL.",
    )
    .stable(),
    immutable(1289, "quote_nullable", &[TEXT], TEXT, quote_nullable, "The text as a string literal; NULL as NULL."),
    immutable(1637, "like_escape", &[TEXT, TEXT], TEXT, like_escape, "A LIKE pattern with another escape character."),
    built(3058, "concat", &[ANY], TEXT, build_concat, "All arguments that are not NULL, joined.").variadic().stable(),
    built(
        3059,
        "concat_ws",
        &[TEXT, ANY],
        TEXT,
        build_concat_ws,
        "The arguments that are not NULL, with a separator between.",
    )
    .variadic()
    .stable(),
];

pub const OPERATORS: &[Operator] = &[
    operator(654, "||", TEXT, TEXT, TEXT, "textcat", concat_two, "Texts joined."),
    operator(2018, "||", BYTEA, BYTEA, BYTEA, "byteacat", bytea_concat, "Bytes joined."),
    operator(3877, "^@", TEXT, TEXT, BOOL, "starts_with", starts_with, "Whether the text begins with another."),
    Operator {
        body: super::entry::Body::Rewrite(build_textual),
        ..operator(2779, "||", TEXT, ANYNONARRAY, TEXT, "textanycat", concat_two, "A text and the text of any value.")
    },
    Operator {
        body: super::entry::Body::Rewrite(build_textual),
        ..operator(2780, "||", ANYNONARRAY, TEXT, TEXT, "anytextcat", concat_two, "The text of any value and a text.")
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_a_quarter_of_a_gigabyte_are_too_many() {
        assert_eq!(bits((1 << 28) - 1), Ok(i32::MAX - 7));
        assert_eq!(bits(1 << 28).unwrap_err().state(), SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }
}
