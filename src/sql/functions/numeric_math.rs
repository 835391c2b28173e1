//! Roots, powers, exponentials and logarithms of numerics, exact to the digit at which Postgres rounds them: 16
//! significant digits, or the argument's scale where that is more.
//!
//! Values are big integers scaled by 10^100 inside; series converge within some fifty terms. A few microseconds a
//! value.

use arrow::array::ArrayRef;
use arrow::datatypes::i256;
use num_bigint::BigInt;

use super::entry::{Function, Operator, immutable, operator};
use super::float::{check_log, check_power};
use super::kernel::Call;
use super::numeric::{big, decimal1, decimal2, divide_rounded, leading_digit, narrowed, of_two};
use crate::error::{Error, Result, SqlState};
use crate::types::Type;
use crate::types::numeric::{Decimal, MAX_SCALE, overflow};
use crate::types::pg_type::oid::*;

/// Digits behind the point of the values inside.
const DIGITS: u32 = 100;

fn one() -> BigInt {
    BigInt::from(10).pow(DIGITS)
}

fn widen(value: Decimal) -> BigInt {
    big(value.unscaled) * BigInt::from(10).pow(DIGITS - value.scale.min(DIGITS))
}

fn multiply(a: &BigInt, b: &BigInt) -> BigInt {
    a * b / one()
}

fn divide(a: &BigInt, b: &BigInt) -> BigInt {
    a * one() / b
}

fn rounded(value: BigInt, scale: i64) -> Result<Decimal> {
    narrowed(value, DIGITS, scale.clamp(0, i64::from(MAX_SCALE)) as u32)
}

/// Natural logarithm of a positive value.
fn ln_of(value: &BigInt) -> BigInt {
    // A power of ten is taken out, then roots bring the rest near 1, where the series of atanh is quick.
    let (mut rest, mut tens) = (value.clone(), 0i32);
    while rest >= one() * 10 {
        rest /= 10;
        tens += 1;
    }
    while rest < one() {
        rest *= 10;
        tens -= 1;
    }
    let near_one = |start: BigInt| {
        let mut rest = start;
        let mut doublings = 0;
        while rest.clone() - one() > one() / 100 {
            rest = (rest * one()).sqrt();
            doublings += 1;
        }
        let ratio = divide(&(rest.clone() - one()), &(rest + one()));
        let square = multiply(&ratio, &ratio);
        let (mut term, mut sum, mut n) = (ratio, BigInt::from(0), 1);
        while term != BigInt::from(0) {
            sum += &term / n;
            term = multiply(&term, &square);
            n += 2;
        }
        sum * 2 * BigInt::from(2).pow(doublings)
    };
    let mut result = near_one(rest);
    if tens != 0 {
        result += near_one(one() * 10) * tens;
    }
    result
}

/// e to a power of moderate size.
fn exp_of(value: &BigInt) -> BigInt {
    const HALVINGS: u32 = 12;
    let small = value / BigInt::from(2).pow(HALVINGS);
    let (mut term, mut sum, mut n) = (one(), one(), 1);
    while term != BigInt::from(0) {
        term = multiply(&term, &small) / n;
        sum += &term;
        n += 1;
    }
    for _ in 0..HALVINGS {
        sum = multiply(&sum, &sum);
    }
    sum
}

fn sqrt(call: &Call) -> Result<ArrayRef> {
    decimal1(call, |value| {
        if value.unscaled.is_negative() {
            return Err(Error::new(
                SqlState::INVALID_ARGUMENT_FOR_POWER,
                "cannot take square root of a negative number",
            ));
        }
        let weight = i64::from(leading_digit(value).0);
        let scale = (16 - ((weight + 1) * 4 / 2 - 1)).max(i64::from(value.scale));
        rounded((widen(value) * one()).sqrt(), scale)
    })
}

fn exp(call: &Call) -> Result<ArrayRef> {
    decimal1(call, |value| {
        let weight = value.to_f64() * 0.434294481903252;
        exp_scaled(&widen(value), weight, value.scale)
    })
}

