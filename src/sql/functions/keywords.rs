//! `pg_get_keywords()`: psql completes with it, and pgjdbc's metadata list its words.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, ListArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;

use super::entry::{Function, immutable};
use super::kernel::Call;
use crate::catalog::keywords;
use crate::error::{Error, Result};
use crate::types::pg_type::oid::RECORD;
use crate::types::{StructField, Type};

/// The list of all keywords, once a row.
fn list(call: &Call) -> Result<ArrayRef> {
    let DataType::List(item) = call.result.arrow() else { return Err(Error::internal("keywords are a list")) };
    let DataType::Struct(fields) = item.data_type() else { return Err(Error::internal("a keyword is a row")) };
    let all: Vec<&keywords::Keyword> = (0..call.rows).flat_map(|_| keywords::all()).collect();
    let text = |of: fn(&keywords::Keyword) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(all.iter().map(|keyword| of(keyword))))
    };
    let columns: Vec<ArrayRef> = vec![
        text(|keyword| keyword.word),
        text(|keyword| keyword.kind.code()),
        Arc::new(BooleanArray::from_iter(all.iter().map(|keyword| Some(keyword.bare_label)))),
        text(|keyword| keyword.kind.description()),
        text(|keyword| if keyword.bare_label { "can be bare label" } else { "requires AS" }),
    ];
    let rows = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(keywords::all().len(), call.rows));
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(rows), None)?))
}

fn rows(_: &[Type]) -> Result<Type> {
    let field = |name: &str, ty: Type| StructField { name: name.to_string(), ty };
    Ok(Type::Array(Box::new(Type::Struct(vec![
        field("word", Type::Text),
        field("catcode", Type::SingleChar),
        field("barelabel", Type::Bool),
        field("catdesc", Type::Text),
        field("baredesc", Type::Text),
    ]))))
}

pub const FUNCTIONS: &[Function] =
    &[immutable(1686, "pg_get_keywords", &[], RECORD, list, "A row a keyword: where it may be a name.").derived(rows)];
