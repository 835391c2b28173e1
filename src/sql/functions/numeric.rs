//! Numerics: exact arithmetic whose result has the scale Postgres would derive, as part of its type.
//!
//! | expression | scale of the result |
//! |---|---|
//! | a + b, a - b, a % b | the greater of the two |
//! | a * b | the sum of the two |
//! | a / b | 16 or the greatest of the two, whichever is more |
//!
//! Where the digits of the result type could be more than 38 the result is a bare numeric: 38 digits before and 38
//! behind the point, and a quotient rounded where Postgres rounds it. What does not fit is 22003; nothing ever wraps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::datatypes::{Decimal128Type, Decimal256Type, i256};
use datafusion::logical_expr::Volatility;
use num_bigint::BigInt;

use super::entry::{Function, Operator, Typed, built, constant_integer, immutable, kernel_call, operator};
use super::integer::division_by_zero;
use super::kernel::{Arg, Call};
use super::strict::{Fixed, Free, Output, strict1, strict2};
use crate::error::Result;
use crate::types::numeric::{self, Decimal, MAX_SCALE, POWERS, overflow};
use crate::types::pg_type::oid::*;
use crate::types::{Numeric, Type};

/// Integer digits and scale of a numeric type; `None` for a bare one.
fn digits(ty: &Type) -> Option<(i32, i32)> {
    match ty {
        Type::Numeric(Numeric::Fixed { precision, scale }) => {
            Some((i32::from(*precision) - i32::from(*scale), i32::from(*scale)))
        }
        _ => None,
    }
}

pub(super) fn of_two(types: &[Type], rule: fn((i32, i32), (i32, i32)) -> (i32, i32)) -> Result<Type> {
    Ok(match (digits(&types[0]), digits(&types[1])) {
        (Some(a), Some(b)) => {
            let (integer, scale) = rule(a, b);
            Type::Numeric(Numeric::with_digits(integer, scale))
        }
        _ => Type::NUMERIC,
    })
}

fn sum_type(types: &[Type]) -> Result<Type> {
    of_two(types, |a, b| (a.0.max(b.0) + 1, a.1.max(b.1)))
}

fn product_type(types: &[Type]) -> Result<Type> {
    of_two(types, |a, b| (a.0 + b.0, a.1 + b.1))
}

fn quotient_type(types: &[Type]) -> Result<Type> {
    of_two(types, |a, b| (a.0 + b.1, 16.max(a.1).max(b.1)))
}

fn rest_type(types: &[Type]) -> Result<Type> {
    of_two(types, |a, b| (a.0.min(b.0).max(1), a.1.max(b.1)))
}

pub fn same_type(types: &[Type]) -> Result<Type> {
    Ok(types[0].clone())
}

/// Rounding may carry into one more digit.
fn integer_type(types: &[Type]) -> Result<Type> {
    Ok(match digits(&types[0]) {
        Some((integer, _)) => Type::Numeric(Numeric::with_digits(integer + 1, 0)),
        None => Type::NUMERIC,
    })
}

fn scale_of(ty: &Type) -> u32 {
    digits(ty).map_or(MAX_SCALE, |(_, scale)| scale as u32)
}

/// A numeric argument of either width.
enum Values<'a> {
    Narrow(&'a Decimal128Array, u32),
    Wide(&'a Decimal256Array),
}

impl Values<'_> {
    fn of<'a>(arg: &'a Arg, ty: &Type) -> Result<Values<'a>> {
        Ok(match ty {
            Type::Numeric(Numeric::Fixed { scale, .. }) => {
                Values::Narrow(arg.cast::<Decimal128Array>()?, *scale as u32)
            }
            _ => Values::Wide(arg.cast::<Decimal256Array>()?),
        })
    }

    /// The value at an index, as wide as can be; a bare numeric without its padding zeros.
    fn get(&self, index: usize) -> Decimal {
        match self {
            Values::Narrow(array, scale) => Decimal::new(i256::from_i128(array.value(index)), *scale),
            Values::Wide(array) => Decimal::new(array.value(index), MAX_SCALE).trimmed(),
        }
    }
}

