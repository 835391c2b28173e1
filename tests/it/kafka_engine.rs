//! The engine on a Kafka stream, in process: what was taken in is there again after a restart, and only that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use riverrun::engine::{Engine, EngineConfig};
use riverrun::types::RelationId;

use crate::broker::{Broker, Message, text};
use crate::kafka::stream;

const WAIT: Duration = Duration::from_secs(60);

async fn open(folder: &std::path::Path) -> Arc<Engine> {
    let engine = Engine::open(EngineConfig::new(folder)).expect("opens");
    engine.ready().await.expect("recovers");
    engine
}

/// Column `n` of the stream's rows, sorted.
async fn numbers(engine: &Engine, stream: RelationId) -> Vec<i64> {
    let view = engine.read().await.expect("a read view");
    let batches = view.scan(stream).expect("a scan").map(|batch| batch.expect("a batch"));
    let mut all: Vec<i64> =
        batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    all.sort_unstable();
    all
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < WAIT, "waiting for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn numbered(broker: &Broker, topic: &str, range: std::ops::Range<i64>) {
    let texts: Vec<String> = range.map(|n| format!("{{\"n\": {n}}}")).collect();
    let messages: Vec<Message<'_>> =
        texts.iter().enumerate().map(|(n, value)| Message { partition: (n % 2) as i32, ..text(value) }).collect();
    broker.produce(topic, &messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_stream_in_the_engine_survives_restarts() {
    let broker = Broker::shared();
    let topic = broker.topic("engine", 2);
    let folder = tempfile::tempdir().expect("a folder");
    let relation = stream(broker, &topic, &[], &[]);
    numbered(broker, &topic, 0..500);
    broker.produce(&topic, &[text("{\"n\": true}")]);

    let engine = open(folder.path()).await;
    engine.create(relation, false, Default::default()).await.expect("creates");
    let id = engine.catalog().get("public", "s").expect("is there").id;
    until("500 rows", async || numbers(&engine, id).await.len() == 500).await;
    until("the dead letter", async || engine.facts().dead_letters().len() == 1).await;
    engine.shutdown().await;
    drop(engine);

    // What came while it was down, and an aborted transaction.
    numbered(broker, &topic, 500..700);
    broker.transaction(&topic, &[text("{\"n\": -1}")], false);
    let engine = open(folder.path()).await;
    assert!(numbers(&engine, id).await.len() >= 500, "what was seen before is there at once");
    until("700 rows", async || numbers(&engine, id).await.len() == 700).await;
    assert_eq!(numbers(&engine, id).await, (0..700).collect::<Vec<_>>());
    assert_eq!(engine.facts().dead_letters().len(), 1);
    engine.shutdown().await;
    drop(engine);

    // Another topic under the same name is not the stream's.
    broker.delete(&topic);
    broker.create(&topic, 2);
    numbered(broker, &topic, 0..900);
    let engine = open(folder.path()).await;
    let failed = engine.failed();
    let error = failed.get(&id).expect("the stream is refused");
    assert!(error.message().contains("was deleted and made again"), "{error:?}");
    let view = engine.read().await.expect("a read view");
    assert!(view.scan(id).is_err(), "a stream whose history is gone is not answered from another");
    engine.shutdown().await;
}

/// What a topic lost is a matter of its stream alone: recovery is done, and says which partition.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_topic_that_lost_its_end_does_not_hold_up_recovery() {
    let broker = Broker::start();
    let (topic, whole) = (broker.topic("lost", 1), broker.topic("whole", 2));
    broker.produce(&topic, &[text("{\"n\": 0}")]);
    let kept = broker.segment_bytes(&topic, 0);
    broker.produce(&topic, &[text("{\"n\": 1}"), text("{\"n\": 2}")]);
    numbered(&broker, &whole, 0..10);
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path()).await;
    engine.create(stream(&broker, &topic, &[], &[]), false, Default::default()).await.expect("creates");
    let lost = engine.catalog().get("public", "s").expect("is there").id;
    let mut other = stream(&broker, &whole, &[], &[]);
    other.name = "whole".to_string();
    engine.create(other, false, Default::default()).await.expect("creates");
    let whole = engine.catalog().get("public", "whole").expect("is there").id;
    until("3 rows", async || numbers(&engine, lost).await.len() == 3).await;
    until("10 rows", async || numbers(&engine, whole).await.len() == 10).await;
    engine.shutdown().await;
    drop(engine);

    broker.kill();
    broker.cut_segment(&topic, 0, kept);
    broker.run();
    let engine = open(folder.path()).await;
    let failed = engine.failed();
    let error = failed.get(&lost).expect("the stream is refused");
    assert!(error.message().contains("no longer has the record at offset 1 of partition 0"), "{error:?}");
    assert_eq!(failed.len(), 1);
    assert_eq!(numbers(&engine, whole).await, (0..10).collect::<Vec<_>>());
    engine.shutdown().await;
}
