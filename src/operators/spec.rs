//! What an operator is told when it is made: one variant a kind, with everything it needs to know.
//!
//! Plans (`circuit/plan.rs`) are graphs of these; [`super::build`](super) turns each into an [`Operator`](super::Operator).

use super::aggregate::AggregateCall;
use super::{PhysicalExpr, SortKey};
use crate::types::RelationId;

/// An operator and everything it needs to know. Column numbers are those of the input (of the left one, then of
/// the right one, where a join's filter or projection sees both).
#[derive(Clone, Debug)]
pub enum OpSpec {
    /// The deltas of a relation: a stream, a table, or another materialized view's consolidated output.
    Source { relation: RelationId },
    /// Constant rows, inserted once, on worker 0.
    Constant { rows: arrow::array::RecordBatch },
    /// Rows for which `filter` is true, then `exprs` over them. A failing expression is NULL and recorded.
    Map { exprs: Vec<PhysicalExpr>, filter: Option<PhysicalExpr> },
    /// One row an element of the lists (zipped; the shorter padded with NULL), the other columns repeated. Output is the
    /// input's first columns. `outer`: a row whose lists are all empty or NULL stays, with NULLs.
    Unnest { lists: Vec<Elements>, outer: bool },
    /// Each row once for each window of `size` starting every `slide` (microseconds) that holds its `time` column;
    /// appends window_start and window_end. TUMBLE is slide = size. Rows with a NULL time are in no window.
    Hop { time: usize, slide: i64, size: i64 },
    /// Sum of the inputs.
    Union,
    /// Sends each row to the worker that owns the shard of its key. The only way rows cross workers.
    Exchange { to: ExchangeTo },
    /// Keeps the input's rows by `key`; passes the delta on. Joins read it.
    Arrange { key: Vec<usize> },
    /// Inner join of two Arrange nodes on their keys, pairwise equal; an empty key is a cross product.
    /// `filter` over left then right columns; `null_equals_null` for IS NOT DISTINCT FROM.
    Join { filter: Option<PhysicalExpr>, null_equals_null: bool },
    /// Left, right or full outer join of two Arrange nodes. Rows whose key has a NULL match nothing and are preserved.
    OuterJoin { preserve_left: bool, preserve_right: bool, filter: Option<PhysicalExpr>, null_equals_null: bool },
    /// Rows of the left Arrange node with (`Semi`) or without (`Anti`) a match on the right; `Mark` keeps all and appends
    /// a boolean: true, false, or NULL as `x IN (set)` answers (`null_aware`), else EXISTS's true or false.
    /// `null_aware` Anti is NOT IN: with one key column.
    SemiJoin { kind: SemiKind, filter: Option<PhysicalExpr>, null_aware: bool, null_equals_null: bool },
    /// Groups by the `group` columns; output is these, then one column a call. Without groups: exactly one row, always,
    /// from worker 0 (`global`).
    Aggregate { group: Vec<usize>, calls: Vec<AggregateCall>, global: bool },
    /// Each row of the input with positive weight, once.
    Distinct,
    /// Of two inputs' weights l, r of a row: Intersect min(l, r), Except max(l - r, 0); without `all`, 1 or 0 of (l > 0)
    /// and (r > 0), (l > 0 and not r > 0).
    SetOp { kind: SetOpKind, all: bool },
    /// Per `partition`, the rows at places offset+1 ..= offset+limit of the ordering; ties broken by the encoded row.
    TopN { partition: Vec<usize>, order: Vec<SortKey>, offset: u64, limit: Option<u64>, rank: RankKind },
    /// Passes its input; more than one live row is a recorded error 21000 and NULLs are answered. Zero rows become one of NULLs.
    /// Output always has exactly one row, on worker 0 (broadcast follows where needed).
    ScalarSubquery,
}

impl OpSpec {
    /// Whether both compute the same over the same inputs. Their text alone does not say it: Arrow leaves out the
    /// middle of long columns, functions their parameters.
    pub fn computes_same(&self, other: &OpSpec) -> bool {
        let rows = |spec: &OpSpec| match spec {
            OpSpec::Constant { rows } => Some(rows.clone()),
            _ => None,
        };
        format!("{self:?}") == format!("{other:?}") && self.exprs() == other.exprs() && rows(self) == rows(other)
    }

    /// The expressions it evaluates.
    fn exprs(&self) -> Vec<&PhysicalExpr> {
        match self {
            OpSpec::Map { exprs, filter } => exprs.iter().chain(filter).collect(),
            OpSpec::Join { filter, .. } | OpSpec::OuterJoin { filter, .. } | OpSpec::SemiJoin { filter, .. } => {
                filter.iter().collect()
            }
            OpSpec::Source { .. }
            | OpSpec::Constant { .. }
            | OpSpec::Unnest { .. }
            | OpSpec::Hop { .. }
            | OpSpec::Union
            | OpSpec::Exchange { .. }
            | OpSpec::Arrange { .. }
            | OpSpec::Aggregate { .. }
            | OpSpec::Distinct
            | OpSpec::SetOp { .. }
            | OpSpec::TopN { .. }
            | OpSpec::ScalarSubquery => Vec::new(),
        }
    }
}

/// Where the elements of an Unnest come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Elements {
    /// A list column, in whose place its elements stand.
    List(usize),
    /// generate_series, which no list is made of: its first value, in whose place the others stand; the last; the step; and of instants
    /// the zone's name.
    Series(Vec<usize>),
}

impl Elements {
    /// Where they stand.
    pub fn column(&self) -> usize {
        match self {
            Elements::List(column) => *column,
            Elements::Series(args) => args.first().copied().unwrap_or(0),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeTo {
    /// By the hash of these columns.
    Key(Vec<usize>),
    /// By the hash of the whole row.
    Row,
    /// Everything to worker 0.
    One,
    /// Every row to every worker.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SemiKind {
    Semi,
    Anti,
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetOpKind {
    Intersect,
    Except,
}

/// What `limit` counts, and what is appended to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RankKind {
    /// Rows; nothing appended (ORDER BY ... LIMIT, DISTINCT ON).
    Rows,
    /// row_number() <= limit; the number appended as bigint.
    RowNumber,
    /// rank() <= limit, with all ties; the rank appended.
    Rank,
    /// dense_rank() <= limit; appended.
    DenseRank,
}
