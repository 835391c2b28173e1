//! Deltas as small tables of text, so that tests read like the thing they test.
//!
//! ```text
//!   +2 | 1  | 'it''s' | NULL      weight, then one value a column; without a weight: +1
//!   -1 | 2  | {1, NULL} | {7, 'x'}   lists and structs in braces, text in quotes; everything else bare or quoted
//! ```
//!
//! [`print`] consolidates and sorts, so that two equal changes print equally. Not for user data: errors are internal.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::*;

use super::{Delta, consolidate};
use crate::error::{Error, Result};
use crate::types::hex;

/// A value before it has a type.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Leaf(String),
    Items(Vec<Value>),
}

/// Columns from `"a int8, b text[], c numeric(10,2)"`: SQL's names of the types in the table of `types/`; nullable all.
/// Panics on others: it is for tests.
pub fn schema(columns: &str) -> SchemaRef {
    let mut fields = Vec::new();
    let mut depth = 0;
    for part in columns.split(|c| {
        depth += (c == '(') as i32 - (c == ')') as i32;
        c == ',' && depth == 0
    }) {
        let (name, data_type) = part.trim().split_once(' ').expect("a column is `name type`");
        fields.push(Field::new(name, type_of(data_type.trim()), true));
    }
    Arc::new(Schema::new(fields))
}

fn type_of(name: &str) -> DataType {
    if let Some(item) = name.strip_suffix("[]") {
        return DataType::List(Arc::new(Field::new_list_field(type_of(item), true)));
    }
    match name {
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "numeric" => DataType::Decimal256(76, 38),
        "text" | "jsonb" => DataType::Utf8,
        "bytea" => DataType::Binary,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        "uuid" => DataType::FixedSizeBinary(16),
        "oid" => DataType::UInt32,
        other => match other.strip_prefix("numeric(").and_then(|rest| rest.strip_suffix(')')?.split_once(',')) {
            Some((p, s)) => DataType::Decimal128(p.trim().parse().expect("p"), s.trim().parse().expect("s")),
            None => panic!("no type {other}"),
        },
    }
}

/// Reads one delta, a line a row; empty lines are skipped.
pub fn parse(schema: &SchemaRef, text: &str) -> Result<Delta> {
    let mut columns: Vec<Vec<Value>> = vec![Vec::new(); schema.fields().len()];
    let mut weights = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut reader = Reader { rest: line };
        let mut values = Vec::new();
        loop {
            values.push(reader.value('|')?);
            if !reader.eat('|') {
                break;
            }
        }
        let weight = if values.len() == columns.len() + 1 {
            match values.remove(0) {
                Value::Leaf(weight) => weight.parse().map_err(|_| bad(format!("weight {weight}")))?,
                _ => return Err(bad("a weight is a number")),
            }
        } else {
            1
        };
        if values.len() != columns.len() || !reader.rest.is_empty() {
            return Err(bad(format!("{} columns, not those of {line}", columns.len())));
        }
        weights.push(weight);
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    let arrays = schema.fields().iter().zip(columns).map(|(field, column)| build(field.data_type(), column));
    let options = RecordBatchOptions::new().with_row_count(Some(weights.len()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), arrays.collect::<Result<_>>()?, &options)?;
    let all_ones = weights.iter().all(|weight| *weight == 1);
    Ok(Delta::from_parts(rows, (!all_ones).then(|| Int64Array::from(weights))))
}

fn bad(message: impl std::fmt::Display) -> Error {
    Error::internal(format!("text of a delta: {message}"))
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// One value, up to `end`, a comma inside braces, a closing brace, or the end.
    fn value(&mut self, end: char) -> Result<Value> {
        if self.eat('{') {
            let mut items = Vec::new();
            if self.eat('}') {
                return Ok(Value::Items(items));
            }
            loop {
                items.push(self.value(',')?);
                if !self.eat(',') {
                    break;
                }
            }
            return if self.eat('}') { Ok(Value::Items(items)) } else { Err(bad("a brace is not closed")) };
        }
        if self.eat('\'') {
            let mut text = String::new();
            loop {
                let quote = self.rest.find('\'').ok_or_else(|| bad("a quote is not closed"))?;
                text.push_str(&self.rest[..quote]);
                self.rest = &self.rest[quote + 1..];
                match self.rest.strip_prefix('\'') {
                    Some(rest) => self.rest = rest,
                    None => {
                        self.rest = self.rest.trim_start();
                        return Ok(Value::Leaf(text));
                    }
                }
                text.push('\'');
            }
        }
        self.rest = self.rest.trim_start();
        let length = self.rest.find([end, '}']).unwrap_or(self.rest.len());
        let word = self.rest[..length].trim();
        self.rest = &self.rest[length..];
        Ok(if word == "NULL" { Value::Null } else { Value::Leaf(word.to_string()) })
    }
}

