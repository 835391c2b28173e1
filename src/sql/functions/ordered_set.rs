//! Kernels behind aggregates that need all values of a group: they are handed the group's values as an array.
//!
//! percentile_cont, percentile_disc and mode read it in its order; the regressions walk two arrays of pairs once with
//! the update of Youngs and Cramer, as Postgres does, which loses nothing to a large common offset.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int64Array, ListBuilder, StringArray, StringBuilder,
    UInt32Array, make_comparator,
};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{Float64Type, IntervalMonthDayNanoType};

use super::compare;
use super::kernel::{Arg, Call};
use super::strict::Interval;
use crate::error::{Error, Result, SqlState};
use crate::types::builder::push_text;
use crate::types::json::{self, Value};
use crate::types::{Type, interval};

/// A row's list, or `None` for NULL and for no elements.
fn list_at(arg: &Arg, row: usize) -> Option<ArrayRef> {
    let list = arg.array.as_list::<i32>();
    let index = arg.index(row);
    (!list.is_null(index)).then(|| list.value(index)).filter(|values| !values.is_empty())
}

/// The type of an array's elements.
fn element(array: &Type) -> Result<&Type> {
    match array {
        Type::Array(item) => Ok(item),
        other => Err(Error::internal(format!("an ordered set of {}", other.name()))),
    }
}

fn fraction(p: f64) -> Result<f64> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(p),
        false => {
            let message = format!("percentile value {p} is not between 0 and 1");
            Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message))
        }
    }
}

/// The places around a fraction of `count` values, and how far between them it is.
fn between(p: f64, count: usize) -> (usize, usize, f64) {
    let place = p * (count - 1) as f64;
    (place.floor() as usize, place.ceil() as usize, place - place.floor())
}

/// (values in order, fraction or fractions).
pub fn percentile_cont(call: &Call) -> Result<ArrayRef> {
    if call.types[0] == Type::Array(Box::new(Type::Interval)) {
        return percentile_of_intervals(call);
    }
    let value_at = |values: &Float64Array, p: f64| -> Result<f64> {
        let (first, second, part) = between(fraction(p)?, values.len());
        let (low, high) = (values.value(first), values.value(second));
        Ok(if first == second { low } else { low + part * (high - low) })
    };
    if let Type::Array(_) = call.types[1] {
        let mut out = ListBuilder::new(Float64Builder::new());
        for row in 0..call.rows {
            let (Some(values), false) = (list_at(&call.args[0], row), call.args[1].is_null(row)) else {
                out.append(false);
                continue;
            };
            let fractions = call.args[1].array.as_list::<i32>().value(call.args[1].index(row));
            for p in fractions.as_primitive::<Float64Type>() {
                let value = p.map(|p| value_at(values.as_primitive(), p)).transpose()?;
                out.values().append_option(value);
            }
            out.append(true);
        }
        return Ok(Arc::new(out.finish()));
    }
    let fractions = call.args[1].cast::<Float64Array>()?;
    let mut out = Float64Builder::with_capacity(call.rows);
    for row in 0..call.rows {
        let values = list_at(&call.args[0], row).filter(|_| !call.args[1].is_null(row));
        let p = call.args[1].index(row);
        out.append_option(values.map(|v| value_at(v.as_primitive(), fractions.value(p))).transpose()?);
    }
    Ok(Arc::new(out.finish()))
}

fn percentile_of_intervals(call: &Call) -> Result<ArrayRef> {
    let fractions = call.args[1].cast::<Float64Array>()?;
    let mut out = arrow::array::PrimitiveBuilder::<IntervalMonthDayNanoType>::with_capacity(call.rows);
    for row in 0..call.rows {
        let Some(values) = list_at(&call.args[0], row).filter(|_| !call.args[1].is_null(row)) else {
            out.append_null();
            continue;
        };
        let values = values.as_primitive::<IntervalMonthDayNanoType>();
        let (first, second, part) = between(fraction(fractions.value(call.args[1].index(row)))?, values.len());
        let (low, high) = (values.value(first), values.value(second));
        out.append_value(if first == second { low } else { interval_between(low, high, part)? });
    }
    Ok(Arc::new(out.finish()))
}

/// `low + part * (high - low)`, months spilling into days and days into microseconds.
fn interval_between(low: Interval, high: Interval, part: f64) -> Result<Interval> {
    let months = f64::from(high.months - low.months) * part;
    let days = f64::from(high.days - low.days) * part + months.fract() * 30.0;
    let micros = (interval::micros(&high) - interval::micros(&low)) as f64 * part + days.fract() * 86_400_000_000.0;
    interval::of_parts(
        i64::from(low.months) + months.trunc() as i64,
        i64::from(low.days) + days.trunc() as i64,
        interval::micros(&low) + micros.round() as i64,
    )
}

/// Elements of the rows' lists by place, NULL for `None`.
fn picked(call: &Call, pick: impl Fn(&ArrayRef, usize) -> Result<Option<usize>>) -> Result<ArrayRef> {
    let list = call.args[0].array.as_list::<i32>();
    let mut places = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let found = match list_at(&call.args[0], row) {
            Some(values) => pick(&values, row)?,
            None => None,
        };
        let start = list.value_offsets()[call.args[0].index(row)] as usize;
        places.push(found.map(|place| (start + place) as u32));
    }
    Ok(take(list.values(), &UInt32Array::from(places), None)?)
}

