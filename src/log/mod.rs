//! The two logs: what was written (the embedded log), and what each epoch took in (the epoch log).

pub mod commits;
pub mod epochs;
mod fingerprint;
mod rows;

pub use commits::{Commit, CommitLog};
pub use epochs::{Cut, EpochLog, SourceCut};
pub use fingerprint::Fingerprint;
