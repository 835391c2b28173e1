//! regexp_count, regexp_instr and regexp_substr: a match by its number, from a character on.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Builder, StringArray, StringBuilder};
use arrow::datatypes::Int32Type;

use super::entry::{Function, immutable};
use super::kernel::Call;
use super::pattern::refuse_global;
use super::regexp::compiled;
use super::regexp_rows::from_character;
use crate::error::{Error, Result, SqlState};
use crate::types::builder::push_text;
use crate::types::pg_type::oid::*;

fn invalid(name: &str, value: i32) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": {value}"))
}

/// One row's arguments; those left out have their defaults.
struct Row<'a> {
    call: &'a Call<'a>,
    row: usize,
}

impl<'a> Row<'a> {
    fn text(&self, n: usize) -> Result<&'a str> {
        let Some(arg) = self.call.args.get(n) else { return Ok("") };
        Ok(arg.cast::<StringArray>()?.value(arg.index(self.row)))
    }

    /// 22023 below `least`.
    fn number(&self, n: usize, name: &str, default: i32, least: i32) -> Result<i32> {
        let Some(arg) = self.call.args.get(n) else { return Ok(default) };
        let value = arg.array.as_primitive::<Int32Type>().value(arg.index(self.row));
        if value < least { Err(invalid(name, value)) } else { Ok(value) }
    }
}

/// Calls `each` for every row without NULLs, with the byte that the search starts at, if the text has it.
fn each_row<'a>(
    call: &'a Call<'a>,
    mut each: impl FnMut(Option<(Row<'a>, Option<usize>)>) -> Result<()>,
) -> Result<()> {
    for row in 0..call.rows {
        if call.args.iter().any(|arg| arg.is_null(row)) {
            each(None)?;
            continue;
        }
        let row = Row { call, row };
        let start = row.number(2, "start", 1, 1)?;
        let from = from_character(row.text(0)?, start)?;
        each(Some((row, from)))?;
    }
    Ok(())
}

fn count(call: &Call) -> Result<ArrayRef> {
    let mut out = Int32Builder::with_capacity(call.rows);
    each_row(call, |row| {
        let Some((row, from)) = row else {
            out.append_null();
            return Ok(());
        };
        let flags = row.text(3)?;
        refuse_global("regexp_count", flags)?;
        let regex = compiled(row.text(1)?, flags)?;
        out.append_value(regex.matches(row.text(0)?, from)?.count() as i32);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn substr(call: &Call) -> Result<ArrayRef> {
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    each_row(call, |row| {
        let Some((row, from)) = row else {
            out.append_null();
            return Ok(());
        };
        let (which, flags) = (row.number(3, "n", 1, 1)?, row.text(4)?);
        let group = row.number(5, "subexpr", 0, 0)?;
        refuse_global("regexp_substr", flags)?;
        let regex = compiled(row.text(1)?, flags)?;
        let found = regex.matches(row.text(0)?, from)?.nth(which as usize - 1);
        push_text(&mut out, found.and_then(|found| found.get(group as usize)).map(|part| part.as_str()))
    })?;
    Ok(Arc::new(out.finish()))
}

fn instr(call: &Call) -> Result<ArrayRef> {
    let mut out = Int32Builder::with_capacity(call.rows);
    each_row(call, |row| {
        let Some((row, from)) = row else {
            out.append_null();
            return Ok(());
        };
        let (which, end) = (row.number(3, "n", 1, 1)?, row.number(4, "endoption", 0, 0)?);
        if end > 1 {
            return Err(invalid("endoption", end));
        }
        let (flags, group) = (row.text(5)?, row.number(6, "subexpr", 0, 0)?);
        refuse_global("regexp_instr", flags)?;
        let (regex, text) = (compiled(row.text(1)?, flags)?, row.text(0)?);
        let found = regex.matches(text, from)?.nth(which as usize - 1);
        let part = found.as_ref().and_then(|found| found.get(group as usize));
        let place = part.map(|part| if end == 1 { part.end() } else { part.start() });
        out.append_value(place.map_or(0, |place| text[..place].chars().count() as i32 + 1));
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

const COUNT: &str = "Number of matches.";
const SUBSTR: &str = "The n-th match, or a group of it.";
const INSTR: &str = "Where the n-th match, or a group of it, begins or ends; 0 for none.";

pub const FUNCTIONS: &[Function] = &[
    immutable(6254, "regexp_count", &[TEXT, TEXT], INT4, count, COUNT),
    immutable(6255, "regexp_count", &[TEXT, TEXT, INT4], INT4, count, COUNT),
    immutable(6256, "regexp_count", &[TEXT, TEXT, INT4, TEXT], INT4, count, COUNT),
    immutable(6257, "regexp_instr", &[TEXT, TEXT], INT4, instr, INSTR),
    immutable(6258, "regexp_instr", &[TEXT, TEXT, INT4], INT4, instr, INSTR),
    immutable(6259, "regexp_instr", &[TEXT, TEXT, INT4, INT4], INT4, instr, INSTR),
    immutable(6260, "regexp_instr", &[TEXT, TEXT, INT4, INT4, INT4], INT4, instr, INSTR),
    immutable(6261, "regexp_instr", &[TEXT, TEXT, INT4, INT4, INT4, TEXT], INT4, instr, INSTR),
    immutable(6262, "regexp_instr", &[TEXT, TEXT, INT4, INT4, INT4, TEXT, INT4], INT4, instr, INSTR),
    immutable(6265, "regexp_substr", &[TEXT, TEXT], TEXT, substr, SUBSTR),
    immutable(6266, "regexp_substr", &[TEXT, TEXT, INT4], TEXT, substr, SUBSTR),
    immutable(6267, "regexp_substr", &[TEXT, TEXT, INT4, INT4], TEXT, substr, SUBSTR),
    immutable(6268, "regexp_substr", &[TEXT, TEXT, INT4, INT4, TEXT], TEXT, substr, SUBSTR),
    immutable(6269, "regexp_substr", &[TEXT, TEXT, INT4, INT4, TEXT, INT4], TEXT, substr, SUBSTR),
];
