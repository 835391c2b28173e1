//! What values a setting takes: parsing as SET does it, printing as SHOW does it.

use std::fmt;

use crate::error::{Error, Result, SqlState};

/// A checked value. Numbers are in the setting's base unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
}

impl Value {
    /// The number; 0 for what is none.
    pub fn as_int(&self) -> i64 {
        match self {
            Value::Int(number) => *number,
            _ => 0,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(true) => f.write_str("on"),
            Value::Bool(false) => f.write_str("off"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Real(number) => write!(f, "{number}"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// The base unit of a number, and so the other units it may be given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    None,
    Milliseconds,
    Seconds,
    Bytes,
    Kilobytes,
}

/// A unit's name and how many base units it is; the largest first, the base unit last.
type Units = &'static [(&'static str, f64)];

const TIME: Units = &[("d", 86_400_000.0), ("h", 3_600_000.0), ("min", 60_000.0), ("s", 1000.0), ("ms", 1.0)];
const SECONDS: Units = &[("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)];
const BYTES: Units =
    &[("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1024.0), ("B", 1.0)];
const KILOBYTES: Units = &[("TB", 1_073_741_824.0), ("GB", 1_048_576.0), ("MB", 1024.0), ("kB", 1.0)];

impl Unit {
    fn units(self) -> Units {
        match self {
            Unit::None => &[],
            Unit::Milliseconds => TIME,
            Unit::Seconds => SECONDS,
            Unit::Bytes => BYTES,
            Unit::Kilobytes => KILOBYTES,
        }
    }

    fn base(self) -> &'static str {
        self.units().last().map_or("", |(name, _)| name)
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Unit::None => None,
            Unit::Milliseconds | Unit::Seconds => {
                Some("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
            }
            Unit::Bytes | Unit::Kilobytes => {
                Some("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
            }
        }
    }
}

/// What a setting may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Bool,
    /// A boolean of which only this value is possible here.
    Always(bool),
    Int {
        unit: Unit,
        min: i64,
        max: i64,
    },
    Real {
        min: f64,
        max: f64,
    },
    Enum(&'static [&'static str]),
    /// Names Postgres knows, of which only the first has its meaning here.
    Only(&'static [&'static str]),
    Text,
    /// At most 63 bytes, printable ASCII; the rest becomes `?`.
    ApplicationName,
    Encoding,
    DateStyle,
    TimeZone,
    SearchPath,
}

impl Kind {
    /// The value that SET's text means. 22023 if it means none, 0A000 if it means something that isn't here.
    pub fn parse(self, name: &str, text: &str) -> Result<Value> {
        match self {
            Kind::Bool => parse_bool(text).map(Value::Bool).ok_or_else(|| {
                Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("parameter \"{name}\" requires a Boolean value"))
            }),
            Kind::Always(only) => match Kind::Bool.parse(name, text)? {
                Value::Bool(value) if value == only => Ok(Value::Bool(value)),
                other => Err(one_value_only(name, &other.to_string(), &Value::Bool(only).to_string())),
            },
            Kind::Int { unit, min, max } => parse_int(name, text, unit, min, max).map(Value::Int),
            Kind::Real { min, max } => {
                let value: f64 = text.trim().parse().map_err(|_| invalid(name, text))?;
                if !(min..=max).contains(&value) {
                    let message =
                        format!("{value} is outside the valid range for parameter \"{name}\" ({min} .. {max})");
                    return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
                }
                Ok(Value::Real(value))
            }
            Kind::Enum(names) => pick(name, text, names).map(|found| Value::Text(found.to_string())),
            Kind::Only(names) => match pick(name, text, names)? {
                found if found == names[0] => Ok(Value::Text(found.to_string())),
                other => Err(one_value_only(name, other, names[0])),
            },
            Kind::Text => Ok(Value::Text(text.to_string())),
            Kind::ApplicationName => Ok(Value::Text(application_name(text))),
            Kind::Encoding => encoding(name, text).map(Value::Text),
            Kind::DateStyle => date_style(name, text).map(Value::Text),
            Kind::TimeZone => match time_zone(text) {
                Some(zone) => Ok(Value::Text(zone)),
                None => Err(invalid(name, text)),
            },
            Kind::SearchPath => {
                let names = split_names(text);
                Ok(Value::Text(names.iter().map(|name| quote_name(name)).collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// As SHOW prints it: numbers in the largest unit that leaves them whole.
    pub fn show(self, value: &Value) -> String {
        match (self, value) {
            (Kind::Int { unit, .. }, Value::Int(number)) if *number > 0 => {
                for (name, factor) in unit.units() {
                    let factor = *factor as i64;
                    if number % factor == 0 {
                        return format!("{}{name}", number / factor);
                    }
                }
                number.to_string()
            }
            _ => value.to_string(),
        }
    }

    /// `pg_settings.vartype`.
    pub fn type_name(self) -> &'static str {
        match self {
            Kind::Bool | Kind::Always(_) => "bool",
            Kind::Int { .. } => "integer",
            Kind::Real { .. } => "real",
            Kind::Enum(_) | Kind::Only(_) => "enum",
            _ => "string",
        }
    }

    /// `pg_settings.unit`.
    pub fn unit_name(self) -> Option<&'static str> {
        match self {
            Kind::Int { unit, .. } if unit != Unit::None => Some(unit.base()),
            _ => None,
        }
    }
}

fn invalid(name: &str, text: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{text}\""))
}

fn one_value_only(name: &str, asked: &str, only: &str) -> Error {
    Error::unsupported(format!("{name} = {asked}"), format!("{name} is always {only} here."))
}

/// Any unambiguous start of true, false, yes, no, on, off; or 1, 0.
pub fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let starts = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if starts("true", 1) || starts("yes", 1) || text == "on" || text == "1" {
        Some(true)
    } else if starts("false", 1) || starts("no", 1) || starts("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

fn parse_int(name: &str, text: &str, unit: Unit, min: i64, max: i64) -> Result<i64> {
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(trimmed.len());
    let (digits, suffix) = trimmed.split_at(end);
    let with_hint = |error: Error| match unit.hint() {
        Some(hint) => error.with_hint(hint),
        None => error,
    };
    let number: f64 = digits.parse().map_err(|_| invalid(name, text))?;
    let factor = match (suffix.trim(), unit) {
        ("", _) => 1.0,
        ("us", Unit::Milliseconds) | ("ms", Unit::Seconds) => 0.001,
        ("us", Unit::Seconds) => 0.000_001,
        ("B", Unit::Kilobytes) => 1.0 / 1024.0,
        (given, unit) => match unit.units().iter().find(|(name, _)| *name == given) {
            Some((_, factor)) => *factor,
            None => return Err(with_hint(invalid(name, text))),
        },
    };
    let value = (number * factor).round_ties_even();
    if !(value >= min as f64 && value <= max as f64) {
        let unit = match unit.base() {
            "" => String::new(),
            base => format!(" {base}"),
        };
        let message = format!("{value}{unit} is outside the valid range for parameter \"{name}\" ({min} .. {max})");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(value as i64)
}

fn pick(name: &str, text: &str, names: &'static [&'static str]) -> Result<&'static str> {
    names
        .iter()
        .copied()
        .find(|known| known.eq_ignore_ascii_case(text.trim()))
        .ok_or_else(|| invalid(name, text).with_hint(format!("Available values: {}.", names.join(", "))))
}

fn application_name(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(63).collect()
}

/// Every spelling of UTF8 is UTF8 (asyncpg sends it quoted); nothing is converted to anything else.
fn encoding(name: &str, text: &str) -> Result<String> {
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match letters.as_str() {
        "utf8" | "unicode" | "" => Ok("UTF8".to_string()),
        "sqlascii" => Ok("SQL_ASCII".to_string()),
        other if KNOWN_ENCODINGS.contains(&other) => {
            let message = format!("conversion between {} and UTF8", text.to_ascii_uppercase());
            Err(Error::unsupported(message, "Set client_encoding to UTF8."))
        }
        _ => Err(invalid(name, text)),
    }
}

const KNOWN_ENCODINGS: &[&str] = &[
    "latin1",
    "latin2",
    "latin3",
    "latin4",
    "latin5",
    "latin6",
    "latin7",
    "latin8",
    "latin9",
    "latin10",
    "iso88591",
    "iso885915",
    "win1250",
    "win1251",
    "win1252",
    "win1253",
    "win1254",
    "win1255",
    "win1256",
    "win1257",
    "win1258",
    "win866",
    "win874",
    "koi8r",
    "koi8u",
    "eucjp",
    "euckr",
    "euccn",
    "euctw",
    "sjis",
    "big5",
    "gbk",
    "gb18030",
];

/// Only ISO output exists, and `1/5/2024` is always the fifth of January.
fn date_style(name: &str, text: &str) -> Result<String> {
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        match word.trim_matches('"').to_ascii_lowercase().as_str() {
            "iso" | "mdy" | "us" | "noneuro" | "noneuropean" | "default" => {}
            "dmy" | "euro" | "european" | "ymd" => {
                return Err(Error::unsupported(
                    format!("DateStyle {word}"),
                    "Dates are read as month, day, year; write them as 2024-01-05, which every style reads alike.",
                ));
            }
            "postgres" | "sql" | "german" => {
                return Err(Error::unsupported(
                    format!("DateStyle {word}"),
                    "Dates and times are always printed in ISO style.",
                ));
            }
            _ => return Err(invalid(name, text)),
        }
    }
    Ok("ISO, MDY".to_string())
}

/// An IANA name in its proper spelling, or a number of hours east of UTC as Postgres shows it: `<+02>-02`.
pub fn time_zone(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(hours) = text.parse::<f64>() {
        return offset_zone((hours * 3600.0).round());
    }
    if let Some(shown) = text.strip_prefix('<') {
        let (east, _) = shown.split_once('>')?;
        return offset_zone(parse_offset(east)?);
    }
    if text.eq_ignore_ascii_case("default") || text.eq_ignore_ascii_case("local") {
        return Some("UTC".to_string());
    }
    chrono_tz::TZ_VARIANTS
        .iter()
        .map(|zone| zone.name())
        .find(|name| name.eq_ignore_ascii_case(text))
        .map(str::to_string)
}

/// Seconds of `+hh[:mm[:ss]]`.
fn parse_offset(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0.0;
    for (part, scale) in digits.split(':').zip([3600.0, 60.0, 1.0]) {
        seconds += part.parse::<u8>().ok()? as f64 * scale;
    }
    Some(sign * seconds)
}

fn offset_zone(east: f64) -> Option<String> {
    if east.abs() > 15.0 * 3600.0 + 59.0 * 60.0 + 59.0 || !east.is_finite() {
        return None;
    }
    let whole = east.abs() as u32;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    let digits = match (minutes, seconds) {
        (0, 0) => format!("{hours:02}"),
        (_, 0) => format!("{hours:02}:{minutes:02}"),
        _ => format!("{hours:02}:{minutes:02}:{seconds:02}"),
    };
    let (here, there) = if east < 0.0 { ('-', '+') } else { ('+', '-') };
    Some(format!("<{here}{digits}>{there}{digits}"))
}

/// A comma-separated list of identifiers: folded to lower case unless quoted.
pub fn split_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut seen = false;
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                name.push('"');
            }
            '"' => {
                quoted = !quoted;
                seen = true;
            }
            _ if quoted => name.push(c),
            ',' => {
                if seen {
                    names.push(std::mem::take(&mut name));
                }
                seen = false;
            }
            c if c.is_whitespace() => {}
            c => {
                name.extend(c.to_lowercase());
                seen = true;
            }
        }
    }
    if seen {
        names.push(name);
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The name as it must be written in a list to come out again.
pub fn quote_name(name: &str) -> String {
    let plain =
        name.chars().enumerate().all(|(at, c)| c == '_' || c.is_ascii_lowercase() || (at > 0 && c.is_ascii_digit()));
    if plain && !name.is_empty() { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Kind = Kind::Int { unit: Unit::Milliseconds, min: 0, max: i32::MAX as i64 };

    #[test]
    fn numbers_take_units_and_show_the_largest() {
        for (text, shown) in [("0", "0"), ("1500", "1500ms"), ("60000", "1min"), ("1.5s", "1500ms"), ("2 h", "2h")] {
            let value = TIMEOUT.parse("statement_timeout", text).unwrap();
            assert_eq!(TIMEOUT.show(&value), shown, "{text}");
        }
        let wrong = TIMEOUT.parse("statement_timeout", "5 parsecs").unwrap_err();
        assert_eq!(wrong.message(), "invalid value for parameter \"statement_timeout\": \"5 parsecs\"");
        assert!(wrong.hint().unwrap().contains("\"min\""));
        let low = TIMEOUT.parse("statement_timeout", "-5").unwrap_err();
        assert!(low.message().starts_with("-5 ms is outside the valid range"), "{}", low.message());
    }

    #[test]
    fn booleans_are_read_as_postgres_reads_them() {
        for (text, value) in
            [("on", Some(true)), ("TRUE", Some(true)), ("y", Some(true)), ("of", Some(false)), ("o", None), ("", None)]
        {
            assert_eq!(parse_bool(text), value, "{text}");
        }
    }

    #[test]
    fn time_zones() {
        assert_eq!(time_zone("america/new_york").as_deref(), Some("America/New_York"));
        assert_eq!(time_zone("2").as_deref(), Some("<+02>-02"));
        assert_eq!(time_zone("-3.5").as_deref(), Some("<-03:30>+03:30"));
        assert_eq!(time_zone("<-03:30>+03:30").as_deref(), Some("<-03:30>+03:30"));
        assert_eq!(time_zone("Mars/Olympus"), None);
        assert_eq!(time_zone("99"), None);
    }

    #[test]
    fn styles_and_encodings_that_are_not_here_say_so() {
        assert_eq!(date_style("DateStyle", "iso").unwrap(), "ISO, MDY");
        // Another order would change what dates mean.
        for order in ["iso, dmy", "European", "ISO, YMD"] {
            assert_eq!(date_style("DateStyle", order).unwrap_err().state(), SqlState::FEATURE_NOT_SUPPORTED);
        }
        assert_eq!(date_style("DateStyle", "German").unwrap_err().state(), SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(encoding("client_encoding", "'utf-8'").unwrap(), "UTF8");
        assert_eq!(encoding("client_encoding", "LATIN1").unwrap_err().state(), SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(encoding("client_encoding", "klingon").unwrap_err().state(), SqlState::INVALID_PARAMETER_VALUE);
    }
}
