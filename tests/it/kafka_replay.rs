//! Streams on Kafka after a restart: how their records are read again, and what shows of them when they can't be.

use crate::ask::{refused, run, until, value};
use crate::broker::{Broker, Message, text};
use crate::fixture::{Server, get};
use crate::kafka_sql::with;

/// Clients that read records again, by the log.
fn clients(log: &str, topic: &str) -> usize {
    log.lines().filter(|line| line.contains("a client reads records again") && line.contains(topic)).count()
}

/// A topic of more partitions than anyone keeps clients for, and one of small transactions, whose markers take offsets that are no
/// records; both in hundreds of epochs. One client of each reads all that again, and one more fills a view made later.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_replay_takes_few_clients() {
    const PARTITIONS: i32 = 24;
    const ROUNDS: i64 = 150;
    let broker = Broker::shared();
    let (wide, exact) = (broker.topic("wide", PARTITIONS), broker.topic("exact", 2));
    let server = Server::start();
    let client = server.connect().await;
    for (stream, topic) in [("wide", &wide), ("exact", &exact)] {
        run(&client, &format!("CREATE STREAM {stream} (id bigint) INCLUDE PARTITION {}", with(broker, topic))).await;
        let view =
            format!("CREATE MATERIALIZED VIEW {stream}_sum AS SELECT count(*) AS n, sum(id) AS ids FROM {stream}");
        run(&client, &view).await;
    }
    let all: Vec<String> = (0..i64::from(PARTITIONS)).map(|n| format!("{{\"id\": {n}}}")).collect();
    let all: Vec<Message<'_>> =
        all.iter().enumerate().map(|(n, value)| Message { partition: n as i32, ..text(value) }).collect();
    for round in 0..ROUNDS {
        broker.produce(&wide, &all);
        if round == ROUNDS / 2 {
            run(&client, "CREATE MATERIALIZED VIEW late AS SELECT kafka_partition, count(*) AS n FROM wide GROUP BY 1")
                .await;
        }
    }
    let values: Vec<String> = (0..ROUNDS).map(|n| format!("{{\"id\": {n}}}")).collect();
    broker.transactions(&exact, values.iter().map(|value| [text(value), Message { partition: 1, ..text(value) }]));
    let ids = ROUNDS * i64::from(PARTITIONS) * (i64::from(PARTITIONS) - 1) / 2;
    let expected = [
        ("wide_sum", format!("{} | {ids}", ROUNDS * i64::from(PARTITIONS))),
        ("exact_sum", format!("{} | {}", 2 * ROUNDS, ROUNDS * (ROUNDS - 1))),
    ];
    for (view, expected) in &expected {
        until(&client, &format!("SELECT n || ' | ' || ids FROM {view}"), expected).await;
    }
    assert!(server.metric("riverrun_epoch") > ROUNDS as f64, "{} epochs", server.metric("riverrun_epoch"));
    let (remains, log) = server.kill();
    assert_eq!((clients(&log, &wide), clients(&log, &exact)), (1, 0), "{log}");
    assert!(!log.contains("PartitionEOF"), "{log}");

    let server = remains.start();
    let client = server.connect().await;
    for (view, expected) in &expected {
        assert_eq!(value(&client, &format!("SELECT n || ' | ' || ids FROM {view}")).await, *expected);
    }
    let late = "SELECT count(*) || ' of ' || min(n) || ' to ' || max(n) FROM late";
    assert_eq!(value(&client, late).await, format!("{PARTITIONS} of {ROUNDS} to {ROUNDS}"));
    broker.produce(&wide, &all);
    until(&client, late, &format!("{PARTITIONS} of {0} to {0}", ROUNDS + 1)).await;
    let (_, log) = server.kill();
    assert_eq!((clients(&log, &wide), clients(&log, &exact)), (2, 1), "{log}");
    assert!(!log.contains("PartitionEOF"), "{log}");
}

/// Streams whose topics are gone, or have lost what was read, answer with an error after a restart, and say so wherever one looks.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_streams_that_fail_at_the_start_show() {
    let broker = Broker::shared();
    let (deleted, trimmed) = (broker.topic("gone", 1), broker.topic("trimmed", 1));
    let server = Server::start();
    let client = server.connect().await;
    for (stream, topic) in [("gone", &deleted), ("trimmed", &trimmed)] {
        broker.produce(topic, &[text("{\"id\": 1}"), text("{\"id\": 2}")]);
        run(&client, &format!("CREATE STREAM {stream} (id bigint) {}", with(broker, topic))).await;
        run(&client, &format!("CREATE MATERIALIZED VIEW {stream}_n AS SELECT count(*) AS n FROM {stream}")).await;
        until(&client, &format!("SELECT n FROM {stream}_n"), "2").await;
    }
    drop(client);
    let (remains, _) = server.kill();
    broker.delete(&deleted);
    broker.delete_records(&trimmed, 0, 1);

    let server = remains.start();
    let client = server.connect().await;
    let expected = [
        ("gone", format!("topic \"{deleted}\" was deleted")),
        ("trimmed", format!("topic \"{trimmed}\" no longer has the record at offset 0 of partition 0")),
    ];
    for (stream, message) in &expected {
        for relation in [stream.to_string(), format!("{stream}_n")] {
            let refused = refused(&client, &format!("SELECT * FROM {relation}")).await;
            assert_eq!(refused, ("55000".to_string(), message.clone()), "{relation}");
            let rows = format!("SELECT count(rows) FROM rr_relations WHERE name = '{relation}'");
            assert_eq!(value(&client, &rows).await, "0", "{relation}");
            assert!(server.log().contains(&format!("name=\"{relation}\"")), "{}", server.log());
        }
        let failing = format!("riverrun_source_failing{{stream=\"public.{stream}\",partition=\"0\"}} 1");
        let metrics = server.get("/metrics").1;
        assert!(metrics.contains(&failing), "{failing} is missing in:\n{metrics}");
    }
    let states = "SELECT string_agg(stream || ' ' || state, ', ' ORDER BY stream) FROM rr_source_partitions";
    assert_eq!(value(&client, states).await, "gone stopped, trimmed stopped");
    let error = value(&client, "SELECT error FROM rr_source_partitions WHERE stream = 'trimmed'").await;
    let detail = "Records that are needed again were deleted: partition 0 holds offsets 1 to 2 (not included).";
    assert_eq!(error, format!("{}: {detail}", expected[1].1));
    assert_eq!(get(server.http_port, "/readyz").0, 200);
    run(&client, "DROP STREAM gone CASCADE").await;
    assert_eq!(value(&client, states).await, "trimmed stopped");
}