/// Row by row over one numeric of any type; the result is cast to the call's numeric type.
pub fn decimal1(call: &Call, f: impl Fn(Decimal) -> Result<Decimal>) -> Result<ArrayRef> {
    let values = Values::of(&call.args[0], &call.types[0])?;
    decimals(call, 1, |rows| f(values.get(rows[0])))
}

/// Row by row over two numerics of any type.
pub fn decimal2(call: &Call, f: impl Fn(Decimal, Decimal) -> Result<Decimal>) -> Result<ArrayRef> {
    let left = Values::of(&call.args[0], &call.types[0])?;
    let right = Values::of(&call.args[1], &call.types[1])?;
    decimals(call, 2, |rows| f(left.get(rows[0]), right.get(rows[1])))
}

fn decimals(call: &Call, args: usize, f: impl Fn([usize; 2]) -> Result<Decimal>) -> Result<ArrayRef> {
    let value = |row: usize| -> Result<Option<Decimal>> {
        if call.args[..args].iter().any(|arg| arg.is_null(row)) {
            return Ok(None);
        }
        let second = call.args.get(1).map_or(0, |arg| arg.index(row));
        f([call.args[0].index(row), second]).map(Some)
    };
    match call.result {
        Type::Numeric(Numeric::Fixed { precision, scale }) => {
            let mut out = Fixed::builder(call.rows, call.result);
            for row in 0..call.rows {
                let fitted = value(row)?.map(|value| numeric::fit(value, *precision, *scale)).transpose();
                out.append_option(fitted.map_err(|_| overflow())?);
            }
            Ok(Fixed::finish(out))
        }
        _ => {
            let mut out = Free::builder(call.rows, call.result);
            for row in 0..call.rows {
                out.append_option(value(row)?.map(numeric::fit_free).transpose()?);
            }
            Ok(Free::finish(out))
        }
    }
}

/// Whether both arguments and the result are held in 128 bits; their scales and the result's.
fn narrow(call: &Call) -> Option<(u32, u32, u32)> {
    let scale = |ty: &Type| digits(ty).map(|(_, scale)| scale as u32);
    Some((scale(&call.types[0])?, scale(&call.types[1])?, scale(call.result)?))
}

fn add_or_subtract(call: &Call, sign: i128) -> Result<ArrayRef> {
    if let Some((a, b, result)) = narrow(call) {
        let (up_a, up_b) = (POWERS[(result - a) as usize], POWERS[(result - b) as usize] * sign);
        return strict2(call, |x: Fixed, y: Fixed| {
            let sum = x.0.checked_mul(up_a).zip(y.0.checked_mul(up_b)).and_then(|(x, y)| x.checked_add(y));
            sum.map(Fixed).ok_or_else(overflow)
        });
    }
    decimal2(call, |x, y| {
        let scale = x.scale.max(y.scale);
        let (x, y) = x.rescale(scale).zip(y.rescale(scale)).ok_or_else(overflow)?;
        let y = if sign < 0 { y.wrapping_neg() } else { y };
        Ok(Decimal::new(x.checked_add(y).ok_or_else(overflow)?, scale))
    })
}

fn add(call: &Call) -> Result<ArrayRef> {
    add_or_subtract(call, 1)
}

fn subtract(call: &Call) -> Result<ArrayRef> {
    add_or_subtract(call, -1)
}

fn multiply(call: &Call) -> Result<ArrayRef> {
    if narrow(call).is_some() {
        return strict2(call, |x: Fixed, y: Fixed| x.0.checked_mul(y.0).map(Fixed).ok_or_else(overflow));
    }
    decimal2(call, product)
}

/// The exact product, rounded to what a bare numeric holds.
pub fn product(x: Decimal, y: Decimal) -> Result<Decimal> {
    let scale = x.scale + y.scale;
    if let Some(value) = x.unscaled.checked_mul(y.unscaled) {
        let exact = Decimal::new(value, scale);
        let kept = scale.min(MAX_SCALE);
        return Ok(Decimal::new(exact.rescale(kept).ok_or_else(overflow)?, kept));
    }
    narrowed(big(x.unscaled) * big(y.unscaled), scale, MAX_SCALE)
}

