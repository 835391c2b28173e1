//! Settings of a session: SET, SET LOCAL, RESET and SHOW over the table of known names.
//!
//! A value is looked up in layers, the first that has it wins:
//!
//! ```text
//!   local    SET LOCAL, until the transaction ends
//!   session  SET, until RESET or the end of the session; undone when its transaction rolls back
//!   start    start-up packet and `options`: what RESET goes back to
//!   server   command line, environment, riverrun.toml
//!   table    the default
//! ```
//!
//! Names with a dot (`myapp.user`) need no entry in the table: they are the client's own, as in Postgres.

mod table;
mod value;

pub use table::{Context, SETTINGS, Setting, find};
pub use value::{Kind, Unit, Value, parse_bool, quote_name};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result, SqlState};
use crate::sql::SettingRow;

type Layer = BTreeMap<String, Value>;

/// What a transaction is like, and what new ones are like. While there is a transaction the first are in the local layer.
const MODES: [(&str, &str); 2] = [
    ("transaction_isolation", "default_transaction_isolation"),
    ("transaction_read_only", "default_transaction_read_only"),
];

/// Values that hold for the whole server, under every session.
#[derive(Clone, Debug, Default)]
pub struct ServerSettings {
    values: Arc<Layer>,
}

impl ServerSettings {
    /// Checks and keeps what the configuration gives. 42704 for a name that does not exist.
    pub fn new(given: impl IntoIterator<Item = (String, String)>) -> Result<ServerSettings> {
        let mut values = Layer::new();
        for (name, text) in given {
            let setting = known(&name)?;
            if setting.context == Context::Internal {
                return Err(cannot_be_changed(setting.name));
            }
            values.insert(setting.name.to_string(), setting.kind.parse(setting.name, &text)?);
        }
        Ok(ServerSettings { values: Arc::new(values) })
    }

    pub fn get(&self, name: &str) -> Value {
        match self.values.get(name) {
            Some(value) => value.clone(),
            None => table_default(name),
        }
    }

    /// A number in the setting's base unit (milliseconds, bytes).
    pub fn int(&self, name: &str) -> i64 {
        self.get(name).as_int()
    }
}

/// One session's settings.
pub struct Settings {
    server: ServerSettings,
    start: Layer,
    session: Layer,
    local: Layer,
    /// The session layer at the start of the transaction and at each savepoint; what ROLLBACK puts back.
    undo: Vec<(Layer, Layer)>,
    /// Bytes of the layers in `undo`.
    undo_bytes: usize,
    /// What the client was last told of each reported setting.
    reported: BTreeMap<&'static str, String>,
    /// For `pg_settings` and `current_setting`; made again after a change.
    rows: Option<Arc<[SettingRow]>>,
}

impl Settings {
    pub fn new(server: ServerSettings) -> Settings {
        Settings {
            server,
            start: Layer::new(),
            session: Layer::new(),
            local: Layer::new(),
            undo: Vec::new(),
            undo_bytes: 0,
            reported: BTreeMap::new(),
            rows: None,
        }
    }

    /// A value of the start-up packet. 42704 if there is no such setting.
    pub fn set_at_start(&mut self, name: &str, text: &str) -> Result<()> {
        let (name, value) = checked(name, text)?;
        self.start.insert(name, value);
        self.rows = None;
        Ok(())
    }

    /// A value that the session itself knows (`session_authorization`, `is_superuser`); clients can't change it.
    pub fn set_internal(&mut self, name: &'static str, text: &str) {
        self.start.insert(name.to_string(), Value::Text(text.to_string()));
        self.rows = None;
    }

    pub fn set(&mut self, name: &str, text: &str, local: bool) -> Result<()> {
        let (name, value) = checked(name, text)?;
        self.rows = None;
        if local {
            self.local.insert(name, value);
        } else {
            self.local.remove(&name);
            self.session.insert(name, value);
        }
        Ok(())
    }

    /// Back to what the session started with.
    pub fn reset(&mut self, name: &str, local: bool) -> Result<()> {
        let name = match find(name) {
            Some(setting) => changeable(setting)?.name.to_string(),
            None if is_custom(name) => name.to_ascii_lowercase(),
            None => return Err(unrecognized(name)),
        };
        self.rows = None;
        if local {
            let value = self.start.get(&name).cloned().unwrap_or_else(|| self.server.get(&name));
            self.local.insert(name, value);
        } else {
            self.local.remove(&name);
            self.session.remove(&name);
        }
        Ok(())
    }

    /// RESET ALL. As in Postgres, it changes nothing of what the transaction is like.
    pub fn reset_all(&mut self) {
        self.rows = None;
        self.session.clear();
        self.local.retain(|name, _| is_mode(name));
    }

