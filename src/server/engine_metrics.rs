//! The engine's numbers for Prometheus, read when they are asked for: epochs, bytes, sources, dead letters, failed rows.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Shared;
use crate::engine::Engine;
use crate::ingest::PartitionState;
use crate::types::RelationId;

/// Asks the engine, once it is there. Weak: the registry outlives the server at its end.
pub struct EngineMetrics(Weak<Shared>);

impl EngineMetrics {
    pub fn new(shared: &Arc<Shared>) -> EngineMetrics {
        EngineMetrics(Arc::downgrade(shared))
    }
}

impl fmt::Debug for EngineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineMetrics")
    }
}

type Labels = Vec<(&'static str, String)>;

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(engine) = self.0.upgrade().and_then(|shared| shared.engine.get().cloned()) else { return Ok(()) };
        let name = names(&engine);
        let one = |value: i64| vec![(Labels::new(), value)];
        gauge(&mut encoder, "riverrun_epoch", "The newest epoch", one(engine.epoch() as i64))?;
        let running = one(crate::query::running() as i64);
        gauge(
            &mut encoder,
            "riverrun_queries_running",
            "Queries at work, given up ones until they have stopped",
            running,
        )?;
        gauge(
            &mut encoder,
            "riverrun_holds",
            "Readers, transactions and others that hold a version",
            one(engine.holds().len() as i64),
        )?;
        bytes(&mut encoder, &engine, &name)?;
        let (mut lags, mut stopped) = (Vec::new(), Vec::new());
        for (stream, statuses) in engine.facts().all_statuses() {
            for status in statuses.lock().iter() {
                let labels = vec![("stream", name(stream)), ("partition", status.partition.to_string())];
                if let Some(end) = status.end {
                    lags.push((labels.clone(), (end - status.next).max(0)));
                }
                let wrong = matches!(status.state, PartitionState::Retrying | PartitionState::Stopped);
                stopped.push((labels, i64::from(wrong)));
            }
        }
        gauge(&mut encoder, "riverrun_source_lag", "Records of a partition not yet taken in", lags)?;
        gauge(&mut encoder, "riverrun_source_failing", "1 while a partition can't be read", stopped)?;
        let mut failed: Vec<(Labels, i64)> = Vec::new();
        for error in engine.facts().errors() {
            failed.push((
                vec![("view", name(error.view)), ("sqlstate", error.state.to_string()), ("message", error.message)],
                error.count,
            ));
        }
        gauge(&mut encoder, "riverrun_expression_errors", "Rows of a view on which an expression fails", failed)?;
        let letters = engine.facts().dead_letter_counts();
        let letters: Vec<(Labels, u64)> =
            letters.into_iter().map(|(stream, count)| (vec![("stream", name(stream))], count)).collect();
        let mut family = encoder.encode_descriptor(
            "riverrun_dead_letters",
            "Records that are not rows",
            None,
            MetricType::Counter,
        )?;
        for (labels, count) in letters {
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// What is held in memory, by who holds it. (Sessions count their buffers themselves.)
fn bytes(
    encoder: &mut DescriptorEncoder,
    engine: &Engine,
    name: &impl Fn(RelationId) -> String,
) -> Result<(), fmt::Error> {
    let (state, fills) = engine.state_bytes().unwrap_or_default();
    let writes = engine.write_bytes();
    let totals = [
        ("riverrun_store_bytes", "Bytes the store holds in memory", engine.store_bytes()),
        ("riverrun_fill_bytes", "Bytes of state of views being filled", fills),
        ("riverrun_query_bytes", "Bytes that sorts, joins and groups of queries hold", crate::query::memory_used()),
        ("riverrun_transaction_bytes", "Bytes that open transactions have written", writes.transactions),
        ("riverrun_overlay_bytes", "Bytes of committed writes laid over the newest epoch", writes.overlay),
        ("riverrun_commit_queue_bytes", "Bytes of committed writes that wait for their epoch", writes.queued),
        ("riverrun_dead_letter_bytes", "Bytes of dead letters kept", engine.facts().dead_letter_bytes()),
    ];
    for (metric, help, bytes) in totals {
        gauge(encoder, metric, help, vec![(Labels::new(), bytes as i64)])?;
    }
    let state = state.iter().map(|(id, bytes)| (vec![("relation", name(*id))], *bytes as i64)).collect();
    gauge(encoder, "riverrun_state_bytes", "Bytes of state by relation", state)?;
    let (mut decoded, mut fetched) = (Vec::new(), Vec::new());
    for (stream, bytes) in engine.facts().all_queue_bytes() {
        let labels = vec![("stream", name(stream))];
        decoded.push((labels.clone(), bytes.queued() as i64));
        fetched.push((labels, bytes.fetched() as i64));
    }
    gauge(encoder, "riverrun_source_queue_bytes", "Bytes of decoded records that wait for their epoch", decoded)?;
    let help = "Bytes of records fetched from brokers and not decoded yet, estimated";
    gauge(encoder, "riverrun_source_fetched_bytes", help, fetched)
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: Vec<(Labels, i64)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn names(engine: &Engine) -> impl Fn(RelationId) -> String {
    let catalog = engine.catalog();
    move |id| match catalog.relation(id) {
        Some(relation) => format!("{}.{}", relation.schema, relation.name),
        None => id.to_string(),
    }
}
