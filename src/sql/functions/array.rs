//! Array functions. Arrays have one dimension and begin at subscript 1.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, DynComparator, Int32Builder, ListArray, ListBuilder, MutableArrayData,
    StringArray, StringBuilder, make_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use bytes::BytesMut;
use datafusion::logical_expr::Volatility;

use super::entry::{Function, Operator, Typed, built, immutable, kernel_call, operator, text_literal};
use super::kernel::Call;
use super::{compare, scope};
use crate::error::{Error, Result, SqlState};
use crate::types::builder::push_text;
use crate::types::pg_type::oid::*;
use crate::types::{TextSettings, Type, Zone, text};

/// Elements of a list column's row: where they start and end in its values.
fn bounds(list: &ListArray, row: usize) -> (usize, usize) {
    let offsets = list.value_offsets();
    (offsets[row] as usize, offsets[row + 1] as usize)
}

fn count_of(call: &Call, row: usize) -> Option<usize> {
    let list = call.args[0].array.as_list::<i32>();
    let index = call.args[0].index(row);
    (!list.is_null(index)).then(|| {
        let (start, end) = bounds(list, index);
        end - start
    })
}

/// Elements along a dimension: NULL where there is no such dimension, so for an empty array too.
fn array_length(call: &Call) -> Result<ArrayRef> {
    let dimensions = call.args[1].cast::<arrow::array::Int32Array>()?;
    let mut out = Int32Builder::with_capacity(call.rows);
    for row in 0..call.rows {
        let dimension = call.args[1].index(row);
        let first = !dimensions.is_null(dimension) && dimensions.value(dimension) == 1;
        out.append_option(count_of(call, row).filter(|&count| first && count > 0).map(|count| count as i32));
    }
    Ok(Arc::new(out.finish()))
}

fn array_lower(call: &Call) -> Result<ArrayRef> {
    let lengths = array_length(call)?;
    let lengths = lengths.as_primitive::<arrow::datatypes::Int32Type>();
    Ok(Arc::new(lengths.unary::<_, arrow::datatypes::Int32Type>(|_| 1)))
}

fn cardinality(call: &Call) -> Result<ArrayRef> {
    let mut out = Int32Builder::with_capacity(call.rows);
    (0..call.rows).for_each(|row| out.append_option(count_of(call, row).map(|count| count as i32)));
    Ok(Arc::new(out.finish()))
}

fn array_ndims(call: &Call) -> Result<ArrayRef> {
    let mut out = Int32Builder::with_capacity(call.rows);
    (0..call.rows).for_each(|row| out.append_option(count_of(call, row).filter(|&count| count > 0).map(|_| 1)));
    Ok(Arc::new(out.finish()))
}

/// A list column put together from pieces of other arrays of its element type.
struct Pieces<'a> {
    values: MutableArrayData<'a>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
    element: DataType,
}

impl<'a> Pieces<'a> {
    fn new(sources: Vec<&'a arrow::array::ArrayData>, call: &Call) -> Result<Pieces<'a>> {
        let DataType::List(field) = call.result.arrow() else { return Err(Error::internal("an array's Arrow type")) };
        Ok(Pieces {
            values: MutableArrayData::new(sources, true, call.rows),
            offsets: vec![0],
            valid: Vec::with_capacity(call.rows),
            element: field.data_type().clone(),
        })
    }

    fn end_row(&mut self, valid: bool) -> Result<()> {
        let end = i32::try_from(self.values.len())
            .map_err(|_| Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many array elements in one batch"))?;
        self.offsets.push(end);
        self.valid.push(valid);
        Ok(())
    }

    fn finish(self) -> Result<ArrayRef> {
        let field = Arc::new(Field::new_list_field(self.element, true));
        let values = make_array(self.values.freeze());
        let offsets = OffsetBuffer::new(self.offsets.into());
        Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(NullBuffer::from(self.valid)))?))
    }
}

