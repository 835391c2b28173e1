//! jsonb operators and functions. Reading scans canonical text; only what changes a value builds a tree.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{Float32Type, Float64Type};
use bytes::BytesMut;
use datafusion::logical_expr::Volatility;

use super::entry::{Function, Operator, Typed, built, immutable, kernel_call, operator, text_literal};
use super::kernel::Call;
use super::scope;
use super::strict::{strict1, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::builder::push_text;
use crate::types::json::{self, Cursor, Value};
use crate::types::pg_type::oid::*;
use crate::types::{TextSettings, Type, Zone, datetime, float, text};

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn object_field(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: &str, key: &str| Ok(Cursor::new(value).field(key).map(|found| found.text.to_string())))
}

/// An element of an array; a scalar is an array of itself.
fn element(value: &str, n: i32) -> Option<Cursor<'_>> {
    let cursor = Cursor::new(value);
    match cursor.is_array() || cursor.is_object() {
        true => cursor.element(n.into()),
        false => (n == 0 || n == -1).then_some(cursor),
    }
}

fn array_element(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: &str, n: i32| Ok(element(value, n).map(|found| found.text.to_string())))
}

fn as_text(found: Option<Cursor>) -> Option<String> {
    let mut out = String::new();
    found?.write_text(&mut out).then_some(out)
}

fn object_field_text(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: &str, key: &str| Ok(as_text(Cursor::new(value).field(key))))
}

fn array_element_text(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: &str, n: i32| Ok(as_text(element(value, n))))
}

/// A value by a path of keys and positions.
fn walk<'a>(value: &'a str, path: &StringArray) -> Option<Cursor<'a>> {
    let mut at = Cursor::new(value);
    for step in path {
        let step = step?;
        at = if at.is_array() { at.element(step.trim().parse().ok()?)? } else { at.field(step)? };
    }
    Some(at)
}

/// Over a jsonb and a text[]; a NULL in the path is no value.
fn by_path(call: &Call, f: impl Fn(Option<Cursor>) -> Option<String>) -> Result<ArrayRef> {
    let values = call.args[0].cast::<StringArray>()?;
    let paths = call.args[1].array.as_list::<i32>();
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if values.is_null(i) || paths.is_null(j) {
            out.append_null();
            continue;
        }
        let path = paths.value(j);
        out.append_option(f(walk(values.value(i), path.as_string::<i32>())));
    }
    Ok(Arc::new(out.finish()))
}

fn extract_path(call: &Call) -> Result<ArrayRef> {
    by_path(call, |found| found.map(|found| found.text.to_string()))
}

fn extract_path_text(call: &Call) -> Result<ArrayRef> {
    by_path(call, as_text)
}

/// The same over one text argument a step.
fn by_steps(call: &Call, f: impl Fn(Option<Cursor>) -> Option<String>) -> Result<ArrayRef> {
    let columns = call.args.iter().map(|arg| arg.cast::<StringArray>()).collect::<Result<Vec<_>>>()?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        if call.args.iter().any(|arg| arg.is_null(row)) {
            out.append_null();
            continue;
        }
        let step = |n: usize| columns[n].value(call.args[n].index(row));
        let path = StringArray::from_iter_values((1..columns.len()).map(step));
        out.append_option(f(walk(step(0), &path)));
    }
    Ok(Arc::new(out.finish()))
}

fn build_path(args: Vec<Typed>) -> Result<Typed> {
    Ok(kernel_call("jsonb_extract_path", args, Type::Jsonb, Volatility::Immutable, |call| {
        by_steps(call, |found| found.map(|found| found.text.to_string()))
    }))
}

fn build_path_text(args: Vec<Typed>) -> Result<Typed> {
    Ok(kernel_call("jsonb_extract_path_text", args, Type::Text, Volatility::Immutable, |call| by_steps(call, as_text)))
}

fn has_key(value: Cursor, key: &str) -> bool {
    if value.is_array() {
        return value
            .elements()
            .any(|element| element.text.starts_with('"') && as_text(Some(element)).is_some_and(|text| text == key));
    }
    if value.text.starts_with('"') {
        return as_text(Some(value)).is_some_and(|text| text == key);
    }
    value.field(key).is_some()
}

fn exists(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: &str, key: &str| Ok(has_key(Cursor::new(value), key)))
}

