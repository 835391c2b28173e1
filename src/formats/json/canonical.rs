//! JSON in the one form in which jsonb is held: as Postgres prints it.
//!
//! Keys by length, then by bytes, the last of equal ones kept; `": "` and `", "`; numbers as numeric prints them (scale kept,
//! exponents written out); strings with the fewest escapes.

use super::scan::{Kind, Scanner};

/// Digits that writing out an exponent may add. Postgres allows 131072 before the point; a record of numbers like that
/// would be thousands of times its size.
const MAX_ADDED_DIGITS: i64 = 1000;

/// Appends the value that comes next, in canonical form. The error is a sentence; it starts with "number " where JSON's syntax is not to
/// blame.
pub fn value(scan: &mut Scanner<'_>, depth: u32, out: &mut Vec<u8>) -> Result<(), String> {
    match scan.kind()? {
        Kind::Null => {
            scan.null()?;
            out.extend_from_slice(b"null");
        }
        Kind::Bool => out.extend_from_slice(if scan.boolean()? { b"true" } else { b"false" }),
        Kind::Number => number(scan.number()?, out)?,
        Kind::String => {
            let mut scratch = String::new();
            string(scan.string(&mut scratch)?, out);
        }
        Kind::Array => array(scan, depth, out)?,
        Kind::Object => object(scan, depth, out)?,
    }
    Ok(())
}

fn array(scan: &mut Scanner<'_>, depth: u32, out: &mut Vec<u8>) -> Result<(), String> {
    scan.deeper(depth)?;
    scan.expect(b'[', "\"[\"")?;
    out.push(b'[');
    let mut more = !scan.accept(b']');
    while more {
        value(scan, depth + 1, out)?;
        more = !scan.accept(b']');
        if more {
            scan.expect(b',', "\",\" or \"]\"")?;
            out.extend_from_slice(b", ");
        }
    }
    out.push(b']');
    Ok(())
}

fn object(scan: &mut Scanner<'_>, depth: u32, out: &mut Vec<u8>) -> Result<(), String> {
    scan.deeper(depth)?;
    scan.expect(b'{', "\"{\"")?;
    let mut scratch = String::new();
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let mut more = !scan.accept(b'}');
    while more {
        scan.field_name()?;
        let key = scan.string(&mut scratch)?.to_string();
        scan.expect(b':', "\":\"")?;
        let mut member = Vec::new();
        value(scan, depth + 1, &mut member)?;
        members.push((key, member));
        more = !scan.accept(b'}');
        if more {
            scan.expect(b',', "\",\" or \"}\"")?;
        }
    }
    write_members(members, out);
    Ok(())
}

/// An object of members whose values are canonical already.
pub fn write_members(mut members: Vec<(String, Vec<u8>)>, out: &mut Vec<u8>) {
    // The sort is stable: of equal keys the last written comes last, and is the one kept.
    members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    out.push(b'{');
    let mut first = true;
    for (number, (key, member)) in members.iter().enumerate() {
        if members.get(number + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        if !first {
            out.extend_from_slice(b", ");
        }
        first = false;
        string(key, out);
        out.extend_from_slice(b": ");
        out.extend_from_slice(member);
    }
    out.push(b'}');
}

/// A string with its quotes.
pub fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A number as numeric prints it: no exponent, no leading zeros, as many decimals as were written.
fn number(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().unwrap_or(i64::MAX)),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent.unsigned_abs() > MAX_ADDED_DIGITS as u64 {
        return Err(format!("number {} has too large an exponent for jsonb", text.get(..40).unwrap_or(text)));
    }
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    // Where the point goes, counted from the first digit; and how many decimals are shown.
    let point = whole.len() as i64 + exponent;
    let decimals = (fraction.len() as i64 - exponent).max(0);
    let digit = |place: i64| usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(b'0');
    if negative && digits.iter().any(|digit| *digit != b'0') {
        out.push(b'-');
    }
    let first = (0..point).find(|place| digit(*place) != b'0').unwrap_or(point);
    if first == point {
        out.push(b'0');
    }
    out.extend((first..point).map(digit));
    if decimals > 0 {
        out.push(b'.');
        out.extend((point..point + decimals).map(digit));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<String, String> {
        let mut out = Vec::new();
        value(&mut Scanner::new(text), 0, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// What PostgreSQL 15 answers to `SELECT '...'::jsonb`.
    #[test]
    fn prints_as_postgres_does() {
        let cases = [
            (r#"{"b":1,"a":[1,2,{}],"aa":null}"#, r#"{"a": [1, 2, {}], "b": 1, "aa": null}"#),
            (r#"{"a":1,"a":2,"é":3,"zz":4}"#, r#"{"a": 2, "zz": 4, "é": 3}"#),
            (
                "[1.50, 1e3, 1E-3, -0, -0.0, 1.5e1, 15e-1, 0.00, 1.50e1, 100e-2]",
                "[1.50, 1000, 0.001, 0, 0.0, 15, 1.5, 0.00, 15.0, 1.00]",
            ),
            ("[-1e-2, 0e5, 12e0, 123.456e1, 123.456e-5]", "[-0.01, 0, 12, 1234.56, 0.00123456]"),
            (r#""a\/\u0041\n\u0001\u007f\ud83d\ude00""#, "\"a/A\\n\\u0001\u{7f}😀\""),
            ("  true ", "true"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_numbers_that_explode() {
        assert!(canonical("[1e100000]").is_err_and(|reason| reason.starts_with("number ")));
        assert!(canonical("1e-99999999999999999999").is_err());
    }

    /// The form is its own canonical form.
    #[test]
    fn is_a_fixpoint() {
        let once = canonical(r#"{"x": [1.10, {"b": "\u00e9", "a": -0.5e2}], "": {}}"#).unwrap();
        assert_eq!(canonical(&once), Ok(once));
    }
}
