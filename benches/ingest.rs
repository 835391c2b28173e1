//! How fast records become rows: the JSON decoder against arrow-json's, and a Kafka topic through the connector against a bare consumer.
//!
//! ```text
//! cargo bench --bench ingest             # the decoder, one core
//! cargo bench --bench ingest -- kafka    # starts a broker (Java), fills a topic
//! ```
//!
//! Prints one JSON line a measurement. Messages are Nexmark's events, all three kinds in one topic, about 276 bytes each.

#[path = "../tests/it/broker.rs"]
#[allow(dead_code)]
mod broker;
#[path = "nexmark/consumer.rs"]
mod consumer;
#[path = "nexmark/events.rs"]
mod events;
#[path = "../tests/it/maven.rs"]
mod maven;

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Broker, Message};
use events::{all_columns, messages, two_columns};
use riverrun::catalog::{Connector, Relation, RelationId, RelationKind, StreamDef};
use riverrun::formats::json::JsonDecoder;
use riverrun::ingest::{QueueBytes, Statuses, Stop, connect, queue};
use riverrun::types::{Column, arrow_schema};

/// Records decoded into one batch.
const BATCH: usize = 4096;
/// Events a second of event time.
const RATE: usize = 10_000;
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "kafka") {
        kafka();
    } else {
        decode();
    }
}

/// The best of a few runs.
fn best(mut run: impl FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let began = Instant::now();
        run();
        began.elapsed()
    };
    (0..RUNS).map(|_| time(&mut run)).min().unwrap_or_default()
}

fn report(what: &str, messages: usize, bytes: usize, time: Duration) {
    let line = serde_json::json!({
        "benchmark": "ingest", "what": what, "messages": messages, "bytes_per_message": bytes / messages,
        "messages_per_second": (messages as f64 / time.as_secs_f64()).round(),
        "megabytes_per_second": (bytes as f64 / time.as_secs_f64() / 1e6).round(),
    });
    println!("{line}");
}

fn decode() {
    let messages = messages(0, 200_000, RATE);
    let bytes = messages.iter().map(Vec::len).sum();
    for (columns, name) in [(all_columns(), "all columns"), (two_columns(), "two columns")] {
        let time = best(|| {
            let mut decoder = JsonDecoder::new(&columns).expect("a decoder");
            for batch in messages.chunks(BATCH) {
                for message in batch {
                    decoder.push(message).expect("a row");
                }
                std::hint::black_box(decoder.finish());
            }
        });
        report(&format!("decode json, {name}"), messages.len(), bytes, time);
        let schema = arrow_schema(&columns);
        let time = best(|| {
            let builder = arrow_json::ReaderBuilder::new(schema.clone()).with_batch_size(BATCH);
            let mut decoder = builder.build_decoder().expect("a decoder");
            for batch in messages.chunks(BATCH) {
                for message in batch {
                    decoder.decode(message).expect("a row");
                }
                std::hint::black_box(decoder.flush().expect("a batch"));
            }
        });
        report(&format!("arrow-json unchecked, {name}"), messages.len(), bytes, time);
    }
}

fn stream(broker: &Broker, topic: &str, columns: Vec<Column>) -> Relation {
    let address = broker.address();
    let options = [("topic", topic), ("bootstrap.servers", address.as_str()), ("format", "json")];
    let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let def = StreamDef {
        connector: Some(Connector { name: "kafka".to_string(), options }),
        defaults: vec![None; columns.len()],
        generated: vec![None; columns.len()],
        includes: Vec::new(),
    };
    Relation {
        id: RelationId(1),
        schema: "public".to_string(),
        name: "events".to_string(),
        columns,
        kind: RelationKind::Stream(def),
        depends_on: Vec::new(),
    }
}

fn kafka() {
    const PARTITIONS: i32 = 4;
    let broker = Broker::start();
    let topic = broker.topic("nexmark", PARTITIONS);
    let messages = messages(0, 1_000_000, RATE);
    let bytes: usize = messages.iter().map(Vec::len).sum();
    for batch in messages.chunks(100_000) {
        let records: Vec<Message<'_>> = batch
            .iter()
            .enumerate()
            .map(|(n, value)| Message { partition: n as i32 % PARTITIONS, value: Some(value), ..Message::default() })
            .collect();
        broker.produce(&topic, &records);
    }
    let began = Instant::now();
    consumer::consume(&broker.address(), &topic, PARTITIONS, messages.len(), None);
    report("kafka, bare consumer", messages.len(), bytes, began.elapsed());
    for (columns, name) in [(all_columns(), "all columns"), (two_columns(), "two columns")] {
        let source = connect(&stream(&broker, &topic, columns), None).expect("a source");
        let from = source.start_positions().expect("its start");
        source.identity().expect("its topic");
        let (sender, receiver) = queue(64, QueueBytes::default());
        let stop = Stop::default();
        let began = Instant::now();
        let reader = {
            let (source, stop) = (Arc::clone(&source), stop.clone());
            std::thread::spawn(move || source.read(from, sender, Statuses::default(), stop))
        };
        let mut rows = 0;
        while rows < messages.len() {
            rows += receiver.iter().next().expect("a chunk").rows.num_rows();
        }
        report(&format!("kafka connector, {name}"), rows, bytes, began.elapsed());
        stop.stop();
        drop(receiver);
        reader.join().expect("the reader").expect("reading");
    }
}
