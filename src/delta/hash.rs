//! A hash of rows that never changes: it routes rows to shards and goes into digests, so it may be persisted.
//!
//! Equal values hash equally whatever their Arrow form: integers by their 64-bit value, decimals by the rational number
//! (scale does not matter), floats as doubles with one zero and one NaN, intervals by their length as Postgres compares
//! them. The converse holds only almost surely: whoever looks rows up by hash compares them too ([`super::compare`]).
//!
//! ```text
//!   row     acc = SEED; for each column: acc = fold(acc ^ value, K_ROW)
//!   value   NULL: a constant         fixed width: fold(canonical bits ^ K_A, K_B)       text, bytes: xxh3
//!           struct, list: as a row of its fields, of its elements (then the length)
//! ```
//!
//! `fold(a, b)` is the 128-bit product with its halves xored. Cost: one or two multiplications a value, no allocation
//! except for nested types.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, OffsetSizeTrait, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

const SEED: u64 = 0x243f_6a88_85a3_08d3;
const NULL: u64 = 0x1319_8a2e_0370_7344;
const K_ROW: u64 = 0xa409_3822_299f_31d1;
const K_A: u64 = 0x082e_fa98_ec4e_6c89;
const K_B: u64 = 0x4528_21e6_38d0_1377;
/// Decimals hash as residues modulo this Mersenne prime, so that m / 10^s is the same for every way to write it.
const PRIME: u64 = (1 << 61) - 1;
/// The inverse of 10 modulo `PRIME`.
const INVERSE_OF_TEN: u64 = 2_075_258_708_292_324_556;

