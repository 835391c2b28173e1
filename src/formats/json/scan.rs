//! Scans JSON text strictly (RFC 8259): what is not JSON is an error with its byte position, never a guess.
//!
//! Nothing is built that the caller does not ask for: [`Scanner::skip`] checks a value's syntax and moves on.
//! One pass, no allocation except for strings with escapes. Nesting is bounded by [`MAX_DEPTH`].
//! jsonb's reader (`types/json/read.rs`) is another one: it makes a tree of the text, and its errors are Postgres's, without positions.

/// Deeper nesting is refused, so that no record can exhaust the stack.
pub const MAX_DEPTH: u32 = 128;

/// A row may take so many bytes beside its texts, and so many more a byte of its record. A number takes at least two bytes of a record and at
/// most 32 of a row, so only NULLs reach this: structs of many fields, most of them missing, in long arrays.
const GROWTH: usize = 1 << 20;
const GROWTH_A_BYTE: usize = 16;

/// Why a text is not JSON: a sentence with the byte position.
pub type Malformed = String;

/// What kind of value starts at the scanner's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// With its article, for reasons.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        }
    }
}

/// A position in a JSON text.
#[derive(Clone)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    grown: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0, grown: 0 }
    }

    /// Byte position.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes back, or on, to a position that this scanner had before.
    pub fn go_to(&mut self, position: usize) {
        self.at = position;
    }

    /// Notes that the row takes so many bytes beside what its texts have: values of fixed width, NULLs, jsonb with its exponents written out.
    /// Refuses what no longer stands in any proportion to the record.
    #[inline]
    pub fn grew_by(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.grown += bytes;
        match self.grown > GROWTH + GROWTH_A_BYTE * self.text.len() {
            true => Err(self.too_large()),
            false => Ok(()),
        }
    }

    #[cold]
    fn too_large(&self) -> Malformed {
        format!("its row would take more than {} MB and {GROWTH_A_BYTE} times its text", GROWTH >> 20)
    }

    /// What [`Scanner::grew_by`] was told, all together.
    pub fn grown(&self) -> usize {
        self.grown
    }

    /// The text from `start` up to here.
    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    pub fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    pub fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// The error for an unexpected character (or end) here.
    #[cold]
    pub fn unexpected(&self, wanted: &str) -> Malformed {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("not valid JSON: found {found:?} at byte {}, expected {wanted}", self.at),
            None => format!("not valid JSON: ends after {} bytes, expected {wanted}", self.text.len()),
        }
    }

    /// Takes this byte, after white space, or fails.
    #[inline]
    pub fn expect(&mut self, byte: u8, wanted: &str) -> Result<(), Malformed> {
        self.skip_whitespace();
        if self.byte() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected(wanted))
    }

    /// Takes this byte if it comes next, after white space.
    #[inline]
    pub fn accept(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The kind of the value that comes next, after white space; nothing is taken but the white space.
    #[inline]
    pub fn kind(&mut self) -> Result<Kind, Malformed> {
        self.skip_whitespace();
        match self.byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Malformed> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.unexpected(word))
    }

    pub fn null(&mut self) -> Result<(), Malformed> {
        self.literal("null")
    }

    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        if self.byte() == Some(b't') {
            self.literal("true")?;
            return Ok(true);
        }
        self.literal("false")?;
        Ok(false)
    }

    /// The text of a number, its grammar checked: no leading zeros, no `+`, no bare point.
    #[inline]
    pub fn number(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("a digit")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    #[inline]
    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(self.unexpected("a digit")) } else { Ok(()) }
    }

    /// The value of a string, whose opening quote comes next. Without escapes it is a piece of the text itself; else it
    /// is put together in `scratch`.
    #[inline]
    pub fn string<'s>(&mut self, scratch: &'s mut String) -> Result<&'s str, Malformed>
    where
        'a: 's,
    {
        self.at += 1;
        let start = self.at;
        self.plain_characters()?;
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(&self.text[start..self.at - 1]);
        }
        scratch.clear();
        scratch.push_str(&self.text[start..self.at]);
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(scratch);
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    scratch.push(character);
                }
                _ => {
                    let piece = self.at;
                    self.plain_characters()?;
                    scratch.push_str(&self.text[piece..self.at]);
                }
            }
        }
    }

    /// Moves to the next quote or backslash; eight bytes at a time. Control characters must be escaped in JSON.
    #[inline]
    fn plain_characters(&mut self) -> Result<(), Malformed> {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const TOPS: u64 = 0x8080_8080_8080_8080;
        // The top bit of each byte that is 0. Bytes above the first hit may show falsely, those below never do.
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        while let Some(chunk) = bytes.get(at..at + 8) {
            let word =
                u64::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7]]);
            let quote = zeros(word ^ (ONES * u64::from(b'"')));
            let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
            // Bytes below 0x20: subtracting borrows into the top bit, which was not set.
            let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
            let stop = quote | backslash | control;
            if stop != 0 {
                at += (stop.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' | b'\\' => {
                    self.at = at;
                    return Ok(());
                }
                0..=0x1f => {
                    self.at = at;
                    return Err(format!(
                        "not valid JSON: control character 0x{byte:02x} at byte {at} inside a string must be escaped"
                    ));
                }
                _ => at += 1,
            }
        }
        self.at = at;
        Err(self.unexpected("the closing quote of a string"))
    }

    /// One escape sequence, or the two of a surrogate pair.
    fn escape(&mut self) -> Result<char, Malformed> {
        self.at += 1;
        let simple = match self.byte() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.unexpected("an escape sequence")),
        };
        self.at += 1;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Result<char, Malformed> {
        let start = self.at - 1;
        self.at += 1;
        let first = self.four_hex_digits()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                    return Err(half_a_pair(start));
                }
                self.at += 2;
                let second = self.four_hex_digits()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(half_a_pair(start));
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            // Postgres's text cannot hold it, so no column here can.
            0 => return Err(format!("\\u0000 at byte {start} can't be held in text")),
            code => code,
        };
        char::from_u32(code).ok_or_else(|| half_a_pair(start))
    }

    fn four_hex_digits(&mut self) -> Result<u32, Malformed> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.unexpected("four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(code)
    }

    /// Checks the syntax of the value that comes next and moves behind it.
    #[inline]
    pub fn skip(&mut self, depth: u32) -> Result<(), Malformed> {
        match self.kind()? {
            Kind::String => self.skip_string(),
            Kind::Number => self.number().map(|_| ()),
            Kind::Bool => self.boolean().map(|_| ()),
            Kind::Null => self.null(),
            Kind::Array => {
                self.deeper(depth)?;
                self.at += 1;
                if self.accept(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if self.accept(b']') {
                        return Ok(());
                    }
                    self.expect(b',', "\",\" or \"]\"")?;
                }
            }
            Kind::Object => {
                self.deeper(depth)?;
                self.at += 1;
                if self.accept(b'}') {
                    return Ok(());
                }
                loop {
                    self.field_name()?;
                    self.skip_string()?;
                    self.expect(b':', "\":\"")?;
                    self.skip(depth + 1)?;
                    if self.accept(b'}') {
                        return Ok(());
                    }
                    self.expect(b',', "\",\" or \"}\"")?;
                }
            }
        }
    }

    /// Fails unless a string comes next, after white space.
    #[inline]
    pub fn field_name(&mut self) -> Result<(), Malformed> {
        self.skip_whitespace();
        if self.byte() == Some(b'"') { Ok(()) } else { Err(self.unexpected("a field name in quotes")) }
    }

    /// Fails when `depth` levels are as many as are allowed.
    #[inline]
    pub fn deeper(&self, depth: u32) -> Result<(), Malformed> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        Err(format!("nested deeper than {MAX_DEPTH} levels at byte {}", self.at))
    }

    #[inline]
    fn skip_string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            self.plain_characters()?;
            if self.byte() == Some(b'"') {
                self.at += 1;
                return Ok(());
            }
            self.escape()?;
        }
    }
}

