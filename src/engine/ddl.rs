//! CREATE and DROP: what a transaction collects of them, and what COMMIT does.
//!
//! ```text
//!   statement -> the transaction's own catalog (names, ids, refusals)
//!   COMMIT    -> views filled and indexes built beside everything else
//!             -> sequencer (its place in the order of writes) -> epoch thread: one cut with all DDL and all writes
//! ```
//!
//! A statement outside of a block is a transaction of its own. A view over views of the same transaction is filled together with them,
//! from what they read. After the cut is logged nothing is left to do that takes long: it could not be given up any more, and a restart
//! would do it again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::facts::DdlWork;
use super::published::{Published, Reader, SHORT_PATIENCE};
use super::read::ReadState;
use super::transaction::Transaction;
use super::waiter::Waiter;
use super::{Engine, Inner, backfill, indexes, views};
use crate::catalog::{Catalog, Ddl, Dropped, IndexDef, Relation, RelationKind};
use crate::circuit::{CircuitPlan, Fill, Shards};
use crate::error::{Error, Result};
use crate::ingest::Connect;
use crate::state::{Arrangement, Deletes, HoldKind, Spec};
use crate::types::RelationId;

/// Whether CREATE made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    Created,
    /// IF NOT EXISTS, and it does.
    Exists,
}

/// DDL of one transaction, made ready beside the running epochs.
pub struct Change {
    pub ddl: Vec<Ddl>,
    /// The catalog as the transaction sees it.
    pub catalog: Arc<Catalog>,
    pub filled: Vec<Filled>,
    pub built: Vec<indexes::Built>,
}

/// A view that is filled and not yet installed, or several that read each other. Dropped, it leaves nothing behind but what was installed.
pub struct Filled {
    inner: Arc<Inner>,
    fill: Option<Fill>,
    seen: Arc<Reader>,
    waiter: Waiter,
}

impl Filled {
    pub fn new(inner: Arc<Inner>, fill: Fill, seen: Arc<Reader>, waiter: Waiter) -> Filled {
        Filled { inner, fill: Some(fill), seen, waiter }
    }

    /// Feeds what changed since it was filled, while epochs wait; ends when nobody waits for the view any more.
    pub fn catch_up(&mut self, state: &Published) -> Result<()> {
        let Some(fill) = &mut self.fill else { return Ok(()) };
        let waiter = &self.waiter;
        backfill::catch_up(&self.inner, fill, &self.seen.state, state, SHORT_PATIENCE, &mut |_| waiter.check())
    }

    /// The fill, if the view is in it.
    pub fn of(&mut self, view: RelationId) -> Option<&mut Fill> {
        self.fill.as_mut().filter(|fill| fill.shards(view).is_some())
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if let Some(fill) = self.fill.take()
            && let Err(error) = self.inner.circuit.abandon(fill)
        {
            tracing::error!(%error, "what was filled can't be let go of");
        }
    }
}

impl Engine {
    /// Creates a relation in a transaction of its own; its id is given here. Returns when it can be read: a materialized view
    /// when it is filled. Cancelled (57014) or failed, it leaves nothing behind.
    pub async fn create(
        self: &Arc<Self>,
        relation: Relation,
        if_not_exists: bool,
        waiter: Waiter,
    ) -> Result<CreateOutcome> {
        let mut transaction = self.begin();
        let outcome = transaction.create(relation, if_not_exists).await?;
        transaction.commit(waiter).await?;
        Ok(outcome)
    }

    /// Drops relations in a transaction of its own. Without `cascade`, 2BP01 when something else depends on one of them.
    pub async fn drop_relations(self: &Arc<Self>, ids: Vec<RelationId>, cascade: bool) -> Result<()> {
        let mut transaction = self.begin();
        transaction.drop_relations(&ids, cascade).await?;
        transaction.commit(Waiter::default()).await
    }
}

impl Transaction {
    pub async fn create(&mut self, relation: Relation, if_not_exists: bool) -> Result<CreateOutcome> {
        let state = self.reader().await?.state.clone();
        if if_not_exists && state.catalog.get(&relation.schema, &relation.name).is_some() {
            return Ok(CreateOutcome::Exists);
        }
        let relation = Relation { id: self.engine().reserve_id(), ..relation };
        let create = Ddl::Create { relation: relation.clone() };
        // Names are checked before anything that takes its time.
        state.catalog.apply(&create)?;
        let mut ddl = vec![create];
        match &relation.kind {
            RelationKind::MaterializedView(_) => drop(views::plan(&state.catalog, &relation)?),
            RelationKind::Stream(stream) if stream.connector.is_some() => {
                let source = self.engine().inner.config.connect;
                ddl.push(connect(relation, source).await?);
            }
            _ => {}
        }
        self.add(ddl).await
    }

