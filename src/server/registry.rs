//! Who is connected: process ids and secrets for cancel requests, the limit on sessions, pg_stat_activity.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::interrupt::{Interrupt, Reason};
use crate::error::{Error, Result, SqlState};

#[derive(Default)]
pub struct Registry {
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    last_pid: i32,
    entries: BTreeMap<i32, Entry>,
}

struct Entry {
    secret: u32,
    interrupt: Arc<Interrupt>,
    activity: Activity,
}

/// What is known of a session, for pg_stat_activity. Times are microseconds since 1970 UTC.
#[derive(Clone, Debug)]
pub struct Activity {
    pub pid: i32,
    pub user: String,
    pub database: String,
    pub application_name: String,
    pub address: SocketAddr,
    pub started: i64,
    /// `active`, `idle`, `idle in transaction`, ...
    pub state: &'static str,
    /// The statement that runs or ran last, its beginning.
    pub statement: String,
    pub statement_started: i64,
}

/// A session's place in the registry; given back when it is dropped.
pub struct Registration {
    registry: Arc<Registry>,
    pub pid: i32,
    pub secret: u32,
    pub interrupt: Arc<Interrupt>,
}

impl Registry {
    /// Takes a place. 53300 when `limit` sessions are there.
    pub fn register(self: &Arc<Registry>, limit: usize, activity: Activity) -> Result<Registration> {
        let mut sessions = self.sessions.lock();
        if sessions.entries.len() >= limit {
            return Err(Error::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already"));
        }
        let mut pid = sessions.last_pid;
        loop {
            pid = if pid == i32::MAX { 1 } else { pid + 1 };
            if !sessions.entries.contains_key(&pid) {
                break;
            }
        }
        sessions.last_pid = pid;
        let secret = rand::random();
        let interrupt = Arc::new(Interrupt::default());
        let activity = Activity { pid, ..activity };
        sessions.entries.insert(pid, Entry { secret, interrupt: interrupt.clone(), activity });
        Ok(Registration { registry: self.clone(), pid, secret, interrupt })
    }

    /// A cancel request: without the right secret nothing happens.
    pub fn cancel(&self, pid: i32, secret: &[u8]) {
        if let Some(entry) = self.sessions.lock().entries.get(&pid)
            && entry.secret.to_be_bytes() == secret
        {
            entry.interrupt.raise(Reason::Cancel);
        }
    }

    /// pg_cancel_backend and pg_terminate_backend: whether there is such a session.
    pub fn interrupt(&self, pid: i32, reason: Reason) -> bool {
        match self.sessions.lock().entries.get(&pid) {
            Some(entry) => {
                entry.interrupt.raise(reason);
                true
            }
            None => false,
        }
    }

    pub fn interrupt_all(&self, reason: Reason) {
        for entry in self.sessions.lock().entries.values() {
            entry.interrupt.raise(reason);
        }
    }

    pub fn len(&self) -> usize {
        self.sessions.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every session, by process id.
    pub fn activity(&self) -> Vec<Activity> {
        self.sessions.lock().entries.values().map(|entry| entry.activity.clone()).collect()
    }
}

impl Registration {
    pub fn update(&self, change: impl FnOnce(&mut Activity)) {
        if let Some(entry) = self.registry.sessions.lock().entries.get_mut(&self.pid) {
            change(&mut entry.activity);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sessions.lock().entries.remove(&self.pid);
    }
}

#[cfg(test)]
pub(super) fn nobody() -> Activity {
    Activity {
        pid: 0,
        user: "ann".into(),
        database: "postgres".into(),
        application_name: String::new(),
        address: ([127, 0, 0, 1], 1).into(),
        started: 0,
        state: "idle",
        statement: String::new(),
        statement_started: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let registry = Arc::new(Registry::default());
        let first = registry.register(2, nobody()).unwrap();
        let second = registry.register(2, nobody()).unwrap();
        assert_ne!(first.pid, second.pid);
        let refused = registry.register(2, nobody()).map(|_| ()).unwrap_err();
        assert_eq!(refused.state(), SqlState::TOO_MANY_CONNECTIONS);
        drop(first);
        registry.register(2, nobody()).unwrap();
    }

    #[test]
    fn only_the_secret_cancels() {
        let registry = Arc::new(Registry::default());
        let session = registry.register(1, nobody()).unwrap();
        registry.cancel(session.pid, &session.secret.wrapping_add(1).to_be_bytes());
        registry.cancel(session.pid, b"");
        assert_eq!(session.interrupt.reason(), None);
        registry.cancel(session.pid, &session.secret.to_be_bytes());
        assert_eq!(session.interrupt.reason(), Some(Reason::Cancel));
    }
}