/// Lists and single elements of the arguments in order, one after the other. A NULL list adds nothing; the result is
/// NULL only where all arguments are NULL lists.
fn concatenated(call: &Call) -> Result<ArrayRef> {
    let is_list: Vec<bool> = call.types.iter().map(|ty| matches!(ty, Type::Array(_))).collect();
    let data: Vec<_> = call
        .args
        .iter()
        .zip(&is_list)
        .map(|(arg, &list)| if list { arg.array.as_list::<i32>().values().to_data() } else { arg.array.to_data() })
        .collect();
    let mut out = Pieces::new(data.iter().collect(), call)?;
    for row in 0..call.rows {
        let mut any = false;
        for (n, arg) in call.args.iter().enumerate() {
            let index = arg.index(row);
            if !is_list[n] {
                out.values.try_extend(n, index, index + 1)?;
                any = true;
            } else if !arg.array.is_null(index) {
                let (start, end) = bounds(arg.array.as_list::<i32>(), index);
                out.values.try_extend(n, start, end)?;
                any = true;
            }
        }
        out.end_row(any)?;
    }
    out.finish()
}

/// Compares the elements of an argument with those of another one, or with its values if it is no array.
fn comparator(call: &Call, array: usize, other: usize) -> Result<DynComparator> {
    let keys = |n: usize| match &call.types[n] {
        Type::Array(item) => compare::ordered(item, call.args[n].array.as_list::<i32>().values()),
        ty => compare::ordered(ty, &call.args[n].array),
    };
    Ok(arrow::array::make_comparator(&keys(array)?, &keys(other)?, arrow::compute::SortOptions::default())?)
}

fn array_position(call: &Call) -> Result<ArrayRef> {
    let (list, compare) = (call.args[0].array.as_list::<i32>(), comparator(call, 0, 1)?);
    let mut out = Int32Builder::with_capacity(call.rows);
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if list.is_null(i) {
            out.append_null();
            continue;
        }
        let from = match call.args.get(2) {
            Some(from) if from.is_null(row) => {
                return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "initial position must not be null"));
            }
            Some(from) => from.cast::<arrow::array::Int32Array>()?.value(from.index(row)).max(1) as usize - 1,
            None => 0,
        };
        let (start, end) = bounds(list, i);
        let found = (start..end).skip(from).position(|at| compare(at, j).is_eq());
        out.append_option(found.map(|at| (from + at) as i32 + 1));
    }
    Ok(Arc::new(out.finish()))
}

fn array_positions(call: &Call) -> Result<ArrayRef> {
    let (list, compare) = (call.args[0].array.as_list::<i32>(), comparator(call, 0, 1)?);
    let mut out = ListBuilder::new(Int32Builder::new());
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if list.is_null(i) {
            out.append(false);
            continue;
        }
        let (start, end) = bounds(list, i);
        for (n, _) in (start..end).enumerate().filter(|&(_, at)| compare(at, j).is_eq()) {
            out.values().append_value(n as i32 + 1);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn array_remove(call: &Call) -> Result<ArrayRef> {
    let (list, compare) = (call.args[0].array.as_list::<i32>(), comparator(call, 0, 1)?);
    let data = list.values().to_data();
    let mut out = Pieces::new(vec![&data], call)?;
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if !list.is_null(i) {
            let (start, end) = bounds(list, i);
            for at in (start..end).filter(|&at| !compare(at, j).is_eq()) {
                out.values.try_extend(0, at, at + 1)?;
            }
        }
        out.end_row(!list.is_null(i))?;
    }
    out.finish()
}

fn array_replace(call: &Call) -> Result<ArrayRef> {
    let (list, compare) = (call.args[0].array.as_list::<i32>(), comparator(call, 0, 1)?);
    let (data, new) = (list.values().to_data(), call.args[2].array.to_data());
    let mut out = Pieces::new(vec![&data, &new], call)?;
    for row in 0..call.rows {
        let (i, j, k) = (call.args[0].index(row), call.args[1].index(row), call.args[2].index(row));
        if !list.is_null(i) {
            let (start, end) = bounds(list, i);
            for at in start..end {
                if compare(at, j).is_eq() {
                    out.values.try_extend(1, k, k + 1)?;
                } else {
                    out.values.try_extend(0, at, at + 1)?;
                }
            }
        }
        out.end_row(!list.is_null(i))?;
    }
    out.finish()
}

/// As Postgres: elements of an array, and bytes of one; the bytes hold for all rows of a batch.
const MOST_ELEMENTS: usize = 134_217_727;
const MOST_BYTES: usize = 1_073_741_823;

/// (value, count): that many of it; (value, counts) names one dimension.
fn array_fill(call: &Call) -> Result<ArrayRef> {
    if matches!(call.types[0], Type::Array(_)) {
        return Err(crate::sql::arrays::nested());
    }
    let mut filled = 0;
    let counts = call.args[1].array.as_list::<i32>();
    let data = call.args[0].array.to_data();
    let mut out = Pieces::new(vec![&data], call)?;
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        let null = |what: &str| Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, format!("{what} cannot be null"));
        if counts.is_null(j) {
            return Err(null("dimension array or low bound array"));
        }
        let counts = counts.value(j);
        if counts.null_count() > 0 {
            return Err(null("dimension values"));
        }
        let count = match counts.as_primitive::<arrow::datatypes::Int32Type>().values()[..] {
            [] => 0,
            [count] => count,
            _ => return Err(Error::unsupported("an array of several dimensions", "Use an array of one.")),
        };
        let too_large = |most: usize| {
            let message = format!("array size exceeds the maximum allowed ({most})");
            Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
        };
        let count = usize::try_from(count).ok().filter(|count| *count <= MOST_ELEMENTS);
        let count = count.ok_or_else(|| too_large(MOST_ELEMENTS))?;
        let size = call.args[0].array.slice(i, 1).to_data().get_slice_memory_size()?;
        filled += count * size.max(1);
        if filled > MOST_BYTES {
            return Err(too_large(MOST_BYTES));
        }
        (0..count).try_for_each(|_| out.values.try_extend(0, i, i + 1))?;
        out.end_row(true)?;
    }
    out.finish()
}

