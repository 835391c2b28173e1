//! `connector = 'datagen'`: made-up rows for the declared columns, the same for the same seed.
//!
//! | option of a column          | meaning |
//! |-----------------------------|---------|
//! | `fields.COLUMN.kind`        | `random` (default), `sequence` (default for times) or `choice` (if `values` is given) |
//! | `.start`, `.end`, `.step`   | of a sequence; it begins again after `end`; times step in milliseconds |
//! | `.min`, `.max`              | of random values, both included |
//! | `.length`                   | of random text, default 10 |
//! | `.values`                   | comma-separated, one is picked each time |
//! | `.null.rate`                | share of NULLs, between 0 and 1 |
//!
//! Row n of a column is a function of the seed, the column's name and n: nothing else is kept.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryBuilder, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{SchemaRef, i256};

use super::generator::{Generator, GeneratorSource};
use super::options::{invalid, number};
use crate::catalog::{Connector, Relation};
use crate::error::{Error, Result};
use crate::formats::json::literal::WrittenDecimal;
use crate::types::{Column, FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE, Numeric, Type, iso};

/// Rows a second where the options do not say.
const DEFAULT_RATE: u64 = 10;
/// Characters of random text where the options do not say, and at most.
const DEFAULT_LENGTH: usize = 10;
const MOST_LENGTH: usize = 10_000;
/// Decimals of random values of bare numeric.
const FREE_SCALE: u32 = 2;
const DAY_MICROS: i64 = 86_400_000_000;
/// 2026-01-01 00:00 UTC: where sequences of times begin, and random ones.
const DEFAULT_TIME: i64 = 1_767_225_600_000_000;

pub struct Datagen {
    schema: SchemaRef,
    columns: Vec<ColumnPlan>,
}

struct ColumnPlan {
    ty: Type,
    kind: Kind,
    /// Share of NULLs, of 2^64.
    nulls: u64,
    seed: u64,
}

/// Values as integers: numbers as they are (decimals times their scale), dates in days, times in microseconds, for text
/// the number behind it.
enum Kind {
    Sequence { start: i128, step: i128, count: i128 },
    Random { min: i128, max: i128 },
    RandomFloat { min: f64, max: f64 },
    RandomText { length: usize },
    Choice(Vec<Value>),
}

/// One of the values to choose from.
#[derive(Clone)]
enum Value {
    Whole(i128),
    Float(f64),
    Text(String),
}

/// Checks the options against the columns.
pub fn source(stream: &Relation, connector: &Connector) -> Result<GeneratorSource<Datagen>> {
    for (option, _) in &connector.options {
        if let Some(rest) = option.strip_prefix("fields.") {
            let known = stream.columns.iter().any(|column| {
                let rest = rest.strip_prefix(column.name.as_str()).and_then(|rest| rest.strip_prefix('.'));
                rest.is_some_and(|setting| SETTINGS.contains(&setting))
            });
            if !known {
                return Err(invalid(format!("option \"{option}\" names no column and setting of the stream"))
                    .with_hint(format!("Write fields.COLUMN.SETTING, with one of {}.", SETTINGS.join(", "))));
            }
        }
    }
    let seed = number(connector, "seed", 0, 0..=u64::MAX)?;
    let rate = number(connector, "rows.per.second", DEFAULT_RATE, 0..=1_000_000_000)?;
    let rows = match number(connector, "number.of.rows", u64::MAX, 0..=i64::MAX as u64) {
        Ok(u64::MAX) => None,
        other => Some(other?),
    };
    let columns = stream.columns.iter().map(|column| ColumnPlan::new(connector, column, seed, rate));
    let columns: Vec<ColumnPlan> = columns.collect::<Result<_>>()?;
    let mut identity = format!("datagen 1 seed {seed}");
    for column in &stream.columns {
        let _ = write!(identity, "; {} {:?}", column.name, column.ty);
    }
    if columns.iter().any(ColumnPlan::is_wide) {
        identity.push_str("; wide");
    }
    for (name, value) in &connector.options {
        if name.starts_with("fields.") {
            let _ = write!(identity, "; {name} = {value}");
        }
    }
    Ok(GeneratorSource::new(Datagen { schema: stream.stored_schema(), columns }, identity, rate, rows))
}

