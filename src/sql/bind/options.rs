//! Options of CREATE STREAM ... WITH (...): every accepted spelling, and the one they are kept in.

use sqlparser::ast::Ident;

use super::scope::place;
use crate::catalog::Connector;
use crate::error::{Error, Result, SqlState};

const KAFKA: &[&str] =
    &["connector", "topic", "bootstrap.servers", "format", "scan.startup.mode", "scan.startup.timestamp.millis"];

/// Canonical names and order; `None` without options. Errors: 22023 for a name or value that is none.
pub(super) fn canonical_options(options: &[(Ident, String)]) -> Result<Option<Connector>> {
    if options.is_empty() {
        return Ok(None);
    }
    let mut canonical: Vec<(String, String, Option<u32>)> = Vec::with_capacity(options.len());
    for (ident, value) in options {
        let name = canonical_name(&ident.value);
        let at = place(ident);
        if let Some((_, before, _)) = canonical.iter().find(|(other, ..)| *other == name) {
            if before.eq_ignore_ascii_case(value) {
                continue;
            }
            let message = format!("option \"{name}\" is given more than once");
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message).or_position(at));
        }
        canonical.push((name, value.clone(), at));
    }
    let find = |name: &str| canonical.iter().find(|(other, ..)| other == name).map(|(_, value, _)| value.as_str());
    let connector = match find("connector") {
        Some(connector) => connector.to_ascii_lowercase(),
        // A topic says enough.
        None if find("topic").is_some() => "kafka".to_string(),
        None => {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "option \"connector\" is missing").with_hint(
                "The connectors are kafka, datagen and nexmark; leave WITH out for a stream that INSERT writes.",
            ));
        }
    };
    let options = match connector.as_str() {
        "kafka" => kafka(&canonical)?,
        // The generators know their own options; they check them when the stream is started.
        "datagen" | "nexmark" => {
            let rest = canonical.iter().filter(|(name, ..)| name != "connector");
            let mut rest: Vec<(String, String)> = rest.map(|(name, value, _)| (name.clone(), value.clone())).collect();
            rest.sort();
            rest
        }
        other => {
            let message = format!("connector \"{other}\" does not exist");
            let at = canonical.iter().find(|(name, ..)| name == "connector").and_then(|(.., at)| *at);
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
                .with_hint("The connectors are kafka, datagen and nexmark.")
                .or_position(at));
        }
    };
    Ok(Some(Connector { name: connector, options }))
}

fn canonical_name(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "kafka_topic" | "topics" | "kafka.topic" => "topic".to_string(),
        "bootstrap"
        | "bootstrap_servers"
        | "bootstrap.server"
        | "properties.bootstrap.server"
        | "properties.bootstrap.servers"
        | "brokers" => "bootstrap.servers".to_string(),
        "value_format" | "value.format" => "format".to_string(),
        "scan_startup_mode" | "startup_mode" => "scan.startup.mode".to_string(),
        "scan_startup_timestamp_millis" => "scan.startup.timestamp.millis".to_string(),
        _ => name,
    }
}

/// Kafka's options in the order of the table above, then librdkafka's by name.
fn kafka(given: &[(String, String, Option<u32>)]) -> Result<Vec<(String, String)>> {
    let invalid =
        |message: String, at: Option<u32>| Error::new(SqlState::INVALID_PARAMETER_VALUE, message).or_position(at);
    for (name, _, at) in given {
        if !KAFKA.contains(&name.as_str()) && !name.starts_with("properties.") {
            let hint = format!("The options are {} and properties.* for librdkafka.", KAFKA.join(", "));
            return Err(invalid(format!("option \"{name}\" does not exist"), *at).with_hint(hint));
        }
    }
    let find = |name: &str| given.iter().find(|(other, ..)| other == name);
    for required in ["topic", "bootstrap.servers"] {
        match find(required) {
            None => return Err(invalid(format!("option \"{required}\" is missing"), None)),
            Some((_, value, at)) if value.trim().is_empty() => {
                return Err(invalid(format!("option \"{required}\" is empty"), *at));
            }
            Some(_) => {}
        }
    }
    let mut options = Vec::with_capacity(given.len() + 2);
    for name in KAFKA.iter().filter(|name| **name != "connector") {
        let value = match (*name, find(name)) {
            ("format", None) => "json".to_string(),
            ("format", Some((_, value, at))) => match value.to_ascii_lowercase().as_str() {
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
            ("scan.startup.mode", Some((_, value, at))) => match value.to_ascii_lowercase().as_str() {
                "earliest" | "earliest-offset" => "earliest".to_string(),
                "latest" | "latest-offset" => "latest".to_string(),
                "timestamp" => "timestamp".to_string(),
                other => {
                    let message = format!("scan.startup.mode can't be \"{other}\"");
                    return Err(invalid(message, *at).with_hint("The modes are earliest, latest and timestamp."));
                }
            },
            ("scan.startup.timestamp.millis", Some((_, value, at))) => match value.parse::<i64>() {
                Ok(millis) if millis >= 0 => millis.to_string(),
                _ => {
                    return Err(invalid(
                        "scan.startup.timestamp.millis must be milliseconds since 1970".to_string(),
                        *at,
                    ));
                }
            },
            (_, None) => continue,
            (_, Some((_, value, _))) => value.clone(),
        };
        options.push((name.to_string(), value));
    }
    let mode = options.iter().find(|(name, _)| name == "scan.startup.mode").map(|(_, mode)| mode.as_str());
    let timestamp = options.iter().any(|(name, _)| name == "scan.startup.timestamp.millis");
    if (mode == Some("timestamp")) != timestamp {
        let message = "scan.startup.mode = 'timestamp' and scan.startup.timestamp.millis go together".to_string();
        return Err(invalid(message, None));
    }
    let mut properties: Vec<(String, String)> = given
        .iter()
        .filter(|(name, ..)| name.starts_with("properties."))
        .map(|(name, value, _)| (name.clone(), value.clone()))
        .collect();
    properties.sort();
    options.extend(properties);
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
        let one = canonical(&[("kafka_topic", "t"), ("BOOTSTRAP", "h:9092"), ("value_format", "JSON")]).unwrap();
        let two = canonical(&[
            ("format", "json"),
            ("scan.startup.mode", "earliest"),
            ("connector", "kafka"),
            ("properties.bootstrap.servers", "h:9092"),
            ("topic", "t"),
        ])
        .unwrap();
        assert_eq!(one, two);
        assert_eq!(one.unwrap().option("bootstrap.servers"), Some("h:9092"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |options: &[(&str, &str)]| canonical(options).unwrap_err().message().to_string();
        assert_eq!(message(&[("topic", "t")]), "option \"bootstrap.servers\" is missing");
        assert_eq!(message(&[("format", "json")]), "option \"connector\" is missing");
        assert_eq!(message(&[("connector", "pulsar")]), "connector \"pulsar\" does not exist");
        let base = [("topic", "t"), ("bootstrap.servers", "h")];
        assert_eq!(message(&[base[0], base[1], ("frmat", "json")]), "option \"frmat\" does not exist");
        assert_eq!(message(&[base[0], base[1], ("format", "avro")]), "format \"avro\" does not exist");
        assert!(message(&[base[0], base[1], ("scan.startup.mode", "timestamp")]).contains("go together"));
        assert!(message(&[base[0], ("topic", "u"), base[1]]).contains("more than once"));
    }
}
