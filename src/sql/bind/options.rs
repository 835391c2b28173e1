//! Options of CREATE STREAM ... WITH (...): every accepted spelling, and the one they are kept in.
//!
//! Each connector lists its options here, in the order in which SHOW CREATE prints them. Those of a family (`properties.X`,
//! `fields.COLUMN.X`) come after them, by name, and keep the case of what follows: it may be a column. Kafka's values
//! are checked here; the generators check theirs against the columns when the stream is made.

use sqlparser::ast::Ident;

use super::scope::place;
use crate::catalog::Connector;
use crate::error::{Error, Result, SqlState};

/// The options of a connector.
struct Options {
    connector: &'static str,
    /// Canonical names, and what else is accepted for each.
    known: &'static [(&'static str, &'static [&'static str])],
    /// Prefix of the family, and how the hint shows it.
    family: Option<(&'static str, &'static str)>,
}

const KAFKA: Options = Options {
    connector: "kafka",
    known: &[
        ("topic", &["kafka_topic"]),
        (
            "bootstrap.servers",
            &["bootstrap", "bootstrap_servers", "properties.bootstrap.server", "properties.bootstrap.servers"],
        ),
        ("format", &["value_format"]),
        ("scan.startup.mode", &[]),
        ("scan.startup.timestamp.millis", &[]),
    ],
    family: Some(("properties.", "properties.* for librdkafka")),
};

const DATAGEN: Options = Options {
    connector: "datagen",
    known: &[("rows.per.second", &[]), ("number.of.rows", &[]), ("seed", &[])],
    family: Some(("fields.", "fields.COLUMN.{kind, start, end, step, min, max, length, values, null.rate}")),
};

const NEXMARK: Options = Options {
    connector: "nexmark",
    known: &[
        ("table.type", &[]),
        ("events.num", &[]),
        ("rows.per.second", &[]),
        ("event.rate", &[]),
        ("base.time.millis", &[]),
        ("person.proportion", &[]),
        ("auction.proportion", &[]),
        ("bid.proportion", &[]),
        ("hot.auction.ratio", &[]),
        ("hot.bidder.ratio", &[]),
        ("hot.seller.ratio", &[]),
        ("hot.channel.ratio", &[]),
        ("active.people", &[]),
        ("in.flight.auctions", &[]),
        ("out.of.order.group.size", &[]),
    ],
    family: None,
};

const CONNECTORS: [&Options; 3] = [&KAFKA, &DATAGEN, &NEXMARK];

/// An option that was written, under its canonical name.
struct Given<'a> {
    /// Its place among the connector's options.
    order: usize,
    name: String,
    value: &'a str,
    at: Option<u32>,
}

/// Canonical names and order; `None` without options. Errors: 22023 for a name or value that is none.
pub(super) fn canonical_options(written: &[(Ident, String)]) -> Result<Option<Connector>> {
    if written.is_empty() {
        return Ok(None);
    }
    let options = find_connector(written)?;
    let mut given: Vec<Given> = Vec::with_capacity(written.len());
    for (ident, value) in written.iter().filter(|(ident, _)| !names_connector(ident)) {
        let (order, name) = options.resolve(ident)?;
        let before = given.iter().find(|other| other.name == name);
        if before.is_none() {
            given.push(Given { order, name, value, at: place(ident) });
        } else if !before.is_some_and(|before| is_same(&name, before.value, value)) {
            return Err(twice(&name, ident));
        }
    }
    given.sort_by(|one, other| (one.order, &one.name).cmp(&(other.order, &other.name)));
    let in_order = match options.connector {
        "kafka" => kafka(&given)?,
        _ => given.into_iter().map(|given| (given.name, given.value.to_string())).collect(),
    };
    Ok(Some(Connector { name: options.connector.to_string(), options: in_order }))
}

fn names_connector(ident: &Ident) -> bool {
    ident.value.eq_ignore_ascii_case("connector")
}

/// 0A000 for options of Postgres's tables.
pub(super) fn check_storage(written: &[(Ident, String)]) -> Result<()> {
    match written.iter().find(|(ident, _)| is_storage_parameter(&ident.value)) {
        Some((ident, _)) => {
            let what = format!("storage parameter \"{}\"", ident.value);
            Err(Error::unsupported(what, "Leave WITH (...) out.").or_position(place(ident)))
        }
        None => Ok(()),
    }
}

fn is_storage_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let families = ["autovacuum_", "toast", "vacuum_", "log_autovacuum"];
    families.iter().any(|family| name.starts_with(family))
        || matches!(name.as_str(), "fillfactor" | "oids" | "parallel_workers" | "user_catalog_table")
}

