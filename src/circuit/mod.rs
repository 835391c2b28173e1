//! The circuit: operators wired into a graph, run in steps by worker threads, with exchange between them.
//!
//! [`Circuit`] is the owner's side: it knows the graph, hands out work and collects what came of it. All calls that
//! reach the workers go through one lock, so that every worker sees the same commands in the same order.

mod exchange;
mod graph;
mod install;
pub mod plan;
#[cfg(test)]
mod tests;
mod worker;

pub use graph::NodeId;
pub use install::{Fill, FillInput};
pub use plan::CircuitPlan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Sender, bounded, unbounded};
use parking_lot::Mutex;

use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::RowError;
use crate::state::{Arrangement, Version};
use crate::types::RelationId;
use graph::{Graph, GraphNode, NodeSpec};
use plan::{ExchangeTo, OpSpec};
use worker::{Arrangements, Command, EpochWork, NodeSetup, PassReport, Worker};

/// One epoch's input: its steps, each the deltas of some relations.
#[derive(Default)]
pub struct EpochInput {
    pub steps: Vec<Vec<(RelationId, Vec<Delta>)>>,
    /// No reader will ask for an older version.
    pub oldest: Version,
    /// The epoch's `now()`, microseconds since 1970 UTC.
    pub now: i64,
}

/// What came of an epoch.
#[derive(Default)]
pub struct EpochOutput {
    /// The version that readers of this epoch see.
    pub version: Version,
    /// Failed expressions, by the views they belong to.
    pub errors: Vec<(RelationId, RowError)>,
    /// Views whose operators failed: a bug of ours. Their rows, and those of the views above, are no longer right.
    pub failed: Vec<(RelationId, Error)>,
}

/// The rows of a table or materialized view, a part on each worker.
#[derive(Clone)]
pub struct Shards(pub Arc<Vec<Arc<Arrangement>>>);

pub struct Circuit {
    inner: Mutex<Inner>,
    workers: usize,
    /// What [`Circuit::state_bytes`] last found.
    measured: Mutex<(HashMap<RelationId, usize>, usize)>,
}

/// How long who asks for sizes waits for the circuit: longer than most epochs take.
const MEASURE_PATIENCE: Duration = Duration::from_millis(50);

struct Inner {
    graph: Graph,
    commands: Vec<Sender<Command>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    version: Version,
    next_fill: u64,
    /// Which worker the next chunk of input goes to.
    turn: usize,
}

impl Circuit {
    /// Starts the worker threads.
    pub fn start(workers: usize) -> Result<Circuit> {
        let mut commands = Vec::new();
        let mut threads = Vec::new();
        for mesh in exchange::mesh(workers) {
            let (sender, receiver) = unbounded();
            let name = format!("worker-{}", mesh.worker);
            let worker = Worker::new(mesh);
            threads.push(std::thread::Builder::new().name(name).spawn(move || worker.run(receiver))?);
            commands.push(sender);
        }
        let graph = Graph::default();
        let inner = Inner { graph, commands, threads, version: 0, next_fill: 1, turn: 0 };
        Ok(Circuit { inner: Mutex::new(inner), workers, measured: Mutex::default() })
    }

    /// A stream's rows will come.
    pub fn add_stream(&self, relation: RelationId, schema: SchemaRef) -> Result<()> {
        let mut inner = self.inner.lock();
        let input = inner.input_node(relation, schema, true);
        inner.build(&[input])?;
        inner.graph.relations.insert(relation, input);
        Ok(())
    }

    /// A table's rows, kept by `key`.
    pub fn add_table(&self, relation: RelationId, schema: SchemaRef, key: Vec<usize>) -> Result<Shards> {
        let mut inner = self.inner.lock();
        let input = inner.input_node(relation, schema.clone(), false);
        let mut nodes = vec![input];
        let specs = [NodeSpec::Op(OpSpec::Exchange { to: ExchangeTo::Key(key.clone()) }), NodeSpec::Table { key }];
        for spec in specs {
            let last = nodes[nodes.len() - 1];
            nodes.push(inner.graph.add(GraphNode {
                spec,
                inputs: vec![last],
                schema: schema.clone(),
                append_only: false,
                needed_by: [relation].into(),
                stratum: 0,
            }));
        }
        let arrangements = inner.build(&nodes)?;
        let table = nodes[nodes.len() - 1];
        inner.graph.relations.insert(relation, table);
        shards_of(table, &arrangements)
    }

    /// Runs one epoch. Input for relations that are not (any more) in the circuit is left out.
    pub fn run_epoch(&self, input: EpochInput) -> Result<EpochOutput> {
        let mut inner = self.inner.lock();
        let mut shares: Vec<Vec<Vec<(NodeId, Vec<Delta>)>>> = vec![Vec::new(); self.workers];
        let mut seeds = Vec::new();
        for step in input.steps {
            let (step_seeds, step_shares) = inner.share(step);
            seeds.push(step_seeds);
            shares.iter_mut().zip(step_shares).for_each(|(all, share)| all.push(share));
        }
        let (seeds, oldest, now) = (Arc::new(seeds), input.oldest, input.now);
        let mut shares = shares.into_iter();
        let reports = inner.ask(|reply| {
            let steps = shares.next().unwrap_or_default();
            let work = EpochWork { steps, seeds: seeds.clone(), oldest, now };
            Command::Epoch { work, reply }
        })?;
        let output = inner.collect(reports);
        inner.version = output.version;
        Ok(output)
    }

