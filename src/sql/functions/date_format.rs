//! to_char of timestamps and intervals, to_timestamp and to_date: Postgres's template patterns.
//!
//! Known are the patterns that reports use: HH24 HH12 HH MI SS MS US FF1-FF6 SSSS AM PM Y YYY YYYY Y,YYY IYYY MM MON
//! MONTH D DD DDD ID IDDD DAY DY W WW IW CC J Q RM BC AD TZ OF, their lower and mixed case, FM and TH, text in double
//! quotes. SP is refused (0A000).

use arrow::array::ArrayRef;

use super::date_arithmetic::zone_of;
use super::entry::{Function, immutable};
use super::kernel::{Call, Last};
use super::strict::{Date, Interval, Timestamp, strict2, text2_or_null};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{
    DAY, HOUR, MINUTE, SECOND, check_date, check_timestamp, civil, day_of_week, day_of_year, days_in_month, days_of,
    iso_week, split,
};
use crate::types::pg_type::oid::*;
use crate::types::{Zone, interval};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Patterns, longer ones before those they begin with.
const PATTERNS: &[&str] = &[
    "SSSSS", "SSSS", "HH24", "HH12", "HH", "MI", "SS", "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "A.M.",
    "P.M.", "AM", "PM", "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "IDDD", "ID", "IW", "I", "B.C.",
    "A.D.", "BC", "AD", "MONTH", "MON", "MM", "DAY", "DDD", "DD", "DY", "D", "WW", "W", "CC", "J", "Q", "RM", "TZH",
    "TZM", "TZ", "OF",
];

/// A piece of a template.
enum Piece<'a> {
    Text(&'a str),
    Pattern { name: &'static str, written: &'a str, fill: bool, ordinal: Option<bool> },
}

/// The template's pieces in order. 0A000 for SP.
fn pieces(template: &str) -> Result<Vec<Piece<'_>>> {
    let mut out = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push(Piece::Text(&quoted[..end]));
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let begins = |word: &str| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let mut fill = true;
        // TM is in the words of the locale, which are English here, and without blanks as those are.
        if begins("FM") || begins("TM") {
            fill = false;
            rest = &rest[2..];
        }
        let begins = |word: &str| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        // A.D., B.C. and the like apart, letters that are no pattern stand for themselves.
        match PATTERNS.iter().find(|pattern| begins(pattern)) {
            Some(name) => {
                let (written, after) = rest.split_at(name.len());
                rest = after;
                let ordinal = match rest.get(..2) {
                    Some("TH") => Some(true),
                    Some("th") => Some(false),
                    Some("SP") => {
                        return Err(Error::unsupported("the template pattern SP", "Write numbers in digits."));
                    }
                    _ => None,
                };
                if ordinal.is_some() {
                    rest = &rest[2..];
                }
                out.push(Piece::Pattern { name, written, fill, ordinal });
            }
            None => {
                let end = rest.chars().next().map_or(rest.len(), char::len_utf8);
                out.push(Piece::Text(&rest[..end]));
                rest = &rest[end..];
            }
        }
    }
    Ok(out)
}

/// The fields a template shows.
struct Shown {
    year: i64,
    month: i64,
    day: i64,
    /// `None` for an interval, which has no calendar day.
    days: Option<i64>,
    hour: i64,
    /// Microseconds within the hour.
    time: i64,
    zone: Option<(Zone, i64)>,
}

impl Shown {
    fn of_local(local: i64, zone: Option<(Zone, i64)>) -> Shown {
        let (days, time) = split(local);
        let date = civil(days);
        Shown {
            year: date.year.into(),
            month: date.month.into(),
            day: date.day.into(),
            days: Some(days),
            hour: time / HOUR,
            time: time % HOUR,
            zone,
        }
    }
}

fn cased(text: &str, written: &str) -> String {
    let mut letters = written.chars().filter(|c| c.is_alphabetic());
    match (letters.next().is_some_and(char::is_uppercase), letters.next().is_some_and(char::is_uppercase)) {
        (true, true) => text.to_uppercase(),
        (true, false) => text.to_string(),
        _ => text.to_lowercase(),
    }
}

