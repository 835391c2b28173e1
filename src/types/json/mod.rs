//! jsonb as canonical text: Postgres's own output form is what is stored.
//!
//! Keys are ordered by length, then by bytes; of equal keys the last wins; `{"a": 1, "b": [1, 2]}` has one space after
//! colon and comma; numbers keep their digits (`1.10` stays, `1e2` is `100`). Equal values have equal text, but for
//! numbers that differ in trailing zeros.
//!
//! [`parse`] makes a tree of any JSON text, [`Cursor`] walks canonical text without one, [`order`] makes keys that sort as values do.

mod cursor;
pub mod order;
mod read;

use std::fmt::Write;

use crate::error::Result;

pub use cursor::Cursor;
pub use read::parse;

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

/// JSON text to canonical text. Errors: those of [`parse`].
pub fn canonical(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + 8);
    parse(text)?.write(&mut out);
    Ok(out)
}

impl Value {
    /// An array or object that holds nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

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
}
