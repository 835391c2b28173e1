//! to_char of timestamps and intervals: Postgres's template patterns.
//!
//! Known are the patterns that reports use: HH24 HH12 HH MI SS MS US FF1-FF6 SSSS AM PM Y YYY YYYY Y,YYY IYYY MM MON
//! MONTH D DD DDD ID IDDD DAY DY W WW IW CC J Q RM BC AD TZ OF, their lower and mixed case, FM and TH, text in double
//! quotes. SP is refused (0A000).

use arrow::array::ArrayRef;

use super::date_arithmetic::zone_of;
use super::entry::{Function, immutable};
use super::kernel::{Call, Last};
use super::strict::{Interval, Timestamp, text2_or_null};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{HOUR, MINUTE, SECOND, civil, day_of_week, day_of_year, iso_week, split};
use crate::types::pg_type::oid::*;
use crate::types::{Zone, interval};

pub(super) const MONTHS: [&str; 12] = [
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
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Patterns, longer ones before those they begin with.
const PATTERNS: &[&str] = &[
    "SSSSS", "SSSS", "HH24", "HH12", "HH", "MI", "SS", "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "A.M.",
    "P.M.", "AM", "PM", "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "IDDD", "ID", "IW", "I", "B.C.",
    "A.D.", "BC", "AD", "MONTH", "MON", "MM", "DAY", "DDD", "DD", "DY", "D", "WW", "W", "CC", "J", "Q", "RM", "TZH",
    "TZM", "TZ", "OF", "FX",
];

/// What a character of a template is that belongs to no pattern. One in quotes is a letter, whatever it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Space,
    Separator,
    Letter,
}

/// A piece of a template; texts are of one character.
pub(super) enum Piece<'a> {
    Text { text: &'a str, kind: Kind },
    Pattern { name: &'static str, written: &'a str, fill: bool, ordinal: Option<bool> },
}

/// Patterns are written in one case, and names of months and days also with a capital alone.
fn begins_with(rest: &str, pattern: &str) -> bool {
    let Some(head) = rest.get(..pattern.len()) else { return false };
    let small = |text: &str| text.bytes().all(|c| !c.is_ascii_uppercase());
    head.eq_ignore_ascii_case(pattern)
        && (head == pattern || small(head) || matches!(pattern, "MONTH" | "MON" | "DAY" | "DY") && small(&head[1..]))
}

/// Takes the first character.
fn one<'a>(rest: &mut &'a str) -> &'a str {
    let (head, tail) = rest.split_at(rest.chars().next().map_or(0, char::len_utf8));
    *rest = tail;
    head
}

/// The template's pieces in order. 0A000 for SP.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece<'_>>> {
    let mut out = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            while !rest.is_empty() {
                if let Some(after) = rest.strip_prefix('"') {
                    rest = after;
                    break;
                }
                rest = rest.strip_prefix('\\').filter(|after| !after.is_empty()).unwrap_or(rest);
                out.push(Piece::Text { text: one(&mut rest), kind: Kind::Letter });
            }
            continue;
        }
        // TM is in the words of the locale, which are English here, and without blanks as those are.
        let mut fill = true;
        if let Some(after) = ["FM", "fm", "TM", "tm"].iter().find_map(|prefix| rest.strip_prefix(prefix)) {
            fill = false;
            rest = after;
        }
        // A.D., B.C. and the like apart, letters that are no pattern stand for themselves.
        match PATTERNS.iter().find(|pattern| begins_with(rest, pattern)) {
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
            None if rest.is_empty() => {}
            None => {
                rest = rest.strip_prefix('\\').filter(|after| after.starts_with('"')).unwrap_or(rest);
                let text = one(&mut rest);
                let kind = match text.as_bytes()[0] {
                    c if c.is_ascii_punctuation() => Kind::Separator,
                    b' ' | b'\t'..=b'\r' => Kind::Space,
                    _ => Kind::Letter,
                };
                out.push(Piece::Text { text, kind });
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
            Piece::Text { text, .. } => {
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
            "FX" => Some(String::new()),
            "RM" if fields.month == 0 && fields.year == 0 => Some(String::new()),
            "MONTH" => Some(text_padded(cased(MONTHS[fields.month as usize - 1], written), 9)),
            "MON" => Some(cased(&MONTHS[fields.month as usize - 1][..3], written)),
            "RM" => {
                // Months before zero count from December, and so do whole years from their other end.
                let month = match fields.month {
                    0 if fields.year < 0 => 0,
                    month => (month + 11).rem_euclid(12) as usize + usize::from(month < 0),
                };
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
            "DDD" => {
                let span = (fields.year * 12 + fields.month) * 30 + fields.day;
                (fields.days.map_or(span, |days| day_of_year(days).into()), 3)
            }
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
        // Days count their sign among their digits.
        let width = if matches!(name, "DD" | "DDD") { width - usize::from(value < 0 && width > 1) } else { width };
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

const TO_CHAR: &str = "A value by a template: 'YYYY-MM-DD HH24:MI'.";

pub const FUNCTIONS: &[Function] = &[
    immutable(2049, "to_char", &[TIMESTAMP, TEXT], TEXT, timestamp_to_char, TO_CHAR).stable(),
    immutable(1770, "to_char", &[TIMESTAMPTZ, TEXT], TEXT, timestamptz_to_char, TO_CHAR).zoned(),
    immutable(1768, "to_char", &[INTERVAL, TEXT], TEXT, interval_to_char, TO_CHAR).stable(),
];