fn ordinal_of(value: i64) -> &'static str {
    match (value.abs() % 100, value.abs() % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

fn no_calendar() -> Error {
    Error::new(SqlState::INVALID_DATETIME_FORMAT, "invalid format specification for an interval value")
        .with_hint("Intervals are not tied to specific calendar dates.")
}

fn shown(template: &[Piece], fields: &Shown, out: &mut String) -> Result<()> {
    for piece in template {
        let (name, written, fill, ordinal) = match piece {
            Piece::Text(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Pattern { name, written, fill, ordinal } => (*name, *written, *fill, *ordinal),
        };
        let days = || fields.days.ok_or_else(no_calendar);
        let hour12 = if fields.hour % 12 == 0 { 12 } else { fields.hour % 12 };
        let seconds = fields.time % MINUTE / SECOND;
        let micros = fields.time % SECOND;
        let year = if fields.year <= 0 && fields.days.is_some() { 1 - fields.year } else { fields.year };
        let text_padded = |text: String, width: usize| if fill { format!("{text:<width$}") } else { text };
        // Patterns that are words.
        let word = match name {
            "MONTH" | "MON" | "BC" | "AD" | "B.C." | "A.D." if fields.days.is_none() => return Err(no_calendar()),
            "AM" | "PM" => Some(cased(if fields.hour % 24 >= 12 { "PM" } else { "AM" }, &upper_pair(written))),
            "A.M." | "P.M." => Some(cased(if fields.hour % 24 >= 12 { "P.M." } else { "A.M." }, &upper_pair(written))),
            "BC" | "AD" => Some(cased(if fields.year <= 0 { "BC" } else { "AD" }, &upper_pair(written))),
            "B.C." | "A.D." => Some(cased(if fields.year <= 0 { "B.C." } else { "A.D." }, &upper_pair(written))),
            "RM" if fields.month == 0 => Some(String::new()),
            "MONTH" => Some(text_padded(cased(MONTHS[fields.month as usize - 1], written), 9)),
            "MON" => Some(cased(&MONTHS[fields.month as usize - 1][..3], written)),
            "RM" => {
                let month = (fields.month + 11).rem_euclid(12) as usize;
                Some(text_padded(cased(ROMAN[month], &upper_pair(written)), 4))
            }
            "DAY" => Some(text_padded(cased(DAYS[day_of_week(days()?) as usize], written), 9)),
            "DY" => Some(cased(&DAYS[day_of_week(days()?) as usize][..3], written)),
            "TZ" => {
                let (zone, at) = fields.zone.as_ref().map_or((Zone::UTC, 0), |(zone, at)| (*zone, *at));
                let name = if fields.zone.is_some() { zone.abbreviation_at(at) } else { String::new() };
                Some(cased(&name, &upper_pair(written)))
            }
            "OF" | "TZH" | "TZM" => {
                let offset = fields.zone.as_ref().map_or(0, |(zone, at)| zone.offset_at(*at));
                let sign = if offset < 0 { '-' } else { '+' };
                let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
                Some(match (name, minutes) {
                    ("OF", 0) | ("TZH", _) => format!("{sign}{hours:02}"),
                    ("OF", _) => format!("{sign}{hours:02}:{minutes:02}"),
                    _ => format!("{minutes:02}"),
                })
            }
            _ => None,
        };
        if let Some(word) = word {
            out.push_str(&word);
            continue;
        }
        let iso = |days: i64| {
            let year = i64::from(iso_week(days).0);
            if year <= 0 { 1 - year } else { year }
        };
        let (value, width) = match name {
            "HH24" => (fields.hour, 2),
            "HH12" | "HH" => (hour12, 2),
            "MI" => (fields.time / MINUTE, 2),
            "SS" => (seconds, 2),
            "MS" => (micros / 1000, 3),
            "US" => (micros, 6),
            "SSSS" | "SSSSS" => (fields.hour * 3600 + fields.time / SECOND, 1),
            "YYYY" => (year, 4),
            "YYY" => (year % 1000, 3),
            "YY" => (year % 100, 2),
            "Y" => (year % 10, 1),
            "IYYY" => (iso(days()?), 4),
            "IYY" => (iso(days()?) % 1000, 3),
            "IY" => (iso(days()?) % 100, 2),
            "I" => (iso(days()?) % 10, 1),
            "MM" => (fields.month, 2),
            "DDD" => (fields.days.map_or(fields.day, |days| day_of_year(days).into()), 3),
            "DD" => (fields.day, 2),
            "D" => (i64::from(day_of_week(days()?)) + 1, 1),
            "ID" => ((i64::from(day_of_week(days()?)) + 6) % 7 + 1, 1),
            "IDDD" => {
                let days = days()?;
                ((i64::from(iso_week(days).1) - 1) * 7 + (i64::from(day_of_week(days)) + 6) % 7 + 1, 3)
            }
            "W" => ((fields.day - 1) / 7 + 1, 1),
            "WW" => ((i64::from(day_of_year(days()?)) - 1) / 7 + 1, 2),
            "IW" => (iso_week(days()?).1.into(), 2),
            "CC" => (if fields.year > 0 { (fields.year + 99) / 100 } else { -((99 - (fields.year - 1)) / 100) }, 2),
            "J" => (days()? + 2_440_588, 1),
            "Q" => ((fields.month - 1) / 3 + 1, 1),
            "Y,YYY" => {
                let text = format!("{},{:03}", year / 1000, year % 1000);
                out.push_str(&text);
                continue;
            }
            fraction => {
                // FF1 to FF6.
                let digits = u32::from(fraction.as_bytes()[2] - b'0');
                (micros / 10i64.pow(6 - digits), digits as usize)
            }
        };
        let sign = if value < 0 { "-" } else { "" };
        let magnitude = value.unsigned_abs();
        let never_bare = matches!(name, "MS" | "US") || name.starts_with("FF");
        let width = if fill || never_bare { width } else { 1 };
        out.push_str(&format!("{sign}{magnitude:0width$}"));
        if let Some(upper) = ordinal {
            let suffix = ordinal_of(value);
            out.push_str(&if upper { suffix.to_uppercase() } else { suffix.to_string() });
        }
    }
    Ok(())
}

/// AM, BC, TZ and RM are in capitals or not as their first letter is.
fn upper_pair(written: &str) -> String {
    if written.starts_with(char::is_uppercase) { written.to_uppercase() } else { written.to_lowercase() }
}

fn timestamp_to_char(call: &Call) -> Result<ArrayRef> {
    let templates = Last::default();
    text2_or_null(call, |at: Timestamp, template: &str, out| {
        if matches!(at.0, i64::MAX | i64::MIN) || template.is_empty() {
            return Ok(false);
        }
        shown(&templates.get(template, pieces)?, &Shown::of_local(at.0, None), out)?;
        Ok(true)
    })
}

fn timestamptz_to_char(call: &Call) -> Result<ArrayRef> {
    let zone = zone_of(call)?;
    let templates = Last::default();
    text2_or_null(call, |at: Timestamp, template: &str, out| {
        if matches!(at.0, i64::MAX | i64::MIN) || template.is_empty() {
            return Ok(false);
        }
        shown(&templates.get(template, pieces)?, &Shown::of_local(zone.to_local(at.0), Some((zone, at.0))), out)?;
        Ok(true)
    })
}

fn interval_to_char(call: &Call) -> Result<ArrayRef> {
    let templates = Last::default();
    text2_or_null(call, |value: Interval, template: &str, out| {
        if template.is_empty() {
            return Ok(false);
        }
        let time = interval::micros(&value);
        let fields = Shown {
            year: i64::from(value.months / 12),
            month: i64::from(value.months % 12),
            day: i64::from(value.days),
            days: None,
            hour: time / HOUR,
            time: time % HOUR,
            zone: None,
        };
        shown(&templates.get(template, pieces)?, &fields, out)?;
        Ok(true)
    })
}

/// What a text says by a template.
#[derive(Default)]
struct Read {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: i64,
    time: i64,
    afternoon: Option<bool>,
    before_christ: bool,
}

fn wrong(text: &str, name: &str, detail: &str) -> Error {
    let shown: String = text.chars().take(name.len()).collect();
    Error::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid value \"{shown}\" for \"{name}\""))
        .with_detail(detail.to_string())
}