/// Without the last elements.
fn trim_array(call: &Call) -> Result<ArrayRef> {
    let list = call.args[0].array.as_list::<i32>();
    let counts = call.args[1].cast::<arrow::array::Int32Array>()?;
    let data = list.values().to_data();
    let mut out = Pieces::new(vec![&data], call)?;
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        let given = !list.is_null(i) && !counts.is_null(j);
        if given {
            let (start, end) = bounds(list, i);
            let count = usize::try_from(counts.value(j)).unwrap_or(usize::MAX);
            if count > end - start {
                let message = format!("number of elements to trim must be between 0 and {}", end - start);
                return Err(Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message));
            }
            out.values.try_extend(0, start, end - count)?;
        }
        out.end_row(given)?;
    }
    out.finish()
}

/// How many of the ascending bounds are not above the value.
fn bucket(call: &Call) -> Result<ArrayRef> {
    let list = call.args[1].array.as_list::<i32>();
    let compare = comparator(call, 1, 0)?;
    let mut out = Int32Builder::with_capacity(call.rows);
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if call.args[0].is_null(row) || list.is_null(j) {
            out.append_null();
            continue;
        }
        let (start, end) = bounds(list, j);
        if (start..end).any(|at| list.values().is_null(at)) {
            return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "thresholds array must not contain NULLs"));
        }
        out.append_value((start..end).take_while(|at| compare(*at, i).is_le()).count() as i32);
    }
    Ok(Arc::new(out.finish()))
}

/// `whole @> part` and `a && b` over two list columns; NULL elements match nothing.
fn sets(call: &Call, f: impl Fn(&dyn Fn(usize) -> bool, usize) -> bool, swap: bool) -> Result<ArrayRef> {
    let (whole, part) = if swap { (1, 0) } else { (0, 1) };
    let (a, b) = (call.args[whole].array.as_list::<i32>(), call.args[part].array.as_list::<i32>());
    let compare = comparator(call, whole, part)?;
    let mut out = BooleanBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        let (i, j) = (call.args[whole].index(row), call.args[part].index(row));
        if a.is_null(i) || b.is_null(j) {
            out.append_null();
            continue;
        }
        let ((from, to), (start, end)) = (bounds(a, i), bounds(b, j));
        let found = |n: usize| {
            let at = start + n;
            !b.values().is_null(at) && (from..to).any(|own| compare(own, at).is_eq())
        };
        out.append_value(f(&found, end - start));
    }
    Ok(Arc::new(out.finish()))
}

fn contains(call: &Call) -> Result<ArrayRef> {
    sets(call, |found, count| (0..count).all(found), false)
}

fn contained(call: &Call) -> Result<ArrayRef> {
    sets(call, |found, count| (0..count).all(found), true)
}