fn exists_of(call: &Call, all: bool) -> Result<ArrayRef> {
    let values = call.args[0].cast::<StringArray>()?;
    let keys = call.args[1].array.as_list::<i32>();
    let mut out = arrow::array::BooleanBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if values.is_null(i) || keys.is_null(j) {
            out.append_null();
            continue;
        }
        let keys = keys.value(j);
        let value = Cursor::new(values.value(i));
        let mut found = keys.as_string::<i32>().iter().flatten().map(|key| has_key(value, key));
        out.append_value(if all { found.all(|found| found) } else { found.any(|found| found) });
    }
    Ok(Arc::new(out.finish()))
}

fn exists_any(call: &Call) -> Result<ArrayRef> {
    exists_of(call, false)
}

fn exists_all(call: &Call) -> Result<ArrayRef> {
    exists_of(call, true)
}

/// Numbers are equal whatever their trailing zeros.
fn number_key(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number_key(a) == number_key(b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1))
        }
        _ => a == b,
    }
}

/// `whole @> part`. At the top an array also contains a bare scalar.
fn contains_value(whole: &Value, part: &Value, top: bool) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.iter().any(|(own, held)| own == key && contains_value(held, value, false))),
        (Value::Array(whole), Value::Array(part)) => part.iter().all(|value| {
            whole.iter().any(|held| match value {
                Value::Array(_) | Value::Object(_) => contains_value(held, value, false),
                scalar => same(held, scalar),
            })
        }),
        (Value::Array(whole), scalar) if top && !matches!(scalar, Value::Object(_)) => {
            whole.iter().any(|held| same(held, scalar))
        }
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => false,
        (whole, part) => same(whole, part),
    }
}

fn contains(call: &Call) -> Result<ArrayRef> {
    strict2(call, |whole: &str, part: &str| Ok(contains_value(&json::parse(whole)?, &json::parse(part)?, true)))
}

fn contained(call: &Call) -> Result<ArrayRef> {
    strict2(call, |part: &str, whole: &str| Ok(contains_value(&json::parse(whole)?, &json::parse(part)?, true)))
}

fn concat(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: &str, b: &str| {
        let joined = match (json::parse(a)?, json::parse(b)?) {
            (Value::Object(mut a), Value::Object(b)) => {
                a.extend(b);
                Value::object(a)
            }
            (a, b) => {
                let items = |value: Value| match value {
                    Value::Array(items) => items,
                    other => vec![other],
                };
                let mut all = items(a);
                all.extend(items(b));
                Value::Array(all)
            }
        };
        Ok(joined.to_text())
    })
}

fn delete_key(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: &str, key: &str| match json::parse(value)? {
        Value::Object(mut fields) => {
            fields.retain(|(own, _)| own != key);
            Ok(Value::Object(fields).to_text())
        }
        Value::Array(mut items) => {
            items.retain(|item| !matches!(item, Value::String(text) if text == key));
            Ok(Value::Array(items).to_text())
        }
        _ => Err(invalid("cannot delete from scalar")),
    })
}

fn delete_element(call: &Call) -> Result<ArrayRef> {
    strict2(call, |value: &str, n: i32| match json::parse(value)? {
        Value::Array(mut items) => {
            let at = if n < 0 { items.len() as i64 + i64::from(n) } else { i64::from(n) };
            if at >= 0 && (at as usize) < items.len() {
                items.remove(at as usize);
            }
            Ok(Value::Array(items).to_text())
        }
        Value::Object(_) => Err(invalid("cannot delete from object using integer index")),
        _ => Err(invalid("cannot delete from scalar")),
    })
}

fn type_of(call: &Call) -> Result<ArrayRef> {
    strict1(call, |value: &str| Ok(Cursor::new(value).type_name().to_string()))
}

fn array_length(call: &Call) -> Result<ArrayRef> {
    strict1(call, |value: &str| {
        let cursor = Cursor::new(value);
        if cursor.is_array() {
            return Ok(cursor.elements().count() as i32);
        }
        let what = if cursor.is_object() { "a non-array" } else { "a scalar" };
        Err(invalid(format!("cannot get array length of {what}")))
    })
}

fn stripped(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| *value != Value::Null)
                .map(|(key, value)| (key, stripped(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(stripped).collect()),
        other => other,
    }
}

