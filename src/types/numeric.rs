//! Decimal numbers: text, Postgres's binary form, and exact rescaling.
//!
//! A value is an unscaled integer and a scale. `numeric(p,s)` holds an i128 at scale s; bare `numeric` an i256 at
//! scale 38, whose trailing zeros are not printed (its own scale is not kept).

use std::fmt::Write;

use arrow::datatypes::i256;

use crate::error::{Error, Result, SqlState};

/// Digits that any value may have in all.
pub const MAX_DIGITS: u32 = 76;
/// Digits behind the point that any value may have.
pub const MAX_SCALE: u32 = 38;

/// 10^0 ..= 10^38.
pub const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut n = 1;
    while n < 39 {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// 10^n for n up to 76.
pub fn power(n: u32) -> i256 {
    if n <= 38 {
        i256::from_i128(POWERS[n as usize])
    } else {
        i256::from_i128(POWERS[38]).wrapping_mul(i256::from_i128(POWERS[(n - 38).min(38) as usize]))
    }
}

/// A decimal with the scale it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    pub unscaled: i256,
    pub scale: u32,
}

impl Decimal {
    pub fn new(unscaled: i256, scale: u32) -> Decimal {
        Decimal { unscaled, scale }
    }

    /// Digits of the unscaled value; 1 for zero.
    pub fn digits(&self) -> u32 {
        let magnitude = self.unscaled.wrapping_abs();
        (1..=MAX_DIGITS).find(|&n| magnitude < power(n)).unwrap_or(MAX_DIGITS + 1)
    }

    /// The unscaled value at another scale, rounded half away from zero; `None` beyond 76 digits.
    pub fn rescale(&self, scale: u32) -> Option<i256> {
        if scale >= self.scale {
            let value = self.unscaled.checked_mul(power(scale - self.scale))?;
            return (value.wrapping_abs() < power(MAX_DIGITS)).then_some(value);
        }
        let by = self.scale - scale;
        if by > MAX_DIGITS {
            return Some(i256::ZERO);
        }
        Some(div_round_256(self.unscaled, power(by)))
    }

    /// The same value without trailing zeros behind the point.
    pub fn trimmed(mut self) -> Decimal {
        let ten = i256::from_i128(10);
        while self.scale > 0 {
            // Long runs of zeros first.
            let step = if self.scale >= 16 { 16 } else { 1 };
            let divisor = if step == 1 { ten } else { power(step) };
            if self.unscaled.wrapping_rem(divisor) == i256::ZERO {
                self.unscaled = self.unscaled.wrapping_div(divisor);
                self.scale -= step;
            } else if step == 16 {
                while self.scale > 0 && self.unscaled.wrapping_rem(ten) == i256::ZERO {
                    self.unscaled = self.unscaled.wrapping_div(ten);
                    self.scale -= 1;
                }
                return self;
            } else {
                return self;
            }
        }
        self
    }

    pub fn to_f64(&self) -> f64 {
        let mut text = String::with_capacity(48);
        // Through text: the nearest double, as Postgres does it.
        write_decimal(&mut text, self.unscaled, self.scale);
        text.parse().unwrap_or(f64::NAN)
    }
}

/// Quotient rounded half away from zero. The divisor is positive.
pub fn div_round_256(value: i256, divisor: i256) -> i256 {
    let (quotient, rest) = (value.wrapping_div(divisor), value.wrapping_rem(divisor).wrapping_abs());
    if rest >= divisor.wrapping_sub(rest) {
        let one = if value.is_negative() { i256::MINUS_ONE } else { i256::ONE };
        quotient.wrapping_add(one)
    } else {
        quotient
    }
}

/// Quotient rounded half away from zero. The divisor is positive.
pub fn div_round(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value / divisor, (value % divisor).abs());
    if rest >= divisor - rest { quotient + value.signum() } else { quotient }
}

/// An i128 at another scale, rounded half away from zero; `None` on overflow.
pub fn rescale(value: i128, from: u32, to: u32) -> Option<i128> {
    if to >= from {
        value.checked_mul(*POWERS.get((to - from) as usize)?)
    } else {
        Some(POWERS.get((from - to) as usize).map_or(0, |&divisor| div_round(value, divisor)))
    }
}

/// "numeric field overflow", as a cast to `numeric(p,s)` raises it.
pub fn field_overflow(precision: u8, scale: i8) -> Error {
    let integer = i16::from(precision) - i16::from(scale);
    let bound = if integer == 0 { "1".to_string() } else { format!("10^{integer}") };
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
    ))
}

/// "value overflows numeric format", which bare numeric raises beyond 38 digits before the point.
pub fn overflow() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

