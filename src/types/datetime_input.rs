//! Reading dates and times as people write them: ISO 8601 first and fast, then the other forms Postgres takes with its
//! default DateStyle (ISO, MDY): `Jan 5 2024 3:04 PM`, `1/5/2024`, `20240105T030405`, `2024-01-05 03:04+02`, `today`.

use super::datetime::{DAY, HOUR, MINUTE, SECOND, check_timestamp, days_in_month, days_of};
use super::iso;
use super::zone::{self, Zone};
use crate::error::{Error, Result, SqlState};

/// What a text says, before a type takes its part of it.
#[derive(Clone, Copy, Debug, Default)]
struct Parsed {
    days: Option<i64>,
    time: Option<i64>,
    zone: Option<Zone>,
    special: Option<Special>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Special {
    Infinity,
    NegativeInfinity,
    Now,
}

enum Fault {
    Syntax,
    Range,
    /// A month or day out of range: perhaps the fields are in another order.
    Order,
}

fn error(fault: Fault, text: &str, ty: &str) -> Error {
    let range = format!("date/time field value out of range: \"{text}\"");
    match fault {
        Fault::Syntax => {
            Error::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid input syntax for type {ty}: \"{text}\""))
        }
        Fault::Range => Error::new(SqlState::DATETIME_FIELD_OVERFLOW, range),
        Fault::Order => Error::new(SqlState::DATETIME_FIELD_OVERFLOW, range)
            .with_hint("Perhaps you need a different \"datestyle\" setting."),
    }
}

/// What `now` and `today` in a literal refer to, and the zone of what says none.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub zone: Zone,
    /// Microseconds since 1970 UTC; `None` where there is no statement (COPY), and `now` is an error.
    pub now: Option<i64>,
}

/// Days since 1970. Errors: 22007, 22008.
pub fn parse_date(text: &str, clock: &Clock) -> Result<i32> {
    let fail = |fault| error(fault, text, "date");
    let parsed = parse(text, clock).map_err(fail)?;
    match parsed.special {
        Some(Special::Infinity) => return Ok(i32::MAX),
        Some(Special::NegativeInfinity) => return Ok(i32::MIN),
        Some(Special::Now) => {
            let now = clock.now.ok_or_else(|| fail(Fault::Syntax))?;
            return super::datetime::check_date(clock.zone.to_local(now).div_euclid(DAY));
        }
        None => {}
    }
    let days = parsed.days.ok_or_else(|| fail(Fault::Syntax))?;
    super::datetime::check_date(days)
        .map_err(|_| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date out of range: \"{text}\"")))
}

/// Microseconds since midnight; 24:00 is the end of the day. Errors: 22007, 22008.
pub fn parse_time(text: &str, clock: &Clock) -> Result<i64> {
    if let Some(time) = iso::time(text) {
        return Ok(time);
    }
    let fail = |fault| error(fault, text, "time");
    let parsed = match iso::timestamp(text) {
        Some(_) => parse(text, clock),
        None => general(text, clock, true),
    };
    let parsed = parsed.map_err(fail)?;
    if parsed.special == Some(Special::Now) {
        let now = clock.now.ok_or_else(|| fail(Fault::Syntax))?;
        return Ok(clock.zone.to_local(now).rem_euclid(DAY));
    }
    parsed.time.filter(|_| parsed.special.is_none()).ok_or_else(|| fail(Fault::Syntax))
}

/// Local microseconds since 1970; a zone in the text is ignored, as the standard wants. Errors: 22007, 22008.
pub fn parse_timestamp(text: &str, clock: &Clock) -> Result<i64> {
    let fail = |fault| error(fault, text, "timestamp");
    let parsed = parse(text, clock).map_err(fail)?;
    match parsed.special {
        Some(Special::Infinity) => return Ok(i64::MAX),
        Some(Special::NegativeInfinity) => return Ok(i64::MIN),
        Some(Special::Now) => return Ok(clock.zone.to_local(clock.now.ok_or_else(|| fail(Fault::Syntax))?)),
        None => {}
    }
    local(&parsed, text, "timestamp")
}

/// Microseconds since 1970 UTC; without a zone in the text, the clock's holds. Errors: 22007, 22008.
pub fn parse_timestamptz(text: &str, clock: &Clock) -> Result<i64> {
    const NAME: &str = "timestamp with time zone";
    let fail = |fault| error(fault, text, NAME);
    let parsed = parse(text, clock).map_err(fail)?;
    match parsed.special {
        Some(Special::Infinity) => return Ok(i64::MAX),
        Some(Special::NegativeInfinity) => return Ok(i64::MIN),
        Some(Special::Now) => return clock.now.ok_or_else(|| fail(Fault::Syntax)),
        None => {}
    }
    let local = local(&parsed, text, NAME)?;
    in_range(i128::from(parsed.zone.unwrap_or(clock.zone).to_instant(local)), text)
}

