//! Walks canonical text without building a tree: `->` and its kin are scans over the bytes.

use super::read::Reader;

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
fn unescape(quoted: &str, out: &mut String) {
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
    use crate::types::json::canonical;

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
