//! What stops a session's work from outside: a cancel request, pg_terminate_backend, the end of the server.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, SqlState};

/// Why work must stop. Later ones win over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The statement ends, the session lives.
    Cancel = 1,
    /// The session ends.
    Terminate = 2,
}

impl Reason {
    pub fn error(self) -> Error {
        match self {
            Reason::Cancel => Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"),
            Reason::Terminate => {
                Error::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
            }
        }
    }
}

/// One session's bell: anyone may ring it, the session listens while it works or waits.
#[derive(Default)]
pub struct Interrupt {
    raised: AtomicU8,
    bell: Notify,
}

impl Interrupt {
    pub fn raise(&self, reason: Reason) {
        self.raised.fetch_max(reason as u8, Ordering::SeqCst);
        self.bell.notify_waiters();
    }

    pub fn reason(&self) -> Option<Reason> {
        match self.raised.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(Reason::Cancel),
            _ => Some(Reason::Terminate),
        }
    }

    /// Forgets a cancel request: one that comes between statements stops none of them.
    pub fn clear_cancel(&self) {
        let _ = self.raised.compare_exchange(Reason::Cancel as u8, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Waits for a reason that is at least this strong.
    pub async fn wait(&self, least: Reason) -> Reason {
        loop {
            let rung = self.bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            match self.reason() {
                Some(reason) if reason >= least => return reason,
                _ => rung.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cancel_between_statements_is_forgotten_and_an_end_is_not() {
        let interrupt = Interrupt::default();
        interrupt.raise(Reason::Cancel);
        assert_eq!(interrupt.wait(Reason::Cancel).await, Reason::Cancel);
        interrupt.clear_cancel();
        assert_eq!(interrupt.reason(), None);
        interrupt.raise(Reason::Terminate);
        interrupt.raise(Reason::Cancel);
        interrupt.clear_cancel();
        assert_eq!(interrupt.wait(Reason::Terminate).await, Reason::Terminate);
    }
}