/// FORMAT PLAIN ENCODE JSON may stand beside format = 'JSON'.
fn is_same(name: &str, one: &str, other: &str) -> bool {
    one == other || (matches!(name, "format" | "connector") && one.eq_ignore_ascii_case(other))
}

fn invalid(message: impl Into<String>, at: Option<u32>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message.into()).or_position(at)
}

fn twice(name: &str, ident: &Ident) -> Error {
    invalid(format!("option \"{name}\" is given more than once"), place(ident))
}

/// The connector named; a topic alone says Kafka, as in ksqlDB.
fn find_connector(written: &[(Ident, String)]) -> Result<&'static Options> {
    let mut named = written.iter().filter(|(ident, _)| names_connector(ident));
    let Some((ident, wanted)) = named.next() else {
        if written.iter().any(|(ident, _)| matches!(KAFKA.resolve(ident), Ok((0, _)))) {
            return Ok(&KAFKA);
        }
        check_storage(written)?;
        return Err(invalid("option \"connector\" is missing", None).with_hint(
            "The connectors are kafka, datagen and nexmark; leave WITH out for a stream that INSERT writes.",
        ));
    };
    if let Some((ident, _)) = named.find(|(_, other)| !is_same("connector", wanted, other)) {
        return Err(twice("connector", ident));
    }
    let found = CONNECTORS.into_iter().find(|options| options.connector.eq_ignore_ascii_case(wanted));
    found.ok_or_else(|| {
        invalid(format!("connector \"{wanted}\" does not exist"), place(ident))
            .with_hint("The connectors are kafka, datagen and nexmark.")
    })
}

impl Options {
    /// Place in the canonical order, and canonical name, of an option as written.
    fn resolve(&self, ident: &Ident) -> Result<(usize, String)> {
        let folded = ident.value.to_ascii_lowercase();
        let is_named = |(name, also): &(&str, &[&str])| *name == folded || also.contains(&folded.as_str());
        if let Some(order) = self.known.iter().position(is_named) {
            return Ok((order, self.known[order].0.to_string()));
        }
        if let Some((prefix, _)) = self.family
            && folded.len() > prefix.len()
            && folded.starts_with(prefix)
        {
            return Ok((self.known.len(), format!("{prefix}{}", &ident.value[prefix.len()..])));
        }
        let mut valid = vec!["connector"];
        valid.extend(self.known.iter().map(|(name, _)| *name));
        valid.extend(self.family.map(|(_, shown)| shown));
        let (last, others) = valid.split_last().unwrap_or((&"connector", &[]));
        let hint = format!("The options of {} are {} and {last}.", self.connector, others.join(", "));
        Err(invalid(format!("option \"{}\" does not exist", ident.value), place(ident)).with_hint(hint))
    }
}

