//! Reading intervals: units, `1-2` for years and months, `3 04:05:06`, ISO 8601 `P1Y2M3DT4H5M6S`, `ago`; a bare number is
//! seconds. As Postgres does it, words are read from the right, so that a unit is known before its number, and each
//! number's fraction spills down by itself: half a week is three days and twelve hours, whatever stands beside it.

use arrow::datatypes::IntervalMonthDayNano as Interval;

use super::datetime::{DAY, HOUR, MINUTE, SECOND};
use super::interval::{micros, of_parts, out_of_range};
use crate::error::{Error, Result, SqlState};

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

/// Reads an interval. Errors: 22007, 22008.
pub fn parse(text: &str) -> Result<Interval> {
    read(text, Unit::Second, false)
}

/// Reads an interval with its fields; `digits` are those of the seconds.
pub fn parse_fields(text: &str, first: Field, last: Field, digits: u8) -> Result<Interval> {
    let unit = match last {
        Field::Year => Unit::Year,
        Field::Month => Unit::Month,
        Field::Day => Unit::Day,
        Field::Hour => Unit::Hour,
        Field::Minute => Unit::Minute,
        Field::Second => Unit::Second,
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

/// Units, each of which may be named once.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// All that a fraction of seconds says, and all that a clock does.
const SECONDS: u16 = 1 << Unit::Microsecond as u16 | 1 << Unit::Millisecond as u16 | 1 << Unit::Second as u16;
const CLOCK: u16 = SECONDS | 1 << Unit::Minute as u16 | 1 << Unit::Hour as u16;

fn unit_of(name: &str) -> Option<Unit> {
    Some(match name {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" | "usecond" | "useconds" => Unit::Microsecond,
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" | "mseconds" | "msecond" => Unit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
        _ => return None,
    })
}

/// Units that a digit may follow without a space, as in `1h30m`.
const BEFORE_DIGITS: [&str; 6] = ["d", "h", "m", "s", "y", "mon"];

/// What is read so far, in the units an interval keeps.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
}

fn add(sum: &mut i64, value: i64, size: i64) -> Result<()> {
    let value = value.checked_mul(size).and_then(|value| sum.checked_add(value));
    *sum = value.ok_or_else(out_of_range)?;
    Ok(())
}

impl Sum {
    /// A fraction below one of something, to the microsecond, halves cut off.
    fn add_fraction(&mut self, fraction: f64, size: i64) -> Result<()> {
        let exact = fraction * size as f64;
        let (whole, rest) = (exact.trunc() as i64, exact.fract());
        let rounded = whole + i64::from(rest > 0.5) - i64::from(rest < -0.5);
        add(&mut self.micros, rounded, 1)
    }

    /// A fraction of so many days: whole days, and time of the rest.
    fn add_days(&mut self, fraction: f64, size: f64) -> Result<()> {
        let exact = fraction * size;
        add(&mut self.days, exact.trunc() as i64, 1)?;
        self.add_fraction(exact.fract(), DAY)
    }

    /// A fraction of years is rounded to months.
    fn add_years(&mut self, value: Number, size: i64) -> Result<()> {
        add(&mut self.months, value.whole, size * 12)?;
        add(&mut self.months, (value.fraction * (size * 12) as f64).round_ties_even() as i64, 1)
    }

    fn add(&mut self, value: Number, unit: Unit) -> Result<()> {
        let size = match unit {
            Unit::Microsecond => 1,
            Unit::Millisecond => 1000,
            Unit::Second => SECOND,
            Unit::Minute => MINUTE,
            Unit::Hour => HOUR,
            Unit::Day | Unit::Week => {
                let days = if unit == Unit::Week { 7 } else { 1 };
                add(&mut self.days, value.whole, days)?;
                return match unit {
                    Unit::Week => self.add_days(value.fraction, 7.0),
                    _ => self.add_fraction(value.fraction, DAY),
                };
            }
            Unit::Month => {
                add(&mut self.months, value.whole, 1)?;
                return self.add_days(value.fraction, 30.0);
            }
            Unit::Year => return self.add_years(value, 1),
            Unit::Decade => return self.add_years(value, 10),
            Unit::Century => return self.add_years(value, 100),
            Unit::Millennium => return self.add_years(value, 1000),
        };
        add(&mut self.micros, value.whole, size)?;
        self.add_fraction(value.fraction, size)
    }

    fn finish(self, negate: bool) -> Result<Interval> {
        let signed = |sum: i64| if negate { sum.checked_neg().ok_or_else(out_of_range) } else { Ok(sum) };
        of_parts(signed(self.months)?, signed(self.days)?, signed(self.micros)?)
    }
}

#[derive(Clone, Copy)]
struct Number {
    whole: i64,
    /// Of the same sign as the whole.
    fraction: f64,
}

/// Why a text is no interval.
enum Fault {
    Syntax,
    Range(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Range(error)
    }
}

/// A whole number at the beginning, 0 if there is none, and what follows it.
fn whole(text: &str) -> Result<(i64, &str), Fault> {
    let sign = usize::from(text.starts_with(['+', '-']));
    let end = sign + text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    if end == sign {
        return Ok((0, text));
    }
    Ok((text[..end].parse().map_err(|_| out_of_range())?, &text[end..]))
}

/// `.5`, to the end of the text.
fn fraction(text: &str) -> Result<f64, Fault> {
    let digits = text.strip_prefix('.').filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
    format!("0.{}", digits.ok_or(Fault::Syntax)?).parse().map_err(|_| Fault::Syntax)
}

/// `unit` is that of a last number without one; with `minutes` a clock's two parts are minutes and seconds.
fn read(text: &str, unit: Unit, minutes: bool) -> Result<Interval> {
    let found = match of_words(text, unit, minutes) {
        Err(Fault::Syntax) => iso8601(text).and_then(|sum| Ok(sum.finish(false)?)),
        found => found,
    };
    found.map_err(|fault| match fault {
        Fault::Range(error) => error,
        Fault::Syntax => {
            Error::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid input syntax for type interval: \"{text}\""))
        }
    })
}