fn overlaps(call: &Call) -> Result<ArrayRef> {
    sets(call, |found, count| (0..count).any(found), false)
}

/// (array, delimiter[, text for NULL], zone).
fn array_to_string(call: &Call) -> Result<ArrayRef> {
    let Type::Array(item) = &call.types[0] else { return Err(Error::internal("array_to_string of no array")) };
    let zone = call.constant_text(call.args.len() - 1)?.map(Zone::parse).transpose()?.unwrap_or(Zone::UTC);
    let list = call.args[0].array.as_list::<i32>();
    let print = text::printer(item, list.values(), &TextSettings::in_zone(zone))?;
    let delimiters = call.args[1].cast::<StringArray>()?;
    let null_text = if call.args.len() > 3 { Some(call.args[2].cast::<StringArray>()?) } else { None };
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    let mut scratch = BytesMut::new();
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if list.is_null(i) || delimiters.is_null(j) {
            out.append_null();
            continue;
        }
        let for_null = null_text.and_then(|texts| {
            let index = call.args[2].index(row);
            (!texts.is_null(index)).then(|| texts.value(index))
        });
        scratch.clear();
        let mut first = true;
        let (start, end) = bounds(list, i);
        for at in start..end {
            let null = list.values().is_null(at);
            if null && for_null.is_none() {
                continue;
            }
            if !first {
                scratch.extend_from_slice(delimiters.value(j).as_bytes());
            }
            first = false;
            match for_null {
                Some(text) if null => scratch.extend_from_slice(text.as_bytes()),
                _ => print(at, &mut scratch),
            }
        }
        push_text(&mut out, Some(std::str::from_utf8(&scratch).map_err(Error::internal)?))?;
    }
    Ok(Arc::new(out.finish()))
}

fn build_to_string(mut args: Vec<Typed>) -> Result<Typed> {
    args.push(text_literal(scope::time_zone()));
    Ok(kernel_call("array_to_string", args, Type::Text, Volatility::Immutable, array_to_string))
}

