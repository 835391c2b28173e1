//! Tests that start the real server, and those that read the whole source.
//!
//! One binary with many modules: every further test binary would link everything again.

mod broker;
mod floors;
mod kafka;
mod kafka_engine;
