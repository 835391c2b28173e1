//! Floating point: arithmetic that reports overflow and underflow (22003) and division by zero (22012) instead of
//! yielding infinities, and the mathematical functions.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::entry::{Function, Operator, immutable, operator};
use super::integer::division_by_zero;
use super::kernel::Call;
use super::strict::{strict0, strict1, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::pg_type::oid::*;

fn range(message: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

pub fn float_overflow() -> Error {
    range("value out of range: overflow")
}

pub fn float_underflow() -> Error {
    range("value out of range: underflow")
}

/// A double or a real, for kernels over both.
trait Float: Copy {
    fn infinite(self) -> bool;
    fn zero(self) -> bool;
    fn nan(self) -> bool;
}

macro_rules! floats {
    ($($ty:ty),*) => {$(impl Float for $ty {
        fn infinite(self) -> bool {
            self.is_infinite()
        }
        fn zero(self) -> bool {
            self == 0.0
        }
        fn nan(self) -> bool {
            self.is_nan()
        }
    })*};
}
floats!(f32, f64);

/// The value unless finite arguments made it infinite.
fn finite<T: Float>(value: T, from_infinite: bool) -> Result<T> {
    if value.infinite() && !from_infinite { Err(float_overflow()) } else { Ok(value) }
}

fn scaled<T: Float>(value: T, from_infinite: bool, may_be_zero: bool) -> Result<T> {
    if value.zero() && !may_be_zero {
        return Err(float_underflow());
    }
    finite(value, from_infinite)
}

/// Arguments as doubles or reals, as the result is.
fn both(
    call: &Call,
    double: impl Fn(f64, f64) -> Result<f64>,
    real: impl Fn(f32, f32) -> Result<f32>,
) -> Result<ArrayRef> {
    if call.result.arrow() == DataType::Float32 {
        return strict2(call, real);
    }
    if call.args.iter().all(|arg| arg.array.data_type() == &DataType::Float64) {
        return strict2(call, double);
    }
    let wide: Vec<super::kernel::Arg> = call
        .args
        .iter()
        .map(|arg| super::kernel::Arg { array: as_double(&arg.array), constant: arg.constant })
        .collect();
    let wide = Call { args: &wide, types: call.types, result: call.result, rows: call.rows };
    strict2(&wide, double).map(|array| array as ArrayRef)
}

fn as_double(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let wide: Float64Array = array.as_primitive::<Float32Type>().unary::<_, Float64Type>(f64::from);
            Arc::new(wide)
        }
        _ => array.clone(),
    }
}

fn add(call: &Call) -> Result<ArrayRef> {
    both(
        call,
        |a, b| finite(a + b, a.is_infinite() || b.is_infinite()),
        |a, b| finite(a + b, a.is_infinite() || b.is_infinite()),
    )
}

fn subtract(call: &Call) -> Result<ArrayRef> {
    both(
        call,
        |a, b| finite(a - b, a.is_infinite() || b.is_infinite()),
        |a, b| finite(a - b, a.is_infinite() || b.is_infinite()),
    )
}

fn multiply(call: &Call) -> Result<ArrayRef> {
    both(
        call,
        |a, b| scaled(a * b, a.is_infinite() || b.is_infinite(), a == 0.0 || b == 0.0),
        |a, b| scaled(a * b, a.is_infinite() || b.is_infinite(), a == 0.0 || b == 0.0),
    )
}

fn quotient<T: Float + std::ops::Div<Output = T>>(a: T, b: T) -> Result<T> {
    if b.zero() && !a.nan() {
        return Err(division_by_zero());
    }
    scaled(a / b, a.infinite(), a.zero() || b.infinite())
}

fn divide(call: &Call) -> Result<ArrayRef> {
    both(call, quotient::<f64>, quotient::<f32>)
}

fn unary(call: &Call, double: fn(f64) -> f64, real: fn(f32) -> f32) -> Result<ArrayRef> {
    if call.result.arrow() == DataType::Float32 {
        return strict1(call, |value: f32| Ok(real(value)));
    }
    strict1(call, |value: f64| Ok(double(value)))
}

