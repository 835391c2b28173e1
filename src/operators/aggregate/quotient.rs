//! Exact quotients turned into values of a result type: the one place where aggregates round.
//!
//! Numerics round half away from zero at the result's scale, as Postgres's `numeric` does; floats round to nearest
//! even, once, from the exact value.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Decimal256Array, Float32Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, i256};
use num_bigint::{BigInt, BigUint, Sign};

use super::Failure;
use crate::error::{Error, Result, SqlState};

/// Where exact results go: type and scale of the output.
#[derive(Clone, Debug)]
pub struct Target {
    output: DataType,
    /// Largest magnitude of the unscaled output, plus one; `None`: the type's own range.
    limit: Option<i256>,
    /// The same limit where 128 bits hold it.
    small_limit: Option<u128>,
    /// Digits behind the point that the output has and the input has not; negative where it has fewer.
    shift: i32,
}

/// Powers of ten that bring the input's scale to the output's.
struct Scaling {
    /// 10 to the magnitude of the shift.
    power: Option<i256>,
    /// The same for an upward shift, where 128 bits hold it.
    small: Option<i128>,
}

/// One result, still exact.
pub enum Exact {
    Null,
    /// An unscaled integer at the *input's* scale.
    Small(i128),
    /// An unscaled integer at the input's scale, over a positive count.
    SmallRatio(i128, i64),
    /// Numerator and positive denominator, at the input's scale.
    Ratio(BigInt, BigInt),
    /// Already at the output's scale.
    Scaled(BigInt),
}

