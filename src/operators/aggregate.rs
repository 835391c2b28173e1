//! Grouped aggregation.

use arrow::datatypes::DataType;

use super::SortKey;

/// One aggregate of an Aggregate node.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// Input columns, already cast to what the function takes.
    pub args: Vec<usize>,
    /// A boolean column: only rows where it is true count (FILTER).
    pub filter: Option<usize>,
    pub distinct: bool,
    /// ORDER BY inside the call, for string_agg and array_agg; then ties by the encoded value.
    pub order_by: Vec<SortKey>,
    /// Arrow type of the result.
    pub output: DataType,
}

/// What is computed. Results are NULL over no (non-NULL) values, except for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    /// count(*): rows.
    CountRows,
    /// count(x): values that are not NULL.
    Count,
    /// Integers and decimals are summed exactly (22003 when the result type can't hold it); floats with an exact accumulator.
    Sum,
    /// Over decimals: rounded half away from zero at the result's scale.
    Avg,
    Min,
    Max,
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    BoolAnd,
    BoolOr,
    BitAnd,
    BitOr,
    BitXor,
    /// args: value, delimiter.
    StringAgg,
    ArrayAgg,
}