const SETTINGS: [&str; 9] = ["kind", "start", "end", "step", "min", "max", "length", "values", "null.rate"];

/// Refuses settings that the rows would not show. At CREATE only: streams that were made with such are what they were.
pub fn check_settings(stream: &Relation, connector: &Connector) -> Result<()> {
    let source = source(stream, connector)?;
    for (column, plan) in stream.columns.iter().zip(&source.generator().columns) {
        let is_finite = |end: f64| match plan.ty {
            Type::Float4 => (end as f32).is_finite(),
            _ => end.is_finite(),
        };
        if matches!(plan.kind, Kind::RandomFloat { min, max } if !is_finite(min) || !is_finite(max)) {
            return Err(invalid(format!("random values of column \"{}\" need finite ends", column.name)));
        }
        let (what, used) = match &plan.kind {
            Kind::Sequence { .. } => ("a sequence", vec!["start", "end", "step"]),
            Kind::Random { .. } if matches!(plan.ty, Type::Uuid) => ("random uuids", Vec::new()),
            Kind::Random { .. } | Kind::RandomFloat { .. } => ("random values of this type", vec!["min", "max"]),
            Kind::RandomText { .. } => ("random text", vec!["length"]),
            Kind::Choice(_) => ("a choice", vec!["values"]),
        };
        for setting in SETTINGS {
            let option = format!("fields.{}.{setting}", column.name);
            if !used.contains(&setting)
                && !["kind", "null.rate"].contains(&setting)
                && connector.option(&option).is_some()
            {
                let message = format!("option \"{option}\" has no use for {what}");
                return Err(invalid(message).with_hint(
                    "A sequence has start, end and step, random numbers and times min and max, random text length, a choice values.",
                ));
            }
        }
    }
    Ok(())
}

impl ColumnPlan {
    fn new(connector: &Connector, column: &Column, seed: u64, rate: u64) -> Result<ColumnPlan> {
        let option = |setting: &str| connector.option(&format!("fields.{}.{setting}", column.name));
        let wrong = |setting: &str, text: &str, expected: &str| {
            invalid(format!("invalid value for option \"fields.{}.{setting}\": \"{text}\"", column.name))
                .with_hint(format!("Expected {expected}."))
        };
        let whole = |setting: &str, default: i128| match option(setting) {
            None => Ok(default),
            Some(text) => match parse(&column.ty, text) {
                Some(Value::Whole(value)) => Ok(value),
                // A sequence of texts counts.
                Some(Value::Text(text)) if text.parse::<i64>().is_ok() => Ok(text.parse::<i64>().unwrap_or(0).into()),
                _ => Err(wrong(setting, text, "a value of the column's type")),
            },
        };
        let float = |setting: &str, default: f64| match option(setting) {
            None => Ok(default),
            Some(text) => text.parse::<f64>().map_err(|_| wrong(setting, text, "a number")),
        };
        let is_time = matches!(column.ty, Type::Timestamp | Type::Timestamptz | Type::Date);
        let kind = match (option("kind"), option("values")) {
            (None | Some("choice"), Some(values)) => {
                let parsed: Option<Vec<Value>> = values.split(',').map(|text| parse(&column.ty, text.trim())).collect();
                Kind::Choice(parsed.ok_or_else(|| wrong("values", values, "values of the column's type, with commas"))?)
            }
            (Some("sequence"), None) => sequence(&column.ty, rate, &whole, option("step"), option("end").is_some())?,
            (None, None) if is_time => sequence(&column.ty, rate, &whole, option("step"), option("end").is_some())?,
            (None | Some("random"), None) => match &column.ty {
                Type::Float4 | Type::Float8 => {
                    Kind::RandomFloat { min: float("min", 0.0)?, max: float("max", 1000.0)? }
                }
                Type::Text | Type::Varchar(_) => {
                    let most = match column.ty {
                        Type::Varchar(Some(most)) => MOST_LENGTH.min(most as usize),
                        _ => MOST_LENGTH,
                    };
                    let length = match option("length") {
                        None => most.min(DEFAULT_LENGTH),
                        Some(text) => match text.parse::<usize>() {
                            Ok(length) if length <= most => length,
                            _ => return Err(wrong("length", text, &format!("a whole number up to {most}"))),
                        },
                    };
                    Kind::RandomText { length }
                }
                ty => {
                    let (min, max) = default_range(ty, &column.name)?;
                    Kind::Random { min: whole("min", min)?, max: whole("max", max)? }
                }
            },
            (Some(kind), _) => return Err(wrong("kind", kind, "random, sequence, or choice with values")),
        };
        let bad = match &kind {
            Kind::Random { min, max } => min > max,
            Kind::RandomFloat { min, max } => min.is_nan() || max.is_nan() || min > max,
            Kind::Sequence { count, .. } => *count <= 0,
            Kind::Choice(values) => values.is_empty(),
            _ => false,
        };
        if bad {
            return Err(invalid(format!("options of column \"{}\" leave no value to generate", column.name)));
        }
        let nulls = float("null.rate", 0.0)?;
        if !(0.0..=1.0).contains(&nulls) || (nulls > 0.0 && column.not_null) {
            let text = nulls.to_string();
            return Err(wrong("null.rate", &text, "a number between 0 and 1, and 0 where the column is NOT NULL"));
        }
        let seed = seed ^ xxhash_rust::xxh3::xxh3_64(column.name.as_bytes());
        Ok(ColumnPlan { ty: column.ty.clone(), kind, nulls: (nulls * u64::MAX as f64) as u64, seed })
    }

