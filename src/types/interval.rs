//! Intervals: months, days and microseconds, in Postgres's style.
//!
//! Arrow's MonthDayNano holds them; its nanoseconds are always whole microseconds.

use std::fmt::Write;

use arrow::datatypes::IntervalMonthDayNano as Interval;

use super::datetime::{DAY, HOUR, MINUTE, SECOND};
use crate::error::{Error, Result, SqlState};

pub fn out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

/// An interval from parts; 22008 beyond what 32-bit months and days and 64-bit nanoseconds hold.
pub fn of_parts(months: i64, days: i64, micros: i64) -> Result<Interval> {
    let months = i32::try_from(months).map_err(|_| out_of_range())?;
    let days = i32::try_from(days).map_err(|_| out_of_range())?;
    let nanos = micros.checked_mul(1000).ok_or_else(out_of_range)?;
    Ok(Interval::new(months, days, nanos))
}

pub fn micros(interval: &Interval) -> i64 {
    interval.nanoseconds / 1000
}

/// What intervals compare by: microseconds, a month taken for 30 days and a day for 24 hours.
pub fn span(interval: &Interval) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(DAY) + i128::from(micros(interval))
}

/// Prints `1 year 2 mons -3 days +04:05:06.7`.
pub fn write_interval(out: &mut impl Write, interval: &Interval) {
    let (years, months, days) = (interval.months / 12, interval.months % 12, interval.days);
    let mut first = true;
    let mut after_negative = false;
    for (value, unit) in [(years, "year"), (months, "mon"), (days, "day")] {
        if value != 0 {
            let space = if first { "" } else { " " };
            let sign = if after_negative && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            let _ = write!(out, "{space}{sign}{value} {unit}{plural}");
            after_negative = value < 0;
            first = false;
        }
    }
    let time = micros(interval);
    if time == 0 && !first {
        return;
    }
    let sign = if time < 0 {
        "-"
    } else if after_negative {
        "+"
    } else {
        ""
    };
    let magnitude = time.unsigned_abs();
    let (seconds, fraction) = (magnitude / SECOND as u64, magnitude % SECOND as u64);
    let space = if first { "" } else { " " };
    let _ = write!(out, "{space}{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        let text = format!("{fraction:06}");
        let _ = write!(out, ".{}", text.trim_end_matches('0'));
    }
}

/// What is read so far, in the units an interval keeps. Fractions spill downwards: half a month is 15 days.
#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    micros: f64,
    whole_months: i64,
    whole_days: i64,
    whole_micros: i64,
}

impl Sum {
    fn add(&mut self, value: &Number, unit: &str) -> Option<()> {
        let whole = value.whole;
        match unit_of(unit)? {
            Unit::Micros(size) => {
                self.whole_micros = self.whole_micros.checked_add(whole.checked_mul(size)?)?;
                self.micros += value.fraction * size as f64;
            }
            Unit::Days(size) => {
                self.whole_days = self.whole_days.checked_add(whole.checked_mul(size)?)?;
                self.days += value.fraction * size as f64;
            }
            Unit::Months(size) => {
                self.whole_months = self.whole_months.checked_add(whole.checked_mul(size)?)?;
                match size {
                    1 => self.months += value.fraction,
                    years => {
                        let part = (value.fraction * years as f64).round_ties_even() as i64;
                        self.whole_months = self.whole_months.checked_add(part)?;
                    }
                }
            }
        }
        Some(())
    }

    fn finish(self, negate: bool) -> Result<Interval> {
        // Fractions of months become days, of days time; those of years are whole months already, rounded.
        let day_part = self.months * 30.0 + self.days;
        let rest = (day_part - day_part.trunc()) * DAY as f64 + self.micros;
        // A fraction of a unit fits in 64 bits whatever the unit.
        let days = self.whole_days.checked_add(day_part.trunc() as i64);
        let micros = self.whole_micros.checked_add(rest.round_ties_even() as i64);
        let signed = |sum: Option<i64>| sum.and_then(|sum| if negate { sum.checked_neg() } else { Some(sum) });
        let of = |sum: Option<i64>| signed(sum).ok_or_else(out_of_range);
        let (months, days, micros) = (of(Some(self.whole_months))?, of(days)?, of(micros)?);
        of_parts(months, days, micros)
    }
}

enum Unit {
    Micros(i64),
    Days(i64),
    Months(i64),
}

fn unit_of(name: &str) -> Option<Unit> {
    Some(match name {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" | "usecond" | "useconds" => Unit::Micros(1),
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" | "mseconds" | "msecond" => Unit::Micros(1000),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(SECOND),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(HOUR),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1200),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000),
        _ => return None,
    })
}

