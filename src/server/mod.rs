#![allow(dead_code, unused_imports)]
//! The Postgres front: connections, sessions, and the statements that a session runs.
//!
//! ```text
//!   socket -> wire (frames, messages) -> connection (protocol: simple, extended, copy) -> commands/* -> sql, engine, query
//!          <- wire (outbox, bounded)  <- rows, tags, errors, notices                  <-
//! ```
//!
//! One task a connection; it holds one statement's work at a time and drops it when the client cancels, times out or
//! goes away. A client that does not read holds up only itself.

mod interrupt;
mod metrics;
mod registry;
pub mod settings;
mod startup;
mod wire;

pub use metrics::Metrics;

/// Microseconds since 1970 UTC.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
