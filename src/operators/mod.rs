//! Incremental operators: plain functions from deltas to deltas with state. One file each.
//!
//! An operator is driven in *steps*. In a step it gets, for every input, the deltas that arrived, and emits
//! the deltas of its output, so that at all times
//!
//! ```text
//!   sum of outputs = op(sum of inputs)          (1)
//! ```
//!
//! whatever way the inputs were sliced into steps. Within an epoch sums may be momentarily negative (a
//! deletion may come in an earlier slice than its insertion); operators keep net weights and answer (1) for
//! them too, so that the epoch's end is right. Operators have no clock, no randomness, no I/O.
//!
//! Workers run the same operators on disjoint shards; only `circuit/` moves rows between them.

pub mod aggregate;
pub mod arrange;
mod backlog;
pub mod build;
pub mod changes;
pub mod constant;
pub mod distinct;
pub mod failures;
pub mod hop;
pub mod join;
#[cfg(test)]
mod join_tests;
pub mod keys;
pub mod map;
mod match_counts;
pub mod ordered_rows;
pub mod outer_join;
pub mod output;
mod pairs;
pub mod row_weights;
pub mod saved;
pub mod scalar_subquery;
pub mod semi_join;
pub mod series;
pub mod set_operation;
pub mod sorted_map;
pub mod spec;
#[cfg(test)]
pub mod testing;
pub mod top_n;
pub mod union;
pub mod unnest;
#[cfg(test)]
mod wide_rows_tests;

use std::sync::Arc;

pub use failures::{RowError, RowErrors};

use crate::delta::Delta;
use crate::error::Result;
use crate::state::Version;

/// What one step of an operator sees besides its inputs, and where it puts its results.
pub struct Step<'a> {
    /// The version of every arrangement before this step, and the one that this step makes. Arrangements
    /// upstream have already appended this step's delta: reading at `before` gives the old state, at `after` the new.
    pub before: Version,
    pub after: Version,
    /// No one will ever ask for a version older than this one.
    pub oldest: Version,
    /// True in the pass that ends the epoch for this operator's stratum: outputs consolidate and emit.
    pub end_of_epoch: bool,
    /// The epoch's `now()`, microseconds since 1970 UTC.
    pub now: i64,
    /// The output of the step. Deltas may be appended in any order.
    pub out: &'a mut Vec<Delta>,
    /// Expressions that failed on a row (positive weight) or whose failing row went away (negative).
    pub errors: &'a mut RowErrors,
}

/// Whether an operator has given all of this step's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// There is more than fits one step's bound: call again with empty inputs; it will emit the next piece.
    /// Versions `before` and `after` will have moved on; the operator remembers those it needs, and until it is
    /// done the circuit keeps `oldest` at or below `before` of the step whose output it is still giving.
    More,
}

/// Output rows an operator may emit in one step before it has to return [`Progress::More`].
pub const STEP_OUTPUT_ROWS: usize = 256 * 1024;
/// Rows of one emitted delta: large enough to amortise kernels, small enough for caches.
pub const BATCH_ROWS: usize = 8 * 1024;

pub trait Operator: Send {
    /// Runs one step. `inputs[i]` are the deltas of input i, none of them empty.
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress>;

    /// The arrangements of the inputs are now these (one an input, `None` where it is not an Arrange node), with the same rows
    /// as before: a filled view joined the live circuit and shares what was there already. Between steps, nothing pending.
    fn rearrange(&mut self, _inputs: &[Option<arrange::Arranged>]) {}

    /// Bytes of state held.
    fn state_bytes(&self) -> usize {
        0
    }

    /// The state between two steps, as a versioned byte form; empty for a stateless operator. Nothing but tests calls this and `load`
    /// until there are checkpoints: recovery replays the log.
    fn save(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Puts a freshly made operator into the state that `save` wrote.
    fn load(&mut self, saved: &[u8]) -> Result<()> {
        match saved {
            [] => Ok(()),
            _ => Err(crate::error::Error::internal("saved state for an operator that keeps none")),
        }
    }
}

/// One column of an ordering, as ORDER BY has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SortKey {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Expressions are DataFusion's physical ones, over the operator's input columns.
pub type PhysicalExpr = Arc<dyn datafusion::physical_expr::PhysicalExpr>;
