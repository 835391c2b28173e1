//! INTERSECT and EXCEPT, with and without ALL, of two inputs' weights l and r of a row:
//!
//! ```text
//!   INTERSECT ALL  min(l, r)         INTERSECT  1 where l > 0 and r > 0
//!   EXCEPT ALL     max(l - r, 0)     EXCEPT     1 where l > 0 and not r > 0
//! ```
//!
//! State and cost: see `row_weights.rs`. Both inputs are sharded by the whole row.

use arrow::datatypes::SchemaRef;

use super::row_weights::{Multiplicity, RowWeights};
use super::spec::SetOpKind;
use crate::error::Result;

/// The operator over two inputs of the output's types.
pub fn set_operation(kind: SetOpKind, all: bool, output: &SchemaRef) -> Result<RowWeights> {
    let multiplicity: Multiplicity = match (kind, all) {
        (SetOpKind::Intersect, true) => |left, right| left.min(right).max(0),
        (SetOpKind::Intersect, false) => |left, right| i64::from(left > 0 && right > 0),
        (SetOpKind::Except, true) => |left, right| (left.max(0) - right.max(0)).max(0),
        (SetOpKind::Except, false) => |left, right| i64::from(left > 0 && right <= 0),
    };
    RowWeights::new(multiplicity, output)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use arrow::datatypes::DataType;

    #[test]
    fn agree_with_naive_set_operations() {
        let schema = schema_of(&[("a", DataType::Int16), ("b", DataType::Float64)]);
        for kind in [SetOpKind::Intersect, SetOpKind::Except] {
            for all in [false, true] {
                check(&Property {
                    name: "set operation",
                    inputs: vec![Input::new(&schema, Route::Row), Input::new(&schema, Route::Row)],
                    subject: &|_| {
                        let schema = schema.clone();
                        let make = move || set_operation(kind, all, &schema).expect("a valid operator");
                        Box::new(Remade::new(move || Box::new(make()) as Box<dyn super::super::Operator>))
                    },
                    keeps: Keeps::Rows,
                    expected: &|inputs| Expected::rows(naive(&inputs[0], &inputs[1], kind, all)),
                });
            }
        }
    }

    fn naive(left: &[Row], right: &[Row], kind: SetOpKind, all: bool) -> Vec<Row> {
        let right = groups_of(right, &[0, 1]);
        let mut out = Vec::new();
        for (key, rows) in groups_of(left, &[0, 1]) {
            let others = right.iter().find(|(other, _)| text_of(other) == text_of(&key)).map_or(0, |(_, r)| r.len());
            let count = match (kind, all) {
                (SetOpKind::Intersect, true) => rows.len().min(others),
                (SetOpKind::Intersect, false) => others.min(1),
                (SetOpKind::Except, true) => rows.len().saturating_sub(others),
                (SetOpKind::Except, false) => usize::from(others == 0),
            };
            out.extend(std::iter::repeat_n(key, count));
        }
        out
    }
}