    /// The value as SHOW prints it. 42704 for a name that does not exist.
    pub fn show(&self, name: &str) -> Result<String> {
        if let Some(setting) = find(name) {
            return Ok(setting.kind.show(&self.value(setting.name)));
        }
        let name = name.to_ascii_lowercase();
        match self.local.get(&name).or_else(|| self.session.get(&name)).or_else(|| self.start.get(&name)) {
            Some(Value::Text(text)) => Ok(text.clone()),
            _ => Err(unrecognized(&name)),
        }
    }

    fn value(&self, name: &str) -> Value {
        if let Some((mode, default)) = MODES.into_iter().find(|(mode, _)| *mode == name) {
            return self.local.get(mode).cloned().unwrap_or_else(|| self.value(default));
        }
        let layers = [&self.local, &self.session, &self.start];
        match layers.into_iter().find_map(|layer| layer.get(name)) {
            Some(value) => value.clone(),
            None => self.server.get(name),
        }
    }

    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text,
            other => other.to_string(),
        }
    }

    pub fn bool(&self, name: &str) -> bool {
        self.value(name) == Value::Bool(true)
    }

    /// A number in the setting's base unit.
    pub fn int(&self, name: &str) -> i64 {
        self.value(name).as_int()
    }

    /// A time limit; `None` where it is 0, which means off.
    pub fn limit(&self, name: &str) -> Option<Duration> {
        match self.int(name) {
            0 => None,
            milliseconds => Some(Duration::from_millis(milliseconds.unsigned_abs())),
        }
    }

    /// The schemas of `search_path` in order, `$user` resolved, without the system schemas.
    pub fn search_path(&self, user: &str) -> Vec<String> {
        value::split_names(&self.text("search_path"))
            .into_iter()
            .map(|name| if name == "$user" { user.to_string() } else { name })
            .collect()
    }

    /// A transaction starts, with the modes that the session gives to new ones.
    pub fn begin_transaction(&mut self) {
        self.begin();
        for (mode, default) in MODES {
            // What new transactions are like may change meanwhile.
            self.local.insert(mode.to_string(), self.value(default));
        }
    }

    /// The modes of the transaction, for one that is chained to it.
    pub fn modes(&self) -> [Value; 2] {
        MODES.map(|(mode, _)| self.value(mode))
    }

    pub fn set_modes(&mut self, values: [Value; 2]) {
        MODES.into_iter().zip(values).for_each(|((mode, _), value)| self.set_mode(mode, value));
    }

    fn set_mode(&mut self, mode: &str, value: Value) {
        if self.value(mode) != value {
            self.rows = None;
        }
        self.local.insert(mode.to_string(), value);
    }

    pub fn begin(&mut self) {
        self.undo_bytes += self.level_bytes();
        self.undo.push((self.session.clone(), self.local.clone()));
    }

    /// COMMIT: what is local ends, what is the session's stays.
    pub fn commit(&mut self) {
        self.forget_from(0);
        let (modes, others) = (self.modes(), self.local.keys().any(|name| !is_mode(name)));
        self.local.clear();
        if others || self.modes() != modes {
            self.rows = None;
        }
    }

    /// ROLLBACK: back to the start of the transaction.
    pub fn rollback(&mut self) {
        self.rollback_to(0);
    }

    /// Back to the start of the transaction (0) or to the n-th savepoint, which ends with it.
    pub fn rollback_to(&mut self, level: usize) {
        self.forget_from(level + 1);
        if let Some((session, local)) = self.undo.pop() {
            self.undo_bytes -= bytes(&session) + bytes(&local);
            self.session = session;
            self.local = local;
            self.rows = None;
        }
    }

    /// Forgets the savepoints from the n-th on, keeping what was set since.
    pub fn release(&mut self, level: usize) {
        self.forget_from(level);
    }

    fn forget_from(&mut self, level: usize) {
        let forgotten = self.undo.drain(level.min(self.undo.len())..);
        self.undo_bytes -= forgotten.map(|(session, local)| bytes(&session) + bytes(&local)).sum::<usize>();
    }

    /// Bytes that the session's values take, with those that a ROLLBACK would bring back.
    pub fn bytes(&self) -> usize {
        self.undo_bytes + self.level_bytes()
    }

    /// Bytes that a savepoint keeps.
    pub fn level_bytes(&self) -> usize {
        bytes(&self.session) + bytes(&self.local)
    }

    /// Reported settings whose value the client doesn't know yet, with their values. Each change is told once.
    pub fn unreported(&mut self) -> Vec<(&'static str, String)> {
        let mut news = Vec::new();
        for setting in SETTINGS.iter().filter(|setting| setting.report) {
            let shown = setting.kind.show(&self.value(setting.name));
            if self.reported.get(setting.name) != Some(&shown) {
                self.reported.insert(setting.name, shown.clone());
                news.push((setting.name, shown));
            }
        }
        news
    }

    /// Every setting as `pg_settings` has it, by name.
    pub fn rows(&mut self) -> Arc<[SettingRow]> {
        if let Some(rows) = &self.rows {
            return rows.clone();
        }
        let mut rows: Vec<SettingRow> = SETTINGS
            .iter()
            .map(|setting| SettingRow {
                name: setting.name.to_string(),
                value: setting.kind.show(&self.value(setting.name)),
                default: setting.kind.show(&table_default(setting.name)),
                unit: setting.kind.unit_name(),
                kind: setting.kind.type_name(),
                context: setting.context.name(),
                description: setting.description,
            })
            .collect();
        for (name, value) in self.start.iter().chain(&self.session).chain(&self.local) {
            if is_custom(name) {
                rows.retain(|row| row.name != *name);
                rows.push(SettingRow::custom(name, &value.to_string()));
            }
        }
        rows.sort_by_key(|row| row.name.to_ascii_lowercase());
        let rows: Arc<[SettingRow]> = rows.into();
        self.rows = Some(rows.clone());
        rows
    }
}