/// The exponential at 16 significant digits; `weight` is the result's decimal exponent, roughly.
fn exp_scaled(value: &BigInt, weight: f64, least: u32) -> Result<Decimal> {
    if weight > 39.0 {
        return Err(overflow());
    }
    if weight < -60.0 {
        return Ok(Decimal::new(i256::ZERO, 0));
    }
    rounded(exp_of(value), (16 - weight as i64).max(i64::from(least)))
}

fn positive(value: Decimal) -> Result<()> {
    check_log(value.unscaled == i256::ZERO, value.unscaled.is_negative())
}

/// The decimal exponent of a value's logarithm.
fn ln_weight(value: Decimal) -> i64 {
    let near = value.to_f64();
    let magnitude = if (0.9..=1.1).contains(&near) { (near - 1.0).abs() } else { near.ln().abs() };
    if magnitude == 0.0 {
        return 0;
    }
    // Near one the weight is that of the difference; elsewhere it is cut off towards zero.
    let weight = magnitude.log10();
    if (0.9..=1.1).contains(&near) { weight.floor() as i64 } else { weight as i64 }
}

fn ln(call: &Call) -> Result<ArrayRef> {
    decimal1(call, |value| {
        positive(value)?;
        rounded(ln_of(&widen(value)), (16 - ln_weight(value)).max(i64::from(value.scale)))
    })
}

fn logarithm(base: Decimal, value: Decimal) -> Result<Decimal> {
    positive(base)?;
    positive(value)?;
    let denominator = ln_of(&widen(base));
    if denominator == BigInt::from(0) {
        return Err(super::integer::division_by_zero());
    }
    let scale = 16 - (ln_weight(value) - ln_weight(base));
    let scale = scale.max(i64::from(base.scale)).max(i64::from(value.scale));
    rounded(divide(&ln_of(&widen(value)), &denominator), scale)
}

fn log10(call: &Call) -> Result<ArrayRef> {
    decimal1(call, |value| logarithm(Decimal::new(i256::from_i128(10), 0), value))
}

fn log(call: &Call) -> Result<ArrayRef> {
    decimal2(call, logarithm)
}

fn power(call: &Call) -> Result<ArrayRef> {
    decimal2(call, |base, exponent| {
        let whole = exponent.trimmed().scale == 0;
        let (zero, negative) = (base.unscaled == i256::ZERO, base.unscaled.is_negative());
        check_power(zero, negative, exponent.unscaled.is_negative(), whole)?;
        if exponent.unscaled == i256::ZERO {
            return Ok(Decimal::new(i256::ONE, 0));
        }
        if zero {
            return Ok(Decimal::new(i256::ZERO, 0));
        }
        let magnitude = Decimal::new(base.unscaled.wrapping_abs(), base.scale);
        let weight = magnitude.to_f64().log10() * exponent.to_f64();
        if weight >= 39.0 {
            return Err(overflow());
        }
        if weight < -60.0 {
            return Ok(Decimal::new(i256::ZERO, 0));
        }
        let scale = (16 - weight as i64).max(i64::from(base.scale)).max(i64::from(exponent.scale));
        let steps = exponent.trimmed().unscaled.to_i128().filter(|steps| whole && steps.unsigned_abs() <= 10_000);
        let value = match steps {
            Some(steps) => by_squaring(magnitude, steps.unsigned_abs() as u32, steps < 0),
            None => {
                let product = multiply(&ln_of(&widen(magnitude)), &widen(exponent));
                exp_of(&product)
            }
        };
        let odd = whole && exponent.trimmed().unscaled.wrapping_rem(i256::from_i128(2)) != i256::ZERO;
        rounded(if negative && odd { -value } else { value }, scale)
    })
}

/// An exact power of an exact value, cut to the digits inside.
fn by_squaring(base: Decimal, exponent: u32, inverse: bool) -> BigInt {
    // Past this many digits the running value is cut; they are far beyond what is kept.
    let (mut result, mut square, mut left) = (one(), widen(base), exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = multiply(&result, &square);
        }
        left >>= 1;
        if left > 0 {
            square = multiply(&square, &square);
        }
    }
    if !inverse {
        return result;
    }
    if result == BigInt::from(0) { result } else { divide_rounded(one() * one(), result) }
}

