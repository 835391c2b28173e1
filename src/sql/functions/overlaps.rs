//! OVERLAPS: whether two stretches of time have a moment in common. Each is given by its ends in either order, is
//! half-open unless both are the same moment, and may have one end unknown.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use std::sync::Arc;

use super::entry::{Function, immutable};
use super::kernel::Call;
use crate::error::Result;
use crate::types::pg_type::oid::*;

/// The known end first, then the other; `None` if neither is known.
fn ordered(start: Option<i64>, end: Option<i64>) -> Option<(i64, Option<i64>)> {
    match (start, end) {
        (None, None) => None,
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
        (Some(known), None) | (None, Some(known)) => Some((known, None)),
    }
}

/// SQL's rule with its NULLs.
fn common(a: (Option<i64>, Option<i64>), b: (Option<i64>, Option<i64>)) -> Option<bool> {
    let (a, b) = (ordered(a.0, a.1)?, ordered(b.0, b.1)?);
    // The later start must come before the end of the other.
    let ((earlier, its_end), (later, other_end)) = if a.0 <= b.0 { (a, b) } else { (b, a) };
    if earlier == later {
        return (its_end.is_some() && other_end.is_some()).then_some(true);
    }
    match (later < its_end?, other_end) {
        (true, _) => Some(true),
        (false, None) => None,
        (false, Some(_)) => Some(false),
    }
}

fn overlaps(call: &Call) -> Result<ArrayRef> {
    let ends = call.args.iter().map(|arg| Ok(cast(&arg.array, &DataType::Int64)?)).collect::<Result<Vec<_>>>()?;
    let end = |n: usize, row: usize| {
        let (values, place) = (ends[n].as_primitive::<Int64Type>(), call.args[n].index(row));
        values.is_valid(place).then(|| values.value(place))
    };
    let answer = |row: usize| common((end(0, row), end(1, row)), (end(2, row), end(3, row)));
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

const OVERLAPS: &str = "(a, b) OVERLAPS (c, d): whether the stretches have a moment in common.";

pub const FUNCTIONS: &[Function] = &[
    immutable(1304, "overlaps", &[TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ], BOOL, overlaps, OVERLAPS),
    immutable(2041, "overlaps", &[TIMESTAMP, TIMESTAMP, TIMESTAMP, TIMESTAMP], BOOL, overlaps, OVERLAPS),
    immutable(1308, "overlaps", &[TIME, TIME, TIME, TIME], BOOL, overlaps, OVERLAPS),
];

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn ends_may_be_unknown() {
        let some = |a, b| (Some(a), Some(b));
        assert_eq!(common(some(1, 3), some(2, 4)), Some(true));
        assert_eq!(common(some(3, 1), some(4, 2)), Some(true));
        assert_eq!(common(some(1, 2), some(2, 3)), Some(false));
        assert_eq!(common(some(2, 2), some(2, 3)), Some(true));
        assert_eq!(common((Some(1), None), some(2, 3)), None);
        assert_eq!(common(some(1, 3), (Some(2), None)), Some(true));
        assert_eq!(common(some(1, 2), (Some(3), None)), None);
        assert_eq!(common((None, None), some(2, 3)), None);
    }
}
