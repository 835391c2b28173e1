//! The Postgres front: connections, sessions, and the statements that a session runs.
//!
//! ```text
//!   socket -> wire (frames, messages) -> connection (protocol: simple, extended, copy) -> commands/* -> sql, engine, query
//!          <- wire (outbox, bounded)  <- rows, tags, errors, notices                  <-
//! ```
//!
//! One task a connection; it holds one statement's work at a time and drops it when the client cancels, times out or
//! goes away. A client that does not read holds up only itself.

mod aside;
mod budget;
mod commands;
mod connection;
mod crowd;
mod engine_metrics;
mod extended;
mod facts;
mod interrupt;
mod keep_alive;
mod metrics;
mod portal;
mod prepared;
mod registry;
mod rows;
mod session;
pub mod settings;
mod simple;
mod startup;
mod transaction;
mod wire;

pub use crowd::{Crowd, Place};
pub use engine_metrics::EngineMetrics;
pub use metrics::Metrics;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::engine::{Engine, starting_up};
use crate::error::{Error, Result, SqlState};
use interrupt::Reason;
use registry::{Activity, Registry};
use settings::ServerSettings;
use wire::{Inbox, Limits, Outbox, Severity, Startup};

/// How long a connection may take to say what it wants.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long sessions have to say goodbye when the server stops.
const GOODBYE: Duration = Duration::from_secs(5);
/// Sockets beside the sessions' that may be starting: cancel requests, and clients that are told there are too many.
const UNSTARTED: usize = 256;

/// What all sessions share.
pub struct Shared {
    pub settings: ServerSettings,
    /// Microseconds since 1970 UTC.
    pub started: i64,
    /// Empty while the engine recovers: clients are told to come again (57P03).
    pub engine: OnceLock<Arc<Engine>>,
    /// What recovery waits for, if it does.
    waits_for: parking_lot::Mutex<Option<Error>>,
    pub registry: Arc<Registry>,
    pub metrics: Metrics,
}

impl Shared {
    pub fn new(settings: ServerSettings, metrics: Metrics) -> Arc<Shared> {
        let registry = Arc::new(Registry::default());
        let (engine, waits_for) = (OnceLock::new(), parking_lot::Mutex::default());
        Arc::new(Shared { settings, started: now(), engine, waits_for, registry, metrics })
    }

    /// From now on sessions are served.
    pub fn open(&self, engine: Arc<Engine>) {
        let _ = self.engine.set(engine);
    }

    /// Recovery waits for this source, or goes on.
    pub fn recovers(&self, waits_for: Option<Error>) {
        *self.waits_for.lock() = waits_for;
    }

    /// 57P03 until sessions are served.
    pub fn check_ready(&self) -> Result<()> {
        self.engine().map(drop)
    }

    /// Sessions now.
    pub fn sessions(&self) -> usize {
        self.registry.len()
    }

    fn engine(&self) -> Result<Arc<Engine>> {
        self.engine.get().cloned().ok_or_else(|| starting_up(self.waits_for.lock().as_ref()))
    }
}

