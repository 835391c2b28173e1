//! Time zones: IANA names, Postgres's abbreviations, fixed offsets.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::error::{Error, Result, SqlState};

/// A zone that local times are read and shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Seconds east of UTC.
    Fixed(i32),
    Named(Tz),
}

/// Abbreviations with the offset Postgres's default set gives them, in hours and minutes east.
const ABBREVIATIONS: &[(&str, i32, i32)] = &[
    ("utc", 0, 0),
    ("z", 0, 0),
    ("zulu", 0, 0),
    ("gmt", 0, 0),
    ("ut", 0, 0),
    ("wet", 0, 0),
    ("west", 1, 0),
    ("bst", 1, 0),
    ("cet", 1, 0),
    ("met", 1, 0),
    ("cest", 2, 0),
    ("mest", 2, 0),
    ("eet", 2, 0),
    ("eest", 3, 0),
    ("sast", 2, 0),
    ("ist", 2, 0),
    ("msk", 3, 0),
    ("msd", 4, 0),
    ("jst", 9, 0),
    ("kst", 9, 0),
    ("aest", 10, 0),
    ("aedt", 11, 0),
    ("acst", 9, 30),
    ("acdt", 10, 30),
    ("awst", 8, 0),
    ("nzst", 12, 0),
    ("nzdt", 13, 0),
    ("hst", -10, 0),
    ("akst", -9, 0),
    ("akdt", -8, 0),
    ("pst", -8, 0),
    ("pdt", -7, 0),
    ("mst", -7, 0),
    ("mdt", -6, 0),
    ("cst", -6, 0),
    ("cdt", -5, 0),
    ("est", -5, 0),
    ("edt", -4, 0),
    ("ast", -4, 0),
    ("adt", -3, 0),
    ("nst", -3, -30),
    ("ndt", -2, -30),
    ("brt", -3, 0),
    ("art", -3, 0),
    ("pkt", 5, 0),
    ("hkt", 8, 0),
    ("sgt", 8, 0),
];

impl Zone {
    pub const UTC: Zone = Zone::Named(Tz::UTC);

    /// A zone as `SET TimeZone` and `AT TIME ZONE` take it. A bare offset has POSIX's sign: `+02` lies west. 22023.
    pub fn parse(text: &str) -> Result<Zone> {
        let text = text.trim();
        if let Some(zone) = named(text) {
            return Ok(zone);
        }
        if let Some(inner) = text.strip_prefix('<')
            && let Some((_, rest)) = inner.split_once('>')
            && let Some(seconds) = parse_offset(rest).or_else(|| parse_offset(&format!("+{rest}")))
        {
            return Ok(Zone::Fixed(-seconds));
        }
        let offset = parse_offset(text).or_else(|| {
            text.starts_with(|c: char| c.is_ascii_digit()).then(|| parse_offset(&format!("+{text}"))).flatten()
        });
        if let Some(seconds) = offset {
            return Ok(Zone::Fixed(-seconds));
        }
        let letters = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(0);
        if letters >= 3
            && let rest = &text[letters..]
            && let Some(seconds) = parse_offset(rest).or_else(|| parse_offset(&format!("+{rest}")))
        {
            return Ok(Zone::Fixed(-seconds));
        }
        Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{text}\" not recognized")))
    }

    /// Seconds east of UTC at an instant (microseconds since 1970 UTC).
    pub fn offset_at(&self, instant: i64) -> i32 {
        match self {
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(Tz::UTC) => 0,
            Zone::Named(tz) => {
                naive(instant).map_or(0, |utc| tz.offset_from_utc_datetime(&utc).fix().local_minus_utc())
            }
        }
    }

    /// Microseconds of local time since 1970 at an instant. Infinities stay.
    pub fn to_local(&self, instant: i64) -> i64 {
        if instant == i64::MAX || instant == i64::MIN {
            return instant;
        }
        instant.saturating_add(i64::from(self.offset_at(instant)) * 1_000_000)
    }

    /// The instant of a local time. In a gap the offset before it holds, in an overlap the one after it, as in
    /// Postgres.
    pub fn to_instant(&self, local: i64) -> i64 {
        if local == i64::MAX || local == i64::MIN {
            return local;
        }
        let offset = match self {
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(Tz::UTC) => 0,
            Zone::Named(tz) => {
                use chrono::LocalResult;
                match naive(local).map(|local| tz.offset_from_local_datetime(&local)) {
                    Some(LocalResult::Single(offset)) => offset.fix().local_minus_utc(),
                    Some(LocalResult::Ambiguous(first, second)) => {
                        // The smaller offset is the later instant.
                        first.fix().local_minus_utc().min(second.fix().local_minus_utc())
                    }
                    _ => self.offset_at(local.saturating_sub(86_400_000_000)),
                }
            }
        };
        local.saturating_sub(i64::from(offset) * 1_000_000)
    }

    /// The abbreviation in force at an instant, as `to_char(.., 'TZ')` prints it.
    pub fn abbreviation_at(&self, instant: i64) -> String {
        match self {
            Zone::Fixed(seconds) => {
                let mut text = String::new();
                write_offset(&mut text, *seconds);
                text
            }
            Zone::Named(tz) => {
                naive(instant).map_or_else(|| "UTC".to_string(), |utc| tz.offset_from_utc_datetime(&utc).to_string())
            }
        }
    }
}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Zone::Named(tz) => f.write_str(tz.name()),
            Zone::Fixed(seconds) => {
                let (mut east, mut west) = (String::new(), String::new());
                write_offset(&mut east, *seconds);
                write_offset(&mut west, -*seconds);
                write!(f, "<{east}>{west}")
            }
        }
    }
}