fn invalid(text: &str) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type numeric: \"{text}\""))
}

/// Reads `-12.50`, `.5`, `1e-3`; digits beyond the 38th behind the point are rounded away. Errors: 22P02, 22003, and
/// 0A000 for NaN and the infinities, which our decimals cannot hold.
pub fn parse(text: &str) -> Result<Decimal> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let bytes = trimmed.as_bytes();
    let (negative, mut at) = match bytes.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let start = at;
    let mut unscaled = i256::ZERO;
    let mut low: i128 = 0;
    let mut low_digits = 0usize;
    let (mut digits, mut scale, mut seen) = (0u32, 0i64, false);
    let mut point = false;
    let mut round_up = None;
    while at < bytes.len() {
        match bytes[at] {
            c @ b'0'..=b'9' => {
                seen = true;
                if point && scale >= i64::from(MAX_SCALE) * 2 {
                    round_up.get_or_insert(c >= b'5');
                } else {
                    if digits > 0 || c != b'0' {
                        digits += 1;
                    }
                    if digits > MAX_DIGITS {
                        // Too long to be held; what is behind the point only loses precision.
                        if !point {
                            return Err(overflow());
                        }
                        digits -= 1;
                        round_up.get_or_insert(c >= b'5');
                        at += 1;
                        continue;
                    }
                    low = low * 10 + i128::from(c - b'0');
                    low_digits += 1;
                    if low_digits == 18 {
                        unscaled = unscaled.wrapping_mul(power(18)).wrapping_add(i256::from_i128(low));
                        (low, low_digits) = (0, 0);
                    }
                    scale += i64::from(point);
                }
            }
            b'.' if !point => point = true,
            _ => break,
        }
        at += 1;
    }
    unscaled = unscaled.wrapping_mul(power(low_digits as u32)).wrapping_add(i256::from_i128(low));
    if round_up == Some(true) {
        unscaled = unscaled.wrapping_add(i256::ONE);
    }
    if !seen {
        return match trimmed[start..].to_ascii_lowercase().as_str() {
            "nan" | "inf" | "infinity" => {
                Err(Error::unsupported(format!("numeric '{trimmed}'"), "double precision has NaN and infinity."))
            }
            _ => Err(invalid(text)),
        };
    }
    if at < bytes.len() && matches!(bytes[at], b'e' | b'E') {
        let exponent = &trimmed[at + 1..];
        let digits_only = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits_only.is_empty() || !digits_only.bytes().all(|c| c.is_ascii_digit()) {
            return Err(invalid(text));
        }
        let exponent: i64 = exponent.parse().map_err(|_| overflow())?;
        scale -= exponent.clamp(-100_000, 100_000);
        at = bytes.len();
    }
    if at < bytes.len() {
        return Err(invalid(text));
    }
    if negative {
        unscaled = unscaled.wrapping_neg();
    }
    if unscaled == i256::ZERO {
        return Ok(Decimal::new(unscaled, scale.clamp(0, i64::from(MAX_SCALE)) as u32));
    }
    if scale < 0 {
        let up = u32::try_from(-scale).ok().filter(|&up| up + digits <= MAX_DIGITS).ok_or_else(overflow)?;
        return Ok(Decimal::new(unscaled.wrapping_mul(power(up)), 0));
    }
    let mut decimal = Decimal::new(unscaled, scale.min(1000) as u32);
    if decimal.scale > MAX_SCALE {
        decimal = Decimal::new(decimal.rescale(MAX_SCALE).ok_or_else(overflow)?, MAX_SCALE);
    }
    Ok(decimal)
}

/// Reads text into a `numeric(p,s)`'s unscaled value, rounding half away from zero. Errors: 22P02, 22003.
pub fn parse_fixed(text: &str, precision: u8, scale: i8) -> Result<i128> {
    fit(parse(text)?, precision, scale)
}

/// A decimal as a `numeric(p,s)`'s unscaled value. Errors: 22003.
pub fn fit(decimal: Decimal, precision: u8, scale: i8) -> Result<i128> {
    decimal
        .rescale(scale as u32)
        .and_then(|value| value.to_i128())
        .filter(|value| value.unsigned_abs() < POWERS[precision as usize].unsigned_abs())
        .ok_or_else(|| field_overflow(precision, scale))
}

/// A decimal as bare numeric's unscaled value. Errors: 22003.
pub fn fit_free(decimal: Decimal) -> Result<i256> {
    decimal.rescale(MAX_SCALE).ok_or_else(overflow)
}