pub fn big(value: i256) -> BigInt {
    BigInt::from_signed_bytes_le(&value.to_le_bytes())
}

/// A big unscaled value at a smaller scale, rounded half away from zero.
pub fn narrowed(value: BigInt, scale: u32, kept: u32) -> Result<Decimal> {
    let value = if scale > kept { divide_rounded(value, BigInt::from(10).pow(scale - kept)) } else { value };
    let kept = kept.min(scale);
    let bytes = value.to_signed_bytes_le();
    let mut wide = if value.sign() == num_bigint::Sign::Minus { [0xff; 32] } else { [0; 32] };
    wide.get_mut(..bytes.len()).ok_or_else(overflow)?.copy_from_slice(&bytes);
    Ok(Decimal::new(i256::from_le_bytes(wide), kept))
}

/// Quotient rounded half away from zero.
pub fn divide_rounded(value: BigInt, divisor: BigInt) -> BigInt {
    use num_bigint::Sign;
    let (quotient, rest) = (&value / &divisor, &value % &divisor);
    let twice = rest.magnitude() * 2u32;
    if &twice >= divisor.magnitude() {
        let negative = (value.sign() == Sign::Minus) != (divisor.sign() == Sign::Minus);
        if negative { quotient - 1 } else { quotient + 1 }
    } else {
        quotient
    }
}

fn divide(call: &Call) -> Result<ArrayRef> {
    if let Some((a, b, result)) = narrow(call) {
        let up = POWERS[(result + b - a) as usize];
        return strict2(call, |x: Fixed, y: Fixed| {
            if y.0 == 0 {
                return Err(division_by_zero());
            }
            let value = x.0.checked_mul(up).ok_or_else(overflow)?;
            let divisor = y.0.abs();
            Ok(Fixed(numeric::div_round(value, divisor) * y.0.signum()))
        });
    }
    decimal2(call, quotient)
}

/// The quotient, rounded where Postgres rounds it: 16 significant digits at least, and the operands' scales.
pub fn quotient(x: Decimal, y: Decimal) -> Result<Decimal> {
    if y.unscaled == i256::ZERO {
        return Err(division_by_zero());
    }
    let scale = quotient_scale(x, y).min(MAX_SCALE);
    let up = scale + y.scale;
    let numerator = big(x.unscaled) * BigInt::from(10).pow(up.saturating_sub(x.scale));
    let denominator = big(y.unscaled) * BigInt::from(10).pow(x.scale.saturating_sub(up));
    narrowed(divide_rounded(numerator, denominator), scale, scale)
}

/// Weight and value of the first base-10000 digit.
pub fn leading_digit(value: Decimal) -> (i32, i32) {
    if value.unscaled == i256::ZERO {
        return (0, 0);
    }
    // Decimal exponent of the first digit, then of the group of four it stands in.
    let exponent = value.digits() as i32 - 1 - value.scale as i32;
    let weight = exponent.div_euclid(4);
    let lowest = value.scale as i32 + weight * 4;
    let magnitude = value.unscaled.wrapping_abs();
    let group = if lowest >= 0 {
        magnitude.wrapping_div(numeric::power(lowest as u32))
    } else {
        magnitude.wrapping_mul(numeric::power(-lowest as u32))
    };
    (weight, group.to_i128().unwrap_or(0) as i32)
}

fn quotient_scale(x: Decimal, y: Decimal) -> u32 {
    let ((weight1, first1), (weight2, first2)) = (leading_digit(x), leading_digit(y));
    let weight = weight1 - weight2 - i32::from(first1 <= first2);
    ((16 - weight * 4).max(0) as u32).max(x.scale).max(y.scale)
}

