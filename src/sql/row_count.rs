//! How many rows LIMIT and OFFSET say: no bound for NULL, an error below zero.

use datafusion::logical_expr::{Expr, lit};

use crate::error::{Error, Result, SqlState};

/// More rows than there are anywhere. DataFusion adds an OFFSET to a LIMIT, and does not look whether that is still a number.
pub const MORE_THAN_ALL: i64 = 1 << 48;

#[derive(Clone, Copy, Debug)]
pub enum RowCount {
    /// LIMIT or FETCH FIRST.
    Limit,
    Offset,
}

impl RowCount {
    pub fn word(self) -> &'static str {
        match self {
            RowCount::Limit => "LIMIT",
            RowCount::Offset => "OFFSET",
        }
    }

    /// The count as plans have it. 2201W or 2201X for one below zero.
    pub fn literal(self, count: Option<i64>) -> Result<Option<Box<Expr>>> {
        let state = match self {
            RowCount::Limit => SqlState::INVALID_ROW_COUNT_IN_LIMIT,
            RowCount::Offset => SqlState::INVALID_ROW_COUNT_IN_OFFSET,
        };
        match count {
            None => Ok(None),
            Some(count) if count < 0 => Err(Error::new(state, format!("{} must not be negative", self.word()))),
            Some(count) => Ok(Some(Box::new(lit(count.min(MORE_THAN_ALL))))),
        }
    }
}
