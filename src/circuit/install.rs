//! How a view comes to live: a circuit of its own is filled beside the live one, then joins it between two epochs.
//!
//! While it is filled, the view's nodes have private numbers and share nothing, so a slice of it disturbs no one. When it
//! has seen exactly what the live circuit has seen, each of its nodes that computes the same as a live node gives way to
//! that node, state and all: after the install an arrangement exists once, however many views use it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::graph::{GraphNode, NodeId, NodeSpec};
use super::plan::{CircuitPlan, OpSpec};
use super::worker::{Command, FillId, FillWork, InstallWork, NodeSetup};
use super::{Circuit, Inner, Shards, shards_of};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::RowErrors;
use crate::types::RelationId;

/// A view's circuit before it lives.
pub struct Fill {
    id: FillId,
    nodes: Vec<NodeSetup>,
    started: bool,
    shards: Shards,
    /// Failed expressions so far.
    pub errors: RowErrors,
}

/// One worker's rows of one relation, in a slice of a fill.
pub struct FillInput {
    pub relation: RelationId,
    pub worker: usize,
    pub deltas: Vec<Delta>,
}

impl Fill {
    /// The relations it reads.
    pub fn sources(&self) -> Vec<RelationId> {
        self.nodes
            .iter()
            .filter_map(|node| match node.spec {
                NodeSpec::Source { relation, .. } => Some(relation),
                _ => None,
            })
            .collect()
    }

    fn sources_of(&self, wanted: RelationId) -> impl Iterator<Item = NodeId> {
        self.nodes
            .iter()
            .filter(move |node| matches!(node.spec, NodeSpec::Source { relation, .. } if relation == wanted))
            .map(|node| node.id)
    }
}

impl Circuit {
    /// Builds the view's own circuit on every worker. It holds nothing yet.
    pub fn begin_fill(&self, plan: &CircuitPlan) -> Result<Fill> {
        let mut nodes: Vec<NodeSetup> = Vec::with_capacity(plan.nodes.len() + 1);
        for (index, node) in plan.nodes.iter().enumerate() {
            let spec = match &node.op {
                OpSpec::Source { relation } => {
                    NodeSpec::Source { relation: *relation, columns: node.schema.fields().len() }
                }
                op => NodeSpec::Op(op.clone()),
            };
            let inputs = node.inputs.iter().map(|input| NodeId(*input as u64)).collect();
            nodes.push(private(index, spec, inputs, node.schema.clone(), node.append_only));
        }
        let last = plan.nodes.get(plan.output).ok_or_else(|| Error::internal("a plan without its output node"))?;
        let inputs = vec![NodeId(plan.output as u64)];
        let (schema, append_only) = (last.schema.clone(), last.append_only);
        let output = private(nodes.len(), NodeSpec::Output, inputs, schema, append_only);
        let output_id = output.id;
        nodes.push(output);

        let mut inner = self.inner.lock();
        let id = inner.next_fill;
        inner.next_fill += 1;
        let built: Result<Vec<_>> =
            inner.ask(|reply| Command::Build { fill: Some(id), nodes: nodes.clone(), reply })?.into_iter().collect();
        match built.and_then(|arrangements| shards_of(output_id, arrangements)) {
            Ok(shards) => Ok(Fill { id, nodes, started: false, shards, errors: RowErrors::default() }),
            Err(error) => {
                inner.abandon(id)?;
                Err(error)
            }
        }
    }

    /// Runs one pass over a slice of input. True: there is more to come from what was fed already; call again with
    /// nothing before feeding on. A fill that failed has to be abandoned.
    pub fn feed(&self, fill: &mut Fill, input: Vec<FillInput>, now: i64) -> Result<bool> {
        let workers = self.workers;
        let mut shares: Vec<Vec<(NodeId, Vec<Delta>)>> = vec![Vec::new(); workers];
        let mut seeds = Vec::new();
        for FillInput { relation, worker, deltas } in input {
            for source in fill.sources_of(relation) {
                seeds.push(source);
                shares[worker % workers].push((source, deltas.clone()));
            }
        }
        let (seeds, first, id) = (Arc::new(seeds), !fill.started, fill.id);
        fill.started = true;
        let mut shares = shares.into_iter();
        let reports = self.inner.lock().ask(|reply| {
            let input = shares.next().unwrap_or_default();
            Command::Fill { work: FillWork { fill: id, input, seeds: seeds.clone(), first, now }, reply }
        })?;
        let mut more = false;
        for report in reports {
            if let Some((_, error)) = report.failed.into_iter().next() {
                return Err(error);
            }
            more |= report.more;
            fill.errors.extend(report.errors.into_values().flatten());
        }
        Ok(more)
    }

    /// Joins the live circuit as `view`, between two epochs: the fill has been fed all that the live circuit has seen.
    pub fn install(&self, fill: Fill, view: RelationId) -> Result<Shards> {
        let mut inner = self.inner.lock();
        let mut live: HashMap<NodeId, NodeId> = HashMap::new();
        let mut keep = Vec::new();
        for setup in fill.nodes {
            let inputs: Vec<NodeId> = match &setup.spec {
                NodeSpec::Source { relation, .. } => inner.graph.relations.get(relation).copied().into_iter().collect(),
                _ => setup.inputs.iter().filter_map(|input| live.get(input).copied()).collect(),
            };
            if let Some(equal) = inner.graph.equal_node(&setup.spec, &inputs)
                && let Some(node) = inner.graph.nodes.get_mut(&equal)
            {
                node.needed_by.insert(view);
                live.insert(setup.id, equal);
                continue;
            }
            let stratum = inner.graph.stratum_over(&inputs);
            let id = inner.graph.add(GraphNode {
                spec: setup.spec.clone(),
                inputs: inputs.clone(),
                schema: setup.schema,
                append_only: setup.append_only,
                needed_by: [view].into(),
                stratum,
            });
            if matches!(setup.spec, NodeSpec::Output) {
                inner.graph.relations.insert(view, id);
            }
            live.insert(setup.id, id);
            keep.push((setup.id, id, inputs, stratum));
        }
        let work = InstallWork { fill: fill.id, keep, version: inner.version };
        inner.ask(|reply| Command::Install { work: work.clone(), reply })?.into_iter().collect::<Result<Vec<()>>>()?;
        Ok(fill.shards)
    }

    /// Leaves nothing of it behind.
    pub fn abandon(&self, fill: Fill) -> Result<()> {
        self.inner.lock().abandon(fill.id)
    }
}

impl Inner {
    fn abandon(&self, fill: FillId) -> Result<()> {
        self.ask(|reply| Command::Abandon { fill, reply })?.into_iter().collect()
    }
}

fn private(index: usize, spec: NodeSpec, inputs: Vec<NodeId>, schema: SchemaRef, append_only: bool) -> NodeSetup {
    NodeSetup { id: NodeId(index as u64), spec, inputs, schema, stratum: 0, append_only }
}
