//! A session: who it is, its settings, statements, portals and transaction, and what it says to its client.
//!
//! Commands get the session whole. Everything that ends a piece of work early is a [`Failure`].

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgwire::messages::startup::ParameterStatus;
use sqlparser::ast::ObjectName;

use super::budget::{Budget, Share};
use super::commands::Stoppable;
use super::interrupt::{Interrupt, Reason};
use super::portal::Portal;
use super::prepared::Prepared;
use super::registry::Registration;
use super::settings::{self, Settings};
use super::startup::Client;
use super::transaction::Transaction;
use super::wire::{Inbox, Outbox, Severity};
use super::{Read, Shared, Write, now};
use crate::catalog::{Catalog, PG_CATALOG, RR_CATALOG, Relation};
use crate::engine::{Engine, Waiter, WriteJob, WriteOutcome};
use crate::error::{Error, Result, SqlState};
use crate::query;
use crate::sql::{BindContext, SessionConstants};
use crate::types::{TextSettings, Type, Zone};

/// Why a piece of work ended early.
#[derive(Debug)]
pub enum Failure {
    /// The statement failed: the client is told and may go on.
    Statement(Error),
    /// The session ends: the client is told why.
    Session(Error),
    /// The client has gone: there is nobody to tell.
    Gone,
}

pub type Flow<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Statement(error)
    }
}

/// Reading from or writing to the client failed.
impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Failure {
        Failure::Gone
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Failure {
        match reason {
            Reason::Cancel => Failure::Statement(reason.error()),
            Reason::Terminate => Failure::Session(reason.error()),
        }
    }
}

pub struct Session {
    pub shared: Arc<Shared>,
    pub registration: Registration,
    pub user: String,
    pub database: String,
    pub settings: Settings,
    pub transaction: Transaction,
    /// By name; the unnamed one is "".
    pub statements: HashMap<String, Arc<Prepared>>,
    /// Portals of the protocol and cursors of SQL share their names, as in Postgres.
    pub portals: HashMap<String, Portal>,
    /// Portals opened so far.
    opened: u64,
    pub budget: Arc<Budget>,
    pub out: Outbox<Write>,
    /// Bytes of its buffers as they were last counted.
    counted: i64,
    /// When the statement that runs must be done.
    pub deadline: Option<Instant>,
    /// Waits for the statement that runs: for work that can't just be dropped.
    waiter: Waiter,
}

impl Session {
    pub fn new(shared: Arc<Shared>, client: Client, registration: Registration, out: Outbox<Write>) -> Session {
        shared.metrics.connections.inc();
        let budget = Budget::new(shared.settings.int("max_session_memory") as usize);
        let pid = registration.pid;
        let transaction = Transaction::new(pid);
        Session {
            shared,
            registration,
            user: client.user,
            database: client.database,
            settings: client.settings,
            transaction,
            statements: HashMap::new(),
            portals: HashMap::new(),
            opened: 0,
            budget,
            out,
            counted: 0,
            deadline: None,
            waiter: Waiter::new(pid),
        }
    }

    pub fn engine(&self) -> Result<Arc<Engine>> {
        self.shared.engine()
    }

    /// The catalog that statements are bound against: the newest, or the block's.
    pub fn catalog(&self) -> Result<Arc<Catalog>> {
        match self.transaction.catalog() {
            Some(catalog) => Ok(catalog),
            None => Ok(self.engine()?.catalog()),
        }
    }

    /// Who waits for the statement that runs.
    pub fn waiter(&self) -> Waiter {
        self.waiter.clone()
    }

    /// Makes the transaction's work lasting and ends it; see [`Transaction::commit`].
    pub async fn commit(&mut self) -> Result<bool> {
        let waiter = self.waiter();
        self.transaction.commit(&mut self.settings, waiter).await
    }

    /// Keeps bytes for as long as the share lives. 54000 if the session has no room for them.
    pub fn keep(&self, bytes: usize) -> Result<Share> {
        self.budget.check(self.settings.bytes() + bytes)?;
        self.budget.take(bytes)
    }

    /// SET.
    pub fn set(&mut self, name: &str, text: &str, local: bool) -> Result<()> {
        self.budget.check(self.settings.bytes() + name.len() + text.len())?;
        match settings::is_mode(name) {
            true => self.set_mode(name, text),
            false => self.settings.set(name, text, local),
        }
    }

    /// RESET of one setting, and SET TO DEFAULT.
    pub fn reset(&mut self, name: &str, local: bool) -> Result<()> {
        match settings::find(name).filter(|_| settings::is_mode(name)) {
            Some(mode) => self.set_mode(name, mode.default),
            None => self.settings.reset(name, local),
        }
    }

