//! Floating point text as Postgres prints it: the shortest digits that read back to the same value.

use std::fmt::Write;

use crate::error::{Error, Result, SqlState};

/// Prints a double; from 1e15 on and below 1e-4 with an exponent.
pub fn write_f64(out: &mut impl Write, value: f64) {
    write_shortest(out, value.is_nan(), value.is_infinite(), value.is_sign_negative(), 15, |buffer| {
        let _ = write!(buffer, "{:e}", value.abs());
    });
}

/// Prints a real; from 1e6 on and below 1e-4 with an exponent.
pub fn write_f32(out: &mut impl Write, value: f32) {
    write_shortest(out, value.is_nan(), value.is_infinite(), value.is_sign_negative(), 6, |buffer| {
        let _ = write!(buffer, "{:e}", value.abs());
    });
}

/// Text on the stack.
struct Stack {
    bytes: [u8; 48],
    len: usize,
}

impl Write for Stack {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl Stack {
    const fn new() -> Stack {
        Stack { bytes: [0; 48], len: 0 }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

/// `scientific` writes `d.ddde-x`, the shortest digits; they are laid out as Postgres lays them out.
fn write_shortest(
    out: &mut impl Write,
    nan: bool,
    infinite: bool,
    negative: bool,
    fixed_below: i32,
    scientific: impl Fn(&mut Stack),
) {
    // Writing to a growing buffer cannot fail, nor to the stack within 48 bytes.
    if nan {
        let _ = out.write_str("NaN");
        return;
    }
    let sign = if negative { "-" } else { "" };
    if infinite {
        let _ = write!(out, "{sign}Infinity");
        return;
    }
    let mut buffer = Stack::new();
    scientific(&mut buffer);
    let (mantissa, exponent) = buffer.text().split_once('e').unwrap_or(("0", "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut digits = Stack::new();
    mantissa.split('.').for_each(|part| {
        let _ = digits.write_str(part);
    });
    let digits = digits.text();
    let mut text = Stack::new();
    let _ = text.write_str(sign);
    if (-4..fixed_below).contains(&exponent) {
        if exponent < 0 {
            let _ = text.write_str("0.");
            (1..-exponent).for_each(|_| {
                let _ = text.write_str("0");
            });
            let _ = text.write_str(digits);
        } else {
            let integer = exponent as usize + 1;
            if digits.len() <= integer {
                let _ = text.write_str(digits);
                (digits.len()..integer).for_each(|_| {
                    let _ = text.write_str("0");
                });
            } else {
                let _ = write!(text, "{}.{}", &digits[..integer], &digits[integer..]);
            }
        }
    } else {
        let point = if digits.len() > 1 { "." } else { "" };
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(text, "{}{point}{}e{sign}{:02}", &digits[..1], &digits[1..], exponent.abs());
    }
    let _ = out.write_str(text.text());
}

/// Reads a double. Errors: 22P02; 22003 where the value has no double.
pub fn parse_f64(text: &str) -> Result<f64> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let hex = || hexadecimal(trimmed).map(|hex| hex.scaled(hex.digits as f64, |power| 2f64.powi(power)));
    let value: f64 = read(trimmed).or_else(hex).ok_or_else(|| invalid(text, "double precision"))?;
    if (value.is_infinite() && !names_infinity(trimmed)) || (value == 0.0 && has_nonzero_digit(trimmed)) {
        return Err(out_of_range(text, "double precision"));
    }
    Ok(value)
}

/// Reads a real. Errors as [`parse_f64`]'s.
pub fn parse_f32(text: &str) -> Result<f32> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let hex = || hexadecimal(trimmed).map(|hex| hex.scaled(hex.digits as f32, |power| 2f32.powi(power)));
    let value: f32 = read(trimmed).or_else(hex).ok_or_else(|| invalid(text, "real"))?;
    if (value.is_infinite() && !names_infinity(trimmed)) || (value == 0.0 && has_nonzero_digit(trimmed)) {
        return Err(out_of_range(text, "real"));
    }
    Ok(value)
}

fn read<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// A number as C also takes it: `0x1F`, `-0x1.8p3`.
struct Hexadecimal {
    negative: bool,
    digits: u64,
    /// Of two.
    power: i32,
}

impl Hexadecimal {
    /// In two steps, of which none alone leaves the range.
    fn scaled<T: std::ops::Mul<Output = T> + std::ops::Neg<Output = T>>(&self, digits: T, two: fn(i32) -> T) -> T {
        let half = self.power / 2;
        let value = digits * two(half) * two(self.power - half);
        if self.negative { -value } else { value }
    }
}

fn hexadecimal(text: &str) -> Option<Hexadecimal> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let rest = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"))?;
    let (mantissa, power) = rest.split_once(['p', 'P']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 || !power.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut power = power.parse::<i32>().ok()?.clamp(-10_000, 10_000);
    let mut digits = 0u64;
    for (n, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(c.to_digit(16)?);
        let behind = i32::from(n >= whole.len()) * 4;
        match digits >> 60 {
            0 => (digits, power) = (digits << 4 | digit, power - behind),
            // What no longer fits can only tip the rounding.
            _ => (digits, power) = (digits | u64::from(digit > 0), power + 4 - behind),
        }
    }
    Some(Hexadecimal { negative: text.starts_with('-'), digits, power })
}

fn names_infinity(text: &str) -> bool {
    text.contains(['i', 'I'])
}

fn has_nonzero_digit(text: &str) -> bool {
    if let Some(hex) = hexadecimal(text) {
        return hex.digits != 0;
    }
    text.split(['e', 'E']).next().is_some_and(|mantissa| mantissa.bytes().any(|c| (b'1'..=b'9').contains(&c)))
}

fn invalid(text: &str, ty: &str) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type {ty}: \"{text}\""))
}

fn out_of_range(text: &str, ty: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{text}\" is out of range for type {ty}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_a_real_server_prints_them() {
        let cases = [
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e14, "100000000000000"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e300, "1.5e+300"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (0.0, "0"),
            (100.0, "100"),
            (12.5, "12.5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        ];
        for (value, text) in cases {
            let mut out = String::new();
            write_f64(&mut out, value);
            assert_eq!(out, text);
        }
        for (value, text) in [(1e6, "1e+06"), (123456.0, "123456"), (1_234_567.0, "1.234567e+06"), (0.1f32, "0.1")] {
            let mut out = String::new();
            write_f32(&mut out, value);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn what_has_no_double_is_out_of_range() {
        assert_eq!(parse_f64(" 1e3 "), Ok(1000.0));
        assert_eq!(parse_f64("-inf"), Ok(f64::NEG_INFINITY));
        assert_eq!(parse_f64("1e400").unwrap_err().message(), "\"1e400\" is out of range for type double precision");
        assert_eq!(parse_f64("1e-400").unwrap_err().state(), SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
        assert_eq!(parse_f64("0x1p-5000").unwrap_err().state(), SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
        for (text, value) in [("0x1F", 31.0), ("-0x1.8p1", -3.0), ("0X.8", 0.5), ("0x0", 0.0), ("0x1p3", 8.0)] {
            assert_eq!((parse_f64(text), parse_f32(text)), (Ok(value), Ok(value as f32)), "{text}");
        }
        assert_eq!(parse_f64("0x").unwrap_err().state(), SqlState::INVALID_TEXT_REPRESENTATION);
        assert_eq!(parse_f64("1x").unwrap_err().state(), SqlState::INVALID_TEXT_REPRESENTATION);
    }
}