/// Memory of a layer, roughly: names and values, and what it takes to find them.
fn bytes(layer: &Layer) -> usize {
    const ENTRY: usize = 100;
    let entry = |(name, value): (&String, &Value)| {
        ENTRY + name.len() + if let Value::Text(text) = value { text.len() } else { 0 }
    };
    ENTRY + layer.iter().map(entry).sum::<usize>()
}

/// Whether it says what the transaction is like. It is set for a transaction, and by nobody for more.
pub fn is_mode(name: &str) -> bool {
    MODES.iter().any(|(mode, _)| mode.eq_ignore_ascii_case(name))
}

fn known(name: &str) -> Result<&'static Setting> {
    find(name).ok_or_else(|| unrecognized(name))
}

fn table_default(name: &str) -> Value {
    match find(name) {
        // A default in the table always parses: a test goes through them all.
        Some(setting) => setting.kind.parse(setting.name, setting.default).unwrap_or(Value::Text(String::new())),
        None => Value::Text(String::new()),
    }
}

/// The name as the table has it and the value that a text means for it. 42704 for a name that does not exist.
pub fn checked(name: &str, text: &str) -> Result<(String, Value)> {
    match find(name) {
        Some(setting) => {
            let setting = changeable(setting)?;
            Ok((setting.name.to_string(), setting.kind.parse(setting.name, text)?))
        }
        None if is_custom(name) => Ok((name.to_ascii_lowercase(), Value::Text(text.to_string()))),
        None => Err(unrecognized(name)),
    }
}

fn changeable(setting: &'static Setting) -> Result<&'static Setting> {
    match setting.context {
        Context::User => Ok(setting),
        Context::Internal => Err(cannot_be_changed(setting.name)),
        Context::Server => {
            let message = format!("parameter \"{}\" cannot be changed without restarting the server", setting.name);
            Err(Error::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, message))
        }
    }
}

fn cannot_be_changed(name: &str) -> Error {
    Error::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, format!("parameter \"{name}\" cannot be changed"))
}