    fn is_null(&self, row: i64) -> bool {
        self.nulls > 0 && mix(self.seed.rotate_left(17), row as u64) <= self.nulls
    }

    fn random(&self, row: i64) -> u64 {
        mix(self.seed, row as u64)
    }

    fn whole(&self, row: i64) -> i128 {
        match &self.kind {
            Kind::Sequence { start, step, count } => start + step * (i128::from(row) % count),
            Kind::Random { min, max } => {
                // Numbers of 38 digits lie further apart than an i128 can say.
                let width = max.wrapping_sub(*min) as u128 + 1;
                min + ((u128::from(self.random(row)) * width.min(u128::from(u64::MAX))) >> 64) as i128
            }
            Kind::Choice(values) => match &values[self.pick(row, values.len())] {
                Value::Whole(value) => *value,
                _ => 0,
            },
            _ => 0,
        }
    }

    fn float(&self, row: i64) -> f64 {
        match &self.kind {
            Kind::RandomFloat { min, max } => {
                let share = (self.random(row) >> 11) as f64;
                let all = (1_u64 << 53) as f64;
                match self.is_wide() {
                    true => (min * (1.0 - share / all) + max * (share / all)).clamp(*min, *max),
                    false => min + (max - min) * share / all,
                }
            }
            Kind::Choice(values) => match &values[self.pick(row, values.len())] {
                Value::Float(value) => *value,
                _ => 0.0,
            },
            _ => self.whole(row) as f64,
        }
    }

    /// Random floats whose ends lie further apart than a float can say.
    fn is_wide(&self) -> bool {
        matches!(self.kind, Kind::RandomFloat { min, max } if !((max - min) * (1_u64 << 53) as f64).is_finite())
    }

    fn pick(&self, row: i64, among: usize) -> usize {
        ((u128::from(self.random(row)) * among as u128) >> 64) as usize
    }

    fn text(&self, row: i64, out: &mut String) {
        out.clear();
        match &self.kind {
            Kind::RandomText { length } => {
                let mut bits = 0;
                for place in 0..*length {
                    if place % 8 == 0 {
                        bits = mix(self.seed.wrapping_add(place as u64), row as u64);
                    }
                    out.push(char::from(b'a' + (bits % 26) as u8));
                    bits >>= 8;
                }
            }
            Kind::Choice(values) => {
                if let Value::Text(value) = &values[self.pick(row, values.len())] {
                    out.push_str(value);
                }
            }
            _ => {
                let _ = write!(out, "{}", self.whole(row));
            }
        }
    }

