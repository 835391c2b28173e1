//! Reads JSON text into a [`Value`], with Postgres's errors.
//!
//! The decoder of records has a reader of its own (`formats/json/scan.rs`): that one builds nothing, allocates nothing and says at
//! which byte a record is wrong; this one makes a tree and says what Postgres says.

use super::Value;
use crate::error::{Error, Result, SqlState};
use crate::types::numeric;

/// How deep arrays and objects may nest.
const MAX_DEPTH: usize = 512;
/// How many bytes numbers with exponents may add when they are written out, beside four times the text: `1e16383` alone is 16 KB.
const MAX_GROWTH: usize = 1 << 20;

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json").with_detail(detail)
}

/// Reads JSON text. Errors: 22P02 with what was found where something else was due; 54001 beyond 512 levels; 54000 where numbers with
/// exponents would make it many times as long.
pub fn parse(text: &str) -> Result<Value> {
    let mut reader = Reader::new(text);
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(invalid(format!("Expected end of input, but found \"{}\".", reader.token())));
    }
    Ok(value)
}

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Bytes that exponents may still add.
    room: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0, room: MAX_GROWTH + 4 * text.len() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The offending token, for the detail of an error.
    fn token(&self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = match rest.find(|c: char| !(c.is_alphanumeric() || c == '_')) {
            Some(0) => rest.chars().next().map_or(0, char::len_utf8),
            Some(end) => end,
            None => rest.len(),
        };
        &rest[..end]
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T> {
        if self.at >= self.text.len() {
            return Err(invalid("The input string ended unexpectedly."));
        }
        Err(invalid(format!("Expected {expected}, but found \"{}\".", self.token())))
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => {
                let token = self.token();
                let value = match token {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    "null" => Value::Null,
                    _ if token.starts_with(|c: char| c.is_alphabetic()) => {
                        return Err(invalid(format!("Token \"{token}\" is invalid.")));
                    }
                    _ => return self.unexpected("JSON value"),
                };
                self.at += token.len();
                Ok(value)
            }
            None => self.unexpected("JSON value"),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return self.unexpected("\",\" or \"]\""),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut fields = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.unexpected(if fields.is_empty() { "string or \"}\"" } else { "string" });
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return self.unexpected("\":\"");
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            fields.push((key, value));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::object(fields));
                }
                _ => return self.unexpected("\",\" or \"}\""),
            }
        }
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        let token_end = self.text[start..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-')))
            .map_or(self.text.len(), |end| start + end);
        let token = &self.text[start..token_end];
        let bad = || invalid(format!("Token \"{token}\" is invalid."));
        let digits = token.strip_prefix('-').unwrap_or(token);
        let (mantissa, exponent) = match digits.find(['e', 'E']) {
            Some(e) => (&digits[..e], Some(&digits[e + 1..])),
            None => (digits, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        if !all_digits(whole) || (whole.len() > 1 && whole.starts_with('0')) || fraction.is_some_and(|f| !all_digits(f))
        {
            return Err(bad());
        }
        self.at = token_end;
        let Some(exponent) = exponent else {
            // As it stands, but for the sign of zero.
            let zero = mantissa.bytes().all(|c| matches!(c, b'0' | b'.'));
            return Ok(Value::Number(if zero { mantissa.to_string() } else { token.to_string() }));
        };
        if !all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)) {
            return Err(bad());
        }
        let number = expand_exponent(token.starts_with('-'), whole, fraction.unwrap_or(""), exponent)?;
        let added = number.len().saturating_sub(token.len());
        self.room = self.room.checked_sub(added).ok_or_else(|| {
            Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "numbers with exponents make this too long for jsonb").with_detail(
                "jsonb keeps all digits of a number: 1e300 is 301 bytes, and they come to more than a megabyte and four times the text.",
            )
        })?;
        Ok(Value::Number(number))
    }

    pub(super) fn string(&mut self) -> Result<String> {
        self.at += 1;
        let bytes = self.text.as_bytes();
        let mut out = String::new();
        let mut start = self.at;
        loop {
            match self.peek() {
                None => {
                    return Err(invalid(format!("Token \"{}\" is invalid.", &self.text[start.saturating_sub(1)..])));
                }
                Some(b'"') => {
                    out.push_str(&self.text[start..self.at]);
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[start..self.at]);
                    let escape = bytes.get(self.at + 1).copied();
                    self.at += 2;
                    match escape {
                        Some(b'"') => out.push('"'),
                        Some(b'\\') => out.push('\\'),
                        Some(b'/') => out.push('/'),
                        Some(b'b') => out.push('\u{8}'),
                        Some(b'f') => out.push('\u{c}'),
                        Some(b'n') => out.push('\n'),
                        Some(b'r') => out.push('\r'),
                        Some(b't') => out.push('\t'),
                        Some(b'u') => out.push(self.unicode()?),
                        _ => {
                            let rest = self.text.get(self.at - 1..).and_then(|rest| rest.chars().next());
                            let found = rest.map(String::from).unwrap_or_default();
                            return Err(invalid(format!("Escape sequence \"\\{found}\" is invalid.")));
                        }
                    }
                    start = self.at;
                }
                Some(c) if c < 0x20 => {
                    return Err(invalid(format!("Character with value 0x{c:02x} must be escaped.")));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// The character of `\uXXXX`, of which `\u` is read; surrogates come in pairs.
    fn unicode(&mut self) -> Result<char> {
        let first = self.hex4()?;
        let code = match first {
            0 => {
                return Err(Error::new(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence")
                    .with_detail("\\u0000 cannot be converted to text."));
            }
            0xD800..=0xDBFF => {
                if self.text.get(self.at..self.at + 2) != Some("\\u") {
                    return Err(invalid("Unicode low surrogate must follow a high surrogate."));
                }
                self.at += 2;
                let second = self.hex4()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(invalid("Unicode low surrogate must follow a high surrogate."));
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| invalid("Unicode low surrogate must follow a high surrogate."))
    }

    fn hex4(&mut self) -> Result<u32> {
        let code = self
            .text
            .get(self.at..self.at + 4)
            .filter(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()))
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .ok_or_else(|| invalid("\"\\u\" must be followed by four hexadecimal digits."))?;
        self.at += 4;
        Ok(code)
    }
}

/// `1.5e3` is `1500`, `1e-3` is `0.001`.
fn expand_exponent(negative: bool, whole: &str, fraction: &str, exponent: &str) -> Result<String> {
    let exponent: i64 = exponent.parse().map_err(|_| numeric::overflow())?;
    if exponent.abs() > 16_383 {
        return Err(numeric::overflow());
    }
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent;
    let mut text = if point <= 0 {
        format!("0.{}{digits}", "0".repeat(-point as usize))
    } else if (point as usize) >= digits.len() {
        format!("{digits}{}", "0".repeat(point as usize - digits.len()))
    } else {
        format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
    };
    let significant = text.find(|c: char| c != '0').unwrap_or(text.len() - 1);
    let keep = if text[significant..].starts_with('.') { significant - 1 } else { significant };
    text.drain(..keep.min(text.len() - 1));
    let zero = text.bytes().all(|c| matches!(c, b'0' | b'.'));
    Ok(if negative && !zero { format!("-{text}") } else { text })
}
