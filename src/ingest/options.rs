//! The WITH options of a stream: every accepted spelling to the canonical one, and values checked (22023).
//!
//! Each connector lists its options here, in the order in which SHOW CREATE prints them. Options of a family (`properties.X`,
//! `fields.COLUMN.X`) come after them, by name.

use crate::catalog::Connector;
use crate::error::{Error, Result, SqlState};

/// An option: its canonical name, and what else is accepted for it.
struct Known {
    name: &'static str,
    also: &'static [&'static str],
}

const fn known(name: &'static str, also: &'static [&'static str]) -> Known {
    Known { name, also }
}

struct Options {
    connector: &'static str,
    known: &'static [Known],
    /// Prefix of the family, and how the hint shows it.
    family: Option<(&'static str, &'static str)>,
}

const KAFKA: Options = Options {
    connector: "kafka",
    known: &[
        known("topic", &["kafka_topic", "kafka.topic"]),
        known(
            "bootstrap.servers",
            &["bootstrap", "bootstrap_servers", "properties.bootstrap.server", "properties.bootstrap.servers"],
        ),
        known("format", &["value_format", "value.format"]),
        known("scan.startup.mode", &["scan_startup_mode"]),
        known("scan.startup.timestamp.millis", &["scan.startup.timestamp-millis", "scan_startup_timestamp_millis"]),
    ],
    family: Some(("properties.", "properties.*")),
};

const DATAGEN: Options = Options {
    connector: "datagen",
    known: &[
        known("rows.per.second", &["rows-per-second", "rows_per_second", "datagen.rows.per.second"]),
        known("number.of.rows", &["number-of-rows", "number_of_rows"]),
        known("seed", &[]),
    ],
    family: Some(("fields.", "fields.COLUMN.{kind, start, end, step, min, max, length, values, null.rate}")),
};

const NEXMARK: Options = Options {
    connector: "nexmark",
    known: &[
        known("table.type", &["table_type", "nexmark.table.type"]),
        known("events.num", &["events_num", "nexmark.event.num"]),
        known("rows.per.second", &["rows-per-second", "rows_per_second"]),
        known("event.rate", &["event_rate", "first-event.rate"]),
        known("base.time.millis", &["base_time_millis"]),
        known("person.proportion", &["nexmark.person.proportion"]),
        known("auction.proportion", &["nexmark.auction.proportion"]),
        known("bid.proportion", &["nexmark.bid.proportion"]),
        known("hot.auction.ratio", &["bid.hot-ratio.auctions"]),
        known("hot.bidder.ratio", &["bid.hot-ratio.bidders"]),
        known("hot.seller.ratio", &["auction.hot-ratio.sellers"]),
        known("hot.channel.ratio", &[]),
        known("active.people", &[]),
        known("in.flight.auctions", &["nexmark.active.auctions"]),
        known("out.of.order.group.size", &[]),
    ],
    family: None,
};

const CONNECTORS: [&Options; 3] = [&KAFKA, &DATAGEN, &NEXMARK];

/// The connector that these options, as written, ask for, with its options in canonical names and order. Values are checked where the
/// connector is made. Canonical options come out unchanged.
pub fn canonical(written: &[(String, String)]) -> Result<Connector> {
    let options = find_connector(written)?;
    let mut found: Vec<(usize, String, &String)> = Vec::new();
    for (name, value) in written {
        if name.eq_ignore_ascii_case("connector") {
            continue;
        }
        let (order, canonical) = options.resolve(name)?;
        if found.iter().any(|(_, earlier, _)| *earlier == canonical) {
            return Err(invalid(format!("option \"{canonical}\" is given more than once")));
        }
        found.push((order, canonical, value));
    }
    found.sort();
    let options_in_order = found.into_iter().map(|(_, name, value)| (name, value.clone())).collect();
    Ok(Connector { name: options.connector.to_string(), options: options_in_order })
}

/// The connector named; ksqlDB's way of naming only a topic means Kafka.
fn find_connector(written: &[(String, String)]) -> Result<&'static Options> {
    let mut named = written.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connector"));
    let wanted = match (named.next(), named.next()) {
        (Some((_, value)), None) => value,
        (Some(_), Some(_)) => return Err(invalid("option \"connector\" is given more than once")),
        _ if written.iter().any(|(name, _)| matches!(KAFKA.resolve(name), Ok((0, _)))) => return Ok(&KAFKA),
        _ => {
            return Err(invalid("option \"connector\" is missing").with_hint(format!(
                "Write WITH (connector = ...), one of {}; without WITH the stream is on the embedded log.",
                connector_names()
            )));
        }
    };
    let found = CONNECTORS.into_iter().find(|options| options.connector.eq_ignore_ascii_case(wanted));
    found.ok_or_else(|| {
        invalid(format!("connector \"{wanted}\" does not exist"))
            .with_hint(format!("Connectors are {}.", connector_names()))
    })
}

fn connector_names() -> String {
    CONNECTORS.map(|options| format!("'{}'", options.connector)).join(", ")
}