fn negate(call: &Call) -> Result<ArrayRef> {
    unary(call, |v| -v, |v| -v)
}

fn abs(call: &Call) -> Result<ArrayRef> {
    unary(call, f64::abs, f32::abs)
}

fn plus(call: &Call) -> Result<ArrayRef> {
    Ok(call.args[0].array.clone())
}

/// A function of one double.
macro_rules! doubles {
    ($($name:ident = $f:expr;)*) => {
        $(fn $name(call: &Call) -> Result<ArrayRef> {
            strict1(call, $f)
        })*
    };
}

fn sqrt_of(value: f64) -> Result<f64> {
    if value < 0.0 {
        return Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER, "cannot take square root of a negative number"));
    }
    Ok(value.sqrt())
}

/// A logarithm, where it has one.
pub fn check_log(zero: bool, negative: bool) -> Result<()> {
    let message = if zero {
        "cannot take logarithm of zero"
    } else if negative {
        "cannot take logarithm of a negative number"
    } else {
        return Ok(());
    };
    Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_LOG, message))
}

fn trig(value: f64, f: fn(f64) -> f64) -> Result<f64> {
    if value.is_infinite() { Err(range("input is out of range")) } else { Ok(f(value)) }
}

fn arc(value: f64, f: fn(f64) -> f64) -> Result<f64> {
    if value.abs() > 1.0 { Err(range("input is out of range")) } else { Ok(f(value)) }
}

const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

doubles! {
    ceil = |v: f64| Ok(v.ceil());
    floor = |v: f64| Ok(v.floor());
    round = |v: f64| Ok(v.round_ties_even());
    trunc = |v: f64| Ok(v.trunc());
    sign = |v: f64| Ok(if v > 0.0 { 1.0 } else if v < 0.0 { -1.0 } else { 0.0 });
    sqrt = sqrt_of;
    cbrt = |v: f64| Ok(v.cbrt());
    exp = |v: f64| scaled(v.exp(), v.is_infinite(), v.is_infinite());
    ln = |v: f64| check_log(v == 0.0, v < 0.0).map(|()| v.ln());
    log10 = |v: f64| check_log(v == 0.0, v < 0.0).map(|()| v.log10());
    sin = |v: f64| trig(v, f64::sin);
    cos = |v: f64| trig(v, f64::cos);
    tan = |v: f64| trig(v, f64::tan);
    cot = |v: f64| trig(v, |v| 1.0 / v.tan());
    asin = |v: f64| arc(v, f64::asin);
    acos = |v: f64| arc(v, f64::acos);
    atan = |v: f64| Ok(v.atan());
    sinh = |v: f64| Ok(v.sinh());
    cosh = |v: f64| Ok(v.cosh());
    tanh = |v: f64| Ok(v.tanh());
    degrees = |v: f64| finite(v / RADIANS_PER_DEGREE, v.is_infinite());
    radians = |v: f64| Ok(v * RADIANS_PER_DEGREE);
}

fn atan2(call: &Call) -> Result<ArrayRef> {
    strict2(call, |a: f64, b: f64| Ok(a.atan2(b)))
}

/// Raises to a power. 2201F for zero to a negative power and a negative number to one that is not whole.
fn power(call: &Call) -> Result<ArrayRef> {
    strict2(call, |base: f64, exponent: f64| {
        if base.is_nan() {
            return Ok(if exponent == 0.0 { 1.0 } else { f64::NAN });
        }
        if exponent.is_nan() {
            return Ok(if base == 1.0 { 1.0 } else { f64::NAN });
        }
        check_power(base == 0.0, base < 0.0, exponent < 0.0, exponent.fract() == 0.0 || exponent.is_infinite())?;
        let value = base.powf(exponent);
        let infinite = base.is_infinite() || exponent.is_infinite();
        scaled(value, infinite, base == 0.0 || infinite)
    })
}

/// The errors that power has over both kinds of numbers.
pub fn check_power(base_zero: bool, base_negative: bool, exponent_negative: bool, whole: bool) -> Result<()> {
    let message = if base_zero && exponent_negative {
        "zero raised to a negative power is undefined"
    } else if base_negative && !whole {
        "a negative number raised to a non-integer power yields a complex result"
    } else {
        return Ok(());
    };
    Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER, message))
}

