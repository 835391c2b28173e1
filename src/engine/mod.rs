//! The engine: one order of writes and DDL, epochs, recovery, and what readers may see.
//!
//! ```text
//!   sessions -> sequencer (checks, overlay, one fsync a group) -> embedded log -.
//!   sources  -> readers (bounded queues) ----------------------------------------+-> cut -> epoch log -> circuit -> published
//! ```

pub mod read;
pub mod write;

pub use read::ReadView;
pub use write::{WriteJob, WriteOutcome, WriteScope};
