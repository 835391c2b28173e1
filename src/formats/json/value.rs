//! One value: read, checked against the declared type, converted. Every rule of what a JSON value means as a SQL value is here.

use arrow::datatypes::IntervalMonthDayNano as Interval;

use super::literal::{self, Misfit, WrittenDecimal};
use super::reject::Reject;
use super::scan::{Kind, Scanner};
use crate::types::Type;
use crate::types::builder::{parse_uuid, within};
use crate::types::datetime_input::{Clock, parse_date, parse_time, parse_timestamp, parse_timestamptz};
use crate::types::interval_input::parse as parse_interval;
use crate::types::iso;
use crate::types::zone::Zone;

/// Characters of a wrong value that its reason shows.
const SHOWN: usize = 60;

/// Postgres's limits of a timestamp, microseconds since 1970: 4713 BC, and what 64 bits hold (less the infinities).
const FIRST_TIMESTAMP: i64 = -210_866_803_200_000_000;
const LAST_TIMESTAMP: i64 = i64::MAX - 1;

/// The value that comes next is of a kind that the type never has. Its syntax is checked first: text that is not JSON
/// is the graver fault.
#[cold]
pub fn wrong_kind(scan: &mut Scanner<'_>, kind: Kind, ty: &Type) -> Reject {
    let start = scan.position();
    if let Err(malformed) = scan.skip(0) {
        return malformed.into();
    }
    let found = match kind {
        Kind::Array | Kind::Object => kind.noun().to_string(),
        Kind::Null | Kind::Bool => scan.since(start).to_string(),
        Kind::Number | Kind::String => format!("the {} {}", &kind.noun()[2..], shortened(scan.since(start))),
    };
    Reject::value(format!("found {found}, expected {}", expected(ty)))
}

/// The value, read up to here from `start`, has the right kind and the wrong content.
#[cold]
fn wrong_value(scan: &Scanner<'_>, start: usize, what: &str) -> Reject {
    Reject::value(format!("{} {what}", shortened(scan.since(start))))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

/// What to write in JSON for a value of this type.
fn expected(ty: &Type) -> String {
    match ty {
        Type::Bool => "true or false".to_string(),
        Type::Int2 | Type::Int8 | Type::Uuid => format!("a {}", ty.name()),
        Type::Int4 => "an integer".to_string(),
        Type::Float4 | Type::Float8 | Type::Numeric(_) => "a number".to_string(),
        Type::Varchar(_) | Type::Char(_) => "text".to_string(),
        Type::Date => "a date as text, like \"2026-01-31\"".to_string(),
        Type::Time => "a time as text, like \"12:30:00\"".to_string(),
        Type::Timestamp | Type::Timestamptz => {
            format!("a {} as ISO text or milliseconds since 1970", ty.name())
        }
        Type::Bytea => "bytea as text in base64 or \\x hex".to_string(),
        Type::Array(_) => format!("an array for {}", ty.name()),
        Type::Struct(_) => "an object".to_string(),
        other => other.name(),
    }
}

#[inline]
pub fn boolean(scan: &mut Scanner<'_>, kind: Kind, ty: &Type) -> Result<bool, Reject> {
    if kind != Kind::Bool {
        return Err(wrong_kind(scan, kind, ty));
    }
    Ok(scan.boolean()?)
}

/// The digits of a number, bare or in quotes. `what` says what it should have been.
#[inline]
fn number_text<'s, 'a: 's>(
    scan: &mut Scanner<'a>,
    kind: Kind,
    scratch: &'s mut String,
    ty: &Type,
) -> Result<&'s str, Reject> {
    match kind {
        Kind::Number => Ok(scan.number()?),
        Kind::String => Ok(scan.string(scratch)?),
        _ => Err(wrong_kind(scan, kind, ty)),
    }
}

/// A whole number; `5.0` and `5e0` are whole too.
#[inline]
pub fn integer<T: TryFrom<i64>>(
    scan: &mut Scanner<'_>,
    kind: Kind,
    scratch: &mut String,
    ty: &Type,
) -> Result<T, Reject> {
    let start = scan.position();
    let text = number_text(scan, kind, scratch, ty)?;
    let number = match short_integer(text) {
        Some(number) => number,
        None => match WrittenDecimal::parse(text).map(|decimal| decimal.to_i128(38, 0, true)) {
            Some(Ok(number)) => i64::try_from(number).map_err(|_| out_of_range(scan, start, ty))?,
            Some(Err(Misfit::Range)) => return Err(out_of_range(scan, start, ty)),
            Some(Err(Misfit::Fraction)) => return Err(wrong_value(scan, start, "is not a whole number")),
            None => return Err(not_a(scan, start, ty)),
        },
    };
    T::try_from(number).map_err(|_| out_of_range(scan, start, ty))
}

