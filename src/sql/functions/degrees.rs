//! Trigonometry in degrees, exact at the angles people write (sind(30) is 0.5), and the inverse hyperbolic functions.
//! Reduced to the first quadrant and scaled by the values at 30, 45 and 60 degrees as Postgres does it.

use arrow::array::ArrayRef;

use super::entry::{Function, immutable};
use super::kernel::Call;
use super::strict::{strict1, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::pg_type::oid::*;

fn out_of_range() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

fn small_sine(x: f64) -> f64 {
    x.to_radians().sin() / 30f64.to_radians().sin() / 2.0
}

fn small_cosine(x: f64) -> f64 {
    1.0 - (1.0 - x.to_radians().cos()) / (1.0 - 60f64.to_radians().cos()) / 2.0
}

/// Of an angle from 0 to 90.
fn sine(x: f64) -> f64 {
    if x <= 30.0 { small_sine(x) } else { small_cosine(90.0 - x) }
}

fn cosine(x: f64) -> f64 {
    if x <= 60.0 { small_cosine(x) } else { small_sine(90.0 - x) }
}

fn tangent(x: f64) -> f64 {
    sine(x) / cosine(x) / (sine(45.0) / cosine(45.0))
}

/// The angle from 0 to 90 with the same values but for signs; whether it was negative, beyond 180, beyond 90.
fn reduced(x: f64) -> Result<(f64, bool, bool, bool)> {
    if x.is_infinite() {
        return Err(out_of_range());
    }
    let (mut angle, negative) = ((x % 360.0).abs(), x.is_sign_negative());
    let beyond_half = angle > 180.0;
    if beyond_half {
        angle = 360.0 - angle;
    }
    let beyond_quarter = angle > 90.0;
    if beyond_quarter {
        angle = 180.0 - angle;
    }
    Ok((angle, negative, beyond_half, beyond_quarter))
}

/// Tangents and cosines have no negative zero, sines do.
fn signed(value: f64, negative: bool) -> f64 {
    if negative && value != 0.0 { -value } else { value }
}

fn signed_sine(value: f64, negative: bool) -> f64 {
    if negative { -value } else { value }
}

fn sind(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| {
        let (angle, negative, half, _) = reduced(x)?;
        Ok(signed_sine(sine(angle), negative != half))
    })
}

fn cosd(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| {
        let (angle, _, _, quarter) = reduced(x)?;
        Ok(signed(cosine(angle), quarter))
    })
}

fn tand(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| {
        let (angle, negative, half, quarter) = reduced(x)?;
        Ok(signed(tangent(angle), negative ^ half ^ quarter))
    })
}

fn cotd(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| {
        let (angle, negative, half, quarter) = reduced(x)?;
        let value = cosine(angle) / sine(angle) / (cosine(45.0) / sine(45.0));
        Ok(signed(value, negative ^ half ^ quarter))
    })
}

/// Degrees whose sine it is, for 0 to 1.
fn arc_sine(x: f64) -> f64 {
    match x <= 0.5 {
        true => x.asin() / 0.5f64.asin() * 30.0,
        false => 90.0 - x.acos() / 0.5f64.acos() * 60.0,
    }
}

fn arc_cosine(x: f64) -> f64 {
    match x <= 0.5 {
        true => 90.0 - x.asin() / 0.5f64.asin() * 30.0,
        false => x.acos() / 0.5f64.acos() * 60.0,
    }
}

fn unit(x: f64) -> Result<f64> {
    if (-1.0..=1.0).contains(&x) || x.is_nan() { Ok(x) } else { Err(out_of_range()) }
}

fn asind(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| unit(x).map(|x| signed_sine(arc_sine(x.abs()), x.is_sign_negative())))
}

fn acosd(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| unit(x).map(|x| if x >= 0.0 { arc_cosine(x) } else { 90.0 + arc_sine(-x) }))
}

fn atand(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| Ok(x.atan() / 1f64.atan() * 45.0))
}

fn atan2d(call: &Call) -> Result<ArrayRef> {
    strict2(call, |y: f64, x: f64| Ok(y.atan2(x) / 1f64.atan() * 45.0))
}

/// From here on x² + 1 is x², and their logarithm that of 2x, which itself may be too great.
const HUGE: f64 = (1u64 << 28) as f64;

fn asinh(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| {
        let great = x.abs() > HUGE;
        Ok(if great { (x.abs().ln() + std::f64::consts::LN_2).copysign(x) } else { x.asinh() })
    })
}

fn acosh(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| match x {
        ..1.0 => Err(out_of_range()),
        HUGE.. => Ok(x.ln() + std::f64::consts::LN_2),
        _ => Ok(x.acosh()),
    })
}

fn atanh(call: &Call) -> Result<ArrayRef> {
    strict1(call, |x: f64| unit(x).map(f64::atanh))
}

pub const FUNCTIONS: &[Function] = &[
    immutable(2735, "sind", &[FLOAT8], FLOAT8, sind, "Sine of an angle in degrees."),
    immutable(2736, "cosd", &[FLOAT8], FLOAT8, cosd, "Cosine of an angle in degrees."),
    immutable(2737, "tand", &[FLOAT8], FLOAT8, tand, "Tangent of an angle in degrees."),
    immutable(2738, "cotd", &[FLOAT8], FLOAT8, cotd, "Cotangent of an angle in degrees."),
    immutable(2731, "asind", &[FLOAT8], FLOAT8, asind, "Inverse sine, in degrees."),
    immutable(2732, "acosd", &[FLOAT8], FLOAT8, acosd, "Inverse cosine, in degrees."),
    immutable(2733, "atand", &[FLOAT8], FLOAT8, atand, "Inverse tangent, in degrees."),
    immutable(2734, "atan2d", &[FLOAT8, FLOAT8], FLOAT8, atan2d, "Inverse tangent of a quotient, in degrees."),
    immutable(2465, "asinh", &[FLOAT8], FLOAT8, asinh, "Inverse hyperbolic sine."),
    immutable(2466, "acosh", &[FLOAT8], FLOAT8, acosh, "Inverse hyperbolic cosine."),
    immutable(2467, "atanh", &[FLOAT8], FLOAT8, atanh, "Inverse hyperbolic tangent."),
];