fn local(parsed: &Parsed, text: &str, ty: &str) -> Result<i64> {
    let days = parsed.days.ok_or_else(|| error(Fault::Syntax, text, ty))?;
    let micros = i128::from(days) * i128::from(DAY) + i128::from(parsed.time.unwrap_or(0));
    in_range(micros, text)
}

fn in_range(micros: i128, text: &str) -> Result<i64> {
    check_timestamp(micros)
        .map_err(|_| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{text}\"")))
}

fn parse(text: &str, clock: &Clock) -> Result<Parsed, Fault> {
    if let Some(written) = iso::timestamp(text) {
        let (days, zone) = (Some(i64::from(written.days)), written.zone.map(Zone::Fixed));
        return Ok(Parsed { days, time: written.time, zone, special: None });
    }
    general(text, clock, false)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Field {
    Year(i32),
    /// Of two digits.
    ShortYear(u32),
    Month(u32),
    /// A day, or a year, or in `1/8/1999` a month: by position.
    Number(u32, usize),
}

/// `of_day`: a time is asked for, so that digits alone are one.
fn general(text: &str, clock: &Clock, of_day: bool) -> Result<Parsed, Fault> {
    let mut parsed = Parsed::default();
    let mut fields: Vec<Field> = Vec::new();
    let (mut before_christ, mut afternoon) = (false, None);
    let lower = text.trim().to_ascii_lowercase();
    if lower.is_empty() {
        return Err(Fault::Syntax);
    }
    let mut julian = None;
    for word in lower.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty()) {
        let first = word.as_bytes()[0];
        match word {
            "infinity" | "+infinity" => parsed.special = Some(Special::Infinity),
            "-infinity" => parsed.special = Some(Special::NegativeInfinity),
            "now" => parsed.special = Some(Special::Now),
            "epoch" => (parsed.days, parsed.time, parsed.zone) = (Some(0), Some(0), Some(Zone::UTC)),
            "today" | "tomorrow" | "yesterday" => {
                let shift = match word {
                    "tomorrow" => 1,
                    "yesterday" => -1,
                    _ => 0,
                };
                let now = clock.now.ok_or(Fault::Syntax)?;
                parsed.days = Some(clock.zone.to_local(now).div_euclid(DAY) + shift);
                parsed.time.get_or_insert(0);
            }
            "allballs" => (parsed.time, parsed.zone) = (Some(0), Some(Zone::UTC)),
            "ad" => {}
            "bc" => before_christ = true,
            "am" => afternoon = Some(false),
            "pm" => afternoon = Some(true),
            "at" | "on" => {}
            _ if parsed.time.is_none()
                && (of_day || parsed.days.is_some() || !fields.is_empty())
                && is_bare_time(word, of_day, lower.contains(':')) =>
            {
                time_word(word.trim_start_matches('t'), &mut parsed, &mut afternoon)?;
            }
            _ if first.is_ascii_digit() => number_word(word, &mut parsed, &mut fields, &mut afternoon)?,
            _ if matches!(first, b'+' | b'-') && parsed.time.is_some() => {
                parsed.zone = Some(Zone::Fixed(zone::parse_offset(word).ok_or(Fault::Syntax)?));
            }
            _ if first == b'j' && word.len() > 5 && word[1..].bytes().all(|c| c.is_ascii_digit()) => {
                let number: i64 = word[1..].parse().map_err(|_| Fault::Range)?;
                julian = Some(number - 2_440_588);
            }
            _ => {
                if let Some(month) = month_of(word) {
                    fields.push(Field::Month(month));
                } else if is_weekday(word) {
                } else if word.contains('-') && date_word(word, &mut fields).is_ok() {
                } else if word == "t" && parsed.time.is_none() {
                } else {
                    parsed.zone = Some(zone::named(word).ok_or(Fault::Syntax)?);
                }
            }
        }
    }
    if let Some(after_noon) = afternoon {
        let time = parsed.time.ok_or(Fault::Syntax)?;
        if time >= 13 * HOUR {
            return Err(Fault::Range);
        }
        parsed.time = Some(time % (12 * HOUR) + if after_noon { 12 * HOUR } else { 0 });
    }
    if let Some(days) = julian {
        parsed.days = Some(days);
    } else if !fields.is_empty() {
        parsed.days = Some(date_of(&fields, before_christ)?);
    }
    if parsed.days.is_none() && parsed.time.is_none() && parsed.special.is_none() {
        return Err(Fault::Syntax);
    }
    Ok(parsed)
}

