//! jsonb as canonical text: Postgres's own output form is what is stored.
//!
//! Keys are ordered by length, then by bytes; of equal keys the last wins; `{"a": 1, "b": [1, 2]}` has one space after
//! colon and comma; numbers keep their digits (`1.10` stays, `1e2` is `100`). Equal values have equal text, but for
//! numbers that differ in trailing zeros.
//!
//! [`Cursor`] walks canonical text without building a tree: `->` and its kin are scans over the bytes.

use std::fmt::Write;

use super::numeric;
use crate::error::{Error, Result, SqlState};

/// How deep arrays and objects may nest.
const MAX_DEPTH: usize = 512;
/// How many bytes numbers with exponents may add when they are written out, beside four times the text: `1e16383` alone is 16 KB.
const MAX_GROWTH: usize = 1 << 20;

/// A parsed value; text slices are already unescaped.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// As canonical numeric text.
    Number(String),
    String(String),
    Array(Vec<Value>),
    /// Sorted and without duplicates.
    Object(Vec<(String, Value)>),
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json").with_detail(detail)
}

/// JSON text to canonical text. Errors: those of [`parse`].
pub fn canonical(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + 8);
    parse(text)?.write(&mut out);
    Ok(out)
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

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Bytes that exponents may still add.
    room: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Reader<'a> {
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

    fn string(&mut self) -> Result<String> {
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

impl Value {
    /// An object of fields in any order; of equal keys the last wins.
    pub fn object(mut fields: Vec<(String, Value)>) -> Value {
        fields.sort_by(|a, b| key_order(&a.0, &b.0));
        // The sort is stable, so the last of equal keys is the one read last.
        let mut kept: Vec<(String, Value)> = Vec::with_capacity(fields.len());
        for field in fields {
            match kept.last_mut() {
                Some(last) if last.0 == field.0 => *last = field,
                _ => kept.push(field),
            }
        }
        Value::Object(kept)
    }

    /// Appends the canonical text.
    pub fn write(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(text) => out.push_str(text),
            Value::String(text) => write_string(out, text),
            Value::Array(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push_str(", ");
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Value::Object(fields) => {
                out.push('{');
                for (n, (key, value)) in fields.iter().enumerate() {
                    if n > 0 {
                        out.push_str(", ");
                    }
                    write_string(out, key);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The value with no number ending in zeros behind its point.
    pub fn with_trimmed_numbers(self) -> Value {
        match self {
            Value::Number(text) if text.contains('.') => {
                Value::Number(text.trim_end_matches('0').trim_end_matches('.').to_string())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(Value::with_trimmed_numbers).collect()),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(key, value)| (key, value.with_trimmed_numbers())).collect())
            }
            other => other,
        }
    }

    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// How jsonb orders keys: by length, then by bytes.
pub fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// Appends a JSON string, quoted and escaped as Postgres does.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x8 => "\\b",
            0xc => "\\f",
            0..0x20 => {
                out.push_str(&text[start..at]);
                let _ = write!(out, "\\u{byte:04x}");
                start = at + 1;
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[start..at]);
        out.push_str(escape);
        start = at + 1;
    }
    out.push_str(&text[start..]);
    out.push('"');
}

/// A value inside canonical text, found by scanning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cursor<'a> {
    /// Canonical text of this value alone.
    pub text: &'a str,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text }
    }

    pub fn is_object(&self) -> bool {
        self.text.starts_with('{')
    }

    pub fn is_array(&self) -> bool {
        self.text.starts_with('[')
    }

    pub fn is_null(&self) -> bool {
        self.text == "null"
    }

    pub fn type_name(&self) -> &'static str {
        match self.text.as_bytes().first() {
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b'"') => "string",
            Some(b't' | b'f') => "boolean",
            Some(b'n') => "null",
            _ => "number",
        }
    }

    /// The elements of an array; none for anything else.
    pub fn elements(&self) -> Elements<'a> {
        let inner = if self.is_array() { &self.text[1..self.text.len() - 1] } else { "" };
        Elements { rest: inner }
    }

    /// Keys as they stand in the text (quoted) and values of an object; none for anything else.
    pub fn fields(&self) -> Fields<'a> {
        let inner = if self.is_object() { &self.text[1..self.text.len() - 1] } else { "" };
        Fields { rest: inner }
    }

    /// The value of a key.
    pub fn field(&self, key: &str) -> Option<Cursor<'a>> {
        self.fields().find(|(quoted, _)| key_is(quoted, key)).map(|(_, value)| value)
    }

    /// An element by position; negative positions count from the end.
    pub fn element(&self, index: i64) -> Option<Cursor<'a>> {
        if index >= 0 {
            return self.elements().nth(index as usize);
        }
        let count = self.elements().count() as i64;
        (count + index >= 0).then(|| self.elements().nth((count + index) as usize)).flatten()
    }

    /// What `->>` yields: a string's content, other values' text, NULL for null.
    pub fn write_text(&self, out: &mut String) -> bool {
        if self.is_null() {
            return false;
        }
        if self.text.starts_with('"') {
            unescape(self.text, out);
        } else {
            out.push_str(self.text);
        }
        true
    }
}

