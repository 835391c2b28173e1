//! Hashes and encodings of bytes.

use std::fmt::Write;

use arrow::array::ArrayRef;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::entry::{Function, immutable};
use super::kernel::Call;
use super::strict::{strict1, strict2, text1, text2};
use crate::error::{Error, Result, SqlState};
use crate::types::builder::parse_bytea;
use crate::types::hex;
use crate::types::pg_type::oid::*;

fn md5_text(call: &Call) -> Result<ArrayRef> {
    text1(call, |text: &str, out| {
        hex::write(out, &Md5::digest(text.as_bytes()));
        Ok(())
    })
}

fn md5_bytes(call: &Call) -> Result<ArrayRef> {
    text1(call, |bytes: &[u8], out| {
        hex::write(out, &Md5::digest(bytes));
        Ok(())
    })
}

fn sha224(call: &Call) -> Result<ArrayRef> {
    strict1(call, |bytes: &[u8]| Ok(Sha224::digest(bytes).to_vec()))
}

fn sha256(call: &Call) -> Result<ArrayRef> {
    strict1(call, |bytes: &[u8]| Ok(Sha256::digest(bytes).to_vec()))
}

fn sha384(call: &Call) -> Result<ArrayRef> {
    strict1(call, |bytes: &[u8]| Ok(Sha384::digest(bytes).to_vec()))
}

fn sha512(call: &Call) -> Result<ArrayRef> {
    strict1(call, |bytes: &[u8]| Ok(Sha512::digest(bytes).to_vec()))
}

enum Form {
    Hex,
    Base64,
    Escape,
}

impl Form {
    fn named(name: &str) -> Result<Form> {
        let forms = [("hex", Form::Hex), ("base64", Form::Base64), ("escape", Form::Escape)];
        let found = forms.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found
            .map(|(_, form)| form)
            .ok_or_else(|| Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{name}\"")))
    }
}

/// Bytes that give a line of base64: 76 characters, as RFC 2045 has it.
const LINE: usize = 57;

fn encode(call: &Call) -> Result<ArrayRef> {
    text2(call, |bytes: &[u8], form: &str, out| {
        match Form::named(form)? {
            Form::Hex => hex::write(out, bytes),
            Form::Base64 => {
                for line in bytes.chunks(LINE) {
                    STANDARD.encode_string(line, out);
                    // After every full line, the last one too.
                    if line.len() == LINE {
                        out.push('\n');
                    }
                }
            }
            Form::Escape => {
                for byte in bytes {
                    let _ = match byte {
                        b'\\' => out.write_str("\\\\"),
                        0 | 0x80.. => write!(out, "\\{byte:03o}"),
                        other => out.write_char(char::from(*other)),
                    };
                }
            }
        }
        Ok(())
    })
}

fn decode(call: &Call) -> Result<ArrayRef> {
    strict2(call, |text: &str, form: &str| {
        let mut out = Vec::new();
        match Form::named(form)? {
            Form::Hex => hex::read(text, &mut out)?,
            Form::Base64 => {
                let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                STANDARD.decode_vec(&compact, &mut out).map_err(|error| {
                    let message = match error {
                        base64::DecodeError::InvalidByte(_, byte) => {
                            format!("invalid symbol \"{}\" found while decoding base64 sequence", char::from(byte))
                        }
                        _ => "invalid base64 end sequence".to_string(),
                    };
                    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
                })?;
            }
            Form::Escape => return parse_bytea(text),
        }
        Ok(out)
    })
}

/// 0A000 for an encoding other than the server's.
fn check_encoding(name: &str) -> Result<()> {
    match name.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(Error::unsupported(format!("the encoding \"{name}\""), "Text is UTF8.")),
    }
}

fn convert_from(call: &Call) -> Result<ArrayRef> {
    strict2(call, |bytes: &[u8], encoding: &str| {
        check_encoding(encoding)?;
        let wrong = |at: usize| {
            let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{:02x}", bytes[at]);
            Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
        };
        // No text holds the character 0.
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(wrong(at));
        }
        String::from_utf8(bytes.to_vec()).map_err(|error| wrong(error.utf8_error().valid_up_to()))
    })
}

fn convert_to(call: &Call) -> Result<ArrayRef> {
    strict2(call, |text: &str, encoding: &str| check_encoding(encoding).map(|()| text.as_bytes().to_vec()))
}

fn get_byte(call: &Call) -> Result<ArrayRef> {
    strict2(call, |bytes: &[u8], n: i32| {
        let byte = usize::try_from(n).ok().and_then(|n| bytes.get(n));
        byte.map(|byte| i32::from(*byte)).ok_or_else(|| {
            let message = format!("index {n} out of valid range, 0..{}", bytes.len() as i64 - 1);
            Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
        })
    })
}

pub const FUNCTIONS: &[Function] = &[
    immutable(1714, "convert_from", &[BYTEA, TEXT], TEXT, convert_from, "Bytes of an encoding as text."),
    immutable(1717, "convert_to", &[TEXT, TEXT], BYTEA, convert_to, "Text as bytes of an encoding."),
    immutable(721, "get_byte", &[BYTEA, INT4], INT4, get_byte, "One byte, counted from 0."),
    immutable(2311, "md5", &[TEXT], TEXT, md5_text, "MD5 hash in hexadecimal."),
    immutable(2321, "md5", &[BYTEA], TEXT, md5_bytes, "MD5 hash in hexadecimal."),
    immutable(3419, "sha224", &[BYTEA], BYTEA, sha224, "SHA-224 hash."),
    immutable(3420, "sha256", &[BYTEA], BYTEA, sha256, "SHA-256 hash."),
    immutable(3421, "sha384", &[BYTEA], BYTEA, sha384, "SHA-384 hash."),
    immutable(3422, "sha512", &[BYTEA], BYTEA, sha512, "SHA-512 hash."),
    immutable(1946, "encode", &[BYTEA, TEXT], TEXT, encode, "Bytes as text: hex, base64 or escape."),
    immutable(1947, "decode", &[TEXT, TEXT], BYTEA, decode, "Bytes from text: hex, base64 or escape."),
];