/// The first microsecond after the years that the rules are written out for.
const UNKNOWN: i64 = 4_102_444_800_000_000;
/// After 400 years dates fall on the same days of the week.
const CYCLE: i64 = 146_097 * 86_400_000_000;

/// A time for looking up what holds then. The rules end with 2099: a later year takes those of one before it that
/// begins on the same day of the week and is as long.
fn naive(micros: i64) -> Option<NaiveDateTime> {
    if micros < UNKNOWN {
        return DateTime::from_timestamp_micros(micros).map(|instant| instant.naive_utc());
    }
    let time = DateTime::from_timestamp_micros(UNKNOWN + (micros - UNKNOWN) % CYCLE)?.naive_utc();
    let january = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1);
    let own = january(time.year())?;
    let alike = (2072..2100).filter_map(january);
    let mut alike = alike.filter(|first| first.weekday() == own.weekday() && first.leap_year() == own.leap_year());
    Some(time - own.signed_duration_since(alike.next()?))
}

/// A zone by IANA name, without regard to case, or by abbreviation.
pub fn named(text: &str) -> Option<Zone> {
    if let Ok(tz) = text.parse::<Tz>() {
        return Some(Zone::Named(tz));
    }
    let lower = text.to_ascii_lowercase();
    if let Some(&(_, hours, minutes)) = ABBREVIATIONS.iter().find(|(name, ..)| *name == lower) {
        return Some(if matches!(lower.as_str(), "utc" | "gmt" | "z" | "zulu") {
            Zone::UTC
        } else {
            Zone::Fixed(hours * 3600 + minutes * 60)
        });
    }
    chrono_tz::TZ_VARIANTS.iter().find(|tz| tz.name().eq_ignore_ascii_case(text)).map(|tz| Zone::Named(*tz))
}

/// Seconds of `+02`, `-0530`, `+05:30`, `-03:30:15`, with the sign as written; at most 15:59:59.
pub fn parse_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let number = |digits: &str| -> Option<i32> {
        (matches!(digits.len(), 1 | 2) && digits.bytes().all(|c| c.is_ascii_digit())).then(|| digits.parse().ok())?
    };
    let mut parts = rest.split(':');
    let (first, second, third) = (parts.next()?, parts.next(), parts.next());
    let (h, m, s) = match (first.len(), second) {
        (3 | 4, None) if first.is_ascii() => {
            let (h, m) = first.split_at(first.len() - 2);
            (number(h)?, number(m)?, 0)
        }
        (_, second) => (number(first)?, second.map_or(Some(0), number)?, third.map_or(Some(0), number)?),
    };
    if parts.next().is_some() {
        return None;
    }
    (h <= 15 && m < 60 && s < 60).then_some(sign * (h * 3600 + m * 60 + s))
}

/// Prints `+00`, `+05:30`, `-03:30:15`.
pub fn write_offset(out: &mut impl Write, seconds: i32) {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (h, m, s) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    // Writing to a growing buffer cannot fail.
    let _ = match (m, s) {
        (0, 0) => write!(out, "{sign}{h:02}"),
        (_, 0) => write!(out, "{sign}{h:02}:{m:02}"),
        _ => write!(out, "{sign}{h:02}:{m:02}:{s:02}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn gaps_and_overlaps_go_postgres_way() {
        let berlin = Zone::parse("europe/berlin").unwrap();
        // 2024-03-31 02:30 does not exist: it is read as 02:30+01, 01:30 UTC.
        let gap = (19_813 * 24 + 2) * HOUR + HOUR / 2;
        assert_eq!(berlin.to_instant(gap), gap - HOUR);
        // 2024-10-27 02:30 exists twice: the second one, +01.
        let twice = (20_023 * 24 + 2) * HOUR + HOUR / 2;
        assert_eq!(berlin.to_instant(twice), twice - HOUR);
    }

    #[test]
    fn summers_go_on_after_2099() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        // Noons of 1 July and 1 January of 2100, 2150 and 200000, as PostgreSQL has them.
        for (noon, offset) in [
            (4_118_126_400, 2),
            (4_102_488_000, 1),
            (5_695_963_200, 2),
            (5_680_324_800, 1),
            (6_249_238_948_800, 2),
            (6_249_223_224_000, 1),
        ] {
            assert_eq!(berlin.offset_at(noon * 1_000_000), offset * 3600, "{noon}");
        }
    }

    #[test]
    fn offsets_in_every_form() {
        let cases = [
            ("+02", Some(7200)),
            ("+2", Some(7200)),
            ("-0530", Some(-19_800)),
            ("+530", Some(19_800)),
            ("+05:30", Some(19_800)),
            ("+5:3", Some(18_180)),
            ("-03:30:15", Some(-12_615)),
            ("+15:59:59", Some(57_599)),
            ("+16", None),
            ("+02:60", None),
            ("+02:00:00:00", None),
            ("+", None),
            ("02", None),
            ("+02:", None),
            ("+0é", None),
            ("+00530", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_offset(text), seconds, "{text}");
        }
    }

    #[test]
    fn offsets_have_posix_sign_as_zone_names() {
        assert_eq!(Zone::parse("+02"), Ok(Zone::Fixed(-7200)));
        assert_eq!(Zone::parse("EST"), Ok(Zone::Named(chrono_tz::EST)));
        assert_eq!(Zone::parse("<+05:30>-05:30"), Ok(Zone::Fixed(19800)));
        assert_eq!(Zone::Fixed(19800).to_string(), "<+05:30>-05:30");
        assert_eq!(Zone::parse("Mars/Olympus").unwrap_err().state(), SqlState::INVALID_PARAMETER_VALUE);
    }
}
