//! What a circuit is made of: a plan decides everything (keys, exchanges, arrangements), so that building
//! operators from it is straight-line code.
//!
//! Nodes stand in topological order: a node's inputs come before it. Two nodes with the same operator over the
//! same inputs compute the same thing, and the circuit keeps one of them.

use arrow::datatypes::SchemaRef;

pub use crate::operators::spec::{Elements, ExchangeTo, OpSpec, RankKind, SemiKind, SetOpKind};
use crate::types::RelationId;

/// Index of a node in its plan.
pub type NodeIndex = usize;

#[derive(Clone, Debug)]
pub struct CircuitPlan {
    pub nodes: Vec<PlanNode>,
    /// The node whose sum is the view.
    pub output: NodeIndex,
}

impl CircuitPlan {
    /// The relations it reads; one that is read in several places comes several times.
    pub fn sources(&self) -> impl Iterator<Item = RelationId> {
        self.nodes.iter().filter_map(|node| match node.op {
            OpSpec::Source { relation } => Some(relation),
            _ => None,
        })
    }
}

#[derive(Clone, Debug)]
pub struct PlanNode {
    pub op: OpSpec,
    pub inputs: Vec<NodeIndex>,
    /// Columns of the node's output.
    pub schema: SchemaRef,
    /// Whether the node's output ever holds a negative weight. Append-only inputs need no row index.
    pub append_only: bool,
}