    fn array(&self, start: i64, next: i64) -> Result<ArrayRef> {
        let rows = start..next;
        // Ranges are checked at CREATE, so the narrowing casts lose nothing.
        macro_rules! primitive {
            ($array:ty, $value:expr) => {
                rows.map(|row| (!self.is_null(row)).then(|| $value(row))).collect::<$array>()
            };
        }
        Ok(match &self.ty {
            Type::Bool => Arc::new(primitive!(BooleanArray, |row| self.whole(row) != 0)),
            Type::Int2 => Arc::new(primitive!(Int16Array, |row| self.whole(row) as i16)),
            Type::Int4 => Arc::new(primitive!(Int32Array, |row| self.whole(row) as i32)),
            Type::Int8 => Arc::new(primitive!(Int64Array, |row| self.whole(row) as i64)),
            Type::Float4 => Arc::new(primitive!(Float32Array, |row| self.float(row) as f32)),
            Type::Float8 => Arc::new(primitive!(Float64Array, |row| self.float(row))),
            Type::Numeric(Numeric::Fixed { precision, scale }) => {
                let array = primitive!(Decimal128Array, |row| self.whole(row));
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            Type::Numeric(Numeric::Free) => {
                let shift = i256::from_i128(10_i128.pow(FREE_NUMERIC_SCALE as u32 - FREE_SCALE));
                let array = primitive!(Decimal256Array, |row| i256::from_i128(self.whole(row)).wrapping_mul(shift));
                Arc::new(array.with_precision_and_scale(FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE)?)
            }
            Type::Date => Arc::new(primitive!(Date32Array, |row| self.whole(row) as i32)),
            Type::Timestamp | Type::Timestamptz => {
                let array = primitive!(TimestampMicrosecondArray, |row| self.whole(row) as i64);
                Arc::new(array.with_data_type(self.ty.arrow()))
            }
            Type::Uuid => {
                let mut builder = FixedSizeBinaryBuilder::with_capacity((next - start) as usize, 16);
                for row in rows {
                    if self.is_null(row) {
                        builder.append_null();
                        continue;
                    }
                    let (high, low) = (self.random(row), mix(self.seed.rotate_left(32), row as u64));
                    let bits = u128::from(high) << 64 | u128::from(low);
                    builder
                        .append_value(uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().as_bytes())?;
                }
                Arc::new(builder.finish())
            }
            _ => {
                let mut builder = StringBuilder::new();
                let mut text = String::new();
                for row in rows {
                    if self.is_null(row) {
                        builder.append_null();
                        continue;
                    }
                    self.text(row, &mut text);
                    builder.append_value(&text);
                }
                Arc::new(builder.finish())
            }
        })
    }
}

fn sequence(
    ty: &Type,
    rate: u64,
    whole: &dyn Fn(&str, i128) -> Result<i128>,
    step: Option<&str>,
    ends: bool,
) -> Result<Kind> {
    let (start, unit, default_step) = match ty {
        Type::Timestamp | Type::Timestamptz => (i128::from(DEFAULT_TIME), 1000, 1000 / i128::from(rate.clamp(1, 1000))),
        Type::Date => (i128::from(DEFAULT_TIME / DAY_MICROS), 1, 1),
        Type::Numeric(_) => (scale_of(ty), scale_of(ty), 1),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Text | Type::Varchar(None) => (1, 1, 1),
        _ => {
            return Err(invalid(
                "a sequence is made for whole numbers, numeric, text, date and timestamp columns only",
            ));
        }
    };
    let start = whole("start", start)?;
    let step = match step.map(str::parse::<i64>) {
        None => default_step,
        Some(Ok(step)) if step != 0 => i128::from(step),
        Some(_) => return Err(invalid("the step of a sequence must be a whole number other than 0")),
    };
    let step = step.checked_mul(unit).ok_or_else(|| invalid("the step of a sequence is out of the column's range"))?;
    let (least, most) = type_range(ty);
    let end = if ends { whole("end", start)? } else { if step > 0 { most } else { least } };
    // Numbers of 38 digits lie further apart than an i128 can say, but never i128::MAX steps: none is made that far.
    let way = if step > 0 { end.checked_sub(start) } else { start.checked_sub(end) }.unwrap_or(i128::MAX);
    let count = if way < 0 { 0 } else { (way / step.abs()).saturating_add(1) };
    Ok(Kind::Sequence { start, step, count })
}

/// The scale of a numeric as a factor.
fn scale_of(ty: &Type) -> i128 {
    match ty {
        Type::Numeric(Numeric::Fixed { scale, .. }) => 10_i128.pow((*scale).clamp(0, 38) as u32),
        Type::Numeric(Numeric::Free) => 10_i128.pow(FREE_SCALE),
        _ => 1,
    }
}

/// What the type can hold, as integers.
fn type_range(ty: &Type) -> (i128, i128) {
    match ty {
        Type::Int2 => (i16::MIN.into(), i16::MAX.into()),
        Type::Int4 | Type::Date => (i32::MIN.into(), i32::MAX.into()),
        Type::Numeric(Numeric::Fixed { precision, .. }) => {
            let most = 10_i128.pow(u32::from(*precision).min(38)) - 1;
            (-most, most)
        }
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

fn default_range(ty: &Type, column: &str) -> Result<(i128, i128)> {
    let day = i128::from(DAY_MICROS);
    let (_, most) = type_range(ty);
    match ty {
        Type::Bool => Ok((0, 1)),
        Type::Int2 | Type::Int4 | Type::Int8 => Ok((0, 1000)),
        Type::Numeric(_) => Ok((0, scale_of(ty).saturating_mul(1000).min(most))),
        Type::Date => Ok((i128::from(DEFAULT_TIME) / day, i128::from(DEFAULT_TIME) / day + 364)),
        Type::Timestamp | Type::Timestamptz => Ok((i128::from(DEFAULT_TIME), i128::from(DEFAULT_TIME) + 365 * day - 1)),
        Type::Uuid => Ok((0, 0)),
        _ => Err(Error::unsupported(
            format!("generating values for column \"{column}\""),
            "The connector datagen fills columns of type boolean, numbers, text, varchar, date, timestamp, timestamptz and uuid.",
        )),
    }
}

/// A value in an option.
fn parse(ty: &Type, text: &str) -> Option<Value> {
    let whole = match ty {
        Type::Text | Type::Varchar(None) => return Some(Value::Text(text.to_string())),
        Type::Varchar(Some(most)) => {
            return (text.chars().count() <= *most as usize).then(|| Value::Text(text.to_string()));
        }
        Type::Float4 | Type::Float8 => return text.parse().ok().map(Value::Float),
        Type::Bool => i128::from(text.parse::<bool>().ok()?),
        Type::Int2 | Type::Int4 | Type::Int8 => text.parse().ok()?,
        Type::Numeric(_) => {
            let digits = scale_of(ty).ilog10() as i8;
            WrittenDecimal::parse(text)?.to_i128(38, digits, false).ok()?
        }
        Type::Date => i128::from(iso::date(text)?),
        Type::Timestamp | Type::Timestamptz => {
            let written = iso::timestamp(text)?;
            i128::from(if *ty == Type::Timestamptz { written.instant_in_utc() } else { written.local() })
        }
        _ => return None,
    };
    let (least, most) = type_range(ty);
    (least..=most).contains(&whole).then_some(Value::Whole(whole))
}

/// SplitMix64 (Steele, Lea, Flood 2014) at position n: every output bit depends on every input bit.
fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Generator for Datagen {
    fn rows(&self, start: i64, next: i64) -> Result<RecordBatch> {
        let columns = self.columns.iter().map(|column| column.array(start, next)).collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};

    use super::*;
    use crate::ingest::tests::{relation, rows_of};
    use crate::ingest::{Source, connect};

    fn columns() -> Vec<Column> {
        [
            ("id", Type::Int8),
            ("k", Type::Int4),
            ("flag", Type::Bool),
            ("price", Type::fixed_numeric(8, 2)),
            ("wide", Type::NUMERIC),
            ("ratio", Type::Float8),
            ("name", Type::Text),
            ("city", Type::Text),
            ("at", Type::Timestamptz),
            ("day", Type::Date),
            ("u", Type::Uuid),
        ]
        .into_iter()
        .map(|(name, ty)| Column::new(name, ty))
        .collect()
    }

    const OPTIONS: &[(&str, &str)] = &[
        ("seed", "42"),
        ("rows.per.second", "0"),
        ("number.of.rows", "10000"),
        ("fields.id.kind", "sequence"),
        ("fields.k.min", "-3"),
        ("fields.k.max", "3"),
        ("fields.k.null.rate", "0.25"),
        ("fields.city.values", "Oslo, Rome,Lima"),
        ("fields.day.start", "2026-03-01"),
        ("fields.day.end", "2026-03-07"),
    ];

    #[test]
    fn rows_follow_the_options() {
        let stream = relation(columns(), "datagen", OPTIONS, &[]);
        let rows = rows_of(&*connect(&stream, None).unwrap(), 0, 10_000);
        assert_eq!(rows.num_rows(), 10_000);
        let ids = rows.column(0).as_primitive::<Int64Type>();
        assert!((0..10_000).all(|row| ids.value(row) == row as i64 + 1));
        let k = rows.column(1).as_primitive::<Int32Type>();
        let nulls = k.null_count();
        assert!((2_200..2_800).contains(&nulls), "{nulls}");
        let mut seen: Vec<i32> = k.iter().flatten().collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [-3, -2, -1, 0, 1, 2, 3]);
        let cities = rows.column(7).as_string::<i32>();
        for city in ["Oslo", "Rome", "Lima"] {
            assert!(cities.iter().flatten().filter(|found| *found == city).count() > 3_000);
        }
        let days = rows.column(9).as_primitive::<arrow::datatypes::Date32Type>();
        assert_eq!(days.value(0), days.value(7));
        assert_eq!(days.value(6) - days.value(0), 6);
        let at = rows.column(8).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(at.value(1) - at.value(0), 1_000_000);
    }

    #[test]
    fn any_range_comes_again_the_same() {
        let stream = relation(columns(), "datagen", OPTIONS, &[]);
        let whole = rows_of(&*connect(&stream, None).unwrap(), 0, 9_999);
        let again = connect(&stream, None).unwrap();
        for (start, next) in [(0, 1), (17, 18), (4_090, 4_100), (5_000, 9_999)] {
            let piece = rows_of(&*again, start, next);
            assert_eq!(piece, whole.slice(start as usize, (next - start) as usize));
        }
        let other = relation(columns(), "datagen", &[("seed", "43")], &[]);
        assert_ne!(rows_of(&*connect(&other, None).unwrap(), 0, 10).column(6), whole.slice(0, 10).column(6));
    }

    /// Whatever the options, values are of the column's type.
    #[test]
    fn values_fit_their_columns() {
        let columns = || {
            vec![
                Column::new("short", Type::Varchar(Some(3))),
                Column::new("fine", Type::fixed_numeric(38, 36)),
                Column::new("wide", Type::fixed_numeric(38, 0)),
                Column::new("steps", Type::fixed_numeric(38, 0)),
            ]
        };
        let nines = "9".repeat(38);
        let least = format!("-{nines}");
        let good = [
            ("fields.short.length", "3"),
            ("fields.wide.min", least.as_str()),
            ("fields.wide.max", nines.as_str()),
            ("fields.steps.kind", "sequence"),
            ("fields.steps.start", least.as_str()),
        ];
        let rows = rows_of(&*connect(&relation(columns(), "datagen", &good, &[]), None).unwrap(), 0, 1000);
        let short = rows.column(0).as_string::<i32>();
        assert!(short.iter().flatten().all(|text| text.len() == 3));
        for column in [1, 2, 3] {
            let values = rows.column(column).as_primitive::<Decimal128Type>();
            assert!(values.validate_decimal_precision(38).is_ok(), "{:?}", rows.schema().field(column));
        }
        let fine = rows.column(1).as_primitive::<Decimal128Type>();
        assert!(fine.iter().flatten().any(|value| value > 0) && fine.iter().flatten().all(|value| value >= 0));
        let steps = rows.column(3).as_primitive::<Decimal128Type>();
        assert_eq!(steps.value(999) - steps.value(0), 999);
        let wrong: &[&[(&str, &str)]] = &[
            &[("fields.short.length", "4")],
            &[("fields.short.values", "ab,abcd")],
            &[("fields.short.length", "10001")],
            &[("fields.fine.kind", "sequence"), ("fields.fine.step", "1000")],
        ];
        for options in wrong {
            let error = connect(&relation(columns(), "datagen", options, &[]), None).err();
            assert_eq!(error.unwrap_or_else(|| panic!("{options:?} was accepted")).state().0, "22023", "{options:?}");
        }
    }

    #[test]
    fn random_floats_lie_between_any_ends() {
        for (min, max) in [("-1e308", "1e308"), ("-1e300", "1.7e308"), ("-5", "7"), ("1e308", "1.1e308")] {
            let options = [("fields.f.min", min), ("fields.f.max", max)];
            let stream = relation(vec![Column::new("f", Type::Float8)], "datagen", &options, &[]);
            let rows = rows_of(&*connect(&stream, None).unwrap(), 0, 1000);
            let values = rows.column(0).as_primitive::<arrow::datatypes::Float64Type>().values();
            let (min, max): (f64, f64) = (min.parse().unwrap(), max.parse().unwrap());
            assert!(values.iter().all(|value| (min..=max).contains(value)), "{min} {max}");
            let middle = min / 2.0 + max / 2.0;
            let below = values.iter().filter(|value| **value < middle).count();
            assert!((400..600).contains(&below), "{min} {max}: {below}");
        }
    }

    #[test]
    fn options_are_checked_against_the_columns() {
        let wrong: &[&[(&str, &str)]] = &[
            &[("fields.nope.kind", "random")],
            &[("fields.k.colour", "red")],
            &[("fields.k.min", "abc")],
            &[("fields.k.min", "5"), ("fields.k.max", "4")],
            &[("fields.k.kind", "gaussian")],
            &[("fields.k.min", "-3000000000")],
            &[("fields.id.null.rate", "2")],
            &[("fields.flag.kind", "sequence")],
            &[("rows.per.second", "fast")],
            // What nothing would show of.
            &[("fields.k.length", "5")],
            &[("fields.k.start", "5")],
            &[("fields.at.max", "2026-01-01")],
            &[("fields.u.min", "5")],
            &[("fields.name.max", "5")],
            &[("fields.city.values", "Oslo"), ("fields.city.length", "5")],
            &[("fields.ratio.max", "inf")],
        ];
        for options in wrong {
            let stream = relation(columns(), "datagen", options, &[]);
            let error = connect(&stream, None).err().unwrap_or_else(|| panic!("{options:?} was accepted"));
            assert_eq!(error.state().0, "22023", "{options:?} {error:?}");
        }
        // A stream that was made with such is what it was.
        let options = [("fields.k.length", "5")];
        let stream = relation(columns(), "datagen", &options, &[]);
        let options = options.map(|(name, value)| (name.to_string(), value.to_string())).to_vec();
        let connector = Connector { name: "datagen".to_string(), options };
        let identity = source(&stream, &connector).unwrap().identity().unwrap();
        connect(&stream, Some(&identity)).unwrap();
        let stream = relation(vec![Column::new("j", Type::Jsonb)], "datagen", &[], &[]);
        assert_eq!(connect(&stream, None).err().unwrap().state().0, "0A000");
    }
}
