//! Tests that start the real server, and those that read the whole source.
//!
//! One binary with many modules: every further test binary would link everything again. Each test starts its own server on a
//! free port with its own folder, so they run side by side; nothing asserts on how long something took.

mod ask;
mod fixture;
mod maven;
mod protocol;

mod bad_input;
mod bank;
mod big_statements;
mod broker;
mod cli;
mod disk;
mod drivers;
mod facts;
mod flights;
mod floors;
mod kafka;
mod kafka_engine;
mod kafka_replay;
mod kafka_sql;
mod logic;
mod oracle;
mod overtaken;
mod psql;
mod replay;
mod scripts;
mod session;
mod unread;
mod wire;
