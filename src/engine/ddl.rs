//! CREATE and DROP as the engine does them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::epochs::{Control, Install};
use super::published::Reader;
use super::sequencer::Request;
use super::{Engine, Inner, backfill, stopping, views};
use crate::catalog::{Ddl, Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::ingest;
use crate::state::HoldKind;
use crate::types::RelationId;

/// Whether CREATE made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    Created,
    /// IF NOT EXISTS, and it does.
    Exists,
}

/// Set by whoever cancels; looked at between slices.
pub type Cancel = Arc<AtomicBool>;

impl Engine {
    /// Creates a relation; its id is given here. Returns when it can be read: a materialized view when it is filled, beside
    /// everything else. Cancelled (57014) or failed, it leaves nothing behind. `pid` is the session's, for `rr_ddl_progress`.
    pub async fn create(
        &self,
        relation: Relation,
        if_not_exists: bool,
        cancel: Cancel,
        pid: i32,
    ) -> Result<CreateOutcome> {
        self.ready().await?;
        let catalog = self.catalog();
        if if_not_exists && catalog.get(&relation.schema, &relation.name).is_some() {
            return Ok(CreateOutcome::Exists);
        }
        // Names are checked first, so that a taken one is not found out after an hour of filling.
        catalog.apply(&Ddl::Create { relation: Relation { id: catalog.next_id(), ..relation.clone() } })?;
        match &relation.kind {
            RelationKind::MaterializedView(_) => self.create_filled(relation, cancel, pid).await?,
            RelationKind::Stream(stream) if stream.connector.is_some() => self.create_connected(relation).await?,
            _ => {
                self.ddl(|catalog| vec![Ddl::Create { relation: Relation { id: catalog, ..relation.clone() } }]).await?
            }
        }
        Ok(CreateOutcome::Created)
    }

    pub async fn create_schema(&self, name: String) -> Result<()> {
        self.ready().await?;
        self.ddl(|_| vec![Ddl::CreateSchema { name: name.clone() }]).await
    }

    /// Drops relations. Without `cascade`, 2BP01 when something else depends on one of them.
    pub async fn drop_relations(&self, ids: Vec<RelationId>, cascade: bool) -> Result<()> {
        self.ready().await?;
        let catalog = self.catalog();
        let mut order: Vec<RelationId> = Vec::new();
        for id in &ids {
            for relation in catalog.drop_order(*id) {
                if !order.contains(&relation.id) {
                    order.push(relation.id);
                }
            }
        }
        // An index goes with its relation without being asked for.
        let is_index = |id: &RelationId| {
            catalog.relation(*id).is_some_and(|relation| matches!(relation.kind, RelationKind::Index(_)))
        };
        if !cascade && let Some(dependent) = order.iter().find(|id| !ids.contains(id) && !is_index(id)) {
            return Err(refusal(&catalog, &ids, *dependent));
        }
        self.ddl(|_| order.iter().map(|id| Ddl::Drop { id: *id }).collect()).await
    }

    /// Drops a schema; with `cascade` all that is in it, and what depends on that.
    pub async fn drop_schema(&self, name: String, cascade: bool) -> Result<()> {
        self.ready().await?;
        let catalog = self.catalog();
        let mut order: Vec<RelationId> = Vec::new();
        if cascade {
            for relation in catalog.relations().filter(|relation| relation.schema == name) {
                for dependent in catalog.drop_order(relation.id) {
                    if !order.contains(&dependent.id) {
                        order.push(dependent.id);
                    }
                }
            }
        }
        self.ddl(|_| {
            let drops = order.iter().map(|id| Ddl::Drop { id: *id });
            drops.chain([Ddl::DropSchema { name: name.clone() }]).collect()
        })
        .await
    }

    /// An epoch of DDL, after every write acknowledged so far. `changes` gets the id the next object will have; should somebody
    /// else be faster, the engine refuses and it is asked again.
    async fn ddl(&self, changes: impl Fn(RelationId) -> Vec<Ddl>) -> Result<()> {
        self.barrier().await?;
        let (reply, answer) = oneshot::channel();
        let changes = changes(self.catalog().next_id());
        self.control.send(Control::Ddl { changes, reply }).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Returns when the commits of all writes sent so far are on their way to an epoch.
    async fn barrier(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Barrier { reply }).await?;
        answer.await.map_err(|_| stopping())
    }

    async fn create_connected(&self, relation: Relation) -> Result<()> {
        let described = relation.clone();
        let (identity, positions) = tokio::task::spawn_blocking(move || {
            let source = ingest::connect(&described)?;
            Ok::<_, Error>((source.identity()?, source.start_positions()?))
        })
        .await
        .map_err(Error::internal)??;
        self.ddl(|id| {
            let (identity, positions) = (identity.clone(), positions.clone());
            vec![
                Ddl::Create { relation: Relation { id, ..relation.clone() } },
                Ddl::Connect { stream: id, identity, positions },
            ]
        })
        .await
    }

    async fn create_filled(&self, relation: Relation, cancel: Cancel, pid: i32) -> Result<()> {
        let plan = views::plan(&self.catalog(), &relation)?;
        let start = self.reader(HoldKind::Backfill).await?;
        let inner = self.inner.clone();
        let described = relation.clone();
        let filled = tokio::task::spawn_blocking(move || fill(&inner, &described, &plan, start, &cancel, pid));
        let (fill, seen) = filled.await.map_err(Error::internal)??;
        let (reply, answer) = oneshot::channel();
        let install = Box::new(Install { relation, fill, seen });
        self.control.send(Control::Install { install, reply }).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

fn fill(
    inner: &Arc<Inner>,
    view: &Relation,
    plan: &crate::circuit::CircuitPlan,
    start: Arc<Reader>,
    cancel: &Cancel,
    pid: i32,
) -> Result<(crate::circuit::Fill, Arc<Reader>)> {
    let total = view.depends_on.iter().map(|id| super::read::ReadState::row_count(&*start, *id)).sum();
    let (number, progress) = inner.facts.begin_fill(pid, view.name.clone(), total);
    let outcome = backfill::fill_live(inner, plan, start, || inner.newest_reader(HoldKind::Backfill), &mut |rows| {
        progress.rows_done.fetch_add(rows, Ordering::Relaxed);
        match cancel.load(Ordering::Relaxed) {
            true => Err(Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")),
            false => Ok(()),
        }
    });
    inner.facts.end_fill(number);
    outcome
}

/// 2BP01 that names what depends on what.
fn refusal(catalog: &crate::catalog::Catalog, dropped: &[RelationId], dependent: RelationId) -> Error {
    let chain = dropped.iter().find(|id| catalog.drop_order(**id).iter().any(|relation| relation.id == dependent));
    match (chain.and_then(|id| catalog.relation(*id)), catalog.relation(dependent)) {
        (Some(relation), Some(dependent)) => crate::catalog::still_needed(relation, dependent),
        _ => Error::internal("a dependency that is not in the catalog"),
    }
}
