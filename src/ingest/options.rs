//! Values of a stream's WITH options. Their names are canonical: `sql/bind/options.rs` knows the spellings.

use crate::catalog::Connector;
use crate::error::{Error, Result, SqlState};

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

    #[test]
    fn numbers_have_limits() {
        let options = [("seed", "7"), ("number.of.rows", "-1")];
        let options = options.map(|(name, value)| (name.to_string(), value.to_string())).to_vec();
        let connector = Connector { name: "datagen".to_string(), options };
        assert_eq!(number(&connector, "seed", 0, 0..=u64::MAX).unwrap(), 7);
        assert_eq!(number(&connector, "rows.per.second", 10, 0..=100).unwrap(), 10);
        assert_eq!(
            number(&connector, "number.of.rows", 0, 0..=9).unwrap_err().state(),
            SqlState::INVALID_PARAMETER_VALUE
        );
        assert!(required(&connector, "topic").is_err());
    }
}