/// Microseconds since 1970 UTC.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// Serves connections until `stop` turns true; then ends every session (57P01) and returns.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    // All sessions there may be can start at once.
    let unstarted = Crowd::new(shared.settings.int("max_connections") as usize + UNSTARTED);
    let mut connections = JoinSet::new();
    loop {
        // Who comes while there is no room waits in the system's queue.
        let accept = async {
            unstarted.room().await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            accepted = accept => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next() => {
                report_panic(ended);
                continue;
            }
        };
        match accepted {
            Ok((socket, address)) => {
                connections.spawn(serve_socket(socket, address, shared.clone(), unstarted.enter()));
            }
            Err(error) => {
                // Out of file descriptors, usually: wait for some to come free rather than spin.
                tracing::warn!(%error, "cannot accept a connection");
                unstarted.give_way();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    shared.registry.interrupt_all(Reason::Terminate);
    let all_gone = async {
        while let Some(ended) = connections.join_next().await {
            report_panic(ended);
        }
    };
    if tokio::time::timeout(GOODBYE, all_gone).await.is_err() {
        tracing::warn!(sessions = shared.registry.len(), "sessions that did not end in time were cut off");
    }
}

fn report_panic(ended: std::result::Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session ended by a bug; the server goes on");
    }
}

/// One socket, from its first byte to its last.
async fn serve_socket(socket: TcpStream, address: SocketAddr, shared: Arc<Shared>, mut place: Place) {
    // Answers are written in one piece; waiting to fill a packet would only delay them.
    let _ = socket.set_nodelay(true);
    keep_alive::keep_alive(&socket, &shared.settings);
    let (read, write) = socket.into_split();
    let limits = Limits {
        statement: shared.settings.int("max_statement_size") as usize,
        message: shared.settings.int("max_message_size") as usize,
    };
    let mut inbox = Inbox::new(read, limits);
    let mut out = Outbox::new(write);
    let start = tokio::time::timeout(STARTUP_TIMEOUT, start(&mut inbox, &mut out, address, &shared));
    let started = tokio::select! {
        started = start => started,
        _ = place.lost() => Ok(Err(gave_way())),
    };
    match started {
        Ok(Ok(Some((client, registration)))) => {
            drop(place);
            let session = session::Session::new(shared.clone(), client, registration, out);
            connection::Connection::new(inbox, session).run().await;
        }
        Ok(Ok(None)) | Err(_) => {}
        Ok(Err(error)) => {
            tracing::info!(%address, sqlstate = %error.state(), "connection refused: {error}");
            out.error(Severity::Fatal, &error);
            let _ = tokio::time::timeout(GOODBYE, out.flush()).await;
            out.close().await;
        }
    }
}

fn gave_way() -> Error {
    let message = "too many connections are starting, and this one had not said for seconds what it wants";
    Error::new(SqlState::TOO_MANY_CONNECTIONS, message)
}

type Read = tokio::net::tcp::OwnedReadHalf;
type Write = tokio::net::tcp::OwnedWriteHalf;

/// The conversation before a session. `None`: there will be none (a cancel request, a client that left).
async fn start(
    inbox: &mut Inbox<Read>,
    out: &mut Outbox<Write>,
    address: SocketAddr,
    shared: &Arc<Shared>,
) -> Result<Option<(startup::Client, registry::Registration)>> {
    loop {
        match inbox.startup().await {
            Err(_) | Ok(None) => return Ok(None),
            Ok(Some(packet)) => match packet? {
                Startup::Ssl | Startup::GssEncryption => {
                    out.byte(startup::NO_ENCRYPTION);
                    if out.flush().await.is_err() {
                        return Ok(None);
                    }
                }
                Startup::Cancel { pid, secret } => {
                    shared.registry.cancel(pid, &secret);
                    return Ok(None);
                }
                Startup::Unsupported { major, minor } => {
                    let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
                    return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
                }
                Startup::Session { minor, parameters } => {
                    let mut client = startup::client(&shared.settings, minor, parameters)?;
                    shared.engine()?;
                    let activity = Activity {
                        pid: 0,
                        user: client.user.clone(),
                        database: client.database.clone(),
                        application_name: client.settings.text("application_name"),
                        address,
                        started: now(),
                        state: "idle",
                        statement: String::new(),
                        statement_started: 0,
                    };
                    let limit = shared.settings.int("max_connections") as usize;
                    let registration = shared.registry.register(limit, activity)?;
                    startup::greet(out, &mut client, registration.pid, registration.secret);
                    return Ok(Some((client, registration)));
                }
            },
        }
    }
}

/// Binds the port or says in one sentence why it can't be had.
pub async fn bind(what: &str, address: &str) -> std::result::Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("{what} {address} is taken by another program"),
        _ => format!("cannot listen on {what} {address}: {error}"),
    })
}
