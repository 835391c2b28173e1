//! Records that are not rows: kept as they came, with the reason, for `rr_dead_letters`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// One sentence: which field, what was wrong.
    pub reason: String,
    /// The record's timestamp, microseconds since 1970 UTC, where it has one.
    pub at: Option<i64>,
}

impl DeadLetter {
    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        let held = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        size_of::<DeadLetter>() + held(&self.key) + held(&self.value) + self.reason.len()
    }
}