fn of_words(text: &str, last: Unit, minutes: bool) -> Result<Interval, Fault> {
    let lower = text.to_ascii_lowercase();
    let mut sum = Sum::default();
    let (mut unit, mut seen, mut ago) = (last, 0u16, false);
    for word in words(&lower).ok_or(Fault::Syntax)?.iter().rev() {
        let word = word.as_str();
        let (negative, unsigned) = match word.as_bytes()[0] {
            sign @ (b'+' | b'-') => (sign == b'-', &word[1..]),
            _ => (false, word),
        };
        let mask;
        if word == "ago" {
            ago = true;
            continue;
        } else if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            unit = unit_of(word).ok_or(Fault::Syntax)?;
            continue;
        } else if unsigned.contains(':') {
            let time = clock(unsigned, minutes)?;
            add(&mut sum.micros, if negative { -time } else { time }, 1)?;
            // A number before it counts days.
            (mask, unit) = (CLOCK, Unit::Day);
        } else {
            let (value, rest) = whole(word)?;
            let mut number = Number { whole: value, fraction: 0.0 };
            if let Some(months) = rest.strip_prefix('-') {
                let (months, rest) = whole(months)?;
                if !(0..12).contains(&months) || !rest.is_empty() {
                    return Err(Fault::Syntax);
                }
                add(&mut number.whole, value, 11)?;
                add(&mut number.whole, if negative { -months } else { months }, 1)?;
                unit = Unit::Month;
            } else if !rest.is_empty() {
                let part = fraction(rest)?;
                number.fraction = if negative { -part } else { part };
            }
            sum.add(number, unit)?;
            mask = if unit == Unit::Second && number.fraction != 0.0 { SECONDS } else { unit.bit() };
            // "3 5 hours": so does one before hours.
            if unit == Unit::Hour {
                unit = Unit::Day;
            }
        }
        if seen & mask != 0 {
            return Err(Fault::Syntax);
        }
        seen |= mask;
    }
    if seen == 0 {
        return Err(Fault::Syntax);
    }
    Ok(sum.finish(ago)?)
}