    /// What the transaction is like from now on; a statement by itself is over before it counts. 25001 where a transaction that
    /// was to read only would write after all.
    fn set_mode(&mut self, name: &str, text: &str) -> Result<()> {
        let (name, value) = settings::checked(name, text)?;
        if !self.transaction.is_active() {
            return Ok(());
        }
        if name == "transaction_read_only" && value == settings::Value::Bool(false) && self.settings.bool(&name) {
            self.transaction.check_may_write()?;
        }
        self.settings.set(&name, text, true)
    }

    /// Whether a portal may be added: 42P03 if there is one of this name, 54000 if there are too many.
    pub fn check_portal(&self, name: &str) -> Result<()> {
        /// Portals one session may have.
        const MOST: usize = 10_000;
        if self.portals.contains_key(name) {
            return Err(Error::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= MOST {
            let message = format!("too many portals: the limit is {MOST}");
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
        }
        Ok(())
    }

    /// The relation that a name means now, or 42P01.
    pub fn relation(&mut self, name: &ObjectName) -> Result<Arc<Relation>> {
        let catalog = self.catalog()?;
        let path = self.search_path();
        query::show::resolve(name, &catalog, &path)
    }

    /// Where unqualified names are looked for: the system schemas first, unless the path itself says where.
    pub fn search_path(&self) -> Vec<String> {
        let mut search_path = self.settings.search_path(&self.user);
        for schema in [RR_CATALOG, PG_CATALOG] {
            if !search_path.iter().any(|name| name == schema) {
                search_path.insert(0, schema.to_string());
            }
        }
        search_path
    }

    /// Runs a write in the session's transaction, or by itself.
    pub async fn write(&mut self, job: Box<dyn WriteJob>) -> Result<WriteOutcome> {
        let engine = self.engine()?;
        let waiter = self.waiter();
        let job = Box::new(Stoppable { job, stop: waiter.stop.clone() });
        self.transaction.write(&engine, job, &waiter).await
    }

    /// What statements are bound against now.
    pub fn bind_context(&mut self, catalog: Arc<Catalog>, parameter_types: Vec<Option<Type>>) -> BindContext {
        let now = self.transaction.now().unwrap_or_else(now);
        let search_path = self.search_path();
        let session = SessionConstants {
            user: self.user.clone(),
            database: self.database.clone(),
            time_zone: self.settings.text("TimeZone"),
            now,
            backend_pid: self.registration.pid,
            transaction: self.transaction.number(),
            server_start: self.shared.started,
            settings: self.settings.rows(),
        };
        BindContext { catalog, search_path, parameter_types, session, for_view: false }
    }

    /// What text forms of values depend on.
    pub fn text_settings(&self) -> Result<TextSettings> {
        let zone = Zone::parse(&self.settings.text("TimeZone"))?;
        Ok(TextSettings { zone, now: Some(self.transaction.now().unwrap_or_else(now)) })
    }

    /// Whether the transaction, or a statement by itself, may only read.
    pub fn read_only(&self) -> bool {
        match self.transaction.is_active() {
            true => self.settings.bool("transaction_read_only"),
            false => self.settings.bool("default_transaction_read_only"),
        }
    }

    /// Sends a NOTICE, WARNING ... unless the client asked for more important ones only.
    pub fn notice(&mut self, severity: Severity, notice: &Error) {
        let least = match self.settings.text("client_min_messages").as_str() {
            "error" => Severity::Error,
            "warning" => Severity::Warning,
            "notice" => Severity::Notice,
            "log" => Severity::Log,
            _ => Severity::Debug,
        };
        if severity >= least || severity == Severity::Info {
            self.out.notice(severity, notice);
        }
    }

    pub fn warn(&mut self, state: SqlState, message: &str) {
        self.notice(Severity::Warning, &Error::new(state, message));
    }

    /// "relation exists, skipping": a NOTICE carries the class of a success.
    pub fn say(&mut self, message: impl Into<String>) {
        self.notice(Severity::Notice, &Error::new(SqlState::SUCCESSFUL_COMPLETION, message));
    }

    /// Tells the client of settings that it must know and that have changed.
    pub fn report_settings(&mut self) {
        for (name, value) in self.settings.unreported() {
            if name == "application_name" {
                self.registration.update(|activity| activity.application_name = value.clone());
            }
            self.out.push(ParameterStatus::new(name.to_string(), value));
        }
    }

    /// Ends the transaction as failed work does: a block waits for ROLLBACK, anything else is undone at once.
    pub fn fail_transaction(&mut self) {
        self.transaction.fail(&mut self.settings);
        match self.transaction.portals_at_savepoint() {
            Some(first) => self.drop_portals_from(first),
            None => self.drop_transaction_portals(),
        }
    }

    /// The number of a portal that is opened now.
    pub fn next_portal(&mut self) -> u64 {
        self.opened += 1;
        self.opened - 1
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self, name: &str) -> Result<()> {
        let engine = self.engine()?;
        self.transaction.savepoint(name, &engine, &mut self.settings, self.opened);
        Ok(())
    }

    /// ROLLBACK TO: portals opened since the savepoint end. 3B001.
    pub fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.transaction.rollback_to(name, &mut self.settings)?;
        if let Some(first) = self.transaction.portals_at_savepoint() {
            self.drop_portals_from(first);
        }
        Ok(())
    }

    fn drop_portals_from(&mut self, first: u64) {
        self.portals.retain(|_, portal| portal.opened < first);
    }

    /// Portals end with their transaction; held cursors stay.
    pub fn drop_transaction_portals(&mut self) {
        self.portals.retain(|_, portal| portal.is_held());
    }

    /// A statement starts: its time runs, and interrupts meant for the one before are forgotten.
    pub fn start_statement(&mut self) {
        self.registration.interrupt.clear_cancel();
        self.next_statement();
    }

    /// As [`Session::start_statement`], for one of a text: a cancel request that came while the text was read counts.
    pub fn next_statement(&mut self) {
        self.deadline = after(self.settings.limit("statement_timeout"));
        self.waiter = Waiter::new(self.registration.pid);
    }

    /// Outside of a block the end of a statement is the end of its portals.
    pub fn end_statement(&mut self) {
        self.deadline = None;
        if !self.transaction.is_open() {
            self.drop_transaction_portals();
        }
    }

    /// Counts what the session's buffers hold in the server's metrics.
    pub fn count_bytes(&mut self, inbox: usize) {
        let bytes = (inbox + self.out.bytes()) as i64;
        self.shared.metrics.session_bytes.inc_by(bytes - self.counted);
        self.counted = bytes;
    }

    pub fn began(&self, statement: &str) {
        /// Characters of a statement that pg_stat_activity shows.
        const SHOWN: usize = 1024;
        self.registration.update(|activity| {
            activity.state = "active";
            activity.statement = statement.chars().take(SHOWN).collect();
            activity.statement_started = now();
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.metrics.connections.dec();
        self.shared.metrics.session_bytes.dec_by(self.counted);
    }
}

/// What may end a statement from outside.
pub struct Guard {
    interrupt: Arc<Interrupt>,
    deadline: Option<Instant>,
    waiter: Waiter,
}

impl Guard {
    pub fn new(session: &Session) -> Guard {
        let interrupt = session.registration.interrupt.clone();
        Guard { interrupt, deadline: session.deadline, waiter: session.waiter() }
    }

    /// Completes with the reason to stop. `inbox` is watched for the client's leaving, unless the work reads from it.
    async fn stopped(&self, inbox: Option<&mut Inbox<Read>>) -> Failure {
        let gone = async {
            match inbox {
                Some(inbox) => inbox.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            reason = self.interrupt.wait(Reason::Cancel) => reason.into(),
            _ = until(self.deadline) => {
                let message = "canceling statement due to statement timeout";
                Failure::Statement(Error::new(SqlState::QUERY_CANCELED, message))
            }
            _ = gone => Failure::Gone,
        }
    }

    /// Does work that may be dropped at any await: reading, sending.
    pub async fn run<T>(&self, inbox: Option<&mut Inbox<Read>>, work: impl Future<Output = Flow<T>>) -> Flow<T> {
        tokio::select! {
            biased;
            failure = self.stopped(inbox) => Err(failure),
            done = work => done,
        }
    }

    /// Does work that decides itself whether it happened: a write, DDL, COMMIT. It is given up if it still waits for its turn, else asked
    /// to stop, and its own answer counts.
    pub async fn settle<T>(&self, inbox: Option<&mut Inbox<Read>>, work: impl Future<Output = Flow<T>>) -> Flow<T> {
        tokio::pin!(work);
        let failure = tokio::select! {
            biased;
            done = &mut work => return done,
            failure = self.stopped(inbox) => failure,
        };
        self.waiter.give_up();
        match work.await {
            Err(Failure::Statement(error)) if error.state() == SqlState::QUERY_CANCELED => Err(failure),
            done => done,
        }
    }
}

/// Sleeps until then; for ever if there is no such moment.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The moment after an idle limit, if there is one.
pub fn after(limit: Option<Duration>) -> Option<Instant> {
    limit.map(|limit| Instant::now() + limit)
}