impl Target {
    pub fn new(output: &DataType, input_scale: i32) -> Result<Target> {
        let (limit, scale) = match output {
            DataType::Int64 | DataType::Float64 | DataType::Float32 => (None, 0),
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                (i256::from_i128(10).checked_pow(u32::from(*precision)), i32::from(*scale))
            }
            other => return Err(Error::internal(format!("an aggregate of numbers can't result in {other}"))),
        };
        let small_limit = limit.and_then(i256::to_i128).map(i128::unsigned_abs);
        Ok(Target { output: output.clone(), limit, small_limit, shift: scale - input_scale })
    }

    pub fn is_float(&self) -> bool {
        matches!(self.output, DataType::Float64 | DataType::Float32)
    }

    /// Scale of the output's least digit in the input's digits: `10^shift`, for negative shifts its inverse.
    pub fn shift(&self) -> i32 {
        self.shift
    }

    /// The column of these results; those that don't fit are NULL and told as 22003.
    pub fn array(&self, results: impl Iterator<Item = Exact>, failures: &mut Vec<Failure>) -> ArrayRef {
        if self.is_float() {
            return self.float_array(results, failures);
        }
        let power = i256::from_i128(10).checked_pow(self.shift.unsigned_abs());
        let scaling = Scaling { power, small: power.and_then(i256::to_i128).filter(|_| self.shift >= 0) };
        match &self.output {
            DataType::Decimal256(precision, scale) => {
                let values = results.enumerate().map(|(at, result)| match result {
                    Exact::Null => None,
                    result => {
                        let value = match self.narrow(&result, &scaling) {
                            Some(value) => Some(i256::from_i128(value)),
                            None => self.wide(result, &scaling),
                        };
                        self.checked(at, value, failures)
                    }
                });
                let values = Decimal256Array::from_iter(values);
                Arc::new(values.with_data_type(DataType::Decimal256(*precision, *scale)))
            }
            output => {
                let mut narrow = |at: usize, result: Exact| match result {
                    Exact::Null => None,
                    result => match self.narrow(&result, &scaling).filter(|value| self.in_range(*value)) {
                        Some(value) => Some(value),
                        None => self.checked(at, self.wide(result, &scaling), failures).map(i256::as_i128),
                    },
                };
                let values = results.enumerate().map(|(at, result)| narrow(at, result));
                match output {
                    DataType::Decimal128(precision, scale) => {
                        let values = Decimal128Array::from_iter(values);
                        Arc::new(values.with_data_type(DataType::Decimal128(*precision, *scale)))
                    }
                    _ => Arc::new(Int64Array::from_iter(values.map(|value| value.map(|value| value as i64)))),
                }
            }
        }
    }

    /// The result at the output's scale where 128 bits do for all of the arithmetic.
    #[inline]
    fn narrow(&self, result: &Exact, scaling: &Scaling) -> Option<i128> {
        match result {
            Exact::Small(value) => value.checked_mul(scaling.small?),
            Exact::SmallRatio(value, count) => {
                let twice = value.unsigned_abs().checked_mul(scaling.small?.unsigned_abs())?.checked_mul(2)?;
                let count = u128::from(count.unsigned_abs());
                // Half away from zero: floor((2 v + n) / (2 n)) of the magnitude.
                let rounded = (twice.checked_add(count)? / (2 * count)) as i128;
                Some(if *value < 0 { -rounded } else { rounded })
            }
            _ => None,
        }
    }

    /// The result at the output's scale, if 256 bits hold it.
    fn wide(&self, result: Exact, scaling: &Scaling) -> Option<i256> {
        let power = scaling.power.filter(|_| self.shift >= 0);
        match result {
            Exact::Null => None,
            Exact::Small(value) => match power {
                Some(power) => i256::from_i128(value).checked_mul(power),
                None => to_i256(&self.round(BigInt::from(value), BigInt::from(1))),
            },
            Exact::SmallRatio(value, count) => {
                let scaled = power.and_then(|power| i256::from_i128(value).wrapping_abs().checked_mul(power));
                let twice = scaled.and_then(|scaled| scaled.checked_add(scaled));
                match twice.and_then(|twice| twice.checked_add(i256::from(count))) {
                    Some(numerator) => {
                        let rounded = numerator.wrapping_div(i256::from_i128(2 * i128::from(count)));
                        Some(if value < 0 { rounded.wrapping_neg() } else { rounded })
                    }
                    None => to_i256(&self.round(BigInt::from(value), BigInt::from(count))),
                }
            }
            Exact::Ratio(numerator, denominator) => to_i256(&self.round(numerator, denominator)),
            Exact::Scaled(value) => to_i256(&value),
        }
    }

    /// Whether the output type holds this unscaled value.
    #[inline]
    fn in_range(&self, value: i128) -> bool {
        match self.small_limit {
            Some(limit) => value.unsigned_abs() < limit,
            None => match self.limit {
                Some(_) => true,
                None => i64::try_from(value).is_ok(),
            },
        }
    }

    fn checked(&self, at: usize, value: Option<i256>, failures: &mut Vec<Failure>) -> Option<i256> {
        let value = value.filter(|value| match self.limit {
            Some(limit) => *value < limit && *value > limit.wrapping_neg(),
            None => value.to_i128().is_some_and(|value| i64::try_from(value).is_ok()),
        });
        if value.is_none() {
            failures.push(Failure { at, error: self.out_of_range() });
        }
        value
    }

    /// `numerator / denominator` at the output's scale, half away from zero.
    pub fn round(&self, numerator: BigInt, denominator: BigInt) -> BigInt {
        let power = BigInt::from(10).pow(self.shift.unsigned_abs());
        if self.shift >= 0 {
            round_half_away(numerator * power, denominator)
        } else {
            round_half_away(numerator, denominator * power)
        }
    }

    fn float_array(&self, results: impl Iterator<Item = Exact>, failures: &mut Vec<Failure>) -> ArrayRef {
        // A float has no scale: `shift` is minus the input's.
        let scale = BigInt::from(10).pow(self.shift.unsigned_abs());
        let values = results.map(|result| {
            let (numerator, denominator) = match result {
                Exact::Null => return None,
                Exact::Small(value) => (BigInt::from(value), BigInt::from(1)),
                Exact::SmallRatio(value, count) => (BigInt::from(value), BigInt::from(count)),
                Exact::Ratio(numerator, denominator) => (numerator, denominator),
                Exact::Scaled(value) => return Some(ratio_to_f64(&value, &BigInt::from(1), 0)),
            };
            Some(ratio_to_f64(&numerator, &(denominator * &scale), 0))
        });
        float_array(&self.output, values, failures)
    }

    fn out_of_range(&self) -> Error {
        match &self.output {
            DataType::Int64 => Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range"),
            _ => Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format"),
        }
    }
}

/// A float column of finite results; those that overflow the type are NULL and told as 22003.
pub fn float_array(
    output: &DataType,
    values: impl Iterator<Item = Option<f64>>,
    failures: &mut Vec<Failure>,
) -> ArrayRef {
    let narrow = *output == DataType::Float32;
    let values = values.enumerate().map(|(at, value)| {
        let value = value?;
        let overflows = if narrow { (value as f32).is_infinite() } else { value.is_infinite() };
        if overflows {
            let error = Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow");
            failures.push(Failure { at, error });
        }
        (!overflows).then_some(value)
    });
    if narrow {
        Arc::new(Float32Array::from_iter(values.map(|value| value.map(|v| v as f32))))
    } else {
        Arc::new(Float64Array::from_iter(values))
    }
}

/// Numerator over a positive denominator, rounded half away from zero.
pub fn round_half_away(numerator: BigInt, denominator: BigInt) -> BigInt {
    let negative = numerator.sign() == Sign::Minus;
    let denominator = denominator.magnitude().clone();
    let rounded = (numerator.magnitude() * 2u8 + &denominator) / (denominator * 2u8);
    BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, rounded)
}