/// Up to 18 digits with a sign, nothing else.
#[inline]
fn short_integer(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut number = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if negative { -number } else { number })
}

#[cold]
fn out_of_range(scan: &Scanner<'_>, start: usize, ty: &Type) -> Reject {
    wrong_value(scan, start, &format!("is out of range for {}", ty.name()))
}

#[cold]
fn not_a(scan: &Scanner<'_>, start: usize, ty: &Type) -> Reject {
    wrong_value(scan, start, &format!("is not {}", expected(ty)))
}

pub fn float8(scan: &mut Scanner<'_>, kind: Kind, scratch: &mut String, ty: &Type) -> Result<f64, Reject> {
    let start = scan.position();
    let text = number_text(scan, kind, scratch, ty)?;
    match text.parse::<f64>() {
        Ok(number) if is_plain(text) => {
            let lost = !number.is_finite() || (number == 0.0 && has_digits(text));
            if lost { Err(out_of_range(scan, start, ty)) } else { Ok(number) }
        }
        _ => special_float(text).ok_or_else(|| not_a(scan, start, ty)),
    }
}

pub fn float4(scan: &mut Scanner<'_>, kind: Kind, scratch: &mut String, ty: &Type) -> Result<f32, Reject> {
    let start = scan.position();
    let text = number_text(scan, kind, scratch, ty)?;
    match text.parse::<f32>() {
        Ok(number) if is_plain(text) => {
            let lost = !number.is_finite() || (number == 0.0 && has_digits(text));
            if lost { Err(out_of_range(scan, start, ty)) } else { Ok(number) }
        }
        _ => special_float(text).map(|number| number as f32).ok_or_else(|| not_a(scan, start, ty)),
    }
}

/// Written in digits, so not one of the words that Rust's parser knows.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
}

