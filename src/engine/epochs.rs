//! Epochs: the one thread that takes input in, cut by cut.
//!
//! ```text
//!   wait for input -> cut -> [epoch log, fsync] and [circuit runs the epoch] side by side -> publish
//! ```
//!
//! An epoch starts as soon as the last is done and there is input; under load epochs grow by themselves, up to a bound.
//! What is published was logged first, and replaying the log gives it again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};
use tokio::sync::watch;

use super::ddl::Change;
use super::digests::Digests;
use super::published::{Connected, Published};
use super::sources::{Running, advance};
use super::{Inner, Readiness, backfill, views};
use crate::catalog::{Ddl, Relation, RelationKind};
use crate::circuit::{EpochInput, Fill};
use crate::delta::size::volume;
use crate::delta::{Delta, consolidate};
use crate::error::{Error, Result, SqlState, guarded};
use crate::ingest::{self, Fetched};
use crate::log::{Commit, CommitLog, Cut, EpochLog, SourceCut};
use crate::store::Batch;
use crate::types::RelationId;

/// Rows after which an epoch takes in no more; wide ones count as several (`delta::size::volume`).
pub const EPOCH_ROWS: usize = 256 * 1024;
/// Rows of one delta handed to a worker.
const DELTA_ROWS: usize = 8 * 1024;
/// How long what an epoch left dead may stay, if nothing else is appended where it is; how long until the next piece of it, and how
/// long until readers that still see it are asked for again.
const STILL_YOUNG: Duration = Duration::from_millis(100);
const NEXT_PIECE: Duration = Duration::from_millis(10);
const STILL_HELD: Duration = Duration::from_secs(1);

/// What the epoch thread is asked for besides input.
pub enum Control {
    /// DDL, with the rows that its transaction has written. Every commit before it is on its way.
    Change {
        change: Box<Change>,
        commit: Option<Commit>,
        reply: Sender<Result<()>>,
    },
    /// What has failed beside.
    Fail(Error),
    Stop,
}

pub struct Epochs {
    pub inner: Arc<Inner>,
    pub control: Receiver<Control>,
    pub commits: Receiver<Vec<Commit>>,
    /// The state that was published last (during recovery: that is being rebuilt).
    pub state: Published,
    pub running: HashMap<RelationId, Running>,
    /// Commits that came but are not in an epoch yet.
    pub waiting: VecDeque<Commit>,
    /// When dead rows are to be given back, if there may be any.
    pub give_back_at: Option<Instant>,
    /// Kept only when they are logged.
    pub digests: Option<Digests>,
    /// Where recovery tells what it waits for.
    pub readiness: watch::Sender<Readiness>,
}

/// What one epoch takes in, before it has a number.
#[derive(Default)]
pub struct Intake {
    pub commits: Vec<Commit>,
    pub fetched: Vec<(RelationId, Fetched)>,
    volume: usize,
}

/// An epoch's input, step by step.
pub type Steps = Vec<Vec<(RelationId, Vec<Delta>)>>;

/// DDL that is logged, and what its epoch takes in.
struct Checked {
    change: Change,
    cut: Cut,
    steps: Steps,
    intake: Intake,
}

impl Intake {
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.fetched.is_empty()
    }

    /// How much it is, in rows.
    pub fn volume(&self) -> usize {
        self.volume
    }

    pub fn add_commit(&mut self, commit: Commit) {
        self.volume += commit.changes.iter().map(|(_, delta)| delta.volume()).sum::<usize>();
        self.commits.push(commit);
    }

    pub fn add_fetched(&mut self, stream: RelationId, fetched: Fetched) {
        self.volume += volume(&fetched.rows).max(1);
        self.fetched.push((stream, fetched));
    }
}