/// `0405`, `040506`, `040506.7`, and where a time is asked for also `T04:05:06`: a time without colons. Four digits may be
/// a year, unless a time is asked for and nothing else is one.
fn is_bare_time(word: &str, of_day: bool, colons: bool) -> bool {
    let (digits, marked) = match word.strip_prefix('t') {
        Some(rest) => (rest, true),
        None => (word, false),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let bare = all_digits(whole) && all_digits(fraction) && matches!(whole.len(), 4 | 6);
    match marked {
        true => of_day && (bare || digits.contains(':')),
        false => bare && (of_day && !colons || whole.len() == 6),
    }
}

/// A word that begins with a digit: a date, a time, both joined by T, or a bare number.
fn number_word(
    word: &str,
    parsed: &mut Parsed,
    fields: &mut Vec<Field>,
    afternoon: &mut Option<bool>,
) -> Result<(), Fault> {
    if let Some(colon) = word.find(':') {
        if let Some(t) = word.find('t').filter(|&t| t < colon) {
            date_word(&word[..t], fields)?;
            return time_word(&word[t + 1..], parsed, afternoon);
        }
        return time_word(word, parsed, afternoon);
    }
    if let Some((date, time)) = word.split_once('t')
        && !time.is_empty()
        && time.as_bytes()[0].is_ascii_digit()
    {
        date_word(date, fields)?;
        return time_word(time, parsed, afternoon);
    }
    if word.contains(['-', '/', '.']) {
        return date_word(word, fields);
    }
    let letters = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    match &word[letters..] {
        "" => {}
        "am" | "pm" if parsed.time.is_none() => {
            let hour: i64 = word[..letters].parse().map_err(|_| Fault::Range)?;
            parsed.time = Some(hour.min(24) * HOUR);
            *afternoon = Some(&word[letters..] == "pm");
            return Ok(());
        }
        "st" | "nd" | "rd" | "th" => {}
        _ => return date_word(word, fields),
    }
    let digits = &word[..letters];
    let value: u32 = digits.parse().map_err(|_| Fault::Range)?;
    match digits.len() {
        8 if fields.is_empty() => {
            fields.push(Field::Year((value / 10_000) as i32));
            fields.push(Field::Month(value / 100 % 100));
            fields.push(Field::Number(value % 100, 2));
        }
        6 if !fields.is_empty() || parsed.days.is_some() => time_word(digits, parsed, afternoon)?,
        6 => {
            // Six digits stand for a date of two-digit years, or for a time where a date is known.
            fields.push(Field::ShortYear(value / 10_000));
            fields.push(Field::Month(value / 100 % 100));
            fields.push(Field::Number(value % 100, 2));
        }
        length => fields.push(Field::Number(value, length)),
    }
    Ok(())
}

fn two_digit_year(value: u32) -> i32 {
    if value < 70 { 2000 + value as i32 } else { 1900 + value as i32 }
}

/// `1999-01-08`, `1/8/1999`, `08-Jan-1999`, `1999.008`.
fn date_word(word: &str, fields: &mut Vec<Field>) -> Result<(), Fault> {
    if word.len() == 8 && word.bytes().all(|c| c.is_ascii_digit()) {
        let value: u32 = word.parse().map_err(|_| Fault::Range)?;
        fields.push(Field::Year((value / 10_000) as i32));
        fields.push(Field::Month(value / 100 % 100));
        fields.push(Field::Number(value % 100, 2));
        return Ok(());
    }
    let parts: Vec<&str> = word.split(['-', '/', '.']).collect();
    if !(2..=3).contains(&parts.len()) {
        return Err(Fault::Syntax);
    }
    if let [year, day] = parts[..] {
        // Year and day of the year.
        if year.len() != 4 || day.len() != 3 {
            return Err(Fault::Syntax);
        }
        let (year, day): (i32, u32) =
            (year.parse().map_err(|_| Fault::Syntax)?, day.parse().map_err(|_| Fault::Syntax)?);
        let date = super::datetime::civil(days_of(year, 1, 1) + i64::from(day) - 1);
        fields.extend([Field::Year(date.year), Field::Month(date.month), Field::Number(date.day, 2)]);
        return Ok(());
    }
    for part in parts {
        if let Some(month) = month_of(part) {
            fields.push(Field::Month(month));
        } else if !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()) {
            fields.push(Field::Number(part.parse().map_err(|_| Fault::Range)?, part.len()));
        } else {
            return Err(Fault::Syntax);
        }
    }
    Ok(())
}

