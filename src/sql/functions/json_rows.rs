//! The parts of a JSON value as rows: each function gives the array that is unnested.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StringArray, StringBuilder, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use super::entry::{Function, immutable};
use super::kernel::Call;
use crate::error::{Error, Result, SqlState};
use crate::types::builder::push_text;
use crate::types::json::Cursor;
use crate::types::pg_type::oid::*;
use crate::types::{StructField, Type};

fn invalid(message: String) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// What a value is, where another kind is due.
fn kind(value: &Cursor) -> &'static str {
    match value {
        value if value.is_array() => "an array",
        value if value.is_object() => "an object",
        _ => "a scalar",
    }
}

fn text_of(value: Cursor) -> Option<String> {
    let mut out = String::new();
    value.write_text(&mut out).then_some(out)
}

/// Takes a part.
type Put<'a> = dyn FnMut([Option<&str>; 2]) -> Result<()> + 'a;

/// A list a row of the parts that `each` hands over: one or two texts, as the result's element has columns.
fn parts(call: &Call, each: impl Fn(Cursor, &mut Put<'_>) -> Result<()>) -> Result<ArrayRef> {
    let values = call.args[0].cast::<StringArray>()?;
    let mut columns = [StringBuilder::new(), StringBuilder::new()];
    let (mut lengths, mut valid) = (Vec::with_capacity(call.rows), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let index = call.args[0].index(row);
        let mut length = 0;
        if !values.is_null(index) {
            each(Cursor::new(values.value(index)), &mut |part| {
                length += 1;
                columns.iter_mut().zip(part).try_for_each(|(column, text)| push_text(column, text))
            })?;
        }
        valid.push(!values.is_null(index));
        lengths.push(length);
    }
    let DataType::List(field) = call.result.arrow() else { return Err(Error::internal("parts of JSON are a list")) };
    let [mut first, mut second] = columns;
    let items: ArrayRef = match field.data_type() {
        DataType::Struct(fields) => {
            let columns: Vec<ArrayRef> = vec![Arc::new(first.finish()), Arc::new(second.finish())];
            Arc::new(StructArray::try_new(fields.clone(), columns, None)?)
        }
        _ => Arc::new(first.finish()),
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, items, Some(NullBuffer::from(valid)))?))
}

fn elements(call: &Call, as_text: bool) -> Result<ArrayRef> {
    parts(call, |value, put| {
        if !value.is_array() {
            return Err(invalid(format!("cannot extract elements from {}", kind(&value))));
        }
        for element in value.elements() {
            match as_text {
                true => put([text_of(element).as_deref(), None])?,
                false => put([Some(element.text), None])?,
            }
        }
        Ok(())
    })
}

fn array_elements(call: &Call) -> Result<ArrayRef> {
    elements(call, false)
}

fn array_elements_text(call: &Call) -> Result<ArrayRef> {
    elements(call, true)
}

fn object_keys(call: &Call) -> Result<ArrayRef> {
    parts(call, |value, put| {
        if !value.is_object() {
            return Err(invalid(format!("cannot call jsonb_object_keys on {}", kind(&value))));
        }
        value.fields().try_for_each(|(key, _)| put([text_of(Cursor::new(key)).as_deref(), None]))
    })
}

fn pairs(call: &Call, name: &str, as_text: bool) -> Result<ArrayRef> {
    parts(call, |value, put| {
        if !value.is_object() {
            return Err(invalid(format!("cannot call {name} on a non-object")));
        }
        for (key, value) in value.fields() {
            let key = text_of(Cursor::new(key));
            match as_text {
                true => put([key.as_deref(), text_of(value).as_deref()])?,
                false => put([key.as_deref(), Some(value.text)])?,
            }
        }
        Ok(())
    })
}

fn each(call: &Call) -> Result<ArrayRef> {
    pairs(call, "jsonb_each", false)
}

fn each_text(call: &Call) -> Result<ArrayRef> {
    pairs(call, "jsonb_each_text", true)
}

fn list_of(item: Type) -> Result<Type> {
    Ok(Type::Array(Box::new(item)))
}

fn jsonb_list(_: &[Type]) -> Result<Type> {
    list_of(Type::Jsonb)
}

fn text_list(_: &[Type]) -> Result<Type> {
    list_of(Type::Text)
}

fn fields(value: Type) -> Result<Type> {
    let field = |name: &str, ty: Type| StructField { name: name.to_string(), ty };
    list_of(Type::Struct(vec![field("key", Type::Text), field("value", value)]))
}

fn jsonb_fields(_: &[Type]) -> Result<Type> {
    fields(Type::Jsonb)
}

fn text_fields(_: &[Type]) -> Result<Type> {
    fields(Type::Text)
}

const ELEMENTS: &str = "A row an element of a JSON array.";
const ELEMENTS_TEXT: &str = "A row an element of a JSON array, as text.";
const KEYS: &str = "A row a key of a JSON object.";
const EACH: &str = "A row a field of a JSON object: key and value.";
const EACH_TEXT: &str = "A row a field of a JSON object: key and value, as text.";

pub const FUNCTIONS: &[Function] = &[
    immutable(3219, "jsonb_array_elements", &[JSONB], JSONB, array_elements, ELEMENTS).derived(jsonb_list),
    immutable(3955, "json_array_elements", &[JSONB], JSONB, array_elements, ELEMENTS).derived(jsonb_list),
    immutable(3465, "jsonb_array_elements_text", &[JSONB], TEXT, array_elements_text, ELEMENTS_TEXT).derived(text_list),
    immutable(3969, "json_array_elements_text", &[JSONB], TEXT, array_elements_text, ELEMENTS_TEXT).derived(text_list),
    immutable(3931, "jsonb_object_keys", &[JSONB], TEXT, object_keys, KEYS).derived(text_list),
    immutable(3957, "json_object_keys", &[JSONB], TEXT, object_keys, KEYS).derived(text_list),
    immutable(3208, "jsonb_each", &[JSONB], RECORD, each, EACH).derived(jsonb_fields),
    immutable(3958, "json_each", &[JSONB], RECORD, each, EACH).derived(jsonb_fields),
    immutable(3932, "jsonb_each_text", &[JSONB], RECORD, each_text, EACH_TEXT).derived(text_fields),
    immutable(3959, "json_each_text", &[JSONB], RECORD, each_text, EACH_TEXT).derived(text_fields),
];
