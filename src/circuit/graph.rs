//! What the circuit is made of, as its owner sees it: nodes, who reads whom, which view needs which node.
//!
//! The graph holds no rows. Workers hold, for every node of it, one instance of the operator.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::datatypes::SchemaRef;

use super::plan::OpSpec;
use crate::types::RelationId;

/// Number of a node; a node's inputs have smaller numbers, so that number order is a topological order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// What a node does.
#[derive(Clone, Debug)]
pub enum NodeSpec {
    /// Rows come from outside the circuit.
    Input,
    /// A base table's rows by its key; passes its deltas on.
    Table {
        key: Vec<usize>,
    },
    /// The deltas of a relation, the first `columns` columns of them. While a view is being filled it has no input and
    /// is fed by the filler; afterwards its input is the relation's node.
    Source {
        relation: RelationId,
        columns: usize,
    },
    Op(OpSpec),
    /// A materialized view's rows; passes on one consolidated delta an epoch.
    Output,
}

impl NodeSpec {
    /// Whether one node can do both, over the same inputs. Rows that come or go by a name of their own are not shared.
    fn shares(&self, other: &NodeSpec) -> bool {
        match (self, other) {
            (NodeSpec::Op(one), NodeSpec::Op(other)) => one.computes_same(other),
            (NodeSpec::Source { relation, columns }, NodeSpec::Source { relation: other, columns: others }) => {
                relation == other && columns == others
            }
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct GraphNode {
    pub spec: NodeSpec,
    pub inputs: Vec<NodeId>,
    pub schema: SchemaRef,
    pub append_only: bool,
    /// Views (and base relations) that need it.
    pub needed_by: BTreeSet<RelationId>,
    /// Length of the longest chain of outputs above it: outputs end their epoch in this order.
    pub stratum: usize,
}

/// The live circuit.
#[derive(Default)]
pub struct Graph {
    pub nodes: BTreeMap<NodeId, GraphNode>,
    /// The node whose delta is the relation's: a stream's Input, a Table, an Output.
    pub relations: HashMap<RelationId, NodeId>,
    /// Nodes by their text: those among which an equal one is looked for.
    by_text: HashMap<String, Vec<NodeId>>,
    /// What failed, and all that reads it: what these hold is not what their inputs make.
    distrusted: BTreeSet<NodeId>,
    next: u64,
}

impl Graph {
    pub fn add(&mut self, node: GraphNode) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        self.by_text.entry(text(&node.spec, &node.inputs)).or_default().push(id);
        self.nodes.insert(id, node);
        id
    }

    /// The live node that does the same over the same inputs, and always has.
    pub fn equal_node(&self, spec: &NodeSpec, inputs: &[NodeId]) -> Option<NodeId> {
        let alike = self.by_text.get(&text(spec, inputs))?.iter().filter(|id| !self.distrusted.contains(id));
        let mut equal =
            alike.filter(|id| self.nodes.get(id).is_some_and(|node| node.inputs == inputs && node.spec.shares(spec)));
        equal.next().copied()
    }

    /// A node has failed, or the pass itself for one that is not in the graph: no view made later may share it or what reads it.
    pub fn distrust(&mut self, failed: NodeId) {
        if !self.nodes.contains_key(&failed) {
            self.distrusted.extend(self.nodes.keys());
            return;
        }
        self.distrusted.insert(failed);
        for (id, node) in self.nodes.range(failed..) {
            if node.inputs.iter().any(|input| self.distrusted.contains(input)) {
                self.distrusted.insert(*id);
            }
        }
    }

    /// Forgets what only this relation needed; gives the nodes that went, readers before what they read.
    pub fn remove(&mut self, relation: RelationId) -> Vec<NodeId> {
        self.relations.remove(&relation);
        let mut gone = Vec::new();
        for (id, node) in self.nodes.iter_mut().rev() {
            if node.needed_by.remove(&relation) && node.needed_by.is_empty() {
                gone.push(*id);
            }
        }
        for id in &gone {
            let Some(node) = self.nodes.remove(id) else { continue };
            self.distrusted.remove(id);
            let text = text(&node.spec, &node.inputs);
            if let Some(alike) = self.by_text.get_mut(&text) {
                alike.retain(|other| other != id);
                if alike.is_empty() {
                    self.by_text.remove(&text);
                }
            }
        }
        gone
    }

    /// Where rows of a base relation enter.
    pub fn input_of(&self, relation: RelationId) -> Option<NodeId> {
        let mut id = *self.relations.get(&relation)?;
        while let Some(input) = self.nodes.get(&id)?.inputs.first() {
            id = *input;
        }
        matches!(self.nodes.get(&id)?.spec, NodeSpec::Input).then_some(id)
    }

    /// The views whose own nodes a node is among. All relations, for a node that is not in the graph.
    pub fn fed_by(&self, id: NodeId) -> BTreeSet<RelationId> {
        match self.nodes.get(&id) {
            None => self.relations.keys().copied().collect(),
            Some(node) => node.needed_by.clone(),
        }
    }

    /// The stratum of a node over these inputs: an output's readers stand one above it.
    pub fn stratum_over(&self, inputs: &[NodeId]) -> usize {
        inputs
            .iter()
            .filter_map(|id| self.nodes.get(id))
            .map(|node| node.stratum + usize::from(matches!(node.spec, NodeSpec::Output)))
            .max()
            .unwrap_or(0)
    }
}

/// Equal for nodes that do the same, and now and then for others.
fn text(spec: &NodeSpec, inputs: &[NodeId]) -> String {
    format!("{spec:?} over {inputs:?}")
}