/// Numbers with their signs, clock times, dates and words; other signs only separate them. `None` for a sign without digits.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text;
    let take = |rest: &mut &str, wanted: &dyn Fn(u8) -> bool| {
        let end = rest.bytes().position(|c| !wanted(c)).unwrap_or(rest.len());
        let (taken, left) = rest.split_at(end);
        *rest = left;
        taken.to_string()
    };
    while let Some(&first) = rest.as_bytes().first() {
        match first {
            b'0'..=b'9' => {
                let mut word = take(&mut rest, &|c| c.is_ascii_digit());
                match rest.as_bytes().first() {
                    Some(b':') => word += &take(&mut rest, &|c| c.is_ascii_digit() || c == b':' || c == b'.'),
                    Some(&delimiter @ (b'-' | b'/' | b'.')) => {
                        word += &take(&mut rest, &|c| c.is_ascii_digit() || c == delimiter);
                    }
                    _ => {}
                }
                words.push(word);
            }
            b'.' => {
                rest = &rest[1..];
                words.push(format!(".{}", take(&mut rest, &|c| c.is_ascii_digit())));
            }
            b'+' | b'-' => {
                rest = rest[1..].trim_ascii_start();
                if !rest.starts_with(|c: char| c.is_ascii_digit()) {
                    return None;
                }
                let number = take(&mut rest, &|c| c.is_ascii_digit() || matches!(c, b':' | b'.' | b'-'));
                words.push(format!("{}{number}", first as char));
            }
            b'a'..=b'z' => {
                let word = take(&mut rest, &|c| c.is_ascii_lowercase());
                let joined = match rest.as_bytes().first() {
                    Some(b'-' | b'/' | b'.') => true,
                    Some(b'+' | b'0'..=b'9') => !BEFORE_DIGITS.contains(&word.as_str()),
                    _ => false,
                };
                if joined {
                    return None;
                }
                words.push(word);
            }
            c if c.is_ascii_whitespace() || c == b'\x0b' || c.is_ascii_punctuation() => rest = &rest[1..],
            _ => return None,
        }
    }
    Some(words)
}

/// Microseconds of `hh:mm[:ss[.f]]` or, with a fraction and one colon, `mm:ss.f`.
fn clock(text: &str, from_minutes: bool) -> Result<i64, Fault> {
    let (text, part) = match text.split_once('.') {
        Some((text, digits)) => (text, Some(fraction(&format!(".{digits}"))?)),
        None => (text, None),
    };
    let mut numbers = Vec::new();
    for part in text.split(':') {
        let (number, rest) = whole(part)?;
        if !rest.is_empty() {
            return Err(Fault::Syntax);
        }
        numbers.push(number);
    }
    let (hours, minutes, seconds) = match numbers[..] {
        [minutes, seconds] if from_minutes || part.is_some() => (0, minutes, seconds),
        [hours, minutes] => (hours, minutes, 0),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return Err(Fault::Syntax),
    };
    if minutes >= 60 || seconds > 60 {
        return Err(Fault::Syntax);
    }
    let part = (part.unwrap_or(0.0) * SECOND as f64).round_ties_even() as i64;
    let mut total = minutes * MINUTE + seconds * SECOND + part;
    add(&mut total, hours, HOUR)?;
    Ok(total)
}

/// A number of an ISO 8601 interval, and what follows it.
fn iso_number<'a>(rest: &mut &'a str) -> Result<(Number, &'a str), Fault> {
    let text = *rest;
    let negative = text.starts_with('-');
    let end = usize::from(negative);
    let end = end + text[end..].bytes().take_while(|&c| c.is_ascii_digit() || c == b'.').count();
    let (value, part) = whole(&text[..end])?;
    let part = if part.is_empty() { 0.0 } else { fraction(part)? };
    if end == usize::from(negative) || &text[..end] == "." {
        return Err(Fault::Syntax);
    }
    *rest = &text[end..];
    Ok((Number { whole: value, fraction: if negative { -part } else { part } }, &text[..end]))
}