/// The shard of a row with this key hash, 0 .. 256.
#[inline]
pub fn shard(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// Hashes the rows of `columns` (all of the length `rows`) into `out`, whose old content is dropped. Without columns
/// every row hashes alike.
pub fn hash_rows(columns: &[ArrayRef], rows: usize, out: &mut Vec<u64>) -> Result<()> {
    out.clear();
    out.resize(rows, SEED);
    columns.iter().try_for_each(|column| fold_column(column.as_ref(), out))
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline(always)]
fn combine(acc: u64, value: u64) -> u64 {
    fold(acc ^ value, K_ROW)
}

#[inline(always)]
fn bits(value: u64) -> u64 {
    fold(value ^ K_A, K_B)
}

/// Folds the hash of each value of the column into its row's accumulator.
fn fold_column(column: &dyn Array, out: &mut [u64]) -> Result<()> {
    debug_assert_eq!(column.len(), out.len());
    match column.data_type() {
        DataType::Null => out.iter_mut().for_each(|acc| *acc = combine(*acc, NULL)),
        DataType::Boolean => fold_booleans(column.as_boolean(), out),
        DataType::Int8 => fold_primitive::<Int8Type>(column, out, |v| bits(v as i64 as u64)),
        DataType::Int16 => fold_primitive::<Int16Type>(column, out, |v| bits(v as i64 as u64)),
        DataType::Int32 => fold_primitive::<Int32Type>(column, out, |v| bits(v as i64 as u64)),
        DataType::Int64 => fold_primitive::<Int64Type>(column, out, |v| bits(v as u64)),
        DataType::UInt8 => fold_primitive::<UInt8Type>(column, out, |v| bits(v as u64)),
        DataType::UInt16 => fold_primitive::<UInt16Type>(column, out, |v| bits(v as u64)),
        DataType::UInt32 => fold_primitive::<UInt32Type>(column, out, |v| bits(v as u64)),
        DataType::UInt64 => fold_primitive::<UInt64Type>(column, out, bits),
        DataType::Float32 => fold_primitive::<Float32Type>(column, out, |v| bits(float_bits(v as f64))),
        DataType::Float64 => fold_primitive::<Float64Type>(column, out, |v| bits(float_bits(v))),
        DataType::Date32 => fold_primitive::<Date32Type>(column, out, |v| bits(v as i64 as u64)),
        DataType::Date64 => fold_primitive::<Date64Type>(column, out, |v| bits(v as u64)),
        DataType::Time64(TimeUnit::Microsecond) => {
            fold_primitive::<Time64MicrosecondType>(column, out, |v| bits(v as u64))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            fold_primitive::<TimestampMicrosecondType>(column, out, |v| bits(v as u64))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            fold_primitive::<IntervalMonthDayNanoType>(column, out, |v| {
                let length = interval_length(v);
                bits((length as u64) ^ ((length >> 64) as u64).rotate_left(32))
            })
        }
        DataType::Decimal128(_, scale) => {
            let unit = unit(*scale);
            fold_primitive::<Decimal128Type>(column, out, |v| bits(multiply(residue128(v), unit)))
        }
        DataType::Decimal256(_, scale) => {
            let unit = unit(*scale);
            fold_primitive::<Decimal256Type>(column, out, |v| bits(multiply(residue256(v), unit)))
        }
        DataType::Utf8 => fold_bytes(column.as_string::<i32>().iter().map(|v| v.map(str::as_bytes)), out),
        DataType::LargeUtf8 => fold_bytes(column.as_string::<i64>().iter().map(|v| v.map(str::as_bytes)), out),
        DataType::Utf8View => fold_bytes(column.as_string_view().iter().map(|v| v.map(str::as_bytes)), out),
        DataType::Binary => fold_bytes(column.as_binary::<i32>().iter(), out),
        DataType::LargeBinary => fold_bytes(column.as_binary::<i64>().iter(), out),
        DataType::BinaryView => fold_bytes(column.as_binary_view().iter(), out),
        DataType::FixedSizeBinary(_) => {
            let values: &FixedSizeBinaryArray = column.as_fixed_size_binary();
            fold_bytes(values.iter(), out);
        }
        DataType::List(_) => fold_list::<i32>(column, out)?,
        DataType::LargeList(_) => fold_list::<i64>(column, out)?,
        DataType::Struct(_) => {
            let fields = column.as_struct();
            let mut inner = vec![SEED; column.len()];
            fields.columns().iter().try_for_each(|field| fold_column(field.as_ref(), &mut inner))?;
            let nulls = column.nulls();
            for (row, (acc, value)) in out.iter_mut().zip(inner).enumerate() {
                *acc = combine(*acc, if is_null(nulls, row) { NULL } else { value });
            }
        }
        other => return Err(Error::internal(format!("no hash for columns of type {other}"))),
    }
    Ok(())
}

#[inline(always)]
fn is_null(nulls: Option<&NullBuffer>, row: usize) -> bool {
    nulls.is_some_and(|nulls| nulls.is_null(row))
}

#[inline(always)]
fn fold_primitive<T: ArrowPrimitiveType>(column: &dyn Array, out: &mut [u64], hash: impl Fn(T::Native) -> u64) {
    let array: &PrimitiveArray<T> = column.as_primitive();
    match array.nulls() {
        None => {
            for (acc, value) in out.iter_mut().zip(array.values().iter()) {
                *acc = combine(*acc, hash(*value));
            }
        }
        Some(nulls) => {
            for (row, (acc, value)) in out.iter_mut().zip(array.values().iter()).enumerate() {
                *acc = combine(*acc, if nulls.is_null(row) { NULL } else { hash(*value) });
            }
        }
    }
}

fn fold_booleans(array: &BooleanArray, out: &mut [u64]) {
    for (row, acc) in out.iter_mut().enumerate() {
        *acc = combine(*acc, if array.is_null(row) { NULL } else { bits(array.value(row) as u64) });
    }
}

fn fold_bytes<'a>(values: impl Iterator<Item = Option<&'a [u8]>>, out: &mut [u64]) {
    for (acc, value) in out.iter_mut().zip(values) {
        *acc = combine(*acc, value.map_or(NULL, xxh3_64));
    }
}

fn fold_list<O: OffsetSizeTrait>(column: &dyn Array, out: &mut [u64]) -> Result<()> {
    let list = column.as_list::<O>();
    let offsets = list.value_offsets();
    let first = offsets.first().map_or(0, |offset| offset.as_usize());
    let last = offsets.last().map_or(0, |offset| offset.as_usize());
    let mut elements = vec![SEED; last - first];
    fold_column(list.values().slice(first, last - first).as_ref(), &mut elements)?;
    for (row, acc) in out.iter_mut().enumerate() {
        let value = if list.is_null(row) {
            NULL
        } else {
            let (from, to) = (offsets[row].as_usize() - first, offsets[row + 1].as_usize() - first);
            let items = elements[from..to].iter().fold(SEED, |acc, element| combine(acc, *element));
            combine(items, (to - from) as u64)
        };
        *acc = combine(*acc, value);
    }
    Ok(())
}

/// The bits of a float with one zero and one NaN.
#[inline(always)]
pub(super) fn float_bits(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

/// Nanoseconds, a day as 24 hours and a month as 30 days: how Postgres orders intervals and tells them equal.
#[inline(always)]
pub(super) fn interval_length(value: IntervalMonthDayNano) -> i128 {
    const DAY: i128 = 86_400_000_000_000;
    (i128::from(value.months) * 30 + i128::from(value.days)) * DAY + i128::from(value.nanoseconds)
}

/// a * b modulo `PRIME`.
#[inline(always)]
fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let sum = (product as u64 & PRIME) + (product >> 61) as u64;
    if sum >= PRIME { sum - PRIME } else { sum }
}