/// The day number of year, month and day in whichever order Postgres's MDY rules find them.
fn date_of(fields: &[Field], before_christ: bool) -> Result<i64, Fault> {
    let (mut year, mut month, mut day) = (None, None, None);
    let mut year_digits = 4;
    for &field in fields {
        match field {
            Field::Year(value) => year = Some(value),
            Field::ShortYear(value) => (year, year_digits) = (Some(value as i32), 2),
            Field::Month(value) => {
                if let Some(earlier) = month.replace(value) {
                    // `8 Jan`: what was taken for a month is the day.
                    day = Some(earlier);
                }
            }
            Field::Number(value, digits) => {
                if (digits > 2 || (year.is_none() && month.is_some() && day.is_some())) && year.is_none() {
                    year = Some(i32::try_from(value).map_err(|_| Fault::Range)?);
                    year_digits = digits;
                } else if month.is_none() {
                    month = Some(value);
                } else if day.is_none() {
                    day = Some(value);
                } else {
                    return Err(Fault::Syntax);
                }
            }
        }
    }
    let (Some(mut year), Some(month), Some(day)) = (year, month, day) else { return Err(Fault::Syntax) };
    // Before Christ, years are what they say.
    if year_digits <= 2 && !before_christ {
        year = two_digit_year(year as u32);
    }
    if before_christ {
        if year == 0 {
            return Err(Fault::Range);
        }
        year = 1 - year;
    } else if year == 0 {
        return Err(Fault::Range);
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(Fault::Order);
    }
    if year > 5_900_000 {
        return Err(Fault::Range);
    }
    if day > days_in_month(year, month) {
        return Err(Fault::Range);
    }
    Ok(days_of(year, month, day))
}