/// `P1Y2M3DT4H5M6S`, `P0001-02-03T04:05:06` or `P00010203T040506`.
fn iso8601(text: &str) -> Result<Sum, Fault> {
    let mut sum = Sum::default();
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(Fault::Syntax)?;
    let (mut date, mut first) = (true, true);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (rest, date, first) = (after, false, true);
            continue;
        }
        let (value, written) = iso_number(&mut rest)?;
        let width = written.split('.').next().unwrap_or("").trim_start_matches('-').len();
        let unit = rest.chars().next();
        let (designator, delimiter, digits) =
            if date { (['Y', 'M', 'W', 'D'], '-', 8) } else { (['H', 'M', 'S', 'S'], ':', 6) };
        let units = match date {
            true => [Unit::Year, Unit::Month, Unit::Week, Unit::Day],
            false => [Unit::Hour, Unit::Minute, Unit::Second, Unit::Second],
        };
        if let Some(at) = unit.and_then(|unit| designator.iter().position(|known| *known == unit)) {
            rest = &rest[1..];
            sum.add(value, units[at])?;
            first = false;
            continue;
        }
        // Without letters: all digits in a row, or parts between delimiters.
        let parts = if date { [Unit::Year, Unit::Month, Unit::Day] } else { [Unit::Hour, Unit::Minute, Unit::Second] };
        let ends = unit.is_none() || date && unit == Some('T');
        if !first || !(ends || unit == Some(delimiter)) {
            return Err(Fault::Syntax);
        }
        if ends && width == digits {
            for (part, unit) in [value.whole / 10_000, value.whole / 100 % 100].into_iter().zip(parts) {
                sum.add(Number { whole: part, fraction: 0.0 }, unit)?;
            }
            sum.add(Number { whole: value.whole % 100, ..value }, parts[2])?;
            continue;
        }
        sum.add(value, parts[0])?;
        for unit in &parts[1..] {
            let Some(after) = rest.strip_prefix(delimiter) else { break };
            rest = after;
            sum.add(iso_number(&mut rest)?.0, *unit)?;
        }
        if !(rest.is_empty() || date && rest.starts_with('T')) {
            return Err(Fault::Syntax);
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::super::interval::write_interval;
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
            // A fraction spills down by itself.
            ("0.5 week 0.5 day", "3 days 24:00:00"),
            ("P1.5W1.5D", "11 days 24:00:00"),
            ("1.23456789 week 13 minutes .5 days", "8 days 27:37:26.659872"),
            ("0.0000015 sec", "00:00:00.000001"),
            ("1 day, 2 hours", "1 day 02:00:00"),
            ("(1 day); 2 hours", "1 day 02:00:00"),
            ("- 1 day", "-1 days"),
            ("- 1:2:3", "-01:02:03"),
            ("3 5 hours", "3 days 05:00:00"),
            ("1:", "01:00:00"),
            ("ago 1 day", "-1 days"),
            ("-1-2 +3 -4:05", "-1 years -2 mons +3 days -04:05:00"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("P00021015T103020", "2 years 10 mons 15 days 10:30:20"),
            ("P-1Y-2M", "-1 years -2 mons"),
            ("P1Y2M3DT4H5M6.7S", "1 year 2 mons 3 days 04:05:06.7"),
            ("P0001-02", "1 year 2 mons"),
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
        let wrong = [
            "",
            "foo",
            "1 foo",
            "ago",
            "1 2",
            "P",
            "-P1Y",
            "1 day 1 day",
            "10 sec 00:00:05",
            "1 mon 1 month",
            "1.5 sec 1 ms",
            "1hour30min",
            "p1y",
            "1.2.3 days",
            "1/2 days",
            "+",
            "PT1D",
            "P1Y-2",
        ];
        for text in wrong {
            assert_eq!(parse(text).unwrap_err().state(), SqlState::INVALID_DATETIME_FORMAT, "{text}");
        }
    }
}