/// 10^-scale modulo `PRIME`.
fn unit(scale: i8) -> u64 {
    let base = if scale >= 0 { INVERSE_OF_TEN } else { 10 };
    (0..scale.unsigned_abs()).fold(1, |acc, _| multiply(acc, base))
}

#[inline(always)]
fn residue_unsigned(value: u128) -> u64 {
    let (low, middle, high) = (value as u64 & PRIME, (value >> 61) as u64 & PRIME, (value >> 122) as u64);
    (low + middle + high) % PRIME
}

#[inline(always)]
fn negate(residue: u64, negative: bool) -> u64 {
    if negative && residue != 0 { PRIME - residue } else { residue }
}

#[inline(always)]
fn residue128(value: i128) -> u64 {
    negate(residue_unsigned(value.unsigned_abs()), value < 0)
}

fn residue256(value: i256) -> u64 {
    let negative = value.is_negative();
    // The smallest value is its own negation, and right all the same once read as unsigned.
    let (low, high) = (if negative { value.wrapping_neg() } else { value }).to_parts();
    // 2^128 = 2^(2 * 61 + 6), so it is 2^6 modulo the prime.
    let high = multiply(residue_unsigned(high as u128), 64);
    negate((residue_unsigned(low) + high) % PRIME, negative)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;

    use super::*;

    fn hashes(array: impl Array + 'static) -> Vec<u64> {
        let mut out = Vec::new();
        let rows = array.len();
        hash_rows(&[Arc::new(array)], rows, &mut out).unwrap();
        out
    }

    #[test]
    fn the_hash_does_not_change_between_releases() {
        assert_eq!(hashes(Int64Array::from(vec![Some(0), Some(1), None])), PINNED_INTEGERS);
        assert_eq!(hashes(StringArray::from(vec![""])), PINNED_TEXTS);
    }

    /// Of 0, 1 and NULL; of the empty text. Worked out by hand from the definition above.
    const PINNED_INTEGERS: [u64; 3] =
        [7_684_613_386_954_609_957, 17_846_866_692_366_824_877, 14_512_763_577_977_851_732];
    const PINNED_TEXTS: [u64; 1] = [3_375_356_086_470_726_248];

    #[test]
    fn equal_values_hash_equally_whatever_their_form() {
        assert_eq!(multiply(10, INVERSE_OF_TEN), 1);
        assert_eq!(hashes(Int16Array::from(vec![-7])), hashes(Int64Array::from(vec![-7])));
        let floats = hashes(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.5]));
        assert_eq!(floats[0], floats[1]);
        assert_eq!(floats[2], floats[3]);
        assert_eq!(floats[4], hashes(Float32Array::from(vec![1.5]))[0]);
        for cents in [0i128, 5, -5, 100, -12_345_600, i64::MAX as i128, 10i128.pow(37), -(10i128.pow(37))] {
            let narrow = Decimal128Array::from(vec![cents]).with_precision_and_scale(38, 2).unwrap();
            let wide = i256::from_i128(cents).wrapping_mul(i256::from_i128(10i128.pow(36)));
            let wide = Decimal256Array::from(vec![wide]).with_precision_and_scale(76, 38).unwrap();
            assert_eq!(hashes(narrow), hashes(wide), "{cents} hundredths");
        }
        let day = IntervalMonthDayNano::new(0, 1, 0);
        let hours = IntervalMonthDayNano::new(0, 0, 86_400_000_000_000);
        let intervals = hashes(IntervalMonthDayNanoArray::from(vec![day, hours]));
        assert_eq!(intervals[0], intervals[1]);
    }

    #[test]
    fn slices_of_nested_values_hash_like_the_whole() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![Some(3), Some(4)]),
        ]);
        let whole = hashes(lists.clone());
        assert_eq!(hashes(lists.slice(1, 3)), whole[1..]);
        let fields = vec![Field::new("a", lists.data_type().clone(), true)];
        let structs = StructArray::new(fields.into(), vec![Arc::new(lists)], None);
        let whole = hashes(structs.clone());
        assert_eq!(hashes(structs.slice(2, 2)), whole[2..]);
        assert_eq!(whole.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }

    #[test]
    fn shards_are_even() {
        let counts = hashes(Int64Array::from_iter_values(0..256_000)).iter().fold([0; 256], |mut counts, hash| {
            counts[shard(*hash)] += 1;
            counts
        });
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
