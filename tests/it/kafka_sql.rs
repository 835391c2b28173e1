//! Streams on Kafka as their users see them: SQL to the real server over a real broker, through kills and restarts.

use std::time::Instant;

use crate::ask::{WAIT, refused, run, until, value};
use crate::bank;
use crate::broker::{Broker, Message, text};
use crate::fixture::{Server, get};

pub fn with(broker: &Broker, topic: &str) -> String {
    format!(
        "WITH (connector = 'kafka', topic = '{topic}', \"bootstrap.servers\" = '{}', format = 'json')",
        broker.address()
    )
}

fn numbered(broker: &Broker, topic: &str, range: std::ops::Range<i64>) {
    let texts: Vec<String> =
        range.map(|n| format!("{{\"id\": {n}, \"kind\": \"k{}\", \"amount\": {n}.25}}", n % 7)).collect();
    let messages: Vec<Message<'_>> =
        texts.iter().enumerate().map(|(n, value)| Message { partition: (n % 3) as i32, ..text(value) }).collect();
    broker.produce(topic, &messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_views_are_right_after_a_kill() {
    let broker = Broker::shared();
    let topic = broker.topic("sql", 3);
    let server = Server::start();
    let client = server.connect().await;
    run(
        &client,
        &format!(
            "CREATE STREAM events (id bigint NOT NULL, kind text, amount numeric(12,2))
                 INCLUDE PARTITION INCLUDE OFFSET INCLUDE TIMESTAMP {};
             CREATE MATERIALIZED VIEW by_kind AS
                 SELECT kind, count(*) AS n, sum(amount) AS total FROM events GROUP BY kind;
             CREATE MATERIALIZED VIEW positions AS
                 SELECT kafka_partition, count(*) AS n, max(kafka_offset) AS last FROM events GROUP BY kafka_partition",
            with(broker, &topic)
        ),
    )
    .await;
    numbered(broker, &topic, 0..3000);
    broker.produce(&topic, &[text("{\"id\": \"x\"}"), text("")]);
    broker.transaction(&topic, &[text("{\"id\": -1}")], false);
    until(&client, "SELECT count(*) FROM events", "3000").await;
    until(&client, "SELECT count(*) FROM rr_dead_letters WHERE stream = 'events'", "2").await;
    let views = "SELECT string_agg(kind || ':' || n || ':' || total, ' ' ORDER BY kind) FROM by_kind";
    let before = value(&client, views).await;
    drop(client);
    let server = server.kill_and_restart();
    let client = server.connect().await;
    assert_eq!(value(&client, "SELECT count(*) FROM events").await, "3000");
    assert_eq!(value(&client, views).await, before);
    numbered(broker, &topic, 3000..4000);
    until(&client, "SELECT sum(n) FROM by_kind", "4000").await;
    assert_eq!(value(&client, "SELECT count(DISTINCT id) FROM events").await, "4000");
    // Exactly once, over all of them: 0.25 each and the ids.
    assert_eq!(value(&client, "SELECT sum(total) FROM by_kind").await, "7999000.00");
    assert_eq!(value(&client, "SELECT sum(n) FROM positions").await, "4000");
    let dead = "SELECT string_agg(reason, ' | ' ORDER BY \"offset\") FROM rr_dead_letters WHERE stream = 'events'";
    assert_eq!(
        value(&client, dead).await,
        "field \"id\": \"x\" is not a bigint | the record is empty, expected a JSON object"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_generated_columns() {
    let broker = Broker::shared();
    let topic = broker.topic("generated", 1);
    let server = Server::start();
    let client = server.connect().await;
    // One is over a column from around the payload, one fails on some rows.
    let columns = "share integer NOT NULL AS (12 / id), id integer, even boolean AS (part % 2 = 0)";
    let create = format!("CREATE STREAM events ({columns}) INCLUDE PARTITION AS part {}", with(broker, &topic));
    run(&client, &create).await;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT share, even FROM events").await;
    let records = ["{\"id\": 2}", "{\"id\": 0, \"share\": 5}", "{\"id\": \"x\"}", "{\"id\": 4, \"share\": 5}", "{}"];
    broker.produce(&topic, &records.map(text));
    let rows = "SELECT string_agg(share || ' ' || even, ', ' ORDER BY share) FROM v";
    until(&client, rows, "3 true, 6 true").await;
    let dead = "SELECT string_agg(\"offset\" || ': ' || reason, ' | ' ORDER BY \"offset\") FROM rr_dead_letters";
    let expected = "1: generated column \"share\": division by zero; the row is (0, 0, 1) \
                    | 2: field \"id\": \"x\" is not an integer \
                    | 4: generated column \"share\" is NULL; the row is (NULL, 0, 4)";
    until(&client, dead, expected).await;
    drop(client);
    let server = server.kill_and_restart();
    let client = server.connect().await;
    assert_eq!(value(&client, rows).await, "3 true, 6 true");
    broker.produce(&topic, &[text("{\"id\": 12}")]);
    until(&client, rows, "1 true, 3 true, 6 true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_create_stream_says_what_is_wrong() {
    let broker = Broker::shared();
    let topic = broker.topic("wrong", 1);
    let server = Server::start();
    let client = server.connect().await;
    let create = |options: &str| format!("CREATE STREAM s (id bigint) {options}");
    let (state, message) = refused(&client, &create(&with(broker, "no-such-topic"))).await;
    assert_eq!((state.as_str(), message.as_str()), ("42704", "topic \"no-such-topic\" does not exist"));
    let nobody = "WITH (connector = 'kafka', topic = 't', bootstrap = '127.0.0.1:1', format = 'json')";
    assert_eq!(refused(&client, &create(nobody)).await.0, "08001");
    for options in [
        "WITH (connector = 'kafka', topic = 't', format = 'json')".to_string(),
        with(broker, &topic).replace("topic", "topik"),
        with(broker, &topic).replace("json", "avro"),
        with(broker, &topic).replace(")", ", properties.no.such.property = '1')"),
        "WITH (connector = 'carrier pigeon')".to_string(),
        "WITH (connector = 'datagen', speed = 'fast')".to_string(),
    ] {
        assert_eq!(refused(&client, &create(&options)).await.0, "22023", "{options}");
    }
    // None of them left anything behind.
    run(&client, &create(&with(broker, &topic))).await;
    run(&client, "DROP STREAM s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_broker_outage_shows_and_passes() {
    let broker = Broker::start();
    let topic = broker.topic("outage", 3);
    numbered(&broker, &topic, 0..1000);
    let server = Server::start();
    let client = server.connect().await;
    run(&client, &format!("CREATE STREAM events (id bigint, kind text) {}", with(&broker, &topic))).await;
    run(&client, "CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM events").await;
    until(&client, "SELECT n FROM n", "1000").await;
    broker.kill();
    let states = "SELECT string_agg(DISTINCT state, ',') FROM rr_source_partitions WHERE stream = 'events'";
    until(&client, states, "retrying").await;
    assert_eq!(value(&client, "SELECT n FROM n").await, "1000");
    broker.run();
    numbered(&broker, &topic, 1000..1500);
    until(&client, "SELECT n FROM n", "1500").await;
    until(&client, states, "running").await;
    until(&client, "SELECT sum(lag) FROM rr_source_partitions WHERE stream = 'events'", "0").await;
}

/// A topic that is gone may come back, or be made again: the reader goes on asking, and what was read stays.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_topic_that_is_deleted_is_asked_for() {
    let broker = Broker::shared();
    let topic = broker.topic("deleted", 2);
    let on = |partition: i32| Message { partition, ..text("{\"id\": 1}") };
    broker.produce(&topic, &[on(0), on(0), on(1), text("no JSON")]);
    let server = Server::start();
    let client = server.connect().await;
    run(&client, &format!("CREATE STREAM events (id bigint) {}", with(broker, &topic))).await;
    run(&client, "CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM events").await;
    until(&client, "SELECT n FROM n", "3").await;
    until(&client, "SELECT count(*) FROM rr_dead_letters", "1").await;
    let metrics = server.get("/metrics").1;
    for line in [
        "riverrun_dead_letters_total{stream=\"public.events\"} 1",
        "riverrun_source_failing{stream=\"public.events\",partition=\"1\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in:\n{metrics}");
    }
    let lag = "SELECT string_agg(partition || ': ' || lag, ', ' ORDER BY partition) FROM rr_source_partitions";
    until(&client, lag, "0: 0, 1: 0").await;
    let metrics = server.get("/metrics").1;
    let lag = "riverrun_source_lag{stream=\"public.events\",partition=\"1\"} 0";
    assert!(metrics.contains(lag), "{lag} is missing in:\n{metrics}");

    broker.delete(&topic);
    let states = "SELECT string_agg(DISTINCT state, ',') FROM rr_source_partitions";
    until(&client, states, "retrying").await;
    let said = format!("SELECT count(*) FROM rr_source_partitions WHERE error = 'topic \"{topic}\" was deleted'");
    until(&client, &said, "2").await;
    let metrics = server.get("/metrics").1;
    let failing = "riverrun_source_failing{stream=\"public.events\",partition=\"1\"} 1";
    assert!(metrics.contains(failing), "{failing} is missing in:\n{metrics}");
    assert_eq!(value(&client, "SELECT n FROM n").await, "3");
    run(&client, "DROP STREAM events CASCADE").await;
    assert_eq!(value(&client, "SELECT count(*) FROM rr_source_partitions").await, "0");
}

/// The same topic with other records where some were read: whatever it holds now, no answer is made of it.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_topic_with_other_records_is_refused() {
    let broker = Broker::start();
    let topic = broker.topic("other", 1);
    broker.produce(&topic, &[text("{\"id\": 0}")]);
    let kept = broker.segment_bytes(&topic, 0);
    broker.produce(&topic, &[text("{\"id\": 1}"), text("{\"id\": 2}")]);
    let server = Server::start();
    let client = server.connect().await;
    run(&client, &format!("CREATE STREAM events (id bigint) {}", with(&broker, &topic))).await;
    run(&client, "CREATE MATERIALIZED VIEW ids AS SELECT sum(id) AS ids FROM events").await;
    run(&client, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    until(&client, "SELECT ids FROM ids", "3").await;
    drop(client);
    let (remains, _) = server.kill();

    broker.kill();
    broker.cut_segment(&topic, 0, kept);
    broker.run();
    broker.produce(&topic, &[text("{\"id\": 1}"), text("{\"id\": 7}")]);
    let server = remains.start();
    let client = server.connect().await;
    for relation in ["events", "ids"] {
        let (state, message) = refused(&client, &format!("SELECT * FROM {relation}")).await;
        assert_eq!(state, "XX001", "{message}");
        assert!(
            message.starts_with("the history of stream \"events\" has changed: partition 0, positions "),
            "{message}"
        );
    }
    assert_eq!(value(&client, "SELECT a FROM t").await, "1");
    run(&client, "DROP STREAM events CASCADE").await;
    run(&client, &format!("CREATE STREAM events (id bigint) {}", with(&broker, &topic))).await;
    until(&client, "SELECT sum(id) FROM events", "8").await;
}

/// A server that starts while its broker is away waits for it, says so, and answers nothing older than it did.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_broker_away_at_the_start_is_waited_for() {
    let broker = Broker::start();
    let topic = broker.topic("away", 3);
    numbered(&broker, &topic, 0..1000);
    let server = Server::start();
    let client = server.connect().await;
    run(&client, &format!("CREATE STREAM events (id bigint, kind text) {}", with(&broker, &topic))).await;
    run(&client, "CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n, count(DISTINCT id) AS ids FROM events").await;
    run(&client, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    until(&client, "SELECT n FROM n", "1000").await;
    run(&client, "CREATE MATERIALIZED VIEW kinds AS SELECT kind, count(*) AS n FROM events GROUP BY kind").await;
    let (remains, _) = server.kill();
    broker.kill();

    let mut starting = remains.begin();
    starting.until(|log| log.matches("recovery waits for a source").count() == 2);
    assert!(starting.log().contains("could not reach Kafka at"), "{}", starting.log());
    let (port, http_port) = starting.ports();
    let config = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let error = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.err().expect("it is not ready");
    let error = error.as_db_error().expect("an answer");
    assert_eq!(error.code().code(), "57P03");
    assert!(error.detail().unwrap_or_default().contains("could not reach Kafka at"), "{error:?}");
    let (status, reason) = get(http_port, "/readyz");
    assert_eq!(status, 503);
    assert!(reason.contains("could not reach Kafka at"), "{reason}");
    let (status, log) = starting.end(Some(libc::SIGTERM));
    assert!(status.success(), "{status}: {log}");

    let starting = remains.begin();
    broker.run();
    let server = starting.ready();
    let client = server.connect().await;
    assert_eq!(value(&client, "SELECT * FROM n").await, "1000 | 1000");
    assert_eq!(value(&client, "SELECT sum(n) FROM kinds").await, "1000");
    numbered(&broker, &topic, 1000..1500);
    until(&client, "SELECT n FROM n WHERE n = ids", "1500").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generators_as_streams() {
    let server = Server::start();
    let client = server.connect().await;
    run(
        &client,
        "CREATE STREAM clicks (id bigint, page text) WITH (connector = 'datagen', rows.per.second = '0',
             number.of.rows = '10000', fields.id.kind = 'sequence', fields.page.values = 'home,cart');
         CREATE MATERIALIZED VIEW pages AS SELECT page, count(*) AS n, sum(id) AS ids FROM clicks GROUP BY page;
         CREATE STREAM nexmark (event_type integer, bid STRUCT<auction bigint, price bigint>, date_time timestamp)
             WITH (connector = 'nexmark', events.num = '5000', rows.per.second = '0');
         CREATE MATERIALIZED VIEW prices AS
             SELECT (bid).auction AS auction, max((bid).price) AS price, count(*) AS n FROM nexmark
             WHERE event_type = 2 GROUP BY (bid).auction",
    )
    .await;
    until(&client, "SELECT sum(n) FROM pages", "10000").await;
    assert_eq!(value(&client, "SELECT sum(ids) FROM pages").await, "50005000");
    until(&client, "SELECT sum(n) FROM prices", "4600").await;
    let digest = "SELECT sum(auction * 7 + price) FROM prices";
    let before = value(&client, digest).await;
    drop(client);
    let server = server.kill_and_restart();
    let client = server.connect().await;
    assert_eq!(value(&client, digest).await, before);
    assert_eq!(value(&client, "SELECT sum(n) FROM pages").await, "10000");
}

/// Transfers between accounts, read while they come in from three partitions: money is never made or lost, in no read of any view, however
/// the records of one moment are spread over epochs.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_bank_never_shows_a_wrong_total() {
    const TRANSFERS: i64 = 12_000;
    let broker = Broker::shared();
    let topic = broker.topic("bank", 3);
    let server = Server::start();
    let client = server.connect().await;
    let columns = "id bigint NOT NULL, payer integer, payee integer, amount bigint, at timestamptz";
    run(&client, &format!("CREATE STREAM transfers ({columns}) {}; {}", with(broker, &topic), bank::VIEWS)).await;
    let produced = std::thread::spawn(move || {
        for start in (0..TRANSFERS).step_by(300) {
            let transfers = start..start + 300;
            let texts: Vec<String> = transfers
                .map(|id| {
                    let (payer, payee) = (id * 7 % 10, id * 13 % 11);
                    let at = 1_767_225_600_000 + id * 10_000 - id * 37 % 10_000;
                    let amount = id % 97 + 1;
                    format!("{{\"id\":{id},\"payer\":{payer},\"payee\":{payee},\"amount\":{amount},\"at\":{at}}}")
                })
                .collect();
            let messages: Vec<Message<'_>> = texts
                .iter()
                .enumerate()
                .map(|(n, value)| Message { partition: (n % 3) as i32, ..text(value) })
                .collect();
            broker.produce(&topic, &messages);
        }
    });
    let (began, mut reads) = (Instant::now(), 0);
    loop {
        bank::check(&client, bank::FORMS).await;
        reads += 1;
        if value(&client, "SELECT count(*) FROM twice").await == TRANSFERS.to_string() {
            break;
        }
        assert!(began.elapsed() < WAIT, "not all transfers came");
    }
    produced.join().expect("the producer");
    assert!(reads > 1, "nothing was read while transfers came in");
    bank::check(&client, bank::FORMS).await;
}