    /// Gives back a bounded part of what nobody can see any more of every arrangement, between two epochs. Gives the version in which
    /// the oldest dead row left died, if there is one.
    pub fn give_back(&self, oldest: Version) -> Result<Option<Version>> {
        let inner = self.inner.lock();
        let left = inner.ask(|reply| Command::GiveBack { oldest, reply })?.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(left.into_iter().flatten().min())
    }

    /// Drops a relation's node and everything only it needed.
    pub fn remove(&self, relation: RelationId) -> Result<()> {
        let mut inner = self.inner.lock();
        let nodes = inner.graph.remove(relation);
        inner.ask(|reply| Command::Remove { nodes: nodes.clone(), reply })?.into_iter().collect()
    }

    /// Bytes of state by relation, a node that several views share counting for each its part; and of views that are being filled.
    ///
    /// While an epoch runs, what was measured before it: nobody waits for one to learn sizes.
    pub fn state_bytes(&self) -> Result<(HashMap<RelationId, usize>, usize)> {
        let Some(inner) = self.inner.try_lock_for(MEASURE_PATIENCE) else { return Ok(self.measured.lock().clone()) };
        let (mut bytes, mut fills) = (HashMap::new(), 0);
        for measured in inner.ask(|reply| Command::Measure { reply })? {
            fills += measured.fills;
            for (id, size) in measured.live {
                if let Some(node) = inner.graph.nodes.get(&id) {
                    for relation in &node.needed_by {
                        *bytes.entry(*relation).or_default() += size / node.needed_by.len();
                    }
                }
            }
        }
        let measured = (bytes, fills);
        *self.measured.lock() = measured.clone();
        Ok(measured)
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        inner.commands.clear();
        for thread in inner.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}

impl Inner {
    fn input_node(&mut self, relation: RelationId, schema: SchemaRef, append_only: bool) -> NodeId {
        self.graph.add(GraphNode {
            spec: NodeSpec::Input,
            inputs: Vec::new(),
            schema,
            append_only,
            needed_by: [relation].into(),
            stratum: 0,
        })
    }

    /// Builds nodes of the live graph on all workers.
    fn build(&self, nodes: &[NodeId]) -> Result<Vec<Arrangements>> {
        let setups: Vec<NodeSetup> = nodes
            .iter()
            .filter_map(|id| {
                let node = self.graph.nodes.get(id)?;
                Some(NodeSetup {
                    id: *id,
                    spec: node.spec.clone(),
                    inputs: node.inputs.clone(),
                    schema: node.schema.clone(),
                    stratum: node.stratum,
                    append_only: node.append_only,
                })
            })
            .collect();
        self.ask(|reply| Command::Build { fill: None, nodes: setups.clone(), reply })?.into_iter().collect()
    }

    /// Sends a command to every worker and waits for all answers.
    fn ask<T>(&self, mut command: impl FnMut(Sender<T>) -> Command) -> Result<Vec<T>> {
        let mut replies = Vec::with_capacity(self.commands.len());
        for worker in &self.commands {
            let (reply, answer) = bounded(1);
            worker.send(command(reply)).map_err(|_| Error::internal("a worker has stopped"))?;
            replies.push(answer);
        }
        replies.into_iter().map(|answer| answer.recv().map_err(|_| Error::internal("a worker has stopped"))).collect()
    }

    /// Deals a step's chunks out to the workers.
    #[expect(clippy::type_complexity, reason = "a worker's share, for each worker")]
    fn share(&mut self, step: Vec<(RelationId, Vec<Delta>)>) -> (Vec<NodeId>, Vec<Vec<(NodeId, Vec<Delta>)>>) {
        let workers = self.commands.len();
        let mut seeds = Vec::new();
        let mut shares: Vec<HashMap<NodeId, Vec<Delta>>> = vec![HashMap::new(); workers];
        for (relation, deltas) in step {
            let Some(input) = self.graph.input_of(relation) else { continue };
            seeds.push(input);
            for delta in deltas {
                shares[self.turn % workers].entry(input).or_default().push(delta);
                self.turn = self.turn.wrapping_add(1);
            }
        }
        seeds.sort_unstable();
        seeds.dedup();
        (seeds, shares.into_iter().map(|share| share.into_iter().collect()).collect())
    }

    fn collect(&mut self, reports: Vec<PassReport>) -> EpochOutput {
        let mut output = EpochOutput::default();
        for report in reports {
            output.version = output.version.max(report.version);
            for (id, errors) in report.errors {
                let Some(node) = self.graph.nodes.get(&id) else { continue };
                for error in errors {
                    output.errors.extend(node.needed_by.iter().map(|view| (*view, error.clone())));
                }
            }
            for (id, error) in report.failed {
                output.failed.extend(self.graph.fed_by(id).into_iter().map(|view| (view, error.clone())));
                self.graph.distrust(id);
            }
        }
        output
    }
}

fn shards_of(node: NodeId, workers: &[Arrangements]) -> Result<Shards> {
    let shards = workers
        .iter()
        .map(|arrangements| arrangements.iter().find(|(id, _)| *id == node).map(|(_, rows)| rows.clone()))
        .collect::<Option<Vec<_>>>();
    Ok(Shards(Arc::new(shards.ok_or_else(|| Error::internal("a relation's rows are not arranged"))?)))
}