/// Digits at the beginning, at most `most`, and what follows; where digits of another pattern follow, exactly so many.
fn digits<'a>(text: &'a str, name: &str, most: usize) -> Result<(i64, usize, &'a str)> {
    let text = text.trim_start();
    let len = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if len == 0 {
        return Err(wrong(text, name, "Value must be an integer."));
    }
    let value = text[..len].parse().map_err(|_| wrong(text, name, "Value must be an integer."))?;
    Ok((value, len, &text[len..]))
}

fn read(text: &str, template: &str) -> Result<Read> {
    let mut found = Read::default();
    let mut rest = text.trim_start();
    let template = pieces(template)?;
    let mut template = template.iter().peekable();
    while let Some(piece) = template.next() {
        let (name, ordinal) = match piece {
            Piece::Text(separator) => {
                // A separator or space matches any one separator, or nothing.
                let is_letter = separator.starts_with(char::is_alphanumeric);
                match rest.chars().next() {
                    Some(c)
                        if is_letter
                            || !c.is_alphanumeric() && !(matches!(c, '+' | '-') && separator.trim().is_empty()) =>
                    {
                        let skip = if is_letter { separator.chars().count() } else { 1 };
                        rest = rest.char_indices().nth(skip).map_or("", |(at, _)| &rest[at..]);
                    }
                    _ => {}
                }
                continue;
            }
            Piece::Pattern { name, ordinal, .. } => (*name, *ordinal),
        };
        if rest.is_empty() {
            break;
        }
        let trimmed = rest.trim_start();
        let begins = |word: &str| trimmed.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        // Before another pattern of digits the width is exact, else a number may be longer.
        let adjacent = matches!(template.peek(), Some(Piece::Pattern { .. }));
        let width = |own: usize| if adjacent { own } else { own.max(2) };
        let value;
        match name {
            "MONTH" | "MON" => {
                let full = MONTHS.iter().position(|month| begins(month)).map(|n| (n, MONTHS[n].len()));
                let short = || MONTHS.iter().position(|month| begins(&month[..3])).map(|n| (n, 3));
                let of_name = if name == "MONTH" { full.or_else(short) } else { short() };
                let missing = "The given value did not match any of the allowed values for this field.";
                let (n, len) = of_name.ok_or_else(|| wrong(trimmed, name, missing))?;
                found.month = Some(n as u32 + 1);
                rest = &trimmed[len..];
            }
            "DAY" | "DY" => {
                let len = DAYS.iter().find(|day| begins(day)).map(|day| day.len()).unwrap_or(3);
                rest = trimmed.get(len..).unwrap_or("");
            }
            "AM" | "PM" | "A.M." | "P.M." => {
                let hit = ["a.m.", "p.m.", "am", "pm"].into_iter().find(|word| begins(word));
                let missing = "The given value did not match any of the allowed values for this field.";
                let hit = hit.ok_or_else(|| wrong(trimmed, name, missing))?;
                found.afternoon = Some(hit.starts_with('p'));
                rest = &trimmed[hit.len()..];
            }
            "BC" | "AD" | "B.C." | "A.D." => {
                let hit = ["b.c.", "a.d.", "bc", "ad"].into_iter().find(|word| begins(word));
                if let Some(hit) = hit {
                    found.before_christ = hit.starts_with('b');
                    rest = &trimmed[hit.len()..];
                }
            }
            "YYYY" | "YYY" | "YY" | "Y" => {
                let own = if name == "YYYY" && !adjacent { 9 } else { name.len().max(if adjacent { 1 } else { 4 }) };
                let (year, len, after) = digits(trimmed, name, own)?;
                found.year = Some(match len {
                    1 | 2 if year < 70 => 2000 + year,
                    1 | 2 => 1900 + year,
                    3 if name == "YYY" => 2000 + year,
                    _ => year,
                });
                rest = after;
            }
            "MM" => {
                (value, _, rest) = digits(trimmed, name, width(2))?;
                found.month = Some(value as u32);
            }
            "DD" => {
                (value, _, rest) = digits(trimmed, name, width(2))?;
                found.day = Some(value as u32);
            }
            "DDD" => {
                (value, _, rest) = digits(trimmed, name, width(3))?;
                found.day_of_year = Some(value as u32);
            }
            "HH24" | "HH12" | "HH" => {
                (value, _, rest) = digits(trimmed, name, width(2))?;
                if name != "HH24" && !(1..=12).contains(&value) {
                    return Err(Error::new(
                        SqlState::INVALID_DATETIME_FORMAT,
                        format!("hour \"{value}\" is invalid for the 12-hour clock"),
                    )
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
                }
                found.hour = value;
            }
            "MI" => {
                (value, _, rest) = digits(trimmed, name, width(2))?;
                found.time += checked(value, 59, text)? * MINUTE;
            }
            "SS" => {
                (value, _, rest) = digits(trimmed, name, width(2))?;
                found.time += checked(value, 59, text)? * SECOND;
            }
            "MS" | "US" => {
                let places = if name == "MS" { 3 } else { 6 };
                let (value, len, after) = digits(trimmed, name, places)?;
                found.time += value * 10i64.pow(6 - len.min(6) as u32);
                rest = after;
            }
            fraction if fraction.starts_with("FF") => {
                let (value, len, after) = digits(trimmed, name, usize::from(fraction.as_bytes()[2] - b'0'))?;
                found.time += value * 10i64.pow(6 - len as u32);
                rest = after;
            }
            other => {
                return Err(Error::unsupported(
                    format!("the template pattern {other} in to_timestamp and to_date"),
                    "Use patterns of year, month, day, hour, minute and second.",
                ));
            }
        }
        if ordinal.is_some() {
            rest = rest.get(2..).unwrap_or("");
        }
    }
    Ok(found)
}

fn out_of_range(text: &str) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
}