fn modulo(call: &Call) -> Result<ArrayRef> {
    if let Some((a, b, result)) = narrow(call) {
        let (up_a, up_b) = (POWERS[(result - a) as usize], POWERS[(result - b) as usize]);
        return strict2(call, |x: Fixed, y: Fixed| {
            if y.0 == 0 {
                return Err(division_by_zero());
            }
            match x.0.checked_mul(up_a).zip(y.0.checked_mul(up_b)) {
                Some((x, y)) => Ok(Fixed(x % y)),
                None => Err(overflow()),
            }
        });
    }
    decimal2(call, |x, y| {
        if y.unscaled == i256::ZERO {
            return Err(division_by_zero());
        }
        let scale = x.scale.max(y.scale);
        let (x, y) = x.rescale(scale).zip(y.rescale(scale)).ok_or_else(overflow)?;
        Ok(Decimal::new(x.wrapping_rem(y), scale))
    })
}

fn integer_quotient(call: &Call) -> Result<ArrayRef> {
    decimal2(call, |x, y| {
        if y.unscaled == i256::ZERO {
            return Err(division_by_zero());
        }
        let scale = x.scale.max(y.scale);
        let (x, y) = x.rescale(scale).zip(y.rescale(scale)).ok_or_else(overflow)?;
        Ok(Decimal::new(x.wrapping_div(y), 0))
    })
}

fn map(call: &Call, narrow: fn(i128) -> i128, wide: fn(i256) -> i256) -> Result<ArrayRef> {
    Ok(match call.types[0] {
        Type::Numeric(Numeric::Fixed { .. }) => {
            let array = call.args[0].array.as_primitive::<Decimal128Type>();
            Arc::new(array.unary::<_, Decimal128Type>(narrow).with_data_type(call.result.arrow()))
        }
        _ => {
            let array = call.args[0].array.as_primitive::<Decimal256Type>();
            Arc::new(array.unary::<_, Decimal256Type>(wide).with_data_type(call.result.arrow()))
        }
    })
}

fn negate(call: &Call) -> Result<ArrayRef> {
    map(call, |value| -value, |value| value.wrapping_neg())
}

fn abs(call: &Call) -> Result<ArrayRef> {
    map(call, i128::abs, i256::wrapping_abs)
}

fn plus(call: &Call) -> Result<ArrayRef> {
    Ok(call.args[0].array.clone())
}

fn sign(call: &Call) -> Result<ArrayRef> {
    let of = |value: i256| match (value == i256::ZERO, value.is_negative()) {
        (true, _) => i256::ZERO,
        (_, true) => i256::MINUS_ONE,
        _ => i256::ONE,
    };
    decimal1(call, |value| Ok(Decimal::new(of(value.unscaled), 0)))
}

fn sign_type(types: &[Type]) -> Result<Type> {
    Ok(match digits(&types[0]) {
        Some(_) => Type::fixed_numeric(1, 0),
        None => Type::NUMERIC,
    })
}

/// The greatest integer that is not greater.
fn floored(value: Decimal) -> Decimal {
    let divisor = numeric::power(value.scale);
    let quotient = value.unscaled.wrapping_div(divisor);
    let inexact = value.unscaled.wrapping_rem(divisor) != i256::ZERO;
    let down = if inexact && value.unscaled.is_negative() { i256::ONE } else { i256::ZERO };
    Decimal::new(quotient.wrapping_sub(down), 0)
}

fn floor(call: &Call) -> Result<ArrayRef> {
    decimal1(call, |value| Ok(floored(value)))
}

fn ceil(call: &Call) -> Result<ArrayRef> {
    decimal1(call, |value| {
        let negative = Decimal::new(value.unscaled.wrapping_neg(), value.scale);
        Ok(Decimal::new(floored(negative).unscaled.wrapping_neg(), 0))
    })
}

