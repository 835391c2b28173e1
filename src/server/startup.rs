//! From the first byte of a connection to a session that is ready: encryption requests, the start-up packet, who and where.

use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};

use super::settings::{ServerSettings, Settings};
use crate::error::{Error, Result, SqlState};

/// Who connects to what, and the settings it brings.
pub struct Client {
    pub user: String,
    pub database: String,
    pub settings: Settings,
    /// What the client asked for that does not exist: a newer protocol, options of the protocol.
    pub negotiate: Option<NegotiateProtocolVersion>,
}

/// 3.0, as the client counts: libpq reads the whole version here, not the minor number alone.
const NEWEST_PROTOCOL: i32 = 3 << 16;

/// The one database there is.
pub const DATABASE: &str = "postgres";

/// Reads the start-up packet's parameters. Any user is let in while no users exist.
pub fn client(server: &ServerSettings, minor: u16, parameters: Vec<(String, String)>) -> Result<Client> {
    let mut settings = Settings::new(server.clone());
    let mut user = None;
    let mut database = None;
    let mut options = String::new();
    let mut protocol_options = Vec::new();
    let mut asked = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value),
            "options" => options = value,
            "replication" => {
                if !matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "no" | "0") {
                    return Err(Error::unsupported("replication", "Connect without the replication parameter."));
                }
            }
            _ if name.starts_with("_pq_.") => protocol_options.push(name),
            _ => asked.push((name, value)),
        }
    }
    let Some(user) = user.filter(|user| !user.is_empty()) else {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(Error::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message));
    };
    let database = database.filter(|database| !database.is_empty()).unwrap_or_else(|| user.clone());
    if database != DATABASE && database != user {
        let message = format!("database \"{database}\" does not exist");
        return Err(Error::new(SqlState::INVALID_CATALOG_NAME, message)
            .with_hint(format!("There is one database: psql -U {user} {DATABASE}")));
    }
    // As in Postgres, `options` come first and single parameters win over them.
    for (name, value) in command_line_options(&options)?.into_iter().chain(asked) {
        settings.set_at_start(&name, &value)?;
    }
    settings.set_internal("session_authorization", &user);
    let negotiate = (minor > 0 || !protocol_options.is_empty())
        .then(|| NegotiateProtocolVersion::new(NEWEST_PROTOCOL, protocol_options));
    Ok(Client { user, database: DATABASE.to_string(), settings, negotiate })
}

/// `-c name=value`, `-cname=value` and `--name=value` of the `options` parameter; a backslash keeps a blank.
fn command_line_options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let mut options = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(long), _) => Some(long.to_string()),
            (None, Some("")) => words.next(),
            (None, Some(short)) => Some(short.to_string()),
            (None, None) => None,
        };
        match assignment.as_deref().and_then(|text| text.split_once('=')) {
            Some((name, value)) => options.push((name.replace('-', "_"), value.to_string())),
            None => {
                let message = format!("invalid command-line argument for server process: {word}");
                return Err(Error::new(SqlState::SYNTAX_ERROR, message));
            }
        }
    }
    Ok(options)
}

/// What a session says first, in Postgres's order: welcome, settings, the key for cancel requests.
pub fn greet<W: tokio::io::AsyncWrite + Unpin>(
    out: &mut super::wire::Outbox<W>,
    client: &mut Client,
    pid: i32,
    secret: u32,
) {
    if let Some(negotiate) = client.negotiate.take() {
        out.push(negotiate);
    }
    out.push(Authentication::Ok);
    for (name, value) in client.settings.unreported() {
        out.push(ParameterStatus::new(name.to_string(), value));
    }
    out.push(BackendKeyData::new(pid, SecretKey::I32(secret as i32)));
}

/// A packet asked for encryption, which does not exist yet: the one-byte answer.
pub const NO_ENCRYPTION: u8 = b'N';

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(parameters: &[(&str, &str)]) -> Result<Client> {
        let parameters = parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        client(&ServerSettings::default(), 0, parameters)
    }

    #[test]
    fn a_database_named_like_the_user_is_postgres() {
        let client = connect(&[("user", "ann")]).unwrap();
        assert_eq!((client.user.as_str(), client.database.as_str()), ("ann", "postgres"));
        assert!(connect(&[("user", "ann"), ("database", "ann")]).is_ok());
        let error = connect(&[("user", "ann"), ("database", "sales")]).map(|_| ()).unwrap_err();
        assert_eq!(error.state(), SqlState::INVALID_CATALOG_NAME);
        assert_eq!(error.hint(), Some("There is one database: psql -U ann postgres"));
    }

    #[test]
    fn parameters_are_settings() {
        let options = r"-c statement_timeout=5s --search-path=a\ b -cTimeZone=europe/rome";
        let client = connect(&[("user", "ann"), ("options", options), ("client_encoding", "'utf-8'")]).unwrap();
        assert_eq!(client.settings.show("statement_timeout").unwrap(), "5s");
        assert_eq!(client.settings.show("TimeZone").unwrap(), "Europe/Rome");
        assert_eq!(client.settings.show("session_authorization").unwrap(), "ann");
        let unknown = connect(&[("user", "ann"), ("no_such_thing", "1")]).map(|_| ()).unwrap_err();
        assert_eq!(unknown.state(), SqlState::UNDEFINED_OBJECT);
        assert!(connect(&[("user", "ann"), ("options", "-x")]).is_err());
    }
}