struct Number {
    whole: i64,
    /// Of the same sign as the whole.
    fraction: f64,
    negative: bool,
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || !whole.bytes().chain(fraction.bytes()).all(|c| c.is_ascii_digit()) {
        return None;
    }
    let sign = if negative { -1 } else { 1 };
    let whole_value: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction_value: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
    Some(Number { whole: sign * whole_value, fraction: f64::from(sign as i32) * fraction_value, negative })
}

/// Reads an interval: units, `1-2` for years and months, `3 04:05:06`, ISO 8601 `P1Y2M3DT4H5M6S`, `ago`; a bare number
/// is seconds. Errors: 22007, 22008.
pub fn parse(text: &str) -> Result<Interval> {
    read(text, "second", false)
}

/// What `INTERVAL '...' first TO last` says of the text before it: the unit of a bare number, and what is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// Reads an interval with its fields; `digits` are those of the seconds.
pub fn parse_fields(text: &str, first: Field, last: Field, digits: u8) -> Result<Interval> {
    let unit = match last {
        Field::Year => "year",
        Field::Month => "month",
        Field::Day => "day",
        Field::Hour => "hour",
        Field::Minute => "minute",
        Field::Second => "second",
    };
    let whole = read(text, unit, first == Field::Minute && last == Field::Second)?;
    let cut = |unit: i64| micros(&whole) / unit * unit;
    let (months, days, time) = match last {
        Field::Year => (whole.months / 12 * 12, 0, 0),
        Field::Month => (whole.months, 0, 0),
        Field::Day => (whole.months, whole.days, 0),
        Field::Hour => (whole.months, whole.days, cut(HOUR)),
        Field::Minute => (whole.months, whole.days, cut(MINUTE)),
        Field::Second => {
            let time = micros(&whole);
            let rounded = super::datetime::round_time(time.saturating_abs(), digits);
            (whole.months, whole.days, if time < 0 { -rounded } else { rounded })
        }
    };
    of_parts(i64::from(months), i64::from(days), time)
}

/// `unit` is that of a last number without one; with `minutes` a clock's two parts are minutes and seconds.
fn read(text: &str, unit: &str, minutes: bool) -> Result<Interval> {
    let invalid =
        || Error::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid input syntax for type interval: \"{text}\""));
    let lower = text.trim().to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix('p') {
        return iso8601(rest).ok_or_else(invalid)?.finish(false);
    }
    let mut sum = Sum::default();
    let mut ago = false;
    let mut pending: Option<Number> = None;
    let mut seen = false;
    let tokens = tokens(&lower).ok_or_else(invalid)?;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if token == "@" {
            continue;
        }
        if token == "ago" {
            if tokens.peek().is_some() || !seen {
                return Err(invalid());
            }
            ago = true;
            continue;
        }
        seen = true;
        if token.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let value = pending.take().ok_or_else(invalid)?;
            sum.add(&value, token).ok_or_else(|| if unit_of(token).is_none() { invalid() } else { out_of_range() })?;
            continue;
        }
        if let Some(value) = pending.take() {
            // "3 04:05:06": a number before a time of day counts days.
            if !token.contains(':') && unit != "hour" {
                return Err(invalid());
            }
            sum.add(&value, "day").ok_or_else(out_of_range)?;
        }
        if token.contains(':') {
            sum.whole_micros =
                sum.whole_micros.checked_add(clock(token, minutes).ok_or_else(invalid)?).ok_or_else(out_of_range)?;
        } else if let Some(dash) = token[1..].find('-') {
            let years = number(&token[..dash + 1]).ok_or_else(invalid)?;
            let months = number(&token[dash + 2..]).ok_or_else(invalid)?;
            if months.whole >= 12 || months.negative {
                return Err(invalid());
            }
            let months = if years.negative { -months.whole } else { months.whole };
            let months = years.whole.checked_mul(12).and_then(|years| years.checked_add(months));
            sum.whole_months =
                months.and_then(|months| sum.whole_months.checked_add(months)).ok_or_else(out_of_range)?;
        } else {
            pending = Some(number(token).ok_or_else(invalid)?);
        }
    }
    if let Some(value) = pending {
        sum.add(&value, unit).ok_or_else(out_of_range)?;
    }
    if !seen {
        return Err(invalid());
    }
    sum.finish(ago)
}

/// Words, numbers and clock times; a unit may stick to its number (`5min`).
fn tokens(text: &str) -> Option<Vec<&str>> {
    let mut tokens = Vec::new();
    for word in text.split_ascii_whitespace() {
        let mut rest = word;
        while !rest.is_empty() {
            let first = rest.as_bytes()[0];
            let end = if first == b'@' {
                1
            } else if first.is_ascii_alphabetic() {
                rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())
            } else if first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.') {
                rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len())
            } else {
                return None;
            };
            tokens.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    Some(tokens)
}

