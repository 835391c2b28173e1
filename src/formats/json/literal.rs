//! Values written as text in JSON: decimal numbers, hex and base64, parsed without allocation.
//!
//! Numbers are exact: digits go straight into an integer, never through a float.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::types::hex;

/// A decimal number as it is written: its digits and where the point is. `types::numeric`'s Decimal is the number itself, in 256 bits;
/// this one goes straight into the column's own width, most often by way of 64 bits.
pub struct WrittenDecimal<'a> {
    negative: bool,
    /// Digits before the point and behind it, as written.
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// Why a number does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Has digits behind the last place, where that is not allowed.
    Fraction,
    /// Has too many digits before the point.
    Range,
}

impl<'a> WrittenDecimal<'a> {
    /// `[-+]digits[.digits][e[-+]digits]`, or `None`. A JSON number always is one.
    pub fn parse(text: &'a str) -> Option<WrittenDecimal<'a>> {
        let bytes = text.as_bytes();
        let (negative, bytes) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, bytes),
        };
        let (whole, rest) = bytes.split_at(count_digits(bytes));
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => rest.split_at(count_digits(rest)),
            None => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        Some(WrittenDecimal { negative, whole, fraction, exponent })
    }

    /// The number times 10^scale as an integer of at most `precision` digits. What is behind the last place is rounded half
    /// away from zero, as Postgres does, or refused. Digits come out most significant first, through `push`, which
    /// multiplies by ten and adds; the last call's argument may be 10 when rounding carries.
    fn scaled(&self, precision: u32, scale: i32, exact: bool, mut push: impl FnMut(u8)) -> Result<(), Misfit> {
        let digits = || self.whole.iter().chain(self.fraction).map(|digit| digit - b'0');
        let leading_zeros = digits().take_while(|digit| *digit == 0).count();
        let significant = self.whole.len() + self.fraction.len() - leading_zeros;
        if significant == 0 {
            return Ok(());
        }
        // How many of the significant digits, padded with zeros, are before the last place.
        let kept = self.whole.len() as i64 - leading_zeros as i64 + self.exponent + i64::from(scale);
        if kept > i64::from(precision) {
            return Err(Misfit::Range);
        }
        if exact && digits().skip(leading_zeros).skip(kept.max(0) as usize).any(|digit| digit != 0) {
            return Err(Misfit::Fraction);
        }
        if kept < 0 {
            return Ok(());
        }
        let kept = kept as usize;
        let round_up = digits().nth(leading_zeros + kept).is_some_and(|digit| digit >= 5);
        let mut all_nines = kept == precision as usize;
        for place in 0..kept {
            let digit = digits_at(self.whole, self.fraction, leading_zeros + place);
            all_nines &= digit == 9;
            push(if round_up && place + 1 == kept { digit + 1 } else { digit });
        }
        if round_up && kept == 0 {
            push(1);
        }
        if round_up && all_nines { Err(Misfit::Range) } else { Ok(()) }
    }

    /// The number times 10^scale, within `precision` (at most 38) digits.
    pub fn to_i128(&self, precision: u8, scale: i8, exact: bool) -> Result<i128, Misfit> {
        // What nearly every number looks like: few digits, no exponent, nothing behind the last place.
        let digits = self.whole.len() + self.fraction.len();
        let padding = i32::from(scale) - self.fraction.len() as i32;
        if self.exponent == 0 && (0..=18).contains(&padding) && digits as i32 + padding <= i32::from(precision.min(18))
        {
            let number =
                self.whole.iter().chain(self.fraction).fold(0_i64, |n, digit| n * 10 + i64::from(digit - b'0'));
            let number = i128::from(number) * 10_i128.pow(padding as u32);
            return Ok(if self.negative { -number } else { number });
        }
        let mut number = 0_i128;
        self.scaled(u32::from(precision), i32::from(scale), exact, |digit| {
            number = number.wrapping_mul(10).wrapping_add(i128::from(digit));
        })?;
        Ok(if self.negative { -number } else { number })
    }

    /// The number times 10^scale, within `precision` (at most 76) digits, little-endian 256 bits as high and low halves.
    pub fn to_i256(&self, precision: u8, scale: i8, exact: bool) -> Result<arrow::datatypes::i256, Misfit> {
        use arrow::datatypes::i256;
        let digits = self.whole.len() + self.fraction.len();
        if self.exponent == 0 && digits <= 18 && self.fraction.len() <= scale.max(0) as usize {
            // 18 digits and at most 38 places of padding are 56 digits: two factors that fit 128 bits.
            let padding = scale as u32 - self.fraction.len() as u32;
            if digits as u32 + padding <= u32::from(precision) {
                let number = self.whole.iter().chain(self.fraction).fold(0_i64, |n, d| n * 10 + i64::from(d - b'0'));
                let number = i256::from_i128(i128::from(if self.negative { -number } else { number }));
                return Ok(number.wrapping_mul(i256::from_i128(10_i128.pow(padding.min(38)))));
            }
        }
        let ten = i256::from_i128(10);
        let mut number = i256::ZERO;
        self.scaled(u32::from(precision), i32::from(scale), exact, |digit| {
            number = number.wrapping_mul(ten).wrapping_add(i256::from_i128(i128::from(digit)));
        })?;
        Ok(if self.negative { number.wrapping_neg() } else { number })
    }
}