/// (text, delimiter[, text for NULL]): a NULL delimiter splits into characters, an empty one not at all.
pub(super) fn string_to_array(call: &Call) -> Result<ArrayRef> {
    let columns = call.args.iter().map(|arg| arg.cast::<StringArray>()).collect::<Result<Vec<_>>>()?;
    let get = |n: usize, row: usize| {
        let index = call.args.get(n)?.index(row);
        (!columns[n].is_null(index)).then(|| columns[n].value(index))
    };
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        let Some(text) = get(0, row) else {
            out.append(false);
            continue;
        };
        let null_text = get(2, row);
        let mut push = |part: &str| push_text(out.values(), Some(part).filter(|part| null_text != Some(*part)));
        if !text.is_empty() {
            match get(1, row) {
                None => text.char_indices().try_for_each(|(at, c)| push(&text[at..at + c.len_utf8()]))?,
                Some("") => push(text)?,
                Some(delimiter) => text.split(delimiter).try_for_each(push)?,
            }
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn array_dims(call: &Call) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    for row in 0..call.rows {
        out.append_option(count_of(call, row).filter(|&count| count > 0).map(|count| format!("[1:{count}]")));
    }
    Ok(Arc::new(out.finish()))
}

const LENGTH: &str = "Number of elements along a dimension; NULL for an empty array.";

pub const FUNCTIONS: &[Function] = &[
    immutable(2176, "array_length", &[ANYARRAY, INT4], INT4, array_length, LENGTH),
    immutable(2091, "array_upper", &[ANYARRAY, INT4], INT4, array_length, "Last subscript of a dimension."),
    immutable(2092, "array_lower", &[ANYARRAY, INT4], INT4, array_lower, "First subscript of a dimension."),
    immutable(3179, "cardinality", &[ANYARRAY], INT4, cardinality, "Number of elements."),
    immutable(748, "array_ndims", &[ANYARRAY], INT4, array_ndims, "Number of dimensions."),
    immutable(747, "array_dims", &[ANYARRAY], TEXT, array_dims, "Bounds as text."),
    immutable(
        378,
        "array_append",
        &[ANYCOMPATIBLEARRAY, ANYCOMPATIBLE],
        ANYCOMPATIBLEARRAY,
        concatenated,
        "An element put at the end.",
    ),
    immutable(
        379,
        "array_prepend",
        &[ANYCOMPATIBLE, ANYCOMPATIBLEARRAY],
        ANYCOMPATIBLEARRAY,
        concatenated,
        "An element put at the front.",
    ),
    immutable(
        383,
        "array_cat",
        &[ANYCOMPATIBLEARRAY, ANYCOMPATIBLEARRAY],
        ANYCOMPATIBLEARRAY,
        concatenated,
        "Two arrays joined.",
    ),
    immutable(
        3277,
        "array_position",
        &[ANYCOMPATIBLEARRAY, ANYCOMPATIBLE],
        INT4,
        array_position,
        "Subscript of the first such element.",
    ),
    immutable(
        3278,
        "array_position",
        &[ANYCOMPATIBLEARRAY, ANYCOMPATIBLE, INT4],
        INT4,
        array_position,
        "Subscript of the first such element from a place on.",
    ),
    immutable(
        3279,
        "array_positions",
        &[ANYCOMPATIBLEARRAY, ANYCOMPATIBLE],
        INT4_ARRAY,
        array_positions,
        "Subscripts of all such elements.",
    ),
    immutable(
        3167,
        "array_remove",
        &[ANYCOMPATIBLEARRAY, ANYCOMPATIBLE],
        ANYCOMPATIBLEARRAY,
        array_remove,
        "Without such elements.",
    ),
    immutable(
        3168,
        "array_replace",
        &[ANYCOMPATIBLEARRAY, ANYCOMPATIBLE, ANYCOMPATIBLE],
        ANYCOMPATIBLEARRAY,
        array_replace,
        "With such elements replaced.",
    ),
    built(
        395,
        "array_to_string",
        &[ANYARRAY, TEXT],
        TEXT,
        build_to_string,
        "The elements as text, joined; NULLs left out.",
    )
    .stable(),
    built(
        384,
        "array_to_string",
        &[ANYARRAY, TEXT, TEXT],
        TEXT,
        build_to_string,
        "The elements as text, joined; NULLs as the third.",
    )
    .stable(),
    immutable(1193, "array_fill", &[ANYELEMENT, INT4_ARRAY], ANYARRAY, array_fill, "An array of equal elements."),
    immutable(6172, "trim_array", &[ANYARRAY, INT4], ANYARRAY, trim_array, "Without the last elements."),
    immutable(
        3218,
        "width_bucket",
        &[ANYCOMPATIBLE, ANYCOMPATIBLEARRAY],
        INT4,
        bucket,
        "How many of the ascending bounds are not above the value.",
    ),
    immutable(394, "string_to_array", &[TEXT, TEXT], TEXT_ARRAY, string_to_array, "The parts of a delimited text."),
    immutable(
        376,
        "string_to_array",
        &[TEXT, TEXT, TEXT],
        TEXT_ARRAY,
        string_to_array,
        "The parts of a delimited text; one of them NULL.",
    ),
];

pub const OPERATORS: &[Operator] = &[
    operator(
        349,
        "||",
        ANYCOMPATIBLEARRAY,
        ANYCOMPATIBLE,
        ANYCOMPATIBLEARRAY,
        "array_append",
        concatenated,
        "An element put at the end.",
    ),
    operator(
        374,
        "||",
        ANYCOMPATIBLE,
        ANYCOMPATIBLEARRAY,
        ANYCOMPATIBLEARRAY,
        "array_prepend",
        concatenated,
        "An element put at the front.",
    ),
    operator(
        375,
        "||",
        ANYCOMPATIBLEARRAY,
        ANYCOMPATIBLEARRAY,
        ANYCOMPATIBLEARRAY,
        "array_cat",
        concatenated,
        "Two arrays joined.",
    ),
    operator(
        2751,
        "@>",
        ANYARRAY,
        ANYARRAY,
        BOOL,
        "arraycontains",
        contains,
        "Whether the left contains all of the right.",
    ),
    operator(
        2752,
        "<@",
        ANYARRAY,
        ANYARRAY,
        BOOL,
        "arraycontained",
        contained,
        "Whether the right contains all of the left.",
    ),
    operator(2750, "&&", ANYARRAY, ANYARRAY, BOOL, "arrayoverlap", overlaps, "Whether they share an element."),
];