fn pi(call: &Call) -> Result<ArrayRef> {
    strict0(call, || Ok(std::f64::consts::PI))
}

fn random(call: &Call) -> Result<ArrayRef> {
    strict0(call, || Ok(rand::random::<f64>()))
}

/// The bucket of a histogram of `count` equal buckets that the operand falls into.
fn width_bucket(call: &Call) -> Result<ArrayRef> {
    let invalid = |message: &str| Error::new(SqlState("2201G"), message);
    super::strict::strict4(call, |operand: f64, low: f64, high: f64, count: i32| {
        if count <= 0 {
            return Err(invalid("count must be greater than zero"));
        }
        if operand.is_nan() || low.is_nan() || high.is_nan() {
            return Err(invalid("operand, lower bound, and upper bound cannot be NaN"));
        }
        if low == high || low.is_infinite() || high.is_infinite() {
            return Err(invalid(if low == high {
                "lower bound cannot equal upper bound"
            } else {
                "lower and upper bounds must be finite"
            }));
        }
        let (below, above) =
            if low < high { (operand < low, operand >= high) } else { (operand > low, operand <= high) };
        if below {
            return Ok(0);
        }
        if above {
            return count.checked_add(1).ok_or_else(|| range("integer out of range"));
        }
        Ok(((operand - low) / (high - low) * f64::from(count)).floor() as i32 + 1)
    })
}

pub const FUNCTIONS: &[Function] = &[
    immutable(1394, "abs", &[FLOAT4], FLOAT4, abs, "Absolute value."),
    immutable(1395, "abs", &[FLOAT8], FLOAT8, abs, "Absolute value."),
    immutable(2308, "ceil", &[FLOAT8], FLOAT8, ceil, "Least integer not less."),
    immutable(2320, "ceiling", &[FLOAT8], FLOAT8, ceil, "Least integer not less."),
    immutable(2309, "floor", &[FLOAT8], FLOAT8, floor, "Greatest integer not greater."),
    immutable(1342, "round", &[FLOAT8], FLOAT8, round, "Nearest integer, halves to the even one."),
    immutable(1343, "trunc", &[FLOAT8], FLOAT8, trunc, "Cut off towards zero."),
    immutable(2310, "sign", &[FLOAT8], FLOAT8, sign, "-1, 0 or 1."),
    immutable(1344, "sqrt", &[FLOAT8], FLOAT8, sqrt, "Square root."),
    immutable(1345, "cbrt", &[FLOAT8], FLOAT8, cbrt, "Cube root."),
    immutable(1346, "pow", &[FLOAT8, FLOAT8], FLOAT8, power, "First argument to the power of the second."),
    immutable(1368, "power", &[FLOAT8, FLOAT8], FLOAT8, power, "First argument to the power of the second."),
    immutable(1347, "exp", &[FLOAT8], FLOAT8, exp, "e to the power of the argument."),
    immutable(1341, "ln", &[FLOAT8], FLOAT8, ln, "Natural logarithm."),
    immutable(1340, "log", &[FLOAT8], FLOAT8, log10, "Logarithm to base 10."),
    immutable(1194, "log10", &[FLOAT8], FLOAT8, log10, "Logarithm to base 10."),
    immutable(1604, "sin", &[FLOAT8], FLOAT8, sin, "Sine of an angle in radians."),
    immutable(1605, "cos", &[FLOAT8], FLOAT8, cos, "Cosine of an angle in radians."),
    immutable(1606, "tan", &[FLOAT8], FLOAT8, tan, "Tangent of an angle in radians."),
    immutable(1607, "cot", &[FLOAT8], FLOAT8, cot, "Cotangent of an angle in radians."),
    immutable(1600, "asin", &[FLOAT8], FLOAT8, asin, "Inverse sine, in radians."),
    immutable(1601, "acos", &[FLOAT8], FLOAT8, acos, "Inverse cosine, in radians."),
    immutable(1602, "atan", &[FLOAT8], FLOAT8, atan, "Inverse tangent, in radians."),
    immutable(1603, "atan2", &[FLOAT8, FLOAT8], FLOAT8, atan2, "Inverse tangent of a quotient, in radians."),
    immutable(2462, "sinh", &[FLOAT8], FLOAT8, sinh, "Hyperbolic sine."),
    immutable(2463, "cosh", &[FLOAT8], FLOAT8, cosh, "Hyperbolic cosine."),
    immutable(2464, "tanh", &[FLOAT8], FLOAT8, tanh, "Hyperbolic tangent."),
    immutable(1608, "degrees", &[FLOAT8], FLOAT8, degrees, "Radians to degrees."),
    immutable(1609, "radians", &[FLOAT8], FLOAT8, radians, "Degrees to radians."),
    immutable(1610, "pi", &[], FLOAT8, pi, "The number pi."),
    immutable(1598, "random", &[], FLOAT8, random, "A random number from 0 up to 1.").volatile(),
    immutable(320, "width_bucket", &[FLOAT8, FLOAT8, FLOAT8, INT4], INT4, width_bucket, "Bucket of a histogram."),
];

