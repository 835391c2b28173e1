//! Hashes and encodings of bytes.

use arrow::array::ArrayRef;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::entry::{Function, immutable};
use super::kernel::{Call, strict1, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::builder::{parse_bytea, parse_hex};
use crate::types::pg_type::oid::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn md5_text(call: &Call) -> Result<ArrayRef> {
    strict1(call, |text: &str| Ok(hex(&Md5::digest(text.as_bytes()))))
}

fn md5_bytes(call: &Call) -> Result<ArrayRef> {
    strict1(call, |bytes: &[u8]| Ok(hex(&Md5::digest(bytes))))
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

fn unknown(encoding: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{encoding}\""))
}

fn base64_engine() -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    GeneralPurpose::new(&STANDARD, config)
}

fn encode(call: &Call) -> Result<ArrayRef> {
    strict2(call, |bytes: &[u8], encoding: &str| match encoding.to_ascii_lowercase().as_str() {
        "hex" => Ok(hex(bytes)),
        "base64" => {
            let text = base64_engine().encode(bytes);
            // A newline after every 76 characters, as RFC 2045 has it.
            let lines: Vec<String> =
                text.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
            Ok(lines.join("\n"))
        }
        "escape" => Ok(bytes
            .iter()
            .map(|&byte| match byte {
                b'\\' => "\\\\".to_string(),
                0 | 0x80.. => format!("\\{byte:03o}"),
                other => char::from(other).to_string(),
            })
            .collect()),
        _ => Err(unknown(encoding)),
    })
}

fn decode(call: &Call) -> Result<ArrayRef> {
    strict2(call, |text: &str, encoding: &str| match encoding.to_ascii_lowercase().as_str() {
        "hex" => parse_hex(text),
        "base64" => {
            let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            base64_engine().decode(&compact).map_err(|error| {
                let message = match error {
                    base64::DecodeError::InvalidByte(_, byte) => {
                        format!("invalid symbol \"{}\" found while decoding base64 sequence", char::from(byte))
                    }
                    _ => "invalid base64 end sequence".to_string(),
                };
                Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
            })
        }
        "escape" => parse_bytea(text),
        _ => Err(unknown(encoding)),
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
        String::from_utf8(bytes.to_vec()).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{:02x}", bytes[at]);
            Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
        })
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
