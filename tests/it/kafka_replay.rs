//! Streams on Kafka after a restart: how their records are read again, and what shows of them when they can't be.

use crate::ask::{run, until, value};
use crate::broker::{Broker, Message, text};
use crate::fixture::Server;
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
