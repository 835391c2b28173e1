//! Where the configuration comes from: flags over environment over riverrun.toml over the table's defaults.
//!
//! Every setting has one name in three forms: `data_dir` in the file and in SHOW, `RIVERRUN_DATA_DIR` in the environment, and
//! `--data-dir` for those that have a flag. A name that does not exist is an error wherever it stands.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::PathBuf;

use clap::Parser;
use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::Value;

use crate::server::settings::{self, ServerSettings};

/// The file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "riverrun.toml";
const PREFIX: &str = "RIVERRUN_";

/// A streaming SQL database: views over event logs, kept right at every moment, read by any Postgres client.
///
/// Without arguments it keeps its data in ./riverrun-data and serves psql on 127.0.0.1:7432.
#[derive(Parser, Debug, Default)]
#[command(name = "riverrun", version, about, long_about)]
#[command(
    after_help = "Every setting can be given in riverrun.toml (statement_timeout = \"30s\") or as RIVERRUN_<NAME>;\n\
    SHOW ALL lists them. Flags win over the environment, the environment over the file.\n\
    RUST_LOG chooses what is logged (default: warn,riverrun=info)."
)]
pub struct Arguments {
    /// Folder that holds everything [default: ./riverrun-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where Postgres clients connect; port 0 picks a free one [default: 127.0.0.1:7432]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where /metrics, /healthz and /readyz are [default: 127.0.0.1:7433]
    #[arg(long, value_name = "HOST:PORT")]
    pub http_listen: Option<String>,
    /// Configuration file [default: riverrun.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "RIVERRUN_CONFIG")]
    pub config: Option<PathBuf>,
    /// Listen on other addresses than this machine's loopback, though there are no users and passwords yet
    #[arg(long)]
    pub insecure: bool,
}

/// What the process was told.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: String,
    pub http_listen: String,
    /// All of it, the above included.
    pub settings: ServerSettings,
}

impl Config {
    /// Reads file and environment under the flags. The error is one sentence.
    pub fn load(arguments: &Arguments) -> Result<Config, String> {
        let path = match &arguments.config {
            Some(file) => Some(file.clone()),
            None => Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()),
        };
        let file = match path {
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("cannot read the configuration file {}: {error}", path.display()))?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        Config::resolve(arguments, file, environment()?)
    }

    /// The layers, the lowest first: the file (its name and text), the environment, the flags.
    fn resolve(
        arguments: &Arguments,
        file: Option<(String, String)>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, String> {
        let mut given: BTreeMap<String, (String, String)> = BTreeMap::new();
        if let Some((file, text)) = file {
            let values: BTreeMap<String, Value> = Figment::from(Toml::string(&text))
                .extract()
                .map_err(|error| format!("cannot read the configuration file {file}: {error}"))?;
            for (name, value) in values {
                let value = single(&value).ok_or_else(|| format!("{file}: {name} must be a single value"))?;
                given.insert(name, (value, file.clone()));
            }
        }
        for (name, value) in environment {
            if let Some(name) = name.strip_prefix(PREFIX)
                && name != "CONFIG"
                && !names_a_service(name, &value)
            {
                given.insert(name.to_ascii_lowercase(), (value, "the environment".to_string()));
            }
        }
        let data_dir = arguments.data_dir.as_ref().map(|path| path.display().to_string());
        let insecure = arguments.insecure.then(|| "on".to_string());
        let flags = [
            ("data_dir", data_dir),
            ("listen", arguments.listen.clone()),
            ("http_listen", arguments.http_listen.clone()),
            ("insecure", insecure),
        ];
        for (name, flag) in flags {
            if let Some(value) = flag {
                given.insert(name.to_string(), (value, "the command line".to_string()));
            }
        }
        Config::new(given)
    }

    fn new(given: BTreeMap<String, (String, String)>) -> Result<Config, String> {
        let mut checked = Vec::new();
        for (name, (text, source)) in given {
            if settings::find(&name).is_none() {
                return Err(format!("{source} names a setting that does not exist: {name}"));
            }
            ServerSettings::new([(name.clone(), text.clone())]).map_err(|error| format!("{source}: {error}"))?;
            checked.push((name, text));
        }
        let settings = ServerSettings::new(checked).map_err(|error| error.to_string())?;
        let shown = |name: &str| settings.get(name).to_string();
        let config = Config {
            data_dir: PathBuf::from(shown("data_dir")),
            listen: shown("listen"),
            http_listen: shown("http_listen"),
            settings: settings.clone(),
        };
        if settings.get("insecure").to_string() != "on" {
            only_loopback("listen", &config.listen)?;
            only_loopback("http_listen", &config.http_listen)?;
        }
        Ok(config)
    }
}

/// The environment's variables of ours. Others may hold any bytes.
fn environment() -> Result<Vec<(String, String)>, String> {
    let ours = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = ours.filter(|(name, _)| name.starts_with(PREFIX));
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("the environment's {name} is not UTF-8")),
    })
    .collect()
}

