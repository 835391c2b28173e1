//! Riverrun: a streaming SQL database. Floors, from the ground up; a room imports only from floors below its own.

pub mod error;

pub mod delta;
pub mod formats;
pub mod store;
pub mod types;

pub mod log;
pub mod state;

pub mod operators;

pub mod circuit;

pub mod catalog;

pub mod sql;

pub mod ingest;

pub mod engine;

pub mod query;

pub mod http;
pub mod server;

pub mod cli;
