//! Scalar functions and operators: entries (what Postgres declares) and kernels (what computes them), by topic.
//!
//! A topic's file holds its entries and the kernels they name. [`functions`] and [`operators`] run over all of them.

mod array;
mod bytes;
pub mod cast;
pub mod compare;
mod compare_rows;
pub mod conditional;
mod date_arithmetic;
mod date_fields;
mod date_format;
mod date_functions;
mod date_read;
mod degrees;
mod encoding;
mod entry;
mod float;
mod identifiers;
mod integer;
mod json;
mod json_change;
mod json_rows;
pub mod kernel;
mod keywords;
mod number_format;
mod number_words;
mod numeric;
mod numeric_math;
pub mod ordered_set;
mod output;
mod overlaps;
mod pattern;
mod regexp;
mod regexp_places;
mod regexp_rows;
mod regexp_syntax;
pub mod row;
pub mod scope;
mod session;
mod similar;
mod strict;
pub mod text;
mod text_format;
mod to_number;

pub use entry::{Body, Function, Operator, Returns, SET_RETURNING, Typed, kernel_call, text_literal};
pub use json::build_to_jsonb as to_jsonb;
pub use session::SERVER_VERSION;
pub use text::with_blanks;

const FUNCTIONS: &[&[Function]] = &[
    integer::FUNCTIONS,
    float::FUNCTIONS,
    degrees::FUNCTIONS,
    numeric::FUNCTIONS,
    numeric_math::FUNCTIONS,
    date_format::FUNCTIONS,
    text::FUNCTIONS,
    text_format::FUNCTIONS,
    identifiers::FUNCTIONS,
    number_format::FUNCTIONS,
    to_number::FUNCTIONS,
    pattern::FUNCTIONS,
    regexp_places::FUNCTIONS,
    regexp_rows::FUNCTIONS,
    similar::FUNCTIONS,
    date_arithmetic::FUNCTIONS,
    date_fields::FUNCTIONS,
    date_functions::FUNCTIONS,
    date_read::FUNCTIONS,
    overlaps::FUNCTIONS,
    conditional::FUNCTIONS,
    json::FUNCTIONS,
    json_change::FUNCTIONS,
    json_rows::FUNCTIONS,
    array::FUNCTIONS,
    encoding::FUNCTIONS,
    bytes::FUNCTIONS,
    session::FUNCTIONS,
    keywords::FUNCTIONS,
];

const OPERATORS: &[&[&[Operator]]] = &[
    &[compare_rows::OPERATORS],
    integer::OPERATORS,
    &[float::OPERATORS],
    &[numeric::OPERATORS, numeric_math::OPERATORS],
    &[
        text::OPERATORS,
        pattern::OPERATORS,
        date_arithmetic::OPERATORS,
        json::OPERATORS,
        json_change::OPERATORS,
        array::OPERATORS,
    ],
];

/// Every scalar function's entries.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().copied().flatten()
}

/// Every operator's entries.
pub fn operators() -> impl Iterator<Item = &'static Operator> {
    OPERATORS.iter().copied().flatten().copied().flatten()
}