#[cold]
fn half_a_pair(position: usize) -> Malformed {
    format!("not valid JSON: half a surrogate pair at byte {position}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skips(text: &str) -> Result<(), Malformed> {
        let mut scanner = Scanner::new(text);
        scanner.skip(0)?;
        scanner.skip_whitespace();
        if scanner.at_end() { Ok(()) } else { Err(scanner.unexpected("the end")) }
    }

    #[test]
    fn takes_exactly_the_grammar() {
        let good = [
            "0",
            "-0",
            "12",
            "-1.5e+10",
            "1E5",
            "true",
            "null",
            "\"\"",
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            "{\"a\":{\"b\":[1]}}",
            "\"\\u00e4\\ud83d\\ude00\\\"\\n\"",
            "\"twelve bytes and more than a word\"",
            "\"é€😀 and plain\"",
        ];
        for text in good {
            assert_eq!(skips(text), Ok(()), "{text}");
        }
        let bad = [
            "",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "-",
            "tru",
            "nul",
            "NaN",
            "[1 2]",
            "[1,]",
            "[,1]",
            "{\"a\" 1}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{'a':1}",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"a\nb\"",
            "\"12345678\u{1}\"",
            "1 2",
            "{} {}",
            "[1]]",
            "\"\\u0000\"",
            "1.2.3",
            "--1",
        ];
        for text in bad {
            assert!(skips(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_nesting() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(skips(&nested(MAX_DEPTH as usize)), Ok(()));
        assert!(skips(&nested(MAX_DEPTH as usize + 1)).is_err_and(|reason| reason.contains("nested deeper")));
        assert!(skips(&"[".repeat(1_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_serde_on_strings(value in "\\PC*|[\\x00-\\x7f]{0,40}") {
            let text = serde_json::to_string(&value).unwrap();
            let mut scratch = String::new();
            let mut scanner = Scanner::new(&text);
            match scanner.string(&mut scratch) {
                Ok(found) => {
                    prop_assert_eq!(found, value.as_str());
                    prop_assert!(scanner.at_end());
                }
                Err(reason) => prop_assert!(value.contains('\0'), "{}", reason),
            }
        }

        /// What we take, serde_json takes; what it takes and we do not has a reason of its own.
        #[test]
        fn agrees_with_serde_on_documents(text in "[\\[\\]{}:,\"0-9eE.+\\-a \\\\ntu]{0,24}") {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            let ours = skips(&text);
            prop_assert_eq!(ours.is_ok(), theirs, "{} {:?}", text, ours);
        }
    }
}
