//! jsonb with a part put in, replaced or taken out by its path; objects from arrays of text; indented text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, StringBuilder};

use super::entry::{Function, Operator, immutable, operator};
use super::kernel::Call;
use super::strict::strict1;
use crate::error::{Error, Result, SqlState};
use crate::types::builder::push_text;
use crate::types::json::{self, Value, write_string};
use crate::types::pg_type::oid::*;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// What is done at the end of a path.
#[derive(Clone, Copy)]
enum Change<'a> {
    /// Replaced; with `create` also put where nothing is.
    Set {
        new: &'a Value,
        create: bool,
    },
    /// Put before, or `after`, an element; as a field that must not be there.
    Insert {
        new: &'a Value,
        after: bool,
    },
    Delete,
}

/// A step's place in an array of this length: before it (negative), in it, or behind.
fn place(step: &str, number: usize, length: usize) -> Result<i64> {
    let index: i32 = step.trim().parse().map_err(|_| {
        let message = format!("path element at position {} is not an integer: \"{step}\"", number + 1);
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    })?;
    Ok(if index < 0 { length as i64 + i64::from(index) } else { i64::from(index) })
}

fn changed(value: Value, path: &[&str], number: usize, change: Change) -> Result<Value> {
    let Some(step) = path.get(number) else { return Ok(value) };
    // What is empty as a whole is not asked what its steps are like, where nothing can be put into it.
    let puts = matches!(change, Change::Insert { .. } | Change::Set { create: true, .. });
    if number == 0 && !puts && value.is_empty() {
        return Ok(value);
    }
    let last = number + 1 == path.len();
    Ok(match value {
        Value::Object(mut fields) => {
            let found = fields.iter().position(|(key, _)| key == step);
            match (found, last, change) {
                (Some(at), false, _) => {
                    let inner = std::mem::replace(&mut fields[at].1, Value::Null);
                    fields[at].1 = changed(inner, path, number + 1, change)?;
                }
                (Some(at), true, Change::Set { new, .. }) => fields[at].1 = new.clone(),
                (Some(at), true, Change::Delete) => drop(fields.remove(at)),
                (Some(_), true, Change::Insert { .. }) => {
                    return Err(invalid("cannot replace existing key")
                        .with_hint("Try using the function jsonb_set to replace key value."));
                }
                (None, true, Change::Set { new, create: true } | Change::Insert { new, .. }) => {
                    fields.push((step.to_string(), new.clone()));
                }
                _ => {}
            }
            Value::object(fields)
        }
        Value::Array(mut items) => {
            let at = place(step, number, items.len())?;
            let within = at >= 0 && (at as usize) < items.len();
            match (within, last, change) {
                (true, false, _) => {
                    let at = at as usize;
                    let inner = std::mem::replace(&mut items[at], Value::Null);
                    items[at] = changed(inner, path, number + 1, change)?;
                }
                (true, true, Change::Set { new, .. }) => items[at as usize] = new.clone(),
                (true, true, Change::Delete) => drop(items.remove(at as usize)),
                (true, true, Change::Insert { new, after }) => {
                    items.insert(at as usize + usize::from(after), new.clone());
                }
                (false, true, Change::Set { new, create: true } | Change::Insert { new, .. }) => {
                    let at = if at < 0 { 0 } else { items.len() };
                    items.insert(at, new.clone());
                }
                _ => {}
            }
            Value::Array(items)
        }
        scalar => scalar,
    })
}

/// The steps of a path; 22004 for a NULL among them.
fn steps(path: &StringArray) -> Result<Vec<&str>> {
    path.iter()
        .enumerate()
        .map(|(n, step)| {
            step.ok_or_else(|| {
                let message = format!("path element at position {} is null", n + 1);
                Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message)
            })
        })
        .collect()
}

/// Over (jsonb, path, ...): NULL where any argument is.
fn by_path(call: &Call, f: impl Fn(Value, &[&str], usize) -> Result<Value>) -> Result<ArrayRef> {
    let values = call.args[0].cast::<StringArray>()?;
    let paths = call.args[1].array.as_list::<i32>();
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        if call.args.iter().any(|arg| arg.is_null(row)) {
            out.append_null();
            continue;
        }
        let path = paths.value(call.args[1].index(row));
        let value = json::parse(values.value(call.args[0].index(row)))?;
        push_text(&mut out, Some(&f(value, &steps(path.as_string::<i32>())?, row)?.to_text()))?;
    }
    Ok(Arc::new(out.finish()))
}

/// The new value and the flag behind it.
fn new_and_flag(call: &Call, row: usize, default: bool) -> Result<(Value, bool)> {
    let new = call.args[2].cast::<StringArray>()?.value(call.args[2].index(row));
    let flag = match call.args.get(3) {
        Some(flag) => flag.cast::<BooleanArray>()?.value(flag.index(row)),
        None => default,
    };
    Ok((json::parse(new)?, flag))
}

fn not_scalar(value: &Value, what: &str) -> Result<()> {
    match value {
        Value::Array(_) | Value::Object(_) => Ok(()),
        _ => Err(invalid(format!("cannot {what} path in scalar"))),
    }
}

