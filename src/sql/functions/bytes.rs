//! bytea as a string of bytes and of bits.

use arrow::array::ArrayRef;

use super::entry::{Function, immutable};
use super::kernel::Call;
use super::strict::{strict1, strict2, strict3, strict4};
use super::text::bits;
use crate::error::{Error, Result, SqlState};
use crate::types::pg_type::oid::*;

fn outside(n: i64, count: usize) -> Error {
    let message = format!("index {n} out of valid range, 0..{}", count as i64 - 1);
    Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
}

/// The place of a bit: its byte, and its number there, the least significant first.
fn bit(bytes: &[u8], n: i64) -> Result<(usize, u32)> {
    let at = usize::try_from(n).ok().filter(|n| *n < bytes.len() * 8).ok_or_else(|| outside(n, bytes.len() * 8))?;
    Ok((at / 8, (at % 8) as u32))
}

fn get_bit(call: &Call) -> Result<ArrayRef> {
    strict2(call, |bytes: &[u8], n: i64| {
        let (at, bit) = bit(bytes, n)?;
        Ok(i32::from(bytes[at] >> bit & 1))
    })
}

fn set_bit(call: &Call) -> Result<ArrayRef> {
    strict3(call, |bytes: &[u8], n: i64, value: i32| {
        let (at, bit) = bit(bytes, n)?;
        if !matches!(value, 0 | 1) {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "new bit must be 0 or 1"));
        }
        let mut out = bytes.to_vec();
        out[at] = out[at] & !(1 << bit) | (value as u8) << bit;
        Ok(out)
    })
}

fn set_byte(call: &Call) -> Result<ArrayRef> {
    strict3(call, |bytes: &[u8], n: i32, value: i32| {
        let at = usize::try_from(n).ok().filter(|n| *n < bytes.len()).ok_or_else(|| outside(n.into(), bytes.len()))?;
        let mut out = bytes.to_vec();
        out[at] = value as u8;
        Ok(out)
    })
}

fn bit_length(call: &Call) -> Result<ArrayRef> {
    strict1(call, |bytes: &[u8]| bits(bytes.len()))
}

fn trimmed(call: &Call, left: bool, right: bool) -> Result<ArrayRef> {
    strict2(call, |bytes: &[u8], set: &[u8]| {
        let kept = |byte: &u8| !set.contains(byte);
        let start = if left { bytes.iter().position(kept).unwrap_or(bytes.len()) } else { 0 };
        let end = if right { bytes.iter().rposition(kept).map_or(start, |at| at + 1) } else { bytes.len() };
        Ok(bytes[start..end.max(start)].to_vec())
    })
}

fn btrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, true, true)
}

fn ltrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, true, false)
}

fn rtrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, false, true)
}

fn position(call: &Call) -> Result<ArrayRef> {
    strict2(call, |bytes: &[u8], part: &[u8]| {
        let found = match part.is_empty() {
            true => Some(0),
            false => bytes.windows(part.len()).position(|window| window == part),
        };
        Ok(found.map_or(0, |at| at as i32 + 1))
    })
}

fn replaced(bytes: &[u8], new: &[u8], from: i32, length: i32) -> Result<Vec<u8>> {
    if from <= 0 {
        return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let after = from
        .checked_add(length)
        .ok_or_else(|| Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"))?;
    let head = (from as usize - 1).min(bytes.len());
    let tail = (i64::from(after) - 1).clamp(0, bytes.len() as i64) as usize;
    Ok([&bytes[..head], new, &bytes[tail..]].concat())
}

fn overlay(call: &Call) -> Result<ArrayRef> {
    strict3(call, |bytes: &[u8], new: &[u8], from: i32| replaced(bytes, new, from, new.len() as i32))
}

fn overlay_for(call: &Call) -> Result<ArrayRef> {
    strict4(call, |bytes: &[u8], new: &[u8], from: i32, length: i32| replaced(bytes, new, from, length))
}

const TRIM: &str = "Without these bytes at its ends.";

pub const FUNCTIONS: &[Function] = &[
    immutable(723, "get_bit", &[BYTEA, INT8], INT4, get_bit, "One bit, counted from 0."),
    immutable(724, "set_bit", &[BYTEA, INT8, INT4], BYTEA, set_bit, "With one bit changed."),
    immutable(722, "set_byte", &[BYTEA, INT4, INT4], BYTEA, set_byte, "With one byte changed."),
    immutable(1810, "bit_length", &[BYTEA], INT4, bit_length, "Number of bits."),
    immutable(2015, "btrim", &[BYTEA, BYTEA], BYTEA, btrim, TRIM),
    immutable(6195, "ltrim", &[BYTEA, BYTEA], BYTEA, ltrim, "Without these bytes at its start."),
    immutable(6196, "rtrim", &[BYTEA, BYTEA], BYTEA, rtrim, "Without these bytes at its end."),
    immutable(2014, "position", &[BYTEA, BYTEA], INT4, position, "Where the second begins in the first, from 1; or 0."),
    immutable(752, "overlay", &[BYTEA, BYTEA, INT4], BYTEA, overlay, "With bytes put in the place of others."),
    immutable(
        749,
        "overlay",
        &[BYTEA, BYTEA, INT4, INT4],
        BYTEA,
        overlay_for,
        "With bytes put in the place of others.",
    ),
];