/// The first value that at least this fraction of the values don't come after.
pub fn percentile_disc(call: &Call) -> Result<ArrayRef> {
    let fractions = call.args[1].cast::<Float64Array>()?;
    picked(call, |values, row| {
        if call.args[1].is_null(row) {
            return Ok(None);
        }
        let p = fraction(fractions.value(call.args[1].index(row)))?;
        Ok(Some(((p * values.len() as f64).ceil() as usize).max(1) - 1))
    })
}

/// The most frequent value; of several the first in the order. Of its equal forms the least.
pub fn mode(call: &Call) -> Result<ArrayRef> {
    let item = element(&call.types[0])?;
    picked(call, |values, _| {
        let keys = compare::ordered(item, values)?;
        let compare = make_comparator(&keys, &keys, SortOptions::default())?;
        let (mut best, mut most, mut start) = (0, 0, 0);
        for at in 1..=values.len() {
            if at == values.len() || !compare(start, at).is_eq() {
                if at - start > most {
                    (best, most) = (start, at - start);
                }
                start = at;
            }
        }
        Ok(Some(best))
    })
}

/// What a regression of y on x is computed from.
#[derive(Default)]
struct Moments {
    count: f64,
    sum_x: f64,
    sum_y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Moments {
    fn add(&mut self, y: f64, x: f64) {
        self.count += 1.0;
        self.sum_x += x;
        self.sum_y += y;
        if self.count > 1.0 {
            let (dx, dy) = (x * self.count - self.sum_x, y * self.count - self.sum_y);
            let scale = 1.0 / (self.count * (self.count - 1.0));
            self.xx += dx * dx * scale;
            self.yy += dy * dy * scale;
            self.xy += dx * dy * scale;
        } else if !x.is_finite() || !y.is_finite() {
            (self.xx, self.yy, self.xy) = (f64::NAN, f64::NAN, f64::NAN);
        }
    }
}

/// Over (ys, xs): arrays of the same length.
fn regression(call: &Call, result: fn(&Moments) -> Option<f64>) -> Result<ArrayRef> {
    let moments = (0..call.rows).map(|row| moments_at(call, row));
    Ok(Arc::new(moments.map(|moments| result(&moments).filter(|_| moments.count > 0.0)).collect::<Float64Array>()))
}

fn moments_at(call: &Call, row: usize) -> Moments {
    let mut moments = Moments::default();
    if let (Some(ys), Some(xs)) = (list_at(&call.args[0], row), list_at(&call.args[1], row)) {
        let (ys, xs) = (ys.as_primitive::<Float64Type>(), xs.as_primitive::<Float64Type>());
        ys.values().iter().zip(xs.values()).for_each(|(y, x)| moments.add(*y, *x));
    }
    moments
}

macro_rules! regressions {
    ($($name:ident = |$m:ident| $result:expr;)*) => {
        $(pub fn $name(call: &Call) -> Result<ArrayRef> {
            regression(call, |$m| $result)
        })*
    };
}

regressions! {
    corr = |m| (m.xx != 0.0 && m.yy != 0.0).then(|| m.xy / (m.xx * m.yy).sqrt());
    covar_pop = |m| Some(m.xy / m.count);
    covar_samp = |m| (m.count > 1.0).then(|| m.xy / (m.count - 1.0));
    regr_sxx = |m| Some(m.xx);
    regr_syy = |m| Some(m.yy);
    regr_sxy = |m| Some(m.xy);
    regr_avgx = |m| Some(m.sum_x / m.count);
    regr_avgy = |m| Some(m.sum_y / m.count);
    regr_r2 = |m| (m.xx != 0.0).then(|| if m.yy == 0.0 { 1.0 } else { m.xy * m.xy / (m.xx * m.yy) });
    regr_slope = |m| (m.xx != 0.0).then(|| m.xy / m.xx);
    regr_intercept = |m| (m.xx != 0.0).then(|| (m.sum_y - m.sum_x * m.xy / m.xx) / m.count);
}

pub fn regr_count(call: &Call) -> Result<ArrayRef> {
    Ok(Arc::new((0..call.rows).map(|row| Some(moments_at(call, row).count as i64)).collect::<Int64Array>()))
}

/// (keys as text, values as jsonb): an object, of equal keys the last wins.
pub fn object_of(call: &Call) -> Result<ArrayRef> {
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    for row in 0..call.rows {
        let (Some(keys), Some(values)) = (list_at(&call.args[0], row), list_at(&call.args[1], row)) else {
            out.append_null();
            continue;
        };
        let (keys, values): (&StringArray, &StringArray) = (keys.as_string(), values.as_string());
        let mut fields = Vec::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(values) {
            let key =
                key.ok_or_else(|| Error::new(SqlState::INVALID_PARAMETER_VALUE, "field name must not be null"))?;
            fields.push((key.to_string(), value.map_or(Ok(Value::Null), json::parse)?));
        }
        push_text(&mut out, Some(&Value::object(fields).to_text()))?;
    }
    Ok(Arc::new(out.finish()))
}
