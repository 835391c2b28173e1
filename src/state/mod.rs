//! Arrangements: a relation's rows by some key, in versions.
//!
//! Rows are appended to an *arena* of Arrow chunks and never change. A row dies in some step; version `s` sees
//! the rows appended by `s` and not dead by `s`. That one rule serves the old and the new state inside a step,
//! readers, transactions, backfills and (later) checkpoints, and nothing is copied for any of them.

/// A state of an arrangement: the number of the step that made it. Steps are counted through epochs and only grow.
pub type Version = u64;
