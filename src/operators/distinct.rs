//! SELECT DISTINCT: `out[row] = 1 where in[row] > 0` (the incremental distinct of DBSP). State and cost: see
//! `row_weights.rs`; a row is dropped when its weight is back at 0.

use arrow::datatypes::SchemaRef;

use super::row_weights::RowWeights;
use crate::error::Result;

/// The operator over one input of this schema.
pub fn distinct(output: &SchemaRef) -> Result<RowWeights> {
    RowWeights::new(|weight, _| i64::from(weight > 0), output)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use arrow::datatypes::DataType;

    #[test]
    fn agrees_with_naive_distinct() {
        for types in [
            vec![("a", DataType::Int32)],
            vec![("a", DataType::Float64), ("b", DataType::Utf8)],
            vec![("a", DataType::Boolean), ("b", DataType::Float32), ("c", DataType::Int16)],
        ] {
            let schema = schema_of(&types);
            let columns: Vec<usize> = (0..types.len()).collect();
            check(&Property {
                name: "distinct",
                inputs: vec![Input::new(&schema, Route::Row)],
                subject: &|_| {
                    let schema = schema.clone();
                    Box::new(Remade::new(move || Box::new(distinct(&schema).expect("a valid operator"))))
                },
                keeps: Keeps::Rows,
                expected: &|inputs| {
                    Expected::rows(groups_of(&inputs[0], &columns).into_iter().map(|(key, _)| key).collect())
                },
            });
        }
    }
}
