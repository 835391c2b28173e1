//! to_timestamp and to_date: text read by a template, as Postgres's `DCH_from_char` reads it.

use arrow::array::ArrayRef;

use super::date_arithmetic::zone_of;
use super::date_format::{DAYS, Kind, MONTHS, Piece, pieces};
use super::entry::{Function, immutable};
use super::kernel::Call;
use super::strict::{Date, Timestamp, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{
    DAY, HOUR, MINUTE, SECOND, check_date, check_timestamp, day_of_year, days_in_month, days_of,
};
use crate::types::pg_type::oid::*;

/// What a text says by a template; 0 is what it does not say.
#[derive(Default)]
struct Read {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millis: i64,
    micros: i64,
    afternoon: bool,
    half_days: bool,
    before_christ: bool,
}

fn invalid(message: String) -> Error {
    Error::new(SqlState::INVALID_DATETIME_FORMAT, message)
}

fn wrong(text: &str, name: &str, detail: &str) -> Error {
    let shown: String = text.chars().take(name.len()).collect();
    invalid(format!("invalid value \"{shown}\" for \"{name}\"")).with_detail(detail.to_string())
}

fn is_space(c: u8) -> bool {
    c.is_ascii_whitespace() || c == b'\x0b'
}

/// What is left of a text.
struct Rest<'a> {
    text: &'a str,
    /// Characters passed over that the template did not ask for.
    extra: i64,
}

impl<'a> Rest<'a> {
    fn skip_space(&mut self) {
        let len = self.text.bytes().take_while(|&c| is_space(c)).count();
        self.text = &self.text[len..];
        self.extra += len as i64;
    }

    fn skip(&mut self, characters: usize) {
        self.text = self.text.char_indices().nth(characters).map_or("", |(at, _)| &self.text[at..]);
    }

    /// An integer with its sign and its length: all digits that are there, or those in exactly `len` bytes.
    fn number(&mut self, name: &str, len: usize, all: bool) -> Result<(i64, usize)> {
        let text = self.text;
        if !all && text.len() < len {
            let message = format!("source string too short for \"{name}\" formatting field");
            return Err(invalid(message)
                .with_detail(format!("Field requires {len} characters, but only {} remain.", text.len()))
                .with_hint("If your source string is not fixed-width, try using the \"FM\" modifier."));
        }
        let bytes = if all { text.as_bytes() } else { &text.as_bytes()[..len] };
        let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
        let used = sign + bytes[sign..].iter().take_while(|c| c.is_ascii_digit()).count();
        if used == sign {
            return Err(wrong(text, name, "Value must be an integer."));
        }
        if !all && used < len {
            let detail = format!("Field requires {len} characters, but only {used} could be parsed.");
            return Err(wrong(text, name, &detail)
                .with_hint("If your source string is not fixed-width, try using the \"FM\" modifier."));
        }
        let value: i32 = text[..used].parse().map_err(|_| {
            let message = format!("value for \"{name}\" in source string is out of range");
            Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message).with_detail(format!(
                "Value must be in the range {} to {}.",
                i32::MIN,
                i32::MAX
            ))
        })?;
        self.text = &text[used..];
        Ok((value.into(), used))
    }

    /// Which of some words comes next, whatever its case.
    fn word(&mut self, name: &str, words: &[&str]) -> Result<usize> {
        let text = self.text;
        let begins = |word: &&str| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let Some(n) = words.iter().position(begins) else {
            let word = text.split_ascii_whitespace().next().unwrap_or("");
            return Err(invalid(format!("invalid value \"{word}\" for \"{name}\""))
                .with_detail("The given value did not match any of the allowed values for this field."));
        };
        self.text = &text[words[n].len()..];
        Ok(n)
    }
}

/// A field may be read twice if it says the same.
fn set(field: &mut i64, value: i64, name: &str) -> Result<()> {
    if *field != 0 && *field != value {
        return Err(invalid(format!("conflicting values for \"{name}\" field in formatting string"))
            .with_detail("This value contradicts a previous setting for the same field type."));
    }
    *field = value;
    Ok(())
}

/// Years of fewer than four digits are the nearest to 2020 that end so.
fn near_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