fn checked(value: i64, greatest: i64, text: &str) -> Result<i64> {
    if (0..=greatest).contains(&value) { Ok(value) } else { Err(out_of_range(text)) }
}

/// Day number and time of day of what was read; missing fields are those of 1 BC, January 1st, midnight.
fn local_of(found: &Read, text: &str) -> Result<(i64, i64)> {
    let year = found.year.unwrap_or(0);
    let year = if found.before_christ { 1 - year } else { year };
    let year = i32::try_from(year).map_err(|_| out_of_range(text))?;
    let days = match found.day_of_year {
        Some(day) => days_of(year, 1, 1) + i64::from(day) - 1,
        None => {
            let (month, day) = (found.month.unwrap_or(1), found.day.unwrap_or(1));
            if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
                return Err(out_of_range(text));
            }
            days_of(year, month, day)
        }
    };
    let hour = match found.afternoon {
        Some(afternoon) => found.hour % 12 + if afternoon { 12 } else { 0 },
        None => checked(found.hour, 24, text)?,
    };
    let time = hour * HOUR + found.time;
    if time > DAY {
        return Err(out_of_range(text));
    }
    Ok((days, time))
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

const TO_CHAR: &str = "A value by a template: 'YYYY-MM-DD HH24:MI'.";

pub const FUNCTIONS: &[Function] = &[
    immutable(2049, "to_char", &[TIMESTAMP, TEXT], TEXT, timestamp_to_char, TO_CHAR).stable(),
    immutable(1770, "to_char", &[TIMESTAMPTZ, TEXT], TEXT, timestamptz_to_char, TO_CHAR).zoned(),
    immutable(1768, "to_char", &[INTERVAL, TEXT], TEXT, interval_to_char, TO_CHAR).stable(),
    immutable(1778, "to_timestamp", &[TEXT, TEXT], TIMESTAMPTZ, to_timestamp, "An instant from text by a template.")
        .zoned(),
    immutable(1780, "to_date", &[TEXT, TEXT], DATE, to_date, "A date from text by a template.").stable(),
];
