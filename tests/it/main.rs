//! Tests that start the real server, and those against a real broker.
//!
//! One binary with many modules: every further test binary would link everything again.

mod broker;
mod kafka;