pub const OPERATORS: &[Operator] = &[
    operator(586, "+", FLOAT4, FLOAT4, FLOAT4, "float4pl", add, "Sum."),
    operator(591, "+", FLOAT8, FLOAT8, FLOAT8, "float8pl", add, "Sum."),
    operator(1116, "+", FLOAT4, FLOAT8, FLOAT8, "float48pl", add, "Sum."),
    operator(1126, "+", FLOAT8, FLOAT4, FLOAT8, "float84pl", add, "Sum."),
    operator(587, "-", FLOAT4, FLOAT4, FLOAT4, "float4mi", subtract, "Difference."),
    operator(592, "-", FLOAT8, FLOAT8, FLOAT8, "float8mi", subtract, "Difference."),
    operator(1117, "-", FLOAT4, FLOAT8, FLOAT8, "float48mi", subtract, "Difference."),
    operator(1127, "-", FLOAT8, FLOAT4, FLOAT8, "float84mi", subtract, "Difference."),
    operator(589, "*", FLOAT4, FLOAT4, FLOAT4, "float4mul", multiply, "Product."),
    operator(594, "*", FLOAT8, FLOAT8, FLOAT8, "float8mul", multiply, "Product."),
    operator(1119, "*", FLOAT4, FLOAT8, FLOAT8, "float48mul", multiply, "Product."),
    operator(1129, "*", FLOAT8, FLOAT4, FLOAT8, "float84mul", multiply, "Product."),
    operator(588, "/", FLOAT4, FLOAT4, FLOAT4, "float4div", divide, "Quotient."),
    operator(593, "/", FLOAT8, FLOAT8, FLOAT8, "float8div", divide, "Quotient."),
    operator(1118, "/", FLOAT4, FLOAT8, FLOAT8, "float48div", divide, "Quotient."),
    operator(1128, "/", FLOAT8, FLOAT4, FLOAT8, "float84div", divide, "Quotient."),
    operator(1919, "+", 0, FLOAT4, FLOAT4, "float4up", plus, "The value itself."),
    operator(1920, "+", 0, FLOAT8, FLOAT8, "float8up", plus, "The value itself."),
    operator(584, "-", 0, FLOAT4, FLOAT4, "float4um", negate, "Negation."),
    operator(585, "-", 0, FLOAT8, FLOAT8, "float8um", negate, "Negation."),
    operator(590, "@", 0, FLOAT4, FLOAT4, "float4abs", abs, "Absolute value."),
    operator(595, "@", 0, FLOAT8, FLOAT8, "float8abs", abs, "Absolute value."),
    operator(965, "^", FLOAT8, FLOAT8, FLOAT8, "dpow", power, "First operand to the power of the second."),
    operator(596, "|/", 0, FLOAT8, FLOAT8, "dsqrt", sqrt, "Square root."),
    operator(597, "||/", 0, FLOAT8, FLOAT8, "dcbrt", cbrt, "Cube root."),
];
