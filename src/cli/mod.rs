//! The process: arguments and configuration, starting, stopping, what an operator sees.
//!
//! Standard output gets one line, when statements are served; everything else goes to standard error.

mod config;
mod log;

pub use config::{Arguments, Config};

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::engine::{Engine, EngineConfig, Readiness};
use crate::server::{EngineMetrics, Metrics, Shared};
use crate::{http, server};

/// Deep expressions recurse while they are bound and planned; the recursion is limited, and this is room for the limit.
const STACK: usize = 8 * 1024 * 1024;

/// Runs the program: 0 after SIGTERM or SIGINT, 1 if it could not start, with one sentence why.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(asked) if !asked.use_stderr() => {
            let _ = asked.print();
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            let text = wrong.to_string();
            let first = text.lines().next().unwrap_or_default();
            return refuse(&format!("{}; see riverrun --help", first.trim_start_matches("error: ")));
        }
    };
    let config = match Config::load(&arguments) {
        Ok(config) => config,
        Err(reason) => return refuse(&reason),
    };
    log::start();
    // Sessions talk to their clients on these threads; their queries, and all that takes long, have others.
    let threads = std::thread::available_parallelism().map_or(4, |cores| cores.get() + 2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(config));
            // Work on blocking threads that looks at no stop flag must not hold up the end.
            runtime.shutdown_timeout(Duration::from_secs(5));
            outcome
        }
        Err(error) => Err(format!("cannot start threads: {error}")),
    };
    leave(match outcome {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("riverrun: {reason}");
            1
        }
    })
}

/// Ends the process at once. A start that is stopped leaves threads at work in RocksDB and librdkafka, whose global objects a usual
/// exit would destroy under them (an abort now and then). Nothing waits to be written: what is acknowledged is on disk, and both
/// outputs are unbuffered or flushed.
fn leave(status: i32) -> ! {
    // SAFETY: ends the process, whatever its threads do.
    unsafe { libc::_exit(status) }
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("riverrun: {reason}");
    ExitCode::FAILURE
}

/// From free ports to a clean end. The ports come first: a second server on them must not touch the data.
async fn run(config: Config) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let listener = server::bind("port", &config.listen).await?;
    let http_listener = server::bind("HTTP port", &config.http_listen).await?;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let shared = Shared::new(config.settings.clone(), metrics);
    registry.register_collector(Box::new(EngineMetrics::new(&shared)));
    let (stop, stopped) = watch::channel(false);
    let ready = shared.clone();
    let pages = http::Pages { metrics: Arc::new(registry), ready: Arc::new(move || ready.check_ready()) };
    let address = local(&listener)?;
    let http_address = local(&http_listener)?;
    let (version, data_dir) = (env!("CARGO_PKG_VERSION"), config.data_dir.display());
    tracing::info!(version, %data_dir, listen = %address, http = %http_address, "starting");
    let http = tokio::spawn(http::serve(http_listener, pages, stopped.clone()));
    let sessions = tokio::spawn(server::serve(listener, shared.clone(), stopped));
    let stop_now = async {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    tokio::pin!(stop_now);
    // Sorts, joins and groups of reads get a quarter; the rest is for state.
    crate::query::set_memory_limit(config.settings.int("memory_limit") as usize / 4);
    let engine = Engine::open(engine_config(&config)).map_err(|error| sentence(&error))?;
    let mut readiness = engine.readiness();
    let recovered = async {
        loop {
            let now = readiness.borrow_and_update().clone();
            match now {
                Readiness::Recovering { waits_for } => shared.recovers(waits_for),
                settled => return Ok::<_, watch::error::RecvError>(settled),
            }
            readiness.changed().await?;
        }
    };
    tokio::select! {
        settled = recovered => match settled {
            Ok(Readiness::Failed(error)) => return Err(sentence(&error)),
            Ok(_) => {}
            Err(_) => return Err("the engine ended while it started; the log above says where".to_string()),
        },
        // Recovery keeps nothing that a stop could lose.
        signal = &mut stop_now => {
            tracing::info!(signal, "stopped while starting");
            return Ok(());
        }
    }
    shared.open(engine.clone());
    tracing::info!("ready");
    say(&format!("riverrun ready: psql -h {} -p {} -U postgres postgres", host(address), address.port()));
    let failed = async {
        match readiness.wait_for(|readiness| matches!(readiness, Readiness::Failed(_))).await.as_deref() {
            Ok(Readiness::Failed(error)) => sentence(error),
            _ => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        signal = stop_now => {
            tracing::info!(signal, sessions = shared.sessions(), "stopping");
            Ok(())
        }
        reason = failed => Err(reason),
    };
    let _ = stop.send(true);
    let _ = sessions.await;
    let _ = tokio::time::timeout(Duration::from_secs(1), http).await;
    engine.shutdown().await;
    tracing::info!("stopped");
    outcome
}

/// The one line of standard output. Nobody may be reading it, which is no reason to stop.
fn say(line: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn engine_config(config: &Config) -> EngineConfig {
    let settings = &config.settings;
    let workers = match settings.int("workers") {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers as usize,
    };
    EngineConfig {
        workers,
        max_transaction_rows: settings.int("max_transaction_rows") as usize,
        disk_reserve: settings.int("disk_reserve") as u64,
        dead_letter_retention: settings.int("dead_letter_retention") as usize,
        ..EngineConfig::new(config.data_dir.clone())
    }
}

fn local(listener: &TcpListener) -> Result<std::net::SocketAddr, String> {
    listener.local_addr().map_err(|error| format!("cannot tell which port was taken: {error}"))
}

/// The host to give to psql: an address that listens everywhere is reached as this machine.
fn host(address: std::net::SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_string(),
        ip => ip.to_string(),
    }
}

fn sentence(error: &crate::error::Error) -> String {
    match error.hint() {
        Some(hint) => format!("{}: {hint}", error.message()),
        None => error.message().to_string(),
    }
}