/// Rounded half away from zero to so many digits behind the point (or, negative, before it).
fn rounded(value: Decimal, places: i64) -> Result<Decimal> {
    if places >= i64::from(value.scale) {
        return Ok(value);
    }
    if places >= 0 {
        let scale = places as u32;
        return Ok(Decimal::new(value.rescale(scale).ok_or_else(overflow)?, scale));
    }
    if places < -76 {
        return Ok(Decimal::new(i256::ZERO, 0));
    }
    let up = numeric::power(-places as u32);
    let shifted = Decimal::new(value.unscaled, value.scale + (-places) as u32);
    let whole = shifted.rescale(0).ok_or_else(overflow)?;
    Ok(Decimal::new(whole.checked_mul(up).ok_or_else(overflow)?, 0))
}

fn truncated(value: Decimal, places: i64) -> Result<Decimal> {
    let divisor = i64::from(value.scale) - places;
    if divisor <= 0 {
        return Ok(value);
    }
    if divisor > 76 {
        return Ok(Decimal::new(i256::ZERO, 0));
    }
    let power = numeric::power(divisor as u32);
    Ok(Decimal::new(value.unscaled.wrapping_sub(value.unscaled.wrapping_rem(power)), value.scale))
}

fn places_of(call: &Call, row: usize) -> Result<Option<i64>> {
    let array = call.args[1].cast::<arrow::array::Int32Array>()?;
    let index = call.args[1].index(row);
    Ok((!array.is_null(index)).then(|| i64::from(array.value(index))))
}

fn to_places(call: &Call, f: fn(Decimal, i64) -> Result<Decimal>) -> Result<ArrayRef> {
    let values = Values::of(&call.args[0], &call.types[0])?;
    let at = |row: usize| -> Result<Option<Decimal>> {
        let Some(places) = places_of(call, row)? else { return Ok(None) };
        if call.args[0].is_null(row) {
            return Ok(None);
        }
        f(values.get(call.args[0].index(row)), places).map(Some)
    };
    match call.result {
        Type::Numeric(Numeric::Fixed { precision, scale }) => {
            let mut out = Fixed::builder(call.rows, call.result);
            for row in 0..call.rows {
                out.append_option(at(row)?.map(|value| numeric::fit(value, *precision, *scale)).transpose()?);
            }
            Ok(Fixed::finish(out))
        }
        _ => {
            let mut out = Free::builder(call.rows, call.result);
            for row in 0..call.rows {
                out.append_option(at(row)?.map(numeric::fit_free).transpose()?);
            }
            Ok(Free::finish(out))
        }
    }
}

fn round_places(call: &Call) -> Result<ArrayRef> {
    to_places(call, rounded)
}

fn trunc_places(call: &Call) -> Result<ArrayRef> {
    to_places(call, truncated)
}

fn round(call: &Call) -> Result<ArrayRef> {
    decimal1(call, |value| rounded(value, 0))
}

fn trunc(call: &Call) -> Result<ArrayRef> {
    decimal1(call, |value| truncated(value, 0))
}

/// `round(x, 2)` has scale 2; where the digits are no constant, x's own.
fn places_type(args: &[Typed]) -> Type {
    match (digits(&args[0].ty), constant_integer(&args[1].expr)) {
        (Some((integer, _)), Some(places)) => {
            Type::Numeric(Numeric::with_digits(integer + 1, places.clamp(0, 100) as i32))
        }
        (Some((integer, scale)), None) => Type::Numeric(Numeric::with_digits(integer + 1, scale)),
        (None, _) => Type::NUMERIC,
    }
}

fn build_round(args: Vec<Typed>) -> Result<Typed> {
    let ty = places_type(&args);
    Ok(kernel_call("round", args, ty, Volatility::Immutable, round_places))
}

fn build_trunc(args: Vec<Typed>) -> Result<Typed> {
    let ty = places_type(&args);
    Ok(kernel_call("trunc", args, ty, Volatility::Immutable, trunc_places))
}

/// Digits behind the point; a bare numeric's, without trailing zeros.
fn scale(call: &Call) -> Result<ArrayRef> {
    match call.types[0] {
        Type::Numeric(Numeric::Fixed { scale, .. }) => strict1(call, |_: Fixed| Ok(i32::from(scale))),
        _ => strict1(call, |value: Free| Ok(Decimal::new(value.0, MAX_SCALE).trimmed().scale as i32)),
    }
}

