//! The circuit: operators wired into a graph, run in steps by worker threads, with exchange between them.

pub mod plan;
