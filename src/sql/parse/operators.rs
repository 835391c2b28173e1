//! Where an operator ends, as PostgreSQL's scanner decides it: the longest run of operator characters, but for a comment
//! that begins inside it, and for a `+` or `-` at its end, which is a sign unless the run holds a character that no operator
//! of standard SQL has. So `1>-1` compares with -1, `1||/*c*/2` concatenates, and `@-` is one operator.
//!
//! sqlparser's tokenizer takes each such run whole. The text it reads gets a space at the end of every operator that
//! has more operator characters behind it, and positions are counted without these spaces.

use std::borrow::Cow;

/// A text for the tokenizer.
pub(super) struct Spaced<'a> {
    pub text: Cow<'a, str>,
    /// 1-based characters of the spaces that are not in the source.
    inserted: Vec<u64>,
}

impl Spaced<'_> {
    pub(super) fn new(text: &str) -> Spaced<'_> {
        let ends = ends(text);
        if ends.is_empty() {
            return Spaced { text: Cow::Borrowed(text), inserted: Vec::new() };
        }
        let mut spaced = String::with_capacity(text.len() + ends.len());
        let mut inserted = Vec::with_capacity(ends.len());
        let (mut from, mut characters) = (0, 0);
        for end in ends {
            spaced.push_str(&text[from..end]);
            spaced.push(' ');
            characters += text[from..end].chars().count() as u64 + 1;
            inserted.push(characters);
            from = end;
        }
        spaced.push_str(&text[from..]);
        Spaced { text: Cow::Owned(spaced), inserted }
    }

    /// The 1-based character of the source that stands at this one of the spaced text.
    pub(super) fn position(&self, spaced: u64) -> u64 {
        spaced - self.inserted.partition_point(|inserted| *inserted < spaced) as u64
    }
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

/// Bytes at which an operator ends although an operator character follows.
fn ends(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b'\'' => after_quoted(bytes, at, false),
            b'"' => after_quoted(bytes, at, false),
            b'$' => after_dollar_quoted(text, at),
            b'-' if bytes.get(at + 1) == Some(&b'-') => after_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => after_comment(bytes, at),
            _ if is_operator(byte) => {
                let end = operator_end(bytes, at);
                if bytes.get(end).copied().is_some_and(is_operator) {
                    ends.push(end);
                }
                end
            }
            _ if is_word(byte) => {
                let end = at + bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
                let escapes = bytes.get(end) == Some(&b'\'') && matches!(&bytes[at..end], b"e" | b"E");
                if escapes { after_quoted(bytes, end, true) } else { end }
            }
            _ => at + 1,
        };
    }
    ends
}

/// PostgreSQL's rule for the operator that starts at `start`.
fn operator_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while bytes.get(end).copied().is_some_and(is_operator) && !matches!(bytes.get(end..end + 2), Some(b"--" | b"/*")) {
        end += 1;
    }
    while end - start > 1
        && matches!(bytes[end - 1], b'+' | b'-')
        && !bytes[start..end - 1].iter().any(|byte| b"~!@#%^&|`?".contains(byte))
    {
        end -= 1;
    }
    end
}

/// Behind the quote that closes the one at `start`; a doubled quote opens the next piece. The end, if none closes it.
fn after_quoted(bytes: &[u8], start: usize, escapes: bool) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if escapes => at += 2,
            _ if byte == quote && escapes && bytes.get(at + 1) == Some(&quote) => at += 2,
            _ if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn after_dollar_quoted(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let name = bytes[start + 1..].iter().take_while(|byte| is_word(**byte) && **byte != b'$').count();
    let end = start + 1 + name;
    if bytes.get(end) != Some(&b'$') || bytes[start + 1].is_ascii_digit() {
        return end;
    }
    let tag = &text[start..=end];
    match text[end + 1..].find(tag) {
        Some(close) => end + 1 + close + tag.len(),
        None => bytes.len(),
    }
}

fn after_line(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')).count()
}

/// Comments nest.
fn after_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut open) = (start, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (at, open) = (at + 2, open + 1),
            Some(b"*/") if open == 1 => return at + 2,
            Some(b"*/") => (at, open) = (at + 2, open - 1),
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_end_where_postgres_ends_them() {
        for (text, spaced) in [
            ("1>-1", "1> -1"),
            ("x<>-1", "x<> -1"),
            ("5-+1", "5- +1"),
            ("1<<-+1", "1<< - +1"),
            ("j->>-1", "j->> -1"),
            ("1||/*it's*/'a'", "1|| /*it's*/'a'"),
            ("2>--c\n1", "2> --c\n1"),
            ("count(*)/*c*/", "count(*)/*c*/"),
            ("*/*/*a*/b*/+-1", "* /*/*a*/b*/+ -1"),
            // One operator each.
            ("@-1 ~-1 #-'{a}' ?-|x a!=-1", "@-1 ~-1 #-'{a}' ?-|x a!=-1"),
            // No operators.
            ("'>-' \">-\" '''>-' $$>-$$ $a$>-$$>-$a$ $1>= 1", "'>-' \">-\" '''>-' $$>-$$ $a$>-$$>-$a$ $1>= 1"),
            ("E'\\'>-' e'a''>-' type'>-\\' a$b$>-1", "E'\\'>-' e'a''>-' type'>-\\' a$b$> -1"),
            ("-- >-1\n/* >-1 */", "-- >-1\n/* >-1 */"),
            ("'>-", "'>-"),
        ] {
            assert_eq!(Spaced::new(text).text, spaced);
        }
    }

    #[test]
    fn positions_are_the_sources() {
        let spaced = Spaced::new("é>-1 >-2");
        assert_eq!(spaced.text, "é> -1 > -2");
        let positions: Vec<u64> = (1..=11).map(|at| spaced.position(at)).collect();
        assert_eq!(positions, [1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9]);
    }
}