fn min_scale(call: &Call) -> Result<ArrayRef> {
    let from = scale_of(&call.types[0]);
    match call.types[0] {
        Type::Numeric(Numeric::Fixed { .. }) => {
            strict1(call, |value: Fixed| Ok(Decimal::new(i256::from_i128(value.0), from).trimmed().scale as i32))
        }
        _ => scale(call),
    }
}

fn free_type(_: &[Type]) -> Result<Type> {
    Ok(Type::NUMERIC)
}

fn trim_scale(call: &Call) -> Result<ArrayRef> {
    decimal1(call, Ok)
}

pub const FUNCTIONS: &[Function] = &[
    immutable(1705, "abs", &[NUMERIC], NUMERIC, abs, "Absolute value.").derived(same_type),
    immutable(1706, "sign", &[NUMERIC], NUMERIC, sign, "-1, 0 or 1.").derived(sign_type),
    immutable(1711, "ceil", &[NUMERIC], NUMERIC, ceil, "Least integer not less.").derived(integer_type),
    immutable(2167, "ceiling", &[NUMERIC], NUMERIC, ceil, "Least integer not less.").derived(integer_type),
    immutable(1712, "floor", &[NUMERIC], NUMERIC, floor, "Greatest integer not greater.").derived(integer_type),
    immutable(1708, "round", &[NUMERIC], NUMERIC, round, "Nearest integer, halves away from zero.")
        .derived(integer_type),
    built(1707, "round", &[NUMERIC, INT4], NUMERIC, build_round, "Rounded to so many digits behind the point."),
    immutable(1710, "trunc", &[NUMERIC], NUMERIC, trunc, "Cut off towards zero.").derived(integer_type),
    built(1709, "trunc", &[NUMERIC, INT4], NUMERIC, build_trunc, "Cut off after so many digits behind the point."),
    immutable(1728, "mod", &[NUMERIC, NUMERIC], NUMERIC, modulo, "Rest of a division, with the dividend's sign.")
        .derived(rest_type),
    immutable(1973, "div", &[NUMERIC, NUMERIC], NUMERIC, integer_quotient, "Quotient, cut off towards zero.")
        .derived(free_type),
    immutable(3281, "scale", &[NUMERIC], INT4, scale, "Digits behind the point."),
    immutable(5042, "min_scale", &[NUMERIC], INT4, min_scale, "Digits behind the point that are needed."),
    immutable(5043, "trim_scale", &[NUMERIC], NUMERIC, trim_scale, "The value without trailing zeros.")
        .derived(free_type),
];

pub const OPERATORS: &[Operator] = &[
    operator(1758, "+", NUMERIC, NUMERIC, NUMERIC, "numeric_add", add, "Sum.").derived(sum_type),
    operator(1759, "-", NUMERIC, NUMERIC, NUMERIC, "numeric_sub", subtract, "Difference.").derived(sum_type),
    operator(1760, "*", NUMERIC, NUMERIC, NUMERIC, "numeric_mul", multiply, "Product.").derived(product_type),
    operator(
        1761,
        "/",
        NUMERIC,
        NUMERIC,
        NUMERIC,
        "numeric_div",
        divide,
        "Quotient, at least 16 digits behind the point.",
    )
    .derived(quotient_type),
    operator(
        1762,
        "%",
        NUMERIC,
        NUMERIC,
        NUMERIC,
        "numeric_mod",
        modulo,
        "Rest of a division, with the dividend's sign.",
    )
    .derived(rest_type),
    operator(1921, "+", 0, NUMERIC, NUMERIC, "numeric_uplus", plus, "The value itself.").derived(same_type),
    operator(1751, "-", 0, NUMERIC, NUMERIC, "numeric_uminus", negate, "Negation.").derived(same_type),
    operator(1763, "@", 0, NUMERIC, NUMERIC, "numeric_abs", abs, "Absolute value.").derived(same_type),
];