fn key_is(quoted: &str, key: &str) -> bool {
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.contains('\\') {
        return inner == key;
    }
    let mut out = String::new();
    unescape(quoted, &mut out);
    out == key
}

/// Appends the content of a quoted canonical string.
pub fn unescape(quoted: &str, out: &mut String) {
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.contains('\\') {
        out.push_str(inner);
    } else if let Ok(text) = Reader::new(quoted).string() {
        out.push_str(&text);
    }
}

/// Bytes that a value at the start of canonical text takes.
fn value_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' | b':' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

pub struct Elements<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Cursor<'a>;

    fn next(&mut self) -> Option<Cursor<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (value, rest) = self.rest.split_at(value_len(self.rest));
        self.rest = rest.strip_prefix(", ").unwrap_or("");
        Some(Cursor::new(value))
    }
}

pub struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Cursor<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (key, rest) = self.rest.split_at(value_len(self.rest));
        let rest = rest.strip_prefix(": ").unwrap_or("");
        let (value, rest) = rest.split_at(value_len(rest));
        self.rest = rest.strip_prefix(", ").unwrap_or("");
        Some((key, Cursor::new(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_is_jsonb_output() {
        let cases = [
            (r#"{"b":1,"a":2,"a":3}"#, r#"{"a": 3, "b": 1}"#),
            (r#"{"bb":1,"a":2,"c":[1,2,{"x":null}]}"#, r#"{"a": 2, "c": [1, 2, {"x": null}], "bb": 1}"#),
            ("[]", "[]"),
            ("{}", "{}"),
            (" 1.10 ", "1.10"),
            ("1e2", "100"),
            ("-1.5e-3", "-0.0015"),
            ("-0", "0"),
            ("1.5e1", "15"),
            (r#""\u00e9\n\/""#, "\"é\\n/\""),
            (r#""\ud83d\ude00""#, "\"😀\""),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "{", "[1,]", "{\"a\"}", "01", "nul", "\"\\x\"", "1 2", "'a'", "\"a"] {
            assert_eq!(canonical(text).unwrap_err().state(), SqlState::INVALID_TEXT_REPRESENTATION, "{text}");
        }
    }

    #[test]
    fn exponents_do_not_swell_without_limit() {
        let bomb = |count: usize| format!("[{}1]", "1e16383,".repeat(count));
        let error = canonical(&bomb(1000)).unwrap_err();
        assert_eq!(error.state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
        assert!(canonical(&bomb(60)).is_ok_and(|text| text.len() > 60 * 16_383));
        // Small ones may be many, and letters in strings are no exponents.
        assert!(canonical(&format!("[{}1]", "1.5e-2,".repeat(100_000))).is_ok());
        assert!(canonical(&format!("[{}1]", "\"e999999\",".repeat(1000))).is_ok());
        assert!(canonical("[1e-16384]").is_err_and(|error| error.state() == SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    }

    #[test]
    fn a_cursor_finds_what_a_tree_would() {
        let text = canonical(r#"{"a": [1, "x, y", {"k]": [2]}], "b\"q": "v\"w", "n": null}"#).unwrap();
        let cursor = Cursor::new(&text);
        assert_eq!(cursor.field("a").unwrap().element(-1).unwrap().field("k]").unwrap().text, "[2]");
        assert_eq!(cursor.field("a").unwrap().element(1).unwrap().text, "\"x, y\"");
        let mut out = String::new();
        assert!(cursor.field("b\"q").unwrap().write_text(&mut out));
        assert_eq!(out, "v\"w");
        assert!(cursor.field("zz").is_none() && cursor.element(0).is_none());
        assert_eq!(cursor.fields().count(), 3);
    }
}