fn strip_nulls(call: &Call) -> Result<ArrayRef> {
    strict1(call, |value: &str| Ok(stripped(json::parse(value)?).to_text()))
}

/// Writes a column's value as JSON: numbers and booleans bare, jsonb as it is, rows and arrays by their parts, all else
/// as a string in its text form (timestamps with a T).
type JsonPrinter<'a> = Box<dyn Fn(usize, &mut String) -> Result<()> + 'a>;

fn json_printer<'a>(ty: &'a Type, array: &'a ArrayRef, settings: &'a TextSettings) -> Result<JsonPrinter<'a>> {
    let quoted = |out: &mut String, text: &str| json::write_string(out, text);
    let inner: JsonPrinter = match ty {
        Type::Bool => {
            let values = array.as_boolean();
            Box::new(move |row, out| {
                out.push_str(if values.value(row) { "true" } else { "false" });
                Ok(())
            })
        }
        Type::Jsonb => {
            let values = array.as_string::<i32>();
            Box::new(move |row, out| {
                out.push_str(values.value(row));
                Ok(())
            })
        }
        Type::Timestamp | Type::Timestamptz => {
            let values = array.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            Box::new(move |row, out| {
                out.push('"');
                match ty {
                    Type::Timestamp => datetime::write_timestamp(out, values.value(row), 'T'),
                    _ => datetime::write_timestamptz(out, values.value(row), &settings.zone, 'T'),
                }
                out.push('"');
                Ok(())
            })
        }
        Type::Array(item) => {
            let list = array.as_list::<i32>();
            let print = json_printer(item, list.values(), settings)?;
            Box::new(move |row, out| {
                let offsets = list.value_offsets();
                out.push('[');
                for (n, index) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
                    if n > 0 {
                        out.push_str(", ");
                    }
                    print(index, out)?;
                }
                out.push(']');
                Ok(())
            })
        }
        Type::Struct(fields) => {
            let columns = array.as_struct();
            let prints = fields
                .iter()
                .zip(columns.columns())
                .map(|(field, column)| Ok((field.name.as_str(), json_printer(&field.ty, column, settings)?)))
                .collect::<Result<Vec<_>>>()?;
            Box::new(move |row, out| {
                let mut text = String::from("{");
                for (n, (name, print)) in prints.iter().enumerate() {
                    if n > 0 {
                        text.push(',');
                    }
                    quoted(&mut text, name);
                    text.push(':');
                    print(row, &mut text)?;
                }
                text.push('}');
                out.push_str(&json::canonical(&text)?);
                Ok(())
            })
        }
        _ => {
            let print = text::printer(ty, array, settings)?;
            let bare = ty.is_integer() || ty.is_numeric() || matches!(ty, Type::Float4 | Type::Float8);
            Box::new(move |row, out| {
                let mut scratch = BytesMut::new();
                print(row, &mut scratch);
                let text = std::str::from_utf8(&scratch).map_err(Error::internal)?;
                // NaN and the infinities are no JSON numbers; an exponent is written out.
                if bare && text.ends_with(|c: char| c.is_ascii_digit()) {
                    out.push_str(&if text.contains('e') { json::canonical(text)? } else { text.to_string() });
                } else {
                    quoted(out, text);
                }
                Ok(())
            })
        }
    };
    Ok(Box::new(move |row, out| {
        if array.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        inner(row, out)
    }))
}

fn settings_of(call: &Call) -> Result<TextSettings> {
    let zone = call.constant_text(call.args.len() - 1)?.map(Zone::parse).transpose()?;
    Ok(TextSettings::in_zone(zone.unwrap_or(Zone::UTC)))
}

fn to_jsonb(call: &Call) -> Result<ArrayRef> {
    let settings = settings_of(call)?;
    let array = &call.args[0].array;
    let print = json_printer(&call.types[0], array, &settings)?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    let mut scratch = String::new();
    for row in 0..call.rows {
        let index = call.args[0].index(row);
        if array.is_null(index) {
            out.append_null();
            continue;
        }
        scratch.clear();
        print(index, &mut scratch)?;
        push_text(&mut out, Some(&scratch))?;
    }
    Ok(Arc::new(out.finish()))
}

pub fn build_to_jsonb(mut args: Vec<Typed>) -> Result<Typed> {
    args.push(text_literal(scope::time_zone()));
    Ok(kernel_call("to_jsonb", args, Type::Jsonb, Volatility::Immutable, to_jsonb))
}

