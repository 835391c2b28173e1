//! How soon a change is seen by another client of a real server, at a low rate: over the wire, from INSERT and from Kafka.
//!
//! ```text
//!   cargo bench --bench freshness [-- EVENTS]        default 1000, a hundred a second
//! ```
//!
//! Prints one JSON line a way in, in milliseconds: `acknowledged` is when INSERT returns; `visible` when another connection's SELECT
//! on a materialized view has returned with the change in it, counted from the moment the change was sent.

#[path = "../tests/it/broker.rs"]
#[allow(dead_code)]
mod broker;
#[path = "../tests/it/fixture.rs"]
#[allow(dead_code)]
mod fixture;
#[path = "../tests/it/maven.rs"]
mod maven;
#[allow(dead_code)]
mod measure;

use std::time::{Duration, Instant};

use broker::Broker;
use fixture::Server;
use measure::percentile;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;
use tokio_postgres::Client;

const PAUSE: Duration = Duration::from_millis(10);

fn main() {
    let events = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1000);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        insert(events).await;
        kafka(events).await;
    });
}

async fn prepare(stream: &str) -> (Server, Client, Client, tokio_postgres::Statement) {
    let server = Server::start();
    let (writer, reader) = (server.connect().await, server.connect().await);
    writer.batch_execute(stream).await.expect("a stream");
    let view = "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(x) AS x FROM s";
    writer.batch_execute(view).await.expect("a view");
    let select = reader.prepare("SELECT n FROM v").await.expect("a query");
    (server, writer, reader, select)
}

async fn count(reader: &Client, select: &tokio_postgres::Statement) -> i64 {
    reader.query_one(select, &[]).await.expect("a row").get(0)
}

async fn insert(events: i64) {
    let (_server, writer, reader, select) = prepare("CREATE STREAM s (id bigint, x bigint)").await;
    let insert = writer.prepare("INSERT INTO s VALUES ($1, $2)").await.expect("a statement");
    let (mut acknowledged, mut visible) = (Vec::new(), Vec::new());
    for event in 0..events {
        let sent = Instant::now();
        writer.execute(&insert, &[&event, &1i64]).await.expect("an INSERT");
        acknowledged.push(milliseconds(sent));
        assert_eq!(count(&reader, &select).await, event + 1, "what was acknowledged is seen");
        visible.push(milliseconds(sent));
        tokio::time::sleep(PAUSE).await;
    }
    report("insert", events, Some(acknowledged), visible);
}

async fn kafka(events: i64) {
    let broker = Broker::start();
    let topic = broker.topic("freshness", 1);
    let options = format!("topic = '{topic}', \"bootstrap.servers\" = '{}', format = 'json'", broker.address());
    let stream = format!("CREATE STREAM s (id bigint, x bigint) WITH (connector = 'kafka', {options})");
    let (_server, _writer, reader, select) = prepare(&stream).await;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("linger.ms", "0");
    let producer: BaseProducer = config.create().expect("a producer");
    producer.client().fetch_metadata(Some(&topic), Duration::from_secs(10)).expect("the topic");
    let mut visible = Vec::new();
    for event in 0..events {
        let value = format!("{{\"id\": {event}, \"x\": 1}}");
        let sent = Instant::now();
        let record = BaseRecord::<[u8], str>::to(&topic).partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).expect("producing");
        producer.poll(Duration::ZERO);
        while count(&reader, &select).await <= event {}
        // The first record also waits for connections to be made.
        if event > 0 {
            visible.push(milliseconds(sent));
        }
        tokio::time::sleep(PAUSE).await;
    }
    report("kafka", events, None, visible);
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn report(from: &str, events: i64, acknowledged: Option<Vec<f64>>, mut visible: Vec<f64>) {
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    let mut line = json!({
        "bench": "freshness", "from": from, "events": events,
        "visible_p50_ms": round(percentile(&mut visible, 0.5)), "visible_p99_ms": round(percentile(&mut visible, 0.99)),
    });
    if let Some(mut times) = acknowledged {
        line["acknowledged_p50_ms"] = json!(round(percentile(&mut times, 0.5)));
        line["acknowledged_p99_ms"] = json!(round(percentile(&mut times, 0.99)));
    }
    println!("{line}");
}