/// Decimal digits of a magnitude, most significant first, into the end of `buffer`; where they start.
fn digits_of(mut high: u128, buffer: &mut [u8]) -> usize {
    let mut at = buffer.len();
    loop {
        // 64-bit divisions: a u128 falls into pieces of 19 digits.
        const CHUNK: u128 = 10_000_000_000_000_000_000;
        let (mut low, more) = if high < CHUNK { (high as u64, false) } else { ((high % CHUNK) as u64, true) };
        high /= CHUNK;
        let stop = if more { at - 19 } else { 0 };
        while low > 0 || (more && at > stop) {
            at -= 1;
            buffer[at] = b'0' + (low % 10) as u8;
            low /= 10;
        }
        if !more {
            return at;
        }
    }
}

fn write_digits(out: &mut impl Write, negative: bool, digits: &[u8], scale: usize) {
    let mut text = [b'0'; 120];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        text[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    if negative {
        put(b"-");
    }
    let integer = digits.len().saturating_sub(scale);
    put(if integer == 0 { b"0" } else { &digits[..integer] });
    if scale > 0 {
        put(b".");
        for _ in digits.len()..scale {
            put(b"0");
        }
        put(&digits[integer..]);
    }
    // Writing to a growing buffer cannot fail.
    let _ = out.write_str(std::str::from_utf8(&text[..at]).unwrap_or("0"));
}

/// Prints an unscaled value with all digits of its scale.
pub fn write_fixed(out: &mut impl Write, value: i128, scale: u32) {
    let mut buffer = [b'0'; 40];
    let start = digits_of(value.unsigned_abs(), &mut buffer);
    write_digits(out, value < 0, &buffer[start..], scale as usize);
}

/// [`write_fixed`] over 256 bits.
pub fn write_decimal(out: &mut impl Write, value: i256, scale: u32) {
    if let Some(value) = value.to_i128() {
        return write_fixed(out, value, scale);
    }
    let magnitude = value.wrapping_abs();
    let (high, low) = (magnitude.wrapping_div(power(38)), magnitude.wrapping_rem(power(38)));
    let mut buffer = [b'0'; 80];
    digits_of(low.to_i128().unwrap_or(0).unsigned_abs(), &mut buffer);
    let start = digits_of(high.to_i128().unwrap_or(0).unsigned_abs(), &mut buffer[..42]);
    write_digits(out, value.is_negative(), &buffer[start..], scale as usize);
}

/// Prints a bare numeric: without trailing zeros.
pub fn write_free(out: &mut impl Write, value: i256) {
    let decimal = Decimal::new(value, MAX_SCALE).trimmed();
    write_decimal(out, decimal.unscaled, decimal.scale);
}

/// Postgres's binary numeric: digits, weight, sign, display scale, then base-10000 digits, all 16-bit big-endian.
pub fn to_binary(out: &mut bytes::BytesMut, decimal: Decimal) {
    use bytes::BufMut;
    let mut text = String::with_capacity(48);
    write_decimal(&mut text, decimal.unscaled.wrapping_abs(), decimal.scale);
    let (integer, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let integer = integer.trim_start_matches('0');
    let mut groups: [i16; 24] = [0; 24];
    let mut count = 0;
    let lead = integer.len().div_ceil(4);
    let mut push = |chunk: &str, pad: usize| {
        let value: i16 = chunk.parse().unwrap_or(0);
        groups[count] = value * [1, 10, 100, 1000][pad];
        count += 1;
    };
    let first = integer.len() % 4;
    if first > 0 {
        push(&integer[..first], 0);
    }
    let mut at = first;
    while at < integer.len() {
        push(&integer[at..at + 4], 0);
        at += 4;
    }
    let mut at = 0;
    while at < fraction.len() {
        let end = (at + 4).min(fraction.len());
        push(&fraction[at..end], 4 - (end - at));
        at = end;
    }
    let zeros = groups[..count].iter().take_while(|&&group| group == 0).count();
    let end = groups[..count].iter().rposition(|&group| group != 0).map_or(zeros, |last| last + 1);
    let kept = &groups[zeros.min(end)..end];
    let weight = if kept.is_empty() { 0 } else { lead as i16 - 1 - zeros as i16 };
    out.put_i16(kept.len() as i16);
    out.put_i16(weight);
    out.put_u16(if decimal.unscaled.is_negative() { 0x4000 } else { 0 });
    out.put_i16(decimal.scale as i16);
    kept.iter().for_each(|&group| out.put_i16(group));
}

/// Reads Postgres's binary numeric. Errors: 22P03 for malformed bytes, 22003, 0A000 for NaN and infinities.
pub fn from_binary(bytes: &[u8]) -> Result<Decimal> {
    let malformed = || Error::new(SqlState::INVALID_BINARY_REPRESENTATION, "invalid external \"numeric\" value");
    let word = |n: usize| -> Result<u16> {
        let pair = bytes.get(2 * n..2 * n + 2).ok_or_else(malformed)?;
        Ok(u16::from_be_bytes([pair[0], pair[1]]))
    };
    let (count, weight, sign, scale) = (word(0)? as usize, word(1)? as i16, word(2)?, u32::from(word(3)?));
    if matches!(sign, 0xC000 | 0xD000 | 0xF000) {
        return Err(Error::unsupported("numeric 'NaN' or 'Infinity'", "double precision has NaN and infinity."));
    }
    if bytes.len() != 8 + 2 * count || !matches!(sign, 0 | 0x4000) || scale > 16_383 {
        return Err(malformed());
    }
    if count == 0 {
        return Ok(Decimal::new(i256::ZERO, scale.min(MAX_SCALE)));
    }
    // Digits in groups of four: the last group stands at 10000^(weight - count + 1).
    let mut value = i256::ZERO;
    let mut exponent = i32::from(weight) + 1;
    for n in 0..count {
        let group = word(4 + n)?;
        if group > 9999 {
            return Err(malformed());
        }
        // Beyond 38 digits behind the point only the rounding of the last counts.
        if exponent <= -10 {
            break;
        }
        value = value
            .checked_mul(i256::from_i128(10_000))
            .and_then(|value| value.checked_add(i256::from_i128(i128::from(group))))
            .ok_or_else(overflow)?;
        exponent -= 1;
    }
    if sign == 0x4000 {
        value = value.wrapping_neg();
    }
    let decimal = if exponent >= 0 {
        let up = exponent as u32 * 4;
        if up > MAX_DIGITS {
            return Err(overflow());
        }
        Decimal::new(value.checked_mul(power(up)).ok_or_else(overflow)?, 0)
    } else {
        Decimal::new(value, (-exponent) as u32 * 4)
    };
    let scale = scale.min(MAX_SCALE);
    Ok(Decimal::new(decimal.rescale(scale).ok_or_else(overflow)?, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> String {
        let decimal = parse(text).unwrap();
        let mut out = String::new();
        write_decimal(&mut out, decimal.unscaled, decimal.scale);
        out
    }

    #[test]
    fn text_keeps_the_scale_it_is_written_with() {
        let long = "12345678901234567890123456789012345678.12345678901234567890123456789012345678";
        for text in ["0", "-1.50", "0.001", "123456789012345678901234567890", "99.99", long] {
            assert_eq!(printed(text), text);
        }
        for (text, expected) in [(".5", "0.5"), ("1e3", "1000"), ("1.5e-3", "0.0015"), (" +7 ", "7"), ("-.5e1", "-5")] {
            assert_eq!(printed(text), expected);
        }
        for text in ["", ".", "1.2.3", "e5", "1e", "--1", "1 2", "abc"] {
            assert_eq!(parse(text).unwrap_err().state(), SqlState::INVALID_TEXT_REPRESENTATION, "{text}");
        }
        assert_eq!(parse("1e100").unwrap_err().state(), SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }

    #[test]
    fn a_field_rounds_half_away_and_overflows() {
        assert_eq!(parse_fixed("1.005", 5, 2), Ok(101));
        assert_eq!(parse_fixed("-2.5", 5, 0), Ok(-3));
        let error = parse_fixed("999.995", 5, 2).unwrap_err();
        assert_eq!(error.message(), "numeric field overflow");
        let detail = "A field with precision 5, scale 2 must round to an absolute value less than 10^3.";
        assert_eq!(error.detail(), Some(detail));
    }

    #[test]
    fn bare_numeric_prints_without_trailing_zeros() {
        for (text, expected) in [("1.500", "1.5"), ("100", "100"), ("0.000", "0"), ("-0.10", "-0.1")] {
            let mut out = String::new();
            write_free(&mut out, fit_free(parse(text).unwrap()).unwrap());
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn binary_is_postgres_base_10000() {
        // From a real server's numeric_send.
        let cases = [
            ("0", "0000000000000000"),
            ("1", "00010000000000000001"),
            ("-1.5", "0002000040000001000113 88"),
            ("0.0001", "0001ffff000000040001"),
            ("12345.6789", "00030001000000040001092 91a85"),
            ("10000", "00010001000000000001"),
            ("0.50", "0001ffff000000021388"),
        ];
        for (text, hex) in cases {
            let mut out = bytes::BytesMut::new();
            let decimal = parse(text).unwrap();
            to_binary(&mut out, decimal);
            let actual: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(actual, hex.replace(' ', ""), "{text}");
            assert_eq!(from_binary(&out), Ok(decimal), "{text}");
        }
    }
}