    pub async fn create_schema(&mut self, name: String) -> Result<()> {
        Catalog::check_new_schema(&name)?;
        self.add(vec![Ddl::CreateSchema { name }]).await.map(drop)
    }

    /// Gives what else was dropped. Without `cascade` that is nothing, or 2BP01.
    pub async fn drop_relations(&mut self, ids: &[RelationId], cascade: bool) -> Result<Vec<Arc<Relation>>> {
        let dropped = self.reader().await?.state.catalog.dropped(ids, cascade)?;
        self.add(dropped.order.into_iter().map(|id| Ddl::Drop { id }).collect()).await?;
        Ok(dropped.others)
    }

    /// With `cascade` all that is in it goes too, and what depends on that; it is given back.
    pub async fn drop_schema(&mut self, name: String, cascade: bool) -> Result<Vec<Arc<Relation>>> {
        Catalog::check_dropped_schema(&name)?;
        let catalog = self.reader().await?.state.catalog.clone();
        let within = catalog.relations().filter(|relation| cascade && relation.schema == name);
        let Dropped { order, others } =
            catalog.dropped(&within.map(|relation| relation.id).collect::<Vec<_>>(), true)?;
        let gone = order.iter().filter_map(|id| catalog.relation(*id)).filter(|relation| relation.schema == name);
        let gone = gone.filter(|relation| !matches!(relation.kind, RelationKind::Index(_))).cloned();
        let gone: Vec<Arc<Relation>> = gone.chain(others).collect();
        let drops = order.into_iter().map(|id| Ddl::Drop { id });
        self.add(drops.chain([Ddl::DropSchema { name }]).collect()).await?;
        Ok(gone)
    }

    /// Adds DDL to the transaction, whose next statements see it.
    async fn add(&mut self, ddl: Vec<Ddl>) -> Result<CreateOutcome> {
        let reader = self.reader().await?;
        let state = with_ddl(&reader.state, &ddl)?;
        let reader = Reader { state: Arc::new(state), log: reader.log.clone(), hold: reader.hold.clone() };
        self.see(Arc::new(reader), ddl);
        Ok(CreateOutcome::Created)
    }
}

impl Inner {
    /// Fills the views and builds the indexes of a transaction's DDL over the state it saw, beside the running epochs.
    pub fn prepare(self: &Arc<Self>, ddl: Vec<Ddl>, start: Arc<Reader>, waiter: &Waiter) -> Result<Change> {
        let ddl = net(ddl);
        let mut catalog = self.published.borrow().catalog.clone();
        let mut change = Change { ddl, catalog: start.state.catalog.clone(), filled: Vec::new(), built: Vec::new() };
        let (mut families, mut indexes) = (Vec::new(), Vec::new());
        for ddl in &change.ddl {
            if let Ddl::Create { relation } = ddl {
                match &relation.kind {
                    RelationKind::MaterializedView(_) => {
                        let plan = views::plan(&catalog, relation)?;
                        add_to_families(&mut families, Member { id: relation.id, name: &relation.name, plan });
                    }
                    RelationKind::Index(definition) => indexes.push((relation, definition)),
                    _ => {}
                }
            }
            catalog = Arc::new(catalog.apply(ddl)?);
        }
        // The last one takes the reader with it: nothing holds what it saw for longer than it needs.
        let mut start = Some(start);
        while let Some(family) = families.pop() {
            let from = if families.is_empty() { start.take() } else { start.clone() };
            let from = from.ok_or_else(|| Error::internal("a fill without a state to start from"))?;
            change.filled.push(self.fill(family, from, waiter)?);
        }
        for (index, on) in indexes {
            change.built.extend(self.build_index(index, on, &mut change.filled, waiter)?);
        }
        Ok(change)
    }

    fn fill(self: &Arc<Self>, family: Vec<Member>, start: Arc<Reader>, waiter: &Waiter) -> Result<Filled> {
        let names = family.iter().map(|member| member.name).collect::<Vec<_>>().join(", ");
        let plans: Vec<(RelationId, CircuitPlan)> = family.into_iter().map(|member| (member.id, member.plan)).collect();
        let sources: BTreeSet<RelationId> = plans.iter().flat_map(|(_, plan)| plan.sources()).collect();
        let read = sources.into_iter().filter(|source| plans.iter().all(|(view, _)| view != source));
        let total = read.map(|id| start.row_count(id)).sum();
        // From here on it is the view that needs what the transaction saw.
        let own = Arc::new(self.reader_of(&start.state, HoldKind::Backfill, &names));
        drop(start);
        self.watched(DdlWork::Filling, &names, total, waiter, |progress| {
            let next = || self.newest_reader(HoldKind::Backfill, &names);
            let (fill, seen) = backfill::fill_live(self, &plans, own, next, progress)?;
            Ok(Filled::new(self.clone(), fill, seen, waiter.clone()))
        })
    }

