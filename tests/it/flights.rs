//! The flights example, as its README has it: replayed into the embedded log and through Kafka, every view compared with DuckDB's answer.

use std::process::Command;

use crate::broker::Broker;
use crate::fixture::Server;

/// Runs the example's script to its end; fails with what it said.
fn flights(server: &Server, arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights/run.sh");
    let dsn = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", server.port);
    let output = Command::new(script).args(["all", "--dsn", &dsn]).args(arguments).output().expect("run.sh runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("all 6 views agree with DuckDB"), "{said}");
}

#[test]
fn flights_on_the_embedded_log_agree_with_duckdb() {
    flights(&Server::start(), &[]);
}

#[test]
fn flights_through_kafka_agree_with_duckdb() {
    let broker = Broker::shared();
    let topic = broker.name("flights");
    flights(&Server::start(), &["--kafka", &broker.address(), "--topic", &topic, "--limit", "50000"]);
}
