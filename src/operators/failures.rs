//! Errors of rows: what is recorded when an expression or a result fails in a view.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::util::display::array_value_to_string;

use crate::error::{Error, SqlState};

/// Characters of a row's text that are kept as its sample.
const SAMPLE_CHARACTERS: usize = 200;

/// A failed expression of a view's row. Errors of a node with the same state and message add up.
#[derive(Clone, Debug, PartialEq)]
pub struct RowError {
    pub state: SqlState,
    pub message: String,
    /// The row, as text, that shows the failure.
    pub sample: String,
    pub weight: i64,
}

/// Errors of rows, added up by state and message, each with the sample that came first.
#[derive(Debug, Default)]
pub struct RowErrors(BTreeMap<(&'static str, String), (i64, String)>);

impl RowErrors {
    pub fn push(&mut self, error: RowError) {
        let RowError { state, message, sample, weight } = error;
        let (sum, _) = self.0.entry((state.0, message)).or_insert((0, sample));
        *sum = sum.saturating_add(weight);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Extend<RowError> for RowErrors {
    fn extend<T: IntoIterator<Item = RowError>>(&mut self, errors: T) {
        errors.into_iter().for_each(|error| self.push(error));
    }
}

/// Those that do not come to nothing.
impl IntoIterator for RowErrors {
    type Item = RowError;
    type IntoIter = Box<dyn Iterator<Item = RowError>>;

    fn into_iter(self) -> Self::IntoIter {
        let sums = self.0.into_iter().filter(|(_, (weight, _))| *weight != 0);
        Box::new(sums.map(|((state, message), (weight, sample))| RowError {
            state: SqlState(state),
            message,
            sample,
            weight,
        }))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_add_up_by_state_and_message() {
        let mut errors = RowErrors::default();
        for row in 0..10_000 {
            let error = Error::new(SqlState::DIVISION_BY_ZERO, if row % 2 == 0 { "even" } else { "odd" });
            errors.push(row_error(&error, &[], row, if row < 5_000 { 1 } else { -1 }));
        }
        errors.push(row_error(&Error::new(SqlState::DIVISION_BY_ZERO, "odd"), &[], 0, 3));
        assert_eq!(errors.len(), 2);
        let left: Vec<RowError> = errors.into_iter().collect();
        let sample = "()".to_owned();
        let expected = RowError { state: SqlState::DIVISION_BY_ZERO, message: "odd".to_owned(), sample, weight: 3 };
        assert_eq!(left, [expected]);
    }
}
