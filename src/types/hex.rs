//! Bytes as hexadecimal digits, two a byte, and back.

use std::fmt;

use crate::error::{Error, Result, SqlState};

/// The digits of a byte.
pub fn digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Appends the digits of bytes.
pub fn write(out: &mut impl fmt::Write, bytes: &[u8]) {
    let mut pairs = [[0; 2]; 64];
    for chunk in bytes.chunks(pairs.len()) {
        pairs.iter_mut().zip(chunk).for_each(|(pair, byte)| *pair = digits(*byte));
        let text = std::str::from_utf8(pairs[..chunk.len()].as_flattened());
        let _ = out.write_str(text.unwrap_or_default());
    }
}

/// Appends the bytes of digits; white space between bytes is skipped. 22023, as Postgres's hex decoder says it.
pub fn read(text: &str, out: &mut Vec<u8>) -> Result<()> {
    out.reserve(text.len() / 2);
    let mut high = None;
    for c in text.chars() {
        if high.is_none() && matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(|| {
            Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid hexadecimal digit: \"{c}\""))
        })? as u8;
        match high.take() {
            Some(first) => out.push(first << 4 | digit),
            None => high = Some(digit),
        }
    }
    match high {
        None => Ok(()),
        Some(_) => Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "invalid hexadecimal data: odd number of digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (mut text, mut back) = (String::new(), Vec::new());
        write(&mut text, &bytes);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff") && text.len() == 512);
        read(&text, &mut back).unwrap();
        read(" \tFd\nfe  ", &mut back).unwrap();
        assert_eq!(back, [bytes.as_slice(), &[0xfd, 0xfe]].concat());
        assert_eq!(read("0 1", &mut back).unwrap_err().message(), "invalid hexadecimal digit: \" \"");
        assert_eq!(read("0g", &mut back).unwrap_err().message(), "invalid hexadecimal digit: \"g\"");
        assert_eq!(read("012", &mut back).unwrap_err().message(), "invalid hexadecimal data: odd number of digits");
    }
}