/// Is not zero as written.
fn has_digits(text: &str) -> bool {
    text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

/// What JSON has no numbers for, in quotes, as Postgres spells it.
fn special_float(text: &str) -> Option<f64> {
    let (sign, word) = match text.strip_prefix('-') {
        Some(word) => (-1.0, word),
        None => (1.0, text),
    };
    if word.eq_ignore_ascii_case("infinity") || word.eq_ignore_ascii_case("inf") {
        return Some(sign * f64::INFINITY);
    }
    text.eq_ignore_ascii_case("nan").then_some(f64::NAN)
}

pub fn decimal<T>(
    scan: &mut Scanner<'_>,
    kind: Kind,
    scratch: &mut String,
    ty: &Type,
    convert: impl FnOnce(WrittenDecimal<'_>) -> Result<T, Misfit>,
) -> Result<T, Reject> {
    let start = scan.position();
    let text = number_text(scan, kind, scratch, ty)?;
    let Some(decimal) = WrittenDecimal::parse(text) else { return Err(not_a(scan, start, ty)) };
    convert(decimal).map_err(|_| out_of_range(scan, start, ty))
}

/// Text for text, varchar(n) and char(n). Too long a text is refused, unless all that is too much is spaces.
#[inline]
pub fn text(
    scan: &mut Scanner<'_>,
    kind: Kind,
    scratch: &mut String,
    ty: &Type,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    if kind != Kind::String {
        return Err(wrong_kind(scan, kind, ty));
    }
    let start = scan.position();
    let value = scan.string(scratch)?;
    let value = match ty {
        Type::Varchar(Some(limit)) => within(value, *limit as usize),
        Type::Char(limit) => within(value.trim_end_matches(' '), *limit as usize),
        _ => Some(value),
    };
    match value {
        Some(value) => {
            out.extend_from_slice(value.as_bytes());
            Ok(())
        }
        None => Err(wrong_value(scan, start, &format!("is too long for {}", ty.name()))),
    }
}

pub fn bytea(
    scan: &mut Scanner<'_>,
    kind: Kind,
    scratch: &mut String,
    ty: &Type,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    if kind != Kind::String {
        return Err(wrong_kind(scan, kind, ty));
    }
    let start = scan.position();
    let value = scan.string(scratch)?;
    literal::bytes(value, out).map_err(|()| not_a(scan, start, ty))
}

/// Any value, as Postgres's jsonb prints it.
pub fn jsonb(scan: &mut Scanner<'_>, depth: u32, out: &mut Vec<u8>) -> Result<(), Reject> {
    let start = scan.position();
    scan.skip(depth)?;
    let written = scan.since(start);
    let text = crate::types::json::canonical(written)
        .map_err(|error| wrong_value(scan, start, &format!("is not jsonb: {error}")))?;
    scan.grew_by(text.len().saturating_sub(written.len()))?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// What a time without a zone means, whoever reads it: decoding depends on the bytes alone, so `now` means nothing.
const CLOCK: Clock = Clock { zone: Zone::UTC, now: None };

pub fn date(scan: &mut Scanner<'_>, kind: Kind, scratch: &mut String, ty: &Type) -> Result<i32, Reject> {
    parsed(scan, kind, scratch, ty, |text| parse_date(text, &CLOCK).ok())
}

pub fn time(scan: &mut Scanner<'_>, kind: Kind, scratch: &mut String, ty: &Type) -> Result<i64, Reject> {
    parsed(scan, kind, scratch, ty, |text| parse_time(text, &CLOCK).ok())
}

pub fn interval(scan: &mut Scanner<'_>, kind: Kind, scratch: &mut String, ty: &Type) -> Result<Interval, Reject> {
    parsed(scan, kind, scratch, ty, |text| parse_interval(text).ok())
}

pub fn uuid(scan: &mut Scanner<'_>, kind: Kind, scratch: &mut String, ty: &Type) -> Result<[u8; 16], Reject> {
    parsed(scan, kind, scratch, ty, |text| parse_uuid(text).ok())
}

/// A value that is written as text.
fn parsed<T>(
    scan: &mut Scanner<'_>,
    kind: Kind,
    scratch: &mut String,
    ty: &Type,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Reject> {
    if kind != Kind::String {
        return Err(wrong_kind(scan, kind, ty));
    }
    let start = scan.position();
    let value = scan.string(scratch)?;
    parse(value).ok_or_else(|| not_a(scan, start, ty))
}

/// Microseconds since 1970. Text without a zone is UTC for timestamptz; for timestamp a zone is ignored, as in Postgres. A number is
/// milliseconds, decimals included.
#[inline]
pub fn timestamp(scan: &mut Scanner<'_>, kind: Kind, scratch: &mut String, ty: &Type) -> Result<i64, Reject> {
    let start = scan.position();
    let micros = match kind {
        Kind::Number => {
            let text = scan.number()?;
            let number = match short_integer(text) {
                Some(number) => Ok(i128::from(number) * 1000),
                None => WrittenDecimal::parse(text).map_or(Err(Misfit::Range), |decimal| decimal.to_i128(38, 3, false)),
            };
            number.ok().and_then(|number| i64::try_from(number).ok()).ok_or_else(|| out_of_range(scan, start, ty))?
        }
        Kind::String => {
            let value = scan.string(scratch)?;
            let read = match (iso::timestamp(value), ty) {
                (Some(written), Type::Timestamptz) => Ok(written.instant_in_utc()),
                (Some(written), _) => Ok(written.local()),
                (None, Type::Timestamptz) => parse_timestamptz(value, &CLOCK),
                (None, _) => parse_timestamp(value, &CLOCK),
            };
            // Infinities are beyond the range below, so they return from here.
            return match read {
                Ok(infinity @ (i64::MIN | i64::MAX)) => Ok(infinity),
                Ok(micros) if (FIRST_TIMESTAMP..=LAST_TIMESTAMP).contains(&micros) => Ok(micros),
                Ok(_) => Err(out_of_range(scan, start, ty)),
                Err(_) => Err(not_a(scan, start, ty)),
            };
        }
        _ => return Err(wrong_kind(scan, kind, ty)),
    };
    if (FIRST_TIMESTAMP..=LAST_TIMESTAMP).contains(&micros) {
        return Ok(micros);
    }
    Err(out_of_range(scan, start, ty))
}