fn factorial(call: &Call) -> Result<ArrayRef> {
    super::strict::strict1(call, |n: i64| {
        if n < 0 {
            return Err(Error::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                "factorial of a negative number is undefined",
            ));
        }
        let mut product = i256::ONE;
        for factor in 2..=n {
            product = product.checked_mul(i256::from_i128(factor.into())).ok_or_else(overflow)?;
        }
        crate::types::numeric::fit_free(Decimal::new(product, 0)).map(super::strict::Free)
    })
}

/// Both as integers of one scale, and that scale.
fn alike(a: Decimal, b: Decimal) -> (BigInt, BigInt, u32) {
    let scale = a.scale.max(b.scale);
    let widened = |value: Decimal| big(value.unscaled) * BigInt::from(10).pow(scale - value.scale);
    (widened(a), widened(b), scale)
}

fn greatest_common(a: &BigInt, b: &BigInt) -> BigInt {
    let zero = BigInt::from(0);
    let (mut a, mut b) = (a.clone(), b.clone());
    while b != zero {
        let rest = &a % &b;
        (a, b) = (b, rest);
    }
    if a < zero { -a } else { a }
}

fn gcd(call: &Call) -> Result<ArrayRef> {
    decimal2(call, |a, b| {
        let (a, b, scale) = alike(a, b);
        narrowed(greatest_common(&a, &b), scale, scale)
    })
}

fn lcm(call: &Call) -> Result<ArrayRef> {
    decimal2(call, |a, b| {
        let (a, b, scale) = alike(a, b);
        let divisor = greatest_common(&a, &b);
        let zero = BigInt::from(0);
        let multiple = if divisor == zero { zero.clone() } else { &a / divisor * &b };
        narrowed(if multiple < zero { -multiple } else { multiple }, scale, scale)
    })
}

fn gcd_type(types: &[Type]) -> Result<Type> {
    of_two(types, |a, b| (a.0.max(b.0), a.1.max(b.1)))
}

/// At most the product, in units of the last digit.
fn lcm_type(types: &[Type]) -> Result<Type> {
    of_two(types, |a, b| (a.0 + b.0 + a.1.max(b.1), a.1.max(b.1)))
}

fn free(_: &[Type]) -> Result<Type> {
    Ok(Type::NUMERIC)
}

pub const FUNCTIONS: &[Function] = &[
    immutable(1730, "sqrt", &[NUMERIC], NUMERIC, sqrt, "Square root.").derived(free),
    immutable(1732, "exp", &[NUMERIC], NUMERIC, exp, "e to the power of the argument.").derived(free),
    immutable(1734, "ln", &[NUMERIC], NUMERIC, ln, "Natural logarithm.").derived(free),
    immutable(1741, "log", &[NUMERIC], NUMERIC, log10, "Logarithm to base 10.").derived(free),
    immutable(1481, "log10", &[NUMERIC], NUMERIC, log10, "Logarithm to base 10.").derived(free),
    immutable(1736, "log", &[NUMERIC, NUMERIC], NUMERIC, log, "Logarithm of the second to the base of the first.")
        .derived(free),
    immutable(2169, "power", &[NUMERIC, NUMERIC], NUMERIC, power, "First argument to the power of the second.")
        .derived(free),
    immutable(1738, "pow", &[NUMERIC, NUMERIC], NUMERIC, power, "First argument to the power of the second.")
        .derived(free),
    immutable(5048, "gcd", &[NUMERIC, NUMERIC], NUMERIC, gcd, "Greatest common divisor.").derived(gcd_type),
    immutable(5049, "lcm", &[NUMERIC, NUMERIC], NUMERIC, lcm, "Least common multiple.").derived(lcm_type),
    immutable(1376, "factorial", &[INT8], NUMERIC, factorial, "Product of all integers up to the argument."),
];

pub const OPERATORS: &[Operator] = &[operator(
    1038,
    "^",
    NUMERIC,
    NUMERIC,
    NUMERIC,
    "numeric_power",
    power,
    "First operand to the power of the second.",
)
.derived(free)];