impl Epochs {
    /// Takes in input until it is told to stop.
    pub fn run(&mut self) -> Result<()> {
        loop {
            self.wait();
            self.give_back()?;
            match self.control.try_recv() {
                Ok(Control::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
                Ok(Control::Fail(error)) => return Err(error),
                Ok(Control::Change { change, commit, reply }) => {
                    // What was acknowledged before the DDL comes before it.
                    self.take_in_all_commits()?;
                    let outcome = match self.check(*change, commit) {
                        Ok(checked) => self.change_catalog(checked).map(Ok)?,
                        Err(error) if error.state() == SqlState::TRANSACTION_RESOLUTION_UNKNOWN => {
                            drop(reply.send(Err(error.clone())));
                            return Err(error);
                        }
                        Err(error) => Err(error),
                    };
                    drop(reply.send(outcome));
                    continue;
                }
                Err(TryRecvError::Empty) => {}
            }
            let intake = self.gather();
            if !intake.is_empty() {
                self.epoch(intake)?;
            }
        }
    }

    /// Blocks until there is something to do.
    fn wait(&self) {
        if !self.waiting.is_empty() {
            return;
        }
        let mut select = Select::new();
        select.recv(&self.control);
        select.recv(&self.commits);
        for running in self.running.values() {
            select.recv(running.chunks.channel());
        }
        match self.give_back_at {
            None => drop(select.ready()),
            // Time has come, which is something to do.
            Some(at) => drop(select.ready_deadline(at)),
        }
    }

    /// Gives back dead rows, some of them, every now and then. Appends do so too, but a relation that nobody writes to has none.
    fn give_back(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.give_back_at.is_some_and(|at| at <= now) {
            let oldest = self.inner.holds.oldest(self.state.version);
            let left = self.inner.circuit.give_back(oldest)?;
            self.give_back_at = left.map(|died| now + if died <= oldest { NEXT_PIECE } else { STILL_HELD });
        }
        Ok(())
    }

    /// Commits that have come, in their order, while the epoch has fewer than `rows` rows. Others stay where they are: the sequencer
    /// waits when they are too many.
    fn gather_commits(&mut self, intake: &mut Intake, rows: usize) {
        while intake.volume < rows {
            match self.waiting.pop_front() {
                Some(commit) => {
                    self.inner.sequenced.queued_bytes.fetch_sub(commit.bytes(), Ordering::Relaxed);
                    intake.add_commit(commit);
                }
                None => match self.commits.try_recv() {
                    Ok(group) => self.waiting.extend(group),
                    Err(_) => return,
                },
            }
        }
    }

    /// What has come, up to an epoch's bound: half of it for writes if streams want the rest, the same share from every stream.
    fn gather(&mut self) -> Intake {
        let mut intake = Intake::default();
        self.gather_commits(&mut intake, EPOCH_ROWS / 2);
        let mut streams: Vec<RelationId> = self.running.keys().copied().collect();
        streams.sort_unstable();
        while !streams.is_empty() && intake.volume < EPOCH_ROWS {
            streams.retain(|stream| match self.running[stream].chunks.try_recv() {
                Ok(fetched) => {
                    intake.add_fetched(*stream, fetched);
                    true
                }
                Err(TryRecvError::Empty) => false,
                Err(TryRecvError::Disconnected) => {
                    self.running.remove(stream);
                    false
                }
            });
        }
        self.gather_commits(&mut intake, EPOCH_ROWS);
        intake
    }

    fn take_in_all_commits(&mut self) -> Result<()> {
        loop {
            let mut intake = Intake::default();
            self.gather_commits(&mut intake, EPOCH_ROWS);
            if intake.is_empty() {
                return Ok(());
            }
            self.epoch(intake)?;
        }
    }

    /// Logs and runs one epoch, and publishes it.
    pub fn epoch(&mut self, intake: Intake) -> Result<()> {
        let mut cut = self.next_cut();
        cut.commits.1 += intake.commits.len() as u64;
        for (stream, fetched) in &intake.fetched {
            cut.sources.push(SourceCut {
                stream: *stream,
                partition: fetched.partition,
                start: fetched.start,
                next: fetched.next,
                fingerprint: fetched.fingerprint,
            });
        }
        let steps = self.steps(&intake)?;
        let logged = self.log_beside(&cut);
        self.apply(&cut, steps, intake)?;
        self.finish_log(&cut, logged)?;
        self.log_digests();
        self.publish();
        self.give_back_at.get_or_insert_with(|| Instant::now() + STILL_YOUNG);
        Ok(())
    }

    pub fn next_cut(&self) -> Cut {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64);
        let commits = (self.state.commits, self.state.commits);
        Cut { epoch: self.state.epoch + 1, now, commits, ..Cut::default() }
    }