/// Kafka's options with their values checked and the defaults filled in, in the order of the table above.
fn kafka(given: &[Given]) -> Result<Vec<(String, String)>> {
    let find = |name: &str| given.iter().find(|given| given.name == name);
    for (required, hint) in [
        ("topic", "Add topic = '...'."),
        ("bootstrap.servers", "Add \"bootstrap.servers\" = 'host:9092'; there is no server-wide one."),
    ] {
        match find(required) {
            None => return Err(invalid(format!("option \"{required}\" is missing"), None).with_hint(hint)),
            Some(Given { value, at, .. }) if value.trim().is_empty() => {
                return Err(invalid(format!("option \"{required}\" is empty"), *at));
            }
            Some(_) => {}
        }
    }
    let mut options = Vec::with_capacity(given.len() + 2);
    for (name, _) in KAFKA.known {
        let value = match (*name, find(name)) {
            ("format", None) => "json".to_string(),
            ("format", Some(Given { value, at, .. })) => match value.to_ascii_lowercase().as_str() {
                "json" => "json".to_string(),
                other => {
                    return Err(
                        invalid(format!("format \"{other}\" does not exist"), *at).with_hint("The format is json.")
                    );
                }
            },
            ("scan.startup.mode", None) => match find("scan.startup.timestamp.millis") {
                Some(_) => "timestamp".to_string(),
                None => "earliest".to_string(),
            },
            ("scan.startup.mode", Some(Given { value, at, .. })) => match value.to_ascii_lowercase().as_str() {
                mode @ ("earliest" | "latest" | "timestamp") => mode.to_string(),
                other => {
                    let message = format!("scan.startup.mode can't be \"{other}\"");
                    return Err(invalid(message, *at).with_hint("The modes are earliest, latest and timestamp."));
                }
            },
            ("scan.startup.timestamp.millis", Some(Given { value, at, .. })) => match value.parse::<i64>() {
                Ok(millis) if millis >= 0 => millis.to_string(),
                _ => {
                    return Err(invalid("scan.startup.timestamp.millis must be milliseconds since 1970", *at));
                }
            },
            (_, None) => continue,
            (_, Some(given)) => given.value.to_string(),
        };
        options.push((name.to_string(), value));
    }
    let mode = options.iter().find(|(name, _)| name == "scan.startup.mode").map(|(_, mode)| mode.as_str());
    let timestamp = options.iter().any(|(name, _)| name == "scan.startup.timestamp.millis");
    if (mode == Some("timestamp")) != timestamp {
        let message = "scan.startup.mode = 'timestamp' and scan.startup.timestamp.millis go together";
        return Err(invalid(message, None));
    }
    let family = given.iter().filter(|given| given.order == KAFKA.known.len());
    options.extend(family.map(|given| (given.name.clone(), given.value.to_string())));
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(options: &[(&str, &str)]) -> Result<Option<Connector>> {
        let options: Vec<_> = options.iter().map(|(name, value)| (Ident::new(*name), value.to_string())).collect();
        canonical_options(&options)
    }

    #[test]
    fn spellings_meet_in_one_form() {
        let first = canonical(&[("kafka_topic", "t"), ("BOOTSTRAP", "h:9092"), ("value_format", "JSON")]).unwrap();
        let kept = first.clone().expect("options");
        let names: Vec<&str> = kept.options.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["topic", "bootstrap.servers", "format", "scan.startup.mode"]);
        for servers in
            ["bootstrap.servers", "bootstrap_servers", "properties.bootstrap.server", "properties.bootstrap.servers"]
        {
            let options = [
                ("format", "json"),
                ("scan.startup.mode", "Earliest"),
                ("connector", "Kafka"),
                (servers, "h:9092"),
                ("topic", "t"),
            ];
            assert_eq!(canonical(&options).unwrap(), first);
        }
        // What was canonical stays as it is.
        let mut again: Vec<(&str, &str)> =
            kept.options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        again.push(("connector", "kafka"));
        assert_eq!(canonical(&again).unwrap(), first);
        assert_eq!(canonical(&[]).unwrap(), None);
    }

    #[test]
    fn names_in_a_family_keep_their_case_and_come_last() {
        let options =
            [("Fields.userId.kind", "sequence"), ("SEED", "1"), ("connector", "datagen"), ("fields.a.min", "2")];
        let made = canonical(&options).unwrap().expect("options");
        let names: Vec<&str> = made.options.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["seed", "fields.a.min", "fields.userId.kind"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |options: &[(&str, &str)]| canonical(options).unwrap_err();
        let message = |options: &[(&str, &str)]| error(options).message().to_string();
        assert_eq!(message(&[("topic", "t")]), "option \"bootstrap.servers\" is missing");
        assert_eq!(message(&[("format", "json")]), "option \"connector\" is missing");
        assert_eq!(message(&[("connector", "pulsar")]), "connector \"pulsar\" does not exist");
        let base = [("topic", "t"), ("bootstrap.servers", "h")];
        assert_eq!(message(&[base[0], base[1], ("frmat", "json")]), "option \"frmat\" does not exist");
        assert_eq!(message(&[base[0], base[1], ("format", "avro")]), "format \"avro\" does not exist");
        assert!(message(&[base[0], base[1], ("scan.startup.mode", "timestamp")]).contains("go together"));
        // Topics and servers differ by case.
        assert!(message(&[base[0], ("topic", "T"), base[1]]).contains("more than once"));
        assert!(message(&[("connector", "datagen"), ("connector", "nexmark")]).contains("more than once"));
        assert!(canonical(&[base[0], base[1], ("format", "JSON"), ("format", "json")]).is_ok());

        let unknown = error(&[("connector", "datagen"), ("speed", "1")]);
        assert_eq!(unknown.state(), SqlState::INVALID_PARAMETER_VALUE);
        let hint = "The options of datagen are connector, rows.per.second, number.of.rows, seed and \
                    fields.COLUMN.{kind, start, end, step, min, max, length, values, null.rate}.";
        assert_eq!(unknown.hint(), Some(hint));
        assert_eq!(
            message(&[("connector", "nexmark"), ("fields.a.kind", "x")]),
            "option \"fields.a.kind\" does not exist"
        );
        // Spellings of other systems that have another form here.
        for other in ["topics", "brokers", "kafka.topic", "value.format", "bootstrap.server", "startup_mode"] {
            assert_eq!(message(&[base[0], base[1], (other, "x")]), format!("option \"{other}\" does not exist"));
        }
    }
}