impl Options {
    /// Position in the canonical order and canonical name of an option as written.
    fn resolve(&self, name: &str) -> Result<(usize, String)> {
        let folded = name.to_ascii_lowercase();
        let matches = |known: &Known| known.name == folded || known.also.contains(&folded.as_str());
        if let Some(position) = self.known.iter().position(matches) {
            return Ok((position, self.known[position].name.to_string()));
        }
        // What comes after the prefix keeps its case: it may be a column.
        if let Some((prefix, _)) = self.family
            && folded.len() > prefix.len()
            && folded.starts_with(prefix)
        {
            return Ok((self.known.len(), format!("{prefix}{}", &name[prefix.len()..])));
        }
        let mut valid = vec!["connector"];
        valid.extend(self.known.iter().map(|known| known.name));
        valid.extend(self.family.map(|(_, shown)| shown));
        Err(invalid(format!("unknown option \"{name}\" for connector '{}'", self.connector))
            .with_hint(format!("Valid options are {}.", valid.join(", "))))
    }
}

/// 22023.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// An option that must be there.
pub fn required<'a>(connector: &'a Connector, name: &str) -> Result<&'a str> {
    match connector.option(name) {
        Some(value) if !value.trim().is_empty() => Ok(value),
        _ => Err(invalid(format!("option \"{name}\" is missing for connector '{}'", connector.name))
            .with_hint(format!("Add {} = '...' to WITH.", quoted(name)))),
    }
}

/// An option name as SQL wants it: dotted names need quotes.
fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if plain { name.to_string() } else { format!("\"{name}\"") }
}

/// A whole number within limits, or the default.
pub fn number(connector: &Connector, name: &str, default: u64, limits: std::ops::RangeInclusive<u64>) -> Result<u64> {
    let Some(text) = connector.option(name) else { return Ok(default) };
    match text.trim().parse::<u64>() {
        Ok(number) if limits.contains(&number) => Ok(number),
        _ => Err(invalid(format!("invalid value for option \"{name}\": \"{text}\"")).with_hint(format!(
            "It must be a whole number between {} and {}.",
            limits.start(),
            limits.end()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn every_spelling_becomes_the_canonical_one() {
        let canonical_form = options(&[
            ("topic", "t"),
            ("bootstrap.servers", "h:1"),
            ("format", "json"),
            ("scan.startup.mode", "latest"),
            ("properties.sasl.username", "u"),
            ("properties.security.protocol", "SASL_SSL"),
        ]);
        let spellings = [
            options(&[
                ("properties.security.protocol", "SASL_SSL"),
                ("scan.startup.mode", "latest"),
                ("connector", "kafka"),
                ("properties.sasl.username", "u"),
                ("format", "json"),
                ("bootstrap.servers", "h:1"),
                ("topic", "t"),
            ]),
            options(&[
                ("KAFKA_TOPIC", "t"),
                ("value_format", "json"),
                ("properties.bootstrap.server", "h:1"),
                ("scan_startup_mode", "latest"),
                ("properties.security.protocol", "SASL_SSL"),
                ("properties.sasl.username", "u"),
            ]),
        ];
        for written in spellings {
            let connector = canonical(&written).unwrap();
            assert_eq!((connector.name.as_str(), &connector.options), ("kafka", &canonical_form));
            let mut again = connector.options.clone();
            again.push(("connector".to_string(), connector.name.clone()));
            assert_eq!(canonical(&again).unwrap(), connector);
        }
        for alias in ["bootstrap", "bootstrap_servers", "properties.bootstrap.servers"] {
            let connector = canonical(&options(&[("connector", "Kafka"), (alias, "h:1")])).unwrap();
            assert_eq!(connector.option("bootstrap.servers"), Some("h:1"));
        }
        let connector = canonical(&options(&[("connector", "datagen"), ("Fields.userId.kind", "sequence")])).unwrap();
        assert_eq!(connector.option("fields.userId.kind"), Some("sequence"));
    }

    #[test]
    fn wrong_options_say_what_is_valid() {
        let cases = [
            (
                options(&[("connector", "kafka"), ("topics", "t")]),
                "unknown option \"topics\" for connector 'kafka'",
                "topic, bootstrap.servers",
            ),
            (
                options(&[("connector", "nexmark"), ("fields.a.kind", "x")]),
                "unknown option \"fields.a.kind\"",
                "event.rate",
            ),
            (
                options(&[("connector", "pulsar")]),
                "connector \"pulsar\" does not exist",
                "'kafka', 'datagen', 'nexmark'",
            ),
            (options(&[("format", "json")]), "option \"connector\" is missing", "embedded log"),
        ];
        for (written, message, hint) in cases {
            let error = canonical(&written).unwrap_err();
            assert_eq!(error.state(), SqlState::INVALID_PARAMETER_VALUE);
            assert!(error.message().contains(message), "{error:?}");
            assert!(error.hint().is_some_and(|found| found.contains(hint)), "{error:?}");
        }
        let twice = options(&[("connector", "kafka"), ("topic", "a"), ("kafka_topic", "b")]);
        assert!(canonical(&twice).unwrap_err().message().contains("more than once"));
    }

    #[test]
    fn numbers_have_limits() {
        let connector =
            canonical(&options(&[("connector", "datagen"), ("seed", "7"), ("number.of.rows", "-1")])).unwrap();
        assert_eq!(number(&connector, "seed", 0, 0..=u64::MAX).unwrap(), 7);
        assert_eq!(number(&connector, "rows.per.second", 10, 0..=100).unwrap(), 10);
        assert_eq!(
            number(&connector, "number.of.rows", 0, 0..=9).unwrap_err().state(),
            SqlState::INVALID_PARAMETER_VALUE
        );
        assert!(required(&connector, "topic").is_err());
    }
}
