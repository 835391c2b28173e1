//! Arrangements: a relation's rows by some key, in versions.
//!
//! Rows are appended to an *arena* of Arrow chunks and never change. A row dies in some step; version `s` sees
//! the rows appended by `s` and not dead by `s`. That one rule serves the old and the new state inside a step,
//! readers, transactions, backfills and (later) checkpoints, and nothing is copied for any of them.
//!
//! ```text
//!   one writer (the worker's thread)                  any number of readers (any thread)
//!     append(deltas, after, oldest)                     snapshot(version)      all rows
//!        |                                              changes(from, to)      births and deaths between
//!        v                                              probe(index, keys, version)     rows by key
//!   arena: [chunk][chunk]...[tail]  <-- taken whole --  range(index, range, version)    rows by key range, in order
//!   indexes: key -> ids             <-- locked in slices of some microseconds
//! ```
//!
//! [`Holds`] say which versions may still be asked for; what died before the oldest of them is reclaimed.

mod append;
mod arena;
mod arrangement;
mod bounds;
mod chunk;
mod chunk_list;
mod hash_index;
mod holds;
mod index;
mod ordered_index;
mod probe;
mod range;
mod reclaim;
mod saved;
mod scan;

#[cfg(test)]
mod tests;

pub use arrangement::{Arrangement, Deletes, Limits, Spec};
pub use bounds::{Bounds, ChunkFilter, Chunks};
pub use holds::{Hold, HoldInfo, HoldKind, Holds};
pub use index::IndexId;
pub use ordered_index::Order;
pub use probe::{Matches, Piece};
pub use range::{Between, KeyRange, RangeScan, Ranges};
pub use scan::{Changes, Snapshot};

/// A state of an arrangement: the number of the step that made it. Steps are counted through epochs and only grow.
pub type Version = u64;
