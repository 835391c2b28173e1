//! generate_series: from a start by a step up to a stop, inclusive, over integers, numerics and timestamps.
//!
//! One value is held at a time. Unnest in views (`unnest.rs`), the kernel behind arrays (`sql/arrays.rs`) and the streamed rows
//! of a series in FROM (`query/series.rs`) all take their values from here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal256Array, Int64Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal256Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType, i256,
};

use crate::error::{Error, Result, SqlState};
use crate::types::time_shift::add_interval_in;
use crate::types::{Zone, interval};

/// Scale at which numerics are counted; wide enough for each that a series is made of.
const SCALE: i8 = 38;

/// Values that one series in a view or an array may have.
pub const MAX_SERIES: usize = 16 << 20;
/// Values looked at together to count them.
const BATCH: usize = 8 * 1024;

/// The values that are still to come.
#[derive(Clone, Debug)]
pub enum Series {
    Integers {
        next: Option<i64>,
        stop: i64,
        step: i64,
    },
    Numerics {
        next: Option<i256>,
        stop: i256,
        step: i256,
    },
    /// Months and days are the zone's.
    Times {
        next: Option<i64>,
        stop: i64,
        step: IntervalMonthDayNano,
        zone: Zone,
    },
}

impl Series {
    /// The series of one row's arguments: start, stop, step and, of instants, the zone's name. `None` if one is NULL.
    pub fn of(args: &[ArrayRef], row: usize) -> Result<Option<Series>> {
        if args.iter().any(|arg| arg.is_null(row)) {
            return Ok(None);
        }
        let (series, still) = match args[0].data_type() {
            DataType::Timestamp(..) => {
                let time = |n: usize| args[n].as_primitive::<TimestampMicrosecondType>().value(row);
                let step = args[2].as_primitive::<IntervalMonthDayNanoType>().value(row);
                let zone = match args.get(3) {
                    Some(zone) => Zone::parse(zone.as_string::<i32>().value(row))?,
                    None => Zone::UTC,
                };
                (Series::Times { next: Some(time(0)), stop: time(1), step, zone }, interval::span(&step) == 0)
            }
            DataType::Decimal128(..) | DataType::Decimal256(..) => {
                let value = |n: usize| -> Result<i256> {
                    let wide = cast(&args[n].slice(row, 1), &DataType::Decimal256(76, SCALE))?;
                    Ok(wide.as_primitive::<Decimal256Type>().value(0))
                };
                let step = value(2)?;
                (Series::Numerics { next: Some(value(0)?), stop: value(1)?, step }, step == i256::ZERO)
            }
            _ => {
                let value = |n: usize| -> Result<i64> {
                    Ok(cast(&args[n].slice(row, 1), &DataType::Int64)?.as_primitive::<Int64Type>().value(0))
                };
                let step = value(2)?;
                (Series::Integers { next: Some(value(0)?), stop: value(1)?, step }, step == 0)
            }
        };
        match still {
            true => Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero")),
            false => Ok(Some(series)),
        }
    }

    /// Goes through the values once: an error that one of them makes, or that there are more than [`MAX_SERIES`].
    pub fn check(&self, ty: &DataType) -> Result<()> {
        let (mut rest, mut count) = (self.clone(), 0);
        while count <= MAX_SERIES {
            match rest.take(BATCH, ty)?.len() {
                0 => return Ok(()),
                values => count += values,
            }
        }
        Err(too_long())
    }

    /// At most so many of the next values, as an array of this type; empty at the end.
    pub fn take(&mut self, most: usize, ty: &DataType) -> Result<ArrayRef> {
        let values: ArrayRef = match self {
            Series::Integers { next, stop, step } => {
                let (stop, step) = (*stop, *step);
                let within = |value: &i64| if step > 0 { *value <= stop } else { *value >= stop };
                let values = up_to(most, next, within, |value| Ok(value.checked_add(step)))?;
                Arc::new(Int64Array::from(values))
            }
            Series::Numerics { next, stop, step } => {
                let (stop, step) = (*stop, *step);
                let within = |value: &i256| if step > i256::ZERO { *value <= stop } else { *value >= stop };
                let values = up_to(most, next, within, |value| Ok(value.checked_add(step)))?;
                Arc::new(Decimal256Array::from(values).with_precision_and_scale(76, SCALE)?)
            }
            Series::Times { next, stop, step, zone } => {
                let forward = interval::span(step) > 0;
                let within = |value: &i64| if forward { *value <= *stop } else { *value >= *stop };
                let values = up_to(most, next, within, |value| add_interval_in(value, step, zone).map(Some))?;
                Arc::new(TimestampMicrosecondArray::from(values))
            }
        };
        match (&values.data_type(), ty) {
            // The same instants under the name of their zone.
            (DataType::Timestamp(..), DataType::Timestamp(..)) => {
                let times = values.as_primitive::<TimestampMicrosecondType>().clone();
                Ok(Arc::new(times.with_data_type(ty.clone())))
            }
            _ => Ok(cast(&values, ty)?),
        }
    }
}

pub fn too_long() -> Error {
    let message = format!("generate_series makes more than the {MAX_SERIES} rows allowed");
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
}

/// Values from `next` on, while they are `within`; the step to the one after is only taken when that is asked for.
fn up_to<T: Copy>(
    most: usize,
    next: &mut Option<T>,
    within: impl Fn(&T) -> bool,
    step: impl Fn(T) -> Result<Option<T>>,
) -> Result<Vec<T>> {
    let mut values = Vec::with_capacity(most.min(1024));
    while values.len() < most {
        let Some(value) = next.filter(&within) else {
            *next = None;
            break;
        };
        values.push(value);
        *next = step(value)?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;

    use super::*;

    fn integers(start: i32, stop: i32, step: i32) -> Vec<ArrayRef> {
        [start, stop, step].into_iter().map(|value| Arc::new(Int32Array::from(vec![value])) as ArrayRef).collect()
    }

    fn all(mut series: Series, most: usize) -> Vec<i64> {
        let mut values = Vec::new();
        loop {
            let next = series.take(most, &DataType::Int64).unwrap();
            if next.is_empty() {
                return values;
            }
            values.extend(next.as_primitive::<Int64Type>().values());
        }
    }

    #[test]
    fn pieces_are_the_whole() {
        for most in [1, 2, 3, 100] {
            assert_eq!(all(Series::of(&integers(1, 10, 3), 0).unwrap().unwrap(), most), [1, 4, 7, 10]);
            assert_eq!(all(Series::of(&integers(3, 1, -1), 0).unwrap().unwrap(), most), [3, 2, 1]);
            assert!(all(Series::of(&integers(3, 1, 1), 0).unwrap().unwrap(), most).is_empty());
        }
        let end = Series::Integers { next: Some(i64::MAX - 1), stop: i64::MAX, step: 1 };
        assert_eq!(all(end, 8), [i64::MAX - 1, i64::MAX]);
        assert_eq!(Series::of(&integers(1, 2, 0), 0).unwrap_err().state(), SqlState::INVALID_PARAMETER_VALUE);
    }
}