fn build(data_type: &DataType, values: Vec<Value>) -> Result<ArrayRef> {
    let nulls = NullBuffer::from_iter(values.iter().map(|value| !matches!(value, Value::Null)));
    match data_type {
        DataType::List(field) => {
            let mut items = Vec::new();
            let mut lengths = Vec::new();
            for value in values {
                match value {
                    Value::Items(inner) => {
                        lengths.push(inner.len());
                        items.extend(inner);
                    }
                    Value::Null => lengths.push(0),
                    Value::Leaf(text) => return Err(bad(format!("a list, not {text}"))),
                }
            }
            let items = build(field.data_type(), items)?;
            Ok(Arc::new(ListArray::new(field.clone(), OffsetBuffer::from_lengths(lengths), items, Some(nulls))))
        }
        DataType::Struct(fields) => {
            let mut columns: Vec<Vec<Value>> = vec![Vec::new(); fields.len()];
            for value in values {
                match value {
                    Value::Items(inner) if inner.len() == fields.len() => {
                        columns.iter_mut().zip(inner).for_each(|(column, value)| column.push(value));
                    }
                    Value::Null => columns.iter_mut().for_each(|column| column.push(Value::Null)),
                    other => return Err(bad(format!("a struct, not {other:?}"))),
                }
            }
            let columns = fields.iter().zip(columns).map(|(field, column)| build(field.data_type(), column));
            Ok(Arc::new(StructArray::new(fields.clone(), columns.collect::<Result<_>>()?, Some(nulls))))
        }
        DataType::FixedSizeBinary(_) | DataType::Binary => {
            let bytes = leaves(values)?.into_iter().map(|leaf| leaf.map(|text| unhex(&text)).transpose());
            let array: BinaryArray = bytes.collect::<Result<Vec<_>>>()?.into_iter().collect();
            Ok(cast(&array, data_type)?)
        }
        _ => {
            let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
            let text = StringArray::from(leaves(values)?);
            Ok(arrow::compute::cast_with_options(&text, data_type, &options)?)
        }
    }
}

fn leaves(values: Vec<Value>) -> Result<Vec<Option<String>>> {
    let leaf = |value| match value {
        Value::Null => Ok(None),
        Value::Leaf(text) => Ok(Some(text)),
        Value::Items(_) => Err(bad("braces around a plain value")),
    };
    values.into_iter().map(leaf).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("\\x").ok_or_else(|| bad("bytes start with \\x"))?;
    let mut bytes = Vec::new();
    hex::read(digits, &mut bytes)?;
    Ok(bytes)
}

/// The consolidated rows, a line each, sorted by their text.
pub fn print(deltas: &[Delta]) -> Result<String> {
    let mut lines = Vec::new();
    for delta in consolidate(deltas.to_vec())? {
        for row in 0..delta.len() {
            let values = delta.rows().columns().iter().map(|column| value_text(column, row));
            lines.push((values.collect::<Result<Vec<_>>>()?.join(" | "), delta.weight(row)));
        }
    }
    lines.sort();
    Ok(lines.into_iter().map(|(values, weight)| format!("{weight:+} | {values}\n")).collect())
}

fn value_text(column: &ArrayRef, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok("NULL".into());
    }
    let braces = |columns: &[ArrayRef], rows: &[usize]| -> Result<String> {
        let values = columns.iter().flat_map(|column| rows.iter().map(move |row| value_text(column, *row)));
        Ok(format!("{{{}}}", values.collect::<Result<Vec<_>>>()?.join(", ")))
    };
    match column.data_type() {
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            let rows: Vec<usize> = (0..items.len()).collect();
            braces(&[items], &rows)
        }
        DataType::Struct(_) => braces(column.as_struct().columns(), &[row]),
        DataType::Utf8 => Ok(format!("'{}'", column.as_string::<i32>().value(row).replace('\'', "''"))),
        DataType::Binary => Ok(shown(column.as_binary::<i32>().value(row))),
        DataType::FixedSizeBinary(_) => Ok(shown(column.as_fixed_size_binary().value(row))),
        _ => {
            let text = cast(&column.slice(row, 1), &DataType::Utf8)?;
            Ok(text.as_string::<i32>().value(0).to_string())
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    let mut text = "\\x".to_string();
    hex::write(&mut text, bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        let schema = schema(
            "a bool, b int2, c float4, d numeric(10,2), e numeric, f text, g bytea, h date, i time, j timestamp, \
             k timestamptz, l interval, m uuid, n int8[], o text[][], p oid",
        );
        let text = "+2 | true | 7 | 1.5 | 3.25 | 0.5 | 'it''s | {' | \\x00ff | 2024-02-29 | 12:30:00 | \
                    2024-02-29T12:30:00 | 2024-02-29T12:30:00Z | 1 mons 2 days | \
                    \\x000102030405060708090a0b0c0d0e0f | {1, NULL} | {{'a', 'b'}, {}, NULL} | 7\n\
                    -1 | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | \
                    NULL | NULL | NULL\n";
        let once = print(&[parse(&schema, text).unwrap()]).unwrap();
        let twice = print(&[parse(&schema, &once).unwrap()]).unwrap();
        assert_eq!(once, twice);
        assert!(once.contains("'it''s | {'") && once.contains("{{'a', 'b'}, {}, NULL}"), "{once}");
        assert!(once.contains("-1 | NULL"), "{once}");
        assert!(parse(&schema, "+1 | true").is_err());
    }
}
