//! Who waits for a write or for DDL, and whose turn it is.
//!
//! A request stands in the sequencer's queue until its turn comes. Until then whoever waits for it may give it up: it is never run. Once
//! it is begun its own answer counts, though it may be asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, Result, SqlState};

/// Who waits, and whether still.
#[derive(Clone, Default)]
pub struct Waiter {
    /// The session's, for `rr_ddl_progress`.
    pub pid: i32,
    /// True once nobody waits any more; work that has begun looks at it now and then.
    pub stop: Arc<AtomicBool>,
    /// Rung with it.
    bell: Arc<Notify>,
}

impl Waiter {
    pub fn new(pid: i32) -> Waiter {
        Waiter { pid, ..Waiter::default() }
    }

    /// Waits no more: what is queued is never run, what has begun is asked to stop.
    pub fn give_up(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.bell.notify_one();
    }

    pub async fn given_up(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            self.bell.notified().await;
        }
    }

    /// 57014 once nobody waits any more.
    pub fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::SeqCst) { Err(canceled()) } else { Ok(()) }
    }
}

pub fn canceled() -> Error {
    Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

/// A request's turn: it is begun or given up, whoever comes first.
#[derive(Default)]
pub struct Turn(AtomicU8);

const QUEUED: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Turn {
    /// False: it was given up.
    pub fn begin(&self) -> bool {
        self.0.compare_exchange(QUEUED, BEGUN, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// False: it has begun.
    pub fn give_up(&self) -> bool {
        self.0.compare_exchange(QUEUED, GIVEN_UP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}
