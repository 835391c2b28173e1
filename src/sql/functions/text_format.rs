//! format(): `%s`, `%I`, `%L`, positions (`%2$s`) and widths (`%-10s`, `%*s`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use datafusion::logical_expr::Volatility;

use super::entry::{Function, Typed, built, kernel_call};
use super::kernel::Call;
use super::output::printed;
use super::text::quoted_literal;
use crate::catalog::definition::quote_identifier;
use crate::error::{Error, Result, SqlState};
use crate::types::Type;
use crate::types::builder::push_text;
use crate::types::pg_type::oid::*;

fn invalid(message: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// Widths beyond this are refused: they can only be a mistake.
const MAX_WIDTH: usize = 1 << 20;

/// Writes one row; `arg(n)` is argument n from 1, `None` where there are fewer, `Some(None)` for NULL.
fn write<'a>(pattern: &str, arg: impl Fn(usize) -> Option<Option<&'a str>>, out: &mut String) -> Result<()> {
    let mut rest = pattern;
    let mut next = 1;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let number = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let digits = number(rest);
        let place = |digits: &str| match digits.parse() {
            Ok(0) => Err(invalid("format specifies argument 0, but arguments are numbered from 1")),
            Ok(place) => Ok(place),
            Err(_) => Err(invalid("number is out of range")),
        };
        let mut chosen = None;
        if digits > 0 && rest[digits..].starts_with('$') {
            chosen = Some(place(&rest[..digits])?);
            rest = &rest[digits + 1..];
        }
        let mut left = rest.starts_with('-');
        rest = rest.trim_start_matches('-');
        // `*`: the width is an argument too; one below zero is to the left.
        let mut given = 0;
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            let digits = number(rest);
            if digits > 0 && rest[digits..].starts_with('$') {
                next = place(&rest[..digits])?;
                rest = &rest[digits + 1..];
            }
            if let Some(text) = arg(next).ok_or_else(|| invalid("too few arguments for format()"))? {
                let width: i32 = text.trim().parse().map_err(|_| {
                    let message = format!("invalid input syntax for type integer: \"{text}\"");
                    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
                })?;
                left |= width < 0;
                given = width.unsigned_abs() as usize;
                if given > MAX_WIDTH {
                    return Err(invalid("number is out of range"));
                }
            }
            next += 1;
        }
        let digits = number(rest);
        let width: usize = if digits > 0 {
            rest[..digits]
                .parse()
                .ok()
                .filter(|&width| width <= MAX_WIDTH)
                .ok_or_else(|| invalid("number is out of range"))?
        } else {
            given
        };
        rest = &rest[digits..];
        let Some(kind) = rest.chars().next() else {
            return Err(invalid("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\"."));
        };
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(invalid(&format!("unrecognized format() type specifier \"{kind}\""))
                .with_hint("For a single \"%\" use \"%%\"."));
        }
        rest = &rest[1..];
        next = chosen.unwrap_or(next);
        let value = arg(next).ok_or_else(|| invalid("too few arguments for format()"))?;
        next += 1;
        let text = match (kind, value) {
            ('s', value) => value.unwrap_or("").to_string(),
            ('L', Some(value)) => quoted_literal(value),
            ('L', None) => "NULL".to_string(),
            (_, Some(value)) => quote_identifier(value),
            (_, None) => {
                return Err(Error::new(
                    SqlState::NULL_VALUE_NOT_ALLOWED,
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
        };
        let padding = width.saturating_sub(text.chars().count());
        if !left {
            out.extend(std::iter::repeat_n(' ', padding));
        }
        out.push_str(&text);
        if left {
            out.extend(std::iter::repeat_n(' ', padding));
        }
    }
    out.push_str(rest);
    Ok(())
}

fn format(call: &Call) -> Result<ArrayRef> {
    let columns = call.args.iter().map(|arg| arg.cast::<StringArray>()).collect::<Result<Vec<_>>>()?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 32);
    let mut scratch = String::new();
    for row in 0..call.rows {
        let value = |n: usize| {
            let column = columns.get(n)?;
            let index = call.args[n].index(row);
            Some((!column.is_null(index)).then(|| column.value(index)))
        };
        match value(0).flatten() {
            None => out.append_null(),
            Some(pattern) => {
                scratch.clear();
                write(pattern, value, &mut scratch)?;
                push_text(&mut out, Some(&scratch))?;
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

fn build_format(args: Vec<Typed>) -> Result<Typed> {
    let args = args.into_iter().map(printed).collect::<Result<_>>()?;
    Ok(kernel_call("format", args, Type::Text, Volatility::Immutable, format))
}

const FORMAT: &str = "A text with arguments put in: %s as text, %I as a name, %L as a literal.";

pub const FUNCTIONS: &[Function] = &[
    built(3540, "format", &[TEXT], TEXT, build_format, FORMAT).stable(),
    built(3539, "format", &[TEXT, ANY], TEXT, build_format, FORMAT).variadic().stable(),
];
