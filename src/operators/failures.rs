//! Errors of rows: what is recorded when an expression or a result fails in a view.

use arrow::array::{Array, ArrayRef};
use arrow::util::display::array_value_to_string;

use super::RowError;
use crate::error::Error;

/// Characters of a row's text that are kept as its sample.
const SAMPLE_CHARACTERS: usize = 200;

/// `error` on this row, with the row's weight.
pub fn row_error(error: &Error, columns: &[ArrayRef], row: usize, weight: i64) -> RowError {
    let (state, message) = (error.state(), error.message().to_owned());
    RowError { state, message, sample: row_text(columns, row), weight }
}

/// A row as `(a, b, NULL)`, cut after [`SAMPLE_CHARACTERS`]. The text depends on the row's values alone.
pub fn row_text(columns: &[ArrayRef], row: usize) -> String {
    let mut text = String::from("(");
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        if column.is_null(row) {
            text.push_str("NULL");
        } else if let Ok(value) = array_value_to_string(column, row) {
            text.push_str(&value);
        }
        if text.len() > 4 * SAMPLE_CHARACTERS {
            break;
        }
    }
    text.push(')');
    match text.char_indices().nth(SAMPLE_CHARACTERS) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