    /// Starts writing the cut; the answer comes when it is durable.
    fn log_beside(&self, cut: &Cut) -> Receiver<Result<()>> {
        let (done, answer) = crossbeam_channel::bounded(1);
        let (log, cut) = (self.inner.epochs.clone(), cut.clone());
        let work = move || {
            let outcome = log.append(&cut);
            // Whoever hears of it may be the last to stop: then nobody else holds the data folder.
            drop(log);
            drop(done.send(outcome));
        };
        if let Err(work) = self.inner.log_thread.send(Box::new(work)) {
            (work.0)();
        }
        answer
    }

    /// Waits for the cut to be durable. The disk may be full in spite of the reserve that writes leave free: nothing is published
    /// until it has room again, reads of what is published go on, and writes are refused by the sequencer.
    pub fn finish_log(&self, cut: &Cut, logged: Receiver<Result<()>>) -> Result<()> {
        let mut outcome = logged.recv().unwrap_or_else(|_| Err(Error::internal("the log thread is gone")));
        let mut next = Duration::from_millis(50);
        loop {
            match outcome {
                Err(error) if error.state() == SqlState::DISK_FULL => {
                    tracing::error!(epoch = cut.epoch, %error, "an epoch can't be logged; trying again");
                }
                // What it took in is durable, or comes again: the next start takes it in.
                settled => return settled,
            }
            let until = Instant::now() + next;
            while Instant::now() < until {
                if self.inner.stopping.load(Ordering::Relaxed) {
                    return Err(super::stopping());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            next = (next * 2).min(Duration::from_secs(5));
            outcome = self.inner.epochs.append(cut);
        }
    }

    /// The circuit's input: steps of bounded size, tables' deltas consolidated within each.
    pub fn steps(&self, intake: &Intake) -> Result<Steps> {
        let mut steps: Vec<HashMap<RelationId, Vec<Delta>>> = vec![HashMap::new()];
        let mut volume = 0;
        let most = self.inner.config.step_rows.max(1);
        let committed =
            intake.commits.iter().flat_map(|commit| &commit.changes).map(|(id, delta)| (*id, delta.clone()));
        let fetched = intake.fetched.iter().map(|(id, fetched)| (*id, Delta::insertions(fetched.rows.clone())));
        for (relation, delta) in committed.chain(fetched) {
            for piece in delta.pieces(DELTA_ROWS.min(most)) {
                if volume >= most {
                    steps.push(HashMap::new());
                    volume = 0;
                }
                volume += piece.volume();
                if let Some(step) = steps.last_mut() {
                    step.entry(relation).or_default().push(piece);
                }
            }
        }
        let consolidated = |(relation, deltas): (RelationId, Vec<Delta>)| {
            let several = deltas.len() > 1 && deltas.iter().any(|delta| delta.weights().is_some());
            Ok((relation, if several { consolidate(deltas)? } else { deltas }))
        };
        steps
            .into_iter()
            .filter(|step| !step.is_empty())
            .map(|step| {
                let mut step = step.into_iter().map(consolidated).collect::<Result<Vec<_>>>()?;
                step.sort_by_key(|(relation, _)| *relation);
                Ok(step)
            })
            .collect()
    }

    /// Runs the epoch's steps and moves the state on. The same in live running and in recovery.
    pub fn apply(&mut self, cut: &Cut, steps: Steps, intake: Intake) -> Result<()> {
        let before = self.digests.is_some().then(|| self.state.clone());
        if let Some(digests) = &mut self.digests {
            digests.take_in(&self.state, &intake)?;
        }
        let oldest = self.inner.holds.oldest(self.state.version);
        let output = self.inner.circuit.run_epoch(EpochInput { steps, oldest, now: cut.now })?;
        for (view, error) in &output.errors {
            self.inner.facts.record_error(*view, error);
        }
        for (view, error) in output.failed {
            self.fail(view, &error);
        }
        self.count_stream_rows(&intake);
        if !intake.fetched.is_empty() {
            let mut positions = HashMap::clone(&self.state.positions);
            for (stream, fetched) in intake.fetched {
                advance(&mut positions, stream, fetched.partition, fetched.start, fetched.next)?;
                self.inner.facts.record_dead_letters(stream, fetched.dead);
            }
            self.state.positions = Arc::new(positions);
        }
        self.state.version = output.version.max(self.state.version);
        self.state.commits = cut.commits.1;
        self.state.epoch = cut.epoch;
        if let (Some(digests), Some(before)) = (&mut self.digests, before) {
            digests.change(&before, &self.state, &self.inner.commits)?;
        }
        Ok(())
    }

    /// Streams keep no rows, but how many they have.
    fn count_stream_rows(&mut self, intake: &Intake) {
        let committed = intake.commits.iter().flat_map(|commit| &commit.changes);
        let committed = committed.filter(|(id, _)| self.state.is_stream(*id)).map(|(id, delta)| (*id, delta.len()));
        let fetched = intake.fetched.iter().map(|(id, fetched)| (*id, fetched.rows.num_rows()));
        let mut more: HashMap<RelationId, u64> = HashMap::new();
        for (stream, rows) in committed.chain(fetched) {
            *more.entry(stream).or_default() += rows as u64;
        }
        if !more.is_empty() {
            let mut all = HashMap::clone(&self.state.stream_rows);
            more.into_iter().for_each(|(stream, rows)| *all.entry(stream).or_default() += rows);
            self.state.stream_rows = Arc::new(all);
        }
    }

    pub fn log_digests(&mut self) {
        if let Some(digests) = &mut self.digests {
            digests.log(self.state.epoch, &self.state.catalog);
        }
    }

    /// A relation's rows, and all that is computed from them, are not to be trusted any more.
    pub fn fail(&mut self, relation: RelationId, error: &Error) {
        let detail = error.detail().unwrap_or_default();
        let mut failed = HashMap::clone(&self.state.failed);
        for dependent in self.state.catalog.drop_order(relation) {
            failed.entry(dependent.id).or_insert_with(|| {
                let (id, name) = (dependent.id.0, dependent.name.as_str());
                tracing::error!(relation = id, name, %error, detail, "a relation has failed");
                error.clone()
            });
        }
        self.state.failed = Arc::new(failed);
    }

    pub fn publish(&self) {
        self.inner.published.send_replace(Arc::new(self.state.clone()));
        self.inner.holds.publish(self.state.epoch, self.state.version);
    }

    /// What DDL needs before it can't fail any more: a catalog it fits, filled views brought up to the present, and its cut made
    /// durable together with its transaction's rows.
    fn check(&mut self, mut change: Change, commit: Option<Commit>) -> Result<Checked> {
        let mut catalog = (*self.state.catalog).clone();
        for ddl in &change.ddl {
            catalog = catalog.apply(ddl)?;
            if let Ddl::Create { relation } = ddl
                && let RelationKind::Index(index) = &relation.kind
                && let Some(error) = self.state.failed.get(&index.on)
            {
                return Err(error.clone());
            }
            if let Ddl::Create { relation } = ddl
                && matches!(relation.kind, RelationKind::MaterializedView(_))
                && !change.filled.iter_mut().any(|filled| filled.of(relation.id).is_some())
            {
                return Err(Error::internal(format!(
                    "\"{}\" was not filled before its place in the order",
                    relation.name
                )));
            }
        }
        let mut written = commit.iter().flat_map(|commit| &commit.changes);
        if written.any(|(id, _)| catalog.relation(*id).is_none()) {
            return Err(super::overlay::dropped_meanwhile());
        }
        for filled in &mut change.filled {
            filled.catch_up(&self.state)?;
        }
        let (mut cut, mut intake, mut batch) = (self.next_cut(), Intake::default(), Batch::default());
        cut.ddl = change.ddl.iter().map(Ddl::encode).collect::<Result<_>>()?;
        if let Some(commit) = commit {
            cut.commits.1 += 1;
            CommitLog::put(&mut batch, &commit)?;
            intake.add_commit(commit);
        }
        let steps = self.steps(&intake)?;
        EpochLog::put(&mut batch, &cut)?;
        self.inner.store.check_room(&batch)?;
        self.inner.store.write(batch)?;
        Ok(Checked { change, cut, steps, intake })
    }

    /// An epoch of its own for DDL, logged already: from here on an error ends the engine, and a restart replays the log.
    fn change_catalog(&mut self, checked: Checked) -> Result<()> {
        let Checked { change: Change { ddl, mut filled, built, .. }, cut, steps, intake } = checked;
        for change in &ddl {
            self.change(change)?;
            if let Ddl::Create { relation } = change
                && let Some(fill) = filled.iter_mut().find_map(|filled| filled.of(relation.id))
            {
                self.join(relation.id, fill)?;
            }
        }
        drop((built, filled));
        match intake.is_empty() {
            true => self.state.epoch = cut.epoch,
            false => self.apply(&cut, steps, intake)?,
        }
        self.give_back_at.get_or_insert_with(|| Instant::now() + STILL_YOUNG);
        for change in &ddl {
            if let Ddl::Connect { stream, .. } = change {
                self.start_reading(*stream)?;
            }
        }
        self.log_digests();
        self.publish();
        Ok(())
    }

    /// Does one logged change of the catalog again; a materialized view is filled here and now. What can't be done of it makes its
    /// relation fail, and nothing else.
    pub fn build(&mut self, change: &Ddl) -> Result<()> {
        self.change(change)?;
        match change {
            Ddl::Create { relation } if matches!(relation.kind, RelationKind::MaterializedView(_)) => {
                match self.fill_here(relation) {
                    Ok(mut fill) => {
                        self.join(relation.id, &mut fill)?;
                        self.inner.circuit.abandon(fill)
                    }
                    Err(error) => self.fail_unless(relation.id, Err(error)),
                }
            }
            _ => Ok(()),
        }
    }

    fn fill_here(&self, view: &Relation) -> Result<Fill> {
        if let Some(error) = view.depends_on.iter().find_map(|id| self.state.failed.get(id)) {
            return Err(error.clone());
        }
        let plan = guarded(|| views::plan(&self.state.catalog, view))?;
        let plans = [(view.id, plan)];
        self.insist(|| backfill::fill(&self.inner, &plans, &self.state, &mut |_| self.go_on()))
    }

    /// 57P01 once the engine is to end.
    fn go_on(&self) -> Result<()> {
        if self.inner.stopping.load(Ordering::Relaxed) { Err(super::stopping()) } else { Ok(()) }
    }

    /// A relation that logged DDL could not be made into has failed; the engine goes on without its rows.
    fn fail_unless(&mut self, relation: RelationId, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(error) if error.state() != SqlState::ADMIN_SHUTDOWN => {
                self.fail(relation, &error);
                Ok(())
            }
            settled => settled,
        }
    }

    pub fn join(&mut self, view: RelationId, fill: &mut Fill) -> Result<()> {
        for error in fill.take_errors(view) {
            self.inner.facts.record_error(view, &error);
        }
        let shards = self.inner.circuit.install(fill, view)?;
        let mut all = HashMap::clone(&self.state.shards);
        all.insert(view, shards);
        self.state.shards = Arc::new(all);
        if let Some(digests) = &mut self.digests {
            digests.join(view, &self.state, &self.inner.commits)?;
        }
        Ok(())
    }

    /// Does one change of the catalog, and what it means for the circuit. Views join by [`Self::join`].
    pub fn change(&mut self, change: &Ddl) -> Result<()> {
        let after = Arc::new(self.state.catalog.apply(change)?);
        if let Ddl::Drop { id } = change {
            super::indexes::remove(&self.state, *id)?;
        }
        self.state.catalog = after;
        match change {
            Ddl::CreateSchema { .. } | Ddl::DropSchema { .. } => Ok(()),
            Ddl::Create { relation } => {
                let created = self.create(relation);
                self.fail_unless(relation.id, created)
            }
            Ddl::Connect { stream, identity, decoder, positions } => {
                let connected = self.connect(*stream, identity, decoder, positions);
                self.fail_unless(*stream, connected)
            }
            Ddl::Drop { id } => self.forget(*id),
        }
    }

    fn create(&mut self, relation: &Relation) -> Result<()> {
        let circuit = &self.inner.circuit;
        match &relation.kind {
            RelationKind::Stream(_) => circuit.add_stream(relation.id, relation.stored_schema()),
            RelationKind::Table(_) => {
                let shards = circuit.add_table(relation.id, relation.stored_schema(), relation.key_columns())?;
                let mut all = HashMap::clone(&self.state.shards);
                all.insert(relation.id, shards);
                self.state.shards = Arc::new(all);
                Ok(())
            }
            RelationKind::Index(index) => super::indexes::add(&self.state, index),
            RelationKind::View(_) | RelationKind::MaterializedView(_) | RelationKind::System => Ok(()),
        }
    }

    fn connect(&mut self, stream: RelationId, identity: &str, decoder: &str, positions: &[(i32, i64)]) -> Result<()> {
        let relation = self.state.relation(stream)?.clone();
        // First, so that a stream that has failed shows its partitions too.
        let mut all = HashMap::clone(&self.state.positions);
        all.insert(stream, positions.iter().map(|(partition, at)| (*partition, *at, *at)).collect());
        self.state.positions = Arc::new(all);
        let source = self.insist(|| guarded(|| (self.inner.config.connect)(&relation, Some(identity))))?;
        ingest::check_decoder(&relation, &*source, decoder)?;
        let connected = Connected { source };
        let mut sources = HashMap::clone(&self.state.sources);
        sources.insert(stream, Arc::new(connected));
        self.state.sources = Arc::new(sources);
        Ok(())
    }

    pub fn start_reading(&mut self, stream: RelationId) -> Result<()> {
        let Some(connected) = self.state.sources.get(&stream) else { return Ok(()) };
        let positions = self.state.positions.get(&stream).cloned().unwrap_or_default();
        let (statuses, bytes) = (self.inner.facts.statuses(stream), self.inner.facts.queue_bytes(stream));
        self.running.insert(stream, Running::start(stream, connected, &positions, statuses, bytes)?);
        Ok(())
    }

    fn forget(&mut self, id: RelationId) -> Result<()> {
        self.running.remove(&id);
        let (mut shards, mut sources) = (HashMap::clone(&self.state.shards), HashMap::clone(&self.state.sources));
        let (mut positions, mut failed) = (HashMap::clone(&self.state.positions), HashMap::clone(&self.state.failed));
        let mut stream_rows = HashMap::clone(&self.state.stream_rows);
        shards.remove(&id);
        sources.remove(&id);
        positions.remove(&id);
        failed.remove(&id);
        stream_rows.remove(&id);
        self.state.stream_rows = Arc::new(stream_rows);
        (self.state.shards, self.state.sources) = (Arc::new(shards), Arc::new(sources));
        (self.state.positions, self.state.failed) = (Arc::new(positions), Arc::new(failed));
        self.inner.facts.forget(id);
        if let Some(digests) = &mut self.digests {
            digests.forget(id);
        }
        self.inner.circuit.remove(id)
    }
}
