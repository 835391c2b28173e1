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

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Broker, Message};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use riverrun::catalog::{Connector, Relation, RelationId, RelationKind, StreamDef};
use riverrun::formats::json::JsonDecoder;
use riverrun::ingest::{Statuses, Stop, connect};
use riverrun::types::{Column, StructField, Type, arrow_schema};

/// Records decoded into one batch.
const BATCH: usize = 4096;
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "kafka") {
        kafka();
    } else {
        decode();
    }
}

/// Messages as a Kafka producer of Nexmark events writes them.
fn messages(count: usize) -> Vec<Vec<u8>> {
    let config = NexmarkConfig { base_time: 1_436_918_400_000, ..NexmarkConfig::default() };
    EventGenerator::new(config).take(count).map(|event| to_json(&event).to_string().into_bytes()).collect()
}

fn to_json(event: &Event) -> serde_json::Value {
    use serde_json::json;
    match event {
        Event::Person(p) => json!({"event_type": 0, "person": {
            "id": p.id, "name": p.name, "email_address": p.email_address, "credit_card": p.credit_card,
            "city": p.city, "state": p.state, "date_time": p.date_time, "extra": p.extra}}),
        Event::Auction(a) => json!({"event_type": 1, "auction": {
            "id": a.id, "item_name": a.item_name, "description": a.description, "initial_bid": a.initial_bid,
            "reserve": a.reserve, "date_time": a.date_time, "expires": a.expires, "seller": a.seller,
            "category": a.category, "extra": a.extra}}),
        Event::Bid(b) => json!({"event_type": 2, "bid": {
            "auction": b.auction, "bidder": b.bidder, "price": b.price, "channel": b.channel, "url": b.url,
            "date_time": b.date_time, "extra": b.extra}}),
    }
}

fn structure(fields: &[(&str, Type)]) -> Type {
    Type::Struct(fields.iter().map(|(name, ty)| StructField { name: name.to_string(), ty: ty.clone() }).collect())
}

fn all_columns() -> Vec<Column> {
    use Type::{Int8, Text, Timestamp};
    vec![
        Column::new("event_type", Int8),
        Column::new(
            "person",
            structure(&[
                ("id", Int8),
                ("name", Text),
                ("email_address", Text),
                ("credit_card", Text),
                ("city", Text),
                ("state", Text),
                ("date_time", Timestamp),
                ("extra", Text),
            ]),
        ),
        Column::new(
            "auction",
            structure(&[
                ("id", Int8),
                ("item_name", Text),
                ("description", Text),
                ("initial_bid", Int8),
                ("reserve", Int8),
                ("date_time", Timestamp),
                ("expires", Timestamp),
                ("seller", Int8),
                ("category", Int8),
                ("extra", Text),
            ]),
        ),
        Column::new(
            "bid",
            structure(&[
                ("auction", Int8),
                ("bidder", Int8),
                ("price", Int8),
                ("channel", Text),
                ("url", Text),
                ("date_time", Timestamp),
                ("extra", Text),
            ]),
        ),
    ]
}

fn two_columns() -> Vec<Column> {
    vec![Column::new("bid", structure(&[("auction", Type::Int8), ("price", Type::Int8)]))]
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
    let messages = messages(200_000);
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
    let messages = messages(1_000_000);
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
    bare_consumer(&broker, &topic, PARTITIONS, messages.len());
    report("kafka, bare consumer", messages.len(), bytes, began.elapsed());
    for (columns, name) in [(all_columns(), "all columns"), (two_columns(), "two columns")] {
        let source = connect(&stream(&broker, &topic, columns)).expect("a source");
        let from = source.start_positions().expect("its start");
        source.identity().expect("its topic");
        let (sender, receiver) = crossbeam_channel::bounded(64);
        let stop = Stop::default();
        let began = Instant::now();
        let reader = {
            let (source, stop) = (Arc::clone(&source), stop.clone());
            std::thread::spawn(move || source.read(from, sender, Statuses::default(), stop))
        };
        let mut rows = 0;
        while rows < messages.len() {
            rows += receiver.recv().expect("a chunk").rows.num_rows();
        }
        report(&format!("kafka connector, {name}"), rows, bytes, began.elapsed());
        stop.stop();
        drop(receiver);
        reader.join().expect("the reader").expect("reading");
    }
}

/// What librdkafka gives when nobody looks at the records.
fn bare_consumer(broker: &Broker, topic: &str, partitions: i32, count: usize) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("group.id", "bench").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
    let mut seen = 0;
    while seen < count {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(_)) => seen += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}