/// The arguments but the last, which is the zone, as JSON; joined by `join` into one value a row.
fn built_of(call: &Call, join: impl Fn(Vec<String>, usize) -> Result<String>) -> Result<ArrayRef> {
    let settings = settings_of(call)?;
    let count = call.args.len() - 1;
    let prints =
        (0..count).map(|n| json_printer(&call.types[n], &call.args[n].array, &settings)).collect::<Result<Vec<_>>>()?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        let mut parts = Vec::with_capacity(count);
        for (n, print) in prints.iter().enumerate() {
            let mut part = String::new();
            print(call.args[n].index(row), &mut part)?;
            parts.push(part);
        }
        push_text(&mut out, Some(&join(parts, row)?))?;
    }
    Ok(Arc::new(out.finish()))
}

fn build_array(call: &Call) -> Result<ArrayRef> {
    built_of(call, |parts, _| Ok(format!("[{}]", parts.join(", "))))
}

/// A float is the key that its text is, where as a value of JSON it is all its digits.
fn float_key(call: &Call, n: usize, row: usize) -> String {
    let (array, at) = (&call.args[n].array, call.args[n].index(row));
    let mut key = String::new();
    match call.types[n] {
        Type::Float4 => float::write_f32(&mut key, array.as_primitive::<Float32Type>().value(at)),
        _ => float::write_f64(&mut key, array.as_primitive::<Float64Type>().value(at)),
    }
    key
}

fn build_object(call: &Call) -> Result<ArrayRef> {
    built_of(call, |parts, row| {
        let mut fields = Vec::with_capacity(parts.len() / 2);
        for (n, pair) in parts.chunks(2).enumerate() {
            if call.args[n * 2].is_null(row) {
                return Err(invalid(format!("argument {}: key must not be null", n * 2 + 1)));
            }
            let key = match json::parse(&pair[0])? {
                _ if matches!(call.types[n * 2], Type::Float4 | Type::Float8) => float_key(call, n * 2, row),
                Value::String(text) => text,
                Value::Array(_) | Value::Object(_) => {
                    return Err(invalid("key value must be scalar, not array, composite, or json"));
                }
                other => other.to_text(),
            };
            fields.push((key, json::parse(&pair[1])?));
        }
        Ok(Value::object(fields).to_text())
    })
}

fn rewrite_array(mut args: Vec<Typed>) -> Result<Typed> {
    args.push(text_literal(scope::time_zone()));
    Ok(kernel_call("jsonb_build_array", args, Type::Jsonb, Volatility::Immutable, build_array))
}

fn rewrite_object(mut args: Vec<Typed>) -> Result<Typed> {
    if args.len() % 2 == 1 {
        return Err(invalid("argument list must have even number of elements")
            .with_hint("The arguments of jsonb_build_object() must consist of alternating keys and values."));
    }
    args.push(text_literal(scope::time_zone()));
    Ok(kernel_call("jsonb_build_object", args, Type::Jsonb, Volatility::Immutable, build_object))
}

const BUILD_ARRAY: &str = "A JSON array of the arguments.";
const BUILD_OBJECT: &str = "A JSON object of alternating keys and values.";
const TO_JSONB: &str = "Any value as JSON.";