/// `04:05[:06[.789]]`, `040506`, with what may stick to it: AM or PM, Z, an offset, a zone.
fn time_word(word: &str, parsed: &mut Parsed, afternoon: &mut Option<bool>) -> Result<(), Fault> {
    let end = word.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(word.len());
    let (clock, rest) = word.split_at(end);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let number = |part: &str| part.parse::<i64>().map_err(|_| Fault::Syntax);
    let parts: Vec<&str> = whole.split(':').collect();
    let (hour, minute, second) = match parts[..] {
        [hms] if hms.len() == 6 => (number(&hms[..2])?, number(&hms[2..4])?, number(&hms[4..])?),
        [hm] if hm.len() == 4 => (number(&hm[..2])?, number(&hm[2..])?, 0),
        [h] if h.len() <= 2 && !rest.is_empty() => (number(h)?, 0, 0),
        [h, m] => (number(h)?, number(m)?, 0),
        [h, m, s] => (number(h)?, number(m)?, number(s)?),
        _ => return Err(Fault::Syntax),
    };
    let micros = if fraction.is_empty() {
        0
    } else {
        let value: f64 = format!("0.{fraction}").parse().map_err(|_| Fault::Syntax)?;
        (value * SECOND as f64).round_ties_even() as i64
    };
    if hour > 24 || minute > 59 || second > 60 {
        return Err(Fault::Range);
    }
    let time = hour * HOUR + minute * MINUTE + second * SECOND + micros;
    if time > DAY {
        return Err(Fault::Range);
    }
    parsed.time = Some(time);
    match rest {
        "" => {}
        "am" => *afternoon = Some(false),
        "pm" => *afternoon = Some(true),
        rest => {
            let zone = zone::parse_offset(rest).map(Zone::Fixed).or_else(|| zone::named(rest));
            parsed.zone = Some(zone.ok_or(Fault::Syntax)?);
        }
    }
    Ok(())
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// A month by its name or its first three letters (or `sept`), 1 to 12.
pub fn month_of(word: &str) -> Option<u32> {
    if word == "sept" {
        return Some(9);
    }
    MONTHS.iter().position(|name| *name == word || (word.len() == 3 && name.starts_with(word))).map(|n| n as u32 + 1)
}

fn is_weekday(word: &str) -> bool {
    matches!(word, "tues" | "weds" | "thur" | "thurs")
        || DAYS.iter().any(|name| *name == word || (word.len() == 3 && name.starts_with(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::datetime::{write_date, write_timestamp, write_timestamptz};

    const CLOCK: Clock = Clock { zone: Zone::UTC, now: Some(1_700_000_000_000_000) };

    #[test]
    fn dates_in_many_forms() {
        let cases = [
            ("2024-02-29", "2024-02-29"),
            ("Jan 5, 2024", "2024-01-05"),
            ("5 Jan 2024", "2024-01-05"),
            ("1/8/1999", "1999-01-08"),
            ("19990108", "1999-01-08"),
            ("January 8, 1999", "1999-01-08"),
            ("08-Jan-1999", "1999-01-08"),
            ("1999-Jan-08", "1999-01-08"),
            ("1999.008", "1999-01-08"),
            ("J2451187", "1999-01-08"),
            ("0044-03-15 BC", "0044-03-15 BC"),
            ("10000-01-01", "10000-01-01"),
            ("infinity", "infinity"),
            ("today", "2023-11-14"),
            ("2024-01-31 10:00:00", "2024-01-31"),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            write_date(&mut out, parse_date(text, &CLOCK).unwrap());
            assert_eq!(out, expected, "{text}");
        }
    }

    #[test]
    fn timestamps_in_many_forms() {
        let cases = [
            ("2024-01-01T10:00:00.1234567Z", "2024-01-01 10:00:00.123457"),
            ("20240101T101112", "2024-01-01 10:11:12"),
            ("2024-01-01 10:00:00+02", "2024-01-01 10:00:00"),
            ("2024-01-01 24:00", "2024-01-02 00:00:00"),
            ("Jan 5 2024 3:04 PM", "2024-01-05 15:04:00"),
            ("2024-01-01", "2024-01-01 00:00:00"),
            ("epoch", "1970-01-01 00:00:00"),
            ("2024-1-1 1:2:3", "2024-01-01 01:02:03"),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            write_timestamp(&mut out, parse_timestamp(text, &CLOCK).unwrap(), ' ');
            assert_eq!(out, expected, "{text}");
        }
        let zoned = [
            ("2024-01-01 10:00:00+02", "2024-01-01 08:00:00+00"),
            ("2024-01-01 10:00:00 Europe/Berlin", "2024-01-01 09:00:00+00"),
            ("2024-07-01 10:00 PST", "2024-07-01 18:00:00+00"),
            ("2024-01-01 10:00", "2024-01-01 10:00:00+00"),
        ];
        for (text, expected) in zoned {
            let mut out = String::new();
            write_timestamptz(&mut out, parse_timestamptz(text, &CLOCK).unwrap(), &Zone::UTC, ' ');
            assert_eq!(out, expected, "{text}");
        }
    }

    #[test]
    fn errors_are_postgres_errors() {
        let message = |text: &str| parse_date(text, &CLOCK).unwrap_err().message().to_string();
        assert_eq!(message("x"), "invalid input syntax for type date: \"x\"");
        assert_eq!(message("2024-02-30"), "date/time field value out of range: \"2024-02-30\"");
        assert!(parse_date("2024-13-01", &CLOCK).unwrap_err().hint().is_some());
        assert!(parse_date("99-01-08", &CLOCK).unwrap_err().hint().is_some());
        for text in ["4294967295-01-01", "2147483648-01-01"] {
            assert_eq!(parse_date(text, &CLOCK).unwrap_err().state(), SqlState::DATETIME_FIELD_OVERFLOW, "{text}");
        }
        for text in ["294247-01-10 04:00:54.775806-15", "4714-11-24 00:00:00+01 BC", "4714-11-23 BC"] {
            let error = parse_timestamptz(text, &CLOCK).unwrap_err();
            assert_eq!(error.state(), SqlState::DATETIME_FIELD_OVERFLOW, "{text}");
        }
        assert_eq!(parse_timestamptz("4714-11-24 00:00:00-01 BC", &CLOCK), Ok(-2_440_588 * DAY + HOUR));
        for text in ["9223372036854775807:00", "5124095576030431:00", "2562047788015215:00:01"] {
            assert_eq!(parse_time(text, &CLOCK).unwrap_err().state(), SqlState::DATETIME_FIELD_OVERFLOW, "{text}");
        }
        assert_eq!(parse_time("25:00", &CLOCK).unwrap_err().state(), SqlState::DATETIME_FIELD_OVERFLOW);
        assert_eq!(parse_time("16:05", &CLOCK), Ok(16 * HOUR + 5 * MINUTE));
        assert_eq!(parse_time("24:00", &CLOCK), Ok(DAY));
    }
}
