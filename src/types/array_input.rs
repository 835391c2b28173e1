//! Array and record literals: `{1,NULL,"a b"}` and `(1,,"a b")`.

use crate::error::{Error, Result, SqlState};

fn malformed(text: &str, detail: &str) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\""))
        .with_detail(detail)
}

pub fn malformed_record(text: &str, detail: &str) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed record literal: \"{text}\""))
        .with_detail(detail)
}

/// Calls `each` with every element of a one-dimensional array's text, `None` for NULL. Errors: 22P02.
pub fn elements(text: &str, mut each: impl FnMut(Option<&str>) -> Result<()>) -> Result<()> {
    let trimmed = text.trim_ascii();
    // `[1:3]={...}` gives bounds; arrays begin at 1.
    if !trimmed.starts_with('[') {
        return braced(text, trimmed, each);
    }
    let (bounds, body) = trimmed.split_once('=').unwrap_or((trimmed, ""));
    let Some((low, high)) = first_bounds(bounds.trim_ascii()) else {
        return Err(malformed(text, "Array value must start with \"{\" or dimension information."));
    };
    if low > high {
        return Err(Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "upper bound cannot be less than lower bound"));
    }
    if low != 1 {
        return Err(Error::unsupported("an array that begins elsewhere than at 1", "Leave its bounds out."));
    }
    let mut count = 0;
    braced(text, body.trim_ascii(), |element| {
        count += 1;
        each(element)
    })?;
    match count == high {
        true => Ok(()),
        false => Err(malformed(text, "Specified array dimensions do not match array contents.")),
    }
}

fn braced(text: &str, body: &str, mut each: impl FnMut(Option<&str>) -> Result<()>) -> Result<()> {
    let Some(inner) = body.strip_prefix('{') else {
        return Err(malformed(text, "Array value must start with \"{\" or dimension information."));
    };
    let bytes = inner.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) == Some(&b'}') {
        return end(text, inner, at);
    }
    let mut scratch = String::new();
    loop {
        at = skip_space(bytes, at);
        // Quotes and backslashes make text of what would be NULL.
        let mut quoted = false;
        scratch.clear();
        match bytes.get(at) {
            None => return Err(malformed(text, "Unexpected end of input.")),
            Some(b'{') => {
                return Err(Error::unsupported("an array of more than one dimension", "Use jsonb for nested arrays."));
            }
            Some(b'"') => {
                quoted = true;
                at = take_quoted(inner, at + 1, &mut scratch)
                    .ok_or_else(|| malformed(text, "Unexpected end of input."))?;
                at = skip_space(bytes, at);
            }
            Some(_) => {
                let start = at;
                // Spaces at the end do not count, unless escaped.
                let mut end = 0;
                while at < bytes.len() && !matches!(bytes[at], b',' | b'}') {
                    let piece = at;
                    match bytes[at] {
                        b'\\' => {
                            quoted = true;
                            at += 1;
                        }
                        c @ (b'{' | b'"') => {
                            return Err(malformed(text, &format!("Unexpected \"{}\" character.", c as char)));
                        }
                        _ => {}
                    }
                    let Some(c) = inner.get(at..).and_then(|rest| rest.chars().next()) else {
                        return Err(malformed(text, "Unexpected end of input."));
                    };
                    at += c.len_utf8();
                    scratch.push(c);
                    if at - piece > c.len_utf8() || !c.is_ascii_whitespace() {
                        end = scratch.len();
                    }
                }
                scratch.truncate(end);
                if at == start {
                    let found = bytes.get(at).map_or(' ', |&c| c as char);
                    return Err(malformed(text, &format!("Unexpected \"{found}\" character.")));
                }
            }
        }
        if !quoted && scratch.eq_ignore_ascii_case("null") {
            each(None)?;
        } else {
            each(Some(&scratch))?;
        }
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b'}') => return end(text, inner, at),
            Some(_) => return Err(malformed(text, "Unexpected array element.")),
            None => return Err(malformed(text, "Unexpected end of input.")),
        }
    }
}

/// The bounds that `[1:3]` or `[3]` gives. Of several dimensions those of the first: the elements are refused.
fn first_bounds(bounds: &str) -> Option<(i64, i64)> {
    let (first, _) = bounds.strip_prefix('[')?.split_once(']')?;
    let number = |text: &str| text.trim_ascii().parse::<i32>().ok().map(i64::from);
    match first.split_once(':') {
        Some((low, high)) => Some((number(low)?, number(high)?)),
        None => Some((1, number(first)?)),
    }
}

fn end(text: &str, inner: &str, brace: usize) -> Result<()> {
    if inner[brace + 1..].trim_ascii().is_empty() {
        Ok(())
    } else {
        Err(malformed(text, "Junk after closing right brace."))
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|c| c.is_ascii_whitespace()) {
        at += 1;
    }
    at
}

/// Content up to the closing quote, and where it ends; `None` where it does not.
fn take_quoted(text: &str, start: usize, out: &mut String) -> Option<usize> {
    let mut chars = text[start..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some(start + at + 1),
            '\\' => out.push(chars.next()?.1),
            other => out.push(other),
        }
    }
    None
}

/// The fields of a record's text, `None` for NULL (nothing between commas). Errors: 22P02.
pub fn fields(text: &str) -> Result<Vec<Option<String>>> {
    let inner =
        text.trim_ascii().strip_prefix('(').ok_or_else(|| malformed_record(text, "Missing left parenthesis."))?;
    let mut fields = Vec::new();
    let mut field = String::new();
    let (mut present, mut in_quotes) = (false, false);
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if in_quotes && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => (in_quotes, present) = (!in_quotes, true),
            '\\' => {
                let next = chars.next().ok_or_else(|| malformed_record(text, "Unexpected end of input."))?;
                present = true;
                field.push(next);
            }
            ',' | ')' if !in_quotes => {
                fields.push(present.then(|| std::mem::take(&mut field)));
                field.clear();
                present = false;
                if c == ')' {
                    let rest: String = chars.collect();
                    if !rest.trim_ascii().is_empty() {
                        return Err(malformed_record(text, "Junk after right parenthesis."));
                    }
                    return Ok(fields);
                }
            }
            other => {
                present = true;
                field.push(other);
            }
        }
    }
    Err(malformed_record(text, "Unexpected end of input."))
}