pub const FUNCTIONS: &[Function] = &[
    immutable(
        3210,
        "jsonb_typeof",
        &[JSONB],
        TEXT,
        type_of,
        "Kind of a JSON value: object, array, string, number, boolean, null.",
    ),
    immutable(3968, "json_typeof", &[JSONB], TEXT, type_of, "Kind of a JSON value."),
    immutable(3207, "jsonb_array_length", &[JSONB], INT4, array_length, "Number of elements of a JSON array."),
    immutable(3956, "json_array_length", &[JSONB], INT4, array_length, "Number of elements of a JSON array."),
    immutable(3262, "jsonb_strip_nulls", &[JSONB], JSONB, strip_nulls, "Without the fields that are null."),
    immutable(3261, "json_strip_nulls", &[JSONB], JSONB, strip_nulls, "Without the fields that are null."),
    built(3951, "json_extract_path", &[JSONB, TEXT], JSONB, build_path, "The value at a path.").variadic(),
    built(3953, "json_extract_path_text", &[JSONB, TEXT], TEXT, build_path_text, "The value at a path, as text.")
        .variadic(),
    immutable(4046, "jsonb_contains", &[JSONB, JSONB], BOOL, contains, "Whether the first contains the second."),
    immutable(4047, "jsonb_exists", &[JSONB, TEXT], BOOL, exists, "Whether a key or string is in the value."),
    built(3217, "jsonb_extract_path", &[JSONB, TEXT], JSONB, build_path, "The value at a path.").variadic(),
    built(3940, "jsonb_extract_path_text", &[JSONB, TEXT], TEXT, build_path_text, "The value at a path, as text.")
        .variadic(),
    built(3787, "to_jsonb", &[ANYELEMENT], JSONB, build_to_jsonb, TO_JSONB).stable(),
    built(3176, "to_json", &[ANYELEMENT], JSONB, build_to_jsonb, TO_JSONB).stable(),
    built(3153, "array_to_json", &[ANYARRAY], JSONB, build_to_jsonb, "An array as a JSON array.").stable(),
    built(3155, "row_to_json", &[RECORD], JSONB, build_to_jsonb, "A row as a JSON object.").stable(),
    built(3272, "jsonb_build_array", &[], JSONB, rewrite_array, BUILD_ARRAY).stable(),
    built(3271, "jsonb_build_array", &[ANY], JSONB, rewrite_array, BUILD_ARRAY).variadic().stable(),
    built(3199, "json_build_array", &[], JSONB, rewrite_array, BUILD_ARRAY).stable(),
    built(3198, "json_build_array", &[ANY], JSONB, rewrite_array, BUILD_ARRAY).variadic().stable(),
    built(3274, "jsonb_build_object", &[], JSONB, rewrite_object, BUILD_OBJECT).stable(),
    built(3273, "jsonb_build_object", &[ANY], JSONB, rewrite_object, BUILD_OBJECT).variadic().stable(),
    built(3201, "json_build_object", &[], JSONB, rewrite_object, BUILD_OBJECT).stable(),
    built(3200, "json_build_object", &[ANY], JSONB, rewrite_object, BUILD_OBJECT).variadic().stable(),
];

pub const OPERATORS: &[Operator] = &[
    operator(3211, "->", JSONB, TEXT, JSONB, "jsonb_object_field", object_field, "A field of an object."),
    operator(
        3212,
        "->",
        JSONB,
        INT4,
        JSONB,
        "jsonb_array_element",
        array_element,
        "An element of an array, from 0; negative from the end.",
    ),
    operator(
        3477,
        "->>",
        JSONB,
        TEXT,
        TEXT,
        "jsonb_object_field_text",
        object_field_text,
        "A field of an object, as text.",
    ),
    operator(
        3481,
        "->>",
        JSONB,
        INT4,
        TEXT,
        "jsonb_array_element_text",
        array_element_text,
        "An element of an array, as text.",
    ),
    operator(3213, "#>", JSONB, TEXT_ARRAY, JSONB, "jsonb_extract_path", extract_path, "The value at a path."),
    operator(
        3206,
        "#>>",
        JSONB,
        TEXT_ARRAY,
        TEXT,
        "jsonb_extract_path_text",
        extract_path_text,
        "The value at a path, as text.",
    ),
    operator(3247, "?", JSONB, TEXT, BOOL, "jsonb_exists", exists, "Whether a key or string is in the value."),
    operator(
        3248,
        "?|",
        JSONB,
        TEXT_ARRAY,
        BOOL,
        "jsonb_exists_any",
        exists_any,
        "Whether any of the keys is in the value.",
    ),
    operator(3249, "?&", JSONB, TEXT_ARRAY, BOOL, "jsonb_exists_all", exists_all, "Whether all keys are in the value."),
    operator(3246, "@>", JSONB, JSONB, BOOL, "jsonb_contains", contains, "Whether the left contains the right."),
    operator(3250, "<@", JSONB, JSONB, BOOL, "jsonb_contained", contained, "Whether the right contains the left."),
    operator(3284, "||", JSONB, JSONB, JSONB, "jsonb_concat", concat, "Arrays or objects joined."),
    operator(3285, "-", JSONB, TEXT, JSONB, "jsonb_delete", delete_key, "Without a key."),
    operator(3286, "-", JSONB, INT4, JSONB, "jsonb_delete", delete_element, "Without an element."),
];