    /// Builds an index on what is there, or on a view that was just filled. A table that the transaction makes has nothing to build on.
    fn build_index(
        &self,
        index: &Relation,
        on: &IndexDef,
        filled: &mut [Filled],
        waiter: &Waiter,
    ) -> Result<Option<indexes::Built>> {
        let newest = self.newest_reader(HoldKind::Backfill, &index.name);
        let of_block = || filled.iter_mut().find_map(|filled| filled.of(on.on)?.shards(on.on).cloned());
        let Some(shards) = newest.state.shards.get(&on.on).cloned().or_else(of_block) else { return Ok(None) };
        let total = newest.row_count(on.on);
        let build = |progress: &mut dyn FnMut(u64) -> Result<()>| indexes::build(&shards, on, progress);
        self.watched(DdlWork::Building, &index.name, total, waiter, build).map(Some)
    }

    /// Does work that says how many rows it has done, shows that in `rr_ddl_progress`, and ends it when nobody waits any more.
    fn watched<T>(
        &self,
        doing: DdlWork,
        object: &str,
        total: Option<u64>,
        waiter: &Waiter,
        work: impl FnOnce(&mut dyn FnMut(u64) -> Result<()>) -> Result<T>,
    ) -> Result<T> {
        let (number, progress) = self.facts.begin_ddl(waiter.pid, doing, object.to_string(), total);
        let outcome = work(&mut |rows| {
            progress.rows_done.fetch_add(rows, Ordering::Relaxed);
            waiter.check()
        });
        self.facts.end_ddl(number);
        outcome
    }
}

/// A view to fill.
struct Member<'a> {
    id: RelationId,
    name: &'a str,
    plan: CircuitPlan,
}

/// Adds a view to those that it reads: they are filled together, what is read first.
fn add_to_families<'a>(families: &mut Vec<Vec<Member<'a>>>, view: Member<'a>) {
    let reads = |family: &Vec<Member>| view.plan.sources().any(|source| family.iter().any(|other| other.id == source));
    let mut family: Vec<Member> = families.extract_if(.., |family| reads(family)).flatten().collect();
    family.push(view);
    // Ids are given as views are made, and a view is made after what it reads.
    family.sort_by_key(|member| member.id);
    families.push(family);
}

/// The state as a transaction sees it after DDL of its own: new tables are empty, new materialized views have no rows to read.
fn with_ddl(state: &Published, ddl: &[Ddl]) -> Result<Published> {
    let mut after = state.clone();
    for change in ddl {
        after.catalog = Arc::new(after.catalog.apply(change)?);
        if let Ddl::Create { relation } = change
            && matches!(relation.kind, RelationKind::Table(_))
        {
            let spec = Spec::new(Deletes::Key(relation.key_columns()));
            let empty = Arrangement::new(relation.stored_schema(), spec)?;
            let mut shards = HashMap::clone(&after.shards);
            shards.insert(relation.id, Shards(Arc::new(vec![empty])));
            after.shards = Arc::new(shards);
        }
    }
    Ok(after)
}

/// Without what was both created and dropped.
fn net(ddl: Vec<Ddl>) -> Vec<Ddl> {
    let created: HashSet<RelationId> = ddl
        .iter()
        .filter_map(|change| match change {
            Ddl::Create { relation } => Some(relation.id),
            _ => None,
        })
        .collect();
    let brief: HashSet<RelationId> = ddl
        .iter()
        .filter_map(|change| match change {
            Ddl::Drop { id } if created.contains(id) => Some(*id),
            _ => None,
        })
        .collect();
    let stays = |change: &Ddl| match change {
        Ddl::Create { relation } => !brief.contains(&relation.id),
        Ddl::Connect { stream: id, .. } | Ddl::Drop { id } => !brief.contains(id),
        Ddl::CreateSchema { .. } | Ddl::DropSchema { .. } => true,
    };
    ddl.into_iter().filter(stays).collect()
}

/// Finds out what a new stream is connected to, and where its partitions start.
async fn connect(stream: Relation, source: Connect) -> Result<Ddl> {
    let connected = tokio::task::spawn_blocking(move || {
        let source = source(&stream, None)?;
        let (stream, decoder) = (stream.id, source.decoder().to_string());
        Ok(Ddl::Connect { stream, identity: source.identity()?, decoder, positions: source.start_positions()? })
    });
    connected.await.map_err(Error::internal)?
}
