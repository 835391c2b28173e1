//! What the server counts about its clients, as Prometheus reads it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Command {
    /// The command tag: SELECT, INSERT, CREATE MATERIALIZED VIEW ...
    pub command: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct State {
    pub sqlstate: &'static str,
}

/// Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics {
    pub connections: Gauge,
    /// Bytes of all sessions' buffers.
    pub session_bytes: Gauge,
    pub statements: Family<Command, Counter>,
    pub errors: Family<State, Counter>,
    pub rows_sent: Counter,
    pub seconds: Family<Command, Histogram>,
}

impl Metrics {
    /// Registers under the names `riverrun_*`.
    pub fn new(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            connections: Gauge::default(),
            session_bytes: Gauge::default(),
            statements: Family::default(),
            errors: Family::default(),
            rows_sent: Counter::default(),
            seconds: Family::new_with_constructor(durations),
        };
        registry.register("riverrun_sessions", "Sessions now", metrics.connections.clone());
        registry.register("riverrun_session_bytes", "Bytes of sessions' buffers", metrics.session_bytes.clone());
        registry.register("riverrun_statements", "Statements completed", metrics.statements.clone());
        registry.register("riverrun_errors", "Errors sent to clients", metrics.errors.clone());
        registry.register("riverrun_rows_sent", "Rows sent to clients", metrics.rows_sent.clone());
        registry.register("riverrun_statement_seconds", "Time a statement took", metrics.seconds.clone());
        metrics
    }

    pub fn completed(&self, command: &'static str, seconds: f64) {
        self.statements.get_or_create(&Command { command }).inc();
        self.seconds.get_or_create(&Command { command }).observe(seconds);
    }

    pub fn failed(&self, sqlstate: &'static str) {
        self.errors.get_or_create(&State { sqlstate }).inc();
    }
}

/// 0.1 ms to about 100 s.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 11))
}
