//! Integers: arithmetic that never wraps (22003), division that truncates (22012), bits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Datum, Scalar};
use arrow::compute::kernels::{cast as arrow_cast, numeric};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;

use super::cast::out_of_range;
use super::entry::{Function, Operator, immutable, operator};
use super::kernel::{Arg, Call};
use super::strict::{strict1, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::Type;
use crate::types::pg_type::oid::*;

pub fn division_by_zero() -> Error {
    Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

/// An argument for Arrow's kernels: constants as scalars, widened to the result's type.
pub fn operand(arg: &Arg, to: &DataType) -> Result<Box<dyn Datum>> {
    let array = if arg.array.data_type() == to { arg.array.clone() } else { arrow_cast::cast(&arg.array, to)? };
    Ok(if arg.constant { Box::new(Scalar::new(array)) } else { Box::new(array) })
}

type Arithmetic = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

fn arithmetic(call: &Call, kernel: Arithmetic) -> Result<ArrayRef> {
    let ty = call.result.arrow();
    let (left, right) = (operand(&call.args[0], &ty)?, operand(&call.args[1], &ty)?);
    kernel(left.as_ref(), right.as_ref()).map_err(|error| match error {
        ArrowError::ArithmeticOverflow(_) => out_of_range(call.result),
        other => Error::from(other),
    })
}

fn add(call: &Call) -> Result<ArrayRef> {
    arithmetic(call, numeric::add)
}

fn subtract(call: &Call) -> Result<ArrayRef> {
    arithmetic(call, numeric::sub)
}

fn multiply(call: &Call) -> Result<ArrayRef> {
    arithmetic(call, numeric::mul)
}

fn divide(call: &Call) -> Result<ArrayRef> {
    arithmetic(call, numeric::div)
}

/// The rest has the dividend's sign; over -1 it is 0, even of the smallest integer.
fn modulo(call: &Call) -> Result<ArrayRef> {
    by_width(
        call,
        |a, b| if b == 0 { Err(division_by_zero()) } else { Ok(a.wrapping_rem(b)) },
        |a, b| if b == 0 { Err(division_by_zero()) } else { Ok(a.wrapping_rem(b)) },
        |a, b| if b == 0 { Err(division_by_zero()) } else { Ok(a.wrapping_rem(b)) },
    )
}

fn by_width(
    call: &Call,
    two: fn(i16, i16) -> Result<i16>,
    four: fn(i32, i32) -> Result<i32>,
    eight: fn(i64, i64) -> Result<i64>,
) -> Result<ArrayRef> {
    match call.result {
        Type::Int2 => strict2(call, two),
        Type::Int4 => strict2(call, four),
        _ => strict2(call, eight),
    }
}

fn unary<F2, F4, F8>(call: &Call, two: F2, four: F4, eight: F8) -> Result<ArrayRef>
where
    F2: Fn(i16) -> Option<i16>,
    F4: Fn(i32) -> Option<i32>,
    F8: Fn(i64) -> Option<i64>,
{
    fn over<T: ArrowPrimitiveType>(call: &Call, f: impl Fn(T::Native) -> Option<T::Native>) -> Result<ArrayRef> {
        let array = call.args[0].array.as_primitive::<T>();
        let out = array.try_unary::<_, T, Error>(|value| f(value).ok_or_else(|| out_of_range(call.result)))?;
        Ok(Arc::new(out))
    }
    match call.result {
        Type::Int2 => over::<Int16Type>(call, two),
        Type::Int4 => over::<Int32Type>(call, four),
        _ => over::<Int64Type>(call, eight),
    }
}

fn negate(call: &Call) -> Result<ArrayRef> {
    unary(call, i16::checked_neg, i32::checked_neg, i64::checked_neg)
}

fn abs(call: &Call) -> Result<ArrayRef> {
    unary(call, i16::checked_abs, i32::checked_abs, i64::checked_abs)
}

fn plus(call: &Call) -> Result<ArrayRef> {
    Ok(call.args[0].array.clone())
}

fn not(call: &Call) -> Result<ArrayRef> {
    unary(call, |v| Some(!v), |v| Some(!v), |v| Some(!v))
}

fn and(call: &Call) -> Result<ArrayRef> {
    by_width(call, |a, b| Ok(a & b), |a, b| Ok(a & b), |a, b| Ok(a & b))
}

fn or(call: &Call) -> Result<ArrayRef> {
    by_width(call, |a, b| Ok(a | b), |a, b| Ok(a | b), |a, b| Ok(a | b))
}

fn xor(call: &Call) -> Result<ArrayRef> {
    by_width(call, |a, b| Ok(a ^ b), |a, b| Ok(a ^ b), |a, b| Ok(a ^ b))
}

/// The shift's count counts modulo the width, as the processors Postgres runs on do it. A smallint shifts as an
/// integer.
fn shift_left(call: &Call) -> Result<ArrayRef> {
    match call.result {
        Type::Int2 => strict2(call, |a: i16, n: i32| Ok(i32::from(a).wrapping_shl(n as u32) as i16)),
        Type::Int4 => strict2(call, |a: i32, n: i32| Ok(a.wrapping_shl(n as u32))),
        _ => strict2(call, |a: i64, n: i32| Ok(a.wrapping_shl(n as u32))),
    }
}

fn shift_right(call: &Call) -> Result<ArrayRef> {
    match call.result {
        Type::Int2 => strict2(call, |a: i16, n: i32| Ok(i32::from(a).wrapping_shr(n as u32) as i16)),
        Type::Int4 => strict2(call, |a: i32, n: i32| Ok(a.wrapping_shr(n as u32))),
        _ => strict2(call, |a: i64, n: i32| Ok(a.wrapping_shr(n as u32))),
    }
}

fn greatest_common(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn gcd(call: &Call) -> Result<ArrayRef> {
    let narrow = |a: i64, b: i64| greatest_common(a.unsigned_abs(), b.unsigned_abs());
    match call.result {
        Type::Int4 => strict2(call, |a: i32, b: i32| {
            i32::try_from(narrow(a.into(), b.into())).map_err(|_| out_of_range(&Type::Int4))
        }),
        _ => strict2(call, |a: i64, b: i64| i64::try_from(narrow(a, b)).map_err(|_| out_of_range(&Type::Int8))),
    }
}

fn lcm(call: &Call) -> Result<ArrayRef> {
    let of = |a: i64, b: i64| -> Option<i64> {
        if a == 0 || b == 0 {
            return Some(0);
        }
        let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
        (a / greatest_common(a, b)).checked_mul(b).and_then(|value| i64::try_from(value).ok())
    };
    match call.result {
        Type::Int4 => strict2(call, |a: i32, b: i32| {
            of(a.into(), b.into()).and_then(|v| i32::try_from(v).ok()).ok_or_else(|| out_of_range(&Type::Int4))
        }),
        _ => strict2(call, |a: i64, b: i64| of(a, b).ok_or_else(|| out_of_range(&Type::Int8))),
    }
}

fn to_hex(call: &Call) -> Result<ArrayRef> {
    match call.types[0] {
        Type::Int4 => strict1(call, |value: i32| Ok(format!("{value:x}"))),
        _ => strict1(call, |value: i64| Ok(format!("{value:x}"))),
    }
}

pub const FUNCTIONS: &[Function] = &[
    immutable(1398, "abs", &[INT2], INT2, abs, "Absolute value."),
    immutable(1397, "abs", &[INT4], INT4, abs, "Absolute value."),
    immutable(1396, "abs", &[INT8], INT8, abs, "Absolute value."),
    immutable(940, "mod", &[INT2, INT2], INT2, modulo, "Rest of a division, with the dividend's sign."),
    immutable(941, "mod", &[INT4, INT4], INT4, modulo, "Rest of a division, with the dividend's sign."),
    immutable(947, "mod", &[INT8, INT8], INT8, modulo, "Rest of a division, with the dividend's sign."),
    immutable(5044, "gcd", &[INT4, INT4], INT4, gcd, "Greatest common divisor."),
    immutable(5045, "gcd", &[INT8, INT8], INT8, gcd, "Greatest common divisor."),
    immutable(5046, "lcm", &[INT4, INT4], INT4, lcm, "Least common multiple."),
    immutable(5047, "lcm", &[INT8, INT8], INT8, lcm, "Least common multiple."),
    immutable(2089, "to_hex", &[INT4], TEXT, to_hex, "Hexadecimal digits of an integer."),
    immutable(2090, "to_hex", &[INT8], TEXT, to_hex, "Hexadecimal digits of an integer."),
];

macro_rules! all_widths {
    ($name:literal, $kernel:expr, $doc:literal,
     $(($oid:literal, $left:ident, $right:ident, $result:ident, $code:literal)),*) => {
        [$(operator($oid, $name, $left, $right, $result, $code, $kernel, $doc)),*]
    };
}

const ADD: [Operator; 9] = all_widths!(
    "+",
    add,
    "Sum.",
    (550, INT2, INT2, INT2, "int2pl"),
    (551, INT4, INT4, INT4, "int4pl"),
    (684, INT8, INT8, INT8, "int8pl"),
    (552, INT2, INT4, INT4, "int24pl"),
    (553, INT4, INT2, INT4, "int42pl"),
    (822, INT2, INT8, INT8, "int28pl"),
    (818, INT8, INT2, INT8, "int82pl"),
    (692, INT4, INT8, INT8, "int48pl"),
    (688, INT8, INT4, INT8, "int84pl")
);
const SUBTRACT: [Operator; 9] = all_widths!(
    "-",
    subtract,
    "Difference.",
    (554, INT2, INT2, INT2, "int2mi"),
    (555, INT4, INT4, INT4, "int4mi"),
    (685, INT8, INT8, INT8, "int8mi"),
    (556, INT2, INT4, INT4, "int24mi"),
    (557, INT4, INT2, INT4, "int42mi"),
    (823, INT2, INT8, INT8, "int28mi"),
    (819, INT8, INT2, INT8, "int82mi"),
    (693, INT4, INT8, INT8, "int48mi"),
    (689, INT8, INT4, INT8, "int84mi")
);
const MULTIPLY: [Operator; 9] = all_widths!(
    "*",
    multiply,
    "Product.",
    (526, INT2, INT2, INT2, "int2mul"),
    (514, INT4, INT4, INT4, "int4mul"),
    (686, INT8, INT8, INT8, "int8mul"),
    (544, INT2, INT4, INT4, "int24mul"),
    (545, INT4, INT2, INT4, "int42mul"),
    (824, INT2, INT8, INT8, "int28mul"),
    (820, INT8, INT2, INT8, "int82mul"),
    (694, INT4, INT8, INT8, "int48mul"),
    (690, INT8, INT4, INT8, "int84mul")
);
const DIVIDE: [Operator; 9] = all_widths!(
    "/",
    divide,
    "Quotient, cut off towards zero.",
    (527, INT2, INT2, INT2, "int2div"),
    (528, INT4, INT4, INT4, "int4div"),
    (687, INT8, INT8, INT8, "int8div"),
    (546, INT2, INT4, INT4, "int24div"),
    (547, INT4, INT2, INT4, "int42div"),
    (825, INT2, INT8, INT8, "int28div"),
    (821, INT8, INT2, INT8, "int82div"),
    (695, INT4, INT8, INT8, "int48div"),
    (691, INT8, INT4, INT8, "int84div")
);
const REST: [Operator; 30] = [
    operator(529, "%", INT2, INT2, INT2, "int2mod", modulo, "Rest of a division, with the dividend's sign."),
    operator(530, "%", INT4, INT4, INT4, "int4mod", modulo, "Rest of a division, with the dividend's sign."),
    operator(439, "%", INT8, INT8, INT8, "int8mod", modulo, "Rest of a division, with the dividend's sign."),
    operator(1917, "+", 0, INT2, INT2, "int2up", plus, "The value itself."),
    operator(1918, "+", 0, INT4, INT4, "int4up", plus, "The value itself."),
    operator(1916, "+", 0, INT8, INT8, "int8up", plus, "The value itself."),
    operator(559, "-", 0, INT2, INT2, "int2um", negate, "Negation."),
    operator(558, "-", 0, INT4, INT4, "int4um", negate, "Negation."),
    operator(484, "-", 0, INT8, INT8, "int8um", negate, "Negation."),
    operator(682, "@", 0, INT2, INT2, "int2abs", abs, "Absolute value."),
    operator(773, "@", 0, INT4, INT4, "int4abs", abs, "Absolute value."),
    operator(473, "@", 0, INT8, INT8, "int8abs", abs, "Absolute value."),
    operator(1874, "&", INT2, INT2, INT2, "int2and", and, "Bitwise AND."),
    operator(1880, "&", INT4, INT4, INT4, "int4and", and, "Bitwise AND."),
    operator(1886, "&", INT8, INT8, INT8, "int8and", and, "Bitwise AND."),
    operator(1875, "|", INT2, INT2, INT2, "int2or", or, "Bitwise OR."),
    operator(1881, "|", INT4, INT4, INT4, "int4or", or, "Bitwise OR."),
    operator(1887, "|", INT8, INT8, INT8, "int8or", or, "Bitwise OR."),
    operator(1876, "#", INT2, INT2, INT2, "int2xor", xor, "Bitwise exclusive OR."),
    operator(1882, "#", INT4, INT4, INT4, "int4xor", xor, "Bitwise exclusive OR."),
    operator(1888, "#", INT8, INT8, INT8, "int8xor", xor, "Bitwise exclusive OR."),
    operator(1877, "~", 0, INT2, INT2, "int2not", not, "Bitwise NOT."),
    operator(1883, "~", 0, INT4, INT4, "int4not", not, "Bitwise NOT."),
    operator(1889, "~", 0, INT8, INT8, "int8not", not, "Bitwise NOT."),
    operator(1878, "<<", INT2, INT4, INT2, "int2shl", shift_left, "Bitwise shift left."),
    operator(1884, "<<", INT4, INT4, INT4, "int4shl", shift_left, "Bitwise shift left."),
    operator(1890, "<<", INT8, INT4, INT8, "int8shl", shift_left, "Bitwise shift left."),
    operator(1879, ">>", INT2, INT4, INT2, "int2shr", shift_right, "Bitwise shift right."),
    operator(1885, ">>", INT4, INT4, INT4, "int4shr", shift_right, "Bitwise shift right."),
    operator(1891, ">>", INT8, INT4, INT8, "int8shr", shift_right, "Bitwise shift right."),
];

pub const OPERATORS: &[&[Operator]] = &[&ADD, &SUBTRACT, &MULTIPLY, &DIVIDE, &REST];
