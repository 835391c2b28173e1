//! Grouped aggregation: what is computed, and the accumulators that compute it for many groups at once.
//!
//! The accumulators are used by the incremental operator (`operator.rs`), which feeds them weighted rows for ever, and
//! by batch SELECTs, which feed them rows once: one implementation, so both give the same bits.
//!
//! | function                     | state of a group                          | file |
//! |------------------------------|-------------------------------------------|------|
//! | count                        | a count                                   | `count.rs` |
//! | sum, avg of ints, numerics   | exact 128 or 320 bit total, a count       | `integer_sum.rs`, `wide.rs` |
//! | sum, avg of floats           | exact total in limbs, a count             | `float_sum.rs`, `float_exact.rs` |
//! | sum, avg of intervals        | three totals, a count                     | `interval_sum.rs` |
//! | variance, stddev             | exact sums of x and x^2, a count          | `variance.rs` |
//! | bool_and, bool_or            | counts of true and of false               | `boolean.rs` |
//! | bit_and, bit_or, bit_xor     | a count a bit                             | `bits.rs` |
//! | min, max                     | ordered multiset; append-only: the best   | `extreme.rs`, `multiset.rs` |
//! | string_agg, array_agg        | ordered multiset                          | `lists.rs`, `multiset.rs` |
//! | DISTINCT of any              | weights of distinct tuples, and the above | `distinct.rs` |

mod bits;
mod boolean;
mod count;
mod distinct;
mod extreme;
mod float_exact;
mod float_sum;
mod integer_sum;
mod interval_sum;
mod lists;
mod multiset;
mod operator;
mod quotient;
mod rows;
#[cfg(test)]
mod tests;
mod variance;
mod wide;

use std::fmt;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, IntervalUnit};

pub use operator::Aggregate;

use super::SortKey;
use crate::error::{Error, Result};

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
    /// array_agg's first two: whether a subquery that may have one row has more.
    FirstTwo,
}

/// The types of one aggregate: what an [`Accumulator`] is made from.
#[derive(Clone, Debug)]
pub struct CallTypes {
    pub function: AggregateFunction,
    pub args: Vec<DataType>,
    /// ORDER BY inside the call: each column's type, and how it is ordered.
    pub order: Vec<(DataType, SortOptions)>,
    pub distinct: bool,
    pub output: DataType,
    /// No weight will ever be negative: extremes need not remember what they beat.
    pub append_only: bool,
}

/// One aggregate of every group, in columns: a group is an index. State is a function of the net multiset of each
/// group's values, whatever their order and however often a value came and went; fresh state is all zero.
pub trait Accumulator: Send + Sync + fmt::Debug {
    /// Groups `0..groups` may be named from now on; new ones are fresh.
    fn grow(&mut self, groups: usize);

    /// Adds rows to groups. `values` are the arguments, then the ORDER BY columns; one weight a row (`None`: all 1);
    /// only rows for which `keep` is true count.
    fn update(
        &mut self,
        groups: &[u32],
        values: &[ArrayRef],
        weights: Option<&[i64]>,
        keep: Option<&BooleanArray>,
    ) -> Result<()>;

    /// About how many bytes the group's result has, and not less, where results differ in length.
    fn size(&self, _group: u32) -> usize {
        0
    }

    /// The result of each of these groups, of the output type; together they fit an array. A result that can't be represented
    /// is NULL, and is told in `failures`.
    fn finish(&self, groups: &[u32], failures: &mut Vec<Failure>) -> Result<ArrayRef>;

    /// Gives the group's memory back if its state is that of a fresh group; tells whether it is.
    fn release(&mut self, group: u32) -> bool;

    /// Bytes held.
    fn bytes(&self) -> usize;

    /// The state of these groups, in their order.
    fn save(&self, groups: &[u32]) -> Result<Vec<u8>>;

    /// Makes groups 0, 1, ... of a fresh accumulator those that were saved.
    fn load(&mut self, saved: &[u8]) -> Result<()>;
}

/// A result that could not be given.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Index into the groups asked for.
    pub at: usize,
    pub error: Error,
}

/// The accumulator for these types, without groups yet. Types that no overload of the function takes are an
/// internal error: the binder resolves overloads.
pub fn accumulator(types: &CallTypes) -> Result<Box<dyn Accumulator>> {
    use AggregateFunction as F;
    let inner = plain(types)?;
    // DISTINCT changes nothing where a value's second occurrence doesn't.
    let idempotent = matches!(types.function, F::Min | F::Max | F::BoolAnd | F::BoolOr | F::BitAnd | F::BitOr);
    if types.distinct && !idempotent && !types.args.is_empty() {
        return Ok(Box::new(distinct::Distinct::new(inner, &types.args)?));
    }
    Ok(inner)
}

fn plain(types: &CallTypes) -> Result<Box<dyn Accumulator>> {
    use AggregateFunction as F;
    let CallTypes { function, args, order, output, append_only, .. } = types;
    let refused = || Error::internal(format!("no aggregate {function:?} over {args:?} to {output}"));
    let one = || args.first().ok_or_else(refused);
    let made = match function {
        F::CountRows => Some(Box::new(count::Count::new(false)) as Box<dyn Accumulator>),
        F::Count => Some(Box::new(count::Count::new(true)) as Box<dyn Accumulator>),
        F::Sum | F::Avg => match one()? {
            DataType::Float32 | DataType::Float64 => {
                Some(Box::new(float_sum::FloatSum::new(output, *function == F::Avg)) as Box<dyn Accumulator>)
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Some(Box::new(interval_sum::IntervalSum::new(*function == F::Avg)) as Box<dyn Accumulator>)
            }
            input => integer_sum::integer_sum(input, output, *function == F::Avg)?,
        },
        F::Min | F::Max => Some(extreme::extreme(one()?, *function == F::Max, *append_only)?),
        F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp => match variance::Spread::of(*function) {
            Some(spread) => variance::variance(one()?, output, spread)?,
            None => None,
        },
        F::BoolAnd | F::BoolOr => {
            Some(Box::new(boolean::Booleans::new(*function == F::BoolAnd)) as Box<dyn Accumulator>)
        }
        F::BitAnd | F::BitOr | F::BitXor => bits::bits(*function, one()?),
        F::StringAgg | F::ArrayAgg | F::FirstTwo => {
            let most = if *function == F::FirstTwo { 2 } else { usize::MAX };
            Some(Box::new(lists::Lists::new(args, order, output, most)?) as Box<dyn Accumulator>)
        }
    };
    made.ok_or_else(refused)
}