/// Whether a variable is one of those that Kubernetes gives to pods beside a Service whose name begins with ours:
/// `RIVERRUN_SERVICE_HOST`, `RIVERRUN_SERVICE_PORT_SQL`, `RIVERRUN_PORT=tcp://10.0.0.1:7432`, `RIVERRUN_PORT_7432_TCP_ADDR`.
fn names_a_service(name: &str, value: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let of_service = words.windows(2).any(|pair| matches!(pair, ["SERVICE", "HOST" | "PORT"]));
    let of_port = words.windows(3).any(|three| {
        let numbered = !three[1].is_empty() && three[1].bytes().all(|byte| byte.is_ascii_digit());
        three[0] == "PORT" && numbered && matches!(three[2], "TCP" | "UDP" | "SCTP")
    });
    of_service || of_port || (words.last() == Some(&"PORT") && is_url)
}

/// While nobody needs a password, only this machine may connect unless the operator says so.
fn only_loopback(name: &str, address: &str) -> Result<(), String> {
    let mut resolved = address
        .to_socket_addrs()
        .map_err(|error| format!("{name} must be HOST:PORT, and \"{address}\" is not: {error}"))?;
    match resolved.find(|address| !address.ip().is_loopback()) {
        Some(_) => Err(format!(
            "{name} {address} can be reached from other machines and there are no passwords yet; \
             add --insecure if that is meant"
        )),
        None => Ok(()),
    }
}

/// A value of the file as SET would be given it; `None` for tables and lists.
fn single(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, c) => Some(c.to_string()),
        Value::Bool(_, true) => Some("on".to_string()),
        Value::Bool(_, false) => Some("off".to_string()),
        Value::Num(_, number) => {
            let whole = number.to_i128().map(|number| number.to_string());
            whole.or_else(|| number.to_f64().map(|number| number.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(arguments: Arguments, file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Config::resolve(&arguments, Some(("riverrun.toml".into(), file.into())), environment)
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let file = "data_dir = \"/file\"\nlisten = \"127.0.0.1:1\"\nmax_connections = 7\nstatement_timeout = \"5s\"";
        let environment = [
            ("RIVERRUN_LISTEN", "127.0.0.1:2"),
            ("RIVERRUN_DATA_DIR", "/env"),
            ("RIVERRUN_CONFIG", "x"),
            ("HOME", "/"),
        ];
        let arguments = Arguments { data_dir: Some("/flag".into()), ..Arguments::default() };
        let config = resolve(arguments, file, &environment).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/flag"));
        assert_eq!(config.listen, "127.0.0.1:2");
        assert_eq!(config.http_listen, "127.0.0.1:7433");
        assert_eq!(config.settings.int("max_connections"), 7);
        assert_eq!(config.settings.int("statement_timeout"), 5000);
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let error = resolve(Arguments::default(), "data_dri = \"/x\"", &[]).unwrap_err();
        assert_eq!(error, "riverrun.toml names a setting that does not exist: data_dri");
        let error = resolve(Arguments::default(), "", &[("RIVERRUN_MAX_CONECTIONS", "5")]).unwrap_err();
        assert_eq!(error, "the environment names a setting that does not exist: max_conections");
        let error = resolve(Arguments::default(), "", &[("RIVERRUN_MAX_CONNECTIONS", "lots")]).unwrap_err();
        assert_eq!(error, "the environment: invalid value for parameter \"max_connections\": \"lots\"");
        let error = resolve(Arguments::default(), "[data_dir]\nx = 1", &[]).unwrap_err();
        assert_eq!(error, "riverrun.toml: data_dir must be a single value");
        let missing = Arguments { config: Some("nowhere.toml".into()), ..Arguments::default() };
        assert!(Config::load(&missing).unwrap_err().contains("nowhere.toml"));
    }

    #[test]
    fn what_kubernetes_says_of_services_is_no_setting() {
        let environment = [
            ("RIVERRUN_SERVICE_HOST", "10.0.0.1"),
            ("RIVERRUN_SERVICE_PORT", "7432"),
            ("RIVERRUN_SERVICE_PORT_SQL", "7432"),
            ("RIVERRUN_PORT", "tcp://10.0.0.1:7432"),
            ("RIVERRUN_PORT_7432_TCP", "tcp://10.0.0.1:7432"),
            ("RIVERRUN_PORT_7432_TCP_ADDR", "10.0.0.1"),
            ("RIVERRUN_METRICS_SERVICE_HOST", "10.0.0.2"),
            ("RIVERRUN_METRICS_PORT_7433_TCP_PORT", "7433"),
        ];
        assert!(resolve(Arguments::default(), "", &environment).is_ok());
        for (name, value) in [("RIVERRUN_PORT", "7432"), ("RIVERRUN_SERVICE", "x"), ("RIVERRUN_PORT_TCP", "7432")] {
            assert!(resolve(Arguments::default(), "", &[(name, value)]).is_err(), "{name}");
        }
    }

    #[test]
    fn only_loopback_unless_insecure() {
        let open = || Arguments { listen: Some("0.0.0.0:7432".into()), ..Arguments::default() };
        assert!(resolve(open(), "", &[]).unwrap_err().contains("--insecure"));
        let meant = Arguments { insecure: true, ..open() };
        assert_eq!(resolve(meant, "", &[]).unwrap().listen, "0.0.0.0:7432");
        assert!(resolve(open(), "insecure = true", &[]).is_ok());
    }
}
