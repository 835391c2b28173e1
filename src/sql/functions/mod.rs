//! Scalar functions and operators: entries (what Postgres declares) and kernels (what computes them), by topic.
//!
//! A topic's file holds its entries and the kernels they name. [`functions`] and [`operators`] run over all of them.

mod array;
pub mod cast;
pub mod compare;
mod compare_rows;
pub mod conditional;
mod date_arithmetic;
mod date_fields;
mod date_format;
mod date_functions;
mod encoding;
mod entry;
mod float;
mod integer;
mod json;
pub mod kernel;
mod number_format;
mod numeric;
mod numeric_math;
mod output;
mod overlaps;
mod pattern;
pub mod row;
pub mod scope;
mod session;
mod similar;
pub mod text;
mod text_format;

pub use date_arithmetic::add_interval_in;
pub use entry::{Body, Function, Operator, Returns, SET_RETURNING, Typed, kernel_call, text_literal};

const FUNCTIONS: &[&[Function]] = &[
    integer::FUNCTIONS,
    float::FUNCTIONS,
    numeric::FUNCTIONS,
    numeric_math::FUNCTIONS,
    date_format::FUNCTIONS,
    text::FUNCTIONS,
    text_format::FUNCTIONS,
    number_format::FUNCTIONS,
    pattern::FUNCTIONS,
    similar::FUNCTIONS,
    date_arithmetic::FUNCTIONS,
    date_fields::FUNCTIONS,
    date_functions::FUNCTIONS,
    overlaps::FUNCTIONS,
    conditional::FUNCTIONS,
    json::FUNCTIONS,
    array::FUNCTIONS,
    encoding::FUNCTIONS,
    session::FUNCTIONS,
];

const OPERATORS: &[&[&[Operator]]] = &[
    &[compare_rows::OPERATORS],
    integer::OPERATORS,
    &[float::OPERATORS],
    &[numeric::OPERATORS, numeric_math::OPERATORS],
    &[text::OPERATORS, pattern::OPERATORS, date_arithmetic::OPERATORS, json::OPERATORS, array::OPERATORS],
];

/// Every scalar function's entries.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().copied().flatten()
}

/// Every operator's entries.
pub fn operators() -> impl Iterator<Item = &'static Operator> {
    OPERATORS.iter().copied().flatten().copied().flatten()
}