fn set(call: &Call) -> Result<ArrayRef> {
    by_path(call, |value, path, row| {
        not_scalar(&value, "set")?;
        let (new, create) = new_and_flag(call, row, true)?;
        changed(value, path, 0, Change::Set { new: &new, create })
    })
}

fn insert(call: &Call) -> Result<ArrayRef> {
    by_path(call, |value, path, row| {
        not_scalar(&value, "set")?;
        let (new, after) = new_and_flag(call, row, false)?;
        changed(value, path, 0, Change::Insert { new: &new, after })
    })
}

fn delete_path(call: &Call) -> Result<ArrayRef> {
    by_path(call, |value, path, _| {
        not_scalar(&value, "delete")?;
        changed(value, path, 0, Change::Delete)
    })
}

fn delete_keys(call: &Call) -> Result<ArrayRef> {
    let values = call.args[0].cast::<StringArray>()?;
    let keys = call.args[1].array.as_list::<i32>();
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        if call.args.iter().any(|arg| arg.is_null(row)) {
            out.append_null();
            continue;
        }
        let keys = keys.value(call.args[1].index(row));
        let among = |text: &str| keys.as_string::<i32>().iter().flatten().any(|key| key == text);
        let left = match json::parse(values.value(call.args[0].index(row)))? {
            Value::Object(mut fields) => {
                fields.retain(|(key, _)| !among(key));
                Value::Object(fields)
            }
            Value::Array(mut items) => {
                items.retain(|item| !matches!(item, Value::String(text) if among(text)));
                Value::Array(items)
            }
            _ => return Err(invalid("cannot delete from scalar")),
        };
        push_text(&mut out, Some(&left.to_text()))?;
    }
    Ok(Arc::new(out.finish()))
}

fn indented(value: &Value, depth: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', 4 * depth));
    };
    match value {
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                line(out, depth + 1);
                indented(item, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (n, (key, value)) in fields.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                line(out, depth + 1);
                write_string(out, key);
                out.push_str(": ");
                indented(value, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        scalar => scalar.write(out),
    }
}

fn pretty(call: &Call) -> Result<ArrayRef> {
    strict1(call, |value: &str| {
        let mut out = String::new();
        indented(&json::parse(value)?, 0, &mut out);
        Ok(out)
    })
}

/// An object of keys and values, both as text.
fn object_of<'a>(pairs: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> Result<String> {
    let mut fields = Vec::new();
    for (key, value) in pairs {
        let key =
            key.ok_or_else(|| Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key"))?;
        fields.push((key.to_string(), value.map_or(Value::Null, |value| Value::String(value.to_string()))));
    }
    Ok(Value::object(fields).to_text())
}

fn object(call: &Call) -> Result<ArrayRef> {
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        if call.args.iter().any(|arg| arg.is_null(row)) {
            out.append_null();
            continue;
        }
        let list = |n: usize| call.args[n].array.as_list::<i32>().value(call.args[n].index(row));
        let (first, second) = (list(0), call.args.get(1).map(|_| list(1)));
        let texts = first.as_string::<i32>();
        let at = |n: usize| texts.is_valid(n).then(|| texts.value(n));
        let object = match &second {
            Some(values) if values.len() != texts.len() => {
                return Err(Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "mismatched array dimensions"));
            }
            Some(values) => object_of(texts.iter().zip(values.as_string::<i32>()))?,
            None if texts.len() % 2 == 1 => {
                return Err(Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "array must have even number of elements"));
            }
            None => object_of((0..texts.len() / 2).map(|n| (at(2 * n), at(2 * n + 1))))?,
        };
        push_text(&mut out, Some(&object))?;
    }
    Ok(Arc::new(out.finish()))
}

const SET: &str = "With the value at a path replaced.";
const INSERT: &str = "With a value put at a path.";
const OBJECT: &str = "A JSON object of texts.";

pub const FUNCTIONS: &[Function] = &[
    immutable(3305, "jsonb_set", &[JSONB, TEXT_ARRAY, JSONB], JSONB, set, SET),
    immutable(3305, "jsonb_set", &[JSONB, TEXT_ARRAY, JSONB, BOOL], JSONB, set, SET),
    immutable(3579, "jsonb_insert", &[JSONB, TEXT_ARRAY, JSONB], JSONB, insert, INSERT),
    immutable(3579, "jsonb_insert", &[JSONB, TEXT_ARRAY, JSONB, BOOL], JSONB, insert, INSERT),
    immutable(3306, "jsonb_pretty", &[JSONB], TEXT, pretty, "Indented text of a JSON value."),
    immutable(3263, "jsonb_object", &[TEXT_ARRAY], JSONB, object, OBJECT),
    immutable(3264, "jsonb_object", &[TEXT_ARRAY, TEXT_ARRAY], JSONB, object, OBJECT),
    immutable(3202, "json_object", &[TEXT_ARRAY], JSONB, object, OBJECT),
    immutable(3203, "json_object", &[TEXT_ARRAY, TEXT_ARRAY], JSONB, object, OBJECT),
];

pub const OPERATORS: &[Operator] = &[
    operator(3398, "-", JSONB, TEXT_ARRAY, JSONB, "jsonb_delete", delete_keys, "Without some keys."),
    operator(3287, "#-", JSONB, TEXT_ARRAY, JSONB, "jsonb_delete_path", delete_path, "Without the value at a path."),
];
