//! Heavy work of a session on a thread of its own: values that take long to compute or to write, plans, long texts.
//!
//! All sessions share a few threads, and what a task does between two awaits holds up everybody on its thread, and its own
//! statement's end by a cancel request or a timeout. So what may take long is done aside and awaited. Whoever waits may
//! be dropped: then the work stops at its next batch, row or value.

use crate::error::{Error, Result};
use crate::query;

/// Bytes of a text, of parameters or of rows that are taken in at once, without a thread.
pub const LONG: usize = 64 * 1024;

/// Does work on another thread. A bug in it is the statement's error.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let waits = query::GivenUp::default();
    let stop = waits.0.clone();
    tokio::task::spawn_blocking(move || query::until(&stop, work)).await.map_err(Error::internal)?
}

/// Does work on another thread if what it goes through is long.
pub async fn aside_if_long<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes > LONG { aside(work).await } else { work() }
}