fn is_separator(text: &str) -> bool {
    text.as_bytes().first().is_some_and(|c| c.is_ascii_punctuation())
}

/// Patterns that are read as digits.
fn has_digits(name: &str) -> bool {
    !matches!(
        name,
        "A.M."
            | "P.M."
            | "AM"
            | "PM"
            | "B.C."
            | "A.D."
            | "BC"
            | "AD"
            | "MONTH"
            | "MON"
            | "DAY"
            | "DY"
            | "RM"
            | "TZ"
            | "TZH"
            | "TZM"
            | "OF"
            | "FX"
    )
}

fn read(text: &str, template: &str) -> Result<Read> {
    let template = pieces(template)?;
    let mut found = Read::default();
    let mut rest = Rest { text, extra: 0 };
    let mut fixed = false;
    for (n, piece) in template.iter().enumerate() {
        if rest.text.is_empty() {
            break;
        }
        if !fixed && (n == 0 || matches!(piece, Piece::Pattern { .. })) {
            rest.skip_space();
        }
        let (name, fill, ordinal) = match piece {
            Piece::Text { kind: Kind::Letter, .. } if !fixed && rest.extra > 0 => {
                rest.extra -= 1;
                continue;
            }
            // A space or separator stands for any one, or for nothing.
            Piece::Text { kind: Kind::Space | Kind::Separator, .. } if !fixed => {
                if rest.text.bytes().next().is_some_and(is_space) || is_separator(rest.text) {
                    rest.skip(1);
                } else {
                    rest.extra -= 1;
                }
                continue;
            }
            Piece::Text { .. } => {
                rest.skip(1);
                continue;
            }
            Piece::Pattern { name, fill, ordinal, .. } => (*name, *fill, *ordinal),
        };
        let all = !fill
            || ordinal.is_some()
            || match template.get(n + 1) {
                None => true,
                Some(Piece::Pattern { name, .. }) => !has_digits(name),
                Some(Piece::Text { text, .. }) => !text.starts_with(|c: char| c.is_ascii_digit()),
            };
        pattern(name, &mut rest, all, &mut found, &mut fixed)?;
        if ordinal.is_some() {
            rest.skip(2);
        }
        if !fixed {
            rest.extra = 0;
            rest.skip_space();
        }
    }
    Ok(found)
}

/// Reads what one pattern stands for.
fn pattern(name: &str, rest: &mut Rest, all: bool, found: &mut Read, fixed: &mut bool) -> Result<()> {
    match name {
        "FX" => *fixed = true,
        "MONTH" => set(&mut found.month, rest.word(name, &MONTHS)? as i64 + 1, name)?,
        "MON" => set(&mut found.month, rest.word(name, &MONTHS.map(|month| &month[..3]))? as i64 + 1, name)?,
        "DAY" => drop(rest.word(name, &DAYS)?),
        "DY" => drop(rest.word(name, &DAYS.map(|day| &day[..3]))?),
        "AM" | "PM" | "A.M." | "P.M." => {
            let words = if name.len() == 2 { ["am", "pm"] } else { ["a.m.", "p.m."] };
            found.afternoon = rest.word(name, &words)? == 1;
            found.half_days = true;
        }
        "BC" | "AD" | "B.C." | "A.D." => {
            let words = if name.len() == 2 { ["ad", "bc"] } else { ["a.d.", "b.c."] };
            found.before_christ = rest.word(name, &words)? == 1;
        }
        "YYYY" => set(&mut found.year, rest.number(name, 4, all)?.0, name)?,
        "YYY" | "YY" | "Y" => {
            let (year, len) = rest.number(name, name.len(), all)?;
            set(&mut found.year, if len < 4 { near_2020(year) } else { year }, name)?;
        }
        "MM" => set(&mut found.month, rest.number(name, 2, all)?.0, name)?,
        "DD" => set(&mut found.day, rest.number(name, 2, all)?.0, name)?,
        "DDD" => set(&mut found.day_of_year, rest.number(name, 3, all)?.0, name)?,
        "HH24" => set(&mut found.hour, rest.number(name, 2, all)?.0, name)?,
        "HH12" | "HH" => {
            set(&mut found.hour, rest.number(name, 2, all)?.0, name)?;
            found.half_days = true;
        }
        "MI" => set(&mut found.minute, rest.number(name, 2, all)?.0, name)?,
        "SS" => set(&mut found.second, rest.number(name, 2, all)?.0, name)?,
        "MS" => {
            let (value, len) = rest.number(name, 3, all)?;
            set(&mut found.millis, value * 10i64.pow(3u32.saturating_sub(len as u32)), name)?;
        }
        "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            let digits = if name == "US" { 6 } else { usize::from(name.as_bytes()[2] - b'0') };
            let (value, len) = rest.number(name, digits, all)?;
            set(&mut found.micros, value * 10i64.pow(6u32.saturating_sub(len as u32)), name)?;
        }
        other => {
            return Err(Error::unsupported(
                format!("the template pattern {other} in to_timestamp and to_date"),
                "Use patterns of year, month, day, hour, minute and second.",
            ));
        }
    }
    Ok(())
}