/// The digit at `place` of the whole and fractional digits together; 0 behind the last.
fn digits_at(whole: &[u8], fraction: &[u8], place: usize) -> u8 {
    match place.checked_sub(whole.len()) {
        None => whole[place] - b'0',
        Some(place) => fraction.get(place).map_or(0, |digit| digit - b'0'),
    }
}

fn count_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The exponent; where it is beyond all use, one that is still too large or too small.
fn exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || count_digits(digits) != digits.len() {
        return None;
    }
    let size = digits.iter().fold(0_i64, |n, digit| (n * 10 + i64::from(digit - b'0')).min(1 << 40));
    Some(sign * size)
}

/// Bytes from Postgres's hex form (`\x6869`) or from base64 with padding.
pub fn bytes(text: &str, out: &mut Vec<u8>) -> Result<(), ()> {
    match text.strip_prefix("\\x") {
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => hex::read(digits, out).map_err(drop),
        Some(_) => Err(()),
        None => STANDARD.decode_vec(text, out).map_err(drop),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact_and_rounded_half_away_from_zero() {
        let number = |text: &str, exact| WrittenDecimal::parse(text).unwrap().to_i128(10, 2, exact);
        assert_eq!(number("0.1", true), Ok(10));
        assert_eq!(number("-12.345", false), Ok(-1235));
        assert_eq!(number("-12.344", false), Ok(-1234));
        assert_eq!(number("12.345", true), Err(Misfit::Fraction));
        assert_eq!(number("12.3400", true), Ok(1234));
        assert_eq!(number("1.2e3", true), Ok(120_000));
        assert_eq!(number("12345e-3", false), Ok(1235));
        assert_eq!(number("0.005", false), Ok(1));
        assert_eq!(number("0.0049", false), Ok(0));
        assert_eq!(number("99999999.99", false), Ok(9_999_999_999));
        assert_eq!(number("99999999.995", false), Err(Misfit::Range));
        assert_eq!(number("9.999", false), Ok(1000));
        assert_eq!(number("100000000", false), Err(Misfit::Range));
        assert_eq!(number("1e999999999999", false), Err(Misfit::Range));
        assert_eq!(number("1e-999999999999", false), Ok(0));
        assert_eq!(number("0e999999999999", false), Ok(0));
        let wide =
            WrittenDecimal::parse("-12345678901234567890123456789012345678.5").unwrap().to_i256(76, 38, false).unwrap();
        assert_eq!(
            wide.to_string(),
            format!("-12345678901234567890123456789012345678{}", "5".to_string() + &"0".repeat(37))
        );
        assert!(
            WrittenDecimal::parse("abc").is_none()
                && WrittenDecimal::parse("1.2.3").is_none()
                && WrittenDecimal::parse("").is_none()
        );
    }

    #[test]
    fn bytes_from_hex_and_base64() {
        let parse = |text: &str| {
            let mut out = Vec::new();
            bytes(text, &mut out).map(|()| out)
        };
        assert_eq!(parse("\\x6869"), Ok(b"hi".to_vec()));
        assert_eq!(parse("aGk="), Ok(b"hi".to_vec()));
        assert_eq!(parse("aA=="), Ok(b"h".to_vec()));
        assert_eq!(parse(""), Ok(vec![]));
        for bad in ["\\x6", "\\xzz", "aGk", "a===", "aG=k", "aA==aA==", "aB==", "hi there"] {
            assert_eq!(parse(bad), Err(()), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn short_and_long_roads_agree(whole in 0_u64..1_000_000_000_000, fraction in 0_u32..1_000_000, places in 0_i8..12) {
            let text = format!("{whole}.{fraction:06}");
            let long = format!("{text}e0");
            // An explicit exponent of zero still takes the short road, so shift the point there and back.
            let shifted = format!("{}{fraction:06}e-6", if whole == 0 { String::new() } else { whole.to_string() });
            for form in [&long, &shifted] {
                let a = WrittenDecimal::parse(&text).unwrap().to_i128(38, places, false);
                let b = WrittenDecimal::parse(form).unwrap().to_i128(38, places, false);
                prop_assert_eq!(a, b);
                let c = WrittenDecimal::parse(form).unwrap().to_i256(76, places, false).unwrap();
                prop_assert_eq!(c.to_i128().unwrap(), a.unwrap());
            }
        }
    }
}
