//! The protocol's state machine: which message may come now, what answers it, and what an error skips.
//!
//! Simple: Query -> results, ReadyForQuery. Extended: Parse, Bind, Describe, Execute, Close, each answered by itself; an error
//! skips everything up to Sync, which ends the implicit transaction and is answered by ReadyForQuery.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::interrupt::Reason;
use super::session::{Failure, Flow, Session, after, until};
use super::wire::{Frontend, Inbox, Part, Received, Refused, Severity};
use super::{GOODBYE, Read, extended, simple};
use crate::error::{Error, SqlState};

pub struct Connection {
    inbox: Inbox<Read>,
    session: Session,
    /// After an error in the extended protocol: nothing counts until Sync.
    skip_to_sync: bool,
}

impl Connection {
    pub fn new(inbox: Inbox<Read>, session: Session) -> Connection {
        Connection { inbox, session, skip_to_sync: false }
    }

    /// Talks until one side leaves.
    pub async fn run(mut self) {
        self.ready();
        loop {
            let outcome = match self.next().await {
                Ok(Some(message)) => self.answer_or_end(message).await,
                Ok(None) => break,
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(()) => {}
                Err(Failure::Statement(error)) => {
                    // Only outside of any message's own handling; nothing is lost by treating it alike.
                    self.report(&error);
                    self.ready();
                }
                Err(Failure::Session(error)) => {
                    self.session.out.error(Severity::Fatal, &error);
                    let _ = tokio::time::timeout(GOODBYE, self.session.out.flush()).await;
                    break;
                }
                Err(Failure::Gone) => break,
            }
        }
        self.session.transaction.rollback(&mut self.session.settings);
        self.session.out.close().await;
    }

    /// The client's next message. What we have to say is written first, if the client waits for it.
    async fn next(&mut self) -> Flow<Option<Received>> {
        let session = &mut self.session;
        let interrupt = session.registration.interrupt.clone();
        let (idle, state) = if session.transaction.is_open() {
            let error = Error::new(
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout",
            );
            (session.settings.limit("idle_in_transaction_session_timeout"), error)
        } else {
            let error =
                Error::new(SqlState::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout");
            (session.settings.limit("idle_session_timeout"), error)
        };
        let inbox = &mut self.inbox;
        let received = async {
            // Answers to messages that came together go out together; a full buffer goes out in any case.
            match inbox.has_message() {
                true => session.out.drain().await?,
                false => session.out.flush().await?,
            }
            Ok::<_, Failure>(inbox.next().await?)
        };
        tokio::select! {
            biased;
            reason = interrupt.wait(Reason::Terminate) => Err(reason.into()),
            received = received => received,
            _ = until(after(idle)) => Err(Failure::Session(state)),
        }
    }

    /// A bug of ours ends the session, which is told; nobody else notices.
    async fn answer_or_end(&mut self, message: Received) -> Flow<()> {
        match AssertUnwindSafe(self.answer(message)).catch_unwind().await {
            Ok(answered) => answered,
            Err(_) => {
                tracing::error!(
                    pid = self.session.registration.pid,
                    "a bug ended a session; the panic above says where"
                );
                let error = Error::internal("this statement met a bug; the session ends");
                Err(Failure::Session(error.with_hint("The server's log says more; please report it.")))
            }
        }
    }

    async fn answer(&mut self, message: Received) -> Flow<()> {
        let message = match message {
            Ok(message) => message,
            Err(Refused { error, fatal: true, .. }) => return Err(Failure::Session(error)),
            // What would be skipped or ignored if it were right is so when it is wrong.
            Err(Refused { of, .. }) if self.skip_to_sync || of == Part::Copy => return Ok(()),
            Err(Refused { error, of, .. }) => {
                self.fail(error, of == Part::Extended);
                return Ok(());
            }
        };
        match message {
            Frontend::Terminate => Err(Failure::Gone),
            Frontend::Sync => {
                self.skip_to_sync = false;
                let end = extended::sync(&mut self.session, &mut self.inbox).await;
                if let Err(failure) = end {
                    self.report(&survivable(failure)?);
                }
                self.ready();
                Ok(())
            }
            _ if self.skip_to_sync => Ok(()),
            Frontend::Query(text) => {
                self.session.began(&text);
                if let Err(failure) = simple::query(&mut self.session, &mut self.inbox, text).await {
                    let error = survivable(failure)?;
                    self.report(&error);
                }
                self.ready();
                Ok(())
            }
            Frontend::Flush => {
                // A client that reads nothing can be sent away.
                let interrupt = self.session.registration.interrupt.clone();
                tokio::select! {
                    biased;
                    reason = interrupt.wait(Reason::Terminate) => Err(reason.into()),
                    flushed = self.session.out.flush() => Ok(flushed?),
                }
            }
            // Leftovers of a COPY that ended early, as in Postgres.
            Frontend::CopyData(_) | Frontend::CopyDone | Frontend::CopyFail(_) => Ok(()),
            Frontend::Password => {
                let error = Error::new(SqlState::PROTOCOL_VIOLATION, "unexpected password message");
                Err(Failure::Session(error))
            }
            message => {
                let outcome = self.extended(message).await;
                if let Err(failure) = outcome {
                    let error = survivable(failure)?;
                    self.fail(error, true);
                }
                Ok(())
            }
        }
    }

    async fn extended(&mut self, message: Frontend) -> Flow<()> {
        let session = &mut self.session;
        match message {
            Frontend::Parse { name, text, types } => {
                extended::parse(session, &mut self.inbox, name, text, &types).await
            }
            Frontend::Bind(bind) => extended::bind(session, &mut self.inbox, bind).await,
            Frontend::Describe(target) => extended::describe(session, target),
            Frontend::Execute { portal, max_rows } => {
                extended::execute(session, &mut self.inbox, &portal, max_rows).await
            }
            Frontend::Close(target) => extended::close(session, target),
            // Everything else is answered before.
            _ => Ok(()),
        }
    }

    /// Tells the client of an error and ends what it ends.
    fn fail(&mut self, error: Error, extended: bool) {
        self.report(&error);
        if extended {
            self.skip_to_sync = true;
        } else {
            self.ready();
        }
    }

    fn report(&mut self, error: &Error) {
        let session = &mut self.session;
        if error.state() == SqlState::INTERNAL_ERROR {
            tracing::error!(pid = session.registration.pid, "{error}");
        } else {
            tracing::debug!(pid = session.registration.pid, sqlstate = %error.state(), "{error}");
        }
        session.shared.metrics.failed(error.state().0);
        session.out.error(Severity::Error, error);
        session.fail_transaction();
    }

    fn ready(&mut self) {
        let session = &mut self.session;
        session.count_bytes(self.inbox.bytes());
        session.report_settings();
        let state = session.transaction.activity();
        session.registration.update(|activity| activity.state = state);
        session.out.ready(session.transaction.wire_status());
    }
}

/// The error of a statement; what ends the session goes on up.
fn survivable(failure: Failure) -> Flow<Error> {
    match failure {
        Failure::Statement(error) => Ok(error),
        ending => Err(ending),
    }
}