/// Day number and time of day of what was read; missing fields are those of 1 BC, January 1st, midnight.
fn local_of(found: &Read, text: &str) -> Result<(i64, i64)> {
    let out_of_range =
        || Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""));
    // There is no year 0: 1 BC is the one before 1.
    let year = match if found.before_christ { -found.year } else { found.year } {
        before @ ..0 => before + 1,
        year => year,
    };
    let year = i32::try_from(year).map_err(|_| out_of_range())?;
    let (month, day) = (found.month.max(1), found.day.max(1));
    if found.month < 0 || found.day < 0 || month > 12 {
        return Err(out_of_range());
    }
    let days = if found.day_of_year != 0 && (month == 1 || day == 1) {
        if found.year == 0 && !found.before_christ {
            return Err(invalid("cannot calculate day of year without year information".to_string()));
        }
        let first = days_of(year, 1, 1);
        let in_year = i64::from(day_of_year(days_of(year, 12, 31)));
        if !(1..=in_year).contains(&found.day_of_year) {
            return Err(out_of_range());
        }
        let named = crate::types::datetime::civil(first + found.day_of_year - 1);
        // Month or day of the month may be given beside it, and are then believed.
        let month = if found.month > 1 { month as u32 } else { named.month };
        let day = if found.day > 1 { day as u32 } else { named.day };
        if day > days_in_month(year, month) {
            return Err(out_of_range());
        }
        days_of(year, month, day)
    } else {
        let (month, day) = (month as u32, u32::try_from(day).map_err(|_| out_of_range())?);
        if day > days_in_month(year, month) {
            return Err(out_of_range());
        }
        days_of(year, month, day)
    };
    let mut hour = found.hour;
    if found.half_days {
        if !(1..=12).contains(&hour) {
            return Err(invalid(format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
        hour = hour % 12 + if found.afternoon { 12 } else { 0 };
    }
    let micros = found.millis * 1000 + found.micros;
    for (value, end) in [(hour, 24), (found.minute, 60), (found.second, 60), (micros, SECOND)] {
        if !(0..end).contains(&value) {
            return Err(out_of_range());
        }
    }
    Ok((days, hour * HOUR + found.minute * MINUTE + found.second * SECOND + micros))
}

fn to_timestamp(call: &Call) -> Result<ArrayRef> {
    let zone = zone_of(call)?;
    strict2(call, |text: &str, template: &str| {
        let (days, time) = local_of(&read(text, template)?, text)?;
        let local = check_timestamp(i128::from(days) * i128::from(DAY) + i128::from(time))?;
        Ok(Timestamp(zone.to_instant(local)))
    })
}

fn to_date(call: &Call) -> Result<ArrayRef> {
    strict2(call, |text: &str, template: &str| {
        let (days, _) = local_of(&read(text, template)?, text)?;
        check_date(days).map(Date)
    })
}

pub const FUNCTIONS: &[Function] = &[
    immutable(1778, "to_timestamp", &[TEXT, TEXT], TIMESTAMPTZ, to_timestamp, "An instant from text by a template.")
        .zoned(),
    immutable(1780, "to_date", &[TEXT, TEXT], DATE, to_date, "A date from text by a template.").stable(),
];
