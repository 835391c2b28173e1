//! Logs for an operator: one line an event on standard error, `RUST_LOG` chooses what.

use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise: our own events; of libraries only what is wrong.
const DEFAULT: &str = "warn,riverrun=info";

pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .try_init();
}
