//! How a view comes to live: a circuit of its own is filled beside the live one, then joins it between two epochs.
//!
//! While it is filled, the view's nodes have private numbers and share nothing, so a slice of it disturbs no one. When it
//! has seen exactly what the live circuit has seen, each of its nodes that computes the same as a live node gives way to
//! that node, state and all: after the install an arrangement exists once, however many views use it.
//!
//! Views that read each other are filled together: in their fill, rows go from the node of which a view will be the output straight
//! to the sources of those that read it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::graph::{GraphNode, NodeId, NodeSpec};
use super::plan::{CircuitPlan, OpSpec};
use super::worker::{Arrangements, Command, FillId, FillWork, InstallWork, NodeSetup};
use super::{Circuit, Inner, Shards, shards_of};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::RowErrors;
use crate::types::RelationId;

/// The circuit of a view before it lives, or of several that read each other.
pub struct Fill {
    id: FillId,
    nodes: Vec<NodeSetup>,
    started: bool,
    views: Vec<Filling>,
}

/// A view in its fill.
struct Filling {
    view: RelationId,
    /// Where its nodes are among the fill's.
    nodes: Range<usize>,
    shards: Shards,
    /// Failed expressions so far.
    errors: RowErrors,
}

/// One worker's rows of one relation, in a slice of a fill.
pub struct FillInput {
    pub relation: RelationId,
    pub worker: usize,
    pub deltas: Vec<Delta>,
}

impl Fill {
    /// The relations it reads, other than its own views.
    pub fn sources(&self) -> Vec<RelationId> {
        self.fed().map(|(relation, _)| relation).collect()
    }

    /// The sources that the filler feeds.
    fn fed(&self) -> impl Iterator<Item = (RelationId, NodeId)> {
        self.nodes.iter().filter(|node| node.inputs.is_empty()).filter_map(|node| match node.spec {
            NodeSpec::Source { relation, .. } => Some((relation, node.id)),
            _ => None,
        })
    }

    /// The rows of one of its views.
    pub fn shards(&self, view: RelationId) -> Option<&Shards> {
        self.views.iter().find(|filling| filling.view == view).map(|filling| &filling.shards)
    }

    /// Expressions of a view that have failed since the last call.
    pub fn take_errors(&mut self, view: RelationId) -> RowErrors {
        let filling = self.views.iter_mut().find(|filling| filling.view == view);
        filling.map(|filling| std::mem::take(&mut filling.errors)).unwrap_or_default()
    }
}

impl Circuit {
    /// Builds the circuit of views on every worker, those that are read before those that read them. It holds nothing yet.
    pub fn begin_fill(&self, plans: &[(RelationId, CircuitPlan)]) -> Result<Fill> {
        let mut nodes: Vec<NodeSetup> = Vec::new();
        // Where the rows of each view come from, and where its nodes are.
        let mut results: HashMap<RelationId, NodeId> = HashMap::new();
        let mut places = Vec::with_capacity(plans.len());
        for (view, plan) in plans {
            let first = nodes.len();
            let at = |index: usize| NodeId((first + index) as u64);
            for node in &plan.nodes {
                let (spec, inputs) = match &node.op {
                    OpSpec::Source { relation } => {
                        let spec = NodeSpec::Source { relation: *relation, columns: node.schema.fields().len() };
                        (spec, results.get(relation).copied().into_iter().collect())
                    }
                    op => (NodeSpec::Op(op.clone()), node.inputs.iter().map(|input| at(*input)).collect()),
                };
                nodes.push(private(nodes.len(), spec, inputs, node.schema.clone(), node.append_only));
            }
            let last = plan.nodes.get(plan.output).ok_or_else(|| Error::internal("a plan without its output node"))?;
            let (schema, append_only) = (last.schema.clone(), last.append_only);
            nodes.push(private(nodes.len(), NodeSpec::Output, vec![at(plan.output)], schema, append_only));
            results.insert(*view, at(plan.output));
            places.push((*view, first..nodes.len()));
        }

        let mut inner = self.inner.lock();
        let id = inner.next_fill;
        inner.next_fill += 1;
        let built: Result<Vec<_>> =
            inner.ask(|reply| Command::Build { fill: Some(id), nodes: nodes.clone(), reply })?.into_iter().collect();
        let filling = |arrangements: Vec<Arrangements>| {
            let views = places.into_iter().map(|(view, places)| {
                let shards = shards_of(NodeId(places.end as u64 - 1), &arrangements)?;
                Ok(Filling { view, nodes: places, shards, errors: RowErrors::default() })
            });
            views.collect::<Result<Vec<_>>>()
        };
        match built.and_then(filling) {
            Ok(views) => Ok(Fill { id, nodes, started: false, views }),
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
            for (_, source) in fill.fed().filter(|(fed, _)| *fed == relation) {
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
            for (id, errors) in report.errors {
                if let Some(of) = fill.views.iter_mut().find(|filling| filling.nodes.contains(&(id.0 as usize))) {
                    of.errors.extend(errors);
                }
            }
        }
        Ok(more)
    }

    /// A view of a fill joins the live circuit, between two epochs: the fill has been fed all that the live circuit has seen, and is fed
    /// no more. What it reads has joined before it.
    pub fn install(&self, fill: &Fill, view: RelationId) -> Result<Shards> {
        let filling = fill.views.iter().find(|filling| filling.view == view);
        let filling = filling.ok_or_else(|| Error::internal("a view that is not in the fill"))?;
        let mut inner = self.inner.lock();
        let mut live: HashMap<NodeId, NodeId> = HashMap::new();
        let mut keep = Vec::new();
        for setup in &fill.nodes[filling.nodes.clone()] {
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
                schema: setup.schema.clone(),
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
        Ok(filling.shards.clone())
    }

    /// Leaves nothing of it behind but what has joined.
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