fn to_i256(value: &BigInt) -> Option<i256> {
    if value.bits() > 255 {
        return None;
    }
    let fill = if value.sign() == Sign::Minus { 0xff } else { 0 };
    let mut bytes = [fill; 32];
    let signed = value.to_signed_bytes_le();
    bytes[..signed.len()].copy_from_slice(&signed);
    Some(i256::from_le_bytes(bytes))
}

/// `numerator / denominator * 2^exponent` as the nearest double, ties to even; infinite where it is too large.
pub fn ratio_to_f64(numerator: &BigInt, denominator: &BigInt, exponent: i64) -> f64 {
    if numerator.sign() == Sign::NoSign {
        return 0.0;
    }
    // Enough bits that the quotient has at least 66: the rest only matters as "not exactly".
    let lack = 66 + denominator.bits() as i64 - numerator.bits() as i64;
    let up = lack.max(0);
    let scaled: BigUint = numerator.magnitude() << up;
    let quotient = &scaled / denominator.magnitude();
    let inexact = &quotient * denominator.magnitude() != scaled;
    let bits = quotient.bits() as i64;
    let drop = bits - 64;
    let top: BigUint = &quotient >> drop;
    let inexact = inexact || (&top << drop) != quotient;
    let mantissa = top.to_u64_digits()[0];
    let value = compose(mantissa, inexact, drop - up + exponent);
    if numerator.sign() == Sign::Minus { -value } else { value }
}

/// `mantissa * 2^exponent`, and a little more if `inexact`, as the nearest double, ties to even.
/// The mantissa's top bit is set, or nothing is dropped.
pub fn compose(mantissa: u64, inexact: bool, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let zeros = mantissa.leading_zeros();
    let (mantissa, exponent) = (mantissa << zeros, exponent - i64::from(zeros));
    // value = mantissa * 2^exponent with bit 63 set: its leading bit stands for 2^(exponent + 63).
    let leading = exponent + 63;
    if leading > 1023 {
        return f64::INFINITY;
    }
    // Bits of the mantissa to drop: 11 for a normal number, more for a subnormal one.
    let drop = if leading >= -1022 { 11 } else { 11 + (-1022 - leading) };
    if drop > 64 {
        return 0.0;
    }
    let kept = if drop == 64 { 0 } else { mantissa >> drop };
    let rest = u128::from(mantissa) & ((1u128 << drop) - 1);
    let half = 1u128 << (drop - 1);
    let up = rest > half || (rest == half && (inexact || kept & 1 == 1));
    let kept = kept + u64::from(up);
    if leading >= -1022 {
        // Adding, not or-ing: a carry out of the fraction goes into the exponent, as it should.
        f64::from_bits((((leading + 1022) as u64) << 52) + kept)
    } else {
        f64::from_bits(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composing_gives_back_every_kind_of_double() {
        for value in [1.0f64, 0.1, 1.5e308, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e-310, 123_456_789.125] {
            let bits = value.to_bits();
            let (fraction, exponent) = (bits & ((1 << 52) - 1), (bits >> 52) as i64);
            let (mantissa, exponent) =
                if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
            assert_eq!(compose(mantissa, false, exponent), value);
            let one = BigInt::from(1);
            assert_eq!(ratio_to_f64(&BigInt::from(mantissa), &one, exponent), value);
        }
    }

    #[test]
    fn ratios_round_as_division_does() {
        for (n, d) in [(1i64, 3i64), (2, 3), (-7, 9), (1, 1), (10, 4), (i64::MAX, 7), (1 << 53, 3), (5, 1 << 40)] {
            let expected = if n.unsigned_abs() < 1 << 53 { n as f64 / d as f64 } else { continue };
            assert_eq!(ratio_to_f64(&BigInt::from(n), &BigInt::from(d), 0), expected);
        }
        assert_eq!(ratio_to_f64(&BigInt::from(1), &BigInt::from(1), 2000), f64::INFINITY);
        assert_eq!(ratio_to_f64(&BigInt::from(1), &BigInt::from(1), -2000), 0.0);
    }

    #[test]
    fn halves_go_away_from_zero() {
        let round = |n: i64, d: i64| round_half_away(BigInt::from(n), BigInt::from(d));
        assert_eq!(round(5, 2), BigInt::from(3));
        assert_eq!(round(-5, 2), BigInt::from(-3));
        assert_eq!(round(4, 3), BigInt::from(1));
        assert_eq!(round(-4, 3), BigInt::from(-1));
        assert_eq!(round(0, 3), BigInt::from(0));
    }
}