pub fn unrecognized(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

fn is_custom(name: &str) -> bool {
    name.contains('.') && !name.starts_with('.') && !name.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Settings {
        Settings::new(ServerSettings::default())
    }

    #[test]
    fn every_default_parses_and_every_name_is_unique() {
        for setting in SETTINGS {
            let value = setting.kind.parse(setting.name, setting.default).unwrap();
            let shown = setting.kind.show(&value);
            assert_eq!(setting.kind.parse(setting.name, &shown).unwrap(), value, "{}", setting.name);
            assert_eq!(SETTINGS.iter().filter(|other| other.name.eq_ignore_ascii_case(setting.name)).count(), 1);
        }
    }

    #[test]
    fn layers_win_in_order_and_end_with_the_transaction() {
        let mut settings = session();
        settings.set_at_start("statement_timeout", "1s").unwrap();
        assert_eq!(settings.show("STATEMENT_TIMEOUT").unwrap(), "1s");
        settings.begin();
        settings.set("statement_timeout", "2s", false).unwrap();
        settings.set("statement_timeout", "3s", true).unwrap();
        assert_eq!(settings.show("statement_timeout").unwrap(), "3s");
        settings.commit();
        assert_eq!(settings.show("statement_timeout").unwrap(), "2s");
        settings.begin();
        settings.set("statement_timeout", "4s", false).unwrap();
        settings.rollback();
        assert_eq!(settings.show("statement_timeout").unwrap(), "2s");
        settings.reset("statement_timeout", false).unwrap();
        assert_eq!(settings.show("statement_timeout").unwrap(), "1s");
        assert_eq!(settings.limit("statement_timeout"), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_transaction_keeps_what_it_is_like() {
        let mut settings = session();
        settings.begin_transaction();
        settings.set("transaction_read_only", "on", true).unwrap();
        settings.set("default_transaction_isolation", "read committed", false).unwrap();
        settings.reset_all();
        assert!(settings.bool("transaction_read_only"));
        settings.set("default_transaction_read_only", "on", false).unwrap();
        settings.set("transaction_read_only", "off", true).unwrap();
        let shown = |settings: &mut Settings| {
            let rows = settings.rows();
            rows.iter().find(|row| row.name == "transaction_read_only").map(|row| row.value.clone()).unwrap()
        };
        assert_eq!(shown(&mut settings), "off");
        settings.commit();
        assert_eq!(shown(&mut settings), "on", "what the next one will be like");
        settings.begin_transaction();
        settings.reset("default_transaction_read_only", false).unwrap();
        assert_eq!(shown(&mut settings), "on");
    }

    #[test]
    fn names_that_do_not_exist_or_are_fixed() {
        let mut settings = session();
        assert_eq!(settings.set("no_such", "1", false).unwrap_err().state(), SqlState::UNDEFINED_OBJECT);
        assert_eq!(settings.show("no_such").unwrap_err().state(), SqlState::UNDEFINED_OBJECT);
        let fixed = settings.set("server_version", "16", false).unwrap_err();
        assert_eq!(fixed.message(), "parameter \"server_version\" cannot be changed");
        let server = settings.set("max_connections", "5", false).unwrap_err();
        assert_eq!(server.state(), SqlState::CANT_CHANGE_RUNTIME_PARAM);
        settings.set("MyApp.user", "ann", false).unwrap();
        assert_eq!(settings.show("myapp.USER").unwrap(), "ann");
        assert!(settings.rows().iter().any(|row| row.name == "myapp.user"));
    }

    #[test]
    fn a_change_is_reported_once() {
        let mut settings = session();
        assert!(settings.unreported().iter().any(|(name, value)| *name == "TimeZone" && value == "UTC"));
        assert!(settings.unreported().is_empty());
        settings.begin();
        settings.set("timezone", "europe/paris", true).unwrap();
        assert_eq!(settings.unreported(), [("TimeZone", "Europe/Paris".to_string())]);
        settings.commit();
        assert_eq!(settings.unreported(), [("TimeZone", "UTC".to_string())]);
    }

    #[test]
    fn savepoints_undo_what_was_set_since() {
        let mut settings = session();
        settings.begin();
        settings.set("work_mem", "5MB", false).unwrap();
        settings.begin();
        settings.set("work_mem", "6MB", false).unwrap();
        settings.begin();
        settings.set("work_mem", "7MB", true).unwrap();
        settings.rollback_to(1);
        assert_eq!(settings.show("work_mem").unwrap(), "5MB");
        settings.begin();
        settings.set("work_mem", "8MB", false).unwrap();
        settings.release(1);
        assert_eq!(settings.show("work_mem").unwrap(), "8MB");
        settings.rollback();
        assert_eq!(settings.show("work_mem").unwrap(), "4MB");
    }

    #[test]
    fn bytes_are_counted_and_forgotten() {
        let mut settings = session();
        let empty = settings.bytes();
        settings.begin();
        settings.set("my.text", &"x".repeat(1000), false).unwrap();
        settings.begin();
        settings.begin();
        assert!(settings.bytes() > 3000);
        settings.rollback_to(2);
        settings.release(1);
        assert!((1000..2000).contains(&(settings.bytes() - empty)), "{}", settings.bytes());
        settings.rollback();
        assert_eq!(settings.bytes(), empty);
    }

    #[test]
    fn the_search_path_is_a_list_of_names() {
        let mut settings = session();
        assert_eq!(settings.search_path("ann"), ["ann", "public"]);
        settings.set("search_path", "\"My Schema\", OTHER", false).unwrap();
        assert_eq!(settings.search_path("ann"), ["My Schema", "other"]);
        settings.set("search_path", "", false).unwrap();
        assert!(settings.search_path("ann").is_empty());
    }
}