/// Microseconds of `[-]hh:mm[:ss[.f]]` or, with a fraction and one colon, `mm:ss.f`.
fn clock(text: &str, from_minutes: bool) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let parts: Vec<&str> = digits.split(':').collect();
    let whole = |part: &str| -> Option<i64> {
        (!part.is_empty() && part.bytes().all(|c| c.is_ascii_digit())).then(|| part.parse().ok()).flatten()
    };
    let (hours, minutes, seconds) = match parts[..] {
        [minutes, seconds] if from_minutes || seconds.contains('.') => (0, whole(minutes)?, seconds),
        [hours, minutes] => (whole(hours)?, whole(minutes)?, "0"),
        [hours, minutes, seconds] => (whole(hours)?, whole(minutes)?, seconds),
        _ => return None,
    };
    let seconds = number(seconds).filter(|seconds| !seconds.negative)?;
    if minutes >= 60 || seconds.whole > 60 {
        return None;
    }
    let fraction = (seconds.fraction * SECOND as f64).round_ties_even() as i64;
    let total = hours.checked_mul(HOUR)?.checked_add(minutes * MINUTE + seconds.whole * SECOND + fraction)?;
    Some(sign * total)
}

/// `1y2m3dt4h5m6s`, after the P.
fn iso8601(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut rest = text;
    let mut in_time = false;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('t') {
            in_time = true;
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let value = number(&rest[..end])?;
        let unit = match (&rest[end..end + 1], in_time) {
            ("y", false) => "year",
            ("m", false) => "month",
            ("w", false) => "week",
            ("d", false) => "day",
            ("h", true) => "hour",
            ("m", true) => "minute",
            ("s", true) => "second",
            _ => return None,
        };
        sum.add(&value, unit)?;
        rest = &rest[end + 1..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_say_what_numbers_are() {
        use Field::*;
        let cases = [
            ("1:2", Minute, Second, 6, "00:01:02"),
            ("1 2", Day, Hour, 6, "1 day 02:00:00"),
            ("12:34:56", Hour, Hour, 6, "12:00:00"),
            ("1.26", Second, Second, 1, "00:00:01.3"),
            ("-1.26", Second, Second, 1, "-00:00:01.3"),
            ("14", Year, Month, 6, "1 year 2 mons"),
            ("1-2", Year, Year, 6, "1 year"),
            ("1 day 12:34:56", Day, Minute, 6, "1 day 12:34:00"),
            ("3", Month, Month, 6, "3 mons"),
        ];
        for (text, first, last, digits, expected) in cases {
            let mut out = String::new();
            write_interval(&mut out, &parse_fields(text, first, last, digits).unwrap());
            assert_eq!(out, expected, "{text}");
        }
    }

    #[test]
    fn answers_of_a_real_server() {
        let cases = [
            ("1 day 02:03:04.5", "1 day 02:03:04.5"),
            ("1 year 2 mons -3 days", "1 year 2 mons -3 days"),
            ("-1 mons", "-1 mons"),
            ("-00:00:01", "-00:00:01"),
            ("1 mon -1 day 00:00:01", "1 mon -1 days +00:00:01"),
            ("0", "00:00:00"),
            ("-1 year -2 mons +3 days -04:05:06.789", "-1 years -2 mons +3 days -04:05:06.789"),
            ("25:00", "25:00:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
            ("1 week", "7 days"),
            ("2 hours ago", "-02:00:00"),
            ("1-2", "1 year 2 mons"),
            ("3 4:05", "3 days 04:05:00"),
            ("100", "00:01:40"),
            ("1 decade", "10 years"),
            ("@ 1 minute", "00:01:00"),
            ("1.5 years", "1 year 6 mons"),
            ("4.04503 years", "4 years 1 mon"),
            ("0.04 years", "00:00:00"),
            ("0.5 weeks", "3 days 12:00:00"),
            ("5min", "00:05:00"),
            ("1h30m", "01:30:00"),
            ("PT", "00:00:00"),
            ("178956970 years", "178956970 years"),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            write_interval(&mut out, &parse(text).unwrap());
            assert_eq!(out, expected, "{text}");
        }
        for text in [
            "768614336404564650-0 768614336404564650-0",
            "768614336404564650-8",
            "9223372036854775807 days 1.5 days",
            "9223372036854775807 mons 1.9 years",
            "9223372036854775807 days 1 day",
            "-2147483648 mons ago",
            "9999999999-1",
        ] {
            assert_eq!(parse(text).map_err(|error| error.state()), Err(SqlState::DATETIME_FIELD_OVERFLOW), "{text}");
        }
        for text in ["", "foo", "1 foo", "ago", "1 2", "P", "-P1Y"] {
            assert_eq!(parse(text).unwrap_err().state(), SqlState::INVALID_DATETIME_FORMAT, "{text}");
        }
    }
}
